package server

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// dates is a range of time as it was asked for.
type dates struct {
	kind     string // day, month, year, all, 24h, days, months, between or moments
	n        int    // of days and months
	from, to time.Time
}

// moments is a range of time: from ≤ t < to, in µs.
type moments struct {
	from, to int64
	days     span // its days, the zero span if it is none of whole days
}

var someDays = regexp.MustCompile(`^(\d+)(d|mo)$`)

// dates reads a date_range, or says at path what is wrong with it.
func (p *v2Parser) dates(path string, v any) dates {
	switch v := v.(type) {
	case nil:
		if _, there := p.body["date_range"]; !there && path == "#/date_range" {
			return dates{} // the keys were checked
		}
	case string:
		switch v {
		case "day", "month", "year", "all", "24h":
			return dates{kind: v}
		}
		match := someDays.FindStringSubmatch(v)
		if match == nil {
			break
		}
		n, err := strconv.Atoi(match[1])
		kind, most := "days", 5000
		if match[2] == "mo" {
			kind, most = "months", 100
		}
		if err != nil || n < 1 || n > most {
			p.first = badQuery("Invalid date_range %s", inspect(v))
		}
		return dates{kind: kind, n: n}
	case []any:
		d, ok := pairOf(v)
		if !ok {
			break
		}
		if d.from.Year() < 1970 || d.to.Before(d.from) {
			p.first = badQuery("Invalid date_range %s. It is in time from 1970 on, and its end is not before its beginning.", inspect(v))
		}
		return d
	}
	p.wrong(path, "Invalid date range %s", inspect(v))
	return dates{}
}

// pairOf reads two days or two times.
func pairOf(list []any) (dates, bool) {
	if len(list) != 2 {
		return dates{}, false
	}
	first, ok := list[0].(string)
	last, also := list[1].(string)
	if !ok || !also {
		return dates{}, false
	}
	for kind, format := range map[string]string{"between": time.DateOnly, "moments": time.RFC3339} {
		from, err := time.Parse(format, first)
		to, err2 := time.Parse(format, last)
		if err == nil && err2 == nil {
			return dates{kind, 0, from, to}, true
		}
	}
	return dates{}, false
}

// resolve returns the range by the clock of the site. The N days are those before
// today, and the N months those before this one.
func (a *v2Asker) resolve(ctx context.Context, d dates) (moments, error) {
	now := a.s.now().In(a.zone)
	today := noon(now, 0, 0, 0)
	month := noon(today, 0, 0, 1-today.Day())
	switch d.kind {
	case "day":
		return ofDays(today, today), nil
	case "24h":
		end := now.Truncate(time.Second).Add(time.Second)
		return moments{from: end.Add(-24 * time.Hour).UnixMicro(), to: end.UnixMicro()}, nil
	case "month":
		return ofDays(month, noon(month, 0, 1, -1)), nil
	case "year":
		first := time.Date(today.Year(), 1, 1, 12, 0, 0, 0, a.zone)
		return ofDays(first, noon(first, 1, 0, -1)), nil
	case "days":
		return ofDays(noon(today, 0, 0, -d.n), noon(today, 0, 0, -1)), nil
	case "months":
		return ofDays(noon(month, 0, -d.n, 0), noon(month, 0, 0, -1)), nil
	case "between":
		return ofDays(dayIn(d.from, a.zone), dayIn(d.to, a.zone)), nil
	case "moments":
		return moments{from: d.from.Truncate(time.Second).UnixMicro(), to: d.to.Truncate(time.Second).Add(time.Second).UnixMicro()}, nil
	}
	first, _, some, err := a.s.o.Questions.Bounds(ctx, a.v.site)
	start := today
	if some {
		start = noon(time.UnixMicro(first).In(a.zone), 0, 0, 0)
	}
	if start.After(today) {
		start = today
	}
	return ofDays(start, today), err
}

func dayIn(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, zone)
}

// ofDays is the range from the first to the last day.
func ofDays(first, last time.Time) moments {
	days := span{first, last}
	from, to := days.micros()
	return moments{from, to, days}
}

// echo writes the range as two times, of which the last belongs to it.
func (m moments) echo(zone *time.Location) [2]string {
	const format = "2006-01-02T15:04:05-07:00"
	return [2]string{time.UnixMicro(m.from).In(zone).Format(format), time.UnixMicro(m.to - 1).In(zone).Format(format)}
}

