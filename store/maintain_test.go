package store_test

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

// blocks returns the entries of the ledger's id blocks.
func blocks(t *testing.T, r *rig) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		stop := errors.New("stop")
		err := r.ledger.IDBlocks(t.Context(), 0, func(b ledger.IDBlock) error {
			if !yield(b.Entries) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
}

// TestToday leaves today's parts alone until there are many of them.
func TestToday(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range 16 {
		if n, err := r.store.Compact(t.Context()); err != nil || n != 0 {
			t.Fatalf("with %d parts of today: compacted %d, %v", i, n, err)
		}
		e := some(rnd, 3, 1)
		for i := range e {
			e[i].Time = noon - int64(i)
		}
		r.append(e...)
		r.flush(3)
		r.publish()
	}
	if n, err := r.store.Compact(t.Context()); err != nil || n != 16 {
		t.Fatalf("compacted %d parts, %v; want 16", n, err)
	}
	r.check()
	r.checkFiles()
}

// TestHeld takes a snapshot, replaces everything it reads, and reads it.
func TestHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	prepare(r, rnd)
	want, files := tallyOf(r.visible()), r.files()
	sn := r.store.Snapshot()
	r.publish()
	if _, err := r.store.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := r.store.Retain(t.Context(), event.DayOf(noon+10*day)); err != nil || n == 0 {
		t.Fatalf("retained %d, %v", n, err)
	}
	r.forget(func(event.Event) bool { return true })
	r.check()
	for _, f := range files {
		if !slices.Contains(r.files(), f) {
			t.Errorf("%s is gone while a snapshot holds it", f)
		}
	}
	if got := tallyIn(t, r.store, sn, "", 0, 0); len(got) != len(want) || got["a.example 2026-03-10"] != want["a.example 2026-03-10"] {
		t.Errorf("held snapshot has %v, want %v", got, want)
	}
	if st := r.store.Stats(); st.Snapshots != 1 {
		t.Errorf("%d snapshots held, want 1", st.Snapshots)
	}
	sn.Release()
	sn.Release()
	r.checkFiles()
	if left := r.files(); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
	if st := r.store.Stats(); st.Snapshots != 0 || st.HotRows != 0 {
		t.Errorf("stats %+v, want no snapshots and no hot rows", st)
	}
}

// TestErase erases a user from everywhere: from parts, from hot rows, and from
// what has been acknowledged a moment ago and not been flushed.
func TestErase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	user := event.ID{4, 2}
	for i := range 3 {
		events := some(rnd, 60, 6)
		for j := range events {
			if j%10 == 0 {
				events[j].User = user
			}
		}
		r.append(events...)
		if i < 2 {
			r.flush(60)
		}
		if i < 1 {
			r.publish()
		}
	}
	if _, err := r.store.Erase(t.Context(), store.Erasure{}); !errors.Is(err, store.ErrEraseNothing) {
		t.Errorf("an empty erasure: %v, want ErrEraseNothing", err)
	}
	n, err := r.store.Erase(t.Context(), store.Erasure{User: user})
	if err != nil || n != 18 {
		t.Fatalf("erased %d, %v; want 18", n, err)
	}
	r.waiting, r.flushed = nil, r.last
	r.forget(func(e event.Event) bool { return e.User == user })
	r.check()
	r.checkFiles()
	if n, err := r.store.Erase(t.Context(), store.Erasure{User: user}); err != nil || n != 0 {
		t.Errorf("erased %d again, %v; want 0", n, err)
	}
	if n, err := r.store.Erase(t.Context(), store.Erasure{To: noon + 1}); err != nil || n != 162 {
		t.Errorf("erased %d, %v; want the other 162", n, err)
	}
	if left := r.files(); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
	r.forget(func(event.Event) bool { return true })
	r.reopen()
	r.check()
}

