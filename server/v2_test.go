package server_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A peerRig is a server with goals and segments, and what was asked of it.
type peerRig struct {
	*rig
	*fakeQuestions
}

func newPeerRig(t testing.TB, change ...func(*server.Options)) *peerRig {
	f := &fakeQuestions{}
	sites := &fake{
		sites: []ledger.Site{{Domain: "dummy.site", Timezone: "UTC"}, {Domain: "berlin.site", Timezone: "Europe/Berlin"}},
		goals: []ledger.Goal{
			{ID: 1, Name: "Signup", Kind: ledger.EventGoal, Event: "Signup"},
			{ID: 2, Name: "Visit /thanks", Kind: ledger.PageGoal, Path: "/thanks"},
			{ID: 3, Name: "Purchase", Kind: ledger.EventGoal, Event: "Purchase", Currency: "USD"},
			{ID: 4, Name: "Einkauf", Kind: ledger.EventGoal, Event: "Einkauf", Currency: "EUR"},
		},
		segments: []ledger.Segment{
			{ID: 7, Name: "Germany", Filters: json.RawMessage(`[["is","visit:country",["DE"]],["is_not","event:page",["/"]]]`)},
			{ID: 8, Name: "Mobile", Filters: json.RawMessage(`[["is","visit:device",["Mobile"]]]`)},
			{ID: 9, Name: "Itself", Filters: json.RawMessage(`[["is","segment",[9]]]`)},
		},
	}
	r := rigOf(t, sites, append([]func(*server.Options){func(o *server.Options) { o.Questions = f }}, change...)...)
	return &peerRig{r, f}
}

func (r *peerRig) query(body string) *httptest.ResponseRecorder {
	return r.do("POST", "/api/v2/query", body, "Content-Type: application/json")
}

// body makes a question of the keys that are not usual.
func body(rest string) string {
	if rest != "" {
		rest = "," + rest
	}
	return `{"site_id":"dummy.site","metrics":["visitors"],"date_range":"day"` + rest + `}`
}

func errorOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	return into[struct{ Error string }](t, w).Error
}

