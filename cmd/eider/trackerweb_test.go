package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// A visited is a web site with a tracker in its pages, and what came of a visit.
type visited struct {
	tag      string   // of the tracker; %s is the server
	app      string   // of the pages under /app, if it is another
	body     string   // of the page that the scenario is about
	head     string   // before the tracker
	env      []string // of the server
	want     [][]any  // name, path, props, revenue, and how often; ordered by these
	loopback bool     // the site is not at a name
}

// site serves the pages. Every path has the tracker; those that a scenario is
// about have its body.
func (v *visited) site(server string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tag := v.tag
		if v.app != "" && strings.HasPrefix(r.URL.Path, "/app") {
			tag = v.app
		}
		switch r.URL.Path {
		case "/favicon.ico":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/dnt":
			tag = strings.Replace(tag, "data-site", "data-dnt data-site", 1)
		case "/local":
			tag = strings.Replace(tag, "data-site", "data-local data-site", 1)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "<!doctype html><title>Shop</title>%s%s<body>%s<a id=b href=/b>on</a>", v.head, strings.ReplaceAll(tag, "%s", server), v.body)
	})
}

const (
	ours   = `<script defer src="%s/js/eider.js" data-site="shop.example"></script>`
	theirs = `<script defer src="%s/js/script.js" data-domain="shop.example"></script>`
)

const clickBody = `<a id=out href="https://other.example/x?q=1" onclick="event.preventDefault()" onauxclick="event.preventDefault()">out</a>
<a id=file href="/files/a.pdf?v=2" onclick="event.preventDefault()">file</a>
<a id=inside href="/in" onclick="event.preventDefault()">in</a>
<button id=tagged class="plausible-event-name=Sign+up plausible-event-plan--pro plausible-revenue-amount=9.50 plausible-revenue-currency=EUR"
 data-eider="Sign up" data-eider-plan=pro data-eider-revenue="9.50 EUR"><b>sign up</b></button>
<form id=f onsubmit="event.preventDefault()"><button id=send>send</button></form>
<form onsubmit="event.preventDefault()"><input required><button id=wrong>send</button></form>
<form class="plausible-event-name=Contact" data-eider=Contact onsubmit="event.preventDefault()"><button id=taggedsend>send</button></form>`

const eventBody = `<script>
var f = window.eider || window.plausible
f('Purchase', { props: { item: 'book', n: 2, none: null }, revenue: { amount: 15.99, currency: 'USD' } })
f('Quiet', { interactive: false, url: 'https://shop.example/elsewhere', callback: function (r) { window.called = r && r.status == 202 } })
</script>`

const queue = `<script>window.eider=window.eider||function(){(eider.q=eider.q||[]).push(arguments)}
window.plausible=window.plausible||function(){(plausible.q=plausible.q||[]).push(arguments)}</script>`

// breaks makes what a tracker uses throw or lie.
const breaks = `<script>JSON.stringify = function () { throw Error('broken') }
window.fetch = function () { throw Error('broken') }
navigator.sendBeacon = function () { throw Error('broken') }
Object.keys = Object.assign = function () { throw Error('broken') }
Array.prototype.filter = undefined; Array.prototype.extra = 1; Object.prototype.odd = 1
addEventListener('load', function () { var f = window.eider || window.plausible; if (f) f('Here'); history.pushState(0, '', '/broken/on'); setTimeout(function () { window.done = 1 }, 100) })
</script>`

const noStorage = `<script>Object.defineProperty(window, 'localStorage', { get: function () { throw new DOMException('denied', 'SecurityError') } })</script>`

func once(name, path string) []any { return []any{name, path, nil, nil, 1.0} }

var newSnippet = `<script async src="%s/js/script.js"></script><script>window.plausible=window.plausible||function(){(plausible.q=plausible.q||[]).push(arguments)},plausible.init=plausible.init||function(i){plausible.o=i||{}};
plausible.init({domain:'shop.example',outboundLinks:true,fileDownloads:true,formSubmissions:true,customProperties:{shop:'one'},transformRequest:function(e){if(e.n=='Contact')return;return e}})</script>`

