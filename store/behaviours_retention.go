package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

// Retention answers a retention grid from the present. It returns an
// [event.QueryError] for a question beyond its limits.
func (s *Store) Retention(ctx context.Context, q event.Retention) (*event.RetentionAnswer, error) {
	return s.retention(ctx, q, s.room())
}

func (s *Store) retention(ctx context.Context, q event.Retention, b room) (*event.RetentionAnswer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	a := &event.RetentionAnswer{About: about(sn, q.Scope)}
	a.Degraded = sn.missing(q.Site, 0, 0) // who was there before, or after, may be anywhere
	if q.Unit == event.PerVisitor {
		a.Caveat = "a visitor is one for a day only: nobody can tell whether it came again, so only the first period is known; ask by user for the others"
	}
	now := s.opts.Now().UnixMicro()
	g, err := s.gridOf(ctx, sn, q, now)
	if err != nil || g == nil {
		return a, err
	}
	r := g.reading(b)
	if r.brief() {
		rs, err := s.rollups()
		if err != nil {
			return nil, fmt.Errorf("answer retention: %w", err)
		}
		if r.listed = rs.roster(sn, placeOf(q.Site, q.Zone), r.cells); len(r.listed.spans()) > 0 {
			a.Plan = event.PlanBoth
		}
	}
	if err := s.behave(ctx, r, sn, g.unit); err != nil {
		return nil, fmt.Errorf("answer retention: %w", err)
	}
	g.answer(a, now)
	return a, nil
}

// A grid is a retention question with its intervals worked out.
type grid struct {
	q        event.Retention
	from, to int64   // when cohorts are born
	starts   []int64 // of the cohorts, the periods after the last, and the end
	cohorts  int
	machine  *behaviour.Grid
}

// gridOf returns the grid of a question, nil if there is nothing in its range.
func (s *Store) gridOf(ctx context.Context, sn *Snapshot, q event.Retention, now int64) (*grid, error) {
	var err error
	if q.From, q.To, err = s.rangeOf(ctx, sn, q.Scope); err != nil {
		return nil, fmt.Errorf("answer retention: %w", err)
	}
	if q.From >= q.To {
		return nil, nil
	}
	starts, err := event.Buckets(q.From, q.To, q.Zone, q.Interval)
	if err != nil {
		return nil, err
	}
	if len(starts) > event.MaxCohorts {
		return nil, &event.QueryError{Message: fmt.Sprintf(
			"the range has more than %d cohorts of a %s; ask for a shorter range or a longer interval", event.MaxCohorts, q.Interval)}
	}
	g := &grid{q: q, from: q.From, to: q.To, cohorts: len(starts)}
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	for range q.Periods {
		last := time.UnixMicro(starts[len(starts)-1]).In(zone)
		starts = append(starts, event.NextOf(last, q.Interval).UnixMicro())
	}
	g.starts = starts
	g.machine = behaviour.NewGrid(g.starts, g.from, g.to, g.cohorts, q.Periods)
	return g, nil
}

// reading is of everything up to the last period: what is before the range says
// who is not new any more. A visitor is always new, and never comes again.
func (g *grid) reading(b room) reading {
	r := reading{scope: g.q.Scope, room: b, conditions: []event.Filter{g.q.Start, g.q.Return}}
	r.scope.From, r.scope.To = g.from, g.to
	r.from, r.to = 0, g.starts[len(g.starts)-1]
	if r.scope.Unit == event.PerVisitor {
		r.from, r.to = g.from, g.to
	}
	if g.q.Start.Zero() && g.q.Return.Zero() {
		r.cells = append([]int64{math.MinInt64, g.from, g.to, math.MaxInt64}, g.starts...)
		slices.Sort(r.cells)
	}
	return r
}

func (g *grid) unit(events []behaviour.Event, _ []string) error {
	g.machine.Run(events)
	return nil
}

// answer fills in the cells of periods that are over.
func (g *grid) answer(a *event.RetentionAnswer, now int64) {
	whole := event.Cohort{Time: g.starts[0], Retained: make([]*int64, g.q.Periods), Rates: make([]*float64, g.q.Periods)}
	sizes := make([]int64, g.q.Periods) // of the cohorts that are known, by period
	for i := range g.cohorts {
		c := event.Cohort{Time: g.starts[i], Size: g.machine.Size(i)}
		c.Retained, c.Rates = make([]*int64, g.q.Periods), make([]*float64, g.q.Periods)
		whole.Size += c.Size
		for p := range g.q.Periods {
			if g.starts[i+p+1] > now || p > 0 && g.q.Unit == event.PerVisitor {
				break
			}
			n := g.machine.Cell(i, p)
			c.Retained[p], c.Rates[p] = &n, rate(n, c.Size)
			if whole.Retained[p] == nil {
				whole.Retained[p] = new(int64)
			}
			*whole.Retained[p] += n
			sizes[p] += c.Size
		}
		a.Cohorts = append(a.Cohorts, c)
	}
	for p, n := range whole.Retained {
		if n != nil {
			whole.Rates[p] = rate(*n, sizes[p])
		}
	}
	a.Whole = whole
}

// rate returns a percentage; nil of nothing.
func rate(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	r := percent(part, whole)
	return &r
}
