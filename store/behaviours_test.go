package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// wander returns events of some visits of some visitors and users on one site,
// with equal times, late events, events of nobody, and visits over midnight.
func wander(rnd *rand.Rand, n, days int, zone *time.Location) []event.Event {
	var events []event.Event
	for len(events) < n {
		began := noon - rnd.Int64N(int64(days)*day)
		first := event.Event{
			Site: "a.example", Time: began, Received: noon, Name: event.Pageview, Via: event.ViaPage, Interactive: true,
			Scroll: event.NoScroll, Visit: int64(1 + len(events)), VisitStart: began, Country: []string{"DE", "FR", ""}[rnd.IntN(3)],
		}
		if rnd.IntN(10) == 0 {
			first.Site = "b.example"
		}
		if rnd.IntN(3) == 0 {
			first.User = event.ID{9, byte(rnd.IntN(8)), 15: byte(rnd.IntN(2))}
		}
		who := byte(rnd.IntN(4))
		for range 1 + rnd.IntN(7) {
			e := first
			e.Time += rnd.Int64N(40) * 60e6 // often the same
			if rnd.IntN(30) == 0 {
				e.Time = began - rnd.Int64N(2*3600e6) // late, or so late that it is not the visit's
			}
			local := time.UnixMicro(e.Time).In(zone)
			e.Visitor = event.ID{who, byte(local.YearDay()), 14: 7}
			e.Path = fmt.Sprintf("/%d", rnd.IntN(5))
			if rnd.IntN(4) == 0 {
				e.Name = []string{"signup", event.Engagement}[rnd.IntN(2)]
			}
			if rnd.IntN(20) == 0 {
				e.Visitor, e.Visit, e.VisitStart, e.User = event.ID{}, 0, 0, event.ID{}
			}
			events = append(events, e)
		}
	}
	rnd.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	return events
}

// holds is a filter on path, name and country, evaluated as it reads.
func holds(f event.Filter, e event.Event) bool {
	switch f.Op {
	case event.All:
		return true
	case event.And:
		return !slices.ContainsFunc(f.Of, func(of event.Filter) bool { return !holds(of, e) })
	case event.Or:
		return slices.ContainsFunc(f.Of, func(of event.Filter) bool { return holds(of, e) })
	case event.Not:
		return !holds(f.Of[0], e)
	}
	return slices.Contains(f.Values, valueOf(f.Dimension, e))
}

func valueOf(d event.Dimension, e event.Event) string {
	return map[event.Dimension]string{"path": e.Path, "name": e.Name, "country": e.Country}[d]
}

func is(d event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: d, Values: values}
}

func randomStep(rnd *rand.Rand) event.Filter {
	return []event.Filter{
		is("path", "/0"), is("path", "/1"), is("path", "/2", "/3"), is("name", "signup"), {},
		event.Every(is("path", "/1"), is("name", event.Pageview)), event.Without(is("path", "/4")),
	}[rnd.IntN(7)]
}

func randomScope(rnd *rand.Rand, zone *time.Location, days int) event.Scope {
	sc := event.Scope{Site: "a.example", Zone: zone, Unit: []event.Unit{event.PerVisitor, event.PerVisit, event.PerUser}[rnd.IntN(3)]}
	if rnd.IntN(3) > 0 {
		sc.From = noon - rnd.Int64N(int64(days)*day)
	}
	if rnd.IntN(3) > 0 {
		sc.To = max(sc.From, noon-int64(days)*day) + rnd.Int64N(int64(days)*day)
	}
	switch rnd.IntN(4) {
	case 0:
		sc.Filter = is("country", "DE")
	case 1:
		sc.Filter = is("path", "/3")
	}
	return sc
}

