package server_test

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http/httptest"
	"net/url"
	"slices"
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
		{"period=6mo", "UTC", "2026-02-01T00:00:00Z", "2026-08-01T00:00:00Z", 181},
		{"period=realtime", "Europe/Berlin", "2026-07-15T12:25:01Z", "2026-07-15T12:30:01Z", 1},
		{"period=30m", "UTC", "2026-07-15T12:00:01Z", "2026-07-15T12:30:01Z", 1},
		{"period=24h", "UTC", "2026-07-14T12:30:01Z", "2026-07-15T12:30:01Z", 2},
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
	r := newStats(t, "")
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
		{"main?site_id=example.com&start_date=1970-01-01&end_date=2970-01-01", 400, "range"},
		{"main?site_id=example.com&start_date=2026-01-01&end_date=2026-01-02&start_date=2026-01-01", 400, "range"},
		{"main?site_id=example.com&period=7d&period=all", 400, "range"},
		{"main?site_id=example.com&from=2026-01-01", 400, "parameter"},
		{"main?site_id=example.com&metrics=visitors,hits", 400, "metric"},
		{"main?site_id=example.com&metrics=visitors,visitors", 400, "metric"},
		{"main?site_id=example.com&metrics=,", 400, "metric"},
		{"main?site_id=example.com&metrics=conversion_rate", 422, "bad_query"},
		{"main?site_id=example.com&metrics=total_revenue", 422, "bad_query"},
		{"main?site_id=example.com&metrics=total_revenue&currency=EURO", 400, "parameter"},
		{"main?site_id=example.com&compare=last_week", 400, "parameter"},
		{"main?site_id=example.com&compare=previous_period&period=all", 400, "compare"},
		{"timeseries?site_id=example.com&interval=second", 400, "interval"},
		{"timeseries?site_id=example.com&interval=day&interval=hour", 400, "interval"},
		{"timeseries?site_id=example.com&interval=minute&period=7d", 400, "interval"},
		{"timeseries?site_id=example.com&interval=day&start_date=1970-01-01&end_date=2069-12-31", 422, "bad_query"},
		{"timeseries?site_id=example.com&interval=hour&period=year", 400, "interval"},
		{"timeseries?site_id=example.com&interval=hour&period=all", 400, "interval"},
		{"breakdown/page?site_id=example.com&limit=0", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=1001", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=-1", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=99999999999999999999", 400, "parameter"},
		{"breakdown/page?site_id=example.com&limit=1e2", 400, "parameter"},
		{"breakdown/page?site_id=example.com&page=0", 400, "parameter"},
		{"breakdown/page?site_id=example.com&sort=visits:up", 400, "parameter"},
		{"breakdown/page?site_id=example.com&sort=exit_rate", 400, "parameter"},
		{"breakdown/page?site_id=example.com&search=" + strings.Repeat("x", 2001), 400, "parameter"},
		{"breakdown/nothing?site_id=example.com", 422, "bad_query"},
		{"breakdown/visitor?site_id=example.com", 422, "bad_query"},
		{"breakdown/prop:?site_id=example.com", 422, "bad_query"},
		{"breakdown/goals?site_id=example.com&search=x", 400, "parameter"},
		{"realtime?site_id=example.com&period=7d", 400, "range"},
		{"realtime?site_id=example.com&minutes=61", 400, "parameter"},
		{"sessions?site_id=example.com&compare=x", 400, "parameter"},
		{"revenue?site_id=example.com&limit=0", 400, "parameter"},
		{"property-values?site_id=example.com", 400, "parameter"},
		{"property-values?site_id=example.com&key=" + strings.Repeat("x", 301), 422, "bad_query"},
		{"funnel?site_id=example.com", 400, "parameter"},
		{"funnel?site_id=example.com&steps=page:/a", 400, "steps"},
		{"funnel?site_id=example.com&steps=page:/a,", 400, "steps"},
		{"funnel?site_id=example.com&steps=page:/a,/b", 400, "steps"},
		{"funnel?site_id=example.com&steps=page:/a,goal:none", 422, "bad_query"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b*\\*", 400, "steps"},
		{"funnel?site_id=example.com&steps=" + strings.Repeat("page:/a,", 32) + "page:/b", 400, "steps"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&window=1", 400, "window"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&window=0+days", 400, "window"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&window=366+days", 400, "window"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&window=1+year", 400, "window"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&modes=lenient", 422, "bad_query"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&by=nothing", 422, "bad_query"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&any=yes", 400, "parameter"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&any=true", 422, "bad_query"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&over=minute", 400, "parameter"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&over=hour&period=all", 400, "interval"},
		{"funnel?site_id=example.com&steps=page:/a,page:/b&unit=session", 400, "parameter"},
		{"retention?site_id=example.com&weeks=1", 400, "parameter"},
		{"retention?site_id=example.com&weeks=4&n=4", 400, "parameter"},
		{"retention?site_id=example.com&weeks=4&interval=day", 400, "parameter"},
		{"retention?site_id=example.com&n=1000", 400, "parameter"},
		{"retention?site_id=example.com&by=visit", 422, "bad_query"},
		{"retention?site_id=example.com&interval=hour", 400, "parameter"},
		{"retention?site_id=example.com&start=/a", 400, "steps"},
		{"sequences?site_id=example.com&steps=page:/a", 400, "steps"},
		{"sequences?site_id=example.com&steps=page:/a,page:/b&pattern=" + strings.Repeat(".", 1001), 422, "bad_query"},
		{"flow?site_id=example.com&page=/a&start=page:/b", 400, "parameter"},
		{"flow?site_id=example.com&page=/a&direction=up", 400, "parameter"},
		{"flow?site_id=example.com&page=/a&steps=11", 400, "parameter"},
		{"flow?site_id=example.com&page=/a&limit=101", 400, "parameter"},
		{"flow?site_id=example.com&page=/a&by=goals", 422, "bad_query"},
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
		event.ErrBusy: 429, event.ErrMemory: 503, &event.QueryError{Message: "no such dimension"}: 422, errors.New("x"): 500,
	} {
		r.err = err
		for _, target := range append(slices.Clone(everyReport), "export?") {
			if w := r.do("GET", "/api/stats/"+target+"site_id=example.com", ""); w.Code != status || strings.Contains(w.Header().Get("Content-Disposition"), "attachment") {
				t.Errorf("%s with %v: %d %v, want %d", target, err, w.Code, w.Header(), status)
			}
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
	for _, c := range []struct{ query, accept, kind string }{
		{"?format=arrow", "text/csv", "application/vnd.apache.arrow.stream"},
		{"", "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"},
		{"", "text/html, text/csv;q=0.9, */*;q=0.1", "text/csv; charset=utf-8"},
		{"", "text/*", "text/csv; charset=utf-8"},
		{"", "text/csv;q=0, */*", "application/json"},
		{"?format=", "", "application/json"},
	} {
		r.sql.Arrow, r.sql.Count = []byte("ARROW"), 3
		w := r.do("POST", "/api/sql"+c.query, `{"query": "SELECT 1"}`, "Content-Type: application/json", "Accept: "+c.accept)
		arrow := c.kind == "application/vnd.apache.arrow.stream"
		if w.Code != 200 || w.Header().Get("Content-Type") != c.kind || r.sqlOpts.Arrow != arrow || arrow != (w.Body.String() == "ARROW") ||
			w.Header().Get("X-Eider-Rows") != "3" || w.Header().Get("X-Eider-Truncated") != "true" {
			t.Errorf("%s with Accept %q: %d %v %s", c.query, c.accept, w.Code, w.Header(), w.Body)
		}
	}
	want(t, r.do("POST", "/api/sql?format=xlsx", `{"query": "SELECT 1"}`, "Content-Type: application/json"), 400, "format")
	want(t, r.do("POST", "/api/sql", `{"query": "SELECT 1"}`, "Content-Type: application/json", "Accept: image/png"), 406, "format")
	r.do("POST", "/api/sql", `{"query": "SELECT 1", "max_rows": 5, "timeout": 2}`, "Content-Type: application/json")
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
	f.Add("site_id=example.com&filters=pages%3D%3D/a%7C/b;country!%3DDE&segment=1&metrics=visitors,events&sort=value:asc")
	f.Add("site_id=example.com&filters=%5B%5B%22is%22,%22event:page%22,%5B%22/%22%5D%5D%5D&steps=page:/a%5C,b,event:x&pattern=(%3F1)(%3F2)")
	f.Add("site_id=example.com&start_date=9999-12-31&end_date=9999-12-31&limit=&page=%zz")
	r := newStats(f, "", func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, query string) {
		for _, target := range append(slices.Clone(everyReport), "export?") {
			path, more, _ := strings.Cut(target, "?")
			req := httptest.NewRequest("GET", "/api/stats/"+path, nil)
			req.URL.RawQuery = more + query
			req.Header.Set("X-Api-Key", bootstrap)
			if w := r.serve(req); w.Code >= 500 {
				t.Fatalf("%s?%q: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
