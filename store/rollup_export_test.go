package store

import (
	"context"

	"github.com/eider-analytics/eider/store/event"
)

// Reach is a reach for tests from the outside.
type Reach struct{ r reach }

// Note adds events.
func (r *Reach) Note(events []event.Event) { r.r.note(events) }

// Touches says whether figures may depend on one of them.
func (r *Reach) Touches(site string, start, stop int64) bool { return r.r.touches(site, start, stop) }

// Cover is [Store.cover] with its ranges as pairs.
func (s *Store) Cover(ctx context.Context, sn *Snapshot, q event.Query, dim event.Dimension, monthly bool) (table string, raw [][2]int64, days int, err error) {
	c, err := s.cover(ctx, sn, q, dim, monthly)
	for _, r := range c.raw {
		raw = append(raw, [2]int64{r.from, r.to})
	}
	return c.table, raw, c.days, err
}

// SpansIn is spansIn.
func SpansIn(ids []int64) string { return spansIn(ids) }
