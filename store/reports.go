package store

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// What the reports count, the same in each of them:
//
//   - Visitors are the distinct visitors of all events in the range. A visitor is
//     one for a site-local day only, so those of a range are the sum of its days'.
//   - Visits are those that began in the range; theirs are views per visit, bounce
//     rate and duration, from all their events, also those after the range. A
//     visit that began before it has visitors, pageviews and events here, but is
//     counted where it began. So the visits of ranges that touch add up.
//   - A visit bounced if it has exactly one pageview and no interactive custom
//     event. It lasts from its earliest to its latest event, engagement included.
//   - Events without a visitor are pageviews and events, but nobody's visit.
//   - A value of a dimension has the visits with an event that carries it; their
//     figures are those of the whole visits.
const (
	visitBehind = int64(time.Hour / time.Microsecond)      // an event this long before its visit's first one is late, not part of it
	visitAhead  = int64(24 * time.Hour / time.Microsecond) // how long a visit is followed
)

// maxRows is the most rows of a breakdown, maxPoints of a time series.
const (
	maxRows   = 1000
	maxPoints = 10_000
)

//go:embed visits.sql
var visitsSQL string

//go:embed main.sql
var mainSQL string

//go:embed timeseries.sql
var timeseriesSQL string

//go:embed breakdown.sql
var breakdownSQL string

//go:embed bounds.sql
var boundsSQL string

//go:embed exits.sql
var exitsSQL string

// A dimension is what a breakdown groups by.
type dimension struct {
	value string // SQL of a text of one event
	where string // SQL of the events it is about; "" means all
}

// dimensions are the values of dim in [Store.Breakdown], as they stand in URLs.
var dimensions = map[string]dimension{
	"pages":            column("path"),
	"entry-pages":      column("entry_path"),
	"exit-pages":       column(exitPath),
	"hostnames":        column("hostname"),
	"titles":           column("title"),
	"referrers":        column("referrer"),
	"sources":          column("source"),
	"channels":         column("channel"),
	"utm-sources":      column("utm_source"),
	"utm-mediums":      column("utm_medium"),
	"utm-campaigns":    column("utm_campaign"),
	"utm-contents":     column("utm_content"),
	"utm-terms":        column("utm_term"),
	"click-ids":        column("click_id"),
	"browsers":         column("browser"),
	"browser-versions": column("browser_version"),
	"os":               column("os"),
	"os-versions":      column("os_version"),
	"devices":          column("device"),
	"screens":          column("screen"),
	"languages":        column("language"),
	"countries":        column("country"),
	"regions":          column("region"),
	"cities":           column("city"),
	"events":           {value: "name", where: "name <> 'engagement'"},
	"via":              column("via"),
	"currencies":       column("currency"),
}

// exitPath is the one column that exits.sql adds to the events'.
const exitPath = "exit_path"

func column(name string) dimension {
	return dimension{value: `coalesce("` + name + `"::VARCHAR, '')`}
}

// dimensionOf finds a dimension by its name, or by that of one of its values:
// page, country, browser_version.
func dimensionOf(dim string) (dimension, bool) {
	dim = strings.ReplaceAll(dim, "_", "-")
	for _, name := range []string{dim, dim + "s", strings.TrimSuffix(dim, "y") + "ies"} {
		if d, ok := dimensions[name]; ok {
			return d, true
		}
	}
	return dimension{}, false
}

// Main returns the figures of a range.
func (s *Store) Main(ctx context.Context, q event.Query) (event.Totals, error) {
	var f figures
	err := s.report(ctx, newReport(q, mainSQL), func(rows *sql.Rows) error {
		return rows.Scan(f.fields()...)
	})
	if err != nil {
		return event.Totals{}, fmt.Errorf("report totals: %w", err)
	}
	return f.totals(), nil
}

