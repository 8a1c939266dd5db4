package server

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// Ingest takes events in. When it returns nil the accepted ones are durable. It
// keeps neither the body nor what a Client holds.
type Ingest interface {
	// Event takes the body of POST /api/event, of at most 64 KiB.
	Event(ctx context.Context, body []byte, c event.Client) (event.Result, error)
	// Pixel takes the query of the pixel.
	Pixel(ctx context.Context, q url.Values, c event.Client) (event.Result, error)
	// Batch takes a JSON array, or one JSON object a line. body is without
	// compression and ends with an error where the limit is. Events of another
	// site than the given one are rejected; "" allows all.
	Batch(ctx context.Context, body io.Reader, ndjson bool, c event.Client, site string) (event.Result, error)
}

// Importer reads logs and other tools' exports.
type Importer interface {
	Import(ctx context.Context, site, format string, r io.Reader) (event.ImportReport, error)
}

// postEvent is Plausible's Events API: its answers are Plausible's.
//
// A browser may send any of these types from another site's page without asking
// first, which is the point of them: the body is JSON all the same. The type of a
// form is what curl -d and sendBeacon say if they are told nothing else.
func (s *Server) postEvent(w http.ResponseWriter, r *http.Request) error {
	if _, err := mediaType(r, "application/json", "text/plain", "application/x-www-form-urlencoded", ""); err != nil {
		return err
	}
	c := s.client(r)
	if canonical(r.Header).first("X-Debug-Request") == "true" {
		writeText(w, http.StatusOK, c.Addr.String())
		return nil
	}
	size := r.ContentLength
	if size < 0 || size > maxEvent { // it is not said, or too large
		size = maxEvent
	}
	if !s.singles.take(c.Addr, size) {
		return errOverloaded
	}
	defer s.singles.give(c.Addr, size)
	body, err := readBody(w, r, maxEvent)
	if err != nil {
		return err
	}
	result, err := s.o.Ingest.Event(r.Context(), body, c)
	var field *event.FieldError
	if errors.As(err, &field) {
		writeJSON(w, http.StatusBadRequest, fieldErrors(field.Field, field.Message))
		return nil
	}
	if err != nil {
		return err
	}
	for _, rejected := range result.Rejected {
		if !rejected.Dropped() && result.Accepted+result.Duplicates == 0 {
			writeJSON(w, http.StatusBadRequest, fieldErrors("request", rejected.Message))
			return nil
		}
	}
	if n := len(result.Rejected); n > 0 {
		w.Header().Set("X-Plausible-Dropped", strconv.Itoa(n))
		w.Header().Set("Access-Control-Expose-Headers", "X-Plausible-Dropped")
	}
	writeText(w, http.StatusAccepted, "ok")
	return nil
}

// fieldErrors is how Plausible says that an event is wrong.
func fieldErrors(field, message string) any {
	return map[string]map[string][]string{"errors": {field: {message}}}
}

// preflight lets every page send events: no cookie, no credential, no answer
// that says anything.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Content-Type, X-Debug-Request")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// gif is the smallest transparent picture.
const gif = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// pixel answers with a picture whatever becomes of the event: a page that shows
// a broken one is worse than an event that is missing, and ingest counts it.
func (s *Server) pixel(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet { // a HEAD comes from a link checker
		if _, err := s.o.Ingest.Pixel(r.Context(), r.URL.Query(), s.client(r)); err != nil {
			s.log.Debug("pixel not counted", "err", err)
		}
	}
	w.Header().Set("Content-Type", "image/gif")
	w.Header().Set("Content-Length", strconv.Itoa(len(gif)))
	_, _ = io.WriteString(w, gif)
	return nil
}

type batchAnswer struct {
	Accepted   int             `json:"accepted"`
	Duplicates int             `json:"duplicates"`
	Rejected   []rejectionJSON `json:"rejected"`
	LastSeq    int64           `json:"last_seq"`
}

type rejectionJSON struct {
	Index  int    `json:"index"`
	Status int    `json:"status"` // with which the event alone would have been answered
	Code   string `json:"code"`
	Error  string `json:"error"`
}

// statusOf is the status that a rejection stands for.
func statusOf(r event.Rejection) int {
	switch {
	case r.Code == event.RejectConflict:
		return http.StatusConflict
	case r.Code == event.RejectKey:
		return http.StatusForbidden
	case r.Code == event.RejectRate:
		return http.StatusTooManyRequests
	case r.Dropped():
		return http.StatusAccepted
	}
	return http.StatusUnprocessableEntity
}

func (s *Server) postEvents(w http.ResponseWriter, r *http.Request) error {
	kind, err := mediaType(r, "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain", "")
	if err != nil {
		return err
	}
	// Ten megabytes over a thin line take their time.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(4 * s.o.BodyTimeout))
	body, err := openBody(w, r, maxBatch)
	if err != nil {
		return err
	}
	body = &roomed{ReadCloser: body, room: &s.batches}
	defer body.Close()
	in := bufio.NewReaderSize(body, 32<<10)
	first, err := firstByte(in)
	if err == io.EOF {
		return refuse(http.StatusBadRequest, "invalid", "the body is empty; send a JSON array or one JSON object a line")
	}
	if err != nil {
		return err
	}
	lines := first != '[' || kind != "application/json" && kind != "text/plain" && kind != ""
	result, err := s.o.Ingest.Batch(r.Context(), in, lines, s.client(r), callOf(r).who.site)
	if err != nil {
		return err
	}
	answer := batchAnswer{Accepted: result.Accepted, Duplicates: result.Duplicates, Rejected: []rejectionJSON{}, LastSeq: result.LastSeq}
	for _, x := range result.Rejected {
		answer.Rejected = append(answer.Rejected, rejectionJSON{Index: x.Index, Status: statusOf(x), Code: x.Code, Error: x.Message})
	}
	writeJSON(w, http.StatusAccepted, answer)
	return nil
}

