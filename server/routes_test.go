package server_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
)

// A guard says who may use a route. There is one for every route of the list:
// a new route without one fails the test.
type guard struct {
	scopes []string // any of them; none: open to everyone
	target string   // a request that the handler takes
	body   string
	whole  bool // a key of one site will not do, whichever it is
	local  bool // this machine needs no key
	lists  bool // a key of another site gets an answer without what is not its own
}

var guards = map[string]guard{
	"POST /api/event":    {target: "/api/event", body: `{}`},
	"GET /api/event":     {target: "/api/event?d=example.com"},
	"OPTIONS /api/event": {target: "/api/event"},
	"POST /api/events":   {scopes: []string{"ingest"}, target: "/api/events", body: `[]`, lists: true},
	"POST /api/import":   {scopes: []string{"admin"}, target: "/api/import?site_id=example.com"},

	"GET /api/stats/main":            {scopes: []string{"stats"}, target: "/api/stats/main?site_id=example.com"},
	"GET /api/stats/timeseries":      {scopes: []string{"stats"}, target: "/api/stats/timeseries?site_id=example.com"},
	"GET /api/stats/breakdown/{dim}": {scopes: []string{"stats"}, target: "/api/stats/breakdown/page?site_id=example.com"},
	"GET /api/stats/export":          {scopes: []string{"export"}, target: "/api/stats/export?site_id=example.com"},
	"POST /api/sql":                  {scopes: []string{"sql"}, target: "/api/sql", body: `{"query": "SELECT 1"}`, whole: true},

	"GET /api/keys":                {scopes: []string{"admin"}, target: "/api/keys", whole: true},
	"POST /api/keys":               {scopes: []string{"admin"}, target: "/api/keys", body: `{"name": "n", "scopes": ["stats"]}`, whole: true},
	"DELETE /api/keys/{id}":        {scopes: []string{"admin"}, target: "/api/keys/doomed", whole: true},
	"GET /api/sites":               {scopes: []string{"admin"}, target: "/api/sites", lists: true},
	"POST /api/sites":              {scopes: []string{"admin"}, target: "/api/sites", body: `{"domain": "new.com"}`, whole: true},
	"DELETE /api/sites/{domain}":   {scopes: []string{"admin"}, target: "/api/sites/example.com"},
	"POST /api/gdpr/erase":         {scopes: []string{"admin"}, target: "/api/gdpr/erase", body: `{"site_id": "example.com", "user": "u"}`},
	"GET /api/parts":               {scopes: []string{"admin"}, target: "/api/parts", whole: true},
	"POST /api/parts/verify":       {scopes: []string{"admin"}, target: "/api/parts/verify", whole: true},
	"POST /api/maintenance/{task}": {scopes: []string{"admin"}, target: "/api/maintenance/publish", whole: true},

	"GET /api/auth/status": {target: "/api/auth/status"},
	"POST /api/auth/setup": {target: "/api/auth/setup", body: `{"token": ""}`},
	"GET /health":          {target: "/health"},
	"GET /health/ready":    {target: "/health/ready"},
	"GET /ready":           {target: "/ready"},
	"GET /health/detailed": {scopes: []string{"ingest", "stats", "sql", "export", "backup", "metrics", "admin"}, target: "/health/detailed", whole: true, local: true},
	"GET /metrics":         {scopes: []string{"metrics"}, target: "/metrics", whole: true, local: true},
	"GET /robots.txt":      {target: "/robots.txt"},
	"GET /setup":           {target: "/setup"},
	"/":                    {target: "/"},
}

// request makes the request that a guard describes.
func (g guard) request(pattern, key string) *http.Request {
	method, _, ok := strings.Cut(pattern, " ")
	if !ok {
		method = http.MethodGet
	}
	req := httptest.NewRequest(method, g.target, strings.NewReader(g.body))
	req.RemoteAddr = "203.0.113.9:4242"
	if g.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return req
}

// TestEveryRouteIsGuarded asks every route of the list as everybody who might
// try to.
func TestEveryRouteIsGuarded(t *testing.T) {
	t.Parallel()
	for _, pattern := range server.Patterns() {
		g, ok := guards[pattern]
		if !ok {
			t.Errorf("route %s has no guard in this test: say who may use it", pattern)
			continue
		}
		t.Run(strings.ReplaceAll(pattern, "/", "|"), func(t *testing.T) {
			t.Parallel()
			g.check(t, pattern)
		})
	}
	if len(guards) != len(server.Patterns()) {
		t.Errorf("%d guards for %d routes", len(guards), len(server.Patterns()))
	}
}

