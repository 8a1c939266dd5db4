package plan

import (
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/eider-analytics/eider/store/event"
)

// Limits that are not for callers to plan with.
const (
	maxValue   = 4096   // bytes of a value of a filter
	maxGoals   = 200    // of a query
	maxProgram = 20_000 // instructions of a compiled pattern, roughly
)

// metrics are those there are.
var metrics = []event.Metric{
	event.Visitors, event.Users, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate,
	event.VisitDuration, event.TimeOnPage, event.ScrollDepth, event.ExitRate, event.ConversionRate,
	event.GroupConversionRate, event.TotalRevenue, event.AverageRevenue, event.Percentage,
}

// refuse returns an error for whoever asked.
func refuse(format string, args ...any) error {
	return &event.QueryError{Message: fmt.Sprintf(format, args...)}
}

// Check returns an [event.QueryError] that says what is wrong with a query, or nil.
func Check(q event.Query) error {
	if q.Site == "" {
		return refuse("the query names no site")
	}
	for _, text := range []string{q.Site, q.Currency} {
		if err := checkText(text); err != nil {
			return err
		}
	}
	for _, check := range []func(event.Query) error{checkMetrics, checkDimensions, checkGoals, checkOrder} {
		if err := check(q); err != nil {
			return err
		}
	}
	return CheckFilter(q.Filter)
}

func checkMetrics(q event.Query) error {
	if len(q.Metrics) == 0 {
		return refuse("the query asks for no metric; there are %s", list(metrics))
	}
	for i, m := range q.Metrics {
		switch {
		case !slices.Contains(metrics, m):
			return refuse("there is no metric %s; there are %s", shown(string(m)), list(metrics))
		case slices.Contains(q.Metrics[:i], m):
			return refuse("the metric %s is asked for twice", m)
		case (m == event.ConversionRate || m == event.GroupConversionRate) && len(q.Goals) == 0:
			return refuse("the metric %s needs a goal: filter by one, or group by the dimension goal", m)
		case m == event.ExitRate && !slices.Equal(q.Dimensions, []event.Dimension{event.ExitPath}):
			return refuse("the metric %s needs %s as the only dimension", m, event.ExitPath)
		}
	}
	return nil
}

func checkDimensions(q event.Query) error {
	if len(q.Dimensions) > event.MaxDimensions {
		return refuse("the query has %d dimensions; at most %d are possible", len(q.Dimensions), event.MaxDimensions)
	}
	for i, d := range q.Dimensions {
		if err := checkDimension(d); err != nil {
			return err
		}
		if slices.Contains(q.Dimensions[:i], d) {
			return refuse("the dimension %s is asked for twice", shown(string(d)))
		}
	}
	if slices.Contains(q.Dimensions, event.GoalName) && len(q.Goals) == 0 {
		return refuse("the dimension goal needs goals, and there are none")
	}
	return nil
}

// checkDimension says whether rows can be grouped by d.
func checkDimension(d event.Dimension) error {
	switch d {
	case event.GoalName, event.PropName, event.Minute, event.Hour, event.Daytime, event.Week, event.Month:
		return nil
	}
	return checkField(d)
}

// checkField says whether a filter can look at d.
func checkField(d event.Dimension) error {
	if key, ok := d.Prop(); ok {
		if key == "" || len(key) > maxValue {
			return refuse("the name of a property has 1 to %d bytes; %s does not", maxValue, shown(string(d)))
		}
		return checkText(key)
	}
	switch d {
	case event.ExitPath, event.ExitHostname:
		return nil
	case event.GoalName:
		return refuse("a filter cannot look at the dimension goal here: the goals themselves are the filter")
	case event.PropName:
		return refuse("a filter cannot look at the dimension property; name one, as in prop:plan")
	}
	if _, ok := d.Interval(); ok {
		return refuse("a filter cannot look at the dimension %s; give a range of time instead", shown(string(d)))
	}
	if _, ok := columns[string(d)]; !ok {
		return refuse("there is no dimension %s", shown(string(d)))
	}
	return nil
}

func checkGoals(q event.Query) error {
	if len(q.Goals) > maxGoals {
		return refuse("the query has %d goals; at most %d are possible", len(q.Goals), maxGoals)
	}
	n := 0
	for i, g := range q.Goals {
		if err := checkText(g.Name); err != nil {
			return err
		}
		if slices.ContainsFunc(q.Goals[:i], func(o event.Goal) bool { return o.Name == g.Name }) {
			return refuse("two goals have the name %s", shown(g.Name))
		}
		if err := checkNode(g.Filter, 1, &n, 4*event.MaxFilters, false); err != nil {
			return err
		}
	}
	return nil
}

