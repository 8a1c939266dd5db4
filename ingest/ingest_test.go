package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	page    = `{"n":"pageview","u":"https://example.com/a?utm_source=news","d":"example.com"}`
)

// A lens is a Lens in memory. It fails as it is told.
type lens struct {
	mu     sync.Mutex
	events []event.Event
	err    error
}

func (l *lens) Flush(_ context.Context, events []event.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	for i := range events {
		if n := len(l.events); n > 0 && events[i].Seq <= l.events[n-1].Seq {
			continue
		}
		e := events[i]
		e.Site, e.Path = strings.Clone(e.Site), strings.Clone(e.Path)
		l.events = append(l.events, e)
	}
	return nil
}

func (l *lens) OpenVisits(_ context.Context, since int64, _ int, fn func(*event.Event) error) error {
	for _, e := range l.all() {
		if e.Time >= since {
			if err := fn(&e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lens) KnownIDs(_ context.Context, site string, _, _ event.Day, ids []event.ID) (map[event.ID]bool, error) {
	known := make(map[event.ID]bool)
	for _, e := range l.all() {
		if e.Site == site && slices.Contains(ids, e.Dedupe) {
			known[e.Dedupe] = true
		}
	}
	return known, nil
}

func (l *lens) all() []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

func (l *lens) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// A rig is an ingest on a ledger of its own, with a clock that stands still
// until it is moved.
type rig struct {
	*ingest.Ingest
	t      *testing.T
	dir    string
	ledger *ledger.Ledger
	lens   *lens
	clock  atomic.Int64 // µs
	failed atomic.Pointer[error]
	opts   ingest.Options
}

func newRig(t *testing.T, change func(*ingest.Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), lens: &lens{}}
	r.clock.Store(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC).UnixMicro())
	r.opts = ingest.Options{
		Secret: []byte("secret"), Log: slog.New(slog.DiscardHandler), AutoSites: true, FilterBots: true, RespectGPC: true,
		FlushInterval: 10 * time.Millisecond,
		Lens:          r.lens,
		Now:           func() time.Time { return time.UnixMicro(r.clock.Load()).UTC() },
		Failed:        func(err error) { r.failed.Store(&err) },
	}
	if change != nil {
		change(&r.opts)
	}
	r.open()
	t.Cleanup(r.close)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.ledger, err = ledger.Open(r.t.Context(), filepath.Join(r.dir, "ledger.db"), migrations.FS, ledger.Options{Log: r.opts.Log, Now: r.opts.Now}); err != nil {
		r.t.Fatal(err)
	}
	places, err := enrich.OpenPlaces("", enrich.PrecisionCity, r.opts.Log)
	if err != nil {
		r.t.Fatal(err)
	}
	r.opts.Ledger, r.opts.Places = r.ledger, places
	if r.Ingest, err = ingest.New(r.t.Context(), r.opts); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) close() {
	r.Ingest.Close()
	r.opts.Places.Close()
	r.ledger.Close()
}

// reopen ends everything and starts again on the same directory.
func (r *rig) reopen() {
	r.t.Helper()
	r.close()
	r.open()
}

// stored returns what the journal holds, in order.
func (r *rig) stored() (events []event.Event) {
	r.t.Helper()
	err := r.ledger.Groups(context.Background(), 0, func(g ledger.Group) error {
		es, err := event.Decode(string(g.Payload))
		events = append(events, es...)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range events {
		if events[i].Seq != int64(i+1) {
			r.t.Fatalf("event %d of the journal has Seq %d", i, events[i].Seq)
		}
	}
	return events
}

func client(addr string) event.Client {
	return event.Client{Addr: netip.MustParseAddr(addr), UserAgent: firefox}
}

func (r *rig) send(body string, c event.Client) event.Result {
	r.t.Helper()
	res, err := r.Event(r.t.Context(), []byte(body), c)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func (r *rig) batch(body string) event.Result {
	r.t.Helper()
	res, err := r.Batch(r.t.Context(), strings.NewReader(body), true, event.Client{}, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func TestEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if res := r.send(page, client("192.0.2.1")); res.Accepted != 1 || res.LastSeq != 1 {
		t.Fatalf("%+v, want one accepted", res)
	}
	got := r.stored()
	if len(got) != 1 {
		t.Fatalf("%d events in the journal, want 1", len(got))
	}
	e := got[0]
	if e.Site != "example.com" || e.Name != "pageview" || e.Via != "page" || e.Visit != 1 || e.Visitor.IsZero() || !e.Interactive || e.Scroll != event.NoScroll {
		t.Errorf("stored %+v", e)
	}
	if e.Time != r.clock.Load() || e.Received != e.Time {
		t.Errorf("at %d, received %d, want %d", e.Time, e.Received, r.clock.Load())
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shown := r.lens.all(); len(shown) != 1 || shown[0] != e {
		t.Errorf("the lens shows %+v, want %+v", shown, e)
	}
}

// TestStrangers: without a key nobody says when an event happened, and nobody
// takes the ids of those who have one.
func TestStrangers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const theirs = `{"n":"a","u":"https://example.com/a","d":"example.com","id":"order-1","timestamp":"2026-03-04T01:00:00Z"}`
	if res := r.send(theirs, client("192.0.2.1")); res.Accepted != 1 {
		t.Fatalf("%+v, want one accepted", res)
	}
	if res := r.send(theirs, client("192.0.2.1")); res.Duplicates != 1 {
		t.Errorf("a page's retry: %+v, want a duplicate", res)
	}
	if res := r.batch(`{"n":"a","d":"example.com","id":"order-1"}`); res.Accepted != 1 {
		t.Errorf("a server's event under the same id: %+v, want it accepted", res)
	}
	if got := r.stored(); got[0].Time != r.clock.Load() {
		t.Errorf("at %v, want now", time.UnixMicro(got[0].Time).UTC())
	}
}

// TestFlushTick: nobody asks for a flush, and the event is shown all the same.
func TestFlushTick(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.send(page, client("192.0.2.1"))
	for len(r.lens.all()) == 0 {
		if t.Context().Err() != nil {
			t.Fatal("never flushed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestVisitorsAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, c := range []event.Client{
		client("192.0.2.1"), client("192.0.2.1"), client("192.0.2.2"),
		client("2001:db8::1"), client("2001:db8::2"), client("2001:db8:0:1::1"), // the first two share a /64
		{Addr: netip.MustParseAddr("192.0.2.1"), UserAgent: firefox, Private: true},
	} {
		r.send(page, c)
	}
	r.send(strings.ReplaceAll(page, "example.com", "other.example"), client("192.0.2.1"))
	got := r.stored()
	seen := map[event.ID][]int{}
	for i, e := range got {
		seen[e.Visitor] = append(seen[e.Visitor], i)
	}
	for _, same := range [][]int{{0, 1}, {2}, {3, 4}, {5}, {6}, {7}} {
		if v := got[same[0]].Visitor; !slices.Equal(seen[v], same) {
			t.Errorf("events %v are of the visitor of event %d, want %v", seen[v], same[0], same)
		}
	}
	if !got[6].Visitor.IsZero() || got[6].Visit != 0 {
		t.Errorf("a private visitor has the id %v", got[6].Visitor)
	}
}

// TestVisitorOfADay: on the next day of the site's calendar nobody is known any
// more, but a visit goes on.
func TestVisitorOfADay(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if err := r.ledger.AddSite(t.Context(), ledger.Site{Domain: "example.com", Timezone: "America/New_York"}); err != nil {
		t.Fatal(err)
	}
	if err := r.ReloadSites(t.Context()); err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2026, 3, 5, 5, 0, 0, 0, time.UTC) // in New York
	for _, at := range []time.Duration{-10 * time.Minute, -5 * time.Minute, 5 * time.Minute, 31 * time.Minute} {
		r.clock.Store(midnight.Add(at).UnixMicro())
		r.send(page, client("192.0.2.1"))
	}
	got := r.stored()
	if got[0].Visitor != got[1].Visitor || got[2].Visitor == got[1].Visitor || got[2].Visitor != got[3].Visitor {
		t.Errorf("visitors %v %v | %v %v, want two, of two each", got[0].Visitor, got[1].Visitor, got[2].Visitor, got[3].Visitor)
	}
	for i, e := range got {
		if e.Visit != 1 {
			t.Errorf("event %d is of visit %d, want 1", i, e.Visit)
		}
	}
}

// TestVisitOverMidnights has the days that do not begin at midnight, or begin
// after one that was left out: the visit goes on there too.
func TestVisitOverMidnights(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone string
		day  time.Time // when it begins
	}{
		{"Europe/Berlin", time.Date(2026, 3, 29, 22, 0, 0, 0, time.UTC)},
		{"America/Havana", time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC)}, // at one: it is put forward at midnight
		{"America/Havana", time.Date(2026, 11, 1, 4, 0, 0, 0, time.UTC)},
		{"Pacific/Apia", time.Date(2011, 12, 30, 10, 0, 0, 0, time.UTC)}, // the day before was two days ago
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, nil)
		last, other := r.visitors(zone, c.day.Add(-time.Second))
		if !other.IsZero() {
			t.Errorf("%s: the last second of a day is also of another", c.zone)
		}
		for _, after := range []time.Duration{0, time.Minute, 30*time.Minute - time.Microsecond, 30 * time.Minute} {
			today, yesterday := r.visitors(zone, c.day.Add(after))
			if want := after < 30*time.Minute; (yesterday == last) != want || today == last {
				t.Errorf("%s %v into the day: the visitor of the day before is known: %t, want %t", c.zone, after, yesterday == last, want)
			}
		}
	}
}

func (r *rig) visitors(zone *time.Location, t time.Time) (today, yesterday event.ID) {
	r.t.Helper()
	today, yesterday, err := r.Visitors(r.t.Context(), "example.com", zone, t, "192.0.2.1", firefox)
	if err != nil {
		r.t.Fatal(err)
	}
	return today, yesterday
}

// TestSaltIsDestroyed: two days later nobody, with the ledger in hand, can tell
// who was who.
func TestSaltIsDestroyed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	day := r.opts.Now()
	before, _, err := r.Visitors(t.Context(), "example.com", time.UTC, day, "192.0.2.1", firefox)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		same  bool
	}{{35 * time.Hour, true}, {37 * time.Hour, false}} { // noon and 36 h is two days after the day began
		r.clock.Store(day.Add(c.after).UnixMicro())
		if err := r.Expire(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, _, err := r.Visitors(t.Context(), "example.com", time.UTC, day, "192.0.2.1", firefox)
		if err != nil || (again == before) != c.same {
			t.Errorf("after %v: %v, %v; the same as before: want %t", c.after, again, err, c.same)
		}
	}
}

func TestAccounting(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	lines := []string{
		`{"n":"a","d":"example.com","id":"1"}`,
		`{"n":"a","d":"example.com","id":"1"}`, // a retry
		`{"n":"b","d":"example.com","id":"1"}`, // another event under the id
		`{"n":"a","d":"example.com"}`,
		`{"n":"a","d":"example.com"}`, // nothing says that it is the same
		`{"n":"a"}`,
		`{`,
		`{"n":"a","d":"example.com","timestamp":"2020-01-01T00:00:00Z"}`,
		`{"n":"a","d":"example.com","timestamp":"2026-03-04T12:11:00Z"}`,
		`{"n":"a","d":"example.com","timestamp":"2026-03-03T12:00:01Z"}`,
		`{"n":"engagement","d":"example.com","e":5000,"ip":"192.0.2.9","user_agent":"` + firefox + `"}`,
		`{"n":"a","d":"two.example,three.example"}`,
		`{"n":"a","d":"other.example","id":"1"}`, // another site's id
	}
	res := r.batch(strings.Join(lines, "\n"))
	if n := res.Accepted + res.Duplicates + len(res.Rejected); n != len(lines) {
		t.Errorf("%d of %d accounted for", n, len(lines))
	}
	var got []string
	for _, rej := range res.Rejected {
		got = append(got, fmt.Sprint(rej.Index, " ", rej.Code))
	}
	want := []string{"2 id_conflict", "5 invalid", "6 invalid", "7 timestamp", "8 timestamp", "10 no_visit", "11 invalid"}
	if !slices.Equal(got, want) || res.Accepted != 5 || res.Duplicates != 1 {
		t.Errorf("accepted %d, duplicates %d, rejected %q; want 5, 1, %q", res.Accepted, res.Duplicates, got, want)
	}
	c := r.Counts()
	var rejected uint64
	for _, n := range c.Rejected {
		rejected += n
	}
	if c.Accepted != 5 || c.Duplicates != 1 || rejected != 7 {
		t.Errorf("counted %+v", c)
	}
	if n := len(r.stored()); n != 5 {
		t.Errorf("%d events in the journal, want 5", n)
	}
}

func TestDrops(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.AutoSites, o.Sites = false, []string{"example.com"} })
	from := func(origin string) event.Client {
		c := client("192.0.2.1")
		c.Origin = origin
		return c
	}
	for _, c := range []struct {
		name, body, want string
		client           event.Client
	}{
		{"no such site", strings.ReplaceAll(page, "example.com", "other.example"), event.RejectSite, client("192.0.2.1")},
		{"another's page", page, event.RejectOrigin, from("https://evil.example")},
		{"a lookalike", page, event.RejectOrigin, from("https://notexample.com")},
		{"nowhere", page, event.RejectOrigin, from("null")},
		{"own page", page, "", from("https://www.example.com")},
		{"subdomain", page, "", from("https://shop.example.com:8443")},
		{"no browser", page, "", from("")},
	} {
		res := r.send(c.body, c.client)
		got := ""
		if len(res.Rejected) > 0 {
			got = res.Rejected[0].Code
		}
		if got != c.want || res.Accepted != 1-len(res.Rejected) {
			t.Errorf("%s: %+v, want %q", c.name, res, c.want)
		}
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.RatePerAddr = 3 })
	var limited *event.LimitError
	for i := range 5 {
		_, err := r.Event(t.Context(), []byte(page), client("192.0.2.1"))
		if (err != nil) != (i >= 3) || (err != nil && !errors.As(err, &limited)) {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if limited == nil || limited.RetryAfter <= 0 || limited.RetryAfter > time.Second {
		t.Errorf("retry after %+v, want part of a second", limited)
	}
	r.send(page, client("192.0.2.2"))
	r.clock.Add(limited.RetryAfter.Microseconds() + 1)
	r.send(page, client("192.0.2.1"))
	for i := range 10_500 { // more addresses than it remembers
		r.Event(t.Context(), []byte(page), client(fmt.Sprintf("10.%d.%d.1", i/250, i%250)))
	}
}

func TestSeveralSites(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	res := r.send(strings.ReplaceAll(page, `"example.com"}`, `"a.example,b.example"}`), client("192.0.2.1"))
	if got := r.stored(); res.Accepted != 2 || len(got) != 2 || got[0].Site != "a.example" || got[1].Site != "b.example" {
		t.Errorf("%+v, stored %d", res, len(got))
	}
}

// TestRestart: what the process knew of ids and visits survives it.
func TestRestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const withID = `{"n":"a","d":"example.com","id":"x","ip":"192.0.2.1","user_agent":"` + firefox + `"}`
	r.batch(withID)
	r.clock.Add(20 * minute)
	r.reopen()
	if res := r.batch(withID); res.Duplicates != 1 {
		t.Errorf("after a restart: %+v, want a duplicate", res)
	}
	r.batch(strings.Replace(withID, `"x"`, `"y"`, 1))
	got := r.stored()
	if len(got) != 2 || got[1].Visit != 1 {
		t.Errorf("%d events, the last of visit %d; want 2, and the visit of before the restart", len(got), got[len(got)-1].Visit)
	}

	// The ids go on to the ledger's blocks, as a publish leaves them.
	var ids []byte
	err := r.ledger.Groups(t.Context(), 0, func(g ledger.Group) error { ids = append(ids, g.IDs...); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if slices.Compare(ids[:24], ids[24:]) > 0 {
		ids = append(ids[24:48:48], ids[:24]...)
	}
	if _, err := r.ledger.Commit(t.Context(), ledger.Change{Published: 2, IDs: ids}); err != nil {
		t.Fatal(err)
	}
	for _, again := range []func(){func() {
		if err := r.Published(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, r.reopen} {
		again()
		if res := r.batch(withID); res.Duplicates != 1 {
			t.Errorf("after a publish: %+v, want a duplicate", res)
		}
		if res := r.batch(strings.Replace(withID, `"a"`, `"b"`, 1)); len(res.Rejected) != 1 || res.Rejected[0].Code != event.RejectConflict {
			t.Errorf("after a publish: %+v, want a conflict", res)
		}
		if n, err := r.IDs(t.Context()); err != nil || n != 2 {
			t.Errorf("the window holds %d ids, %v; want 2", n, err)
		}
	}
	r.clock.Add(30 * 60 * minute)
	if err := r.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := r.IDs(t.Context()); err != nil || n != 0 {
		t.Errorf("a day later the window holds %d ids, %v; want none", n, err)
	}
}

// TestConcurrent sends unique and repeated ids from many goroutines: each id is
// accepted once, and the journal has no gap.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const senders, each, ids = 32, 200, 2000
	var wg sync.WaitGroup
	var accepted, duplicates atomic.Int64
	for i := range senders {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() {
			for range each {
				body := fmt.Sprintf(`{"n":"a","d":"example.com","id":"%d"}`, rnd.IntN(ids))
				res, err := r.Batch(t.Context(), strings.NewReader(body), true, event.Client{}, "")
				if err != nil {
					t.Error(err)
					return
				}
				accepted.Add(int64(res.Accepted))
				duplicates.Add(int64(res.Duplicates))
			}
		})
	}
	wg.Wait()
	got := r.stored()
	seen := map[event.ID]bool{}
	for _, e := range got {
		if seen[e.Dedupe] {
			t.Fatalf("id %v was accepted twice", e.Dedupe)
		}
		seen[e.Dedupe] = true
	}
	if accepted.Load() != int64(len(got)) || accepted.Load()+duplicates.Load() != senders*each {
		t.Errorf("accepted %d, duplicates %d of %d; %d in the journal", accepted.Load(), duplicates.Load(), senders*each, len(got))
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.lens.all()); n != len(got) {
		t.Errorf("the lens shows %d, want %d", n, len(got))
	}
}

// TestImportRelieves: an import asks for room after every commit, and what came before
// stays if there is none.
func TestImportRelieves(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	const lines = 10_000
	for i := range lines {
		fmt.Fprintf(&log, "192.0.2.%d - - [03/Mar/2026:10:%02d:%02d +0000] \"GET /%d HTTP/1.1\" 200 5 \"-\" \"%s\"\n", i%250, i/60%60, i%60, i, firefox)
	}
	full := errors.New("no room")
	asked := 0
	r := newRig(t, func(o *ingest.Options) {
		o.Relieve = func(context.Context) error {
			if asked++; asked == 2 {
				return full
			}
			return nil
		}
	})
	r.send(page, client("192.0.2.1")) // makes the site
	rep, err := r.Import(t.Context(), "example.com", ingest.Combined, strings.NewReader(log.String()))
	if !errors.Is(err, full) || rep.Imported == 0 || rep.Imported >= lines || int(rep.Imported) != len(r.stored())-1 {
		t.Fatalf("%v after %d of %d lines, of which %d are stored; want some, and %v", err, rep.Imported, lines, len(r.stored())-1, full)
	}
	rest, err := r.Import(t.Context(), "example.com", ingest.Combined, strings.NewReader(log.String()))
	if err != nil || rest.Imported+rep.Imported != lines || asked < 4 {
		t.Errorf("again: %v, %d more lines, asked %d times; want %d, and after every commit", err, rest.Imported, asked, lines-rep.Imported)
	}
}

// TestCommitFails closes the ledger under the ingest: from then on nothing is
// acknowledged, and whoever runs it is told once.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.send(page, client("192.0.2.1"))
	r.ledger.Close()
	for range 3 {
		if _, err := r.Event(t.Context(), []byte(page), client("192.0.2.1")); err == nil {
			t.Fatal("an event was acknowledged that cannot be durable")
		}
	}
	if r.failed.Load() == nil || r.Healthy() == nil {
		t.Error("nobody was told")
	}
}

// TestFlushFails: events that no report shows stay durable and are shown later;
// when too many wait, no more are taken.
func TestFlushFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.MaxBuffered = 10 })
	r.lens.fail(errors.New("no lens"))
	full := 0
	for range 20 {
		_, err := r.Event(t.Context(), []byte(page), client("192.0.2.1"))
		if errors.Is(err, event.ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full != 10 {
		t.Errorf("%d of 20 refused, want 10", full)
	}
	if r.Flush(t.Context()) == nil || r.Healthy() == nil {
		t.Error("a flush that failed was not told")
	}
	r.lens.fail(nil)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.lens.all()); n != 10 {
		t.Errorf("the lens shows %d, want 10", n)
	}
	r.send(page, client("192.0.2.1"))
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.Disk = func() error { return event.ErrDiskFull } })
	if _, err := r.Event(t.Context(), []byte(page), client("192.0.2.1")); !errors.Is(err, event.ErrDiskFull) {
		t.Errorf("%v, want ErrDiskFull", err)
	}
	if _, err := r.Pixel(t.Context(), url.Values{"u": {"https://example.com"}}, client("192.0.2.1")); !errors.Is(err, event.ErrDiskFull) {
		t.Errorf("%v, want ErrDiskFull", err)
	}
	if n := len(r.stored()); n != 0 {
		t.Errorf("%d events stored", n)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.send(page, client("192.0.2.1"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.lens.all()); n != 1 {
		t.Errorf("the lens shows %d after Close, want 1", n)
	}
	if _, err := r.Event(t.Context(), []byte(page), client("192.0.2.1")); !errors.Is(err, event.ErrStopped) {
		t.Errorf("%v, want ErrStopped", err)
	}
}

const accessLog = `192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "http://www.google.de/search?q=x" "` + firefox + `"
192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET /style.css HTTP/1.1" 200 1 "-" "` + firefox + `"
192.0.2.1 - - [17/May/2015:10:15:03 +0000] "GET /b HTTP/1.1" 200 1 "-" "` + firefox + `"
192.0.2.1 - - [17/May/2015:10:15:03 +0000] "GET /b HTTP/1.1" 200 1 "-" "` + firefox + `"
192.0.2.1 - - [17/May/2015:11:15:03 +0000] "GET /c.pdf HTTP/1.1" 304 - "-" "` + firefox + `"

192.0.2.1 - - [17/May/2015:11:16:03 +0000] "POST /d HTTP/1.1" 200 1 "-" "` + firefox + `"
192.0.2.1 - - [17/May/2015:11:16:03 +0000] "GET /e HTTP/1.1" 500 1 "-" "` + firefox + `"
192.0.2.1 - - [17/May/2015:11:16:03 +0000] "GET /e HT`

func TestImport(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for round, want := range []struct{ imported, duplicates int64 }{{4, 0}, {0, 4}} {
		rep, err := r.Import(t.Context(), "example.com", ingest.Combined, strings.NewReader(accessLog))
		if err != nil {
			t.Fatal(err)
		}
		var skipped int64
		for _, n := range rep.Skipped {
			skipped += n
		}
		if rep.Lines != 9 || rep.Imported != want.imported || rep.Duplicates != want.duplicates || rep.Imported+rep.Duplicates+skipped != rep.Lines {
			t.Errorf("round %d: %+v", round, rep)
		}
		for reason, n := range map[string]int64{"asset": 1, "empty": 1, "method": 1, "status": 1, "damaged": 1} {
			if rep.Skipped[reason] != n {
				t.Errorf("round %d: %d skipped as %s, want %d", round, rep.Skipped[reason], reason, n)
			}
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.clock.Add(48 * 60 * minute) // the window has forgotten the lines
		if err := r.Expire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	got := r.stored()
	if len(got) != 4 {
		t.Fatalf("%d events, want 4", len(got))
	}
	if got[0].Via != event.ViaImport || got[0].Visit != 1 || got[2].Visit != 1 || got[3].Visit != 4 {
		t.Errorf("visits %d %d %d %d, want 1 1 1 4", got[0].Visit, got[1].Visit, got[2].Visit, got[3].Visit)
	}
	if got[3].Name != "File Download" || got[3].Props != `{"url":"https://example.com/c.pdf"}` {
		t.Errorf("%s %s, want a File Download with its url", got[3].Name, got[3].Props)
	}
	if at := time.UnixMicro(got[0].Time).UTC(); at != time.Date(2015, 5, 17, 10, 5, 3, 0, time.UTC) {
		t.Errorf("at %v", at)
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.AutoSites = false })
	var fe *event.FieldError
	if _, err := r.Import(t.Context(), "example.com", ingest.Combined, strings.NewReader(accessLog)); !errors.As(err, &fe) {
		t.Errorf("a site that is not there: %v", err)
	}
	if _, err := r.Import(t.Context(), "example.com", "word", strings.NewReader(accessLog)); !errors.As(err, &fe) {
		t.Errorf("a format that is not there: %v", err)
	}
	if _, err := r.Import(t.Context(), "example.com", ingest.Combined, strings.NewReader("\x1f\x8bno gzip")); err == nil {
		t.Error("no error for a file that is not whole")
	}
}
