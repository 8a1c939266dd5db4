package audit

import (
	"context"
	"fmt"
	"math/bits"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// A File is a chain as an export has it, or a part of one. What is kept of it in
// memory is the state of the tree at every 1,024th entry; the rest is read when it is
// asked for. It may be used by many at a time.
//
// A part of a chain begins with the state of the tree before its first entry, so that
// the roots of checkpoints in it can be computed without the entries before.
type File struct {
	start     int64    // the first entry
	chain     *Chain   // at the end
	states    []*Chain // at the beginning of every chunk
	firstLeaf int64    // the first entry that has a leaf
	hasLeaf   bool
	columns   bool    // the file has the columns of a [Row]
	claim     Known   // what the file says that it has
	misplaced *Damage // the first thing that is well formed and in the wrong place

	// scan calls fn with all that is in a chunk, in order.
	scan  func(ctx context.Context, chunk int, fn func(item) error) error
	close func() error

	mu     sync.Mutex
	cached int // which chunk hashes are of, -1 for none
	hashes [][]byte
}

// An item is an entry or a checkpoint in a file.
type item struct {
	checkpoint *Checkpoint // or an entry:
	row        Row         // columns only if the file has them
	link       *tlog.Hash  // as it stands in the file, nil where it follows from the leaf
}

// newFile returns a file of no entries yet, which begins with a state of the tree.
func newFile(chain *Chain) *File {
	return &File{start: chain.size, chain: chain, cached: -1, close: func() error { return nil }}
}

// add takes the next entry into account and returns the nodes that it completes.
func (f *File) add(i item) []byte {
	if f.chain.size == f.start || f.chain.size%chunk == 0 {
		f.states = append(f.states, f.chain.Clone())
	}
	if i.row.Leaf != nil && !f.hasLeaf {
		f.firstLeaf, f.hasLeaf = f.chain.size, true
	}
	return f.grow(f.chain, i)
}

// grow moves a chain on by an entry.
func (f *File) grow(c *Chain, i item) (nodes []byte) {
	link := i.link
	if i.row.Leaf != nil {
		h := tlog.RecordHash(i.row.Leaf)
		link = &h
	}
	nodes = c.grow(*link)
	c.link = *link
	if i.link != nil {
		copy(nodes, i.link[:])
	}
	return nodes
}

// misplace remembers that something is where it should not be.
func (f *File) misplace(format string, args ...any) {
	if f.misplaced == nil {
		f.misplaced = &Damage{Seq: f.chain.size, What: fmt.Sprintf(format, args...)}
	}
}

// Close lets go of the file.
func (f *File) Close() error { return f.close() }

// Extent is that of a [Log].
func (f *File) Extent(context.Context) (first, end int64, err error) {
	if f.chain.size == f.start && f.start == 0 {
		return 0, 0, nil
	}
	if !f.hasLeaf {
		return f.chain.size, f.chain.size, nil
	}
	return f.firstLeaf, f.chain.size, nil
}

// chunkOf returns in which chunk an entry is, and with which it begins.
func (f *File) chunkOf(seq int64) (n int, begin int64) {
	return int(seq/chunk - f.start/chunk), max(f.start, seq/chunk*chunk)
}

// Rows is that of a [Log].
func (f *File) Rows(ctx context.Context, from, to int64, fn func(Row) error) error {
	return f.bare(ctx, from, to, func(r Row) error {
		if l, err := Parse(r.Leaf); !f.columns && err == nil {
			r.Time, r.Kind, r.Outcome, r.Actor, r.Object, r.Request = l.Time.UnixMicro(), l.Kind, l.Outcome, l.Actor, l.Object, l.Request
		}
		return fn(r)
	})
}

// bare is Rows with only the columns that are in the file.
func (f *File) bare(ctx context.Context, from, to int64, fn func(Row) error) error {
	from, to = max(from, f.start), min(to, f.chain.size)
	for seq := from; seq < to; {
		n, begin := f.chunkOf(seq)
		state := f.states[n].Clone()
		err := f.scan(ctx, n, func(i item) error {
			if i.checkpoint != nil {
				return nil
			}
			r := i.row
			at := state.size
			r.Hashes = f.grow(state, i)
			if !f.columns {
				r.Seq = at
			}
			if at < from || at >= to {
				return nil
			}
			return fn(r)
		})
		if err != nil {
			return err
		}
		seq = begin/chunk*chunk + chunk
	}
	return ctx.Err()
}

// Checkpoints is that of a [Log].
func (f *File) Checkpoints(ctx context.Context, after int64, fn func(Checkpoint) error) error {
	n, _ := f.chunkOf(min(max(after, f.start), max(f.start, f.chain.size-1)))
	for ; n < max(len(f.states), 1); n++ {
		err := f.scan(ctx, n, func(i item) error {
			if i.checkpoint == nil || i.checkpoint.Size <= after {
				return nil
			}
			return fn(*i.checkpoint)
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// ReadHashes is that of a [Log]. They are computed from the leaves.
func (f *File) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		seq, position := Locate(index)
		if h, ok := f.before(index); ok {
			list[i] = h
			continue
		}
		if seq < f.start || seq >= f.chain.size {
			return nil, fmt.Errorf("read node of entry %d: %w", seq, ErrNotFound)
		}
		n, begin := f.chunkOf(seq)
		if err := f.load(n); err != nil {
			return nil, err
		}
		copy(list[i][:], f.hashes[seq-begin][32*position:])
	}
	return list, nil
}

// before returns a hash of the state that the file begins with.
func (f *File) before(index int64) (h tlog.Hash, ok bool) {
	if f.start == 0 {
		return h, false
	}
	state := f.chain
	if len(f.states) > 0 {
		state = f.states[0]
	}
	at := int64(0)
	for level := bits.Len64(uint64(f.start)) - 1; level >= 0; level-- {
		if f.start>>level&1 == 0 {
			continue
		}
		if tlog.StoredHashIndex(level, at>>level) == index {
			return state.peaks[level], true
		}
		at += 1 << level
	}
	return state.link, index == tlog.StoredHashIndex(0, f.start-1)
}

// load computes the nodes that the entries of a chunk complete.
func (f *File) load(n int) error {
	if f.cached == n {
		return nil
	}
	f.cached, f.hashes = -1, nil
	state := f.states[n].Clone()
	err := f.scan(context.Background(), n, func(i item) error {
		if i.checkpoint == nil {
			f.hashes = append(f.hashes, f.grow(state, i))
		}
		return nil
	})
	if err == nil {
		f.cached = n
	}
	return err
}

// list returns the roots of the complete subtrees, from the largest on.
func (c *Chain) list() (roots []tlog.Hash) {
	for level := len(c.peaks) - 1; level >= 0; level-- {
		if c.size>>level&1 == 1 {
			roots = append(roots, c.peaks[level])
		}
	}
	return roots
}

// unlist is the inverse of list. The last entry of an odd number is a subtree of its
// own, whose root is its link.
func unlist(size int64, link tlog.Hash, roots []tlog.Hash) (*Chain, bool) {
	if size < 1 || bits.OnesCount64(uint64(size)) != len(roots) {
		return nil, false
	}
	c := &Chain{size: size, link: link, peaks: make([]tlog.Hash, bits.Len64(uint64(size)))}
	for level := len(c.peaks) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			c.peaks[level], roots = roots[0], roots[1:]
		}
	}
	return c, size&1 == 0 || c.peaks[0] == link
}
