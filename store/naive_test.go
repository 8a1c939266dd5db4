package store_test

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
)

// A naive answers questions slowly, by the words of [event.Query] and nothing
// else: it looks at every event for each of them, and knows neither parts nor
// rollups nor SQL. What it and the store disagree about is a bug in one of them.
type naive struct {
	q      event.Query
	events []event.Event // of the site
	visits map[int64]*naiveVisit
	exprs  map[string]*regexp.Regexp
	clock  *naiveClock
}

// A naiveVisit is a visit and its events. It is followed from an hour before its
// start, because events may come late, to a day after it; an event outside of that
// belongs to no visit, whatever it carries.
type naiveVisit struct {
	start          int64
	own            []event.Event
	views          int64
	bounced        bool
	length         int64
	exitPath, exit string // path and hostname of its last pageview with a path
}

func newNaive(q event.Query, events []event.Event, clock *naiveClock) *naive {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	n := &naive{q: q, visits: map[int64]*naiveVisit{}, exprs: map[string]*regexp.Regexp{}, clock: clock}
	for _, e := range events {
		if e.Site != q.Site {
			continue
		}
		if e.Time < e.VisitStart-hour || e.Time >= e.VisitStart+day {
			e.Visit = 0
		}
		n.events = append(n.events, e)
		if e.Visit == 0 {
			continue
		}
		v := n.visits[e.Visit]
		if v == nil {
			v = &naiveVisit{start: e.VisitStart}
			n.visits[e.Visit] = v
		}
		v.own = append(v.own, e)
	}
	for _, v := range n.visits {
		v.sum()
	}
	return n
}

func (v *naiveVisit) sum() {
	var active bool
	var first, last int64
	var exit event.Event
	for i, e := range v.own {
		if i == 0 {
			first, last = e.Time, e.Time
		}
		first, last = min(first, e.Time), max(last, e.Time)
		switch e.Name {
		case event.Pageview:
			v.views++
			later := e.Time > exit.Time || e.Time == exit.Time && e.Seq > exit.Seq
			if e.Path != "" && (exit.Path == "" || later) {
				exit = e
			}
		case event.Engagement:
		default:
			active = active || e.Interactive
		}
	}
	v.length = last - first
	v.bounced = v.views == 1 && !active
	v.exitPath, v.exit = exit.Path, exit.Hostname
}

// text returns the value that an event has for a dimension which is not one of
// time.
func (n *naive) text(e *event.Event, d event.Dimension) string {
	v := n.visits[e.Visit]
	switch key, prop := d.Prop(); {
	case prop:
		var props map[string]string
		_ = json.Unmarshal([]byte(e.Props), &props)
		return props[key]
	case d == event.ExitPath && v != nil:
		return v.exitPath
	case d == event.ExitHostname && v != nil:
		return v.exit
	case d == event.ExitPath || d == event.ExitHostname:
		return ""
	}
	for _, c := range event.Columns {
		switch {
		case c.Name != string(d):
		case c.Null(e):
			return ""
		case c.Kind == event.Text:
			return c.Str(e)
		default:
			return strconv.FormatInt(c.Num(e), 10)
		}
	}
	return ""
}

// holds says whether a filter does for an event.
func (n *naive) holds(f event.Filter, e *event.Event) bool {
	each := func(of event.Filter) bool { return n.holds(of, e) }
	switch f.Op {
	case event.All:
		return true
	case event.And:
		return !slices.ContainsFunc(f.Of, func(of event.Filter) bool { return !each(of) })
	case event.Or:
		return slices.ContainsFunc(f.Of, each)
	case event.Not:
		return !each(f.Of[0])
	case event.HasDone:
		v := n.visits[e.Visit]
		return v != nil && slices.ContainsFunc(v.own, func(x event.Event) bool { return n.holds(f.Of[0], &x) })
	}
	text := n.text(e, f.Dimension)
	return slices.ContainsFunc(f.Values, func(value string) bool { return n.fits(f, text, value) })
}

