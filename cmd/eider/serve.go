package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/server"
)

func (p *program) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Take events in and answer questions until stopped",
		Long: `Take events in and answer questions until stopped by SIGTERM or SIGINT. Then
requests end, accepted events are written to Parquet, and the exit code is 0 if
all of that was done in EIDER_SHUTDOWN_TIMEOUT. What was not is in the journal
and is done at the next start. A second signal does not wait for requests.

The first start prints a link that makes the first user.`,
		Example: "  eider serve\n  EIDER_DATA_DIR=/var/lib/eider EIDER_PORT=9000 eider serve",
		RunE:    func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context()) },
	}
}

// serve runs the server until ctx is done or a part cannot go on.
//
// Parts are opened bottom up, each given only the parts it needs, and closed in
// the reverse order, so that no event is accepted that cannot be stored. From
// the first moment on the port answers, if only that the server is starting.
func (p *program) serve(ctx context.Context) (err error) {
	c, err := p.config()
	if err != nil {
		return err
	}
	log := p.logger(c)
	if env, ok := c.memory().thrifty(p.env); ok && p.again != nil {
		err := p.again(env) // which returns only if it cannot
		log.Info("goes on with allocators that take more memory", "err", err)
	}
	for _, w := range c.warnings {
		log.Warn(w)
	}
	started := time.Now()

	// A part that cannot go on calls quit, and the server stops and says why.
	var failure cause
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quit := func(err error) {
		failure.set(err)
		cancel()
	}

	e, err := newEngine(c, log, "serve", quit)
	if err != nil {
		return withRemedy(err, stopServer)
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	ln, err := server.Listen(c.host, c.port)
	if err != nil {
		return fmt.Errorf("%w (EIDER_HOST and EIDER_PORT say where to listen)", err)
	}
	defer ln.Close() // closed twice after a stop: that is no error worth telling

	// What fails because somebody has stopped it is no failure.
	early := func(err error) error {
		if ctx.Err() != nil && failure.get() == nil {
			log.Info("stopped before it was ready")
			return nil
		}
		return err
	}
	greeting := greet(ln)
	err = e.start(ctx, p.stdout)
	greeting.stop()
	if err != nil {
		return early(err)
	}
	if err := e.ensureAdmin(ctx); err != nil {
		return early(err)
	}
	srv, err := e.newServer(ctx, share(c, drainShare), nil)
	if err != nil {
		return early(fmt.Errorf("set up server: %w", err))
	}
	serving, err := p.startServing(ctx, srv, c, ln, quit)
	if err != nil {
		return err
	}
	keeping, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	s := &stopper{engine: e, hurry: p.hurry, serving: serving, keeping: e.keep(keeping), stopKeeping: stopKeeping}
	log.Info("listening", "addr", ln.Addr().String(), "elapsed", time.Since(started))
	p.greetOperator(c, srv.SetupPath(), ln.Addr())
	if p.ready != nil {
		p.ready(ln.Addr())
	}

	<-ctx.Done()
	err = s.stop(failure.get())
	if cause := failure.get(); cause != nil {
		return errors.Join(fmt.Errorf("cannot go on: %w", cause), err)
	}
	return err
}

// start opens all parts and notes that a run has begun.
func (e *engine) start(ctx context.Context, stdout io.Writer) error {
	if err := e.open(ctx); err != nil {
		return err
	}
	if err := e.openTrail(ctx, stdout); err != nil {
		return fmt.Errorf("open audit trail: %w", err)
	}
	before, err := e.ledger.StartRun(ctx, buildInfo().Version)
	if err != nil {
		return fmt.Errorf("note the start: %w", err)
	}
	e.before = before
	if before.ID != 0 && before.Stopped == 0 {
		e.log.Warn("the run before this one was killed; its journal has been read", "events", e.ledger.Journal().Events)
	}
	return nil
}

// startServing answers requests, and those of a listener for metrics if there is
// one. It returns a function that waits for both to end, which they do when ctx
// is done.
func (p *program) startServing(ctx context.Context, srv *server.Server, c *config, ln net.Listener, quit func(error)) (wait func() error, err error) {
	var wg sync.WaitGroup
	var failed cause
	serve := func(on net.Listener, serve func(context.Context, net.Listener) error) {
		wg.Go(func() {
			if err := serve(ctx, on); err != nil {
				failed.set(err)
				quit(err)
			}
		})
	}
	if c.metricsAddr != "" {
		metrics, err := net.Listen("tcp", c.metricsAddr)
		if err != nil {
			return nil, fmt.Errorf("listen on EIDER_METRICS_ADDR: %w", err)
		}
		serve(metrics, srv.ServeMetrics)
	}
	serve(ln, srv.Serve)
	return func() error {
		wg.Wait()
		return failed.get()
	}, nil
}

// greetOperator prints how to make the first user, if nobody can administer the server.
func (p *program) greetOperator(c *config, path string, addr net.Addr) {
	if path == "" {
		return
	}
	origin := c.dashboardOrigin
	if origin == "" {
		origin = "http://" + addr.String()
	}
	fmt.Fprintf(p.stdout, `
Nobody can log in to this server yet. To make the first user open this link within
an hour; it works once:

    %s%s

Or stop the server and run: eider user create admin
`+"\n", origin, path)
}

// Shares of EIDER_SHUTDOWN_TIMEOUT, in hundredths. What a step does not need of its
// own is for those after it.
const (
	drainShare   = 30
	keepShare    = 10
	flushShare   = 18
	publishShare = 24
	noteShare    = 4
	signShare    = 4
	copyShare    = 5
	closeShare   = 5
)

func share(c *config, hundredths int) time.Duration {
	return c.shutdownTimeout * time.Duration(hundredths) / 100
}

// A stopper stops a server step by step: each step has a share of the time and
// is logged with what it took of it.
type stopper struct {
	*engine
	hurry       <-chan struct{}
	serving     func() error // waits for requests to end
	keeping     func()       // waits for maintenance to end
	stopKeeping func()

	errs   []error
	stuck  bool      // a step has not ended in its time: what it uses must not be closed
	latest time.Time // by which all steps so far have to be over
}

// stop ends everything in order and returns what could not be done. Nothing of it
// is needed to keep what was accepted: the journal has it. After a part has
// failed nothing is written any more.
func (s *stopper) stop(failure error) error {
	start := time.Now()
	s.latest = start
	s.log.Info("stopping")
	drained := make(chan error, 1)
	go func() { drained <- s.serving() }()
	s.step("requests ended", drainShare, func(ctx context.Context) error {
		select {
		case err := <-drained:
			drained <- err
			return nil // startServing has told it
		case <-s.hurry:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s.step("maintenance ended", keepShare, func(context.Context) error {
		s.store.Pace(false)
		s.stopKeeping()
		s.keeping()
		return nil
	})
	if failure == nil && !s.stuck {
		s.step("buffer flushed", flushShare, func(context.Context) error {
			return errors.Join(s.disk.Close(), s.ingest.Close())
		})
		s.step("journal published", publishShare, func(ctx context.Context) error {
			_, err := s.store.Publish(ctx)
			return err
		})
		s.step("end noted", noteShare, func(ctx context.Context) error {
			select {
			case <-drained: // until then the server writes when keys were last used
			case <-s.hurry:
			}
			return s.ledger.EndRun(ctx, len(s.errs) == 0, time.Since(start))
		})
		s.step("last audit entry signed", signShare, s.trail.sign)
		s.step("audit chain copied", copyShare, s.trail.Close)
	}
	if !s.stuck {
		s.step("closed", closeShare, func(context.Context) error { return s.Close() })
	}
	s.parts = nil
	s.log.Info("stopped", "elapsed", time.Since(start))
	return errors.Join(s.errs...)
}

// step does one thing within its share of the time and what is left of the shares
// before. Its context ends a little earlier, so that what listens to it can still
// return.
func (s *stopper) step(what string, hundredths int, do func(context.Context) error) {
	if s.stuck {
		return
	}
	s.latest = s.latest.Add(share(s.cfg, hundredths))
	limit := time.Until(s.latest)
	ctx, cancel := context.WithTimeout(context.Background(), limit*9/10)
	defer cancel()
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(limit):
		err, s.stuck = context.DeadlineExceeded, true
	}
	if err == nil {
		s.log.Info(what, "elapsed", time.Since(start))
		return
	}
	err = fmt.Errorf("not %s: %w", what, err)
	s.log.Error("a step of the stop failed", "err", err, "elapsed", time.Since(start))
	s.errs = append(s.errs, err)
}

// A cause is the first error of several goroutines.
type cause struct {
	mu  sync.Mutex
	err error
}

func (c *cause) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *cause) get() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
