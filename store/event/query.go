package event

import (
	"strings"
	"time"
)

// A Query is a question about one site and one range of time. It has no text of
// any API in it: what Plausible, the dashboard or a script ask is turned into
// one of these, and the store answers nothing else.
//
// # What is counted
//
// An event is in the range if its time is, and matches if the filter holds for
// it. The figures are of the events that are in the range and match, but for
// those of visits:
//
//   - A visit belongs to the range in which it began, with all its events, also
//     those after the end of the range: so the visits of two ranges that touch
//     add up. It is counted if at least one of its events matches, and its
//     figures are those of the whole visit, whatever the filter has left out.
//   - Visitors are counted by site-local day: a visitor is one for a day only,
//     so those of a range are the sum of its days', by definition.
//   - A visit is followed from an hour before its start, because events may come
//     late, to a day after it. An event outside of that is nobody's visit: it has
//     no exit page, and has_done does not hold for it.
//   - With dimensions a figure is that of the events that carry the values, and
//     of the visits with at least one such event that matches.
type Query struct {
	Site     string
	From, To int64          // µs, To is the first that no longer belongs to it; 0 leaves that end open
	Zone     *time.Location // the site's: days and hours begin by its clock; nil is UTC

	Metrics    []Metric    // at least one
	Dimensions []Dimension // rows are grouped by them; none gives a single row
	Filter     Filter      // the zero Filter holds for every event
	Goals      []Goal      // the values of the dimension goal
	Currency   string      // of the revenue; "" is every currency, which is a sum of unlike things unless one groups by currency

	Order  []Order // nil: by the dimension of time, then by the first metric, most first, then by the values
	Limit  int     // most rows; 0 is MaxRows
	Offset int
	Count  bool // whether Answer.Count is wanted
}

// Limits of a [Query]. What is beyond them is refused, never cut.
const (
	MaxRows       = 10_000 // of an answer, or of one page of it
	MaxDimensions = 8
	MaxFilters    = 500 // nodes and values of a filter together
	MaxDepth      = 16  // of a filter
	MaxPattern    = 500 // bytes of a regular expression
)

// A Metric is what a query counts. Its text is the name that it has in every
// API.
type Metric string

// The metrics. Beside each: what its Figure holds.
const (
	Visitors            Metric = "visitors"              // Int: distinct visitors, by site-local day
	Users               Metric = "users"                 // Int: distinct ids that the site gave
	Visits              Metric = "visits"                // Int
	Pageviews           Metric = "pageviews"             // Int
	Events              Metric = "events"                // Int: pageviews and custom events; engagement is none
	ViewsPerVisit       Metric = "views_per_visit"       // Float; 0 without visits
	BounceRate          Metric = "bounce_rate"           // Float, percent; 0 without visits. A visit bounces with exactly one pageview and no interactive custom event
	VisitDuration       Metric = "visit_duration"        // Float, seconds, mean of last minus first event; 0 without visits
	TimeOnPage          Metric = "time_on_page"          // Float, seconds of engagement for each visit of each page that tells it; unknown without
	ScrollDepth         Metric = "scroll_depth"          // Float, percent: mean over visits of pages of the deepest; unknown without
	ExitRate            Metric = "exit_rate"             // Float, percent: visits that ended on the exit page for 100 pageviews of it; unknown without. Needs ExitPath as the only dimension
	ConversionRate      Metric = "conversion_rate"       // Float, percent of the visitors of the same query without goals and dimensions. Needs a goal
	GroupConversionRate Metric = "group_conversion_rate" // Float, percent of the visitors with the same other values. Needs a goal
	TotalRevenue        Metric = "total_revenue"         // Int: ten-thousandths of the currency; unknown if no event carries any
	AverageRevenue      Metric = "average_revenue"       // Float, of the currency, for each event that carries any; unknown without
	Percentage          Metric = "percentage"            // Float, percent of the visitors of the same query without dimensions
)

// A Dimension is what rows are grouped by and what a filter looks at: the name of
// a text or number column of [Columns], one of the constants below, or a property.
type Dimension string

