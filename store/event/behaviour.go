package event

import (
	"fmt"
	"strings"
	"time"
)

// A Scope says whose events a behavioural question is about: a [Funnel], a
// [Retention], a [Sequence] or a [Flow]. Each of these takes the events of one
// unit in the order of their time, and of their Seq where times are equal, and
// says something of it; an answer counts units.
//
//   - A visitor is one for a site-local day, so what it does is looked at day by
//     day, and units add up like visitors.
//   - A visit belongs to the range in which it began, with all its own events:
//     from an hour before its start to a day after it.
//   - A user is an id that the site gave, and one for as long as there are data.
//
// Events without the id of the unit are nobody's and left out.
type Scope struct {
	Site     string
	From, To int64          // µs, To is the first that no longer belongs to it; 0 leaves that end open
	Zone     *time.Location // the site's: days, weeks and months begin by its clock; nil is UTC
	Unit     Unit           // "" is the question's own default

	// Filter says which units are counted: those with at least one event, in
	// the range or of the visit, for which it holds. All their events are then
	// looked at, as the figures of a visit are those of the whole visit.
	Filter Filter
}

// A Unit is whose events belong together.
type Unit string

// The units.
const (
	PerVisitor Unit = "visitor"
	PerVisit   Unit = "visit"
	PerUser    Unit = "user"
)

// A Step is something that a unit does.
type Step struct {
	Name   string // for the answer only
	Filter Filter // of the events that are it; the zero Filter is every event
}

// Limits of the behavioural questions. What is beyond them is refused.
const (
	MaxSteps    = 32                   // of a funnel or a sequence
	MaxWindow   = 366 * 24 * time.Hour // of a funnel
	MaxSegments = 1000                 // of an answer
	MaxPeriods  = 366                  // of a retention grid, the first included
	MaxCohorts  = 366                  // of a retention grid
	MaxFlow     = 10                   // steps of a flow
	MaxTop      = 100                  // values of each step of a flow
	MaxSequence = 1000                 // bytes of a sequence's pattern
)

// A Mode narrows what a funnel takes for the next step. All modes can be
// combined.
type Mode string

// The modes, by the names that they have in other engines. "The next step" is
// the one after the last that the chain has reached.
const (
	Strict              Mode = "strict"               // the same as StrictDeduplication
	StrictDeduplication Mode = "strict_deduplication" // a chain ends if the step it reached last happens again, by an event that is not the next one too
	StrictOrder         Mode = "strict_order"         // a chain ends if any step that it has reached happens again, even by an event that is the next one too
	StrictIncrease      Mode = "strict_increase"      // an event is only the next step if it is later than the one before
	TimestampDedup      Mode = "timestamp_dedup"      // it is not if it is at the same time as the one before; since times ascend, that is the same
	StrictOnce          Mode = "strict_once"          // an event is one step at most; without, it may be several that follow on each other
	AllowReentry        Mode = "allow_reentry"        // the first step, done again past the first step, starts the chain anew, but not its window
)

// A Funnel asks how many units do one step after the other within a window.
//
// A chain begins with every event that is the first step; the window is open
// until exactly Window after it, that moment included. What counts for a unit is
// the chain that gets furthest; if there are several, the first to get there; and
// of those that get there by the same event, the one that began last.
// Events that are no step at all are not looked at.
type Funnel struct {
	Scope                // Unit: PerVisitor by default
	Steps  []Step        // 1 to MaxSteps
	Window time.Duration // over 0, at most MaxWindow
	Modes  []Mode

	// By, if not "", splits the answer by the values of a dimension: that of the
	// event with which the chain begins, or, with Any, those of all events that
	// are a step, so that a unit can be in several segments.
	By    Dimension
	Any   bool
	Limit int // most segments, those with the most entries first; 0 is MaxSegments

	// Over, if not "", is an interval (Daily): the answer is split by when the
	// chain begins.
	Over string
}

// A FunnelAnswer is what a [Funnel] gives.
type FunnelAnswer struct {
	Steps    []FunnelStep
	Segments []FunnelSegment // if the question has By
	Count    int             // segments that there are, without Limit
	Points   []FunnelPoint   // if it has Over: all intervals of the range
	About
}

// A FunnelStep is how far a funnel got.
type FunnelStep struct {
	Name    string
	Reached int64   // units whose chain got to this step or further
	Rate    float64 // percent of those that entered; 0 if none did
	Kept    float64 // percent of those that reached the step before; 100 at the first
	Dropped int64   // reached the step before and not this one; 0 at the first
	Took    Spell   // since the step before; zero at the first. Segments and points have no Median and P90
}

