package store_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// TestMatch asks of random events whether random filters hold for them, and compares
// what [plan.Match] says of each with the naive engine, which is held to SQL by
// TestPlanner.
func TestMatch(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := &world{rig: &rig{}, rnd: rnd, end: 100 * day, homes: []home{{"a.example", time.UTC}}}
	w.events = w.history(60)
	n := newNaive(event.Query{Site: "a.example"}, w.events, &w.clock)
	matched, held := 0, 0
	for range 4000 {
		f := w.filter(3, true)
		holds, err := plan.Match(f)
		if ofVisit(f) {
			if err == nil {
				t.Fatalf("%+v needs a visit and was taken", f)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		matched++
		for range 10 {
			e := &w.events[rnd.IntN(len(w.events))]
			got, want := holds(e), n.holds(f, e)
			if got != want {
				t.Fatalf("%+v of %+v: %v, want %v", f, *e, got, want)
			}
			if got {
				held++
			}
		}
	}
	if matched < 1000 || held < matched || held > 9*matched {
		t.Errorf("%d filters held %d times: that says little", matched, held)
	}
}

// ofVisit says whether a filter asks for more than one event.
func ofVisit(f event.Filter) bool {
	for _, of := range f.Of {
		if ofVisit(of) {
			return true
		}
	}
	return f.Op == event.HasDone || f.Dimension == event.ExitPath || f.Dimension == event.ExitHostname
}

// TestMatchRefuses has a filter of each kind that is wrong.
func TestMatchRefuses(t *testing.T) {
	t.Parallel()
	for _, f := range []event.Filter{
		{Op: event.Is, Dimension: "path"},
		{Op: event.Is, Dimension: "visitor", Values: []string{"x"}},
		{Op: event.Is, Dimension: event.GoalName, Values: []string{"x"}},
		{Op: event.Matches, Dimension: "path", Values: []string{"("}},
		{Op: event.AtLeast, Dimension: "scroll", Values: []string{"much"}},
		event.Without(event.Filter{Op: event.HasDone, Of: []event.Filter{{}}}),
	} {
		if _, err := plan.Match(f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}