// gathered returns the events of each unit of a scope, in order.
func gathered(events []event.Event, sc event.Scope, history bool) [][]event.Event {
	units := map[string][]event.Event{}
	inRange := func(t int64) bool { return (sc.From == 0 || t >= sc.From) && (sc.To == 0 || t < sc.To) }
	for _, e := range events {
		key := ""
		switch {
		case e.Site != sc.Site:
		case sc.Unit == event.PerVisit:
			if e.Visit != 0 && inRange(e.VisitStart) && e.Time >= e.VisitStart-3600e6 && e.Time < e.VisitStart+day {
				key = fmt.Sprint(e.Visit)
			}
		case !inRange(e.Time) && !history:
		case sc.Unit == event.PerUser:
			key = e.User.String()
		case !e.Visitor.IsZero():
			key = e.Visitor.String() + time.UnixMicro(e.Time).In(sc.Zone).Format(time.DateOnly)
		}
		if key != "" {
			units[key] = append(units[key], e)
		}
	}
	var all [][]event.Event
	for _, unit := range units {
		if !slices.ContainsFunc(unit, func(e event.Event) bool {
			return holds(sc.Filter, e) && (sc.Unit == event.PerVisit || inRange(e.Time))
		}) {
			continue
		}
		slices.SortFunc(unit, func(a, b event.Event) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Seq, b.Seq)) })
		all = append(all, unit)
	}
	return all
}

func masked(unit []event.Event, steps []event.Filter) []behaviour.Event {
	rows := make([]behaviour.Event, len(unit))
	for i, e := range unit {
		rows[i] = behaviour.Event{Time: e.Time, Seq: e.Seq, Value: uint32(i)}
		for n, f := range steps {
			if holds(f, e) {
				rows[i].Mask |= 1 << n
			}
		}
	}
	return rows
}

