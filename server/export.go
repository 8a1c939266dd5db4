package server

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// An Exporter writes every event of a site in the order of their sequence
// numbers, in bounded memory. It returns how many it wrote and the last one's
// number.
type Exporter interface {
	Export(ctx context.Context, w io.Writer, q event.ExportQuery) (rows, last int64, err error)
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
// client sees an error and not a shorter file. So does one that takes it too
// slowly: the store keeps everything that it is made of meanwhile.
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
	act := audit.Entry{Kind: audit.DataExport, Object: "site:" + q.Site, Detail: map[string]string{
		"format": q.Format, "after": strconv.FormatInt(q.After, 10), "from": stamp(q.From), "to": stamp(q.To),
	}}
	out := newStream(w).paced(s.pace)
	var rows, last int64
	err = s.during(r.Context(), act, func() (detail map[string]string, err error) {
		rows, last, err = s.o.Exporter.Export(r.Context(), out, q)
		return map[string]string{"rows": strconv.FormatInt(rows, 10), "last_seq": strconv.FormatInt(last, 10)}, err
	})
	if err != nil {
		return s.breakOff(r, out, err)
	}
	h.Set("X-Eider-Rows", strconv.FormatInt(rows, 10))
	h.Set("X-Eider-Last-Seq", strconv.FormatInt(last, 10))
	s.tellHeadLast(h)
	return nil
}

// breakOff ends a stream that has failed: with an answer if it has not begun.
func (s *Server) breakOff(r *http.Request, out *stream, err error) error {
	if !out.sent {
		return err
	}
	c := callOf(r)
	if c.w.status = problemOf(err).status; c.w.status != gone {
		s.log.Error("export broken off", "path", routeOf(r.Pattern), "request_id", c.id, "err", err)
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) exportQuery(r *http.Request) (q event.ExportQuery, name string, err error) {
	values := r.URL.Query()
	if !values.Has("period") && !values.Has("start_date") && !values.Has("end_date") {
		values.Set("period", "all")
		r.URL.RawQuery = values.Encode()
	}
	asked, err := s.ask(r, "format", "after")
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
