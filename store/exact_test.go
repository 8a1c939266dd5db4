package store_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// sums are the metrics that add up.
var sums = []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.Events}

// TestExact holds answers to each other: what must add up to the totals does, of
// rows, of rollups and of both.
func TestExact(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if *plannerSeed != 0 {
		seed = *plannerSeed
	}
	t.Logf("again with: go test ./store -run ^TestExact$ -args -planner.seed=%d", seed)
	w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
	w.add(w.history(200)...)
	for _, state := range []string{"hot", "rolled up", "rolled up, and more"} {
		switch state {
		case "rolled up":
			w.publish()
			w.roll()
		case "rolled up, and more":
			w.add(w.history(20)...)
		}
		for _, at := range w.homes {
			w.addsUp(state, event.Query{Site: at.site, Zone: at.zone, Metrics: sums})
		}
	}
}

// addsUp checks all that must add up of a site, from the beginning of a month to
// the end of all.
func (w *world) addsUp(state string, q event.Query) {
	w.t.Helper()
	q.From = w.clock.start(w.end-70*day, q.Zone, event.Monthly)
	q.To = w.clock.start(w.end+day, q.Zone, event.Daily)
	total := w.sum(q)
	if total[2] == 0 || total[1] == 0 {
		w.t.Fatalf("%s: nothing to add up: %v", state, total)
	}
	same := func(what string, q event.Query, metrics ...int) {
		w.t.Helper()
		got := w.sum(q)
		for _, m := range metrics {
			if got[m] != total[m] {
				w.t.Errorf("%s, %s by %s: %s add up to %d, want %d", state, q.Site, what, q.Metrics[m], got[m], total[m])
			}
		}
	}
	by := func(d ...event.Dimension) event.Query {
		q := q
		q.Dimensions = d
		return q
	}
	for _, d := range []event.Dimension{event.Hour, event.Daytime, event.Week, event.Month} {
		metrics := []int{0, 1, 2, 3}
		if d == event.Hour { // a visitor of two hours is in both
			metrics = metrics[1:]
		}
		same(string(d), by(d), metrics...)
	}
	for _, d := range []event.Dimension{
		"entry_path", event.ExitPath, event.ExitHostname, "entry_hostname", "source", "channel", "referrer", "utm_source", "utm_campaign",
		"browser", "os", "device", "screen", "country", "region", "city", "language",
	} { // a visit has one of each
		same(string(d), by(d), 1, 2, 3)
	}
	same("source and month", by("source", event.Month), 1, 2, 3)
	for _, d := range []event.Dimension{"path", "title", "hostname", "name", "via", "currency", event.Prop("plan")} { // an event has
		same(string(d), by(d), 2, 3)
	}
	w.halves(state, q, total)
}

// halves cuts the range at a midnight: visits and visitors of the halves add up.
func (w *world) halves(state string, q event.Query, total []int64) {
	w.t.Helper()
	for range 5 {
		first, second := q, q
		first.To = w.clock.start(w.moment(q.Zone), q.Zone, event.Daily)
		second.From = first.To
		a, b := w.sum(first), w.sum(second)
		for m := range total {
			if a[m]+b[m] != total[m] {
				w.t.Errorf("%s, %s cut at %d: %s are %d and %d, want %d", state, q.Site, first.To, q.Metrics[m], a[m], b[m], total[m])
			}
		}
	}
}

// sum returns the sums of the lines of an answer.
func (w *world) sum(q event.Query) []int64 {
	w.t.Helper()
	a, err := w.store.Query(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	total := make([]int64, len(q.Metrics))
	for _, l := range a.Lines {
		for i, f := range l.Figures {
			total[i] += f.Int
		}
	}
	return total
}
