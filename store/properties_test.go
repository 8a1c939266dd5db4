package store_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
)

// TestPropertyNames groups by the names of the properties that events carry: an
// event is in the line of each, and events without one are in none.
func TestPropertyNames(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := func(visitor byte, props string) event.Event {
		return event.Event{
			Site: "a.example", Time: midnight + int64(visitor)*minute, Received: noon, Name: "Signup", Via: event.ViaPage, Props: props,
			Visitor: event.ID{visitor}, Visit: int64(visitor), VisitStart: midnight + int64(visitor)*minute, Scroll: event.NoScroll,
		}
	}
	r.add(at(1, `{"plan":"pro","it's":"1"}`), at(1, `{"plan":"free"}`), at(2, `{"plan":"free","a.b":"x","":"y"}`), at(3, ""))
	for _, where := range []string{"hot rows", "parts"} {
		a, err := r.store.Query(t.Context(), event.Query{
			Site: "a.example", From: midnight, To: midnight + day, Count: true, Limit: 3,
			Metrics: []event.Metric{event.Events, event.Visitors, event.Visits, event.BounceRate}, Dimensions: []event.Dimension{event.PropName},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string][3]int64{}
		for _, l := range a.Lines {
			got[l.Values[0].Text] = [3]int64{l.Figures[0].Int, l.Figures[1].Int, l.Figures[2].Int}
		}
		want := map[string][3]int64{"plan": {3, 2, 2}, "": {1, 1, 1}, "a.b": {1, 1, 1}}
		if diff := gocmp.Diff(want, got); diff != "" || a.Count != 4 || a.Lines[0].Values[0].Text != "plan" {
			t.Errorf("%s: %d lines in all, -want +got:\n%s", where, a.Count, diff)
		}
		r.publish()
	}
	_, err := r.store.Query(t.Context(), event.Query{
		Site: "a.example", Metrics: []event.Metric{event.Events}, Filter: event.Filter{Op: event.Is, Dimension: event.PropName, Values: []string{"plan"}},
	})
	if err == nil {
		t.Error("a filter looked at the names of properties")
	}
}
