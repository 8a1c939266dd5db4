package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/audit/sink/sinktest"
)

// A faulty is a ledger and its copy in a PostgreSQL that things happen to.
type faulty struct {
	*testing.T
	rng    *rand.Rand
	server *sinktest.Cluster
	proxy  *proxy
	url    string // of the database, not by way of the proxy
	l      *ledger
	opts   Options
	c      *Copier
}

// faults are what happens. Each ends with the server as it should be.
var faults = []struct {
	name string
	own  bool // a server of its own
	do   func(*faulty)
}{
	{"stopped", true, (*faulty).stopped},
	{"crashed", true, (*faulty).crashed},
	{"slow", false, (*faulty).slow},
	{"full", true, (*faulty).full},
	{"read-only", false, (*faulty).readOnly},
	{"terminated", false, (*faulty).terminated},
	{"cut off", false, (*faulty).cutOff},
	{"commit unanswered", false, (*faulty).unanswered},
	{"killed after commit", false, (*faulty).killed},
	{"restored", false, (*faulty).restored},
	{"holed", false, (*faulty).holed},
	{"edited", false, (*faulty).edited},
}

// TestFaults lets faults happen to a PostgreSQL while the ledger grows. After each, the
// copy is what the ledger has, or the alarm has named the difference. There are
// EIDER_FAULT_CYCLES of them.
func TestFaults(t *testing.T) {
	t.Parallel()
	cycles := 84
	if s := os.Getenv("EIDER_FAULT_CYCLES"); s != "" {
		var err error
		if cycles, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for i, kind := range faults {
		share := (cycles + i) / len(faults)
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			if kind.name == "full" && os.Getuid() != 0 {
				t.Skip("a file system of its own is mounted by root only")
			}
			f := newFaulty(t, kind.own, kind.name == "full")
			for range share {
				kind.do(f)
				f.settle()
			}
			t.Logf("%d cycles, %d entries, %+v", share, len(f.l.rows), f.c.Stats())
		})
	}
}

func newFaulty(t *testing.T, own, small bool) *faulty {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := &faulty{T: t, rng: rand.New(rand.NewPCG(seed, 0)), l: newLedger("one"), opts: brisk(t)}
	f.opts.Log = nil
	switch {
	case small:
		f.server = ownCluster(t)
		f.url = smallDatabase(t, f.server)
	case own:
		f.server = ownCluster(t)
		f.url = f.server.URL("postgres")
	default:
		f.url = database(t)
		f.server = shared.c
	}
	f.proxy = newProxy(t, f.server)
	f.copier()
	f.settle()
	return f
}

