package main_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A day is a site of the real server on which it is eight in the evening, so that
// everything the tests tell of its day is past, and no older than a batch may be.
type day struct {
	*daemon
	zone     *time.Location
	midnight time.Time
}

// evening makes a site whose clock shows eight in the evening.
func evening(d *daemon) *day {
	d.Helper()
	now := time.Now().UTC()
	offset := 20 - now.Hour()
	if offset > 14 {
		offset -= 24
	}
	name := fmt.Sprintf("Etc/GMT%+d", -offset) // whose sign is the other way round
	zone, err := time.LoadLocation(name)
	if err != nil {
		d.Fatal(err)
	}
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site, "timezone": name}, nil)
	y, m, day0 := now.In(zone).Date()
	return &day{d, zone, time.Date(y, m, day0, 0, 0, 0, 0, zone)}
}

// at is a time of the day, 09:00 or 09:00:30. One of the day before has a minus.
func (d *day) at(clock string) time.Time {
	d.Helper()
	midnight := d.midnight
	if rest, before := strings.CutPrefix(clock, "-"); before {
		midnight, clock = midnight.AddDate(0, 0, -1), rest
	}
	if len(clock) == len("09:00") {
		clock += ":00"
	}
	t, err := time.Parse(time.TimeOnly, clock)
	if err != nil {
		d.Fatal(err)
	}
	return midnight.Add(t.Sub(t.Truncate(24 * time.Hour)))
}

// tell sends one event a line, in order: time, visitor, user or -, name, path,
// and more of it as JSON.
func (d *day) tell(story string) {
	d.Helper()
	var batch []map[string]any
	for line := range strings.Lines(story) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		words := strings.Fields(line)
		e := map[string]any{
			"domain": site, "timestamp": d.at(words[0]).Format(time.RFC3339), "ip": "203.0.113." + words[1], "user_agent": browser,
			"name": words[3], "url": "https://" + site + words[4],
		}
		if words[2] != "-" {
			e["user"] = words[2]
		}
		if len(words) > 5 {
			var more map[string]any
			if err := json.Unmarshal([]byte(strings.Join(words[5:], " ")), &more); err != nil {
				d.Fatalf("%s: %v", line, err)
			}
			maps.Copy(e, more)
		}
		batch = append(batch, e)
	}
	var answer struct{ Accepted int }
	d.must(http.MethodPost, "/api/events", batch, &answer)
	if answer.Accepted != len(batch) {
		d.Fatalf("%d of %d events were taken", answer.Accepted, len(batch))
	}
	d.flushed()
}

// report returns what is under results, and the whole answer.
func (d *daemon) report(target string) (results any, whole map[string]any) {
	d.Helper()
	d.must(http.MethodGet, "/api/stats/"+target, nil, &whole)
	return whole["results"], whole
}

// nearly allows what is a rounding of floats, and the 1 % of medians.
var nearly = cmp.Options{
	cmp.FilterPath(rough, cmpopts.EquateApprox(0.01, 0)),
	cmp.FilterPath(func(p cmp.Path) bool { return !rough(p) }, cmpopts.EquateApprox(1e-12, 1e-9)),
}

func rough(p cmp.Path) bool {
	for _, step := range p {
		if m, ok := step.(cmp.MapIndex); ok && (m.Key().String() == "median" || m.Key().String() == "p90") {
			return true
		}
	}
	return false
}

