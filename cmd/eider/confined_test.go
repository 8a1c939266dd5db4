package main_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// small is the memory of the machine that Eider is made for.
const small = 256 << 20

// A chore is one kind of request that is made over and over.
type chore struct {
	name    string
	callers int
	paths   []string             // asked for in turn
	body    func(n int64) []byte // of the nth request; nil for a GET
	mime    string
	events  int64 // that one of them brings
}

func (c *chore) request(d *daemon, n int64) (*http.Request, error) {
	target := d.url + c.paths[n%int64(len(c.paths))]
	if c.body == nil {
		return http.NewRequest(http.MethodGet, target, nil)
	}
	req, err := http.NewRequest(http.MethodPost, target, bytes.NewReader(c.body(n)))
	if err == nil {
		req.Header.Set("Content-Type", c.mime)
	}
	return req, err
}

// A toll is what came of chores.
type toll struct {
	mu      sync.Mutex
	answers map[string]map[int]int // by chore and status
	events  int64                  // that were accepted
	anon    int64                  // most kB of the process, without the pages of the program
}

func (t *toll) add(c *chore, status int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.answers[c.name] == nil {
		t.answers[c.name] = map[int]int{}
	}
	t.answers[c.name][status]++
	if status/100 == 2 {
		t.events += c.events
	}
}

