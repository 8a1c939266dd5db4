package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/tail"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestEngineModel does to a whole engine what can be done to one, in a random
// order and on a clock of its own, and to a [model] of it that is a list in
// memory. Every answer is held against the model's, and after each step every
// report. EIDER_MODEL_SEED repeats one run, EIDER_MODEL_STEPS makes it longer.
func TestEngineModel(t *testing.T) {
	t.Parallel()
	if s := os.Getenv("EIDER_MODEL_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		runTrial(t, seed)
		return
	}
	for range 3 {
		seed := rand.Uint64()
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			runTrial(t, seed)
		})
	}
}

func runTrial(t *testing.T, seed uint64) {
	steps := 110
	if s := os.Getenv("EIDER_MODEL_STEPS"); s != "" {
		var err error
		if steps, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("EIDER_MODEL_SEED=%d", seed)
	r := newTrial(t, seed)
	for range steps {
		r.step()
		r.check()
		if t.Failed() {
			t.FailNow()
		}
	}
	r.release()
	r.flush()
	r.publish()
	r.check()
	r.checkAll()
	t.Logf("%d events left of %d, %d visits, %d duplicates; %v", len(r.model.events), r.model.last, r.model.visits, r.model.duplicates, r.done)
}

// dawns are where the clocks begin: around each of them the clock of a site is
// about to be put forward or back.
var dawns = []string{"2026-03-07T14:00:00Z", "2026-03-28T09:00:00Z", "2026-10-24T09:00:00Z", "2026-10-31T14:00:00Z"}

// modelSites are the sites and their zones. In Havana the day after the clock was
// put forward begins at one.
var modelSites = []ledger.Site{
	{Domain: "a.example", Timezone: "Europe/Berlin"},
	{Domain: "b.example", Timezone: "America/Havana"},
	{Domain: "c.example", Timezone: "Asia/Kathmandu"},
	{Domain: "d.example", Timezone: "America/New_York"},
}

// A trial is an engine and the model that it is held against.
type trial struct {
	t     *testing.T
	rnd   *rand.Rand
	clock atomic.Int64 // µs; moved between steps only
	dir   string
	*engine
	model *model

	steps []string       // what has been done
	done  map[string]int // how often

	sent []item     // the batches' events that have an id, to be sent again
	logs []modelLog // the access logs, to be imported again
	held []held
}

// held is a question that was begun some steps ago and is not answered yet.
type held struct {
	snapshot *store.Snapshot
	counts   map[string]counted
	site     string
	export   *io.PipeReader
	begun    []byte // of the export
	events   []event.Event
}

func newTrial(t *testing.T, seed uint64) *trial {
	r := &trial{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), done: make(map[string]int)}
	began, err := time.Parse(time.RFC3339, dawns[r.rnd.IntN(len(dawns))])
	if err != nil {
		t.Fatal(err)
	}
	r.clock.Store(began.UnixMicro())
	r.model = newModel(t, r.now)
	r.open()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("after these steps, at %s:\n%s", r.now(), strings.Join(r.steps[max(0, len(r.steps)-100):], "\n"))
		}
		for _, h := range r.held {
			h.export.Close()
		}
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for _, s := range modelSites {
		if err := (sites{r.ledger, r.ingest}).AddSite(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *trial) now() time.Time { return time.UnixMicro(r.clock.Load()).UTC() }

func (r *trial) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// open opens an engine on the directory as engine.open does, but on the trial's
// clock, with small parts, and with a flusher that waits until it is asked.
func (r *trial) open() {
	r.t.Helper()
	ctx, log := r.t.Context(), slog.New(slog.DiscardHandler)
	failed := func(err error) { r.t.Errorf("a part cannot go on: %v", err) }
	e := &engine{cfg: &config{dataDir: r.dir}, log: log, metrics: server.NewMetrics("test"), quit: failed}
	r.engine = e
	var err error
	e.ledger, err = ledger.Open(ctx, e.cfg.file("ledger.db"), migrations.FS, ledger.Options{
		Log: log, Now: r.now, Failed: failed, Durability: ledger.OS, // a copy of the files sees what is not synced, too
	})
	r.must(err)
	e.opened("ledger", e.ledger.Close)
	e.store, err = store.Open(ctx, store.Options{
		Dir: r.dir, Ledger: e.ledger, MemoryLimit: 64 << 20, Threads: 1, Log: log, Now: r.now, Failed: failed,
		PublishBytes: 3 << 10, PublishRows: 60, // several rounds a publish, several generations
	})
	r.must(err)
	e.opened("store", e.store.Close)
	e.places, err = enrich.OpenPlaces("", enrich.PrecisionCity, log)
	r.must(err)
	e.opened("places", e.places.Close)
	secret, err := e.ledger.Secret(ctx, "ids", 32)
	r.must(err)
	e.tap = tail.New(tail.Options{Durable: e.ledger.LastSeq})
	e.opened("tap", e.tap.Close)
	e.ingest, err = ingest.New(ctx, ingest.Options{
		Ledger: e.ledger, Lens: lens{e.store, e.metrics, e.eventsGrown}, Places: e.places, Secret: secret, Log: log, Now: r.now, Failed: failed,
		FlushInterval: 24 * time.Hour, FilterBots: true, RespectGPC: true, Tap: e.tap.Offer,
	})
	r.must(err)
	e.opened("ingest", e.ingest.Close)
}

// step does one thing, most often the one that happens most often.
func (r *trial) step() {
	ops := []struct {
		weight int
		name   string
		do     func()
	}{
		{20, "events", r.sendEvents}, {14, "batch", r.sendBatch}, {5, "import", r.importLog},
		{14, "flush", r.flush}, {9, "publish", r.publish}, {4, "compact", r.compactAll}, {3, "retain", r.retainSome},
		{4, "erase", r.erase}, {5, "expire", r.expire}, {10, "wait", r.wait},
		{3, "restart", r.restart}, {3, "crash", r.crash}, {2, "rebuild", r.rebuild}, {3, "hold", r.hold}, {3, "release", r.release},
	}
	sum := 0
	for _, op := range ops {
		sum += op.weight
	}
	n := r.rnd.IntN(sum)
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			r.note("%s at %s", op.name, r.now().Format(time.RFC3339Nano))
			r.done[op.name]++
			op.do()
			return
		}
	}
}

