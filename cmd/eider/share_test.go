package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// A crowd is what visitors have done, as events of any site.
type crowd []map[string]any

// newCrowd makes 150 visitors of the last hours, each of whom does a few things.
func newCrowd(rnd *rand.Rand) (c crowd) {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	now := time.Now()
	for i := range 150 {
		agent, from := pick(firefox, firefox, chrome, iPhone), pick("", "https://www.google.com/", "https://news.ycombinator.com/")
		at := now.Add(-time.Duration(30+rnd.IntN(90)) * time.Minute)
		for range rnd.IntN(6) + 1 {
			at = at.Add(time.Duration(rnd.IntN(200)+1) * time.Second)
			e := map[string]any{"name": "pageview", "path": pick("/", "/a", "/b", "/secret"), "ip": fmt.Sprintf("5.9.%d.%d", i/100, i%100+1), "user_agent": agent, "timestamp": at.UnixMilli()}
			if from != "" {
				e["referrer"] = from
			}
			switch rnd.IntN(5) {
			case 0:
				e["name"], e["revenue"] = "Purchase", map[string]string{"amount": fmt.Sprint(rnd.IntN(90) + 1), "currency": "EUR"}
			case 1:
				e["name"], e["props"] = "Signup", map[string]string{"plan": pick("free", "pro")}
			}
			if i%3 == 0 {
				e["user"] = fmt.Sprintf("user-%d", i)
			}
			c = append(c, e)
		}
	}
	return c
}

// send gives a site those events for which keep holds.
func (c crowd) send(d *daemon, domain string, keep func(map[string]any) bool) (n int64) {
	d.Helper()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": domain, "timezone": midday()}, nil)
	for _, goal := range []map[string]any{{"kind": "event", "event": "Purchase", "currency": "EUR"}, {"kind": "page", "path": "/secret", "name": "Secret"}} {
		d.must(http.MethodPost, "/api/goals?site_id="+domain, goal, nil)
	}
	var events []map[string]any
	for _, e := range c {
		if !keep(e) {
			continue
		}
		one := map[string]any{"domain": domain, "url": "https://shared.example" + e["path"].(string)}
		for key, value := range e {
			if key != "path" {
				one[key] = value
			}
		}
		events = append(events, one)
	}
	var answer struct {
		Accepted int
		Rejected []any
	}
	if d.must(http.MethodPost, "/api/events", events, &answer); answer.Accepted != len(events) {
		d.Fatalf("%d of %d events were taken: %v", answer.Accepted, len(events), answer.Rejected)
	}
	return int64(len(events))
}

// share makes a link of a site to a segment of it and returns its slug.
func (d *daemon) share(domain, name string, filters any) string {
	d.Helper()
	var segment struct{ ID int64 }
	ask := map[string]any{"name": name}
	if filters != nil {
		d.must(http.MethodPost, "/api/segments?site_id="+domain, map[string]any{"name": name, "filters": filters}, &segment)
		ask["segment"] = segment.ID
	}
	var link struct{ Link string }
	d.must(http.MethodPost, "/api/links?site_id="+domain, ask, &link)
	return path.Base(link.Link)
}

