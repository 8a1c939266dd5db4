package behaviour

import (
	"slices"
	"sort"
)

// Bits of the masks of a [Grid]'s events.
const (
	First = 1 << iota // it can make a unit belong to a cohort
	Again             // it counts as coming again
)

// A Grid counts in which intervals units came again; see [event.Retention].
type Grid struct {
	starts   []int64
	from, to int64
	periods  int

	sizes []int64
	cells []int64 // by cohort and period
}

// NewGrid returns a grid of the intervals that begin at starts, the last of them
// only to say when the one before ends. Cohorts are of units whose first event is
// at from ≤ t < to, which must be within the intervals.
func NewGrid(starts []int64, from, to int64, cohorts, periods int) *Grid {
	return &Grid{starts, from, to, periods, make([]int64, cohorts), make([]int64, cohorts*periods)}
}

// Run counts a unit, and says to which cohort it belongs; -1 is none.
func (g *Grid) Run(events []Event) int {
	first := slices.IndexFunc(events, func(e Event) bool { return e.Mask&First != 0 })
	if first < 0 || events[first].Time < g.from || events[first].Time >= g.to {
		return -1
	}
	cohort := g.interval(events[first].Time, 0)
	if cohort < 0 || cohort >= len(g.sizes) {
		return -1
	}
	g.sizes[cohort]++
	row := g.cells[cohort*g.periods:][:g.periods]
	last, at := -1, cohort
	for i := first; i < len(events); i++ {
		if events[i].Mask&Again == 0 {
			continue
		}
		if at = g.interval(events[i].Time, at); at < 0 || at-cohort >= g.periods {
			break
		}
		if at != last {
			row[at-cohort]++
			last = at
		}
	}
	return cohort
}

// interval returns in which interval a time is, near or after another one; -1 if
// it is before or after all of them.
func (g *Grid) interval(t int64, near int) int {
	n := len(g.starts) - 1
	if near < n && g.starts[near] <= t && t < g.starts[near+1] {
		return near
	}
	i := sort.Search(len(g.starts), func(i int) bool { return g.starts[i] > t }) - 1
	if i >= n {
		return -1
	}
	return i
}

// Size returns how many units a cohort has.
func (g *Grid) Size(cohort int) int64 { return g.sizes[cohort] }

// Cell returns how many units of a cohort came in a period, from 0.
func (g *Grid) Cell(cohort, period int) int64 { return g.cells[cohort*g.periods+period] }
