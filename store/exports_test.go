package store_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
)

var formats = []string{event.FormatCSV, event.FormatJSON, event.FormatNDJSON, event.FormatParquet, event.FormatArrow}

// full returns an event of a.example in which every column has a value that is
// hard to print.
func full() event.Event {
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(v.Type().Field(i).Name + ` "ü", it's \ 100 %` + "\nnext\tline 🦆")
		case reflect.Int64, reflect.Int32:
			f.SetInt(int64(i) * 1_003)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Array:
			f.Index(i % 16).SetUint(uint64(i))
		}
	}
	e.Site, e.Currency, e.Revenue = "a.example", "EUR", -12_3456
	e.Props = `{"a":"b \" c","ü":"line\nbreak"}`
	e.Time, e.Received, e.VisitStart = noon+123_456, noon+1, noon-1
	return e
}

// exportable returns events of two sites with and without values, in parts and
// hot, and what an export of a.example must hold.
func exportable(t testing.TB, r *rig) (want []event.Event) {
	t.Helper()
	empty := event.Event{Site: "a.example", Time: noon, Received: noon, Name: "x", Via: event.ViaBatch, Scroll: event.NoScroll}
	free := empty // costs nothing, which is not the same as no price
	free.Currency, free.Scroll = "EUR", 0
	evil := empty
	evil.Path, evil.Title, evil.Hostname, evil.Source = "=cmd()", "+1", "@x", "-\"a\",b"
	r.add(full(), empty, free, evil)
	r.add(some(rand.New(rand.NewPCG(1, 2)), 40, 3)...)
	r.publish()
	r.add(some(rand.New(rand.NewPCG(3, 4)), 20, 3)...)
	r.add(full())
	for _, e := range r.visible() {
		if e.Site == "a.example" {
			want = append(want, e)
		}
	}
	return want
}

// columnsOf returns an event as text by column, null as "<null>".
func columnsOf(e event.Event) map[string]string {
	m := map[string]string{}
	for _, c := range event.Columns {
		m[c.Name] = "<null>"
		if c.Null(&e) {
			continue
		}
		switch c.Kind {
		case event.Text, event.JSON:
			m[c.Name] = c.Str(&e)
		case event.UUID:
			m[c.Name] = c.ID(&e).String()
		case event.Bool:
			m[c.Name] = strconv.FormatBool(c.Num(&e) != 0)
		case event.Time:
			m[c.Name] = time.UnixMicro(c.Num(&e)).UTC().Format("2006-01-02T15:04:05.000000Z")
		case event.Decimal:
			n := c.Num(&e)
			sign := ""
			if n < 0 {
				sign, n = "-", -n
			}
			m[c.Name] = fmt.Sprintf("%s%d.%04d", sign, n/10_000, n%10_000)
		default:
			m[c.Name] = strconv.FormatInt(c.Num(&e), 10)
		}
	}
	return m
}

// parsed reads an export back, in the form of columnsOf.
func parsed(t testing.TB, r *rig, format string, data []byte) (rows []map[string]string) {
	t.Helper()
	switch format {
	case event.FormatCSV:
		return parsedCSV(t, data)
	case event.FormatJSON, event.FormatNDJSON:
		return parsedJSON(t, format, data)
	case event.FormatArrow:
		return parsedArrow(t, data)
	}
	name := filepath.Join(r.dir, "events", "export.parquet") // where DuckDB may read it
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	return parsedParquet(t, r, name)
}

