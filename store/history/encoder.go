package history

import (
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"github.com/eider-analytics/eider/store/event"
)

const (
	// DuckDB's unit of parallel work and the most rows of a row group.
	maxGroupRows = 122_880

	// What a row group may hold in memory before it is written, dictionaries
	// included. Tables of the dictionaries and buffers that have grown come on
	// top: 20 MiB in all for a website's events, 75 for texts of 8 kB of which
	// no two are equal. With less, the group would end before its 43 columns
	// have filled a page each.
	maxGroupBytes = 5 << 20

	// Values of a column are encoded and compressed this many bytes at a time.
	pageBytes = 128 << 10

	// Events are handed to parquet-go in batches: of so many, or as soon as
	// their long texts come to so many bytes.
	batchRows  = 256
	batchBytes = 1 << 20
)

// An encoder turns events into the bytes of a Parquet file, column by column.
//
// parquet-go's writer of typed rows is not used: in v0.32.0 it writes some of the
// nulls as zero values, because writeRowsFuncOfOptional takes a run of as many
// non-nulls as there are bits before it in its word for the rest of the word.
type encoder struct {
	w       *parquet.GenericWriter[any]
	columns []*parquet.ColumnWriter
	written func() int64 // bytes that have left w

	events []event.Event // the batch
	texts  int           // bytes of its long texts
	group  int           // rows in the row group, without the batch

	values []parquet.Value // one column of the batch
}

func newEncoder(out io.Writer, written func() int64, codec compress.Codec) *encoder {
	w := parquet.NewGenericWriter[any](out, schema,
		parquet.Compression(codec),
		parquet.PageBufferSize(pageBytes),
		parquet.WriteBufferSize(64<<10),
		parquet.DataPageStatistics(false), // the column index and the footer have them
		parquet.SkipPageBounds("props"),   // of no use, and long
		parquet.KeyValueMetadata(keyVersion, version),
	)
	return &encoder{
		w:       w,
		columns: w.ColumnWriters(),
		written: written,
		events:  make([]event.Event, 0, batchRows),
		values:  make([]parquet.Value, batchRows),
	}
}

// add appends an event. It keeps e's texts until the next flush only.
func (w *encoder) add(e event.Event) error {
	w.events = append(w.events, e)
	w.texts += len(e.Props) + len(e.Title) + len(e.Path) + len(e.EntryPath) + len(e.Referrer)
	if len(w.events) < batchRows && w.texts < batchBytes {
		return nil
	}
	return w.flush()
}

// flush writes the batch to the row group, and the row group if it is full.
func (w *encoder) flush() error {
	for i, c := range event.Columns {
		w.fill(i, c)
		if _, err := w.columns[i].WriteRowValues(w.values[:len(w.events)]); err != nil {
			return err
		}
	}
	w.group += len(w.events)
	clear(w.events)
	w.events, w.texts = w.events[:0], 0
	if w.group+batchRows > maxGroupRows || w.w.Size()-w.written() > maxGroupBytes {
		w.group = 0
		return w.w.Flush()
	}
	return nil
}

// fill sets values to the i-th column of the batch.
func (w *encoder) fill(i int, c event.Column) {
	f, values := fields[c.Name], w.values[:len(w.events)]
	null := parquet.NullValue().Level(0, 0, i)
	level := 0
	if c.Nullable {
		level = 1
	}
	for j := range values {
		e := &w.events[j]
		v, none := f.value(e)
		if f.unknown != nil {
			none = f.unknown(e)
		}
		if none && c.Nullable {
			values[j] = null
		} else {
			values[j] = v.Level(0, level, i)
		}
	}
}

// value returns the field's value in e, whose memory it shares, and whether it
// is zero.
func (f *field) value(e *event.Event) (v parquet.Value, zero bool) {
	switch {
	case f.text != nil:
		s := *f.text(e)
		return parquet.ByteArrayValue(validBytes(s)), s == ""
	case f.num != nil:
		n := *f.num(e)
		return parquet.Int64Value(n), n == 0
	case f.num4 != nil:
		n := *f.num4(e)
		return parquet.Int32Value(n), n == 0
	case f.id != nil:
		id := f.id(e)
		return parquet.FixedLenByteArrayValue(id[:]), id.IsZero()
	default:
		return parquet.BooleanValue(*f.flag(e)), false
	}
}

// validBytes returns the bytes of s, which must not be changed. One byte that
// is not UTF-8 would make the whole part unreadable to DuckDB, so it is
// replaced; ingest lets none through.
func validBytes(s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// close writes what is left, meta and the footer. Equal events and meta make
// equal bytes.
func (w *encoder) close(meta map[string]string) error {
	if err := w.flush(); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		w.w.SetKeyValueMetadata(k, meta[k])
	}
	return w.w.Close()
}
