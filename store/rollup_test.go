package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// site adds a site to the ledger, or gives it another zone.
func (r *rig) site(domain, zone string) *time.Location {
	r.t.Helper()
	at := ledger.Site{Domain: domain, Timezone: zone}
	err := r.ledger.AddSite(r.t.Context(), at)
	if errors.Is(err, ledger.ErrExists) {
		err = r.ledger.SetSite(r.t.Context(), at)
	}
	loc, zoneErr := time.LoadLocation(zone)
	if err := errors.Join(err, zoneErr); err != nil {
		r.t.Fatal(err)
	}
	return loc
}

func (r *rig) rollup() store.Rolled {
	r.t.Helper()
	done, err := r.store.Rollup(r.t.Context())
	if err != nil {
		r.t.Fatalf("%v\nlog:\n%s", err, r.log)
	}
	if done.Failed > 0 {
		r.t.Fatalf("%d spans could not be worked out; log:\n%s", done.Failed, r.log)
	}
	return done
}

// A sum is the figures of a value: visitors, pageviews, events, visits, views,
// bounces, length.
type sum [7]int64

// rawSums counts the days of a range one by one, as obviously as can be: the
// events of one day after the other are looked at from all others.
func rawSums(events []event.Event, q event.Query, dim event.Dimension) map[string]sum {
	starts, err := event.Buckets(q.From, q.To, q.Zone, event.Daily)
	if err != nil {
		panic(err)
	}
	visits := map[int64][]event.Event{}
	exits := map[int64]event.Event{}
	for _, e := range events {
		if e.Visit == 0 || e.Time < e.VisitStart-hour || e.Time >= e.VisitStart+day || e.Site != q.Site {
			continue
		}
		visits[e.Visit] = append(visits[e.Visit], e)
		last, ok := exits[e.Visit]
		if e.Name == event.Pageview && e.Path != "" && (!ok || e.Time > last.Time || e.Time == last.Time && e.Seq > last.Seq) {
			exits[e.Visit] = e
		}
	}
	value := func(e event.Event) string {
		switch dim {
		case "path":
			return e.Path
		case "source":
			return e.Source
		case "name":
			return e.Name
		case event.ExitPath:
			if e.Time < e.VisitStart-hour || e.Time >= e.VisitStart+day { // it has lost its visit
				return ""
			}
			return exits[e.Visit].Path
		case "screen":
			if e.Screen == 0 {
				return ""
			}
			return fmt.Sprint(e.Screen)
		}
		return ""
	}
	type who struct {
		day     int
		value   string
		visitor event.ID
	}
	sums, seen := map[string]sum{}, map[who]bool{}
	for _, e := range events {
		if e.Site != q.Site || e.Time < q.From || e.Time >= q.To {
			continue
		}
		v := value(e)
		s := sums[v]
		local, _ := slices.BinarySearch(starts, e.Time+1)
		if k := (who{local, v, e.Visitor}); e.Visitor != (event.ID{}) && !seen[k] {
			seen[k] = true
			s[0]++
		}
		if e.Name == event.Pageview {
			s[1]++
		}
		if e.Name != event.Engagement {
			s[2]++
		}
		sums[v] = s
	}
	for _, visit := range visits {
		if start := visit[0].VisitStart; start < q.From || start >= q.To {
			continue
		}
		var views, bounces int64
		active, first, last := false, visit[0].Time, visit[0].Time
		values := map[string]bool{}
		for _, e := range visit {
			if e.Name == event.Pageview {
				views++
			} else if e.Name != event.Engagement && e.Interactive {
				active = true
			}
			first, last = min(first, e.Time), max(last, e.Time)
			values[value(e)] = true
		}
		if views == 1 && !active {
			bounces = 1
		}
		for v := range values {
			s := sums[v]
			sums[v] = sum{s[0], s[1], s[2], s[3] + 1, s[4] + views, s[5] + bounces, s[6] + last - first}
		}
	}
	return sums
}