func parsedCSV(t testing.TB, data []byte) (rows []map[string]string) {
	lines, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, cell := range line {
			if len(cell) > 1 && cell[0] == '\'' && strings.ContainsRune("=+-@", rune(cell[1])) {
				cell = cell[1:]
			}
			if cell == "" {
				cell = "<null>"
			}
			row[lines[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

func parsedJSON(t testing.TB, format string, data []byte) (rows []map[string]string) {
	if format == event.FormatJSON {
		var all []json.RawMessage
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		data = nil
		for _, o := range all {
			data = append(append(data, o...), '\n')
		}
	}
	for line := range bytes.Lines(data) {
		var values map[string]json.RawMessage
		if err := json.Unmarshal(line, &values); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for k, v := range values {
			row[k] = string(v)
			var s string
			if string(v) == "null" {
				row[k] = "<null>"
			} else if json.Unmarshal(v, &s) == nil {
				row[k] = s
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func parsedArrow(t testing.TB, data []byte) (rows []map[string]string) {
	reader, err := ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	for reader.Next() {
		rec := reader.RecordBatch()
		for i := range int(rec.NumRows()) {
			row := map[string]string{}
			for c, f := range rec.Schema().Fields() {
				row[f.Name] = "<null>"
				if a := rec.Column(c); a.IsValid(i) {
					row[f.Name] = a.ValueStr(i)
				}
			}
			for _, name := range []string{"time", "received", "visit_start"} {
				if at, err := time.Parse(time.RFC3339, row[name]); err == nil {
					row[name] = at.Format("2006-01-02T15:04:05.000000Z")
				}
			}
			if v, err := strconv.ParseFloat(row["revenue"], 64); err == nil {
				row["revenue"] = strconv.FormatFloat(v, 'f', 4, 64)
			}
			rows = append(rows, row)
		}
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func parsedParquet(t testing.TB, r *rig, name string) (rows []map[string]string) {
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var list []string
	for _, c := range event.Columns {
		value := `"` + c.Name + `"`
		if c.Kind == event.Time {
			value = "strftime(" + value + ", '%Y-%m-%dT%H:%M:%S.%fZ')"
		}
		list = append(list, "coalesce("+value+"::VARCHAR, '<null>')")
	}
	got, err := conn.QueryContext(t.Context(), "SELECT "+strings.Join(list, ", ")+" FROM read_parquet('"+name+"', file_row_number=true) ORDER BY file_row_number")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for got.Next() {
		values := make([]any, len(list))
		for i := range values {
			values[i] = new(string)
		}
		if err := got.Scan(values...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, c := range event.Columns {
			row[c.Name] = *values[i].(*string)
		}
		rows = append(rows, row)
	}
	return rows
}

// TestExport takes every column through every format and back.
func TestExport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var want []map[string]string
	for _, e := range exportable(t, r) {
		want = append(want, columnsOf(e))
	}
	for _, format := range formats {
		var out bytes.Buffer
		rows, last, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "a.example", Format: format})
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, parsed(t, r, format, out.Bytes())); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", format, diff)
		}
		if rows != int64(len(want)) || strconv.FormatInt(last, 10) != want[len(want)-1]["seq"] {
			t.Errorf("%s: %d rows through %d, want %d through %s", format, rows, last, len(want), want[len(want)-1]["seq"])
		}
	}
}

// TestExportText has the exact bytes of a row.
func TestExportText(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	e := event.Event{
		Site: "a.example", Time: noon, Received: noon + 1, Name: "=1+1", Via: event.ViaBatch, Scroll: event.NoScroll,
		Visitor: event.ID{1}, Visit: 1, VisitStart: noon, Title: `a "b", c`, Props: `{"k":"v"}`, Revenue: 50_000, Currency: "EUR",
	}
	r.add(e)
	for format, want := range map[string]string{
		event.FormatCSV: "1,a.example,2026-03-10T12:00:00.000000Z,2026-03-10T12:00:00.000001Z,'=1+1,batch,01000000-0000-0000-0000-000000000000,1,2026-03-10T12:00:00.000000Z,,,false,,," +
			`"a ""b"", c"` + ",,,,,,,,,,,,,,,,,,,,,,,,5.0000,EUR," + `"{""k"":""v""}"` + ",,\r\n",
		event.FormatNDJSON: `{"seq":1,"site":"a.example","time":"2026-03-10T12:00:00.000000Z","received":"2026-03-10T12:00:00.000001Z","name":"=1+1","via":"batch",` +
			`"visitor":"01000000-0000-0000-0000-000000000000","visit":1,"visit_start":"2026-03-10T12:00:00.000000Z","user":null,"event_id":null,"interactive":false,` +
			`"hostname":null,"path":null,"title":"a \"b\", c","entry_hostname":null,"entry_path":null,"referrer":null,"source":null,"channel":null,` +
			`"utm_source":null,"utm_medium":null,"utm_campaign":null,"utm_content":null,"utm_term":null,"click_id":null,"browser":null,"browser_version":null,` +
			`"os":null,"os_version":null,"device":null,"screen":null,"language":null,"country":null,"region":null,"region_name":null,"city":null,"city_id":null,` +
			`"revenue":5.0000,"currency":"EUR","props":{"k":"v"},"engaged_ms":null,"scroll":null}` + "\n",
	} {
		var out bytes.Buffer
		if _, _, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "a.example", Format: format}); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if format == event.FormatCSV {
			_, got, _ = strings.Cut(got, "\r\n")
		}
		if got != want {
			t.Errorf("%s: got  %q\nwant %q", format, got, want)
		}
	}
}

// TestExportNothing checks that an export without a row is a file all the same.
func TestExportNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, format := range formats {
		var out bytes.Buffer
		rows, last, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "nobody's", After: 7, Format: format})
		if err != nil || rows != 0 || last != 7 {
			t.Errorf("%s: %d rows through %d, %v", format, rows, last, err)
		}
		if got := parsed(t, r, format, out.Bytes()); len(got) != 0 || out.Len() == 0 && format != event.FormatNDJSON {
			t.Errorf("%s: %d rows in %d bytes", format, len(got), out.Len())
		}
	}
	var out bytes.Buffer
	_, _, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "a.example", Format: "xlsx"})
	if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) || out.Len() > 0 {
		t.Errorf("xlsx: %v and %d bytes, want a QueryError and none", err, out.Len())
	}
}

