package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/door"
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
	front, err := openDoor(ctx, e.cfg, e.ledger, func(o *door.Options) { o.Metered, o.Describe = e.metrics.LogIn, e.describe })
	if err != nil {
		return nil, err
	}
	m := e.cfg.memory()
	asked := &questions{e.store, e.desk, e.metrics, min(m.answers, 16<<20)}
	o := server.Options{
		Version: buildInfo().Version, Log: e.log.With("part", "server"), Metrics: e.metrics,
		Ingest: e.ingest, Importer: importer{e.ingest}, Reports: asked, Questions: asked, Exporter: asked, Queryer: asked,
		Eraser: eraser{e}, History: history{e}, Keys: e.ledger, Sites: sites{e.ledger, e.ingest},
		Settings: sites{e.ledger, e.ingest}, Goals: e.ledger, Segments: e.ledger, Annotations: e.ledger,
		Acts: e.ledger, Trail: e.ledger, Custody: custody{e}, Door: front,
		Tail: e.tap, Health: health{e}, Assets: web.FS, Tracker: web.Tracker,
		ScriptPath: e.cfg.scriptPath, EventPath: e.cfg.eventPath,
		Proxy: proxy, APIKey: e.cfg.apiKey, MetricsTokens: e.cfg.metricsTokens(), Secure: e.cfg.secure(),
		Origin: e.cfg.dashboardOrigin, SecureCookies: e.cfg.secureCookies(),
		EventRoom: m.singles, BatchRoom: m.batches, Drain: drain,
	}
	if more != nil {
		more(&o)
	}
	return server.New(ctx, o)
}

// importer shows what it has imported before it says that it is done.
type importer struct{ *ingest.Ingest }

// Import implements [server.Importer].
func (i importer) Import(ctx context.Context, site, format string, r io.Reader) (event.ImportReport, error) {
	report, err := i.Ingest.Import(ctx, site, format, r)
	if err != nil {
		return report, busy(err)
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

// ChangeSettings implements [server.Settings].
func (s sites) ChangeSettings(ctx context.Context, domain string, change func(*ledger.SiteSettings) error) (ledger.SiteSettings, error) {
	set, err := s.Ledger.ChangeSettings(ctx, domain, change)
	if err != nil {
		return set, err
	}
	return set, s.ingest.ReloadSites(context.WithoutCancel(ctx))
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
	e.tap.Forget(ask.Site)
	e.metrics.Task("erase", time.Since(start), rows, err)
	e.eventsGrown() // some may be erased in spite of an error
	if err != nil {
		return rows, fmt.Errorf("erase: %w", err)
	}
	return rows, e.ingest.Published(ctx) // an erasure publishes first
}

// history is the parts and the work on them, done now.
type history struct{ *engine }

// Parts implements [server.History]: the parts that questions are answered from, which
// the ledger may be a moment ahead of.
func (h history) Parts(context.Context) ([]event.Part, int64, error) {
	sn := h.store.Snapshot()
	defer sn.Release()
	parts := slices.Concat(sn.Parts(), sn.Degraded())
	slices.SortFunc(parts, func(a, b event.Part) int { return cmp.Compare(a.ID, b.ID) })
	return parts, sn.Published(), nil
}

// VerifyParts implements [server.History].
func (h history) VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error) {
	return h.store.VerifyParts(ctx, progress)
}

// Maintain implements [server.History].
func (h history) Maintain(ctx context.Context, task string) (parts int, err error) {
	switch task {
	case "compact":
		return h.compacted(ctx)
	case "rollup":
		done, err := h.rolledUp(ctx)
		return done.Days + done.Months, err
	}
	if err := h.ingest.Flush(ctx); err != nil {
		return 0, err
	}
	p, err := h.published(ctx)
	return p.Parts, err
}
