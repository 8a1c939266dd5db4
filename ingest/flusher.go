package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/ledger"
)

// flushRetry is how long the flusher waits after the lens refused a batch.
const flushRetry = time.Second

// maxFlush is how many bytes of groups are handed to the lens at once, or one group.
const maxFlush = 4 << 20

// A flusher holds the buffer: groups that are durable and that no report shows
// yet. It keeps them as the journal has them, at a third of the memory that the
// decoded events would take. One goroutine empties it.
type flusher struct {
	lens     Lens
	log      *slog.Logger
	interval time.Duration
	count    int
	limit    int64
	size     int64 // most bytes, but for what is on its way through the writer

	taken atomic.Int64 // events reserved, whether on their way through the writer or in the buffer

	bytes atomic.Int64 // of the groups

	mu      sync.Mutex // guards the four below
	groups  []ledger.Group
	events  int
	leaving int   // those of them that are being flushed
	err     error // why the last flush failed; nil after one that did not

	wake  chan struct{} // there is something in the buffer
	full  chan struct{} // there is enough of it not to wait
	asked chan chan error
	quit  chan struct{}
	done  chan struct{}
}

func newFlusher(o Options) *flusher {
	return &flusher{
		lens: o.Lens, log: o.Log, count: o.FlushCount, limit: int64(o.MaxBuffered), size: o.MaxBufferSize,
		// The flush itself takes its time too, and is part of the promise.
		interval: o.FlushInterval * 3 / 4,
		wake:     make(chan struct{}, 1), full: make(chan struct{}, 1),
		asked: make(chan chan error), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

func (f *flusher) start() { go f.run() }

// reserve asks for room for n events. More than the limit fit only if nothing
// else waits.
func (f *flusher) reserve(n int) bool {
	if f.bytes.Load() > f.size {
		return false
	}
	if now := f.taken.Add(int64(n)); now > f.limit && now > int64(n) {
		f.taken.Add(-int64(n))
		return false
	}
	return true
}

// release gives back room that was reserved.
func (f *flusher) release(n int) { f.taken.Add(-int64(n)) }

// add puts a durable group into the buffer. Room for it was reserved before.
func (f *flusher) add(g ledger.Group) {
	f.mu.Lock()
	f.groups = append(f.groups, g)
	f.events += g.Count
	full := f.bytes.Add(int64(len(g.Payload))) > f.size/2 || f.events-f.leaving >= f.count
	f.mu.Unlock()
	signal(f.wake)
	if full {
		signal(f.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is known already
	}
}

// waiting returns how much waits.
func (f *flusher) waiting() (events int, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events, f.bytes.Load()
}

func (f *flusher) healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("flush: %w", f.err)
	}
	return nil
}

// flush empties the buffer now and waits for it.
func (f *flusher) flush(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case f.asked <- reply:
	case <-f.done:
		return event.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close flushes what is left and ends the goroutine. What cannot be flushed is
// in the journal, and comes back at the next start.
func (f *flusher) close() error {
	close(f.quit)
	<-f.done
	return f.healthy()
}

func (f *flusher) run() {
	defer close(f.done)
	for {
		select {
		case <-f.wake:
			if !f.wait() {
				f.flushAll()
				return
			}
			if err := f.flushAll(); err != nil {
				f.retry(err)
			}
		case reply := <-f.asked:
			reply <- f.flushAll()
		case <-f.quit:
			f.flushAll()
			return
		}
	}
}

// wait lets the buffer fill until it is due. It says false when it is time to
// end.
func (f *flusher) wait() bool {
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-f.full:
			return true
		case reply := <-f.asked:
			reply <- f.flushAll()
		case <-f.quit:
			return false
		}
	}
}

// retry says what went wrong, waits, and sees to it that it is tried again.
func (f *flusher) retry(err error) {
	f.log.Error("flush failed; the events are safe in the journal", "err", err)
	select {
	case <-time.After(flushRetry):
	case <-f.quit:
	}
	signal(f.wake)
}

// flushAll hands the buffer to the lens, a few groups at a time. What is added
// meanwhile has time until the next flush: under load there is always a little,
// and a flush of a few events costs the lens as much as one of a thousand.
func (f *flusher) flushAll() error {
	for left, _ := f.waiting(); left > 0; {
		groups, n := f.take()
		left -= n
		select {
		case <-f.full: // said of what has just been taken; the next add that fills it says so again
		default:
		}
		events, err := decodeGroups(groups, n)
		if err == nil {
			fault.Point("flush: before")
			err = f.lens.Flush(context.Background(), events)
			fault.Point("flush: after")
		}
		f.finish(groups, n, err)
		if err != nil {
			return err
		}
	}
	return nil
}

// take returns the first groups of the buffer, without removing them.
func (f *flusher) take() (groups []ledger.Group, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size := 0
	for i := range f.groups {
		if n > 0 && (n+f.groups[i].Count > 2*maxGroup || size+len(f.groups[i].Payload) > maxFlush) {
			break
		}
		n, size = n+f.groups[i].Count, size+len(f.groups[i].Payload)
		groups = f.groups[:i+1]
	}
	f.leaving = n
	return groups, n
}

// finish removes groups that were flushed, or keeps them and the reason.
func (f *flusher) finish(groups []ledger.Group, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.leaving = err, 0
	if err != nil {
		return
	}
	for i := range groups {
		f.bytes.Add(-int64(len(groups[i].Payload)))
		groups[i] = ledger.Group{} // the payload's memory
	}
	f.groups = f.groups[len(groups):]
	if len(f.groups) == 0 {
		f.groups = nil
	}
	f.events -= n
	f.release(n)
}

// decodeGroups decodes groups whose payloads nobody changes any more; their
// events share that memory.
func decodeGroups(groups []ledger.Group, n int) ([]event.Event, error) {
	events := make([]event.Event, 0, n)
	for _, g := range groups {
		frames, err := event.Frames(unsafe.String(unsafe.SliceData(g.Payload), len(g.Payload)))
		for i := 0; i < len(frames) && err == nil; i++ {
			var e event.Event
			e, err = frames[i].Decode()
			events = append(events, e)
		}
		if err != nil {
			return nil, errors.Join(errors.New("ingest: internal error: a group of our own does not decode"), err)
		}
	}
	return events, nil
}
