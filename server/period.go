package server

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A span is a range of whole days by the clock of a zone. The zero span is all
// of time.
type span struct {
	first, last time.Time // noon of the first and the last day: noon exists in every zone
}

// A stretch is a span that begins and ends at moments within its days, if they
// are not zero.
type stretch struct {
	span
	from, to time.Time
}

// longestSpan is the most days of a range: more than any site has, and few
// enough that each can be looked at.
const longestSpan = 36_600

// rolling are the periods that end now, and not with the day.
var rolling = map[string]time.Duration{"realtime": 5 * time.Minute, "30m": 30 * time.Minute, "24h": 24 * time.Hour}

// parseSpan reads a range from the parameters start_date and end_date, both
// inclusive, or from period. N days are N calendar days, of which today is the
// last.
func parseSpan(q url.Values, zone *time.Location, now time.Time) (stretch, error) {
	for _, name := range []string{"start_date", "end_date", "period"} {
		if len(q[name]) > 1 {
			return stretch{}, refuse(http.StatusBadRequest, "range", "%s is given more than once", name)
		}
	}
	start, end := q.Get("start_date"), q.Get("end_date")
	if (start == "") != (end == "") {
		return stretch{}, refuse(http.StatusBadRequest, "range", "give start_date and end_date, or neither")
	}
	if start != "" {
		return parseDates(start, end, zone)
	}
	return parsePeriod(q.Get("period"), zone, now)
}

func parseDates(start, end string, zone *time.Location) (stretch, error) {
	first, err := parseDate("start_date", start, zone)
	if err != nil {
		return stretch{}, err
	}
	last, err := parseDate("end_date", end, zone)
	if err != nil {
		return stretch{}, err
	}
	if last.Before(first) {
		return stretch{}, refuse(http.StatusBadRequest, "range", "end_date is before start_date")
	}
	return stretch{span: span{first, last}}, nil
}

func parsePeriod(period string, zone *time.Location, now time.Time) (stretch, error) {
	today := noon(now.In(zone), 0, 0, 0)
	switch period {
	case "day", "today":
		return stretch{span: span{today, today}}, nil
	case "yesterday":
		return stretch{span: span{noon(today, 0, 0, -1), noon(today, 0, 0, -1)}}, nil
	case "7d", "28d", "90d":
		n, _ := strconv.Atoi(period[:len(period)-1])
		return stretch{span: span{noon(today, 0, 0, 1-n), today}}, nil
	case "30d", "":
		return stretch{span: span{noon(today, 0, 0, -29), today}}, nil
	case "month":
		first := noon(today, 0, 0, 1-today.Day())
		return stretch{span: span{first, noon(first, 0, 1, -1)}}, nil
	case "year":
		first := time.Date(today.Year(), 1, 1, 12, 0, 0, 0, zone)
		return stretch{span: span{first, noon(first, 1, 0, -1)}}, nil
	case "6mo", "12mo":
		n, _ := strconv.Atoi(period[:len(period)-2])
		first := noon(today, 0, 0, 1-today.Day())
		return stretch{span: span{noon(first, 0, 1-n, 0), noon(first, 0, 1, -1)}}, nil
	case "realtime", "30m", "24h":
		return lately(now.In(zone), rolling[period]), nil
	case "all":
		return stretch{}, nil
	}
	return stretch{}, refuse(http.StatusBadRequest, "period", "period is day, today, yesterday, 7d, 28d, 30d, 90d, month, year, 6mo, 12mo, realtime, 30m, 24h or all")
}

// lately returns the time before now, the running second included.
func lately(now time.Time, long time.Duration) stretch {
	to := now.Truncate(time.Second).Add(time.Second)
	return instants(to.Add(-long), to)
}

// instants returns the range of from ≤ t < to.
func instants(from, to time.Time) stretch {
	return stretch{span: span{noon(from, 0, 0, 0), noon(to.Add(-1), 0, 0, 0)}, from: from, to: to}
}

func parseDate(name, s string, zone *time.Location) (time.Time, error) {
	t, err := time.ParseInLocation(time.DateOnly, s, time.UTC)
	if err != nil || t.Year() < 1970 {
		return time.Time{}, refuse(http.StatusBadRequest, "range", "%s is a day like 2026-01-31", name)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, zone), nil
}

func noon(t time.Time, years, months, days int) time.Time {
	return time.Date(t.Year()+years, t.Month()+time.Month(months), t.Day()+days, 12, 0, 0, 0, t.Location())
}

// all says whether the range is all of time.
func (d span) all() bool { return d.first.IsZero() }

