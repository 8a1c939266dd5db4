package store_test

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// TestKnownIDs looks for ids in parts and hot rows, on other days and sites.
func TestKnownIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := func(n byte) event.ID { return event.ID{0xab, 15: n} }
	with := func(n byte, site string, at int64) event.Event {
		return event.Event{Site: site, Time: at, Received: noon, Name: "x", Via: event.ViaImport, Dedupe: id(n), Scroll: event.NoScroll}
	}
	r.add(with(1, "a.example", midnight-1), with(2, "a.example", midnight), with(3, "b.example", midnight))
	r.publish()
	r.add(with(4, "a.example", midnight+day-1), with(5, "a.example", midnight+day), with(2, "a.example", noon))
	today := event.DayOf(midnight)
	for _, c := range []struct {
		name     string
		site     string
		from, to event.Day
		want     []event.ID
	}{
		{"today", "a.example", today, today, []event.ID{id(2), id(4)}},
		{"three days", "a.example", today - 1, today + 1, []event.ID{id(1), id(2), id(4), id(5)}},
		{"another site", "b.example", today, today, []event.ID{id(3)}},
		{"another day", "b.example", today + 1, today + 9, nil},
	} {
		known, err := r.store.KnownIDs(t.Context(), c.site, c.from, c.to, []event.ID{id(1), id(2), id(2), id(3), id(4), id(5), id(6), {}})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.SortedFunc(maps.Keys(known), func(a, b event.ID) int { return int(a[15]) - int(b[15]) })
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", c.name, diff)
		}
	}
	many := make([]event.ID, 10_000)
	for i := range many {
		many[i] = event.ID{byte(i), byte(i >> 8), 1}
	}
	many[7777] = id(2)
	known, err := r.store.KnownIDs(t.Context(), "a.example", today, today, many)
	if err != nil || !known[id(2)] || len(known) != 1 {
		t.Errorf("of 10,000: %v, %v", known, err)
	}
	if known, err := r.store.KnownIDs(t.Context(), "a.example", today, today, nil); err != nil || len(known) != 0 {
		t.Errorf("of none: %v, %v", known, err)
	}

	for _, p := range r.files() {
		if strings.Contains(p, today.String()) {
			os.Remove(filepath.Join(r.dir, p))
		}
	}
	if n, err := r.store.Recheck(t.Context()); err != nil || n != 1 {
		t.Fatalf("Recheck = %d, %v; want 1", n, err)
	}
	if _, err := r.store.KnownIDs(t.Context(), "a.example", today, today, many); !errors.Is(err, store.ErrKnownDamaged) {
		t.Errorf("of a day that is damaged: %v, want ErrKnownDamaged", err)
	}
	if known, err := r.store.KnownIDs(t.Context(), "a.example", today-1, today-1, []event.ID{id(1)}); err != nil || !known[id(1)] {
		t.Errorf("of the day before a damaged one: %v, %v", known, err)
	}
}

// TestOpenVisits checks that of each visitor's latest visit the first and the last
// event come back, with every field and in the order of Seq, from
// parts and hot rows alike.
func TestOpenVisits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(full())
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 3 { // visits that go on, and some that are late, in every store
		events := some(rnd, 200, 2)
		for i := range events {
			e := &events[i]
			e.Via, e.Visitor = event.ViaPage, event.ID{1, byte(rnd.IntN(30))}
			e.Visit = int64(e.Visitor[1])*10 + 1 + rnd.Int64N(2)
			e.Time = noon - rnd.Int64N(int64(day/4))
		}
		events[7].Via, events[8].Visitor, events[8].Visit = event.ViaImport, event.ID{}, 0
		r.add(events...)
		if r.store.Stats().Parts < 3 {
			r.publish()
		}
	}
	since := int64(noon - day/5)
	for _, limit := range []int{1000, 5} {
		want := openVisits(r.visible(), since, limit)
		var got []event.Event
		if err := r.store.OpenVisits(t.Context(), since, limit, func(e *event.Event) error { got = append(got, *e); return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" || len(got) < 5 {
			t.Errorf("limit %d, %d events: want -, got +:\n%s", limit, len(got), diff)
		}
	}
	enough := errors.New("enough")
	if err := r.store.OpenVisits(t.Context(), 0, 10, func(*event.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want what fn returned", err)
	}
}

// openVisits is what OpenVisits is to find among events, which are in the order of
// Seq and happened at different times.
func openVisits(events []event.Event, since int64, limit int) (ends []event.Event) {
	visitors := map[event.ID][]event.Event{}
	var order []event.ID // by the newest event, the newest first
	for _, e := range slices.Backward(events) {
		if e.Time < since || e.Visitor.IsZero() || e.Via == event.ViaImport {
			continue
		}
		if visitors[e.Visitor] == nil {
			order = append(order, e.Visitor)
		}
		visitors[e.Visitor] = append(visitors[e.Visitor], e)
	}
	for _, visitor := range order[:min(limit, len(order))] {
		byTime := func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) }
		last := slices.MaxFunc(visitors[visitor], byTime)
		visit := slices.DeleteFunc(visitors[visitor], func(e event.Event) bool { return e.Visit != last.Visit })
		first := slices.MinFunc(visit, byTime)
		ends = append(ends, first)
		if last.Seq != first.Seq {
			ends = append(ends, last)
		}
	}
	slices.SortFunc(ends, func(a, b event.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return ends
}