// TestExportAfter resumes after every Seq: two exports together are the whole.
func TestExportAfter(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := exportable(t, r)
	for after := range r.last + 2 {
		var out bytes.Buffer
		rows, last, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "a.example", After: after, Format: event.FormatNDJSON})
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, e := range want {
			if e.Seq > after {
				left = append(left, strconv.FormatInt(e.Seq, 10))
			}
		}
		var got []string
		for _, row := range parsed(t, r, event.FormatNDJSON, out.Bytes()) {
			got = append(got, row["seq"])
		}
		if diff := gocmp.Diff(left, got); diff != "" || rows != int64(len(left)) {
			t.Fatalf("after %d: %d rows through %d; want -, got +:\n%s", after, rows, last, diff)
		}
	}
}

// TestExportRange checks that both ends of the range are kept.
func TestExportRange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range int64(10) {
		r.add(event.Event{Site: "a.example", Time: noon + i, Name: "x", Via: event.ViaBatch, Scroll: event.NoScroll})
	}
	for _, c := range []struct{ from, to, rows int64 }{{0, 0, 10}, {noon + 2, 0, 8}, {0, noon + 2, 2}, {noon + 2, noon + 5, 3}, {noon + 20, noon + 30, 0}} {
		rows, _, err := r.store.Export(t.Context(), io.Discard, event.ExportQuery{Site: "a.example", From: c.from, To: c.to, Format: event.FormatCSV})
		if err != nil || rows != c.rows {
			t.Errorf("%d to %d: %d rows, %v; want %d", c.from, c.to, rows, err, c.rows)
		}
	}
}

// TestExportDense has few events of a site at first, so that the windows grow, and
// then more in one of them than are read at once.
func TestExportDense(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := make([]event.Event, 100_000)
	for i := range other {
		other[i] = event.Event{Site: "b.example", Time: noon, Name: "x", Via: event.ViaBatch, Scroll: event.NoScroll}
	}
	r.add(other...)
	const n = 50_000
	fill(r, n, 1)
	var out bytes.Buffer
	rows, _, err := r.store.Export(t.Context(), &out, event.ExportQuery{Site: "a.example", Format: event.FormatCSV})
	if err != nil || rows != n {
		t.Fatalf("%d rows, %v; want %d", rows, err, n)
	}
	want := int64(len(other))
	for line := range strings.Lines(out.String()) {
		if seq, _, _ := strings.Cut(line, ","); seq != "seq" && seq != strconv.FormatInt(want, 10) {
			t.Fatalf("seq %s, want %d", seq, want)
		}
		want++
	}
}

