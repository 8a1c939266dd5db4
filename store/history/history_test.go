package history_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	d := history.Open(history.OS(t.TempDir()))
	long := wild(3, 2)
	long[0].Props, long[1].Title = strings.Repeat("p", 1<<20), strings.Repeat("ü", 1<<20)
	for name, want := range map[string][]event.Event{
		"wild": wild(1, 5000), "web": web(1, 3000), "one": wild(2, 1), "long": long,
	} {
		p := write(t, d, want)
		if err := d.Verify(t.Context(), p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Check(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := collect(d.Read(t.Context(), p))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		equal(t, name, got, want)
	}
}

func equal(t *testing.T, name string, got, want []event.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d events, want %d", name, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: event %d:\ngot  %+v\nwant %+v", name, i, got[i], want[i])
		}
	}
}

// TestPart checks what the ledger is told of a part, and where it is.
func TestPart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := history.Open(history.OS(dir))
	d.Now = func() time.Time { return time.UnixMicro(4711) }
	start := day.Start()
	events := []event.Event{
		{Seq: 9, Site: "a", Time: start + 5}, {Seq: 3, Site: "a", Time: start + 7},
		{Seq: 4, Site: "b", Time: start}, {Seq: 5, Site: "b", Time: start},
	}
	got := write(t, d, events)
	want := event.Part{
		Path: "events/date=2025-11-21/3-9.parquet", Day: day, First: 3, Last: 9, Rows: 4, Bytes: got.Bytes, SHA256: got.SHA256,
		MinTime: start, MaxTime: start + 7, Sites: []string{"a", "b"}, Created: 4711,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, path := range []string{"events/date=2025-11-21/3-9.1.parquet", "events/date=2025-11-21/3-9.2.parquet"} {
		if p := write(t, d, events); p.Path != path {
			t.Errorf("part %d again is %s, want %s", i, p.Path, path)
		}
	}
	for path, mode := range map[string]fs.FileMode{got.Path: 0o600, "events": fs.ModeDir | 0o700, filepath.Dir(got.Path): fs.ModeDir | 0o700} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode(), err, mode)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, got.Path)); err != nil || info.Size() != got.Bytes {
		t.Errorf("size %d (%v), want %d", info.Size(), err, got.Bytes)
	}
}