// checkCover compares what rollups say of a range, and what they leave to be read
// raw, with the events. It returns how many days were answered by rollups.
func (r *rig) checkCover(q event.Query, dim event.Dimension, monthly bool) int {
	r.t.Helper()
	days, diff := r.coverDiff(q, dim, monthly)
	if diff != "" {
		r.t.Fatalf("%s %s to %s in %s, months %t: want -, got +:\n%s", dim, time.UnixMicro(q.From).UTC(), time.UnixMicro(q.To).UTC(), q.Zone, monthly, diff)
	}
	return days
}

func (r *rig) coverDiff(q event.Query, dim event.Dimension, monthly bool) (int, string) {
	r.t.Helper()
	sn := r.store.Snapshot()
	defer sn.Release()
	table, raw, days, err := r.store.Cover(r.t.Context(), sn, q, dim, monthly)
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := r.rolled(table)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, span := range raw {
		if span[0] >= span[1] || i > 0 && span[0] <= raw[i-1][1] || span[0] < q.From || span[1] > q.To {
			r.t.Fatalf("raw ranges %v of %d to %d", raw, q.From, q.To)
		}
		rest := q
		rest.From, rest.To = span[0], span[1]
		for v, s := range rawSums(r.visible(), rest, dim) {
			t := got[v]
			for j := range s {
				t[j] += s[j]
			}
			got[v] = t
		}
	}
	return days, gocmp.Diff(rawSums(r.visible(), q, dim), got)
}

// rolled adds up what a cover's table holds.
func (r *rig) rolled(table string) (map[string]sum, error) {
	conn, err := r.store.Conn(r.t.Context())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rows, err := conn.QueryContext(r.t.Context(), "SELECT start, value, visitors, pageviews, events, visits, views, bounces, length FROM "+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	got := map[string]sum{}
	for rows.Next() {
		var start int64
		var v string
		var s sum
		if err := rows.Scan(&start, &v, &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &s[6]); err != nil {
			return nil, err
		}
		for i, n := range got[v] {
			s[i] += n
		}
		got[v] = s
	}
	return got, rows.Err()
}

// checkAll compares random ranges and dimensions, and returns how many days were
// answered by rollups.
func (r *rig) checkAll(rnd *rand.Rand, q event.Query, around int64) (days int) {
	r.t.Helper()
	for _, dim := range []event.Dimension{"", "path", "source", "name", event.ExitPath, "screen"} {
		q.From = around - rnd.Int64N(70*day)
		q.To = q.From + 1 + rnd.Int64N(90*day)
		if rnd.IntN(2) == 0 {
			y, m, d := time.UnixMicro(q.From).In(q.Zone).Date()
			q.From = event.StartOf(time.Date(y, m, d, 12, 0, 0, 0, q.Zone), event.Monthly).UnixMicro()
		}
		days += r.checkCover(q, dim, rnd.IntN(2) == 0)
	}
	return days
}

// TestRollupStory has the days of a story in full.
func TestRollupStory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.opts.Now = func() time.Time { return time.UnixMicro(midnight + 10*day) }
	r.reopen()
	r.site("a.example", "UTC")
	r.add(story()...)
	q := event.Query{Site: "a.example", From: midnight - day, To: midnight + 2*day, Zone: time.UTC}
	r.rollup()
	if n := r.checkCover(q, "", false); n != 0 {
		t.Errorf("%d days of hot rows are rolled up", n)
	}
	r.publish()
	if done := r.rollup(); done.Days < 3 {
		t.Errorf("rolled up %+v, want at least the three days", done)
	}
	if done := r.rollup(); done.Days+done.Months+done.Kept != 0 {
		t.Errorf("rolled up %+v again", done)
	}
	for _, dim := range []event.Dimension{"", "path", "source", event.ExitPath, "name", "hostname"} {
		if n := r.checkCover(q, dim, false); n != 3 {
			t.Errorf("%s: %d days are rolled up, want 3", dim, n)
		}
	}
	want := map[string]sum{"": {6, 9, 11, 5, 7, 2, (90 + 0 + 10 + 20 + 1800) * second}}
	sn := r.store.Snapshot()
	defer sn.Release()
	table, raw, _, err := r.store.Cover(t.Context(), sn, storyDay, "", false)
	if err != nil || len(raw) != 0 {
		t.Fatalf("%v is raw, %v", raw, err)
	}
	got, err := r.rolled(table)
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, want -, got +:\n%s", err, diff)
	}
	// Another zone, or one that the site does not have, is no reason to be wrong.
	for _, zone := range []string{"Asia/Kathmandu", "Europe/Berlin"} {
		q.Zone, _ = time.LoadLocation(zone)
		if n := r.checkCover(q, "path", false); n != 0 {
			t.Errorf("%d days of another zone are rolled up", n)
		}
	}
}

