package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

// Bounds of compaction. A part that holds half of what a part may hold is left
// alone; today's parts are merged when there are manyParts, because there will be
// more of them anyway. A part of more than cheapRows or cheapBytes is only written
// again when that is worth it (see worthMerging).
const (
	maxPartRows  = 2_000_000
	maxPartBytes = 256 << 20
	maxMerge     = 64 // parts merged at once: each of them is an open file
	manyParts    = 16
	cheapRows    = 32 << 10
	cheapBytes   = 4 << 20
	fewParts     = 8 // beside a large one
)

// Compact merges small parts of one day: of a day that is over as far as that is
// worth it, of today when they have become many. Each merge is committed by
// itself. It returns how many parts have been replaced.
//
// First it looks at every part, as Open does: one that has been lost would fail
// every question about its day. One that turns out to be damaged when it is merged
// goes into quarantine too; the others of its day are merged next time.
func (s *Store) Compact(ctx context.Context) (n int, err error) {
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	if err := s.usable(); err != nil {
		return 0, fmt.Errorf("compact: %w", err)
	}
	if _, err := s.recheck(ctx); err != nil {
		return 0, fmt.Errorf("compact: %w", err)
	}
	for _, group := range s.mergeable() {
		if err := ctx.Err(); err != nil {
			return n, fmt.Errorf("compact: %w", err)
		}
		err := s.merge(ctx, group)
		if err == nil {
			n += len(group)
		} else if err = s.convict(ctx, group, err); err != nil {
			return n, fmt.Errorf("compact %s: %w", group[0].Day, err)
		}
	}
	return n, nil
}

// mergeable returns the groups of parts that are to become one each.
func (s *Store) mergeable() [][]event.Part {
	s.mu.Lock()
	parts := s.view.parts
	s.mu.Unlock()
	today := event.DayOf(s.opts.Now().UnixMicro())
	var groups [][]event.Part
	for len(parts) > 0 {
		n := 1
		for n < len(parts) && parts[n].Day == parts[0].Day {
			n++
		}
		least := 2
		if parts[0].Day >= today {
			least = manyParts
		}
		groups = append(groups, binned(parts[:n], least)...)
		parts = parts[n:]
	}
	return groups
}

// binned divides the small ones of a day's parts into groups that make one part
// each, or returns nothing if there are fewer than least of them. The largest are
// left out as long as merging them with the others is not worth it.
func binned(parts []event.Part, least int) [][]event.Part {
	var small []event.Part
	for _, p := range parts {
		if p.Rows < maxPartRows/2 && p.Bytes < maxPartBytes/2 {
			small = append(small, p)
		}
	}
	if len(small) < least {
		return nil
	}
	slices.SortStableFunc(small, func(a, b event.Part) int { return cmp.Compare(b.Rows, a.Rows) })
	for len(small) > 0 && !worthMerging(small) {
		small = small[1:]
	}
	if len(small) == 0 {
		return nil
	}
	var groups [][]event.Part
	var group []event.Part
	var rows, size int64
	for _, p := range small {
		if len(group) == maxMerge || rows+p.Rows > maxPartRows || size+p.Bytes > maxPartBytes {
			groups, group, rows, size = append(groups, group), nil, 0, 0
		}
		group, rows, size = append(group, p), rows+p.Rows, size+p.Bytes
	}
	groups = append(groups, group)
	return slices.DeleteFunc(groups, func(g []event.Part) bool { return len(g) < 2 })
}

// worthMerging says whether parts, of which the first is the largest, are to be
// merged. Without this a late event would have half a million others of its day
// written again. With it an event is written again when its part grows by a
// quarter, so that its copies are logarithmic in the size of the day, as are the
// parts of a day.
func worthMerging(parts []event.Part) bool {
	rest := parts[1:]
	cheap := parts[0].Rows <= cheapRows && parts[0].Bytes <= cheapBytes
	return cheap || len(rest) >= fewParts || rowsOf(rest) >= parts[0].Rows/4
}

