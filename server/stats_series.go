package server

import (
	"context"
	"net/http"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

func (s *Server) statsTimeseries(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "metrics", "currency", "interval")
	if err != nil {
		return err
	}
	if err := s.metered(r, q, usualMetrics); err != nil {
		return err
	}
	if q.report.Interval, err = intervalOf(r.URL.Query(), q.span); err != nil {
		return err
	}
	if err := s.bound(r.Context(), q); err != nil {
		return err
	}
	points, err := s.series(r.Context(), q)
	if err != nil {
		return err
	}
	rows := make([]objectJSON, len(points))
	for i, p := range points {
		rows[i] = append(q.moment(p.start, p.end), figuresOf(q.Metrics, p.figures)...)
	}
	return s.answer(w, q, rows)
}

// bound gives a question about all of time the days that there are, so that a
// series has a beginning and an end. Without an event there are none.
func (s *Server) bound(ctx context.Context, q *question) error {
	if !q.span.all() {
		return nil
	}
	first, last, some, err := s.o.Questions.Bounds(ctx, q.Site)
	if err != nil || !some {
		return err
	}
	from, to := noon(time.UnixMicro(first).In(q.Zone), 0, 0, 0), noon(time.UnixMicro(last).In(q.Zone), 0, 0, 0)
	if today := noon(q.now.In(q.Zone), 0, 0, 0); to.Before(today) {
		to = today
	}
	q.From, q.To = span{from, to}.micros()
	return nil
}

// A point is one interval of a series.
type point struct {
	start, end int64 // µs, half-open
	figures    []event.Figure
}

// series answers a question by the interval of its report. Intervals without an
// event are there too; those that have not begun are left out, unless an event
// claims to be from there.
func (s *Server) series(ctx context.Context, q *question) ([]point, error) {
	if q.From == 0 && q.To == 0 {
		return nil, nil
	}
	// The buckets come first: they refuse a series that would be too long.
	starts, err := event.Buckets(q.From, q.To, q.Zone, q.report.Interval)
	if err != nil {
		return nil, err
	}
	a, err := s.query(ctx, q, func(ask *event.Query) {
		d := event.Dimension("time:" + q.report.Interval)
		ask.Dimensions, ask.Order = []event.Dimension{d}, []event.Order{{Dimension: d}}
	})
	if err != nil {
		return nil, err
	}
	lines := make(map[int64][]event.Figure, len(a.Lines))
	last := q.now.UnixMicro()
	for _, l := range a.Lines {
		lines[l.Values[0].Time] = l.Figures
		last = max(last, l.Values[0].Time)
	}
	var points []point
	for _, start := range starts {
		if start > last {
			break
		}
		figures, ok := lines[start]
		if !ok {
			figures = noFigures(q.Metrics)
		}
		points = append(points, point{start, q.intervalEnd(start), figures})
	}
	return points, nil
}

// intervalEnd returns the end of the interval that begins at start.
func (q *question) intervalEnd(start int64) int64 {
	return event.NextOf(time.UnixMicro(start).In(q.Zone), q.report.Interval).UnixMicro()
}

// moment begins a row about an interval: when it was, and whether the range or
// the present cuts it off.
func (q *question) moment(start, end int64) objectJSON {
	t := time.UnixMicro(start).In(q.Zone)
	o := objectJSON{{"date", t.Format(intervals[q.report.Interval].format)}, {"time", t.Format(time.RFC3339)}}
	if start < q.From || end > q.To || end > q.now.UnixMicro() {
		o = append(o, field{"partial", true})
	}
	return o
}