// wanderers is a store with events partly in parts, some of them with rollups, and
// partly hot.
func wanderers(t *testing.T, rnd *rand.Rand, zone *time.Location, days int) *rig {
	r := newRig(t)
	events := wander(rnd, 600, days, zone)
	if err := r.ledger.AddSite(t.Context(), ledger.Site{Domain: events[0].Site, Timezone: zone.String()}); err != nil {
		t.Fatal(err)
	}
	rolled := 1 + rnd.IntN(len(events)-20)
	late := rolled + 1 + rnd.IntN(10) // a few days are not as they were rolled up
	hot := late + rnd.IntN(len(events)-late)
	if rnd.IntN(2) == 0 {
		hot = late
	}
	r.add(events[:rolled]...)
	r.publish()
	if _, err := r.store.Rollup(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.add(events[rolled:late]...)
	r.publish()
	if late < hot {
		r.add(events[late:hot]...)
		r.publish()
	}
	r.append(events[hot:]...)
	r.flush(len(events) - hot)
	return r
}

var behaviourZones = []string{"UTC", "Europe/Berlin", "America/St_Johns"}

func zoneOf(t *testing.T, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// TestFunnelRandom compares the store's funnels with those of the events in
// memory, in passes of all sizes.
func TestFunnelRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const days = 12
	reached := int64(0)
	for _, name := range behaviourZones {
		zone := zoneOf(t, name)
		r := wanderers(t, rnd, zone, days)
		for range 12 {
			q := event.Funnel{Scope: randomScope(rnd, zone, days), Window: time.Duration(1+rnd.IntN(100)) * 20 * time.Minute, By: "country", Over: event.Daily}
			q.Any = rnd.IntN(2) == 0
			if rnd.IntN(3) == 0 {
				q.Modes = []event.Mode{event.StrictIncrease, event.AllowReentry}
			}
			var filters []event.Filter
			for range 1 + rnd.IntN(4) {
				filters = append(filters, randomStep(rnd))
				q.Steps = append(q.Steps, event.Step{Filter: filters[len(filters)-1]})
			}
			rows := []int{20, 60, 1 << 20}[rnd.IntN(3)]
			a, err := r.store.FunnelIn(t.Context(), q, rows)
			if err != nil {
				t.Fatal(err)
			}
			want, wantBy, wantOver := naiveFunnel(r.visible(), q, filters)
			got, gotBy, gotOver := []int64{}, map[string][]int64{}, map[string][]int64{}
			for _, s := range a.Steps {
				got = append(got, s.Reached)
			}
			for _, s := range a.Segments {
				for _, s2 := range s.Steps {
					gotBy[s.Value] = append(gotBy[s.Value], s2.Reached)
				}
			}
			for _, p := range a.Points {
				if p.Steps[0].Reached > 0 && sc1(q.Unit) {
					for _, s2 := range p.Steps {
						k := time.UnixMicro(p.Time).In(zone).Format(time.DateOnly)
						gotOver[k] = append(gotOver[k], s2.Reached)
					}
				}
			}
			if diff := gocmp.Diff([]any{want, wantBy, wantOver}, []any{got, gotBy, gotOver}); diff != "" {
				t.Fatalf("%+v: want -, got +:\n%s", q, diff)
			}
			reached += want[len(want)-1]
		}
	}
	if reached < 40 {
		t.Errorf("only %d units got through: the test tries little", reached)
	}
}

// sc1 says whether chains always begin within the range.
func sc1(u event.Unit) bool { return u != event.PerVisit }

func naiveFunnel(events []event.Event, q event.Funnel, filters []event.Filter) (whole []int64, by, over map[string][]int64) {
	whole, by, over = make([]int64, len(filters)), map[string][]int64{}, map[string][]int64{}
	add := func(m map[string][]int64, k string, n int) {
		if m[k] == nil {
			m[k] = make([]int64, len(filters))
		}
		for i := range n {
			m[k][i]++
		}
	}
	for _, unit := range gathered(events, q.Scope, false) {
		rows := masked(unit, filters)
		times, entry := behaviour.NewFunnel(len(filters), q.Window.Microseconds(), q.Modes).Run(rows)
		if times == nil {
			continue
		}
		for i := range times {
			whole[i]++
		}
		if sc1(q.Unit) {
			add(over, time.UnixMicro(times[0]).In(q.Zone).Format(time.DateOnly), len(times))
		}
		values := []string{unit[entry].Country}
		if q.Any {
			values = nil
			for i, row := range rows {
				if row.Mask != 0 && !slices.Contains(values, unit[i].Country) {
					values = append(values, unit[i].Country)
				}
			}
		}
		for _, v := range values {
			add(by, v, len(times))
		}
	}
	return whole, by, over
}

func TestRetentionRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const days = 40
	listed := 0
	for _, name := range behaviourZones {
		zone := zoneOf(t, name)
		r := wanderers(t, rnd, zone, days)
		for i := range 12 {
			if i == 6 { // from here on every day is as it was rolled up
				r.publish()
				if _, err := r.store.Rollup(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			q := event.Retention{Scope: randomScope(rnd, zone, days), Interval: []string{event.Daily, event.Weekly, event.Monthly}[rnd.IntN(3)], Periods: 2 + rnd.IntN(6)}
			if q.Unit == event.PerVisit {
				q.Unit = event.PerUser
			}
			if q.From == 0 {
				q.From = noon - days*day
			}
			if q.To == 0 {
				q.To = noon + day
			}
			switch {
			case i%3 == 0: // as it is asked most
				q.Unit, q.Filter = event.PerUser, event.Filter{}
				if i == 6 {
					q.From, q.To = noon-days*day, noon+day
				}
			case rnd.IntN(2) == 0:
				q.Start, q.Return = randomStep(rnd), randomStep(rnd)
			}
			rows := []int{20, 60, 1 << 20}[rnd.IntN(3)]
			a, err := r.store.RetentionIn(t.Context(), q, rows)
			if err != nil {
				t.Fatal(err)
			}
			if want, got := naiveRetention(t, r.visible(), q), shownGrid(a); want != got {
				t.Fatalf("%+v:\ngot\n%s\nwant\n%s", q, got, want)
			}
			if a.Plan == event.PlanBoth {
				listed++
			}
		}
	}
	if listed == 0 {
		t.Error("rollups were never asked who was there")
	}
}

func shownGrid(a *event.RetentionAnswer) string {
	var b strings.Builder
	for _, c := range a.Cohorts {
		fmt.Fprintf(&b, "%d %d:", c.Time, c.Size)
		for _, n := range c.Retained {
			if n == nil {
				b.WriteString(" -")
			} else {
				fmt.Fprintf(&b, " %d", *n)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func naiveRetention(t *testing.T, events []event.Event, q event.Retention) string {
	if q.From >= q.To {
		return ""
	}
	starts, err := event.Buckets(q.From, q.To, q.Zone, q.Interval)
	if err != nil {
		t.Fatal(err)
	}
	units := gathered(events, q.Scope, q.Unit == event.PerUser)
	var b strings.Builder
	for _, start := range starts {
		ends := []int64{start}
		for range q.Periods {
			ends = append(ends, event.NextOf(time.UnixMicro(ends[len(ends)-1]).In(q.Zone), q.Interval).UnixMicro())
		}
		size, cells := 0, make([]int, q.Periods)
		for _, unit := range units {
			first := slices.IndexFunc(unit, func(e event.Event) bool { return holds(q.Start, e) })
			if first < 0 || unit[first].Time < max(q.From, start) || unit[first].Time >= min(q.To, ends[1]) {
				continue
			}
			size++
			for p := range cells {
				if slices.ContainsFunc(unit[first:], func(e event.Event) bool {
					return holds(q.Return, e) && e.Time >= ends[p] && e.Time < ends[p+1]
				}) {
					cells[p]++
				}
			}
		}
		fmt.Fprintf(&b, "%d %d:", start, size)
		for p, n := range cells {
			if ends[p+1] > noon || p > 0 && q.Unit == event.PerVisitor {
				b.WriteString(" -")
			} else {
				fmt.Fprintf(&b, " %d", n)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestSequenceRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const days = 12
	matches := int64(0)
	for _, name := range behaviourZones {
		zone := zoneOf(t, name)
		r := wanderers(t, rnd, zone, days)
		for range 10 {
			q := event.Sequence{Scope: randomScope(rnd, zone, days), Every: rnd.IntN(2) == 0}
			var filters []event.Filter
			for range 2 {
				filters = append(filters, randomStep(rnd))
				q.Steps = append(q.Steps, event.Step{Filter: filters[len(filters)-1]})
			}
			q.Pattern = []string{"", "(?1)(?2)", "(?1).*(?t<=1200)(?2)", "(?1)(?!2)*(?1)", "(?1).(?2)"}[rnd.IntN(5)]
			rows := []int{20, 60, 1 << 20}[rnd.IntN(3)]
			a, err := r.store.SequenceIn(t.Context(), q, rows)
			if err != nil {
				t.Fatal(err)
			}
			p, err := behaviour.ParsePattern(q.Pattern, 2)
			if err != nil {
				t.Fatal(err)
			}
			var want [3]int64
			for _, unit := range gathered(r.visible(), q.Scope, false) {
				n, err := p.Count(masked(unit, filters), q.Every)
				if err != nil {
					t.Fatal(err)
				}
				want[2]++
				if want[1] += int64(n); n > 0 {
					want[0]++
				}
			}
			if got := [3]int64{a.Matched, a.Matches, a.Units}; got != want {
				t.Fatalf("%+v: got %v, want %v (matched, matches, units)", q, got, want)
			}
			matches += want[1]
		}
	}
	if matches < 100 {
		t.Errorf("only %d matches: the test tries little", matches)
	}
}

func TestFlowRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	const days = 12
	for _, name := range behaviourZones {
		zone := zoneOf(t, name)
		r := wanderers(t, rnd, zone, days)
		for range 10 {
			q := event.Flow{Scope: randomScope(rnd, zone, days), Depth: 1 + rnd.IntN(10), Top: 1 + rnd.IntN(6), Backwards: rnd.IntN(2) == 0, Repeats: rnd.IntN(2) == 0}
			if rnd.IntN(2) == 0 {
				q.Start = is("path", "/1")
			}
			rows := []int{20, 60, 1 << 20}[rnd.IntN(3)]
			links := []int{1, 1 << 20}[rnd.IntN(2)] // one asks again for the links
			a, err := r.store.FlowIn(t.Context(), q, rows, links)
			if err != nil {
				t.Fatal(err)
			}
			if want, got := naiveFlow(r.visible(), q), shownFlow(a); want != got {
				t.Fatalf("%+v:\ngot\n%s\nwant\n%s", q, got, want)
			}
		}
	}
}

func shownFlow(a *event.FlowAnswer) string {
	name := func(n event.FlowNode) string { return []string{n.Value, "(others)", "(end)"}[n.Kind] }
	var lines []string
	before := a.Start
	for _, n := range a.Start {
		lines = append(lines, fmt.Sprintf("0 %s %d", name(n), n.Units))
	}
	for i, s := range a.Steps {
		for _, n := range s.Nodes {
			lines = append(lines, fmt.Sprintf("%d %s %d", i+1, name(n), n.Units))
		}
		for _, l := range s.Links {
			lines = append(lines, fmt.Sprintf("%d %s > %s %d", i+1, name(before[l.From]), name(s.Nodes[l.To]), l.Units))
		}
		before = s.Nodes
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func naiveFlow(events []event.Event, q event.Flow) string {
	var paths [][]string
	for _, unit := range gathered(events, q.Scope, false) {
		if q.Backwards {
			slices.Reverse(unit)
		}
		var path []string
		for _, e := range unit {
			isStart := e.Name == event.Pageview
			if !q.Start.Zero() {
				isStart = holds(q.Start, e)
			}
			if len(path) == 0 && isStart || len(path) > 0 && e.Name == event.Pageview && (q.Repeats || path[len(path)-1] != e.Path) {
				path = append(path, e.Path)
			}
		}
		if len(path) > 0 {
			path = append(path, "(end)")
			paths = append(paths, path[:min(len(path), q.Depth+1)])
		}
	}
	levels := make([]map[string]int, q.Depth+1)
	for i := range levels {
		levels[i] = map[string]int{}
	}
	for _, path := range paths {
		for i, v := range path {
			levels[i][v]++
		}
	}
	top := make([]map[string]bool, q.Depth+1)
	for i, level := range levels {
		var values []string
		for v := range level {
			if v != "(end)" {
				values = append(values, v)
			}
		}
		slices.SortFunc(values, func(a, b string) int { return cmp.Or(level[b]-level[a], cmp.Compare(a, b)) })
		top[i] = map[string]bool{"(end)": true}
		for _, v := range values[:min(len(values), q.Top)] {
			top[i][v] = true
		}
	}
	counts := map[string]int{}
	for _, path := range paths {
		before := ""
		for i, v := range path {
			if !top[i][v] {
				v = "(others)"
			}
			counts[fmt.Sprintf("%d %s", i, v)]++
			if i > 0 {
				counts[fmt.Sprintf("%d %s > %s", i, before, v)]++
			}
			before = v
		}
	}
	var lines []string
	for k, n := range counts {
		lines = append(lines, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestBehaviourRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sc := event.Scope{Site: "a.example"}
	steps := func(n int) []event.Step { return make([]event.Step, n) }
	ask := map[string]func() error{
		"0 steps": func() error { _, err := r.store.Funnel(t.Context(), event.Funnel{Scope: sc, Window: 1}); return err },
		"33 steps": func() error {
			_, err := r.store.Funnel(t.Context(), event.Funnel{Scope: sc, Window: 1, Steps: steps(33)})
			return err
		},
		"window of the funnel is 0s": func() error {
			_, err := r.store.Funnel(t.Context(), event.Funnel{Scope: sc, Steps: steps(2)})
			return err
		},
		`no mode "lax"`: func() error {
			_, err := r.store.Funnel(t.Context(), event.Funnel{Scope: sc, Window: 1, Steps: steps(2), Modes: []event.Mode{"lax"}})
			return err
		},
		`no dimension "nothing"`: func() error {
			_, err := r.store.Funnel(t.Context(), event.Funnel{Scope: sc, Window: 1, Steps: steps(2), By: "nothing"})
			return err
		},
		"no site": func() error {
			_, err := r.store.Flow(t.Context(), event.Flow{Depth: 1})
			return err
		},
		"11 steps": func() error {
			_, err := r.store.Flow(t.Context(), event.Flow{Scope: sc, Depth: 11})
			return err
		},
		"a visit has no retention": func() error {
			_, err := r.store.Retention(t.Context(), event.Retention{Scope: event.Scope{Site: "a", Unit: event.PerVisit}, Interval: event.Daily, Periods: 2})
			return err
		},
		"there is no step 3": func() error {
			_, err := r.store.Sequence(t.Context(), event.Sequence{Scope: sc, Steps: steps(2), Pattern: "(?3)"})
			return err
		},
		`no unit "household"`: func() error {
			_, err := r.store.Sequence(t.Context(), event.Sequence{Scope: event.Scope{Site: "a", Unit: "household"}, Steps: steps(2)})
			return err
		},
	}
	for want, f := range ask {
		err := f()
		var q *event.QueryError
		if !errors.As(err, &q) || !strings.Contains(q.Message, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestFunnelTook checks times between steps against sorted lists of them.
func TestFunnelTook(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	var took []time.Duration
	var events []event.Event
	for i := range 300 {
		d := time.Duration(rnd.ExpFloat64()*1e8) * time.Microsecond
		took = append(took, d)
		e := event.Event{Site: "a.example", Time: noon - day, Name: event.Pageview, Path: "/a", Visitor: event.ID{byte(i), byte(i >> 8), 1}, Scroll: event.NoScroll}
		f := e
		f.Path, f.Time = "/b", e.Time+d.Microseconds()
		events = append(events, e, f)
	}
	r.append(events...)
	r.flush(len(events))
	a, err := r.store.Funnel(t.Context(), event.Funnel{Scope: event.Scope{Site: "a.example"}, Window: 12 * time.Hour,
		Steps: []event.Step{{Name: "a", Filter: is("path", "/a")}, {Name: "b", Filter: is("path", "/b")}}})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	got := a.Steps[1].Took
	if got.Mean != (sum/300).Truncate(time.Microsecond) || got.Shortest != took[0] || got.Longest != took[299] {
		t.Errorf("got %+v, want a mean of %v, %v to %v", got, sum/300, took[0], took[299])
	}
	for _, c := range []struct{ got, want time.Duration }{{got.Median, took[149]}, {got.P90, took[269]}} {
		if c.got < c.want || float64(c.got) > 1.01*float64(c.want)+1 {
			t.Errorf("got %v, want %v or up to 1 %% more", c.got, c.want)
		}
	}
	if a.Steps[1].Name != "b" || a.Steps[1].Reached != 300 || a.Steps[1].Rate != 100 {
		t.Errorf("got %+v", a.Steps[1])
	}
}

// TestBehaviourFilters asks with what is not a plain column: where a visit ended,
// what else was done in it, and a property.
func TestBehaviourFilters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := func(visit int64, minute int64, path, props string) event.Event {
		return event.Event{Site: "a.example", Time: noon - day + minute*60e6, Name: event.Pageview, Path: path, Props: props, Scroll: event.NoScroll,
			Visitor: event.ID{byte(visit), 3}, Visit: visit, VisitStart: noon - day, Country: "DE"}
	}
	events := []event.Event{
		at(1, 0, "/a", `{"plan":"x"}`), at(1, 1, "/b", ""), at(1, 2, "/bye", ""),
		at(5, 0, "/a", ""), at(5, 1, "/b", ""),
		at(9, 0, "/a", ""),
	}
	r.append(events...)
	r.flush(len(events))
	r.publish()
	done := event.Filter{Op: event.HasDone, Of: []event.Filter{is("path", "/bye")}}
	for name, c := range map[string]struct {
		step, filter event.Filter
		want         [2]int64
	}{
		"all":               {event.Filter{}, event.Filter{}, [2]int64{3, 2}},
		"has done":          {done, event.Filter{}, [2]int64{1, 1}},
		"has not done":      {event.Without(done), event.Filter{}, [2]int64{2, 1}},
		"exit":              {is(event.ExitPath, "/b"), event.Filter{}, [2]int64{1, 1}},
		"property":          {is(event.Prop("plan"), "x"), event.Filter{}, [2]int64{1, 1}},
		"no property":       {is(event.Prop("plan"), ""), event.Filter{}, [2]int64{2, 1}},
		"scope by exit":     {event.Filter{}, is(event.ExitPath, "/a"), [2]int64{1, 0}},
		"scope by has done": {event.Filter{}, done, [2]int64{1, 1}},
	} {
		a, err := r.store.Funnel(t.Context(), event.Funnel{
			Scope: event.Scope{Site: "a.example", Unit: event.PerVisit, Filter: c.filter}, Window: time.Hour, By: event.ExitPath,
			Steps: []event.Step{{Filter: event.Every(is("path", "/a"), c.step)}, {Filter: is("path", "/b")}},
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := [2]int64{a.Steps[0].Reached, a.Steps[1].Reached}; got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if name == "all" && (a.Count != 3 || a.Segments[0].Value != "/a" || a.Segments[2].Value != "/bye") {
			t.Errorf("segments by exit: %+v", a.Segments)
		}
	}
}
