package store

import (
	"context"

	"github.com/eider-analytics/eider/store/event"
)

// These answer in passes of so many rows.

func (s *Store) FunnelIn(ctx context.Context, q event.Funnel, rows int) (*event.FunnelAnswer, error) {
	return s.funnel(ctx, q, room{rows: rows})
}

func (s *Store) RetentionIn(ctx context.Context, q event.Retention, rows int) (*event.RetentionAnswer, error) {
	return s.retention(ctx, q, room{rows: rows})
}

func (s *Store) SequenceIn(ctx context.Context, q event.Sequence, rows int) (*event.SequenceAnswer, error) {
	return s.sequence(ctx, q, room{rows: rows})
}

func (s *Store) FlowIn(ctx context.Context, q event.Flow, rows, links int) (*event.FlowAnswer, error) {
	return s.flow(ctx, q, room{rows: rows, links: links})
}
