package answer

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/eider-analytics/eider/store/event"
)

// flights are the runs under way. The zero value is ready for use.
type flights struct {
	shared atomic.Int64

	running sync.WaitGroup

	mu     sync.Mutex // guards the fields below and the askers of every flight
	under  map[flightKey]*flight
	closed bool
}

// A flightKey is a question about one version of things: whoever comes after a
// change is not answered by a run that began before it.
type flightKey struct {
	key     Key
	version int64
}

// A flight is one run, for all who ask the same.
type flight struct {
	askers int // who wait; the last one to go cancels
	cancel context.CancelFunc

	done     chan struct{} // closed when the fields below are set
	value    any
	err      error
	panicked any
}

// join returns what the run of a question returns, and begins one if there is
// none.
func (fs *flights) join(ctx context.Context, q Question, run runner) (any, error) {
	key := flightKey{q.Key, q.Version}
	f := fs.board(ctx, key, run)
	if f == nil {
		return nil, event.ErrStopped
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		fs.leave(key, f)
		return nil, ctx.Err()
	}
	if f.panicked != nil { // in the goroutine of a request it is survived and counted
		panic(f.panicked)
	}
	return f.value, f.err
}

// board finds or begins a flight; none after close.
func (fs *flights) board(ctx context.Context, key flightKey, run runner) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.under[key]; f != nil {
		f.askers++
		fs.shared.Add(1)
		return f
	}
	if fs.closed {
		return nil
	}
	// It belongs to all who ask: not to the first alone, who may go before.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{askers: 1, cancel: cancel, done: make(chan struct{})}
	if fs.under == nil {
		fs.under = map[flightKey]*flight{}
	}
	fs.under[key] = f
	fs.running.Go(func() { fs.fly(ctx, key, f, run) })
	return f
}

// close cancels all flights and waits for their end.
func (fs *flights) close() {
	fs.mu.Lock()
	fs.closed = true
	for _, f := range fs.under {
		f.cancel()
	}
	fs.mu.Unlock()
	fs.running.Wait()
}

// fly runs a flight.
func (fs *flights) fly(ctx context.Context, key flightKey, f *flight, run runner) {
	defer close(f.done)
	defer fs.land(key, f)
	defer func() {
		if p := recover(); p != nil {
			f.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
	}()
	f.value, f.err = run(ctx)
}

// leave is for one who does not wait any longer.
func (fs *flights) leave(key flightKey, f *flight) {
	fs.mu.Lock()
	f.askers--
	last := f.askers == 0
	fs.mu.Unlock()
	if last {
		fs.land(key, f) // whoever comes now must not join what is being cancelled
	}
}

// land takes a flight off the list and lets go of its context.
func (fs *flights) land(key flightKey, f *flight) {
	fs.mu.Lock()
	if fs.under[key] == f {
		delete(fs.under, key)
	}
	fs.mu.Unlock()
	f.cancel()
}