// Timeseries returns the figures of a range by interval: "minute" or one of
// event's. Intervals begin by the clock of the zone, so a day can have 23 or 25
// hours; the first may begin before the range, whose events alone count. With an
// open end the series begins or ends with the events there are. It returns an
// [event.QueryError] for an unknown interval or more than 10,000 of them.
func (s *Store) Timeseries(ctx context.Context, q event.Query, interval string) ([]event.Point, error) {
	sn := s.Snapshot()
	defer sn.Release()
	r := newReport(q, timeseriesSQL)
	if err := s.bound(ctx, sn, &r); err != nil {
		return nil, fmt.Errorf("report time series: %w", err)
	}
	starts, err := intervals(r.from, r.to, q.Zone, interval)
	if err != nil || len(starts) == 0 {
		return nil, err
	}
	r.args = append(r.args, sql.Named("starts", listOf(starts)))
	points := make([]event.Point, 0, len(starts))
	err = s.query(ctx, r.bind(sn), r.args, func(rows *sql.Rows) error {
		var p event.Point
		var f figures
		if err := rows.Scan(append([]any{&p.Time}, f.fields()...)...); err != nil {
			return err
		}
		p.Totals = f.totals()
		points = append(points, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("report time series: %w", err)
	}
	return points, nil
}

// bound sets the open ends of a report to the first and past the last event.
func (s *Store) bound(ctx context.Context, sn *Snapshot, r *report) error {
	if r.q.From != 0 && r.q.To != 0 {
		return nil
	}
	b := report{q: r.q, text: boundsSQL, from: r.from, to: r.to}
	b.args = []any{sql.Named("site", r.q.Site), sql.Named("from", r.from), sql.Named("to", r.to)}
	return s.query(ctx, b.bind(sn), b.args, func(rows *sql.Rows) error {
		var first, last, n int64
		if err := rows.Scan(&first, &last, &n); err != nil {
			return err
		}
		q := r.q
		switch {
		case n == 0: // no event, no interval
			q.From, q.To = 1, 1
		case q.From == 0 && q.To == 0:
			q.From, q.To = first, last+1
		case q.From == 0:
			q.From = first
		case q.To == 0:
			q.To = last + 1
		}
		r.ask(q)
		return nil
	})
}

// Breakdown returns the figures of a range by the values of a dimension, those
// with the most visitors first, and how many values there are. At most limit
// rows are returned, after the first offset ones; limit is between 1 and 1,000.
// It returns an [event.QueryError] for an unknown dimension or another limit.
func (s *Store) Breakdown(ctx context.Context, q event.Query, dim string, limit, offset int) ([]event.Row, int64, error) {
	d, ok := dimensionOf(dim)
	switch {
	case !ok:
		names := strings.Join(slices.Sorted(maps.Keys(dimensions)), ", ")
		return nil, 0, &event.QueryError{Message: fmt.Sprintf("there is no dimension %q; there are %s", dim, names)}
	case limit < 1 || limit > maxRows:
		return nil, 0, &event.QueryError{Message: fmt.Sprintf("limit is %d, must be between 1 and %d", limit, maxRows)}
	case offset < 0:
		return nil, 0, &event.QueryError{Message: fmt.Sprintf("offset is %d, must not be negative", offset)}
	}
	r := newReport(q, breakdownSQL)
	r.dim = d
	r.args = append(r.args, sql.Named("limit", int64(limit)), sql.Named("offset", int64(offset)))
	var total int64
	rows := []event.Row{}
	err := s.report(ctx, r, func(from *sql.Rows) error {
		var f figures
		var value sql.NullString
		if err := from.Scan(append([]any{&total, &value}, f.fields()...)...); err != nil {
			return err
		}
		if value.Valid {
			rows = append(rows, event.Row{Value: value.String, Totals: f.totals()})
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("report %s: %w", dim, err)
	}
	return rows, total, nil
}

// A report is one SQL statement about the events of a site and a range.
type report struct {
	q        event.Query
	text     string // what follows visits.sql
	dim      dimension
	from, to int64 // the range; open ends are as far away as a sum allows
	args     []any
}

func newReport(q event.Query, text string) report {
	r := report{text: visitsSQL + text}
	r.ask(q)
	return r
}

// ask sets the site and the range of a report.
func (r *report) ask(q event.Query) {
	const far = math.MaxInt64 / 4
	r.q, r.from, r.to = q, -far, far
	if q.From != 0 {
		r.from = q.From
	}
	if q.To != 0 {
		r.to = q.To
	}
	r.args = []any{
		sql.Named("site", q.Site), sql.Named("from", r.from), sql.Named("to", r.to),
		sql.Named("behind", visitBehind), sql.Named("ahead", visitAhead),
	}
}

// bind returns the statement with a snapshot's events in it. Only text of this
// package and of the snapshot is put in; what a request says is an argument.
func (r *report) bind(sn *Snapshot) string {
	from, to := r.q.From, r.q.To
	if from != 0 {
		from -= visitBehind
	}
	if to != 0 {
		to += visitAhead
	}
	source, value, where := "{{events}} AS events", "''", "true"
	if r.dim.value != "" {
		value = r.dim.value
	}
	if r.dim.where != "" {
		where = r.dim.where
	}
	if strings.Contains(value, exitPath) {
		source = exitsSQL
	}
	text := strings.NewReplacer("{{source}}", source, "{{value}}", value, "{{where}}", where).Replace(r.text)
	return strings.ReplaceAll(text, "{{events}}", sn.Relation(r.q.Site, from, to))
}

// report answers a report from the present.
func (s *Store) report(ctx context.Context, r report, scan func(*sql.Rows) error) error {
	sn := s.Snapshot()
	defer sn.Release()
	return s.query(ctx, r.bind(sn), r.args, scan)
}

// query calls scan for every row of a statement's result.
func (s *Store) query(ctx context.Context, text string, args []any, scan func(*sql.Rows) error) error {
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

// figures are what every report counts, in the order of its last columns.
type figures struct {
	visitors, pageviews, events    int64
	visits, views, bounces, length int64 // length in µs
}

func (f *figures) fields() []any {
	return []any{&f.visitors, &f.pageviews, &f.events, &f.visits, &f.views, &f.bounces, &f.length}
}

func (f *figures) totals() event.Totals {
	t := event.Totals{Visitors: f.visitors, Visits: f.visits, Pageviews: f.pageviews, Events: f.events}
	if n := float64(f.visits); n > 0 {
		t.ViewsPerVisit = float64(f.views) / n
		t.BounceRate = 100 * float64(f.bounces) / n
		t.VisitDuration = float64(f.length) / n / 1e6
	}
	return t
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
