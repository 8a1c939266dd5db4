package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/storetest"
)

var sameNumbers = cmpopts.EquateApprox(1e-12, 1e-9)

// check asks every report about a random site and range.
func (r *trial) check() {
	r.t.Helper()
	r.checkState()
	q := r.query()
	m := r.model.about(q)
	main, err := storetest.Main(r.t.Context(), r.store, q)
	r.must(err)
	if diff := gocmp.Diff(m.totals(nil, q.From, q.To), main, sameNumbers); diff != "" {
		r.t.Errorf("main of %+v, want -, got +:\n%s", q, diff)
	}
	r.checkSeries(q, m)
	r.checkBreakdown(q, m)
	r.checkExport(event.ExportQuery{Site: q.Site, From: q.From, To: q.To, After: r.model.last - r.rnd.Int64N(r.model.last+100)})
	r.checkKnown(q.Site)
	if len(r.steps)%7 == 0 {
		r.checkAll()
	}
}

// checkState compares what there is: watermarks, rows, counts and files.
func (r *trial) checkState() {
	r.t.Helper()
	sn := r.store.Snapshot()
	defer sn.Release()
	if sn.Flushed() != r.model.flushed || sn.Published() != r.model.published || len(sn.Degraded()) > 0 {
		r.t.Errorf("flushed through %d, published through %d, damaged %v; want %d, %d and none",
			sn.Flushed(), sn.Published(), sn.Degraded(), r.model.flushed, r.model.published)
	}
	if diff := gocmp.Diff(r.model.counts(), r.countIn(sn)); diff != "" {
		r.t.Errorf("events, want -, got +:\n%s", diff)
	}
	c := r.ingest.Counts()
	if waiting := r.model.last - r.model.flushed; c.Accepted != r.model.accepted || int64(c.Buffered) != waiting {
		r.t.Errorf("%d accepted and %d buffered, want %d and %d", c.Accepted, c.Buffered, r.model.accepted, waiting)
	}
	parts, published, err := r.ledger.Parts(r.t.Context())
	r.must(err)
	var rows, want int64
	listed := make(map[string]bool)
	for _, p := range parts {
		rows += p.Rows
		listed[p.Path] = true
	}
	for _, e := range r.model.events {
		if e.Seq <= r.model.published {
			want++
		}
	}
	if rows != want || published != r.model.published {
		r.t.Errorf("parts hold %d events through %d, want %d through %d", rows, published, want, r.model.published)
	}
	if len(r.held) > 0 {
		return // files that are not listed any more may be kept
	}
	found := make(map[string]bool)
	r.must(fs.WalkDir(os.DirFS(r.dir), "events", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // nothing is published yet
		}
		if err == nil && !d.IsDir() {
			found[path] = true
		}
		return err
	}))
	if diff := gocmp.Diff(listed, found); diff != "" {
		r.t.Errorf("files, listed -, there +:\n%s", diff)
	}
}

// checkAll reads everything: all parts, all rows of all sites, and SQL.
func (r *trial) checkAll() {
	r.t.Helper()
	damaged, err := r.store.VerifyParts(r.t.Context(), nil)
	if err != nil || len(damaged) > 0 {
		r.t.Errorf("VerifyParts = %v, %v", damaged, err)
	}
	visits, events := make(map[int64]bool), r.model.visible()
	for _, e := range events {
		if e.Visit != 0 {
			visits[e.Visit] = true
		}
	}
	res, err := r.store.SQL(r.t.Context(), "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM visits), (SELECT count(*) FROM parts)", event.SQLOptions{})
	r.must(err)
	parts, _, err := r.ledger.Parts(r.t.Context())
	r.must(err)
	want := [][]any{{int64(len(events)), int64(len(visits)), int64(len(parts))}}
	if diff := gocmp.Diff(want, res.Rows); diff != "" {
		r.t.Errorf("SQL, want -, got +:\n%s", diff)
	}
	for _, s := range modelSites {
		r.checkExport(event.ExportQuery{Site: s.Domain})
	}
}

// query asks about a site and a range that begins or ends near some event.
func (r *trial) query() event.Query {
	q := event.Query{Site: r.site()}
	q.Zone = r.model.zones[q.Site]
	around := r.clock.Load()
	if e := r.model.any(r.rnd); e.Seq != 0 && r.rnd.IntN(2) == 0 {
		q.Site, around = e.Site, e.Time
		q.Zone = r.model.zones[q.Site]
	}
	q.From = around - r.rnd.Int64N(2*day)
	q.To = q.From + 1 + r.rnd.Int64N(3*day)
	switch r.rnd.IntN(6) {
	case 0:
		q.From, q.To = around, around+q.To-q.From // the very moment of an event
	case 1:
		q.To = around // which no longer belongs to it
		q.From = min(q.From, q.To-1)
	case 2:
		q.From = 0
	case 3:
		q.To = 0
	}
	return q
}

