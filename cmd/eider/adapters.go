package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
	"github.com/eider-analytics/eider/web"
)

// newServer returns a server on the engine, open in all its parts.
func (e *engine) newServer(ctx context.Context, drain time.Duration, more func(*server.Options)) (*server.Server, error) {
	proxy, err := server.ParseProxy(e.cfg.trustedProxy)
	if err != nil {
		return nil, err
	}
	asked := &questions{e.store, make(chan struct{}, e.cfg.queries()), e.metrics}
	o := server.Options{
		Version: buildInfo().Version, Log: e.log.With("part", "server"), Metrics: e.metrics,
		Ingest: e.ingest, Importer: importer{e.ingest}, Reports: asked, Exporter: asked, Queryer: asked,
		Eraser: eraser{e}, History: history{e}, Keys: e.ledger, Sites: sites{e.ledger, e.ingest},
		Health: health{e}, Assets: web.FS,
		Proxy: proxy, APIKey: e.cfg.apiKey, MetricsTokens: e.cfg.metricsTokens(), Secure: e.cfg.secure(),
		Drain: drain,
	}
	if more != nil {
		more(&o)
	}
	return server.New(ctx, o)
}

// queueTime is how long a question waits for its turn.
const queueTime = 10 * time.Second

// questions puts questions to the store: only so many at once, the others wait
// in the order in which they came.
type questions struct {
	store   *store.Store
	places  chan struct{}
	metrics *server.Metrics
}

// turn waits for a place, answers, and counts the question.
func (q *questions) turn(ctx context.Context, kind string, answer func() error) error {
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case q.places <- struct{}{}:
	case <-timer.C:
		return event.ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-q.places }()
	start := time.Now()
	err := answer()
	q.metrics.Query(kind, "raw", time.Since(start))
	if errors.Is(err, store.ErrLens) {
		return fmt.Errorf("%w: %w", event.ErrBusy, err) // it is being rebuilt: ask again
	}
	return err
}

// Main implements [server.Reports].
func (q *questions) Main(ctx context.Context, ask event.Query) (t event.Totals, err error) {
	err = q.turn(ctx, "main", func() (err error) {
		t, err = q.store.Main(ctx, ask)
		return err
	})
	return t, err
}

// Timeseries implements [server.Reports].
func (q *questions) Timeseries(ctx context.Context, ask event.Query, interval string) (points []event.Point, err error) {
	err = q.turn(ctx, "timeseries", func() (err error) {
		points, err = q.store.Timeseries(ctx, ask, interval)
		return err
	})
	return points, err
}

// Breakdown implements [server.Reports].
func (q *questions) Breakdown(ctx context.Context, ask event.Query, dim string, limit, offset int) (rows []event.Row, n int64, err error) {
	err = q.turn(ctx, "breakdown", func() (err error) {
		rows, n, err = q.store.Breakdown(ctx, ask, dim, limit, offset)
		return err
	})
	return rows, n, err
}

// SQL implements [server.Queryer].
func (q *questions) SQL(ctx context.Context, query string, o event.SQLOptions) (res event.SQLResult, err error) {
	err = q.turn(ctx, "sql", func() error {
		r, err := q.store.SQL(ctx, query, o)
		if err == nil {
			res = *r
		}
		return err
	})
	return res, err
}

// Export implements [server.Exporter]. It takes no turn, because it lasts as
// long as its client likes; the server bounds the number of exports.
func (q *questions) Export(ctx context.Context, w io.Writer, ask event.ExportQuery) (rows, last int64, err error) {
	start := time.Now()
	rows, last, err = q.store.Export(ctx, w, ask)
	q.metrics.Query("export", "raw", time.Since(start))
	return rows, last, err
}

// importer shows what it has imported before it says that it is done.
type importer struct{ *ingest.Ingest }

// Import implements [server.Importer].
func (i importer) Import(ctx context.Context, site, format string, r io.Reader, progress func(event.ImportProgress)) (event.ImportReport, error) {
	report, err := i.Ingest.Import(ctx, site, format, r, progress)
	if err != nil {
		return report, err
	}
	return report, i.Flush(ctx)
}

// sites tells ingest of changes to the sites.
type sites struct {
	*ledger.Ledger
	ingest *ingest.Ingest
}

// AddSite implements [server.Sites].
func (s sites) AddSite(ctx context.Context, site ledger.Site) error {
	if err := s.Ledger.AddSite(ctx, site); err != nil {
		return err
	}
	return s.ingest.ReloadSites(context.WithoutCancel(ctx))
}

// RemoveSite implements [server.Sites].
func (s sites) RemoveSite(ctx context.Context, domain string) error {
	if err := s.Ledger.RemoveSite(ctx, domain); err != nil {
		return err
	}
	return s.ingest.ReloadSites(context.WithoutCancel(ctx))
}

// eraser erases what is on its way to the lens too.
type eraser struct{ *engine }

// Erase implements [server.Eraser].
func (e eraser) Erase(ctx context.Context, ask server.Erasure) (rows int64, err error) {
	if err := e.ingest.Flush(ctx); err != nil {
		return 0, err
	}
	what := store.Erasure{Site: ask.Site, From: ask.From, To: ask.To, Visitor: ask.Visitor}
	if ask.User != "" {
		what.User = e.ingest.User(ask.Site, ask.User)
	}
	start := time.Now()
	rows, err = e.store.Erase(ctx, what)
	e.metrics.Task("erase", time.Since(start), rows, err)
	if err != nil {
		return rows, fmt.Errorf("erase: %w", err)
	}
	return rows, e.ingest.Published(ctx) // an erasure publishes first
}

// history is the parts and the work on them, done now.
type history struct{ *engine }

// Parts implements [server.History].
func (h history) Parts(ctx context.Context) ([]event.Part, int64, error) { return h.ledger.Parts(ctx) }

// VerifyParts implements [server.History].
func (h history) VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error) {
	return h.store.VerifyParts(ctx, progress)
}

// Maintain implements [server.History].
func (h history) Maintain(ctx context.Context, task string) (parts int, err error) {
	if task == "compact" {
		return h.compacted(ctx)
	}
	if err := h.ingest.Flush(ctx); err != nil {
		return 0, err
	}
	p, err := h.published(ctx)
	return p.Parts, err
}
