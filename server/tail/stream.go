package tail

import (
	"fmt"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// FromNow is what a listener who has seen nothing says that he saw last.
const FromNow = -1

// An item is what a [Shown] is made of, and shares the memory of its kind.
type item struct {
	seq       int64
	event     event.Frame // "" where events were missed
	missed    int64
	uncounted bool
}

// A Stream is what one listener has not taken yet. One goroutine takes from it.
type Stream struct {
	tap   *Tap
	site  string
	keep  func(*event.Event) bool
	ready chan struct{} // holds one: there is something to take

	// Guarded by the tap's mutex.
	items []item
	bytes int
}

// Listen follows the events of a site for which a filter holds. after is the last
// event that the listener has seen, or [FromNow]. A filter that cannot be told by
// a single event is an [event.QueryError]. Whoever listens calls [Stream.Close].
func (t *Tap) Listen(domain string, f event.Filter, after int64) (*Stream, error) {
	keep, err := plan.Match(f)
	if err != nil {
		return nil, err
	}
	st := &Stream{tap: t, site: domain, keep: keep, ready: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sites) == 0 {
		t.on.Store(true) // before the look at the journal: what is committed after that is offered
		t.last = max(t.last, t.o.Durable())
	}
	s := t.sites[domain]
	if s == nil {
		s = &site{from: t.last, streams: map[*Stream]bool{}}
		t.sites[domain] = s
	}
	s.streams[st] = true
	t.streams++
	if after != FromNow {
		st.catchUp(s, after)
	}
	return st, nil
}

// catchUp gives a stream what is kept of the events after one.
func (st *Stream) catchUp(s *site, after int64) {
	if after < s.from {
		st.miss(item{seq: s.from, uncounted: true})
	}
	for _, it := range s.kept {
		if it.seq > after {
			st.push(it)
		}
	}
}

// Close ends the stream.
func (st *Stream) Close() {
	t := st.tap
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sites[st.site]
	if s == nil || !s.streams[st] {
		return
	}
	delete(s.streams, st)
	t.streams--
	if len(s.streams) > 0 {
		return
	}
	s.left = t.o.Now()
	t.crowdOut()
}

// crowdOut bounds the sites to which nobody listens any more.
func (t *Tap) crowdOut() {
	for {
		n, oldest := 0, ""
		for domain, s := range t.sites {
			if len(s.streams) > 0 {
				continue
			}
			if n++; oldest == "" || s.left.Before(t.sites[oldest].left) {
				oldest = domain
			}
		}
		if n <= lingering {
			return
		}
		delete(t.sites, oldest)
	}
}

// Ready receives when there is something to take.
func (st *Stream) Ready() <-chan struct{} { return st.ready }

// A Shown is what a listener sees next: an event, or that he missed some.
type Shown struct {
	Seq       int64
	Event     *event.Event // nil where events were missed
	Missed    int64        // how many events of the site, at least
	Uncounted bool         // there may have been more, which nobody has counted
}

// Take calls show for what there is, in its order, and returns up to which event
// of the server nothing is left: who comes back says that number. It stops at the
// first error, and returns it; what is left then is lost.
func (st *Stream) Take(show func(Shown) error) (upTo int64, err error) {
	t := st.tap
	t.mu.Lock()
	items := st.items
	upTo, st.items, st.bytes = t.last, nil, 0
	t.mu.Unlock()
	for _, it := range items {
		if it.event == "" {
			err = show(Shown{Seq: it.seq, Missed: it.missed, Uncounted: it.uncounted})
		} else {
			var e event.Event
			if e, err = it.event.Decode(); err != nil {
				return upTo, fmt.Errorf("tail: internal error: %w", err)
			}
			if !st.keep(&e) {
				continue
			}
			err = show(Shown{Seq: it.seq, Event: &e})
		}
		if err != nil {
			return upTo, err
		}
	}
	return upTo, nil
}

// give adds an event. It says false if there is no room: then the event counts as
// missed, and so do those after it, until something is taken.
func (st *Stream) give(it item) bool {
	if n := len(st.items); n >= bufferEvents || st.bytes+len(it.event) > bufferBytes && n > 0 {
		st.miss(item{seq: it.seq, missed: 1})
		return false
	}
	st.push(it)
	return true
}

// miss adds what was missed to what was missed just before, if something was.
func (st *Stream) miss(it item) {
	if n := len(st.items); n > 0 && st.items[n-1].event == "" {
		before := &st.items[n-1]
		before.seq, before.missed, before.uncounted = it.seq, before.missed+it.missed, before.uncounted || it.uncounted
		return
	}
	st.push(it)
}

func (st *Stream) push(it item) {
	st.items = append(st.items, it)
	st.bytes += len(it.event)
	select {
	case st.ready <- struct{}{}:
	default:
	}
}
