package plan

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// where returns the SQL of a filter as a condition: true where it holds, and
// false or null where it does not. A negation is carried down to the fields,
// where it is known what null means, so that what is left are plain comparisons
// of columns with literals, which row groups can be skipped by.
func (s *scan) where(f event.Filter, negated bool) string {
	switch f.Op {
	case event.All:
		return boolean(!negated)
	case event.And, event.Or:
		return s.join(f, negated)
	case event.Not:
		return s.where(f.Of[0], !negated)
	case event.HasDone:
		column := s.done[s.where(f.Of[0], false)]
		if negated {
			return "NOT coalesce(" + column + ", false)"
		}
		return "coalesce(" + column + ", false)"
	default:
		if s.rolled {
			return leaf(f, textField("nullif(value, '')", true), negated)
		}
		return leaf(f, fieldOf(f.Dimension), negated)
	}
}

func boolean(b bool) string { return strconv.FormatBool(b) }

// join returns And and Or. One of nothing holds, the other does not.
func (s *scan) join(f event.Filter, negated bool) string {
	if len(f.Of) == 0 {
		return boolean((f.Op == event.And) != negated)
	}
	word := " OR "
	if (f.Op == event.And) != negated {
		word = " AND "
	}
	terms := make([]string, len(f.Of))
	for i, of := range f.Of {
		terms[i] = s.where(of, negated)
	}
	return "(" + strings.Join(terms, word) + ")"
}

// leaf returns the condition of a filter that looks at a field.
func leaf(f event.Filter, at field, negated bool) string {
	holds, empty := condition(f, at)
	switch {
	case !at.nullable: // an unknown one is never there
		empty = false
	case empty && holds != "":
		holds = "(" + holds + " OR " + at.text + " IS NULL)"
	case empty:
		holds = at.text + " IS NULL"
	}
	switch {
	case holds == "":
		return boolean(negated)
	case !negated:
		return holds
	case at.nullable && !empty:
		return "(NOT (" + holds + ") OR " + at.text + " IS NULL)"
	}
	return "NOT (" + holds + ")"
}

// condition returns the SQL by which a known value is one that f means, "" if
// none is, and whether an unknown one is.
func condition(f event.Filter, at field) (holds string, empty bool) {
	switch f.Op {
	case event.Is:
		return is(f, at), slices.Contains(f.Values, "")
	case event.Contains:
		return contains(f, at), slices.Contains(f.Values, "")
	case event.Matches:
		return matches(at, f.Values, "")
	case event.Like:
		return like(f, at)
	default: // AtLeast
		n, _ := strconv.ParseFloat(f.Values[0], 64)
		return "coalesce(" + at.number + " >= " + strconv.FormatFloat(n, 'e', -1, 64) + "::DOUBLE, false)", false
	}
}

// is compares with literals of the type of the column if it can.
func is(f event.Filter, at field) string {
	left, values := at.text, slices.Clone(f.Values)
	if at.nullable {
		values = slices.DeleteFunc(values, func(v string) bool { return v == "" }) // which is null
	}
	switch {
	case len(values) == 0:
		return ""
	case at.whole != "":
		return isWhole(at.whole, values)
	case f.IgnoreCase:
		for i, v := range values {
			values[i] = "lower(" + quote(v) + ")"
		}
		left = "lower(" + left + ")"
	default:
		for i, v := range values {
			values[i] = quote(v)
		}
	}
	if len(values) == 1 {
		return left + " = " + values[0]
	}
	return left + " IN (" + strings.Join(values, ", ") + ")"
}

// isWhole leaves out what is not the text of a whole number: no value has it.
func isWhole(column string, values []string) string {
	var numbers []string
	for _, v := range values {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && strconv.FormatInt(n, 10) == v {
			numbers = append(numbers, v)
		}
	}
	if len(numbers) == 0 {
		return ""
	}
	return column + " IN (" + strings.Join(numbers, ", ") + ")"
}

