package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/ledger"
)

// An Erasure says which events are to be erased: those that meet all of its
// fields that are set. At least one must be.
type Erasure struct {
	Site     string
	From, To int64 // µs, From ≤ time < To; 0 is an open end
	Visitor  event.ID
	User     event.ID
}

func (e *Erasure) holds(x *event.Event) bool {
	return (e.Site == "" || x.Site == e.Site) &&
		(e.From == 0 || x.Time >= e.From) && (e.To == 0 || x.Time < e.To) &&
		(e.Visitor.IsZero() || x.Visitor == e.Visitor) && (e.User.IsZero() || x.User == e.User)
}

// where is holds in SQL.
func (e *Erasure) where() string {
	terms := []string{"true"}
	if e.Site != "" {
		terms = append(terms, "site = "+quote(e.Site))
	}
	if e.From != 0 {
		terms = append(terms, fmt.Sprintf(`epoch_us("time") >= %d`, e.From))
	}
	if e.To != 0 {
		terms = append(terms, fmt.Sprintf(`epoch_us("time") < %d`, e.To))
	}
	if !e.Visitor.IsZero() {
		terms = append(terms, "visitor = "+quote(e.Visitor.String())+"::UUID")
	}
	if !e.User.IsZero() {
		terms = append(terms, `"user" = `+quote(e.User.String())+"::UUID")
	}
	return strings.Join(terms, " AND ")
}

// entry is what the audit chain says of an erasure: how much was erased, and not
// whose it was.
func (e *Erasure) entry(ctx context.Context, rows int64, parts int) audit.Entry {
	out := audit.Entry{Kind: audit.DataErase, By: audit.From(ctx), Detail: map[string]string{
		"rows": strconv.FormatInt(rows, 10), "parts": strconv.Itoa(parts),
	}}
	if e.Site != "" {
		out.Object = "site:" + e.Site
	}
	switch {
	case !e.User.IsZero():
		out.Detail["of"] = "a user"
	case !e.Visitor.IsZero():
		out.Detail["of"] = "a visitor"
	}
	for name, at := range map[string]int64{"from": e.From, "to": e.To} {
		if at != 0 {
			out.Detail[name] = time.UnixMicro(at).UTC().Format(time.RFC3339)
		}
	}
	return out
}

// ErrEraseNothing is returned by [Store.Erase] for an [Erasure] that names
// nothing, which would be everything.
var ErrEraseNothing = errors.New("the erasure names no site, time, visitor or user")

// ErrEraseDamaged is returned by [Store.Erase] when a part in quarantine may hold
// such events. All others are erased. Restore the part and erase again, or let
// retention remove it.
var ErrEraseDamaged = errors.New("a damaged part may hold events to be erased")

// BUG(store): the journal's rows of erased events are deleted, but their bytes stay
// in free pages of ledger.db until the journal uses those again, and the hashes of
// their ids in the idempotency window until they leave it. Sums and lists of users of
// the days concerned are read no more, but stay in lens.duckdb until [Store.Rollup] has
// worked them out again.

// Erase removes the events that the journal, the lens and the parts hold now, in
// one ledger transaction, and returns how many that were. No snapshot that is
// taken afterwards has them; their files are gone when the last snapshot from
// before is released. The audit chain has an entry that it is done, in the same
// transaction; ctx says by whom. An event that comes in meanwhile may stay.
func (s *Store) Erase(ctx context.Context, e Erasure) (rows int64, err error) {
	if e == (Erasure{}) {
		return 0, fmt.Errorf("erase: %w", ErrEraseNothing)
	}
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	// What is acknowledged but not flushed yet. The lens cannot give that up half-way.
	if err := s.catchUp(context.WithoutCancel(ctx)); err != nil {
		return 0, fmt.Errorf("erase: %w", err)
	}
	if _, err := s.publish(ctx); err != nil {
		return 0, fmt.Errorf("erase: %w", err)
	}
	if rows, err = s.erase(ctx, e); err != nil {
		return rows, fmt.Errorf("erase: %w", err)
	}
	return rows, nil
}

