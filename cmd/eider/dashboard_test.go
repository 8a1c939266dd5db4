package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

const dashboardSite = "shop.example"

const adminPassword = "correct horse battery staple"

// drive drives a part of the dashboard in the real browser (testdata/dashboard) and
// returns what is wrong with it. EIDER_PICTURES names a directory that keeps what the
// pages looked like.
func drive(t *testing.T, part string, about map[string]any) (report string, err error) {
	t.Helper()
	dir := install(t, dashboardDriver)
	about["browser"], about["key"], about["password"], about["pictures"] = chromium(t), apiKey, adminPassword, ""
	if pictures := os.Getenv("EIDER_PICTURES"); pictures != "" {
		if pictures, err = filepath.Abs(pictures); err == nil {
			err = os.MkdirAll(pictures, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		about["pictures"] = pictures
	}
	told, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "drive.mjs", part)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "DASHBOARD="+string(told))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// good fails the test if something is wrong with a part of the dashboard of a server.
func (d *daemon) good(t *testing.T, part string, about map[string]any) {
	t.Helper()
	about["base"], about["api"] = d.url, d.url
	report, err := drive(t, part, about)
	t.Log(report)
	if err != nil {
		t.Errorf("the dashboard is not as it should be: %v", err)
	}
}

// TestDashboard looks at all of it: every panel shows what the API answers, what is
// clicked is in the address and survives a reload and the way back, nothing is asked of
// another host, no policy is violated, and axe finds no serious barrier on any page,
// light, dark and on a phone. A visit of a page with each tracker appears by itself.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal, "EIDER_AUTO_SITES=true", "EIDER_ADMIN_PASSWORD="+adminPassword).start()
	shop(d)
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": "live.example"}, nil)
	sites := httptest.NewServer(tracked(install(t, trackers)))
	defer sites.Close()
	d.good(t, "dashboard", map[string]any{"sites": sites.URL, "trackers": []string{"eider", "script", "plausible"}})
}

// tracked serves pages with each tracker. The server's address comes in the fragment,
// which is not sent to anyone.
func tracked(trackers string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tracker.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, filepath.Join(trackers, "node_modules", "@plausible-analytics", "tracker", "plausible.js"))
	})
	const load = `<script>document.write('<script defer src="' + location.hash.slice(1) + '%s" %s="live.example"><\/script>')</script>`
	for path, script := range map[string]string{
		"/with-eider":     fmt.Sprintf(load, "/js/eider.js", "data-site"),
		"/with-script":    fmt.Sprintf(load, "/js/script.js", "data-domain"),
		"/with-plausible": `<script type="module">import { init } from '/tracker.js'; init({ domain: 'live.example', endpoint: location.hash.slice(1) + '/api/event' })</script>`,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, "<!doctype html><title>Shop</title>%s<p>A page.", script)
		})
	}
	return mux
}

// TestDashboardSetUp goes from the link that the first start prints to the first site;
// another server is given a key instead of a user.
func TestDashboardSetUp(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"setup", "key"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			d := newRig(t, normal, "EIDER_API_KEY=").start()
			d.good(t, part, map[string]any{"link": d.setupLink()})
		})
	}
}

// setupLink is what the process printed.
func (d *daemon) setupLink() (link string) {
	d.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	until(ctx, 10*time.Millisecond, func() bool { link = d.log.find(setupLink); return link != "" })
	if link == "" {
		d.Fatal("no set-up link was printed")
	}
	return link
}

var setupLink = regexp.MustCompile(`http://[^ "]+/setup#\w+`)

// TestDashboardLockout guesses in the browser until nobody looks any more.
func TestDashboardLockout(t *testing.T) {
	t.Parallel()
	const attempts, lockout = 3, 8
	d := newRig(t, normal, "EIDER_ADMIN_PASSWORD="+adminPassword, fmt.Sprint("EIDER_MAX_LOGIN_ATTEMPTS=", attempts), fmt.Sprint("EIDER_LOGIN_LOCKOUT=", lockout)).start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": dashboardSite}, nil)
	d.good(t, "lockout", map[string]any{"attempts": attempts, "lockout": lockout})
}

// shop gives a server a site with eight weeks of a log, events of today with
// properties, revenue and users, goals and a note.
func shop(d *daemon) {
	d.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[min(rnd.IntN(len(list)), rnd.IntN(len(list)))] }
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": dashboardSite, "timezone": "Europe/Berlin"}, nil)

	var log bytes.Buffer
	start := time.Now().UTC().AddDate(0, 0, -56)
	for at := start; at.Before(time.Now()); at = at.Add(time.Duration(rnd.IntN(60)+1) * time.Minute) {
		host := fmt.Sprintf("%s.%d", pick("81.2.69", "91.64.1", "24.48.0", "8.8.4", "133.11.0", "200.147.3", "139.130.4"), rnd.IntN(250)+1)
		agent := pick(
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
			"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
			"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
		from := pick("-", "https://www.google.com/", "https://news.ycombinator.com/", "https://duckduckgo.com/")
		for i := range rnd.IntN(3) + 1 {
			page := pick("/", "/pricing", "/blog/hello", "/blog/again", "/thanks", "/docs/install", "/?utm_source=news&utm_medium=email&utm_campaign=may")
			fmt.Fprintf(&log, "%s - - [%s] \"GET %s HTTP/1.1\" 200 512 %q %q\n", host, at.Add(time.Duration(i)*time.Second).Format("02/Jan/2006:15:04:05 -0700"), page, from, agent)
		}
	}
	if status, answer, err := d.ask(http.MethodPost, "/api/import?format=combined&site_id="+dashboardSite, "text/plain", log.Bytes()); err != nil || status != http.StatusOK {
		d.Fatalf("import: %d %s %v", status, answer, err)
	}

	var events []map[string]any
	for i := range 40 {
		for n, name := range []string{"pageview", "Signup", "Purchase"}[:rnd.IntN(3)+1] {
			e := map[string]any{
				"name": name, "domain": dashboardSite, "url": "https://" + dashboardSite + []string{"/", "/join", "/cart"}[n], "ip": fmt.Sprintf("81.2.69.%d", i+1), "user_agent": browser,
				"user": fmt.Sprintf("user-%d", i), "props": map[string]string{"plan": pick("free", "pro")}, "timestamp": time.Now().Add(-time.Duration(600-i*10-n) * time.Second).UnixMilli(),
			}
			if name == "Purchase" {
				e["revenue"] = map[string]string{"amount": fmt.Sprintf("%d.50", rnd.IntN(90)+5), "currency": "EUR"}
			}
			events = append(events, e)
		}
	}
	body, err := json.Marshal(events)
	if err != nil {
		d.Fatal(err)
	}
	if status, answer, err := d.ask(http.MethodPost, "/api/events", "application/json", body); err != nil || status != http.StatusAccepted {
		d.Fatalf("events: %d %s %v", status, answer, err)
	}
	d.must(http.MethodPost, "/api/goals?site_id="+dashboardSite, map[string]string{"kind": "page", "path": "/thanks"}, nil)
	d.must(http.MethodPost, "/api/goals?site_id="+dashboardSite, map[string]string{"kind": "event", "event": "Purchase", "currency": "EUR"}, nil)
	d.must(http.MethodPost, "/api/annotations?site_id="+dashboardSite, map[string]string{"date": time.Now().AddDate(0, 0, -9).Format(time.DateOnly), "text": "Launch"}, nil)
	var total int64 = int64(bytes.Count(log.Bytes(), []byte("\n")) + len(events))
	d.seen(func() bool { return d.count() == total })
}
