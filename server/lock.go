package server

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A lock is what the visitor of a shared link cannot get beyond: a site and, if the link
// has one, a segment. It is in the context of his requests, and is put to every question
// where questions leave this package, so that no report can forget it.
type lock struct {
	site   string
	filter event.Filter // of the segment; the zero Filter is none
}

type lockKey struct{}

func lockOf(ctx context.Context) *lock {
	l, _ := ctx.Value(lockKey{}).(*lock)
	return l
}

var errBrokenLock = &problem{status: http.StatusUnprocessableEntity, code: "bad_link", text: "what the link is limited to cannot be told any more; who made the link has to look at its segment"}

// locked returns the context of a request of a link's visitor. A segment that says
// nothing, or cannot be read, locks everything.
func (s *Server) locked(ctx context.Context, k *ledger.Link) (context.Context, error) {
	l := &lock{site: k.Site}
	if k.Segment != 0 {
		words, err := s.vocabulary(ctx, k.Site)
		if err != nil {
			return nil, err
		}
		list, err := words.segment(strconv.FormatInt(k.Segment, 10))
		if err != nil {
			return nil, errBrokenLock
		}
		if l.filter, err = list.filter(words); err != nil || l.filter.Zero() {
			return nil, errBrokenLock
		}
	}
	return context.WithValue(ctx, lockKey{}, l), nil
}

// admits refuses a site that is not the lock's.
func (l *lock) admits(site string) error {
	if site != l.site {
		return refuse(http.StatusForbidden, "site_of_the_link", "the link is for the site %s only", l.site)
	}
	return nil
}

// within returns the filter that holds for what f means inside of the lock. What visits
// have done is looked for inside of it too.
func (l *lock) within(f event.Filter) event.Filter {
	return event.Every(l.filter, l.inner(f))
}

func (l *lock) inner(f event.Filter) event.Filter {
	if len(f.Of) == 0 || l.filter.Zero() {
		return f
	}
	f.Of = slices.Clone(f.Of)
	for i := range f.Of {
		if f.Op == event.HasDone {
			f.Of[i] = l.within(f.Of[i])
		} else {
			f.Of[i] = l.inner(f.Of[i])
		}
	}
	return f
}

// steps returns steps that are inside of the lock: all events of a unit are looked at, not
// only those for which the filter of the question holds.
func (l *lock) steps(list []event.Step) []event.Step {
	out := slices.Clone(list)
	for i := range out {
		out[i].Filter = l.within(out[i].Filter)
	}
	return out
}

// lockedQuestions puts the lock of a request to its questions.
type lockedQuestions struct{ of Questions }

// Query implements [Questions].
func (a lockedQuestions) Query(ctx context.Context, q event.Query) (*event.Answer, error) {
	l := lockOf(ctx)
	if l == nil {
		return a.of.Query(ctx, q)
	}
	if err := l.admits(q.Site); err != nil {
		return nil, err
	}
	q.Filter = l.within(q.Filter)
	q.Goals = slices.Clone(q.Goals)
	for i := range q.Goals { // they are asked of what the filter has left
		q.Goals[i].Filter = l.inner(q.Goals[i].Filter)
	}
	found, err := a.of.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := *found // others may have been given the same one
	answer.Seq, answer.Degraded = 0, nameless(found.Degraded)
	return &answer, nil
}

// nameless returns parts of which nobody can tell how many events came before them.
func nameless(parts []event.Part) []event.Part {
	out := make([]event.Part, len(parts))
	for i := range out {
		out[i].Path = "part " + strconv.Itoa(i+1)
	}
	return out
}

// Bounds implements [Questions]. Inside of a segment they are the days of its first and its
// last event.
func (a lockedQuestions) Bounds(ctx context.Context, site string) (first, last int64, some bool, err error) {
	l := lockOf(ctx)
	if l != nil {
		if err := l.admits(site); err != nil {
			return 0, 0, false, err
		}
	}
	first, last, some, err = a.of.Bounds(ctx, site)
	if l == nil || l.filter.Zero() || err != nil || !some {
		return first, last, some, err
	}
	q := event.Query{Site: site, From: first, To: last + 1, Metrics: []event.Metric{event.Events}, Dimensions: []event.Dimension{event.Daytime}, Limit: 1}
	var days [2]int64
	for i := range days {
		q.Order = []event.Order{{Dimension: event.Daytime, Descending: i == 1}}
		found, err := a.Query(ctx, q)
		if err != nil || len(found.Lines) == 0 {
			return 0, 0, false, err
		}
		days[i] = found.Lines[0].Values[0].Time
	}
	return max(first, days[0]), min(last, days[1]+(24*time.Hour).Microseconds()-1), true, nil
}

// lockedReports does for what visitors do one after the other what lockedQuestions does.
type lockedReports struct{ of Reports }

// enter puts a lock to a scope and returns it; nil if there is none.
func enter(ctx context.Context, s *event.Scope) (*lock, error) {
	l := lockOf(ctx)
	if l == nil {
		return nil, nil
	}
	s.Filter = l.within(s.Filter)
	return l, l.admits(s.Site)
}

// leave takes out of an answer what a visitor of a link is not told.
func leave(l *lock, a event.About) event.About {
	if l != nil {
		a.Seq, a.Degraded = 0, nameless(a.Degraded)
	}
	return a
}

// Funnel implements [Reports].
func (a lockedReports) Funnel(ctx context.Context, q event.Funnel) (*event.FunnelAnswer, error) {
	l, err := enter(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}
	if l != nil {
		q.Steps = l.steps(q.Steps)
	}
	found, err := a.of.Funnel(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := *found
	answer.About = leave(l, found.About)
	return &answer, nil
}

// Retention implements [Reports].
func (a lockedReports) Retention(ctx context.Context, q event.Retention) (*event.RetentionAnswer, error) {
	l, err := enter(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}
	if l != nil {
		q.Start, q.Return = l.within(q.Start), l.within(q.Return)
	}
	found, err := a.of.Retention(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := *found
	answer.About = leave(l, found.About)
	return &answer, nil
}

// Sequence implements [Reports].
func (a lockedReports) Sequence(ctx context.Context, q event.Sequence) (*event.SequenceAnswer, error) {
	l, err := enter(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if q.Every && !l.filter.Zero() { // whether others stand between would tell of them
			return nil, &event.QueryError{Message: "every cannot be asked by a link that is locked to a segment"}
		}
		q.Steps = l.steps(q.Steps)
	}
	found, err := a.of.Sequence(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := *found
	answer.About = leave(l, found.About)
	return &answer, nil
}

// Flow implements [Reports].
func (a lockedReports) Flow(ctx context.Context, q event.Flow) (*event.FlowAnswer, error) {
	l, err := enter(ctx, &q.Scope)
	if err != nil {
		return nil, err
	}
	if l != nil && !l.filter.Zero() {
		if q.Events.Zero() {
			q.Events = is("name", event.Pageview)
		}
		if !q.Start.Zero() { // else it is the first of Events
			q.Start = l.within(q.Start)
		}
		q.Events = l.within(q.Events)
	}
	found, err := a.of.Flow(ctx, q)
	if err != nil {
		return nil, err
	}
	answer := *found
	answer.About = leave(l, found.About)
	return &answer, nil
}