// erase is Erase for what is in parts, which everything is.
func (s *Store) erase(ctx context.Context, e Erasure) (rows int64, err error) {
	touched, err := s.touched(ctx, e)
	if err != nil {
		return 0, err
	}
	var add, remove []event.Part
	for i, p := range touched {
		fault.Point("erase: before part")
		part, err := s.wrote(s.parts.Merge(ctx, p.Day, []event.Part{p}, func(x *event.Event) bool { return !e.holds(x) }))
		if err != nil {
			if err = s.convict(ctx, touched[i:i+1], err); err == nil {
				continue // see spared
			}
			s.unwrite(add)
			return 0, err
		}
		fault.Point("erase: part written")
		if part.Rows == p.Rows {
			s.unwrite([]event.Part{part})
			continue
		}
		if part.Path != "" {
			add = append(add, part)
		}
		remove = append(remove, p)
		rows += p.Rows - part.Rows
	}
	entry := e.entry(ctx, rows, len(remove))
	c := ledger.Change{Add: add, Entry: &entry, Withdraw: s.withdrawal(e)}
	if len(remove) == 0 {
		// A copy may have what is not here any more: one that was restored.
		if _, err := s.commit(ctx, c); err != nil {
			return 0, err
		}
		return 0, s.spared(e)
	}
	if err := s.replace(ctx, s.change, c, remove); err != nil {
		return 0, err
	}
	fault.Point("erase: committed")
	return rows, s.spared(e)
}

// withdrawal is what a copy of the events has to follow: an erasure of what is published
// now, also of what a damaged part keeps from being erased here. It is called with
// maintaining held.
func (s *Store) withdrawal(e Erasure) *ledger.Withdrawal {
	sn := s.Snapshot()
	defer sn.Release()
	return &ledger.Withdrawal{Upto: sn.Published(), Site: e.Site, From: e.From, To: e.To, Visitor: e.Visitor, User: e.User}
}

// spared returns an error that names a damaged part in which e may hold.
func (s *Store) spared(e Erasure) error {
	sn := s.Snapshot()
	defer sn.Release()
	if p := sn.degraded(e.Site, e.From, e.To); p != nil {
		return fmt.Errorf("%w: %s", ErrEraseDamaged, p.Path)
	}
	return nil
}

// touched returns the parts that hold events to be erased, and perhaps a few that
// do not. DuckDB finds a visitor much faster than rewriting a part would.
func (s *Store) touched(ctx context.Context, e Erasure) ([]event.Part, error) {
	list := s.candidates(e)
	if len(list) == 0 || e.Visitor.IsZero() && e.User.IsZero() {
		return list, nil
	}
	held, err := s.partsWith(ctx, list, e.where())
	if err == nil || ctx.Err() != nil {
		return held, err
	}
	// A part that has been lost since the last look must not keep the others.
	if n, checkErr := s.recheck(ctx); n == 0 || checkErr != nil {
		return nil, errors.Join(err, checkErr)
	}
	if list = s.candidates(e); len(list) == 0 {
		return nil, nil
	}
	return s.partsWith(ctx, list, e.where())
}

// candidates returns the parts that may hold events to be erased, by what the
// ledger says of them.
func (s *Store) candidates(e Erasure) []event.Part {
	sn := s.Snapshot()
	defer sn.Release()
	return slices.DeleteFunc(slices.Clone(sn.Parts()), func(p event.Part) bool { return !overlaps(&p, e.Site, e.From, e.To) })
}

// partsWith returns those of parts in which a row meets a condition.
func (s *Store) partsWith(ctx context.Context, parts []event.Part, where string) ([]event.Part, error) {
	conn, err := s.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var literals []string
	byName := make(map[string]event.Part, len(parts))
	for _, p := range parts {
		literals = append(literals, s.literal(p.Path))
		byName[s.path(p.Path)] = p
	}
	rows, err := conn.QueryContext(ctx, "SELECT DISTINCT filename FROM read_parquet(["+strings.Join(literals, ",")+
		"], hive_partitioning=false, filename=true) WHERE "+where)
	if err != nil {
		return nil, fmt.Errorf("look for events: %w", err)
	}
	defer rows.Close()
	var held []event.Part
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("look for events: %w", err)
		}
		p, known := byName[name]
		if !known { // to overlook it would be to erase less than was asked for
			return nil, fmt.Errorf("look for events: DuckDB found some in %s, which is no part", name)
		}
		held = append(held, p)
	}
	return held, rows.Err()
}
