package store

import (
	"context"

	"github.com/eider-analytics/eider/store/event"
)

// Spoil counts a visitor too many for every value of a dimension on every day
// that is rolled up.
func (s *Store) Spoil(ctx context.Context, dim event.Dimension) error {
	l, _, err := s.present()
	if err != nil {
		return err
	}
	return l.transact(ctx, func(tx *transaction) error {
		_, err := tx.exec("UPDATE " + l.rollups.table(dim) + " SET visitors = visitors + 1")
		return err
	})
}
