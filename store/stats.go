package store

import (
	"context"
	"os"
	"time"
)

// Work is the last time something was done.
type Work struct {
	At     time.Time // when it ended; zero if it has not been done yet
	Took   time.Duration
	Events int64 // flushed, published, or in the parts that were rewritten or removed
	Parts  int   // written
}

// Stats is what metrics and health tell about a store.
type Stats struct {
	HotRows     int64 // in memory, those among them that are published already too
	Generations int   // hot tables
	Published   int64 // Seq up to which events are in parts
	Flushed     int64 // Seq up to which events are in reports

	Parts     int // that can be read
	PartRows  int64
	PartBytes int64
	Damaged   int // parts in quarantine

	Snapshots    int   // held
	LensRebuilds int64 // since Open, that by Open included
	Flushes      int64
	Publishes    int64 // ledger transactions that published something
	Compactions  int64 // ledger transactions that replaced parts by one
	Rollups      int64 // days and months whose sums were worked out
	Flush        Work
	Publish      Work
	Compact      Work
	Rollup       Work // Events are those of the days

	Spans     int   // days and months that there are sums of
	SpanRows  int64 // of those sums
	LensBytes int64 // size of lens.duckdb, which holds them, and of its log

	Memory, Spilled int64 // bytes that DuckDB holds in memory and in tmp; 0 if it cannot be asked
}

// counters are the part of Stats that is counted. Guarded by Store.mu.
type counters struct {
	rebuilds, flushes, publishes, compactions, rollups int64
	flush, publish, compact, rollup                    Work
}

// Stats returns the present figures. It asks DuckDB for its memory, briefly.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	v, c, l := s.view, s.stats, s.lens
	st := Stats{
		Generations: len(v.hot), Published: v.published, Flushed: v.flushed,
		Parts: len(v.parts), Damaged: len(v.damaged),
		LensRebuilds: c.rebuilds, Flushes: c.flushes, Publishes: c.publishes, Compactions: c.compactions, Rollups: c.rollups,
		Flush: c.flush, Publish: c.publish, Compact: c.compact, Rollup: c.rollup,
	}
	for w := s.oldest; w != nil; w = w.next {
		st.Snapshots += w.refs
	}
	s.mu.Unlock()
	for _, g := range v.hot {
		st.HotRows += g.rows
	}
	for i := range v.parts {
		st.PartRows += v.parts[i].Rows
		st.PartBytes += v.parts[i].Bytes
	}
	if l != nil {
		st.Spans, st.SpanRows = l.rollups.tally()
	}
	for _, path := range lensFiles(s.opts.Dir) {
		if info, err := os.Stat(path); err == nil {
			st.LensBytes += info.Size()
		}
	}
	st.Memory, st.Spilled = s.memory()
	return st
}

func (s *Store) memory() (held, spilled int64) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := s.Conn(ctx)
	if err != nil {
		return 0, 0
	}
	defer conn.Close()
	row := conn.QueryRowContext(ctx, "SELECT sum(memory_usage_bytes)::BIGINT, sum(temporary_storage_bytes)::BIGINT FROM duckdb_memory()")
	if err := row.Scan(&held, &spilled); err != nil {
		return 0, 0
	}
	return held, spilled
}