// autoInterval is the interval that Plausible chooses for the dimension time.
func autoInterval(m moments) string {
	const hour = int64(3600 * 1e6)
	switch length := m.to - m.from; {
	case length <= 48*hour:
		return "time:hour"
	case length <= 41*24*hour:
		return "time:day"
	case length <= 53*7*24*hour:
		return "time:week"
	}
	return "time:month"
}

// before returns the range with which a comparison compares.
func (a *v2Asker) before(ctx context.Context, c *v2Comparisons) (moments, error) {
	if c.Mode == "custom" {
		return a.resolve(ctx, c.dates)
	}
	m := a.span
	if m.days.first.IsZero() { // not of days
		length := m.to - m.from
		if c.Mode == "year_over_year" {
			from := time.UnixMicro(m.from).In(a.zone).AddDate(-1, 0, 0).UnixMicro()
			return moments{from: from, to: from + length}, nil
		}
		return moments{from: m.from - length, to: m.from}, nil
	}
	first := noon(m.days.first, 0, 0, -m.days.days())
	if c.Mode == "year_over_year" {
		first = noon(m.days.first, -1, 0, 0)
	}
	if c.MatchDayOfWeek { // the one before, so that the two do not overlap
		back := (int(first.Weekday()) - int(m.days.first.Weekday()) + 7) % 7
		first = noon(first, 0, 0, -back)
	}
	return ofDays(first, noon(first, 0, 0, m.days.days()-1)), nil
}

// compare asks the same of another range, and puts what it finds beside each row.
func (a *v2Asker) compare(ctx context.Context, out *v2JSON, found *event.Answer) error {
	span, err := a.before(ctx, a.v.include.Comparisons)
	if err != nil {
		return err
	}
	echo := span.echo(a.zone)
	out.Query.ComparisonDateRange = &echo
	now, before, err := a.buckets(span)
	if err != nil {
		return err
	}
	q := a.query
	q.From, q.To, q.Count, q.Offset, q.Limit = span.from, span.to, false, 0, event.MaxRows
	was, err := a.ask(ctx, q)
	if err != nil {
		return err
	}
	type where struct {
		values string
		place  int
	}
	lines := map[where]event.Line{}
	for _, l := range was.Lines {
		lines[where{a.key(l), a.place(l, before)}] = l
	}
	whole := len(was.Lines) < event.MaxRows // then what is not there was nothing
	for i, l := range found.Lines {
		place := a.place(l, now)
		old, ok := lines[where{a.key(l), place}]
		switch {
		case ok:
		case whole && place < max(len(before), 1):
			old = a.zero(l, place, before)
		default:
			continue
		}
		out.Results[i].Comparison = a.changed(out.Results[i].Metrics, old, span, ok)
	}
	return nil
}

// buckets returns the intervals of the question and of the other range. The first
// of the one is compared with the first of the other.
func (a *v2Asker) buckets(other moments) (now, before []int64, err error) {
	if a.time < 0 {
		return nil, nil, nil
	}
	if now, err = event.Buckets(a.span.from, a.span.to, a.zone, a.interval); err != nil {
		return nil, nil, err
	}
	before, err = event.Buckets(other.from, other.to, a.zone, a.interval)
	return now, before, err
}

// place returns which of the intervals a line is of; 0 without intervals.
func (a *v2Asker) place(l event.Line, starts []int64) int {
	if a.time < 0 {
		return 0
	}
	i, _ := slices.BinarySearch(starts, l.Values[a.at[a.time]].Time)
	return i
}

// zero is the line of a place where nothing was.
func (a *v2Asker) zero(like event.Line, place int, starts []int64) event.Line {
	line := event.Line{Values: slices.Clone(like.Values), Figures: make([]event.Figure, len(like.Figures))}
	if a.time >= 0 {
		line.Values[a.at[a.time]].Time = starts[place]
	}
	return line
}

func (a *v2Asker) changed(now []any, old event.Line, span moments, was bool) *v2Change {
	c := &v2Change{Metrics: a.figures(old), Dimensions: a.labels(old, span)}
	for i, m := range a.v.metrics {
		if !was && !isRevenue(m) {
			c.Metrics[i] = nothing(m)
		}
		c.Change = append(c.Change, change(m, c.Metrics[i], now[i]))
	}
	return c
}
