package main_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/andrerfcsantos/go-plausible/plausible"
)

const (
	chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)

// peers starts the real server with a site, its goals, a segment, and the visits
// of four people in the last hour:
//
//	-50m  in Germany, from Google: /, an engagement, /pricing, and a Signup (plan=pro) two minutes after the first
//	-40m  in the USA, on a phone, from a newsletter: /blog/a
//	-30m  in Germany: /, and a minute later a Purchase of 12.50 USD
//	 -1m  somewhere: /pricing
func peers(t *testing.T) *daemon {
	t.Helper()
	d := newRig(t, normal).start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site, "timezone": midday()}, nil)
	for _, goal := range []map[string]any{
		{"kind": "event", "event": "Signup"}, {"kind": "page", "path": "/blog/*"}, {"kind": "event", "event": "Purchase", "currency": "USD"},
	} {
		d.must(http.MethodPost, "/api/goals?site_id="+site, goal, nil)
	}
	d.must(http.MethodPost, "/api/segments?site_id="+site, map[string]any{
		"name": "German", "filters": []any{[]any{"is", "visit:country_name", []string{"Germany"}}},
	}, nil)
	now := time.Now()
	event := func(ip, agent string, ago time.Duration, name, path string, more map[string]any) map[string]any {
		e := map[string]any{"n": name, "d": site, "url": "https://" + site + path, "ip": ip, "user_agent": agent, "timestamp": now.Add(-ago).UnixMilli()}
		for key, value := range more {
			e[key] = value
		}
		return e
	}
	var answer struct {
		Accepted int
		Rejected []any
	}
	d.must(http.MethodPost, "/api/events", []any{
		event("5.9.0.1", chrome, 50*time.Minute, "pageview", "/", map[string]any{"referrer": "https://www.google.com/"}),
		event("5.9.0.1", chrome, 49*time.Minute+30*time.Second, "engagement", "/", map[string]any{"e": 5000, "sd": 60}),
		event("5.9.0.1", chrome, 49*time.Minute, "pageview", "/pricing", nil),
		event("5.9.0.1", chrome, 48*time.Minute, "Signup", "/pricing", map[string]any{"props": map[string]string{"plan": "pro"}}),
		event("8.8.8.8", iPhone, 40*time.Minute, "pageview", "/blog/a?utm_source=news&utm_medium=mail", nil),
		event("5.9.0.2", browser, 30*time.Minute, "pageview", "/", nil),
		event("5.9.0.2", browser, 29*time.Minute, "Purchase", "/", map[string]any{"revenue": map[string]string{"amount": "12.50", "currency": "USD"}}),
		event("203.0.113.9", browser, time.Minute, "pageview", "/pricing", nil),
	}, &answer)
	if answer.Accepted != 8 {
		t.Fatalf("accepted %d: %v", answer.Accepted, answer.Rejected)
	}
	d.seen(func() bool { return d.count() == 8 })
	return d
}

// midday is a zone whose day has begun hours ago, and does not end soon: a visitor
// is one for a day only.
func midday() string {
	for _, zone := range []string{"UTC", "Asia/Tokyo", "America/Los_Angeles"} {
		if in, err := time.LoadLocation(zone); err == nil {
			if hour := time.Now().In(in).Hour(); hour >= 3 && hour < 23 {
				return zone
			}
		}
	}
	return "Asia/Kolkata"
}

