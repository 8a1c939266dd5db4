package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// TestLocked tries to get out of the lens: to other files, to other databases,
// to code and to settings.
func TestLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(r.dir, "out.csv")
	for _, c := range []struct{ stmt, want string }{
		{"SELECT * FROM read_text('/etc/passwd')", "Permission"},
		{"SELECT * FROM '" + secret + "'", ""},
		{"SELECT * FROM read_csv('" + secret + "')", "Permission"},
		{"SELECT * FROM read_csv('" + r.dir + "/events/../ledger.db')", "Permission"},
		{"SELECT * FROM read_blob('" + r.dir + "/ledger.db')", "Permission"},
		{"SELECT * FROM glob('/*')", "Permission"},
		{"COPY (SELECT 1) TO '" + out + "'", "Permission"},
		{"EXPORT DATABASE '" + out + "'", "Permission"},
		{"ATTACH '" + filepath.Join(r.dir, "other.duckdb") + "'", "Permission"},
		{"ATTACH '" + filepath.Join(r.dir, "ledger.db") + "' (TYPE sqlite)", ""},
		{"INSTALL httpfs", "Permission"},
		{"LOAD httpfs", "disabled"},
		{"LOAD '" + secret + "'", "disabled"},
		{"SET memory_limit = '1TB'", "locked"},
		{"SET threads = 64", "locked"},
		{"SET enable_external_access = true", ""},
		{"SET lock_configuration = false", "locked"},
		{"SET TimeZone = 'Europe/Berlin'", "locked"},
		{"RESET memory_limit", "locked"},
		{"PRAGMA memory_limit = '1TB'", "locked"},
		{"SET allowed_directories = ['/']", ""},
		{"SET temp_directory = '/'", "locked"},
		{"SELECT getenv('HOME')", "getenv"},
	} {
		conn, err := r.store.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.ExecContext(t.Context(), c.stmt)
		conn.Close()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.stmt, err, c.want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written outside")
	}
}

// full returns an event with a value in every column that may be null, and one
// with none.
func fullAndEmpty() []event.Event {
	full := event.Event{
		Site: "a.example", Time: noon, Received: noon + 1, Name: "Sale", Via: event.ViaBatch,
		Visitor: event.ID{0xff, 1}, Visit: 7, VisitStart: noon - 2, User: event.ID{2}, Dedupe: event.ID{15: 3}, Interactive: true,
		Hostname: "h", Path: "/ü", Title: "t", EntryHostname: "eh", EntryPath: "/e", Referrer: "r", Source: "s", Channel: "c",
		UTMSource: "us", UTMMedium: "um", UTMCampaign: "uc", UTMContent: "ut", UTMTerm: "te", ClickID: "gclid",
		Browser: "b", BrowserVersion: "1", OS: "o", OSVersion: "2", Device: "desktop", Screen: 1024, Language: "de",
		Country: "DE", Region: "DE-BE", RegionName: "Berlin", City: "Berlin", CityID: 9, Revenue: -123_4567, Currency: "EUR",
		Props: `{"a":"b"}`, EngagedMS: 12, Scroll: 0,
	}
	return []event.Event{full, {Site: "a.example", Time: noon, Received: noon, Name: "n", Via: event.ViaPage, Scroll: event.NoScroll}}
}

// TestSameTypes reads the same events from hot rows and from a part: names, types
// and values must not differ, and be those of the relation of an empty store.
func TestSameTypes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sn := r.store.Snapshot()
	defer sn.Release()
	types := describe(t, r.store, sn)
	if len(types) != len(event.Columns) {
		t.Fatalf("%d columns, want %d", len(types), len(event.Columns))
	}
	r.append(fullAndEmpty()...)
	r.flush(2)
	hot := r.store.Snapshot()
	defer hot.Release()
	r.publish()
	cold := r.store.Snapshot()
	defer cold.Release()
	for name, sn := range map[string]*store.Snapshot{"hot": hot, "part": cold} {
		if diff := cmp.Diff(types, describe(t, r.store, sn)); diff != "" {
			t.Errorf("types, empty - %s +:\n%s", name, diff)
		}
	}
	rows := rowsAsText(t, r.store, hot)
	if diff := cmp.Diff(rows, rowsAsText(t, r.store, cold)); diff != "" {
		t.Errorf("rows, hot - part +:\n%s", diff)
	}
	want := []string{
		"1", "a.example", "2026-03-10 12:00:00+00", "2026-03-10 12:00:00.000001+00", "Sale", "batch",
		"ff010000-0000-0000-0000-000000000000", "7", "2026-03-10 11:59:59.999998+00",
		"02000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000003", "true",
		"h", "/ü", "t", "eh", "/e", "r", "s", "c", "us", "um", "uc", "ut", "te", "gclid", "b", "1", "o", "2", "desktop", "1024", "de",
		"DE", "DE-BE", "Berlin", "Berlin", "9", "-123.4567", "EUR", `{"a":"b"}`, "12", "0",
	}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("row, want - got +:\n%s", diff)
	}
	for i, c := range event.Columns {
		if null := rows[1][i] == "NULL"; null != c.Nullable {
			t.Errorf("column %s of an empty event: null is %t", c.Name, null)
		}
	}
}

