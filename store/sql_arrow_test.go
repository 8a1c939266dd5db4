package store_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
)

// unstream returns the schema of an Arrow stream, a field a line, and its values
// by row as text.
func unstream(t *testing.T, stream []byte) (fields []string, rows [][]string) {
	t.Helper()
	in, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Release()
	for _, f := range in.Schema().Fields() {
		fields = append(fields, f.Name+" "+f.Type.String())
	}
	for in.Next() {
		rec := in.RecordBatch()
		for row := range int(rec.NumRows()) {
			var texts []string
			for _, column := range rec.Columns() {
				texts = append(texts, column.ValueStr(row))
			}
			rows = append(rows, texts)
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return fields, rows
}

// TestSQLArrow asks for each type that a statement can give.
func TestSQLArrow(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	r.add(story()...)
	for _, c := range []struct {
		query  string
		fields []string
		rows   [][]string
	}{
		{`SELECT true AS b, 1::TINYINT AS i, 2::BIGINT AS n, 3::UBIGINT AS u, 1.5::DOUBLE AS d, 'x' AS s, NULL::INTEGER AS nothing`,
			[]string{"b bool", "i int8", "n int64", "u uint64", "d float64", "s utf8", "nothing int32"}, [][]string{{"true", "1", "2", "3", "1.5", "x", "(null)"}}},
		{`SELECT DATE '2026-01-02' AS d, TIMESTAMP '2026-01-02 03:04:05' AS t, make_timestamptz(0) AS z, 1.2345::DECIMAL(18,4) AS m`,
			[]string{"d date32", "t timestamp[us]", "z timestamp[us, tz=UTC]", "m decimal(18, 4)"},
			[][]string{{"2026-01-02", "2026-01-02T03:04:05", "1970-01-01T00:00:00Z", "1.2345"}}},
		{`SELECT sum(seq) AS total, count(*) AS n FROM events`, []string{"total decimal(38, 0)", "n int64"}, [][]string{{"120", "15"}}},
		{`SELECT [1, 2] AS l, {'a': 1} AS s, INTERVAL 1 DAY AS i, '00000000-0000-0000-0000-000000000001'::UUID AS u`,
			[]string{"l utf8", "s utf8", "i utf8", "u utf8"}, [][]string{{"[1, 2]", "{'a': 1}", "1 day", "00000000-0000-0000-0000-000000000001"}}},
		{`SELECT 1 AS "a "" b", 2 AS "FROM"`, []string{`a " b int32`, "FROM int32"}, [][]string{{"1", "2"}}},
		{`SELECT path FROM events WHERE false`, []string{"path utf8"}, nil},
	} {
		got, err := r.store.SQL(t.Context(), c.query, event.SQLOptions{Arrow: true})
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		fields, rows := unstream(t, got.Arrow)
		if diff := gocmp.Diff(c.fields, fields); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", c.query, diff)
		}
		if diff := gocmp.Diff(c.rows, rows); diff != "" || got.Count != len(c.rows) || got.Truncated {
			t.Errorf("%s: %d rows, truncated %t, want -, got +:\n%s", c.query, got.Count, got.Truncated, diff)
		}
	}
	all, err := r.store.SQL(t.Context(), `SELECT * FROM events`, event.SQLOptions{Arrow: true})
	if err != nil {
		t.Fatal(err)
	}
	if fields, rows := unstream(t, all.Arrow); len(fields) != len(event.Columns) || len(rows) != 15 {
		t.Errorf("all events have %d columns and %d rows", len(fields), len(rows))
	}
}

// TestSQLArrowLimits: what is cut off is a whole stream all the same.
func TestSQLArrowLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	for _, c := range []struct {
		name, query string
		o           event.SQLOptions
		least, most int
		truncated   bool
	}{
		{"as many as allowed", `FROM range(10)`, event.SQLOptions{MaxRows: 10}, 10, 10, false},
		{"one more", `FROM range(11)`, event.SQLOptions{MaxRows: 10}, 10, 10, true},
		{"several records", `FROM range(100000)`, event.SQLOptions{MaxRows: 50_000}, 50_000, 50_000, true},
		{"exactly a record", `FROM range(2048)`, event.SQLOptions{MaxRows: 2048}, 2048, 2048, false},
		{"one more than a record", `FROM range(2049)`, event.SQLOptions{MaxRows: 2048}, 2048, 2048, true},
		{"bytes", `SELECT lpad(range::VARCHAR, 100, 'x') FROM range(100000)`, event.SQLOptions{MaxRows: 100_000, MaxBytes: 1 << 20}, 4000, 10_500, true},
		{"a record that is too large", `SELECT lpad('', 1000, 'x') FROM range(2000)`, event.SQLOptions{MaxBytes: 1 << 20}, 1000, 1000, true},
	} {
		c.o.Arrow = true
		got, err := r.store.SQL(t.Context(), c.query, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, rows := unstream(t, got.Arrow)
		if len(rows) != got.Count || got.Count < c.least || got.Count > c.most || got.Truncated != c.truncated {
			t.Errorf("%s: %d rows, says %d and truncated %t; want %d to %d and %t", c.name, len(rows), got.Count, got.Truncated, c.least, c.most, c.truncated)
		}
		if c.o.MaxBytes > 0 && int64(len(got.Arrow)) > c.o.MaxBytes+1024 {
			t.Errorf("%s: %d bytes", c.name, len(got.Arrow))
		}
	}
	_, err := r.store.SQL(t.Context(), `SELECT 1e38::DECIMAL(38,0)::HUGEINT * 1.5::HUGEINT AS n`, event.SQLOptions{Arrow: true})
	if err == nil {
		t.Error("a number that Arrow has no type for came as another")
	}
	if wrong := fmt.Sprintf("%T", err); wrong != "*event.QueryError" {
		t.Errorf("%s: %v", wrong, err)
	}
}
