package server_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// share makes a shared link and returns its slug.
func (r *rig) share(t *testing.T, k ledger.Link, password ...string) string {
	t.Helper()
	return r.shared(t, k, password...).Slug
}

func (r *rig) shared(t *testing.T, k ledger.Link, password ...string) door.Shared {
	t.Helper()
	k.Name = "of a test"
	made, err := r.door.AddLink(t.Context(), k, append(password, "")[0])
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestLinks(t *testing.T) {
	t.Parallel()
	const (
		all = "/api/links?site_id=example.com"
		one = "/api/links/1?site_id=example.com"
	)
	r := withLedger(t)
	r.steps(t, []step{
		{"GET", all, "", 200, `{"site_id":"example.com","links":[]}`, ""},
		{"POST", "/api/segments?site_id=example.com", `{"name": "Root", "filters": [["is","event:page",["/"]]]}`, 201,
			`{"id":1,"name":"Root","filters":[["is","event:page",["/"]]],"created":"2026-07-15T12:30:00Z","updated":"2026-07-15T12:30:00Z"}`, ""},
		{"POST", all, `{}`, 422, "invalid", "name is missing"},
		{"POST", all, `{"name": "x", "password": "short"}`, 422, "invalid", "8 to"},
		{"POST", all, `{"name": "x", "segment": 2}`, 422, "invalid", "no segment of the site"},
		{"POST", all, `{"name": "x", "segment": -1}`, 422, "invalid", "no segment of the site"},
		{"POST", "/api/links?site_id=other.com", `{"name": "x", "segment": 1}`, 422, "invalid", "no segment of the site"},
		{"POST", all, `{"name": "x", "expires": "2026-07-15T12:30:00Z"}`, 422, "invalid", "past"},
		{"POST", all, `{"name": "x", "expires": "tomorrow"}`, 400, "invalid", ""},
		{"POST", all, `{"name": "x", "slug": "mine"}`, 400, "invalid", "slug"},
		{"PATCH", one, `{"name": "y"}`, 404, "not_found", ""},
		{"DELETE", one, "", 404, "not_found", ""},
	})
	w := r.do("POST", all, `{"name": "x", "password": "open sesame", "segment": 1, "embed": true, "badge": true, "expires": "2026-08-01T00:00:00Z"}`, asJSON)
	want(t, w, 201, "")
	made := into[map[string]any](t, w)
	for key, value := range map[string]any{"id": 1.0, "name": "x", "password": true, "segment": 1.0, "embed": true, "badge": true, "expires": "2026-08-01T00:00:00Z"} {
		if made[key] != value {
			t.Errorf("%s is %v, want %v", key, made[key], value)
		}
	}
	link, badge := made["link"].(string), made["badge_url"].(string)
	if !strings.HasPrefix(link, "http://example.com/share/") || !strings.HasPrefix(badge, "http://example.com/badge/") || strings.Contains(badge, path.Base(link)) {
		t.Errorf("link %s, badge %s", link, badge)
	}
	list := into[struct{ Links []map[string]any }](t, r.do("GET", all, ""))
	if len(list.Links) != 1 || list.Links[0]["link"] != link {
		t.Errorf("the list has %v", list.Links)
	}
	r.steps(t, []step{
		{"POST", all, `{"name": "x"}`, 409, "exists", "shared link of that name"},
		{"DELETE", "/api/segments/1?site_id=example.com", "", 409, "in_use", "locked to"},
		{"PATCH", "/api/links/1?site_id=other.com", `{"name": "mine"}`, 404, "not_found", ""},
		{"DELETE", "/api/links/1?site_id=other.com", "", 404, "not_found", ""},
		{"PATCH", one, `{"expires": "2026-01-01T00:00:00Z"}`, 422, "invalid", "past"},
		{"PATCH", one, `{"expires": "never"}`, 422, "invalid", "expires"},
		{"PATCH", one, `{"password": "short"}`, 422, "invalid", "8 to"},
		{"PATCH", one, `{"name": "y", "password": "", "segment": 0, "embed": false, "badge": false, "expires": ""}`, 200,
			`{"id":1,"name":"y","link":"` + link + `","password":false,"embed":false,"badge":false,"created":"2026-07-15T12:30:00Z","changed":"2026-07-15T12:30:00Z"}`, ""},
		{"DELETE", "/api/segments/1?site_id=example.com", "", 204, "", ""},
		{"DELETE", one, "", 204, "", ""},
		{"GET", all, "", 200, `{"site_id":"example.com","links":[]}`, ""},
	})
	if code, _ := r.ask("/api/share", path.Base(link)); code != 401 {
		t.Errorf("a revoked link: %d", code)
	}
}

// TestShare goes the way of somebody who has a link with a password.
func TestShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.segments = []ledger.Segment{{ID: 1, Name: "Ours", Filters: []byte(lockFilters)}}
	slug := r.share(t, ledger.Link{Site: "example.com", Segment: 1, Embeds: true}, "open sesame")
	const report = "/api/stats/main?site_id=example.com"
	want(t, r.do("GET", report, "", "-", "X-Eider-Share: "+slug), 401, "link_password")
	w := r.do("GET", "/api/share", "", "-", "X-Eider-Share: "+slug)
	if got := w.Body.String(); w.Code != 200 || got != `{"password_required":true}`+"\n" {
		t.Errorf("without the password it is told %d %s", w.Code, got)
	}
	want(t, r.do("GET", "/api/share", "", "-"), 401, "bad_link")

	open := func(slug, password string) *httptest.ResponseRecorder {
		body, err := json.Marshal(map[string]string{"link": slug, "password": password})
		if err != nil {
			t.Fatal(err)
		}
		return r.do("POST", "/api/share", string(body), "-", asJSON)
	}
	want(t, open(slug, "open barley"), 401, "bad_login")
	want(t, open(strings.Repeat("a", 26), "open sesame"), 401, "bad_link")
	w = open(slug, "open sesame")
	want(t, w, 200, "")
	if len(w.Result().Cookies()) > 0 {
		t.Errorf("it sets cookies: %v", w.Result().Cookies())
	}
	full := slug + "." + into[struct{ Pass string }](t, w).Pass
	want(t, r.do("GET", report, "", "-", "X-Eider-Share: "+full), 200, "")
	if _, body := r.ask("/api/share", full); body != `{"site_id":"example.com","timezone":"Europe/Berlin","segment":"Ours"}`+"\n" {
		t.Errorf("the link shows %s", body)
	}
	codes := map[int]int{}
	for range 20 {
		codes[open(slug, "guess").Code]++
	}
	if codes[401] != 5 || codes[429] != 15 {
		t.Errorf("guesses are answered %v, want 5 times 401 and 15 times 429", codes)
	}
	want(t, open(slug, "open sesame"), 429, "locked")
	want(t, r.do("GET", report, "", "-", "X-Eider-Share: "+full), 200, "") // who is in stays in
	for _, e := range r.users.Entries() {
		if e.Kind == audit.Login && e.Object != "link:1" {
			t.Errorf("an attempt is recorded as %+v", e)
		}
	}
	if log := r.logged(); strings.Contains(log, slug) || strings.Contains(log, "sesame") {
		t.Errorf("the log has secrets: %s", log)
	}
}