func (r *trial) checkSeries(q event.Query, m *answers) {
	r.t.Helper()
	interval := []string{"minute", event.Hourly, event.Daily, event.Weekly, event.Monthly}[r.rnd.IntN(5)]
	if interval == "minute" {
		if q.From == 0 || q.To == 0 || q.To-q.From > 3*hour {
			q.From = r.clock.Load() - 2*hour
			q.To = q.From + 3*hour
		}
		m = r.model.about(q)
	}
	points, err := storetest.Timeseries(r.t.Context(), r.store, q, interval)
	r.must(err)
	if diff := gocmp.Diff(m.points(interval), points, sameNumbers, cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("%+v by %s, want -, got +:\n%s", q, interval, diff)
	}
}

// modelDimensions are what breakdowns are by.
var modelDimensions = map[event.Dimension]func(*event.Event) string{
	"path":       func(e *event.Event) string { return e.Path },
	"entry_path": func(e *event.Event) string { return e.EntryPath },
	"hostname":   func(e *event.Event) string { return e.Hostname },
	"title":      func(e *event.Event) string { return e.Title },
	"source":     func(e *event.Event) string { return e.Source },
	"channel":    func(e *event.Event) string { return e.Channel },
	"utm_source": func(e *event.Event) string { return e.UTMSource },
	"browser":    func(e *event.Event) string { return e.Browser },
	"device":     func(e *event.Event) string { return e.Device },
	"country":    func(e *event.Event) string { return e.Country },
	"name":       func(e *event.Event) string { return e.Name },
	"via":        func(e *event.Event) string { return e.Via },
	"currency":   func(e *event.Event) string { return e.Currency },
	"exit_path":  nil, // needs the visit
}

func (r *trial) checkBreakdown(q event.Query, m *answers) {
	r.t.Helper()
	dims := slices.Sorted(maps.Keys(modelDimensions))
	for range 2 {
		dim := dims[r.rnd.IntN(len(dims))]
		rows, total, err := storetest.Breakdown(r.t.Context(), r.store, q, dim, 1000, 0)
		r.must(err)
		want := m.rows(dim)
		if diff := gocmp.Diff(want, rows, sameNumbers, cmpopts.EquateEmpty()); diff != "" || total != int64(len(want)) {
			r.t.Errorf("%s of %+v: %d values, want -, got +:\n%s", dim, q, total, diff)
		}
	}
}

func (r *trial) checkExport(q event.ExportQuery) {
	r.t.Helper()
	q.Format = event.FormatNDJSON
	var got bytes.Buffer
	rows, last, err := r.store.Export(r.t.Context(), &got, q)
	r.must(err)
	want := r.model.export(q)
	r.compareExport(fmt.Sprintf("export %+v", q), want, got.Bytes())
	through := q.After
	if len(want) > 0 {
		through = want[len(want)-1].Seq
	}
	if rows != int64(len(want)) || last != through {
		r.t.Errorf("export %+v = %d rows through %d, want %d through %d", q, rows, last, len(want), through)
	}
}

// compareExport reads NDJSON and compares all the columns of all its rows.
func (r *trial) compareExport(what string, want []event.Event, got []byte) {
	r.t.Helper()
	d := json.NewDecoder(bytes.NewReader(got))
	d.UseNumber()
	for i := range want {
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			r.t.Fatalf("%s: row %d of %d: %v", what, i+1, len(want), err)
		}
		if w := exported(&want[i]); !reflect.DeepEqual(w, row) {
			r.t.Fatalf("%s: row %d, want -, got +:\n%s", what, i+1, gocmp.Diff(w, row))
		}
	}
	if d.More() {
		r.t.Fatalf("%s has more than %d rows", what, len(want))
	}
}

