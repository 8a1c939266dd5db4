package ingest

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/eider-analytics/eider/store/event"
)

// maxBuckets is how many sites or addresses a limiter remembers. One that was
// forgotten begins with a full bucket.
const maxBuckets = 10_000

// A limiter allows each key so many events a second, and as many at once. It is
// safe for concurrent use.
type limiter[K comparable] struct {
	perSecond int // 0 is no limit

	mu      sync.Mutex
	buckets *simplelru.LRU[K, *rate.Limiter]
}

func newLimiter[K comparable](perSecond int) *limiter[K] {
	l := &limiter[K]{perSecond: perSecond}
	l.buckets, _ = simplelru.NewLRU[K, *rate.Limiter](maxBuckets, nil) // fails for a size below 1 only
	return l
}

// take asks for n events. It returns nil or a *[event.LimitError].
func (l *limiter[K]) take(key K, n int, now time.Time) error {
	if l.perSecond <= 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets.Get(key)
	if !ok {
		b = rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond)
		l.buckets.Add(key, b)
	}
	if b.AllowN(now, n) {
		return nil
	}
	missing := float64(n) - b.TokensAt(now)
	return &event.LimitError{RetryAfter: time.Duration(missing / float64(l.perSecond) * float64(time.Second))}
}

// limitKey is what an address is limited by: a household's IPv6 /64 is one.
func limitKey(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