// note writes down what is being done, for when it goes wrong.
func (r *trial) note(format string, args ...any) {
	r.steps = append(r.steps, fmt.Sprintf(format, args...))
}

func (r *trial) flush() {
	r.must(r.ingest.Flush(r.t.Context()))
	r.model.flush()
}

func (r *trial) publish() {
	want := r.model.unpublished()
	var p store.Published
	r.watch(func() (err error) {
		p, err = r.published(r.t.Context())
		return err
	})
	r.model.publish()
	if p.Events != want || p.Through != r.model.published {
		r.t.Errorf("published %d events through %d, want %d through %d", p.Events, p.Through, want, r.model.published)
	}
}

// watch does something that must not change what there is, and counts that all
// the while.
func (r *trial) watch(do func() error) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	want := r.model.counts()
	for {
		select {
		case err := <-done:
			r.must(err)
			return
		default:
		}
		sn := r.store.Snapshot()
		diff := cmp.Diff(want, r.countIn(sn))
		sn.Release()
		if diff != "" {
			r.must(<-done)
			r.t.Fatalf("meanwhile, want -, got +:\n%s", diff)
		}
	}
}

// compactAll leaves one part of every day that is over.
func (r *trial) compactAll() {
	r.watch(func() error {
		_, err := r.compacted(r.t.Context())
		return err
	})
	parts, _, err := r.ledger.Parts(r.t.Context())
	r.must(err)
	days := make(map[event.Day]int)
	for _, p := range parts {
		days[p.Day]++
	}
	for day, n := range days {
		if day < event.DayOf(r.clock.Load()) && n > 3 { // it merges 64 at a time, and a merge is merged with the next Compact
			r.t.Errorf("%s has %d parts after compaction", day, n)
		}
	}
}

func (r *trial) retainSome() {
	before := event.DayOf(r.clock.Load()) - event.Day(r.rnd.IntN(4))
	r.note("  days before %s", before)
	_, err := r.store.Retain(r.t.Context(), before)
	r.must(err)
	r.must(r.ingest.Published(r.t.Context())) // a retention publishes first
	r.model.publish()
	r.model.forget(func(e *event.Event) bool { return event.DayOf(e.Time) < before && e.Seq <= r.model.flushed })
}

