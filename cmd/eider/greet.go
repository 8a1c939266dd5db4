package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A greeting answers on the server's port while the parts open, which takes a
// moment when there is a journal to read: it says that the process lives and
// that it is not ready. Clients that send events are told to come back.
type greeting struct {
	srv  *http.Server
	done chan struct{}
	ln   net.Listener
}

// greet starts to answer on ln. After stop ln is as it was.
func greet(ln net.Listener) *greeting {
	g := &greeting{ln: ln, done: make(chan struct{}), srv: &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           http.HandlerFunc(starting),
	}}
	go func() {
		defer close(g.done)
		_ = g.srv.Serve(&lent{Listener: ln}) // ends with stop
	}()
	return g
}

func starting(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // the next request is for the server
	if r.URL.Path == "/health" {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, "starting\n")
}

// stop ends the greeting and waits for it.
func (g *greeting) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := g.srv.Shutdown(ctx); err != nil {
		_ = g.srv.Close() // a client that sends its header slowly
	}
	<-g.done
	if d, ok := g.ln.(deadliner); ok {
		_ = d.SetDeadline(time.Time{})
	}
}

type deadliner interface{ SetDeadline(time.Time) error }

// A lent listener is closed without closing the one it stands for: Accept
// returns, and the port stays open, so that no connection is refused between
// the greeting and the server.
type lent struct {
	net.Listener
	once sync.Once
}

// Close ends Accept.
func (l *lent) Close() error {
	var err error
	l.once.Do(func() {
		if d, ok := l.Listener.(deadliner); ok {
			err = d.SetDeadline(time.Now())
		}
	})
	return err
}
