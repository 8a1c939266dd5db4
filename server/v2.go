package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// maxQuery is the most bytes of a question. What it may hold is bounded on its own.
const maxQuery = 256 << 10

// Plausible's words for who has no right to ask.
const (
	missingKey  = "Missing API key. Please use a valid Plausible API key as a Bearer Token."
	invalidKey  = "Invalid API key or site ID. Please make sure you're using a valid API key with access to the site you've requested."
	missingSite = "Missing site ID. Please provide the required site_id parameter with your request."
)

// A v2JSON is the answer of POST /api/v2/query, in the order of its keys.
type v2JSON struct {
	Results []v2Row `json:"results"`
	Meta    v2Meta  `json:"meta"`
	Query   v2Echo  `json:"query"`
}

type v2Row struct {
	Metrics    []any     `json:"metrics" doc:"In the order of the query's metrics: numbers, null, or for revenue an object."`
	Dimensions []any     `json:"dimensions" doc:"In the order of the query's dimensions: texts, or numbers of cities."`
	Comparison *v2Change `json:"comparison,omitempty" doc:"Only with include.comparisons."`
}

type v2Change struct {
	Metrics    []any `json:"metrics"`
	Dimensions []any `json:"dimensions"`
	Change     []any `json:"change" doc:"Percent, of rates points; null where it cannot be told."`
}

type v2Meta struct {
	Degraded        []string             `json:"degraded,omitempty" doc:"Damaged parts that could not be read: the figures may be too low."`
	ImportsIncluded *bool                `json:"imports_included,omitempty"`
	MetricWarnings  map[string]v2Warning `json:"metric_warnings,omitempty"`
	Plan            string               `json:"plan,omitempty" enum:"raw,rollup,both" doc:"Where the figures come from."`
	TimeLabels      []string             `json:"time_labels,omitempty"`
	TotalRows       *int64               `json:"total_rows,omitempty"`
}

type v2Warning struct {
	Code    string `json:"code"`
	Warning string `json:"warning"`
}

type v2Echo struct {
	SiteID     string         `json:"site_id"`
	Metrics    []event.Metric `json:"metrics"`
	DateRange  [2]string      `json:"date_range"`
	Filters    clauses        `json:"filters"`
	Dimensions []string       `json:"dimensions"`
	OrderBy    []v2Order      `json:"order_by"`
	Include    v2Include      `json:"include"`
	Pagination v2Page         `json:"pagination"`

	ComparisonDateRange *[2]string `json:"comparison_date_range,omitempty"`
}

// A v2Order is one entry of order_by.
type v2Order struct {
	by         string
	descending bool
}

// MarshalJSON writes ["visitors", "desc"].
func (o v2Order) MarshalJSON() ([]byte, error) {
	direction := "asc"
	if o.descending {
		direction = "desc"
	}
	return json.Marshal([2]string{o.by, direction})
}

func (v2Order) schema() schema {
	return schema{"type": "array", "items": textual(), "minItems": 2, "maxItems": 2}
}

func (clause) schema() schema { return schema{"type": "array"} }

type v2Include struct {
	Imports     bool           `json:"imports,omitempty"`
	TimeLabels  bool           `json:"time_labels,omitempty"`
	TotalRows   bool           `json:"total_rows,omitempty"`
	Comparisons *v2Comparisons `json:"comparisons,omitempty"`
}

type v2Comparisons struct {
	Mode           string     `json:"mode" enum:"previous_period,year_over_year,custom"`
	DateRange      *[2]string `json:"date_range,omitempty"`
	MatchDayOfWeek bool       `json:"match_day_of_week,omitempty"`

	dates dates
}

type v2Page struct {
	Offset int64 `json:"offset"`
	Limit  int64 `json:"limit"`
}

// A v2Query is a question to the Stats API v2 whose grammar is right.
type v2Query struct {
	site    string
	metrics []event.Metric
	dates   dates
	dims    []string
	filters clauses
	order   []v2Order // nil: the default
	include v2Include
	page    v2Page
}

