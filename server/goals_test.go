package server_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

// withLedger returns a rig whose sites, and what they own, are in a real ledger.
func withLedger(t *testing.T) *rig {
	t.Helper()
	return newRig(t, inLedger(t))
}

// inLedger opens a ledger with two sites and makes a server keep things there.
func inLedger(t *testing.T) func(*server.Options) {
	t.Helper()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), migrations.FS, ledger.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for _, s := range []ledger.Site{{Domain: "example.com", Timezone: "Europe/Berlin", Created: 1e15}, {Domain: "other.com", Timezone: "UTC", Created: 1e15}} {
		if err := l.AddSite(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return func(o *server.Options) {
		o.Sites, o.Settings, o.Goals, o.Segments, o.Annotations = l, l, l, l, l
		if o.Door, err = door.Open(t.Context(), l, door.Options{Secret: make([]byte, 32), Now: o.Now, Hash: quickHash}); err != nil {
			t.Fatal(err)
		}
	}
}

// A step is a request and its answer. An answer of 4xx is given by its code, and
// a text that the error must hold.
type step struct {
	method, target, body string
	status               int
	want, says           string
}

func (r *rig) steps(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		header := []string{}
		if s.body != "" {
			header = append(header, asJSON)
		} else {
			header = append(header, "X-None: x")
		}
		w := r.do(s.method, s.target, s.body, header...)
		if s.status >= 400 {
			want(t, w, s.status, s.want)
			if !strings.Contains(w.Body.String(), s.says) {
				t.Errorf("%s %s %s: %s, which does not say %q", s.method, s.target, s.body, w.Body, s.says)
			}
			continue
		}
		if got := strings.TrimSpace(w.Body.String()); w.Code != s.status || got != s.want {
			t.Errorf("%s %s %s:\ngot  %d %s\nwant %d %s", s.method, s.target, s.body, w.Code, got, s.status, s.want)
		}
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	const (
		all   = "/api/goals?site_id=example.com"
		first = "/api/goals/1?site_id=example.com"
		made  = `"created":"2026-07-15T12:30:00Z"}`
	)
	withLedger(t).steps(t, []step{
		{"GET", all, "", 200, `{"site_id":"example.com","goals":[]}`, ""},
		{"POST", all, `{"kind": "page", "path": "/thanks/"}`, 201, `{"id":1,"name":"Visit /thanks","kind":"page","path":"/thanks",` + made, ""},
		{"POST", all, `{"kind": "event", "event": "Purchase", "name": "Buy", "currency": "eur", "props": {"plan": "big"}}`, 201,
			`{"id":2,"name":"Buy","kind":"event","event":"Purchase","props":{"plan":"big"},"currency":"EUR",` + made, ""},
		{"POST", all, `{"kind": "scroll", "path": "/blog/**", "scroll": 75}`, 201, `{"id":3,"name":"Scroll 75% on /blog/**","kind":"scroll","path":"/blog/**","scroll":75,` + made, ""},
		{"POST", all, `{"kind": "page", "path": "/thanks"}`, 409, "exists", "of that name"},
		{"POST", all, `{"kind": "page"}`, 422, "invalid", "path is missing"},
		{"POST", all, `{"kind": "page", "path": "thanks"}`, 422, "invalid", "begins with /"},
		{"POST", all, `{"kind": "scroll", "path": "/", "scroll": 0}`, 422, "invalid", "1 to 100"},
		{"POST", all, `{"kind": "visit"}`, 422, "invalid", "page, event and scroll"},
		{"POST", all, `{"kind": "event", "event": "x", "currency": "QQQ"}`, 422, "invalid", "ISO 4217"},
		{"POST", all, `{"kind": "event", "events": "x"}`, 400, "invalid", "events"},
		{"POST", all, `{"kind": "event", "event": "x", "props": {"a": 1}}`, 400, "invalid", "props"},
		{"POST", all, `{"kind": `, 400, "invalid", ""},
		{"POST", "/api/goals", `{"kind": "page", "path": "/"}`, 400, "parameter", "site_id is missing"},
		{"POST", "/api/goals?site_id=nowhere.com", `{"kind": "page", "path": "/"}`, 404, "unknown_site", ""},
		{"PATCH", first, `{"path": "/danke"}`, 200, `{"id":1,"name":"Visit /danke","kind":"page","path":"/danke",` + made, ""},
		{"PATCH", first, `{"name": "Thanks"}`, 200, `{"id":1,"name":"Thanks","kind":"page","path":"/danke",` + made, ""},
		{"PATCH", first, `{"name": "Buy"}`, 409, "exists", "of that name"},
		{"PATCH", first, `{"scroll": 10}`, 422, "invalid", "scroll belongs to"},
		{"PATCH", first, `{"kind": "event"}`, 400, "invalid", "kind"},
		{"PATCH", "/api/goals/2?site_id=example.com", `{"props": {}, "currency": ""}`, 200, `{"id":2,"name":"Buy","kind":"event","event":"Purchase",` + made, ""},
		{"PATCH", "/api/goals/1?site_id=other.com", `{"name": "Mine"}`, 404, "not_found", ""},
		{"DELETE", "/api/goals/1?site_id=other.com", "", 404, "not_found", ""},
		{"DELETE", "/api/goals/99?site_id=example.com", "", 404, "not_found", ""},
		{"DELETE", "/api/goals/one?site_id=example.com", "", 404, "not_found", ""},
		{"DELETE", "/api/goals/3?site_id=example.com", "", 204, "", ""},
		{"GET", "/api/goals?site_id=other.com", "", 200, `{"site_id":"other.com","goals":[]}`, ""},
		{"GET", all, "", 200, `{"site_id":"example.com","goals":[{"id":1,"name":"Thanks","kind":"page","path":"/danke",` + made + `,{"id":2,"name":"Buy","kind":"event","event":"Purchase",` + made + `]}`, ""},
		{"DELETE", "/api/sites/example.com", "", 204, "", ""},
		{"POST", "/api/sites", `{"domain": "example.com"}`, 201, `{"domain":"example.com","timezone":"UTC","created":"2026-07-15T12:30:00Z"}`, ""},
		{"GET", all, "", 200, `{"site_id":"example.com","goals":[]}`, ""},
	})
}

func TestSegments(t *testing.T) {
	t.Parallel()
	const (
		all  = "/api/segments?site_id=example.com"
		at   = `"created":"2026-07-15T12:30:00Z","updated":"2026-07-15T12:30:00Z"}`
		one  = "/api/segments/1?site_id=example.com"
		page = `[["is","event:page",["/"]]]`
	)
	deep := strings.Repeat(`["not",`, 40) + `["is","event:page",["/"]]` + strings.Repeat(`]`, 40)
	withLedger(t).steps(t, []step{
		{"GET", all, "", 200, `{"site_id":"example.com","segments":[]}`, ""},
		{"POST", all, `{"name": "Germans", "filters": [["is", "visit:country", ["DE"]], ["or", [["contains", "event:page", ["/a"]]]]]}`, 201,
			`{"id":1,"name":"Germans","filters":[["is","visit:country",["DE"]],["or",[["contains","event:page",["/a"]]]]],` + at, ""},
		{"POST", all, `{"name": "Germans", "filters": ` + page + `}`, 409, "exists", "of that name"},
		{"POST", all, `{"filters": ` + page + `}`, 422, "invalid", "name is missing"},
		{"POST", all, `{"name": "x", "filters": []}`, 422, "invalid", "at least one"},
		{"POST", all, `{"name": "x"}`, 400, "bad_query", "JSON"},
		{"POST", all, `{"name": "x", "filters": {}}`, 400, "bad_query", "list"},
		{"POST", all, `{"name": "x", "filters": [["is", "event:planet", ["x"]]]}`, 400, "bad_query", "Invalid filter"},
		{"POST", all, `{"name": "x", "filters": [["is", "segment", [1]]]}`, 400, "bad_query", "segments"},
		{"POST", all, `{"name": "x", "filters": [["is", "event:goal", ["None"]]]}`, 400, "bad_query", "not configured"},
		{"POST", all, `{"name": "x", "filters": [["matches", "event:page", ["("]]]}`, 400, "bad_query", "RE2"},
		{"POST", all, `{"name": "x", "filters": [` + deep + `]}`, 400, "bad_query", "nested"},
		{"POST", all, `{"name": "x", "filters": [["is", "event:page", [` + strings.Repeat(`"/",`, 501) + `"/"]]]}`, 400, "bad_query", "500"},
		{"POST", "/api/goals?site_id=example.com", `{"kind": "event", "event": "Signup"}`, 201, `{"id":1,"name":"Signup","kind":"event","event":"Signup","created":"2026-07-15T12:30:00Z"}`, ""},
		{"POST", all, `{"name": "Signed up", "filters": [["is", "event:goal", ["Signup"]]]}`, 201, `{"id":2,"name":"Signed up","filters":[["is","event:goal",["Signup"]]],` + at, ""},
		{"PATCH", one, `{"name": "People"}`, 200, `{"id":1,"name":"People","filters":[["is","visit:country",["DE"]],["or",[["contains","event:page",["/a"]]]]],` + at, ""},
		{"PATCH", one, `{"filters": ` + page + `}`, 200, `{"id":1,"name":"People","filters":` + page + `,` + at, ""},
		{"PATCH", one, `{"filters": [["is"]]}`, 400, "bad_query", ""},
		{"PATCH", one, `{"name": "Signed up"}`, 409, "exists", "of that name"},
		{"PATCH", "/api/segments/1?site_id=other.com", `{"name": "Mine"}`, 404, "not_found", ""},
		{"DELETE", "/api/segments/1?site_id=other.com", "", 404, "not_found", ""},
		{"DELETE", "/api/segments/2?site_id=example.com", "", 204, "", ""},
		{"GET", all, "", 200, `{"site_id":"example.com","segments":[{"id":1,"name":"People","filters":` + page + `,` + at + `]}`, ""},
	})
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	const (
		all  = "/api/annotations?site_id=example.com"
		one  = "/api/annotations/1?site_id=example.com"
		made = `"created":"2026-07-15T12:30:00Z"}`
	)
	withLedger(t).steps(t, []step{
		{"POST", all, `{"date": "2026-07-01", "text": "launch"}`, 201, `{"id":1,"date":"2026-07-01","text":"launch",` + made, ""},
		{"POST", all, `{"time": "2026-07-02T10:00:00.5+02:00", "text": "ü"}`, 201, `{"id":2,"time":"2026-07-02T08:00:00.5Z","text":"ü",` + made, ""},
		{"POST", all, `{"text": "when?"}`, 422, "invalid", "date is missing"},
		{"POST", all, `{"date": "2026-07-01", "time": "2026-07-02T10:00:00Z", "text": "x"}`, 422, "invalid", "one of the two"},
		{"POST", all, `{"date": "yesterday", "text": "x"}`, 422, "invalid", "2026-01-31"},
		{"POST", all, `{"time": "yesterday", "text": "x"}`, 400, "invalid", ""},
		{"POST", all, `{"date": "2026-07-01"}`, 422, "invalid", "text is missing"},
		{"POST", all, `{"date": "2026-07-01", "text": "` + strings.Repeat("x", 501) + `"}`, 422, "invalid", "at most 500"},
		{"PATCH", one, `{"text": "launch day"}`, 200, `{"id":1,"date":"2026-07-01","text":"launch day",` + made, ""},
		{"PATCH", one, `{"time": "2026-07-01T09:00:00Z"}`, 200, `{"id":1,"time":"2026-07-01T09:00:00Z","text":"launch day",` + made, ""},
		{"PATCH", "/api/annotations/1?site_id=other.com", `{"text": "mine"}`, 404, "not_found", ""},
		{"DELETE", "/api/annotations/1?site_id=other.com", "", 404, "not_found", ""},
		{"DELETE", "/api/annotations/2?site_id=example.com", "", 204, "", ""},
		{"GET", all, "", 200, `{"site_id":"example.com","annotations":[{"id":1,"time":"2026-07-01T09:00:00Z","text":"launch day",` + made + `]}`, ""},
	})
}

func TestSiteSettings(t *testing.T) {
	t.Parallel()
	const (
		site     = "/api/sites/example.com"
		settings = site + "/settings"
		none     = `"excluded_paths":[],"excluded_addresses":[],"excluded_countries":[],"allowed_hostnames":[]`
	)
	withLedger(t).steps(t, []step{
		{"GET", site, "", 200, `{"domain":"example.com","timezone":"Europe/Berlin","created":"2001-09-09T01:46:40Z","timezone_changes":[]}`, ""},
		{"GET", settings, "", 200, `{"domain":"example.com","timezone":"Europe/Berlin","currency":"",` + none + `}`, ""},
		{"PATCH", site, `{"timezone": "Mars/Olympus"}`, 422, "invalid", "Europe/Berlin"},
		{"PATCH", site, `{"timezone": "Local"}`, 422, "invalid", "IANA"},
		{"PATCH", site, `{}`, 422, "invalid", "timezone is missing"},
		{"PATCH", site, `{"domain": "new.com"}`, 400, "invalid", "domain"},
		{"PATCH", site, `{"timezone": "Asia/Tokyo"}`, 200, `{"domain":"example.com","timezone":"Asia/Tokyo","created":"2001-09-09T01:46:40Z",` +
			`"timezone_changes":[{"at":"2026-07-15T12:30:00Z","before":"Europe/Berlin","after":"Asia/Tokyo"}]}`, ""},
		{"PATCH", settings, `{"currency": "usd", "excluded_paths": ["/admin/**"], "excluded_addresses": ["192.0.2.9/24", "2001:DB8::1"], "excluded_countries": ["de"], "allowed_hostnames": ["www.example.com"]}`, 200,
			`{"domain":"example.com","timezone":"Asia/Tokyo","currency":"USD","excluded_paths":["/admin/**"],"excluded_addresses":["192.0.2.0/24","2001:db8::1"],"excluded_countries":["DE"],"allowed_hostnames":["example.com"],"changed":"2026-07-15T12:30:00Z"}`, ""},
		{"PATCH", settings, `{"excluded_paths": [], "excluded_addresses": [], "excluded_countries": [], "allowed_hostnames": [], "timezone": "UTC"}`, 200,
			`{"domain":"example.com","timezone":"UTC","currency":"USD",` + none + `,"changed":"2026-07-15T12:30:00Z"}`, ""},
		{"PATCH", settings, `{"excluded_paths": ["/a", "b"]}`, 422, "invalid", "excluded_paths[1]"},
		{"PATCH", settings, `{"excluded_addresses": ["10.0.0.0/33"]}`, 422, "invalid", "excluded_addresses[0]"},
		{"PATCH", settings, `{"excluded_countries": ["Germany"]}`, 422, "invalid", "excluded_countries[0]"},
		{"PATCH", settings, `{"allowed_hostnames": ["https://example.com/"]}`, 422, "invalid", "allowed_hostnames[0]"},
		{"PATCH", settings, `{"currency": "EURO"}`, 422, "invalid", "currency"},
		{"PATCH", settings, `{"retention": 3}`, 400, "invalid", "retention"},
		{"GET", settings, "", 200, `{"domain":"example.com","timezone":"UTC","currency":"USD",` + none + `,"changed":"2026-07-15T12:30:00Z"}`, ""},
		{"GET", "/api/sites/nowhere.com", "", 404, "unknown_site", ""},
		{"GET", "/api/sites/nowhere.com/settings", "", 404, "unknown_site", ""},
		{"PATCH", "/api/sites/nowhere.com/settings", `{}`, 404, "unknown_site", ""},
		{"GET", "/api/sites/other.com/settings", "", 200, `{"domain":"other.com","timezone":"UTC","currency":"",` + none + `}`, ""},
	})
}

// TestOthersThings asks with a key of one site for what belongs to another, and
// for what belongs to none: both answers are the same, so that nobody learns
// which sites there are.
func TestOthersThings(t *testing.T) {
	t.Parallel()
	kept := inLedger(t)
	r := newRig(t, kept)
	r.steps(t, []step{{"POST", "/api/goals?site_id=other.com", `{"kind": "event", "event": "Secret"}`, 201,
		`{"id":1,"name":"Secret","kind":"event","event":"Secret","created":"2026-07-15T12:30:00Z"}`, ""}})
	key := r.key(t, "example.com", 0, "admin", "stats")
	r = rigOf(t, r.fake, kept)
	for _, things := range []string{"goals", "segments", "annotations"} {
		for _, c := range []struct{ method, target, body string }{
			{"GET", "/api/" + things, ""}, {"POST", "/api/" + things, "{}"}, {"PATCH", "/api/" + things + "/1", "{}"}, {"DELETE", "/api/" + things + "/1", ""},
		} {
			for _, site := range []string{"other.com", "nowhere.com"} {
				w := r.do(c.method, fmt.Sprintf("%s?site_id=%s", c.target, site), c.body, "-", asJSON, "X-Api-Key: "+key)
				want(t, w, 403, "site_of_the_key")
			}
			// Its own site does not lead to another's things either.
			if strings.HasSuffix(c.target, "/1") {
				want(t, r.do(c.method, c.target+"?site_id=example.com", c.body, "-", asJSON, "X-Api-Key: "+key), 404, "not_found")
			}
		}
	}
	for _, target := range []string{"/api/sites/other.com", "/api/sites/nowhere.com", "/api/sites/other.com/settings"} {
		want(t, r.do("GET", target, "", "-", "X-Api-Key: "+key), 403, "site_of_the_key")
		want(t, r.do("PATCH", target, `{"timezone": "UTC"}`, "-", asJSON, "X-Api-Key: "+key), 403, "site_of_the_key")
	}
	if got := r.do("GET", "/api/goals?site_id=example.com", "", "-", "X-Api-Key: "+key).Body.String(); got != `{"site_id":"example.com","goals":[]}`+"\n" {
		t.Errorf("a key of one site sees %s", got)
	}
}