// visits are what is tried: a scenario of tracker.mjs, with each tracker.
var visits = map[string]visited{
	"pages/eider":  {tag: ours, want: [][]any{{"pageview", "/a", nil, nil, 2.0}, once("pageview", "/b")}},
	"pages/script": {tag: theirs, want: [][]any{{"pageview", "/a", nil, nil, 2.0}, once("pageview", "/b")}},
	"app/eider":    {tag: ours, want: [][]any{{"pageview", "/app", nil, nil, 1.0}, {"pageview", "/app/one", nil, nil, 2.0}, once("pageview", "/app/two")}},
	"app/script":   {tag: theirs, want: [][]any{once("pageview", "/app"), once("pageview", "/app/one")}},
	"hash/eider": {tag: strings.Replace(ours, "data-site", "data-hash data-site", 1),
		want: [][]any{once("pageview", "/app#/first"), once("pageview", "/app#/second")}},
	"hash/script": {tag: strings.Replace(theirs, "script.js", "script.hash.js", 1),
		want: [][]any{once("pageview", "/app#/first"), once("pageview", "/app#/second")}},
	"offline/eider":  {tag: ours, want: offline},
	"offline/script": {tag: theirs, want: offline},
	"full/eider":     {tag: ours, want: append([][]any{}, full()...)},
	"clicks/eider": {tag: strings.Replace(ours, "data-site", `data-auto="outbound downloads forms tagged" data-site`, 1), body: clickBody, want: [][]any{
		once("Contact", "/clicks"),
		{"File Download", "/clicks", `{"url":"http://shop.example/files/a.pdf"}`, nil, 1.0},
		once("Form: Submission", "/clicks"),
		{"Outbound Link: Click", "/clicks", `{"url":"https://other.example/x?q=1"}`, nil, 2.0},
		{"Sign up", "/clicks", `{"plan":"pro"}`, "9.5000 EUR", 1.0},
		once("pageview", "/clicks"),
	}},
	"clicks/script": {tag: strings.Replace(theirs, "script.js", "script.tagged-events.outbound-links.file-downloads.revenue.js", 1), body: clickBody, want: [][]any{
		once("Contact", "/clicks"),
		{"File Download", "/clicks", `{"url":"http://shop.example/files/a.pdf"}`, nil, 1.0},
		{"Outbound Link: Click", "/clicks", `{"url":"https://other.example/x?q=1"}`, nil, 2.0},
		{"Sign up", "/clicks", `{"plan":"pro"}`, "9.5000 EUR", 1.0},
		once("pageview", "/clicks"),
	}},
	"clicks/init": {tag: newSnippet, body: clickBody, want: [][]any{
		{"File Download", "/clicks", `{"shop":"one","url":"http://shop.example/files/a.pdf"}`, nil, 1.0},
		{"Form: Submission", "/clicks", `{"shop":"one"}`, nil, 1.0},
		{"Outbound Link: Click", "/clicks", `{"shop":"one","url":"https://other.example/x?q=1"}`, nil, 2.0},
		{"Sign up", "/clicks", `{"plan":"pro","shop":"one"}`, "9.5000 EUR", 1.0},
		{"pageview", "/clicks", `{"shop":"one"}`, nil, 1.0},
	}},
	"missing/eider": {tag: strings.Replace(ours, "data-site", `data-auto=404 data-site`, 1), want: [][]any{
		{"404", "/missing", `{"path":"/missing"}`, nil, 1.0}, once("pageview", "/missing")}},
	"events/eider": {tag: strings.Replace(ours, "data-site", `data-prop-plan=pro data-site`, 1), head: queue, body: eventBody, want: [][]any{
		{"Purchase", "/events", `{"item":"book","n":"2","plan":"pro"}`, "15.9900 USD", 1.0},
		{"Quiet", "/elsewhere", `{"plan":"pro"}`, nil, 1.0},
		{"pageview", "/events", `{"plan":"pro"}`, nil, 1.0}}},
	"events/script": {tag: strings.Replace(theirs, "script.js", `script.pageview-props.js" event-plan="pro`, 1), head: strings.Replace(queue, "window.eider=", "0&&", 1), body: eventBody, want: [][]any{
		{"Purchase", "/events", `{"item":"book","n":"2","plan":"pro"}`, "15.9900 USD", 1.0},
		{"Quiet", "/elsewhere", `{"plan":"pro"}`, nil, 1.0},
		{"pageview", "/events", `{"plan":"pro"}`, nil, 1.0}}},
	"broken/eider":   {tag: ours, head: breaks, want: nil},
	"broken/script":  {tag: theirs, head: breaks, want: nil},
	"blocked/eider":  {tag: ours, head: noStorage, want: [][]any{once("Here", "/blocked"), once("pageview", "/blocked")}},
	"ignored/eider":  {tag: ours, want: [][]any{once("pageview", "/app")}},
	"ignored/script": {tag: theirs, want: [][]any{once("pageview", "/app")}},
	"private/eider":  {tag: ours, want: [][]any{once("Late", "/app"), once("pageview", "/app")}},
	"local/eider":    {tag: ours, loopback: true, want: [][]any{once("pageview", "/local")}},
	"app/excluded":   {tag: strings.Replace(ours, "data-site", `data-exclude="/app/o*" data-site`, 1), want: [][]any{once("pageview", "/app"), once("pageview", "/app/two")}},
	"app/exclusions": {tag: strings.Replace(theirs, "script.js", `script.exclusions.js" data-include="/app/**`, 1), want: [][]any{once("pageview", "/app/one")}},
	"events/own path": {tag: strings.Replace(ours, "/js/eider.js", "/assets/app.js", 1), env: []string{"EIDER_SCRIPT_PATH=/assets/app.js", "EIDER_EVENT_PATH=/assets/data"}, head: queue, body: eventBody, want: [][]any{
		{"Purchase", "/events", `{"item":"book","n":"2"}`, "15.9900 USD", 1.0}, once("Quiet", "/elsewhere"), once("pageview", "/events")}},
}

