// Package ingest takes events in: it decodes them, holds them against the rules,
// enriches them, gives each its place, makes them durable, and hands them to the
// lens in batches.
//
// # Promise
//
// When [Ingest.Event], [Ingest.Pixel] or [Ingest.Batch] returns, every event in
// its Accepted is durable in the ledger's journal, will be in the history exactly
// once, and is in every report within [Options.FlushInterval]. Accepted,
// Duplicates and the length of Rejected add up to what was sent.
//
// An event with an id of its own is accepted once: sent again within a day it is
// a duplicate. Without an id, a client that got no answer and sends again may be
// counted twice, since nobody can tell its retry from a second event.
//
// The visitor's address and user agent are used while the request lasts and then
// forgotten. Nothing here stores or logs them.
//
// # Life of an event
//
// The goroutine of the request decodes, checks and enriches ([item], [pending]),
// with others if it is a large batch, then hands its events to the writer and
// waits. The writer, one goroutine, takes whatever has queued while its last
// commit ran, gives out sequence numbers, visits and verdicts on ids, and commits
// the group: there is no timer. Then it answers the requests, and puts the group
// into the buffer. The flusher, another goroutine, hands the buffer to the lens
// when it is full or old enough.
//
// # What a crash leaves
//
// Before the commit nothing was promised and nothing is kept. After it the group
// is in the journal, from which [New] restores the ids of the window and the lens
// its hot rows; the open visits come back from the lens. A commit that fails
// leaves the journal in a state nobody knows, so nothing is acknowledged after
// it: [Options.Failed] is called and every later call returns [event.ErrStopped].
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"net/netip"

	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A Lens shows events to queries. Ingest is its only writer.
type Lens interface {
	// Flush makes the events visible. They come in the order of Seq, without a
	// gap; those that it shows already it leaves out. It keeps none of them.
	Flush(ctx context.Context, events []event.Event) error

	// OpenVisits calls fn for the first and the last event since a time (µs) of each
	// visitor's latest visit, in the order of Seq; of more than limit visitors for
	// those that were heard of last. The event and its texts are fn's only
	// until it returns.
	OpenVisits(ctx context.Context, since int64, limit int, fn func(*event.Event) error) error

	// KnownIDs says which of the ids events of a site carry that happened on
	// those days, the last included.
	KnownIDs(ctx context.Context, site string, from, to event.Day, ids []event.ID) (map[event.ID]bool, error)
}