// TestRollupRandom does to a store what can be done to it, and compares what
// rollups and rows say with the events after each step.
func TestRollupRandom(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	place := places[rnd.IntN(len(places))]
	d, _ := event.ParseDay(place.day)
	around := d.Start()
	r.opts.Now = func() time.Time { return time.UnixMicro(around + 60*day) }
	r.reopen()
	q := event.Query{Site: "a.example", Zone: r.site("a.example", place.zone)}
	more := func(at int64) {
		events := visitsAround(rnd, q.Site, at, r.last*100)
		for i := range events {
			events[i].Screen = rnd.Int32N(3) * 100
		}
		r.append(events...)
	}
	steps, days := 60, 0
	if testing.Short() {
		steps = 20
	}
	for range 12 {
		more(around - rnd.Int64N(50*day))
	}
	for step := range steps {
		switch op := rnd.IntN(16); op {
		case 0, 1:
			more(around)
		case 2:
			more(around - rnd.Int64N(50*day))
		case 3, 4, 5, 6:
			r.flush(len(r.waiting))
			r.publish()
		case 7, 8, 9, 10:
			r.rollup()
		case 11:
			if _, err := r.store.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 12:
			e := store.Erasure{Site: q.Site, From: around - rnd.Int64N(40*day)}
			e.To = e.From + rnd.Int64N(3*day)
			if _, err := r.store.Erase(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			r.waiting, r.flushed = nil, r.last
			r.forget(func(x event.Event) bool { return x.Time >= e.From && x.Time < e.To })
		case 13:
			q.Zone = r.site(q.Site, places[rnd.IntN(len(places))].zone)
		case 14:
			r.reopen()
		case 15:
			r.close()
			if rnd.IntN(3) == 0 {
				os.Remove(filepath.Join(r.dir, "lens.duckdb"))
			}
			r.open()
		}
		days += r.checkAll(rnd, q, around)
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
	}
	if days == 0 {
		t.Error("no day was rolled up: nothing was tested")
	}
}

// TestRollupStale breaks what rollups rest on, one thing after the other, and
// looks how many days are still taken from them, and that none is wrong.
func TestRollupStale(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	rnd := seeded(t)
	q := event.Query{Site: "a.example", From: midnight - 20*day, To: midnight - 5*day, Zone: time.UTC}
	for d := range int64(25) {
		e := some(rnd, 10, 1)
		for i := range e {
			e[i].Site, e[i].Time = q.Site, midnight-(d+1)*day+int64(i)*hour
			e[i].Visit, e[i].VisitStart = r.last+1, midnight-(d+1)*day
		}
		r.add(e...)
	}
	look := func(what string, want int) {
		t.Helper()
		for _, dim := range []event.Dimension{"", "path", event.ExitPath} {
			if n := r.checkCover(q, dim, false); n != want {
				t.Errorf("%s: %d days of %q are rolled up, want %d", what, n, dim, want)
			}
		}
	}
	publish := func() { t.Helper(); r.publish(); r.rollup() }
	publish()
	look("all there", 15)
	at := func(d, offset int64) event.Event {
		e := some(rnd, 1, 1)[0]
		e.Site, e.Time = q.Site, midnight-d*day+offset
		return e
	}
	r.add(at(10, hour)) // it may be of a visit that has events on the day before
	look("a late event is hot", 13)
	r.publish()
	look("it is published", 12) // its part lies within a day of three
	r.rollup()
	look("its day is worked out", 15)
	other := at(10, hour)
	other.Site = "b.example"
	r.add(other)
	look("an event of another site", 15)
	publish()
	today := at(-1, -11*hour) // at one in the morning
	today.Visit, today.VisitStart = 99, today.Time
	r.add(today)
	q.To = midnight
	look("today", 20)
	r.publish()
	if done := r.rollup(); done.Days > 0 || done.Kept == 0 {
		t.Errorf("after a publish of today: %+v, want spans that are kept", done)
	}
	look("today is published", 20)
	r.site(q.Site, "Europe/Berlin")
	r.rollup()
	look("another zone", 0)
	if r.site(q.Site, "UTC"); r.rollup().Days < 20 {
		t.Error("the days of the old zone were still there")
	}
	look("the old zone", 20)

	r.reopen()
	look("reopened", 20)
	if done := r.rollup(); done.Days != 0 {
		t.Errorf("after a start: %+v", done)
	}
	if err := r.store.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("rebuilt", 0)
	r.rollup()
	look("rebuilt and rolled up", 20)
	r.close()
	if err := os.Remove(filepath.Join(r.dir, "lens.duckdb")); err != nil {
		t.Fatal(err)
	}
	r.open()
	look("no lens", 0)
	r.rollup()
	look("a new lens", 20)

	if _, err := r.store.Retain(t.Context(), event.DayOf(midnight-15*day)); err != nil {
		t.Fatal(err)
	}
	r.forget(func(e event.Event) bool { return e.Time < midnight-15*day })
	if done := r.rollup(); done.Removed == 0 {
		t.Errorf("after retention: %+v", done)
	}
	look("without the first days", 17) // all before them is nothing, and not looked up
	if err := r.ledger.RemoveSite(t.Context(), q.Site); err != nil {
		t.Fatal(err)
	}
	r.rollup()
	r.rollup() // rows go when nobody reads them, with the next pass
	if st := r.store.Stats(); st.Spans != 0 || rowsLeft(t, r) != 0 {
		t.Errorf("%d spans and %d rows of a site that is gone", st.Spans, rowsLeft(t, r))
	}
	schema := table(t, r.store, "SELECT rollups FROM lens.stamp")[0][0]
	if n := table(t, r.store, "SELECT count(*)::VARCHAR FROM lens."+schema+".texts")[0][0]; n != "1" {
		t.Errorf("%s texts of a site that is gone, want none but the one of nothing", n)
	}
}

// rowsLeft counts the rows of all tables of values.
func rowsLeft(t *testing.T, r *rig) (n int) {
	for _, row := range table(t, r.store, "SELECT table_schema, table_name FROM information_schema.tables WHERE table_catalog = 'lens' AND table_schema LIKE 'r%' AND table_schema <> 'rollups' AND table_name <> 'texts'") {
		var k int
		fmt.Sscan(table(t, r.store, `SELECT count(*) FROM lens.`+row[0]+`."`+row[1]+`"`)[0][0], &k)
		n += k
	}
	return n
}

// TestRollupDamaged has a part of the middle lost and found again.
func TestRollupDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	for d := range int64(12) {
		e := some(rand.New(rand.NewPCG(1, uint64(d))), 3, 1)
		for i := range e {
			e[i].Site, e[i].Time = "a.example", midnight-(d+1)*day+hour
		}
		r.add(e...)
	}
	r.publish()
	r.rollup()
	q := event.Query{Site: "a.example", From: midnight - 12*day, To: midnight, Zone: time.UTC}
	if n := r.checkCover(q, "path", false); n != 12 {
		t.Fatalf("%d days are rolled up, want 12", n)
	}
	files, _ := filepath.Glob(filepath.Join(r.dir, "events", "date=2026-03-04", "*"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.Rename(files[0], files[0]+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.days(q); n >= 12 || n < 7 {
		t.Errorf("%d days are rolled up of 12, one of which is damaged", n)
	}
	r.rollup()
	if err := os.Rename(files[0]+".away", files[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Recheck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.checkCover(q, "path", false); n != 12 {
		t.Errorf("%d days are rolled up, want 12", n)
	}
}

// days returns how many days of a range are rolled up.
func (r *rig) days(q event.Query) int {
	r.t.Helper()
	sn := r.store.Snapshot()
	defer sn.Release()
	_, _, days, err := r.store.Cover(r.t.Context(), sn, q, "path", false)
	if err != nil {
		r.t.Fatal(err)
	}
	return days
}

// TestRollupBroken is the negative control: one figure of one row is wrong, and
// the comparison of the other tests must see it.
func TestRollupBroken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	e := some(seeded(t), 200, 3)
	for i := range e {
		e[i].Site = "a.example"
	}
	r.add(e...)
	r.publish()
	r.rollup()
	q := event.Query{Site: "a.example", From: midnight - 2*day, To: midnight, Zone: time.UTC}
	if n, diff := r.coverDiff(q, "path", false); n != 2 || diff != "" {
		t.Fatalf("%d days, want 2:\n%s", n, diff)
	}
	schema := table(t, r.store, "SELECT rollups FROM lens.stamp")[0][0]
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	name := "lens." + schema + ".sums_path"
	if _, err := conn.ExecContext(t.Context(), "UPDATE "+name+" SET visitors = visitors + 1 WHERE rowid = (SELECT min(rowid) FROM "+name+
		fmt.Sprintf(" WHERE dim = 1 AND start >= %d AND start < %d)", q.From, q.To)); err != nil {
		t.Fatal(err)
	}
	if _, diff := r.coverDiff(q, "path", false); diff == "" {
		t.Error("a wrong figure was not noticed")
	}
}

// TestRollupReplaced asks for a cover, has its days replaced, and then reads it: it
// must be what it was as long as the snapshot is held, also after a pass that
// deletes what is dead; and an error when the lens has gone.
func TestRollupReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	rnd := seeded(t)
	more := func() {
		e := some(rnd, 100, 3)
		for i := range e {
			e[i].Site, e[i].Path = "a.example", fmt.Sprint(i%7)
		}
		r.add(e...)
		r.publish()
		r.rollup()
	}
	more()
	q := event.Query{Site: "a.example", From: midnight - 2*day, To: midnight, Zone: time.UTC}
	want := rawSums(r.visible(), q, "path")
	sn := r.store.Snapshot()
	defer sn.Release()
	table, raw, days, err := r.store.Cover(t.Context(), sn, q, "path", false)
	if err != nil || days != 2 || len(raw) != 0 {
		t.Fatal(days, raw, err)
	}
	for range 3 {
		more()
		got, err := r.rolled(table)
		if diff := gocmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v, want -, got +:\n%s", err, diff)
		}
	}
	if n := r.checkCover(q, "path", false); n != 2 {
		t.Errorf("%d days of a new snapshot are rolled up, want 2", n)
	}
	before := rowsLeft(t, r)
	sn.Release()
	r.rollup()
	if after := rowsLeft(t, r); after >= before {
		t.Errorf("%d rows, %d before the snapshot was released", after, before)
	}
	if st := r.store.Stats(); int64(rowsLeft(t, r)) != st.SpanRows {
		t.Errorf("%d rows, the spans have %d", rowsLeft(t, r), st.SpanRows)
	}
	sn = r.store.Snapshot()
	defer sn.Release()
	if table, _, _, err = r.store.Cover(t.Context(), sn, q, "path", false); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.rollup()
	if got, err := r.rolled(table); err == nil {
		t.Errorf("the cover of a lens that is gone gave %v", got)
	}
}

// TestRollupMonths adds months up from days, and takes them where they are whole.
func TestRollupMonths(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	zone := r.site("a.example", "America/New_York")
	rnd := seeded(t)
	e := some(rnd, 3000, 100)
	for i := range e {
		e[i].Site, e[i].Path = "a.example", fmt.Sprint(rnd.IntN(5))
		if i%3 == 0 {
			e[i].Visit, e[i].VisitStart = int64(i+1), e[i].Time
		}
	}
	r.add(e...)
	r.publish()
	if done := r.rollup(); done.Months < 2 {
		t.Errorf("%+v, want at least January and February", done)
	}
	from := time.Date(2025, 12, 31, 0, 0, 0, 0, zone).UnixMicro()
	q := event.Query{Site: "a.example", From: from, To: time.Date(2026, 3, 3, 5, 0, 0, 0, zone).UnixMicro(), Zone: zone}
	if n := r.checkCover(q, "path", true); n != 1+31+28+2 {
		t.Errorf("%d days are rolled up, want 62", n)
	}
	sn := r.store.Snapshot()
	defer sn.Release()
	q.Dimensions = []event.Dimension{event.Month}
	sums, _, _, err := r.store.Cover(t.Context(), sn, q, "path", true)
	if err != nil {
		t.Fatal(err)
	}
	if n := table(t, r.store, "SELECT count(DISTINCT start)::VARCHAR FROM "+sums)[0][0]; n != "5" {
		t.Errorf("%s spans are read, want a day, two months and two days: %s", n, sums)
	}
}

// TestSpansIn asks for random spans, few runs of them or many.
func TestSpansIn(t *testing.T) {
	t.Parallel()
	r, rnd := newRig(t), seeded(t)
	for range 200 {
		var ids []int64
		for id, in := int64(0), false; id < 200; id++ {
			if rnd.IntN(1+rnd.IntN(30)) == 0 {
				in = !in
			}
			if in {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			continue
		}
		want := fmt.Sprint(ids)
		rnd.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		cond := store.SpansIn(ids)
		got := table(t, r.store, "SELECT array_to_string(list(span ORDER BY span), ' ') FROM range(-10, 300) AS spans(span) WHERE "+cond)[0][0]
		if "["+got+"]" != want {
			t.Fatalf("%s holds for [%s], want %s", cond, got, want)
		}
	}
}

// TestRollupTail has a dimension with a value for every event: it is not rolled up,
// all others are.
func TestRollupTail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	e := some(seeded(t), 2000, 1)
	for i := range e {
		e[i].Site, e[i].Time, e[i].Path, e[i].Source = "a.example", midnight-1-int64(i), fmt.Sprint(i), fmt.Sprint(i%50)
	}
	e[0].Visit, e[0].VisitStart = 1, midnight-3*day
	r.add(e...)
	r.publish()
	r.rollup()
	q := event.Query{Site: "a.example", From: midnight - day, To: midnight, Zone: time.UTC}
	for dim, want := range map[event.Dimension]int{"": 1, "source": 1, "name": 1, "path": 0, event.ExitPath: 1, "props": 0} {
		if n := r.checkCover(q, dim, false); n != want {
			t.Errorf("%q: %d days are rolled up, want %d", dim, n, want)
		}
	}
	if st := r.store.Stats(); st.SpanRows > int64(len(e)) {
		t.Errorf("%d rows of %d events", st.SpanRows, len(e))
	}
}

// TestRollupRoom fills the room of a day with long tails: a dimension with few
// values is kept all the same, one more tail is not. A small day has more room than
// its events would give it.
func TestRollupRoom(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]int{"busy": 600, "small": 90} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.site("a.example", "UTC")
			e := some(seeded(t), events, 1)
			for i := range e {
				tail := fmt.Sprint(i % 300)
				e[i].Site, e[i].Time, e[i].Visit, e[i].VisitStart = "a.example", midnight-1-int64(i), 0, 0
				e[i].Path, e[i].Source, e[i].EntryPath, e[i].Referrer, e[i].Title = tail, tail, tail, fmt.Sprint(i%290), tail
				e[i].Screen = int32(i % 60)
			}
			r.add(e...)
			r.publish()
			r.rollup()
			q := event.Query{Site: "a.example", From: midnight - day, To: midnight, Zone: time.UTC}
			for dim, want := range map[event.Dimension]int{"path": 1, "source": 1, "screen": 1, "title": 0} {
				sn := r.store.Snapshot()
				_, _, n, err := r.store.Cover(t.Context(), sn, q, dim, false)
				sn.Release()
				if err != nil || n != want {
					t.Errorf("%s: %d days are rolled up, %v, want %d", dim, n, err, want)
				}
			}
			r.checkCover(q, "path", false)
			r.checkCover(q, "screen", false)
		})
	}
}

