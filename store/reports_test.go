package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/storetest"
)

const (
	second = 1_000_000
	minute = 60 * second
	hour   = 60 * minute
)

var sameFloats = cmpopts.EquateApprox(1e-12, 1e-9)

// add brings events to the lens.
func (r *rig) add(events ...event.Event) {
	r.t.Helper()
	r.append(events...)
	r.flush(len(events))
}

// midnight is 2026-03-10T00:00:00Z.
const midnight = noon - 12*hour

// story is a small day with figures that can be checked by hand:
//
//	Ann   22:00 the day before, reads until 00:10: no visit of the day, but a visitor
//	Bob   08:00:00 /, 08:00:30 /b, engagement 08:01:30: 2 views in 90 s
//	Cid   09:00 /b and nothing else: a bounce of 0 s
//	Dot   10:00 /b, 10:00:10 Signup: no bounce
//	Eve   11:00 /, 11:00:20 a passive event: a bounce of 20 s
//	Fay   23:50 /, 00:20 /late: 2 views in 30 min, the second one tomorrow
//	GPC   12:00 / twice, without a visitor
func story() []event.Event {
	at := func(visitor byte, start, offset int64, name, path string) event.Event {
		e := event.Event{Site: "a.example", Time: midnight + start + offset, Received: noon, Name: name, Via: event.ViaPage, Path: path, Interactive: true, Scroll: event.NoScroll}
		if visitor != 0 {
			e.Visitor, e.Visit, e.VisitStart = event.ID{visitor}, int64(visitor), midnight+start
			e.Source = "Google"
			e.Country = "DE"
		}
		return e
	}
	passive := at('E', 11*hour, 20*second, "Video Ended", "/")
	passive.Interactive = false
	elsewhere := at('Z', 10*hour, 0, event.Pageview, "/elsewhere")
	elsewhere.Site = "b.example"
	return []event.Event{
		at('A', -2*hour, 0, event.Pageview, "/before"),
		at('A', -2*hour, 2*hour+10*minute, event.Pageview, "/b"),
		at('B', 8*hour, 0, event.Pageview, "/"),
		at('B', 8*hour, 30*second, event.Pageview, "/b"),
		at('B', 8*hour, 90*second, event.Engagement, "/b"),
		at('C', 9*hour, 0, event.Pageview, "/b"),
		at('D', 10*hour, 0, event.Pageview, "/b"),
		at('D', 10*hour, 10*second, "Signup", "/b"),
		at('E', 11*hour, 0, event.Pageview, "/"),
		passive,
		at(0, 12*hour, 0, event.Pageview, "/"),
		at(0, 12*hour, second, event.Pageview, "/"),
		at('F', 23*hour+50*minute, 0, event.Pageview, "/"),
		at('F', 23*hour+50*minute, 30*minute, event.Pageview, "/late"),
		elsewhere,
	}
}

var storyDay = event.Query{Site: "a.example", From: midnight, To: midnight + day}

func TestTotals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	want := storetest.Totals{
		Visitors: 6, Visits: 5, Pageviews: 9, Events: 11,
		ViewsPerVisit: 7.0 / 5, BounceRate: 40, VisitDuration: (90 + 0 + 10 + 20 + 1800) / 5.0,
	}
	for _, state := range []string{"hot", "published"} {
		got, err := storetest.Main(t.Context(), r.store, storyDay)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got, sameFloats); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", state, diff)
		}
		r.publish()
	}
	none, err := storetest.Main(t.Context(), r.store, event.Query{Site: "nobody's", From: midnight, To: midnight + day})
	if err != nil || none != (storetest.Totals{}) {
		t.Errorf("a site without events: %+v, %v", none, err)
	}
}

