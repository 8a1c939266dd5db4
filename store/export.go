package store

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

// Export writes the events of a site in the order of Seq, a row each with all of
// [event.Columns] in their order. It holds one snapshot and little memory however
// many there are. It returns how many it wrote and the Seq of the last one, or
// q.After if there was none: an After that goes on where this export ends.
//
//	csv      RFC 4180 with a header and CRLF. Nothing for null. A text that begins
//	         with = + - @ TAB or CR gets an apostrophe in front, so that no
//	         spreadsheet takes it for a formula.
//	json     an array of objects, one a line; null where there is no value
//	ndjson   the same objects without the array
//	arrow    an IPC stream; ids are text
//	parquet  as the parts
//
// In text a time is RFC 3339 in UTC with six digits, an id a UUID, revenue a
// number with four digits, props an object (in CSV the text of it). An export
// without a row is still a file of its format.
//
// After an error w holds a part of the export. An unknown format is an
// [event.QueryError], and nothing is written.
func (s *Store) Export(ctx context.Context, w io.Writer, q event.ExportQuery) (rows, last int64, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	format, err := newFormat(q.Format, out)
	if err != nil {
		return 0, q.After, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	last = q.After
	err = s.scan(ctx, sn, span{site: q.Site, from: q.From, to: q.To, after: q.After}, func(rec arrow.RecordBatch) error {
		if err := format.write(rec); err != nil {
			return err
		}
		n := rec.NumRows()
		rows += n
		last = rec.Column(0).(*array.Int64).Value(int(n) - 1)
		return nil
	})
	if err != nil {
		return rows, last, fmt.Errorf("export: %w", err)
	}
	if err := format.close(); err != nil {
		return rows, last, fmt.Errorf("end export: %w", err)
	}
	if err := out.Flush(); err != nil {
		return rows, last, fmt.Errorf("end export: %w", err)
	}
	return rows, last, nil
}

// A format turns records into bytes. After the last one it is closed, which does
// not close the writer under it.
type format interface {
	write(arrow.RecordBatch) error
	close() error
}

func newFormat(name string, w *bufio.Writer) (format, error) {
	switch name {
	case event.FormatCSV:
		return newCSV(w), nil
	case event.FormatJSON:
		return &jsonFormat{w: w, array: true}, nil
	case event.FormatNDJSON:
		return &jsonFormat{w: w}, nil
	case event.FormatArrow:
		return &arrowFormat{ipc.NewWriter(w, ipc.WithSchema(rowSchema))}, nil
	case event.FormatParquet:
		return &parquetFormat{w: history.NewWriter(w), rows: newDecoder(false)}, nil
	}
	return nil, &event.QueryError{Message: fmt.Sprintf("there is no export format %q; use csv, json, ndjson, parquet or arrow", name)}
}

type arrowFormat struct{ w *ipc.Writer }

func (f *arrowFormat) write(rec arrow.RecordBatch) error { return f.w.Write(rec) }
func (f *arrowFormat) close() error                      { return f.w.Close() }

type parquetFormat struct {
	w    *history.Writer
	rows *decoder
}

func (f *parquetFormat) write(rec arrow.RecordBatch) error {
	for row := range int(rec.NumRows()) {
		if err := f.w.Add(*f.rows.event(rec, row)); err != nil {
			return err
		}
	}
	return f.w.Flush() // before the record goes
}

func (f *parquetFormat) close() error { return f.w.Close() }