// postQuery is POST /api/v2/query.
func (s *Server) postQuery(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxQuery)
	if err != nil {
		return err
	}
	params, err := decodeJSON(body)
	object, ok := params.(map[string]any)
	if err != nil || !ok {
		return badQuery("The body is not a JSON object.")
	}
	site, zone, err := s.peerSite(r, object["site_id"])
	if err != nil {
		return err
	}
	v, err := parseV2(object)
	if err != nil {
		return err
	}
	a := &v2Asker{s: s, v: v, zone: zone}
	if v.names() {
		if a.words, err = s.vocabulary(r.Context(), site.Domain); err != nil {
			return err
		}
	}
	answer, err := a.answer(r.Context())
	if err != nil {
		return asked(err)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// asked tells a wrong question as Plausible does, with 400.
func asked(err error) error {
	var wrong *event.QueryError
	if errors.As(err, &wrong) {
		return badQuery("%s", wrong.Message)
	}
	return err
}

// peerSite finds the site that a question of Plausible's API is about. To whom the
// site is closed it looks as if it were not there.
func (s *Server) peerSite(r *http.Request, id any) (ledger.Site, *time.Location, error) {
	switch id := id.(type) {
	case nil:
		return ledger.Site{}, nil, badQuery(missingSite)
	case string:
		if id == "" {
			return ledger.Site{}, nil, badQuery(missingSite)
		}
		if forSite(r, id) != nil {
			return ledger.Site{}, nil, refuse(http.StatusUnauthorized, "bad_key", invalidKey)
		}
		site, zone, err := s.site(r.Context(), id)
		var p *problem
		if errors.As(err, &p) && p.status == http.StatusNotFound {
			return site, zone, refuse(http.StatusUnauthorized, "bad_key", invalidKey)
		}
		return site, zone, err
	default:
		return ledger.Site{}, nil, badQuery("#/site_id: %s", mismatch("String", id))
	}
}

// A v2Asker turns one question into those of the query model, and their answers
// into one.
type v2Asker struct {
	s     *Server
	v     *v2Query
	zone  *time.Location
	words vocabulary

	span     moments // of the question
	interval string  // of its dimension of time, "" without one
	time     int     // which dimension that is
	query    event.Query
	at       []int // for each dimension its place in query.Dimensions
	money    money
	nothing  bool // no goal is asked for: there can be no row
}

// answer asks, compares, and writes down.
func (a *v2Asker) answer(ctx context.Context) (*v2JSON, error) {
	if err := a.prepare(ctx); err != nil {
		return nil, err
	}
	out := &v2JSON{Results: []v2Row{}, Query: a.echo()}
	found, err := a.ask(ctx, a.query)
	if err != nil {
		return nil, err
	}
	out.Meta = a.meta(found)
	for _, line := range found.Lines {
		out.Results = append(out.Results, v2Row{Metrics: a.figures(line), Dimensions: a.labels(line, a.span)})
	}
	if a.v.include.Comparisons != nil {
		if err := a.compare(ctx, out, found); err != nil {
			return nil, err
		}
	}
	if a.v.include.TimeLabels {
		if out.Meta.TimeLabels, err = a.timeLabels(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// prepare makes the query, and refuses what Plausible refuses, in its order.
func (a *v2Asker) prepare(ctx context.Context) (err error) {
	v := a.v
	if v.filters, err = v.filters.resolved(a.words); err != nil {
		return err
	}
	if a.span, err = a.resolve(ctx, v.dates); err != nil {
		return err
	}
	if i := slices.Index(v.dims, "time"); i >= 0 {
		v.dims[i] = autoInterval(a.span)
	}
	a.time = slices.IndexFunc(v.dims, isTime)
	if err := v.validate(); err != nil {
		return err
	}
	a.query = event.Query{
		Site: v.site, From: a.span.from, To: a.span.to, Zone: a.zone, Metrics: v.metrics,
		Limit: int(v.page.Limit), Offset: int(v.page.Offset), Count: v.include.TotalRows,
	}
	a.group()
	if err := a.narrow(); err != nil {
		return err
	}
	a.sort()
	return a.money.choose(a)
}

// group puts the dimensions into the query. Two names of one dimension are one
// there.
func (a *v2Asker) group() {
	for _, name := range a.v.dims {
		d, _ := wireDimension(name)
		if i, ok := d.of.Interval(); ok {
			a.interval = i
		}
		at := slices.Index(a.query.Dimensions, d.of)
		if at < 0 {
			at = len(a.query.Dimensions)
			a.query.Dimensions = append(a.query.Dimensions, d.of)
		}
		a.at = append(a.at, at)
	}
}

// narrow puts the filters into the query: those on goals, and with rates those on
// properties too, into its goals, because the visitors that did not reach them
// belong to the whole of which the rate is.
func (a *v2Asker) narrow() error {
	var goals []clause
	var props, rest []clause
	rates := a.v.asksFor(event.ConversionRate, event.GroupConversionRate)
	for _, c := range a.v.filters {
		d, _ := wireDimension(c.dim)
		_, isProp := d.of.Prop()
		switch {
		case c.dim == "event:goal":
			goals = append(goals, c)
		case isProp && rates:
			props = append(props, c)
		default:
			rest = append(rest, c)
		}
	}
	filter, err := clauses(rest).filter(a.words)
	if err != nil {
		return err
	}
	with, err := clauses(props).filter(a.words)
	if err != nil {
		return err
	}
	a.query.Filter = filter
	a.query.Goals, a.money.goals, err = goalsOf(a.words, goals, with, slices.Contains(a.v.dims, "event:goal"))
	a.nothing = len(a.query.Goals) == 0 && slices.Contains(a.v.dims, "event:goal")
	return err
}

// goalsOf returns the goals of a query, and of which goals they are made. By goal
// each is one; otherwise all that the filters allow are one.
func goalsOf(words vocabulary, filters []clause, with event.Filter, each bool) ([]event.Goal, []ledger.Goal, error) {
	named := words.goals
	var all []event.Filter
	for _, c := range filters {
		goals, err := c.goals(words)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, reached(goals))
		named = slices.DeleteFunc(slices.Clone(named), func(g ledger.Goal) bool {
			return !slices.ContainsFunc(goals, func(of ledger.Goal) bool { return of.ID == g.ID && of.Name == g.Name })
		})
	}
	if each {
		var out []event.Goal
		for _, g := range named {
			goal := g.Goal()
			goal.Filter = event.Every(goal.Filter, with)
			out = append(out, goal)
		}
		return out, named, nil
	}
	if len(filters) == 0 {
		return nil, nil, nil
	}
	return []event.Goal{{Name: "goal", Filter: event.Every(append(all, with)...)}}, named, nil
}

// sort puts the order into the query, and into the question the default that
// Plausible tells.
func (a *v2Asker) sort() {
	if a.v.order == nil {
		if a.time >= 0 {
			a.v.order = append(a.v.order, v2Order{by: a.v.dims[a.time]})
		}
		a.v.order = append(a.v.order, v2Order{by: string(a.v.metrics[0]), descending: true})
	}
	for _, o := range a.v.order {
		order := event.Order{Metric: event.Metric(o.by), Descending: o.descending}
		if d, ok := wireDimension(o.by); ok {
			order = event.Order{Dimension: d.of, Descending: o.descending}
		}
		a.query.Order = append(a.query.Order, order)
	}
}

// ask answers a query, with the revenue of each goal in its own currency.
func (a *v2Asker) ask(ctx context.Context, q event.Query) (*event.Answer, error) {
	if a.nothing {
		return &event.Answer{Plan: event.PlanRollup}, nil
	}
	found, err := a.s.o.Questions.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	return found, a.money.fill(ctx, a.s.o.Questions, q, found)
}

// labels returns the values of a line's dimensions as they are written.
func (a *v2Asker) labels(line event.Line, in moments) []any {
	out := make([]any, len(a.v.dims))
	for i, name := range a.v.dims {
		v := line.Values[a.at[i]]
		if i == a.time {
			out[i] = a.timeLabel(v.Time, in)
			continue
		}
		d, _ := wireDimension(name)
		out[i] = d.label(v.Text)
	}
	return out
}

// timeLabel writes the start of an interval. A week that begins before the range
// is called by the range's first day.
func (a *v2Asker) timeLabel(at int64, in moments) string {
	format := time.DateOnly
	switch {
	case a.interval == event.Hourly:
		format = time.DateTime
	case a.interval == event.Weekly && at < in.from:
		at = in.from
	}
	return time.UnixMicro(at).In(a.zone).Format(format)
}

func (a *v2Asker) timeLabels() ([]string, error) {
	starts, err := event.Buckets(a.span.from, a.span.to, a.zone, a.interval)
	labels := make([]string, len(starts))
	for i, at := range starts {
		labels[i] = a.timeLabel(at, a.span)
	}
	return labels, err
}

// figures returns a line's figures as they are written.
func (a *v2Asker) figures(line event.Line) []any {
	out := make([]any, len(a.v.metrics))
	for i, m := range a.v.metrics {
		if isRevenue(m) {
			out[i] = a.money.write(m, line, i)
			continue
		}
		out[i] = figure(m, line.Figures[i])
	}
	return out
}

func (a *v2Asker) meta(found *event.Answer) v2Meta {
	m := v2Meta{Plan: found.Plan, MetricWarnings: a.money.warnings(a.v.metrics)}
	for _, p := range found.Degraded {
		m.Degraded = append(m.Degraded, p.Path)
	}
	if a.v.include.Imports {
		yes := true // what has been imported are events like all others
		m.ImportsIncluded = &yes
	}
	if a.v.include.TotalRows {
		m.TotalRows = &found.Count
	}
	return m
}

// echo is the question as it was understood.
func (a *v2Asker) echo() v2Echo {
	v := a.v
	return v2Echo{
		SiteID: v.site, Metrics: v.metrics, DateRange: a.span.echo(a.zone), Filters: nonNil(v.filters), Dimensions: nonNil(v.dims),
		OrderBy: v.order, Include: v.include, Pagination: v.page,
	}
}

func nonNil[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}

func isTime(dim string) bool {
	d, _ := wireDimension(dim)
	_, is := d.of.Interval()
	return is || dim == "time"
}

func (v *v2Query) asksFor(metrics ...event.Metric) bool {
	return slices.ContainsFunc(v.metrics, func(m event.Metric) bool { return slices.Contains(metrics, m) })
}

// names says whether the question names goals or segments, which are then to be
// read: most do not.
func (v *v2Query) names() bool {
	found := slices.Contains(v.dims, "event:goal")
	v.filters.walk(0, 0, func(c clause, _, _ int) {
		found = found || c.dim == "event:goal" || c.dim == "segment"
	})
	return found
}

// key tells the lines of two answers apart by their values, but for the time.
func (a *v2Asker) key(line event.Line) string {
	var texts []string
	for i, v := range line.Values {
		if a.time >= 0 && i == a.at[a.time] {
			continue
		}
		texts = append(texts, v.Text)
	}
	return fmt.Sprintf("%q", texts)
}
