package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
)

// questions puts questions to the store by way of the desk, and counts those
// that the store answers.
type questions struct {
	store   *store.Store
	desk    *answer.Desk
	metrics *server.Metrics
	most    int64 // bytes of an SQL result
}

// newDesk returns the desk as the settings have it.
func (e *engine) newDesk() *answer.Desk {
	return answer.New(answer.Options{
		Places: e.cfg.queries(), Bytes: e.cfg.memory().answers, TTL: e.cfg.cacheTTL, Waited: e.metrics.Waited,
	})
}

// about is a question about a site and a range, which is all that key says. The
// Seq of the newest event that there is to be read comes with it.
func (q *questions) about(key answer.Key, site string, from, to int64) (answer.Question, int64) {
	version, seq := q.store.Version(site, from, to)
	return answer.Question{Key: key, Version: version}, seq
}

// put asks the desk. run says by which plan it has answered.
func put[T any](ctx context.Context, q *questions, kind string, ask answer.Question, run func(context.Context) (T, string, error)) (T, error) {
	return answer.Ask(ctx, q.desk, ask, func(ctx context.Context) (T, error) {
		start := time.Now()
		v, plan, err := run(ctx)
		if err == nil {
			q.metrics.Query(kind, plan, time.Since(start))
		}
		return v, busy(err)
	})
}

// busy says of the error of a lens that is being rebuilt that one can ask again.
func busy(err error) error {
	if errors.Is(err, store.ErrLens) {
		return fmt.Errorf("%w: %w", event.ErrBusy, err)
	}
	return err
}

// raw is a run that reads rows only.
func raw[T any](run func(context.Context) (T, error)) func(context.Context) (T, string, error) {
	return func(ctx context.Context) (T, string, error) {
		v, err := run(ctx)
		return v, event.PlanRaw, err
	}
}

// Query implements [server.Questions].
func (q *questions) Query(ctx context.Context, ask event.Query) (*event.Answer, error) {
	question, seq := q.about(answer.KeyOf("query", ask), ask.Site, ask.From, ask.To)
	kept, err := put(ctx, q, kindOf(ask), question, func(ctx context.Context) (*event.Answer, string, error) {
		a, err := q.store.Query(ctx, ask)
		if err != nil {
			return nil, "", err
		}
		return a, a.Plan, nil
	})
	if err != nil {
		return nil, err
	}
	a := *kept // others have it too
	a.Seq = max(a.Seq, seq)
	return &a, nil
}

// kindOf says of which kind a query is counted: a closed set.
func kindOf(q event.Query) string {
	if len(q.Dimensions) == 0 {
		return "aggregate"
	}
	for _, d := range q.Dimensions {
		if _, ok := d.Interval(); ok {
			return "timeseries"
		}
	}
	return "breakdown"
}

// Bounds implements [server.Questions].
func (q *questions) Bounds(ctx context.Context, site string) (first, last int64, some bool, err error) {
	type bounds struct {
		first, last int64
		some        bool
	}
	question, _ := q.about(answer.KeyOf("bounds", site), site, 0, 0)
	b, err := put(ctx, q, "bounds", question, raw(func(ctx context.Context) (b bounds, err error) {
		b.first, b.last, b.some, err = q.store.Bounds(ctx, site)
		return b, err
	}))
	return b.first, b.last, b.some, err
}

// Funnel implements [server.Reports].
func (q *questions) Funnel(ctx context.Context, ask event.Funnel) (*event.FunnelAnswer, error) {
	question, _ := q.about(answer.KeyOf("funnel", ask), ask.Site, ask.From, ask.To)
	return put(ctx, q, "funnel", question, raw(func(ctx context.Context) (*event.FunnelAnswer, error) { return q.store.Funnel(ctx, ask) }))
}

// Retention implements [server.Reports]. Cohorts are of those who were not there
// before, and are followed to the present: so the answer depends on all of time,
// and is another one when an interval has ended.
func (q *questions) Retention(ctx context.Context, ask event.Retention) (*event.RetentionAnswer, error) {
	now := time.Now().UTC()
	if ask.Zone != nil {
		now = now.In(ask.Zone)
	}
	question, _ := q.about(answer.KeyOf("retention", ask, now.Format(time.DateOnly)), ask.Site, 0, 0)
	return put(ctx, q, "retention", question, raw(func(ctx context.Context) (*event.RetentionAnswer, error) { return q.store.Retention(ctx, ask) }))
}

// Sequence implements [server.Reports].
func (q *questions) Sequence(ctx context.Context, ask event.Sequence) (*event.SequenceAnswer, error) {
	question, _ := q.about(answer.KeyOf("sequence", ask), ask.Site, ask.From, ask.To)
	return put(ctx, q, "sequence", question, raw(func(ctx context.Context) (*event.SequenceAnswer, error) { return q.store.Sequence(ctx, ask) }))
}

// Flow implements [server.Reports].
func (q *questions) Flow(ctx context.Context, ask event.Flow) (*event.FlowAnswer, error) {
	question, _ := q.about(answer.KeyOf("flow", ask), ask.Site, ask.From, ask.To)
	return put(ctx, q, "flow", question, raw(func(ctx context.Context) (*event.FlowAnswer, error) { return q.store.Flow(ctx, ask) }))
}

// SQL implements [server.Queryer]. What a statement costs is not known before it
// has run, and what it reads neither.
func (q *questions) SQL(ctx context.Context, query string, o event.SQLOptions) (event.SQLResult, error) {
	o.MaxBytes = q.most
	return put(ctx, q, "sql", answer.Question{Heavy: true}, raw(func(ctx context.Context) (event.SQLResult, error) {
		r, err := q.store.SQL(ctx, query, o)
		if err != nil {
			return event.SQLResult{}, err
		}
		return *r, nil
	}))
}

// Export implements [server.Exporter]. It takes no turn, because it lasts as
// long as its client likes; the server bounds the number of exports.
func (q *questions) Export(ctx context.Context, w io.Writer, ask event.ExportQuery) (rows, last int64, err error) {
	start := time.Now()
	rows, last, err = q.store.Export(ctx, w, ask)
	q.metrics.Query("export", event.PlanRaw, time.Since(start))
	return rows, last, busy(err)
}