// TestV2Refuses holds the errors to Plausible's words.
func TestV2Refuses(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	const invalid = "Invalid API key or site ID. Please make sure you're using a valid API key with access to the site you've requested."
	for _, c := range []struct {
		body   string
		status int
		text   string
	}{
		{`{}`, 400, "Missing site ID. Please provide the required site_id parameter with your request."},
		{`{"site_id":""}`, 400, "Missing site ID. Please provide the required site_id parameter with your request."},
		{`[]`, 400, "The body is not a JSON object."},
		{`{"site_id":"dummy.site"}{}`, 400, "The body is not a JSON object."},
		{`{"site_id":5}`, 400, "#/site_id: Type mismatch. Expected String but got Integer."},
		{`{"site_id":"nowhere.site"}`, 401, invalid},
		{`{"site_id":"dummy.site"}`, 400, "#: Required properties metrics, date_range were not present."},
		{`{"site_id":"dummy.site","metrics":["visitors"]}`, 400, "#: Required property date_range was not present."},
		{body(`"metrics":["foo"]`), 400, `#/metrics/0: Invalid metric "foo"`},
		{body(`"metrics":["visitors",5]`), 400, `#/metrics/1: Invalid metric 5`},
		{body(`"metrics":["foo"],"dimensions":["bar"],"sample_threshold":1`), 400, "#/sample_threshold: Schema does not allow additional properties.\n#/metrics/0: Invalid metric \"foo\"\n#/dimensions/0: Invalid dimension \"bar\""},
		{body(`"metrics":[]`), 400, "#/metrics: Expected a minimum of 1 items but got 0."},
		{body(`"metrics":"visitors"`), 400, "#/metrics: Type mismatch. Expected Array but got String."},
		{body(`"metrics":["visitors","visitors"]`), 400, "#/metrics: Expected items to be unique but they were not."},
		{body(`"dimensions":["time:minute"]`), 400, `#/dimensions/0: Invalid dimension "time:minute"`},
		{body(`"dimensions":["event:props:"]`), 400, `#/dimensions/0: Invalid dimension "event:props:"`},
		{body(`"date_range":"realtime"`), 400, `#/date_range: Invalid date range "realtime"`},
		{body(`"date_range":"30m"`), 400, `#/date_range: Invalid date range "30m"`},
		{body(`"date_range":"0d"`), 400, `Invalid date_range "0d"`},
		{body(`"date_range":"5001d"`), 400, `Invalid date_range "5001d"`},
		{body(`"date_range":"101mo"`), 400, `Invalid date_range "101mo"`},
		{body(`"date_range":"99999999999999999999d"`), 400, `Invalid date_range "99999999999999999999d"`},
		{body(`"date_range":["2024-02-30","2024-03-01"]`), 400, `#/date_range: Invalid date range ["2024-02-30", "2024-03-01"]`},
		{body(`"date_range":["2024-01-01"]`), 400, `#/date_range: Invalid date range ["2024-01-01"]`},
		{body(`"date_range":["2024-01-02","2024-01-01"]`), 400, `Invalid date_range ["2024-01-02", "2024-01-01"]. It is in time from 1970 on, and its end is not before its beginning.`},
		{body(`"date_range":["0001-01-01","3000-01-01"]`), 400, `Invalid date_range ["0001-01-01", "3000-01-01"]. It is in time from 1970 on, and its end is not before its beginning.`},
		{body(`"date_range":null`), 400, `#/date_range: Invalid date range nil`},
		{body(`"filters":[["is","event:page"]]`), 400, `#/filters/0: Invalid filter ["is", "event:page"]`},
		{body(`"filters":[["and",[]]]`), 400, `#/filters/0: Invalid filter ["and", []]`},
		{body(`"filters":[["is","time:day",["2024-01-01"]]]`), 400, `#/filters/0: Invalid filter ["is", "time:day", ["2024-01-01"]]`},
		{body(`"filters":[["is","event:page",["/"],{"x":true}]]`), 400, `#/filters/0: Invalid filter ["is", "event:page", ["/"], %{"x" => true}]`},
		{body(`"filters":[["matches","event:page",["/"],{"case_sensitive":false}]]`), 400, `#/filters/0: Invalid filter ["matches", "event:page", ["/"], %{"case_sensitive" => false}]`},
		{body(`"filters":[["matches","event:goal",["Signup"]]]`), 400, `#/filters/0: Invalid filter ["matches", "event:goal", ["Signup"]]`},
		{body(`"filters":[["is_not","event:goal",["Signup"]]]`), 400, `#/filters/0: Invalid filter ["is_not", "event:goal", ["Signup"]]`},
		{body(`"filters":[["is","visit:country",["USA"]]]`), 400, "Invalid visit:country filter, visit:country needs to be a valid 2-letter country code."},
		{body(`"filters":[["is","event:goal",["Nope"]]]`), 400, "Invalid filters. The goal `Nope` is not configured for this site. Find out how to configure goals here: https://plausible.io/docs/stats-api#filtering-by-goals"},
		{body(`"filters":[["or",[["is","event:goal",["Signup"]]]]]`), 400, "Invalid filters. Dimension `event:goal` can only be filtered at the top level."},
		{body(`"filters":[["not",["is","event:hostname",["a"]]]]`), 400, "Invalid filters. Dimension `event:hostname` can only be filtered at the top level."},
		{body(`"filters":[["has_done",["has_done",["is","event:page",["/"]]]]]`), 400, "Invalid filters. Behavioral filters (has_done, has_not_done) cannot be nested."},
		{body(`"filters":[["has_done",["is","visit:source",["a"]]]]`), 400, "Invalid filters. Behavioral filters (has_done, has_not_done) can only be used with event dimension filters."},
		{body(`"filters":[["is","segment",[1]]]`), 400, "Invalid filters. Some segments don't exist or aren't accessible."},
		{body(`"filters":[["is","segment",[9]]]`), 400, "Invalid filters. A segment cannot be made of segments."},
		{body(`"filters":[["is","segment",["7"]]]`), 400, `#/filters/0: Invalid filter ["is", "segment", ["7"]]`},
		{body(`"filters":[["matches","event:page",["("]]]`), 400, "Invalid filters. The pattern \"(\" is not RE2: missing closing ): `(`."},
		{body(`"metrics":["conversion_rate"]`), 400, "Metric `conversion_rate` can only be queried with event:goal filters or dimensions."},
		{body(`"metrics":["group_conversion_rate"],"filters":[["has_done",["is","event:goal",["Signup"]]]]`), 400, "Metric `group_conversion_rate` can only be queried with event:goal filters or dimensions."},
		{body(`"metrics":["conversion_rate"],"filters":[["is","event:goal",["Signup"]],["or",[["is","event:props:a",["b"]]]]]`), 400, "Invalid filters. When `conversion_rate` or `group_conversion_rate` metrics are used, custom property filters can only be used on top level."},
		{body(`"metrics":["scroll_depth"]`), 400, "Metric `scroll_depth` can only be queried with event:page filters or dimensions."},
		{body(`"metrics":["scroll_depth"],"filters":[["or",[["is","event:page",["/"]]]]]`), 400, "Metric `scroll_depth` can only be queried with event:page filters or dimensions."},
		{body(`"metrics":["time_on_page"]`), 400, "Metric `time_on_page` can only be queried with event:page filters or dimensions."},
		{body(`"metrics":["views_per_visit"],"dimensions":["visit:source"]`), 400, "Metric `views_per_visit` cannot be queried with `dimensions`."},
		{body(`"metrics":["views_per_visit"],"filters":[["is","event:page",["/"]]]`), 400, "Metric `views_per_visit` cannot be queried with a filter on `event:page`."},
		{body(`"metrics":["exit_rate"],"dimensions":["visit:exit_page","visit:source"]`), 400, "Metric `exit_rate` requires a `\"visit:exit_page\"` dimension. No other dimensions are allowed."},
		{body(`"metrics":["percentage"]`), 400, "Metric `percentage` can only be queried with `dimensions`."},
		{body(`"metrics":["bounce_rate"],"dimensions":["event:props:foo"]`), 400, "Session metric(s) `bounce_rate` cannot be queried along with event dimension(s) `event:props:foo`"},
		{body(`"metrics":["bounce_rate"],"dimensions":["event:hostname"]`), 400, "Session metric(s) `bounce_rate` cannot be queried along with event dimension(s) `event:hostname`"},
		{body(`"order_by":[["events","desc"]]`), 400, "Invalid order_by entry '{:events, :desc}'. Entry is not a queried metric or dimension."},
		{body(`"order_by":[["event:page","asc"]]`), 400, "Invalid order_by entry '{\"event:page\", :asc}'. Entry is not a queried metric or dimension."},
		{body(`"order_by":[["foo","desc"]]`), 400, `#/order_by/0/0: Invalid value in order_by "foo"`},
		{body(`"order_by":[["visitors","down"]]`), 400, `#/order_by/0/1: Value is not allowed in enum.`},
		{body(`"order_by":[["visitors"]]`), 400, `#/order_by/0: Expected a minimum of 2 items but got 1.`},
		{body(`"include":{"time_labels":true}`), 400, "Invalid include.time_labels: requires a time dimension."},
		{body(`"include":{"imports":1}`), 400, "#/include/imports: Type mismatch. Expected Boolean but got Integer."},
		{body(`"include":{"dashboard":true}`), 400, "#/include/dashboard: Schema does not allow additional properties."},
		{body(`"include":{"comparisons":{"mode":"foo"}}`), 400, "#/include/comparisons/mode: Value is not allowed in enum."},
		{body(`"include":{"comparisons":{"mode":"custom"}}`), 400, "#/include/comparisons/date_range: Invalid date range nil"},
		{body(`"pagination":{"limit":0}`), 400, "#/pagination/limit: Expected the value to be >= 1"},
		{body(`"pagination":{"limit":1000000000}`), 400, "#/pagination/limit: Expected the value to be <= 10000"},
		{body(`"pagination":{"limit":1e3}`), 400, "#/pagination/limit: Type mismatch. Expected Integer but got Number."},
		{body(`"pagination":{"offset":-1}`), 400, "#/pagination/offset: Expected the value to be >= 0"},
		{body(`"pagination":{"offset":99999999999999999999}`), 400, "#/pagination/offset: Type mismatch. Expected Integer but got Number."},
	} {
		w := r.query(c.body)
		if w.Code != c.status || errorOf(t, w) != c.text {
			t.Errorf("%s:\ngot  %d %s\nwant %d %s", c.body, w.Code, errorOf(t, w), c.status, c.text)
		}
	}
	if len(r.asked) > 0 {
		t.Errorf("asked %+v", r.asked)
	}
	r.fakeQuestions.err = &event.QueryError{Message: "too much"}
	if w := r.query(body("")); w.Code != 400 || errorOf(t, w) != "too much" {
		t.Errorf("an engine's complaint is %d %s", w.Code, w.Body)
	}
}

