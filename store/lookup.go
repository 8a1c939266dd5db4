package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// ErrKnownDamaged is returned by [Store.KnownIDs] when a part in quarantine may
// hold such events: what was imported without it would be counted twice once it is
// restored. Restore it, or let retention remove it, and ask again.
var ErrKnownDamaged = errors.New("a damaged part may hold some of these events already")

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
	if p := sn.degraded(site, start, end); p != nil {
		return nil, fmt.Errorf("look up event ids: %w: %s", ErrKnownDamaged, p.Path)
	}
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
// order of Seq. The event and its texts are fn's only until it returns.
//
// Those that are not in parts come from the journal, which is read in a third of
// the time that the lens takes to hand over whole rows.
func (s *Store) OpenVisits(ctx context.Context, since int64, fn func(*event.Event) error) error {
	s.boundary.Lock()
	defer s.boundary.Unlock()
	sn := s.Snapshot()
	defer sn.Release()
	d := newDecoder(true)
	err := s.scan(ctx, sn.window(0, sn.Published()), span{from: since}, func(rec arrow.RecordBatch) error {
		for row := range int(rec.NumRows()) {
			if err := fn(d.event(rec, row)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.openInJournal(ctx, sn.Published(), since, fn)
	}
	if err != nil {
		return fmt.Errorf("read open visits: %w", err)
	}
	return nil
}

// openInJournal is the part of OpenVisits that reads the journal after a Seq, with
// boundary held.
func (s *Store) openInJournal(ctx context.Context, after, since int64, fn func(*event.Event) error) error {
	return s.ledger.Groups(ctx, after, func(g ledger.Group) error {
		frames, err := event.Frames(string(g.Payload))
		if err != nil {
			return fmt.Errorf("journal group %d: %w", g.First, err)
		}
		for _, f := range frames {
			if _, _, at := f.Key(); at < since {
				continue
			}
			e, err := f.Decode()
			if err != nil {
				return fmt.Errorf("journal group %d: %w", g.First, err)
			}
			if err := fn(&e); err != nil {
				return err
			}
		}
		return nil
	})
}
