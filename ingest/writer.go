package ingest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/ledger"
)

// maxGroup is how many events are committed at once at most.
const maxGroup = 4096

// An outcome is the writer's verdict on an event.
type outcome int

const (
	accepted  outcome = iota + 1
	duplicate         // accepted before, under the same id
	conflict          // the id was another event's
	noVisit           // an engagement whose visit is over
)

// A submission is the events of one request on their way through the writer.
type submission struct {
	events []pending  // their Seq, Visit and outcome are the writer's to set
	visits *visits    // an import's own; nil for the living
	done   chan error // one value: nil when the accepted events are durable
}

func newSubmission(events []pending, v *visits) *submission {
	return &submission{events: events, visits: v, done: make(chan error, 1)}
}

// A pool keeps submissions of a single event to be used again: one is a kilobyte,
// and there are thousands a second.
type pool struct{ sync.Pool }

func (p *pool) get() *submission {
	if s, ok := p.Get().(*submission); ok {
		return s
	}
	return newSubmission(make([]pending, 0, 1), nil)
}

// put takes a submission back with which the writer has no more to do.
func (p *pool) put(s *submission) {
	if cap(s.events) == 1 {
		clear(s.events) // the texts of a request must not stay
		s.events = s.events[:0]
		p.Put(s)
	}
}

// A writer owns the order of events. Its one goroutine commits whatever has
// queued while the commit before was under way, so that the load sets the size
// of a group and nobody waits for a timer.
type writer struct {
	in    *Ingest
	queue chan *submission // bounded by the number of requests under way
	tasks chan func()      // run between two groups, on the writer's goroutine
	quit  chan struct{}    // closed by close; then the queue is emptied and run ends
	done  chan struct{}    // closed when run has returned

	// Owned by run.
	next   int64 // the next Seq
	visits *visits
	window *window
	batch  []*submission
	events []event.Event
	ids    []byte
}

