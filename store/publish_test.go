package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

var errDisk = errors.New("disk says no")

// A failing is a file system whose n-th writing call fails; with after, once it
// has done what it was asked to.
type failing struct {
	history.FS

	mu    sync.Mutex
	n     int // calls until it fails; 0: never
	after bool
	which string // the call that failed
}

func (f *failing) arm(n int, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.after, f.which = n, after, ""
}

func (f *failing) failed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.which
}

func (f *failing) do(name string, call func() error) error {
	f.mu.Lock()
	f.n--
	fail, after := f.n == 0, f.after
	if fail {
		f.which = name
	}
	f.mu.Unlock()
	if fail && !after {
		return errDisk
	}
	if err := call(); err != nil || !fail {
		return err
	}
	return errDisk
}

func (f *failing) Create(name string) (file history.File, err error) {
	err = f.do("create", func() error {
		file, err = f.FS.Create(name)
		return err
	})
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return failingFile{file, f}, nil
}

func (f *failing) Rename(from, to string) error {
	return f.do("rename", func() error { return f.FS.Rename(from, to) })
}

func (f *failing) Mkdir(name string) error {
	return f.do("mkdir", func() error { return f.FS.Mkdir(name) })
}

func (f *failing) SyncDir(name string) error {
	return f.do("sync directory", func() error { return f.FS.SyncDir(name) })
}

type failingFile struct {
	history.File
	fs *failing
}

func (f failingFile) Write(b []byte) (n int, err error) {
	err = f.fs.do("write", func() error {
		n, err = f.File.Write(b)
		return err
	})
	return n, err
}

func (f failingFile) Sync() error { return f.fs.do("sync", f.File.Sync) }

// TestDiskErrors lets every call that a publish, a compaction and an erasure make
// to the disk fail, one after the other, before and after its effect. Every time
// nothing is lost and nothing counted twice, and once the disk is sound the same
// succeeds: at once, or in the next process where the package history says so.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	disk := &failing{}
	r := newRig(t, func(o *store.Options) {
		disk.FS = history.OS(o.Dir)
		o.FS = disk
	})
	rnd := rand.New(rand.NewPCG(5, 6))
	seen := map[string]int{}
	for _, op := range []string{"publish", "compact", "erase"} {
		for _, after := range []bool{false, true} {
			for n := 1; ; n++ {
				if _, err := r.store.Retain(t.Context(), event.DayOf(noon+day)); err != nil { // keeps it small
					t.Fatal(err)
				}
				r.forget(func(event.Event) bool { return true })
				prepare(r, rnd)
				disk.arm(n, after)
				err := attempt(t, r, op)
				call := disk.failed()
				disk.arm(0, false)
				r.check()
				if call == "" {
					if err != nil {
						t.Fatalf("%s: %v", op, err)
					}
					break
				}
				seen[call]++
				if err != nil && !errors.Is(err, errDisk) {
					t.Fatalf("%s, %s %d: %v", op, call, n, err)
				}
				err = attempt(t, r, op)
				if call == "sync directory" && errors.Is(err, history.ErrFailed) {
					if r.store.Healthy(t.Context()) == nil {
						t.Fatalf("%s: healthy after a directory could not be synced", op)
					}
					r.reopen()
					err = attempt(t, r, op)
				}
				if err != nil {
					t.Fatalf("%s again after %s %d: %v", op, call, n, err)
				}
				r.check()
				r.checkFiles()
			}
		}
	}
	for _, call := range []string{"create", "write", "sync", "rename", "mkdir", "sync directory"} {
		if seen[call] == 0 {
			t.Errorf("no %s has failed", call)
		}
	}
}

// prepare leaves the rig with two parts of yesterday and some hot rows.
func prepare(r *rig, rnd *rand.Rand) {
	r.t.Helper()
	for range 2 {
		events := some(rnd, 20, 1)
		for i := range events {
			events[i].Time -= day
		}
		r.append(events...)
		r.flush(len(r.waiting))
		r.publish()
	}
	r.append(some(rnd, 20, 1)...)
	r.flush(len(r.waiting))
}

func attempt(t *testing.T, r *rig, op string) error {
	switch op {
	case "publish":
		_, err := r.store.Publish(t.Context())
		return err
	case "compact":
		_, err := r.store.Compact(t.Context())
		return err
	default:
		_, err := r.store.Erase(t.Context(), store.Erasure{Site: "a.example", To: noon - day})
		if err == nil {
			r.forget(func(e event.Event) bool { return e.Site == "a.example" && e.Time < noon-day })
		}
		return err
	}
}

// TestPublishRounds publishes a journal many times as large as what one round may
// take, with late events on more days than fit into one.
func TestPublishRounds(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) { o.PublishBytes = 8 << 10 })
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 10 {
		r.append(some(rnd, 100, 100)...)
	}
	if !r.store.PublishDue() {
		t.Error("a publish is not due")
	}
	r.flush(len(r.waiting))
	p := r.publish()
	if p.Events != 1000 || p.Parts != len(r.files()) || p.Parts < 100 || p.Bytes == 0 {
		t.Errorf("published %+v, %d files", p, len(r.files()))
	}
	r.check()
	st := r.store.Stats()
	if st.Publishes < 5 || st.HotRows != 0 || st.PartRows != 1000 || st.Published != 1000 || st.Parts != p.Parts {
		t.Errorf("stats %+v", st)
	}
	if j := r.ledger.Journal(); j.Events != 0 || r.store.PublishDue() {
		t.Errorf("journal %+v after a publish", j)
	}
	var entries int
	for block := range blocks(t, r) {
		for i := 24; i < len(block); i += 24 {
			if string(block[i-24:i-8]) > string(block[i:i+16]) {
				t.Fatal("an id block is not sorted")
			}
		}
		entries += len(block) / 24
	}
	if entries != 1000 {
		t.Errorf("%d ids in blocks, want 1000", entries)
	}
}

// TestPublishWithoutLens publishes when DuckDB cannot be asked for anything, as at
// the end of a process whose lens is broken.
func TestPublishWithoutLens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(some(rand.New(rand.NewPCG(5, 6)), 30, 3)...)
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "DROP SCHEMA hot CASCADE"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := r.store.Flush(t.Context(), r.waiting); err == nil {
		t.Fatal("flushed into nothing")
	}
	if r.store.Healthy(t.Context()) == nil {
		t.Error("healthy after a flush failed")
	}
	r.flushed = r.last
	r.publish()
	if err := r.store.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.check()
}

// TestLateDay publishes events of a day whose part exists already, twice over.
func TestLateDay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 3 {
		r.append(event.Event{Site: "a.example", Time: noon - 5*day, Received: noon, Name: fmt.Sprint(i), Via: event.ViaBatch, Scroll: event.NoScroll})
		r.flush(1)
		r.publish()
	}
	if n := len(r.files()); n != 3 {
		t.Fatalf("%d parts, want 3", n)
	}
	if n, err := r.store.Compact(t.Context()); err != nil || n != 3 {
		t.Fatalf("compacted %d parts, %v; want 3", n, err)
	}
	r.check()
	if files := r.files(); len(files) != 1 || !strings.HasPrefix(files[0], "events/date=2026-03-05/1-3") {
		t.Errorf("files %q, want one", files)
	}
}