// merge replaces a group of parts by one.
func (s *Store) merge(ctx context.Context, group []event.Part) error {
	began := time.Now()
	fault.Point("compact: before part")
	part, err := s.wrote(s.parts.Merge(ctx, group[0].Day, group, nil))
	if err != nil {
		return err
	}
	fault.Point("compact: part written")
	if want := rowsOf(group); part.Rows != want {
		s.unwrite([]event.Part{part})
		return fmt.Errorf("merged part has %d events, want %d", part.Rows, want)
	}
	if err := s.replace(ctx, []event.Part{part}, group); err != nil {
		return err
	}
	fault.Point("compact: committed")
	s.mu.Lock()
	s.stats.compactions++
	s.stats.compact = Work{At: s.opts.Now(), Took: time.Since(began), Events: part.Rows, Parts: 1}
	s.mu.Unlock()
	return nil
}

func rowsOf(parts []event.Part) (rows int64) {
	for i := range parts {
		rows += parts[i].Rows
	}
	return rows
}

// replace makes one change of the history: parts that are on disk come, others
// go. Their files are deleted when no snapshot is left that reads them.
func (s *Store) replace(ctx context.Context, add, remove []event.Part) error {
	removed := make(map[int64]bool, len(remove))
	c := ledger.Change{Add: add}
	var paths []string
	for _, p := range remove {
		removed[p.ID] = true
		c.Remove = append(c.Remove, p.ID)
		paths = append(paths, p.Path)
	}
	fault.Point("replace: before commit")
	added, err := s.commit(ctx, c)
	if err != nil {
		return err
	}
	fault.Point("replace: committed")
	s.change(func(v *view) trash {
		v.parts = merged(v.parts, added, removed)
		v.damaged = merged(v.damaged, nil, removed)
		return trash{paths: paths}
	})
	return nil
}

// Retain removes the days before a day, as wholes, those in quarantine too, and
// returns how many parts that were. It publishes first, so that hot events of
// those days go as well; one that comes in later goes with the next Retain. If
// nothing can be published the days go all the same, and the error is returned:
// on a full volume that is what makes room.
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
	if err := s.replace(ctx, nil, old); err != nil {
		return 0, err
	}
	fault.Point("retain: committed")
	return len(old), nil
}

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

// ErrEraseNothing is returned by [Store.Erase] for an [Erasure] that names
// nothing, which would be everything.
var ErrEraseNothing = errors.New("the erasure names no site, time, visitor or user")

// ErrEraseDamaged is returned by [Store.Erase] when a part in quarantine may hold
// such events. All others are erased. Restore the part and erase again, or let
// retention remove it.
var ErrEraseDamaged = errors.New("a damaged part may hold events to be erased")

// BUG(store): the journal's rows of erased events are deleted, but their bytes stay
// in free pages of ledger.db until the journal uses those again, and the hashes of
// their ids in the idempotency window until they leave it.

// Erase removes the events that the journal, the lens and the parts hold now, in
// one ledger transaction, and returns how many that were. No snapshot that is
// taken afterwards has them; their files are gone when the last snapshot from
// before is released. An event that comes in meanwhile may stay.
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
	if len(remove) > 0 {
		if err := s.replace(ctx, add, remove); err != nil {
			return 0, err
		}
		fault.Point("erase: committed")
	}
	return rows, s.spared(e)
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