// TestGoPlausible makes every call of a client that other people wrote for
// Plausible. What we have no answer to must be an error that tells.
func TestGoPlausible(t *testing.T) {
	t.Parallel()
	d := peers(t)
	defer d.stop()
	us := plausible.NewClientWithBaseURL(apiKey, d.url+"/api/v1/").Site(site)
	if got, err := us.CurrentVisitors(); got != 1 || err != nil {
		t.Errorf("current visitors %d, %v; want 1", got, err)
	}
	date := func(days int) plausible.Date {
		in, _ := time.LoadLocation(midday())
		y, m, day := time.Now().In(in).AddDate(0, 0, days).Date()
		return plausible.Date{Year: y, Month: int(m), Day: day}
	}
	today := plausible.DayPeriod()
	total, err := us.Aggregate(plausible.AggregateQuery{Period: today, Metrics: plausible.AllMetrics(), ComparePreviousPeriod: true})
	want := plausible.AggregateResult{
		Visitors: 4, VisitorsChange: 100, Pageviews: 5, PageviewsChange: 100, Visits: 4, VisitsChange: 100,
		BounceRate: 50, VisitDuration: 45, VisitDurationChange: 100,
	}
	if err != nil || total != want {
		t.Errorf("aggregate: %v\ngot  %+v\nwant %+v", err, total, want)
	}
	german, err := us.Aggregate(plausible.AggregateQuery{
		Period: plausible.CustomPeriod(date(-1), date(1)), Metrics: plausible.Metrics{plausible.Visitors, plausible.Events},
		Filters: plausible.NewFilter().ByVisitCountry("DE").ByEventPage("/*"),
	})
	if err != nil || german.Visitors != 2 || german.Events != 5 {
		t.Errorf("in Germany: %v, %+v; want 2 visitors and 5 events", err, german)
	}
	series, err := us.Timeseries(plausible.TimeseriesQuery{Period: plausible.CustomPeriod(date(-1), date(0)), Metrics: plausible.AllMetrics(), Interval: plausible.DateInterval})
	if err != nil || len(series) != 2 || series[0].Visitors != 0 || series[0].VisitDurationRaw != nil || series[1].Visitors != 4 || series[1].BounceRate() != 50 {
		t.Errorf("timeseries: %v, %+v", err, series)
	}
	if hours, err := us.Timeseries(plausible.TimeseriesQuery{Period: today, Metrics: plausible.Metrics{plausible.Visitors}}); err != nil || len(hours) < 23 || len(hours) > 25 {
		t.Errorf("hours: %v, %d", err, len(hours))
	}
	if months, err := us.Timeseries(plausible.TimeseriesQuery{Period: plausible.Last6Months(), Metrics: plausible.Metrics{plausible.PageViews}}); err != nil || len(months) != 6 || months[5].Pageviews != 5 {
		t.Errorf("months: %v, %+v", err, months)
	}
	pages, err := us.Breakdown(plausible.BreakdownQuery{Property: plausible.EventPage, Period: today, Metrics: plausible.Metrics{plausible.Visitors, plausible.PageViews}, Limit: 2, Page: 1})
	if err != nil || len(pages) != 2 || pages[0].Page != "/" || pages[0].Visitors != 2 || pages[1].Page != "/pricing" || pages[1].Pageviews != 2 {
		t.Errorf("pages: %v, %+v", err, pages)
	}
	for _, property := range []plausible.PropertyName{
		plausible.EventName, plausible.VisitSource, plausible.VisitReferrer, plausible.VisitUtmMedium, plausible.VisitUtmSource, plausible.VisitUtmCampaign,
		plausible.VisitDevice, plausible.VisitBrowser, plausible.VisitBrowserVersion, plausible.VisitOs, plausible.VisitOsVersion, plausible.VisitCountry,
		plausible.CustomPropertyName("plan"),
	} {
		rows, err := us.Breakdown(plausible.BreakdownQuery{Property: property, Period: today, Metrics: plausible.Metrics{plausible.Visitors}})
		sum := 0
		for _, row := range rows {
			sum += row.Visitors
		}
		// Only who did several things is in several rows.
		if several := property == plausible.EventName || property == plausible.CustomPropertyName("plan"); err != nil || sum < 4 || sum > 4 && !several {
			t.Errorf("by %s: %v, %+v", property, err, rows)
		}
	}
	_, err = us.Aggregate(plausible.AggregateQuery{Period: today, Metrics: plausible.Metrics{plausible.Visits}, Filters: plausible.NewFilter().ByEventName("Signup")})
	if err == nil || !strings.Contains(err.Error(), "api error with code 400: Session metric `visits` cannot be queried when using a filter on `event:name`.") {
		t.Errorf("what Plausible refuses: %v", err)
	}

	// Events go to another place than questions.
	pushed, err := plausible.NewClientWithBaseURL(apiKey, d.url).PushEvent(plausible.EventRequest{
		EventData: plausible.EventData{Domain: site, Name: "pageview", URL: "https://" + site + "/pushed"}, UserAgent: iPhone,
	})
	if err != nil || string(pushed) != "ok" {
		t.Errorf("push: %q, %v", pushed, err)
	}

	// Sites are made by our own API.
	client := plausible.NewClientWithBaseURL(apiKey, d.url+"/api/v1/")
	_, created := client.CreateNewSite(plausible.CreateSiteRequest{Domain: "new.example"})
	_, listed := client.ListSites()
	_, details := us.Details()
	_, shared := us.SharedLink(plausible.SharedLinkRequest{Name: "x"})
	for what, err := range map[string]error{"create": created, "list": listed, "details": details, "share": shared} {
		if err == nil || !strings.Contains(err.Error(), "api error with code 404: ") {
			t.Errorf("%s: %v, want a 404 that tells", what, err)
		}
	}
	for _, wrong := range []*plausible.Site{plausible.NewClientWithBaseURL("nobody", d.url+"/api/v1/").Site(site), client.Site("nowhere.example")} {
		if _, err := wrong.CurrentVisitors(); err == nil || !strings.Contains(err.Error(), "api error with code 401: Invalid API key or site ID.") {
			t.Errorf("%s of nobody: %v", wrong.ID(), err)
		}
	}
}