// A Spell is how long something took.
type Spell struct {
	Mean     time.Duration // exact, to the µs below
	Median   time.Duration // within 1 % above; so is P90
	P90      time.Duration
	Shortest time.Duration
	Longest  time.Duration
}

// A FunnelSegment is a funnel of one value of a dimension.
type FunnelSegment struct {
	Value string // "" is what nothing is known of
	Steps []FunnelStep
}

// A FunnelPoint is a funnel of the chains that began in one interval.
type FunnelPoint struct {
	Time  int64 // its first µs
	Steps []FunnelStep
}

// A Retention asks how many of those who came for the first time in an interval
// came again in each interval after it.
//
// A unit belongs to the cohort of its first event ever that is Start, if that is
// in the range; so the first and the last cohort may be a part of an interval.
// Cohorts are followed past the end of the range, up to the present.
//
// Of visitors, who are nobody's the day after, no interval but the first can be
// known; the others are unknown, and About.Caveat says so.
type Retention struct {
	Scope           // Unit: PerUser by default; not PerVisit
	Interval string // Daily, Weekly or Monthly
	Periods  int    // intervals, the first included: 2 to MaxPeriods
	Start    Filter // the zero Filter is every event
	Return   Filter // of the events that count as coming again, not before the first of Start
}

// A RetentionAnswer is what a [Retention] gives.
type RetentionAnswer struct {
	Cohorts []Cohort // all of the range, empty ones too, the earliest first
	Whole   Cohort   // all cohorts together; a period has those that are known of it, and its rate is of their sizes
	About
}

// A Cohort is the units that came for the first time in one interval.
type Cohort struct {
	Time     int64 // its first µs; may be before the range
	Size     int64
	Retained []*int64   // by period: units with an event that is Return; nil if it is not over yet, or cannot be known
	Rates    []*float64 // percent of Size; nil likewise and of a cohort without units
}

// A Sequence asks how many units have a sequence of events that fits a pattern,
// and how often.
//
// # Pattern
//
//	(?2)      an event that is the second step
//	(?!2)     an event that is not
//	.         any event
//	*         after one of these: any number of such events, none too
//	(?t<=60)  before an event (?N): it is at most 60 whole seconds after the last
//	          (?N) before it, likewise >= < > == !=; before the first it holds
//
// What stands next to each other follows on each other immediately. Events that
// are none of the steps are not there at all, unless Every. An empty pattern is
// all steps in their order with any events between them: (?1).*(?2).*(?3).
//
// Matches are found from the first event on; each (?N) takes the earliest event
// that leaves a match possible, and the next match begins after the last event of
// the one before.
type Sequence struct {
	Scope          // Unit: PerVisitor by default
	Steps   []Step // 1 to MaxSteps
	Pattern string // at most MaxSequence bytes
	Every   bool   // events that are none of the steps stand between others too
}

// A SequenceAnswer is what a [Sequence] gives.
type SequenceAnswer struct {
	Matched int64   // units with at least one match
	Units   int64   // that there are in the range, with the filter
	Rate    float64 // percent of Units; 0 without units
	Matches int64   // of all units together
	Pattern string  // that was asked, or stood for the empty one
	About
}

// A Flow asks which way units go from somewhere, or came to it.
//
// The journey of a unit begins with its first event that is Start and goes on to
// the end; backwards it begins with the last such event and goes back to the
// beginning. Every event of Events is a station; its value is that of By.
type Flow struct {
	Scope               // Unit: PerVisit by default
	Start     Filter    // the zero Filter: the first event of each unit, the last one if Backwards
	Events    Filter    // stations; the zero Filter is every pageview. The start is one anyway
	By        Dimension // "" is path
	Backwards bool
	Depth     int  // steps after the start: 1 to MaxFlow
	Top       int  // values of each step, those with the most units first; 0 is 10
	Repeats   bool // keep stations with the value of the one before; without they are one, as are reloads
}

// A FlowAnswer is what a [Flow] gives.
type FlowAnswer struct {
	Start []FlowNode // values of the start, most units first, at most Top, then the others
	Steps []FlowStep // Depth of them
	About
}

// A FlowStep is one step further from the start.
type FlowStep struct {
	Nodes []FlowNode // most units first, at most Top, then the others and the ends
	Links []FlowLink // from the nodes of the step before, in their order, to these
}

// A FlowNode is where units are after so many steps. The counts of a step, its
// ends included, add up to those of the step before, without its ends.
type FlowNode struct {
	Kind  NodeKind
	Value string
	Units int64
}

// A NodeKind says what a [FlowNode] is.
type NodeKind int

// The kinds of nodes.
const (
	Station NodeKind = iota // a value
	Others                  // all values beyond Top; Value is ""
	End                     // no further station: the exit, backwards the entry; Value is ""
)

