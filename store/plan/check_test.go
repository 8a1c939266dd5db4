package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

func filter(op event.Op, d event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: op, Dimension: d, Values: values}
}

// nested returns a filter in n others.
func nested(n int) event.Filter {
	f := filter(event.Is, "path", "/")
	for range n {
		f = event.Without(f)
	}
	return f
}

// many returns n filters.
func many(n int) event.Filter {
	return filter(event.Is, "path", strings.Split(strings.Repeat("/ ", n-2)+"/", " ")...)
}

// TestCheck has every way in which a query can be wrong, and what the message
// must say about it.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*event.Query)
		want   string // in the message; "" if the query is right
	}{
		{"right", func(*event.Query) {}, ""},
		{"no site", func(q *event.Query) { q.Site = "" }, "names no site"},
		{"site with a zero byte", func(q *event.Query) { q.Site = "a\x00" }, "zero byte"},
		{"no metric", func(q *event.Query) { q.Metrics = nil }, "no metric; there are visitors, "},
		{"unknown metric", func(q *event.Query) { q.Metrics = []event.Metric{"hits"} }, `no metric "hits"`},
		{"metric twice", func(q *event.Query) { q.Metrics = []event.Metric{"visits", "visits"} }, "visits is asked for twice"},
		{"no goal", func(q *event.Query) { q.Metrics = []event.Metric{event.ConversionRate} }, "needs a goal"},
		{"exit rate of pages", func(q *event.Query) {
			q.Metrics, q.Dimensions = []event.Metric{event.ExitRate}, []event.Dimension{"path"}
		}, "needs exit_path"},
		{"nine dimensions", func(q *event.Query) { q.Dimensions = make([]event.Dimension, 9) }, "at most 8"},
		{"unknown dimension", func(q *event.Query) { q.Dimensions = []event.Dimension{`path" --`} }, `no dimension "path\" --"`},
		{"visitors are no dimension", func(q *event.Query) { q.Dimensions = []event.Dimension{"visitor"} }, `no dimension "visitor"`},
		{"dimension twice", func(q *event.Query) { q.Dimensions = []event.Dimension{"path", "path"} }, "asked for twice"},
		{"goals without any", func(q *event.Query) { q.Dimensions = []event.Dimension{event.GoalName} }, "needs goals"},
		{"two goals of a name", func(q *event.Query) { q.Goals = make([]event.Goal, 2) }, `two goals have the name ""`},
		{"201 goals", func(q *event.Query) { q.Goals = make([]event.Goal, 201) }, "at most 200"},
		{"limit", func(q *event.Query) { q.Limit = 10_001 }, "between 1 and 10000"},
		{"offset", func(q *event.Query) { q.Offset = -1 }, "must not be negative"},
		{"order by what is not asked for", func(q *event.Query) { q.Order = []event.Order{{Metric: event.Visits}} }, `sorts by "visits"`},
		{"order by both", func(q *event.Query) {
			q.Dimensions, q.Order = []event.Dimension{"path"}, []event.Order{{Metric: event.Visitors, Dimension: "path"}}
		}, "is not a metric or dimension"},
		{"filter by time", func(q *event.Query) { q.Filter = filter(event.Is, event.Hour, "1") }, "give a range of time"},
		{"filter by goal", func(q *event.Query) { q.Filter = filter(event.Is, event.GoalName, "1") }, "cannot look at the dimension goal"},
		{"filter without values", func(q *event.Query) { q.Filter = filter(event.Is, "path") }, "has no value"},
		{"filter with no name", func(q *event.Query) { q.Filter = filter(event.Is, event.Prop(""), "x") }, "name of a property"},
		{"filter with a long value", func(q *event.Query) { q.Filter = filter(event.Is, "path", strings.Repeat("x", 4097)) }, "has 4097 bytes"},
		{"filter with half a letter", func(q *event.Query) { q.Filter = filter(event.Is, "path", "\xc3") }, "not UTF-8"},
		{"no such operation", func(q *event.Query) { q.Filter = event.Filter{Op: 99} }, "no filter operation 99"},
		{"not of two", func(q *event.Query) { q.Filter = event.Filter{Op: event.Not, Of: make([]event.Filter, 2)} }, "about one filter; there are 2"},
		{"done in done", func(q *event.Query) {
			done := event.Filter{Op: event.HasDone, Of: []event.Filter{{}}}
			q.Filter = event.Filter{Op: event.HasDone, Of: []event.Filter{event.Without(done)}}
		}, "cannot be nested"},
		{"deep enough", func(q *event.Query) { q.Filter = nested(event.MaxDepth - 1) }, ""},
		{"too deep", func(q *event.Query) { q.Filter = nested(event.MaxDepth) }, "nested deeper than 16"},
		{"very deep", func(q *event.Query) { q.Filter = nested(100_000) }, "nested deeper than 16"},
		{"enough", func(q *event.Query) { q.Filter = many(event.MaxFilters) }, ""},
		{"too many", func(q *event.Query) { q.Filter = many(event.MaxFilters + 1) }, "more than 500"},
		{"not a number", func(q *event.Query) { q.Filter = filter(event.AtLeast, "scroll", "NaN") }, "needs a number"},
		{"pattern", func(q *event.Query) { q.Filter = filter(event.Matches, "path", "^/(a|b)+$") }, ""},
		{"broken pattern", func(q *event.Query) { q.Filter = filter(event.Matches, "path", "(") }, "does not parse: missing closing )"},
		{"long pattern", func(q *event.Query) { q.Filter = filter(event.Matches, "path", strings.Repeat("x", 501)) }, "has 501 bytes"},
		{"pattern that explodes", func(q *event.Query) { q.Filter = filter(event.Matches, "path", `\pL{900}`) }, "too large"},
		{"pattern that looks behind", func(q *event.Query) { q.Filter = filter(event.Matches, "path", `(?<!a)b`) }, "does not parse"},
	} {
		q := event.Query{Site: "a.example", From: 1, To: 2, Metrics: []event.Metric{event.Visitors}}
		c.change(&q)
		err := plan.Check(q)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) || !strings.Contains(wrong.Message, c.want) {
			t.Errorf("%s: %v, want a QueryError with %q", c.name, err, c.want)
		}
	}
}

