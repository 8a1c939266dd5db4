package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A clause is one filter in the grammar of Plausible's Stats API v2, as it was
// written:
//
//	["is", "visit:country", ["DE", "AT"]]     texts, or numbers for visit:city and segment
//	["contains", "event:page", ["/Blog"], {"case_sensitive": false}]
//	["and", [filter, …]]  ["or", [filter, …]]  ["not", filter]
//	["has_done", filter]  ["has_not_done", filter]
type clause struct {
	op      string
	dim     string   // of a filter on one dimension
	values  []string // its texts, or the digits of its numbers
	numbers bool
	folds   *bool // case_sensitive, if it was given
	of      []clause
}

// clauses is a list of filters, all of which must hold.
type clauses []clause

// A vocabulary is what the filters of a site may name beside its columns.
type vocabulary struct {
	goals    []ledger.Goal
	segments []ledger.Segment
}

// vocabulary reads the goals and segments of a site. A visitor of a shared link has no
// segments to name.
func (s *Server) vocabulary(ctx context.Context, site string) (vocabulary, error) {
	goals, err := s.o.Goals.Goals(ctx, site)
	if err != nil {
		return vocabulary{}, err
	}
	if lockOf(ctx) != nil {
		return vocabulary{goals: goals}, nil
	}
	segments, err := s.o.Segments.Segments(ctx, site)
	return vocabulary{goals: goals, segments: segments}, err
}

// badQuery refuses a question in Plausible's words, which have no code of their
// own.
func badQuery(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "bad_query", format, args...)
}

// parseFilters reads a JSON array of filters. It checks the grammar only: whether
// a goal or a segment is there tells [clauses.filter].
func parseFilters(raw []byte) (clauses, error) {
	v, err := decodeJSON(raw)
	if err != nil {
		return nil, badQuery("Invalid filters. They are not well-formed JSON.")
	}
	list, ok := v.([]any)
	if !ok {
		return nil, badQuery("Invalid filters. They are a list, such as [[\"is\", \"event:page\", [\"/\"]]].")
	}
	return clausesOf(list, "#/filters")
}

// decodeJSON reads one value of JSON and nothing after it. Numbers stay as they
// were written.
func decodeJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("text after the value")
	}
	return v, nil
}