// is compares results with JSON. TODAY in it stands for the day.
func (d *day) is(what string, got any, want string) {
	d.Helper()
	want = strings.ReplaceAll(want, "YESTERDAY", d.midnight.AddDate(0, 0, -1).Format(time.DateOnly))
	want = strings.ReplaceAll(want, "TODAY", d.midnight.Format(time.DateOnly))
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		d.Fatalf("%s: %v\n%s", what, err, want)
	}
	if diff := cmp.Diff(w, got, nearly); diff != "" {
		d.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

// The day that the reports are about:
//
//	1  comes from a search at 09:00, signs up, and comes back at 12:00 for one page
//	2  comes with a campaign at 10:00, and buys
//	3  reads one page at 10:30
//	4  signs up at 11:00, and buys twice in euro and once in dollars
//	9  was there the evening before; it is the same user as 1
const statsDay = `
-23:00 9 u1 pageview /
09:00 1 u1 pageview / {"referrer":"https://www.google.com/"}
09:01 1 u1 pageview /pricing
09:05 1 u1 Signup /pricing {"props":{"plan":"pro"}}
09:05:30 1 u1 engagement /pricing {"e":30000,"sd":80}
09:06 1 u1 pageview /thanks
10:00 2 u2 pageview /blog/a?utm_source=news&utm_campaign=spring
10:10 2 u2 pageview /
10:20 2 u2 Purchase /shop {"revenue":{"amount":"12.50","currency":"EUR"},"props":{"plan":"free"}}
10:30 3 - pageview /blog/b
11:00 4 - pageview /
11:00:30 4 - Signup / {"props":{"plan":"free"}}
11:02 4 - Purchase /shop {"revenue":{"amount":7.5,"currency":"EUR"}}
11:03 4 - Purchase /shop {"revenue":{"amount":3,"currency":"USD"}}
11:10 4 - pageview /thanks
12:00 1 u1 pageview /
`

// statsTable is every report about that day, worked out by hand.
var statsTable = map[string]string{
	"main?": `{"visitors":4,"visits":5,"pageviews":9,"events":14,"views_per_visit":1.8,"bounce_rate":40,"visit_duration":432}`,
	"main?metrics=users,percentage,total_revenue,average_revenue&currency=EUR": `{"users":2,"percentage":100,"total_revenue":20,"average_revenue":10}`,
	"main?metrics=total_revenue&currency=CHF":                                  `{"total_revenue":null}`,
	// Whole visits, though only one of their pages is asked for.
	"main?filters=pages==/thanks":                                                             `{"visitors":2,"visits":2,"pageviews":2,"events":2,"views_per_visit":2.5,"bounce_rate":0,"visit_duration":480}`,
	"main?filters=source==Google&metrics=visitors,visits,bounce_rate":                         `{"visitors":1,"visits":1,"bounce_rate":0}`,
	"main?filters=source!=Google;pages==/&metrics=visitors,visits,bounce_rate":                `{"visitors":3,"visits":3,"bounce_rate":33.3333333333}`,
	"main?filters=pages~BLOG&metrics=pageviews":                                               `{"pageviews":2}`,
	"main?filters=utm_source==news|other&metrics=visits":                                      `{"visits":1}`,
	"main?filters=prop:plan==free&metrics=visitors,events":                                    `{"visitors":2,"events":2}`,
	"main?filters=goal==Purchase&metrics=visitors,events,conversion_rate":                     `{"visitors":2,"events":3,"conversion_rate":50}`,
	"main?filters=goal==Purchase;utm_source==news&metrics=conversion_rate":                    `{"conversion_rate":100}`,
	`main?filters=[["is","event:goal",["Visit /thanks"]]]&metrics=conversion_rate`:            `{"conversion_rate":50}`,
	`main?filters=[["has_done",["is","event:name",["Signup"]]]]&metrics=pageviews`:            `{"pageviews":5}`,
	"main?segment=1&metrics=visits":                                                           `{"visits":1}`,
	"sessions?":                                                                               `{"visits":5,"visitors":4,"views_per_visit":1.8,"bounce_rate":40,"visit_duration":432}`,
	"breakdown/pages?metrics=visitors,visits,pageviews,events,bounce_rate":                    `[{"value":"/","visitors":3,"visits":4,"pageviews":4,"events":5,"bounce_rate":25},{"value":"/shop","visitors":2,"visits":2,"pageviews":0,"events":3,"bounce_rate":0},{"value":"/thanks","visitors":2,"visits":2,"pageviews":2,"events":2,"bounce_rate":0},{"value":"/blog/a","visitors":1,"visits":1,"pageviews":1,"events":1,"bounce_rate":0},{"value":"/blog/b","visitors":1,"visits":1,"pageviews":1,"events":1,"bounce_rate":100},{"value":"/pricing","visitors":1,"visits":1,"pageviews":1,"events":2,"bounce_rate":0}]`,
	"breakdown/pages?metrics=visitors,time_on_page,scroll_depth&search=PRIC":                  `[{"value":"/pricing","visitors":1,"time_on_page":30,"scroll_depth":80}]`,
	"breakdown/pages?metrics=visitors&limit=2&page=2&sort=value:desc":                         `[{"value":"/pricing","visitors":1},{"value":"/blog/b","visitors":1}]`,
	"breakdown/entry-pages?metrics=visits,visit_duration":                                     `[{"value":"/","visits":3,"visit_duration":320},{"value":"/blog/a","visits":1,"visit_duration":1200},{"value":"/blog/b","visits":1,"visit_duration":0}]`,
	"breakdown/exit-pages?metrics=visits,exit_rate":                                           `[{"value":"/","visits":2,"exit_rate":50},{"value":"/thanks","visits":2,"exit_rate":100},{"value":"/blog/b","visits":1,"exit_rate":100}]`,
	"breakdown/sources?metrics=visits,percentage":                                             `[{"value":null,"visits":3,"percentage":75},{"value":"Google","visits":1,"percentage":25},{"value":"news","visits":1,"percentage":25}]`,
	"breakdown/events?metrics=events,visitors":                                                `[{"value":"pageview","events":9,"visitors":4},{"value":"Purchase","events":3,"visitors":2},{"value":"Signup","events":2,"visitors":2}]`,
	"breakdown/prop:plan?metrics=events&filters=events!=pageview|engagement":                  `[{"value":null,"events":2},{"value":"free","events":2},{"value":"pro","events":1}]`,
	"breakdown/currencies?metrics=events,total_revenue&filters=events==Purchase&currency=EUR": `[{"value":"EUR","events":2,"total_revenue":20},{"value":"USD","events":1,"total_revenue":null}]`,
	"breakdown/goals?sort=value":                                                              `[{"value":"Purchase","visitors":2,"events":3,"conversion_rate":50},{"value":"Visit /thanks","visitors":2,"events":2,"conversion_rate":50}]`,
	"goals?": `[{"id":1,"name":"Visit /thanks","kind":"page","visitors":2,"events":2,"conversion_rate":50},
		{"id":2,"name":"Purchase","kind":"event","visitors":2,"events":3,"conversion_rate":50,"revenue":{"currency":"EUR","total":20,"average_order_value":10}},
		{"name":"Signup","kind":"custom_event","visitors":2,"events":2,"conversion_rate":50}]`,
	"goals?filters=source==Google": `[{"id":1,"name":"Visit /thanks","kind":"page","visitors":1,"events":1,"conversion_rate":100},
		{"id":2,"name":"Purchase","kind":"event","visitors":0,"events":0,"conversion_rate":0,"revenue":{"currency":"EUR","total":null,"average_order_value":null}},
		{"name":"Signup","kind":"custom_event","visitors":1,"events":1,"conversion_rate":100}]`,
	"revenue?": `{"by_currency":[{"currency":"EUR","total":20,"transactions":2,"paying_visitors":2,"average_order_value":10},{"currency":"USD","total":3,"transactions":1,"paying_visitors":1,"average_order_value":3}],
		"by_event":[{"value":"Purchase","currency":"EUR","total":20,"transactions":2,"paying_visitors":2,"average_order_value":10},{"value":"Purchase","currency":"USD","total":3,"transactions":1,"paying_visitors":1,"average_order_value":3}],
		"by_page":[{"value":"/shop","currency":"EUR","total":20,"transactions":2,"paying_visitors":2,"average_order_value":10},{"value":"/shop","currency":"USD","total":3,"transactions":1,"paying_visitors":1,"average_order_value":3}]}`,
	"properties?":                                     `[{"name":"plan","visitors":3,"events":3}]`,
	"properties?event=Purchase":                       `[{"name":"plan","visitors":1,"events":1}]`,
	"property-values?key=plan":                        `[{"value":"free","visitors":2,"events":2},{"value":"pro","visitors":1,"events":1}]`,
	"property-values?key=plan&event=Signup&search=FR": `[{"value":"free","visitors":1,"events":1}]`,
	"funnel?steps=page:/,event:Signup,page:/thanks": `{"steps":[
		{"step":1,"name":"page:/","visitors":3,"conversion_rate":100,"kept_rate":100,"dropped_off":0,"took":null},
		{"step":2,"name":"event:Signup","visitors":2,"conversion_rate":66.6666666667,"kept_rate":66.6666666667,"dropped_off":1,"took":{"mean":165,"median":30,"p90":300,"shortest":30,"longest":300}},
		{"step":3,"name":"page:/thanks","visitors":2,"conversion_rate":66.6666666667,"kept_rate":100,"dropped_off":0,"took":{"mean":315,"median":60,"p90":570,"shortest":60,"longest":570}}]}`,
	"funnel?steps=page:/blog/*,page:/&window=5+minutes": `{"steps":[
		{"step":1,"name":"page:/blog/*","visitors":2,"conversion_rate":100,"kept_rate":100,"dropped_off":0,"took":null},
		{"step":2,"name":"page:/","visitors":0,"conversion_rate":0,"kept_rate":0,"dropped_off":2,"took":null}]}`,
	"sequences?steps=page:/,event:Signup":                                                   `{"converting_visitors":2,"total_visitors":4,"conversion_rate":50,"total_matches":2,"pattern":"(?1).*(?2)"}`,
	"sequences?steps=page:/,event:Signup&every=true&pattern=" + url.QueryEscape("(?1)(?2)"): `{"converting_visitors":1,"total_visitors":4,"conversion_rate":25,"total_matches":1,"pattern":"(?1)(?2)"}`,
	"sequences?steps=page:/,event:Signup&pattern=" + url.QueryEscape("(?1)(?t<=60)(?2)"):    `{"converting_visitors":1,"total_visitors":4,"conversion_rate":25,"total_matches":1,"pattern":"(?1)(?t<=60)(?2)"}`,
	"flow?page=/": `{"start":[{"kind":"value","value":"/","visits":4,"share":100}],
		"steps":[{"nodes":[{"kind":"value","value":"/pricing","visits":1,"share":25},{"kind":"value","value":"/thanks","visits":1,"share":25},{"kind":"exit","value":null,"visits":2,"share":50}],
		"links":[{"from":0,"to":2,"visits":2},{"from":0,"to":0,"visits":1},{"from":0,"to":1,"visits":1}]}]}`,
	"flow?page=/thanks&direction=backward": `{"start":[{"kind":"value","value":"/thanks","visits":2,"share":100}],
		"steps":[{"nodes":[{"kind":"value","value":"/","visits":1,"share":50},{"kind":"value","value":"/pricing","visits":1,"share":50}],
		"links":[{"from":0,"to":0,"visits":1},{"from":0,"to":1,"visits":1}]}]}`,
}

// TestStats asks the real server every report about a day, from the journal, from
// Parquet, and after a start. The figures are worked out by hand.
func TestStats(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, "EIDER_PUBLISH_INTERVAL=3600")
	d := evening(r.start())
	goals := func(goal map[string]any) { d.must(http.MethodPost, "/api/goals?site_id="+site, goal, nil) }
	goals(map[string]any{"kind": "page", "path": "/thanks"})
	goals(map[string]any{"kind": "event", "event": "Purchase", "currency": "EUR"})
	d.must(http.MethodPost, "/api/segments?site_id="+site, map[string]any{"name": "searched", "filters": []any{[]any{"is", "visit:source", []string{"Google"}}}}, nil)
	d.tell(statsDay)
	for _, state := range []string{"in the journal", "in parts", "after a start"} {
		switch state {
		case "in parts":
			d.publish()
		case "after a start":
			d.kill()
			d.daemon = r.start()
		}
		for _, target := range slices.Sorted(maps.Keys(statsTable)) {
			path, query, _ := strings.Cut(target, "?")
			got, whole := d.report(path + "?" + quoted(query) + "&period=today&site_id=" + site)
			d.is(state+": "+target, got, statsTable[target])
			if meta, _ := whole["meta"].(map[string]any); meta["seq"] != 16.0 {
				t.Errorf("%s: %s: meta %v, want seq 16", state, target, meta)
			}
		}
		d.series(state)
		d.returning(state)
		d.posted(state)
	}
	d.stop()
}