// TestQuarantine damages parts, between two processes and under one, and brings
// them back.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string, content []byte) error{
		"missing": func(path string, _ []byte) error { return os.Remove(path) },
		"short":   func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"footer": func(path string, b []byte) error {
			return os.WriteFile(path, append(b[:len(b)-4:len(b)-4], "RAPQ"...), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			prepare(r, rand.New(rand.NewPCG(7, 8)))
			all := r.events
			p := r.store.Snapshot().Parts()[0]
			path := filepath.Join(r.dir, p.Path)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			without := func(e event.Event) bool { return event.DayOf(e.Time) == p.Day && p.First <= e.Seq && e.Seq <= p.Last }

			if err := damage(path, content); err != nil {
				t.Fatal(err)
			}
			r.forget(without)
			r.reopen()
			r.check()
			checkDegraded(t, r, 1)
			if !strings.Contains(r.log.String(), "part is damaged") {
				t.Error("nothing was logged")
			}
			if _, err := r.store.Erase(t.Context(), store.Erasure{Site: p.Sites[0]}); !errors.Is(err, store.ErrEraseDamaged) {
				t.Errorf("Erase = %v, want ErrEraseDamaged", err)
			}
			r.flushed = r.last
			r.forget(func(e event.Event) bool { return e.Site == p.Sites[0] })
			all = slices.DeleteFunc(slices.Clone(all), func(e event.Event) bool { return e.Site == p.Sites[0] && !without(e) })
			r.check()

			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			r.events = all
			r.reopen()
			r.check()
			checkDegraded(t, r, 0)

			if err := damage(path, content); err != nil {
				t.Fatal(err)
			}
			if _, err := r.store.Compact(t.Context()); err != nil {
				t.Error(err)
			}
			r.forget(without)
			r.check()
			checkDegraded(t, r, 1)
			if n, err := r.store.Retain(t.Context(), p.Day+10); err != nil || n == 0 {
				t.Errorf("Retain = %d, %v", n, err)
			}
			checkDegraded(t, r, 0)
		})
	}
}

func checkDegraded(t *testing.T, r *rig, want int) {
	t.Helper()
	sn := r.store.Snapshot()
	defer sn.Release()
	if got := len(sn.Degraded()); got != want || r.store.Stats().Damaged != want {
		t.Errorf("%d parts degraded, want %d", got, want)
	}
}

// TestVerifyParts flips one bit in a part, which only reading all of it can find.
func TestVerifyParts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	sn := r.store.Snapshot()
	p := sn.Parts()[1]
	sn.Release()
	path := filepath.Join(r.dir, p.Path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func() {
		content[len(content)/3] ^= 4
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	var steps []int
	damaged, err := r.store.VerifyParts(t.Context(), func(done, total int) { steps = append(steps, done, total) })
	if err != nil || len(damaged) != 1 || damaged[0].ID != p.ID || damaged[0].Damaged == "" {
		t.Fatalf("VerifyParts = %+v, %v; want part %d", damaged, err, p.ID)
	}
	if n := len(r.files()); len(steps) != 2*n || steps[len(steps)-2] != n {
		t.Errorf("progress %v of %d parts", steps, n)
	}
	checkDegraded(t, r, 1)
	r.reopen()
	checkDegraded(t, r, 1) // a brief look finds nothing wrong with it
	if n, err := r.store.Recheck(t.Context()); err != nil || n != 0 {
		t.Errorf("Recheck = %d, %v; want 0", n, err)
	}
	flip()
	if damaged, err := r.store.VerifyParts(t.Context(), nil); err != nil || len(damaged) != 0 {
		t.Errorf("repaired: VerifyParts = %+v, %v", damaged, err)
	}
	checkDegraded(t, r, 0)
	r.check()
}

// TestLostPart loses the only part of a day under a running store: the next Compact
// sees it, so that what is left can be asked for.
func TestLostPart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(7, 8))
	r.append(some(rnd, 20, 1)...)
	r.flush(20)
	r.publish()
	for _, name := range r.files() {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.forget(func(event.Event) bool { return true })
	r.append(some(rnd, 20, 1)...)
	r.flush(20)
	if n, err := r.store.Compact(t.Context()); err != nil || n != 0 {
		t.Fatalf("compacted %d, %v; want 0", n, err)
	}
	r.check()
}

