package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// Reports answers the questions about what visitors do one after the other, each
// from one consistent state of the store. Errors are as of [Questions].
type Reports interface {
	Funnel(ctx context.Context, q event.Funnel) (*event.FunnelAnswer, error)
	Retention(ctx context.Context, q event.Retention) (*event.RetentionAnswer, error)
	Sequence(ctx context.Context, q event.Sequence) (*event.SequenceAnswer, error)
	Flow(ctx context.Context, q event.Flow) (*event.FlowAnswer, error)
}

// Limits of a page of rows.
const (
	defaultRows = 100
	maxRows     = 1000
)

// A reportJSON is the frame of every report: what was asked, as it was
// understood, and the answer.
type reportJSON struct {
	Site       string          `json:"site_id"`
	Timezone   string          `json:"timezone"`
	Start      string          `json:"start_date,omitempty" doc:"First day. Left out: all of time."`
	End        string          `json:"end_date,omitempty" doc:"Last day."`
	Interval   string          `json:"interval,omitempty"`
	Dim        string          `json:"dimension,omitempty"`
	Limit      int             `json:"limit,omitempty"`
	Page       int             `json:"page,omitempty"`
	Rows       *int64          `json:"total_rows,omitempty" doc:"Rows of all pages."`
	Degraded   []string        `json:"degraded,omitempty" doc:"Damaged parts that could not be read: the figures may be too low."`
	Meta       metaJSON        `json:"meta"`
	Results    any             `json:"results"`
	Comparison *comparisonJSON `json:"comparison,omitempty"`
}

// A metaJSON says where an answer comes from.
type metaJSON struct {
	Plan string `json:"plan,omitempty" doc:"Whether rollups of whole days, rows, or both were read." enum:"rollup,raw,both"`
	Seq  int64  `json:"seq" doc:"Newest event that was there to be read."`

	// Of reports on what visitors do one after the other.
	Unit   string `json:"unit,omitempty" doc:"Whose events belong together." enum:"visitor,visit,user"`
	Caveat string `json:"caveat,omitempty" doc:"What the figures cannot say."`
}

// A question is a request for a report once it has been understood.
type question struct {
	event.Query
	span   stretch
	now    time.Time
	report reportJSON
	plans  []string
}

// ask reads what every report is asked with: site, range and, if they are among
// the other parameters that it takes, filters. It refuses a key that is for
// another site before it says whether that site exists.
func (s *Server) ask(r *http.Request, others ...string) (*question, error) {
	if err := wellFormed(r); err != nil {
		return nil, err
	}
	if err := known(r, others); err != nil {
		return nil, err
	}
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
	now := s.now()
	days, err := parseSpan(r.URL.Query(), zone, now)
	if err != nil {
		return nil, err
	}
	q := &question{Query: event.Query{Site: site.Domain, Zone: zone}, now: now}
	q.report = reportJSON{Site: site.Domain, Timezone: zone.String()}
	q.over(days)
	if !slices.Contains(others, "filters") { // an export: it takes any range
		return q, nil
	}
	if n := days.days(); n > longestSpan {
		return nil, refuse(http.StatusBadRequest, "range", "the range has %d days, at most %d are answered; use period=all for everything", n, longestSpan)
	}
	return q, s.narrow(r, q)
}

// over sets the range.
func (q *question) over(days stretch) {
	q.span = days
	q.From, q.To = days.micros()
	q.report.Start, q.report.End = days.dates()
}

// wellFormed refuses parameters that net/url would leave out without a word. A
// semicolon stands for itself: the short form of filters is full of them.
func wellFormed(r *http.Request) error {
	r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "%3B")
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return refuse(http.StatusBadRequest, "parameter", "the parameters are not well-formed: write %% as %%25")
	}
	return nil
}

// known refuses parameters that a report does not take: an answer to less than
// was asked is a wrong one.
func known(r *http.Request, others []string) error {
	for name := range r.URL.Query() {
		switch name {
		case "site_id", "period", "start_date", "end_date":
			continue
		}
		if !slices.Contains(others, name) {
			all := append([]string{"site_id", "period", "start_date", "end_date"}, others...)
			return refuse(http.StatusBadRequest, "parameter", "there is no parameter %.60q here; there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
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

// query asks a question that begins as q does, and notes for the frame where the
// answer comes from. Filters are added to those of q.
func (s *Server) query(ctx context.Context, q *question, change func(*event.Query)) (*event.Answer, error) {
	ask := q.Query
	if change != nil {
		change(&ask)
	}
	a, err := s.o.Questions.Query(ctx, ask)
	if err != nil {
		return nil, err
	}
	q.plans = append(q.plans, a.Plan)
	q.read(a.Seq, a.Degraded)
	return a, nil
}

// read notes what an answer was read from. Of several answers the oldest state
// counts: what it has all of them have.
func (q *question) read(seq int64, degraded []event.Part) {
	meta := &q.report.Meta
	if meta.Seq == 0 || seq < meta.Seq {
		meta.Seq = seq
	}
	for _, p := range degraded {
		if !slices.Contains(q.report.Degraded, p.Path) {
			q.report.Degraded = append(q.report.Degraded, p.Path)
		}
	}
}

// answer writes a report.
func (s *Server) answer(w http.ResponseWriter, q *question, results any) error {
	slices.Sort(q.plans)
	switch plans := slices.Compact(q.plans); len(plans) {
	case 0:
	case 1:
		q.report.Meta.Plan = plans[0]
	default:
		q.report.Meta.Plan = event.PlanBoth
	}
	q.report.Results = results
	writeJSON(w, http.StatusOK, q.report)
	return nil
}

// param returns a parameter of the URL that may be given once, or its default; a
// parameter without a default must be given.
func param(r *http.Request, name, otherwise string) (string, error) {
	value, err := optional(r, name)
	switch {
	case err != nil || value != "":
		return value, err
	case otherwise == "":
		return "", refuse(http.StatusBadRequest, "parameter", "%s is missing", name)
	}
	return otherwise, nil
}

// optional returns a parameter of the URL that may be given once, or "".
func optional(r *http.Request, name string) (string, error) {
	values := r.URL.Query()[name]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", refuse(http.StatusBadRequest, "parameter", "%s is given more than once", name)
}

// choice returns a parameter that is one of several words; the first is its
// default.
func choice(r *http.Request, name string, words ...string) (string, error) {
	s, err := optional(r, name)
	switch {
	case err != nil:
		return "", err
	case s == "":
		return words[0], nil
	case !slices.Contains(words, s):
		return "", refuse(http.StatusBadRequest, "parameter", "%s is %s", name, strings.TrimPrefix(strings.Join(words, " or "), " or "))
	}
	return s, nil
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

// pageOf reads which rows are wanted.
func pageOf(r *http.Request, q *question, otherwise, most int64) error {
	limit, err := number(r, "limit", otherwise, 1, most)
	if err != nil {
		return err
	}
	page, err := number(r, "page", 1, 1, 1_000_000)
	if err != nil {
		return err
	}
	q.Limit, q.Offset, q.Count = int(limit), int((page-1)*limit), true
	q.report.Limit, q.report.Page = int(limit), int(page)
	return nil
}