// fits says whether a text is what a value of a filter wants.
func (n *naive) fits(f event.Filter, text, value string) bool {
	if f.IgnoreCase {
		text, value = strings.ToLower(text), strings.ToLower(value)
	}
	switch f.Op {
	case event.Is:
		return text == value
	case event.Contains:
		return strings.Contains(text, value)
	case event.Matches:
		return n.regexp(value).MatchString(text)
	case event.Like:
		return like(text, value)
	case event.AtLeast:
		is, err := strconv.ParseFloat(text, 64)
		least, _ := strconv.ParseFloat(value, 64)
		return err == nil && is >= least
	}
	panic("no such operation")
}

func (n *naive) regexp(expr string) *regexp.Regexp {
	if n.exprs[expr] == nil {
		n.exprs[expr] = regexp.MustCompile(expr)
	}
	return n.exprs[expr]
}

// like says whether the whole text matches a pattern in which * is any text
// without / and ** any text.
func like(text, pattern string) bool {
	if pattern == "" {
		return text == ""
	}
	rest, deep := strings.CutPrefix(pattern, "**")
	if !deep {
		var star bool
		if rest, star = strings.CutPrefix(pattern, "*"); !star {
			return text != "" && text[0] == pattern[0] && like(text[1:], pattern[1:])
		}
	}
	for i := 0; i <= len(text); i++ {
		if like(text[i:], rest) {
			return true
		}
		if i < len(text) && text[i] == '/' && !deep {
			return false
		}
	}
	return false
}

// A naivePage is a visit on a page.
type naivePage struct {
	visit int64
	path  string
}

type naiveDay struct {
	visitor event.ID
	day     string
}

// A naiveGroup is what a line is made of.
type naiveGroup struct {
	values   []event.Value
	visitors map[naiveDay]bool
	users    map[event.ID]bool
	visits   map[int64]bool

	pageviews, events int64
	revenue, carriers int64
	engaged, deepest  map[naivePage]int64
	happened          bool // there is an event in the range, not only a visit
}

// collect groups the events that match by dimensions. Goals are those of the
// dimension goal.
func (n *naive) collect(filter event.Filter, dims []event.Dimension) map[string]*naiveGroup {
	groups := map[string]*naiveGroup{}
	if len(dims) == 0 {
		n.group(groups, nil)
	}
	for i := range n.events {
		e := &n.events[i]
		if !n.holds(filter, e) {
			continue
		}
		if inside(e.Time, n.q.From, n.q.To) {
			for _, values := range n.values(e, dims, e.Time) {
				n.group(groups, values).event(n, e)
			}
		}
		v := n.visits[e.Visit]
		if v == nil || !inside(v.start, n.q.From, n.q.To) {
			continue
		}
		for _, values := range n.values(e, dims, v.start) {
			n.group(groups, values).visits[e.Visit] = true
		}
	}
	return groups
}

func (n *naive) group(groups map[string]*naiveGroup, values []event.Value) *naiveGroup {
	key := keyOf(values)
	g := groups[key]
	if g == nil {
		g = &naiveGroup{
			values: values, visitors: map[naiveDay]bool{}, users: map[event.ID]bool{}, visits: map[int64]bool{},
			engaged: map[naivePage]int64{}, deepest: map[naivePage]int64{},
		}
		groups[key] = g
	}
	return g
}

func keyOf(values []event.Value) string {
	key := ""
	for _, v := range values {
		key += strconv.Quote(v.Text) + strconv.FormatInt(v.Time, 10) + " "
	}
	return key
}

// values returns the groups that an event is in: more than one if it reaches
// several goals.
func (n *naive) values(e *event.Event, dims []event.Dimension, at int64) [][]event.Value {
	all := [][]event.Value{nil}
	for _, d := range dims {
		var here []event.Value
		interval, timely := d.Interval()
		switch {
		case timely:
			here = []event.Value{{Time: n.clock.start(at, n.q.Zone, interval)}}
		case d == event.GoalName:
			for _, g := range n.q.Goals {
				if n.holds(g.Filter, e) {
					here = append(here, event.Value{Text: g.Name})
				}
			}
		default:
			here = []event.Value{{Text: n.text(e, d)}}
		}
		var next [][]event.Value
		for _, values := range all {
			for _, v := range here {
				next = append(next, append(slices.Clone(values), v))
			}
		}
		all = next
	}
	return all
}