// check divides parts into those that can be read and those that cannot, and
// notes in the ledger what has changed.
func (s *Store) check(ctx context.Context, parts []event.Part) (sound, damaged []event.Part, err error) {
	const workers = 8 // mostly waiting for the disk
	found := make([]error, len(parts))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(parts); i += workers {
				found[i] = s.inspect(ctx, parts[i])
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil { // which may be what was found
		return nil, nil, err
	}
	for i, p := range parts {
		if p, err = s.judge(ctx, p, found[i]); err != nil {
			return nil, nil, err
		}
		if p.Damaged == "" {
			sound = append(sound, p)
		} else {
			damaged = append(damaged, p)
		}
	}
	return merged(sound, nil, nil), merged(damaged, nil, nil), nil
}

// inspect looks at a part: briefly if it is sound, and at all of it if it is in
// quarantine. What brought it there may be a byte that a brief look does not see,
// and to let it out after one would be to serve what is known to be wrong.
func (s *Store) inspect(ctx context.Context, p event.Part) error {
	if p.Damaged == "" {
		return s.parts.Check(p)
	}
	return s.parts.Verify(ctx, p)
}

// judge puts a part into quarantine, or lets it out, by what looking at it has
// found.
func (s *Store) judge(ctx context.Context, p event.Part, found error) (event.Part, error) {
	why := ""
	if found != nil {
		why = found.Error()
	}
	if (why == "") == (p.Damaged == "") {
		return p, nil
	}
	fault.Point("quarantine: before")
	if err := s.ledger.Quarantine(ctx, p.ID, why); err != nil {
		return p, fmt.Errorf("quarantine part: %w", err)
	}
	fault.Point("quarantine: after")
	if why == "" {
		s.log.Warn("part is sound again and is served", "path", p.Path)
	} else {
		s.log.Error("part is damaged: its events are missing until it is restored", "path", p.Path, "err", found)
	}
	p.Damaged = why
	return p, nil
}

// recheck looks at every part again, as Open does, with maintaining held. It
// returns how many went into quarantine or came out.
func (s *Store) recheck(ctx context.Context) (changed int, err error) {
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	sound, damaged, err := s.check(ctx, slices.Concat(v.parts, v.damaged))
	if err != nil {
		return 0, err
	}
	for i := range damaged {
		if !slices.ContainsFunc(v.damaged, func(p event.Part) bool { return p.ID == damaged[i].ID }) {
			changed++
		}
	}
	changed += len(v.damaged) - (len(damaged) - changed)
	s.change(func(v *view) trash {
		v.parts, v.damaged = sound, damaged
		return trash{}
	})
	return changed, nil
}

// VerifyParts reads every byte and every row of every part, which takes a while,
// and returns those that are not what the ledger says; they are in quarantine
// then. It calls progress, if not nil, after each part. Parts that go or come
// meanwhile are left out.
func (s *Store) VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error) {
	sn := s.Snapshot()
	defer sn.Release() // keeps the files
	all := slices.Concat(sn.Parts(), sn.Degraded())
	var damaged []event.Part
	for i, p := range all {
		found := s.parts.Verify(ctx, p)
		if err := ctx.Err(); err != nil {
			return damaged, fmt.Errorf("verify parts: %w", err)
		}
		if found != nil {
			p.Damaged = found.Error()
			damaged = append(damaged, p)
		}
		s.maintaining.Lock()
		err := s.rejudge(ctx, all[i], found)
		s.maintaining.Unlock()
		if err != nil {
			return damaged, fmt.Errorf("verify parts: %w", err)
		}
		if progress != nil {
			progress(i+1, len(all))
		}
	}
	return damaged, nil
}

// convict puts the one of parts into quarantine in which err has found damage. It
// returns err if it is not about one of them. It is called with maintaining held.
func (s *Store) convict(ctx context.Context, parts []event.Part, err error) error {
	damage, ok := errors.AsType[*history.DamageError](err)
	if !ok {
		return err
	}
	i := slices.IndexFunc(parts, func(p event.Part) bool { return p.Path == damage.Path })
	if i < 0 {
		return err
	}
	return s.rejudge(ctx, parts[i], damage)
}

// rejudge is judge for a part that the store already serves, or does not, with
// maintaining held.
func (s *Store) rejudge(ctx context.Context, p event.Part, found error) error {
	if (found == nil) == (p.Damaged == "") {
		return nil
	}
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	here := func(q event.Part) bool { return q.ID == p.ID }
	if !slices.ContainsFunc(v.parts, here) && !slices.ContainsFunc(v.damaged, here) {
		return nil // replaced meanwhile
	}
	p, err := s.judge(ctx, p, found)
	if err != nil {
		return err
	}
	s.change(func(v *view) trash {
		all := merged(slices.Concat(v.parts, v.damaged), []event.Part{p}, map[int64]bool{p.ID: true})
		v.parts, v.damaged = nil, nil
		for _, q := range all {
			if q.Damaged == "" {
				v.parts = append(v.parts, q)
			} else {
				v.damaged = append(v.damaged, q)
			}
		}
		return trash{}
	})
	return nil
}
