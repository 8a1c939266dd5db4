package server

import (
	"context"
	"encoding/csv"
	"fmt"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A Queryer answers read-only SQL. What may not be asked is a
// [*event.QueryError].
type Queryer interface {
	SQL(ctx context.Context, query string, o event.SQLOptions) (event.SQLResult, error)
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
	format, err := sqlFormat(r)
	if err != nil {
		return err
	}
	o := event.SQLOptions{MaxRows: ask.MaxRows, Timeout: time.Duration(ask.Timeout) * time.Second, Arrow: format == event.FormatArrow}
	if who := callOf(r).who; who != nil {
		o.Audit = who.has("audit") || who.has("admin")
	}
	result, err := s.o.Queryer.SQL(r.Context(), ask.Query, o)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-Eider-Rows", strconv.Itoa(result.Count))
	h.Set("X-Eider-Truncated", strconv.FormatBool(result.Truncated))
	switch format {
	case event.FormatCSV:
		return sqlCSV(w, result)
	case event.FormatArrow:
		h.Set("Content-Type", mediaTypes[format])
		_, _ = w.Write(result.Arrow) // an error means that the client has gone
		return nil
	}
	answer := sqlAnswer{Columns: result.Columns, Rows: result.Rows, Truncated: result.Truncated}
	if answer.Rows == nil {
		answer.Rows = [][]any{}
	}
	if answer.Columns == nil {
		answer.Columns = []event.SQLColumn{}
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

// sqlFormats are those of a result, the first being what is sent to whoever takes
// everything.
var sqlFormats = []string{event.FormatJSON, event.FormatCSV, event.FormatArrow}

// sqlFormat reads which format is wanted: from the parameter format, or else the
// first type of Accept that we have. A program that asks only for others is told.
func sqlFormat(r *http.Request) (string, error) {
	format, err := param(r, "format", "-")
	switch {
	case err != nil:
		return "", err
	case slices.Contains(sqlFormats, format):
		return format, nil
	case format != "-":
		return "", refuse(http.StatusBadRequest, "format", "format is %s", strings.Join(sqlFormats, ", "))
	}
	accept := r.Header.Get("Accept")
	if accept == "" {
		return sqlFormats[0], nil
	}
	for wanted := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(wanted)
		if err != nil || params["q"] == "0" {
			continue
		}
		for _, format := range sqlFormats {
			ours, _, _ := strings.Cut(mediaTypes[format], ";")
			main, _, _ := strings.Cut(ours, "/")
			if kind == ours || kind == main+"/*" || kind == "*/*" {
				return format, nil
			}
		}
	}
	return "", refuse(http.StatusNotAcceptable, "format", "a result comes as application/json, text/csv or %s", mediaTypes[event.FormatArrow])
}

// sqlCSV writes a result as CSV. A trailer would be lost on most clients, so
// that the rows were cut off is said in a header, as of the other formats.
func sqlCSV(w http.ResponseWriter, result event.SQLResult) error {
	w.Header().Set("Content-Type", mediaTypes[event.FormatCSV])
	out := csv.NewWriter(w) // whose errors are the client's, who has gone
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
	return nil
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
