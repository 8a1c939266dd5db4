package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
)

// firstPage is how many bytes may come before a new reader sees the dashboard.
const firstPage = 200_000

// trackers: what a page has to load, as it is served, beside what others need for
// about the same. Their figures were measured on the scripts that they publish:
// raw, and gzip -9.
func (c *claims) trackers(t *testing.T) {
	const limit = 1500
	d := claimRig(t).start()
	defer d.stop()
	for _, x := range []struct {
		path, what string
		peer       string
		raw, gzip  int // of the peer
		limited    bool
	}{
		{"eider.js", "eider.js, with single-page apps, hash routes, engagement, events, properties, revenue and what did not leave sent again", "Umami 3.1", 4595, 2239, true},
		{"eider.js?more", "what eider.js loads if an option asks for it: outbound links, downloads, forms, 404, tagged elements, exclusions, vitals", "Medama 0.6, all options", 2091, 1045, true},
		{"script.js", "script.js, with all of Plausible's options", "Plausible's npm tracker 0.4.6", 6434, 2694, false},
		{"script.compat.js", "script.….js, without options", "Plausible's legacy script.js", 1386, 768, false},
		{"script.tagged-events.outbound-links.file-downloads.hash.exclusions.revenue.pageview-props.js", "script.….js, with seven options", "Rybbit 2025-06", 12157, 4684, false},
	} {
		raw := d.script(x.path)
		gz, br := compressed(t, raw)
		row := fmt.Sprintf("%s: raw, gzip -9, brotli -11", x.what)
		got, against := fmt.Sprintf("%d, %d, %d B", len(raw), gz, br), fmt.Sprintf("%s: %d, %d B", x.peer, x.raw, x.gzip)
		verdict := ""
		if x.limited {
			verdict = fmt.Sprintf("gzip ≤ %d B", limit)
		}
		c.add(row, got, against, float64(gz)/float64(x.gzip), verdict, gz <= limit)
	}
}

// script returns a tracker as the server sends it to who takes no compression.
func (d *daemon) script(name string) []byte {
	d.Helper()
	req, err := http.NewRequest(http.MethodGet, d.url+"/js/"+name, nil)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	res, err := d.client.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		d.Fatalf("%s: %d %v", name, res.StatusCode, err)
	}
	return raw
}

// compressed returns how many bytes are left of a text by gzip -9 and by brotli
// with quality 11.
func compressed(t *testing.T, raw []byte) (gz, br int) {
	t.Helper()
	cmd := exec.Command("gzip", "-9", "-n")
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gzip: %v", err)
	}
	n := new(counter)
	w := brotli.NewWriterLevel(n, brotli.BestCompression)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return len(out), int(*n)
}

// An opening is what it took to open the dashboard in a browser once, in ms and bytes.
type opening struct{ Paint, Filled, Bytes, Requests, Refused float64 }

// paced is what pace.mjs prints.
type paced struct {
	Cold, Warm, Crowded []opening
	Others              []float64 // ms
	Refused             int
}

// pace opens the dashboard about twelve months of the year so often, cold and
// warm, and so often while others open theirs.
func (d *daemon) pace(t *testing.T, loads, crowded, others int) (p paced) {
	t.Helper()
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	cmd := exec.CommandContext(t.Context(), "node", "pace.mjs", d.url, apiKey, yearSite, yesterday,
		strconv.Itoa(loads), strconv.Itoa(crowded), strconv.Itoa(others))
	cmd.Dir, cmd.Env, cmd.Stderr = install(t, trackerDriver), append(os.Environ(), "CHROMIUM="+chromium(t)), os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return p
}

// of returns one figure of all loads, sorted.
func of(loads []opening, figure func(opening) float64) (list []float64) {
	for _, l := range loads {
		list = append(list, figure(l))
	}
	slices.Sort(list)
	return list
}

func paintOf(l opening) float64    { return l.Paint }
func filledOf(l opening) float64   { return l.Filled }
func bytesOf(l opening) float64    { return l.Bytes }
func requestsOf(l opening) float64 { return l.Requests }

// spread writes the middle and the slow end of sorted times in ms.
func spread(list []float64) string {
	at := func(share float64) float64 { return list[min(int(share*float64(len(list))), len(list)-1)] }
	return fmt.Sprintf("p50 %.0f ms, p95 %.0f ms", at(.5), at(.95))
}

// others is how many dashboards are opened beside the one that is measured.
const others = 19

// browser: what a reader waits for, twelve months at a time.
func (c *claims) browser(t *testing.T) {
	for _, events := range []int{*askEvents / 10, *askEvents} {
		a := openArchive(t, events)
		a.close()
		d := yearRig(t, a).start()
		p := d.pace(t, 20, 5, others)
		d.stop()
		c.opened(millions(events), p)
	}
}

func (c *claims) opened(events string, p paced) {
	const where = "dashboard in Chromium, twelve months of %s events, "
	for _, x := range []struct {
		how   string
		loads []opening
	}{{"new browser, range not asked for before", p.Cold}, {"opened again", p.Warm}} {
		most := slices.Max(of(x.loads, bytesOf))
		c.add(fmt.Sprintf(where+"%s: first contentful paint", events, x.how), spread(of(x.loads, paintOf)), "", 0, "", true)
		c.add(fmt.Sprintf(where+"%s: all panels filled", events, x.how), spread(of(x.loads, filledOf)), "", 0, "", true)
		c.add(fmt.Sprintf(where+"%s: bytes over the wire, %.0f requests", events, x.how, slices.Max(of(x.loads, requestsOf))),
			fmt.Sprintf("%.1f kB", most/1e3), fmt.Sprintf("%d kB", firstPage/1000), most/firstPage, "≤ 1", most <= firstPage)
	}
	refused := float64(p.Refused)
	for _, l := range p.Crowded {
		refused += l.Refused
	}
	slices.Sort(p.Others)
	c.add(fmt.Sprintf(where+"new browser, while %d others open theirs on other ranges (their last answer: %s): all panels filled; %.0f refused", events, others, spread(p.Others), refused),
		spread(of(p.Crowded, filledOf)), "", 0, "none refused", refused == 0)
}

// TestFirstPage opens the dashboard in the real browser and holds what comes over
// the wire to its limit: all of the page, with its answers, for a reader who has
// nothing of it yet. Who has been there is sent less. TestClaims says how long it
// took.
func TestFirstPage(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal)
	if err := writeYear(t.Context(), r.dir, newYear(20_000, time.Now())); err != nil {
		t.Fatal(err)
	}
	p := r.start().pace(t, 1, 1, 2)
	cold, warm, crowded := p.Cold[0], p.Warm[0], p.Crowded[0]
	t.Logf("%+v", p)
	if cold.Bytes > firstPage || cold.Bytes < firstPage/10 {
		t.Errorf("the first page is %.0f bytes, at most are %d", cold.Bytes, firstPage)
	}
	if warm.Bytes >= cold.Bytes/2 {
		t.Errorf("opened again it is %.0f bytes, after %.0f", warm.Bytes, cold.Bytes)
	}
	for name, l := range map[string]opening{"cold": cold, "warm": warm, "crowded": crowded} {
		if l.Paint <= 0 || l.Filled < l.Paint || l.Requests < 10 || l.Refused > 0 && name != "crowded" {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if len(p.Others) != 2 {
		t.Errorf("%d others were answered, want 2", len(p.Others))
	}
}
