package server

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// An Exporter writes every event of a site in the order of their sequence
// numbers, in bounded memory. It returns how many it wrote and the last one's
// number.
type Exporter interface {
	Export(ctx context.Context, w io.Writer, q event.ExportQuery) (rows, last int64, err error)
}

// A Queryer answers read-only SQL. What may not be asked is a
// [*event.QueryError].
type Queryer interface {
	SQL(ctx context.Context, query string, o event.SQLOptions) (event.SQLResult, error)
}

var mediaTypes = map[string]string{
	event.FormatCSV:     "text/csv; charset=utf-8",
	event.FormatJSON:    "application/json",
	event.FormatNDJSON:  "application/x-ndjson",
	event.FormatParquet: "application/vnd.apache.parquet",
	event.FormatArrow:   "application/vnd.apache.arrow.stream",
}

// statsExport streams events. The trailers say how many there were and where to
// go on; an export that fails on the way is broken off instead, so that the
// client sees an error and not a shorter file.
func (s *Server) statsExport(w http.ResponseWriter, r *http.Request) error {
	q, name, err := s.exportQuery(r)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaTypes[q.Format])
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Trailer", "X-Eider-Rows, X-Eider-Last-Seq")
	if r.Method == http.MethodHead {
		return nil
	}
	out := newStream(w)
	rows, last, err := s.o.Exporter.Export(r.Context(), out, q)
	if err != nil && !out.sent {
		return err
	}
	if err != nil {
		callOf(r).w.status = problemOf(err).status
		if callOf(r).w.status != gone {
			s.log.Error("export broken off", "path", routeOf(r.Pattern), "request_id", callOf(r).id, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	h.Set("X-Eider-Rows", strconv.FormatInt(rows, 10))
	h.Set("X-Eider-Last-Seq", strconv.FormatInt(last, 10))
	return nil
}

func (s *Server) exportQuery(r *http.Request) (q event.ExportQuery, name string, err error) {
	values := r.URL.Query()
	if !values.Has("period") && !values.Has("start_date") && !values.Has("end_date") {
		values.Set("period", "all")
		r.URL.RawQuery = values.Encode()
	}
	asked, err := s.ask(r)
	if err != nil {
		return q, "", err
	}
	format, err := param(r, "format", event.FormatNDJSON)
	if err != nil {
		return q, "", err
	}
	if mediaTypes[format] == "" {
		return q, "", refuse(http.StatusBadRequest, "format", "format is csv, json, ndjson, parquet or arrow")
	}
	after, err := number(r, "after", 0, 0, math.MaxInt64)
	if err != nil {
		return q, "", err
	}
	q = event.ExportQuery{Site: asked.Site, From: asked.From, To: asked.To, After: after, Format: format}
	return q, fileName(asked.Site, asked.report.Start, asked.report.End) + "." + format, nil
}

// fileName makes a name of parts that needs no quoting anywhere.
func fileName(parts ...string) string {
	name := "eider"
	for _, p := range parts {
		if p != "" {
			name += "-" + strings.Map(func(c rune) rune {
				if c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
					return c
				}
				return '_'
			}, p)
		}
	}
	return name
}

type sqlRequest struct {
	Query   string `json:"query"`
	MaxRows int    `json:"max_rows"` // 0 means the store's default
	Timeout int    `json:"timeout"`  // seconds; 0 means 30
}

type sqlAnswer struct {
	Columns   []event.SQLColumn `json:"columns"`
	Rows      [][]any           `json:"rows"`
	Truncated bool              `json:"truncated"`
}

// Bounds of an SQL query. The timeout stays below writeTimeout, or the answer
// could not be sent any more.
const (
	maxSQLRows    = 100_000
	maxSQLTimeout = 50
	sqlTimeout    = 30
)

func (s *Server) postSQL(w http.ResponseWriter, r *http.Request) error {
	var ask sqlRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(ask.Query) == "":
		return refuse(http.StatusUnprocessableEntity, "bad_query", "query is missing")
	case ask.MaxRows < 0 || ask.MaxRows > maxSQLRows:
		return refuse(http.StatusUnprocessableEntity, "bad_query", "max_rows is at most %d; use /api/stats/export for more", maxSQLRows)
	case ask.Timeout < 0 || ask.Timeout > maxSQLTimeout:
		return refuse(http.StatusUnprocessableEntity, "bad_query", "timeout is at most %d seconds", maxSQLTimeout)
	case ask.Timeout == 0:
		ask.Timeout = sqlTimeout
	}
	result, err := s.o.Queryer.SQL(r.Context(), ask.Query, event.SQLOptions{MaxRows: ask.MaxRows, Timeout: time.Duration(ask.Timeout) * time.Second})
	if err != nil {
		return err
	}
	if r.URL.Query().Get("format") == "csv" || strings.HasPrefix(r.Header.Get("Accept"), "text/csv") {
		return sqlCSV(w, result)
	}
	answer := sqlAnswer{Columns: result.Columns, Rows: result.Rows, Truncated: result.Truncated}
	if answer.Rows == nil {
		answer.Rows = [][]any{}
	}
	for _, row := range answer.Rows {
		for i, v := range row {
			if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
				row[i] = nil // JSON cannot say it
			}
		}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// sqlCSV writes a result as CSV. A trailer would be lost on most clients, so
// that the rows were cut off is said in a header.
func sqlCSV(w http.ResponseWriter, result event.SQLResult) error {
	w.Header().Set("Content-Type", mediaTypes[event.FormatCSV])
	w.Header().Set("X-Eider-Truncated", strconv.FormatBool(result.Truncated))
	out := csv.NewWriter(w)
	fields := make([]string, len(result.Columns))
	for i, c := range result.Columns {
		fields[i] = inert(c.Name)
	}
	_ = out.Write(fields)
	for _, row := range result.Rows {
		for i, v := range row {
			fields[i] = ""
			if s, ok := v.(string); ok {
				fields[i] = inert(s)
			} else if v != nil {
				fields[i] = fmt.Sprint(v)
			}
		}
		_ = out.Write(fields)
	}
	out.Flush()
	return nil // an error means that the client has gone
}

// inert keeps a text that a visitor may have chosen from being a formula where a
// spreadsheet opens the file. Numbers stay as they are.
func inert(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}

// readJSON reads a body that is one JSON object of known keys.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	if _, err := mediaType(r, "application/json"); err != nil {
		return err
	}
	body, err := readBody(w, r, maxAsk)
	if err != nil {
		return err
	}
	in := json.NewDecoder(strings.NewReader(string(body)))
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "invalid", "the body is not the JSON object it should be: %v", err)
	}
	if _, err := in.Token(); err != io.EOF {
		return refuse(http.StatusBadRequest, "invalid", "the body holds more than one JSON value")
	}
	return nil
}
