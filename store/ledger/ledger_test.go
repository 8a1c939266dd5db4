package ledger_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// open opens the ledger in dir. When the test ends it is verified and closed.
func open(t testing.TB, dir string, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger.db"), migrations.FS, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() && l.Failed() == nil {
			verify(t, l)
		}
		l.Close()
	})
	return l
}

// reopen closes l and opens it again.
func reopen(t testing.TB, dir string, l *ledger.Ledger) *ledger.Ledger {
	t.Helper()
	before, last := l.Journal(), l.LastSeq()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{})
	if got := l.Journal(); got != before || l.LastSeq() != last {
		t.Fatalf("reopened: journal %+v, last %d; want %+v, %d", got, l.LastSeq(), before, last)
	}
	return l
}

// verify checks what the package documentation says of every ledger, and that
// what is kept in memory is what is on disk.
func verify(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	if errors.Is(l.Failed(), ledger.ErrClosed) {
		return // by the test
	}
	_, published, err := l.Parts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	next := published + 1
	var want ledger.JournalStats
	err = l.Groups(context.Background(), 0, func(g ledger.Group) error {
		if g.First != next || g.Last-g.First+1 != int64(g.Count) {
			t.Fatalf("group %d-%d of %d events, want one that begins at %d", g.First, g.Last, g.Count, next)
		}
		if want.Groups == 0 {
			want.First, want.OldestReceived = g.First, g.Received
		}
		want.Groups++
		want.Events += int64(g.Count)
		want.Bytes += int64(len(g.Payload))
		want.Last = g.Last
		next = g.Last + 1
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Journal(); got != want {
		t.Fatalf("journal is said to be %+v, want %+v", got, want)
	}
	if got := l.LastSeq(); got != next-1 {
		t.Fatalf("LastSeq = %d, want %d", got, next-1)
	}
	verifyChain(t, l)
}

// group returns a group of count events after last. Its bytes follow from its
// numbers.
func group(last int64, count, size int) ledger.Group {
	g := ledger.Group{First: last + 1, Last: last + int64(count), Count: count, Received: 1_000_000 + last}
	g.Payload = bytes.Repeat(fmt.Appendf(nil, "%d-%d ", g.First, g.Last), size/4+1)[:size]
	return g
}

func add(t testing.TB, l *ledger.Ledger, count, size int) ledger.Group {
	t.Helper()
	g := group(l.LastSeq(), count, size)
	if err := l.Append(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func live(t testing.TB, l *ledger.Ledger, after int64) []ledger.Group {
	t.Helper()
	var all []ledger.Group
	if err := l.Groups(t.Context(), after, func(g ledger.Group) error { all = append(all, g); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func part(path string, first, last int64) event.Part {
	return event.Part{
		Path: path, Day: 20_413, First: first, Last: last, Rows: last - first + 1, Bytes: 1234, SHA256: [32]byte{1, 2, 3},
		MinTime: -5, MaxTime: 7, Sites: []string{"a.example", `"b"`}, Created: 9,
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	want := []ledger.Group{
		{First: 1, Last: 1, Count: 1, Received: 10, Payload: []byte("one"), IDs: []byte{}},
		{First: 2, Last: 65, Count: 64, Received: 20, Payload: bytes.Repeat([]byte("x"), 20_000), IDs: make([]byte, 48)},
		{First: 66, Last: 67, Count: 2, Received: 30, Payload: []byte{}, IDs: []byte{}},
	}
	for i, g := range want {
		if err := l.Append(g); err != nil {
			t.Fatal(err)
		}
		if got := live(t, l, 0); !reflect.DeepEqual(got, want[:i+1]) {
			t.Fatalf("got %v, want %v", got, want[:i+1])
		}
		l = reopen(t, dir, l)
	}
	if got, want := l.Journal(), (ledger.JournalStats{Groups: 3, Events: 67, Bytes: 20_003, First: 1, Last: 67, OldestReceived: 10}); got != want {
		t.Errorf("Journal = %+v, want %+v", got, want)
	}
	if got := live(t, l, 65); !reflect.DeepEqual(got, want[2:]) {
		t.Errorf("after 65: got %v, want %v", got, want[2:])
	}
	stop := errors.New("stop")
	if err := l.Groups(t.Context(), 0, func(ledger.Group) error { return stop }); err != stop {
		t.Errorf("Groups = %v, want the error of fn", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{})
	add(t, l, 3, 10)
	for _, c := range []struct {
		name string
		g    ledger.Group
	}{
		{"gap", ledger.Group{First: 5, Last: 5, Count: 1}},
		{"overlap", ledger.Group{First: 3, Last: 4, Count: 2}},
		{"nothing", ledger.Group{First: 4, Last: 3}},
		{"wrong count", ledger.Group{First: 4, Last: 5, Count: 3}},
		{"half an id", ledger.Group{First: 4, Last: 4, Count: 1, IDs: make([]byte, 23)}},
	} {
		if err := l.Append(c.g); err == nil || errors.Is(err, ledger.ErrFailed) {
			t.Errorf("%s: Append = %v, want an error that is not ErrFailed", c.name, err)
		}
	}
	add(t, l, 1, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Append":  l.Append(group(4, 1, 10)),
		"AddSite": l.AddSite(t.Context(), ledger.Site{Domain: "x"}),
		"Healthy": l.Healthy(t.Context()),
	} {
		if !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close again = %v", err)
	}
}

// TestCommit takes a history through a publish, a compaction and a retention,
// and reopens it after each.
func TestCommit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	for range 4 {
		add(t, l, 2, 100)
	}
	check := func(wantPublished int64, want ...event.Part) {
		t.Helper()
		l = reopen(t, dir, l)
		got, published, err := l.Parts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if published != wantPublished || len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("published %d, %+v\nwant %d, %+v", published, got, wantPublished, want)
		}
	}
	a, err := l.Commit(t.Context(), ledger.Change{Add: []event.Part{part("a", 1, 2), part("b", 3, 4)}, Published: 4})
	if err != nil {
		t.Fatal(err)
	}
	if a[0].ID == 0 || a[0].ID == a[1].ID {
		t.Fatalf("ids %d and %d", a[0].ID, a[1].ID)
	}
	check(4, a...)
	if got, want := l.Journal(), (ledger.JournalStats{Groups: 2, Events: 4, Bytes: 200, First: 5, Last: 8, OldestReceived: 1_000_004}); got != want {
		t.Errorf("Journal = %+v, want %+v", got, want)
	}
	if got := live(t, l, 0); len(got) != 2 || got[0].First != 5 {
		t.Errorf("%d live groups, want 2 from 5", len(got))
	}
	m, err := l.Commit(t.Context(), ledger.Change{Add: []event.Part{part("a.1", 1, 4)}, Remove: []int64{a[0].ID, a[1].ID}})
	if err != nil {
		t.Fatal(err)
	}
	if m[0].ID <= a[1].ID {
		t.Errorf("id %d is used again", m[0].ID)
	}
	check(4, m...)
	if err := l.Quarantine(t.Context(), m[0].ID, "short"); err != nil {
		t.Fatal(err)
	}
	m[0].Damaged = "short"
	check(4, m...)
	if err := l.Quarantine(t.Context(), m[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		c    ledger.Change
		want error // nil: any
	}{
		{"no such part", ledger.Change{Remove: []int64{m[0].ID, 99}}, ledger.ErrNotFound},
		{"same path", ledger.Change{Add: []event.Part{part("c", 5, 6), part("a.1", 5, 6)}, Published: 6}, ledger.ErrExists},
		{"no path", ledger.Change{Add: []event.Part{part("", 5, 6)}, Published: 6}, nil},
		{"back", ledger.Change{Published: 2}, nil},
		{"inside a group", ledger.Change{Published: 5}, nil},
		{"past the end", ledger.Change{Published: 9}, nil},
		{"ids out of order", ledger.Change{Published: 6, IDs: append(bytes.Repeat([]byte{2}, 24), make([]byte, 24)...)}, nil},
		{"half an id", ledger.Change{Published: 6, IDs: make([]byte, 25)}, nil},
	} {
		_, err := l.Commit(t.Context(), c.c)
		if err == nil || errors.Is(err, ledger.ErrFailed) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Commit = %v, want %v", c.name, err, c.want)
		}
	}
	m[0].Damaged = ""
	check(4, m...)
	if _, err := l.Commit(t.Context(), ledger.Change{Remove: []int64{m[0].ID}, Published: 8}); err != nil {
		t.Fatal(err)
	}
	check(8)
	if got := l.Journal(); got != (ledger.JournalStats{}) {
		t.Errorf("Journal = %+v, want nothing", got)
	}
	for more := true; more; {
		if more, err = l.TrimJournal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check(8)
	if g := add(t, l, 1, 10); g.First != 9 {
		t.Errorf("the next event is %d, want 9", g.First)
	}
	if err := l.Quarantine(t.Context(), 99, "x"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("Quarantine = %v, want ErrNotFound", err)
	}
}

// TestTrim checks that a trim takes about 1 MiB at a time and leaves what lives.
func TestTrim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	for range 100 {
		add(t, l, 1, 50_000)
	}
	if more, err := l.TrimJournal(t.Context()); more || err != nil {
		t.Fatalf("nothing is dead, but TrimJournal = %t, %v", more, err)
	}
	if _, err := l.Commit(t.Context(), ledger.Change{Published: 99}); err != nil {
		t.Fatal(err)
	}
	calls := 1
	for {
		more, err := l.TrimJournal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		calls++
		l = reopen(t, dir, l)
	}
	if calls != 5 { // 99 × 50 kB in steps of 21 groups
		t.Errorf("%d calls, want 5", calls)
	}
	if got := rows(t, filepath.Join(dir, "ledger.db"), l, "journal"); got != 1 {
		t.Errorf("%d rows left, want 1", got)
	}
}

// rows closes l and counts the rows of a table.
func rows(t testing.TB, path string, l *ledger.Ledger, table string) (n int) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// raw opens the file of a closed ledger as any program would.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// steps are the names of the migrations.
func steps(t testing.TB) []string {
	t.Helper()
	names, err := fs.Glob(migrations.FS, "ledger/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// older returns the first migrations.
func older(t testing.TB, n int) fstest.MapFS {
	t.Helper()
	names := steps(t)
	some := make(fstest.MapFS)
	for _, name := range names[:n] {
		b, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		some[name] = &fstest.MapFile{Data: b}
	}
	return some
}

func TestNewer(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	future := older(t, 3)
	future["ledger/00099_future.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE future (x INTEGER);\n")}
	l, err := ledger.Open(t.Context(), path, future, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ledger.Open(t.Context(), path, migrations.FS, ledger.Options{})
	if !errors.Is(err, ledger.ErrNewer) || !strings.Contains(err.Error(), fmt.Sprintf("version 99 and this program knows %d; run the newer program", len(steps(t)))) {
		t.Errorf("Open = %v, want ErrNewer with both versions and the remedy", err)
	}
	if _, err := ledger.Status(t.Context(), path, migrations.FS); !errors.Is(err, ledger.ErrNewer) {
		t.Errorf("Status = %v, want ErrNewer", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	if _, err := raw(t, other).Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no database\n"), 400), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, text} {
		before, _ := os.ReadFile(path)
		if _, err := ledger.Open(t.Context(), path, migrations.FS, ledger.Options{}); !errors.Is(err, ledger.ErrForeign) {
			t.Errorf("Open = %v, want ErrForeign", err)
		}
		if _, err := ledger.Status(t.Context(), path, migrations.FS); !errors.Is(err, ledger.ErrForeign) {
			t.Errorf("Status = %v, want ErrForeign", err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s has changed", path)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if _, err := ledger.Status(t.Context(), path, migrations.FS); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Status = %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ledger.Status(t.Context(), path, migrations.FS)
	n := len(steps(t))
	if err != nil || len(got) != n || got[0].Version != 1 || got[0].Name != "00001_ledger.sql" || !got[0].Applied.IsZero() || !got[n-1].Applied.IsZero() {
		t.Fatalf("Status = %+v, %v; want %d that are not applied", got, err, n)
	}
	if i, err := os.Stat(path); err != nil || i.Size() != 0 {
		t.Fatalf("Status has changed the file: %v", err)
	}
	l := open(t, filepath.Dir(path), ledger.Options{})
	if i, err := os.Stat(path); err != nil || i.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", i.Mode())
	}
	open, err := l.Migrations(t.Context())
	if err != nil || len(open) != n || time.Since(open[n-1].Applied).Abs() > time.Minute {
		t.Errorf("Migrations = %+v, %v; want %d applied now", open, err, n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err = ledger.Status(t.Context(), path, migrations.FS); err != nil || !reflect.DeepEqual(got, open) {
		t.Errorf("Status = %+v, %v; want %+v", got, err, open)
	}
	newer := older(t, n)
	newer[fmt.Sprintf("ledger/%05d_more.sql", n+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\nSELECT 1;")}
	got, err = ledger.Status(t.Context(), path, newer)
	if err != nil || len(got) != n+1 || got[n-1].Applied.IsZero() || !got[n].Applied.IsZero() {
		t.Errorf("Status = %+v, %v; want all but the last applied", got, err)
	}
}

// BenchmarkAppend measures one commit, beside the write and sync of as many
// bytes to a plain file.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ count, size int }{{1, 320}, {64, 20_000}} {
		b.Run(fmt.Sprintf("events=%d", c.count), func(b *testing.B) {
			l := open(b, b.TempDir(), ledger.Options{})
			g := group(0, c.count, c.size)
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				g.First, g.Last = l.LastSeq()+1, l.LastSeq()+int64(c.count)
				start := time.Now()
				if err := l.Append(g); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			report(b, took)
		})
		b.Run(fmt.Sprintf("sync=%d", c.count), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "f"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, c.size)
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := f.Write(buf); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			report(b, took)
		})
	}
}

// report adds the median and the 99th percentile, in µs.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "commits/s")
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