// TestPeerKeys holds what is said to those who have no right to Plausible's words.
func TestPeerKeys(t *testing.T) {
	t.Parallel()
	const (
		missing = "Missing API key. Please use a valid Plausible API key as a Bearer Token."
		invalid = "Invalid API key or site ID. Please make sure you're using a valid API key with access to the site you've requested."
	)
	r := newPeerRig(t)
	f := r.fake
	for secret, text := range map[string]string{
		"":                                  missing,
		"eider_00000000000000000000000000":  invalid,
		f.key(t, "", 0, "ingest"):           invalid,
		f.key(t, "berlin.site", 0, "stats"): invalid,
	} {
		r := rigOf(t, f, func(o *server.Options) { o.Questions = r.fakeQuestions })
		header := []string{"-"}
		if secret != "" {
			header = append(header, "Authorization: Bearer "+secret)
		}
		for _, w := range []*httptest.ResponseRecorder{
			r.do("POST", "/api/v2/query", body(""), header...),
			r.do("GET", "/api/v1/stats/aggregate?site_id=dummy.site", "", header...),
		} {
			if w.Code != 401 || errorOf(t, w) != text {
				t.Errorf("with %q: %d %s, want %s", secret, w.Code, w.Body, text)
			}
		}
	}
	if w := r.do("GET", "/api/v1/stats/nothing?site_id=dummy.site", ""); w.Code != 404 || errorOf(t, w) == "" {
		t.Errorf("an unknown path of v1: %d %s", w.Code, w.Body)
	}
}

