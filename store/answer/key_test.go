package answer_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
)

func is(dim event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: dim, Values: values}
}

// TestKeysDiffer changes a question in every way there is.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	base := func() event.Query {
		return event.Query{
			Site: "a.example", From: 1, To: 2, Zone: zone("Europe/Berlin"), Metrics: []event.Metric{event.Visitors, event.Visits},
			Dimensions: []event.Dimension{"path", "country"}, Filter: event.Every(is("path", "/a", "/b"), is("country", "DE")), Limit: 10,
		}
	}
	same := map[string]func(*event.Query){
		"again":                 func(*event.Query) {},
		"values the other way":  func(q *event.Query) { q.Filter = event.Every(is("path", "/b", "/a"), is("country", "DE")) },
		"filters the other way": func(q *event.Query) { q.Filter = event.Every(is("country", "DE"), is("path", "/a", "/b")) },
		"a value twice":         func(q *event.Query) { q.Filter = event.Every(is("path", "/a", "/b", "/a"), is("country", "DE")) },
	}
	other := map[string]func(*event.Query){
		"site":                    func(q *event.Query) { q.Site = "b.example" },
		"from":                    func(q *event.Query) { q.From = 0 },
		"zone":                    func(q *event.Query) { q.Zone = zone("Europe/Paris") },
		"no zone":                 func(q *event.Query) { q.Zone = nil },
		"order of metrics":        func(q *event.Query) { q.Metrics = []event.Metric{event.Visits, event.Visitors} },
		"order of dimensions":     func(q *event.Query) { q.Dimensions = []event.Dimension{"country", "path"} },
		"dimension moved over":    func(q *event.Query) { q.Metrics, q.Dimensions = append(q.Metrics, "path"), q.Dimensions[1:] },
		"values joined":           func(q *event.Query) { q.Filter = event.Every(is("path", "/a/b"), is("country", "DE")) },
		"values moved over":       func(q *event.Query) { q.Filter = event.Every(is("path", "/a"), is("country", "/b", "DE")) },
		"or for and":              func(q *event.Query) { q.Filter.Op = event.Or },
		"negated":                 func(q *event.Query) { q.Filter = event.Without(q.Filter) },
		"case":                    func(q *event.Query) { q.Filter.Of[0].IgnoreCase = true },
		"bytes that are no text":  func(q *event.Query) { q.Filter = is("path", "\xff") },
		"other bytes of the kind": func(q *event.Query) { q.Filter = is("path", "\xfe") },
		"currency":                func(q *event.Query) { q.Currency = "EUR" },
		"goal":                    func(q *event.Query) { q.Goals = []event.Goal{{Name: "a"}} },
		"another goal":            func(q *event.Query) { q.Goals = []event.Goal{{Name: "a", Filter: is("path", "/a")}} },
		"order":                   func(q *event.Query) { q.Order = []event.Order{{Metric: event.Visits}} },
		"order upwards":           func(q *event.Query) { q.Order = []event.Order{{Metric: event.Visits, Descending: true}} },
		"limit":                   func(q *event.Query) { q.Limit = 11 },
		"offset":                  func(q *event.Query) { q.Offset = 10 },
		"count":                   func(q *event.Query) { q.Count = true },
	}
	seen := map[answer.Key]string{answer.KeyOf("query", base()): "base"}
	for name, change := range same {
		q := base()
		change(&q)
		if seen[answer.KeyOf("query", q)] != "base" {
			t.Errorf("%s: another key", name)
		}
	}
	for name, change := range other {
		q := base()
		change(&q)
		k := answer.KeyOf("query", q)
		if before, again := seen[k]; again {
			t.Errorf("%s has the key of %s", name, before)
		}
		seen[k] = name
	}
	for name, k := range map[string]answer.Key{
		"kind": answer.KeyOf("other", base()), "part": answer.KeyOf("query", base(), 1), "texts": answer.KeyOf("a", "b", "c"), "texts joined": answer.KeyOf("a", "bc", ""),
	} {
		if before, again := seen[k]; again {
			t.Errorf("%s has the key of %s", name, before)
		}
		seen[k] = name
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	type line struct {
		name string
		list []int64
		next *line
		any  any
	}
	for _, c := range []struct {
		name string
		v    any
		want int64
	}{
		{"nothing", nil, 0},
		{"a number", int64(1), 8},
		{"a text", "four", 16 + 4},
		{"numbers", make([]int64, 3, 10), 24 + 80},
		{"texts", []string{"a", "bcd"}, 24 + 2*16 + 4},
		{"a struct", line{name: "ab", list: []int64{1}}, 64 + 2 + 8},
		{"a pointer", &line{next: &line{name: "xyz"}}, 8 + 64 + 64 + 3},
		{"an interface", line{any: "ab"}, 64 + 16 + 2},
		{"a zone", struct{ z *time.Location }{time.UTC}, 8},
		{"a map", map[string]int64{"abc": 1}, 8 + 16 + 24 + 3},
		{"an answer", &event.Answer{Lines: []event.Line{{Values: []event.Value{{Text: "/"}}, Figures: make([]event.Figure, 2)}}}, 8 + 80 + 48 + 24 + 1 + 48},
	} {
		if got := answer.SizeOf(c.v); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}
