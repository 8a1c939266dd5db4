package server

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// Bounds of the parameter filters.
const (
	maxConditions  = 100
	maxFilterValue = 2000 // bytes
)

// unknownValue is how a filter of the short form writes that nothing is known.
const unknownValue = "(unknown)"

// A condition is one term of the short form of filters.
type condition struct {
	dimension event.Dimension
	values    []string
	contains  bool
	not       bool
}

// narrow reads filters and segment into the question. The short form of filters
// is
//
//	filters   = condition *( ";" condition )        all must hold
//	condition = dimension operator value *( "|" value )
//	operator  = "==" one of | "!=" none of | "~" contains one of | "!~" contains none of
//
// in which a backslash takes the meaning from ; | = ! ~ and \. What begins with
// [ is a list of filters as of the Stats API v2.
//
// A goal that is asked for is no filter but a goal of the question, so that its
// visitors can be compared with all others. What is not a goal stays a filter.
func (s *Server) narrow(r *http.Request, q *question) error {
	text, err := optional(r, "filters")
	if err != nil {
		return err
	}
	if text = strings.TrimSpace(text); strings.HasPrefix(text, "[") {
		err = s.narrowJSON(r, q, text)
	} else if text != "" {
		err = s.narrowShort(r, q, text)
	}
	if err != nil {
		return err
	}
	return s.narrowSegment(r, q)
}

func (s *Server) narrowShort(r *http.Request, q *question, text string) error {
	conditions, err := parseConditions(text)
	if err != nil {
		return err
	}
	var goals []ledger.Goal
	var reached []event.Filter
	for _, c := range conditions {
		if c.dimension != event.GoalName {
			q.Filter = event.Every(q.Filter, c.filter())
			continue
		}
		if goals == nil {
			if goals, err = s.o.Goals.Goals(r.Context(), q.Site); err != nil {
				return err
			}
		}
		f, err := c.goals(goals)
		switch {
		case err != nil:
			return err
		case c.not:
			q.Filter = event.Every(q.Filter, event.Without(f))
		default:
			reached = append(reached, f)
		}
	}
	q.reach(reached)
	return nil
}

// narrowJSON reads filters as of the Stats API v2. A goal deeper in them than
// the top is a filter like others.
func (s *Server) narrowJSON(r *http.Request, q *question, text string) error {
	list, err := parseFilters([]byte(text))
	if err != nil {
		return err
	}
	words, err := s.vocabulary(r.Context(), q.Site)
	if err != nil {
		return err
	}
	var others clauses
	var goals []event.Filter
	for _, c := range list {
		if c.dim != "event:goal" {
			others = append(others, c)
			continue
		}
		f, err := clauses{c}.filter(words)
		if err != nil {
			return err
		}
		goals = append(goals, f)
	}
	f, err := others.filter(words)
	if err != nil {
		return err
	}
	q.Filter = event.Every(q.Filter, f)
	q.reach(goals)
	return nil
}

// narrowSegment reads the number of a saved filter.
func (s *Server) narrowSegment(r *http.Request, q *question) error {
	if text, err := optional(r, "segment"); err != nil || text == "" {
		return err
	}
	id, err := number(r, "segment", 0, 1, math.MaxInt64)
	if err != nil {
		return err
	}
	words, err := s.vocabulary(r.Context(), q.Site)
	if err != nil {
		return err
	}
	list, err := words.segment(strconv.FormatInt(id, 10))
	if err != nil {
		return err
	}
	f, err := list.filter(words)
	q.Filter = event.Every(q.Filter, f)
	return err
}

// filterJSON reads filters of a body: a list as of the Stats API v2.
func (s *Server) filterJSON(r *http.Request, site string, raw []byte) (event.Filter, error) {
	list, err := parseFilters(raw)
	if err != nil {
		return event.Filter{}, err
	}
	words, err := s.vocabulary(r.Context(), site)
	if err != nil {
		return event.Filter{}, err
	}
	return list.filter(words)
}