// Options adjust an [Ingest]. Ledger, Lens, Places, Secret and Log are needed;
// the zero value of any other field is its default.
type Options struct {
	Ledger *ledger.Ledger
	Lens   Lens
	Places *enrich.Places
	Secret []byte // keys the hashes of user and event ids; the same for the life of the data
	Log    *slog.Logger

	Sites     []string // if not empty, the only ones that events are taken for
	AutoSites bool     // a site is made by the first event that names it

	FlushInterval time.Duration // longest time from the commit to the reports; 0 means 1 s
	FlushCount    int           // events after which a flush does not wait; 0 means 4096
	MaxBuffered   int           // events not yet flushed, above which [event.ErrFull]; 0 means 100,000
	MaxBufferSize int64         // bytes of them in the journal, above which the same; 0 means 64 MiB
	MaxVisits     int           // open visits remembered; 0 means 50,000
	MaxIDs        int           // published ids remembered, at 2 bytes each; 0 means 2,000,000

	RatePerSite int // events a second; 0 is no limit
	RatePerAddr int // events a second; 0 is no limit

	FilterBots bool
	RespectGPC bool
	Privacy    Privacy

	// Disk, if not nil, says whether the volume has room for more.
	Disk func() error
	// Relieve, if not nil, is called by an import between two commits. It returns when
	// there is room for more: an import brings events faster than they are published.
	Relieve func(ctx context.Context) error
	// Failed, if not nil, is called once, when a commit has failed and nothing
	// will be accepted any more.
	Failed func(error)
	// Tap, if not nil, is given every group once it is durable, in their order and
	// by one goroutine, before the requests are answered. It must not block, and
	// may keep the payload, which nobody changes; the ids it must not.
	Tap func(ledger.Group)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// An Ingest takes events in. It is safe for concurrent use. Its two goroutines,
// the writer and the flusher, end with [Ingest.Close].
type Ingest struct {
	opts     Options
	log      *slog.Logger
	now      func() time.Time
	sites    *sites
	identity *identity
	agents   *enrich.Agents
	bots     *enrich.Bots
	sources  *enrich.Sources
	places   *enrich.Places
	perSite  *limiter[string]
	perAddr  *limiter[netip.Addr]
	counts   counts
	singles  pool

	writer  *writer
	flusher *flusher

	mu     sync.RWMutex // held for reading while a request hands over its events, for writing by Close
	closed bool
	failed atomic.Pointer[error] // why nothing is accepted any more
}

// New restores the window of ids and the open visits, and starts to take events.
func New(ctx context.Context, o Options) (*Ingest, error) {
	o.setDefaults()
	in := &Ingest{
		opts: o, log: o.Log, now: o.Now,
		identity: newIdentity(o.Ledger, o.Secret),
		agents:   enrich.NewAgents(0),
		bots:     enrich.NewBots(),
		sources:  enrich.NewSources(),
		places:   o.Places,
		perSite:  newLimiter[string](o.RatePerSite),
		perAddr:  newLimiter[netip.Addr](o.RatePerAddr),
	}
	var err error
	if in.sites, err = openSites(ctx, o.Ledger, o.Sites, o.AutoSites, o.Now()); err != nil {
		return nil, err
	}
	in.flusher = newFlusher(o)
	if in.writer, err = newWriter(ctx, in); err != nil {
		return nil, err
	}
	in.flusher.start()
	in.writer.start()
	return in, nil
}

func (o *Options) setDefaults() {
	if o.FlushInterval <= 0 {
		o.FlushInterval = time.Second
	}
	if o.FlushCount <= 0 {
		o.FlushCount = 4096
	}
	if o.MaxBuffered <= 0 {
		o.MaxBuffered = 100_000
	}
	if o.MaxBufferSize <= 0 {
		o.MaxBufferSize = 64 << 20
	}
	o.FlushCount = min(o.FlushCount, o.MaxBuffered) // or the buffer would be full before it is due
	if o.MaxVisits <= 0 {
		o.MaxVisits = 50_000
	}
	if o.MaxIDs <= 0 {
		o.MaxIDs = 2_000_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Close stops accepting, commits what has been handed over, flushes it, and ends
// both goroutines. It returns why the ingest had failed before, if it had.
func (in *Ingest) Close() error {
	in.mu.Lock()
	was := in.closed
	in.closed = true
	in.mu.Unlock()
	if was {
		return nil
	}
	in.writer.close()
	err := in.flusher.close()
	if p := in.failed.Load(); p != nil {
		err = errors.Join(*p, err)
	}
	return err
}

// Flush hands everything that is durable to the lens and returns when reports
// show it.
func (in *Ingest) Flush(ctx context.Context) error { return in.flusher.flush(ctx) }

// Event takes the body of POST /api/event. Its error is a *[event.FieldError],
// a *[event.LimitError], [event.ErrFull], [event.ErrDiskFull], [event.ErrStopped]
// or the context's.
func (in *Ingest) Event(ctx context.Context, body []byte, c event.Client) (event.Result, error) {
	it, err := decodeEvent(body)
	return in.one(ctx, event.ViaPage, it, err, c)
}

// Pixel takes the query of GET /api/event. Its errors are those of Event.
func (in *Ingest) Pixel(ctx context.Context, q url.Values, c event.Client) (event.Result, error) {
	it, err := pixelItem(q)
	return in.one(ctx, event.ViaPixel, it, err, c)
}

// one takes a single item, for each of the sites it names.
func (in *Ingest) one(ctx context.Context, via string, it item, err error, c event.Client) (event.Result, error) {
	if err != nil {
		in.counts.reject(event.RejectInvalid, "")
		return event.Result{}, err
	}
	if err := in.accepting(); err != nil {
		return event.Result{}, err
	}
	it.Time = time.Time{} // whoever has no key does not say when it happened
	now := in.now()
	if err := in.perAddr.take(limitKey(c.Addr), 1, now); err != nil {
		in.counts.reject(event.RejectRate, "")
		return event.Result{}, err
	}
	src := source{via: via, client: c, identity: in.identity, now: now}
	var res event.Result
	s := in.singles.get()
	events := s.events[:0]
	for i, domain := range it.Domains {
		var err error
		if events, err = in.prepare(ctx, &src, &it, domain, events); err == nil {
			events[len(events)-1].index = i
			continue
		}
		r, ok := in.rejection(i, err)
		if !ok || r.Code == event.RejectInvalid || r.Code == event.RejectRate {
			return event.Result{}, err
		}
		res.Rejected = append(res.Rejected, r)
	}
	s.events = events
	answered, err := in.commit(ctx, &res, s)
	slices.SortStableFunc(res.Rejected, byIndex)
	if answered {
		in.singles.put(s)
	}
	return res, err
}

// Batch takes the body of POST /api/events, decompressed and limited by the
// caller: a JSON array, or one event a line if ndjson. If site is not empty,
// events of other sites are rejected: the key may send for that one only. Its
// errors are those of Event. After an error nothing of the batch was accepted, but for
// [event.ErrStopped], after which the first of it may be durable.
func (in *Ingest) Batch(ctx context.Context, body io.Reader, ndjson bool, c event.Client, site string) (event.Result, error) {
	if err := in.accepting(); err != nil {
		return event.Result{}, err
	}
	var res event.Result
	err := readBatch(body, func(body []byte) error {
		items, err := itemsOf(body, ndjson)
		if err != nil {
			return err
		}
		// A client that goes away in the middle of it does not leave half a batch.
		src := source{via: event.ViaBatch, client: c, identity: in.identity, now: in.now()}
		return in.takeBatch(context.WithoutCancel(ctx), &src, items, site, &res)
	})
	if err != nil {
		return event.Result{}, err
	}
	return res, nil
}

// accepting says whether events are taken at all now.
func (in *Ingest) accepting() error {
	if in.failed.Load() != nil {
		return event.ErrStopped
	}
	if in.opts.Disk != nil {
		return in.opts.Disk()
	}
	return nil
}

// commit hands a submission to the writer, waits for its verdicts and adds them
// to res. A request that has gone does not take its events with it: they are
// stored. It is answered when the writer has no more to do with it.
func (in *Ingest) commit(ctx context.Context, res *event.Result, s *submission) (answered bool, err error) {
	if len(s.events) == 0 {
		return true, nil
	}
	if err := in.reserve(ctx, len(s.events), s.visits != nil); err != nil {
		return true, err
	}
	if err := in.hand(s); err != nil {
		return true, err
	}
	select {
	case err := <-s.done:
		if err != nil {
			return false, err
		}
	case <-ctx.Done():
		return false, ctx.Err()
	}
	in.tally(res, s)
	return true, nil
}

// reserve asks for room in the buffer. An import waits for it, everyone else is
// refused.
func (in *Ingest) reserve(ctx context.Context, n int, wait bool) error {
	for !in.flusher.reserve(n) {
		if !wait {
			return event.ErrFull
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// hand puts a submission into the writer's queue. Room for it was reserved before,
// and is the writer's to release, if there is no error.
func (in *Ingest) hand(s *submission) error {
	in.mu.RLock()
	defer in.mu.RUnlock()
	if in.closed || in.failed.Load() != nil {
		in.flusher.release(len(s.events))
		return event.ErrStopped
	}
	in.writer.queue <- s
	return nil
}

// tally adds the writer's verdicts to a result.
func (in *Ingest) tally(res *event.Result, s *submission) {
	for i := range s.events {
		p := &s.events[i]
		switch p.outcome {
		case accepted:
			res.Accepted++
			res.LastSeq = max(res.LastSeq, p.event.Seq)
		case duplicate:
			res.Duplicates++
		case conflict:
			res.Rejected = append(res.Rejected, event.Rejection{Index: p.index, Code: event.RejectConflict,
				Message: "another event was accepted under this id; give every event an id of its own"})
		case noVisit:
			res.Rejected = append(res.Rejected, event.Rejection{Index: p.index, Code: event.RejectNoVisit,
				Message: "its visit has ended; an engagement goes with the pageview before it"})
		}
	}
}

// byIndex puts rejections into the order of what was sent.
func byIndex(a, b event.Rejection) int { return a.Index - b.Index }

// fail ends acceptance after a commit that failed.
func (in *Ingest) fail(err error) {
	if in.failed.CompareAndSwap(nil, &err) && in.opts.Failed != nil {
		in.opts.Failed(err)
	}
}

// ReloadSites makes changes to the sites known to ingest.
func (in *Ingest) ReloadSites(ctx context.Context) error { return in.sites.reload(ctx) }

// Published tells ingest that the history has grown: the ids of the journal's
// rows are in the ledger's blocks now, and their place in memory is free.
func (in *Ingest) Published(ctx context.Context) error { return in.writer.published(ctx) }

// Expire forgets what is past its time: salts, here and in the ledger, and ids
// that left the window.
func (in *Ingest) Expire(ctx context.Context) error {
	now := in.now()
	in.identity.forget(now)
	if _, err := in.opts.Ledger.DropSalts(ctx, now.UnixMicro()); err != nil {
		return fmt.Errorf("destroy salts: %w", err)
	}
	return in.writer.expire(ctx, now)
}

// Healthy returns nil, or why events are not taken or not shown.
func (in *Ingest) Healthy() error {
	if p := in.failed.Load(); p != nil {
		return *p
	}
	return in.flusher.healthy()
}
