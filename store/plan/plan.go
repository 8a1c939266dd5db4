// Package plan turns an [event.Query] into one statement of DuckDB's SQL. It
// knows columns and definitions, and neither DuckDB nor where events are kept:
// the caller hands in the SQL of the relations to be read, and runs the result.
//
// # Promise
//
// A query that [Check] accepts compiles to a statement that DuckDB runs, and that
// gives the figures as [event.Query] defines them; every other is an
// [event.QueryError] that says what is wrong. What a query says becomes a quoted
// literal, never SQL. The text has a bounded size.
//
// # How a statement is made
//
// The figures are sums that add up: over days, over ranges that touch, and over
// whatever holds such sums already. A statement is a list of arms, each of which
// gives the dimensions and some of the sums, and one last SELECT that adds them
// up by the dimensions and divides:
//
//	people   what in-range events that match add up to
//	visits   what the visits add up to that began in the range and match
//	pages    engagement, one row for each visit of a page
//	rollups  sums of closed days, if the caller has any
//
// Only the arms that the metrics need are there, each reads the columns that it
// needs from the range that it needs, and literal times let DuckDB skip the row
// groups of a part that are outside.
//
// # Visits
//
// A visit is followed from [Behind] before its first event to [Ahead] after it.
// Every event of a visit carries what its first one knew, so a filter that looks
// at nothing else decides about all events of a visit alike; it then holds or not
// before visits are put together, and not after.
package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// How long a visit is followed, in µs. An event outside of that belongs to no
// visit, whatever it carries.
const (
	Behind = int64(time.Hour / time.Microsecond)      // before its first event: late ones
	Ahead  = int64(24 * time.Hour / time.Microsecond) // after it

	// margin is how far from an event the other events of its visit can be.
	margin = Behind + Ahead
)

// A Range is the times from ≤ t < to, in µs; 0 leaves an end open.
type Range struct{ From, To int64 }

// An Input is what a statement reads.
type Input struct {
	// Events returns a table expression in parentheses with all of
	// [event.Columns] that holds at least the events of the query's site with
	// from ≤ time < to; 0 leaves an end open.
	Events func(from, to int64) string

	// First and Last are times between which all events of the site are. They
	// are needed for a range with an open end.
	First, Last int64

	// Ranges are what is to be read of the query's range, by time and apart from
	// each other: all of it if nil. Only a query for which [Rolled] finds rollups
	// may have others, and their inner ends are the beginnings of days.
	Ranges []Range

	// Rollups is a table expression with the sums of the rest by the values of
	// the dimension that [Rolled] has named: start (µs of the day or month),
	// value, seen (events of any name), visitors, pageviews, events, visits, views,
	// bounces, length.
	Rollups string

	Everyone int64 // visitors of the query without goals and dimensions, for [event.ConversionRate]
	Whole    int64 // visitors of the query without dimensions, for [event.Percentage]
}

// Compile returns the statement of a query. The columns of its rows are those of
// the dimensions, BIGINT for time and VARCHAR for all others; those of the
// metrics, BIGINT or DOUBLE as their figures are, and null if unknown; and, if
// the query asks for it, the number of lines: BIGINT, with a row of otherwise nulls if
// the page has none.
func Compile(q event.Query, in Input) (string, error) {
	if err := Check(q); err != nil {
		return "", err
	}
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	c := &compiler{q: q, in: in, need: needOf(q), asked: []event.Filter{q.Filter}}
	for _, g := range q.Goals {
		c.asked = append(c.asked, g.Filter)
	}
	return c.statement(), nil
}

// A compiler makes one statement.
type compiler struct {
	q     event.Query
	in    Input
	need  needs
	asked []event.Filter // all that events are matched with

	with []string // common table expressions
	arms []string // each gives dimensions and sums
}

// needs are the sums that the metrics of a query are made of.
type needs struct {
	visitors, users, counts, revenue bool // of events
	visits, wholes                   bool // of visits: how many; what they were like
	pages, exits, base               bool
}

func needOf(q event.Query) (n needs) {
	for _, m := range q.Metrics {
		switch m {
		case event.Visitors, event.ConversionRate, event.Percentage:
			n.visitors = true
		case event.GroupConversionRate:
			n.visitors, n.base = true, true
		case event.Users:
			n.users = true
		case event.Pageviews, event.Events:
			n.counts = true
		case event.Visits:
			n.visits = true
		case event.ViewsPerVisit, event.BounceRate, event.VisitDuration:
			n.visits, n.wholes = true, true
		case event.TimeOnPage, event.ScrollDepth:
			n.pages = true
		case event.ExitRate:
			n.visits, n.exits = true, true
		case event.TotalRevenue, event.AverageRevenue:
			n.revenue = true
		}
	}
	return n
}

// people says whether the sums of events are needed that add up over days.
func (n needs) people() bool { return n.visitors || n.counts || n.revenue }

// maxScans is how many ranges are read one by one. More are read as one, with a
// look at each row.
const maxScans = 8

// statement puts the arms together.
func (c *compiler) statement() string {
	ranges := c.in.Ranges
	if ranges == nil {
		ranges = []Range{{c.q.From, c.q.To}}
	}
	if len(ranges) > maxScans {
		all := Range{ranges[0].From, ranges[len(ranges)-1].To}
		(&scan{compiler: c, Range: all, only: ranges}).add()
		ranges = nil
	}
	for i, r := range ranges {
		(&scan{compiler: c, Range: r, suffix: fmt.Sprint(i)}).add()
	}
	if c.in.Rollups != "" {
		c.arms = append(c.arms, c.rollups())
	}
	return c.last()
}