// quoted writes a query as curl -G would.
func quoted(query string) string {
	return strings.NewReplacer(`"`, "%22", "[", "%5B", "]", "%5D", " ", "%20", "|", "%7C").Replace(query)
}

// series is about the day by the hour, and both days by the day.
func (d *day) series(state string) {
	d.Helper()
	got, whole := d.report("timeseries?period=today&metrics=visitors,visits,pageviews,bounce_rate&site_id=" + site)
	if whole["interval"] != "hour" {
		d.Errorf("%s: interval %v", state, whole["interval"])
	}
	want := map[string][4]float64{"09": {1, 1, 3, 0}, "10": {2, 2, 3, 50}, "11": {1, 1, 2, 0}, "12": {1, 1, 1, 100}}
	points, _ := got.([]any)
	for h, p := range points {
		p := p.(map[string]any)
		clock := fmt.Sprintf("%02d", h)
		figures := [4]float64{p["visitors"].(float64), p["visits"].(float64), p["pageviews"].(float64), p["bounce_rate"].(float64)}
		_, partial := p["partial"]
		if p["date"] != d.midnight.Format(time.DateOnly)+" "+clock+":00:00" || figures != want[clock] || partial != (h == len(points)-1) {
			d.Errorf("%s: hour %d is %v, want %v", state, h, p, want[clock])
		}
	}
	if len(points) != 21 && len(points) != 22 { // the hour may end meanwhile
		d.Errorf("%s: %d hours, want those until now", state, len(points))
	}
	days, _ := d.report("timeseries?interval=day&metrics=visitors,time_on_page&start_date=" + d.midnight.AddDate(0, 0, -1).Format(time.DateOnly) +
		"&end_date=" + d.midnight.AddDate(0, 0, 3).Format(time.DateOnly) + "&site_id=" + site)
	d.is(state+": days", days, `[
		{"date":"YESTERDAY","time":"`+d.midnight.AddDate(0, 0, -1).Format(time.RFC3339)+`","visitors":1,"time_on_page":null},
		{"date":"TODAY","time":"`+d.midnight.Format(time.RFC3339)+`","partial":true,"visitors":4,"time_on_page":30}]`)
	_, compared := d.report("main?period=today&compare=previous_period&metrics=visitors,bounce_rate&site_id=" + site)
	comparison, _ := compared["comparison"].(map[string]any)
	// The day before until now, when nobody had come yet.
	d.is(state+": before", comparison["results"], `{"visitors":0,"bounce_rate":0}`)
	d.is(state+": change", comparison["change"], `{"visitors":null,"bounce_rate":40}`)
	yesterday, _ := d.report("main?period=yesterday&site_id=" + site)
	d.is(state+": yesterday", yesterday, `{"visitors":1,"visits":1,"pageviews":1,"events":1,"views_per_visit":1,"bounce_rate":100,"visit_duration":0}`)
}