func (g guard) check(t *testing.T, pattern string) {
	try := func(who string, status int, key func(f *fake) string) {
		t.Helper()
		r := rigOf(t, &fake{sites: newRig(t).sites, keys: nil}, func(o *server.Options) {
			o.APIKey = ""
			f := o.Keys.(*fake)
			f.key(t, "", 0, "stats")
			f.keys[0].ID = "doomed"
			o.Proxy = &server.Proxy{}
		})
		secret := ""
		if key != nil {
			secret = key(r.fake)
			r = rigOf(t, r.fake, func(o *server.Options) { o.APIKey = "" })
		}
		w := r.serve(g.request(pattern, secret))
		switch {
		case status == 0 && (w.Code == 401 || w.Code == 403):
			t.Errorf("%s: %d, want to be let in: %s", who, w.Code, w.Body)
		case status != 0 && w.Code != status:
			t.Errorf("%s: %d, want %d: %s", who, w.Code, status, w.Body)
		}
		if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: 401 without WWW-Authenticate", who)
		}
	}
	if len(g.scopes) == 0 {
		if pattern != "POST /api/auth/setup" { // it is its own guard
			try("nobody", 0, nil)
		}
		return
	}
	try("nobody", 401, nil)
	try("an unknown key", 401, func(*fake) string { return "eider_0000000000000000000000000000" })
	try("an expired key", 401, func(f *fake) string { return f.key(t, "", now.UnixMicro(), g.scopes...) })
	try("a revoked key", 401, func(f *fake) string {
		k := f.key(t, "", 0, g.scopes...)
		f.keys[len(f.keys)-1].Revoked = 1
		return k
	})
	for _, scope := range []string{"ingest", "stats", "sql", "export", "backup", "metrics", "admin"} {
		if slices.Contains(g.scopes, scope) {
			try("a key with "+scope, 0, func(f *fake) string { return f.key(t, "", now.UnixMicro()+1, scope) })
		} else {
			try("a key with "+scope, 403, func(f *fake) string { return f.key(t, "", 0, scope) })
		}
	}
	own, other := 0, 403
	if g.whole {
		own = 403
	}
	if g.lists {
		other = 0
	}
	try("a key of the site", own, func(f *fake) string { return f.key(t, "example.com", 0, g.scopes...) })
	try("a key of another site", other, func(f *fake) string { return f.key(t, "other.com", 0, g.scopes...) })
}

// TestLocal checks which routes this machine itself may use without a key, and
// that a proxy on it is not this machine.
func TestLocal(t *testing.T) {
	t.Parallel()
	proxied, err := server.ParseProxy("X-Real-Ip 127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, peer, host, header string
		proxy                    *server.Proxy
		want                     int
	}{
		{"loopback", "127.0.0.1:1", "127.0.0.1:8080", "", nil, 200},
		{"loopback by name", "127.0.0.1:1", "localhost:8080", "", nil, 200},
		{"IPv6 loopback", "[::1]:1", "[::1]:8080", "", nil, 200},
		{"far", "203.0.113.9:1", "127.0.0.1", "", nil, 401},
		{"forwarded", "127.0.0.1:1", "127.0.0.1", "X-Forwarded-For", nil, 401},
		{"by way of", "127.0.0.1:1", "127.0.0.1", "Via", nil, 401},
		{"a rebound name", "127.0.0.1:1", "evil.example:8080", "", nil, 401},
		{"a trusted proxy", "127.0.0.1:1", "127.0.0.1", "", proxied, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *server.Options) { o.Proxy = c.proxy })
			for pattern, g := range guards {
				if len(g.scopes) == 0 {
					continue
				}
				req := g.request(pattern, "")
				req.RemoteAddr, req.Host = c.peer, c.host
				if c.header != "" {
					req.Header.Set(c.header, "127.0.0.1")
				}
				status := c.want
				if !g.local {
					status = 401
				}
				if w := r.serve(req); w.Code != status {
					t.Errorf("%s: %d, want %d", pattern, w.Code, status)
				}
			}
		})
	}
}

