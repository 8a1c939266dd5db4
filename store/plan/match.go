package plan

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// Match returns what says of a single event whether a filter holds for it, as SQL
// would say once the event is stored. It is safe for concurrent use. A filter that
// [CheckFilter] refuses is an [event.QueryError], and so is one that asks for the
// visit around the event: has_done, and the page on which a visit ended.
func Match(f event.Filter) (func(*event.Event) bool, error) {
	if err := CheckFilter(f); err != nil {
		return nil, err
	}
	return match(f)
}

var errVisit = refuse("the filter asks for more than one event says: what else its visit has done, or where it ended")

func match(f event.Filter) (func(*event.Event) bool, error) {
	switch f.Op {
	case event.All:
		return func(*event.Event) bool { return true }, nil
	case event.HasDone:
		return nil, errVisit
	case event.And, event.Or, event.Not:
		return matchOf(f)
	}
	value, err := reading(f.Dimension)
	if err != nil {
		return nil, err
	}
	fits := fitting(f)
	return func(e *event.Event) bool { return fits(value(e)) }, nil
}

func matchOf(f event.Filter) (func(*event.Event) bool, error) {
	of := make([]func(*event.Event) bool, len(f.Of))
	for i := range f.Of {
		var err error
		if of[i], err = match(f.Of[i]); err != nil {
			return nil, err
		}
	}
	some := func(e *event.Event, want bool) bool {
		return slices.ContainsFunc(of, func(holds func(*event.Event) bool) bool { return holds(e) == want })
	}
	if f.Op == event.Or {
		return func(e *event.Event) bool { return some(e, true) }, nil
	}
	all := func(e *event.Event) bool { return !some(e, false) }
	if f.Op == event.Not {
		return func(e *event.Event) bool { return !all(e) }, nil
	}
	return all, nil
}

// reading returns what an event holds of a dimension, as text: "" if nothing is
// known.
func reading(d event.Dimension) (func(*event.Event) string, error) {
	if key, ok := d.Prop(); ok {
		return func(e *event.Event) string { return propOf(e.Props, key) }, nil
	}
	if exit(d) {
		return nil, errVisit
	}
	c := columns[string(d)]
	return func(e *event.Event) string {
		switch {
		case c.Null(e):
			return ""
		case c.Kind == event.Text:
			return c.Str(e)
		case c.Kind == event.Decimal:
			return strconv.FormatFloat(float64(c.Num(e))/event.RevenueScale, 'f', 4, 64)
		}
		return strconv.FormatInt(c.Num(e), 10)
	}, nil
}

func propOf(props, key string) string {
	if props == "" {
		return ""
	}
	var all map[string]string
	if err := json.Unmarshal([]byte(props), &all); err != nil {
		return "" // what nobody can read nobody knows
	}
	return all[key]
}

// fitting returns what says whether a text is what a filter on a field wants. The
// filter has been checked.
func fitting(f event.Filter) func(string) bool {
	fold := func(s string) string { return s }
	if f.IgnoreCase {
		fold = strings.ToLower
	}
	values := make([]string, len(f.Values))
	for i, v := range f.Values {
		values[i] = fold(v)
	}
	switch f.Op {
	case event.Is:
		return func(s string) bool { return slices.Contains(values, fold(s)) }
	case event.Contains:
		return func(s string) bool {
			s = fold(s)
			return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(s, v) })
		}
	case event.Matches:
		return matching(f.Values)
	case event.Like:
		flags := "(?s)"
		if f.IgnoreCase {
			flags = "(?is)"
		}
		for i, v := range f.Values {
			values[i] = flags + wildcard(v)
		}
		return matching(values)
	case event.AtLeast:
		least, _ := strconv.ParseFloat(f.Values[0], 64)
		return func(s string) bool {
			is, err := strconv.ParseFloat(s, 64)
			return err == nil && is >= least
		}
	}
	panic(fmt.Sprintf("plan: internal error: no operation %d on a field", f.Op))
}

func matching(patterns []string) func(string) bool {
	exprs := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		exprs[i] = regexp.MustCompile(p)
	}
	return func(s string) bool {
		return slices.ContainsFunc(exprs, func(re *regexp.Regexp) bool { return re.MatchString(s) })
	}
}