// clausesOf reads the filters at a path of a body. The error of a filter that is
// not of the grammar names the path.
func clausesOf(list []any, path string) (clauses, error) {
	var out clauses
	budget := event.MaxFilters
	for i, v := range list {
		c, ok := clauseOf(v, event.MaxDepth-1, &budget)
		switch {
		case budget < 0:
			return nil, badQuery("Invalid filters. There are more than %d filters and values; ask with fewer, or with a pattern.", event.MaxFilters)
		case !ok && depthOf(v, event.MaxDepth+2) > event.MaxDepth+2:
			return nil, badQuery("Invalid filters. They are nested more than %d deep.", event.MaxDepth)
		case !ok:
			return nil, badQuery("%s/%d: Invalid filter %s", path, i, inspect(v))
		}
		if err := c.check(); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// depthOf returns how deep lists are nested, or a little more than most.
func depthOf(v any, most int) int {
	list, ok := v.([]any)
	if !ok || most < 0 {
		return 0
	}
	depth := 0
	for _, of := range list {
		depth = max(depth, depthOf(of, most-1))
	}
	return depth + 1
}

// clauseOf reads one filter. It stops where the budget of filters and values, or
// the depth, is used up.
func clauseOf(v any, depth int, budget *int) (c clause, ok bool) {
	*budget--
	parts, ok := v.([]any)
	if !ok || len(parts) < 2 || len(parts) > 4 || depth < 0 || *budget < 0 {
		return c, false
	}
	if c.op, ok = parts[0].(string); !ok {
		return c, false
	}
	switch c.op {
	case "and", "or":
		list, ok := parts[1].([]any)
		if !ok || len(list) == 0 || len(parts) != 2 {
			return c, false
		}
		return c.with(list, depth, budget)
	case "not", "has_done", "has_not_done":
		if len(parts) != 2 {
			return c, false
		}
		return c.with(parts[1:], depth, budget)
	}
	return c, c.leaf(parts, budget)
}

func (c clause) with(list []any, depth int, budget *int) (clause, bool) {
	for _, v := range list {
		of, ok := clauseOf(v, depth-1, budget)
		if !ok {
			return c, false
		}
		c.of = append(c.of, of)
	}
	return c, true
}

// leaf reads the rest of a filter on one dimension.
func (c *clause) leaf(parts []any, budget *int) bool {
	pattern := c.op == "matches" || c.op == "matches_not"
	switch c.op {
	case "is", "is_not", "contains", "contains_not", "matches", "matches_not":
	default:
		return false
	}
	dim, isText := parts[1].(string)
	if !isText || len(parts) < 3 || pattern && len(parts) == 4 {
		return false
	}
	c.dim = dim
	switch {
	case dim == "segment":
		if c.op != "is" || len(parts) != 3 {
			return false
		}
	case dim == "event:goal":
		if c.op != "is" && c.op != "contains" {
			return false
		}
	default:
		d, known := wireDimension(dim)
		if _, isTime := d.of.Interval(); !known || isTime {
			return false
		}
	}
	return c.readValues(parts[2], budget) && (len(parts) < 4 || c.readModifier(parts[3]))
}

func (c *clause) readValues(v any, budget *int) bool {
	list, ok := v.([]any)
	if !ok || len(list) > *budget {
		*budget -= len(list)
		return false
	}
	*budget -= len(list)
	numbers := 0
	for _, v := range list {
		switch v := v.(type) {
		case string:
			if !utf8.ValidString(v) {
				return false
			}
			c.values = append(c.values, v)
		case json.Number:
			n, err := strconv.ParseInt(v.String(), 10, 64)
			if err != nil {
				return false
			}
			c.values = append(c.values, strconv.FormatInt(n, 10))
			numbers++
		default:
			return false
		}
	}
	c.numbers = numbers > 0
	switch c.dim {
	case "segment":
		return numbers == len(list) && numbers > 0
	case "visit:city":
		return numbers == len(list) || numbers == 0
	}
	return numbers == 0
}

func (c *clause) readModifier(v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	for key, v := range m {
		folds, ok := v.(bool)
		if key != "case_sensitive" || !ok {
			return false
		}
		c.folds = &folds
	}
	return true
}

// check refuses what the grammar allows and nobody can mean.
func (c clause) check() error {
	for _, of := range c.of {
		if err := of.check(); err != nil {
			return err
		}
	}
	for _, v := range c.values {
		switch {
		case c.dim == "visit:country" && (c.op == "is" || c.op == "is_not") && v != "" && v != notSet && utf8.RuneCountInString(v) != 2:
			return badQuery("Invalid visit:country filter, visit:country needs to be a valid 2-letter country code.")
		case c.op == "matches" || c.op == "matches_not":
			if len(v) > event.MaxPattern {
				return badQuery("Invalid filters. A pattern has %d bytes, at most %d.", len(v), event.MaxPattern)
			}
			if _, err := regexp.Compile(v); err != nil {
				return badQuery("Invalid filters. The pattern %s is not RE2: %s.", inspect(v), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
			}
		}
	}
	return nil
}

// MarshalJSON writes a filter as it was read.
func (c clause) MarshalJSON() ([]byte, error) {
	switch c.op {
	case "and", "or":
		return json.Marshal([]any{c.op, c.of})
	case "not", "has_done", "has_not_done":
		return json.Marshal([]any{c.op, c.of[0]})
	}
	values := make([]any, len(c.values))
	for i, v := range c.values {
		values[i] = v
		if c.numbers {
			values[i] = json.Number(v)
		}
	}
	list := []any{c.op, c.dim, values}
	if c.folds != nil {
		list = append(list, map[string]bool{"case_sensitive": *c.folds})
	}
	return json.Marshal(list)
}

// inspect writes a value of JSON as Plausible does in its errors, cut to what a
// reader can take in.
func inspect(v any) string {
	var b strings.Builder
	inspectTo(&b, v, event.MaxDepth)
	return shorten(b.String())
}

func inspectTo(b *strings.Builder, v any, depth int) {
	if b.Len() > mostInspected || depth < 0 {
		b.WriteString("…")
		return
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("nil")
	case string:
		b.WriteString(strconv.Quote(shorten(v)))
	case []any:
		b.WriteByte('[')
		for i, of := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			if inspectTo(b, of, depth-1); b.Len() > mostInspected {
				break
			}
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteString("%{")
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(strconv.Quote(shorten(key)) + " => ")
			if inspectTo(b, v[key], depth-1); b.Len() > mostInspected {
				break
			}
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v)
	}
}

// mostInspected is how much of what is wrong an error repeats, in bytes.
const mostInspected = 300

func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= mostInspected {
		return s
	}
	cut := mostInspected
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
