// Package storetest asks a store the questions that the models of the tests
// answer too, in the form in which the models do. Only tests use it.
package storetest

import (
	"context"
	"slices"

	"github.com/eider-analytics/eider/store/event"
)

// A Store answers questions.
type Store interface {
	Query(ctx context.Context, q event.Query) (*event.Answer, error)
	Bounds(ctx context.Context, site string) (first, last int64, any bool, err error)
}

// Totals are the figures of a range, of one of its intervals or of one value of
// a dimension.
type Totals struct {
	Visitors, Visits, Pageviews, Events      int64
	ViewsPerVisit, BounceRate, VisitDuration float64
}

// A Point is one interval of a time series. Intervals without an event are
// there too, with zeros.
type Point struct {
	Time int64 // its first µs
	Totals
}

// A Row is one value of a dimension.
type Row struct {
	Value string
	Totals
}

func totals(q event.Query, dims ...event.Dimension) event.Query {
	return event.Query{
		Site: q.Site, From: q.From, To: q.To, Zone: q.Zone, Filter: q.Filter, Dimensions: dims,
		Metrics: []event.Metric{
			event.Visitors, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration,
		},
	}
}

func totalsOf(f []event.Figure) Totals {
	return Totals{f[0].Int, f[1].Int, f[2].Int, f[3].Int, f[4].Float, f[5].Float, f[6].Float}
}

// Main asks for the figures of the range of a query, of which it heeds nothing
// but site, range, zone and filter.
func Main(ctx context.Context, s Store, q event.Query) (Totals, error) {
	a, err := s.Query(ctx, totals(q))
	if err != nil {
		return Totals{}, err
	}
	return totalsOf(a.Lines[0].Figures), nil
}

// Timeseries asks for the figures of a range by interval. With an open end the
// series begins or ends with the events there are.
func Timeseries(ctx context.Context, s Store, q event.Query, interval string) ([]Point, error) {
	if q.From == 0 || q.To == 0 {
		first, last, any, err := s.Bounds(ctx, q.Site)
		if err != nil || !any {
			return nil, err
		}
		if q.From == 0 {
			q.From = first
		}
		if q.To == 0 {
			q.To = last + 1
		}
	}
	starts, err := event.Buckets(q.From, q.To, q.Zone, interval)
	if err != nil || len(starts) == 0 {
		return nil, err
	}
	a, err := s.Query(ctx, totals(q, event.Dimension("time:"+interval)))
	if err != nil {
		return nil, err
	}
	points := make([]Point, len(starts))
	for i, start := range starts {
		points[i].Time = start
	}
	for _, l := range a.Lines {
		if i, found := slices.BinarySearch(starts, l.Values[0].Time); found {
			points[i].Totals = totalsOf(l.Figures)
		}
	}
	return points, nil
}

// Breakdown asks for the figures of a range by the values of a dimension, those
// with the most visitors first, and how many values there are. By name it leaves
// engagement out.
func Breakdown(ctx context.Context, s Store, q event.Query, dim event.Dimension, limit, offset int) ([]Row, int64, error) {
	ask := totals(q, dim)
	ask.Limit, ask.Offset, ask.Count = limit, offset, true
	if dim == "name" {
		engaged := event.Filter{Op: event.Is, Dimension: "name", Values: []string{event.Engagement}}
		ask.Filter = event.Every(q.Filter, event.Without(engaged))
	}
	a, err := s.Query(ctx, ask)
	if err != nil {
		return nil, 0, err
	}
	rows := make([]Row, len(a.Lines))
	for i, l := range a.Lines {
		rows[i] = Row{Value: l.Values[0].Text, Totals: totalsOf(l.Figures)}
	}
	return rows, a.Count, nil
}
