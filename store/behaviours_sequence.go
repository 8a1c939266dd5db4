package store

import (
	"context"
	"fmt"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

// Sequence answers a sequence from the present. It returns an [event.QueryError]
// for a question beyond its limits, or a pattern that does not parse.
func (s *Store) Sequence(ctx context.Context, q event.Sequence) (*event.SequenceAnswer, error) {
	return s.sequence(ctx, q, s.room())
}

func (s *Store) sequence(ctx context.Context, q event.Sequence, b room) (*event.SequenceAnswer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	p, err := behaviour.ParsePattern(q.Pattern, len(q.Steps))
	if err != nil {
		return nil, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	a := &event.SequenceAnswer{Pattern: p.String(), About: about(sn, q.Scope)}
	r := reading{scope: q.Scope, room: b, from: q.From, to: q.To, all: q.Every}
	for _, step := range q.Steps {
		r.conditions = append(r.conditions, step.Filter)
	}
	err = s.behave(ctx, r, sn, func(events []behaviour.Event, _ []string) error {
		n, err := p.Count(events, q.Every)
		if n > 0 {
			a.Matched++
			a.Matches += int64(n)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("answer sequence: %w", err)
	}
	if a.Units, err = s.unitsOf(ctx, q.Scope); err != nil {
		return nil, fmt.Errorf("count units of sequence: %w", err)
	}
	a.Rate = percent(a.Matched, a.Units)
	return a, nil
}

// unitsOf counts the units of a scope, as the metric of that name does.
func (s *Store) unitsOf(ctx context.Context, sc event.Scope) (int64, error) {
	metric := map[event.Unit]event.Metric{event.PerVisitor: event.Visitors, event.PerVisit: event.Visits, event.PerUser: event.Users}[sc.Unit]
	a, err := s.Query(ctx, event.Query{
		Site: sc.Site, From: sc.From, To: sc.To, Zone: sc.Zone, Filter: sc.Filter, Metrics: []event.Metric{metric},
	})
	if err != nil || len(a.Lines) == 0 {
		return 0, err
	}
	return a.Lines[0].Figures[0].Int, nil
}