// returning is about who came on both days.
func (d *day) returning(state string) {
	d.Helper()
	got, whole := d.report("retention?interval=day&n=2&site_id=" + site)
	d.is(state+": retention", got, `{"cohorts":[
		{"cohort_date":"YESTERDAY","cohort_size":1,"retained":[1,null],"retention_rates":[100,null]},
		{"cohort_date":"TODAY","cohort_size":1,"retained":[null,null],"retention_rates":[null,null]}],
		"total":{"cohort_size":2,"retained":[1,null],"retention_rates":[100,null]},
		"interval":"day","periods":2,"identity_supports_cohorts":true,"caveat":"only events with a user id that the site sent are counted"}`)
	if whole["start_date"] != d.midnight.AddDate(0, 0, -1).Format(time.DateOnly) {
		d.Errorf("%s: the range begins on %v", state, whole["start_date"])
	}
}

// posted asks funnels whose steps are filters.
func (d *day) posted(state string) {
	d.Helper()
	var answer struct {
		Results struct {
			Steps []struct {
				Name     string
				Visitors int
			}
			Segments []struct {
				Value *string
				Steps []struct{ Visitors int }
			}
			Count int `json:"total_segments"`
		}
	}
	ask := map[string]any{
		"site_id": site, "period": "today", "window": "1 hour", "by": "sources", "filters": "country!=XX",
		"steps": []any{map[string]any{"name": "came", "filters": []any{[]any{"is", "event:name", []string{"pageview"}}}},
			map[string]any{"filters": []any{[]any{"or", []any{[]any{"is", "event:name", []string{"Signup"}}, []any{"is", "event:goal", []string{"Purchase"}}}}}}},
	}
	d.must(http.MethodPost, "/api/stats/funnel", ask, &answer)
	got := fmt.Sprint(answer.Results.Steps, answer.Results.Count)
	if want := "[{came 4} {step 2 3}] 3"; got != want {
		d.Errorf("%s: %s, want %s", state, got, want)
	}
	segments := map[string]string{}
	for _, s := range answer.Results.Segments {
		value := "-"
		if s.Value != nil {
			value = *s.Value
		}
		segments[value] = fmt.Sprint(s.Steps)
	}
	if diff := cmp.Diff(map[string]string{"-": "[{2} {1}]", "Google": "[{1} {1}]", "news": "[{1} {1}]"}, segments); diff != "" {
		d.Errorf("%s: segments, -want +got:\n%s", state, diff)
	}
}

