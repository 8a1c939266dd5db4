package ingest

import (
	"maps"
	"sync"

	"github.com/eider-analytics/eider/store/event"
)

// counts are what became of the events since the start.
type counts struct {
	mu         sync.Mutex
	accepted   uint64
	duplicates uint64
	rejected   map[string]uint64
	bots       map[string]uint64
}

func (c *counts) reject(code, botReason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rejected == nil {
		c.rejected, c.bots = make(map[string]uint64), make(map[string]uint64)
	}
	c.rejected[code]++
	if botReason != "" {
		c.bots[botReason]++
	}
}

func (c *counts) accept(accepted, duplicates int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted += uint64(accepted)
	c.duplicates += uint64(duplicates)
}

// Counts returns what became of the events since the process started.
func (in *Ingest) Counts() event.Counts {
	n, bytes := in.flusher.waiting()
	in.counts.mu.Lock()
	defer in.counts.mu.Unlock()
	return event.Counts{
		Accepted:      in.counts.accepted,
		Duplicates:    in.counts.duplicates,
		Rejected:      maps.Clone(in.counts.rejected),
		Bots:          maps.Clone(in.counts.bots),
		Buffered:      n,
		BufferedBytes: bytes,
	}
}
