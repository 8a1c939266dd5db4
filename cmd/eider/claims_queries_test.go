package main_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

var (
	askEvents = flag.Int("claims.events", 10_000_000, "how large a year the questions of TestClaims are about; a tenth of it is the other one")
	askDir    = flag.String("claims.dir", "", "keep the years in this `directory` and take those that are there")
)

// queries: the questions of a dashboard about a year, by this engine and by SQL
// that one would write for the same Parquet files.
func (c *claims) queries(t *testing.T) {
	t.Run("year", func(t *testing.T) {
		small, large := openArchive(t, *askEvents/10), openArchive(t, *askEvents)
		defer small.close()
		defer large.close()
		c.rolled(large)
		for _, months := range []int{1, 12} {
			c.dashboards(small, large, months)
			c.filtered(large, months)
		}
		c.behaviours(large)
	})
	t.Run("served", func(t *testing.T) {
		a := openArchive(t, *askEvents)
		a.close()
		c.overhead(t, a)
		c.asksConfined(t, a)
	})
	t.Run("writing", c.asksWhileWriting)
}

// An archive is a year that can be asked.
type archive struct {
	t      *testing.T
	dir    string
	events int
	ledger *ledger.Ledger
	store  *store.Store
	rolled time.Duration // how long the sums took; 0 if they were there already
	end    int64         // of the year, by the clock of its site
	zone   *time.Location
}

