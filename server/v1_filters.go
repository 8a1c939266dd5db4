package server

import (
	"strings"
	"unicode/utf8"

	"github.com/eider-analytics/eider/store/event"
)

// A v1Filter is one filter of the Stats API v1:
//
//	visit:source==Google|Bing     one of several; \| is a bar
//	event:page!=/blog**           none of them; * is any text without /, ** any text
//	event:goal==Visit /thanks     goals by their names
//
// A semicolon is between two, both of which must hold.
type v1Filter struct {
	clause clause
	like   bool // the values are patterns
}

// maxV1Filters is the most bytes of all filters.
const maxV1Filters = 8 << 10

// parseV1Filters reads filters. What is not one is an error: Plausible leaves it
// out, and answers a question that nobody asked.
func parseV1Filters(s string) ([]v1Filter, error) {
	if len(s) > maxV1Filters {
		return nil, badQuery("Invalid filters. They have %d bytes, at most %d.", len(s), maxV1Filters)
	}
	if !utf8.ValidString(s) {
		return nil, badQuery("Invalid filters. They are not UTF-8.")
	}
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	var filters []v1Filter
	budget := event.MaxFilters
	for part := range strings.SplitSeq(s, ";") {
		f, err := parseV1Filter(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		if budget -= 1 + len(f.clause.values); budget < 0 {
			return nil, badQuery("Invalid filters. There are more than %d filters and values.", event.MaxFilters)
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func parseV1Filter(s string) (v1Filter, error) {
	op, at := "is", strings.Index(s, "==")
	if not := strings.Index(s, "!="); not >= 0 && (at < 0 || not < at) {
		op, at = "is_not", not
	}
	if at < 0 {
		return v1Filter{}, badQuery("Invalid filter '%s'. It is a property, == or !=, and a value.", shorten(s))
	}
	property, value := strings.TrimSpace(s[:at]), strings.TrimSpace(s[at+2:])
	d, ok := wireDimension(property)
	_, ofTime := d.of.Interval()
	switch {
	case !ok || ofTime:
		return v1Filter{}, badQuery("Invalid filter property '%s'. Please provide a valid filter property: %sproperties", shorten(property), v1Docs)
	case value == "":
		return v1Filter{}, badQuery("Invalid filter '%s'. It has no value.", shorten(s))
	case property == "event:goal" && op != "is":
		return v1Filter{}, badQuery("Invalid filter '%s'. A goal takes ==.", shorten(s))
	}
	f := v1Filter{clause: clause{op: op, dim: property, values: splitValues(value)}}
	f.like = property != "event:goal" && strings.Contains(value, "*")
	if f.like {
		return f, nil
	}
	return f, f.clause.check()
}

// splitValues cuts at the bars that no backslash stands before.
func splitValues(s string) []string {
	var values []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '|':
			b.WriteByte('|')
			i++
		case s[i] == '|':
			values = append(values, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	return append(values, b.String())
}

// filter returns what the filter means, for one that is not on goals.
func (f v1Filter) filter() event.Filter {
	if !f.like {
		return f.clause.onDimension()
	}
	d, _ := wireDimension(f.clause.dim)
	like := event.Filter{Op: event.Like, Dimension: d.of, Values: f.clause.values}
	if d.say != nil {
		like = event.Filter{Op: event.Is, Dimension: d.of, Values: d.alike(f.clause.values)}
	}
	if len(like.Values) == 0 {
		like = never()
	}
	if f.clause.op == "is_not" {
		return event.Without(like)
	}
	return like
}
