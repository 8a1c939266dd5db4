package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/store/event"
)

// additive are the metrics that rollups answer.
var additive = []event.Metric{
	event.Visitors, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration, event.Percentage,
}

// rollable makes up a question that rollups may answer.
func rollable(rnd *rand.Rand, site string, zone *time.Location) event.Query {
	q := event.Query{Site: site, Zone: zone, Count: true}
	for _, i := range rnd.Perm(len(additive))[:1+rnd.IntN(len(additive))] {
		q.Metrics = append(q.Metrics, additive[i])
	}
	q.From = noon - 12*day + rnd.Int64N(12*day)
	q.To = q.From + rnd.Int64N(14*day)
	switch rnd.IntN(6) {
	case 0:
		q.From = 0
	case 1:
		q.To = 0
	case 2:
		q.From, q.To = noon-1000*365*day, noon+1000*365*day
	}
	dim := []event.Dimension{"path", "source", "name", event.ExitPath}[rnd.IntN(4)]
	grouped := rnd.IntN(2) == 0
	if grouped {
		q.Dimensions = append(q.Dimensions, dim)
	}
	if rnd.IntN(2) == 0 {
		q.Dimensions = append(q.Dimensions, []event.Dimension{event.Daytime, event.Week, event.Month}[rnd.IntN(3)])
	}
	switch f := is(dim, []string{"/a", "Google", event.Pageview, ""}[rnd.IntN(4)]); rnd.IntN(3) {
	case 0:
		q.Filter = f
	case 1:
		if grouped {
			q.Filter = event.Without(event.Any(f, event.Filter{Op: event.Matches, Dimension: dim, Values: []string{"b$"}}))
		}
	}
	return q
}

// TestQueryRollups asks the same before and after the closed days have been rolled
// up, and with late events upon them: where an answer comes from must not show.
func TestQueryRollups(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	zones := []string{"UTC", "Europe/Berlin", "America/New_York"}
	asked := []event.Query{{Site: "0.example", From: midnight - 10*day, To: midnight - day, Metrics: additive, Count: true}} // all of it closed
	for i, name := range zones {
		site := fmt.Sprintf("%d.example", i)
		zone := r.site(site, name)
		for d := range int64(5) {
			r.append(visitsAround(rnd, site, noon-2*day*(d+1), int64(i)*10_000+d*100)...)
		}
		for range 12 {
			asked = append(asked, rollable(rnd, site, zone))
		}
	}
	r.flush(len(r.waiting))
	r.publish()
	ask := func(q event.Query) *event.Answer {
		t.Helper()
		a, err := r.store.Query(t.Context(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		return a
	}
	var want []*event.Answer
	for _, q := range asked {
		want = append(want, ask(q))
	}
	check := func() (plans []string) {
		for i, q := range asked {
			got := ask(q)
			plans = append(plans, got.Plan)
			if diff := gocmp.Diff(want[i], got, sameFloats, cmpopts.IgnoreFields(event.Answer{}, "Plan", "Seq")); diff != "" {
				t.Fatalf("%+v by %s, want -, got +:\n%s", q, got.Plan, diff)
			}
		}
		return plans
	}
	if plans := check(); slices.ContainsFunc(plans, func(p string) bool { return p != event.PlanRaw }) {
		t.Errorf("nothing is rolled up, and plans are %s", plans)
	}
	r.rollup()
	plans := check()
	for _, p := range []string{event.PlanRollup, event.PlanBoth} {
		if !slices.Contains(plans, p) {
			t.Errorf("closed days are rolled up, and no plan is %s: %s", p, plans)
		}
	}
	late := visitsAround(rnd, "1.example", noon-5*day, 90_000)
	r.append(late...)
	r.flush(len(late))
	for i, q := range asked { // a column that rollups do not have, and which is the same everywhere
		q.Filter = event.Every(q.Filter, event.Without(is("browser", "none")))
		if want[i] = ask(q); want[i].Plan != event.PlanRaw {
			t.Fatalf("%+v is answered by %s", q, want[i].Plan)
		}
	}
	check()
	r.publish()
	check()
	r.rollup()
	check()
}

func TestQueryRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	base := event.Query{Site: "a.example", From: midnight, To: midnight + day, Metrics: []event.Metric{event.Visitors}}
	for name, change := range map[string]func(*event.Query){
		"no metric": func(q *event.Query) { q.Metrics = nil },
		"no such":   func(q *event.Query) { q.Dimensions = []event.Dimension{"visitor"} },
		"backtrack": func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Matches, Dimension: "path", Values: []string{`(a)\1`}}
		},
		"repetitions": func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Matches, Dimension: "path", Values: []string{`\pL{1000}`}}
		},
	} {
		q := base
		change(&q)
		_, err := r.store.Query(t.Context(), q)
		if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) {
			t.Errorf("%s: %v, want a QueryError", name, err)
		}
	}
}
