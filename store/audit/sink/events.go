package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// An Event is one that is copied.
type Event struct {
	Seq  int64
	Time int64 // µs
	Site string
	Name string
	Data []byte // a JSON object with the rest, whose numbers PostgreSQL's numeric has room for

	Received int64 // µs; by it the lag is told, and it is not copied
}

// Events is where events are read from: the store, as cmd adapts it.
type Events interface {
	// Newest returns the seq of the newest event that survives a power failure, 0 if
	// there is none. It does not become less.
	Newest() int64

	// Events returns those above after, by seq: at most so many, and none after those
	// whose data have so many bytes. Between after and upto there are no others, and
	// there never will be. It sees what a withdrawal that was returned before is of as
	// erased.
	Events(ctx context.Context, after int64, most, bytes int) (batch []Event, upto int64, err error)

	// Grown receives when there are more, or a withdrawal. It may be nil.
	Grown() <-chan struct{}
}

// A Withdrawal is of the events up to Upto that meet all that is set: they are erased
// here, and have to go there.
type Withdrawal struct {
	ID            int64
	Upto          int64
	Site          string
	From, To      int64  // µs, From ≤ time < To; 0 is an open end
	Visitor, User string // as data has them
}

// Withdrawals are those that wait, as the ledger keeps them.
type Withdrawals interface {
	// Next returns the one that has waited longest, or false.
	Next(ctx context.Context) (Withdrawal, bool, error)

	// Done is called when none of its events is there any more, and this many were taken
	// away since the process was started.
	Done(ctx context.Context, w Withdrawal, rows int64) error
}

// An EventCopier brings events to PostgreSQL, as a [Copier] does entries: above the
// newest seq that is there, batch by batch, with no queue.
//
// What is copied is there once, and not before it would survive a power failure here.
// What was erased here is withdrawn there, before any more is copied; Withdrawals must
// be durable with the erasure, so that a crash between the two leaves it to be done
// again. A transaction whose answer was lost, and whose end is not known, is waited for:
// what it was to add cannot come after what withdraws it.
//
// The newest seq that is there is the only mark. If the database was put back to an
// older state, what it lacks is copied again. It then has also what was withdrawn since,
// of which nothing here knows any more: erase it once more. If it is the ledger that is
// older, there are events that are not here, and copying stops with [ErrAhead].
type EventCopier struct {
	sink   *PostgresEvents
	events Events // nil for one that only withdraws
	waits  Withdrawals
	opts   Options
	log    *slog.Logger
	w      *worker

	// Owned by the goroutine.
	marked bool
	acked  int64 // the newest seq there when it was last told; unknown before that
	at     place

	mu     sync.Mutex // guards what follows, of which the goroutine alone writes
	stats  Stats
	last   int64 // up to here all is there
	oldest time.Time
}

// unknown is how far a copy is of which nothing is known: after a start, and after a
// withdrawal, which may have taken the newest.
const unknown = -1

// A place is how far a withdrawal has come.
type place struct{ id, after, rows int64 }

// NewEventCopier starts to copy. The copier owns the sink from here on. If events is
// nil nothing is copied any more, and withdrawals are carried out all the same.
// Options.Compare has no meaning here: events prove nothing.
func NewEventCopier(p *PostgresEvents, events Events, w Withdrawals, o Options) *EventCopier {
	c := &EventCopier{sink: p, events: events, waits: w, opts: o.filled(), acked: unknown, stats: Stats{Sink: p.Name()}}
	c.oldest, c.log = c.opts.Now(), c.opts.Log.With("sink", c.stats.Sink)
	var grown <-chan struct{}
	if events != nil {
		grown = events.Grown()
	}
	c.w = startWorker(c.opts, c.log, grown, c.step)
	return c
}

// Close tries for a last time to copy what is left, as long as ctx lets it, waits for
// the goroutine and closes the sink.
func (c *EventCopier) Close(ctx context.Context) error {
	c.w.close(ctx)
	return c.sink.Close()
}