func (g *naiveGroup) event(n *naive, e *event.Event) {
	g.happened = true
	if !e.Visitor.IsZero() {
		g.visitors[naiveDay{e.Visitor, time.UnixMicro(e.Time).In(n.q.Zone).Format(time.DateOnly)}] = true
	}
	if !e.User.IsZero() {
		g.users[e.User] = true
	}
	if e.Name != event.Engagement {
		g.events++
	}
	if e.Name == event.Pageview {
		g.pageviews++
	}
	if e.Currency != "" && (n.q.Currency == "" || n.q.Currency == e.Currency) {
		g.revenue += e.Revenue
		g.carriers++
	}
	page := naivePage{e.Visit, e.Path}
	if e.Name == event.Engagement && e.Visit != 0 {
		g.engaged[page] += e.EngagedMS
		if e.Scroll != event.NoScroll {
			g.deepest[page] = max(g.deepest[page], int64(e.Scroll))
		}
	}
}

func share(part, whole int) event.Figure {
	if whole == 0 {
		return event.Figure{}
	}
	return event.Figure{Float: 100 * float64(part) / float64(whole)}
}

func mean(sum float64, of int64) event.Figure {
	if of == 0 {
		return event.Figure{Unknown: true}
	}
	return event.Figure{Float: sum / float64(of)}
}

// figure returns one metric of a group. Filter is that of the query with its goals.
func (n *naive) figure(m event.Metric, g *naiveGroup, filter event.Filter) event.Figure {
	var views, bounces, length, visits int64
	for id := range g.visits {
		v := n.visits[id]
		visits++
		views += v.views
		length += v.length
		if v.bounced {
			bounces++
		}
	}
	perVisit := func(sum, scale float64) event.Figure {
		if visits == 0 {
			return event.Figure{}
		}
		return event.Figure{Float: sum / float64(visits) / scale}
	}
	switch m {
	case event.Visitors:
		return event.Figure{Int: int64(len(g.visitors))}
	case event.Users:
		return event.Figure{Int: int64(len(g.users))}
	case event.Visits:
		return event.Figure{Int: visits}
	case event.Pageviews:
		return event.Figure{Int: g.pageviews}
	case event.Events:
		return event.Figure{Int: g.events}
	case event.ViewsPerVisit:
		return perVisit(float64(views), 1)
	case event.BounceRate:
		return perVisit(100*float64(bounces), 1)
	case event.VisitDuration:
		return perVisit(float64(length), second)
	case event.TotalRevenue:
		return event.Figure{Int: g.revenue, Unknown: g.carriers == 0}
	case event.AverageRevenue:
		return mean(float64(g.revenue)/event.RevenueScale, g.carriers)
	case event.TimeOnPage:
		return mean(float64(sumOf(g.engaged))/1000, int64(len(g.engaged)))
	case event.ScrollDepth:
		return mean(float64(sumOf(g.deepest)), int64(len(g.deepest)))
	}
	return n.rate(m, g, filter)
}

func sumOf(m map[naivePage]int64) (sum int64) {
	for _, v := range m {
		sum += v
	}
	return sum
}

// rate returns a metric that is a part of something outside of the group.
func (n *naive) rate(m event.Metric, g *naiveGroup, filter event.Filter) event.Figure {
	switch m {
	case event.ExitRate:
		views := n.collect(filter, []event.Dimension{"path"})[keyOf(g.values)]
		if views == nil || views.pageviews == 0 {
			return event.Figure{Unknown: true}
		}
		return share(len(g.visits), int(views.pageviews))
	case event.Percentage:
		return share(len(g.visitors), len(n.collect(filter, nil)[""].visitors))
	case event.ConversionRate:
		return share(len(g.visitors), len(n.collect(n.q.Filter, nil)[""].visitors))
	case event.GroupConversionRate:
		var dims []event.Dimension
		var values []event.Value
		for i, d := range n.q.Dimensions {
			if d != event.GoalName {
				dims, values = append(dims, d), append(values, g.values[i])
			}
		}
		if of := n.collect(n.q.Filter, dims)[keyOf(values)]; of != nil {
			return share(len(g.visitors), len(of.visitors))
		}
		return event.Figure{}
	}
	panic("no such metric: " + m)
}