func TestTimeseries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	got, err := storetest.Timeseries(t.Context(), r.store, event.Query{Site: "a.example", From: midnight - day, To: midnight + 2*day}, event.Daily)
	if err != nil {
		t.Fatal(err)
	}
	want := []storetest.Point{
		{Time: midnight - day, Totals: storetest.Totals{Visitors: 1, Visits: 1, Pageviews: 1, Events: 1, ViewsPerVisit: 2, VisitDuration: 7800}},
		{Time: midnight, Totals: storetest.Totals{
			Visitors: 6, Visits: 5, Pageviews: 9, Events: 11, ViewsPerVisit: 7.0 / 5, BounceRate: 40, VisitDuration: 384,
		}},
		{Time: midnight + day, Totals: storetest.Totals{Visitors: 1, Pageviews: 1, Events: 1}},
	}
	if diff := gocmp.Diff(want, got, sameFloats); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestBreakdown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	row := func(value string, visitors, visits, pageviews, events int64) storetest.Row {
		return storetest.Row{Value: value, Totals: storetest.Totals{Visitors: visitors, Visits: visits, Pageviews: pageviews, Events: events}}
	}
	for _, c := range []struct {
		dim           event.Dimension
		limit, offset int
		want          []storetest.Row
		total         int64
	}{
		{"path", 10, 0, []storetest.Row{row("/b", 4, 3, 4, 5), row("/", 3, 3, 5, 6), row("/late", 0, 1, 0, 0)}, 3},
		{"path", 1, 1, []storetest.Row{row("/", 3, 3, 5, 6)}, 3},
		{"path", 10, 7, []storetest.Row{}, 3},
		{"exit_path", 10, 0, []storetest.Row{row("/b", 4, 3, 5, 6), row("/", 1, 1, 1, 2), row("/late", 1, 1, 1, 1), row("", 0, 0, 2, 2)}, 4},
		{"source", 10, 0, []storetest.Row{row("Google", 6, 5, 7, 9), row("", 0, 0, 2, 2)}, 2},
		{"name", 10, 0, []storetest.Row{row("pageview", 6, 5, 9, 9), row("Signup", 1, 1, 0, 1), row("Video Ended", 1, 1, 0, 1)}, 3},
		{"screen", 10, 0, []storetest.Row{row("", 6, 5, 9, 11)}, 1},
	} {
		got, total, err := storetest.Breakdown(t.Context(), r.store, storyDay, c.dim, c.limit, c.offset)
		if err != nil {
			t.Fatal(err)
		}
		rates := cmpopts.IgnoreFields(storetest.Totals{}, "ViewsPerVisit", "BounceRate", "VisitDuration")
		if diff := gocmp.Diff(c.want, got, rates); diff != "" || total != c.total {
			t.Errorf("%s: %d values, want %d; want -, got +:\n%s", c.dim, total, c.total, diff)
		}
	}
	for _, c := range []struct {
		dim           event.Dimension
		limit, offset int
	}{{"sequence", 10, 0}, {`path" FROM events --`, 10, 0}, {"path", -1, 0}, {"path", 10_001, 0}, {"path", 10, -1}} {
		_, _, err := storetest.Breakdown(t.Context(), r.store, storyDay, c.dim, c.limit, c.offset)
		if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) {
			t.Errorf("Breakdown(%q, %d, %d) = %v, want a QueryError", c.dim, c.limit, c.offset, err)
		}
	}
}

// TestDimensions asks for every dimension there is: each must be a column.
func TestDimensions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	dims := []event.Dimension{event.ExitPath, event.ExitHostname, event.Minute, event.Hour, event.Daytime, event.Week, event.Month, event.Prop("x")}
	for _, c := range event.Columns {
		switch c.Kind {
		case event.Text, event.Int32, event.Int64:
			dims = append(dims, event.Dimension(c.Name))
		}
	}
	for _, dim := range dims {
		if rows, _, err := storetest.Breakdown(t.Context(), r.store, storyDay, dim, 10, 0); err != nil || len(rows) == 0 {
			t.Errorf("%s: %d rows, %v", dim, len(rows), err)
		}
	}
}

// places are clocks and the days on which something happens to them.
var places = []struct {
	zone string
	day  string
}{
	{"UTC", "2025-12-31"},
	{"Europe/Berlin", "2025-03-30"},
	{"Europe/Berlin", "2025-10-26"},
	{"America/New_York", "2025-11-02"},
	{"America/Havana", "2025-03-09"}, // no midnight
	{"America/Havana", "2025-11-02"}, // two
	{"Australia/Lord_Howe", "2025-04-06"},
	{"Australia/Lord_Howe", "2025-10-05"},
	{"Asia/Kathmandu", "2025-06-01"},
	{"Pacific/Apia", "2011-12-30"}, // not a day there
}

