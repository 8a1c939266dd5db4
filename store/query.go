package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// How long a visit is followed, in µs.
const (
	visitBehind = plan.Behind // an event this long before its visit's first one is late, not part of it
	visitAhead  = plan.Ahead
)

// Query answers a question from the present. It takes the sums of closed days
// where there are any, and rows for the rest. It returns an [event.QueryError]
// for a question that is wrong.
func (s *Store) Query(ctx context.Context, q event.Query) (*event.Answer, error) {
	sn := s.Snapshot()
	defer sn.Release()
	a, err := s.ask(ctx, sn, q)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return a, nil
}

// ask answers a question from a snapshot.
func (s *Store) ask(ctx context.Context, sn *Snapshot, q event.Query) (*event.Answer, error) {
	const far = 1 << 60 // µs: beyond every event, and with room for what lies around
	q.From, q.To = min(max(q.From, -far), far), min(max(q.To, -far), far)
	if err := plan.Check(q); err != nil {
		return nil, err
	}
	a := &event.Answer{Plan: event.PlanRaw, Seq: sn.Flushed(), Degraded: sn.missing(q.Site, q.From, q.To)}
	in, err := s.input(ctx, sn, &q, a)
	if err != nil {
		return nil, err
	}
	text, err := plan.Compile(q, in)
	if err != nil {
		return nil, err
	}
	err = s.query(ctx, text, nil, func(rows *sql.Rows) error { return scanLine(rows, q, a) })
	if err != nil {
		return nil, err
	}
	return a, nil
}

// long is a range beyond which it is looked up what there is of it, in µs.
const long = 20 * 366 * day24

// input returns what a question is to be answered from, and says in the answer
// what that is.
func (s *Store) input(ctx context.Context, sn *Snapshot, q *event.Query, a *event.Answer) (in plan.Input, err error) {
	site := q.Site
	in.Events = func(from, to int64) string { return sn.Relation(site, from, to) }
	in.Everyone, in.Whole, err = s.shares(ctx, sn, *q)
	if err != nil {
		return in, err
	}
	dim, monthly, rolled := plan.Rolled(*q)
	if q.From == 0 || q.To == 0 || q.To-q.From > long || q.To < q.From {
		if in.First, in.Last, err = s.extent(ctx, sn, q.Site); err != nil {
			return in, err
		}
		if in.First > in.Last { // there is none
			in.First, in.Last = 1, 1
		}
		if rolled {
			*q = cut(*q, in.First, in.Last)
		}
	}
	if rolled {
		err = s.roll(ctx, sn, *q, dim, monthly, &in, a)
	}
	return in, err
}

// shares returns what percentages are of: the visitors of a question without
// goals, and all of them.
func (s *Store) shares(ctx context.Context, sn *Snapshot, q event.Query) (everyone, whole int64, err error) {
	if slices.Contains(q.Metrics, event.Percentage) {
		if whole, err = s.visitors(ctx, sn, q); err != nil {
			return 0, 0, err
		}
	}
	if slices.Contains(q.Metrics, event.ConversionRate) {
		q.Goals = nil
		if everyone, err = s.visitors(ctx, sn, q); err != nil {
			return 0, 0, err
		}
	}
	return everyone, whole, nil
}

// cut sets open or far ends of a range to the days that hold all there is: events,
// and the beginnings of their visits.
func cut(q event.Query, first, last int64) event.Query {
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	from := event.StartOf(time.UnixMicro(first-visitAhead).In(zone), event.Daily).UnixMicro()
	to := event.NextOf(event.StartOf(time.UnixMicro(last+visitBehind).In(zone), event.Daily), event.Daily).UnixMicro()
	if q.From == 0 || q.From < from {
		q.From = from
	}
	if q.To == 0 || q.To > to {
		q.To = to
	}
	return q
}

// roll takes the sums of closed days where there are any.
func (s *Store) roll(ctx context.Context, sn *Snapshot, q event.Query, dim event.Dimension, monthly bool, in *plan.Input, a *event.Answer) error {
	c, err := s.cover(ctx, sn, q, dim, monthly)
	if err != nil || c.days == 0 || tattered(sn, q, len(c.raw)) {
		return err
	}
	in.Rollups, a.Plan = c.table, event.PlanBoth
	in.Ranges = make([]plan.Range, 0, len(c.raw)) // not nil: it may be that no row is read
	for _, r := range c.raw {
		in.Ranges = append(in.Ranges, plan.Range{From: r.from, To: r.to})
	}
	if len(c.raw) == 0 {
		a.Plan = event.PlanRollup
	}
	return nil
}

// tattered says whether so many ranges would be read beside the rollups that it is
// faster to read all rows at once. Each range is planned and read for itself, which
// takes as long as some tens of thousands of rows: a small site, of whose days many
// have too many values to be kept, took seconds for a year of a few rows.
func tattered(sn *Snapshot, q event.Query, ranges int) bool {
	const few, worth = 8, 50_000 // rows
	if ranges <= few {
		return false
	}
	var rows int64
	for i := range sn.v.parts {
		if p := &sn.v.parts[i]; overlaps(p, q.Site, q.From, q.To) {
			rows += p.Rows
		}
	}
	return rows < int64(ranges)*worth
}