// TestDamageFound compacts and erases although a part has been damaged in a place
// that only shows when it is read: that part is left out, the others are not.
func TestDamageFound(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"compact", "erase a site", "erase a visitor"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			rnd := rand.New(rand.NewPCG(7, 8))
			for range 3 { // three parts of each of three days
				events := some(rnd, 40, 1)
				for i := range events {
					events[i].Time -= day * int64(1+i%2)
				}
				r.append(events...)
				r.flush(len(r.waiting))
				r.publish()
			}
			sn := r.store.Snapshot()
			p := sn.Parts()[0]
			sn.Release()
			path := filepath.Join(r.dir, p.Path)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if op == "erase a visitor" { // DuckDB finds out first
				err = os.Remove(path)
			} else {
				content[len(content)/3] ^= 4
				err = os.WriteFile(path, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			lost := func(e event.Event) bool { return event.DayOf(e.Time) == p.Day && p.First <= e.Seq && e.Seq <= p.Last }
			r.forget(lost)
			switch op {
			case "compact":
				want := len(r.files()) - 1
				replaced := 0
				for range 2 { // the others of the damaged one's day come second
					n, err := r.store.Compact(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					replaced += n
				}
				if replaced != want || len(r.files()) != 4 {
					t.Errorf("replaced %d parts, want %d; left %q, want one a day and the damaged one", replaced, want, r.files())
				}
			case "erase a site":
				n, err := r.store.Erase(t.Context(), store.Erasure{Site: "a.example"})
				want := r.forget(func(e event.Event) bool { return e.Site == "a.example" })
				if !errors.Is(err, store.ErrEraseDamaged) || n != want {
					t.Errorf("erased %d, %v; want %d and ErrEraseDamaged", n, err, want)
				}
			default:
				visitor := event.ID{1, 1}
				n, err := r.store.Erase(t.Context(), store.Erasure{Visitor: visitor})
				want := r.forget(func(e event.Event) bool { return e.Visitor == visitor })
				if !errors.Is(err, store.ErrEraseDamaged) || n != want {
					t.Errorf("erased %d, %v; want %d and ErrEraseDamaged", n, err, want)
				}
			}
			r.check()
			checkDegraded(t, r, 1)
		})
	}
}