// TestReportsRandom compares the reports with plain loops over the same events.
func TestReportsRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	cases := 120
	if testing.Short() {
		cases = 30
	}
	r := newRig(t)
	type problem struct {
		q      event.Query
		events []event.Event
	}
	var problems []problem
	for i := range cases {
		place := places[rnd.IntN(len(places))]
		zone, err := time.LoadLocation(place.zone)
		if err != nil {
			t.Fatal(err)
		}
		d, err := event.ParseDay(place.day)
		if err != nil {
			t.Fatal(err)
		}
		p := problem{q: event.Query{Site: fmt.Sprintf("%d.example", i), Zone: zone}}
		p.events = visitsAround(rnd, p.q.Site, d.Start(), int64(i)*1000)
		r.append(p.events...)
		if i%40 == 20 {
			r.flush(len(r.waiting))
			r.publish()
		}
		problems = append(problems, p)
	}
	r.flush(len(r.waiting))
	for _, p := range problems {
		for range 3 {
			checkReports(t, r, rnd, p.q, p.events)
		}
		if t.Failed() {
			return
		}
	}
}

// visitsAround makes up some visits within two days of a time.
func visitsAround(rnd *rand.Rand, site string, around, id int64) (events []event.Event) {
	for range rnd.IntN(12) {
		id++
		start := around + rnd.Int64N(4*day) - 2*day
		if rnd.IntN(3) == 0 {
			start -= start % hour
		}
		source, visitor := []string{"", "Google", "it's"}[rnd.IntN(3)], event.ID{byte(1 + rnd.IntN(4)), byte(event.DayOf(start))}
		for n := range 1 + rnd.IntN(4) {
			offset := []int64{0, 0, second, 5 * minute, rnd.Int64N(3 * hour), -rnd.Int64N(90 * minute), 23*hour + rnd.Int64N(2*hour)}[rnd.IntN(7)]
			if n == 0 {
				offset = 0
			}
			e := event.Event{
				Site: site, Time: start + offset, Received: noon, Via: event.ViaPage, Scroll: event.NoScroll,
				Name:        []string{event.Pageview, event.Pageview, event.Engagement, "Signup"}[rnd.IntN(4)],
				Path:        []string{"", "/a", "/b", "/c"}[rnd.IntN(4)],
				Interactive: rnd.IntN(2) == 0,
				Source:      source,
			}
			if id%5 != 0 {
				e.Visitor, e.Visit, e.VisitStart = visitor, id, start
			}
			events = append(events, e)
		}
	}
	rnd.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	if len(events) == 0 {
		events = []event.Event{{Site: site, Time: around, Name: event.Pageview, Via: event.ViaPage, Scroll: event.NoScroll}}
	}
	return events
}

