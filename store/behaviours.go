package store

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"math"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// How a behavioural question is answered: DuckDB filters the events and says of
// each which conditions hold for it, and the machines of package behaviour get
// the rest, unit by unit. Three things bound the memory, whatever the range:
//
//   - Visitors are of one local day, so some whole days at once will do; likewise
//     visits that began in some days. Users are taken all days together.
//   - What is read at once is a share of DuckDB's memory, as it hands over the
//     result of a statement as a whole.
//   - A day, or all of the users, beyond that is taken in several passes, each
//     over the units of one residue of a hash of their id.

//go:embed behaviours.sql
var behavioursSQL string

// filterBit says in a mask that the scope's filter holds.
const filterBit = 1 << 40

// A room is the bounds of the memory that an answer takes.
type room struct {
	rows int // of one statement

	// links of a flow that are counted while it is not known yet which nodes are
	// among the first. Beyond, the question is asked twice: for the nodes and then
	// for the links between those that are shown.
	links int
}

// room leaves most of DuckDB's memory to others: a row takes about 100 bytes of
// it while it is handed over.
func (s *Store) room() room {
	return room{rows: int(min(max(s.opts.MemoryLimit>>9, 32<<10), 512<<10)), links: 1 << 19}
}

// A reading is which rows a behavioural question needs.
type reading struct {
	room
	scope      event.Scope
	conditions []event.Filter  // bit n of the mask
	value      event.Dimension // "" needs none
	valued     uint64          // bits of which one must be set for the value to matter
	all        bool            // rows without any bit too
	first      bool            // units without an event of the first condition do not matter, and are not many
	listed     roster          // of a brief one
	cells      []int64         // all that matters of a unit is between which of these times it has events; nil: when they were

	from, to int64   // of the rows; both known
	starts   []int64 // local midnights from the one at or before from on, and the end
}

// A units gets the events of one unit, and the texts of their values: Value n is
// the nth, 0 if there is none. It may use the slices until it returns.
type units func(events []behaviour.Event, values []string) error

// behave asks a question: it calls each for every unit that the scope's filter lets
// through.
func (s *Store) behave(ctx context.Context, r reading, sn *Snapshot, each units) error {
	p := &passes{s: s, sn: sn, r: &r}
	if _, err := p.bind(slice{from: 1, to: 1}, 0, 1); err != nil { // also if there is nothing to ask
		return err
	}
	if err := s.ends(ctx, sn, &r); err != nil || r.from >= r.to {
		return err
	}
	p.cut()
	return asked(p.run(ctx, each))
}

// about says what is to be said of every answer.
func about(sn *Snapshot, sc event.Scope) event.About {
	a := event.About{Unit: sc.Unit, Plan: event.PlanRaw, Seq: sn.Flushed(), Degraded: sn.missing(sc.Site, sc.From, sc.To)}
	if sc.Unit == event.PerUser {
		a.Caveat = "only events with a user id that the site sent are counted"
	}
	return a
}

// ends closes the open ends of a reading, and cuts off what is before and after
// all events. It leaves from ≥ to if there are none.
func (s *Store) ends(ctx context.Context, sn *Snapshot, r *reading) error {
	first, last, err := s.extent(ctx, sn, r.scope.Site)
	if err != nil {
		return err
	}
	if r.scope.Unit == event.PerVisit && first <= last { // it may have begun before the events that are left of it
		first, last = first-plan.Ahead, last+plan.Behind
	}
	if r.from == 0 || r.from < first {
		r.from = first
	}
	if r.to == 0 || r.to > last+1 {
		r.to = last + 1
	}
	if r.from >= r.to {
		return nil
	}
	if r.starts, err = event.Buckets(r.from, r.to, r.scope.Zone, event.Daily); err != nil {
		return err
	}
	r.starts = append(r.starts, r.to)
	return nil
}

// rangeOf returns the ends of a scope's range, or those of all events where it has
// none; from ≥ to if there are no events either.
func (s *Store) rangeOf(ctx context.Context, sn *Snapshot, sc event.Scope) (from, to int64, err error) {
	if sc.From != 0 && sc.To != 0 {
		return sc.From, sc.To, nil
	}
	first, last, err := s.extent(ctx, sn, sc.Site)
	return cmp.Or(sc.From, first), cmp.Or(sc.To, last+1), err
}

// extent returns times between which all events of a site are, and the first day
// of 1970 if there are none.
func (s *Store) extent(ctx context.Context, sn *Snapshot, site string) (first, last int64, err error) {
	first, last = math.MaxInt64, math.MinInt64
	for i := range sn.v.parts {
		if p := &sn.v.parts[i]; overlaps(p, site, 0, 0) {
			first, last = min(first, p.MinTime), max(last, p.MaxTime)
		}
	}
	hot := sn.window(sn.v.published, sn.v.flushed).Relation(site, 0, 0)
	text := `SELECT coalesce(min(epoch_us("time")), $2), coalesce(max(epoch_us("time")), $3) FROM ` + hot + " AS events WHERE site = $1"
	err = s.query(ctx, text, []any{site, first, last}, func(rows *sql.Rows) error {
		var a, b int64
		err := rows.Scan(&a, &b)
		first, last = min(first, a), max(last, b)
		return err
	})
	if first > last {
		first, last = 0, -1
	}
	return first, last, err
}
