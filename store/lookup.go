package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/eider-analytics/eider/store/event"
)

// KnownIDs says which of the ids events of a site carry as Dedupe that happened
// on the days from to to, both included. The map holds those only.
func (s *Store) KnownIDs(ctx context.Context, site string, from, to event.Day, ids []event.ID) (map[event.ID]bool, error) {
	known := make(map[event.ID]bool)
	var list []string
	for _, id := range ids {
		if !id.IsZero() {
			list = append(list, id.String())
		}
	}
	if len(list) == 0 {
		return known, nil
	}
	start, end := from.Start(), (to + 1).Start()
	sn := s.Snapshot()
	defer sn.Release()
	text := `SELECT DISTINCT event_id::VARCHAR FROM ` + sn.Relation(site, start, end) + ` AS events
		WHERE site = $1 AND epoch_us("time") >= $2 AND epoch_us("time") < $3
		AND event_id IN (SELECT unnest($4::UUID[]))`
	args := []any{site, start, end, "[" + strings.Join(list, ",") + "]"}
	err := s.query(ctx, text, args, func(rows *sql.Rows) error {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		known[parseID(id)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up event ids: %w", err)
	}
	return known, nil
}

// OpenVisits calls fn for every event with a Time of at least since (µs), in the
// order of Seq. The event is fn's only until it returns, but its texts may be kept.
func (s *Store) OpenVisits(ctx context.Context, since int64, fn func(*event.Event) error) error {
	sn := s.Snapshot()
	defer sn.Release()
	d := newDecoder(true)
	err := s.scan(ctx, sn, span{from: since}, func(rec arrow.RecordBatch) error {
		for row := range int(rec.NumRows()) {
			if err := fn(d.event(rec, row)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read open visits: %w", err)
	}
	return nil
}