// TestRealtime sends pages now and asks who is there.
func TestRealtime(t *testing.T) {
	t.Parallel()
	d := evening(newRig(t, normal).start())
	d.tell("19:00 1 - pageview /old\n")
	for _, page := range []string{"https://" + site + "/now", "https://" + site + "/now", "https://" + site + "/too"} {
		d.page(page)
	}
	d.seen(func() bool { return d.count() == 4 })
	got, _ := d.report("realtime?site_id=" + site)
	var report struct {
		Current   int `json:"current_visitors"`
		Pageviews int
		Window    int `json:"window_minutes"`
		Pages     []struct {
			Value    string
			Visitors int
		} `json:"top_pages"`
		Sources []struct {
			Value    *string
			Visitors int
		} `json:"top_sources"`
		Minutes []struct{ Pageviews, Visitors int } `json:"per_minute"`
	}
	b, _ := json.Marshal(got)
	if err := json.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	views := 0
	for _, m := range report.Minutes {
		views += m.Pageviews
	}
	if report.Current != 1 || report.Pageviews != 3 || report.Window != 5 || views != 3 || len(report.Minutes) != 6 && len(report.Minutes) != 5 {
		t.Errorf("got %s", b)
	}
	if fmt.Sprint(report.Pages) != "[{/now 1} {/too 1}]" || len(report.Sources) != 1 || report.Sources[0].Value != nil {
		t.Errorf("got %s", b)
	}
	d.stop()
}

