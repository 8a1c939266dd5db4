package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// A clock stands still until it is told to go on.
type clock struct{ us atomic.Int64 }

func newClock() *clock { return clockAt(1_700_000_000_000_000) }

func clockAt(us int64) *clock {
	c := new(clock)
	c.us.Store(us)
	return c
}

func (c *clock) now() time.Time       { return time.UnixMicro(c.us.Load()) }
func (c *clock) pass(d time.Duration) { c.us.Add(d.Microseconds()) }

// refusal is one of somebody at an address.
func refusal(address, object, reason string) audit.Entry {
	e := audit.Entry{Kind: audit.Refusal, Object: object, Reason: reason}
	e.Address, e.Agent, e.Request = address, "curl", fmt.Sprint("req", rand.Int())
	return e
}

// refused returns how many refusals the chain holds, and the entries.
func refused(t testing.TB, log audit.Log) (n int64, leaves []audit.Leaf) {
	t.Helper()
	for _, r := range entriesOf(t, log) {
		if r.Kind == audit.Refusal {
			l := leaf(t, r)
			n += l.Count
			leaves = append(leaves, l)
		}
	}
	return n, leaves
}

// TestFold refuses the same a few times: one entry at once, and one for the rest when
// ten seconds are over.
func TestFold(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), ledger.Options{Now: c.now})
	refuse := func(e audit.Entry, entries int) {
		t.Helper()
		if err := l.Refuse(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if _, got := refused(t, l); len(got) != entries {
			t.Fatalf("%d entries, want %d", len(got), entries)
		}
	}
	start := c.now()
	refuse(refusal("192.0.2.1", "route:GET /x", "no key"), 1)
	for range 5 {
		c.pass(time.Second)
		refuse(refusal("192.0.2.1", "route:GET /x", "no key"), 1)
	}
	refuse(refusal("192.0.2.2", "route:GET /x", "no key"), 2)
	refuse(refusal("192.0.2.1", "route:GET /y", "no key"), 3)
	refuse(refusal("192.0.2.1", "route:GET /x", "other site"), 4)
	other := refusal("192.0.2.1", "route:GET /x", "no key")
	other.Actor = "key:1"
	refuse(other, 5)
	if s := l.AuditStats(); s.Folds != 5 {
		t.Errorf("AuditStats = %+v, want 5 folds", s)
	}
	c.pass(6 * time.Second)
	l.SealDue() // all are due but those of which only one was refused, which need no entry
	_, leaves := refused(t, l)
	if len(leaves) != 6 {
		t.Fatalf("%d entries, want 6", len(leaves))
	}
	got := leaves[5]
	if got.Count != 5 || !got.First.Equal(start.Add(time.Second)) || !got.Last.Equal(start.Add(5*time.Second)) || got.Request != "" ||
		got.Object != "route:GET /x" || got.Reason != "no key" || got.Outcome != audit.Refused || got.Detail["like"] != fmt.Sprint(leaves[0].Seq) {
		t.Errorf("folded: %+v", got)
	}
	private, err := l.Private(t.Context(), got.Seq, got.Seq+1)
	if err != nil || len(private[got.Seq]) != 1 || !strings.Contains(private[got.Seq][0].Value, "192.0.2.1") {
		t.Errorf("it came from %v, %v", private, err)
	}
	// What is due is not added to, whether or not somebody has sealed it.
	c.pass(time.Minute)
	refuse(refusal("192.0.2.1", "route:GET /x", "no key"), 7)
	c.pass(time.Second)
	refuse(refusal("192.0.2.1", "route:GET /x", "no key"), 7)
	c.pass(10 * time.Second)
	refuse(refusal("192.0.2.1", "route:GET /x", "no key"), 9)
}