// smallDatabase makes one in a file system that has little room.
func smallDatabase(t *testing.T, c *sinktest.Cluster) string {
	dir := filepath.Join(c.Dir, "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		c.Stop(syscall.SIGQUIT)
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	space := filepath.Join(dir, "space")
	if err := os.Mkdir(space, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Unprivileged(exec.Command("true"), space); err != nil {
		t.Fatal(err)
	}
	if err := sinktest.Unprivileged(exec.Command("true"), dir); err != nil {
		t.Fatal(err)
	}
	exec1(t, c.URL("postgres"), "CREATE TABLESPACE small LOCATION '"+space+"'")
	exec1(t, c.URL("postgres"), "CREATE DATABASE small TABLESPACE small")
	return c.URL("small")
}

// copier starts one that knows nothing, as another process would.
func (f *faulty) copier() {
	f.c = copier(f.T, postgres(f.T, f.proxy.url(f.url)), f.l, f.opts)
}

// settle waits until the copy is whole.
func (f *faulty) settle() {
	f.Helper()
	f.proxy.set(fault{})
	until(f.T, "settle", func() bool {
		if err := f.c.Stats().Alarm; err != nil {
			f.Fatalf("alarm: %v", err)
		}
		if f.c.Stats().LagRows > 0 || difference(f.T, f.url, f.l) != "" {
			time.Sleep(5 * time.Millisecond)
			return false
		}
		return true
	})
}

// felt waits until the copier has come across the fault.
func (f *faulty) felt(before int64) {
	f.Helper()
	until(f.T, "fault", func() bool { return f.c.Stats().Errors > before })
}

func (f *faulty) grow(most int) { f.l.grow(1 + f.rng.IntN(most)) }

func (f *faulty) stopped() {
	before := f.c.Stats().Errors
	f.server.Stop(syscall.SIGINT)
	f.grow(50)
	f.felt(before)
	if err := f.server.Start(); err != nil {
		f.Fatal(err)
	}
}

func (f *faulty) crashed() {
	f.grow(400)
	time.Sleep(time.Duration(f.rng.IntN(20_000)) * time.Microsecond)
	f.server.Stop(syscall.SIGQUIT)
	if err := f.server.Start(); err != nil {
		f.Fatal(err)
	}
}

// slow has calls of the copier reach their end, or not quite.
func (f *faulty) slow() {
	f.c.Close(f.Context())
	f.opts.Timeout = time.Duration(50+f.rng.IntN(200)) * time.Millisecond
	f.copier()
	f.proxy.set(fault{delay: time.Duration(f.rng.IntN(80)) * time.Millisecond})
	f.grow(300)
	time.Sleep(time.Duration(f.rng.IntN(300)) * time.Millisecond)
	f.proxy.set(fault{})
	f.c.Close(f.Context())
	f.opts.Timeout = 5 * time.Second
	f.copier()
}

func (f *faulty) full() {
	filler := filepath.Join(f.server.Dir, "small", "filler")
	file, err := os.Create(filler)
	if err != nil {
		f.Fatal(err)
	}
	for err = error(nil); err == nil; {
		_, err = file.Write(make([]byte, 4096))
	}
	file.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		f.Fatal(err)
	}
	before := f.c.Stats().Errors
	f.l.grow(200)
	f.felt(before)
	err = super(f.Context(), f.url, "CREATE TABLE room AS SELECT repeat('x', 1000) FROM generate_series(1, 100)")
	if err == nil || !strings.Contains(err.Error(), "No space left on device") {
		f.Fatalf("there is room: %v", err)
	}
	os.Remove(filler)
}

// name is that of the database.
func (f *faulty) name() string {
	return f.url[strings.Index(f.url, "@/")+2 : strings.Index(f.url, "?")]
}

// disconnect ends all connections to the database.
func (f *faulty) disconnect() {
	exec1(f.T, f.server.URL("template1"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+f.name()+"'")
}

// readOnly has the server take no writes for a while. A connection of that time may stay,
// and stay read-only.
func (f *faulty) readOnly() {
	exec1(f.T, f.server.URL("template1"), "ALTER DATABASE "+f.name()+" SET default_transaction_read_only = on")
	f.disconnect()
	before := f.c.Stats().Errors
	f.grow(30)
	f.felt(before)
	exec1(f.T, f.server.URL("template1"), "ALTER DATABASE "+f.name()+" RESET default_transaction_read_only")
	if f.rng.IntN(2) == 0 {
		f.disconnect()
	}
}

func (f *faulty) terminated() {
	f.grow(400)
	time.Sleep(time.Duration(f.rng.IntN(5000)) * time.Microsecond)
	f.disconnect()
}

func (f *faulty) cutOff() {
	before := f.proxy.cutSoFar()
	f.proxy.set(fault{cut: true, after: f.rng.IntN(20_000), up: f.rng.IntN(2) == 0})
	f.grow(200)
	until(f.T, "cut", func() bool {
		f.l.grow(1)
		return f.proxy.cutSoFar() > before
	})
}

func (f *faulty) unanswered() {
	before := f.proxy.cutSoFar()
	f.proxy.set(fault{commit: true})
	f.grow(50)
	until(f.T, "lose an answer", func() bool { return f.proxy.cutSoFar() > before })
}

// killed has the process end when the server has committed and it does not know. The
// next one finds what is there, and sends nothing twice.
func (f *faulty) killed() {
	f.opts.Interval, f.opts.Backoff, f.opts.Compare = time.Hour, time.Hour, time.Hour
	f.c.Close(f.Context())
	s := &watched{Postgres: postgres(f.T, f.proxy.url(f.url))}
	f.c = copier(f.T, s, f.l, f.opts)
	// After it has compared everything, it only waits for growth.
	until(f.T, "compare", func() bool { return s.upto.Load() == int64(len(f.l.rows)) })
	before := f.proxy.cutSoFar()
	f.proxy.set(fault{commit: true})
	f.l.grow(1 + f.rng.IntN(20))
	until(f.T, "lose an answer", func() bool { return f.proxy.cutSoFar() > before })
	f.felt(0)
	dead, cancel := context.WithCancel(f.Context())
	cancel()
	f.c.Close(dead)
	f.opts = brisk(f.T)
	f.opts.Log = nil
	f.copier()
	f.settle()
	if s := f.c.Stats(); s.Attempted != 0 {
		f.Errorf("%d entries that were there have been sent again", s.Attempted)
	}
}

// restored puts back an older state of the server.
func (f *faulty) restored() {
	f.grow(60)
	f.settle()
	k := f.rng.IntN(len(f.l.rows))
	tamper(f.T, f.url, "audit_checkpoint", fmt.Sprint("DELETE FROM eider.audit_checkpoint WHERE size > ", k))
	tamper(f.T, f.url, "audit_entry", fmt.Sprint("DELETE FROM eider.audit_entry WHERE seq >= ", k))
	if f.rng.IntN(2) == 0 {
		f.disconnect()
	}
	f.grow(5)
}

// holed takes out what is in the middle.
func (f *faulty) holed() {
	f.grow(60)
	f.settle()
	for range 1 + f.rng.IntN(3) {
		tamper(f.T, f.url, "audit_checkpoint", fmt.Sprint("DELETE FROM eider.audit_checkpoint WHERE size = ", f.l.notes[f.rng.IntN(len(f.l.notes))].Size))
		tamper(f.T, f.url, "audit_entry", fmt.Sprint("DELETE FROM eider.audit_entry WHERE seq = ", f.rng.IntN(len(f.l.rows))))
	}
	if f.rng.IntN(2) == 0 {
		f.grow(5)
	}
}

// An edit is what a superuser can do to a row, or to a checkpoint.
type edit struct{ table, set string }

var edits = []edit{
	{"audit_entry", "actor = 'nobody'"},
	{"audit_entry", "time = time + interval '1 microsecond'"},
	{"audit_entry", "outcome = 'refused'"},
	{"audit_entry", "leaf = NULL"},
	{"audit_entry", "leaf = leaf || ' ', hashes = sha256('\\x00'::bytea || leaf || ' ') || substring(hashes FROM 33)"},
	{"audit_entry", "hashes = hashes || sha256('')"},
	{"audit_checkpoint", "root = sha256('')"},
	{"audit_checkpoint", "note = overlay(note PLACING '9' FROM position('\\x0a'::bytea IN note) + 1)"},
}

// edited has a superuser change a row. The alarm names it; the operator takes it out.
func (f *faulty) edited() {
	f.grow(20)
	f.settle()
	e := edits[f.rng.IntN(len(edits))]
	column, at := "seq", int64(f.rng.IntN(len(f.l.rows)))
	if e.table == "audit_checkpoint" {
		column, at = "size", f.l.notes[f.rng.IntN(len(f.l.notes))].Size
		if strings.HasPrefix(fmt.Sprint(at), "9") {
			return // the edit would change nothing
		}
	}
	tamper(f.T, f.url, e.table, fmt.Sprintf("UPDATE eider.%s SET %s WHERE %s = %d", e.table, e.set, column, at))
	until(f.T, "alarm", func() bool { return f.c.Stats().Alarm != nil })
	var fork *Fork
	if err := f.c.Stats().Alarm; !errors.As(err, &fork) || fork.Seq != at || (fork.What == "checkpoint") != (column == "size") {
		f.Fatalf("after %s of %d the alarm is %v", e.set, at, err)
	}
	had := f.c.Stats().Attempted
	f.grow(5)
	if s := f.c.Stats(); s.Attempted != had || s.Alarm == nil {
		f.Fatal("copying goes on after the alarm")
	}
	f.c.Close(f.Context())
	tamper(f.T, f.url, e.table, fmt.Sprintf("DELETE FROM eider.%s WHERE %s = %d", e.table, column, at))
	f.copier()
}
