package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// Rolled says whether what a query asks for can be added up from the sums of its
// days by the values of a dimension, "" for the totals, and whether sums of whole
// months will do as well.
//
// A filter is answered by rollups if it looks at their dimension only and rows are
// grouped by it, because then it holds for all of a row or for nothing of it.
// Without a dimension it must mean a single value: who saw two of several pages
// would be counted twice.
func Rolled(q event.Query) (dim event.Dimension, monthly, ok bool) {
	n := needOf(q)
	if n.users || n.revenue || n.pages || n.exits || n.base || len(q.Goals) > 0 {
		return "", false, false
	}
	monthly = true
	for _, d := range q.Dimensions {
		switch _, timely := d.Interval(); {
		case d == event.Daytime || d == event.Week:
			monthly = false
		case d == event.Month:
		case timely || dim != "":
			return "", false, false
		default:
			dim = d
		}
	}
	switch f := q.Filter; {
	case f.Zero():
	case dim == "" && f.Op == event.Is && len(f.Values) == 1 && !f.IgnoreCase:
		dim = f.Dimension
	case dim == "" || !about(f, dim):
		return "", false, false
	}
	return dim, monthly, true
}

// about says whether a filter looks at nothing but a dimension of the event at hand.
func about(f event.Filter, d event.Dimension) bool {
	if f.Op >= event.Is {
		return f.Dimension == d
	}
	return f.Op != event.HasDone && !slices.ContainsFunc(f.Of, func(of event.Filter) bool { return !about(of, d) })
}

// rollups are the sums of closed days, as far as the query asks about them.
func (c *compiler) rollups() string {
	columns := make([]string, 0, 12)
	for i, d := range c.q.Dimensions {
		column := "coalesce(value, '')"
		if interval, ok := d.Interval(); ok {
			column = c.bucket("start", interval)
		}
		columns = append(columns, fmt.Sprintf("%s AS d%d", column, i))
	}
	columns = append(columns, c.rolledHere()+" AS here")
	for _, s := range []struct {
		needed bool
		names  string
	}{{c.need.visitors, "visitors"}, {c.need.counts, "pageviews events"}, {c.need.visits, "visits"}, {c.need.wholes, "views bounces length"}} {
		if s.needed {
			columns = append(columns, strings.Fields(s.names)...)
		}
	}
	text := "SELECT " + strings.Join(columns, ", ") + " FROM " + c.in.Rollups + " AS rollups"
	if !c.q.Filter.Zero() {
		text += " WHERE " + (&scan{compiler: c, rolled: true}).where(c.q.Filter, false)
	}
	return text
}

// always is what rolledHere returns if all sums make a line.
const always = "1"

// rolledHere tells the sums that make a line from those that have only what the
// query does not ask for.
func (c *compiler) rolledHere() string {
	people := c.need.people()
	switch {
	case people && c.need.visits:
		return always
	case people:
		return "CASE WHEN seen > 0 THEN 1 END"
	default:
		return "CASE WHEN visits > 0 THEN 1 END"
	}
}