func TestRolled(t *testing.T) {
	t.Parallel()
	visitors := []event.Metric{event.Visitors, event.BounceRate}
	page := filter(event.Is, "path", "/")
	for _, c := range []struct {
		name    string
		q       event.Query
		dim     event.Dimension
		monthly bool
		ok      bool
	}{
		{"totals", event.Query{Metrics: visitors}, "", true, true},
		{"pages", event.Query{Metrics: visitors, Dimensions: []event.Dimension{"path"}}, "path", true, true},
		{"pages by month", event.Query{Metrics: visitors, Dimensions: []event.Dimension{event.Month, "path"}}, "path", true, true},
		{"days", event.Query{Metrics: visitors, Dimensions: []event.Dimension{event.Daytime}}, "", false, true},
		{"hours", event.Query{Metrics: visitors, Dimensions: []event.Dimension{event.Hour}}, "", false, false},
		{"two dimensions", event.Query{Metrics: visitors, Dimensions: []event.Dimension{"path", "source"}}, "", false, false},
		{"one page", event.Query{Metrics: visitors, Filter: page}, "path", true, true},
		{"one of two pages", event.Query{Metrics: visitors, Filter: filter(event.Is, "path", "/", "/a")}, "", false, false},
		{"one page in any case", event.Query{Metrics: visitors, Filter: event.Filter{Op: event.Is, Dimension: "path", Values: []string{"/"}, IgnoreCase: true}}, "", false, false},
		{"all but a page", event.Query{Metrics: visitors, Filter: event.Without(page)}, "", false, false},
		{"the other pages", event.Query{Metrics: visitors, Dimensions: []event.Dimension{"path"}, Filter: event.Without(page)}, "path", true, true},
		{"sources of a page", event.Query{Metrics: visitors, Dimensions: []event.Dimension{"source"}, Filter: page}, "", false, false},
		{"pages of visits with a page", event.Query{Metrics: visitors, Dimensions: []event.Dimension{"path"}, Filter: event.Filter{Op: event.HasDone, Of: []event.Filter{page}}}, "", false, false},
		{"users", event.Query{Metrics: []event.Metric{event.Users}}, "", false, false},
		{"goals", event.Query{Metrics: visitors, Goals: []event.Goal{{Filter: page}}}, "", false, false},
	} {
		dim, monthly, ok := plan.Rolled(c.q)
		if ok != c.ok || ok && (dim != c.dim || monthly != c.monthly) {
			t.Errorf("%s: %q, %v, %v; want %q, %v, %v", c.name, dim, monthly, ok, c.dim, c.monthly, c.ok)
		}
	}
}

// TestCompileSize asks about millennia, by the minute: a statement is no longer
// than what the events there are need.
func TestCompileSize(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * 3600 * 1_000_000
	const now = 57 * year
	in := plan.Input{Events: func(int64, int64) string { return "(events)" }, First: now - 3*year, Last: now}
	for _, d := range []event.Dimension{event.Minute, event.Hour, event.Daytime, event.Week, event.Month} {
		q := event.Query{
			Site: "a.example", From: -30_000 * year, To: 30_000 * year, Zone: zone,
			Metrics: []event.Metric{event.Visitors, event.BounceRate}, Dimensions: []event.Dimension{d},
		}
		began := time.Now()
		text, err := plan.Compile(q, in)
		if err != nil || len(text) > 20_000 || time.Since(began) > time.Second {
			t.Errorf("%s: %d bytes in %v, %v", d, len(text), time.Since(began), err)
		}
	}
}
