// Package answer stands between those who ask and the store that answers. It
// knows neither: a question is a key, and what answers it a function.
//
// # Promise
//
// An answer is what the store would answer now. It is kept under what was asked
// and a version of all that was read for it, which the store changes when an
// event comes or goes that could matter; and no longer than a time set by the
// operator. Nobody is answered from a version older than the one he came with.
//
// Equal questions about the same version that come at once are answered by one
// run. It goes on as long as one of them waits, and is cancelled when the last
// has gone.
//
// So many runs at once and no more. The others wait, and askers are served in
// turns: one who asks a hundred things waits for his own, not others for them.
// Heavy questions, whose cost nobody can bound but by time, have half of the
// places, so that the others always have some. Who has waited his time is told
// so by an [event.BusyError], and a run that takes too long is ended.
//
// The bytes of what is kept are bounded; what was not asked for longest goes
// first.
//
// # Who may call
//
// Anyone, from any goroutine. What [Ask] returns is shared with others: it must
// not be changed.
package answer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// Options adjust a [Desk].
type Options struct {
	Places   int           // runs at once; at least 1
	Bytes    int64         // most memory that kept answers may take; 0 keeps none
	TTL      time.Duration // longest that an answer is kept; 0 keeps none
	Wait     time.Duration // longest wait for a place; 0 means 10 s
	Deadline time.Duration // longest run; 0 means 30 s

	Now    func() time.Time    // Optional: nil means time.Now
	Waited func(time.Duration) // Optional: told of every wait for a place
}

// A Desk is where questions are asked.
type Desk struct {
	deadline time.Duration
	cache    *cache
	flights  flights
	queue    *queue
}

// New returns a desk. It starts nothing; what questions start ends with
// [Desk.Close].
func New(o Options) *Desk {
	if o.Wait == 0 {
		o.Wait = 10 * time.Second
	}
	if o.Deadline == 0 {
		o.Deadline = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Waited == nil {
		o.Waited = func(time.Duration) {}
	}
	return &Desk{
		deadline: o.Deadline,
		cache:    newCache(o.Bytes, o.TTL, o.Now),
		queue:    newQueue(max(o.Places, 1), o.Wait, o.Now, o.Waited),
	}
}

// Close ends the runs under way and waits for them: also for those whose askers
// have gone. Questions that come later get [event.ErrStopped].
func (d *Desk) Close() error {
	d.flights.close()
	return nil
}

// A Question is what is asked, as far as a [Desk] has to know.
type Question struct {
	Key     Key   // the same for the same question; the zero Key is never kept or shared
	Version int64 // of all that is read for the answer; it only grows
	Heavy   bool  // nobody knows what it costs; its run has a deadline of its own
}

// Ask returns the answer to a question: a kept one, that of a run under way, or
// what run returns. run is given a context of its own, with the values of ctx.
func Ask[T any](ctx context.Context, d *Desk, q Question, run func(context.Context) (T, error)) (T, error) {
	v, err := d.ask(ctx, q, func(ctx context.Context) (any, error) { return run(ctx) })
	if err != nil {
		var none T
		return none, err
	}
	return v.(T), nil
}

func (d *Desk) ask(ctx context.Context, q Question, run runner) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.Key == (Key{}) {
		return d.turn(ctx, q, run)
	}
	if v, ok := d.cache.get(q); ok {
		return v, nil
	}
	return d.flights.join(ctx, q, func(ctx context.Context) (any, error) {
		v, err := d.turn(ctx, q, run)
		if err == nil {
			d.cache.add(q, v)
		}
		return v, err
	})
}

// A runner answers a question.
type runner func(context.Context) (any, error)

// turn waits for a place and answers within the deadline.
func (d *Desk) turn(ctx context.Context, q Question, run runner) (any, error) {
	leave, err := d.queue.enter(ctx, event.Asker(ctx), q.Heavy)
	if err != nil {
		return nil, err
	}
	defer leave()
	if q.Heavy {
		return run(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, d.deadline)
	defer cancel()
	v, err := run(limited)
	if err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, fmt.Errorf("question took longer than %s: %w", d.deadline, context.DeadlineExceeded)
	}
	return v, err
}

// Stats are what metrics tell of a [Desk].
type Stats struct {
	Running, Waiting int   // now
	Entries          int   // kept answers
	Bytes            int64 // of them
	Hits             int64 // questions answered by a kept answer; all since New
	Misses           int64 // those that were not
	Shared           int64 // misses that joined a run under way
	Evicted          int64 // answers that went for want of room
	Refused          int64 // questions that waited in vain
}

// Stats returns the present figures.
func (d *Desk) Stats() Stats {
	var s Stats
	d.cache.stats(&s)
	d.queue.stats(&s)
	s.Shared = d.flights.shared.Load()
	return s
}
