package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/duckdb/duckdb-go/v2"

	"github.com/eider-analytics/eider/store/event"
)

// rowsAtOnce is how many events are read in one statement: DuckDB hands over the
// result of a statement as a whole, so this bounds the memory of a reader.
const rowsAtOnce = 16 << 10

// A scan that finds no memory reads half as many events at once, but no fewer than
// leastRows, and gives up when it has found none for so long.
const (
	leastRows    = 1 << 10
	scanPatience = 30 * time.Second
)

// A span is which events a scan reads.
type span struct {
	site     string // "" means all sites
	from, to int64  // µs, half-open; 0 leaves that end open
	after    int64  // only events with a greater Seq
	upTo     int64  // and none with a greater one than this; 0 leaves that open
	most     int    // in one statement; 0 means rowsAtOnce
}

// scan calls fn with all events of a snapshot in a span, in the order of Seq, as
// Arrow records with the columns of [event.Columns]; see rowTypes for the types.
// fn must not keep the record.
//
// It goes through the sequence numbers in windows that grow while there is little
// in them, and asks only the parts that may hold a number of the window. Where there is
// no memory for one it waits, and goes on with smaller ones.
func (s *Store) scan(ctx context.Context, sn *Snapshot, sp span, fn func(arrow.RecordBatch) error) error {
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	sp.most = cmp.Or(sp.most, rowsAtOnce)
	width := int64(sp.most)
	end := sn.Flushed()
	if sp.upTo != 0 {
		end = min(end, sp.upTo)
	}
	for after := sp.after; after < end; {
		upTo := min(after+width, end)
		if upTo < after { // overflow
			upTo = end
		}
		var n, last, most int64
		err := patiently(ctx, scanPatience, func() (err error) {
			most = int64(sp.most)
			n, last, err = scanWindow(ctx, conn, sn, sp, after, upTo, fn)
			if outOfMemory(err) {
				after, sp.most = max(after, last), max(sp.most/2, leastRows) // fn has had some
			}
			return err
		})
		if err != nil {
			return asked(err)
		}
		if n == most { // there may be more in the window
			after, width = last, max(width/2, most)
			continue
		}
		if after = upTo; n < most/2 && width < 1<<40 {
			width *= 2
		}
	}
	return nil
}

// scanWindow scans at most sp.most events with after < seq ≤ upTo, and returns
// how many and the Seq of the last one.
func scanWindow(ctx context.Context, conn *sql.Conn, sn *Snapshot, sp span, after, upTo int64, fn func(arrow.RecordBatch) error) (n, last int64, err error) {
	text := scanText(sn.window(after, upTo).Relation(sp.site, sp.from, sp.to), sp)
	args := []any{after, upTo, sp.from, sp.to}
	if sp.site != "" {
		args = append(args, sp.site)
	}
	err = records(ctx, conn, text, args, func(rec arrow.RecordBatch) error {
		rec, err := retyped(rec)
		if err != nil {
			return err
		}
		defer rec.Release()
		if rec.NumRows() == 0 {
			return nil
		}
		n += rec.NumRows()
		last = rec.Column(0).(*array.Int64).Value(int(rec.NumRows()) - 1)
		return fn(rec)
	})
	return n, last, err
}

func scanText(relation string, sp span) string {
	var b strings.Builder
	b.WriteString("SELECT " + scanList + " FROM " + relation + " AS events WHERE seq > $1 AND seq <= $2")
	b.WriteString(` AND ($3 = 0 OR epoch_us("time") >= $3) AND ($4 = 0 OR epoch_us("time") < $4)`)
	if sp.site != "" {
		b.WriteString(" AND site = $5")
	}
	fmt.Fprintf(&b, " ORDER BY seq LIMIT %d", sp.most)
	return b.String()
}

// window returns the part of a snapshot with after < seq ≤ upTo. It is good for
// as long as sn is, and must not be released.
func (sn *Snapshot) window(after, upTo int64) *Snapshot {
	v := &view{published: max(sn.v.published, after), flushed: min(sn.v.flushed, upTo)}
	for _, p := range sn.v.parts {
		if p.First <= upTo && p.Last > after {
			v.parts = append(v.parts, p)
		}
	}
	if v.published < v.flushed {
		v.hot = sn.v.hot
	}
	return &Snapshot{s: sn.s, v: v}
}

// records calls fn with the result of a statement, record by record.
func records(ctx context.Context, conn *sql.Conn, text string, args []any, fn func(arrow.RecordBatch) error) error {
	return recordsWith(ctx, conn, text, args, func(*arrow.Schema) {}, fn)
}

// recordsWith is records, and calls open with the schema before the first record,
// also if there is none.
func recordsWith(ctx context.Context, conn *sql.Conn, text string, args []any, open func(*arrow.Schema), fn func(arrow.RecordBatch) error) error {
	return conn.Raw(func(c any) error {
		a, err := duckdb.NewArrowFromConn(c.(driver.Conn))
		if err != nil {
			return err
		}
		reader, err := a.QueryContext(ctx, text, args...)
		if err != nil {
			return err
		}
		defer reader.Release()
		open(reader.Schema())
		for reader.Next() {
			if err := fn(reader.RecordBatch()); err != nil {
				return err
			}
		}
		return reader.Err()
	})
}

