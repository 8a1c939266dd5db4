package history

import (
	"io"
	"maps"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"github.com/eider-analytics/eider/store/event"
)

const (
	// DuckDB's unit of parallel work and the most rows of a row group.
	maxGroupRows = 122_880

	// What a row group may hold in memory before it is written, dictionaries
	// included. Tables of the dictionaries and buffers that have grown come on
	// top and about double it.
	maxGroupBytes = 8 << 20

	// Values of a column are encoded and compressed this many bytes at a time.
	pageBytes = 128 << 10

	// Events are handed to parquet-go in batches: of so many, or as soon as
	// their long texts come to so many bytes.
	batchRows  = 256
	batchBytes = 1 << 20
)

// An encoder turns events into the bytes of a Parquet file. It uses parquet-go's
// typed writer, which takes half the time of handing over one column after the
// other as parquet.Values.
type encoder struct {
	w       *parquet.GenericWriter[row]
	written func() int64 // bytes that have left w

	events []event.Event // the batch
	rows   []row         // the same; they share its memory
	texts  int           // bytes of its long texts
	group  int           // rows in the row group, without the batch
}

func newEncoder(out io.Writer, written func() int64, codec compress.Codec) *encoder {
	return &encoder{
		w: parquet.NewGenericWriter[row](out, schema,
			parquet.Compression(codec),
			parquet.PageBufferSize(pageBytes),
			parquet.WriteBufferSize(64<<10),
			parquet.DataPageStatistics(false), // the column index and the footer have them
			parquet.SkipPageBounds("props"),   // of no use, and long
			parquet.KeyValueMetadata(keyVersion, version),
		),
		written: written,
		events:  make([]event.Event, 0, batchRows),
		rows:    make([]row, 0, batchRows),
	}
}

// add appends an event. It keeps e's texts until the next flush only.
func (w *encoder) add(e event.Event) error {
	w.events = append(w.events, e)
	w.rows = append(w.rows, rowOf(&w.events[len(w.events)-1]))
	w.texts += len(e.Props) + len(e.Title) + len(e.Path) + len(e.EntryPath) + len(e.Referrer)
	if len(w.rows) < batchRows && w.texts < batchBytes {
		return nil
	}
	return w.flush()
}

// flush writes the batch to the row group, and the row group if it is full.
func (w *encoder) flush() error {
	if _, err := w.w.Write(w.rows); err != nil {
		return err
	}
	w.group += len(w.rows)
	clear(w.events)
	clear(w.rows)
	w.events, w.rows, w.texts = w.events[:0], w.rows[:0], 0
	if w.group+batchRows > maxGroupRows || w.w.Size()-w.written() > maxGroupBytes {
		w.group = 0
		return w.w.Flush()
	}
	return nil
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
