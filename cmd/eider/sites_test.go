package main_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestSiteRules changes the settings of a site of the real server: from the next
// event on it goes by them, also after a kill. What was counted stays.
func TestSiteRules(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal).start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	pages := func(d *daemon, want map[string]string) {
		t.Helper()
		for page, dropped := range want {
			if got := d.page(page); got != dropped {
				t.Errorf("%s: X-Plausible-Dropped is %q, want %q", page, got, dropped)
			}
		}
	}
	const good, admin, foreign = "https://" + site + "/a", "https://" + site + "/admin/x", "https://elsewhere.example/a"
	pages(d, map[string]string{good: "", admin: "", foreign: ""})
	settings := "/api/sites/" + site + "/settings"
	d.must(http.MethodPatch, settings, map[string][]string{"excluded_paths": {"/admin/**"}, "allowed_hostnames": {site}}, nil)
	pages(d, map[string]string{good: "", admin: "1", foreign: "1"})
	if _, metrics, _ := d.get("/metrics"); !strings.Contains(metrics, `eider_events_rejected_total{reason="excluded_path"} 1`) ||
		!strings.Contains(metrics, `eider_events_rejected_total{reason="hostname_not_allowed"} 1`) ||
		!strings.Contains(metrics, `eider_events_rejected_total{reason="excluded_country"} 0`) {
		t.Error("the metrics do not count what the rules have left out")
	}
	d.kill()
	d = d.rig.start()
	pages(d, map[string]string{good: "", admin: "1", foreign: "1"})
	d.must(http.MethodPatch, settings, map[string][]string{"excluded_addresses": {"127.0.0.0/8", "::1"}}, nil)
	pages(d, map[string]string{good: "1"})
	d.must(http.MethodPatch, settings, map[string][]string{"excluded_addresses": {}, "excluded_paths": {}, "allowed_hostnames": {}}, nil)
	pages(d, map[string]string{good: "", admin: "", foreign: ""})
	d.seen(func() bool { return d.count() == 8 })
	d.stop()
}

// page sends a pageview and returns what the answer says of events that were
// dropped.
func (d *daemon) page(url string) (dropped string) {
	d.Helper()
	req, err := http.NewRequest(http.MethodPost, d.url+"/api/event", strings.NewReader(`{"n":"pageview","u":"`+url+`","d":"`+site+`"}`))
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("User-Agent", browser)
	res, err := d.client.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		d.Errorf("%s: status %d", url, res.StatusCode)
	}
	return res.Header.Get("X-Plausible-Dropped")
}

// TestSiteZone changes the clock of a site of the real server: the next report is
// by the new days.
func TestSiteZone(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal).start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	d.must(http.MethodPost, "/api/events", []map[string]string{{"n": "pageview", "d": site, "url": "https://" + site + "/"}}, nil)
	d.seen(func() bool { return d.count() == 1 })
	for _, zone := range []string{"UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"} { // 25 hours apart: never one day
		d.must(http.MethodPatch, "/api/sites/"+site, map[string]string{"timezone": zone}, nil)
		want := d.query("SELECT strftime(time + INTERVAL '" + map[string]string{"UTC": "0", "Pacific/Kiritimati": "14", "Pacific/Pago_Pago": "-11"}[zone] + " hours', '%Y-%m-%d') FROM events")[0][0]
		var report struct {
			Timezone string
			Results  []struct {
				Date      string
				Pageviews int
			}
		}
		d.must(http.MethodGet, "/api/stats/timeseries?site_id="+site+"&period=7d&interval=day", nil, &report)
		found := 0
		for _, day := range report.Results {
			if day.Pageviews > 0 {
				found++
				if day.Date != want {
					t.Errorf("%s: the pageview is on %s, want %s", zone, day.Date, want)
				}
			}
		}
		if found != 1 || report.Timezone != zone {
			t.Errorf("%s: the report is by the clock of %s and has %d days with a pageview", zone, report.Timezone, found)
		}
	}
	var shown struct {
		Changes []struct{ Before, After string } `json:"timezone_changes"`
	}
	d.must(http.MethodGet, "/api/sites/"+site, nil, &shown)
	if len(shown.Changes) != 2 || shown.Changes[1].After != "Pacific/Pago_Pago" {
		t.Errorf("changes %+v, want two", shown.Changes)
	}
	d.stop()
}
