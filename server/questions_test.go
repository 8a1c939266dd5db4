package server_test

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// fakeQuestions answers with what a test sets, and keeps what it was asked.
type fakeQuestions struct {
	mu    sync.Mutex
	asked []event.Query
	err   error

	answer func(event.Query) *event.Answer // nil: one line of zeros without dimensions, else none
	first  time.Time                       // of the first event; zero if there is none
}

func (f *fakeQuestions) Query(_ context.Context, q event.Query) (*event.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if f.err != nil {
		return nil, f.err
	}
	if f.answer != nil {
		return f.answer(q), nil
	}
	a := &event.Answer{Plan: event.PlanRaw}
	if len(q.Dimensions) == 0 {
		a.Lines = []event.Line{{Figures: make([]event.Figure, len(q.Metrics))}}
	}
	return a, nil
}

func (f *fakeQuestions) Bounds(context.Context, string) (first, last int64, some bool, err error) {
	return f.first.UnixMicro(), now.UnixMicro(), !f.first.IsZero(), f.err
}

// last is the newest question.
func (f *fakeQuestions) last() event.Query {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

// lineOf makes a line of values, an int64 being a time, and figures. An int is an
// Int, a float64 a Float, and NaN what is not known.
func lineOf(values []any, figures ...any) event.Line {
	var l event.Line
	for _, v := range values {
		switch v := v.(type) {
		case string:
			l.Values = append(l.Values, event.Value{Text: v})
		case time.Time:
			l.Values = append(l.Values, event.Value{Time: v.UnixMicro()})
		}
	}
	for _, f := range figures {
		switch f := f.(type) {
		case int:
			l.Figures = append(l.Figures, event.Figure{Int: int64(f)})
		case float64:
			figure := event.Figure{Float: f}
			if math.IsNaN(f) {
				figure = event.Figure{Unknown: true}
			}
			l.Figures = append(l.Figures, figure)
		}
	}
	return l
}

// answers returns an answer of lines for every question.
func answers(lines ...event.Line) func(event.Query) *event.Answer {
	return func(event.Query) *event.Answer {
		return &event.Answer{Lines: lines, Count: int64(len(lines)), Plan: event.PlanRaw}
	}
}
