package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
)

// TestSlowBodiesTakeAShare lets one client send as many bodies as it likes and
// end none: others are served, and so is he once he ends them.
func TestSlowBodiesTakeAShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	post := func(addr string, body io.Reader) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", "/api/event", body)
		req.RemoteAddr = addr
		return r.serve(req)
	}
	for _, c := range []struct{ slow, same, other string }{
		{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"},
		{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"}, // a /64 is one client
	} {
		var held sync.WaitGroup
		ends := make([]*io.PipeWriter, server.EventShare)
		for i := range ends {
			body, end := io.Pipe()
			ends[i] = end
			held.Go(func() { post(c.slow, body) })
			fmt.Fprint(end, "{") // returns when it is read: the place is taken
		}
		want(t, post(c.same, strings.NewReader("{}")), 503, "overloaded")
		want(t, post(c.other, strings.NewReader("{}")), 202, "")
		for _, end := range ends {
			end.Close()
		}
		held.Wait()
		want(t, post(c.same, strings.NewReader("{}")), 202, "")
	}
}

// TestAskersTakeAShare lets one key send as many statements as it likes and end
// none: another key gets as far as the queue.
func TestAskersTakeAShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := r.key(t, "", 0, "sql")
	r = rigOf(t, r.fake)
	ask := func(key string, body io.Reader) *httptest.ResponseRecorder {
		req := httptest.NewRequest("POST", "/api/sql", body)
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		return r.serve(req)
	}
	const statement = `{"query": "SELECT 1"}`
	var held sync.WaitGroup
	defer held.Wait()
	for range server.AskerShare {
		body, end := io.Pipe()
		defer end.Close()
		held.Go(func() { ask(bootstrap, body) })
		fmt.Fprint(end, "{")
	}
	want(t, ask(bootstrap, strings.NewReader(statement)), 503, "overloaded")
	want(t, ask(other, strings.NewReader(statement)), 200, "")
	if want := r.keys[0].ID; r.asker != want {
		t.Errorf("asked as %q, want %q", r.asker, want)
	}
}

// TestConnectionsAreNotLogged breaks connections off where their errors, which
// hold the client's address, could get into the log.
func TestConnectionsAreNotLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url, stop := r.listen(t)
	for _, path := range []string{"/api/event", "/api/events", "/api/import?site_id=example.com", "/api/sql"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{", path, bootstrap)
		for !strings.Contains(r.do("GET", "/metrics", "").Body.String(), "eider_http_requests_in_flight 2") {
			time.Sleep(time.Millisecond)
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // close with a reset
			t.Fatal(err)
		}
		conn.Close()
		for !strings.Contains(r.do("GET", "/metrics", "").Body.String(), "eider_http_requests_in_flight 1") {
			time.Sleep(time.Millisecond)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if log := r.logged(); strings.Contains(log, "127.0.0.1") || strings.Contains(log, "ERROR") {
		t.Errorf("a client that went away is logged: %s", log)
	}
}

// TestMalformedChunk sends what is no chunked body: that is the client's fault.
func TestMalformedChunk(t *testing.T) {
	t.Parallel()
	url, _ := newRig(t).listen(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /api/event HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", answer.StatusCode)
	}
}

// TestBareProxy asks what is open to this machine alone as an nginx on it does
// that has been told nothing but proxy_pass.
func TestBareProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, path := range []string{"/metrics", "/health/detailed"} {
		req := httptest.NewRequest("GET", path, nil)
		req.Host, req.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:4242"
		if w := r.serve(req); w.Code != http.StatusOK {
			t.Errorf("%s from this machine: status %d, want 200", path, w.Code)
		}
		req.Proto, req.ProtoMinor = "HTTP/1.0", 0
		want(t, r.serve(req), 401, "no_key")
	}
}