// TestStatsAPI asks the real server in the ways of the Stats API v2.
func TestStatsAPI(t *testing.T) {
	t.Parallel()
	d := peers(t)
	defer d.stop()
	for rest, want := range map[string]string{
		`"metrics":["visitors","visits","pageviews","events","views_per_visit","bounce_rate","visit_duration"]`:                                      `[[4,4,5,7,1.25,50,45]] []`,
		`"metrics":["visitors","bounce_rate"],"dimensions":["visit:country_name"],"order_by":[["visitors","desc"],["bounce_rate","desc"]]`:           `[[2,0],[1,100],[1,100]] Germany,(not set),United States`,
		`"metrics":["visitors"],"dimensions":["visit:source"],"filters":[["is","visit:source",["Direct / None","Google"]]]`:                          `[[2],[1]] Direct / None,Google`,
		`"metrics":["visitors","percentage"],"dimensions":["visit:device"]`:                                                                          `[[3,75],[1,25]] Desktop,Mobile`,
		`"metrics":["events","time_on_page","scroll_depth"],"dimensions":["event:page"],"filters":[["is","event:page",["/"]]]`:                       `[[3,5,60]] /`,
		`"metrics":["pageviews","exit_rate"],"dimensions":["visit:exit_page"],"filters":[["is","visit:country",["US"]]]`:                             `[[1,100]] /blog/a`,
		`"metrics":["visitors","events","conversion_rate"],"dimensions":["event:goal"],"order_by":[["event:goal","asc"]]`:                            `[[1,1,25],[1,1,25],[1,1,25]] Purchase,Signup,Visit /blog/*`,
		`"metrics":["visitors","conversion_rate"],"filters":[["is","event:goal",["Signup","Purchase"]]]`:                                             `[[2,50]] []`,
		`"metrics":["visitors","conversion_rate","group_conversion_rate"],"dimensions":["visit:country"],"filters":[["is","event:goal",["Signup"]]]`: `[[1,25,50]] DE`,
		`"metrics":["visitors","conversion_rate"],"filters":[["is","event:goal",["Signup"]],["is","event:props:plan",["pro"]]]`:                      `[[1,25]] []`,
		`"metrics":["visitors"],"dimensions":["event:props:plan"],"filters":[["is","event:goal",["Signup"]]]`:                                        `[[1]] pro`,
		`"metrics":["events","total_revenue"],"filters":[["is","event:goal",["Purchase"]]]`:                                                          `[[1,{"value":12.5,"currency":"USD","short":"$12.5","long":"$12.50"}]] []`,
		`"metrics":["visitors"],"filters":[["is","segment",[1]],["has_done",["is","event:goal",["Signup"]]]]`:                                        `[[1]] []`,
		`"metrics":["visitors"],"filters":[["is","segment",[1]],["has_not_done",["is","event:goal",["Signup"]]]]`:                                    `[[1]] []`,
		`"metrics":["visitors"],"filters":[["or",[["matches","event:page",["^/blog/"]],["is_not","visit:utm_source",["(not set)"]]]]]`:               `[[1]] []`,
		`"metrics":["visitors"],"filters":[["contains","event:page",["PRIC"],{"case_sensitive":false}]]`:                                             `[[2]] []`,
		`"metrics":["visitors"],"filters":[["contains_not","event:page",["pric","/"]]]`:                                                              `[[0]] []`,
		`"metrics":["visitors"],"filters":[["is","event:page",[]]]`:                                                                                  `[[0]] []`,
		`"metrics":["visitors"],"filters":[["is","visit:city",[2950159]]]`:                                                                           `[[0]] []`,
		`"metrics":["visitors"],"filters":[["is","event:page",["' OR 1=1 --","\u0000","$1","?"]]]`:                                                   `[[0]] []`,
		`"metrics":["visitors"],"dimensions":["event:props:a' || (SELECT 1) || '"]`:                                                                  `[[4]] (none)`,
		`"metrics":["visitors"],"filters":[["contains","event:goal",["nothing is so called"]]]`:                                                      `[[0]] []`,
		`"metrics":["visitors","group_conversion_rate"],"dimensions":["visit:os"],"filters":[["contains","event:goal",["nothing is so called"]]]`:    `[] []`,
		`"metrics":["users","visits"],"dimensions":["visit:entry_page"],"pagination":{"limit":1,"offset":1000000000}`:                                `[] []`,
	} {
		status, answer, err := d.ask(http.MethodPost, "/api/v2/query", "application/json", []byte(`{"site_id":"`+site+`","date_range":"all",`+rest+`}`))
		var got struct {
			Results []struct {
				Metrics    json.RawMessage
				Dimensions []any
			}
			Meta struct{ Plan string }
		}
		if err == nil {
			err = json.Unmarshal([]byte(answer), &got)
		}
		if status == 400 && strings.Contains(rest, `\u0000`) {
			continue // it cannot be in a text
		}
		if err != nil || status != 200 || got.Meta.Plan == "" && len(got.Results) > 0 {
			t.Errorf("%s: %d %s %v", rest, status, answer, err)
			continue
		}
		var metrics, names []string
		for _, row := range got.Results {
			metrics = append(metrics, string(row.Metrics))
			for _, name := range row.Dimensions {
				names = append(names, name.(string))
			}
		}
		shown := "[" + strings.Join(metrics, ",") + "] " + strings.Join(names, ",")
		if len(names) == 0 {
			shown += "[]"
		}
		if shown != want {
			t.Errorf("%s:\ngot  %s\nwant %s", rest, shown, want)
		}
	}
	d.sums()
	status, answer, err := d.ask(http.MethodPost, "/api/v2/query", "application/json", []byte(`{"site_id":"`+site+`","date_range":"day","metrics":["visitors","bounce_rate"],
		"include":{"comparisons":{"mode":"previous_period"}}}`))
	const want = `{"results":[{"metrics":[4,50],"dimensions":[],"comparison":{"metrics":[0,0],"dimensions":[],"change":[100,null]}}],`
	if err != nil || status != 200 || !strings.HasPrefix(answer, want) {
		t.Errorf("today and yesterday: %d %s, %v; want %s", status, answer, err, want)
	}
}