func contains(f event.Filter, at field) string {
	terms := make([]string, len(f.Values))
	for i, v := range f.Values {
		if f.IgnoreCase {
			terms[i] = "contains(lower(" + at.text + "), lower(" + quote(v) + "))"
		} else {
			terms[i] = "contains(" + at.text + ", " + quote(v) + ")"
		}
	}
	return anyOf(terms)
}

// matches matches a part of a value. The patterns have been checked.
func matches(at field, patterns []string, flags string) (holds string, empty bool) {
	terms := make([]string, len(patterns))
	for i, p := range patterns {
		re := regexp.MustCompile(flags + p)
		empty = empty || re.MatchString("")
		if strings.Contains(p, "(?<") { // a name in the way that old engines do not know
			p = canonical(p)
		}
		terms[i] = "regexp_matches(" + at.text + ", " + quote(flags+p) + ")"
	}
	return anyOf(terms), empty
}

// canonical returns another pattern that matches the same.
func canonical(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		panic("plan: internal error: pattern was not checked: " + err.Error())
	}
	return re.String()
}

// like matches all of a value. Text without a * is compared, and what ends with
// the only ** is a prefix.
func like(f event.Filter, at field) (holds string, empty bool) {
	var terms []string
	for _, v := range f.Values {
		prefix, found := strings.CutSuffix(v, "**")
		if found && !f.IgnoreCase && !strings.Contains(prefix, "*") {
			terms = append(terms, "starts_with("+at.text+", "+quote(prefix)+")")
			empty = empty || prefix == ""
			continue
		}
		flags := "(?s)"
		if f.IgnoreCase {
			flags = "(?is)"
		}
		term, none := matches(at, []string{wildcard(v)}, flags)
		terms = append(terms, term)
		empty = empty || none
	}
	return anyOf(terms), empty
}

// wildcard returns the pattern that matches all of a text in which * stands for
// any text without /, and ** for any text.
func wildcard(text string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for text != "" {
		plain, rest, _ := strings.Cut(text, "*")
		b.WriteString(regexp.QuoteMeta(plain))
		switch {
		case len(plain) == len(text):
			rest = ""
		case strings.HasPrefix(rest, "*"):
			b.WriteString(`.*`)
			rest = strings.TrimLeft(rest, "*")
		default:
			b.WriteString(`[^/]*`)
		}
		text = rest
	}
	b.WriteString(`\z`)
	return b.String()
}

func anyOf(terms []string) string {
	if len(terms) == 1 {
		return terms[0]
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// fixed says whether a filter decides about all the followed events of a visit
// alike.
func fixed(f event.Filter) bool {
	switch {
	case f.Op == event.HasDone:
		return true
	case f.Op >= event.Is:
		return steady(f.Dimension)
	}
	return !slices.ContainsFunc(f.Of, func(of event.Filter) bool { return !fixed(of) })
}

// split returns the parts of a filter that decide about whole visits, and the
// others: f holds where both do.
func split(f event.Filter) (visits, events event.Filter) {
	if f.Op != event.And {
		if fixed(f) {
			return f, event.Filter{}
		}
		return event.Filter{}, f
	}
	for _, of := range f.Of {
		v, e := split(of)
		visits, events = event.Every(visits, v), event.Every(events, e)
	}
	return visits, events
}

// done returns what has_done asks for in a filter.
func done(f event.Filter) (list []event.Filter) {
	if f.Op == event.HasDone {
		return f.Of[:1]
	}
	for _, of := range f.Of {
		list = append(list, done(of)...)
	}
	return list
}

// exits says whether a filter looks at where a visit ended. What has_done looks
// at it finds out for itself.
func exits(f event.Filter) bool {
	if f.Op >= event.Is {
		return exit(f.Dimension)
	}
	return f.Op != event.HasDone && slices.ContainsFunc(f.Of, exits)
}
