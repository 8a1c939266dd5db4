package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// Reports answers questions from one consistent state of the store each. A
// [*event.QueryError] says that the question is wrong, [event.ErrBusy] that
// there are too many.
type Reports interface {
	Main(ctx context.Context, q event.Query) (event.Totals, error)
	Timeseries(ctx context.Context, q event.Query, interval string) ([]event.Point, error)
	// Breakdown returns at most limit rows from offset on, and how many there
	// are in all.
	Breakdown(ctx context.Context, q event.Query, dim string, limit, offset int) ([]event.Row, int64, error)
}

// Limits of a breakdown's page.
const (
	defaultRows = 100
	maxRows     = 1000
)

type totalsJSON struct {
	Visitors      int64   `json:"visitors"`
	Visits        int64   `json:"visits"`
	Pageviews     int64   `json:"pageviews"`
	Events        int64   `json:"events"`
	ViewsPerVisit float64 `json:"views_per_visit"`
	BounceRate    float64 `json:"bounce_rate"`
	VisitDuration float64 `json:"visit_duration"`
}

type pointJSON struct {
	Date string `json:"date"`
	totalsJSON
}

type rowJSON struct {
	Value *string `json:"value"` // null where nothing is known
	totalsJSON
}

// A reportJSON is the frame of every report: what was asked, as it was
// understood, and the answer.
type reportJSON struct {
	Site     string   `json:"site_id"`
	Timezone string   `json:"timezone"`
	Start    string   `json:"start_date,omitempty"` // none: all of time
	End      string   `json:"end_date,omitempty"`
	Interval string   `json:"interval,omitempty"`
	Dim      string   `json:"dimension,omitempty"`
	Limit    int      `json:"limit,omitempty"`
	Page     int      `json:"page,omitempty"`
	Rows     *int64   `json:"total_rows,omitempty"`
	Degraded []string `json:"degraded,omitempty"` // damaged parts that could not be read: the figures may be too low
	Results  any      `json:"results"`
}

// A question is a request for a report once it has been understood.
type question struct {
	event.Query
	span   span
	report reportJSON
}

// ask reads what every report is asked with: site and range. It refuses a key
// that is for another site before it says whether that site exists.
func (s *Server) ask(r *http.Request) (*question, error) {
	id, err := param(r, "site_id", "")
	if err != nil {
		return nil, err
	}
	if err := forSite(r, id); err != nil {
		return nil, err
	}
	site, zone, err := s.site(r.Context(), id)
	if err != nil {
		return nil, err
	}
	days, err := parseSpan(r.URL.Query(), zone, s.now())
	if err != nil {
		return nil, err
	}
	q := &question{Query: event.Query{Site: site.Domain, Zone: zone}, span: days}
	q.From, q.To = days.micros()
	start, end := days.dates()
	q.report = reportJSON{Site: site.Domain, Timezone: zone.String(), Start: start, End: end}
	return q, nil
}

// site finds a site and its clock.
func (s *Server) site(ctx context.Context, id string) (ledger.Site, *time.Location, error) {
	sites, err := s.o.Sites.Sites(ctx)
	if err != nil {
		return ledger.Site{}, nil, err
	}
	for _, site := range sites {
		if site.Domain == id {
			zone, err := time.LoadLocation(site.Timezone)
			return site, zone, err
		}
	}
	return ledger.Site{}, nil, refuse(http.StatusNotFound, "unknown_site", "there is no site of that name; make it with POST /api/sites")
}

// answer writes a report with a note of what could not be read.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, q *question, results any) error {
	parts, _, err := s.o.History.Parts(r.Context())
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Damaged != "" && overlaps(p, q.Query) {
			q.report.Degraded = append(q.report.Degraded, p.Path)
		}
	}
	q.report.Results = results
	writeJSON(w, http.StatusOK, q.report)
	return nil
}

func overlaps(p event.Part, q event.Query) bool {
	if q.To != 0 && p.MinTime >= q.To || p.MaxTime < q.From {
		return false
	}
	for _, site := range p.Sites {
		if site == q.Site {
			return true
		}
	}
	return len(p.Sites) == 0
}

func (s *Server) statsMain(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r)
	if err != nil {
		return err
	}
	totals, err := s.o.Reports.Main(r.Context(), q.Query)
	if err != nil {
		return err
	}
	return s.answer(w, r, q, totalsJSON(totals))
}

func (s *Server) statsTimeseries(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r)
	if err != nil {
		return err
	}
	interval, err := intervalOf(r.URL.Query(), q.span.days())
	if err != nil {
		return err
	}
	points, err := s.o.Reports.Timeseries(r.Context(), q.Query, interval)
	if err != nil {
		return err
	}
	q.report.Interval = interval
	out := make([]pointJSON, len(points))
	for i, p := range points {
		out[i] = pointJSON{time.UnixMicro(p.Time).In(q.Zone).Format(intervals[interval].format), totalsJSON(p.Totals)}
	}
	return s.answer(w, r, q, out)
}

func (s *Server) statsBreakdown(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", defaultRows, 1, maxRows)
	if err != nil {
		return err
	}
	page, err := number(r, "page", 1, 1, 1_000_000)
	if err != nil {
		return err
	}
	dim := r.PathValue("dim")
	rows, total, err := s.o.Reports.Breakdown(r.Context(), q.Query, dim, int(limit), int((page-1)*limit))
	if err != nil {
		return err
	}
	q.report.Dim, q.report.Limit, q.report.Page, q.report.Rows = dim, int(limit), int(page), &total
	out := make([]rowJSON, len(rows))
	for i, row := range rows {
		out[i].totalsJSON = totalsJSON(row.Totals)
		if row.Value != "" {
			out[i].Value = &rows[i].Value
		}
	}
	return s.answer(w, r, q, out)
}

// param returns a parameter of the URL that may be given once, or its default; a
// parameter without a default must be given.
func param(r *http.Request, name, otherwise string) (string, error) {
	values := r.URL.Query()[name]
	switch {
	case len(values) > 1:
		return "", refuse(http.StatusBadRequest, "parameter", "%s is given more than once", name)
	case len(values) == 1 && values[0] != "":
		return values[0], nil
	case otherwise == "":
		return "", refuse(http.StatusBadRequest, "parameter", "%s is missing", name)
	}
	return otherwise, nil
}

func number(r *http.Request, name string, otherwise, least, most int64) (int64, error) {
	s, err := param(r, name, strconv.FormatInt(otherwise, 10))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		return 0, refuse(http.StatusBadRequest, "parameter", "%s is a number from %d to %d", name, least, most)
	}
	return n, nil
}