func openArchive(t *testing.T, events int) *archive {
	t.Helper()
	a := &archive{t: t, events: events, zone: zoneOfYear(t), end: event.DayOf(time.Now().UnixMicro()).Start()}
	parent := *askDir
	if parent == "" {
		parent = binaries // which goes when all tests have run
	}
	a.dir = filepath.Join(parent, fmt.Sprintf("year-%d-%s", events, event.DayOf(a.end)))
	if _, err := os.Stat(a.dir); err != nil {
		began := time.Now()
		if err := writeYear(t.Context(), a.dir, newYear(events, time.Now())); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d events made in %s", events, time.Since(began).Round(time.Second))
	}
	var err error
	if a.ledger, err = openLedger(t.Context(), a.dir); err != nil {
		t.Fatal(err)
	}
	a.store, err = store.Open(t.Context(), store.Options{Dir: a.dir, Ledger: a.ledger, MemoryLimit: 1 << 30, Threads: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done, err := a.store.Rollup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.Days > 0 {
		a.rolled = done.Elapsed
	}
	return a
}

func (a *archive) close() {
	a.t.Helper()
	if err := a.store.Close(); err != nil {
		a.t.Error(err)
	}
	if err := a.ledger.Close(); err != nil {
		a.t.Error(err)
	}
}

// rolled: what the sums of closed days take.
func (c *claims) rolled(a *archive) {
	size := fileSize(a.t, filepath.Join(a.dir, "lens.duckdb"))
	var parts int64
	for _, p := range partsOf(a.t, a.dir) {
		parts += p.Bytes
	}
	ratio := float64(size) / float64(parts)
	what := fmt.Sprintf("lens.duckdb with the rollups of a year of %s events", millions(a.events))
	if a.rolled != 0 {
		what += ", worked out in " + a.rolled.Round(time.Second/10).String()
	}
	c.add(what,
		fmt.Sprintf("%.0f MB", float64(size)/1e6), fmt.Sprintf("parts %.0f MB", float64(parts)/1e6), ratio, "< 1", ratio < 1)
}

func millions(n int) string { return fmt.Sprintf("%g M", float64(n)/1e6) }

// A question is one of a dashboard, and SQL for it.
type question struct {
	name string
	q    event.Query
	sql  string // of the relation events; "" if there is none to compare with
}

var (
	totalMetrics = []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.ViewsPerVisit, event.BounceRate, event.VisitDuration}
	topTens      = []event.Dimension{"path", "entry_path", event.ExitPath, "source", "channel", "utm_campaign", "country", "browser", "os", "device"}
)

// span returns the last months of the year, as whole days.
func (a *archive) span(months int) (from, to int64) {
	last := time.UnixMicro(a.end).In(a.zone)
	y, m, d := last.Date()
	end := time.Date(y, m, d, 0, 0, 0, 0, a.zone)
	return end.AddDate(0, 0, -map[int]int{1: 30, 12: 364}[months]).UnixMicro(), end.UnixMicro()
}

// dashboard returns what a dashboard asks: totals with those before, days, ten
// top tens, and who is there now.
func (a *archive) dashboard(months int) (list []question) {
	from, to := a.span(months)
	q := event.Query{Site: yearSite, From: from, To: to, Zone: a.zone}
	where := fmt.Sprintf(" FROM events WHERE time >= make_timestamptz(%d) AND time < make_timestamptz(%d)", from, to)
	const counts = "count(DISTINCT visitor), count(DISTINCT visit), count(*) FILTER (name = 'pageview')"
	totals := q
	totals.Metrics = totalMetrics
	list = append(list, question{"totals", totals, "SELECT " + counts + where})
	before := totals
	before.From, before.To = from-(to-from), from
	list = append(list, question{"totals before", before, ""})
	days := q
	days.Metrics, days.Dimensions = []event.Metric{event.Visitors, event.Pageviews}, []event.Dimension{event.Daytime}
	list = append(list, question{"days", days, "SELECT epoch_us(time) // 86400000000, " + counts + where + " GROUP BY 1"})
	for _, d := range topTens {
		top := q
		top.Metrics, top.Dimensions, top.Limit = []event.Metric{event.Visitors, event.Visits, event.Pageviews}, []event.Dimension{d}, 10
		text := "SELECT " + string(d) + ", " + counts + where + " GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
		if d == event.ExitPath {
			text = "SELECT exit_path, " + counts + " FROM (SELECT *, max_by(path, time) OVER (PARTITION BY visit) AS exit_path" + where + ") GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
		}
		list = append(list, question{string(d), top, text})
	}
	now := event.Query{Site: yearSite, From: a.end - 5*60*1_000_000, To: a.end, Zone: a.zone, Metrics: []event.Metric{event.Visitors}}
	return append(list, question{"realtime", now, ""})
}

// ask answers a question and says how long it took.
func (a *archive) ask(q event.Query) (*event.Answer, time.Duration) {
	a.t.Helper()
	began := time.Now()
	answer, err := a.store.Query(a.t.Context(), q)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer, time.Since(began)
}

// askSQL runs SQL on those of the same files that hold something of the range, with
// the same threads and memory.
func (a *archive) askSQL(text string, of event.Query) (rows [][]any, took time.Duration) {
	a.t.Helper()
	sn := a.store.Snapshot()
	defer sn.Release()
	conn, err := a.store.Conn(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	err = scanAll(a.t.Context(), conn, "WITH events AS NOT MATERIALIZED (SELECT * FROM "+sn.Relation(yearSite, of.From-3_600_000_000, of.To+86_400_000_000)+" WHERE site = '"+yearSite+"') "+text, &rows)
	if err != nil {
		a.t.Fatalf("%s: %v", text, err)
	}
	return rows, time.Since(began)
}

func scanAll(ctx context.Context, conn *sql.Conn, text string, into *[][]any) error {
	rows, err := conn.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		row, cells := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			cells[i] = &row[i]
		}
		if err := rows.Scan(cells...); err != nil {
			return err
		}
		*into = append(*into, row)
	}
	return rows.Err()
}

// set asks all of a dashboard some times, and returns how long it took as a
// whole, in the middle, and each question.
func (a *archive) set(list []question, rounds int) (whole time.Duration, each latencies) {
	a.t.Helper()
	var wholes latencies
	for range rounds {
		var sum time.Duration
		for _, x := range list {
			_, took := a.ask(x.q)
			sum += took
			each = append(each, took)
		}
		wholes = append(wholes, sum)
	}
	slices.Sort(wholes)
	slices.Sort(each)
	return wholes.at(.5), each
}

