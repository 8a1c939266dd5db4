package store

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/eider-analytics/eider/store/event"
)

// A reach says which times the hot rows of a generation have to do with, by site:
// when they happened and when their visits began. It only grows, so that it may be
// shared by views: a snapshot that is older than a row is only told too much.
type reach struct {
	mu    sync.Mutex
	sites map[string][]stretch // few for each, apart from each other; "" is what all other sites share
}

// A stretch is the times from ≤ t ≤ to, in µs.
type stretch struct{ from, to int64 }

// Bounds of a reach. Times that are nearer to each other than near are one stretch:
// as figures depend on rows a day away, nothing is lost by that.
const (
	maxStretches = 8
	maxReach     = 4096 // sites
	near         = visitBehind
	distant      = int64(1) << 60 // further away is this far: sums must not overflow
)

// note adds events. It is on the way of every event, and most of them are of the
// site and of the time of the one before.
func (r *reach) note(events []event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sites == nil {
		r.sites = make(map[string][]stretch)
	}
	for i := range events {
		e := &events[i]
		r.add(e.Site, e.Time)
		if e.Visit != 0 {
			r.add(e.Site, e.VisitStart)
		}
	}
}

// join adds what another reach has.
func (r *reach) join(o *reach) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sites == nil {
		r.sites = make(map[string][]stretch)
	}
	for site, list := range o.sites {
		for _, s := range list {
			r.cover(site, s)
		}
	}
}

// add adds a time, with mu held.
func (r *reach) add(site string, t int64) {
	t = min(max(t, -distant), distant)
	list := r.sites[site]
	for i := range list {
		if s := &list[i]; t >= s.from && t <= s.to {
			return
		}
	}
	r.cover(site, stretch{t, t})
}

// cover adds a stretch, with mu held.
func (r *reach) cover(site string, s stretch) {
	list, ok := r.sites[site]
	if !ok && len(r.sites) >= maxReach {
		site = ""
		list = r.sites[site]
	}
	list = append(list, s)
	slices.SortFunc(list, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	list = fused(list, near)
	for gap := int64(near); len(list) > maxStretches; gap *= 2 { // ends: distances are less than 1<<61
		list = fused(list, gap)
	}
	r.sites[strings.Clone(site)] = list // the text of an event would keep the memory of its whole group
}

// fused returns a sorted list in which what is not more than gap apart is one.
func fused(list []stretch, gap int64) []stretch {
	n := 1
	for _, s := range list[1:] {
		if last := &list[n-1]; s.from-last.to <= gap {
			last.to = max(last.to, s.to)
		} else {
			list[n] = s
			n++
		}
	}
	return list[:n]
}

// touches says whether the figures of site in [start, stop) may depend on one of
// the events.
func (r *reach) touches(site string, start, stop int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range [][]stretch{r.sites[site], r.sites[""]} {
		for _, s := range list {
			if s.to+visitAhead > start && s.from-visitBehind < stop {
				return true
			}
		}
	}
	return false
}
