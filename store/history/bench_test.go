package history_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"testing"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

// BenchmarkWrite also says how large a part is, and how large in terms of the
// same events as NDJSON with all columns, compressed with gzip -6.
func BenchmarkWrite(b *testing.B) {
	events := web(1, 128<<10)
	d := history.Open(history.OS(b.TempDir()))
	gz := gzipped(b, events)
	b.ReportAllocs()
	var p event.Part
	for b.Loop() {
		p = write(b, d, events)
	}
	perEvent(b, len(events))
	b.ReportMetric(float64(p.Bytes)/float64(len(events)), "B/event")
	b.ReportMetric(float64(gz)/float64(len(events)), "gzipB/event")
	b.ReportMetric(float64(p.Bytes)/float64(gz), "parquet/gzip")
}

func BenchmarkRead(b *testing.B) {
	events := web(1, 128<<10)
	d := history.Open(history.OS(b.TempDir()))
	p := write(b, d, events)
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range d.Read(b.Context(), p) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	perEvent(b, len(events))
}

func BenchmarkMerge(b *testing.B) {
	const parts, each = 24, 5000
	d := history.Open(history.OS(b.TempDir()))
	events := web(1, parts*each)
	var small []event.Part
	for i := range parts {
		var some []event.Event
		for j := i; j < len(events); j += parts {
			some = append(some, events[j])
		}
		small = append(small, write(b, d, some))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Merge(b.Context(), day, small, nil); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, len(events))
}

func write(t testing.TB, d *history.Dir, events []event.Event) event.Part {
	t.Helper()
	p, err := d.Write(t.Context(), day, rows(events))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
}

func gzipped(t testing.TB, events []event.Event) int {
	t.Helper()
	var out bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&out, 6)
	enc := json.NewEncoder(gz)
	for i := range events {
		if err := enc.Encode(object(&events[i])); err != nil {
			t.Fatal(err)
		}
	}
	gz.Close()
	return out.Len()
}

// object returns an event as an export shows it: every column, null if unknown.
func object(e *event.Event) map[string]any {
	m := map[string]any{}
	for _, c := range event.Columns {
		switch {
		case c.Null(e):
			m[c.Name] = nil
		case c.Kind == event.Text:
			m[c.Name] = c.Str(e)
		case c.Kind == event.JSON:
			m[c.Name] = json.RawMessage(c.Str(e))
		case c.Kind == event.UUID:
			m[c.Name] = c.ID(e).String()
		case c.Kind == event.Bool:
			m[c.Name] = c.Num(e) != 0
		default:
			m[c.Name] = c.Num(e)
		}
	}
	return m
}
