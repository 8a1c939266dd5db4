package store

import (
	"math"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// versions say since when nothing has changed: every change gets the next number,
// and each site and day keeps that of the last one that brought events of theirs.
// A change that may concern anything is kept once for all.
type versions struct {
	last  int64 // number of the last change
	every int64 // of the last one that may concern anything
	days  map[siteDay]int64
}

type siteDay struct {
	site string
	day  event.Day // UTC
}

// maxDays bounds the memory of versions. What comes beyond it, in an import of
// many years, is a change that may concern anything.
const maxDays = 8192

// all notes a change that may concern anything.
func (v *versions) all() {
	v.last++
	v.every = v.last
	clear(v.days)
}

// some notes that a batch came.
func (v *versions) some(batch []event.Event) {
	v.last++
	if v.days == nil {
		v.days = map[siteDay]int64{}
	}
	var before siteDay
	for i := range batch {
		if at := (siteDay{batch[i].Site, event.DayOf(batch[i].Time)}); at != before {
			at.site = strings.Clone(at.site) // or it would keep the memory of its whole group
			v.days[at], before = v.last, at
		}
	}
	if len(v.days) > maxDays {
		v.every = v.last
		clear(v.days)
	}
}

// of returns the number of the last change that may concern events of a site on
// the days from first to last, both included.
func (v *versions) of(site string, first, last event.Day) int64 {
	newest := v.every
	for at, n := range v.days {
		if n > newest && at.site == site && at.day >= first && at.day <= last {
			newest = n
		}
	}
	return newest
}

// beside is how far from a range an event can be that matters: one of a visit
// that reaches into it, early or late.
const beside = plan.Behind + plan.Ahead

// Version returns a number that rises whenever the answer to a question about a
// site and the times from ≤ time < to (µs, 0 leaves that end open) may change,
// and the Seq of the newest event that there is to be read. A question that is
// asked after Version has returned, and before the number rises, is answered as
// if it had been asked at any moment in between.
//
// What is beside the range counts too, because visits are followed beyond it.
func (s *Store) Version(site string, from, to int64) (version, seq int64) {
	const far = math.MaxInt64 / 4 // as far as a day can say
	first, last := event.DayOf(-far), event.DayOf(far)
	if from != 0 {
		first = event.DayOf(max(from, -far) - beside)
	}
	if to != 0 {
		last = event.DayOf(min(to, far) - 1 + beside)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions.of(site, first, last), s.view.flushed
}
