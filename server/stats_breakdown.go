package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// breakdownParams are what a breakdown is asked with.
var breakdownParams = []string{"filters", "segment", "metrics", "currency", "limit", "page", "search", "sort"}

func (s *Server) statsBreakdown(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, breakdownParams...)
	if err != nil {
		return err
	}
	q.report.Dim = r.PathValue("dim")
	d, err := dimensionOf(q.report.Dim)
	if err != nil {
		return err
	}
	if d == event.GoalName {
		return s.breakdownGoals(w, r, q)
	}
	q.Dimensions = []event.Dimension{d}
	if err := s.metered(r, q, usualMetrics); err != nil {
		return err
	}
	return s.breakdown(w, r, q)
}

// breakdown answers a question with one dimension whose metrics are set.
func (s *Server) breakdown(w http.ResponseWriter, r *http.Request, q *question) error {
	if err := pageOf(r, q, defaultRows, maxRows); err != nil {
		return err
	}
	if err := search(r, q); err != nil {
		return err
	}
	var err error
	if q.Order, err = orderOf(r, q); err != nil {
		return err
	}
	a, err := s.query(r.Context(), q, only)
	if err != nil {
		return err
	}
	q.report.Rows = &a.Count
	rows := make([]objectJSON, len(a.Lines))
	for i, l := range a.Lines {
		rows[i] = append(objectJSON{{"value", orNothing(l.Values[0].Text)}}, figuresOf(q.Metrics, l.Figures)...)
	}
	return s.answer(w, q, rows)
}

// orNothing returns null for what is not known.
func orNothing(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// search keeps the values that contain a text, whatever its case.
func search(r *http.Request, q *question) error {
	text, err := optional(r, "search")
	if err != nil || text == "" {
		return err
	}
	if len(text) > maxFilterValue {
		return refuse(http.StatusBadRequest, "parameter", "search has %d bytes, at most %d are allowed", len(text), maxFilterValue)
	}
	q.Filter = event.Every(q.Filter, event.Filter{Op: event.Contains, Dimension: q.Dimensions[0], Values: []string{text}, IgnoreCase: true})
	return nil
}

// orderOf reads sort: a metric of the question or value, and :asc or :desc. A
// metric begins with the most, values with A.
func orderOf(r *http.Request, q *question) ([]event.Order, error) {
	s, err := optional(r, "sort")
	if err != nil || s == "" {
		return nil, err
	}
	d := q.Dimensions[0]
	name, direction, directed := strings.Cut(s, ":")
	if directed && direction != "asc" && direction != "desc" {
		return nil, refuse(http.StatusBadRequest, "parameter", "sort ends in :asc or :desc")
	}
	if name == "value" {
		return []event.Order{{Dimension: d, Descending: direction == "desc"}}, nil
	}
	if !slices.Contains(q.Metrics, event.Metric(name)) {
		return nil, refuse(http.StatusBadRequest, "parameter", "sort is value or one of the metrics that are asked for: %s", wordList(q.Metrics))
	}
	return []event.Order{{Metric: event.Metric(name), Descending: direction != "asc"}, {Dimension: d}}, nil
}