// TestStatsOfNothing asks about a site on which nothing has happened: counts are
// zero, what nobody can know is null, and lists are empty.
func TestStatsOfNothing(t *testing.T) {
	t.Parallel()
	d := evening(newRig(t, normal).start())
	const usual = `{"visitors":0,"visits":0,"pageviews":0,"events":0,"views_per_visit":0,"bounce_rate":0,"visit_duration":0}`
	const nobody = `"visitors":0,"conversion_rate":0,"kept_rate":`
	for target, want := range map[string]string{
		"main?": usual,
		"main?metrics=users,time_on_page,scroll_depth,percentage,total_revenue,average_revenue&currency=EUR": `{"users":0,"time_on_page":null,
			"scroll_depth":null,"percentage":0,"total_revenue":null,"average_revenue":null}`,
		"main?filters=pages==/nowhere": usual,
		"sessions?":                    `{"visits":0,"visitors":0,"views_per_visit":0,"bounce_rate":0,"visit_duration":0}`,
		"breakdown/pages?":             `[]`,
		"breakdown/exit-pages?metrics=visits,exit_rate": `[]`,
		"breakdown/goals?":                `[]`,
		"breakdown/prop:plan?":            `[]`,
		"goals?":                          `[]`,
		"revenue?":                        `{"by_currency":[],"by_event":[],"by_page":[]}`,
		"properties?":                     `[]`,
		"property-values?key=plan":        `[]`,
		"funnel?steps=page:/a,page:/b":    `{"steps":[{"step":1,"name":"page:/a",` + nobody + `0,"dropped_off":0,"took":null},{"step":2,"name":"page:/b",` + nobody + `0,"dropped_off":0,"took":null}]}`,
		"sequences?steps=page:/a,page:/b": `{"converting_visitors":0,"total_visitors":0,"conversion_rate":0,"total_matches":0,"pattern":"(?1).*(?2)"}`,
		"flow?page=/a":                    `{"start":[],"steps":[{"nodes":[],"links":[]}]}`,
	} {
		path, query, _ := strings.Cut(target, "?")
		for _, period := range []string{"today", "all", "12mo"} {
			got, _ := d.report(path + "?" + quoted(query) + "&period=" + period + "&site_id=" + site)
			d.is(period+": "+target, got, want)
		}
	}
	got, _ := d.report("timeseries?period=all&site_id=" + site)
	d.is("series of nothing", got, `[]`)
	got, _ = d.report("timeseries?period=7d&interval=week&metrics=visitors,time_on_page&site_id=" + site)
	if points, _ := got.([]any); len(points) == 0 || points[0].(map[string]any)["visitors"] != 0.0 || points[0].(map[string]any)["time_on_page"] != nil {
		t.Errorf("series of a week: %v", got)
	}
	_, whole := d.report("main?period=7d&compare=year_over_year&metrics=visitors,bounce_rate&site_id=" + site)
	d.is("comparison", whole["comparison"].(map[string]any)["change"], `{"visitors":null,"bounce_rate":0}`)
	got, _ = d.report("realtime?site_id=" + site)
	if live := got.(map[string]any); live["current_visitors"] != 0.0 || live["top_pages"] == nil || live["top_sources"] == nil {
		t.Errorf("realtime: %v", live)
	}
	got, _ = d.report("retention?site_id=" + site)
	if grid := got.(map[string]any); grid["cohorts"] == nil {
		t.Errorf("retention: %v", grid)
	}
	d.stop()
}

