package answer_test

import (
	"context"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
)

// BenchmarkKept is what a question costs whose answer is kept: its key and a look.
func BenchmarkKept(b *testing.B) {
	d := answer.New(answer.Options{Places: 4, Bytes: 1 << 20, TTL: time.Hour})
	q := event.Query{
		Site: "example.com", From: 1, To: 2, Metrics: []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.BounceRate},
		Dimensions: []event.Dimension{"path"}, Filter: event.Every(is("country", "DE", "AT"), is("browser", "Firefox")), Limit: 10,
	}
	run := func(context.Context) (*event.Answer, error) { return &event.Answer{Lines: make([]event.Line, 10)}, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := answer.Ask(b.Context(), d, answer.Question{Key: answer.KeyOf("query", q), Version: 1}, run); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnew is what the desk adds to a question that has to be answered.
func BenchmarkAnew(b *testing.B) {
	d := answer.New(answer.Options{Places: 4, Bytes: 1 << 20, TTL: time.Hour})
	run := func(context.Context) (*event.Answer, error) { return &event.Answer{Lines: make([]event.Line, 10)}, nil }
	key := answer.KeyOf("query")
	var version int64
	b.ReportAllocs()
	for b.Loop() {
		version++
		if _, err := answer.Ask(b.Context(), d, answer.Question{Key: key, Version: version}, run); err != nil {
			b.Fatal(err)
		}
	}
}
