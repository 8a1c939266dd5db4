package server

import (
	"context"
	"net/http"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// Realtime looks back so many minutes unless it is asked for more.
const (
	usualWindow = 5
	mostWindow  = 60
	usualTop    = 10
)

// A realtimeJSON is what happens just now.
type realtimeJSON struct {
	Current   int64        `json:"current_visitors" doc:"Visitors with an event in the window."`
	Pageviews int64        `json:"pageviews"`
	Window    int          `json:"window_minutes"`
	Pages     []topJSON    `json:"top_pages"`
	Sources   []topJSON    `json:"top_sources"`
	Minutes   []minuteJSON `json:"per_minute" doc:"The minutes of the clock that the window touches, the first and the running one in part."`
}

type topJSON struct {
	Value    *string `json:"value" doc:"null: nothing is known; of sources, nobody."`
	Visitors int64   `json:"visitors"`
}

type minuteJSON struct {
	Time      string `json:"time"`
	Visitors  int64  `json:"visitors"`
	Pageviews int64  `json:"pageviews"`
}

// statsRealtime answers about the last minutes, up to the last whole second and
// the running one.
func (s *Server) statsRealtime(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "minutes", "limit")
	if err != nil {
		return err
	}
	window, err := number(r, "minutes", usualWindow, 1, mostWindow)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", usualTop, 1, maxRows)
	if err != nil {
		return err
	}
	if err := aboutNow(r); err != nil {
		return err
	}
	q.over(lately(q.now.In(q.Zone), time.Duration(window)*time.Minute))
	q.Filter, q.Goals = q.whole(), nil
	q.Metrics = []event.Metric{event.Visitors, event.Pageviews}
	out := realtimeJSON{Window: int(window)}
	a, err := s.query(r.Context(), q, nil)
	if err != nil {
		return err
	}
	f := firstLine(a, q.Metrics)
	out.Current, out.Pageviews = f[0].Int, f[1].Int
	if out.Minutes, err = s.minutes(r.Context(), q); err != nil {
		return err
	}
	if out.Pages, err = s.top(r.Context(), q, "path", int(limit)); err != nil {
		return err
	}
	if out.Sources, err = s.top(r.Context(), q, "source", int(limit)); err != nil {
		return err
	}
	return s.answer(w, q, out)
}

// aboutNow refuses a range.
func aboutNow(r *http.Request) error {
	if values := r.URL.Query(); values.Has("period") || values.Has("start_date") || values.Has("end_date") {
		return refuse(http.StatusBadRequest, "range", "this is about now; leave period and dates out")
	}
	return nil
}

func (s *Server) minutes(ctx context.Context, q *question) ([]minuteJSON, error) {
	q.report.Interval = event.Minutely
	points, err := s.series(ctx, q)
	if err != nil {
		return nil, err
	}
	list := make([]minuteJSON, len(points))
	for i, p := range points {
		list[i] = minuteJSON{time.UnixMicro(p.start).In(q.Zone).Format(time.RFC3339), p.figures[0].Int, p.figures[1].Int}
	}
	return list, nil
}

// top returns the values of a dimension with the most visitors.
func (s *Server) top(ctx context.Context, q *question, d event.Dimension, limit int) ([]topJSON, error) {
	a, err := s.query(ctx, q, func(q *event.Query) {
		q.Dimensions, q.Metrics, q.Limit = []event.Dimension{d}, []event.Metric{event.Visitors}, limit
		if d == "path" {
			q.Filter = event.Every(q.Filter, is("name", event.Pageview))
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]topJSON, len(a.Lines))
	for i, l := range a.Lines {
		list[i] = topJSON{textOrNil(l.Values[0].Text), l.Figures[0].Int}
	}
	return list, nil
}
