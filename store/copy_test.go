package store_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A follower has a copy of all events, by Seq, and brings it up to date as a copier
// does: withdrawals first.
type follower struct {
	r     *rig
	rnd   *rand.Rand
	after int64
	have  map[int64]store.Row
}

func follow(r *rig, rnd *rand.Rand) *follower {
	r.t.Helper()
	if err := r.ledger.BeginCopy(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	return &follower{r: r, rnd: rnd, have: map[int64]store.Row{}}
}

// step does one thing, and says whether there was anything to do.
func (f *follower) step(ctx context.Context) bool {
	w, found, err := f.r.ledger.NextWithdrawal(ctx)
	if err != nil {
		f.r.t.Error(err)
		return false
	}
	if found {
		n := len(f.have)
		maps.DeleteFunc(f.have, func(_ int64, row store.Row) bool { return withdrawn(f.r.t, w, row) })
		if err := f.r.ledger.Withdrawn(ctx, w.ID, int64(n-len(f.have))); err != nil {
			f.r.t.Error(err)
		}
		return true
	}
	rows, upto, err := f.r.store.Rows(ctx, f.after, 1+f.rnd.IntN(50), 1+f.rnd.IntN(20_000))
	if err != nil {
		f.r.t.Error(err)
		return false
	}
	last := f.after
	for _, row := range rows {
		if _, double := f.have[row.Seq]; double || row.Seq <= last || row.Seq > upto {
			f.r.t.Errorf("event %d comes after %d, with everything up to %d", row.Seq, last, upto)
		}
		f.have[row.Seq], last = row, row.Seq
	}
	f.after = upto
	return len(rows) > 0
}

// withdrawn says whether a row is one of a withdrawal.
func withdrawn(t testing.TB, w ledger.Withdrawal, row store.Row) bool {
	t.Helper()
	var rest struct{ Visitor, User string }
	if err := json.Unmarshal(row.Rest, &rest); err != nil {
		t.Errorf("%v: %s", err, row.Rest)
	}
	is := func(id event.ID, text string) bool { return id.IsZero() || id.String() == text }
	return row.Seq <= w.Upto && (w.Site == "" || w.Site == row.Site) && (w.From == 0 || row.Time >= w.From) && (w.To == 0 || row.Time < w.To) &&
		is(w.Visitor, rest.Visitor) && is(w.User, rest.User)
}

// check says whether the copy is what is there.
func (f *follower) check() {
	f.r.t.Helper()
	got, want := slices.Sorted(maps.Keys(f.have)), []int64{}
	for _, e := range f.r.visible() {
		want = append(want, e.Seq)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		f.r.t.Fatalf("events, there - copied +:\n%s", diff)
	}
}

// TestRows copies events while they are appended, flushed, published, compacted, retained
// and erased beside it: none is passed over or comes twice, and none that was erased is
// left.
func TestRows(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	f := follow(r, rand.New(rand.NewPCG(rnd.Uint64(), 0)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var copying sync.WaitGroup
	copying.Go(func() {
		for ctx.Err() == nil && !t.Failed() {
			if !f.step(t.Context()) {
				time.Sleep(time.Millisecond)
			}
		}
	})
	steps := 60
	if testing.Short() {
		steps = 40
	}
	for range steps {
		switch op := rnd.IntN(20); {
		case op < 9:
			r.append(some(rnd, 1+rnd.IntN(100), 4)...)
		case op < 13:
			r.flush(1 + rnd.IntN(200))
		case op < 15:
			r.publish()
		case op < 16:
			if _, err := r.store.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		case op < 17:
			retainAny(t, rnd, r)
		default:
			eraseAny(t, rnd, r)
		}
	}
	r.flush(len(r.waiting))
	cancel()
	copying.Wait()
	for f.step(t.Context()) {
	}
	f.check()
}

// TestRowsWithdrawn reads between the commit of an erasure and its end: who has seen the
// withdrawal must not see the events.
func TestRowsWithdrawn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	if err := r.ledger.BeginCopy(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := make(chan []store.Row, 1)
	r.recorded = func() {
		if _, found, err := r.ledger.NextWithdrawal(t.Context()); !found || err != nil {
			t.Errorf("a withdrawal is found: %t, %v", found, err)
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			rows, _, err := r.store.Rows(t.Context(), 0, 1000, 1<<20)
			if err != nil {
				t.Error(err)
			}
			read <- rows
		}()
		select {
		case <-over:
		case <-time.After(time.Second): // time enough for one that would not wait
		}
	}
	n, err := r.store.Erase(t.Context(), store.Erasure{From: 1})
	if n == 0 || err != nil {
		t.Fatalf("Erase = %d, %v", n, err)
	}
	if rows := <-read; len(rows) > 0 {
		t.Errorf("%d events that were erased are read", len(rows))
	}
	r.recorded = nil
}

// TestRowsRest holds what a copy has of an event: also a later version must write it so.
func TestRowsRest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(event.Event{Site: "a.example", Time: noon, Received: noon + 1, Name: "Buy", Via: event.ViaImport, Scroll: event.NoScroll,
		Visitor: event.ID{1, 2}, Path: "/\"\\\n\x7fä", Revenue: -12_500, Currency: "EUR", Props: `{"a": "1"}`},
		event.Event{Site: "b.example", Time: noon, Received: noon, Name: event.Pageview, Via: event.ViaPage, Interactive: true, Scroll: event.NoScroll})
	want := []store.Row{
		{Seq: 1, Time: noon, Received: noon + 1, Site: "a.example", Name: "Buy", Rest: []byte(`{"received":"2026-03-10T12:00:00.000001Z","via":"import","visitor":"01020000-0000-0000-0000-000000000000",` +
			`"interactive":false,"path":"/\"\\\u000a\u007fä","revenue":-1.2500,"currency":"EUR","props":{"a": "1"}}`)},
		{Seq: 2, Time: noon, Received: noon, Site: "b.example", Name: "pageview", Rest: []byte(`{"received":"2026-03-10T12:00:00.000000Z","via":"page","interactive":true}`)},
	}
	for _, where := range []func(){func() { r.flush(2) }, func() { r.publish() }} {
		where()
		rows, upto, err := r.store.Rows(t.Context(), 0, 10, 1<<20)
		if diff := cmp.Diff(want, rows); diff != "" || upto != 2 || err != nil {
			t.Errorf("up to %d, %v, want -, got +:\n%s", upto, err, diff)
		}
	}
}

// TestRowsDamaged does not pass over a part in quarantine.
func TestRowsDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	r.publish()
	parts := r.store.Snapshot().Parts()
	p := parts[len(parts)-1]
	for _, q := range parts {
		if q.First > 20 && q.First < p.First {
			p = q
		}
	}
	path := filepath.Join(r.dir, p.Path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	rows, upto, err := r.store.Rows(t.Context(), 0, 1000, 1<<20)
	if err != nil || upto != p.First-1 || len(rows) == 0 {
		t.Errorf("%d events up to %d, %v; the part begins at %d", len(rows), upto, err, p.First)
	}
	for _, after := range []int64{p.First - 1, p.Last - 1} {
		if _, upto, err := r.store.Rows(t.Context(), after, 1000, 1<<20); err == nil || upto != after {
			t.Errorf("the events after %d are read up to %d, %v", after, upto, err)
		}
	}
	if _, upto, err := r.store.Rows(t.Context(), p.Last, 1000, 1<<20); err != nil || upto != r.last {
		t.Errorf("the events after the part are read up to %d, %v; want %d", upto, err, r.last)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if rows, upto, err := r.store.Rows(t.Context(), 0, 1000, 1<<20); err != nil || upto != r.last || len(rows) != len(r.events) {
		t.Errorf("%d events up to %d, %v; want %d", len(rows), upto, err, len(r.events))
	}
}
