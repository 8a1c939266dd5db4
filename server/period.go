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

// parseSpan reads a range from the parameters start_date and end_date, both
// inclusive, or from period. N days are N calendar days, of which today is the
// last.
func parseSpan(q url.Values, zone *time.Location, now time.Time) (span, error) {
	start, end := q.Get("start_date"), q.Get("end_date")
	if (start == "") != (end == "") {
		return span{}, refuse(http.StatusBadRequest, "range", "give start_date and end_date, or neither")
	}
	if start != "" {
		first, err := parseDate("start_date", start, zone)
		if err != nil {
			return span{}, err
		}
		last, err := parseDate("end_date", end, zone)
		if err != nil {
			return span{}, err
		}
		if last.Before(first) {
			return span{}, refuse(http.StatusBadRequest, "range", "end_date is before start_date")
		}
		return span{first, last}, nil
	}
	today := noon(now.In(zone), 0, 0, 0)
	switch period := q.Get("period"); period {
	case "day", "today":
		return span{today, today}, nil
	case "yesterday":
		return span{noon(today, 0, 0, -1), noon(today, 0, 0, -1)}, nil
	case "7d", "28d", "90d":
		n, _ := strconv.Atoi(period[:len(period)-1])
		return span{noon(today, 0, 0, 1-n), today}, nil
	case "30d", "":
		return span{noon(today, 0, 0, -29), today}, nil
	case "month":
		first := noon(today, 0, 0, 1-today.Day())
		return span{first, noon(first, 0, 1, -1)}, nil
	case "year":
		first := time.Date(today.Year(), 1, 1, 12, 0, 0, 0, zone)
		return span{first, noon(first, 1, 0, -1)}, nil
	case "12mo":
		first := noon(today, 0, 0, 1-today.Day())
		return span{noon(first, 0, -11, 0), noon(first, 0, 1, -1)}, nil
	case "all":
		return span{}, nil
	default:
		return span{}, refuse(http.StatusBadRequest, "period", "period is day, today, yesterday, 7d, 28d, 30d, 90d, month, year, 12mo or all")
	}
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

// micros returns the range as [event.Query] takes it.
func (d span) micros() (from, to int64) {
	if d.first.IsZero() {
		return 0, 0
	}
	return startOfDay(d.first).UnixMicro(), startOfDay(noon(d.last, 0, 0, 1)).UnixMicro()
}

// days returns how many days the range has; 0 for all of time.
func (d span) days() int {
	if d.first.IsZero() {
		return 0
	}
	return int(d.last.Sub(d.first).Hours()/24+0.5) + 1
}

// dates returns the first and the last day, or "" and "" for all of time.
func (d span) dates() (start, end string) {
	if d.first.IsZero() {
		return "", ""
	}
	return d.first.Format(time.DateOnly), d.last.Format(time.DateOnly)
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
	event.Hourly:  {"2006-01-02 15:04:05", 92},
	event.Daily:   {time.DateOnly, 0},
	event.Weekly:  {time.DateOnly, 0},
	event.Monthly: {time.DateOnly, 0},
}

// intervalOf reads the interval, or chooses one that gives a few dozen points.
func intervalOf(q url.Values, days int) (string, error) {
	name := q.Get("interval")
	if name == "" {
		switch {
		case days == 0 || days > 366:
			return event.Monthly, nil
		case days <= 2:
			return event.Hourly, nil
		}
		return event.Daily, nil
	}
	i, ok := intervals[name]
	if !ok {
		return "", refuse(http.StatusBadRequest, "interval", "interval is hour, day, week or month")
	}
	if i.maxDays > 0 && (days == 0 || days > i.maxDays) {
		return "", refuse(http.StatusBadRequest, "interval", "interval=%s takes a range of at most %d days", name, i.maxDays)
	}
	return name, nil
}
