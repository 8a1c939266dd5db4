package server_test

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestSpan is about ranges by the clock of the site: now is 14:30 on 15 July
// 2026 in Berlin, and past midnight of the 16th in Auckland.
func TestSpan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query, zone, from, to string // RFC 3339 without offset, in UTC
		days                  int
	}{
		{"period=today", "UTC", "2026-07-15T00:00:00Z", "2026-07-16T00:00:00Z", 1},
		{"period=day", "Europe/Berlin", "2026-07-14T22:00:00Z", "2026-07-15T22:00:00Z", 1},
		{"period=today", "Pacific/Auckland", "2026-07-15T12:00:00Z", "2026-07-16T12:00:00Z", 1},
		{"period=today", "Pacific/Honolulu", "2026-07-15T10:00:00Z", "2026-07-16T10:00:00Z", 1},
		{"period=yesterday", "Europe/Berlin", "2026-07-13T22:00:00Z", "2026-07-14T22:00:00Z", 1},
		{"period=7d", "UTC", "2026-07-09T00:00:00Z", "2026-07-16T00:00:00Z", 7},
		{"period=28d", "UTC", "2026-06-18T00:00:00Z", "2026-07-16T00:00:00Z", 28},
		{"period=30d", "UTC", "2026-06-16T00:00:00Z", "2026-07-16T00:00:00Z", 30},
		{"", "UTC", "2026-06-16T00:00:00Z", "2026-07-16T00:00:00Z", 30},
		{"period=90d", "UTC", "2026-04-17T00:00:00Z", "2026-07-16T00:00:00Z", 90},
		{"period=month", "Europe/Berlin", "2026-06-30T22:00:00Z", "2026-07-31T22:00:00Z", 31},
		{"period=year", "Europe/Berlin", "2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z", 365},
		{"period=12mo", "UTC", "2025-08-01T00:00:00Z", "2026-08-01T00:00:00Z", 365},
		{"start_date=2026-01-01&end_date=2026-01-01", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", 1},
		{"start_date=2024-02-28&end_date=2024-03-01", "UTC", "2024-02-28T00:00:00Z", "2024-03-02T00:00:00Z", 3},
		{"start_date=2026-01-01&end_date=2026-01-02&period=all", "UTC", "2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", 2},
		// A day of 23 and a day of 25 hours.
		{"start_date=2026-03-29&end_date=2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 1},
		{"start_date=2026-10-25&end_date=2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 1},
		// Midnight does not exist: the day begins at one.
		{"start_date=2018-11-04&end_date=2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", 1},
		{"start_date=2024-04-26&end_date=2024-04-26", "Africa/Cairo", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z", 1},
		// Midnight comes twice: at one the clock was put back to zero.
		{"start_date=2024-11-03&end_date=2024-11-03", "America/Havana", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 1},
		// The day before the gap ends at the gap; the doubled hour before midnight belongs to the old day.
		{"start_date=2018-11-03&end_date=2018-11-03", "America/Sao_Paulo", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z", 1},
		{"start_date=2018-02-17&end_date=2018-02-17", "America/Sao_Paulo", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z", 1},
	} {
		q, _ := url.ParseQuery(c.query)
		from, to, days, err := server.Span(q, zone(t, c.zone), now)
		if err != nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		gotFrom, gotTo := time.UnixMicro(from).UTC().Format(time.RFC3339), time.UnixMicro(to).UTC().Format(time.RFC3339)
		if gotFrom != c.from || gotTo != c.to || days != c.days {
			t.Errorf("%s in %s: %s to %s, %d days; want %s to %s, %d", c.query, c.zone, gotFrom, gotTo, days, c.from, c.to, c.days)
		}
	}
	from, to, days, err := server.Span(url.Values{"period": {"all"}}, time.UTC, now)
	if from != 0 || to != 0 || days != 0 || err != nil {
		t.Errorf("all: %d to %d, %d days, %v", from, to, days, err)
	}
}

// TestDaysMeet walks through twenty years of every awkward zone: each day must
// end where the next begins, and begin on its own date.
func TestDaysMeet(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/Sao_Paulo", "Africa/Cairo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "America/Asuncion", "Atlantic/Azores", "Asia/Amman", "Pacific/Auckland"} {
		z := zone(t, name)
		var before int64
		for d := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2025; d = d.AddDate(0, 0, 1) {
			date := d.Format(time.DateOnly)
			from, to, _, err := server.Span(url.Values{"start_date": {date}, "end_date": {date}}, z, now)
			if err != nil {
				t.Fatal(err)
			}
			first, last := time.UnixMicro(from).In(z), time.UnixMicro(from-1).In(z)
			if first.Format(time.DateOnly) != date || last.Format(time.DateOnly) == date {
				t.Errorf("%s: %s begins at %s, just before it is %s", name, date, first, last)
			}
			if before != 0 && from != before {
				t.Errorf("%s: %s begins at %s, the day before ended at %s", name, date, first, time.UnixMicro(before).In(z))
			}
			before = to
		}
	}
}

func TestStatsRefuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		target string
		status int
		code   string
	}{
		{"main", 400, "parameter"},
		{"main?site_id=", 400, "parameter"},
		{"main?site_id=example.com&site_id=other.com", 400, "parameter"},
		{"main?site_id=nowhere.com", 404, "unknown_site"},
		{"main?site_id=example.com&period=8d", 400, "period"},
		{"main?site_id=example.com&start_date=2026-01-01", 400, "range"},
		{"main?site_id=example.com&end_date=2026-01-01", 400, "range"},
		{"main?site_id=example.com&start_date=2026-01-02&end_date=2026-01-01", 400, "range"},
		{"main?site_id=example.com&start_date=2026-02-30&end_date=2026-03-01", 400, "range"},
		{"main?site_id=example.com&start_date=0001-01-01&end_date=2026-03-01", 400, "range"},
		{"timeseries?site_id=example.com&interval=second", 400, "interval"},
		{"timeseries?site_id=example.com&interval=hour&period=year", 400, "interval"},
		{"timeseries?site_id=example.com&interval=hour&period=all", 400, "interval"},
		{"breakdown/page?site_id=example.com&limit=0", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=1001", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=-1", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=99999999999999999999", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=1e2", 400, "parameter"},
		{"breakdown/page?site_id=example.com&page=0", 400, "parameter"},
		{"breakdown/", 404, "not_found"},
		{"export?site_id=example.com&format=xlsx", 400, "format"},
		{"export?site_id=example.com&after=-1", 400, "parameter"},
	} {
		w := r.do("GET", "/api/stats/"+c.target, "")
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s, want %d %s", c.target, w.Code, w.Body, c.status, c.code)
		}
	}
	for err, status := range map[error]int{
		event.ErrBusy: 429, &event.QueryError{Message: "no such dimension"}: 422, errors.New("x"): 500,
	} {
		r.err = err
		for _, target := range []string{"main?", "timeseries?", "breakdown/page?", "export?"} {
			if w := r.do("GET", "/api/stats/"+target+"site_id=example.com", ""); w.Code != status || strings.Contains(w.Header().Get("Content-Disposition"), "attachment") {
				t.Errorf("%s with %v: %d %v, want %d", target, err, w.Code, w.Header(), status)
			}
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	totals := event.Totals{Visitors: 1, Visits: 2, Pageviews: 3, Events: 4, ViewsPerVisit: 1.5, BounceRate: 50, VisitDuration: 12.5}
	const figures = `"visitors":1,"visits":2,"pageviews":3,"events":4,"views_per_visit":1.5,"bounce_rate":50,"visit_duration":12.5`
	r.totals = totals
	r.parts = []event.Part{
		{Path: "sound", Sites: []string{"example.com"}, MaxTime: math.MaxInt64},
		{Path: "damaged", Sites: []string{"example.com"}, MinTime: now.UnixMicro(), MaxTime: now.UnixMicro(), Damaged: "x"},
		{Path: "of another site", Sites: []string{"other.com"}, MinTime: now.UnixMicro(), MaxTime: now.UnixMicro(), Damaged: "x"},
		{Path: "of another time", Sites: []string{"example.com"}, MinTime: 1, MaxTime: 2, Damaged: "x"},
	}
	w := r.do("GET", "/api/stats/main?site_id=example.com&period=today", "")
	if got, want := w.Body.String(), `{"site_id":"example.com","timezone":"Europe/Berlin","start_date":"2026-07-15","end_date":"2026-07-15","degraded":["damaged"],"results":{`+figures+"}}\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.asked.Site != "example.com" || r.asked.Zone.String() != "Europe/Berlin" || r.asked.To-r.asked.From != 24*3600e6 {
		t.Errorf("asked %+v", r.asked)
	}
	r.parts = nil

	r.points = []event.Point{{Time: time.Date(2026, 7, 14, 22, 0, 0, 0, time.UTC).UnixMicro(), Totals: totals}}
	for query, c := range map[string]struct{ interval, date string }{
		"period=today":              {"hour", "2026-07-15 00:00:00"},
		"period=30d":                {"day", "2026-07-15"},
		"period=all":                {"month", "2026-07-15"},
		"period=30d&interval=week":  {"week", "2026-07-15"},
		"period=year&interval=week": {"week", "2026-07-15"},
	} {
		got := into[struct {
			Interval string
			Results  []struct {
				Date     string
				Visitors int
			}
		}](t, r.do("GET", "/api/stats/timeseries?site_id=example.com&"+query, ""))
		if got.Interval != c.interval || r.interval != c.interval || len(got.Results) != 1 || got.Results[0].Date != c.date || got.Results[0].Visitors != 1 {
			t.Errorf("%s: %+v, asked for %s; want %+v", query, got, r.interval, c)
		}
	}

	r.rows = []event.Row{{Value: "/a", Totals: totals}, {Totals: totals}}
	w = r.do("GET", "/api/stats/breakdown/page?site_id=example.com&period=all&limit=2&page=3", "")
	if got, want := w.Body.String(), `{"site_id":"example.com","timezone":"Europe/Berlin","dimension":"page","limit":2,"page":3,"total_rows":42,"results":[{"value":"/a",`+figures+`},{"value":null,`+figures+"}]}\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if r.dim != "page" || r.limit != 2 || r.offset != 4 {
		t.Errorf("asked for %s, %d rows from %d", r.dim, r.limit, r.offset)
	}
	r.rows, r.points = nil, nil
	for _, target := range []string{"timeseries", "breakdown/page"} {
		if w := r.do("GET", "/api/stats/"+target+"?site_id=example.com", ""); !strings.Contains(w.Body.String(), `"results":[]`) {
			t.Errorf("%s of nothing is %s", target, w.Body)
		}
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.export = func(w io.Writer) (int64, int64, error) {
		_, err := io.WriteString(w, "rows")
		return 4, 77, err
	}
	w := r.do("GET", "/api/stats/export?site_id=example.com&format=csv&after=5&start_date=2026-07-01&end_date=2026-07-02", "")
	want(t, w, 200, "")
	res := w.Result()
	if got, want := w.Header().Get("Content-Disposition"), `attachment; filename="eider-example.com-2026-07-01-2026-07-02.csv"`; got != want {
		t.Errorf("disposition %s, want %s", got, want)
	}
	if w.Body.String() != "rows" || res.Trailer.Get("X-Eider-Rows") != "4" || res.Trailer.Get("X-Eider-Last-Seq") != "77" {
		t.Errorf("body %q, trailers %v", w.Body, res.Trailer)
	}
	if r.exported.After != 5 || r.exported.Format != "csv" || r.exported.To-r.exported.From != 48*3600e6 {
		t.Errorf("asked for %+v", r.exported)
	}
	for format, kind := range map[string]string{"json": "application/json", "ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet", "arrow": "application/vnd.apache.arrow.stream", "": "application/x-ndjson"} {
		w := r.do("GET", "/api/stats/export?site_id=example.com&format="+format, "")
		if w.Code != 200 || w.Header().Get("Content-Type") != kind || r.exported.From != 0 || r.exported.To != 0 {
			t.Errorf("%s: %d %v, asked for %+v", format, w.Code, w.Header(), r.exported)
		}
	}
	r.exported = event.ExportQuery{}
	if w := r.do("HEAD", "/api/stats/export?site_id=example.com", ""); w.Code != 200 || r.exported.Site != "" {
		t.Errorf("HEAD: %d, asked for %+v", w.Code, r.exported)
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sql = event.SQLResult{
		Columns:   []event.SQLColumn{{Name: "a", Type: "VARCHAR"}, {Name: "=b", Type: "DOUBLE"}},
		Rows:      [][]any{{"=1+1", 1.5}, {nil, math.NaN()}, {"-1.50", int64(3)}},
		Truncated: true,
	}
	csv := r.do("POST", "/api/sql?format=csv", `{"query": "SELECT 1", "max_rows": 5, "timeout": 2}`, "Content-Type: application/json")
	want(t, csv, 200, "")
	if got, want := csv.Body.String(), "a,'=b\n'=1+1,1.5\n,NaN\n-1.50,3\n"; got != want || csv.Header().Get("X-Eider-Truncated") != "true" {
		t.Errorf("got %q, want %q", got, want)
	}
	if r.body != "SELECT 1" || r.sqlOpts.MaxRows != 5 || r.sqlOpts.Timeout != 2*time.Second {
		t.Errorf("asked %q with %+v", r.body, r.sqlOpts)
	}
	w := r.do("POST", "/api/sql", `{"query": "SELECT 1"}`, "Content-Type: application/json")
	if got, want := w.Body.String(), `{"columns":[{"name":"a","type":"VARCHAR"},{"name":"=b","type":"DOUBLE"}],"rows":[["=1+1",1.5],[null,null],["-1.50",3]],"truncated":true}`+"\n"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.sql = event.SQLResult{}
	if w := r.do("POST", "/api/sql", `{"query": "x"}`, "Content-Type: application/json"); !strings.Contains(w.Body.String(), `"rows":[]`) {
		t.Errorf("no rows are %s", w.Body)
	}
	for _, c := range []struct {
		body, kind string
		status     int
		code       string
	}{
		{`{"query": ""}`, "application/json", 422, "bad_query"},
		{`{"query": "x", "max_rows": -1}`, "application/json", 422, "bad_query"},
		{`{"query": "x", "max_rows": 1000000}`, "application/json", 422, "bad_query"},
		{`{"query": "x", "timeout": 3600}`, "application/json", 422, "bad_query"},
		{`{"query": "x"}`, "text/plain", 415, "media_type"},
		{`{"query": "x"}`, "", 415, "media_type"},
		{`{"query": "x", "file": "y"}`, "application/json", 400, "invalid"},
		{`{"query": "x"}{}`, "application/json", 400, "invalid"},
		{`{"query": 1e999}`, "application/json", 400, "invalid"},
		{`{"max_rows": 1e999}`, "application/json", 400, "invalid"},
		{strings.Repeat("[", 60_000), "application/json", 400, "invalid"},
		{`{"query": "` + strings.Repeat("x", 64<<10) + `"}`, "application/json", 413, "too_large"},
		{"", "application/json", 400, "invalid"},
	} {
		header := []string{"X-None: x"}
		if c.kind != "" {
			header = append(header, "Content-Type: "+c.kind)
		}
		w := r.do("POST", "/api/sql", c.body, header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), `"code":"`+c.code+`"`) {
			t.Errorf("%.40s: %d %s, want %d %s", c.body, w.Code, w.Body, c.status, c.code)
		}
	}
	r.err = &event.QueryError{Message: "reading files is off"}
	w = r.do("POST", "/api/sql", `{"query": "x"}`, "Content-Type: application/json")
	want(t, w, 422, "bad_query")
}

// FuzzQuery sends any query string to every report: none may fail on our side.
func FuzzQuery(f *testing.F) {
	f.Add("site_id=example.com&period=7d")
	f.Add("site_id=example.com&start_date=9999-12-31&end_date=9999-12-31&limit=&page=%zz")
	r := newRig(f, func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"main", "timeseries", "breakdown/x", "export"} {
			req := httptest.NewRequest("GET", "/api/stats/"+path, nil)
			req.URL.RawQuery = query
			req.Header.Set("X-Api-Key", bootstrap)
			if w := r.serve(req); w.Code >= 500 {
				t.Fatalf("%s?%q: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