func TestSharePage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	may := r.share(t, ledger.Link{Site: "example.com", Embeds: true})
	secret := r.share(t, ledger.Link{Site: "example.com", Embeds: true}, "open sesame")
	not := r.share(t, ledger.Link{Site: "example.com"})
	old := r.share(t, ledger.Link{Site: "example.com", Embeds: true, Expires: now.UnixMicro()})
	for _, c := range []struct {
		name, target string
		status       int
		framed       bool
	}{
		{"a link", "/share/" + may, 200, false},
		{"embedded", "/share/" + may + "?embed=true&theme=dark", 200, true},
		{"embedded, with a password", "/share/" + secret + "?embed=true", 200, true},
		{"embedded otherwise", "/share/" + may + "?embed=1", 200, false},
		{"one that may not be", "/share/" + not + "?embed=true", 200, false},
		{"an expired one", "/share/" + old + "?embed=true", 404, false},
		{"none", "/share/none?embed=true", 404, false},
		{"the dashboard", "/?embed=true", 200, false},
		{"the way in", "/setup?embed=true", 200, false},
	} {
		w := r.do("GET", c.target, "", "-")
		policy, other := w.Header().Get("Content-Security-Policy"), w.Header().Get("X-Frame-Options")
		if w.Code != c.status || !strings.Contains(w.Body.String(), "<title>") {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if c.framed && (!strings.HasSuffix(policy, "frame-ancestors *") || other != "") || !c.framed && (!strings.Contains(policy, "frame-ancestors 'none'") || other != "DENY") {
			t.Errorf("%s: policy %q, X-Frame-Options %q", c.name, policy, other)
		}
		if strings.HasPrefix(c.target, "/share/") && w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %s", c.name, w.Header().Get("Cache-Control"))
		}
		if !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", c.name, policy)
		}
	}
}