func describe(t *testing.T, s *store.Store, sn *store.Snapshot) (types []string) {
	for _, row := range table(t, s, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+sn.Relation("", 0, 0)+")") {
		types = append(types, strings.Join(row, " "))
	}
	return types
}

func rowsAsText(t *testing.T, s *store.Store, sn *store.Snapshot) [][]string {
	return table(t, s, "SELECT CAST(COLUMNS(*) AS VARCHAR) FROM "+sn.Relation("", 0, 0)+" ORDER BY seq::BIGINT")
}

// table returns the rows of a query as text.
func table(t *testing.T, s *store.Store, query string) (list [][]string) {
	t.Helper()
	conn, err := s.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, into := make([]*string, len(names)), make([]any, len(names))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(row))
		for i, s := range row {
			texts[i] = "NULL"
			if s != nil {
				texts[i] = *s
			}
		}
		list = append(list, texts)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestCorruptLens opens a store whose lens.duckdb is cut, garbled, foreign or of
// another version, with and without a log beside it: it is made anew and every
// event is there.
func TestCorruptLens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	r.append(some(rnd, 30, 2)...)
	r.flush(10)
	r.publish()
	r.append(some(rnd, 30, 2)...)
	r.close()
	path := filepath.Join(r.dir, "lens.duckdb")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"empty":   {},
		"garbage": []byte(strings.Repeat("not a database. ", 4096)),
		"sqlite":  append([]byte("SQLite format 3\x00"), make([]byte, 8192)...),
		"zeroed":  make([]byte, len(sound)),
	}
	for _, cut := range []int{1, 8, 4095, 4096, 8192, 12287, 12288, 12289, len(sound) / 2, len(sound) - 4096, len(sound) - 1} {
		files[fmt.Sprintf("cut at %d", cut)] = sound[:cut]
	}
	for _, at := range []int{9, 100, 4096 + 8, 8192 + 8, 12288, 12288 + 100, len(sound) - 10} {
		b := append([]byte(nil), sound...)
		b[at] ^= 0xff
		files[fmt.Sprintf("byte %d", at)] = b
	}
	for name, content := range files {
		for _, wal := range []string{"", "garbage as a log"} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Remove(path + ".wal")
			if wal != "" {
				if err := os.WriteFile(path+".wal", []byte(wal), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r.open()
			r.check()
			if err := r.store.Healthy(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if name == "garbage" && r.store.Stats().LensRebuilds != 1 {
				t.Errorf("%s: %d rebuilds, want 1", name, r.store.Stats().LensRebuilds)
			}
			r.close()
		}
	}
	r.open()
}

// TestLensVersion opens a lens that another version has stamped.
func TestLensVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "INSERT INTO lens.stamp (version) VALUES (99)"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	r.reopen()
	if n := r.store.Stats().LensRebuilds; n != 1 {
		t.Errorf("%d rebuilds, want 1", n)
	}
	r.reopen()
	if n := r.store.Stats().LensRebuilds; n != 0 {
		t.Errorf("%d rebuilds of a new lens, want 0", n)
	}
}

// TestRebuild throws the lens away under a reader: what it then gets is an error
// or the truth.
func TestRebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	r.append(some(rnd, 100, 2)...)
	r.flush(100)
	r.publish()
	r.append(some(rnd, 50, 2)...)
	r.flush(20)
	sn := r.store.Snapshot()
	defer sn.Release()
	if err := r.store.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.flushed = r.last
	r.check()
	if n, err := count(t, r.store, sn); err == nil {
		t.Errorf("a snapshot of the old lens counts %d without an error", n)
	}
	q := event.Query{Site: "a.example", From: midnight - 400*day, To: midnight + 400*day, Metrics: []event.Metric{event.Events}}
	if a, err := r.store.Ask(t.Context(), sn, q); !errors.Is(err, store.ErrLens) {
		t.Errorf("asked of a snapshot of the old lens: %v, %v; want %v", a, err, store.ErrLens)
	}
	waiting := r.waiting
	if err := r.store.Flush(t.Context(), waiting); err != nil { // the rebuild has read them already
		t.Fatal(err)
	}
	r.waiting = nil
	r.check()
	r.publish()
	r.check()
}