// TestSchema holds the schema to event.Columns, and each column of what Read
// decodes to the column of that name.
func TestSchema(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := history.Open(history.OS(dir))
	want := wild(5, 50)
	p := write(t, d, want)
	f, err := os.Open(filepath.Join(dir, p.Path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pf, err := parquet.OpenFile(f, p.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"eider.version": "1", "eider.first": "1", "eider.last": "50"} {
		if got, _ := pf.Lookup(key); got != want {
			t.Errorf("metadata %s is %q, want %q", key, got, want)
		}
	}
	types := map[event.Kind]string{
		event.Int64: "INT(64,true)", event.Int32: "INT(32,true)", event.Bool: "BOOLEAN", event.Text: "STRING",
		event.Time: "TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)", event.UUID: "UUID", event.Decimal: "DECIMAL(18,4)", event.JSON: "STRING",
	}
	columns := pf.Root().Columns()
	if len(columns) != len(event.Columns) {
		t.Fatalf("%d columns, want %d", len(columns), len(event.Columns))
	}
	for i, c := range event.Columns {
		got := columns[i]
		if got.Name() != c.Name || got.Optional() != c.Nullable || got.Required() == c.Nullable || got.Type().String() != types[c.Kind] {
			t.Errorf("column %d is %s %v, optional %t; want %s %s, optional %t",
				i, got.Name(), got.Type(), got.Optional(), c.Name, types[c.Kind], c.Nullable)
		}
		events, err := collect(d.Read(t.Context(), p, c.Name))
		if err != nil {
			t.Fatal(err)
		}
		for j, e := range events {
			if show(c, &e) != show(c, &want[j]) {
				t.Errorf("column %s of event %d is %s, want %s", c.Name, j, show(c, &e), show(c, &want[j]))
			}
			if other := event.Columns[(i+1)%len(event.Columns)]; other.Nullable && other.Name != "revenue" && !other.Null(&e) {
				t.Errorf("column %s was read though only %s was asked for", other.Name, c.Name)
			}
		}
	}
	if _, err := collect(d.Read(t.Context(), p, "address")); err == nil {
		t.Error("a column that there is not was read")
	}
}

// show returns the value of a column, whatever it is, as text.
func show(c event.Column, e *event.Event) string {
	switch c.Kind {
	case event.Text, event.JSON:
		return fmt.Sprintf("%q", c.Str(e))
	case event.UUID:
		return c.ID(e).String()
	default:
		return fmt.Sprint(c.Num(e))
	}
}

// TestWriteRefuses: what is not a part's content is an error, and leaves nothing.
func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	start := day.Start()
	broken := errors.New("the journal broke")
	for name, c := range map[string]struct {
		events []event.Event
		err    error
	}{
		"unsorted sites": {events: []event.Event{{Seq: 1, Site: "b", Time: start}, {Seq: 2, Site: "a", Time: start}}},
		"unsorted times": {events: []event.Event{{Seq: 1, Time: start + 1}, {Seq: 2, Time: start}}},
		"twice":          {events: []event.Event{{Seq: 1, Time: start}, {Seq: 1, Time: start}}},
		"day before":     {events: []event.Event{{Seq: 1, Time: start - 1}}},
		"day after":      {events: []event.Event{{Seq: 1, Time: start + 86_400_000_000}}},
		"error":          {events: web(1, 1000), err: broken},
	} {
		m := newMemFS()
		p, err := history.Open(m).Write(t.Context(), day, func(yield func(event.Event, error) bool) {
			for e := range rows(c.events) {
				if !yield(e, nil) {
					return
				}
			}
			if c.err != nil {
				yield(event.Event{}, c.err)
			}
		})
		if err == nil || c.err != nil && !errors.Is(err, c.err) || p.Path != "" {
			t.Errorf("%s: got %+v, %v; want an error", name, p, err)
		}
		if left := m.files("."); len(left) > 0 {
			t.Errorf("%s: left %d files", name, len(left))
		}
	}
	m := newMemFS()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := history.Open(m).Write(ctx, day, rows(web(1, 10))); !errors.Is(err, context.Canceled) || len(m.files(".")) > 0 {
		t.Errorf("cancelled: %v, %d files; want none", err, len(m.files(".")))
	}
	if p, err := history.Open(m).Write(t.Context(), day, rows(nil)); err != nil || p.Rows != 0 || p.Path != "" || len(m.log) > 0 {
		t.Errorf("no rows: %+v, %v, %q; want an empty part and nothing done", p, err, m.log)
	}
}

// TestBadUTF8: a byte that no engine could read does not get into a part.
func TestBadUTF8(t *testing.T) {
	t.Parallel()
	d := history.Open(newMemFS())
	p := write(t, d, []event.Event{{Seq: 1, Time: day.Start(), Title: "a\xffb"}})
	got, err := collect(d.Read(t.Context(), p))
	if err != nil || len(got) != 1 || got[0].Title != "a\ufffdb" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestMerge compares Merge with sorting everything in memory, for random
// divisions into parts, more of them than are read in one pass.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ events, parts int }{{100, 1}, {1000, 2}, {2000, 7}, {3000, 150}} {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 3))
		all := wild(seed, c.events)
		split := make([][]event.Event, c.parts)
		for i, e := range all {
			n := r.IntN(c.parts)
			if i < c.parts {
				n = i // none is empty
			}
			split[n] = append(split[n], e)
		}
		m := newMemFS()
		d := history.Open(m)
		var parts []event.Part
		for _, events := range split {
			parts = append(parts, write(t, d, events))
		}
		before := m.files("events")
		asked := 0
		for name, keep := range map[string]func(*event.Event) bool{
			"all":  nil,
			"some": func(e *event.Event) bool { asked++; return e.Seq%3 != 0 },
			"none": func(e *event.Event) bool { return false },
		} {
			name = fmt.Sprintf("seed %d, %d parts, %s", seed, c.parts, name)
			want := slices.DeleteFunc(slices.Clone(all), func(e event.Event) bool { return keep != nil && !keep(&e) })
			asked = 0
			p, err := d.Merge(t.Context(), day, parts, keep)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if asked != 0 && asked != len(all) {
				t.Errorf("%s: keep was asked %d times, want %d", name, asked, len(all))
			}
			if len(want) == 0 {
				if p.Path != "" || p.Rows != 0 {
					t.Errorf("%s: got %+v, want no part", name, p)
				}
				continue
			}
			got, err := collect(d.Read(t.Context(), p))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			equal(t, name, got, want)
			if err := d.Verify(t.Context(), p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := d.Remove(p.Path); err != nil {
				t.Error(err)
			}
		}
		if after := m.files("."); !reflect.DeepEqual(after, before) {
			t.Errorf("seed %d, %d parts: %d files after, want the %d before", seed, c.parts, len(after), len(before))
		}
		if c.parts > 64 && !slices.Contains(m.log, fmt.Sprintf("open tmp/part-%d.parquet", c.parts+1)) {
			t.Errorf("%d parts were merged in one pass", c.parts)
		}
	}
}

// TestMergeTwice: a seq in two parts is our own bug, and found.
func TestMergeTwice(t *testing.T) {
	t.Parallel()
	d := history.Open(newMemFS())
	p, q := write(t, d, web(1, 100)), write(t, d, web(1, 100))
	if _, err := d.Merge(t.Context(), day, []event.Part{p, q}, nil); err == nil {
		t.Error("got nil, want an error")
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) history.FS{
		"memory": func(*testing.T) history.FS { return newMemFS() },
		"disk":   func(t *testing.T) history.FS { return history.OS(t.TempDir()) },
	} {
		fsys := open(t)
		d := history.Open(fsys)
		if removed, err := d.Sweep(nil); err != nil || len(removed) > 0 {
			t.Errorf("%s: empty directory: %q, %v", name, removed, err)
		}
		keep, drop := write(t, d, web(1, 10)), write(t, d, web(1, 20))
		for _, dir := range []string{"events/date=2025-11-20", "tmp/deep"} {
			if err := fsys.Mkdir(dir); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"events/date=2025-11-20/1-2.parquet", "events/readme", "tmp/part-9.parquet", "tmp/deep/x", "ledger.db"} {
			f, err := fsys.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		removed, err := d.Sweep(map[string]bool{keep.Path: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		slices.Sort(removed)
		want := []string{
			"events/date=2025-11-20", "events/date=2025-11-20/1-2.parquet", drop.Path, "events/readme",
			"tmp/deep", "tmp/deep/x", "tmp/part-9.parquet",
		}
		if !slices.Equal(removed, want) {
			t.Errorf("%s: removed\n%q, want\n%q", name, removed, want)
		}
		if err := d.Verify(t.Context(), keep); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := fsys.Stat("ledger.db"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		write(t, d, web(1, 30))
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := history.Open(history.OS(dir))
	p := write(t, d, web(1, 10))
	for range 2 { // the second finds nothing, which is fine
		if err := d.Remove(p.Path); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "events")); err != nil || len(left) > 0 {
		t.Errorf("%d directories are left (%v), want none", len(left), err)
	}
	if err := d.Remove("../" + filepath.Base(dir) + "/events"); err == nil {
		t.Error("a path out of the data directory was removed")
	}
}

// TestMemory writes, merges and reads 160 MB of texts of which no two are equal
// and watches the heap.
func TestMemory(t *testing.T) { // not parallel: others would count
	if testing.Short() {
		t.Skip("takes two seconds")
	}
	const n, limit = 20_000, 140 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // garbage is not what is measured
	d := history.Open(history.OS(t.TempDir()))
	var base, peak uint64
	watch := func() {
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		peak = max(peak, s.HeapAlloc)
	}
	runtime.GC()
	watch()
	base, peak = peak, 0
	big := func(first int) func(func(event.Event, error) bool) {
		r := rand.New(rand.NewPCG(1, uint64(first)))
		return func(yield func(event.Event, error) bool) {
			text := make([]byte, 8<<10)
			for i := range n / 2 {
				for j := range text {
					text[j] = ' ' + byte(r.IntN(90))
				}
				if i%200 == 0 {
					watch()
				}
				e := event.Event{Seq: int64(first + 2*i), Time: day.Start() + int64(first+2*i), Props: string(text)}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	var parts []event.Part
	for first := range 2 {
		p, err := d.Write(t.Context(), day, big(first+1))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	wrote := peak - base
	i := 0
	p, err := d.Merge(t.Context(), day, parts, func(*event.Event) bool {
		if i++; i%200 == 0 {
			watch()
		}
		return true
	})
	if err != nil || p.Rows != n {
		t.Fatalf("%d rows, %v; want %d", p.Rows, err, n)
	}
	t.Logf("peak heap: %d MiB writing, %d MiB merging", wrote>>20, (peak-base)>>20)
	if wrote > limit || peak-base > limit {
		t.Errorf("peak heap %d MiB, want at most %d", (peak-base)>>20, limit>>20)
	}
}