// client gathers what a request says about the one who sent it.
func (s *Server) client(r *http.Request) event.Client {
	h := canonical(r.Header)
	c := event.Client{
		Addr:      callOf(r).client,
		UserAgent: h.first("User-Agent"),
		Hints: event.Hints{
			Brands:          cmp.Or(h.first("Sec-Ch-Ua-Full-Version-List"), h.first("Sec-Ch-Ua")),
			Platform:        h.first("Sec-Ch-Ua-Platform"),
			PlatformVersion: h.first("Sec-Ch-Ua-Platform-Version"),
			Mobile:          h.first("Sec-Ch-Ua-Mobile"),
			Model:           h.first("Sec-Ch-Ua-Model"),
		},
		Language: h.first("Accept-Language"),
		Origin:   h.first("Origin"),
		Private:  h.first("Sec-Gpc") == "1" || h.first("Dnt") == "1",
	}
	if referer := h.first("Referer"); c.Origin == "" && referer != "" {
		if u, err := url.Parse(referer); err == nil && u.Host != "" {
			c.Origin = u.Scheme + "://" + u.Host
		}
	}
	return c
}

// canonical is a header that is asked for names in their canonical form only,
// which [http.Header.Get] would work out each time.
type canonical http.Header

// first returns the first value of a name, or "".
func (h canonical) first(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// progressEvery is how often a long request says how far it has come.
const progressEvery = 500 * time.Millisecond

// A progress answers a long request with one JSON object a line: {"progress":
// …} while it runs, and last {"report": …} or an error. Without the last line
// the answer is not whole.
type progress struct {
	*stream
	now  func() time.Time
	last time.Time
}

func (s *Server) newProgress(w http.ResponseWriter) *progress {
	return &progress{stream: newStream(w), now: s.now, last: s.now()}
}

// step says how far the request has come, if it is time to.
func (p *progress) step(v any) {
	if now := p.now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		p.line(map[string]any{"progress": v})
	}
}

func (p *progress) line(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic("server: internal error: " + err.Error())
	}
	if !p.sent {
		p.w.Header().Set("Content-Type", "application/x-ndjson")
	}
	_, _ = p.Write(append(line, '\n'))
	p.flush()
}

// end writes the last line. An error before the first line is answered as any
// other is.
func (p *progress) end(s *Server, r *http.Request, report any, err error) error {
	if err != nil && !p.sent {
		return err
	}
	s.tellHeadLast(p.w.Header())
	if err != nil {
		told := problemOf(err)
		if told.status == http.StatusInternalServerError {
			s.log.Error("request failed", "path", routeOf(r.Pattern), "request_id", callOf(r).id, "err", err)
		}
		p.line(told.body(callOf(r).id))
		return nil
	}
	p.line(map[string]any{"report": report})
	return nil
}

type imported struct {
	Report importReport `json:"report"`
}

type importReport struct {
	Lines      int64            `json:"lines"`
	Imported   int64            `json:"imported"`
	Duplicates int64            `json:"duplicates"`
	Skipped    map[string]int64 `json:"skipped"`
	From       string           `json:"from,omitempty"`
	To         string           `json:"to,omitempty"`
	LastSeq    int64            `json:"last_seq"`
}

// postImport answers when it has read the whole log, not while: a proxy may read no more
// of a request once its answer has begun, as nginx does.
func (s *Server) postImport(w http.ResponseWriter, r *http.Request) error {
	site, err := param(r, "site_id", "")
	if err != nil {
		return err
	}
	if err := forSite(r, site); err != nil {
		return err
	}
	if who := callOf(r).who; who.site == "" && !who.has("admin") {
		return refuse(http.StatusForbidden, "scope", "to import, a key without the scope admin must be for the site")
	}
	format, err := param(r, "format", "combined")
	if err != nil {
		return err
	}
	conn := http.NewResponseController(w)
	r.Body = patient{r.Body, conn, s.o.BodyTimeout}
	body, err := openBody(w, r, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	_ = conn.SetWriteDeadline(time.Time{}) // until there is an answer
	act := audit.Entry{Kind: audit.DataImport, Object: "site:" + site, Detail: map[string]string{"format": format}}
	var report event.ImportReport
	err = s.during(r.Context(), act, func() (map[string]string, error) {
		report, err = s.o.Importer.Import(r.Context(), site, format, body)
		return map[string]string{
			"lines": strconv.FormatInt(report.Lines, 10), "imported": strconv.FormatInt(report.Imported, 10),
			"duplicates": strconv.FormatInt(report.Duplicates, 10), "last_seq": strconv.FormatInt(report.LastSeq, 10),
		}, err
	})
	if report.Skipped == nil {
		report.Skipped = map[string]int64{}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, imported{importReport{
		Lines: report.Lines, Imported: report.Imported, Duplicates: report.Duplicates, Skipped: report.Skipped,
		From: stamp(report.From), To: stamp(report.To), LastSeq: report.LastSeq,
	}})
	return nil
}

// stamp writes a time as RFC 3339; 0 is "".
func stamp(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano)
}