// ofVisits are the metrics of visits. A line is there if it has a visit and one of
// them is asked for, or an event in the range and one of the others is.
var ofVisits = []event.Metric{event.Visits, event.ViewsPerVisit, event.BounceRate, event.VisitDuration, event.ExitRate}

// answer returns the lines of the query and how many there are without its limit
// and offset.
func (n *naive) answer() (lines []event.Line, count int64) {
	filter := n.q.Filter
	if len(n.q.Goals) > 0 {
		var goals []event.Filter
		for _, g := range n.q.Goals {
			goals = append(goals, g.Filter)
		}
		filter = event.Every(filter, event.Any(goals...))
	}
	var visits, events bool // whether they are asked about
	for _, m := range n.q.Metrics {
		if slices.Contains(ofVisits, m) {
			visits = true
		} else {
			events = true
		}
	}
	for _, g := range n.collect(filter, n.q.Dimensions) {
		if len(n.q.Dimensions) > 0 && !(events && g.happened) && !(visits && len(g.visits) > 0) {
			continue
		}
		line := event.Line{Values: g.values}
		for _, m := range n.q.Metrics {
			line.Figures = append(line.Figures, n.figure(m, g, filter))
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, n.before)
	count = int64(len(lines))
	lines = lines[min(n.q.Offset, len(lines)):]
	limit := n.q.Limit
	if limit == 0 {
		limit = event.MaxRows
	}
	return lines[:min(limit, len(lines))], count
}

// before orders lines as the query says, and what is equal then by the values.
func (n *naive) before(a, b event.Line) int {
	order := n.q.Order
	if order == nil {
		for _, d := range n.q.Dimensions {
			if _, timely := d.Interval(); timely {
				order = append(order, event.Order{Dimension: d})
			}
		}
		order = append(order, event.Order{Metric: n.q.Metrics[0], Descending: true})
	}
	for _, o := range order {
		var c int
		if o.Metric != "" {
			i := slices.Index(n.q.Metrics, o.Metric)
			x, y := a.Figures[i], b.Figures[i]
			if x.Unknown != y.Unknown { // last, whichever way
				return map[bool]int{true: 1, false: -1}[x.Unknown]
			}
			c = cmp.Or(cmp.Compare(x.Int, y.Int), cmp.Compare(x.Float, y.Float))
		} else {
			i := slices.Index(n.q.Dimensions, o.Dimension)
			c = compareValues(a.Values[i], b.Values[i])
		}
		if o.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return slices.CompareFunc(a.Values, b.Values, compareValues)
}

func compareValues(a, b event.Value) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Text, b.Text))
}

// A naiveClock finds intervals by looking at the clock again and again. It keeps
// what it has seen.
type naiveClock struct{ seen map[naiveMoment]int64 }

type naiveMoment struct {
	quarter  int64
	zone     string
	interval string
}

// start returns when the interval began that t is in.
func (c *naiveClock) start(t int64, zone *time.Location, interval string) int64 {
	if interval == "minute" { // no offset of these days has seconds
		return t - t%minute
	}
	layout := map[string]string{event.Hourly: "2006-01-02 15 -07:00", event.Daily: "2006-01-02", event.Monthly: "2006-01"}[interval]
	label := func(micros int64) string {
		at := time.UnixMicro(micros).In(zone)
		if interval == event.Weekly {
			y, w := at.ISOWeek()
			return strconv.Itoa(y) + " " + strconv.Itoa(w)
		}
		return at.Format(layout)
	}
	at := t - t%(15*minute) // clocks change on the quarter
	key := naiveMoment{at, zone.String(), interval}
	if start, ok := c.seen[key]; ok {
		return start
	}
	start := at
	for is := label(at); label(start-15*minute) == is; {
		start -= 15 * minute
	}
	if c.seen == nil {
		c.seen = map[naiveMoment]int64{}
	}
	c.seen[key] = start
	return start
}