// dashboards: without a filter.
func (c *claims) dashboards(small, large *archive, months int) {
	list := large.dashboard(months)
	large.set(list, 2) // warm
	rounds := 20
	whole, each := large.set(list, rounds)
	period := map[int]string{1: "30 days", 12: "12 months"}[months]
	plans := map[string]int{}
	for _, x := range list {
		answer, took := large.ask(x.q)
		plans[answer.Plan]++
		large.t.Logf("%s, %s: %s by %s", period, x.name, took, answer.Plan)
	}
	c.add(fmt.Sprintf("whole dashboard, %d questions, %s of %s events, not cached; p50 %s and p95 %s a question", len(list), period, millions(large.events), ms(each.at(.5)), ms(each.at(.95))),
		ms(whole), "100 ms", whole.Seconds()/.1, "< 1", whole < 100*time.Millisecond)
	little, _ := small.set(small.dashboard(months), rounds)
	ratio := whole.Seconds() / little.Seconds()
	c.add(fmt.Sprintf("the same with ten times the events, %s", period), ms(whole), fmt.Sprintf("%s events %s", millions(small.events), ms(little)), ratio, "grows with days", ratio < 3)
	if months == 12 {
		c.naively(large, list)
	}
}

// naively: the same questions as count(distinct) on the same files.
func (c *claims) naively(a *archive, list []question) {
	var ours, theirs time.Duration
	least := 0.0
	for _, x := range list {
		if x.sql == "" {
			continue
		}
		var mine latencies
		for range 9 {
			_, took := a.ask(x.q)
			mine = append(mine, took)
		}
		slices.Sort(mine)
		_, took := a.askSQL(x.sql, x.q)
		ratio := took.Seconds() / mine.at(.5).Seconds()
		if least == 0 || ratio < least {
			least = ratio
		}
		a.t.Logf("naive %s: %s, ours %s: %.0f times", x.name, took, mine.at(.5), ratio)
		ours, theirs = ours+mine.at(.5), theirs+took
	}
	ratio := theirs.Seconds() / ours.Seconds()
	c.add(fmt.Sprintf("12 months of %s events, totals, days and ten top tens; the least of them %.0f times faster", millions(a.events), least),
		ms(ours), fmt.Sprintf("naive count(distinct) SQL %s", ms(theirs)), ratio, "≥ 50", ratio >= 50)
}