func TestBadge(t *testing.T) {
	t.Parallel()
	r, questions, _ := locked(t)
	questions.answer = func(event.Query) *event.Answer {
		return &event.Answer{Lines: []event.Line{{Figures: []event.Figure{{Int: 12345}}}}}
	}
	k := r.shared(t, ledger.Link{Site: "example.com", Segment: 1, Badges: true}, "open sesame")
	target := "/badge/" + door.BadgeOf(k.Slug) + ".svg"
	w := r.do("GET", target, "", "-")
	want(t, w, 200, "")
	h := w.Header()
	for name, value := range map[string]string{"Content-Type": "image/svg+xml", "Cache-Control": "public, max-age=300", "Cross-Origin-Resource-Policy": "cross-origin"} {
		if h.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, h.Get(name), value)
		}
	}
	body := w.Body.String()
	style := regexp.MustCompile(`<style>(.*)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatalf("no style in %s", body)
	}
	sum := sha256.Sum256([]byte(style[1]))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(h.Get("Content-Security-Policy"), hash) || strings.Contains(body, "<script") {
		t.Errorf("the policy %q does not allow the style, or there is a script: %s", h.Get("Content-Security-Policy"), body)
	}
	if !strings.Contains(body, `<title>visitors in 30 days: 12345</title>`) || !strings.Contains(body, ">12.3k</text>") || !strings.Contains(body, `role="img"`) {
		t.Errorf("badge %s", body)
	}
	if f := questions.last(); !encloses(lockMeans, f.Filter) || f.Site != "example.com" {
		t.Errorf("it was asked %+v", f)
	}
	want(t, r.do("GET", target, "", "-", "If-None-Match: "+h.Get("Etag")), 304, "")
	for query, want := range map[string]string{
		"?theme=dark": `fill="#2c3742"`, "?theme=light": `fill="#e3e9ee"`, "?label=" + url.QueryEscape(`<b onload="x">&`): `&lt;b onload=&#34;x&#34;&gt;&amp;`, "?label=Besucher&period=all": ">Besucher</text>",
	} {
		w := r.do("GET", target+query, "", "-")
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s in it", query, w.Code, w.Body, want)
		}
		if err := xml.Unmarshal(w.Body.Bytes(), new(struct{})); err != nil {
			t.Errorf("%s: %v in %s", query, err, w.Body)
		}
		if themed := strings.HasPrefix(query, "?theme"); themed == strings.Contains(w.Body.String(), "<style>") {
			t.Errorf("%s: %s", query, w.Body)
		}
	}
	for _, query := range []string{"?period=realtime", "?period=24h", "?theme=pink", "?label=" + strings.Repeat("x", 41), "?label=%00", "?label=%ff", "?period=7d&period=30d"} {
		if w := r.do("GET", target+query, "", "-"); w.Code != 400 {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	for _, other := range []string{"/badge/" + k.Slug + ".svg", "/badge/" + door.BadgeOf(k.Slug), "/badge/none.svg", "/badge/" + door.BadgeOf(r.share(t, ledger.Link{Site: "example.com"})) + ".svg"} {
		want(t, r.do("GET", other, "", "-"), 404, "not_found")
	}
	// The token of a badge opens nothing else, and whoever asks is nobody else here.
	want(t, r.do("GET", "/api/stats/main?site_id=example.com", "", "-", "X-Eider-Share: "+door.BadgeOf(k.Slug)), 401, "bad_link")
	want(t, r.do("GET", target, "", "-", "X-Eider-Share: x", "Authorization: Bearer x"), 200, "")
}

func TestShortNumbers(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1k", 1099: "1k", 1100: "1.1k", 9999: "9.9k", 12_345: "12.3k", 123_456: "123k", 999_999: "999k", 1e6: "1M", 2_560_000: "2.5M", 3e9: "3G", 1 << 62: "4611686018G"} {
		if got := server.ShortNumber(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// TestEmbedScript: what makes frames as high as they need to be is served to anybody.
func TestEmbedScript(t *testing.T) {
	t.Parallel()
	w := newRig(t).do("GET", "/js/embed.host.js", "", "-")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "eider-embed") || w.Header().Get("Cross-Origin-Resource-Policy") != "cross-origin" || len(w.Body.String()) > 700 {
		t.Errorf("%d, %d bytes: %s", w.Code, w.Body.Len(), w.Body)
	}
}
