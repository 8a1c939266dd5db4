package server

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// resolved returns the filters with those of the saved segments in the place of
// the segments.
func (cs clauses) resolved(words vocabulary) (clauses, error) {
	var out clauses
	for _, c := range cs {
		of, err := c.resolved(words, true)
		if err != nil {
			return nil, err
		}
		if of.op == "and" && c.dim == "segment" {
			out = append(out, of.of...) // a segment at the top is what it says
			continue
		}
		out = append(out, of)
	}
	if n := out.size(); n > event.MaxFilters {
		return nil, badQuery("Invalid filters. With their segments there are %d filters and values, at most %d.", n, event.MaxFilters)
	}
	return out, nil
}

func (cs clauses) size() (n int) {
	for _, c := range cs {
		n += 1 + len(c.values) + clauses(c.of).size()
	}
	return n
}

func (c clause) resolved(words vocabulary, may bool) (clause, error) {
	if c.dim != "segment" {
		of := slices.Clone(c.of)
		for i := range of {
			var err error
			if of[i], err = of[i].resolved(words, may); err != nil {
				return c, err
			}
		}
		c.of = of
		return c, nil
	}
	if !may {
		return c, badQuery("Invalid filters. A segment cannot be made of segments.")
	}
	var either []clause
	for _, id := range c.values {
		cs, err := words.segment(id)
		if err != nil {
			return c, err
		}
		either = append(either, clause{op: "and", of: cs})
	}
	if len(either) == 1 {
		return either[0], nil
	}
	return clause{op: "or", of: either}, nil
}

func (words vocabulary) segment(id string) (clauses, error) {
	n, _ := strconv.ParseInt(id, 10, 64)
	i := slices.IndexFunc(words.segments, func(s ledger.Segment) bool { return s.ID == n })
	if i < 0 {
		return nil, badQuery("Invalid filters. Some segments don't exist or aren't accessible.")
	}
	cs, err := parseFilters(words.segments[i].Filters)
	if err != nil {
		return nil, err
	}
	for i := range cs {
		if cs[i], err = cs[i].resolved(words, false); err != nil {
			return nil, err
		}
	}
	return cs, nil
}

// never is the filter that holds for no event.
func never() event.Filter { return event.Without(event.Filter{}) }

// anyOf is [event.Any] that knows what none of nothing is.
func anyOf(filters []event.Filter) event.Filter {
	if len(filters) == 0 {
		return never()
	}
	return event.Any(filters...)
}

// filter returns what all filters mean together. Goals and segments are looked up
// in words; what is not there is an error.
func (cs clauses) filter(words vocabulary) (event.Filter, error) {
	cs, err := cs.resolved(words)
	if err != nil {
		return event.Filter{}, err
	}
	all, err := filtersOf(cs, words)
	return event.Every(all...), err
}

func filtersOf(cs []clause, words vocabulary) ([]event.Filter, error) {
	out := make([]event.Filter, len(cs))
	for i, c := range cs {
		var err error
		if out[i], err = c.filter(words); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c clause) filter(words vocabulary) (event.Filter, error) {
	of, err := filtersOf(c.of, words)
	if err != nil {
		return event.Filter{}, err
	}
	switch c.op {
	case "and":
		return event.Every(of...), nil
	case "or":
		return anyOf(of), nil
	case "not":
		return event.Without(of[0]), nil
	case "has_done":
		return event.Filter{Op: event.HasDone, Of: of}, nil
	case "has_not_done":
		return event.Without(event.Filter{Op: event.HasDone, Of: of}), nil
	}
	if c.dim == "event:goal" {
		goals, err := c.goals(words)
		if err != nil {
			return event.Filter{}, err
		}
		return reached(goals), nil
	}
	return c.onDimension(), nil
}

// reached returns the filter that holds for an event which reaches one of the
// goals.
func reached(goals []ledger.Goal) event.Filter {
	var of []event.Filter
	for _, g := range goals {
		of = append(of, g.Goal().Filter)
	}
	return anyOf(of)
}

// goals returns the goals that a filter on event:goal names.
func (c clause) goals(words vocabulary) ([]ledger.Goal, error) {
	found := map[int]bool{}
	for _, name := range c.values {
		some, holds := false, c.holding(name)
		for i, g := range words.goals {
			if holds(g.Name) {
				found[i], some = true, true
			}
		}
		if !some && c.op == "is" {
			return nil, badQuery("Invalid filters. The goal `%s` is not configured for this site. Find out how to configure goals here: https://plausible.io/docs/stats-api#filtering-by-goals", shorten(name))
		}
	}
	var goals []ledger.Goal
	for _, i := range slices.Sorted(maps.Keys(found)) {
		goals = append(goals, words.goals[i])
	}
	return goals, nil
}

// holding returns what says whether a text is what one value of the filter asks
// for. It is the engine's rule, for texts that the engine does not have.
func (c clause) holding(value string) func(text string) bool {
	lower := func(text string) string { return text }
	if c.folding() {
		lower = strings.ToLower
	}
	value = lower(value)
	switch strings.TrimSuffix(c.op, "_not") {
	case "contains":
		return func(text string) bool { return strings.Contains(lower(text), value) }
	case "matches":
		re, err := regexp.Compile(value)
		return func(text string) bool { return err == nil && re.MatchString(text) }
	}
	return func(text string) bool { return lower(text) == value }
}

func (c clause) folding() bool { return c.folds != nil && !*c.folds }

// onDimension returns the filter of a clause on a dimension that events have.
func (c clause) onDimension() event.Filter {
	d, _ := wireDimension(c.dim)
	negated := strings.HasSuffix(c.op, "_not")
	f := event.Filter{Dimension: d.of, Values: d.stored(c), IgnoreCase: c.folding()}
	switch strings.TrimSuffix(c.op, "_not") {
	case "is":
		f.Op = event.Is
	case "contains":
		f.Op = event.Contains
	case "matches":
		f.Op = event.Matches
	}
	if d.say != nil { // the events hold what is said of them: stored has found it
		f.Op, f.IgnoreCase = event.Is, false
	}
	if len(f.Values) == 0 {
		f = never()
	}
	if !negated {
		return f
	}
	if _, isProp := d.of.Prop(); isProp && f.Op != event.Is {
		// As of Plausible: what has no such property does not differ in it.
		known := event.Without(event.Filter{Op: event.Is, Dimension: d.of, Values: []string{""}})
		return event.Every(known, event.Without(f))
	}
	return event.Without(f)
}