// A FlowLink is how many units went from one node to another.
type FlowLink struct {
	From, To int // places in the nodes of the step before and of this one
	Units    int64
}

// About is what every behavioural answer says beside its figures.
type About struct {
	Unit     Unit
	Plan     string // PlanRaw; PlanBoth if it is known by rollups who was there on some days
	Caveat   string // what the figures cannot say, for whoever reads them; "" is nothing
	Seq      int64  // newest event that was there to be read
	Degraded []Part // damaged parts that could not be read: figures may be too low
}

// Check returns a [QueryError] if something of the question is beyond a limit.
// Filters are checked when they are compiled.
func (f *Funnel) Check() error {
	if err := f.Scope.check(PerVisitor); err != nil {
		return err
	}
	if err := checkSteps("funnel", f.Steps); err != nil {
		return err
	}
	if f.Window <= 0 || f.Window > MaxWindow {
		return refused("window of the funnel is %v, must be over 0 and at most %d days", f.Window, MaxWindow/(24*time.Hour))
	}
	for _, m := range f.Modes {
		switch m {
		case Strict, StrictDeduplication, StrictOrder, StrictIncrease, TimestampDedup, StrictOnce, AllowReentry:
		default:
			return refused("there is no mode %q of a funnel; there are strict, strict_deduplication, strict_order, strict_increase, timestamp_dedup, strict_once and allow_reentry", m)
		}
	}
	if f.Any && f.By == "" {
		return refused("a funnel by any value needs a dimension")
	}
	if err := checkBy(f.By); err != nil {
		return err
	}
	return checkCount("limit of segments", &f.Limit, MaxSegments, MaxSegments)
}

// Check returns a [QueryError] if something of the question is beyond a limit.
func (r *Retention) Check() error {
	if err := r.Scope.check(PerUser); err != nil {
		return err
	}
	switch r.Interval {
	case Daily, Weekly, Monthly:
	default:
		return refused("there is no retention by %q; use day, week or month", r.Interval)
	}
	if r.Unit == PerVisit {
		return refused("a visit has no retention; use visitor or user")
	}
	if r.Periods < 2 || r.Periods > MaxPeriods {
		return refused("retention of %d periods; must be between 2 and %d", r.Periods, MaxPeriods)
	}
	return nil
}

// Check returns a [QueryError] if something of the question is beyond a limit.
// The pattern is checked when it is parsed.
func (s *Sequence) Check() error {
	if err := s.Scope.check(PerVisitor); err != nil {
		return err
	}
	if len(s.Pattern) > MaxSequence {
		return refused("the pattern has %d bytes, at most %d are allowed", len(s.Pattern), MaxSequence)
	}
	return checkSteps("sequence", s.Steps)
}

// Check returns a [QueryError] if something of the question is beyond a limit.
func (f *Flow) Check() error {
	if err := f.Scope.check(PerVisit); err != nil {
		return err
	}
	if f.Depth < 1 || f.Depth > MaxFlow {
		return refused("a flow of %d steps; must be between 1 and %d", f.Depth, MaxFlow)
	}
	if f.By == "" {
		f.By = "path"
	}
	if err := checkBy(f.By); err != nil {
		return err
	}
	return checkCount("values of each step", &f.Top, 10, MaxTop)
}

// check sets the unit if the question leaves it open.
func (s *Scope) check(unit Unit) error {
	if s.Unit == "" {
		s.Unit = unit
	}
	switch s.Unit {
	case PerVisitor, PerVisit, PerUser:
	default:
		return refused("there is no unit %q; use visitor, visit or user", s.Unit)
	}
	if s.From != 0 && s.To != 0 && s.From > s.To {
		return refused("the range ends before it begins")
	}
	if s.Site == "" {
		return refused("no site is asked for")
	}
	return nil
}

func checkSteps(of string, steps []Step) error {
	if len(steps) < 1 || len(steps) > MaxSteps {
		return refused("a %s of %d steps; must be between 1 and %d", of, len(steps), MaxSteps)
	}
	return nil
}

func checkBy(d Dimension) error {
	if _, ok := d.Interval(); ok || d == GoalName {
		return refused("cannot split by %q; use a dimension of an event", d)
	}
	if key, ok := d.Prop(); ok && strings.TrimSpace(key) == "" {
		return refused("the property to split by has no name")
	}
	return nil
}

// checkCount sets n if the question leaves it open.
func checkCount(what string, n *int, usual, most int) error {
	if *n == 0 {
		*n = usual
	}
	if *n < 1 || *n > most {
		return refused("%s: %d; must be between 1 and %d", what, *n, most)
	}
	return nil
}

func refused(format string, args ...any) error {
	return &QueryError{Message: fmt.Sprintf(format, args...)}
}