var offline = [][]any{
	{"Offline", "/app", `{"i":"0"}`, nil, 1.0}, {"Offline", "/app", `{"i":"1"}`, nil, 1.0}, {"Offline", "/app", `{"i":"2"}`, nil, 1.0},
	{"Offline", "/app", `{"i":"3"}`, nil, 1.0}, {"Offline", "/app", `{"i":"4"}`, nil, 1.0},
	once("Unheard", "/app"), once("pageview", "/app"), once("pageview", "/b"),
}

func full() (rows [][]any) {
	for i := 10; i < 30; i++ {
		rows = append(rows, []any{"Many", "/app", fmt.Sprintf(`{"i":"%d"}`, i), nil, 1.0})
	}
	return append(rows, once("pageview", "/app"))
}

// browse runs a scenario against a server of its own and returns it.
func (v visited) browse(t *testing.T, scenario string) *daemon {
	t.Helper()
	chromium, dir := chromium(t), install(t, trackerDriver)
	d := newRig(t, normal, append(v.env, "EIDER_AUTO_SITES=true")...).start()
	pages := httptest.NewServer(v.site(d.url))
	defer pages.Close()
	at := pages.URL
	if !v.loopback {
		at = strings.Replace(at, "127.0.0.1", "shop.example", 1)
	}
	cmd := exec.CommandContext(t.Context(), "node", "tracker.mjs", scenario, at, d.url)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CHROMIUM="+chromium)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "[]" {
		t.Fatalf("%v: %s", err, out)
	}
	return d
}

const visitEvents = `SELECT name, path, regexp_replace(props, ':[0-9]+/', '/'), CAST(revenue AS VARCHAR) || ' ' || currency, count(*)
	FROM events WHERE name <> 'engagement' GROUP BY ALL ORDER BY ALL`

// TestTrackerVisits opens the pages in the real browser, with our trackers from
// the real server, and compares what was done with what was counted.
func TestTrackerVisits(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{}, 2) // browsers at once
	for name, v := range visits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate <- struct{}{}
			defer func() { <-gate }()
			scenario, _, _ := strings.Cut(name, "/")
			d := v.browse(t, scenario)
			var got [][]any
			d.seen(func() bool { got = d.query(visitEvents); return len(got) >= len(v.want) })
			if len(got) != len(v.want) || len(got) > 0 && !reflect.DeepEqual(got, v.want) {
				t.Errorf("got  %v\nwant %v", got, v.want)
			}
		})
	}
}

// TestTrackerReading reads half of a long page: one engagement says how far and
// how long. It leaves another before it was told how fast it was.
func TestTrackerReading(t *testing.T) {
	t.Parallel()
	for name, tag := range map[string]string{"eider": ours, "script": theirs} {
		d := visited{tag: tag, body: `<div style="height:10000px"></div>`}.browse(t, "reading")
		var got [][]any
		d.seen(func() bool {
			got = d.query(`SELECT path, scroll, engaged_ms > 200 AND engaged_ms < 60000 FROM events WHERE name = 'engagement'`)
			return len(got) > 0
		})
		if len(got) != 1 || got[0][0] != "/long" || got[0][1].(float64) < 48 || got[0][1].(float64) > 58 || got[0][2] != true {
			t.Errorf("%s: %v, want one engagement on /long, half read", name, got)
		}
	}
	v := visited{tag: strings.Replace(ours, "data-site", `data-auto=vitals data-site`, 1), body: "<p>A page with a text on it."}
	d := v.browse(t, "vitals")
	d.seen(func() bool {
		return len(d.query(`SELECT 1 FROM events WHERE name = 'Web Vitals' AND path = '/vitals' AND props LIKE '%"lcp":%' AND props LIKE '%"cls":%' AND NOT interactive`)) == 1
	})
}
