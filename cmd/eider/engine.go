package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/tail"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An engine is everything but the server: the parts that take events in and
// keep them, on a data directory that it holds.
type engine struct {
	cfg *config
	log *slog.Logger

	disk   *disk
	ledger *ledger.Ledger
	store  *store.Store
	places *enrich.Places
	tap    *tail.Tap // what listens to the events that ingest has made durable
	ingest *ingest.Ingest
	desk   *answer.Desk // where questions about the store are asked

	metrics *server.Metrics // what the parts tell as they go
	quit    func(error)     // called when a part cannot go on

	trail *trail // what is done with the audit chain; nil for all commands but serve

	before ledger.Run // the run before this one; zero for the first, and for all commands but serve

	changed chan struct{} // holds one: parts have come or gone, which rollups may follow
	fresh   chan struct{} // holds one: a copy of the events has something to follow

	parts []part // what is open, bottom up
}

// A part is one thing that has to be closed.
type part struct {
	name  string
	close func() error
}

// opened notes a part that is open now.
func (e *engine) opened(name string, close func() error) {
	e.parts = append(e.parts, part{name, close})
}

// Close closes what is open, top down. It may be called again.
func (e *engine) Close() error {
	var errs []error
	for len(e.parts) > 0 {
		p := e.parts[len(e.parts)-1]
		e.parts = e.parts[:len(e.parts)-1]
		if err := p.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// newEngine takes hold of the data directory in the name of a command. Nothing
// else is open yet.
func newEngine(c *config, log *slog.Logger, name string, quit func(error)) (*engine, error) {
	held, err := openDir(c.dataDir, "eider "+name)
	if err != nil {
		return nil, err
	}
	e := &engine{cfg: c, log: log, metrics: server.NewMetrics(buildInfo().Version), quit: quit, changed: make(chan struct{}, 1), fresh: make(chan struct{}, 1)}
	e.opened("data directory", held.Close)
	return e, nil
}

// open opens all parts, bottom up.
func (e *engine) open(ctx context.Context) error {
	for _, open := range []func(context.Context) error{e.openDisk, e.openLedger, e.openStore, e.openIngest} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	e.desk = e.newDesk()
	e.opened("desk", e.desk.Close)
	e.metrics.Watch(e.ingest.Counts, e.gauges)
	return nil
}

// openDisk comes first: on a full volume the ballast of a process that was killed
// is the room in which the ledger opens.
func (e *engine) openDisk(context.Context) (err error) {
	if e.disk, err = openDisk(e.cfg.dataDir, e.cfg.minFreeDisk, e.log.With("part", "disk")); err != nil {
		return err
	}
	e.opened("ballast", e.disk.Close)
	return nil
}

func (e *engine) openLedger(ctx context.Context) (err error) {
	o := ledger.Options{
		Log: e.log.With("part", "ledger"), Failed: e.quit, Committed: e.metrics.Committed, Recorded: e.metrics.Recorded,
		Genesis: e.cfg.genesis(), Known: e.cfg.checkChain(true, e.log.Warn),
	}
	if e.cfg.durability == "os" {
		o.Durability = ledger.OS
	}
	if e.ledger, err = ledger.Open(ctx, e.cfg.file("ledger.db"), migrations.FS, o); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	e.opened("ledger", e.ledger.Close)
	return nil
}

// rowBytes is about what an event takes in the journal.
const rowBytes = 256

func (e *engine) openStore(ctx context.Context) (err error) {
	m := e.cfg.memory()
	m.limitGo()
	e.store, err = store.Open(ctx, store.Options{
		Dir: e.cfg.dataDir, Ledger: e.ledger,
		MemoryLimit: m.duckdb, Threads: m.threads,
		PublishBytes: m.publish, PublishRows: m.publish / rowBytes,
		Log: e.log.With("part", "store"), Failed: e.quit,
	})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	e.opened("store", e.store.Close)
	return nil
}

func (e *engine) openIngest(ctx context.Context) (err error) {
	c := e.cfg
	precision, err := enrich.ParsePrecision(c.geoipDetail)
	if err != nil {
		return err
	}
	if c.gdpr.Mode {
		precision = max(precision, enrich.PrecisionCountry)
	}
	if e.places, err = enrich.OpenPlaces(c.geoipDB, precision, e.log.With("part", "places")); err != nil {
		return fmt.Errorf("open EIDER_GEOIP_DB: %w", err)
	}
	e.opened("places", e.places.Close)
	secret := []byte(c.secret)
	if len(secret) == 0 {
		if secret, err = e.ledger.Secret(ctx, "ids", 32); err != nil {
			return fmt.Errorf("read secret: %w", err)
		}
	}
	e.tap = tail.New(tail.Options{Durable: e.ledger.LastSeq})
	e.opened("tap", e.tap.Close)
	if e.ingest, err = ingest.New(ctx, ingest.Options{
		Ledger: e.ledger, Lens: lens{e.store, e.metrics, e.eventsGrown}, Places: e.places, Secret: secret, Log: e.log.With("part", "ingest"),
		Sites: c.siteIDs, AutoSites: c.makesSites(),
		FlushInterval: c.flushInterval, FlushCount: c.flushCount, MaxBuffered: c.maxBufferedEvents, MaxBufferSize: c.memory().buffer,
		RatePerSite: c.rateLimit, RatePerAddr: c.rateLimitPerIP,
		FilterBots: c.filterBots, RespectGPC: c.respectGPC, Privacy: c.gdpr.privacy(),
		Disk: e.disk.Room, Relieve: e.relieve, Failed: e.quit, Tap: e.tap.Offer,
	}); err != nil {
		return fmt.Errorf("open ingest: %w", err)
	}
	e.opened("ingest", e.ingest.Close)
	return nil
}

// privacy returns what is left out of events.
func (g gdprConfig) privacy() ingest.Privacy {
	return ingest.Privacy{
		RoundTimes:         g.Mode || g.RoundTimestamps,
		HideBrowserVersion: g.Mode || g.SuppressBrowserVersion,
		HideOSVersion:      g.Mode || g.SuppressOSVersion,
		HideScreen:         g.Mode || g.SuppressScreenSize,
		HideReferrerPath:   g.Mode || g.StripReferrerQuery,
		HideVisitor:        g.SuppressVisitorID,
	}
}

// A lens is the store as ingest sees it: one that mends itself. A flush that
// failed is tried again by ingest, if need be on a lens made anew from the journal.
type lens struct {
	*store.Store
	metrics *server.Metrics
	grown   func() // called when a flush has brought events
}

// Flush is [store.Store.Flush], and rebuilds the lens if that has to be.
func (l lens) Flush(ctx context.Context, events []event.Event) error {
	start := time.Now()
	err := l.Store.Flush(ctx, events)
	l.metrics.Task("flush", time.Since(start), int64(len(events)), err)
	if err == nil {
		l.grown()
		return nil
	}
	if !errors.Is(err, store.ErrLens) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, rebuildTimeout)
	defer cancel()
	return errors.Join(err, l.Rebuild(ctx))
}

// rebuildTimeout is how long the rebuilding of a lens waits for queries that
// still use the old one.
const rebuildTimeout = 10 * time.Second

// publish writes what is flushed to Parquet and tells ingest.
func (e *engine) publish(ctx context.Context) error {
	_, err := e.published(ctx)
	return err
}

// relieve publishes if it is due. An import does so itself, and brings nothing more
// meanwhile: what is not published is in DuckDB's memory, and a command that works on
// a directory at rest has nobody else who would.
func (e *engine) relieve(ctx context.Context) error {
	if !e.store.PublishDue() {
		return nil
	}
	return e.publish(ctx)
}

func (e *engine) published(ctx context.Context) (store.Published, error) {
	start := time.Now()
	p, err := e.store.Publish(ctx)
	if err != nil || p.Events > 0 {
		e.metrics.Task("publish", time.Since(start), int64(p.Events), err)
	}
	if err != nil {
		return p, fmt.Errorf("publish: %w", err)
	}
	if p.Events == 0 {
		return p, nil
	}
	e.partsChanged()
	e.log.Debug("published", "events", p.Events, "bytes", p.Bytes, "elapsed", p.Elapsed)
	return p, e.ingest.Published(ctx)
}

// keep starts what looks after the parts, and returns a function that waits for
// its end, which comes soon after that of ctx.
func (e *engine) keep(ctx context.Context) (wait func()) {
	e.store.Pace(true)
	var wg sync.WaitGroup
	wg.Go(func() { e.disk.watch(ctx) })
	wg.Go(func() { e.mend(ctx) })
	wg.Go(func() { e.maintain(ctx) })
	wg.Go(func() { e.rollUp(ctx) })
	wg.Go(func() { e.trail.verify(ctx) })
	return wg.Wait
}

// mend rebuilds the lens when DuckDB has stopped answering.
func (e *engine) mend(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if e.ledger.Failed() != nil {
			return // the process is on its way out
		}
		if err := e.store.Healthy(ctx); err == nil || ctx.Err() != nil {
			continue
		}
		rebuild, cancel := context.WithTimeout(ctx, rebuildTimeout)
		if err := e.store.Rebuild(rebuild); err != nil && ctx.Err() == nil {
			e.log.Error("lens not rebuilt, will try again", "err", err)
		}
		cancel()
	}
}