// newWriter restores what the writer knows from the ledger and the lens.
func newWriter(ctx context.Context, in *Ingest) (*writer, error) {
	o := &in.opts
	w := &writer{
		in: in, queue: make(chan *submission, 1024), tasks: make(chan func()),
		quit: make(chan struct{}), done: make(chan struct{}),
		next:   o.Ledger.LastSeq() + 1,
		visits: newVisits(o.MaxVisits),
		window: newWindow(o.Ledger, o.MaxIDs),
	}
	blocks, err := loadBlocks(ctx, o.Ledger, 0)
	if err != nil {
		return nil, err
	}
	w.window.publish(blocks, 0)
	err = o.Ledger.Groups(ctx, 0, func(g ledger.Group) error {
		w.window.addEntries(g.IDs, g.Last)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore event ids: %w", err)
	}
	since := o.Now().Add(-visitGap).UnixMicro()
	err = o.Lens.OpenVisits(ctx, since, o.MaxVisits, func(e *event.Event) error {
		w.visits.restore(e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("restore open visits: %w", err)
	}
	return w, nil
}

func (w *writer) start() { go w.run() }

// close commits what is queued and ends the goroutine. Nobody may hand over
// anything any more.
func (w *writer) close() {
	close(w.quit)
	<-w.done
}

func (w *writer) run() {
	defer close(w.done)
	for {
		select {
		case s := <-w.queue:
			w.gather()
			w.commit(s)
		case task := <-w.tasks:
			task()
		case <-w.quit:
			for len(w.queue) > 0 {
				w.commit(<-w.queue)
			}
			return
		}
	}
}

// gather lets whoever can run now do so, as long as that brings more. Requests
// that were answered together come back together, a few at a time: without this
// every second group would be the first of them alone, with a sync of its own.
// When nothing else runs it returns at once.
func (w *writer) gather() {
	const rounds = 8 // a request that goes on for longer is not waited for
	for range rounds {
		n := len(w.queue)
		runtime.Gosched()
		if len(w.queue) == n {
			return
		}
	}
}

// do runs task on the writer's goroutine and waits for it.
func (w *writer) do(ctx context.Context, task func()) error {
	ran := make(chan struct{})
	select {
	case w.tasks <- func() { task(); close(ran) }:
		<-ran
		return nil
	case <-w.done:
		return event.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// commit makes a group of a submission and all that queued behind it.
func (w *writer) commit(first *submission) {
	w.batch = append(w.batch[:0], first)
	n := len(first.events)
	for n < maxGroup {
		select {
		case s := <-w.queue:
			w.batch = append(w.batch, s)
			n += len(s.events)
			continue
		default:
		}
		break
	}
	err := event.ErrStopped
	if w.in.failed.Load() == nil {
		if why := w.write(); why == nil {
			err = nil
		} else {
			w.in.fail(fmt.Errorf("commit events: %w", why))
		}
	}
	clear(w.events) // their texts must not stay
	for i, s := range w.batch {
		w.batch[i] = nil // it is the request's own again
		s.answer(err)
	}
}

// answer tells the request. Only the first answer counts.
func (s *submission) answer(err error) {
	select {
	case s.done <- err:
	default:
	}
}

// write judges the events of the batch, and commits and buffers those that are
// accepted. An error means that it is not known what is durable.
func (w *writer) write() error {
	w.events, w.ids = w.events[:0], w.ids[:0]
	first, all, dups := w.next, 0, 0
	for _, s := range w.batch {
		all += len(s.events)
		for i := range s.events {
			if err := w.judge(s, &s.events[i]); err != nil {
				return err
			}
			if s.events[i].outcome == duplicate {
				dups++
			}
		}
	}
	w.in.counts.accept(len(w.events), dups)
	w.in.flusher.release(all - len(w.events))
	if len(w.events) == 0 {
		return nil
	}
	g := ledger.Group{
		First: first, Last: w.next - 1, Count: len(w.events),
		Received: w.events[0].Received,
		Payload:  event.Encode(make([]byte, 0, 400*len(w.events)), w.events),
		IDs:      w.ids,
	}
	if fault.AckEarly {
		for _, s := range w.batch {
			s.answer(nil)
		}
		w.batch = w.batch[:0] // once is enough: they are in use again
	}
	if err := w.in.opts.Ledger.Append(g); err != nil {
		return err
	}
	w.in.flusher.add(g)
	if tap := w.in.opts.Tap; tap != nil {
		tap(g)
	}
	return nil
}

// judge decides on one event and, if it is accepted, gives it its place.
func (w *writer) judge(s *submission, p *pending) error {
	e := &p.event
	if !e.Dedupe.IsZero() {
		seen, err := w.window.look(context.Background(), e.Dedupe, p.body)
		if err != nil {
			return err
		}
		if seen != unseen {
			p.outcome = duplicate
			if seen == reused {
				p.outcome = conflict
				w.in.counts.reject(event.RejectConflict, "")
			}
			return nil
		}
	}
	e.Seq = w.next
	open := w.visits
	if s.visits != nil {
		open = s.visits
	}
	if !open.assign(e, p.yesterday) {
		p.outcome = noVisit
		w.in.counts.reject(event.RejectNoVisit, "")
		return nil
	}
	w.in.opts.Privacy.round(e)
	if !e.Dedupe.IsZero() {
		w.window.add(e.Dedupe, p.body, e.Seq)
		w.ids = appendEntry(w.ids, e.Dedupe, p.body)
	}
	p.outcome = accepted
	w.next++
	w.events = append(w.events, *e)
	return nil
}

// published takes up the id blocks that were made since the last time.
func (w *writer) published(ctx context.Context) error {
	var after int64
	if err := w.do(ctx, func() { after = w.window.newest() }); err != nil {
		return err
	}
	published := w.in.opts.Ledger.Published()
	blocks, err := loadBlocks(ctx, w.in.opts.Ledger, after)
	if err != nil {
		return err
	}
	return w.do(ctx, func() { w.window.publish(blocks, published) })
}

// expire closes visits that are over, and drops the id blocks that are older
// than a day or more than the window has room for.
func (w *writer) expire(ctx context.Context, now time.Time) error {
	before := now.Add(-idLife).UnixMicro()
	err := w.do(ctx, func() {
		w.visits.expire(now.UnixMicro())
		w.window.drop(before)
		before = max(before, w.window.oldest())
	})
	if err != nil {
		return err
	}
	if _, err := w.in.opts.Ledger.DropIDBlocks(ctx, before); err != nil {
		return fmt.Errorf("drop event ids: %w", err)
	}
	return nil
}
