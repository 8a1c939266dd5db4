package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// noon is 2026-03-10T12:00:00Z, the present of every test.
const noon = 1_773_144_000_000_000

const day = 24 * 60 * 60 * 1_000_000

// A rig is a store on a ledger in a directory of its own, and the events that
// ought to be in it.
type rig struct {
	t    testing.TB
	dir  string
	opts store.Options
	log  *bytes.Buffer // what the store logged; read it when the store is at rest

	recorded func() // Optional: called when acts are committed, before anybody is told

	ledger *ledger.Ledger
	store  *store.Store

	last    int64         // Seq of the newest event
	waiting []event.Event // in the journal, not flushed
	flushed int64
	ends    []int64 // last Seq of every group
	events  []event.Event
}

func newRig(t testing.TB, adjust ...func(*store.Options)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: new(bytes.Buffer)}
	r.opts = store.Options{
		Dir: r.dir, MemoryLimit: 64 << 20, Threads: 2,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Now: func() time.Time { return time.UnixMicro(noon) },
	}
	for _, f := range adjust {
		f(&r.opts)
	}
	r.open()
	t.Cleanup(r.close)
	return r
}

// roomy is for a store that is asked in SQL: a statement is ended when the process grows by
// more than DuckDB may have, and other tests are in this one too.
func roomy(o *store.Options) { o.MemoryLimit = 256 << 20 }

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.ledger, err = ledger.Open(context.Background(), filepath.Join(r.dir, "ledger.db"), migrations.FS, ledger.Options{
		Recorded: func(time.Duration, int) {
			if r.recorded != nil {
				r.recorded()
			}
		},
	}); err != nil {
		r.t.Fatal(err)
	}
	r.opts.Ledger = r.ledger
	if r.store, err = store.Open(context.Background(), r.opts); err != nil {
		r.ledger.Close()
		r.t.Fatal(err)
	}
	r.waiting, r.flushed = nil, r.last
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Errorf("close store: %v", err)
	}
	if err := r.ledger.Close(); err != nil {
		r.t.Errorf("close ledger: %v", err)
	}
}

func (r *rig) reopen() {
	r.t.Helper()
	r.close()
	r.open()
}

// append adds a group of events to the journal, as ingest does.
func (r *rig) append(events ...event.Event) {
	r.t.Helper()
	g := ledger.Group{First: r.last + 1, Count: len(events), Received: noon}
	for i := range events {
		r.last++
		events[i].Seq = r.last
		key := binary.BigEndian.AppendUint64(nil, uint64(r.last)*0x9e3779b97f4a7c15)
		g.IDs = append(g.IDs, append(key, make([]byte, 16)...)...)
	}
	g.Last, g.Payload = r.last, event.Encode(nil, events)
	if err := r.ledger.Append(g); err != nil {
		r.t.Fatal(err)
	}
	r.ends = append(r.ends, g.Last)
	r.waiting = append(r.waiting, events...)
	r.events = append(r.events, events...)
}

// flush brings the first n events that wait into the lens.
func (r *rig) flush(n int) {
	r.t.Helper()
	n = min(n, len(r.waiting))
	if err := r.store.Flush(r.t.Context(), r.waiting[:n]); err != nil {
		r.t.Fatal(err)
	}
	if n > 0 {
		r.flushed = r.waiting[n-1].Seq
	}
	r.waiting = r.waiting[n:]
}

func (r *rig) publish() store.Published {
	r.t.Helper()
	p, err := r.store.Publish(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if want := r.boundary(); p.Through != want {
		r.t.Fatalf("published through %d, want %d", p.Through, want)
	}
	return p
}

// boundary returns the last group that has been flushed whole.
func (r *rig) boundary() (last int64) {
	for _, end := range r.ends {
		if end <= r.flushed {
			last = end
		}
	}
	return last
}

// forget takes events out of the model that have been retained or erased.
func (r *rig) forget(gone func(event.Event) bool) (n int64) {
	before := len(r.events)
	r.events = slices.DeleteFunc(slices.Clone(r.events), gone)
	return int64(before - len(r.events))
}

// visible returns the events that a snapshot must hold now.
func (r *rig) visible() []event.Event {
	n := len(r.events)
	for n > 0 && r.events[n-1].Seq > r.flushed {
		n--
	}
	return r.events[:n]
}

// A tally is what is compared: how many events and the sum of their Seq, by site
// and day.
type tally map[string][2]int64

func tallyOf(events []event.Event) tally {
	t := tally{}
	for _, e := range events {
		k := e.Site + " " + event.DayOf(e.Time).String()
		v := t[k]
		t[k] = [2]int64{v[0] + 1, v[1] + e.Seq}
	}
	return t
}

// tallyIn counts what a snapshot holds.
func tallyIn(t testing.TB, s *store.Store, sn *store.Snapshot, site string, from, to int64) tally {
	t.Helper()
	conn, err := s.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var where []string
	if site != "" {
		where = append(where, " AND site = '"+strings.ReplaceAll(site, "'", "''")+"'")
	}
	if from != 0 {
		where = append(where, fmt.Sprintf(` AND epoch_us("time") >= %d`, from))
	}
	if to != 0 {
		where = append(where, fmt.Sprintf(` AND epoch_us("time") < %d`, to))
	}
	rows, err := conn.QueryContext(t.Context(), `SELECT site || ' ' || strftime("time", '%Y-%m-%d'), count(*), sum(seq)::BIGINT FROM `+
		sn.Relation(site, from, to)+" WHERE true"+strings.Join(where, "")+" GROUP BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := tally{}
	for rows.Next() {
		var k string
		var v [2]int64
		if err := rows.Scan(&k, &v[0], &v[1]); err != nil {
			t.Fatal(err)
		}
		got[k] = v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// check compares what a new snapshot holds with what it must.
func (r *rig) check() {
	r.t.Helper()
	sn := r.store.Snapshot()
	defer sn.Release()
	if diff := cmp.Diff(tallyOf(r.visible()), tallyIn(r.t, r.store, sn, "", 0, 0)); diff != "" {
		r.t.Fatalf("want -, got +:\n%s\nlog:\n%s", diff, r.log)
	}
	if sn.Flushed() != max(r.flushed, sn.Published()) {
		r.t.Fatalf("flushed through %d, want %d", sn.Flushed(), r.flushed)
	}
}

// files returns the parts on disk, relative to the data directory.
func (r *rig) files() []string {
	r.t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "events", "*", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for i, name := range names {
		names[i], _ = filepath.Rel(r.dir, name)
	}
	return names
}

// checkFiles says whether the files on disk are those that the ledger lists.
func (r *rig) checkFiles() {
	r.t.Helper()
	parts, _, err := r.ledger.Parts(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var want []string
	for _, p := range parts {
		want = append(want, p.Path)
	}
	slices.Sort(want)
	got := r.files()
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Fatalf("files, listed - on disk +:\n%s", diff)
	}
}

var sites = []string{"a.example", "b.example", "it's.example"}

// some returns n events of the days before noon.
func some(rnd *rand.Rand, n, days int) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{
			Site: sites[rnd.IntN(len(sites))], Time: noon - rnd.Int64N(int64(days)*day), Received: noon,
			Name: event.Pageview, Via: event.ViaPage, Interactive: true, Scroll: event.NoScroll,
			Visitor: event.ID{byte(rnd.IntN(5)), 1}, Hostname: "www.a.example", Path: fmt.Sprintf("/%d", rnd.IntN(100)),
			Browser: "Firefox", Country: "DE",
		}
	}
	return events
}

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("EIDER_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("EIDER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
