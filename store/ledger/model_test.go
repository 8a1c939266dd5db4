package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A model is what a ledger should hold, kept in the plainest way.
type model struct {
	groups    []ledger.Group // all ever appended
	published int64
	parts     []event.Part
	blocks    [][]byte
}

func (m *model) last() int64 {
	if len(m.groups) == 0 {
		return 0
	}
	return m.groups[len(m.groups)-1].Last
}

func (m *model) live() []ledger.Group {
	i := slices.IndexFunc(m.groups, func(g ledger.Group) bool { return g.Last > m.published })
	if i < 0 {
		return nil
	}
	return m.groups[i:]
}

func (m *model) check(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	verify(t, l)
	if got := live(t, l, 0); !reflect.DeepEqual(got, m.live()) {
		t.Fatalf("%d live groups, want %d", len(got), len(m.live()))
	}
	parts, published, err := l.Parts(t.Context())
	if err != nil || published != m.published || len(parts) != len(m.parts) || len(parts) > 0 && !reflect.DeepEqual(parts, m.parts) {
		t.Fatalf("published %d, %v, %+v\nwant %d, %+v", published, err, parts, m.published, m.parts)
	}
	if l.LastSeq() != m.last() {
		t.Fatalf("LastSeq = %d, want %d", l.LastSeq(), m.last())
	}
	blocks := blocksOf(t, l)
	if len(blocks) != len(m.blocks) {
		t.Fatalf("%d blocks, want %d", len(blocks), len(m.blocks))
	}
	for i, b := range blocks {
		if !slices.Equal(b.Entries, m.blocks[i]) {
			t.Fatalf("block %d differs", b.ID)
		}
	}
}

// TestModel does random things to a ledger and to a model, and compares them
// after each.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	var m model
	steps := 400
	if testing.Short() {
		steps = 100
	}
	for step := range steps {
		switch n := r.IntN(100); {
		case n < 50:
			g := group(m.last(), 1+r.IntN(5), r.IntN(30_000))
			g.IDs = entries(r.IntN(4), r.Uint64())
			if err := l.Append(g); err != nil {
				t.Fatal(err)
			}
			if g.IDs == nil {
				g.IDs = []byte{}
			}
			m.groups = append(m.groups, g)
		case n < 70:
			c := m.change(r, step)
			added, err := l.Commit(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			m.apply(c, added)
		case n < 80:
			if _, err := l.TrimJournal(t.Context()); err != nil {
				t.Fatal(err)
			}
		case n < 85:
			l.Checkpoint()
		case n < 88 && len(m.blocks) > 0:
			if _, err := l.DropIDBlocks(t.Context(), time.Now().Add(time.Hour).UnixMicro()); err != nil {
				t.Fatal(err)
			}
			m.blocks = nil
		case n < 92 && len(m.parts) > 0:
			p := &m.parts[r.IntN(len(m.parts))]
			p.Damaged = fmt.Sprint(r.IntN(3))
			if err := l.Quarantine(t.Context(), p.ID, p.Damaged); err != nil {
				t.Fatal(err)
			}
		case n < 96:
			l = reopen(t, dir, l)
		}
		m.check(t, l)
	}
}

// change makes up a publish, a compaction or both.
func (m *model) change(r *rand.Rand, step int) ledger.Change {
	var c ledger.Change
	if live := m.live(); len(live) > 0 && r.IntN(3) > 0 {
		c.Published = live[r.IntN(len(live))].Last
	}
	for i := range r.IntN(3) {
		c.Add = append(c.Add, part(fmt.Sprintf("%d-%d", step, i), m.published+1, max(c.Published, m.published+1)))
	}
	for _, p := range m.parts {
		if r.IntN(3) == 0 {
			c.Remove = append(c.Remove, p.ID)
		}
	}
	if r.IntN(2) == 0 {
		c.IDs = entries(r.IntN(500), r.Uint64())
	}
	return c
}

func (m *model) apply(c ledger.Change, added []event.Part) {
	m.published = max(m.published, c.Published)
	m.parts = slices.DeleteFunc(m.parts, func(p event.Part) bool { return slices.Contains(c.Remove, p.ID) })
	m.parts = append(m.parts, added...)
	if len(c.IDs) > 0 {
		m.blocks = append(m.blocks, c.IDs)
	}
}

// TestConcurrent appends, publishes, trims, makes salts and reads at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var commits atomic.Int64
	l := open(t, dir, ledger.Options{Committed: func(time.Duration, int, int) { commits.Add(1) }})
	const appends = 500
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	loop := func(f func(i int) error) {
		others.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := f(i); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func(i int) error {
		last := l.LastSeq()
		if last == l.Published() {
			return nil
		}
		_, err := l.Commit(ctx, ledger.Change{Published: last, Add: []event.Part{part(fmt.Sprint(i), 1, last)}, IDs: entries(1000, uint64(i))})
		return err
	})
	loop(func(int) error { _, err := l.TrimJournal(ctx); return err })
	loop(func(i int) error {
		if _, err := l.Salt(ctx, fmt.Sprint(i), "2026-01-01", int64(i)); err != nil || i%10 > 0 {
			return err
		}
		_, err := l.DropSalts(ctx, int64(i))
		return err
	})
	loop(func(int) error {
		before := l.LastSeq()
		var seen int64
		parts, published, err := l.Parts(ctx)
		if n := len(parts); err == nil && n > 0 && parts[n-1].Last != published {
			return fmt.Errorf("the newest part ends at %d, and published is %d", parts[n-1].Last, published)
		}
		if err == nil {
			err = l.Groups(ctx, 0, func(g ledger.Group) error { seen = g.Last; return nil })
		}
		if err == nil && seen < before && l.Published() < before {
			return fmt.Errorf("groups end at %d, want %d at least", seen, before)
		}
		l.Checkpoint()
		return err
	})
	for range appends {
		if err := l.Append(group(l.LastSeq(), 3, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	others.Wait()
	if got := commits.Load(); got != appends {
		t.Errorf("Committed was called %d times, want %d", got, appends)
	}
	verify(t, l)
	if got := l.LastSeq(); got != 3*appends {
		t.Errorf("LastSeq = %d, want %d", got, 3*appends)
	}
	reopen(t, dir, l)
}

// TestCheckpoint appends without a pause and checks that the WAL does not grow
// for ever.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	for range 3000 {
		add(t, l, 1, 20_000) // 60 MB
	}
	if got := size(t, filepath.Join(dir, "ledger.db-wal")); got > 32<<20 {
		t.Errorf("the WAL has %d bytes, want about 8 MiB", got)
	}
}
