package server

import (
	"net/http"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// visitMetrics are the figures of visits.
var visitMetrics = []event.Metric{event.Visits, event.Visitors, event.ViewsPerVisit, event.BounceRate, event.VisitDuration}

// A comparisonJSON is what the figures were before.
type comparisonJSON struct {
	Start   string     `json:"start_date"`
	End     string     `json:"end_date"`
	Until   string     `json:"until,omitempty" doc:"If the range is not over: as much of the one before is compared as has gone by."`
	Results objectJSON `json:"results" doc:"As the results."`
	Change  objectJSON `json:"change" doc:"By metric: percent of what it was, of percents points; null if that cannot be told."`
}

func (s *Server) statsMain(w http.ResponseWriter, r *http.Request) error {
	return s.statsTotals(w, r, usualMetrics)
}

func (s *Server) statsSessions(w http.ResponseWriter, r *http.Request) error {
	return s.statsTotals(w, r, visitMetrics)
}

// statsTotals answers with one line of figures.
func (s *Server) statsTotals(w http.ResponseWriter, r *http.Request, otherwise []event.Metric) error {
	q, err := s.ask(r, "filters", "segment", "metrics", "currency", "compare")
	if err != nil {
		return err
	}
	if err := s.metered(r, q, otherwise); err != nil {
		return err
	}
	mode, err := choice(r, "compare", "", previousPeriod, yearOverYear)
	if err != nil {
		return err
	}
	a, err := s.query(r.Context(), q, nil)
	if err != nil {
		return err
	}
	figures := firstLine(a, q.Metrics)
	if mode != "" {
		if err := s.compare(r, q, mode, figures); err != nil {
			return err
		}
	}
	return s.answer(w, q, figuresOf(q.Metrics, figures))
}

// compare adds what the figures were before.
func (s *Server) compare(r *http.Request, q *question, mode string, figures []event.Figure) error {
	if q.span.all() {
		return refuse(http.StatusBadRequest, "compare", "there is nothing before all of time to compare it with; give another period")
	}
	before := q.span.before(mode, q.now)
	a, err := s.query(r.Context(), q, func(q *event.Query) { q.From, q.To = before.micros() })
	if err != nil {
		return err
	}
	then := firstLine(a, q.Metrics)
	c := &comparisonJSON{Results: figuresOf(q.Metrics, then), Change: changes(q.Metrics, figures, then)}
	c.Start, c.End = before.dates()
	if !before.to.IsZero() {
		c.Until = before.to.Format(time.RFC3339)
	}
	q.report.Comparison = c
	return nil
}
