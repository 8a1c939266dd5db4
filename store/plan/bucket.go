package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

func inZone(micros int64, zone *time.Location) time.Time { return time.UnixMicro(micros).In(zone) }

// A stretch is some intervals of equal length, back to back: one of any length if
// step is 0. A year of days has about five of them, as clocks change twice.
type stretch struct{ from, step int64 }

// steps are the lengths that intervals have while no clock changes.
var steps = map[string]time.Duration{
	event.Minutely: time.Minute, event.Hourly: time.Hour, event.Daily: 24 * time.Hour, event.Weekly: 7 * 24 * time.Hour,
}

// stretches returns the intervals between from and to.
func stretches(from, to int64, zone *time.Location, interval string) (list []stretch) {
	step := steps[interval]
	for t := event.StartOf(inZone(from, zone), interval); ; {
		_, change := t.ZoneBounds()
		if change.IsZero() || change.UnixMicro() > to {
			change = time.UnixMicro(to)
		}
		next := event.NextOf(t, interval)
		if step != 0 && next.Sub(t) == step && change.Sub(t) >= step {
			list = append(list, stretch{t.UnixMicro(), step.Microseconds()})
			t = t.Add(change.Sub(t) / step * step)
		} else {
			list = append(list, stretch{t.UnixMicro(), 0})
			t = next
		}
		if t.UnixMicro() >= to {
			return list
		}
	}
}

// bucket returns the SQL of the first µs of the interval that a time is in, as a
// tree of comparisons. Nothing of it is asked of DuckDB's calendar, which is slow.
func bucket(t string, list []stretch) string {
	if len(list) > 1 {
		half := len(list) / 2
		return fmt.Sprintf("CASE WHEN %s < %d THEN %s ELSE %s END", t, list[half].from, bucket(t, list[:half]), bucket(t, list[half:]))
	}
	if s := list[0]; s.step != 0 {
		return fmt.Sprintf("(%d + (%s - %d) // %d * %d)", s.from, t, s.from, s.step, s.step)
	}
	return fmt.Sprintf("%d::BIGINT", list[0].from)
}

// bucket returns the SQL of the interval that a time is in, which is in the range
// of the query.
func (c *compiler) bucket(t, interval string) string {
	from, to := c.q.From, c.q.To
	if from == 0 || c.in.First != 0 && from < c.in.First-margin {
		from = c.in.First - margin
	}
	if to == 0 || c.in.Last != 0 && to > c.in.Last+margin {
		to = c.in.Last + margin
	}
	return bucket(t, stretches(from, max(to, from+1), c.q.Zone, interval))
}

// moment returns the literal of a time, by which DuckDB skips row groups.
func moment(micros int64) string {
	const first, last = -62_135_596_800_000_000, 253_402_300_799_999_999 // the years 1 to 9999
	t := time.UnixMicro(min(max(micros, first), last)).UTC()
	return "TIMESTAMPTZ '" + t.Format("2006-01-02 15:04:05.000000") + "+00'"
}

// between returns the condition that a column of time is in a range.
func between(column string, r Range) string {
	var terms []string
	if r.From != 0 {
		terms = append(terms, column+" >= "+moment(r.From))
	}
	if r.To != 0 {
		terms = append(terms, column+" < "+moment(r.To))
	}
	if len(terms) == 0 {
		return column + " IS NOT NULL"
	}
	return strings.Join(terms, " AND ")
}

// around returns a range with more at both ends.
func (r Range) around(before, after int64) Range {
	if r.From != 0 {
		r.From -= before
	}
	if r.To != 0 {
		r.To += after
	}
	return r
}
