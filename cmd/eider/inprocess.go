package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/eider-analytics/eider/server"
)

// withServer calls fn with a server: the running one that EIDER_URL names, or
// one in this process, on a data directory that no other has. Commands ask both
// in the same way, so that they mean the same.
//
// If publish is true, what fn has had stored is in Parquet when withServer
// returns.
func (p *program) withServer(ctx context.Context, name string, publish bool, fn func(*remote) error) (err error) {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if r != nil {
		p.say("asking %s", r.base)
		return fn(r)
	}
	c, err := p.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure cause
	e, err := newEngine(c, p.quietLogger(c), name, func(err error) {
		failure.set(err)
		cancel()
	})
	if err != nil {
		return withRemedy(err, askServer)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if err := e.open(ctx); err != nil {
		return err
	}
	p.say("using the data directory %s", c.dataDir)
	if err := e.inProcess(ctx, fn); err != nil {
		return errors.Join(failure.get(), err)
	}
	if !publish {
		return nil
	}
	_, err = history{e}.Maintain(ctx, "publish")
	return err
}

// inProcess calls fn with a server on the engine that only fn can reach.
func (e *engine) inProcess(ctx context.Context, fn func(*remote) error) (err error) {
	key := rand.Text()
	srv, err := e.newServer(ctx, time.Second, func(o *server.Options) {
		o.APIKey, o.Operator = key, localActor
		o.BodyTimeout = 24 * time.Hour // standard input may be slow, and so may standard output
	})
	if err != nil {
		return fmt.Errorf("set up server: %w", err)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ln := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving, ln) }()
	transport := &http.Transport{DialContext: ln.dial}
	err = fn(&remote{base: &url.URL{Scheme: "http", Host: "localhost"}, key: key, client: &http.Client{Transport: transport}})
	transport.CloseIdleConnections()
	stop()
	return errors.Join(err, <-served)
}

// pipes is a listener whose connections stay in the process.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, srv := net.Pipe()
	select {
	case p.conns <- srv:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr implements [net.Listener].
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
