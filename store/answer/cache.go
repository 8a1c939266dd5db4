package answer

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// An entry is a kept answer.
type entry struct {
	version int64
	value   any
	size    int64
	until   time.Time
}

// entryOverhead is about what the list and the map take for an entry.
const entryOverhead = 256

// A cache keeps one answer a question, that of the newest version.
type cache struct {
	limit int64
	ttl   time.Duration
	now   func() time.Time

	mu      sync.Mutex // guards the fields below
	entries *simplelru.LRU[Key, entry]
	bytes   int64
	hits    int64
	misses  int64
	evicted int64
}

func newCache(limit int64, ttl time.Duration, now func() time.Time) *cache {
	c := &cache{limit: limit, ttl: ttl, now: now}
	entries, err := simplelru.NewLRU(math.MaxInt, func(_ Key, e entry) { c.bytes -= e.size })
	if err != nil {
		panic("answer: internal error: " + err.Error())
	}
	c.entries = entries
	return c
}

// get returns the answer to a question if it is kept and still right.
func (c *cache) get(q Question) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries.Get(q.Key)
	switch {
	case ok && e.version == q.Version && c.now().Before(e.until):
		c.hits++
		return e.value, true
	case ok && e.version <= q.Version: // one who came earlier must not throw away what is newer
		c.entries.Remove(q.Key)
	}
	c.misses++
	return nil, false
}

// add keeps an answer. One that is larger than an eighth of the room is not
// worth what would have to go for it.
func (c *cache) add(q Question, v any) {
	if c.ttl <= 0 || c.limit <= 0 {
		return
	}
	e := entry{version: q.Version, value: v, size: sizeOf(v) + entryOverhead, until: c.now().Add(c.ttl)}
	if e.size > c.limit/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries.Peek(q.Key); ok && old.version > e.version {
		return
	}
	c.entries.Remove(q.Key) // Add would not tell of the old one's size
	c.entries.Add(q.Key, e)
	c.bytes += e.size
	for c.bytes > c.limit {
		c.entries.RemoveOldest()
		c.evicted++
	}
}

func (c *cache) stats(s *Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Entries, s.Bytes = c.entries.Len(), c.bytes
	s.Hits, s.Misses, s.Evicted = c.hits, c.misses, c.evicted
}