// Maintenance is looked for every second. Publishing is due by size or by time;
// compaction, retention and the forgetting of what is past its time come round
// after these.
const (
	compactEvery = 10 * time.Minute
	expireEvery  = 10 * time.Minute
	retainEvery  = time.Hour
	forgetEvery  = 24 * time.Hour
)

// maintain publishes, compacts, retains and expires, one after the other: the
// store does them one at a time anyway.
func (e *engine) maintain(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var publish, compact, retain, expire, forget schedule
	now := time.Now()
	publish.next, compact.next = now.Add(e.cfg.publishInterval), now.Add(time.Minute)
	for {
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		if e.store.PublishDue() {
			publish.next = now
		}
		e.due(ctx, now, &publish, "publish failed, will try again", e.cfg.publishInterval, e.publish)
		e.due(ctx, now, &expire, "salts and ids not expired, will try again", expireEvery, e.ingest.Expire)
		e.due(ctx, now, &retain, "retention failed, will try again", retainEvery, e.retain)
		e.due(ctx, now, &forget, "sources of old entries not erased, will try again", forgetEvery, e.forgetSources)
		e.due(ctx, now, &compact, "compaction failed, will try again", compactEvery, e.compact)
	}
}

// A schedule says when something is to be done again.
type schedule struct {
	next     time.Time
	failures int
}