// rowTypes are the Arrow types of a scan, and of an export: ids are text, times
// have the zone UTC.
var rowTypes = map[event.Kind]arrow.DataType{
	event.Int64:   arrow.PrimitiveTypes.Int64,
	event.Int32:   arrow.PrimitiveTypes.Int32,
	event.Bool:    arrow.FixedWidthTypes.Boolean,
	event.Text:    arrow.BinaryTypes.String,
	event.Time:    arrow.FixedWidthTypes.Timestamp_us,
	event.UUID:    arrow.BinaryTypes.String,
	event.Decimal: &arrow.Decimal128Type{Precision: 18, Scale: 4},
	event.JSON:    arrow.BinaryTypes.String,
}

var scanList = columns(func(c event.Column) string {
	if c.Kind == event.UUID {
		return `"` + c.Name + `"::VARCHAR`
	}
	return `"` + c.Name + `"`
})

var rowSchema = func() *arrow.Schema {
	var fields []arrow.Field
	for _, c := range event.Columns {
		fields = append(fields, arrow.Field{Name: c.Name, Type: rowTypes[c.Kind], Nullable: c.Nullable})
	}
	return arrow.NewSchema(fields, nil)
}()

// retyped returns a record with rowSchema on the memory of rec. DuckDB says
// whether a time has a zone as the hot rows and the parts do; the µs are the same.
func retyped(rec arrow.RecordBatch) (arrow.RecordBatch, error) {
	columns := make([]arrow.Array, rec.NumCols())
	for i, f := range rowSchema.Fields() {
		got := rec.Column(i)
		if got.DataType().ID() != f.Type.ID() {
			return nil, fmt.Errorf("column %s is a %s, want %s", f.Name, got.DataType(), f.Type)
		}
		d := got.Data()
		data := array.NewData(f.Type, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		columns[i] = array.MakeFromData(data)
		data.Release()
		defer columns[i].Release()
	}
	return array.NewRecordBatch(rowSchema, columns, rec.NumRows()), nil
}

// A decoder turns the rows of a scan into events.
type decoder struct {
	e    event.Event
	own  bool                     // whether texts are copied; otherwise they go with the record
	puts []func(arrow.Array, int) // by column: sets e's field to a row's value, which is not null
}

func newDecoder(own bool) *decoder {
	d := &decoder{own: own}
	v := reflect.ValueOf(&d.e).Elem()
	for _, c := range event.Columns {
		field := v.FieldByNameFunc(func(name string) bool { return named(name, c.Name) })
		d.puts = append(d.puts, d.putter(field, c))
	}
	return d
}

// named says whether a field of an event has the name of a column, but for case
// and underscores.
func named(field, column string) bool {
	if column == "event_id" {
		return field == "Dedupe"
	}
	return strings.EqualFold(field, strings.ReplaceAll(column, "_", ""))
}

func (d *decoder) putter(field reflect.Value, c event.Column) func(arrow.Array, int) {
	switch to := field.Addr().Interface().(type) {
	case *int64:
		switch c.Kind {
		case event.Time:
			return func(a arrow.Array, row int) { *to = int64(a.(*array.Timestamp).Value(row)) }
		case event.Decimal:
			return func(a arrow.Array, row int) { *to = int64(a.(*array.Decimal128).Value(row).LowBits()) }
		}
		return func(a arrow.Array, row int) { *to = a.(*array.Int64).Value(row) }
	case *int32:
		return func(a arrow.Array, row int) { *to = a.(*array.Int32).Value(row) }
	case *bool:
		return func(a arrow.Array, row int) { *to = a.(*array.Boolean).Value(row) }
	case *string:
		return func(a arrow.Array, row int) {
			if *to = a.(*array.String).Value(row); d.own {
				*to = strings.Clone(*to)
			}
		}
	case *event.ID:
		return func(a arrow.Array, row int) { *to = parseID(a.(*array.String).Value(row)) }
	}
	panic("store: internal error: no way to decode column " + c.Name)
}

// event returns a row. It is overwritten by the next call.
func (d *decoder) event(rec arrow.RecordBatch, row int) *event.Event {
	d.e = event.Event{Scroll: event.NoScroll}
	for i, put := range d.puts {
		if a := rec.Column(i); a.IsValid(row) {
			put(a, row)
		}
	}
	return &d.e
}

// parseID is the inverse of [event.ID.String].
func parseID(s string) (id event.ID) {
	var n int
	for i := 0; i < len(s) && n < 2*len(id); i++ {
		if c := strings.IndexByte("0123456789abcdef", s[i]); c >= 0 {
			id[n/2] |= byte(c) << (4 * (1 - n%2))
			n++
		}
	}
	return id
}