// TestBinned says which parts of a day are merged.
func TestBinned(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rows  []int64
		least int
		want  [][]int64
	}{
		{"one", []int64{500_000}, 2, nil},
		{"small ones", []int64{1, 30_000, 1}, 2, [][]int64{{30_000, 1, 1}}},
		{"a late event", []int64{500_000, 1}, 2, nil},
		{"late events", []int64{500_000, 1, 1, 1}, 2, [][]int64{{1, 1, 1}}},
		{"a quarter", []int64{100_000, 400_000}, 2, [][]int64{{400_000, 100_000}}},
		{"not a quarter", []int64{99_999, 400_000}, 2, nil},
		{"a quarter between them", []int64{400_000, 50_000, 50_000}, 2, [][]int64{{400_000, 50_000, 50_000}}},
		{"too many", []int64{500_000, 5, 5, 5, 5, 5, 5, 5, 5}, 2, [][]int64{{500_000, 5, 5, 5, 5, 5, 5, 5, 5}}},
		{"large ones stay", []int64{1_000_000, 1_900_000, 2, 3}, 2, [][]int64{{3, 2}}},
		{"more than fits", []int64{900_000, 900_000, 900_000, 900_000, 9}, 2, [][]int64{{900_000, 900_000}, {900_000, 900_000, 9}}},
		{"today", []int64{1, 1, 1}, 16, nil},
	} {
		var parts []event.Part
		for i, n := range c.rows {
			parts = append(parts, event.Part{ID: int64(i), Rows: n, Bytes: 50 * n})
		}
		var got [][]int64
		for _, group := range store.Binned(parts, c.least) {
			var rows []int64
			for _, p := range group {
				rows = append(rows, p.Rows)
			}
			got = append(got, rows)
		}
		if !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestRetainFull removes old days from a volume on which nothing can be written.
func TestRetainFull(t *testing.T) {
	t.Parallel()
	disk := &failing{}
	r := newRig(t, func(o *store.Options) {
		disk.FS = history.OS(o.Dir)
		o.FS = disk
	})
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	disk.arm(1, false)
	n, err := r.store.Retain(t.Context(), event.DayOf(noon))
	if n == 0 || !errors.Is(err, errDisk) {
		t.Errorf("retained %d, %v; want some and the error of the disk", n, err)
	}
	published := r.store.Stats().Published
	r.forget(func(e event.Event) bool { return e.Seq <= published })
	r.check()
	r.checkFiles()
}

// TestOrphans starts with parts and a ledger that has never held an event.
func TestOrphans(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	before := r.files()
	r.close()
	if err := os.Rename(filepath.Join(r.dir, "ledger.db"), filepath.Join(r.dir, "elsewhere.db")); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), filepath.Join(r.dir, "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := r.opts
	o.Ledger = l
	if s, err := store.Open(t.Context(), o); !errors.Is(err, store.ErrOrphans) {
		t.Errorf("Open = %v, want ErrOrphans", err)
		if err == nil {
			s.Close()
		}
	}
	if got := r.files(); !slices.Equal(got, before) {
		t.Errorf("files %q, want %q", got, before)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.dir, "elsewhere.db"), filepath.Join(r.dir, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.check()
}

// TestEraseStops fails to read the journal when some of it is in the lens already:
// what is flushed later is not there twice.
func TestEraseStops(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) { o.MemoryLimit = 256 << 20 })
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 17 { // more than is inserted at once
		r.append(some(rnd, 4096, 1)...)
	}
	if err := r.ledger.Append(ledger.Group{First: r.last + 1, Last: r.last + 1, Count: 1, Received: noon, Payload: []byte("damaged")}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Erase(t.Context(), store.Erasure{Site: "z.example"}); !errors.Is(err, event.ErrPayload) {
		t.Fatalf("Erase = %v, want ErrPayload", err)
	}
	if err := r.store.Flush(t.Context(), r.waiting); err == nil {
		r.flushed = r.last
	}
	r.check()
	if _, err := r.store.Publish(t.Context()); err == nil {
		t.Error("published a damaged group")
	}
}

// TestSweep starts among the leftovers of a crash.
func TestSweep(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	listed := r.files()
	r.close()
	for _, name := range []string{"events/date=2026-03-09/900-999.parquet", "events/date=2020-01-01/1-2.parquet", "tmp/part-1.parquet", "tmp/duckdb/spilled"} {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("left over"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	r.check()
	if got := r.files(); !slices.Equal(got, listed) {
		t.Errorf("files %q, want %q", got, listed)
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, "tmp", "*", "*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if !strings.Contains(r.log.String(), "900-999") {
		t.Error("what was deleted was not logged")
	}
}

// TestLedgerCloses publishes to a ledger that takes nothing any more: the events
// stay hot, and what was listed stays.
func TestLedgerCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	before := r.files()
	r.ledger.Close()
	if _, err := r.store.Publish(t.Context()); err == nil {
		t.Error("published to a closed ledger")
	}
	r.check()
	if got := r.files(); !slices.Equal(got, before) {
		t.Errorf("files %q, want %q", got, before)
	}
}

// TestClosed uses a store after Close.
func TestClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := context.Background()
	sn := r.store.Snapshot()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	sn.Release()
	if _, err := r.store.Conn(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Conn = %v, want ErrClosed", err)
	}
	if err := r.store.Flush(ctx, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Flush = %v, want ErrClosed", err)
	}
	if _, err := r.store.Publish(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Publish = %v, want ErrClosed", err)
	}
	if err := r.store.Rebuild(ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Rebuild = %v, want ErrClosed", err)
	}
}
