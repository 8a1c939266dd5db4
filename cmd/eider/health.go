package main

import (
	"context"
	"time"

	"github.com/eider-analytics/eider/server"
)

// health tells how the engine is.
type health struct{ *engine }

// Reasons implements [server.Health]. The runbook says of each what to do.
func (h health) Reasons(ctx context.Context) []string {
	var reasons []string
	if err := h.ledger.Healthy(ctx); err != nil {
		reasons = append(reasons, "ledger: "+err.Error())
	}
	if err := h.ingest.Healthy(); err != nil {
		reasons = append(reasons, "ingest: "+err.Error())
	}
	if err := h.store.Healthy(ctx); err != nil {
		reasons = append(reasons, "lens: "+err.Error())
	}
	if err := h.ledger.Halted(); err != nil {
		reasons = append(reasons, "audit: "+err.Error())
	}
	if reason := h.disk.reason(); reason != "" {
		reasons = append(reasons, reason)
	}
	return reasons
}

// Details implements [server.Health].
func (h health) Details(context.Context) map[string]any {
	st, journal, counts := h.store.Stats(), h.ledger.Journal(), h.ingest.Counts()
	free, total, floor := h.disk.state()
	degraded := []string{}
	snap := h.store.Snapshot()
	defer snap.Release()
	for _, p := range snap.Degraded() {
		degraded = append(degraded, p.Path)
	}
	places := h.places.Info()
	return map[string]any{
		"durability":    h.cfg.durability,
		"buffered":      counts.Buffered,
		"accepted":      counts.Accepted,
		"durable_seq":   h.ledger.LastSeq(),
		"flushed_seq":   st.Flushed,
		"published_seq": st.Published,
		"hot_rows":      st.HotRows,
		"journal":       map[string]any{"events": journal.Events, "bytes": journal.Bytes, "oldest": timeText(journal.OldestReceived)},
		"parts":         map[string]any{"count": st.Parts, "rows": st.PartRows, "bytes": st.PartBytes},
		"degraded":      degraded,
		"disk":          map[string]any{"free_bytes": free, "total_bytes": total, "floor_bytes": floor},
		"duckdb":        map[string]any{"memory_bytes": st.Memory, "spilled_bytes": st.Spilled, "rebuilds": st.LensRebuilds},
		"geoip":         map[string]any{"path": places.Path, "type": places.Type},
		"last_shutdown": h.lastShutdown(),
		"audit":         h.auditDetails(),
	}
}

// lastShutdown tells how the run before this one ended; nil if this is the first.
func (e *engine) lastShutdown() any {
	if e.before.ID == 0 {
		return nil
	}
	return map[string]any{
		"clean": e.before.Clean, "version": e.before.Version,
		"started": timeText(e.before.Started), "stopped": timeText(e.before.Stopped), // "" if it was killed
		"seconds": e.before.Took.Seconds(),
	}
}

// gauges are what metrics ask at every scrape.
func (e *engine) gauges() server.Gauges {
	st, journal := e.store.Stats(), e.ledger.Journal()
	free, _, _ := e.disk.state()
	g := server.Gauges{
		DurableSeq: e.ledger.LastSeq(), FlushedSeq: st.Flushed, PublishedSeq: st.Published,
		JournalEvents: journal.Events, JournalBytes: journal.Bytes,
		HotRows: st.HotRows, Parts: int64(st.Parts), PartBytes: st.PartBytes, DamagedParts: int64(st.Damaged),
		FreeDisk: free, DuckDBMemory: st.Memory, LensRebuilt: st.LensRebuilds,
		RollupSpans: int64(st.Spans), RollupRows: st.SpanRows, LensBytes: st.LensBytes,
	}
	d := e.desk.Stats()
	g.QueriesRunning, g.QueriesWaiting, g.QueriesRefused = int64(d.Running), int64(d.Waiting), d.Refused
	g.CacheEntries, g.CacheBytes = int64(d.Entries), d.Bytes
	streams, missed := e.tap.Stats()
	g.TailStreams, g.TailMissed = int64(streams), missed
	g.CacheHits, g.CacheMisses, g.CacheShared, g.CacheEvictions = d.Hits, d.Misses, d.Shared, d.Evicted
	if journal.OldestReceived != 0 {
		g.OldestUnpublished = time.Since(time.UnixMicro(journal.OldestReceived))
	}
	return g
}