// TestNaive holds the naive engine to figures worked out by hand.
func TestNaive(t *testing.T) {
	t.Parallel()
	events := story()
	for i := range events {
		events[i].Seq = int64(i + 1)
	}
	q := storyDay
	q.Metrics = []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.Events, event.BounceRate, event.VisitDuration}
	line := func(values []event.Value, visitors, visits, pageviews, events int64, bounces, duration float64) event.Line {
		return event.Line{Values: values, Figures: []event.Figure{
			{Int: visitors}, {Int: visits}, {Int: pageviews}, {Int: events}, {Float: bounces}, {Float: duration},
		}}
	}
	text := func(s string) []event.Value { return []event.Value{{Text: s}} }
	for _, c := range []struct {
		name   string
		change func(*event.Query)
		want   []event.Line
	}{
		{"totals", func(*event.Query) {}, []event.Line{line(nil, 6, 5, 9, 11, 40, 384)}},
		{"filter of events, figures of visits", func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/l*"}}
		}, []event.Line{line(nil, 0, 1, 0, 0, 0, 1800)}},
		{"has done", func(q *event.Query) {
			q.Filter = event.Filter{Op: event.HasDone, Of: []event.Filter{{Op: event.Is, Dimension: "name", Values: []string{"Signup"}}}}
		}, []event.Line{line(nil, 1, 1, 1, 2, 0, 10)}},
		{"exit pages", func(q *event.Query) { q.Dimensions = []event.Dimension{event.ExitPath} }, []event.Line{
			line(text("/b"), 4, 3, 5, 6, 100.0/3, 100.0/3), line(text("/"), 1, 1, 1, 2, 100, 20),
			line(text("/late"), 1, 1, 1, 1, 0, 1800), line(text(""), 0, 0, 2, 2, 0, 0),
		}},
		{"goals", func(q *event.Query) {
			q.Dimensions = []event.Dimension{event.GoalName}
			q.Goals = []event.Goal{
				{Name: "sign up", Filter: event.Filter{Op: event.Is, Dimension: "name", Values: []string{"Signup"}}},
				{Name: "see b", Filter: event.Filter{Op: event.Is, Dimension: "path", Values: []string{"/b"}}},
				{Name: "never"},
			}
			q.Goals[2].Filter = event.Without(event.Filter{})
		}, []event.Line{line(text("see b"), 4, 3, 4, 5, 100.0/3, 100.0/3), line(text("sign up"), 1, 1, 0, 1, 0, 10)}},
		{"days", func(q *event.Query) { q.To, q.Dimensions = midnight+2*day, []event.Dimension{event.Daytime} }, []event.Line{
			line([]event.Value{{Time: midnight}}, 6, 5, 9, 11, 40, 384), line([]event.Value{{Time: midnight + day}}, 1, 0, 1, 1, 0, 0),
		}},
	} {
		q := q
		c.change(&q)
		got, count := newNaive(q, events, new(naiveClock)).answer()
		if diff := gocmp.Diff(c.want, got, sameFloats); diff != "" || count != int64(len(c.want)) {
			t.Errorf("%s: %d lines; want -, got +:\n%s", c.name, count, diff)
		}
	}
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, pattern string
		want          bool
	}{
		{"/a", "/*", true}, {"/a/b", "/*", false}, {"/a/b", "/**", true}, {"", "*", true}, {"", "", true}, {"a", "", false},
		{"/blog/x/y", "/blog/**/y", true}, {"/blog/y", "/blog/**/y", false}, {"/a/b/c", "/*/b/*", true}, {"ab", "a", false}, {"/*", "/*", true},
	} {
		if got := like(c.text, c.pattern); got != c.want {
			t.Errorf("like(%q, %q) = %v, want %v", c.text, c.pattern, got, c.want)
		}
	}
}
