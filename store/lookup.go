package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/eider-analytics/eider/store/event"
)

// ErrKnownDamaged is returned by [Store.KnownIDs] when a part in quarantine may
// hold such events: what was imported without it would be counted twice once it is
// restored. Restore it, or let retention remove it, and ask again.
var ErrKnownDamaged = errors.New("a damaged part may hold some of these events already")

// knownPatience is how long [Store.KnownIDs] waits for memory: there is no harm in
// waiting, and to break an import off is some.
const knownPatience = 30 * time.Second

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
	err := patiently(ctx, knownPatience, func() error {
		return s.query(ctx, text, args, func(rows *sql.Rows) error {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			known[parseID(id)] = true
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look up event ids: %w", err)
	}
	return known, nil
}

//go:embed open_visits.sql
var openVisitsSQL string

// OpenVisits calls fn for what is to be known of the visits that may go on: of
// each visitor's latest visit its first and its last event (by Time),
// of those with a Time of at least since (µs), in the order of Seq. Of more than
// limit visitors it takes those that were there last. Imported events are no part
// of it. The event and its texts are fn's only until it returns.
func (s *Store) OpenVisits(ctx context.Context, since int64, limit int, fn func(*event.Event) error) error {
	if err := s.openVisits(ctx, since, limit, fn); err != nil {
		return fmt.Errorf("read open visits: %w", err)
	}
	return nil
}

func (s *Store) openVisits(ctx context.Context, since int64, limit int, fn func(*event.Event) error) error {
	sn := s.Snapshot()
	defer sn.Release()
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	defer discardConn(conn) // and the table with it
	relation := sn.Relation("", since, 0)
	text := strings.ReplaceAll(openVisitsSQL, "{{events}}", relation)
	if _, err := conn.ExecContext(ctx, text, sql.Named("since", since), sql.Named("limit", int64(limit))); err != nil {
		return err
	}
	text = fmt.Sprintf(`SELECT %s FROM %s AS events SEMI JOIN (SELECT seq FROM ends WHERE seq > $1 ORDER BY seq LIMIT %d) USING (seq) ORDER BY seq`,
		scanList, relation, rowsAtOnce)
	d := newDecoder(true)
	for after, more := int64(0), true; more; {
		more = false
		err := records(ctx, conn, text, []any{after}, func(rec arrow.RecordBatch) error {
			rec, err := retyped(rec)
			if err != nil {
				return err
			}
			defer rec.Release()
			for row := range int(rec.NumRows()) {
				e := d.event(rec, row)
				after, more = e.Seq, true
				if err := fn(e); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
