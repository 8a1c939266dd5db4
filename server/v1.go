package server

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A v1Asker answers one question of Plausible's Stats API v1, which most other
// programs speak: everything is in the parameters.
type v1Asker struct {
	s      *Server
	r      *http.Request
	params url.Values
	site   ledger.Site
	zone   *time.Location
	words  vocabulary

	period  string
	days    span
	metrics []event.Metric
	filters []v1Filter
	query   event.Query
}

// v1 reads what every question has. property is the dimension of a breakdown.
func (s *Server) v1(r *http.Request, property string) (*v1Asker, error) {
	a := &v1Asker{s: s, r: r}
	var err error
	if a.params, err = v1Params(r); err != nil {
		return nil, err
	}
	var id any
	if a.params.Has("site_id") {
		id = a.params.Get("site_id")
	}
	if a.site, a.zone, err = s.peerSite(r, id); err != nil {
		return nil, err
	}
	if property == "event:goal" || strings.Contains(a.params.Get("filters"), "event:goal") {
		if a.words, err = s.vocabulary(r.Context(), a.site.Domain); err != nil {
			return nil, err
		}
	}
	if err := a.readPeriod(); err != nil {
		return nil, err
	}
	if property != "" {
		if err := a.readProperty(property); err != nil {
			return nil, err
		}
	}
	if err := a.readFilters(); err != nil {
		return nil, err
	}
	return a, a.readMetrics(property)
}

// v1Params reads the parameters, each of which may be given once.
func v1Params(r *http.Request) (url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("The parameters are not well-formed.")
	}
	for name, values := range params {
		if len(values) > 1 {
			return nil, badQuery("The parameter `%s` is given more than once.", shorten(name))
		}
	}
	return params, nil
}