// last returns the whole statement.
func (c *compiler) last() string {
	dims, order := columnsOf("d", len(c.q.Dimensions)), c.order()
	c.with = append(c.with,
		"arms AS NOT MATERIALIZED (\n"+strings.Join(c.arms, "\nUNION ALL BY NAME\n")+"\n)",
		"lines AS (\n"+c.lines()+"\n)")
	limit := c.q.Limit
	if limit == 0 {
		limit = event.MaxRows
	}
	columns := strings.Join(append(dims, columnsOf("m", len(c.q.Metrics))...), ", ")
	page := fmt.Sprintf("SELECT %s FROM lines ORDER BY %s LIMIT %d OFFSET %d", columns, order, limit, c.q.Offset)
	if c.q.Count {
		page = fmt.Sprintf("SELECT %s, total FROM (SELECT count(*) AS total FROM lines) LEFT JOIN (%s) ON true ORDER BY %s", columns, page, order)
	}
	return "WITH " + strings.Join(c.with, ",\n") + "\n" + page
}

// columnsOf returns d0, d1 and so on.
func columnsOf(name string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(name, i)
	}
	return list
}

// lines returns the SELECT that adds the arms up.
func (c *compiler) lines() string {
	dims := columnsOf("d", len(c.q.Dimensions))
	columns := dims[:len(dims):len(dims)]
	for i, m := range c.q.Metrics {
		columns = append(columns, fmt.Sprintf("%s AS m%d", c.figure(m), i))
	}
	text := "SELECT " + strings.Join(columns, ", ") + " FROM (SELECT " + strings.Join(append(dims, c.sums()...), ", ") + " FROM arms"
	if len(dims) > 0 {
		text += " GROUP BY " + strings.Join(dims, ", ")
		if c.strangers() {
			text += " HAVING count(here) > 0"
		}
	}
	text += ") AS sums"
	if c.need.base {
		text += c.joinBase()
	}
	return text
}

// strangers says whether an arm may have values that make no line, because what the
// query asks for has nothing of them. Else there is no need to look.
func (c *compiler) strangers() bool {
	return c.need.exits || c.in.Rollups != "" && c.rolledHere() != always
}

// sums returns what is added up, each as a column of its own name.
func (c *compiler) sums() (list []string) {
	for _, s := range []struct {
		needed bool
		names  string
	}{
		{c.need.visitors, "visitors"},
		{c.need.users, "users"},
		{c.need.counts, "pageviews events"},
		{c.need.revenue, "revenue paying"},
		{c.need.visits, "visits"},
		{c.need.wholes, "views bounces length"},
		{c.need.pages, "engaged told scroll scrolled"},
		{c.need.exits, "shown"},
	} {
		if s.needed {
			for name := range strings.FieldsSeq(s.names) {
				list = append(list, "coalesce(sum("+name+"), 0) AS "+name)
			}
		}
	}
	return list
}

// figure returns the SQL of a metric over sums.
func (c *compiler) figure(m event.Metric) string {
	switch m {
	case event.ViewsPerVisit:
		return "coalesce(views::DOUBLE / nullif(visits, 0), 0)"
	case event.BounceRate:
		return "coalesce(1e2 * bounces / nullif(visits, 0), 0)"
	case event.VisitDuration:
		return "coalesce(length::DOUBLE / nullif(visits, 0) / 1e6, 0)"
	case event.TimeOnPage:
		return "engaged::DOUBLE / nullif(told, 0) / 1e3"
	case event.ScrollDepth:
		return "scroll::DOUBLE / nullif(scrolled, 0)"
	case event.ExitRate:
		return "1e2 * visits / nullif(shown, 0)"
	case event.ConversionRate:
		return fmt.Sprintf("coalesce(1e2 * visitors / nullif(%d, 0), 0)", c.in.Everyone)
	case event.GroupConversionRate:
		return "coalesce(1e2 * visitors / nullif(base, 0), 0)"
	case event.Percentage:
		return fmt.Sprintf("coalesce(1e2 * visitors / nullif(%d, 0), 0)", c.in.Whole)
	case event.TotalRevenue: // what does not fit is not worth an error
		return "CASE WHEN paying > 0 THEN greatest(least(revenue, 9223372036854775807), -9223372036854775807)::BIGINT END"
	case event.AverageRevenue:
		return "revenue::DOUBLE / nullif(paying, 0) / 1e4"
	default:
		return string(m) + "::BIGINT"
	}
}

// order returns the terms of ORDER BY. They end with what tells any two lines
// apart, so that pages neither overlap nor leave a line out.
func (c *compiler) order() string {
	var terms []string
	for _, o := range c.q.Order {
		terms = append(terms, c.term(o))
	}
	var values []string
	for i, d := range c.q.Dimensions {
		values = append(values, fmt.Sprintf("d%d", i))
		if _, ok := d.Interval(); ok && c.q.Order == nil {
			terms = append(terms, fmt.Sprintf("d%d", i))
		}
	}
	if c.q.Order == nil {
		terms = append(terms, "m0 DESC NULLS LAST")
	}
	return strings.Join(append(terms, values...), ", ")
}

func (c *compiler) term(o event.Order) string {
	var column string
	for i, m := range c.q.Metrics {
		if m == o.Metric {
			column = fmt.Sprintf("m%d", i)
		}
	}
	for i, d := range c.q.Dimensions {
		if o.Metric == "" && d == o.Dimension {
			column = fmt.Sprintf("d%d", i)
		}
	}
	if o.Descending {
		return column + " DESC NULLS LAST"
	}
	return column + " NULLS LAST"
}
