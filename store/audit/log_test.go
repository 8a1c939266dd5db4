package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A memory is a chain in memory, as the ledger keeps it.
type memory struct {
	chain *Chain
	keys  []Key
	grown chan struct{}

	mu          sync.Mutex
	rows        []Row
	checkpoints []Checkpoint
	private     map[int64][]Private
	refuse      error // of AddCheckpoint
}

var seedA, seedB = NewKey([32]byte{1}), NewKey([32]byte{2})

// newMemory returns a chain that begins with a genesis that names the key.
func newMemory(tb testing.TB, instance string, keys ...Key) *memory {
	m := &memory{chain: New(instance), keys: keys, grown: make(chan struct{}, 1), private: make(map[int64][]Private)}
	m.append(tb, Entry{Kind: Genesis, By: System, Detail: map[string]string{"key": keys[0].Text()}})
	return m
}

var began = time.UnixMicro(1_700_000_000_000_000)

func (m *memory) append(tb testing.TB, e Entry) Row {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	at := began.Add(time.Duration(len(m.rows)) * time.Second)
	act := m.chain.Append
	if e.Kind == Adopt {
		act = m.chain.Adopt
	}
	row, err := act(e, at)
	if err != nil {
		tb.Fatal(err)
	}
	if row.Private != nil {
		m.private[row.Seq] = row.Private
		row.Private = nil
	}
	m.rows = append(m.rows, row)
	select {
	case m.grown <- struct{}{}:
	default:
	}
	return row
}

// fill appends n entries.
func (m *memory) fill(tb testing.TB, n int) {
	for i := range n {
		m.append(tb, Entry{
			Kind: KeyCreate, By: By{Actor: "key:1", Address: "192.0.2.1", Request: fmt.Sprint("r", i)}, Object: fmt.Sprint("key:", i),
			Detail: map[string]string{"scopes": "stats:read"}, Private: map[string]string{"name": "käse <&>"},
		})
	}
}

func (m *memory) sign(tb testing.TB, keys ...Key) Checkpoint {
	tb.Helper()
	if keys == nil {
		keys = m.keys
	}
	c, err := Sign(m.chain.Origin(), m.chain.Head(), keys, began)
	if err != nil {
		tb.Fatal(err)
	}
	m.checkpoints = append(m.checkpoints, c)
	return c
}

// clone returns a copy that can be changed without the other.
func (m *memory) clone() *memory {
	d := &memory{chain: m.chain.Clone(), keys: m.keys, grown: make(chan struct{}, 1), private: maps.Clone(m.private)}
	for _, r := range m.rows {
		r.Leaf, r.Hashes = slices.Clone(r.Leaf), slices.Clone(r.Hashes)
		d.rows = append(d.rows, r)
	}
	for _, c := range m.checkpoints {
		c.Note = slices.Clone(c.Note)
		d.checkpoints = append(d.checkpoints, c)
	}
	return d
}

func (m *memory) Extent(context.Context) (first, end int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rows {
		end = max(end, r.Seq+1)
	}
	first = end
	for _, r := range m.rows {
		if r.Leaf != nil {
			first = min(first, r.Seq)
		}
	}
	return first, end, nil
}

func (m *memory) Rows(_ context.Context, from, to int64, fn func(Row) error) error {
	m.mu.Lock()
	rows := slices.Clone(m.rows)
	m.mu.Unlock()
	for _, r := range rows {
		if r.Seq >= from && r.Seq < to {
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) Checkpoints(_ context.Context, after int64, fn func(Checkpoint) error) error {
	m.mu.Lock()
	list := slices.Clone(m.checkpoints)
	m.mu.Unlock()
	for _, c := range list {
		if c.Size > after {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		seq, at := Locate(index)
		if seq >= int64(len(m.rows)) || len(m.rows[seq].Hashes) < 32*(at+1) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		copy(list[i][:], m.rows[seq].Hashes[32*at:])
	}
	return list, nil
}

func (m *memory) Private(_ context.Context, from, to int64) (map[int64][]Private, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.private), nil
}

func (m *memory) AuditHead() (string, Head) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chain.Origin(), m.chain.Head()
}

func (m *memory) Grown() <-chan struct{} { return m.grown }

func (m *memory) AddCheckpoint(_ context.Context, c Checkpoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		return m.refuse
	}
	if n := len(m.checkpoints); n > 0 && m.checkpoints[n-1].Size == c.Size && m.checkpoints[n-1].Origin == c.Origin {
		m.checkpoints = m.checkpoints[:n-1]
	}
	m.checkpoints = append(m.checkpoints, c)
	return nil
}

// trust returns who trusts keys.
func trust(tb testing.TB, keys ...Key) *Trusted {
	t := new(Trusted)
	for _, k := range keys {
		t.Trust("", k.Public())
	}
	return t
}

// small returns a chain of eight entries and two checkpoints, with a rotation of the
// key between them.
func small(tb testing.TB) *memory {
	m := newMemory(tb, "test", seedA)
	m.fill(tb, 3)
	m.sign(tb)
	m.fill(tb, 2)
	m.append(tb, Entry{Kind: Rotate, By: System, Detail: map[string]string{"key": seedB.Text()}})
	m.append(tb, Entry{Kind: Erase, By: System, Detail: map[string]string{"seqs": "1"}})
	delete(m.private, 1)
	m.sign(tb, seedB, seedA)
	return m
}