// by asks for a report of a site by a link, or with the key if there is none, and returns
// what it says without what is another thing on every site.
func (d *daemon) by(slug, domain, report string, q url.Values) string {
	d.Helper()
	q.Set("site_id", domain)
	req, err := http.NewRequest(http.MethodGet, d.url+"/api/stats/"+report+"?"+q.Encode(), nil)
	if err != nil {
		d.Fatal(err)
	}
	if slug != "" {
		req.Header.Set("X-Eider-Share", slug)
	} else {
		req.Header.Set("Authorization", "Bearer "+apiKey)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	var answer map[string]any
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil {
		d.Fatalf("%s %s: %d %s, %v", report, q.Encode(), res.StatusCode, b, err)
	}
	for _, key := range []string{"site_id", "meta", "request_id"} {
		delete(answer, key)
	}
	out, err := json.Marshal(answer)
	if err != nil {
		d.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", goalID.ReplaceAllString(string(out), ""))
}

// goalID is what a goal is called in the ledger.
var goalID = regexp.MustCompile(`"id":[0-9]+,`)

// A curious visitor asks at random for what a link shows. leaves are filters that he
// might try, metrics the figures.
type curious struct {
	rnd     *rand.Rand
	leaves  []any
	metrics string
	reports []string
}

func (c *curious) filter(depth int) any {
	if depth > 0 {
		switch c.rnd.IntN(7) {
		case 0:
			return []any{"or", []any{c.filter(depth - 1), c.filter(depth - 1)}}
		case 1:
			return []any{"not", c.filter(depth - 1)}
		case 2, 3:
			return []any{[]string{"has_done", "has_not_done"}[c.rnd.IntN(2)], c.filter(0)}
		}
	}
	return c.leaves[c.rnd.IntN(len(c.leaves))]
}

func (c *curious) question() (report string, q url.Values) {
	report, text, _ := strings.Cut(c.reports[c.rnd.IntN(len(c.reports))], "?")
	q, err := url.ParseQuery(text)
	if err != nil {
		panic(err)
	}
	if q.Get("metrics") == "*" {
		q.Set("metrics", c.metrics)
	}
	if c.rnd.IntN(5) > 0 {
		b, err := json.Marshal([]any{c.filter(2)})
		if err != nil {
			panic(err)
		}
		q.Set("filters", string(b))
	}
	return report, q
}

// TestLinkIsLocked: what a link to a segment answers is what a site would that has nothing
// but the segment, whatever is asked and however it is filtered. Without the lock it is
// not.
func TestLinkIsLocked(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 7))
	d := newRig(t, normal).start()
	all := newCrowd(rnd)
	total := all.send(d, "all.example", func(map[string]any) bool { return true })
	total += all.send(d, "firefox.example", func(e map[string]any) bool { return e["user_agent"] == firefox })
	total += all.send(d, "pages.example", func(e map[string]any) bool { return e["path"] == "/a" || e["path"] == "/b" })
	d.seen(func() bool { return d.count() == total })

	props := []any{[]any{"is", "event:page", []string{"/secret"}}, []any{"contains", "event:page", []string{"/a", "/b"}}, []any{"is", "event:name", []string{"Signup"}},
		[]any{"is", "event:props:plan", []string{"pro"}}, []any{"is", "event:goal", []string{"Secret"}}, []any{"is", "event:goal", []string{"Purchase"}}}
	behaviours := []string{"funnel?steps=page:/a,page:/b&by=pages", "funnel?steps=event:Signup,goal:Purchase&by=pages&any=true", "funnel?steps=page:/secret,page:/a&unit=user",
		"flow?steps=3&unit=visit", "flow?start=page:/secret&steps=2", "flow?direction=backward&steps=2&by=events", "retention?interval=day&n=3&unit=user", "retention?interval=day&n=3&unit=user&start=page:/secret"}
	for name, c := range map[string]struct {
		alone   string // the site that has only what is in the segment
		filters any
		curious
	}{
		// Browsers are of a visitor: all there is of him is in the segment, or nothing.
		"visitors": {"firefox.example", []any{[]any{"is", "visit:browser", []string{"Firefox"}}}, curious{
			leaves: append(props, []any{"is", "visit:browser", []string{"Chrome"}}, []any{"is", "visit:source", []string{"Google"}}, []any{"is", "visit:exit_page", []string{"/a"}}), metrics: "visitors,visits,pageviews,events,bounce_rate,views_per_visit,visit_duration",
			reports: append(behaviours, "main?metrics=*&period=7d&compare=previous_period", "timeseries?metrics=*&period=7d&interval=day", "timeseries?period=all", "breakdown/pages?metrics=*", "breakdown/browsers?metrics=*", "breakdown/entry-pages?metrics=*",
				"breakdown/goals", "breakdown/prop:plan", "goals?period=7d", "revenue?period=7d", "properties?period=7d", "property-values?period=7d&key=plan", "sessions?period=7d"),
		}},
		// Pages are of an event: of a visit there is what it did there. What it was as a
		// whole, such as how long, is told of visits that were there.
		"events": {"pages.example", []any{[]any{"is", "event:page", []string{"/a", "/b"}}}, curious{
			leaves: props, metrics: "visitors,pageviews,events",
			reports: append(behaviours, "main?metrics=*&period=7d", "timeseries?metrics=*&period=7d&interval=day", "breakdown/pages?metrics=*", "breakdown/events?metrics=*", "breakdown/prop:plan?metrics=*", "goals?period=7d", "revenue?period=7d", "properties?period=7d"),
		}},
	} {
		locked, open := d.share("all.example", name, c.filters), d.share("all.example", "all but "+name, nil)
		c.rnd = rnd
		told := 0
		for range 250 {
			report, q := c.question()
			want := d.by("", c.alone, report, q)
			if got := d.by(locked, "all.example", report, q); got != want {
				t.Errorf("%s: %s %s\nby the link %s\nof the part  %s", name, report, q.Encode(), got, want)
			}
			if d.by(open, "all.example", report, q) != want {
				told++
			}
		}
		if told < 100 {
			t.Errorf("%s: only %d of 250 questions would have told of anything beyond the segment", name, told)
		}
	}
}
