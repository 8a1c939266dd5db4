package main_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// query asks in SQL.
func (d *daemon) query(sql string) (rows [][]any) {
	d.Helper()
	var answer struct{ Rows [][]any }
	d.must(http.MethodPost, "/api/sql", map[string]string{"query": sql}, &answer)
	return answer.Rows
}

// TestTrackers drives the trackers that people have in their pages already, as
// they are in the registry, against the real server: what they send is accepted,
// and means what they meant.
func TestTrackers(t *testing.T) {
	t.Parallel()
	dir := install(t, trackers)
	const event = `SELECT name, hostname, path, source, browser, interactive, props, CAST(revenue AS VARCHAR), currency FROM events ORDER BY name`
	for tracker, want := range map[string][][]any{
		"@plausible-analytics/tracker": {
			{"Purchase", "shop.example", "/cart", "news", "Firefox", false, `{"item":"book","plan":"pro"}`, "15.9900", "USD"},
			{"pageview", "shop.example", "/cart", "news", "Firefox", true, `{"plan":"pro"}`, nil, nil},
		},
		"plausible-tracker": {
			{"Purchase", "shop.example", "/cart", "news", "Firefox", true, `{"item":"book"}`, nil, nil},
			{"pageview", "shop.example", "/cart", "news", "Firefox", true, nil, nil, nil},
		},
		"plausible-client": {
			{"Purchase", "shop.example", "/cart", "news", "Firefox", true, `{"item":"book"}`, "15.9900", "USD"},
			{"pageview", "shop.example", "/cart", "news", "Firefox", true, nil, nil, nil},
		},
	} {
		t.Run(tracker, func(t *testing.T) {
			t.Parallel()
			d := newRig(t, normal, "EIDER_AUTO_SITES=true").start()
			cmd := exec.Command("node", "drive.mjs", tracker, d.url)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var got [][]any
			d.seen(func() bool { got = d.query(event); return len(got) == len(want) })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// seen waits until the reports show what was sent.
func (d *daemon) seen(ok func() bool) {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if !until(ctx, 50*time.Millisecond, ok) {
		d.Error("the reports never showed what was sent")
	}
}

// TestTrackerInChromium opens a page with the real tracker in the real browser:
// another origin, text/plain, keepalive, and the engagement that is sent when
// the page is left.
func TestTrackerInChromium(t *testing.T) {
	t.Parallel()
	chromium, dir := chromium(t), install(t, trackers)
	d := newRig(t, normal, "EIDER_AUTO_SITES=true").start()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /tracker.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, filepath.Join(dir, "node_modules", "@plausible-analytics", "tracker", "plausible.js"))
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(dir, "page.html")) })
	pages := httptest.NewServer(mux)
	defer pages.Close()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(pages.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--disable-blink-features=AutomationControlled", // the tracker leaves out browsers that say they are driven
		"--user-data-dir="+t.TempDir(),
		"--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
		"--host-resolver-rules=MAP shop.example 127.0.0.1",
		"--timeout=4000", "--dump-dom",
		"http://shop.example:"+port+"/read?utm_campaign=may#"+d.url)
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}

	var got [][]any
	d.seen(func() bool {
		got = d.query(`SELECT name, hostname, path, utm_campaign, browser, CAST(revenue AS VARCHAR), count(*) OVER () FROM events WHERE name <> 'engagement' ORDER BY name`)
		return len(got) == 3
	})
	// The user agent says Chrome, and the client hints, which are better, Chromium.
	want := [][]any{
		{"Outbound Link: Click", "shop.example", "/read", "may", "Chromium", nil, 3.0},
		{"Purchase", "shop.example", "/read", "may", "Chromium", "15.9900", 3.0},
		{"pageview", "shop.example", "/read", "may", "Chromium", nil, 3.0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if visits := d.query(`SELECT count(DISTINCT visit), count(DISTINCT visitor) FROM events`); !reflect.DeepEqual(visits, [][]any{{1.0, 1.0}}) {
		t.Errorf("visits and visitors are %v, want one of each", visits)
	}
}