// Stats returns what the copier has done. LagRows counts sequence numbers, and so also
// those of events that were erased.
func (c *EventCopier) Stats() Stats {
	newest := int64(0)
	if c.events != nil {
		newest = c.events.Newest()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	if s.LagRows = max(0, newest-c.last); s.LagRows > 0 {
		s.Lag = max(0, c.opts.Now().Sub(c.oldest))
	}
	return s
}

// step withdraws a stretch, or copies a batch.
func (c *EventCopier) step(ctx context.Context) (more bool, err error) {
	// Not even a copy that is not to be trusted keeps what was erased.
	if more, err = c.withdraw(ctx); err == nil && !more && c.events != nil && !c.alarmed() {
		more, err = c.advance(ctx)
	}
	if err == nil {
		return more, nil
	}
	c.marked = false
	c.mu.Lock()
	defer c.mu.Unlock()
	if !errors.Is(err, ErrFork) && !errors.Is(err, ErrAhead) {
		c.stats.Errors++
		return false, err
	}
	c.stats.Alarm = err
	c.log.Error("copy is stopped", "err", err)
	c.opts.Alarm(err)
	return false, nil
}

func (c *EventCopier) alarmed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.Alarm != nil
}

// withdraw takes some of what is to be withdrawn away. It says whether there was any.
func (c *EventCopier) withdraw(ctx context.Context) (more bool, err error) {
	w, found, err := c.waits.Next(ctx)
	if err != nil || !found {
		return false, err
	}
	if c.at.id != w.ID {
		c.at = place{id: w.ID}
	}
	rows, after, err := c.sink.Withdraw(ctx, w, c.at.after)
	if err != nil {
		return false, fmt.Errorf("erase events in PostgreSQL: %w", err)
	}
	c.at.rows += rows
	c.at.after, c.marked, c.acked = after, false, unknown
	if after < w.Upto {
		return true, nil
	}
	return true, c.waits.Done(ctx, w, c.at.rows)
}

// advance copies a batch.
func (c *EventCopier) advance(ctx context.Context) (more bool, err error) {
	if !c.marked {
		if err := c.mark(ctx); err != nil {
			return false, err
		}
	}
	batch, upto, err := c.events.Events(ctx, c.last, maxRows, maxBytes) // last: only this goroutine writes it
	if err != nil {
		return false, err
	}
	if len(batch) > 0 {
		return true, c.put(ctx, batch, upto)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.oldest = max(c.last, upto), c.opts.Now()
	// Nothing keeps the mark true for ever: it is asked for in every round.
	c.marked = false
	return false, nil
}

// mark asks PostgreSQL how far it is. If that is not where it was left, a stretch before
// the mark is copied again, so that it is compared.
func (c *EventCopier) mark(ctx context.Context) error {
	there, err := c.sink.Mark(ctx)
	if err != nil {
		return fmt.Errorf("ask PostgreSQL for the newest event: %w", err)
	}
	if newest := c.events.Newest(); there > newest {
		return fmt.Errorf("%w: it has event %d of %s, and here the newest is %d", ErrAhead, there, c.sink.instance, newest)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if there < c.acked {
		c.stats.Refilled++
		c.log.Warn("copy has lost events, and gets them again; if the database was restored from a backup, erase again what was erased since", "had", c.acked, "has", there)
	}
	if there != c.acked {
		c.last = max(0, there-maxRows)
	}
	c.acked, c.marked = there, true
	return nil
}

func (c *EventCopier) put(ctx context.Context, batch []Event, upto int64) error {
	c.mu.Lock()
	c.stats.Attempted += int64(len(batch))
	for _, e := range batch {
		c.stats.Bytes += int64(len(e.Data))
	}
	c.oldest = time.UnixMicro(batch[0].Received)
	c.mu.Unlock()
	start := time.Now()
	inserted, err := c.sink.Put(ctx, batch)
	if err != nil {
		return fmt.Errorf("copy %d events after %d to PostgreSQL: %w", len(batch), c.last, err)
	}
	newest := batch[len(batch)-1]
	c.acked = max(c.acked, newest.Seq)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Inserted += int64(inserted)
	c.stats.Duration = time.Since(start)
	c.last = upto
	c.oldest = time.UnixMicro(newest.Received)
	return nil
}