// TestSecurityHeaders asks every route, as an administrator and as nobody, and
// things that are no route at all.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Secure = true })
	check := func(name string, w *httptest.ResponseRecorder) {
		t.Helper()
		h := w.Header()
		for header, value := range map[string]string{
			"X-Content-Type-Options":     "nosniff",
			"Referrer-Policy":            "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin",
			"Strict-Transport-Security":  "max-age=31536000",
		} {
			if h.Get(header) != value {
				t.Errorf("%s: %s is %q, want %q", name, header, h.Get(header), value)
			}
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: policy is %q", name, csp)
		}
		page := strings.HasPrefix(h.Get("Content-Type"), "text/html")
		if w.Code/100 != 3 && page != strings.Contains(h.Get("Content-Security-Policy"), "script-src 'self'") {
			t.Errorf("%s: %s with policy %q", name, h.Get("Content-Type"), h.Get("Content-Security-Policy"))
		}
		corp := "same-origin"
		if strings.Contains(name, "/api/event ") || strings.Contains(name, "/js/") {
			corp = "cross-origin"
		}
		if h.Get("Cross-Origin-Resource-Policy") != corp {
			t.Errorf("%s: resource policy %q, want %q", name, h.Get("Cross-Origin-Resource-Policy"), corp)
		}
		if strings.Contains(name, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control is %q", name, h.Get("Cache-Control"))
		}
		if h.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", name)
		}
		if h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: allows credentials", name)
		}
		if cors := h.Get("Access-Control-Allow-Origin"); cors != "" && !strings.Contains(name, "/api/event ") {
			t.Errorf("%s: allows origin %s", name, cors)
		}
	}
	for pattern, g := range guards {
		check(pattern+" as nobody", r.serve(g.request(pattern, "")))
		check(pattern+" as administrator", r.serve(g.request(pattern, bootstrap)))
	}
	for _, target := range []string{"/nothing", "/api/nothing", "/js/nothing.js", "/js/app.js", "//api/keys", "/api/../x"} {
		check("GET "+target, r.do("GET", target, "", "-"))
	}
	if h := newRig(t).do("GET", "/", "").Header().Get("Strict-Transport-Security"); h != "" {
		t.Errorf("HSTS over plain HTTP: %q", h)
	}
}

func TestNoSuchPath(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want(t, r.do("GET", "/api/nothing", ""), 404, "not_found")
	want(t, r.do("POST", "/api/stats/main", ""), 405, "method")
	w := r.do("PUT", "/api/keys", "")
	want(t, w, 405, "method")
	if got, want := w.Header().Get("Allow"), "GET, HEAD, POST"; got != want {
		t.Errorf("Allow is %q, want %q", got, want)
	}
	want(t, r.do("POST", "/", ""), 405, "method")
	want(t, r.do("GET", "/../../etc/passwd", ""), 307, "")
	want(t, r.do("GET", "/embed.go", ""), 404, "not_found")
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		name, header string
		kept         bool
	}{
		{"short", "abc-123", true},
		{"longest", strings.Repeat("x", 128), true},
		{"too long", strings.Repeat("x", 129), false},
		{"none", "", false},
		{"not printable", "a\x01b", false},
		{"not ASCII", "\u00fc", false},
		{"with a space", "a b", false},
	} {
		req := httptest.NewRequest("GET", "/health", nil)
		req.Header["X-Request-Id"] = []string{c.header}
		got := r.serve(req).Header().Get("X-Request-Id")
		if (got == c.header) != c.kept || got == "" {
			t.Errorf("%s: got %q, kept should be %t", c.name, got, c.kept)
		}
	}
	req := httptest.NewRequest("GET", "/health", nil)
	req.Header["X-Request-Id"] = []string{"one", "two"}
	if got := r.serve(req).Header().Get("X-Request-Id"); got == "one" || got == "two" {
		t.Errorf("one of two ids was kept: %s", got)
	}
}

func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.boom = true
	want(t, r.do("POST", "/api/event", "{}", "-", "Content-Type: text/plain"), 500, "internal")
	if log := r.logged(); !strings.Contains(log, "handler panicked") || !strings.Contains(log, "boom") {
		t.Errorf("log is %s", log)
	}
	if m := r.do("GET", "/metrics", "").Body.String(); !strings.Contains(m, "eider_http_panics_total 1\n") || !strings.Contains(m, `eider_http_requests_total{code="5xx",method="write",route="/api/event"} 1`) {
		t.Error("the panic is not counted")
	}
}

// TestLogKeepsNothing looks for what must never be in a log, with every message
// switched on.
func TestLogKeepsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for pattern, g := range guards {
		req := g.request(pattern, bootstrap)
		req.Header.Set("User-Agent", "Telltale/1.0")
		req.URL.RawQuery += "&note=telltale"
		r.serve(req)
	}
	for _, secret := range []string{"203.0.113.9", "elltale", bootstrap} {
		if strings.Contains(r.logged(), secret) {
			t.Errorf("log holds %s", secret)
		}
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	release := r.srv.Occupy()
	w := r.do("POST", "/api/events", "[]")
	want(t, w, 503, "overloaded")
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
	want(t, r.do("POST", "/api/events", "[]", "-"), 401, "no_key") // strangers are told nothing
	want(t, r.do("POST", "/api/event", "{}", "-"), 202, "")        // others have places of their own
	release()
	want(t, r.do("POST", "/api/events", "[]"), 202, "")
}