// exported is a row of an export as JSON has it.
func exported(e *event.Event) map[string]any {
	row := make(map[string]any, len(event.Columns))
	for _, c := range event.Columns {
		row[c.Name] = nil
		if c.Null(e) {
			continue
		}
		switch c.Kind {
		case event.Text:
			row[c.Name] = c.Str(e)
		case event.JSON:
			var props map[string]any
			if err := json.Unmarshal([]byte(c.Str(e)), &props); err != nil {
				panic(err)
			}
			row[c.Name] = props
		case event.Time:
			row[c.Name] = time.UnixMicro(c.Num(e)).UTC().Format("2006-01-02T15:04:05.000000Z")
		case event.UUID:
			row[c.Name] = c.ID(e).String()
		case event.Bool:
			row[c.Name] = c.Num(e) != 0
		case event.Decimal:
			row[c.Name] = json.Number(strconv.FormatFloat(float64(c.Num(e))/event.RevenueScale, 'f', 4, 64))
		default:
			row[c.Name] = json.Number(strconv.FormatInt(c.Num(e), 10))
		}
	}
	return row
}

// checkKnown asks for ids that are there, that are elsewhere, and that nobody has.
func (r *trial) checkKnown(site string) {
	r.t.Helper()
	from := event.DayOf(r.clock.Load()) - event.Day(r.rnd.IntN(4))
	to := from + event.Day(r.rnd.IntN(3))
	ids, want := []event.ID{{1}, {}}, make(map[event.ID]bool)
	for range 20 {
		if e := r.model.any(r.rnd); !e.Dedupe.IsZero() {
			ids = append(ids, e.Dedupe)
		}
	}
	for _, e := range r.model.visible() {
		if d := event.DayOf(e.Time); e.Site == site && d >= from && d <= to && !e.Dedupe.IsZero() && slices.Contains(ids, e.Dedupe) {
			want[e.Dedupe] = true
		}
	}
	got, err := r.store.KnownIDs(r.t.Context(), site, from, to, ids)
	r.must(err)
	if diff := gocmp.Diff(want, got); diff != "" {
		r.t.Errorf("known ids of %s from %s to %s, want -, got +:\n%s", site, from, to, diff)
	}
}

// countIn counts the events of a snapshot by site.
func (r *trial) countIn(sn *store.Snapshot) map[string]counted {
	r.t.Helper()
	conn, err := r.store.Conn(r.t.Context())
	r.must(err)
	defer conn.Close()
	rows, err := conn.QueryContext(r.t.Context(), "SELECT site, count(*), sum(seq)::BIGINT FROM "+sn.Relation("", 0, 0)+" GROUP BY site")
	r.must(err)
	defer rows.Close()
	got := make(map[string]counted)
	for rows.Next() {
		var site string
		var c counted
		r.must(rows.Scan(&site, &c.Events, &c.Seqs))
		got[site] = c
	}
	r.must(rows.Err())
	return got
}

// counted says how many events there are, and which, nearly.
type counted struct{ Events, Seqs int64 }

func (m *model) counts() map[string]counted {
	counts := make(map[string]counted)
	for _, e := range m.visible() {
		c := counts[e.Site]
		counts[e.Site] = counted{c.Events + 1, c.Seqs + e.Seq}
	}
	return counts
}

// visible returns the events that reports show.
func (m *model) visible() []event.Event {
	n := len(m.events)
	for n > 0 && m.events[n-1].Seq > m.flushed {
		n--
	}
	return m.events[:n]
}

func within(t, from, to int64) bool { return (from == 0 || t >= from) && (to == 0 || t < to) }

func (m *model) export(q event.ExportQuery) (events []event.Event) {
	for _, e := range m.visible() {
		if e.Site == q.Site && e.Seq > q.After && within(e.Time, q.From, q.To) {
			events = append(events, e)
		}
	}
	return events
}

// answers answer questions about a site slowly.
type answers struct {
	q      event.Query
	events []event.Event
	visits map[int64][]event.Event // what is followed of each
}

func (m *model) about(q event.Query) *answers {
	a := &answers{q: q, visits: make(map[int64][]event.Event)}
	a.events = m.export(event.ExportQuery{Site: q.Site})
	for _, e := range a.events {
		if followed(&e) {
			a.visits[e.Visit] = append(a.visits[e.Visit], e)
		}
	}
	return a
}

// followed says whether an event counts for its visit.
func followed(e *event.Event) bool {
	return e.Visit != 0 && e.Time >= e.VisitStart-hour && e.Time < e.VisitStart+day
}

