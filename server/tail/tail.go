// Package tail shows events to whoever listens, at the moment they have become
// durable.
//
// # Promise
//
// A listener gets the events of one site that his filter holds for, in the order
// of their sequence numbers, each at most once, and none before its group is in
// the journal. Imports are left out: they are about another time. The filter runs
// on the listener's own goroutine, so that a dear one delays nobody else.
//
// Nothing waits for a listener. What takes events in hands over each group by
// [Tap.Offer], which costs one atomic load when nobody listens, and else never
// blocks: what there is no room for is dropped, and in its place the listener is
// told that he missed something, and how much if anybody has counted it.
//
// Somebody who comes back, and says what he saw last, gets what he has missed
// since, if it is among the last 100 events of the site (64 KiB at most) and
// somebody has listened to that site within the last minute. If not, he is told
// that there may have been more.
//
// # Bounds
//
// Memory is bounded by the number of streams, which is the caller's to limit: a
// stream holds up to 1024 events and 512 KiB that have not been taken, a site that
// is listened to its last events, and so do 16 sites that were listened to a moment
// ago. Groups of up to 4 MiB wait for the goroutine.
//
// # On disk
//
// Nothing, and a crash leaves nothing: after a restart whoever comes back is told
// whether the server has taken events that he has not seen.
package tail

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

const (
	waitingGroups = 256
	waitingBytes  = 4 << 20 // of payload, unless it is a single group
	keptEvents    = 100     // of a site
	keptBytes     = 64 << 10
	bufferEvents  = 1024 // of a stream
	bufferBytes   = 512 << 10
	linger        = time.Minute // how long a site is followed after its last listener has gone
	lingering     = 16          // most sites that are
)

// Options adjust a [Tap].
type Options struct {
	Durable func() int64     // the last event that is in the journal; needed
	Now     func() time.Time // nil is time.Now
}

// A Tap takes groups in and shows their events. It is safe for concurrent use.
// Its one goroutine is started by [New] and ends with [Tap.Close].
type Tap struct {
	o Options

	on      atomic.Bool  // somebody listens, or did a moment ago
	waiting atomic.Int64 // bytes in the queue
	dropped atomic.Int64 // last event of the newest group that found no room in it
	missed  atomic.Int64 // events that were not shown to a listener, for each of them
	queue   chan ledger.Group
	quit    chan struct{} // closed by Close
	done    chan struct{} // closed when the goroutine has returned

	mu      sync.Mutex // guards the fields below and those of every site and stream
	sites   map[string]*site
	last    int64 // the last event that has been looked at
	streams int
}

// A site is one that somebody listens to, or did a moment ago.
type site struct {
	from    int64 // all of its events after this one are in kept
	kept    []item
	bytes   int
	streams map[*Stream]bool
	left    time.Time // when the last listener went
}

// New returns a tap to which nobody listens yet.
func New(o Options) *Tap {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Tap{
		o: o, sites: map[string]*site{},
		queue: make(chan ledger.Group, waitingGroups), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go t.run()
	return t
}

// Close ends the goroutine. What is offered afterwards is shown to nobody.
func (t *Tap) Close() error {
	close(t.quit)
	<-t.done
	return nil
}

// Offer hands over a group that is durable. Groups come in their order, from one
// goroutine. It does not block; the payload is kept for a moment and must not change.
func (t *Tap) Offer(g ledger.Group) {
	if !t.on.Load() {
		return
	}
	n := int64(len(g.Payload))
	if now := t.waiting.Add(n); now <= waitingBytes || now == n {
		select {
		case t.queue <- ledger.Group{First: g.First, Last: g.Last, Count: g.Count, Payload: g.Payload}:
			return
		default:
		}
	}
	t.waiting.Add(-n)
	t.missed.Add(int64(g.Count))
	t.dropped.Store(g.Last)
}

// Stats returns how many streams there are, and how many events were missed since
// the start: by each listener that was too slow, and once if by the tap itself.
func (t *Tap) Stats() (streams int, missed int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams, t.missed.Load()
}

// Forget drops what is kept of a site for those who come back: some of it has been
// erased. "" is every site.
func (t *Tap) Forget(domain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.sites {
		if domain == "" || domain == name {
			s.kept, s.bytes, s.from = nil, 0, t.last
		}
	}
}

func (t *Tap) run() {
	defer close(t.done)
	for {
		select {
		case g := <-t.queue:
			t.waiting.Add(-int64(len(g.Payload)))
			t.show(g)
		case <-t.quit:
			return
		}
	}
}

// show looks at the events of a group.
func (t *Tap) show(g ledger.Group) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep()
	if !t.on.Load() || g.Last <= t.last { // it was durable before anybody listened
		return
	}
	if g.First > t.last+1 {
		t.gap(g.First - 1)
	}
	t.last = g.Last
	frames, err := event.Frames(unsafe.String(unsafe.SliceData(g.Payload), len(g.Payload)))
	if err != nil {
		panic("tail: internal error: " + err.Error()) // the journal has just taken it
	}
	for _, f := range frames {
		_, domain, _ := f.Key()
		if s := t.sites[domain]; s != nil {
			t.missed.Add(s.show(f))
		}
	}
	if lost := t.dropped.Load(); len(t.queue) == 0 && lost > t.last {
		t.gap(lost) // or nobody would hear of it before the next event
	}
}

// gap tells everyone that groups up to an event were dropped.
func (t *Tap) gap(last int64) {
	t.last = last
	for _, s := range t.sites {
		s.kept, s.bytes, s.from = nil, 0, last
		for st := range s.streams {
			st.miss(item{seq: last, uncounted: true})
		}
	}
}

// show keeps an event and gives it to who listens. It returns how many of them had
// no room for it.
func (s *site) show(f event.Frame) (missed int64) {
	e, err := f.Decode()
	if err != nil {
		panic("tail: internal error: " + err.Error())
	}
	if e.Via == event.ViaImport {
		return 0
	}
	it := item{seq: e.Seq, event: event.Frame(strings.Clone(string(f)))} // of its own: a group is large
	s.kept = append(s.kept, it)
	s.bytes += len(f)
	for len(s.kept) > keptEvents || s.bytes > keptBytes {
		s.from = s.kept[0].seq
		s.bytes -= len(s.kept[0].event)
		s.kept[0] = item{}
		s.kept = s.kept[1:]
	}
	for st := range s.streams {
		if !st.give(it) {
			missed++
		}
	}
	return missed
}

// sweep forgets sites that nobody has listened to for a while.
func (t *Tap) sweep() {
	before := t.o.Now().Add(-linger)
	for domain, s := range t.sites {
		if len(s.streams) == 0 && s.left.Before(before) {
			delete(t.sites, domain)
		}
	}
	t.on.Store(len(t.sites) > 0)
}