func checkOrder(q event.Query) error {
	if q.Limit < 0 || q.Limit > event.MaxRows {
		return refuse("limit is %d, must be between 1 and %d", q.Limit, event.MaxRows)
	}
	if q.Offset < 0 {
		return refuse("offset is %d, must not be negative", q.Offset)
	}
	if n := len(q.Metrics) + len(q.Dimensions); len(q.Order) > n {
		return refuse("the query sorts by %d things and asks for %d", len(q.Order), n)
	}
	for _, o := range q.Order {
		switch {
		case o.Metric != "" && o.Dimension == "" && slices.Contains(q.Metrics, o.Metric):
		case o.Metric == "" && o.Dimension != "" && slices.Contains(q.Dimensions, o.Dimension):
		default:
			return refuse("the query sorts by %s, which is not a metric or dimension that it asks for", shown(string(o.Metric)+string(o.Dimension)))
		}
	}
	return nil
}

// CheckFilter returns an [event.QueryError] that says what is wrong with a
// filter, or nil.
func CheckFilter(f event.Filter) error {
	n := 0
	return checkNode(f, 1, &n, event.MaxFilters, false)
}

// checkNode checks a filter at a depth, and counts nodes and values.
func checkNode(f event.Filter, depth int, n *int, most int, done bool) error {
	*n += 1 + len(f.Values)
	switch {
	case depth > event.MaxDepth:
		return refuse("the filter is nested deeper than %d", event.MaxDepth)
	case *n > most:
		return refuse("there are more than %d filters and values", most)
	case f.Op < event.All || f.Op > event.AtLeast:
		return refuse("there is no filter operation %d", int(f.Op))
	case f.Op >= event.Is:
		return checkLeaf(f)
	case (f.Op == event.Not || f.Op == event.HasDone) && len(f.Of) != 1:
		return refuse("not and has_done are about one filter; there are %d", len(f.Of))
	case f.Op == event.HasDone && done:
		return refuse("has_done cannot be nested in has_done")
	}
	for _, of := range f.Of {
		if err := checkNode(of, depth+1, n, most, done || f.Op == event.HasDone); err != nil {
			return err
		}
	}
	return nil
}

func checkLeaf(f event.Filter) error {
	if err := checkField(f.Dimension); err != nil {
		return err
	}
	if len(f.Values) == 0 {
		return refuse("the filter on %s has no value", shown(string(f.Dimension)))
	}
	for _, v := range f.Values {
		if len(v) > maxValue {
			return refuse("a value of the filter on %s has %d bytes; at most %d are possible", shown(string(f.Dimension)), len(v), maxValue)
		}
		if err := checkText(v); err != nil {
			return err
		}
		if f.Op == event.Matches {
			if err := checkPattern(v); err != nil {
				return err
			}
		}
	}
	if f.Op == event.AtLeast {
		if n, err := strconv.ParseFloat(f.Values[0], 64); err != nil || math.IsInf(n, 0) || math.IsNaN(n) {
			return refuse("the filter on %s needs a number, which %s is not", shown(string(f.Dimension)), shown(f.Values[0]))
		}
	}
	return nil
}

// checkPattern compiles an RE2 pattern: an engine that finds it too large only
// when it has made it must never see it.
func checkPattern(pattern string) error {
	if len(pattern) > event.MaxPattern {
		return refuse("a regular expression has %d bytes; at most %d are possible", len(pattern), event.MaxPattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return refuse("the regular expression %s does not parse: %s", shown(pattern), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return refuse("the regular expression %s does not compile", shown(pattern))
	}
	size := 0
	for i := range program.Inst {
		size += 1 + 2*len(program.Inst[i].Rune) // which become several for the bytes of UTF-8
	}
	if size > maxProgram {
		return refuse("the regular expression %s is too large once its repetitions are written out", shown(pattern))
	}
	return nil
}

// checkText refuses what no column holds and SQL cannot say.
func checkText(s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return refuse("the text %s is not UTF-8 or has a zero byte in it", shown(s))
	}
	return nil
}

// shown returns a text as a message has it: quoted, and not all of a long one.
func shown(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strconv.Quote(s)
}

func list[T ~string](names []T) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}