// TestCrampedStart opens a store whose journal has more than DuckDB takes in: it is
// published.
func TestCrampedStart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		r.append(some(rnd, 4096, 2)...)
	}
	r.opts.MemoryLimit = 16 << 20
	r.reopen()
	r.check()
	if n := r.store.Stats().Published; n != r.last {
		t.Errorf("published through %d, want %d", n, r.last)
	}
	if n := r.ledger.Journal().Events; n != 0 {
		t.Errorf("%d events in the journal, want none", n)
	}
	if err := r.store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCrampedFlush brings more events at once than DuckDB takes in: they are published. While
// something else is being done to the parts that cannot be; then nothing has happened.
func TestCrampedFlush(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) { o.MemoryLimit = 16 << 20 })
	rnd := rand.New(rand.NewPCG(3, 4))
	r.append(some(rnd, 100, 2)...)
	r.flush(100)
	for range 10 {
		r.append(some(rnd, 4096, 2)...)
	}
	release := r.store.Occupy()
	err := r.store.Flush(t.Context(), r.waiting)
	release()
	if err == nil || errors.Is(err, store.ErrLens) {
		t.Fatalf("flush = %v, want an error of memory that the lens survives", err)
	}
	r.check()
	r.flush(len(r.waiting))
	r.check()
	if st := r.store.Stats(); st.Published != r.last || st.HotRows != 0 || st.LensRebuilds != 0 {
		t.Errorf("published through %d with %d hot rows and %d rebuilds, want %d, none and none", st.Published, st.HotRows, st.LensRebuilds, r.last)
	}
	r.append(some(rnd, 100, 2)...)
	r.flush(100)
	r.check()
}

// TestRebuildWaits rebuilds twice while a connection to the lens is out: two
// lenses at a time would spill into the same files.
func TestRebuildWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(some(rand.New(rand.NewPCG(3, 4)), 20, 2)...)
	r.flush(20)
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := r.store.Rebuild(ctx); err == nil {
			t.Error("rebuilt beside the old lens")
		}
		cancel()
	}
	conn.Close()
	if err := r.store.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.check()
}

// TestSpill holds more hot rows than DuckDB may keep in memory.
func TestSpill(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) { o.MemoryLimit = 24 << 20 })
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "CREATE TABLE hot.big AS SELECT i, md5(i::VARCHAR) AS text FROM range(2_000_000) t(i)"); err != nil {
		t.Fatal(err)
	}
	st := r.store.Stats()
	if st.Memory == 0 || st.Memory > 30<<20 || st.Spilled == 0 {
		t.Errorf("%d bytes in memory and %d spilled, want less than 30 MiB and some", st.Memory, st.Spilled)
	}
	r.append(some(rand.New(rand.NewPCG(1, 2)), 5000, 2)...)
	r.flush(5000)
	r.check()
}

// TestOddDirectory keeps its data in a directory whose name SQL and URLs take for
// something else; one that would be a pattern is refused.
func TestOddDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) {
		o.Dir = filepath.Join(o.Dir, "it's \"{x}\" %20&a=b #ü")
		if err := os.Mkdir(o.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
	})
	r.dir = r.opts.Dir
	for _, c := range "?*[" {
		o := r.opts
		o.Dir += string(c)
		if s, err := store.Open(t.Context(), o); err == nil {
			s.Close()
			t.Errorf("opened a directory with %c in its name", c)
		}
	}
	prepare(r, rand.New(rand.NewPCG(7, 8)))
	r.check()
	n, err := r.store.Erase(t.Context(), store.Erasure{Visitor: event.ID{1, 1}})
	if want := r.forget(func(e event.Event) bool { return e.Visitor == event.ID{1, 1} }); err != nil || n != want || n == 0 {
		t.Errorf("erased %d, %v; want %d", n, err, want)
	}
	r.check()
	r.checkFiles()
}

// TestBadText brings text that is not UTF-8 and must not be in the journal, but
// is: it is shown with a replacement, hot and in a part, and stops nothing.
func TestBadText(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.append(event.Event{Site: "a.example", Time: noon, Received: noon, Name: "n", Via: "page", Path: "/\xff\xfe!", Scroll: event.NoScroll})
	r.flush(1)
	for range 2 {
		sn := r.store.Snapshot()
		got := table(t, r.store, "SELECT path FROM "+sn.Relation("", 0, 0))
		sn.Release()
		if len(got) != 1 || got[0][0] != "/\uFFFD!" {
			t.Errorf("got %q", got)
		}
		r.publish()
	}
}
