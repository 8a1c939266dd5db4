package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/eider-analytics/eider/store/event"
)

// A cell appends the text of a value that is not null.
type cell func(dst []byte, row int) []byte

// cells returns the cells of a record by column. Texts are appended by text, JSON
// objects by object.
func cells(rec arrow.RecordBatch, text, object func(dst []byte, s string) []byte) []cell {
	list := make([]cell, len(event.Columns))
	for i, c := range event.Columns {
		switch a := rec.Column(i).(type) {
		case *array.Int64:
			list[i] = func(dst []byte, row int) []byte { return strconv.AppendInt(dst, a.Value(row), 10) }
		case *array.Int32:
			list[i] = func(dst []byte, row int) []byte { return strconv.AppendInt(dst, int64(a.Value(row)), 10) }
		case *array.Boolean:
			list[i] = func(dst []byte, row int) []byte { return strconv.AppendBool(dst, a.Value(row)) }
		case *array.Decimal128:
			list[i] = func(dst []byte, row int) []byte { return appendDecimal(dst, int64(a.Value(row).LowBits())) }
		case *array.Timestamp:
			list[i] = func(dst []byte, row int) []byte {
				var b [len(timeLayout) + 8]byte
				return text(dst, string(time.UnixMicro(int64(a.Value(row))).UTC().AppendFormat(b[:0], timeLayout)))
			}
		case *array.String:
			put := text
			if c.Kind == event.JSON {
				put = object
			}
			list[i] = func(dst []byte, row int) []byte { return put(dst, a.Value(row)) }
		default:
			panic(fmt.Sprintf("store: internal error: no way to print a %T", a))
		}
	}
	return list
}

// timeLayout is RFC 3339 with µs, of a time in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// appendDecimal appends ten-thousandths as a number with four digits.
func appendDecimal(dst []byte, v int64) []byte {
	u := uint64(v)
	if v < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = strconv.AppendUint(dst, u/event.RevenueScale, 10)
	fraction := strconv.AppendUint(nil, event.RevenueScale+u%event.RevenueScale, 10)
	fraction[0] = '.'
	return append(dst, fraction...)
}

type csvFormat struct {
	w    *bufio.Writer
	line []byte
	err  error // of the header
}

func newCSV(w *bufio.Writer) *csvFormat {
	var names []string
	for _, c := range event.Columns {
		names = append(names, c.Name)
	}
	_, err := w.WriteString(strings.Join(names, ",") + "\r\n")
	return &csvFormat{w: w, err: err}
}

func (f *csvFormat) write(rec arrow.RecordBatch) error {
	columns := cells(rec, appendCSV, appendCSV)
	for row := range int(rec.NumRows()) {
		line := f.line[:0]
		for i, put := range columns {
			if i > 0 {
				line = append(line, ',')
			}
			if rec.Column(i).IsValid(row) {
				line = put(line, row)
			}
		}
		f.line = append(line, '\r', '\n')
		if _, err := f.w.Write(f.line); err != nil {
			return err
		}
	}
	return f.err
}

func (f *csvFormat) close() error { return f.err }

// appendCSV appends a text as a cell that no spreadsheet takes for a formula.
func appendCSV(dst []byte, s string) []byte {
	formula := s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0
	if !strings.ContainsAny(s, ",\"\r\n") {
		if formula {
			dst = append(dst, '\'')
		}
		return append(dst, s...)
	}
	dst = append(dst, '"')
	if formula {
		dst = append(dst, '\'')
	}
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

type jsonFormat struct {
	w     *bufio.Writer
	array bool
	rows  int64
	line  []byte
}

// jsonKeys are what stands before the values of an object.
var jsonKeys = func() (keys []string) {
	before := "{"
	for _, c := range event.Columns {
		keys = append(keys, before+strconv.Quote(c.Name)+":")
		before = ","
	}
	return keys
}()

func (f *jsonFormat) write(rec arrow.RecordBatch) error {
	columns := cells(rec, appendJSON, appendObject)
	for row := range int(rec.NumRows()) {
		line := f.line[:0]
		switch {
		case f.array && f.rows == 0:
			line = append(line, "[\n"...)
		case f.array:
			line = append(line, ",\n"...)
		}
		for i, put := range columns {
			line = append(line, jsonKeys[i]...)
			if rec.Column(i).IsValid(row) {
				line = put(line, row)
			} else {
				line = append(line, "null"...)
			}
		}
		if line = append(line, '}'); !f.array {
			line = append(line, '\n')
		}
		f.line = line
		f.rows++
		if _, err := f.w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func (f *jsonFormat) close() error {
	var end string
	switch {
	case f.array && f.rows == 0:
		end = "[]\n"
	case f.array:
		end = "\n]\n"
	}
	_, err := f.w.WriteString(end)
	return err
}

// appendJSON appends a text as a JSON string. It is UTF-8, as all that comes out
// of DuckDB.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ' && c != 0x7f:
			dst = append(dst, c)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}

// appendObject appends the text of a JSON object as it is, but for line breaks
// between its values. What is no JSON, which ingest lets nobody store, becomes a
// string.
func appendObject(dst []byte, s string) []byte {
	if !json.Valid([]byte(s)) {
		return appendJSON(dst, s)
	}
	if !strings.ContainsAny(s, "\r\n") {
		return append(dst, s...)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		return appendJSON(dst, s)
	}
	return append(dst, b.Bytes()...)
}
