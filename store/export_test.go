package store

import (
	"context"

	"github.com/eider-analytics/eider/store/event"
)

// For tests from the outside.
var (
	Binned    = binned
	GuardTree = guardTree
)

// Recheck looks at every part again.
func (s *Store) Recheck(ctx context.Context) (changed int, err error) {
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	return s.recheck(ctx)
}

// Occupy keeps maintenance out, as other maintenance does, until the function that it returns.
func (s *Store) Occupy() (release func()) {
	s.maintaining.Lock()
	return s.maintaining.Unlock
}

// Ask answers a question from a snapshot.
func (s *Store) Ask(ctx context.Context, sn *Snapshot, q event.Query) (*event.Answer, error) {
	return s.ask(ctx, sn, q)
}
