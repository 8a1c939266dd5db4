package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
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
	s.pace.begin()
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
	if err := s.replace(ctx, s.rearrange, ledger.Change{Add: []event.Part{part}}, group); err != nil {
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
// go. Their files are deleted when no snapshot is left that reads them. how is
// [Store.rearrange] if they hold the same events.
func (s *Store) replace(ctx context.Context, how func(func(v *view) trash), c ledger.Change, remove []event.Part) error {
	removed := make(map[int64]bool, len(remove))
	var paths []string
	for _, p := range remove {
		removed[p.ID] = true
		c.Remove = append(c.Remove, p.ID)
		paths = append(paths, p.Path)
	}
	s.replacing.Lock()
	defer s.replacing.Unlock()
	fault.Point("replace: before commit")
	added, err := s.commit(ctx, c)
	if err != nil {
		return err
	}
	fault.Point("replace: committed")
	how(func(v *view) trash {
		v.parts = merged(v.parts, added, removed)
		v.damaged = merged(v.damaged, nil, removed)
		return trash{paths: paths}
	})
	return nil
}