// TestFoldTimer lets time pass: folds are sealed without anybody asking.
func TestFoldTimer(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), ledger.Options{Now: c.now})
	for range 3 {
		if err := l.Refuse(t.Context(), refusal("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(time.Minute)
	l.WakeFolder() // or it would look in ten seconds
	for l.AuditStats().Folds > 0 {
		<-l.Grown()
	}
	if n, leaves := refused(t, l); n != 3 || len(leaves) != 2 {
		t.Errorf("%d refusals in %d entries, want 3 in 2", n, len(leaves))
	}
}

// TestFlood refuses requests from very many addresses: they become few entries, and
// each is counted.
func TestFlood(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: c.now})
	const sent = 6000
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for n := range sent / 16 {
				e := refusal(fmt.Sprint("2001:db8::", r.IntN(1000)), fmt.Sprint("route:", r.IntN(300)), "no key")
				if n%50 == 0 {
					c.pass(time.Second)
				}
				if err := l.Refuse(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if s := l.AuditStats(); s.Folds > 64+64+10 {
		t.Errorf("%d folds are open", s.Folds)
	}
	l = reopen(t, dir, l)
	n, leaves := refused(t, l)
	if n != sent {
		t.Errorf("%d refusals are in the chain, want %d", n, sent)
	}
	if len(leaves) > 400 {
		t.Errorf("%d entries", len(leaves))
	}
	folded := make(map[string]int64)
	for _, f := range leaves {
		folded[f.Detail["folded"]] += f.Count
	}
	if folded["addresses"] == 0 || folded["all"] == 0 {
		t.Errorf("refusals by what does not tell them apart: %v, want all sorts", folded)
	}
}

// crash copies the files of an open ledger, as a power failure would leave them.
func crash(t testing.TB, from string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		copyFile(t, filepath.Join(from, name), filepath.Join(dir, name))
	}
	return dir
}

// TestFoldCrash kills the ledger in the middle of floods: what was counted is sealed
// when it is opened again.
func TestFoldCrash(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	c := newClock()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: c.now})
	sent := int64(0)
	for range 12 {
		for range r.IntN(150) {
			if err := l.Refuse(t.Context(), refusal(fmt.Sprint(r.IntN(80)), fmt.Sprint("route:", r.IntN(3)), "x")); err != nil {
				t.Fatal(err)
			}
			sent++
			c.pass(time.Duration(r.IntN(200)) * time.Millisecond)
		}
		dir = crash(t, dir)
		l = open(t, dir, ledger.Options{Now: c.now})
		if n, _ := refused(t, l); n != sent || l.AuditStats().Folds != 0 {
			t.Fatalf("%d refusals in the chain and %d folds, want %d and none", n, l.AuditStats().Folds, sent)
		}
	}
}

// TestFoldHalted keeps what was counted while the chain is halted, also over a restart.
func TestFoldHalted(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: c.now})
	for range 5 {
		if err := l.Refuse(t.Context(), refusal("192.0.2.1", "x", "y")); err != nil {
			t.Fatal(err)
		}
	}
	l.Halt(context.Canceled)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{Now: c.now, Known: func(context.Context, *ledger.Ledger) error { return context.Canceled }})
	if n, _ := refused(t, l); n != 1 {
		t.Fatalf("%d refusals in a chain that is halted, want 1", n)
	}
	if err := l.Adopt(t.Context(), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	for l.AuditStats().Folds > 0 {
		<-l.Grown()
	}
	if n, _ := refused(t, l); n != 5 {
		t.Errorf("%d refusals, want 5", n)
	}
}

// TestLastEntry checks that what was refused is in the chain before the stop.
func TestLastEntry(t *testing.T) {
	t.Parallel()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.StartRun(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.Refuse(t.Context(), refusal("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.EndRun(t.Context(), true, 0); err != nil {
		t.Fatal(err)
	}
	rows := entriesOf(t, l)
	if n, _ := refused(t, l); n != 3 || rows[len(rows)-1].Kind != audit.Stop {
		t.Errorf("%d refusals, and the last entry is %s; want 3 and the stop", n, rows[len(rows)-1].Kind)
	}
}
