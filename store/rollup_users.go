package store

import (
	"slices"

	"github.com/eider-analytics/eider/store/event"
)

// A roster says of which days rollups list the users. It is good for as long as the
// snapshot is held that it was made for.
type roster struct {
	table string  // span, start (µs of the day), user
	days  []entry // by time; also those on which there is nothing
}

// roster returns that of the days of a site that do not reach over any of some times,
// which are in order and the first and last of which are far away.
func (rs *rollups) roster(sn *Snapshot, at place, cells []int64) roster {
	r := roster{table: rs.users()}
	for _, d := range rs.calendar(sn, at).days {
		i, _ := slices.BinarySearch(cells, d.start+1) // cells[i-1] ≤ start < cells[i]
		if d.stop <= cells[i] && (d.empty || d.valid && d.users != unlisted) {
			r.days = append(r.days, d)
		}
	}
	return r
}

// within returns the part of a roster that lies in [from, to).
func (r roster) within(from, to int64) roster {
	r.days = within(r.days, from, to)
	return r
}

// spans returns the spans of a roster.
func (r roster) spans() (ids []int64) {
	for _, d := range r.days {
		if !d.empty {
			ids = append(ids, d.id)
		}
	}
	return ids
}

// holds says whether a roster has all users that a part has in [from, to).
func (r roster) holds(p *event.Part, from, to int64) bool {
	t, last := max(p.MinTime, from), min(p.MaxTime, to-1)
	for _, d := range within(r.days, t-2*day24, last+2*day24) {
		if d.start <= t && t < d.stop {
			t = d.stop
		}
	}
	return t > last
}