// start and end return the first moment of the range and the first after it.
func (d stretch) start() time.Time {
	if !d.from.IsZero() {
		return d.from
	}
	return startOfDay(d.first)
}

func (d stretch) end() time.Time {
	if !d.to.IsZero() {
		return d.to
	}
	return startOfDay(noon(d.last, 0, 0, 1))
}

// micros returns the range as [event.Query] takes it.
func (d stretch) micros() (from, to int64) {
	if d.all() {
		return 0, 0
	}
	return d.start().UnixMicro(), d.end().UnixMicro()
}

// micros returns the range as [event.Query] takes it.
func (d span) micros() (from, to int64) { return stretch{span: d}.micros() }

// days returns how many days the range has or touches; 0 for all of time.
func (d span) days() int {
	if d.all() {
		return 0
	}
	return int(d.last.Sub(d.first).Hours()/24+0.5) + 1
}

// dates returns the first and the last day, or "" and "" for all of time.
func (d span) dates() (start, end string) {
	if d.all() {
		return "", ""
	}
	return d.first.Format(time.DateOnly), d.last.Format(time.DateOnly)
}

// Ways to compare a range.
const (
	previousPeriod = "previous_period"
	yearOverYear   = "year_over_year"
)

// before returns the range with which d is compared: as many days just before
// it, or the same days of the year before. Of a range that is not over it is
// only as much as has gone by of d, to the minute, or every morning would look
// like a slump.
func (d stretch) before(mode string, now time.Time) stretch {
	n := d.days()
	back := func(t time.Time) time.Time { return sameClock(t, 0, -n) }
	if mode == yearOverYear {
		back = func(t time.Time) time.Time { return sameClock(t, -1, 0) }
	}
	if !d.from.IsZero() {
		if mode == previousPeriod {
			return instants(d.from.Add(-d.to.Sub(d.from)), d.from)
		}
		return instants(back(d.from), back(d.to))
	}
	then := stretch{span: span{back(d.first), back(d.last)}}
	now = now.In(d.first.Location())
	if !now.Before(d.start()) && now.Before(d.end()) {
		then.to = back(now).Truncate(time.Minute).Add(time.Minute)
		then.last = noon(then.to.Add(-1), 0, 0, 0)
	}
	return then
}

// sameClock returns the same time of another day. The 29th of February is the
// 28th in other years.
func sameClock(t time.Time, years, days int) time.Time {
	day := t.Day()
	if years != 0 && t.Month() == time.February && day == 29 {
		day = 28
	}
	return time.Date(t.Year()+years, t.Month(), day+days, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}

// startOfDay returns the first moment of t's day. In some zones the clock is put
// forward at midnight, and the day begins at one; in others it is put back at
// one, and the day has two midnights.
func startOfDay(t time.Time) time.Time {
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	if midnight.Day() != t.Day() { // Date went back to before the gap
		_, midnight = midnight.ZoneBounds()
	}
	if earlier := midnight.Add(-time.Hour); earlier.Day() == t.Day() {
		midnight = earlier
	}
	return midnight
}

// intervals are those of a time series, with how a point's time is written and
// the most days for which each is answered.
var intervals = map[string]struct {
	format  string
	maxDays int
}{
	event.Minutely: {time.DateTime, 3},
	event.Hourly:   {time.DateTime, 92},
	event.Daily:    {time.DateOnly, 0},
	event.Weekly:   {time.DateOnly, 0},
	event.Monthly:  {time.DateOnly, 0},
}

// intervalOf reads the interval, or chooses one that gives a few dozen points.
func intervalOf(q url.Values, d stretch) (string, error) {
	days, name := d.days(), q.Get("interval")
	switch {
	case len(q["interval"]) > 1:
		return "", refuse(http.StatusBadRequest, "interval", "interval is given more than once")
	case name == "":
		return usualInterval(d), nil
	}
	i, ok := intervals[name]
	if !ok {
		return "", refuse(http.StatusBadRequest, "interval", "interval is minute, hour, day, week or month")
	}
	if i.maxDays > 0 && (days == 0 || days > i.maxDays) {
		return "", refuse(http.StatusBadRequest, "interval", "interval=%s takes a range of at most %d days", name, i.maxDays)
	}
	return name, nil
}

func usualInterval(d stretch) string {
	days := d.days()
	switch {
	case !d.from.IsZero() && d.to.Sub(d.from) <= time.Hour:
		return event.Minutely
	case days == 0 || days > 366:
		return event.Monthly
	case days <= 2:
		return event.Hourly
	}
	return event.Daily
}
