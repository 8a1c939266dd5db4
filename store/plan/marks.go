package plan

import (
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// Marks are the SQL of what is asked of single events, rather than of sums: which
// of several filters hold for each. With, From and whatever the caller selects
// make a statement.
type Marks struct {
	With  string   // WITH and its table expressions, "" if there are none
	From  string   // FROM and WHERE of the site's events in the range
	Hold  []string // by filter: a condition, true where it holds, false or null where not
	Value string   // of the dimension, of type VARCHAR and '' if nothing is known; NULL without dimension
}

// Mark returns the marks of filters in a range, both ends of which are known, and
// of a dimension that is not of time, or "". It returns an [event.QueryError] for
// a filter or dimension that is wrong.
func Mark(in Input, site string, r Range, filters []event.Filter, d event.Dimension) (m Marks, err error) {
	if err := checkText(site); err != nil {
		return m, err
	}
	n := 0
	for _, f := range filters {
		if err := checkNode(f, 1, &n, 4*event.MaxFilters, false); err != nil {
			return m, err
		}
	}
	m.Value = "NULL::VARCHAR"
	if d != "" {
		if err := checkField(d); err != nil {
			return m, err
		}
		m.Value = value(d)
	}
	s := &scan{compiler: &compiler{q: event.Query{Site: site}, in: in, asked: filters}, Range: r}
	m.From = " FROM " + in.Events(r.From, r.To) + " AS events" + s.visited(filters, exit(d)) + " WHERE site = " + quote(site) + " AND " + between(`"time"`, r)
	for _, f := range filters {
		m.Hold = append(m.Hold, s.where(f, false))
	}
	if len(s.with) > 0 {
		m.With = "WITH " + strings.Join(s.with, ",\n") + "\n"
	}
	return m, nil
}
