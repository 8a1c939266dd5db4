package history_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

// mixed returns a part with everything in it, as a file, and its events by seq.
// DuckDB takes the two lowest and the highest number of microseconds for
// infinities, which no clock shows.
func mixed(t *testing.T) (string, []event.Event) {
	t.Helper()
	events := wild(11, 3000)
	for i, e := range web(12, 3000) {
		e.Seq += 3000
		e.Dedupe = event.ID{1, 15: byte(i)}
		events = append(events, e)
	}
	for i := range events {
		e := &events[i]
		e.Received, e.VisitStart = min(max(e.Received, -9e15), 9e17), min(max(e.VisitStart, -9e15), 9e17)
	}
	slices.SortFunc(events, compare)
	dir := t.TempDir()
	p := write(t, history.Open(history.OS(dir)), events)
	slices.SortFunc(events, func(a, b event.Event) int { return int(a.Seq - b.Seq) })
	return filepath.Join(dir, p.Path), events
}

// cell returns what every engine must show for a column.
func cell(c event.Column, e *event.Event) string {
	switch {
	case c.Null(e):
		return "null"
	case c.Kind == event.Bool:
		return fmt.Sprint(c.Num(e) != 0)
	default:
		return show(c, e)
	}
}

// TestDuckDB reads a part with DuckDB, compares every value, its types, and that
// the statistics that it skips row groups and pages by hide nothing.
func TestDuckDB(t *testing.T) {
	t.Parallel()
	path, want := mixed(t)
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	types := map[event.Kind]string{
		event.Int64: "BIGINT", event.Int32: "INTEGER", event.Bool: "BOOLEAN", event.Text: "VARCHAR",
		event.Time: "TIMESTAMP WITH TIME ZONE", event.UUID: "UUID", event.Decimal: "DECIMAL(18,4)", event.JSON: "VARCHAR",
	}
	for _, c := range event.Columns {
		expr := map[event.Kind]string{event.Time: "epoch_us(%s)", event.UUID: "%s::VARCHAR", event.Decimal: "(%s::DECIMAL(38,4)*10000)::BIGINT"}[c.Kind]
		if expr == "" {
			expr = "%s"
		}
		name := `"` + c.Name + `"`
		query := fmt.Sprintf("SELECT typeof(%s), %s FROM read_parquet('%s') ORDER BY seq", name, fmt.Sprintf(expr, name), path)
		rows, err := db.Query(query)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		i, filter := 0, map[string]int{}
		for ; rows.Next(); i++ {
			var typ string
			var v any
			if err := rows.Scan(&typ, &v); err != nil {
				t.Fatal(err)
			}
			got := "null"
			if s, ok := v.(string); ok && c.Kind != event.UUID {
				got = fmt.Sprintf("%q", s)
			} else if v != nil {
				got = fmt.Sprint(v)
			}
			if wantCell := cell(c, &want[i]); got != wantCell || typ != types[c.Kind] {
				t.Fatalf("%s of event %d is %s %s, want %s %s", c.Name, want[i].Seq, typ, got, types[c.Kind], wantCell)
			}
			if v != nil && c.Kind == event.Text {
				filter[v.(string)]++
			}
		}
		if err := rows.Err(); err != nil || i != len(want) {
			t.Fatalf("%s: %d rows, %v; want %d", c.Name, i, err, len(want))
		}
		rows.Close()
		for v, n := range filter {
			var got int
			if err := db.QueryRow(fmt.Sprintf("SELECT count(*) FROM read_parquet('%s') WHERE %s = ?", path, name), v).Scan(&got); err != nil || got != n {
				t.Errorf("%s = %q: %d rows, %v; want %d", c.Name, v, got, err, n)
			}
			if len(filter) > 50 { // one of many will do
				break
			}
		}
	}
	for _, e := range want[:100] {
		var got int
		err := db.QueryRow(fmt.Sprintf("SELECT count(*) FROM read_parquet('%s') WHERE seq = ? AND site = ? AND epoch_us(time) = ?", path), e.Seq, e.Site, e.Time).Scan(&got)
		if err != nil || got != 1 {
			t.Errorf("event %d: %d rows, %v; want 1", e.Seq, got, err)
		}
	}
}

// TestArrow reads a part with Apache's own Go reader, which shares no code with
// parquet-go or DuckDB, and compares every value.
func TestArrow(t *testing.T) {
	t.Parallel()
	path, want := mixed(t)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pf, err := file.NewParquetReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	if table.NumRows() != int64(len(want)) || int(table.NumCols()) != len(event.Columns) {
		t.Fatalf("%d rows of %d columns, want %d of %d", table.NumRows(), table.NumCols(), len(want), len(event.Columns))
	}
	slices.SortFunc(want, compare) // file order
	for i, c := range event.Columns {
		if got := table.Column(i).Name(); got != c.Name {
			t.Fatalf("column %d is %s, want %s", i, got, c.Name)
		}
		row := 0
		for _, chunk := range table.Column(i).Data().Chunks() {
			for j := range chunk.Len() {
				got := arrowCell(t, chunk, j)
				if wantCell := cell(c, &want[row]); got != wantCell {
					t.Fatalf("%s of event %d is %s, want %s (%s)", c.Name, want[row].Seq, got, wantCell, chunk.DataType())
				}
				row++
			}
		}
	}
}

func arrowCell(t *testing.T, a arrow.Array, i int) string {
	t.Helper()
	if a.IsNull(i) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Int64:
		return fmt.Sprint(a.Value(i))
	case *array.Int32:
		return fmt.Sprint(a.Value(i))
	case *array.Boolean:
		return fmt.Sprint(a.Value(i))
	case *array.String:
		return fmt.Sprintf("%q", strings.Clone(a.Value(i)))
	case *array.Timestamp:
		if z := a.DataType().(*arrow.TimestampType); z.TimeZone != "UTC" || z.Unit != arrow.Microsecond {
			t.Fatalf("timestamp is %v, want µs in UTC", z)
		}
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Decimal128:
		return a.Value(i).BigInt().String()
	case *array.FixedSizeBinary:
		return event.ID(a.Value(i)).String()
	case array.ExtensionArray:
		return arrowCell(t, a.Storage(), i)
	default:
		t.Fatalf("no idea how to show %s", a.DataType())
		return ""
	}
}