// toil does all chores at the same time, for a while. Whoever is told to come again does;
// an answer that is neither that nor what was asked for is an error.
func (d *daemon) toil(during time.Duration, chores ...chore) *toll {
	d.Helper()
	sum := &toll{answers: map[string]map[int]int{}}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 400}}
	defer client.CloseIdleConnections()
	end := time.Now().Add(during)
	var wg sync.WaitGroup
	for _, c := range chores {
		for i := range c.callers {
			wg.Go(func() {
				for n := int64(i + 1); time.Now().Before(end); n += int64(c.callers) {
					if !d.try(client, &c, i, n, sum) {
						return
					}
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	for done := false; !done; {
		select {
		case <-over:
			done = true
		case <-time.After(50 * time.Millisecond):
		}
		if kb, err := procOf(d.cmd.Process.Pid, "status", "RssAnon"); err == nil {
			sum.anon = max(sum.anon, kb)
		}
	}
	d.Logf("%v: at most %d MiB, and %d with the pages of the program", sum.answers, sum.anon>>10, d.peakRSS()>>20)
	return sum
}

// try makes the nth request of a chore, as one of its callers, and says whether to go on.
func (d *daemon) try(client *http.Client, c *chore, caller int, n int64, sum *toll) bool {
	req, err := c.request(d, n)
	if err != nil {
		d.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("User-Agent", browser)
	req.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", caller/250, caller%250))
	const pause = 20 * time.Millisecond
	res, err := client.Do(req)
	if err != nil { // refused before it was read: the connection is closed
		time.Sleep(pause)
		return true
	}
	answer, err := io.ReadAll(res.Body)
	res.Body.Close()
	sum.add(c, res.StatusCode)
	switch {
	case err != nil:
		d.Errorf("%s: %d and then %v", c.name, res.StatusCode, err)
		return false
	case res.StatusCode/100 == 2 && !bytes.Contains(answer, []byte(`"rejected":[{`)):
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "",
		res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "":
		time.Sleep(pause)
	case res.StatusCode == http.StatusUnprocessableEntity && bytes.Contains(answer, []byte("more memory")): // SQL
	default:
		d.Errorf("%s is answered with %d %.300s", c.name, res.StatusCode, answer)
		return false
	}
	return true
}

// has checks that reports show what was accepted. An answer may have been lost, so they
// may show more.
func (d *daemon) has(atLeast int64) {
	d.Helper()
	d.settle()
	if n := d.count(); n < atLeast {
		d.Errorf("reports show %d events, want at least %d", n, atLeast)
	}
}

// fetch imports a log, however long that takes.
func (d *daemon) fetch(log []byte, lines int) {
	d.Helper()
	d.client.Timeout = 0
	status, text, err := d.ask(http.MethodPost, imports, "text/plain", log)
	if err != nil || status != http.StatusOK || !strings.Contains(text, fmt.Sprintf(`"imported":%d,"duplicates":0,"skipped":{}`, lines)) {
		d.Fatalf("%d, %v: %s; want all of %d imported", status, err, text[max(0, len(text)-300):], lines)
	}
}

const imports = "/api/import?format=combined&site_id=" + site

// accessLog returns the log of some days up to today, each with so many visits to a page.
// Logs of another series are of other visitors.
func accessLog(series, days, each int) []byte {
	var log bytes.Buffer
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for i := range days * each {
		at := today.AddDate(0, 0, -days).Add(time.Duration(i) * 24 * time.Hour / time.Duration(each))
		fmt.Fprintf(&log, "%d.%d.%d.%d - - [%s] \"GET /page/%d?utm_source=s%d HTTP/1.1\" 200 512 \"https://source-%d.example.net/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%[9]d.0\"\n",
			1+i%220, i/220%250, i/55000, 7+series, at.Format("02/Jan/2006:15:04:05 -0700"), i%5000, i%300, i%41, 100+i%30)
	}
	return log.Bytes()
}

// batchOf returns 10,000 events, each with so many bytes of text.
func batchOf(text int) func(n int64) []byte {
	return func(n int64) []byte {
		var body bytes.Buffer
		for i := range int64(10_000) {
			fmt.Fprintf(&body, `{"n":"pageview","u":"https://%s/%d","d":"%[1]s","id":"%[3]d-%[2]d","ip":"192.0.2.%[4]d","user_agent":%[5]q,"props":{"a":"%[6]s%[3]d"}}`+"\n", site, i, n, i%250, browser, strings.Repeat("x", text))
		}
		return body.Bytes()
	}
}

// TestLargeBodies sends as much at once as is allowed to a server with 256 MiB: batches
// of nearly 10 MiB and 10,000 events, and single events of nearly 64 KiB. It tells
// most of them to come again, and takes the others. Without its limits on bytes
// the kernel ends it within seconds.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []chore{
		{name: "batch", callers: 6, paths: []string{"/api/events"}, mime: "application/x-ndjson", events: 10_000, body: batchOf(750)},
		{name: "single", callers: 400, paths: []string{"/api/event"}, mime: "application/json", events: 1, body: func(n int64) []byte {
			props := make([]string, 30)
			for i := range props {
				props[i] = fmt.Sprintf(`"p%d":"%s%d"`, i, strings.Repeat("y", 1980), n)
			}
			return fmt.Appendf(nil, `{"n":"a","u":"https://%s/","d":"%[1]s","p":{%s}}`, site, strings.Join(props, ","))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, normal, "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.0/8")
			how := confine(r, small)
			t.Log(how)
			d := r.start()
			sum := d.toil(7*time.Second, c)
			if sum.events == 0 || sum.answers[c.name][http.StatusServiceUnavailable] == 0 && strings.HasPrefix(how, "in a cgroup") {
				t.Error("want some accepted and some refused")
			}
			d.has(sum.events)
			d.stop()
		})
	}
}

// TestLargeImport imports a log of a hundred days into a server with 256 MiB: faster than
// it can be published, if the import did not wait for that.
func TestLargeImport(t *testing.T) {
	t.Parallel()
	const days, each = 100, 5000
	r := newRig(t, normal)
	t.Log(confine(r, small))
	d := r.start()
	d.fetch(accessLog(0, days, each), days*each)
	t.Logf("peak RSS %d MiB", d.peakRSS()>>20)
	if n := d.count(); n != days*each {
		t.Errorf("reports show %d, want %d", n, days*each)
	}
	d.stop()
}

// TestEverythingAtOnce asks a server with 256 MiB for all that it does, at the same time:
// large batches, single events, imports, reports over a hundred days, exports, SQL,
// maintenance. It may tell some to come again; it answers the others, loses nothing
// and lives.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const days, each = 100, 1000
	r := newRig(t, normal, "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.0/8")
	t.Log(confine(r, small))
	d := r.start()
	d.fetch(accessLog(0, days, each), days*each)
	of := "site_id=" + site + "&period=custom&start_date=" + time.Now().AddDate(0, 0, -days).Format(time.DateOnly) + "&end_date=" + time.Now().Format(time.DateOnly)
	chores := []chore{
		{name: "batch", callers: 4, paths: []string{"/api/events"}, mime: "application/x-ndjson", events: 10_000, body: batchOf(300)},
		{name: "single", callers: 32, paths: []string{"/api/event"}, mime: "application/json", events: 1, body: func(n int64) []byte {
			return fmt.Appendf(nil, `{"n":"pageview","u":"https://%s/%d","d":"%[1]s"}`, site, n%500)
		}},
		{name: "import", callers: 1, paths: []string{imports}, mime: "text/plain", events: days * each / 5, body: func(n int64) []byte { return accessLog(int(n), days, each/5) }},
		{name: "report", callers: 6, paths: []string{
			"/api/stats/main?compare=previous_period&" + of, "/api/stats/timeseries?interval=day&" + of, "/api/stats/breakdown/pages?limit=1000&" + of,
			"/api/stats/retention?interval=week&" + of, "/api/stats/sessions?" + of, "/api/stats/flow?page=/page/1&" + of,
			"/api/stats/breakdown/sources?" + of + "&filters=" + url.QueryEscape(`[["contains","event:page",["1"]]]`),
		}},
		{name: "export", callers: 2, paths: []string{"/api/stats/export?format=csv&" + of, "/api/stats/export?format=parquet&" + of, "/api/stats/export?format=arrow&" + of}},
		{name: "sql", callers: 2, paths: []string{"/api/sql"}, mime: "application/json", body: func(int64) []byte {
			return []byte(`{"query":"SELECT path, count(DISTINCT visitor), max(referrer) FROM events GROUP BY 1 ORDER BY 2 DESC"}`)
		}},
		{name: "maintenance", callers: 1, paths: []string{"/api/maintenance/compact"}, mime: "application/json", body: func(int64) []byte { return nil }},
	}
	sum := d.toil(20*time.Second, chores...)
	for _, c := range chores {
		if a := sum.answers[c.name]; a[http.StatusOK]+a[http.StatusAccepted] == 0 {
			t.Errorf("%s was never done", c.name)
		}
	}
	d.has(days*each + sum.events)
	d.stop()
}