// sums checks that what must add up does: days, entry pages, sources.
func (d *daemon) sums() {
	d.Helper()
	for _, by := range []string{"time:day", "time:hour", "visit:entry_page", "visit:exit_page", "visit:source", "visit:country", "visit:browser", "visit:device"} {
		var got struct{ Results []struct{ Metrics []int } }
		d.must(http.MethodPost, "/api/v2/query", map[string]any{
			"site_id": site, "date_range": "all", "metrics": []string{"visits"}, "dimensions": []string{by},
		}, &got)
		sum := []int{0}
		for _, row := range got.Results {
			sum[0] += row.Metrics[0]
		}
		if want := []int{4}; !reflect.DeepEqual(sum, want) {
			d.Errorf("visits by %s are %v in all, want %v", by, sum, want)
		}
	}
}

// TestHostileQuestions puts to the real server what nobody in his senses asks, in
// every parameter. It must answer each at once: with figures, or with what is wrong.
func TestHostileQuestions(t *testing.T) {
	t.Parallel()
	d := peers(t)
	defer d.stop()
	evil := []string{
		`'`, `"`, `\`, `;`, `--`, `' OR '1'='1`, `'; DROP TABLE events; --`, `") UNION SELECT * FROM parts --`, `$1`, `?`, `{}`, `%`, `_`, `\0`, "\t\n",
		`../../etc/passwd`, `read_csv('/etc/passwd')`, `${jndi:ldap://x}`, strings.Repeat("x", 3000), "\u202e\ufeff", "😀", "*", "**", "|", `\|`,
	}
	check := func(what string, status int, answer string, err error, start time.Time) {
		t.Helper()
		if took := time.Since(start); err != nil || status != 200 && (status < 400 || status > 499) || took > 10*time.Second {
			t.Errorf("%.200s: %d after %s, %v: %.300s", what, status, took, err, answer)
		}
		for _, secret := range []string{d.dir, "goroutine", "root:", "duckdb", "Binder Error", "Parser Error", "Conversion Error"} {
			if strings.Contains(answer, secret) {
				t.Errorf("%.200s tells %q: %.300s", what, secret, answer)
			}
		}
	}
	v2 := func(what string, question map[string]any) {
		t.Helper()
		for key, usual := range map[string]any{"site_id": site, "metrics": []string{"visitors"}, "date_range": "all"} {
			if question[key] == nil {
				question[key] = usual
			}
		}
		body, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		status, answer, err := d.ask(http.MethodPost, "/api/v2/query", "application/json", body)
		check("v2, "+what, status, answer, err, start)
	}
	type list = []any
	for _, s := range evil {
		v2(s+" as site", map[string]any{"site_id": s})
		v2(s+" as metric", map[string]any{"metrics": list{s}})
		v2(s+" as range", map[string]any{"date_range": s})
		v2(s+" as days", map[string]any{"date_range": list{s, s}})
		v2(s+" as dimension", map[string]any{"dimensions": list{s}})
		v2(s+" as property", map[string]any{"dimensions": list{"event:props:" + s}, "order_by": list{list{"event:props:" + s, "asc"}}})
		v2(s+" as order", map[string]any{"order_by": list{list{s, "desc"}}})
		v2(s+" as key", map[string]any{s: s, "include": map[string]any{s: true}})
		for _, op := range []string{"is", "is_not", "contains", "contains_not", "matches", "matches_not"} {
			for _, dim := range []string{"event:page", "event:props:" + s, "visit:country_name"} {
				v2(op+" "+dim+" "+s, map[string]any{"filters": list{list{op, dim, list{s}}}})
			}
		}
		v2("has_done "+s, map[string]any{"filters": list{list{"has_done", list{"contains", "event:goal", list{s}}}}})
		for name, params := range map[string]url.Values{
			"aggregate":         {"filters": {"event:page==" + s + ";event:props:a!=" + s}},
			"timeseries":        {"interval": {s}},
			"breakdown":         {"property": {"event:props:" + s}, "limit": {"10"}},
			"realtime/visitors": {"site_id": {s}},
		} {
			if !params.Has("site_id") {
				params.Set("site_id", site)
			}
			start := time.Now()
			status, answer, err := d.get("/api/v1/stats/" + name + "?" + params.Encode())
			check("v1, "+name+" "+s, status, answer, err, start)
		}
		for _, name := range []string{"site_id", "period", "date", "metrics", "filters", "compare", "interval", "property", "limit", "page"} {
			params := url.Values{"site_id": {site}, "property": {"event:page"}}
			params.Set(name, s)
			for _, path := range []string{"aggregate", "timeseries", "breakdown"} {
				start := time.Now()
				status, answer, err := d.get("/api/v1/stats/" + path + "?" + params.Encode())
				check("v1, "+path+" with "+name+"="+s, status, answer, err, start)
			}
		}
	}
	forever := list{"1970-01-01", "9999-12-31"}
	for _, by := range []string{"time:hour", "time:day", "time:week", "time:month", "time"} {
		v2(by+" of all time", map[string]any{"date_range": forever, "dimensions": list{by}})
		v2(by+" of all time, labelled", map[string]any{"date_range": forever, "dimensions": list{by}, "include": map[string]any{"time_labels": true}})
		v2(by+" of all time, compared", map[string]any{"date_range": forever, "dimensions": list{by}, "include": map[string]any{"comparisons": map[string]any{"mode": "year_over_year"}}})
	}
	nested := list{"is", "event:page", list{"/"}}
	for range 14 {
		nested = list{"or", list{list{"not", nested}}}
		v2("nested", map[string]any{"filters": list{nested}})
	}
	var many, values list
	for i := range 240 {
		many = append(many, list{"contains_not", "event:props:p" + strconv.Itoa(i), list{"x"}})
		values = append(values, "^(a+)+"+strconv.Itoa(i)+"$", "(x|y)*z"+strconv.Itoa(i))
	}
	v2("as many filters as there may be", map[string]any{"filters": many[:100]})
	v2("too many filters", map[string]any{"filters": append(many, many...)})
	v2("as many patterns as there may be", map[string]any{"filters": list{list{"matches", "event:page", values}}})
	v2("a program of a pattern", map[string]any{"filters": list{list{"matches", "event:page", list{strings.Repeat("(a{1,90})", 40)}}}})
	v2("a nested program", map[string]any{"filters": list{list{"matches", "event:page", list{"((((a{1,30}){1,30})?){1,30})+"}}}})
	v2("all dimensions", map[string]any{
		"metrics":    list{"visitors", "visits", "pageviews", "events", "percentage"},
		"dimensions": list{"event:page", "visit:source", "visit:os", "visit:browser", "visit:device", "visit:country", "visit:exit_page", "time:day"},
	})
	if n := d.count(); n != 8 {
		t.Errorf("%d events afterwards, want 8", n)
	}
}