// totals counts the events that match in a range, and the visits that began in it
// and have such an event. A nil match is every event.
func (a *answers) totals(match func(event.Event) bool, from, to int64) (t storetest.Totals) {
	if match == nil {
		match = func(event.Event) bool { return true }
	}
	visitors := make(map[string]bool) // by local day
	for _, e := range a.events {
		if !within(e.Time, from, to) || !match(e) {
			continue
		}
		if !e.Visitor.IsZero() {
			visitors[e.Visitor.String()+time.UnixMicro(e.Time).In(a.q.Zone).Format(time.DateOnly)] = true
		}
		if e.Name == event.Pageview {
			t.Pageviews++
		}
		if e.Name != event.Engagement {
			t.Events++
		}
	}
	t.Visitors = int64(len(visitors))
	var views, bounces, length int64
	for _, visit := range a.visits {
		if !within(visit[0].VisitStart, from, to) || !slices.ContainsFunc(visit, match) {
			continue
		}
		v, l, bounced := summary(visit)
		t.Visits, views, length = t.Visits+1, views+v, length+l
		if bounced {
			bounces++
		}
	}
	if n := float64(t.Visits); n > 0 {
		t.ViewsPerVisit, t.BounceRate, t.VisitDuration = float64(views)/n, 100*float64(bounces)/n, float64(length)/1e6/n
	}
	return t
}

func summary(visit []event.Event) (views, length int64, bounced bool) {
	active, first, last := false, visit[0].Time, visit[0].Time
	for _, e := range visit {
		switch {
		case e.Name == event.Pageview:
			views++
		case e.Name != event.Engagement && e.Interactive:
			active = true
		}
		first, last = min(first, e.Time), max(last, e.Time)
	}
	return views, last - first, views == 1 && !active
}

// ends returns the range with its open ends at the first and past the last event.
func (a *answers) ends() (from, to int64, ok bool) {
	var first, last int64
	for _, e := range a.events {
		if within(e.Time, a.q.From, a.q.To) {
			if first == 0 || e.Time < first {
				first = e.Time
			}
			last = max(last, e.Time)
		}
	}
	from, to = cmp.Or(a.q.From, first), cmp.Or(a.q.To, last+1)
	return from, to, a.q.From != 0 && a.q.To != 0 || first != 0
}

// points walks through time and looks at the clock on the wall.
func (a *answers) points(interval string) (points []storetest.Point) {
	from, to, ok := a.ends()
	if !ok {
		return nil
	}
	layout := map[string]string{
		"minute": "2006-01-02 15:04 -07:00", event.Hourly: "2006-01-02 15 -07:00", event.Daily: time.DateOnly, event.Monthly: "2006-01",
	}[interval]
	shown := func(micros int64) string {
		t := time.UnixMicro(micros).In(a.q.Zone)
		if interval == event.Weekly {
			y, w := t.ISOWeek()
			return fmt.Sprint(y, w)
		}
		return t.Format(layout)
	}
	step := 15 * minute
	if interval == "minute" {
		step = minute
	}
	start := from - from%step
	for shown(start-step) == shown(start) {
		start -= step
	}
	for start < to {
		end := start + step
		for shown(end) == shown(start) {
			end += step
		}
		points = append(points, storetest.Point{Time: start, Totals: a.totals(nil, max(from, start), min(to, end))})
		start = end
	}
	return points
}

func (a *answers) rows(dim event.Dimension) (rows []storetest.Row) {
	value := modelDimensions[dim]
	if value == nil {
		exits := a.exits()
		value = func(e *event.Event) string {
			if !followed(e) {
				return ""
			}
			return exits[e.Visit]
		}
	}
	values := make(map[string]bool)
	for i := range a.events {
		e := &a.events[i]
		counts := within(e.Time, a.q.From, a.q.To) || followed(e) && within(e.VisitStart, a.q.From, a.q.To)
		if counts && (dim != "name" || e.Name != event.Engagement) {
			values[value(e)] = true
		}
	}
	for v := range values {
		rows = append(rows, storetest.Row{Value: v, Totals: a.totals(func(e event.Event) bool { return value(&e) == v }, a.q.From, a.q.To)})
	}
	slices.SortFunc(rows, func(x, y storetest.Row) int {
		return cmp.Or(-cmp.Compare(x.Visitors, y.Visitors), cmp.Compare(x.Value, y.Value))
	})
	return rows
}

// exits returns the path of the last pageview of each visit.
func (a *answers) exits() map[int64]string {
	last := make(map[int64]event.Event)
	for visit, events := range a.visits {
		for _, e := range events { // they come by Seq
			if e.Name == event.Pageview && e.Path != "" && e.Time >= last[visit].Time {
				last[visit] = e
			}
		}
	}
	exits := make(map[int64]string)
	for visit, e := range last {
		exits[visit] = e.Path
	}
	return exits
}