// TestReach compares what a reach says with every time it was told.
func TestReach(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	for range 200 {
		var reach store.Reach
		var times []int64
		for range rnd.IntN(40) {
			at := noon - rnd.Int64N(100*day)
			if rnd.IntN(20) == 0 {
				at = rnd.Int64() - rnd.Int64()
			}
			e := event.Event{Site: "a", Time: at, Visit: 1, VisitStart: at - rnd.Int64N(day)}
			times = append(times, e.Time, e.VisitStart)
			reach.Note([]event.Event{e})
		}
		for range 50 {
			start := noon - rnd.Int64N(120*day)
			stop := start + rnd.Int64N(2*day)
			near := slices.ContainsFunc(times, func(t int64) bool { return t+day > start && t-hour < stop })
			if near && !reach.Touches("a", start, stop) {
				t.Fatalf("%d to %d is not touched by %v", start, stop, times)
			}
			if reach.Touches("b", start, stop) {
				t.Fatal("another site is touched")
			}
		}
	}
}

// BenchmarkNote is what a flush does more, for 1,000 events.
func BenchmarkNote(b *testing.B) {
	e := some(rand.New(rand.NewPCG(1, 2)), 1000, 1)
	for i := range e {
		e[i].Time, e[i].Visit, e[i].VisitStart = noon+int64(i), 1, noon-int64(i)
	}
	for b.Loop() {
		var reach store.Reach
		reach.Note(e)
	}
}

