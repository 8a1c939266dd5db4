package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
)

// listen serves a rig on a port of its own until the test ends or stop is
// called, which returns what Serve did.
func (r *rig) listen(t *testing.T) (url string, stop func() error) {
	t.Helper()
	ln, err := server.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(ctx, ln) }()
	var result error
	var stopped bool
	stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-done
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return "http://" + ln.Addr().String(), stop
}

func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.hang = make(chan struct{})
	r.result = event.Result{Accepted: 1}
	url, stop := r.listen(t)
	answered := make(chan int)
	go func() {
		resp, err := http.Post(url+"/api/event", "text/plain", strings.NewReader("{}"))
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	for { // until the event is being stored
		if m := r.do("GET", "/metrics", "").Body.String(); strings.Contains(m, "eider_http_requests_in_flight 2") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.srv.Drain()
	w := r.do("GET", "/ready", "", "-")
	if w.Code != 503 || w.Body.String() != "draining\n" {
		t.Errorf("readiness while draining: %d %q", w.Code, w.Body)
	}
	stopping := make(chan error)
	go func() { stopping <- stop() }()
	select {
	case err := <-stopping:
		t.Fatalf("Serve returned %v before the event was answered", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(r.hang)
	if status := <-answered; status != 202 {
		t.Errorf("event answered %d, want 202", status)
	}
	if err := <-stopping; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := http.Get(url + "/health"); err == nil {
		t.Error("answered after Serve returned")
	}
}

func TestDrainCutsOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Drain = 20 * time.Millisecond })
	begun := make(chan struct{})
	gone := make(chan error, 1)
	r.export = func(w io.Writer) (int64, int64, error) {
		close(begun)
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				gone <- err
				return 0, 0, err
			}
		}
	}
	url, stop := r.listen(t)
	go func() {
		req, _ := http.NewRequest("GET", url+"/api/stats/export?site_id=example.com", nil)
		req.Header.Set("Authorization", "Bearer "+bootstrap)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			io.CopyN(io.Discard, resp.Body, 1)
		}
	}()
	<-begun
	start := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	want(t, r.do("GET", "/ready", "", "-"), 503, "")
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the export goes on after Serve has returned")
	}
}

// TestSlowBody sends bodies that stop half-way.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.BodyTimeout = 50 * time.Millisecond })
	url, _ := r.listen(t)
	for _, request := range []string{
		"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"POST /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bootstrap + "\r\nContent-Length: 100\r\n\r\n[",
		"POST /api/import?site_id=example.com HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bootstrap + "\r\nContent-Length: 100\r\n\r\nline",
		"POST /api/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bootstrap + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"POST /api/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", // refused without a look at the body
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.20s: %v", request, err)
		} else if resp.StatusCode != 408 && resp.StatusCode != 401 {
			t.Errorf("%.20s: %s, want 408", request, resp.Status)
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%.20s: the connection stays open: %v", request, err)
		}
		conn.Close()
	}
}

// TestLargeHeader checks that headers are bounded in size.
func TestLargeHeader(t *testing.T) {
	t.Parallel()
	url, _ := newRig(t).listen(t)
	req, _ := http.NewRequest("GET", url+"/health", nil)
	req.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 431 {
		t.Errorf("got %s, want 431", resp.Status)
	}
}

// TestBrokenExport checks that a client of an export that fails on the way gets
// an error, compressed or not, and not a file that only looks whole.
func TestBrokenExport(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"identity", "gzip"} {
		r := newRig(t)
		r.export = func(w io.Writer) (int64, int64, error) {
			io.WriteString(w, strings.Repeat("{}\n", 10_000))
			return 10_000, 10_000, errors.New("part is gone")
		}
		url, _ := r.listen(t)
		req, _ := http.NewRequest("GET", url+"/api/stats/export?site_id=example.com", nil)
		req.Header.Set("Authorization", "Bearer "+bootstrap)
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // broken off before the first byte got out: as good
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s: %d bytes and no error", encoding, n)
		}
		if resp.Trailer.Get("X-Eider-Rows") != "" {
			t.Errorf("%s: trailer says it is whole", encoding)
		}
		if !strings.Contains(r.logged(), "part is gone") {
			t.Errorf("%s: not logged", encoding)
		}
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	ln, err := server.Listen("0.0.0.0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if conn, err := net.DialTimeout("tcp6", net.JoinHostPort("::1", port), time.Second); err == nil {
		conn.Close()
		t.Error("0.0.0.0 is reachable over IPv6")
	}
	if _, err := server.Listen("127.0.0.1", ln.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a port was opened twice")
	}
}

func TestServeMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ln, err := server.Listen("127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.srv.ServeMetrics(ctx, ln) }()
	for path, status := range map[string]int{"/metrics": 200, "/health": 404, "/api/keys": 404} {
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %s, want %d", path, resp.Status, status)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeMetrics = %v", err)
	}
}
