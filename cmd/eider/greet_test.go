package main

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestGreeting asks a port while the parts open and after: no connection is
// refused in between.
func TestGreeting(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	g := greet(ln)
	url := "http://" + ln.Addr().String()
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/health", "ok\n", http.StatusOK},
		{"/health/ready", "starting\n", http.StatusServiceUnavailable},
		{"/api/event", "starting\n", http.StatusServiceUnavailable},
	} {
		res, err := http.Get(url + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%s: got %d %q (%v), want %d %q", c.path, res.StatusCode, body, err, c.status, c.body)
		}
		if retry := res.Header.Get("Retry-After"); (retry == "1") != (c.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: Retry-After is %q", c.path, retry)
		}
	}
	g.stop()

	// Nobody accepts now, but the port is open: the connection waits for the
	// server.
	conn, err := net.DialTimeout("tcp", ln.Addr().String(), time.Second)
	if err != nil {
		t.Fatalf("between greeting and server: %v", err)
	}
	defer conn.Close()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatalf("Accept after the greeting: %v", err)
	}
	accepted.Close()
}

// TestGreetingSlowClient: a client that does not finish its request does not keep
// the server from starting.
func TestGreetingSlowClient(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	g := greet(ln)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // let it be accepted
	start := time.Now()
	g.stop()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("stop took %s, want a second at most", took)
	}
}
