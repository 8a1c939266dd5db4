package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/ledger"
)

// Retain removes the days before a day, as wholes, those in quarantine too, and
// returns how many parts that were. It publishes first, so that hot events of
// those days go as well; one that comes in later goes with the next Retain. If
// nothing can be published the days go all the same, and the error is returned:
// on a full volume that is what makes room. The audit chain has an entry of it, in the
// same transaction, unless there was nothing to remove.
func (s *Store) Retain(ctx context.Context, before event.Day) (n int, err error) {
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	_, err = s.publish(ctx)
	if s.usable() == nil && ctx.Err() == nil {
		var dropErr error
		n, dropErr = s.drop(ctx, before)
		err = errors.Join(err, dropErr)
	}
	if err != nil {
		return n, fmt.Errorf("retain: %w", err)
	}
	return n, nil
}

// drop removes the parts of the days before a day.
func (s *Store) drop(ctx context.Context, before event.Day) (int, error) {
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	var old []event.Part
	for _, p := range slices.Concat(v.parts, v.damaged) {
		if p.Day < before {
			old = append(old, p)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	rows := int64(0)
	for _, p := range old {
		rows += p.Rows
	}
	entry := audit.Entry{Kind: audit.DataRetain, By: audit.From(ctx), Detail: map[string]string{
		"before": before.String(), "parts": strconv.Itoa(len(old)), "rows": strconv.FormatInt(rows, 10),
	}}
	c := ledger.Change{Entry: &entry, Withdraw: s.withdrawal(Erasure{To: before.Start()})}
	if err := s.replace(ctx, s.change, c, old); err != nil {
		return 0, err
	}
	fault.Point("retain: committed")
	return len(old), nil
}