// A stopper cancels a context after some bytes.
type stopper struct {
	cancel context.CancelFunc
	left   int
}

func (s *stopper) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		s.cancel()
	}
	return len(p), nil
}

// TestExportStops checks that an export ends when nobody waits for it any more.
func TestExportStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fill(r, 40_000, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows, _, err := r.store.Export(ctx, &stopper{cancel, 1}, event.ExportQuery{Site: "a.example", Format: event.FormatCSV})
	if !errors.Is(err, context.Canceled) || rows == 0 || rows >= 40_000 {
		t.Errorf("%d rows, %v; want some, context canceled", rows, err)
	}
	broken := errors.New("broken pipe")
	_, _, err = r.store.Export(t.Context(), closedPipe{broken}, event.ExportQuery{Site: "a.example", Format: event.FormatNDJSON})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want broken pipe", err)
	}
}

type closedPipe struct{ err error }

func (f closedPipe) Write([]byte) (int, error) { return 0, f.err }

// fill adds n events of a.example, spread over some days, and publishes them.
func fill(r *rig, n, days int) {
	r.t.Helper()
	rnd := rand.New(rand.NewPCG(5, 6))
	for n > 0 {
		batch := make([]event.Event, min(n, 8192))
		n -= len(batch)
		for i := range batch {
			at := noon - int64(days)*day + r.last*int64(days)*day/1_000_000 + int64(i)
			batch[i] = event.Event{
				Site: "a.example", Time: at, Received: noon, Name: event.Pageview, Via: event.ViaPage, Interactive: true, Scroll: event.NoScroll,
				Visitor: event.ID{byte(rnd.IntN(200)), byte(rnd.IntN(200)), 1}, Hostname: "www.a.example", Path: "/articles/" + strconv.Itoa(rnd.IntN(2000)),
				Source: []string{"Google", "", "Bing"}[rnd.IntN(3)], Browser: "Firefox", Country: "DE", Props: `{"author":"someone"}`,
			}
			batch[i].Visit = int64(batch[i].Visitor[0])<<8 + int64(batch[i].Visitor[1]) + 1
			batch[i].VisitStart = noon - int64(days)*day
		}
		r.append(batch...)
		r.flush(len(batch))
		if r.store.PublishDue() {
			r.publish()
		}
		r.events, r.ends = nil, r.ends[len(r.ends)-1:]
	}
	r.publish()
}

// TestExportMemory exports a million rows in the memory of a few.
func TestExportMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	r := newRig(t)
	const n = 1_000_000
	fill(r, n, 10)
	for _, format := range []string{event.FormatCSV, event.FormatParquet} {
		runtime.GC()
		var before, peak runtime.MemStats
		runtime.ReadMemStats(&before)
		resident := residentBytes(t)
		var most uint64
		w := &watcher{every: 1 << 20, f: func() {
			runtime.ReadMemStats(&peak)
			most = max(most, peak.HeapAlloc)
		}}
		began := time.Now()
		rows, last, err := r.store.Export(t.Context(), w, event.ExportQuery{Site: "a.example", Format: format})
		if err != nil || rows != n || last != n {
			t.Fatalf("%s: %d rows through %d, %v", format, rows, last, err)
		}
		grown := residentBytes(t) - resident
		t.Logf("%-8s %5.0f rows/ms, %4d bytes/row, heap +%d MiB, resident +%d MiB", format,
			float64(rows)/float64(time.Since(began).Milliseconds()), w.n/rows, (int64(most)-int64(before.HeapAlloc))>>20, grown>>20)
		if int64(most)-int64(before.HeapAlloc) > 96<<20 { // a row group of Parquet, and as much that is not collected yet
			t.Errorf("%s: heap grew from %d to %d bytes", format, before.HeapAlloc, most)
		}
		if grown > 128<<20 {
			t.Errorf("%s: the process grew by %d bytes", format, grown)
		}
	}
}

// A watcher looks at the memory every so many bytes.
type watcher struct {
	n, next, every int64
	f              func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.n += int64(len(p)); w.n >= w.next {
		w.next = w.n + w.every
		w.f()
	}
	return len(p), nil
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(s.Text(), "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