// TestRollupBusy rolls up while events come, are published, compacted and asked
// for, and while the lens is thrown away: no answer is wrong, no flush waits long,
// and at the end all is rolled up.
func TestRollupBusy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	r.site("b.example", "Asia/Kathmandu")
	rnd := seeded(t)
	for range 10 {
		r.add(some(rnd, 50, 6)...)
	}
	r.publish()
	q := event.Query{Site: "a.example", From: midnight - 5*day, To: midnight, Zone: time.UTC}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	loop := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := f(); err != nil && !errors.Is(err, store.ErrLens) {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error { _, err := r.store.Rollup(t.Context()); return err })
	loop(func() error { _, err := r.store.Publish(t.Context()); return err })
	loop(func() error { _, err := r.store.Compact(t.Context()); return err })
	var seen int64
	loop(func() error { // days are added to, never taken from: what is counted does not fall
		sn := r.store.Snapshot()
		defer sn.Release()
		table, raw, _, err := r.store.Cover(t.Context(), sn, q, "path", false)
		if err != nil {
			return err
		}
		sums, err := r.rolled(table)
		if err != nil {
			return nil // the lens has gone
		}
		var n int64
		for _, s := range sums {
			n += s[2]
		}
		for _, span := range raw {
			for _, v := range tallyIn(t, r.store, sn, q.Site, span[0], span[1]) {
				n += v[0]
			}
		}
		if n < seen {
			t.Errorf("%d events, there were %d", n, seen)
		}
		seen = n
		return nil
	})
	for range 40 {
		r.append(some(rnd, 20, 6)...)
		r.flush(len(r.waiting))
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	r.publish()
	r.rollup()
	for _, dim := range []event.Dimension{"", "source"} {
		if n := r.checkCover(q, dim, false); n != 5 {
			t.Errorf("%q: %d days are rolled up, want 5", dim, n)
		}
	}
}

// TestRollupLarge has a day with more rows than are read into memory: each
// dimension is read from the parts by itself. The days beside it are small.
func TestRollupLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.site("a.example", "UTC")
	rnd := seeded(t)
	for range 10 {
		e := some(rnd, 7000, 1)
		for i := range e {
			visit := 1 + rnd.Int64N(9000)
			e[i].Site, e[i].Time = "a.example", midnight-day+visit*8*second+rnd.Int64N(hour)
			e[i].Visit, e[i].VisitStart, e[i].Visitor = visit, midnight-day+visit*8*second, event.ID{byte(visit >> 8), byte(visit), 1}
			e[i].Screen = rnd.Int32N(20)
		}
		r.add(e...)
		r.publish()
	}
	r.rollup()
	q := event.Query{Site: "a.example", From: midnight - 2*day, To: midnight, Zone: time.UTC}
	for _, dim := range []event.Dimension{"", "path", event.ExitPath, "screen"} {
		if n := r.checkCover(q, dim, false); n == 0 {
			t.Errorf("%q is not rolled up", dim)
		}
	}
}
