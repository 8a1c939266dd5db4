package server

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// usualMetrics are what a report tells if it is not asked for others.
var usualMetrics = []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration}

// A kind is how the figures of a metric are told and compared.
type kind struct {
	whole   bool // an integer
	percent bool // its change is told in points, not in percent of percents
	unknown bool // without events it is not known; the others are 0
	goal    bool // needs a goal
	money   bool // needs a currency
}

var metricKinds = map[event.Metric]kind{
	event.Visitors:            {whole: true},
	event.Users:               {whole: true},
	event.Visits:              {whole: true},
	event.Pageviews:           {whole: true},
	event.Events:              {whole: true},
	event.ViewsPerVisit:       {},
	event.BounceRate:          {percent: true},
	event.VisitDuration:       {},
	event.TimeOnPage:          {unknown: true},
	event.ScrollDepth:         {percent: true, unknown: true},
	event.ExitRate:            {percent: true},
	event.ConversionRate:      {percent: true, goal: true},
	event.GroupConversionRate: {percent: true, goal: true},
	event.TotalRevenue:        {unknown: true, money: true},
	event.AverageRevenue:      {unknown: true, money: true},
	event.Percentage:          {percent: true},
}

// metricNames lists the metrics in the order in which they are documented.
var metricNames = []event.Metric{
	event.Visitors, event.Users, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration,
	event.TimeOnPage, event.ScrollDepth, event.ExitRate, event.ConversionRate, event.GroupConversionRate, event.TotalRevenue,
	event.AverageRevenue, event.Percentage,
}

// metricsOf reads which figures are wanted.
func metricsOf(r *http.Request, otherwise []event.Metric) ([]event.Metric, error) {
	s, err := optional(r, "metrics")
	if err != nil || s == "" {
		return otherwise, err
	}
	var list []event.Metric
	for name := range strings.SplitSeq(s, ",") {
		m := event.Metric(strings.TrimSpace(name))
		if _, ok := metricKinds[m]; !ok {
			return nil, refuse(http.StatusBadRequest, "metric", "there is no metric %.60q; there are %s", name, wordList(metricNames))
		}
		if slices.Contains(list, m) {
			return nil, refuse(http.StatusBadRequest, "metric", "the metric %s is given more than once", m)
		}
		list = append(list, m)
	}
	return list, nil
}

func wordList[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return strings.Join(list, ", ")
}

// metered reads metrics and, for those about money, its currency.
func (s *Server) metered(r *http.Request, q *question, otherwise []event.Metric) (err error) {
	if q.Metrics, err = metricsOf(r, otherwise); err != nil {
		return err
	}
	if q.Currency, err = currencyOf(r); err != nil {
		return err
	}
	for _, m := range q.Metrics {
		k := metricKinds[m]
		if k.goal && len(q.Goals) == 0 {
			return refuse(http.StatusUnprocessableEntity, "bad_query", "%s needs a goal: filter by one, as in filters=goal==Signup", m)
		}
		if k.money && q.Currency == "" {
			if q.Currency, err = s.currency(r, q.Site); err != nil {
				return err
			}
		}
	}
	return nil
}

func currencyOf(r *http.Request) (string, error) {
	c, err := optional(r, "currency")
	c = strings.ToUpper(c)
	if err == nil && c != "" && (len(c) != 3 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return "", refuse(http.StatusBadRequest, "parameter", "currency is a code such as EUR")
	}
	return c, err
}

// A field is a field of a JSON object; objectJSON keeps the order.
type field struct {
	name  string
	value any
}

// An objectJSON is a JSON object whose fields keep their order.
type objectJSON []field

// MarshalJSON implements [json.Marshaler].
func (o objectJSON) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// schema is what openapi.json says of an object whose fields depend on what was
// asked.
func (objectJSON) schema() schema { return schema{"type": "object"} }

// figuresOf returns the fields of some figures.
func figuresOf(metrics []event.Metric, figures []event.Figure) objectJSON {
	o := make(objectJSON, len(metrics), len(metrics)+3)
	for i, m := range metrics {
		o[i] = field{string(m), valueOf(m, figures[i])}
	}
	return o
}

// valueOf returns what JSON says of a figure: null if it is not known.
func valueOf(m event.Metric, f event.Figure) any {
	switch {
	case f.Unknown:
		return nil
	case m == event.TotalRevenue:
		return exactly(f.Int)
	case metricKinds[m].whole:
		return f.Int
	}
	return finite(f.Float)
}

// finite keeps out what JSON cannot say.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// exactly writes ten-thousandths of a currency as a number, exactly.
func exactly(n int64) json.Number {
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	whole, rest := strconv.FormatUint(u/event.RevenueScale, 10), strconv.FormatUint(u%event.RevenueScale+event.RevenueScale, 10)[1:]
	if rest = strings.TrimRight(rest, "0"); rest != "" {
		rest = "." + rest
	}
	return json.Number(sign + whole + rest)
}

// noFigures returns the figures of no events.
func noFigures(metrics []event.Metric) []event.Figure {
	list := make([]event.Figure, len(metrics))
	for i, m := range metrics {
		list[i].Unknown = metricKinds[m].unknown
	}
	return list
}

// firstLine returns the figures of an answer without dimensions.
func firstLine(a *event.Answer, metrics []event.Metric) []event.Figure {
	if len(a.Lines) == 0 {
		return noFigures(metrics)
	}
	return a.Lines[0].Figures
}

// changes tells how far figures have moved: in percent of what they were, or in
// points if they are percents themselves. It is not known where one of the two is
// not, and from 0.
func changes(metrics []event.Metric, now, then []event.Figure) objectJSON {
	o := make(objectJSON, len(metrics))
	for i, m := range metrics {
		o[i] = field{string(m), changeOf(m, now[i], then[i])}
	}
	return o
}

func changeOf(m event.Metric, now, then event.Figure) any {
	if now.Unknown || then.Unknown {
		return nil
	}
	a, b := now.Float, then.Float
	if metricKinds[m].whole || m == event.TotalRevenue {
		a, b = float64(now.Int), float64(then.Int)
	}
	switch {
	case metricKinds[m].percent:
		return finite(a - b)
	case b == 0:
		return nil
	}
	return finite(100 * (a - b) / b)
}
