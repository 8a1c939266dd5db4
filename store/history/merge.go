package history

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/eider-analytics/eider/store/event"
)

const (
	mergeBytes = 48 << 20 // what the readers of one pass may take together
	mergeFiles = 64       // how many there may be
	mergeBatch = 64       // events each of them decodes at a time
)

// Merge writes the events of parts for which keep returns true, or all if it is
// nil, as one new part of their day, and leaves the old ones as they are. It
// streams: many or large parts are merged in several passes, through files in
// tmp/. Keep is called once for each event and must not change it or hold on to
// it. If nothing is kept there is no file, Rows is 0 and Path is empty. Damage
// of any part ends the merge with its [*DamageError].
func (d *Dir) Merge(ctx context.Context, day event.Day, parts []event.Part, keep func(*event.Event) bool) (event.Part, error) {
	part, err := d.merge(ctx, day, parts, keep)
	if err != nil {
		return event.Part{}, fmt.Errorf("merge %d parts of %s: %w", len(parts), day, err)
	}
	return part, nil
}

func (d *Dir) merge(ctx context.Context, day event.Day, parts []event.Part, keep func(*event.Event) bool) (part event.Part, err error) {
	var temp []event.Part // of the last pass
	defer func() {
		if rmErr := d.removeAll(temp); err == nil && rmErr != nil {
			err = rmErr
		}
	}()
	for {
		groups, err := d.group(parts)
		if err != nil {
			return event.Part{}, err
		}
		if len(groups) <= 1 {
			return d.write(ctx, day, d.merged(ctx, parts, keep))
		}
		next, err := d.pass(ctx, day, groups, keep)
		err = errors.Join(err, d.removeAll(temp))
		parts, temp, keep = next, next, nil
		if err != nil {
			return event.Part{}, err
		}
	}
}

// pass merges each group into one file in tmp/, which needs no sync.
func (d *Dir) pass(ctx context.Context, day event.Day, groups [][]event.Part, keep func(*event.Event) bool) (next []event.Part, err error) {
	for _, g := range groups {
		part, err := d.draft(ctx, day, false, d.merged(ctx, g, keep))
		if err != nil {
			return next, err
		}
		if part.Rows > 0 {
			next = append(next, part)
		}
	}
	return next, nil
}

func (d *Dir) removeAll(parts []event.Part) (err error) {
	for _, p := range parts {
		err = errors.Join(err, removeIfThere(d.fs, p.Path))
	}
	return err
}

// group splits parts into groups that can be read at once, of at least two each
// but for the last.
func (d *Dir) group(parts []event.Part) (groups [][]event.Part, err error) {
	parts = slices.SortedFunc(slices.Values(parts), func(a, b event.Part) int { return cmp.Compare(a.First, b.First) })
	start, total := 0, int64(0)
	for i, p := range parts {
		size, err := d.readerSize(p)
		if err != nil {
			return nil, err
		}
		if n := i - start; n >= mergeFiles || n >= 2 && total+size > mergeBytes {
			groups = append(groups, parts[start:i])
			start, total = i, 0
		}
		total += size
	}
	if start < len(parts) {
		groups = append(groups, parts[start:])
	}
	return groups, nil
}

// readerSize estimates from above what a reader of the part takes: its batch,
// its largest row group decompressed, and that again for the dictionaries'
// copies.
func (d *Dir) readerSize(part event.Part) (int64, error) {
	f, err := d.openFile(part)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	pf, err := footer(f, part)
	if err != nil {
		return 0, err
	}
	var largest int64
	for _, g := range pf.Metadata().RowGroups {
		largest = max(largest, g.TotalByteSize)
	}
	return mergeBatch<<10 + 2*largest, nil
}

// merged returns the events of parts in order. It reads all of them at once.
func (d *Dir) merged(ctx context.Context, parts []event.Part, keep func(*event.Event) bool) eventSeq {
	return func(yield func(event.Event, error) bool) {
		var h sources
		defer func() {
			for _, s := range h {
				s.close()
			}
		}()
		for _, p := range parts {
			r, err := d.open(ctx, p, mergeBatch, nil)
			if err != nil {
				yield(event.Event{}, err)
				return
			}
			h = append(h, &source{reader: r})
			if err := h[len(h)-1].advance(); err != nil {
				yield(event.Event{}, err)
				return
			}
		}
		heap.Init(&h)
		for len(h) > 0 && h[0].head != nil {
			e := h[0].head
			if (keep == nil || keep(e)) && !yield(*e, nil) {
				return
			}
			if err := h[0].advance(); err != nil {
				yield(event.Event{}, err)
				return
			}
			heap.Fix(&h, 0)
		}
	}
}

// A source is a part that is being merged.
type source struct {
	*reader
	head *event.Event // the next one; nil after the last
	key  rowKey
}

func (s *source) advance() (err error) {
	if s.head, err = s.next(); s.head != nil {
		s.key = keyOf(s.head)
	}
	return err
}

// sources are a heap by the key of their next event; those that have none are
// last.
type sources []*source

func (h sources) Len() int      { return len(h) }
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h sources) Push(any)      { panic("history: internal error: a merge gets no new source") }
func (h sources) Pop() any      { panic("history: internal error: a merge loses no source") }

func (h sources) Less(i, j int) bool {
	if h[i].head == nil || h[j].head == nil {
		return h[i].head != nil
	}
	return h[i].key.compare(h[j].key) < 0
}
