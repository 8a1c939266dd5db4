package event

import (
	"fmt"
	"time"
)

// MaxBuckets is the most intervals that [Buckets] returns.
const MaxBuckets = 10_000

// Buckets returns the first µs of each interval that has a part of the range
// from ≤ t < to, by the clock of a zone: nil is UTC. The first may begin before
// the range. It returns a [QueryError] for an interval that there is not and for
// more than [MaxBuckets].
func Buckets(from, to int64, zone *time.Location, interval string) ([]int64, error) {
	if zone == nil {
		zone = time.UTC
	}
	switch interval {
	case Minutely, Hourly, Daily, Weekly, Monthly:
	default:
		return nil, &QueryError{Message: fmt.Sprintf("there is no interval %q; use minute, hour, day, week or month", interval)}
	}
	if from >= to {
		return nil, nil
	}
	var starts []int64
	for t := StartOf(time.UnixMicro(from).In(zone), interval); t.UnixMicro() < to; t = NextOf(t, interval) {
		if len(starts) == MaxBuckets {
			return nil, &QueryError{Message: fmt.Sprintf(
				"the range has more than %d intervals of a %s; ask for a shorter range or a longer interval", MaxBuckets, interval)}
		}
		starts = append(starts, t.UnixMicro())
	}
	return starts, nil
}

// StartOf returns when the interval began that t is in.
func StartOf(t time.Time, interval string) time.Time {
	y, m, d := t.Date()
	switch interval {
	case Minutely:
		return tick(t, time.Minute)
	case Hourly:
		return tick(t, time.Hour)
	case Weekly:
		return midnight(y, m, d-(int(t.Weekday())+6)%7, t.Location())
	case Monthly:
		return midnight(y, m, 1, t.Location())
	default:
		return midnight(y, m, d, t.Location())
	}
}

// NextOf returns when the interval ends that begins at t.
func NextOf(t time.Time, interval string) time.Time {
	y, m, d := t.Date()
	switch interval {
	case Minutely:
		return nextTick(t, time.Minute)
	case Hourly:
		return nextTick(t, time.Hour)
	case Weekly:
		return midnight(y, m, d+7-(int(t.Weekday())+6)%7, t.Location())
	case Monthly:
		return midnight(y, m+1, 1, t.Location())
	default:
		return midnight(y, m, d+1, t.Location())
	}
}

// midnight returns the first moment of a day. A clock that is put back may show
// midnight twice, then it is the first one; one that is put forward may leave it
// out, or the whole day, then it is the moment after.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	utc := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	t := utc.Add(-26 * time.Hour).In(zone) // the day before, in every zone
	for {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		shown := utc.Add(-time.Duration(offset) * time.Second).In(zone)
		switch {
		case !start.IsZero() && shown.Before(start):
			return start
		case end.IsZero() || shown.Before(end):
			return shown
		}
		t = end
	}
}

// tick returns the last time at or before t at which the clock showed a whole
// unit, or was put forward or back.
func tick(t time.Time, unit time.Duration) time.Time {
	start, _ := t.ZoneBounds()
	whole := t.Add(-past(t, unit))
	if whole.Before(start) {
		return start
	}
	return whole
}

// nextTick returns the next such time after a tick.
func nextTick(t time.Time, unit time.Duration) time.Time {
	_, end := t.ZoneBounds()
	whole := t.Add(unit - past(t, unit))
	if !end.IsZero() && end.Before(whole) {
		return end
	}
	return whole
}

// past returns for how long the clock has shown the unit that t is in.
func past(t time.Time, unit time.Duration) time.Duration {
	clock := time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
	return clock % unit
}
