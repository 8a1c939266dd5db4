package history_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

// TestWriteTranscript holds the order of operations that the package's
// documentation promises.
func TestWriteTranscript(t *testing.T) {
	t.Parallel()
	m := newMemFS()
	write(t, history.Open(m), web(1, 100))
	got := strings.Join(m.log, "\n")
	want := strings.TrimSpace(`
mkdir tmp
create tmp/part-1.parquet
write tmp/part-1.parquet
sync tmp/part-1.parquet
close tmp/part-1.parquet
open tmp/part-1.parquet
read tmp/part-1.parquet
close tmp/part-1.parquet
mkdir events
mkdir events/date=2025-11-21
stat events/date=2025-11-21/1-100.parquet
rename tmp/part-1.parquet events/date=2025-11-21/1-100.parquet
syncdir events/date=2025-11-21
syncdir events
syncdir .`)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// life is what the crash tests do: two writes, a merge of both, removal of the
// old parts. After each step it tells the ledger, whose transactions are taken
// to be durable.
func life(fs *memFS, ledger func(add []event.Part, remove ...event.Part)) error {
	d, ctx := history.Open(fs), context.Background()
	all := web(7, 600)
	a, err := d.Write(ctx, day, rows(all[:200]))
	if err != nil {
		return err
	}
	ledger([]event.Part{a})
	b, err := d.Write(ctx, day, rows(all[200:]))
	if err != nil {
		return err
	}
	ledger([]event.Part{b})
	c, err := d.Merge(ctx, day, []event.Part{a, b}, func(e *event.Event) bool { return e.Seq%5 != 0 })
	if err != nil {
		return err
	}
	ledger([]event.Part{c}, a, b)
	if err := d.Remove(a.Path); err != nil {
		return err
	}
	return d.Remove(b.Path)
}

// A world is a file system and what the ledger lists of it.
type world struct {
	fs     *memFS
	listed map[string]event.Part
	whole  map[string]bool // the content of every part that life makes
}

func newWorld(t *testing.T) func() *world {
	t.Helper()
	ref := newMemFS()
	whole := map[string]bool{}
	err := life(ref, func([]event.Part, ...event.Part) {
		for _, data := range ref.files("events") {
			whole[data] = true
		}
	})
	if err != nil || len(whole) != 3 {
		t.Fatalf("%d parts, %v; want 3", len(whole), err)
	}
	return func() *world { return &world{newMemFS(), map[string]event.Part{}, whole} }
}

func (w *world) ledger(add []event.Part, remove ...event.Part) {
	for _, p := range add {
		w.listed[p.Path] = p
	}
	for _, p := range remove {
		delete(w.listed, p.Path)
	}
}

// check returns what fs lacks of the promise.
func (w *world) check(fs *memFS) (broken []string) {
	for name, data := range fs.files("events") {
		if !w.whole[data] {
			broken = append(broken, fmt.Sprintf("%s is not whole: %d bytes", name, len(data)))
		}
	}
	d := history.Open(fs)
	listed := map[string]bool{}
	for name := range w.listed {
		listed[name] = true
	}
	if _, err := d.Sweep(listed); err != nil {
		broken = append(broken, err.Error())
	}
	for _, p := range w.listed {
		if err := d.Verify(context.Background(), p); err != nil {
			broken = append(broken, err.Error())
		}
	}
	for name := range union2(fs.files("events"), fs.files("tmp")) {
		if !listed[name] {
			broken = append(broken, name+" is left over")
		}
	}
	return broken
}

func union2(a, b map[string]string) map[string]string {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

// powerCut cuts the power at every operation of life, before and after it took
// effect, keeps different shares of what was not synced, and returns everything
// that broke the promise.
func powerCut(t *testing.T, seed uint64, forgetFiles, forgetDirs bool) (broken []string, cuts int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	fresh := newWorld(t)
	for at, over := 1, false; !over; at++ {
		for _, done := range []bool{false, true} {
			w := fresh()
			w.fs.at, w.fs.done, w.fs.changes = at, done, true
			w.fs.forgetFiles, w.fs.forgetDirs = forgetFiles, forgetDirs
			var op string
			var crashed []*memFS
			w.fs.hit = func(line string) {
				op = line
				for _, keep := range []float64{0, 0.25, 0.5, 0.75, 1} {
					crashed = append(crashed, w.fs.crash(r, keep))
				}
			}
			if life(w.fs, w.ledger) == nil && op == "" {
				over = true
				for _, keep := range []float64{0, 0.5, 1} { // a cut after the end
					crashed = append(crashed, w.fs.crash(r, keep))
				}
			}
			for _, fs := range crashed {
				cuts++
				for _, b := range w.check(fs) {
					broken = append(broken, fmt.Sprintf("cut at operation %d (%s), done %t: %s", at, op, done, b))
				}
			}
		}
	}
	return broken, cuts
}

// TestPowerCut checks the promise: what Write returned is whole after any later
// crash; before, it is absent, or whole and not listed. The two negative
// controls take away a sync each and must be found out.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	broken, cuts := powerCut(t, seed, false, false)
	if len(broken) > 0 {
		t.Errorf("%d of %d cuts broke the promise, first: %s", len(broken), cuts, broken[0])
	}
	t.Logf("%d cuts", cuts)
	if broken, _ := powerCut(t, seed, true, false); len(broken) == 0 {
		t.Error("without file syncs nothing was lost: the test finds nothing")
	}
	if broken, _ := powerCut(t, seed, false, true); len(broken) == 0 {
		t.Error("without directory syncs nothing was lost: the test finds nothing")
	}
}

// TestInjectedErrors lets every operation of life fail once, with and without
// effect: the call returns the error and leaves nothing behind, or was not
// concerned; and all that is listed stays whole.
func TestInjectedErrors(t *testing.T) {
	t.Parallel()
	failures := 0
	fresh := newWorld(t)
	for at, over := 1, false; !over; at++ {
		for _, done := range []bool{false, true} {
			w := fresh()
			w.fs.at, w.fs.done, w.fs.once = at, done, true
			var op string
			w.fs.hit = func(line string) { op = line }
			err := life(w.fs, w.ledger)
			w.fs.at, over = 0, op == ""
			what, _, _ := strings.Cut(op, " ")
			switch {
			case err != nil:
				failures++
				if !errors.Is(err, errInjected) {
					t.Errorf("operation %d (%s), done %t: error %q hides its cause", at, op, done, err)
				}
			case slices.Contains([]string{"", "close", "remove", "readdir"}, what):
			case what == "read" && done: // a read that gave all the bytes is good
			default:
				t.Errorf("operation %d (%s), done %t: its error was not returned", at, op, done)
			}
			removing := what == "remove" || what == "readdir" // of the old parts: the second is not listed but still there
			for name := range union2(w.fs.files("events"), w.fs.files("tmp")) {
				if _, ok := w.listed[name]; !ok && !removing {
					t.Errorf("operation %d (%s), done %t: %s is left", at, op, done, name)
				}
			}
			for _, b := range w.check(w.fs) {
				t.Errorf("operation %d (%s), done %t: %s", at, op, done, b)
			}
		}
	}
	if failures < 60 {
		t.Errorf("only %d operations failed", failures)
	}
}

// TestFailed: after a directory could not be synced nobody writes any more.
func TestFailed(t *testing.T) {
	t.Parallel()
	m := newMemFS()
	d := history.Open(m)
	probe := newMemFS()
	write(t, history.Open(probe), web(1, 10))
	m.at, m.once = probe.ops, true // the last operation: syncdir .
	if _, err := d.Write(t.Context(), day, rows(web(1, 10))); !errors.Is(err, errInjected) || !errors.Is(err, history.ErrFailed) {
		t.Fatalf("got %v, want ErrFailed and the injected fault", err)
	}
	if _, err := d.Write(t.Context(), day, rows(web(1, 10))); !errors.Is(err, history.ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	if got := slices.Collect(maps.Keys(m.files("."))); len(got) > 0 {
		t.Errorf("left %q, want nothing", got)
	}
}
