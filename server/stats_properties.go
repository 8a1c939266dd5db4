package server

import (
	"net/http"

	"github.com/eider-analytics/eider/store/event"
)

// usualProperties is how many properties, or values of one, a report has.
const usualProperties = 50

// A propertyJSON is a custom property.
type propertyJSON struct {
	Name     string `json:"name"`
	Visitors int64  `json:"visitors"`
	Events   int64  `json:"events" doc:"That carry it."`
}

// A propertyValueJSON is a value of a custom property.
type propertyValueJSON struct {
	Value    string `json:"value"`
	Visitors int64  `json:"visitors"`
	Events   int64  `json:"events" doc:"That carry it."`
}

// statsProperties answers with the names of the custom properties, those with the
// most events first.
func (s *Server) statsProperties(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "event", "limit", "page")
	if err != nil {
		return err
	}
	if err := propertiesOf(r, q); err != nil {
		return err
	}
	q.Dimensions = []event.Dimension{event.PropName}
	a, err := s.query(r.Context(), q, nil)
	if err != nil {
		return err
	}
	q.report.Rows = &a.Count
	rows := make([]propertyJSON, len(a.Lines))
	for i, l := range a.Lines {
		rows[i] = propertyJSON{l.Values[0].Text, l.Figures[0].Int, l.Figures[1].Int}
	}
	return s.answer(w, q, rows)
}

// statsPropertyValues answers with the values of one custom property. Events
// without it are left out.
func (s *Server) statsPropertyValues(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "key", "event", "limit", "page", "search")
	if err != nil {
		return err
	}
	key, err := param(r, "key", "")
	if err != nil {
		return err
	}
	d, err := dimensionOf("prop:" + key)
	if err != nil {
		return err
	}
	if err := propertiesOf(r, q); err != nil {
		return err
	}
	q.Dimensions, q.report.Dim = []event.Dimension{d}, "prop:"+key
	q.Filter = event.Every(q.Filter, event.Without(is(d, "")))
	if err := search(r, q); err != nil {
		return err
	}
	a, err := s.query(r.Context(), q, nil)
	if err != nil {
		return err
	}
	q.report.Rows = &a.Count
	rows := make([]propertyValueJSON, len(a.Lines))
	for i, l := range a.Lines {
		rows[i] = propertyValueJSON{l.Values[0].Text, l.Figures[0].Int, l.Figures[1].Int}
	}
	return s.answer(w, q, rows)
}

// propertiesOf reads what both reports of properties are asked with.
func propertiesOf(r *http.Request, q *question) error {
	q.Metrics = []event.Metric{event.Visitors, event.Events}
	q.Order = []event.Order{{Metric: event.Events, Descending: true}}
	q.Filter, q.Goals = q.whole(), nil
	name, err := optional(r, "event")
	if err != nil {
		return err
	}
	if name != "" {
		q.Filter = event.Every(q.Filter, is("name", name))
	}
	return pageOf(r, q, usualProperties, maxRows)
}
