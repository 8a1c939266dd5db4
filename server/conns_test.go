package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A wire is a connection of a client.
type wire struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, url string) wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return wire{t, conn, bufio.NewReader(conn)}
}

// status asks for something and returns the status of the answer; 0 if the
// connection was closed instead.
func (w wire) status(request string) int {
	w.t.Helper()
	fmt.Fprint(w, request)
	answer, err := http.ReadResponse(w.in, nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return 0
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode
}

// TestConnectionsAreBounded opens one too many: it is served, and the one that
// was idle longest is closed. When none is idle the new one is.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const health, post = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	r := newRig(t)
	r.result = event.Result{Accepted: 1}
	r.srv.LimitConns(3)
	url, _ := r.listen(t)
	conns := []wire{dial(t, url), dial(t, url), dial(t, url)}
	for i, c := range conns {
		if got := c.status(health); got != 200 {
			t.Fatalf("connection %d: status %d, want 200", i, got)
		}
		time.Sleep(10 * time.Millisecond) // a connection is idle a moment after its answer
	}
	if got := conns[0].status(health); got != 200 {
		t.Fatalf("status %d, want 200", got)
	}
	time.Sleep(10 * time.Millisecond)
	fresh := dial(t, url)
	if got := fresh.status(health); got != 200 {
		t.Errorf("one too many: status %d, want 200", got)
	}
	if got := conns[1].status(health); got != 0 {
		t.Errorf("the one that was idle longest: status %d, want it closed", got)
	}
	for _, c := range []wire{conns[0], conns[2]} {
		if got := c.status(health); got != 200 {
			t.Errorf("one that was idle less long: status %d, want 200", got)
		}
	}

	r.hang = make(chan struct{})
	for _, c := range []wire{conns[0], conns[2], fresh} {
		fmt.Fprint(c, post)
	}
	for !strings.Contains(r.do("GET", "/metrics", "").Body.String(), "eider_http_requests_in_flight 4") {
		time.Sleep(time.Millisecond)
	}
	if got := dial(t, url).status(health); got != 0 {
		t.Errorf("one too many, with none idle: status %d, want it closed", got)
	}
	close(r.hang)
	if got := conns[0].status(health); got != 202 { // the answer to the event
		t.Errorf("one with a request: status %d, want 202", got)
	}
}