// TestStatsRefused sends what nobody should ask: each is refused at once, with
// what is wrong with it, and the server goes on.
func TestStatsRefused(t *testing.T) {
	t.Parallel()
	d := evening(newRig(t, normal).start())
	d.tell("19:00 1 - pageview /a\n")
	many := strings.TrimSuffix(strings.Repeat("os==a|b|c|d|e;", 100), ";") // 500 values and 100 filters
	for _, target := range []string{
		"main?metrics=" + strings.Repeat("visitors,", 500), "main?filters=" + many, "main?filters=pages==%FF", "main?filters=pages==a%00b",
		"main?filters=" + strings.Repeat(`["not",`, 40), "main?filters=" + strings.Repeat("[", 3000), `main?filters=[["matches","event:page",["(a{1000}){1000}"]]]`,
		`main?filters=[["is","visit:os",["a"]]] ; DROP TABLE events`, "main?start_date=1970-01-01&end_date=2970-01-01", "main?filters=nothing==1",
		"main?filters=os%3D%3D';--&segment=1", "main?segment=-1", "main?segment=1 OR 1", "timeseries?interval=minute&period=year",
		"timeseries?interval=';--", "breakdown/path';--", "breakdown/pages?limit=1000000000", "breakdown/pages?page=1000000000",
		"breakdown/pages?sort=visitors;--", "breakdown/prop:" + strings.Repeat("x", 301), "property-values?key=a%00",
		"funnel?steps=" + strings.Repeat("page:/a,", 33), "funnel?steps=page:/a,page:" + strings.Repeat("x", 3000), "funnel?steps=page:/a,page:/b&window=9999999 days",
		"funnel?steps=page:/a,event:%00", "retention?interval=day&n=366&start_date=1990-01-01&end_date=2026-01-01", "retention?n=-1",
		"sequences?steps=page:/a,page:/b&pattern=(?3)", "sequences?steps=page:/a,page:/b&pattern=" + strings.Repeat("(", 400), "flow?page=/&steps=1000000000", "flow?limit=1e9",
		"main?period=7d%zz", "main?period=today&currency=" + strings.Repeat("E", 1000),
	} {
		path, query, _ := strings.Cut(target, "?")
		start := time.Now()
		status, answer, err := d.get("/api/stats/" + path + "?" + quoted(query) + "&site_id=" + site)
		if err != nil || status < 400 || status >= 500 || !strings.Contains(answer, `"error":"`) || len(answer) > 3000 {
			t.Errorf("%.80s: %d %.300s %v", target, status, answer, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%.80s took %s", target, took)
		}
	}
	// What looks like SQL is a text like any other.
	for _, target := range []string{
		"main?metrics=visitors&filters=os=='; DROP TABLE events;--", "breakdown/prop:';--?metrics=visitors", "main?metrics=visitors&filters=prop:a'b\"c==1",
		"breakdown/pages?metrics=visitors&search='%_\\", "property-values?key=a'b$c\"d",
	} {
		path, query, _ := strings.Cut(target, "?")
		status, answer, err := d.get("/api/stats/" + url.PathEscape(strings.Split(path, "/")[0]) + strings.TrimPrefix(path, strings.Split(path, "/")[0]) + "?" + url.PathEscape(query) + "&site_id=" + site)
		if err != nil || status != 200 && status != 400 && status != 422 {
			t.Errorf("%s: %d %s %v", target, status, answer, err)
		}
	}
	got, _ := d.report("main?metrics=visitors,pageviews&period=today&site_id=" + site)
	d.is("afterwards", got, `{"visitors":1,"pageviews":1}`)
	d.stop()
}

// TestStatsDegraded takes Parquet files away: reports say which they lack, those
// that do not need them do not, and what is left is counted.
func TestStatsDegraded(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, "EIDER_PUBLISH_INTERVAL=3600")
	d := evening(r.start())
	d.tell(statsDay)
	d.stop() // publishes
	parts, err := filepath.Glob(filepath.Join(r.dir, "events", "*", "*.parquet"))
	if err != nil || len(parts) == 0 {
		t.Fatal(parts, err)
	}
	var lost []any
	for _, path := range parts {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(r.dir, path)
		lost = append(lost, name)
	}
	d.daemon = r.start()
	d.page("https://" + site + "/left")
	d.seen(func() bool { return d.count() == 1 })
	slices.SortFunc(lost, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	for _, target := range []string{"main?", "timeseries?", "breakdown/pages?", "goals?", "funnel?steps=page:/,page:/thanks&", "flow?page=/&", "retention?"} {
		_, whole := d.report(target + "period=7d&site_id=" + site)
		got, _ := whole["degraded"].([]any)
		slices.SortFunc(got, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
		if diff := cmp.Diff(lost, got); diff != "" {
			t.Errorf("%s: degraded, -want +got:\n%s", target, diff)
		}
		needed := strings.HasPrefix(target, "retention") // which depends on who came back, whenever that was
		if _, old := d.report(target + "start_date=2020-01-01&end_date=2020-01-31&site_id=" + site); (old["degraded"] != nil) != needed {
			t.Errorf("%s of another year: degraded %v", target, old["degraded"])
		}
	}
	got, _ := d.report("main?period=7d&metrics=visitors,pageviews&site_id=" + site)
	d.is("what is left", got, `{"visitors":1,"pageviews":1}`)
	d.stop()
}
