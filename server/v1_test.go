package server_test

import (
	"encoding/json"
	"log/slog"
	"math"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
)

// v1 asks the Stats API v1 about dummy.site.
func (r *peerRig) v1(what string, params ...string) *httptest.ResponseRecorder {
	q := url.Values{"site_id": {"dummy.site"}}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	return r.do("GET", "/api/v1/stats/"+what+"?"+q.Encode(), "")
}

// TestV1Refuses holds the errors to Plausible's words.
func TestV1Refuses(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	const docs = "https://plausible.io/docs/stats-api#"
	for _, c := range []struct {
		what   string
		params []string
		status int
		text   string
	}{
		{"aggregate", []string{"site_id", ""}, 400, "Missing site ID. Please provide the required site_id parameter with your request."},
		{"realtime/visitors", []string{"site_id", ""}, 400, "Missing site ID. Please provide the required site_id parameter with your request."},
		{"aggregate", []string{"site_id", "x"}, 401, "Invalid API key or site ID. Please make sure you're using a valid API key with access to the site you've requested."},
		{"aggregate", []string{"period", "90d"}, 400, "Error parsing `period` parameter: invalid period `90d`. Please find accepted values in our docs: " + docs + "time-periods"},
		{"aggregate", []string{"period", "custom"}, 400, "The `date` parameter is required when using a custom period. See " + docs + "time-periods"},
		{"aggregate", []string{"period", "custom", "date", "2024-01-01"}, 400, "Invalid format for `date` parameter. When using a custom period, please include two ISO-8601 formatted dates joined by a comma. See " + docs + "time-periods"},
		{"aggregate", []string{"period", "custom", "date", "2024-01-02,2024-01-01"}, 400, "Invalid format for `date` parameter. When using a custom period, please include two ISO-8601 formatted dates joined by a comma. See " + docs + "time-periods"},
		{"aggregate", []string{"date", "yesterday"}, 400, "Error parsing `date` parameter: invalid_format. Please specify a valid date in ISO-8601 format."},
		{"aggregate", []string{"date", "2024-02-30"}, 400, "Error parsing `date` parameter: invalid_date. Please specify a valid date in ISO-8601 format."},
		{"aggregate", []string{"metrics", "visitors,visitors"}, 400, "Metrics cannot be queried multiple times."},
		{"aggregate", []string{"metrics", "led_zeppelin"}, 400, "The metric `led_zeppelin` is not recognized. Find valid metrics from the documentation: " + docs + "metrics"},
		{"aggregate", []string{"metrics", ""}, 400, "The metric `` is not recognized. Find valid metrics from the documentation: " + docs + "metrics"},
		{"aggregate", []string{"metrics", "conversion_rate"}, 400, "Metric `conversion_rate` can only be queried in a goal breakdown or with a goal filter"},
		{"aggregate", []string{"metrics", "time_on_page"}, 400, "Metric `time_on_page` can only be queried in a page breakdown or with a page filter."},
		{"aggregate", []string{"metrics", "views_per_visit", "filters", "event:page==/"}, 400, "Metric `views_per_visit` cannot be queried with a filter on `event:page`."},
		{"aggregate", []string{"metrics", "visits", "filters", "event:name==Signup"}, 400, "Session metric `visits` cannot be queried when using a filter on `event:name`."},
		{"aggregate", []string{"filters", "event:goal==Nope"}, 400, "The goal `Nope` is not configured for this site. Find out how to configure goals here: " + docs + "filtering-by-goals"},
		{"aggregate", []string{"filters", "event:goal==Signup|Visit /x"}, 400, "The pageview goal for the pathname `/x` is not configured for this site. Find out how to configure goals here: " + docs + "filtering-by-goals"},
		{"aggregate", []string{"filters", "badproperty==x"}, 400, "Invalid filter property 'badproperty'. Please provide a valid filter property: " + docs + "properties"},
		{"aggregate", []string{"filters", "visit:country==USA"}, 400, "Invalid visit:country filter, visit:country needs to be a valid 2-letter country code."},
		{"aggregate", []string{"filters", "event:page"}, 400, "Invalid filter 'event:page'. It is a property, == or !=, and a value."},
		{"aggregate", []string{"filters", "event:page==/;"}, 400, "Invalid filter ''. It is a property, == or !=, and a value."},
		{"aggregate", []string{"filters", "event:page=="}, 400, "Invalid filter 'event:page=='. It has no value."},
		{"aggregate", []string{"filters", "event:goal!=Signup"}, 400, "Invalid filter 'event:goal!=Signup'. A goal takes ==."},
		{"timeseries", []string{"interval", "hour"}, 400, "Error parsing `interval` parameter: invalid interval `hour`. Valid intervals are `day`, `month`"},
		{"breakdown", nil, 400, "The `property` parameter is required. Please provide at least one property to show a breakdown by."},
		{"breakdown", []string{"property", "event:hostname"}, 400, "Property 'event:hostname' is currently not supported for breakdowns.  Please provide a valid property for the breakdown endpoint: " + docs + "properties"},
		{"breakdown", []string{"property", "badproperty"}, 400, "Invalid property 'badproperty'. Please provide a valid property for the breakdown endpoint: " + docs + "properties"},
		{"breakdown", []string{"property", "time:day"}, 400, "Invalid property 'time:day'. Please provide a valid property for the breakdown endpoint: " + docs + "properties"},
		{"breakdown", []string{"property", "visit:os", "limit", "1001"}, 400, "Please provide limit as a number between 1 and 1000."},
		{"breakdown", []string{"property", "visit:os", "limit", "1000000000"}, 400, "Please provide limit as a number between 1 and 1000."},
		{"breakdown", []string{"property", "visit:os", "page", "0"}, 400, "Please provide page as a positive number."},
		{"breakdown", []string{"property", "visit:os", "page", "99999999999999999999"}, 400, "Please provide page as a positive number."},
		{"breakdown", []string{"property", "visit:os", "metrics", "views_per_visit"}, 400, "Metric `views_per_visit` is not supported in breakdown queries."},
		{"breakdown", []string{"property", "event:goal", "metrics", "bounce_rate"}, 400, "Session metric `bounce_rate` cannot be queried for breakdown by `event:goal`."},
		{"breakdown", []string{"property", "event:page", "metrics", "time_on_page", "filters", "event:goal==Signup"}, 400, "Metric `time_on_page` cannot be queried when filtering by `event:goal`"},
		{"breakdown", []string{"property", "visit:os", "metrics", "time_on_page"}, 400, "Metric `time_on_page` is not supported in breakdown queries (except `event:page` breakdown)"},
	} {
		w := r.v1(c.what, c.params...)
		if w.Code != c.status || errorOf(t, w) != c.text {
			t.Errorf("%s %q:\ngot  %d %s\nwant %d %s", c.what, c.params, w.Code, errorOf(t, w), c.status, c.text)
		}
	}
	if len(r.asked) > 0 {
		t.Errorf("asked %+v", r.asked)
	}
	for _, target := range []string{"aggregate?site_id=dummy.site&site_id=berlin.site", "aggregate?site_id=dummy.site&period=%zz", "realtime/visitors?site_id=a&site_id=b"} {
		if w := r.do("GET", "/api/v1/stats/"+target, ""); w.Code != 400 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if w := r.v1("timeseries", "period", "custom", "date", "1970-01-01,2970-01-01", "interval", "day"); w.Code != 400 {
		t.Errorf("the days of a thousand years: %d", w.Code)
	}
}

// TestV1Period is about the ranges: now is 15 July 2026.
func TestV1Period(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	for _, c := range []struct{ period, date, from, to string }{
		{"day", "", "2026-07-15", "2026-07-15"},
		{"day", "2024-02-29", "2024-02-29", "2024-02-29"},
		{"7d", "", "2026-07-08", "2026-07-14"},
		{"30d", "2024-03-01", "2024-01-31", "2024-02-29"},
		{"month", "2024-02-10", "2024-02-01", "2024-02-29"},
		{"6mo", "", "2026-02-01", "2026-07-31"},
		{"12mo", "2024-02-10", "2023-03-01", "2024-02-29"},
		{"custom", "2024-01-05, 2024-01-07", "2024-01-05", "2024-01-07"},
	} {
		params := []string{"period", c.period}
		if c.date != "" {
			params = append(params, "date", c.date)
		}
		if w := r.v1("aggregate", params...); w.Code != 200 {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
			continue
		}
		q := r.last()
		from, to := time.UnixMicro(q.From).UTC().Format(time.DateOnly), time.UnixMicro(q.To-1).UTC().Format(time.DateOnly)
		if from != c.from || to != c.to {
			t.Errorf("%+v: %s to %s", c, from, to)
		}
	}
}

// TestV1Filters holds what is asked of the engine to what a filter means.
func TestV1Filters(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	like := func(d event.Dimension, values ...string) event.Filter {
		return event.Filter{Op: event.Like, Dimension: d, Values: values}
	}
	signup := []event.Goal{{Name: "goal", Filter: is("name", "Signup")}}
	for _, c := range []struct {
		filters string
		want    event.Filter
		goals   []event.Goal
	}{
		{"", event.Filter{}, nil},
		{"event:page==/blog", is("path", "/blog"), nil},
		{" event:page == /blog ; visit:source != Google ", event.Every(is("path", "/blog"), event.Without(is("source", "Google"))), nil},
		{"visit:source==Google|Direct / None", is("source", "Google", ""), nil},
		{`event:props:title==a\|b|c`, is("prop:title", "a|b", "c"), nil},
		{`event:props:title==a\`, is("prop:title", `a\`), nil},
		{"event:page==/blog**|/docs/*", like("path", "/blog**", "/docs/*"), nil},
		{"event:page!=/blog*", event.Without(like("path", "/blog*")), nil},
		{"visit:source!=a|b", event.Without(is("source", "a", "b")), nil},
		{"visit:device==Mobile", is("device", "mobile"), nil},
		{"visit:device==T*", is("device", "tablet", "tv"), nil},
		{"visit:device==X*", event.Without(event.Filter{}), nil},
		{"event:props:url==a==b", is("prop:url", "a==b"), nil},
		{"event:goal==Signup", event.Filter{}, signup},
		{"event:goal==Signup|Visit /thanks;event:page==/", is("path", "/"), []event.Goal{{Name: "goal", Filter: event.Any(is("name", "Signup"),
			event.Every(is("name", "pageview"), like("path", "/thanks")))}}},
		{"event:page==x' OR 1=1 --", is("path", "x' OR 1=1 --"), nil},
	} {
		if w := r.v1("aggregate", "filters", c.filters); w.Code != 200 {
			t.Errorf("%s: %d %s", c.filters, w.Code, w.Body)
			continue
		}
		if q := r.last(); !reflect.DeepEqual(q.Filter, c.want) || !reflect.DeepEqual(q.Goals, c.goals) {
			t.Errorf("%s:\ngot  %+v %+v\nwant %+v %+v", c.filters, q.Filter, q.Goals, c.want, c.goals)
		}
	}
	for _, hostile := range []string{
		strings.Repeat("event:page==/;", 10_000), "event:page==" + strings.Repeat("a|", 600), "event:page==" + strings.Repeat("*", 100_000),
		"event:page==\xff", strings.Repeat("=", 5000),
	} {
		if w := r.v1("aggregate", "filters", hostile); w.Code < 400 || w.Code > 499 || w.Body.Len() > 2000 {
			t.Errorf("%.30s…: %d %.300s", hostile, w.Code, w.Body)
		}
	}
}

// TestV1Answers holds the answers to their form, byte for byte.
func TestV1Answers(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	check := func(w *httptest.ResponseRecorder, want string) {
		t.Helper()
		if got := w.Body.String(); w.Code != 200 || got != want {
			t.Errorf("got  %d %q\nwant %q", w.Code, got, want)
		}
	}
	r.answer = answers(lineOf(nil, 21))
	check(r.v1("realtime/visitors"), "21") // strconv.Atoi takes no newline
	if q := r.last(); q.From != now.Add(-5*time.Minute).UnixMicro() || !reflect.DeepEqual(q.Filter, is("name", "pageview")) {
		t.Errorf("current visitors are %+v", q)
	}
	r.answer = func(q event.Query) *event.Answer {
		if q.From == time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixMicro() { // the 7 days before the 7 days
			return answers(lineOf(nil, 2, 60.4, 0.0, 1.5))(q)
		}
		return answers(lineOf(nil, 3, 50.4, 90.5, 2.345))(q)
	}
	check(r.v1("aggregate", "period", "7d", "metrics", "visitors,bounce_rate,visit_duration,views_per_visit", "compare", "previous_period"),
		`{"results":{"visitors":{"value":3,"change":50},"bounce_rate":{"value":50,"change":-10},"visit_duration":{"value":91,"change":100},"views_per_visit":{"value":2.35,"change":57}}}`+"\n")
	check(r.v1("aggregate"), `{"results":{"visitors":{"value":3}}}`+"\n")

	r.answer = answers(lineOf([]any{time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)}, 5, 1.0))
	check(r.v1("timeseries", "period", "custom", "date", "2024-01-31,2024-02-02", "metrics", "visitors,visit_duration"),
		`{"results":[{"date":"2024-01-31","visitors":0,"visit_duration":null},{"date":"2024-02-01","visitors":5,"visit_duration":1},{"date":"2024-02-02","visitors":0,"visit_duration":null}]}`+"\n")
	check(r.v1("timeseries", "period", "custom", "date", "2024-01-31,2024-02-02", "metrics", "conversion_rate", "interval", "month", "filters", "event:goal==Signup"),
		`{"results":[{"date":"2024-01-01","conversion_rate":0},{"date":"2024-02-01","conversion_rate":0}]}`+"\n")
	if q := r.last(); q.Metrics[0] != event.GroupConversionRate || q.Dimensions[0] != event.Month {
		t.Errorf("asked %+v", q)
	}
	if w := r.v1("timeseries", "period", "day"); strings.Count(w.Body.String(), `"date":"2026-07-15 `) != 24 {
		t.Errorf("a day of hours: %s", w.Body)
	}
	if w := r.v1("timeseries", "period", "12mo"); strings.Count(w.Body.String(), `"date":"`) != 12 {
		t.Errorf("a year of months: %s", w.Body)
	}
	r.answer = answers(lineOf([]any{"Google"}, 16909, 58.0), lineOf([]any{""}, 3, math.NaN()))
	check(r.v1("breakdown", "property", "visit:source", "metrics", "visitors,bounce_rate", "limit", "5", "page", "3"),
		`{"results":[{"source":"Google","visitors":16909,"bounce_rate":58},{"source":"Direct / None","visitors":3,"bounce_rate":0}]}`+"\n")
	if q := r.last(); q.Limit != 5 || q.Offset != 10 || q.Dimensions[0] != "source" {
		t.Errorf("asked %+v", q)
	}
	check(r.v1("breakdown", "property", "event:props:plan"), `{"results":[{"plan":"Google","visitors":16909},{"plan":"(none)","visitors":3}]}`+"\n")
	r.answer = nil
	check(r.v1("breakdown", "property", "event:page"), `{"results":[]}`+"\n")
	check(r.v1("aggregate", "with_imported", "true"), `{"results":{"visitors":{"value":0}}}`+"\n")
}

// FuzzV1 sends any parameters to every question of v1: no answer may be our fault.
func FuzzV1(f *testing.F) {
	f.Add("period=7d&metrics=visitors,pageviews,bounce_rate&filters=event%3Apage%3D%3D%2Fblog%2A&compare=previous_period")
	f.Add("property=event%3Apage&period=6mo&limit=5&page=1")
	f.Add("period=custom&date=2024-01-01,2024-02-01&interval=month")
	r := newPeerRig(f, func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"realtime/visitors", "aggregate", "timeseries", "breakdown"} {
			req := httptest.NewRequest("GET", "/api/v1/stats/"+path, nil)
			req.URL.RawQuery = "site_id=dummy.site&" + query
			req.Header.Set("X-Api-Key", bootstrap)
			if w := r.serve(req); w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s?%q: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}

// FuzzV1Filters reads any filters: what comes out is within the engine's limits.
func FuzzV1Filters(f *testing.F) {
	for _, s := range []string{"event:page==/a|/b;visit:source!=Google", `event:props:a==\||x*`, "visit:device==T**"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		filters, err := server.ReadV1Filters(s)
		if err != nil {
			return
		}
		for _, filter := range filters {
			for filter.Op == event.Not && len(filter.Of) == 1 {
				filter = filter.Of[0]
			}
			if filter.Op != event.All && (filter.Dimension == "" || len(filter.Values) == 0 || len(filter.Values) > event.MaxFilters) {
				t.Fatalf("%q means %+v", s, filter)
			}
		}
	})
}