// visitors counts the visitors of a question without its dimensions.
func (s *Store) visitors(ctx context.Context, sn *Snapshot, q event.Query) (int64, error) {
	q.Metrics, q.Dimensions = []event.Metric{event.Visitors}, nil
	q.Order, q.Limit, q.Offset, q.Count = nil, 0, 0, false
	a, err := s.ask(ctx, sn, q)
	if err != nil {
		return 0, err
	}
	return a.Lines[0].Figures[0].Int, nil
}

// scanLine adds a row of a plan's statement to an answer.
func scanLine(rows *sql.Rows, q event.Query, a *event.Answer) error {
	dims := len(q.Dimensions)
	cells := make([]any, dims+len(q.Metrics), dims+len(q.Metrics)+1)
	into := make([]any, len(cells), cap(cells))
	for i := range cells {
		into[i] = &cells[i]
	}
	if q.Count {
		into = append(into, &a.Count)
	}
	if err := rows.Scan(into...); err != nil {
		return err
	}
	if dims > 0 && cells[0] == nil || dims == 0 && q.Offset > 0 { // a page without lines
		return nil
	}
	l := event.Line{Values: make([]event.Value, dims), Figures: make([]event.Figure, len(q.Metrics))}
	for i, cell := range cells[:dims] {
		switch v := cell.(type) {
		case int64:
			l.Values[i].Time = v
		case string:
			l.Values[i].Text = v
		default:
			return fmt.Errorf("read dimension %s: %T", q.Dimensions[i], cell)
		}
	}
	for i, cell := range cells[dims:] {
		switch v := cell.(type) {
		case int64:
			l.Figures[i].Int = v
		case float64:
			l.Figures[i].Float = v
		case nil:
			l.Figures[i].Unknown = true
		default:
			return fmt.Errorf("read metric %s: %T", q.Metrics[i], cell)
		}
	}
	a.Lines = append(a.Lines, l)
	return nil
}

// missing returns the damaged parts that may hold what an answer about a site and
// a range depends on.
func (sn *Snapshot) missing(site string, from, to int64) (parts []event.Part) {
	if from != 0 {
		from -= plan.Behind + plan.Ahead
	}
	if to != 0 {
		to += plan.Behind + plan.Ahead
	}
	for i := range sn.v.damaged {
		if p := &sn.v.damaged[i]; overlaps(p, site, from, to) {
			parts = append(parts, *p)
		}
	}
	return parts
}

// Bounds returns the times of the first and the last event of a site, in µs, and
// whether there is any.
func (s *Store) Bounds(ctx context.Context, site string) (first, last int64, any bool, err error) {
	sn := s.Snapshot()
	defer sn.Release()
	if first, last, any, err = s.edges(ctx, sn, site); err != nil {
		return 0, 0, false, fmt.Errorf("find bounds: %w", err)
	}
	return first, last, any, nil
}

// edges reads the parts that may hold the first or the last event, and hot rows.
// A part that holds events of the site holds one at or after its MinTime and at or
// before its MaxTime, so that what begins after the one or ends before the other
// need not be read.
func (s *Store) edges(ctx context.Context, sn *Snapshot, site string) (first, last int64, any bool, err error) {
	var earliest, latest *event.Part
	for i := range sn.v.parts {
		p := &sn.v.parts[i]
		if !overlaps(p, site, 0, 0) {
			continue
		}
		if earliest == nil || p.MaxTime < earliest.MaxTime {
			earliest = p
		}
		if latest == nil || p.MinTime > latest.MinTime {
			latest = p
		}
	}
	ranges := []plan.Range{{}}
	if earliest != nil {
		ranges = []plan.Range{{To: earliest.MaxTime + 1}, {From: latest.MinTime}}
	}
	for _, r := range ranges {
		where := " WHERE site = " + quote(site)
		text := "SELECT coalesce(min(epoch_us(\"time\")), 0), coalesce(max(epoch_us(\"time\")), 0), count(*) FROM " +
			sn.Relation(site, r.From, r.To) + where
		err := s.query(ctx, text, nil, func(rows *sql.Rows) error {
			var low, high, n int64
			if err := rows.Scan(&low, &high, &n); err != nil || n == 0 {
				return err
			}
			if !any {
				first, last, any = low, high, true
			}
			first, last = min(first, low), max(last, high)
			return nil
		})
		if err != nil {
			return 0, 0, false, err
		}
	}
	return first, last, any, nil
}

// query calls scan for every row of a statement's result. It returns an
// [event.ErrMemory] if there was no room.
func (s *Store) query(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) (err error) {
	defer func() { err = asked(err) }()
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := conn.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// listOf returns the text of a list of numbers, which SQL casts to BIGINT[].
func listOf(numbers []int64) string {
	b := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}