// due does something if it is time, and again later: after a failure sooner,
// and ever later while it goes on failing.
func (e *engine) due(ctx context.Context, now time.Time, s *schedule, failed string, every time.Duration, do func(context.Context) error) {
	if now.Before(s.next) || ctx.Err() != nil {
		return
	}
	err := do(ctx)
	if err == nil || ctx.Err() != nil {
		s.failures, s.next = 0, time.Now().Add(every)
		return
	}
	e.log.Error(failed, "err", err)
	s.failures = min(s.failures+1, 8)
	s.next = time.Now().Add(min(every, time.Second<<s.failures))
}

// compact merges small parts, unless the volume has no room for a copy.
func (e *engine) compact(ctx context.Context) error {
	if e.disk.Room() != nil {
		return nil
	}
	_, err := e.compacted(ctx)
	return err
}

func (e *engine) compacted(ctx context.Context) (parts int, err error) {
	start := time.Now()
	n, err := e.store.Compact(ctx)
	if err != nil || n > 0 {
		e.metrics.Task("compact", time.Since(start), e.store.Stats().Compact.Events, err)
	}
	if err != nil {
		return n, fmt.Errorf("compact: %w", err)
	}
	if n > 0 {
		e.partsChanged()
	}
	return n, nil
}

// partsChanged has rollUp look at the parts soon.
func (e *engine) partsChanged() {
	select {
	case e.changed <- struct{}{}:
	default: // it will
	}
}

// rollupEvery is how often rollups are looked after if no part changes: days end,
// and sites come and go. A pass is followed by a pause of rollupPause times as
// long, so that it never takes more than a fraction of the machine.
const (
	rollupEvery = time.Minute
	rollupPause = 4
)

// rollUp works out the sums of the days that have ended. It has a goroutine of its
// own, because a pass over a year takes minutes, and nothing waits for it.
func (e *engine) rollUp(ctx context.Context) {
	tick := time.NewTicker(rollupEvery)
	defer tick.Stop()
	for {
		start := time.Now()
		if e.disk.Room() == nil {
			if _, err := e.rolledUp(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("days not rolled up, will try again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rollupPause * time.Since(start)):
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.changed:
		}
	}
}

// rolledUp brings the rollups up to date with the parts.
func (e *engine) rolledUp(ctx context.Context) (store.Rolled, error) {
	start := time.Now()
	done, err := e.store.Rollup(ctx)
	if n := done.Days + done.Months; n > 0 || err != nil && ctx.Err() == nil {
		e.metrics.Task("rollup", time.Since(start), done.Events, err)
		e.log.Debug("rolled up", "events", done.Events, "elapsed", done.Elapsed)
	}
	return done, err
}

// retain removes the days that are not to be kept.
func (e *engine) retain(ctx context.Context) error {
	if e.cfg.retentionDays == 0 {
		return nil
	}
	start := time.Now()
	before := e.store.Stats().PartRows
	today := event.DayOf(start.UnixMicro())
	n, err := e.store.Retain(ctx, today-event.Day(e.cfg.retentionDays))
	if err != nil || n > 0 {
		e.metrics.Task("retain", time.Since(start), max(before-e.store.Stats().PartRows, 0), err)
	}
	e.eventsGrown()
	if err != nil {
		return fmt.Errorf("remove days before the last %d: %w", e.cfg.retentionDays, err)
	}
	return e.ingest.Published(ctx) // it publishes first
}
