package store

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

// A view is one state of the store. All but refs, next and trash are fixed once
// it is the current one; its slices are shared with other views.
type view struct {
	parts     []event.Part // that can be read, by day and first seq
	damaged   []event.Part // that are quarantined
	published int64        // every event up to here is in a part
	flushed   int64        // every event up to here is in a part or a hot row
	hot       []generation // oldest first; the last one is filled

	// Guarded by Store.mu.
	refs  int   // snapshots that hold it
	next  *view // the one that replaced it
	trash trash // what nobody needs once this view and all before it are gone
}

// trash is what is to be deleted: files of the history and tables of a lens.
type trash struct {
	paths  []string
	tables []string
	spans  []int64 // rollups: their rows go when the next ones are worked out
	lens   *lens   // of the tables and the spans
}

// change replaces the current view by a copy that f has changed. f must not
// change the slices, only replace them; what it returns is deleted when no
// snapshot is left that might read it. Every answer may be another one after it.
func (s *Store) change(f func(v *view) trash) {
	s.swap(f, func(bool) { s.versions.all() })
}

// rearrange is change where f leaves every event as it is and only moves it.
// Should more events be seen than before, it is a change all the same.
func (s *Store) rearrange(f func(v *view) trash) {
	s.swap(f, func(more bool) {
		if more {
			s.versions.all()
		}
	})
}

// bring is change where f adds a batch and nothing else.
func (s *Store) bring(batch []event.Event, f func(v *view) trash) {
	s.swap(f, func(bool) { s.versions.some(batch) })
}

// swap calls noted with whether more events are flushed than before, in
// the same moment in which the new view can be seen.
func (s *Store) swap(f func(v *view) trash, noted func(more bool)) {
	s.mu.Lock()
	v := *s.view
	v.refs, v.next, v.trash = 0, nil, trash{}
	s.view.trash = f(&v)
	s.view.next = &v
	noted(v.flushed != s.view.flushed)
	s.view = &v
	s.mu.Unlock()
	s.discard()
}

// discard deletes the trash of the views that nobody holds any more. A view
// waits for all the views before it, because they may read the same files.
func (s *Store) discard() {
	s.mu.Lock()
	var all []trash
	for s.oldest != s.view && s.oldest.refs == 0 {
		all = append(all, s.oldest.trash)
		s.oldest = s.oldest.next
	}
	s.mu.Unlock()
	for _, t := range all {
		if len(t.paths) > 0 || len(t.tables)+len(t.spans) > 0 {
			s.delete(t)
		}
	}
}

func (s *Store) delete(t trash) {
	s.discarding.Lock()
	defer s.discarding.Unlock()
	s.mu.Lock()
	lens, closed := s.lens, s.closed
	s.mu.Unlock()
	if closed { // the next Open deletes them
		return
	}
	for _, path := range t.paths {
		fault.Point("discard: before unlink")
		if err := s.parts.Remove(path); err != nil {
			s.log.Warn("part that is no longer needed stays until the next start", "path", path, "err", err)
		}
		fault.Point("discard: unlinked")
	}
	if lens == nil || lens != t.lens { // they went with their lens
		return
	}
	lens.rollups.bury(t.spans)
	for _, table := range t.tables {
		if _, err := lens.db.ExecContext(context.Background(), "DROP TABLE IF EXISTS "+table); err != nil {
			s.log.Warn("hot rows that are no longer needed stay in memory", "err", err)
		}
	}
}

// A Snapshot is the events of one moment: all that had been flushed when it was
// taken, and nothing else, for as long as it is held, whatever happens to the
// store in between. Its methods are safe for concurrent use until Release.
type Snapshot struct {
	s *Store
	v *view
}

// Snapshot returns the present. Release it soon: files and memory that are no
// longer needed wait for it.
func (s *Store) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.refs++
	return &Snapshot{s: s, v: s.view}
}

// Release lets go of the snapshot. It may be called again.
func (sn *Snapshot) Release() {
	sn.s.mu.Lock()
	held := sn.v != nil
	if held {
		sn.v.refs--
		sn.v = nil
	}
	sn.s.mu.Unlock()
	if held {
		sn.s.discard()
	}
}

// Parts returns the parts that are read, by day. The slice is shared.
func (sn *Snapshot) Parts() []event.Part { return sn.v.parts }

// Degraded returns the parts that are missing or damaged and whose events are
// therefore not in the snapshot. The slice is shared.
func (sn *Snapshot) Degraded() []event.Part { return sn.v.damaged }

// Flushed returns the Seq of the newest event.
func (sn *Snapshot) Flushed() int64 { return sn.v.flushed }

// Published returns the Seq up to which events are in parts.
func (sn *Snapshot) Published() int64 { return sn.v.published }

// Relation returns the SQL of a table expression in parentheses, with all of
// [event.Columns] in their order, that holds the snapshot's events. Parts that
// hold nothing of site or of the times from ≤ time < to (µs) are left out; rows
// are not filtered, so the caller still says so in its WHERE. An empty site
// means all of them, a zero from or to an open end.
func (sn *Snapshot) Relation(site string, from, to int64) string {
	var b strings.Builder
	b.WriteByte('(')
	paths := sn.paths(site, from, to)
	if len(paths) > 0 {
		b.WriteString("SELECT " + columnList + " FROM read_parquet([")
		b.WriteString(strings.Join(paths, ","))
		b.WriteString("], hive_partitioning=false, filename=false, union_by_name=false)")
	}
	bounds := " WHERE seq > " + strconv.FormatInt(sn.v.published, 10) + " AND seq <= " + strconv.FormatInt(sn.v.flushed, 10)
	for _, g := range sn.v.hot {
		if g.rows == 0 {
			continue
		}
		if b.Len() > 1 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT " + columnList + " FROM " + g.table + bounds)
	}
	if b.Len() == 1 {
		b.WriteString(emptyRelation)
	}
	b.WriteByte(')')
	return b.String()
}

// paths returns SQL literals of the files that may hold events of site between
// from and to.
func (sn *Snapshot) paths(site string, from, to int64) []string {
	var paths []string
	for i := range sn.v.parts {
		if overlaps(&sn.v.parts[i], site, from, to) {
			paths = append(paths, sn.s.literal(sn.v.parts[i].Path))
		}
	}
	return paths
}

// overlaps says whether a part may hold events of site with from ≤ time < to.
func overlaps(p *event.Part, site string, from, to int64) bool {
	if from != 0 && p.MaxTime < from || to != 0 && p.MinTime >= to {
		return false
	}
	if site == "" {
		return true
	}
	_, found := slices.BinarySearch(p.Sites, site)
	return found
}

// degraded returns a part that is not in the snapshot and may hold events of site
// with from ≤ time < to, or nil.
func (sn *Snapshot) degraded(site string, from, to int64) *event.Part {
	for i := range sn.v.damaged {
		if overlaps(&sn.v.damaged[i], site, from, to) {
			return &sn.v.damaged[i]
		}
	}
	return nil
}

// path returns the whole path of a part, by which DuckDB knows it.
func (s *Store) path(part string) string { return filepath.Join(s.opts.Dir, filepath.FromSlash(part)) }

// literal returns the SQL literal of a part's whole path.
func (s *Store) literal(part string) string { return quote(s.path(part)) }

// quote returns the SQL literal of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
