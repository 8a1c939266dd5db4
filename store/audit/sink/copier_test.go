package sink

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// A memory is a sink in memory, which fails when it is told to.
type memory struct {
	mu    sync.Mutex
	rows  map[string][]audit.Row
	notes map[string]int
	fail  error
	tries []time.Time
	block bool // until the context ends
	most  int  // rows of a batch so far
	early int  // checkpoints of more entries than are here
}

func newMemory() *memory {
	return &memory{rows: make(map[string][]audit.Row), notes: make(map[string]int)}
}

func (m *memory) Name() string { return "memory" }
func (m *memory) Close() error { return nil }

func (m *memory) Mark(_ context.Context, origin string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.rows[origin])), nil
}

func (m *memory) Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (int, error) {
	m.mu.Lock()
	fail, block := m.fail, m.block
	m.tries = append(m.tries, time.Now())
	m.mu.Unlock()
	if block {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if fail != nil {
		return 0, fail
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(rows) > 0 && rows[0].Seq != int64(len(m.rows[origin])) {
		return 0, ErrGap
	}
	m.rows[origin] = append(m.rows[origin], rows...)
	m.notes[origin] += len(checkpoints)
	for _, c := range checkpoints {
		if c.Size > int64(len(m.rows[origin])) {
			m.early++
		}
	}
	m.most = max(m.most, len(rows))
	return len(rows), nil
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *memory) size(origin string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.rows[origin])
}

// TestBackoff is never too long and never nothing.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for n := 1; n < 200; n++ {
		most := maxBackoff
		if n <= 7 {
			most = 500 * time.Millisecond << (n - 1)
		}
		var seen time.Duration
		for range 200 {
			d := backoff(500*time.Millisecond, n)
			if d < most/100 || d > most+most/100 {
				t.Fatalf("after %d failures it waits %v", n, d)
			}
			seen = max(seen, d)
		}
		if seen < most/2 {
			t.Errorf("after %d failures it waits %v at most, want about %v", n, seen, most)
		}
	}
}

// TestCopierTimes is told nothing of growth and looks for itself; while the sink fails,
// it tries ever less often, and says how far behind it is.
func TestCopierTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, m := newLedger("one"), newMemory()
		c := NewCopier(m, silent{l}, Options{})
		defer c.Close(t.Context())
		synctest.Wait()
		l.grow(1)
		time.Sleep(5*time.Second - time.Millisecond)
		synctest.Wait()
		if n := m.size("eider/one/1"); n != 1 {
			t.Fatalf("%d entries are there", n)
		}
		if s := c.Stats(); s.LagRows != 1 || s.Lag > 5*time.Second {
			t.Errorf("stats are %+v", s)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := m.size("eider/one/1"); n != 2 || c.Stats().Lag != 0 {
			t.Fatalf("%d entries are there, stats %+v", n, c.Stats())
		}

		m.set(func() { m.fail, m.tries = errors.New("full"), nil })
		at := time.Now()
		l.grow(3)
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := c.Stats(); s.LagRows != 3 || s.Lag != time.Since(at) || s.Errors != int64(len(m.tries)) {
			t.Errorf("after an hour stats are %+v", s)
		}
		if n := len(m.tries); n < 60 || n > 400 {
			t.Errorf("%d attempts in an hour", n)
		}
		m.set(func() { m.fail = nil })
		time.Sleep(maxBackoff + maxBackoff/100)
		synctest.Wait()
		if s := c.Stats(); s.LagRows != 0 || s.Inserted != 5 || s.Lag != 0 {
			t.Errorf("at last stats are %+v", s)
		}
	})
}

// silent is a chain that tells nobody that it has grown.
type silent struct{ Chain }

func (silent) Grown() <-chan struct{} { return nil }

// TestCopierClose copies what is left at the stop, but does not wait for a sink that
// does not answer.
func TestCopierClose(t *testing.T) {
	t.Parallel()
	l, m := newLedger("one"), newMemory()
	o := Options{Interval: time.Hour, Timeout: time.Hour}
	c := NewCopier(m, silent{l}, o)
	until(t, "copy", func() bool { return m.size("eider/one/1") == 1 })
	l.grow(2500)
	if err := c.Close(t.Context()); err != nil || m.size("eider/one/1") != 2501 {
		t.Fatalf("%d entries are there, %v", m.size("eider/one/1"), err)
	}
	if m.most > maxRows {
		t.Errorf("a batch had %d rows", m.most)
	}
	if n := m.notes["eider/one/1"]; n != 2 || m.early > 0 {
		t.Errorf("%d checkpoints are there, %d of them early, want 2", n, m.early)
	}
	m.block = true
	l.grow(1)
	c = NewCopier(m, silent{l}, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Close(ctx); err != nil || m.size("eider/one/1") != 2501 {
		t.Errorf("%d entries are there, %v", m.size("eider/one/1"), err)
	}
}

// TestCopierBytes keeps to the bound of a batch's bytes.
func TestCopierBytes(t *testing.T) {
	t.Parallel()
	l, m := newLedger("one"), newMemory()
	l.grow(400)
	for i := range l.rows {
		l.rows[i].Leaf = []byte(strings.Repeat("x", 30_000))
	}
	c := NewCopier(m, l, Options{})
	until(t, "copy", func() bool { return m.size("eider/one/1") == 401 })
	c.Close(t.Context())
	if m.most > maxBytes/30_000+1 {
		t.Errorf("a batch had %d rows of 30 kB", m.most)
	}
}

// gone is a chain that has lost its first rows.
type gone struct{ Chain }

func (g gone) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	return g.Chain.Rows(ctx, max(from, 3), to, fn)
}

// TestCopierLost stops where the sink would get a hole, says so once, and stays so.
func TestCopierLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, m := newLedger("one"), newMemory()
		l.grow(9)
		var alarms []error
		c := NewCopier(m, gone{l}, Options{Alarm: func(err error) { alarms = append(alarms, err) }})
		defer c.Close(t.Context())
		for range 10 {
			time.Sleep(time.Minute)
			synctest.Wait()
			l.grow(1)
		}
		if len(alarms) != 1 || !errors.Is(alarms[0], ErrLost) || !strings.Contains(alarms[0].Error(), "entry 0 of eider/one/1") {
			t.Errorf("the alarms are %v", alarms)
		}
		if n := m.size("eider/one/1"); n != 0 || !errors.Is(c.Stats().Alarm, ErrLost) {
			t.Errorf("%d entries are there", n)
		}
	})
}

// changing is a chain that becomes another incarnation while its rows are read.
type changing struct {
	*ledger
	once sync.Once
	t    *testing.T
}

func (c *changing) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	c.once.Do(func() {
		c.cut(c.t, 5)
		c.grow(10)
		c.adopt()
	})
	return c.ledger.Rows(ctx, from, to, fn)
}

// TestCopierAdoption never puts the entries of one incarnation among those of another.
func TestCopierAdoption(t *testing.T) {
	t.Parallel()
	l, m := newLedger("one"), newMemory()
	l.grow(9)
	before := slices.Clone(l.rows)
	copier(t, m, &changing{ledger: l, t: t}, Options{})
	until(t, "copy", func() bool { return m.size("eider/one/2") == 16 })
	for i, r := range m.rows["eider/one/1"] {
		if string(r.Leaf) != string(before[i].Leaf) {
			t.Fatalf("entry %d of the first incarnation is one of the second", i)
		}
	}
}