func checkReports(t *testing.T, r *rig, rnd *rand.Rand, q event.Query, events []event.Event) {
	t.Helper()
	middle := events[0].Time
	q.From = middle - rnd.Int64N(3*day)
	q.To = q.From + rnd.Int64N(4*day)
	if rnd.IntN(2) == 0 {
		q.From -= q.From % hour
	}
	if rnd.IntN(8) == 0 {
		q.To = 0
	}
	if rnd.IntN(8) == 0 {
		q.From = 0
	}
	model := newModel(events, q)
	main, err := storetest.Main(t.Context(), r.store, q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(model.totals(always, q.From, q.To), main, sameFloats); diff != "" {
		t.Errorf("%+v: main, want -, got +:\n%s", q, diff)
	}
	interval := []string{"minute", event.Hourly, event.Daily, event.Weekly, event.Monthly}[rnd.IntN(5)]
	points, err := storetest.Timeseries(t.Context(), r.store, q, interval)
	if wrong := (*event.QueryError)(nil); interval == "minute" && errors.As(err, &wrong) {
		return // too many
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(model.points(interval), points, sameFloats, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%+v by %s, want -, got +:\n%s", q, interval, diff)
	}
	dim := []event.Dimension{"path", "exit_path", "source", "name"}[rnd.IntN(4)]
	rows, total, err := storetest.Breakdown(t.Context(), r.store, q, dim, 1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := model.rows(dim)
	if diff := gocmp.Diff(want, rows, sameFloats, cmpopts.EquateEmpty()); diff != "" || total != int64(len(want)) {
		t.Errorf("%+v %s: %d values, want -, got +:\n%s", q, dim, total, diff)
	}
}

// A model answers questions slowly.
type model struct {
	q      event.Query
	events []event.Event
	visits map[int64][]event.Event // what is followed of each visit
}

func always(event.Event) bool { return true }

func newModel(events []event.Event, q event.Query) *model {
	m := &model{q: q, events: events, visits: map[int64][]event.Event{}}
	for _, e := range events {
		if e.Visit != 0 && e.Time >= e.VisitStart-hour && e.Time < e.VisitStart+day {
			m.visits[e.Visit] = append(m.visits[e.Visit], e)
		}
	}
	return m
}

func inside(t, from, to int64) bool { return (from == 0 || t >= from) && (to == 0 || t < to) }

// totals counts the events that match in a range, and the visits that began in it
// and have such an event.
func (m *model) totals(match func(event.Event) bool, from, to int64) (t storetest.Totals) {
	visitors := map[string]bool{} // by local day
	for _, e := range m.events {
		if !match(e) || !inside(e.Time, from, to) {
			continue
		}
		if e.Visitor != (event.ID{}) {
			visitors[e.Visitor.String()+time.UnixMicro(e.Time).In(m.q.Zone).Format(time.DateOnly)] = true
		}
		if e.Name == event.Pageview {
			t.Pageviews++
		}
		if e.Name != event.Engagement {
			t.Events++
		}
	}
	t.Visitors = int64(len(visitors))
	var views, bounces, length int64
	for _, visit := range m.visits {
		if !inside(visit[0].VisitStart, from, to) || !slices.ContainsFunc(visit, match) {
			continue
		}
		t.Visits++
		v, active, first, last := int64(0), false, visit[0].Time, visit[0].Time
		for _, e := range visit {
			switch {
			case e.Name == event.Pageview:
				v++
			case e.Name != event.Engagement && e.Interactive:
				active = true
			}
			first, last = min(first, e.Time), max(last, e.Time)
		}
		views += v
		length += last - first
		if v == 1 && !active {
			bounces++
		}
	}
	if t.Visits > 0 {
		n := float64(t.Visits)
		t.ViewsPerVisit, t.BounceRate, t.VisitDuration = float64(views)/n, 100*float64(bounces)/n, float64(length)/1e6/n
	}
	return t
}

// points walks through time a quarter of an hour at a time and looks at the clock.
func (m *model) points(interval string) (points []storetest.Point) {
	from, to := m.q.From, m.q.To
	first, last := int64(0), int64(0)
	for _, e := range m.events {
		if inside(e.Time, from, to) {
			if first == 0 || e.Time < first {
				first = e.Time
			}
			last = max(last, e.Time)
		}
	}
	if (from == 0 || to == 0) && first == 0 {
		return nil
	}
	if from == 0 {
		from = first
	}
	if to == 0 {
		to = last + 1
	}
	layout := map[string]string{"minute": "2006-01-02 15:04 -07:00", event.Hourly: "2006-01-02 15 -07:00", event.Daily: "2006-01-02", event.Monthly: "2006-01"}[interval]
	label := func(micros int64) string {
		t := time.UnixMicro(micros).In(m.q.Zone)
		if interval == event.Weekly {
			y, w := t.ISOWeek()
			return fmt.Sprint(y, w)
		}
		return t.Format(layout)
	}
	step := int64(15 * minute)
	if interval == "minute" {
		step = minute
	}
	start := from - from%step
	for label(start-step) == label(start) {
		start -= step
	}
	for start < to {
		end := start + step
		for label(end) == label(start) {
			end += step
		}
		points = append(points, storetest.Point{Time: start, Totals: m.totals(always, max(from, start), min(to, end))})
		start = end
	}
	return points
}

func (m *model) rows(dim event.Dimension) (rows []storetest.Row) {
	value := func(e event.Event) string {
		switch dim {
		case "path":
			return e.Path
		case "source":
			return e.Source
		case "name":
			return e.Name
		}
		if e.Time < e.VisitStart-hour || e.Time >= e.VisitStart+day { // not one of the visit's events
			return ""
		}
		return m.exit(e.Visit)
	}
	values := map[string]bool{}
	for _, e := range m.events {
		followed := e.Visit != 0 && inside(e.VisitStart, m.q.From, m.q.To) && e.Time >= e.VisitStart-hour && e.Time < e.VisitStart+day
		if (inside(e.Time, m.q.From, m.q.To) || followed) && !(dim == "name" && e.Name == event.Engagement) {
			values[value(e)] = true
		}
	}
	for v := range values {
		rows = append(rows, storetest.Row{Value: v, Totals: m.totals(func(e event.Event) bool { return value(e) == v }, m.q.From, m.q.To)})
	}
	slices.SortFunc(rows, func(a, b storetest.Row) int {
		return cmp.Or(-cmp.Compare(a.Visitors, b.Visitors), cmp.Compare(a.Value, b.Value))
	})
	return rows
}

// exit returns the path of the last pageview of a visit.
func (m *model) exit(visit int64) (path string) {
	var last event.Event
	for _, e := range m.visits[visit] {
		if e.Name != event.Pageview || e.Path == "" {
			continue
		}
		if path == "" || e.Time > last.Time || e.Time == last.Time && e.Seq > last.Seq {
			last, path = e, e.Path
		}
	}
	return path
}

func TestTimeseriesRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		interval string
		to       int64
	}{{"fortnight", noon + 1}, {"", noon + 1}, {"minute", noon + 10_001*minute}, {event.Hourly, 1 << 62}} {
		_, err := storetest.Timeseries(t.Context(), r.store, event.Query{Site: "a.example", From: noon, To: c.to}, c.interval)
		if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) {
			t.Errorf("by %q = %v, want a QueryError", c.interval, err)
		}
	}
}