// TestV2Range is about the ranges: now is 14:30 on 15 July 2026 in Berlin.
func TestV2Range(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	r.first = time.Date(2026, 7, 3, 22, 30, 0, 0, time.UTC) // already the 4th in Berlin
	for asked, want := range map[string]string{
		`"day"`:                       `["2026-07-15T00:00:00+02:00","2026-07-15T23:59:59+02:00"]`,
		`"7d"`:                        `["2026-07-08T00:00:00+02:00","2026-07-14T23:59:59+02:00"]`,
		`"91d"`:                       `["2026-04-15T00:00:00+02:00","2026-07-14T23:59:59+02:00"]`,
		`"6mo"`:                       `["2026-01-01T00:00:00+01:00","2026-06-30T23:59:59+02:00"]`,
		`"12mo"`:                      `["2025-07-01T00:00:00+02:00","2026-06-30T23:59:59+02:00"]`,
		`"month"`:                     `["2026-07-01T00:00:00+02:00","2026-07-31T23:59:59+02:00"]`,
		`"year"`:                      `["2026-01-01T00:00:00+01:00","2026-12-31T23:59:59+01:00"]`,
		`"all"`:                       `["2026-07-04T00:00:00+02:00","2026-07-15T23:59:59+02:00"]`,
		`"24h"`:                       `["2026-07-14T14:30:01+02:00","2026-07-15T14:30:00+02:00"]`,
		`["2026-03-29","2026-03-29"]`: `["2026-03-29T00:00:00+01:00","2026-03-29T23:59:59+02:00"]`,
		`["2024-01-01T12:00:00+02:00","2024-01-01T15:59:59+02:00"]`: `["2024-01-01T11:00:00+01:00","2024-01-01T14:59:59+01:00"]`,
		`["2024-01-01T12:00:00Z","2024-01-01T12:00:00.5Z"]`:         `["2024-01-01T13:00:00+01:00","2024-01-01T13:00:00+01:00"]`,
	} {
		w := r.query(`{"site_id":"berlin.site","metrics":["visitors"],"date_range":` + asked + `}`)
		if !strings.Contains(w.Body.String(), `"date_range":`+want) {
			t.Errorf("%s: %s, want %s", asked, w.Body, want)
		}
		q, echo := r.last(), into[struct {
			Query struct{ Date_range [2]time.Time }
		}](t, w)
		if q.From != echo.Query.Date_range[0].UnixMicro() || q.To != echo.Query.Date_range[1].UnixMicro()+1e6 {
			t.Errorf("%s: asked from %d to %d, said %v", asked, q.From, q.To, echo.Query.Date_range)
		}
	}
	r.first = time.Time{}
	if w := r.query(body(`"date_range":"all"`)); !strings.Contains(w.Body.String(), `"date_range":["2026-07-15T00:00:00+00:00","2026-07-15T23:59:59+00:00"]`) {
		t.Errorf("all of nothing: %s", w.Body)
	}
}

func is(d event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: d, Values: values}
}

// TestV2Filters holds what is asked of the engine to what a filter means.
func TestV2Filters(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	never := event.Without(event.Filter{})
	signup := event.Every(is("name", "Signup"))
	for filters, want := range map[string]event.Filter{
		``:                                {},
		`["is","event:page",["/a","/b"]]`: is("path", "/a", "/b"),
		`["is_not","event:page",["/a"]]`:  event.Without(is("path", "/a")),
		`["contains","event:page",["/A"],{"case_sensitive":false}]`: {Op: event.Contains, Dimension: "path", Values: []string{"/A"}, IgnoreCase: true},
		`["contains","event:page",["/A"],{"case_sensitive":true}]`:  {Op: event.Contains, Dimension: "path", Values: []string{"/A"}},
		`["matches","event:page",["^/user/\\d+$"]]`:                 {Op: event.Matches, Dimension: "path", Values: []string{`^/user/\d+$`}},
		`["matches_not","event:page",["x"]]`:                        event.Without(event.Filter{Op: event.Matches, Dimension: "path", Values: []string{"x"}}),
		`["is","event:page",[]]`:                                    never,
		`["is","visit:source",["Direct / None","Google"]]`:          is("source", "", "Google"),
		`["is","visit:utm_medium",["(not set)"]]`:                   is("utm_medium", ""),
		`["is_not","visit:country_name",[""]]`:                      event.Without(is("country", "")),
		`["is","event:props:plan",["(none)"]]`:                      is("prop:plan", ""),
		`["is_not","event:props:plan",["pro"]]`:                     event.Without(is("prop:plan", "pro")),
		`["contains_not","event:props:plan",["pro"]]`: event.Every(event.Without(is("prop:plan", "")),
			event.Without(event.Filter{Op: event.Contains, Dimension: "prop:plan", Values: []string{"pro"}})),
		`["is","visit:screen",["Mobile"]]`:                                        is("device", "mobile"),
		`["contains","visit:device",["TABLE"],{"case_sensitive":false}]`:          is("device", "tablet"),
		`["is","visit:device",["Laptop"]]`:                                        never,
		`["is_not","visit:device",["Laptop"]]`:                                    event.Without(never),
		`["is","visit:country_name",["Germany","Austria"]]`:                       is("country", "AT", "DE"),
		`["contains","visit:country_name",["united k"],{"case_sensitive":false}]`: is("country", "GB"),
		`["matches","visit:country_name",["^Swe"]]`:                               is("country", "SE"),
		`["is","visit:country_name",["Atlantis"]]`:                                never,
		`["is","visit:city",[2950159]]`:                                           is("city_id", "2950159"),
		`["is","visit:entry_page",["/"]]`:                                         is("entry_path", "/"),
		`["is","visit:exit_page_hostname",["a.b"]]`:                               is(event.ExitHostname, "a.b"),
		`["and",[["is","visit:os",["Mac"]],["or",[["is","visit:browser",["Safari"]],["not",["is","event:name",["x"]]]]]]]`: event.Every(
			is("os", "Mac"), event.Any(is("browser", "Safari"), event.Without(is("name", "x")))),
		`["has_done",["is","event:goal",["Signup"]]]`:      {Op: event.HasDone, Of: []event.Filter{signup}},
		`["has_not_done",["is","event:page",["/p"]]]`:      event.Without(event.Filter{Op: event.HasDone, Of: []event.Filter{is("path", "/p")}}),
		`["is","segment",[7]]`:                             event.Every(is("country", "DE"), event.Without(is("path", "/"))),
		`["is","segment",[7,8]]`:                           event.Any(event.Every(is("country", "DE"), event.Without(is("path", "/"))), is("device", "mobile")),
		`["not",["is","segment",[8]]]`:                     event.Without(is("device", "mobile")),
		`["is","event:page",["'; DROP TABLE events; --"]]`: is("path", "'; DROP TABLE events; --"),
	} {
		w := r.query(body(`"filters":[` + filters + `]`))
		if w.Code != 200 {
			t.Errorf("%s: %d %s", filters, w.Code, w.Body)
			continue
		}
		if got := r.last(); !reflect.DeepEqual(got.Filter, want) || len(got.Goals) > 0 {
			t.Errorf("%s:\ngot  %+v\nwant %+v", filters, got.Filter, want)
		}
	}
}

