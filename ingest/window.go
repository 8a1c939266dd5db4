package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/bits-and-blooms/bloom/v3"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// idEntry is what the window keeps of an event's own id: 16 bytes of its hash
// and 8 of the hash of what the event says.
//
//	+--------------+--------------+
//	| key (16B)    | body (8B)    |
//	+--------------+--------------+
const idEntry = 16 + 8

// idLife is how long the id of an event is remembered after it was published.
const idLife = 24 * time.Hour

// filterRate is how often a filter sends the window to the ledger in vain.
const filterRate = 0.001

// A window knows the ids of the events of the last day, so that a retry is not
// counted as a second event. One goroutine owns it: the writer.
//
// The ids of events that are still in the journal are in memory, and come back
// from there after a crash. Those of published events are in the ledger, a block
// for each publish; in memory there is only a filter for each, which says in
// nearly all cases that a block need not be asked.
type window struct {
	blocks blockStore
	recent map[event.ID]recentID
	past   []block // oldest first
	kept   int     // ids in past
	size   int     // most ids in past
	last   int64   // the newest block that was ever in past
}

// A blockStore reads the id blocks: the ledger.
type blockStore interface {
	IDBlocks(ctx context.Context, after int64, fn func(ledger.IDBlock) error) error
	FindID(ctx context.Context, block int64, key [16]byte) (body [8]byte, found bool, err error)
	DropIDBlocks(ctx context.Context, before int64) ([]int64, error)
}

type recentID struct {
	body [8]byte
	seq  int64
}

// A block is an id block of the ledger and the filter in front of it.
type block struct {
	id, created int64
	ids         int
	filter      *bloom.BloomFilter
}

// newBlock builds the filter of a block.
func newBlock(b ledger.IDBlock) block {
	n := len(b.Entries) / idEntry
	f := bloom.NewWithEstimates(uint(max(n, 1)), filterRate)
	for e := b.Entries; len(e) >= idEntry; e = e[idEntry:] {
		f.Add(e[:16])
	}
	return block{b.ID, b.Created, n, f}
}

// loadBlocks builds the filters of all the blocks after one.
func loadBlocks(ctx context.Context, store blockStore, after int64) ([]block, error) {
	var blocks []block
	err := store.IDBlocks(ctx, after, func(b ledger.IDBlock) error {
		blocks = append(blocks, newBlock(b))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load id blocks: %w", err)
	}
	return blocks, nil
}

func newWindow(store blockStore, size int) *window {
	return &window{blocks: store, recent: make(map[event.ID]recentID), size: size}
}

// A verdict says whether an id has been seen.
type verdict int

const (
	unseen   verdict = iota
	repeated         // with the same body
	reused           // with another
)

// look says whether an event with this id has been accepted.
func (w *window) look(ctx context.Context, key event.ID, body [8]byte) (verdict, error) {
	if r, ok := w.recent[key]; ok {
		return compare(r.body, body), nil
	}
	for i := len(w.past) - 1; i >= 0; i-- {
		if !w.past[i].filter.Test(key[:]) {
			continue
		}
		old, found, err := w.blocks.FindID(ctx, w.past[i].id, key)
		if err != nil {
			return unseen, fmt.Errorf("look up event id: %w", err)
		}
		if found {
			return compare(old, body), nil
		}
	}
	return unseen, nil
}

func compare(a, b [8]byte) verdict {
	if a == b {
		return repeated
	}
	return reused
}

// add remembers the id of an event that is being committed.
func (w *window) add(key event.ID, body [8]byte, seq int64) {
	w.recent[key] = recentID{body, seq}
}

// addEntries remembers the ids of a group that comes back from the journal.
func (w *window) addEntries(entries []byte, seq int64) {
	for ; len(entries) >= idEntry; entries = entries[idEntry:] {
		w.add(event.ID(entries[:16]), [8]byte(entries[16:idEntry]), seq)
	}
}

// appendEntry appends an id to those of a group.
func appendEntry(dst []byte, key event.ID, body [8]byte) []byte {
	return append(append(dst, key[:]...), body[:]...)
}

// publish takes over the blocks of a publish, and forgets the ids in memory that
// they hold. Blocks that there is no room for leave at the old end.
func (w *window) publish(blocks []block, published int64) {
	for _, b := range blocks {
		w.past = append(w.past, b)
		w.kept += b.ids
		w.last = b.id
	}
	for w.kept > w.size && len(w.past) > 1 {
		w.kept -= w.past[0].ids
		w.past = w.past[1:]
	}
	kept := make(map[event.ID]recentID) // a Go map never shrinks
	for key, r := range w.recent {
		if r.seq > published {
			kept[key] = r
		}
	}
	w.recent = kept
}

// drop forgets the blocks made before a time.
func (w *window) drop(before int64) {
	for len(w.past) > 0 && w.past[0].created < before {
		w.kept -= w.past[0].ids
		w.past = w.past[1:]
	}
}

// newest returns the last block that the window has taken over; 0 for none.
func (w *window) newest() int64 { return w.last }

// oldest returns when the first block that the window still has was made; 0 if
// it has none.
func (w *window) oldest() int64 {
	if len(w.past) == 0 {
		return 0
	}
	return w.past[0].created
}
