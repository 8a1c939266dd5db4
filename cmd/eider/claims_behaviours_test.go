package main_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

var yearBehaviour = flag.String("year.behaviour", "", "ask the year in this `directory` for funnels and retention, and time them")

// TestYearBehaviour answers a funnel and a retention grid of a year twice: by the
// store, and by the window functions of DuckDB. The figures must be the same.
// Which of the two is faster it says of a year made by TestYear on request:
//
//	go test ./cmd/eider -run '^TestYearBehaviour$' -v -args -year.behaviour /tmp/year
func TestYearBehaviour(t *testing.T) {
	t.Parallel()
	dir, rounds := *yearBehaviour, 4
	if dir == "" {
		dir, rounds = t.TempDir(), 1
		if err := writeYear(t.Context(), dir, newYear(60_000, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	l, err := openLedger(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Ledger: l, MemoryLimit: 1 << 30, Threads: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if *yearBehaviour != "" {
		if _, err := s.Rollup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b := behaviours{t, s, rounds}
	b.compare("funnel of five steps, as one writes it", b.funnel, b.plainFunnelSQL)
	b.compare("funnel of five steps, at its best", b.funnel, b.funnelSQL)
	b.compare("retention of twelve weeks", b.retention, b.retentionSQL)
}

// behaviours asks the same in two ways.
type behaviours struct {
	t      *testing.T
	s      *store.Store
	rounds int
}

// compare takes the best of some rounds, in turn, so that both meet the same
// machine, and the time of the processors beside that of the clock.
func (b behaviours) compare(what string, ours, theirs func() []int64) {
	best := func(of func() []int64, so spent) ([]int64, spent) {
		began, used := time.Now(), processor(b.t)
		figures := of()
		return figures, spent{min(so.clock, time.Since(began)), min(so.cpu, processor(b.t)-used)}
	}
	us, them := spent{time.Hour, time.Hour}, spent{time.Hour, time.Hour}
	for range b.rounds {
		var got, want []int64
		got, us = best(ours, us)
		want, them = best(theirs, them)
		if !slices.Equal(got, want) {
			b.t.Fatalf("%s: got %v, window functions %v", what, got, want)
		}
		if slices.Max(got) == 0 {
			b.t.Fatalf("%s: there is nothing to count", what)
		}
	}
	b.t.Logf("%s: %v, window functions %v: %.1f times by the clock, %.1f by the processors", what, us, them,
		float64(them.clock)/float64(us.clock), float64(them.cpu)/float64(us.cpu))
}

// spent is how long something took, and for how long processors worked.
type spent struct{ clock, cpu time.Duration }

func (s spent) String() string {
	return fmt.Sprintf("%v (%v of a processor)", s.clock.Round(time.Millisecond), s.cpu.Round(time.Millisecond))
}

func processor(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var funnelPaths = []string{"/", "/pricing", "/signup", "/welcome", "/cart"}

func (b behaviours) funnel() (figures []int64) {
	q := event.Funnel{Scope: event.Scope{Site: yearSite, Zone: zoneOfYear(b.t)}, Window: time.Hour}
	for _, path := range funnelPaths {
		q.Steps = append(q.Steps, event.Step{Name: path, Filter: event.Every(
			event.Filter{Op: event.Is, Dimension: "path", Values: []string{path}},
			event.Filter{Op: event.Is, Dimension: "name", Values: []string{event.Pageview}},
		)})
	}
	a, err := b.s.Funnel(b.t.Context(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, step := range a.Steps {
		figures = append(figures, step.Reached)
	}
	return figures
}

func zoneOfYear(t *testing.T) *time.Location {
	zone, err := time.LoadLocation(yearSites[0].zone)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// plainFunnelSQL looks from each step for the next one after it: the first that
// follows, and with it what has been found from there.
func (b behaviours) plainFunnelSQL() []int64 {
	const following = "OVER (PARTITION BY visitor ORDER BY t, seq ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
	text := "SELECT visitor, seq, epoch_us(time) AS t, path FROM events WHERE visitor IS NOT NULL AND name = 'pageview'"
	then := "[t]"
	for i := len(funnelPaths) - 1; i > 0; i-- {
		text = fmt.Sprintf("SELECT *, first_value(CASE WHEN path = '%s' THEN %s END IGNORE NULLS) %s AS n%d FROM (%s)", funnelPaths[i], then, following, i, text)
		then = fmt.Sprintf("list_concat([t], n%d)", i)
	}
	text = "SELECT visitor, max(1 + coalesce(len(list_filter(n1, x -> x - t <= 3600000000)), 0)) AS reached FROM (" + text + ") WHERE path = '" + funnelPaths[0] + "' GROUP BY visitor"
	return b.reached(text)
}

// funnelSQL carries the latest entry that is still open from step to step: each
// is a running maximum. The ids of the year are of one local day, so no day is
// needed.
func (b behaviours) funnelSQL() []int64 {
	const running = "OVER (PARTITION BY visitor ORDER BY t, seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
	var whens []string
	for i, path := range funnelPaths {
		whens = append(whens, fmt.Sprintf("WHEN '%s' THEN %d", path, i+1))
	}
	text := "SELECT visitor, seq, epoch_us(time) AS t, CASE path " + strings.Join(whens, " ") + " END AS step FROM events" +
		" WHERE visitor IS NOT NULL AND name = 'pageview' AND path IN ('" + strings.Join(funnelPaths, "', '") + "')"
	text = "SELECT *, CASE WHEN step = 1 THEN t END AS entry FROM (" + text + ")"
	for i := range funnelPaths[1:] {
		text = fmt.Sprintf("SELECT visitor, seq, t, step, CASE WHEN step = %d THEN CASE WHEN t - open <= 3600000000 THEN open END ELSE entry END AS entry"+
			" FROM (SELECT *, max(CASE WHEN step = %d THEN entry END) %s AS open FROM (%s))", i+2, i+1, running, text)
	}
	return b.reached("SELECT visitor, max(step) AS reached FROM (" + text + ") WHERE entry IS NOT NULL GROUP BY visitor")
}

// reached counts the visitors that reached each step or further.
func (b behaviours) reached(text string) []int64 {
	figures := make([]int64, len(funnelPaths))
	var counts []string
	var into []any
	for i := range figures {
		counts = append(counts, fmt.Sprintf("count(*) FILTER (reached >= %d)", i+1))
		into = append(into, &figures[i])
	}
	b.ask("SELECT "+strings.Join(counts, ", ")+" FROM ("+text+")", func(rows *sql.Rows) error { return rows.Scan(into...) })
	return figures
}

const (
	weekly = int64(7 * 24 * time.Hour / time.Microsecond)
	grid   = 12
)

// weeks returns the local Mondays of the grid: so long ago that all of it is over.
func (b behaviours) weeks() (starts []int64) {
	zone := zoneOfYear(b.t)
	monday := event.StartOf(time.Now().In(zone), event.Weekly).AddDate(0, 0, -7*(2*grid+1))
	for i := range 2*grid + 1 {
		starts = append(starts, monday.AddDate(0, 0, 7*i).UnixMicro())
	}
	return starts
}

func (b behaviours) retention() (figures []int64) {
	weeks := b.weeks()
	a, err := b.s.Retention(b.t.Context(), event.Retention{
		Scope:    event.Scope{Site: yearSite, Zone: zoneOfYear(b.t), From: weeks[0], To: weeks[grid], Unit: event.PerUser},
		Interval: event.Weekly, Periods: grid,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range a.Cohorts {
		for _, n := range c.Retained {
			figures = append(figures, *n)
		}
	}
	return figures
}

// retentionSQL moves events after the clock change, if there is one, so that all weeks
// are of one length.
func (b behaviours) retentionSQL() (figures []int64) {
	weeks := b.weeks()
	t := "epoch_us(time)"
	for i, start := range weeks[1:] {
		if change := start - weeks[i] - weekly; change != 0 {
			t = fmt.Sprintf("(%s - CASE WHEN epoch_us(time) >= %d THEN %d ELSE 0 END)", t, start, change)
		}
	}
	figures = make([]int64, grid*grid)
	text := fmt.Sprintf(`SELECT cohort, week - cohort, count(DISTINCT "user") FROM (
		SELECT "user", week, min(week) OVER (PARTITION BY "user") AS cohort FROM (
			SELECT "user", floor((%s - %d) / %d)::BIGINT AS week FROM events WHERE "user" IS NOT NULL AND epoch_us(time) < %d
		)
	) WHERE cohort BETWEEN 0 AND %d AND week - cohort < %d GROUP BY ALL`, t, weeks[0], weekly, weeks[2*grid], grid-1, grid)
	b.ask(text, func(rows *sql.Rows) error {
		var cohort, period, n int64
		err := rows.Scan(&cohort, &period, &n)
		figures[cohort*grid+period] = n
		return err
	})
	return figures
}

// ask runs a statement on the events of the site.
func (b behaviours) ask(text string, scan func(*sql.Rows) error) {
	sn := b.s.Snapshot()
	defer sn.Release()
	conn, err := b.s.Conn(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close()
	err = query(b.t.Context(), conn, "WITH events AS NOT MATERIALIZED (SELECT * FROM "+sn.Relation(yearSite, 0, 0)+" WHERE site = '"+yearSite+"') "+text, scan)
	if err != nil {
		b.t.Fatal(err)
	}
}

func query(ctx context.Context, conn *sql.Conn, text string, scan func(*sql.Rows) error) error {
	rows, err := conn.QueryContext(ctx, text)
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
