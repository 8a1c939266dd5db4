package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A spinner makes a query of bytes: whatever they are, it is one.
type spinner struct{ data []byte }

func (s *spinner) n(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := int(s.data[0])
	s.data = s.data[1:]
	return b % n
}

func (s *spinner) text() string {
	n := min(s.n(12), len(s.data))
	t := string(s.data[:n])
	s.data = s.data[n:]
	return t
}

func (s *spinner) dimension() event.Dimension {
	if i := s.n(len(event.Columns) + 14); i < len(event.Columns) {
		return event.Dimension(event.Columns[i].Name)
	}
	return []event.Dimension{
		event.ExitPath, event.ExitHostname, event.GoalName, event.PropName, event.Minute, event.Hour, event.Daytime, event.Week, event.Month,
		event.Prop(s.text()), event.Prop("plan"), event.Dimension(s.text()), "path", "source",
	}[s.n(14)]
}

func (s *spinner) filter(depth int) event.Filter {
	f := event.Filter{Op: event.Op(s.n(11)), IgnoreCase: s.n(2) == 0}
	if f.Op >= event.Is {
		f.Dimension = s.dimension()
		for range s.n(4) {
			f.Values = append(f.Values, s.text())
		}
		return f
	}
	for range s.n(3) {
		if depth < 6 {
			f.Of = append(f.Of, s.filter(depth+1))
		}
	}
	return f
}

func (s *spinner) query() event.Query {
	q := event.Query{Site: "a.example", Count: s.n(2) == 0, Limit: s.n(20), Offset: s.n(5), Currency: []string{"", "EUR", s.text()}[s.n(3)]}
	q.From = []int64{0, midnight, midnight - 9*day, -1 << 62}[s.n(4)]
	q.To = []int64{0, midnight + day, noon, 1 << 62}[s.n(4)]
	if s.n(2) == 0 {
		q.Zone = time.FixedZone("fixed", 19_800)
	}
	all := []event.Metric{
		event.Visitors, event.Users, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration,
		event.TimeOnPage, event.ScrollDepth, event.ExitRate, event.ConversionRate, event.GroupConversionRate, event.TotalRevenue, event.AverageRevenue, event.Percentage,
	}
	for range 1 + s.n(4) {
		q.Metrics = append(q.Metrics, all[s.n(len(all))])
	}
	for range s.n(4) {
		q.Dimensions = append(q.Dimensions, s.dimension())
	}
	for range s.n(3) {
		q.Goals = append(q.Goals, event.Goal{Name: s.text(), Filter: s.filter(0)})
	}
	if s.n(3) == 0 {
		q.Order = append(q.Order, event.Order{Metric: q.Metrics[0], Descending: s.n(2) == 0})
	}
	q.Filter = s.filter(0)
	return q
}

// FuzzQuery asks whatever bytes can be made into: a question is refused as wrong,
// or it is answered. DuckDB never says that a statement of ours does not parse.
func FuzzQuery(f *testing.F) {
	r := newRig(f)
	r.add(story()...)
	r.publish()
	for _, seed := range []string{"", "'; DROP TABLE x; --", "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q := (&spinner{data}).query()
		a, err := r.store.Query(t.Context(), q)
		if wrong := (*event.QueryError)(nil); err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%+v: %v", q, err)
		}
		if err == nil && len(q.Dimensions) == 0 && len(a.Lines) != 1 && q.Offset == 0 {
			t.Errorf("%+v: %d lines without a dimension", q, len(a.Lines))
		}
	})
}

// TestQueryAny asks some thousand such questions in every run.
func TestQueryAny(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	r.add(story()...)
	answered, cases := 0, 600
	if testing.Short() {
		cases = 150
	}
	for range cases {
		data := make([]byte, 20+rnd.IntN(60))
		for i := range data {
			data[i] = byte(rnd.IntN(128)) // most text is text
		}
		q := (&spinner{data}).query()
		_, err := r.store.Query(t.Context(), q)
		if wrong := (*event.QueryError)(nil); err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%+v: %v", q, err)
		}
		if err == nil {
			answered++
		}
	}
	if answered < cases/20 {
		t.Errorf("only %d of %d questions were answered", answered, cases)
	}
}