// TestIntervals has the days on which a clock does something odd.
func TestIntervals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, from string
		interval   string
		want       []string // how the first ones end up on a UTC clock
	}{
		{"Europe/Berlin", "2025-03-30T06:00:00Z", event.Daily, []string{"2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"}},
		{"Europe/Berlin", "2025-10-26T06:00:00Z", event.Daily, []string{"2025-10-25T22:00:00Z", "2025-10-26T23:00:00Z"}},
		{"America/Havana", "2025-03-09T12:00:00Z", event.Daily, []string{"2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"}},
		{"America/Havana", "2025-11-02T12:00:00Z", event.Daily, []string{"2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}},
		{"Pacific/Apia", "2011-12-29T12:00:00Z", event.Daily, []string{"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"}},
		{"Australia/Lord_Howe", "2025-04-05T14:20:00Z", event.Hourly, []string{"2025-04-05T14:00:00Z", "2025-04-05T15:00:00Z", "2025-04-05T15:30:00Z", "2025-04-05T16:30:00Z"}},
		{"Europe/Berlin", "2026-01-01T00:00:00Z", event.Weekly, []string{"2025-12-28T23:00:00Z", "2026-01-04T23:00:00Z"}},
		{"Asia/Kathmandu", "2026-01-31T20:00:00Z", event.Monthly, []string{"2026-01-31T18:15:00Z", "2026-02-28T18:15:00Z"}},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, _ := time.Parse(time.RFC3339, c.from)
		last, _ := time.Parse(time.RFC3339, c.want[len(c.want)-1])
		starts, err := event.Buckets(from.UnixMicro(), last.UnixMicro()+1, zone, c.interval)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range starts {
			got = append(got, time.UnixMicro(s).UTC().Format(time.RFC3339))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s by %s: got %s, want %s", c.zone, c.interval, got, c.want)
		}
	}
}

// processorTime is what a busy machine does not change much.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReports has the questions of a dashboard about a million events.
func BenchmarkReports(b *testing.B) {
	r := newRig(b, func(o *store.Options) { o.MemoryLimit = 128 << 20 })
	fill(r, 1_000_000, 10)
	q := event.Query{Site: "a.example", From: noon - 11*day, To: noon + day, Zone: time.UTC}
	for name, f := range map[string]func() error{
		"main":    func() error { _, err := storetest.Main(b.Context(), r.store, q); return err },
		"days":    func() error { _, err := storetest.Timeseries(b.Context(), r.store, q, event.Daily); return err },
		"hours":   func() error { _, err := storetest.Timeseries(b.Context(), r.store, q, event.Hourly); return err },
		"pages":   func() error { _, _, err := storetest.Breakdown(b.Context(), r.store, q, "path", 10, 0); return err },
		"sources": func() error { _, _, err := storetest.Breakdown(b.Context(), r.store, q, "source", 10, 0); return err },
		"exitpages": func() error {
			_, _, err := storetest.Breakdown(b.Context(), r.store, q, "exit_path", 10, 0)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			began := processorTime()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((processorTime()-began).Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}