// v1Realtime answers with the bare number of current visitors: those who looked
// at a page in the last five minutes. A client takes the whole body for the number.
func (s *Server) v1Realtime(w http.ResponseWriter, r *http.Request) error {
	params, err := v1Params(r)
	if err != nil {
		return err
	}
	var id any
	if params.Has("site_id") {
		id = params.Get("site_id")
	}
	site, zone, err := s.peerSite(r, id)
	if err != nil {
		return err
	}
	now := s.now()
	answer, err := s.o.Questions.Query(r.Context(), event.Query{
		Site: site.Domain, Zone: zone, Metrics: []event.Metric{event.Visitors},
		From: now.Add(-5 * time.Minute).UnixMicro(), To: now.Add(5 * time.Second).UnixMicro(),
		Filter: event.Filter{Op: event.Is, Dimension: "name", Values: []string{event.Pageview}},
	})
	if err != nil {
		return asked(err)
	}
	var visitors int64
	if len(answer.Lines) > 0 {
		visitors = answer.Lines[0].Figures[0].Int
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(strconv.AppendInt(nil, visitors, 10))
	return nil
}

// ask puts the question for a range of days.
func (a *v1Asker) ask(days span) (*event.Answer, error) {
	q := a.query
	q.Site, q.Zone, q.Metrics = a.site.Domain, a.zone, a.metrics
	q.From, q.To = days.micros()
	if len(q.Goals) == 0 && slices.Contains(q.Dimensions, event.GoalName) {
		return &event.Answer{}, nil
	}
	answer, err := a.s.o.Questions.Query(a.r.Context(), q)
	return answer, asked(err)
}

// An object is a JSON object whose keys have an order.
type object []struct {
	key   string
	value any
}

func (o *object) set(key string, value any) {
	*o = append(*o, struct {
		key   string
		value any
	}{key, value})
}

// MarshalJSON writes the keys in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, of := range o {
		key, err := json.Marshal(of.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(of.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(append(append(key, ':'), value...))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (object) schema() schema { return schema{"type": "object"} }

// A v1JSON is the answer of a question to the Stats API v1.
type v1JSON[T any] struct {
	Results T `json:"results"`
}

// v1Aggregate answers with one figure for each metric, by its name.
func (s *Server) v1Aggregate(w http.ResponseWriter, r *http.Request) error {
	a, err := s.v1(r, "")
	if err != nil {
		return err
	}
	now, err := a.totals(a.days)
	if err != nil {
		return err
	}
	var before []any
	if a.params.Get("compare") == "previous_period" {
		n := a.days.days()
		if before, err = a.totals(span{noon(a.days.first, 0, 0, -n), noon(a.days.last, 0, 0, -n)}); err != nil {
			return err
		}
	}
	var results object
	for i, m := range a.metrics {
		var of object
		of.set("value", now[i])
		if before != nil {
			c := change(m, before[i], now[i])
			if f, ok := c.(float64); ok { // clients read a whole number
				c = int64(math.Round(f))
			}
			of.set("change", c)
		}
		results.set(string(m), of)
	}
	writeJSON(w, http.StatusOK, v1JSON[object]{results})
	return nil
}

func (a *v1Asker) totals(days span) ([]any, error) {
	answer, err := a.ask(days)
	if err != nil {
		return nil, err
	}
	if len(answer.Lines) == 0 {
		return a.figures(nil), nil
	}
	return a.figures(answer.Lines[0].Figures), nil
}

// figures returns figures as they are written; nil where there was no event.
func (a *v1Asker) figures(f []event.Figure) []any {
	out := make([]any, len(a.metrics))
	for i, m := range a.metrics {
		if f == nil {
			out[i] = nothing(m)
			continue
		}
		out[i] = figure(m, f[i])
	}
	return out
}

// v1Timeseries answers with one object for each interval, with an event or not.
func (s *Server) v1Timeseries(w http.ResponseWriter, r *http.Request) error {
	a, err := s.v1(r, "")
	if err != nil {
		return err
	}
	interval, dim, err := a.interval()
	if err != nil {
		return err
	}
	names := slices.Clone(a.metrics)
	if i := slices.Index(a.metrics, event.ConversionRate); i >= 0 {
		a.metrics[i] = event.GroupConversionRate // of the visitors of the same interval
	}
	from, to := a.days.micros()
	starts, err := event.Buckets(from, to, a.zone, interval)
	if err != nil {
		return asked(err)
	}
	a.query.Dimensions = []event.Dimension{dim}
	answer, err := a.ask(a.days)
	if err != nil {
		return err
	}
	found := map[int64][]event.Figure{}
	for _, l := range answer.Lines {
		found[l.Values[0].Time] = l.Figures
	}
	format := time.DateOnly
	if interval == event.Hourly {
		format = time.DateTime
	}
	results := make([]object, len(starts))
	for i, at := range starts {
		results[i].set("date", time.UnixMicro(at).In(a.zone).Format(format))
		for j, v := range a.figures(found[at]) {
			results[i].set(string(names[j]), v)
		}
	}
	writeJSON(w, http.StatusOK, v1JSON[[]object]{results})
	return nil
}

// interval reads the interval, or takes what is usual for the period.
func (a *v1Asker) interval() (string, event.Dimension, error) {
	given := a.params.Get("interval")
	switch {
	case given == "day", given == "date":
		return event.Daily, event.Daytime, nil
	case given == "month":
		return event.Monthly, event.Month, nil
	case a.params.Has("interval"):
		return "", "", badQuery("Error parsing `interval` parameter: invalid interval `%s`. Valid intervals are `day`, `month`", shorten(given))
	case a.period == "day":
		return event.Hourly, event.Hour, nil
	case a.period == "6mo", a.period == "12mo":
		return event.Monthly, event.Month, nil
	}
	return event.Daily, event.Daytime, nil
}

// v1Breakdown answers with one object for each value of a property.
func (s *Server) v1Breakdown(w http.ResponseWriter, r *http.Request) error {
	property, given := r.URL.Query().Get("property"), r.URL.Query().Has("property")
	a, err := s.v1(r, property)
	if err != nil {
		return err
	}
	if !given || property == "" {
		return badQuery("The `property` parameter is required. Please provide at least one property to show a breakdown by.")
	}
	limit, err := a.number("limit", 100, maxRows, "Please provide limit as a number between 1 and 1000.")
	if err != nil {
		return err
	}
	page, err := a.number("page", 1, maxOffset/maxRows, "Please provide page as a positive number.")
	if err != nil {
		return err
	}
	a.query.Limit, a.query.Offset = limit, (page-1)*limit
	answer, err := a.ask(a.days)
	if err != nil {
		return err
	}
	d, _ := wireDimension(property)
	results := make([]object, len(answer.Lines))
	for i, l := range answer.Lines {
		results[i].set(v1Key(property), d.label(l.Values[0].Text))
		for j, v := range a.figures(l.Figures) {
			results[i].set(string(a.metrics[j]), v)
		}
	}
	writeJSON(w, http.StatusOK, v1JSON[[]object]{results})
	return nil
}

// v1Key is the key under which the value of a property is written.
func v1Key(property string) string {
	if key, ok := strings.CutPrefix(property, propWire); ok {
		return key
	}
	_, key, _ := strings.Cut(property, ":")
	return key
}

func (a *v1Asker) number(name string, otherwise, most int, complaint string) (int, error) {
	if !a.params.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(a.params.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, badQuery("%s", complaint)
	}
	return n, nil
}
