// Package behaviour says what the events of one unit, a visitor, a visit or a
// user, amount to: how far it got in a funnel, whether it came again, whether
// its events fit a pattern, which way it went. It counts; it knows neither SQL
// nor sites.
//
// # Input
//
// A machine gets the events of one unit, in the order of their time and of Seq
// where times are equal, again and again for other units, and keeps nothing of
// one unit for the next but sums. [Table] puts events of many units into that
// order.
//
// # Work
//
// Whoever sends events decides how many a unit has, so no machine may take time
// that grows faster than their number times the number of steps. The one
// exception is bounded by a budget and says so; see [Pattern.Count].
//
// A machine is for one goroutine.
package behaviour

import (
	"cmp"
	"slices"
)

// An Event is one event of a unit, as far as machines look at it.
type Event struct {
	Time  int64
	Seq   int64
	Mask  uint64 // bit n: it is step n, from 0
	Value uint32 // of the dimension asked for; what it stands for knows the caller
	unit  uint32
}

// MaxSteps is how many steps a machine can have.
const MaxSteps = 32

// A Key tells units apart: the two halves of an id, and the day for which it is
// somebody's. It is the id itself and no digest, so that no two units are ever
// taken for one.
type Key struct {
	Hi, Lo uint64
	Day    int32
}

// A Table gathers the events of many units and hands them out unit by unit. Its
// memory is about 90 bytes an event, and is used again after Reset. The zero
// Table is empty.
type Table struct {
	events []Event
	sorted []Event
	counts []uint32
	keys   []Key
	slots  []uint32 // of a hash table: unit + 1, 0 is free
}

// Add adds an event of a unit.
func (t *Table) Add(k Key, e Event) {
	e.unit = t.unit(k)
	t.counts[e.unit]++
	t.events = append(t.events, e)
}

// Len returns how many events there are.
func (t *Table) Len() int { return len(t.events) }

// Reset takes everything out.
func (t *Table) Reset() {
	t.events, t.counts, t.keys = t.events[:0], t.counts[:0], t.keys[:0]
	clear(t.slots)
}

// unit returns the number of a unit, a new one for a key that has none.
func (t *Table) unit(k Key) uint32 {
	if 2*len(t.keys) >= len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	for i := k.hash() & mask; ; i = (i + 1) & mask {
		switch u := t.slots[i]; {
		case u == 0:
			t.keys, t.counts = append(t.keys, k), append(t.counts, 0)
			t.slots[i] = uint32(len(t.keys))
			return uint32(len(t.keys) - 1)
		case t.keys[u-1] == k:
			return u - 1
		}
	}
}

func (t *Table) grow() {
	t.slots = make([]uint32, max(1024, 2*len(t.slots)))
	mask := uint64(len(t.slots) - 1)
	for u, k := range t.keys {
		i := k.hash() & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = uint32(u + 1)
	}
}

// hash only says where to look first. Ids are digests with a secret salt, so
// nobody can choose them to collide; visits count up, and are spread.
func (k Key) hash() uint64 {
	h := (k.Hi ^ k.Lo*0x9e3779b97f4a7c15 ^ uint64(k.Day)<<32) * 0xd6e8feb86659fd93
	return h ^ h>>32
}

// Each calls fn with the events of each unit, in their order, until it returns
// false. fn may use the slice until it returns.
func (t *Table) Each(fn func(events []Event) bool) {
	starts := t.counts // the place of the next event of each unit
	at := uint32(0)
	for u, n := range starts {
		starts[u] = at
		at += n
	}
	t.sorted = slices.Grow(t.sorted[:0], len(t.events))[:len(t.events)]
	for _, e := range t.events {
		t.sorted[starts[e.unit]] = e
		starts[e.unit]++
	}
	from := uint32(0)
	for _, to := range starts { // now the end of each unit
		events := t.sorted[from:to]
		if !slices.IsSortedFunc(events, order) {
			slices.SortFunc(events, order)
		}
		if !fn(events) {
			break
		}
		from = to
	}
	t.Reset()
}

func order(a, b Event) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	return cmp.Compare(a.Seq, b.Seq)
}