// erase erases by range, by visitor or by user, mostly a little.
func (r *trial) erase() {
	var ask server.Erasure
	var user event.ID
	some := r.model.any(r.rnd)
	switch r.rnd.IntN(4) {
	case 0:
		ask = server.Erasure{Site: some.Site, Visitor: some.Visitor}
	case 1:
		name := "user " + strconv.Itoa(r.rnd.IntN(4))
		ask, user = server.Erasure{Site: some.Site, User: name}, r.model.users.ids[some.Site+" "+name]
		if user.IsZero() {
			return // nobody has heard of it yet
		}
	case 2:
		ask.From = some.Time - r.rnd.Int64N(2*hour)
		ask.To = ask.From + 1 + r.rnd.Int64N(3*hour)
	default:
		ask = server.Erasure{Site: some.Site, From: some.Time - r.rnd.Int64N(hour), To: some.Time + r.rnd.Int64N(hour)}
	}
	r.note("  %+v", ask)
	if ask == (server.Erasure{}) {
		return // no event is left to tell what to erase
	}
	rows, err := eraser{r.engine}.Erase(r.t.Context(), ask)
	r.must(err)
	r.model.flush()
	r.model.publish()
	want := r.model.forget(func(e *event.Event) bool {
		return (ask.Site == "" || e.Site == ask.Site) && (ask.From == 0 || e.Time >= ask.From) && (ask.To == 0 || e.Time < ask.To) &&
			(ask.Visitor.IsZero() || e.Visitor == ask.Visitor) && (user.IsZero() || e.User == user)
	})
	if rows != want {
		r.t.Errorf("erased %d events, want %d", rows, want)
	}
}

func (r *trial) expire() {
	r.must(r.ingest.Expire(r.t.Context()))
	r.model.expire()
}

// wait lets time pass: a little, a visit's gap, until about the midnight of a
// site, or most of a day.
func (r *trial) wait() {
	switch r.rnd.IntN(8) {
	case 0, 1, 2:
		r.pass(r.rnd.Int64N(20 * minute))
	case 3:
		r.pass(30*minute + r.rnd.Int64N(3) - 1)
	case 4, 5, 6:
		zone := r.model.zones[modelSites[r.rnd.IntN(len(modelSites))].Domain]
		t := r.now().Truncate(time.Minute)
		for t.In(zone).Day() == r.now().In(zone).Day() {
			t = t.Add(time.Minute)
		}
		if d := t.Sub(r.now()).Microseconds() - r.rnd.Int64N(25*minute); d > 0 {
			r.pass(d)
		}
	default:
		r.pass(r.rnd.Int64N(26 * hour))
	}
}

// pass moves the clock.
func (r *trial) pass(micros int64) { r.clock.Add(micros) }

func (r *trial) restart() {
	r.release()
	r.must(r.Close())
	r.open()
	r.model.restart()
}

// crash goes on with a copy of the directory as it is now, which is what a
// process that is killed now leaves. The old engine closes in its own copy.
func (r *trial) crash() {
	r.release()
	dir := filepath.Join(r.t.TempDir(), "data")
	r.must(os.CopyFS(dir, os.DirFS(r.dir)))
	r.must(r.Close())
	r.must(os.RemoveAll(r.dir))
	r.dir = dir
	r.open()
	r.model.restart()
}

// rebuild makes the lens anew from the journal, as after a flush that failed.
func (r *trial) rebuild() {
	r.release()
	r.must(r.store.Rebuild(r.t.Context()))
	r.model.flush()
	r.must(r.ingest.Flush(r.t.Context())) // the lens has it all, and leaves it out
}

// hold takes a snapshot and begins an export, to be compared later with what
// there is now.
func (r *trial) hold() {
	h := held{snapshot: r.store.Snapshot(), counts: r.model.counts(), site: r.site()}
	h.events = slices.Clone(r.model.export(event.ExportQuery{Site: h.site}))
	pr, pw := io.Pipe()
	ctx := context.WithoutCancel(r.t.Context())
	go func(s *store.Store) {
		_, _, err := s.Export(ctx, pw, event.ExportQuery{Site: h.site, Format: event.FormatNDJSON})
		pw.CloseWithError(err)
	}(r.store)
	h.export, h.begun = pr, make([]byte, 1)
	n, err := io.ReadFull(pr, h.begun) // now it has its snapshot
	if h.begun = h.begun[:n]; err != nil && err != io.EOF {
		r.t.Fatal(err)
	}
	r.held = append(r.held, h)
}

// release answers what is held.
func (r *trial) release() {
	r.t.Helper()
	for _, h := range r.held {
		if diff := cmp.Diff(h.counts, r.countIn(h.snapshot)); diff != "" {
			r.t.Fatalf("old snapshot, want -, got +:\n%s", diff)
		}
		h.snapshot.Release()
		rest, err := io.ReadAll(h.export)
		r.must(err)
		r.compareExport("old export of "+h.site, h.events, append(h.begun, rest...))
	}
	r.held = nil
}

// site returns one of the sites.
func (r *trial) site() string { return modelSites[r.rnd.IntN(len(modelSites))].Domain }