// filtered: with one and with two filters, against the best SQL we know for the
// same figures. The answers must be the same.
func (c *claims) filtered(a *archive, months int) {
	from, to := a.span(months)
	period := map[int]string{1: "30 days", 12: "12 months"}[months]
	german := event.Filter{Op: event.Is, Dimension: "country", Values: []string{"DE"}}
	docs := event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/docs/**"}}
	for _, f := range []struct {
		name             string
		filter           event.Filter
		visit, eventOnly string // SQL
	}{
		{"one filter", german, "country = 'DE'", "true"},
		{"two filters", event.Every(german, docs), "country = 'DE'", "starts_with(path, '/docs/')"},
	} {
		var ours, theirs time.Duration
		worst, worstOf := 0.0, ""
		for _, x := range handWritten(from, to, f.visit, f.eventOnly) {
			x.q.Site, x.q.From, x.q.To, x.q.Zone, x.q.Filter = yearSite, from, to, a.zone, f.filter
			us, them := time.Hour, time.Hour
			var answer *event.Answer
			var rows [][]any
			for range 5 {
				var took time.Duration
				answer, took = a.ask(x.q)
				us = min(us, took)
				rows, took = a.askSQL(x.sql, x.q)
				them = min(them, took)
			}
			sameFigures(a.t, x.name, answer, rows)
			ratio := us.Seconds() / them.Seconds()
			if ratio > worst {
				worst, worstOf = ratio, x.name
			}
			a.t.Logf("%s, %s, %s: %s, by hand %s: %.2f", period, f.name, x.name, us, them, ratio)
			ours, theirs = ours+us, theirs+them
		}
		ratio := ours.Seconds() / theirs.Seconds()
		c.add(fmt.Sprintf("%s of %s events with %s: totals, days, top pages and sources; the worst is %s with %.2f", period, millions(a.events), f.name, worstOf, worst),
			ms(ours), "SQL by hand "+ms(theirs), ratio, "≤ 1.2", ratio <= 1.2)
	}
}

// handWritten returns questions with the SQL that one would write who knows that
// visitors are of one day, and that the country is that of the whole visit.
func handWritten(from, to int64, visit, single string) []question {
	inside := fmt.Sprintf("time >= make_timestamptz(%d) AND time < make_timestamptz(%d)", from, to)
	began := fmt.Sprintf("visit_start >= make_timestamptz(%d) AND visit_start < make_timestamptz(%d)", from, to)
	around := fmt.Sprintf("time >= make_timestamptz(%d) AND time < make_timestamptz(%d)", from-3_600_000_000, to+86_400_000_000)
	match := visit + " AND " + single
	only := ""
	if single != "true" {
		only = " AND visit IN (SELECT visit FROM events WHERE " + around + " AND " + began + " AND " + match + ")"
	}
	return []question{
		{"totals", event.Query{Metrics: []event.Metric{event.Visitors, event.Pageviews, event.Visits, event.BounceRate, event.VisitDuration}},
			"SELECT visitors, views, visits, rate, duration FROM (SELECT count(DISTINCT visitor) AS visitors, count(*) FILTER (name = 'pageview') AS views FROM events WHERE " + inside + " AND " + match + ")," +
				" (SELECT count(*) AS visits, 100.0 * count(*) FILTER (views = 1 AND NOT active) / count(*) AS rate, avg(length) / 1e6 AS duration FROM (" +
				"SELECT count(*) FILTER (name = 'pageview') AS views, bool_or(interactive AND name <> 'pageview') AS active, epoch_us(max(time)) - epoch_us(min(time)) AS length" +
				" FROM events WHERE " + around + " AND " + began + " AND " + visit + only + " GROUP BY visit))"},
		{"days", event.Query{Metrics: []event.Metric{event.Visitors}, Dimensions: []event.Dimension{event.Month}},
			"SELECT epoch_us(date_trunc('month', (make_timestamp(epoch_us(time)) + INTERVAL 1 HOUR))), count(DISTINCT visitor) FROM events WHERE " + inside + " AND " + match + " GROUP BY 1 ORDER BY 1"},
		{"top pages", event.Query{Metrics: []event.Metric{event.Visitors, event.Pageviews}, Dimensions: []event.Dimension{"path"}, Limit: 10},
			"SELECT path, count(DISTINCT visitor), count(*) FILTER (name = 'pageview') FROM events WHERE " + inside + " AND " + match + " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"},
		{"top sources", event.Query{Metrics: []event.Metric{event.Visitors, event.Visits}, Dimensions: []event.Dimension{"source"}, Limit: 10},
			"SELECT source, visitors, visits FROM (SELECT coalesce(source, '') AS source, count(DISTINCT visitor) AS visitors FROM events WHERE " + inside + " AND " + match + " GROUP BY 1)" +
				" JOIN (SELECT coalesce(source, '') AS source, count(DISTINCT visit) AS visits FROM events WHERE " + around + " AND " + began + " AND " + match + " GROUP BY 1) USING (source) ORDER BY 2 DESC, 1 LIMIT 10"},
	}
}

// sameFigures compares an answer with rows, but for months, whose SQL knows no
// clock changes.
func sameFigures(t *testing.T, what string, a *event.Answer, rows [][]any) {
	t.Helper()
	if what == "days" {
		return
	}
	if len(a.Lines) != len(rows) {
		t.Fatalf("%s: %d lines, by hand %d", what, len(a.Lines), len(rows))
	}
	for i, l := range a.Lines {
		row := rows[i]
		if len(l.Values) == 1 && l.Values[0].Text != row[0] {
			t.Fatalf("%s: line %d is of %q, by hand %q", what, i, l.Values[0].Text, row[0])
		}
		for j, f := range l.Figures {
			got, want := float64(f.Int)+f.Float, 0.0
			switch v := row[len(l.Values)+j].(type) {
			case int64:
				want = float64(v)
			case float64:
				want = v
			}
			if got-want > 1e-6 || want-got > 1e-6 {
				t.Fatalf("%s: line %d has %v, by hand %v", what, i, l, row)
			}
		}
	}
}

// behaviours: a funnel and a grid of retention, against window functions.
func (c *claims) behaviours(a *archive) {
	b := behaviours{a.t, a.store, 3}
	for _, x := range []struct {
		what, against string
		ours, theirs  func() []int64
		limit         float64 // 0: none
	}{
		{"funnel of five steps", "SQL with window functions, as one writes it", b.funnel, b.plainFunnelSQL, 3},
		{"funnel of five steps", "the best such SQL that we found", b.funnel, b.funnelSQL, 0},
		{"retention of users, twelve weeks", "SQL with window functions", b.retention, b.retentionSQL, 3},
	} {
		us, them := time.Hour, time.Hour
		for range b.rounds {
			began := time.Now()
			got := x.ours()
			us = min(us, time.Since(began))
			began = time.Now()
			want := x.theirs()
			them = min(them, time.Since(began))
			if !slices.Equal(got, want) {
				a.t.Fatalf("%s: %v, window functions %v", x.what, got, want)
			}
		}
		ratio := them.Seconds() / us.Seconds()
		limit := ""
		if x.limit > 0 {
			limit = fmt.Sprintf("≥ %g", x.limit)
		}
		c.add(fmt.Sprintf("%s over %s events", x.what, millions(a.events)), ms(us), x.against+" "+ms(them), ratio, limit, ratio >= x.limit)
	}
}

// yearRig is a rig on the directory of an archive.
func yearRig(t *testing.T, a *archive) *rig {
	r := claimRig(t)
	r.dir = a.dir
	return r
}

// v2 asks Plausible's API of a site.
func (d *daemon) v2(site, rest string) (rows []v2Row, err error) {
	status, text, err := d.ask(http.MethodPost, "/api/v2/query", "application/json", []byte(`{"site_id":"`+site+`",`+rest+`}`))
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%d %.300s", status, text)
	}
	var answer struct{ Results []v2Row }
	err = json.Unmarshal([]byte(text), &answer)
	return answer.Results, err
}

type v2Row struct {
	Dimensions []any
	Metrics    []float64
}

// year returns the dates of twelve months, as a request has them.
func (a *archive) year() string {
	from, to := a.span(12)
	day := func(t int64) string { return time.UnixMicro(t).In(a.zone).Format(time.DateOnly) }
	return `"date_range":["` + day(from) + `","` + day(to-1) + `"]`
}

// overhead: a request whose answer is known already: it is read, planned as far as
// the key of the cache, encoded and sent.
func (c *claims) overhead(t *testing.T, a *archive) {
	d := yearRig(t, a).start()
	defer d.stop()
	var took latencies
	for i := range 600 {
		began := time.Now()
		rows, err := d.v2(yearSite, `"metrics":["visitors","visits","pageviews","bounce_rate"],"dimensions":["visit:source"],"pagination":{"limit":10},`+a.year())
		if err != nil || len(rows) != 10 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if i >= 100 {
			took = append(took, time.Since(began))
		}
	}
	slices.Sort(took)
	p50 := took.at(.5)
	c.add(fmt.Sprintf("a query over HTTP whose answer is in the cache, with what the client does; p95 %s", ms(took.at(.95))), ms(p50), "1 ms", p50.Seconds()*1e3, "< 1", p50 < time.Millisecond)
}

// asksConfined: the most memory that a program has that is asked for twelve
// months with 256 MiB for everything.
func (c *claims) asksConfined(t *testing.T, a *archive) {
	const limit = 256 << 20
	r := yearRig(t, a)
	how := confine(r, limit)
	d := r.start()
	defer d.stop()
	began := time.Now()
	const rounds = 3
	for range rounds {
		for _, x := range []string{
			`"metrics":["visitors","visits","pageviews","views_per_visit","bounce_rate","visit_duration"]`,
			`"metrics":["visitors","pageviews"],"dimensions":["time:day"]`,
			`"metrics":["visitors"],"dimensions":["event:page"]`, `"metrics":["visitors"],"dimensions":["visit:entry_page"]`,
			`"metrics":["visitors"],"dimensions":["visit:exit_page"]`, `"metrics":["visitors"],"dimensions":["visit:source"]`,
			`"metrics":["visitors"],"dimensions":["visit:country"]`, `"metrics":["visitors"],"dimensions":["visit:browser"]`,
			`"metrics":["visitors"],"dimensions":["visit:device"]`,
			`"metrics":["visitors","bounce_rate"],"filters":[["is","visit:country",["DE"]]]`,
			`"metrics":["visitors","visits"],"dimensions":["visit:source"],"filters":[["is","visit:country",["DE"]],["contains","event:page",["/docs/"]]]`,
		} {
			if _, err := d.v2(yearSite, x+`,"pagination":{"limit":10},`+a.year()); err != nil {
				t.Errorf("%s: %v", x, err)
			}
		}
	}
	rss := d.peakRSS()
	t.Logf("%d rounds in %s", rounds, time.Since(began))
	c.add(fmt.Sprintf("peak RSS, 12 months of %s events asked for, without and with filters, %s", millions(a.events), how),
		fmt.Sprintf("%.0f MB", float64(rss)/1e6), "256 MiB", float64(rss)/limit, "≤ 1", rss <= limit)
}

// asksWhileWriting: a thousand queries a second while events come in as fast as
// they can.
func (c *claims) asksWhileWriting(t *testing.T) {
	const during, pace = time.Minute, 1000
	a := askWhileWriting(t, claimRig(t), during, pace)
	rate := float64(a.answered) / during.Seconds()
	c.add(fmt.Sprintf("queries a second for a minute while %.0f events a second come in; p50 %s, p99 %s, %d refused, %d torn", a.ingest, ms(a.took.at(.5)), ms(a.took.at(.99)), a.refused, a.torn),
		fmt.Sprintf("%.0f /s", rate), fmt.Sprintf("%d /s", pace), rate/pace, "≥ 0.99, none refused or torn", rate >= .99*pace && a.refused+a.torn == 0)
}

// TestAskWhileWriting asks while events come in as fast as they can: every
// question is answered, no answer counts more visitors than events, and no total
// ever falls. TestClaims does it for longer.
func TestAskWhileWriting(t *testing.T) {
	t.Parallel()
	a := askWhileWriting(t, newRig(t, normal, "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.0/8", "EIDER_PUBLISH_INTERVAL=1"), 4*time.Second, 100)
	if a.answered == 0 || a.refused > 0 || a.torn > 0 {
		t.Errorf("%d answers, %d refused, %d torn", a.answered, a.refused, a.torn)
	}
}

// asked is what came of asking while writing.
type asked struct {
	answered, refused, torn int
	took                    latencies
	ingest                  float64 // events a second
}

func askWhileWriting(t *testing.T, r *rig, during time.Duration, pace int) (sum asked) {
	t.Helper()
	d := r.start()
	defer d.stop()
	fireFor(t, time.Second, d.addr(), requests(8, 50), 0) // so that there is something
	now := time.Now().UTC()
	dates := `"date_range":["` + now.AddDate(0, 0, -1).Format(time.DateOnly) + `","` + now.AddDate(0, 0, 1).Format(time.DateOnly) + `"]`
	const askers = 16
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var number atomic.Int64
	began := time.Now()
	for range askers {
		wg.Go(func() {
			var mine asked
			floor := map[string][]float64{}
			for {
				n := number.Add(1)
				select {
				case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(pace)))):
				case <-ctx.Done():
					mu.Lock()
					defer mu.Unlock()
					sum.answered, sum.refused, sum.torn = sum.answered+mine.answered, sum.refused+mine.refused, sum.torn+mine.torn
					sum.took = append(sum.took, mine.took...)
					return
				}
				mine.once(d, dates, []string{"", `"dimensions":["visit:source"],`, `"filters":[["is","visit:device",["Desktop"]]],`}[n%3], floor)
			}
		})
	}
	s := fire(ctx, t, d.addr(), requests(32, 300), 0)
	wg.Wait()
	slices.Sort(sum.took)
	sum.ingest = s.rate()
	return sum
}

// once asks for totals, which must be at least those of the answer before.
func (a *asked) once(d *daemon, dates, more string, floor map[string][]float64) {
	began := time.Now()
	rows, err := d.v2(claimSite, `"metrics":["visitors","visits","pageviews","events"],`+more+dates)
	a.took = append(a.took, time.Since(began))
	if err != nil {
		if a.refused++; a.refused < 4 {
			d.Log(err)
		}
		return
	}
	a.answered++
	seen := map[string]bool{}
	for _, row := range rows {
		key := more + strings.TrimSpace(fmt.Sprint(row.Dimensions...))
		seen[key] = true
		torn := row.Metrics[0] > row.Metrics[3] || row.Metrics[2] > row.Metrics[3]
		for i, least := range floor[key] {
			torn = torn || row.Metrics[i] < least
		}
		if torn {
			if a.torn++; a.torn < 4 {
				d.Logf("%q: %v after %v", key, row.Metrics, floor[key])
			}
		}
		floor[key] = row.Metrics
	}
	for key := range floor {
		if strings.HasPrefix(key, more) && more != "" && !seen[key] {
			a.torn++
		}
	}
}
