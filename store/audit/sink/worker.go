package sink

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Options adjust a [Copier] or an [EventCopier]. The zero value is ready for use.
type Options struct {
	Interval time.Duration // longest time until growth is looked for; 0 means 5 s
	Timeout  time.Duration // of one call of the sink; 0 means 30 s
	Backoff  time.Duration // after the first error; 0 means 0.5 s
	Compare  time.Duration // between two comparisons of all that was copied; 0 means 24 h, below 0 never

	// Alarm is called by the copier's goroutine when it has stopped copying: with
	// [ErrFork], [ErrLost] or [audit.ErrRolledBack]. It must not wait for the copier.
	Alarm func(error)

	Log *slog.Logger     // nil means none
	Now func() time.Time // nil means time.Now
}

// maxBackoff is the longest time between two attempts.
const maxBackoff = time.Minute

func (o Options) filled() Options {
	for _, d := range []struct {
		field *time.Duration
		unset time.Duration
	}{{&o.Interval, 5 * time.Second}, {&o.Timeout, 30 * time.Second}, {&o.Backoff, 500 * time.Millisecond}, {&o.Compare, 24 * time.Hour}} {
		if *d.field == 0 {
			*d.field = d.unset
		}
	}
	if o.Alarm == nil {
		o.Alarm = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// A worker is the goroutine of a copier. It calls step until that has nothing more to
// do, and again when there is growth.
type worker struct {
	opts  Options
	log   *slog.Logger
	grown <-chan struct{}
	step  func(ctx context.Context) (more bool, err error)

	ctx    context.Context // of all steps; ends with that of Close
	cancel context.CancelFunc
	once   sync.Once
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed when the goroutine has returned
}

func startWorker(o Options, log *slog.Logger, grown <-chan struct{}, step func(context.Context) (bool, error)) *worker {
	w := &worker{opts: o, log: log, grown: grown, step: step, stop: make(chan struct{}), done: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	go w.run()
	return w
}

func (w *worker) run() {
	defer close(w.done)
	failures := 0
	for {
		err := w.drain()
		wait, grown := w.opts.Interval, w.grown
		switch {
		case err != nil:
			failures++
			wait, grown = backoff(w.opts.Backoff, failures), nil
			w.log.Warn("copy is behind", "err", err, "failures", failures)
		case failures > 0:
			w.log.Info("copy goes on", "failures", failures)
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-grown:
		case <-timer.C:
		case <-w.stop:
			timer.Stop()
			if err := w.drain(); err != nil {
				w.log.Warn("copy is behind at the stop", "err", err)
			}
			return
		}
		timer.Stop()
	}
}

// drain calls step until there is no more. Growth that comes without end does not
// keep it past the end of Close.
func (w *worker) drain() error {
	for {
		ctx, cancel := context.WithTimeout(w.ctx, w.opts.Timeout)
		more, err := w.step(ctx)
		cancel()
		if err != nil || !more {
			return err
		}
	}
}

// close has the worker try once more, and waits for it.
func (w *worker) close(ctx context.Context) {
	w.once.Do(func() { close(w.stop) })
	end := context.AfterFunc(ctx, w.cancel)
	<-w.done
	end()
	w.cancel()
}

// backoff returns how long to wait after so many failures: a random time below a
// bound that doubles, so that many appliances do not come back at once.
func backoff(first time.Duration, failures int) time.Duration {
	most := maxBackoff
	if failures < 20 {
		most = min(most, first<<(failures-1))
	}
	return most/100 + rand.N(most)
}