// reach makes one goal of several filters that must all hold.
func (q *question) reach(filters []event.Filter) {
	if len(filters) == 0 {
		return
	}
	q.Goals = []event.Goal{{Name: "goal", Filter: event.Every(filters...)}}
}

// whole returns the filter of a question with its goals in it.
func (q *question) whole() event.Filter {
	all := []event.Filter{q.Filter}
	for _, g := range q.Goals {
		all = append(all, g.Filter)
	}
	return event.Every(all...)
}

func (c condition) filter() event.Filter {
	f := is(c.dimension, c.values...)
	if c.contains {
		f.Op, f.IgnoreCase = event.Contains, true
	}
	if c.not {
		f = event.Without(f)
	}
	return f
}

// goals returns the filter that holds for what reaches one of the goals that are
// named.
func (c condition) goals(goals []ledger.Goal) (event.Filter, error) {
	var any []event.Filter
	for _, value := range c.values {
		found := false
		for _, g := range goals {
			if g.Name == value || c.contains && strings.Contains(strings.ToLower(g.Name), strings.ToLower(value)) {
				any, found = append(any, g.Goal().Filter), true
			}
		}
		if !found && !c.contains {
			return event.Filter{}, refuse(http.StatusUnprocessableEntity, "bad_query", "the site has no goal %.60q; GET /api/goals lists them", value)
		}
	}
	return anyOf(any), nil
}

func parseConditions(text string) ([]condition, error) {
	parts := splitEscaped(text, ';')
	if len(parts) > maxConditions {
		return nil, badFilter("there are %d conditions, at most %d are allowed", len(parts), maxConditions)
	}
	var list []condition
	for _, part := range parts {
		if part == "" { // after a last ;
			continue
		}
		c, err := parseCondition(part)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, badFilter("there is no condition; write dimension==value")
	}
	return list, nil
}

func parseCondition(text string) (c condition, err error) {
	at := indexEscaped(text, "=!~")
	if at < 0 {
		return c, badFilter("%.60q has no operator; write dimension==value, !=, ~ or !~", text)
	}
	name, rest := strings.TrimSpace(unescape(text[:at])), text[at:]
	switch {
	case strings.HasPrefix(rest, "=="):
		rest = rest[2:]
	case strings.HasPrefix(rest, "!="):
		rest, c.not = rest[2:], true
	case strings.HasPrefix(rest, "!~"):
		rest, c.not, c.contains = rest[2:], true, true
	case strings.HasPrefix(rest, "~"):
		rest, c.contains = rest[1:], true
	default:
		return c, badFilter("%.60q has no operator; write dimension==value, !=, ~ or !~", text)
	}
	if c.dimension, err = dimensionOf(name); err != nil {
		return c, err
	}
	for _, value := range splitEscaped(rest, '|') {
		switch {
		case value == "":
			return c, badFilter("%.60q lacks a value; what is not known is %s", text, unknownValue)
		case len(value) > maxFilterValue:
			return c, badFilter("a value of %d bytes is too long, at most %d are allowed", len(value), maxFilterValue)
		case value == unknownValue && !c.contains:
			c.values = append(c.values, "")
		default:
			c.values = append(c.values, unescape(value))
		}
	}
	return c, nil
}

func badFilter(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "filters", "filters: "+format, args...)
}

// splitEscaped cuts a text at every sep that no backslash stands before. The
// parts are still escaped.
func splitEscaped(text string, sep byte) []string {
	var parts []string
	from := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case sep:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

// indexEscaped returns where the first of some bytes stands that no backslash
// stands before, or -1.
func indexEscaped(text, any string) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case strings.IndexByte(any, text[i]) >= 0:
			return i
		}
	}
	return -1
}

// escapes are the bytes from which a backslash takes the meaning. Before any
// other it is a backslash.
const escapes = `\;|=!~,*`

func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && strings.IndexByte(escapes, text[i+1]) >= 0 {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