// TestV2Goals is about where filters on goals go.
func TestV2Goals(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	signup, thanks := is("name", "Signup"), event.Every(is("name", "pageview"), event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/thanks"}})
	one := func(f event.Filter) []event.Goal { return []event.Goal{{Name: "goal", Filter: f}} }
	germany := is("country", "DE")
	for _, c := range []struct {
		rest   string
		goals  []event.Goal
		filter event.Filter
	}{
		{`"filters":[["is","event:goal",["Signup"]],["is","visit:country",["DE"]]]`, one(signup), germany},
		{`"filters":[["is","event:goal",["Signup","Visit /thanks"]]]`, one(event.Any(signup, thanks)), event.Filter{}},
		{`"filters":[["contains","event:goal",["sign"],{"case_sensitive":false}]]`, one(signup), event.Filter{}},
		{`"filters":[["contains","event:goal",["zzz"]]]`, one(event.Without(event.Filter{})), event.Filter{}},
		{`"filters":[["is","event:goal",["Signup","Purchase"]],["contains","event:goal",["u"]]]`, one(event.Every(event.Any(signup, is("name", "Purchase")), event.Any(signup, is("name", "Purchase"), is("name", "Einkauf")))), event.Filter{}},
		// Properties count against a rate only where it is asked for.
		{`"metrics":["conversion_rate"],"filters":[["is","event:goal",["Signup"]],["is","event:props:plan",["pro"]]]`, one(event.Every(signup, is("prop:plan", "pro"))), event.Filter{}},
		{`"filters":[["is","event:goal",["Signup"]],["is","event:props:plan",["pro"]]]`, one(signup), is("prop:plan", "pro")},
		{`"dimensions":["event:goal"],"filters":[["is","event:goal",["Signup","Visit /thanks"]]]`, []event.Goal{{Name: "Signup", Filter: signup}, {Name: "Visit /thanks", Filter: thanks}}, event.Filter{}},
		{`"dimensions":["event:goal"]`, []event.Goal{
			{Name: "Signup", Filter: signup}, {Name: "Visit /thanks", Filter: thanks},
			{Name: "Purchase", Filter: is("name", "Purchase"), Currency: "USD"}, {Name: "Einkauf", Filter: is("name", "Einkauf"), Currency: "EUR"},
		}, event.Filter{}},
	} {
		if w := r.query(body(c.rest)); w.Code != 200 {
			t.Errorf("%s: %d %s", c.rest, w.Code, w.Body)
			continue
		}
		if got := r.last(); !reflect.DeepEqual(got.Goals, c.goals) || !reflect.DeepEqual(got.Filter, c.filter) {
			t.Errorf("%s:\ngot  %+v, %+v\nwant %+v, %+v", c.rest, got.Goals, got.Filter, c.goals, c.filter)
		}
	}
	asked := len(r.asked)
	if w := r.query(body(`"dimensions":["event:goal"],"filters":[["contains","event:goal",["zzz"]]]`)); !strings.HasPrefix(w.Body.String(), `{"results":[],`) || len(r.asked) != asked {
		t.Errorf("no goal at all: %s", w.Body)
	}
}

// TestV2Query is about what else is asked of the engine, and how it is written.
func TestV2Query(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	nan := math.NaN()
	r.answer = answers(
		lineOf([]any{"", "desktop", "DE"}, 5, 33.335, 61.6, nan, 0.12345),
		lineOf([]any{"Google", "", "XX"}, 5, 0.0, 0.0, 50.5, 100.0),
	)
	w := r.query(body(`"metrics":["visitors","bounce_rate","visit_duration","scroll_depth","percentage"],
		"dimensions":["visit:source","visit:screen","visit:country_name","visit:country"],"filters":[["contains","event:page",["x"]]],
		"order_by":[["percentage","asc"],["visit:country_name","desc"]],"pagination":{"limit":2,"offset":4},"include":{"total_rows":true,"imports":true}`))
	got := strings.TrimSpace(w.Body.String())
	const want = `{"results":[{"metrics":[5,33,62,null,0.12],"dimensions":["Direct / None","Desktop","Germany","DE"]},` +
		`{"metrics":[5,0,0,51,100],"dimensions":["Google","(not set)","XX","XX"]}],` +
		`"meta":{"imports_included":true,"plan":"raw","total_rows":2},` +
		`"query":{"site_id":"dummy.site","metrics":["visitors","bounce_rate","visit_duration","scroll_depth","percentage"],"date_range":["2026-07-15T00:00:00+00:00","2026-07-15T23:59:59+00:00"],` +
		`"filters":[["contains","event:page",["x"]]],"dimensions":["visit:source","visit:screen","visit:country_name","visit:country"],` +
		`"order_by":[["percentage","asc"],["visit:country_name","desc"]],"include":{"imports":true,"total_rows":true},"pagination":{"offset":4,"limit":2}}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	q := r.last()
	if want := []event.Dimension{"source", "device", "country"}; !reflect.DeepEqual(q.Dimensions, want) {
		t.Errorf("dimensions %v, want %v", q.Dimensions, want)
	}
	if want := []event.Order{{Metric: event.Percentage}, {Dimension: "country", Descending: true}}; !reflect.DeepEqual(q.Order, want) {
		t.Errorf("order %+v, want %+v", q.Order, want)
	}
	if q.Limit != 2 || q.Offset != 4 || !q.Count || q.Site != "dummy.site" || q.Zone.String() != "UTC" {
		t.Errorf("asked %+v", q)
	}
}

// TestV2Time is about the dimension of time: what is chosen for it, and how its
// values are written.
func TestV2Time(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	at := func(s string) time.Time {
		tm, err := time.ParseInLocation("2006-01-02 15:04", s, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	for _, c := range []struct {
		days, dim, chosen, start, label string
		labels                          int
	}{
		{`["2024-09-02","2024-09-02"]`, "time", "time:hour", "2024-09-02 01:00", "2024-09-02 01:00:00", 24},
		{`["2024-09-02","2024-09-20"]`, "time", "time:day", "2024-09-03 00:00", "2024-09-03", 19},
		{`["2024-01-01","2024-09-20"]`, "time", "time:week", "2024-01-08 00:00", "2024-01-08", 38},
		{`["2023-01-01","2024-09-20"]`, "time", "time:month", "2024-02-01 00:00", "2024-02-01", 21},
		{`["2024-09-04","2024-09-20"]`, "time:week", "time:week", "2024-09-02 00:00", "2024-09-04", 3},
		{`["2024-09-04","2024-10-20"]`, "time:month", "time:month", "2024-09-01 00:00", "2024-09-01", 2},
	} {
		r.answer = answers(lineOf([]any{at(c.start)}, 1))
		w := r.query(body(`"date_range":` + c.days + `,"dimensions":["` + c.dim + `"],"include":{"time_labels":true}`))
		got := into[struct {
			Results []struct{ Dimensions []string }
			Meta    struct{ Time_labels []string }
			Query   struct {
				Dimensions []string
				Order_by   [][2]string
			}
		}](t, w)
		if len(got.Results) != 1 || got.Results[0].Dimensions[0] != c.label || len(got.Meta.Time_labels) != c.labels || got.Query.Dimensions[0] != c.chosen {
			t.Errorf("%+v: %s", c, w.Body)
		}
		if want := [][2]string{{c.chosen, "asc"}, {"visitors", "desc"}}; !reflect.DeepEqual(got.Query.Order_by, want) {
			t.Errorf("%+v: order_by %v, want %v", c, got.Query.Order_by, want)
		}
	}
	if w := r.query(body(`"date_range":["1970-01-01","9999-12-31"],"dimensions":["time:hour"],"include":{"time_labels":true}`)); w.Code != 400 {
		t.Errorf("labels of eight thousand years of hours: %d", w.Code)
	}
}

// TestV2Revenue is about money: one currency, several, none.
func TestV2Revenue(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	r.answer = answers(lineOf(nil, 963363150000, 12.5))
	w := r.query(body(`"metrics":["total_revenue","average_revenue"],"filters":[["is","event:goal",["Purchase"]]]`))
	if got, want := w.Body.String(), `{"results":[{"metrics":[{"value":96336315,"currency":"USD","short":"$96.3M","long":"$96,336,315.00"},{"value":12.5,"currency":"USD","short":"$12.5","long":"$12.50"}],"dimensions":[]}],"meta":{"plan":"raw"},`; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if q := r.last(); q.Currency != "USD" {
		t.Errorf("asked in %q", q.Currency)
	}
	w = r.query(body(`"metrics":["total_revenue"],"filters":[["is","event:goal",["Purchase","Einkauf"]]]`))
	if got, want := w.Body.String(), `{"results":[{"metrics":[null],"dimensions":[]}],"meta":{"metric_warnings":{"total_revenue":{"code":"no_single_revenue_currency","warning":"Revenue metrics are null as there are multiple currencies for the selected event:goals."}},"plan":"raw"},`; !strings.HasPrefix(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	w = r.query(body(`"metrics":["total_revenue"]`))
	if got, want := w.Body.String(), `"meta":{"metric_warnings":{"total_revenue":{"code":"no_revenue_goals_matching","warning":"Revenue metrics are null as there are no matching revenue goals."}},"plan":"raw"},`; !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// By goal each has its own currency, which takes a question each.
	r.answer = func(q event.Query) *event.Answer {
		total := map[string]int{"": 1, "USD": 25000, "EUR": 30000}[q.Currency]
		a := &event.Answer{Plan: event.PlanRaw}
		for _, g := range q.Goals {
			a.Lines = append(a.Lines, lineOf([]any{g.Name}, 3, total))
		}
		return a
	}
	w = r.query(body(`"metrics":["visitors","total_revenue"],"dimensions":["event:goal"]`))
	got := w.Body.String()
	for _, want := range []string{
		`{"metrics":[3,null],"dimensions":["Signup"]}`,
		`{"metrics":[3,{"value":2.5,"currency":"USD","short":"$2.5","long":"$2.50"}],"dimensions":["Purchase"]}`,
		`{"metrics":[3,{"value":3,"currency":"EUR","short":"€3.0","long":"€3.00"}],"dimensions":["Einkauf"]}`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
}

// TestV2Compare is about what stands beside a row, which is Eider's own.
func TestV2Compare(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	day := func(d int) time.Time { return time.Date(2026, 7, d, 0, 0, 0, 0, time.UTC) }
	r.answer = func(q event.Query) *event.Answer {
		if q.From == day(8).UnixMicro() {
			return &event.Answer{Lines: []event.Line{lineOf([]any{day(8), "Google"}, 12, 50.0), lineOf([]any{day(9), "Bing"}, 3, 10.0)}}
		}
		return &event.Answer{Lines: []event.Line{lineOf([]any{day(1), "Google"}, 8, 40.0)}}
	}
	w := r.query(body(`"date_range":"7d","metrics":["visitors","bounce_rate"],"dimensions":["time:day","visit:source"],"include":{"comparisons":{"mode":"previous_period"}}`))
	got := w.Body.String()
	for _, want := range []string{
		`{"metrics":[12,50],"dimensions":["2026-07-08","Google"],"comparison":{"metrics":[8,40],"dimensions":["2026-07-01","Google"],"change":[50,10]}}`,
		`{"metrics":[3,10],"dimensions":["2026-07-09","Bing"],"comparison":{"metrics":[0,0],"dimensions":["2026-07-02","Bing"],"change":[100,null]}}`,
		`"include":{"comparisons":{"mode":"previous_period"}}`,
		`"comparison_date_range":["2026-07-01T00:00:00+00:00","2026-07-07T23:59:59+00:00"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
	for rest, want := range map[string]string{
		`"mode":"year_over_year"`:                                  `["2025-07-08T00:00:00+00:00","2025-07-14T23:59:59+00:00"]`,
		`"mode":"year_over_year","match_day_of_week":true`:         `["2025-07-02T00:00:00+00:00","2025-07-08T23:59:59+00:00"]`,
		`"mode":"custom","date_range":["2020-01-01","2020-01-03"]`: `["2020-01-01T00:00:00+00:00","2020-01-03T23:59:59+00:00"]`,
	} {
		w := r.query(body(`"date_range":"7d","include":{"comparisons":{` + rest + `}}`))
		if !strings.Contains(w.Body.String(), `"comparison_date_range":`+want) {
			t.Errorf("%s: %s, want %s", rest, w.Body, want)
		}
	}
}

// TestV2Hostile asks for too much: each is refused at once, and in a sentence.
func TestV2Hostile(t *testing.T) {
	t.Parallel()
	r := newPeerRig(t)
	one := `["is","event:page",["/"]]`
	deep := func(n int) string { return strings.Repeat(`["not",`, n) + one + strings.Repeat("]", n) }
	for name, rest := range map[string]string{
		"ten thousand filters":   `"filters":[` + strings.Repeat(one+",", 9999) + one + `]`,
		"a thousand filters":     `"filters":[` + strings.Repeat(one+",", 999) + one + `]`,
		"ten thousand values":    `"filters":[["is","event:page",[` + strings.Repeat(`"/",`, 9999) + `"/"]]]`,
		"nested too deep":        `"filters":[` + deep(17) + `]`,
		"nested far too deep":    `"filters":[` + deep(5000) + `]`,
		"lists and nothing else": `"filters":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"brackets":               `"filters":` + strings.Repeat("[", 100_000),
		"a repeated repetition":  `"filters":[["matches","event:page",["(((a{1,100}){1,100}){1,100}){1,100}"]]]`,
		"a long pattern":         `"filters":[["matches","event:page",["` + strings.Repeat("a?", 300) + `"]]]`,
		"long dimension":         `"dimensions":["event:props:` + strings.Repeat("x", 10_000) + `"]`,
		"many dimensions":        `"dimensions":["visit:os","visit:browser","visit:device","visit:country","visit:region","visit:city","visit:source","visit:channel","visit:referrer"]`,
		"many metrics":           `"metrics":[` + strings.Repeat(`"x",`, 10_000) + `"x"]`,
		"a megabyte":             `"x":"` + strings.Repeat("x", 1<<20) + `"`,
	} {
		start := time.Now()
		w := r.query(body(rest))
		if w.Code < 400 || w.Code > 499 || w.Body.Len() > 16<<10 || errorOf(t, w) == "" {
			t.Errorf("%s: %d, %d bytes: %.300s", name, w.Code, w.Body.Len(), w.Body)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	for rest, text := range map[string]string{
		`"filters":[` + strings.Repeat(one+",", 999) + one + `]`:                   "Invalid filters. There are more than 500 filters and values; ask with fewer, or with a pattern.",
		`"filters":[["is","event:page",[` + strings.Repeat(`"/",`, 600) + `"/"]]]`: "Invalid filters. There are more than 500 filters and values; ask with fewer, or with a pattern.",
		`"filters":[` + deep(17) + `]`:                                             "Invalid filters. They are nested more than 16 deep.",
	} {
		if w := r.query(body(rest)); errorOf(t, w) != text {
			t.Errorf("%.40s…: %s, want %s", rest, w.Body, text)
		}
	}
	if w := r.query(body(`"filters":[` + deep(15) + `]`)); w.Code != 200 {
		t.Errorf("nested to the limit: %d %s", w.Code, w.Body)
	}
	// The catastrophe of a backtracking engine is none here.
	if w := r.query(body(`"filters":[["matches","event:page",["^(a+)+$"]]]`)); w.Code != 200 {
		t.Errorf("(a+)+: %d %s", w.Code, w.Body)
	}
	if w := r.query(body(`"filters":[["matches","visit:country_name",[` + strings.TrimSuffix(strings.Repeat(`"(a+)+",`, 490), ",") + `]]]`)); w.Code != 200 {
		t.Errorf("every country, often: %d %s", w.Code, w.Body)
	}
}

// FuzzV2 sends any body: no answer may be our fault, and no question to the engine
// may be beyond its limits.
func FuzzV2(f *testing.F) {
	f.Add(body(""))
	f.Add(body(`"date_range":["2024-01-01","2024-02-01"],"dimensions":["time","visit:country_name"],"order_by":[["time","asc"]],"include":{"time_labels":true,"comparisons":{"mode":"previous_period"}}`))
	f.Add(body(`"filters":[["is","segment",[7]],["has_done",["is","event:goal",["Signup"]]]],"metrics":["total_revenue","conversion_rate"],"dimensions":["event:goal"]`))
	r := newPeerRig(f, func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	f.Fuzz(func(t *testing.T, body string) {
		r.asked = nil
		w := r.query(body)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		for _, q := range r.asked {
			if len(q.Metrics) == 0 || len(q.Dimensions) > event.MaxDimensions || q.Limit > event.MaxRows || q.Limit < 1 || q.Offset < 0 {
				t.Fatalf("%q asked %+v", body, q)
			}
		}
	})
}

// FuzzV2Filters reads any filters and writes them again: what comes out must read
// as the same, and mean the same.
func FuzzV2Filters(f *testing.F) {
	for _, s := range []string{
		`[["is","event:page",["/"]]]`, `[["contains","visit:device",["x"],{"case_sensitive":false}]]`, `[["is","visit:city",[1,2]]]`,
		`[["and",[["not",["is","segment",[7,8]]],["or",[["has_not_done",["is","event:goal",["Signup"]]]]]]]]`,
	} {
		f.Add(s)
	}
	words := newPeerRig(f).fake
	f.Fuzz(func(t *testing.T, s string) {
		written, filter, err := server.ReadFilters(s, words.goals, words.segments)
		if err != nil {
			return
		}
		again, same, err := server.ReadFilters(written, words.goals, words.segments)
		if err != nil || again != written || !reflect.DeepEqual(filter, same) {
			t.Fatalf("%q became %q and then %q (%v)\n%+v\n%+v", s, written, again, err, filter, same)
		}
		if n := fmt.Sprint(filter); len(n) > 64<<10 {
			t.Fatalf("%q means %d bytes", s, len(n))
		}
	})
}

// BenchmarkV2 is what a question costs beside the engine: the request, its parts,
// a hundred rows written.
func BenchmarkV2(b *testing.B) {
	r := newPeerRig(b, func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	var lines []event.Line
	for i := range 100 {
		lines = append(lines, lineOf([]any{"DE", fmt.Sprint("/page/", i)}, i, 50.5, 12.25))
	}
	r.answer = answers(lines...)
	question := body(`"metrics":["visitors","bounce_rate","visit_duration"],"dimensions":["visit:country_name","event:page"],
		"filters":[["is","visit:source",["Google"]],["or",[["contains","event:page",["/"]],["is_not","visit:country_name",["Austria"]]]]]`)
	for b.Loop() {
		if w := r.query(question); w.Code != 200 {
			b.Fatal(w.Body)
		}
		r.asked = r.asked[:0]
	}
}