// The dimensions that are not columns.
const (
	ExitPath     Dimension = "exit_path"     // of the visit: path of its last pageview
	ExitHostname Dimension = "exit_hostname" // of the same pageview
	GoalName     Dimension = "goal"          // each goal of the query that the event reaches
	PropName     Dimension = "property"      // each custom property that the event carries: its name. No filter looks at it
	Minute       Dimension = "time:minute"
	Hour         Dimension = "time:hour"
	Daytime      Dimension = "time:day"
	Week         Dimension = "time:week" // from Monday
	Month        Dimension = "time:month"
)

const propPrefix = "prop:"

// Prop returns the dimension of a custom property.
func Prop(key string) Dimension { return Dimension(propPrefix + key) }

// Prop returns the key, if d is a property.
func (d Dimension) Prop() (key string, ok bool) { return strings.CutPrefix(string(d), propPrefix) }

// Interval returns the interval, if d is one of time: [Hourly] for [Hour].
func (d Dimension) Interval() (interval string, ok bool) {
	return strings.CutPrefix(string(d), "time:")
}

// A Filter says of an event whether it is meant. There are only two answers:
// what is not known is the empty text, as everywhere in an [Event], so that the
// negation of a filter holds for every event for which the filter does not.
type Filter struct {
	Op         Op
	Dimension  Dimension
	Values     []string // any of them will do; "" is what nothing is known of
	IgnoreCase bool     // of Is, Contains and Like
	Of         []Filter // of And, Or, Not and HasDone
}

// An Op is how a [Filter] decides.
type Op int

// The operations.
const (
	All      Op = iota // always holds
	And                // all of Of
	Or                 // any of Of
	Not                // not the one of Of
	HasDone            // some event of the same visit matches the one of Of, at any time while it is followed. It cannot nest
	Is                 // the value of Dimension is one of Values
	Contains           // it contains one of Values
	Matches            // a part of it matches one of Values, which are RE2 patterns
	Like               // all of it matches one of Values, in which * stands for any text without /, and ** for any text
	AtLeast            // Dimension is a number of at least the first of Values
)

// Zero says whether f holds for every event because it says nothing.
func (f Filter) Zero() bool { return f.Op == All && len(f.Of) == 0 }

// Every returns a filter that holds where all of them do.
func Every(filters ...Filter) Filter { return join(And, filters) }

// Any returns a filter that holds where one of them does.
func Any(filters ...Filter) Filter { return join(Or, filters) }

// Without returns the negation of a filter.
func Without(f Filter) Filter { return Filter{Op: Not, Of: []Filter{f}} }

// join leaves out what says nothing, and an operation on a single filter.
func join(op Op, filters []Filter) Filter {
	var of []Filter
	for _, f := range filters {
		if op == And && f.Zero() {
			continue
		}
		of = append(of, f)
	}
	switch len(of) {
	case 0:
		return Filter{}
	case 1:
		return of[0]
	}
	return Filter{Op: op, Of: of}
}

// A Goal is something that a visitor is hoped to do. An event reaches it if
// Filter holds.
type Goal struct {
	Name     string
	Filter   Filter
	Currency string // of its revenue; "" if it has none
}

// An Order sorts rows by a metric or a dimension of the query; the other is "".
type Order struct {
	Metric     Metric
	Dimension  Dimension
	Descending bool
}

// A Figure is the value of a metric. Which of Int and Float holds it says the
// metric; the other is 0.
type Figure struct {
	Int     int64
	Float   float64
	Unknown bool // there is nothing from which it could be told
}

// A Value is that of a dimension. Of a dimension of time it is the first µs of
// the interval, by the clock of the query's zone; of all others it is a text, and
// "" means that nothing is known.
type Value struct {
	Text string
	Time int64
}

// A Line is one row of an [Answer].
type Line struct {
	Values  []Value  // in the order of the query's dimensions
	Figures []Figure // in the order of its metrics
}

// An Answer is what a [Query] gives. Intervals without an event have no line.
type Answer struct {
	Lines    []Line
	Count    int64  // lines that there are without limit and offset, if the query asked
	Plan     string // PlanRaw, PlanRollup or PlanBoth
	Seq      int64  // newest event that was there to be read
	Degraded []Part // damaged parts that could not be read: figures may be too low
}

// Where an answer comes from.
const (
	PlanRaw    = "raw"
	PlanRollup = "rollup"
	PlanBoth   = "both" // rollups of closed days, rows of the others
)
