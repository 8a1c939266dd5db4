package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/ledger"
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
	peer   bool // as Plausible does it answers 401 where we say 403
	user   bool // for who has logged in, whatever his role; no key will do
	entry  bool // open, but not to another site's page
	link   bool // the visitor of a shared link may, of its site

	endless bool // the answer goes on until the client goes, so it goes at once
}

var guards = map[string]guard{
	"POST /api/event":    {target: "/api/event", body: `{}`},
	"GET /api/event":     {target: "/api/event?d=example.com"},
	"OPTIONS /api/event": {target: "/api/event"},
	"POST /api/events":   {scopes: []string{"ingest"}, target: "/api/events", body: `[]`, lists: true},
	"POST /api/import":   {scopes: []string{"admin"}, target: "/api/import?site_id=example.com"},

	"GET /api/stats/main":                 {scopes: []string{"stats"}, target: "/api/stats/main?site_id=example.com", link: true},
	"GET /api/stats/timeseries":           {scopes: []string{"stats"}, target: "/api/stats/timeseries?site_id=example.com", link: true},
	"GET /api/stats/breakdown/{dim}":      {scopes: []string{"stats"}, target: "/api/stats/breakdown/page?site_id=example.com", link: true},
	"POST /api/v2/query":                  {scopes: []string{"stats"}, target: "/api/v2/query", body: `{"site_id": "example.com", "metrics": ["visitors"], "date_range": "day"}`, peer: true},
	"GET /api/v1/stats/realtime/visitors": {scopes: []string{"stats"}, target: "/api/v1/stats/realtime/visitors?site_id=example.com", peer: true},
	"GET /api/v1/stats/aggregate":         {scopes: []string{"stats"}, target: "/api/v1/stats/aggregate?site_id=example.com", peer: true},
	"GET /api/v1/stats/timeseries":        {scopes: []string{"stats"}, target: "/api/v1/stats/timeseries?site_id=example.com", peer: true},
	"GET /api/v1/stats/breakdown":         {scopes: []string{"stats"}, target: "/api/v1/stats/breakdown?site_id=example.com&property=event:page", peer: true},
	"GET /api/stats/sessions":             {scopes: []string{"stats"}, target: "/api/stats/sessions?site_id=example.com", link: true},
	"GET /api/stats/realtime":             {scopes: []string{"stats"}, target: "/api/stats/realtime?site_id=example.com", link: true},
	"GET /api/stats/goals":                {scopes: []string{"stats"}, target: "/api/stats/goals?site_id=example.com", link: true},
	"GET /api/stats/revenue":              {scopes: []string{"stats"}, target: "/api/stats/revenue?site_id=example.com", link: true},
	"GET /api/stats/properties":           {scopes: []string{"stats"}, target: "/api/stats/properties?site_id=example.com", link: true},
	"GET /api/stats/property-values":      {scopes: []string{"stats"}, target: "/api/stats/property-values?site_id=example.com&key=plan", link: true},
	"GET /api/stats/funnel":               {scopes: []string{"stats"}, target: "/api/stats/funnel?site_id=example.com&steps=page:/a,page:/b", link: true},
	"POST /api/stats/funnel":              {scopes: []string{"stats"}, target: "/api/stats/funnel", body: `{"site_id": "example.com", "steps": ["page:/a"]}`},
	"GET /api/stats/retention":            {scopes: []string{"stats"}, target: "/api/stats/retention?site_id=example.com", link: true},
	"GET /api/stats/sequences":            {scopes: []string{"stats"}, target: "/api/stats/sequences?site_id=example.com&steps=page:/a,page:/b"},
	"GET /api/stats/flow":                 {scopes: []string{"stats"}, target: "/api/stats/flow?site_id=example.com&page=/", link: true},
	"GET /api/stats/export":               {scopes: []string{"export"}, target: "/api/stats/export?site_id=example.com"},
	"GET /api/tail":                       {scopes: []string{"stats"}, target: "/api/tail?site_id=example.com", endless: true},
	"POST /api/sql":                       {scopes: []string{"sql"}, target: "/api/sql", body: `{"query": "SELECT 1"}`, whole: true},

	"GET /api/keys":                      {scopes: []string{"admin"}, target: "/api/keys", whole: true},
	"POST /api/keys":                     {scopes: []string{"admin"}, target: "/api/keys", body: `{"name": "n", "scopes": ["stats"]}`, whole: true},
	"DELETE /api/keys/{id}":              {scopes: []string{"admin"}, target: "/api/keys/doomed", whole: true},
	"GET /api/sites":                     {scopes: []string{"stats", "admin"}, target: "/api/sites", lists: true},
	"POST /api/sites":                    {scopes: []string{"admin"}, target: "/api/sites", body: `{"domain": "new.com"}`, whole: true},
	"DELETE /api/sites/{domain}":         {scopes: []string{"admin"}, target: "/api/sites/example.com"},
	"GET /api/sites/{domain}":            {scopes: []string{"admin"}, target: "/api/sites/example.com"},
	"PATCH /api/sites/{domain}":          {scopes: []string{"admin"}, target: "/api/sites/example.com", body: `{"timezone": "UTC"}`},
	"GET /api/sites/{domain}/settings":   {scopes: []string{"admin"}, target: "/api/sites/example.com/settings"},
	"PATCH /api/sites/{domain}/settings": {scopes: []string{"admin"}, target: "/api/sites/example.com/settings", body: `{}`},
	"GET /api/goals":                     {scopes: []string{"stats", "admin"}, target: "/api/goals?site_id=example.com"},
	"POST /api/goals":                    {scopes: []string{"admin"}, target: "/api/goals?site_id=example.com", body: `{"kind": "page", "path": "/"}`},
	"PATCH /api/goals/{id}":              {scopes: []string{"admin"}, target: "/api/goals/1?site_id=example.com", body: `{}`},
	"DELETE /api/goals/{id}":             {scopes: []string{"admin"}, target: "/api/goals/1?site_id=example.com"},
	"GET /api/segments":                  {scopes: []string{"stats", "admin"}, target: "/api/segments?site_id=example.com"},
	"POST /api/segments":                 {scopes: []string{"admin"}, target: "/api/segments?site_id=example.com", body: `{}`},
	"PATCH /api/segments/{id}":           {scopes: []string{"admin"}, target: "/api/segments/1?site_id=example.com", body: `{}`},
	"DELETE /api/segments/{id}":          {scopes: []string{"admin"}, target: "/api/segments/1?site_id=example.com"},
	"GET /api/annotations":               {scopes: []string{"stats", "admin"}, target: "/api/annotations?site_id=example.com"},
	"POST /api/annotations":              {scopes: []string{"admin"}, target: "/api/annotations?site_id=example.com", body: `{}`},
	"PATCH /api/annotations/{id}":        {scopes: []string{"admin"}, target: "/api/annotations/1?site_id=example.com", body: `{}`},
	"DELETE /api/annotations/{id}":       {scopes: []string{"admin"}, target: "/api/annotations/1?site_id=example.com"},

	"GET /api/links":         {scopes: []string{"admin"}, target: "/api/links?site_id=example.com"},
	"POST /api/links":        {scopes: []string{"admin"}, target: "/api/links?site_id=example.com", body: `{"name": "x"}`},
	"PATCH /api/links/{id}":  {scopes: []string{"admin"}, target: "/api/links/1?site_id=example.com", body: `{}`},
	"DELETE /api/links/{id}": {scopes: []string{"admin"}, target: "/api/links/1?site_id=example.com"},

	"GET /api/share":    {target: "/api/share", entry: true}, // without a link it is refused
	"POST /api/share":   {target: "/api/share", body: `{"link": "none", "password": "wrong"}`, entry: true},
	"GET /share/{slug}": {target: "/share/none"},
	"GET /badge/{file}": {target: "/badge/none.svg"},

	"POST /api/gdpr/erase":         {scopes: []string{"admin"}, target: "/api/gdpr/erase", body: `{"site_id": "example.com", "user": "u"}`},
	"GET /api/parts":               {scopes: []string{"admin"}, target: "/api/parts", whole: true},
	"POST /api/parts/verify":       {scopes: []string{"admin"}, target: "/api/parts/verify", whole: true},
	"POST /api/maintenance/{task}": {scopes: []string{"admin"}, target: "/api/maintenance/publish", whole: true},

	"GET /api/audit":                {scopes: []string{"audit", "admin"}, target: "/api/audit", whole: true},
	"GET /api/audit/checkpoint":     {scopes: []string{"audit", "admin"}, target: "/api/audit/checkpoint", whole: true},
	"GET /api/audit/tile/{path...}": {scopes: []string{"audit", "admin"}, target: "/api/audit/tile/entries/000.p/1", whole: true},
	"GET /api/audit/proof/{seq}":    {scopes: []string{"audit", "admin"}, target: "/api/audit/proof/0", whole: true},
	"GET /api/audit/report":         {scopes: []string{"audit", "admin"}, target: "/api/audit/report?from=2026-07-01&to=2026-07-31", whole: true},
	"GET /api/audit/export":         {scopes: []string{"audit", "admin"}, target: "/api/audit/export", whole: true},
	"GET /api/audit/keys":           {scopes: []string{"audit", "admin"}, target: "/api/audit/keys", whole: true},
	"POST /api/audit/adopt":         {scopes: []string{"admin"}, target: "/api/audit/adopt", body: `{"reason": "restored"}`, whole: true},
	"POST /api/audit/prune":         {scopes: []string{"admin"}, target: "/api/audit/prune", body: `{"before": "2026-01-01"}`, whole: true},
	"POST /api/audit/erase":         {scopes: []string{"admin"}, target: "/api/audit/erase", body: `{"actor": "key:none", "basis": "asked"}`, whole: true},

	"GET /api/auth/status":          {target: "/api/auth/status"},
	"POST /api/auth/setup":          {target: "/api/auth/setup", body: `{"token": ""}`, entry: true},
	"POST /api/auth/login":          {target: "/api/auth/login", body: `{"username": "nobody", "password": "wrong"}`, entry: true},
	"POST /api/auth/logout":         {target: "/api/auth/logout", entry: true},
	"POST /api/auth/invite":         {target: "/api/auth/invite", body: `{"token": "", "password": "long enough"}`, entry: true},
	"POST /api/auth/passkey/begin":  {target: "http://localhost/api/auth/passkey/begin", entry: true},
	"POST /api/auth/passkey/finish": {target: "http://localhost/api/auth/passkey/finish", body: `{}`, entry: true},

	"GET /api/auth/sessions":         {target: "/api/auth/sessions", user: true},
	"DELETE /api/auth/sessions/{id}": {target: "/api/auth/sessions/none", user: true},
	"POST /api/auth/password":        {target: "/api/auth/password", body: `{"current": "` + rightPassword + `", "new": "another one"}`, user: true},
	"POST /api/auth/totp":            {target: "/api/auth/totp", user: true},
	"POST /api/auth/totp/confirm":    {target: "/api/auth/totp/confirm", body: `{"code": "000000"}`, user: true},
	"DELETE /api/auth/totp":          {target: "/api/auth/totp", body: `{"password": "` + rightPassword + `"}`, user: true},
	"GET /api/auth/passkeys":         {target: "/api/auth/passkeys", user: true},
	"POST /api/auth/passkeys/{id}":   {target: "http://localhost/api/auth/passkeys/begin", body: `{"name": "laptop"}`, user: true},
	"DELETE /api/auth/passkeys/{id}": {target: "/api/auth/passkeys/AAAA", user: true},

	"GET /api/users":         {scopes: []string{"admin"}, target: "/api/users", whole: true},
	"POST /api/users":        {scopes: []string{"admin"}, target: "/api/users", body: `{"name": "Zoe", "role": "viewer"}`, whole: true},
	"PATCH /api/users/{id}":  {scopes: []string{"admin"}, target: "/api/users/none", body: `{"name": "Zoe"}`, whole: true},
	"DELETE /api/users/{id}": {scopes: []string{"admin"}, target: "/api/users/none", whole: true},

	"GET /health":          {target: "/health"},
	"GET /health/ready":    {target: "/health/ready"},
	"GET /ready":           {target: "/ready"},
	"GET /health/detailed": {scopes: []string{"ingest", "stats", "sql", "export", "backup", "metrics", "audit", "admin"}, target: "/health/detailed", whole: true, local: true},
	"GET /metrics":         {scopes: []string{"metrics"}, target: "/metrics", whole: true, local: true},
	"GET /js/{file}":       {target: "/js/script.js"},
	"GET /openapi.json":    {target: "/openapi.json"},
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
	if g.endless {
		ctx, cancel := context.WithCancel(req.Context())
		cancel()
		req = req.WithContext(ctx)
	}
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
	g.checkSessions(t, pattern)
	g.checkLinks(t, pattern)
	if g.user {
		try("nobody", 401, nil)
		try("an unknown key", 401, func(*fake) string { return "eider_0000000000000000000000000000" })
		try("a key with every scope", 403, func(f *fake) string { return f.key(t, "", 0, ledger.Scopes...) })
		return
	}
	if len(g.scopes) == 0 {
		if !g.entry { // those are their own guards
			try("nobody", 0, nil)
		}
		return
	}
	refused := 403
	if g.peer {
		refused = 401
	}
	try("nobody", 401, nil)
	try("an unknown key", 401, func(*fake) string { return "eider_0000000000000000000000000000" })
	try("an expired key", 401, func(f *fake) string { return f.key(t, "", now.UnixMicro(), g.scopes...) })
	try("a revoked key", 401, func(f *fake) string {
		k := f.key(t, "", 0, g.scopes...)
		f.keys[len(f.keys)-1].Revoked = 1
		return k
	})
	for _, scope := range []string{"ingest", "stats", "sql", "export", "backup", "metrics", "audit", "admin"} {
		if slices.Contains(g.scopes, scope) {
			try("a key with "+scope, 0, func(f *fake) string { return f.key(t, "", now.UnixMicro()+1, scope) })
		} else {
			try("a key with "+scope, refused, func(f *fake) string { return f.key(t, "", 0, scope) })
		}
	}
	own, other := 0, refused
	if g.whole {
		own = 403
	}
	if g.lists {
		other = 0
	}
	try("a key of the site", own, func(f *fake) string { return f.key(t, "example.com", 0, g.scopes...) })
	try("a key of another site", other, func(f *fake) string { return f.key(t, "other.com", 0, g.scopes...) })
}

// checkSessions asks as somebody who has logged in, from our own pages and from those
// of others.
func (g guard) checkSessions(t *testing.T, pattern string) {
	for _, role := range []string{ledger.RoleAdmin, ledger.RoleViewer} {
		r := newRig(t, func(o *server.Options) { o.APIKey = "" })
		cookie := r.session(t, role)
		for _, where := range []string{"another site", "another site, an old browser", "another port", "here"} {
			req := g.request(pattern, "")
			req.AddCookie(cookie)
			switch where {
			case "here":
				req.Header.Set("Sec-Fetch-Site", "same-origin")
			case "another site":
				req.Header.Set("Sec-Fetch-Site", "cross-site")
			case "another site, an old browser":
				req.Header.Set("Origin", "https://evil.example")
			case "another port":
				req.Header.Set("Sec-Fetch-Site", "same-site")
			}
			w := r.serve(req)
			changes := req.Method != http.MethodGet && req.Method != http.MethodOptions
			switch allowed := len(g.scopes) == 0 || role == ledger.RoleAdmin || slices.Contains(g.scopes, "stats"); {
			case changes && where != "here" && (len(g.scopes) > 0 || g.user || g.entry):
				want(t, w, 403, "cross_site")
			case !allowed && w.Code != 403:
				t.Errorf("%s, %s: %d, want 403: %s", role, where, w.Code, w.Body)
			case allowed && !g.entry && (w.Code == 401 && !strings.Contains(w.Body.String(), "bad_login") || w.Code == 403):
				t.Errorf("%s, %s: %d, want to be let in: %s", role, where, w.Code, w.Body)
			}
		}
	}
}

// checkLinks asks as the visitor of a shared link, who may come with the session of an
// administrator, or his key, all the same.
func (g guard) checkLinks(t *testing.T, pattern string) {
	if len(g.scopes) == 0 && !g.user {
		return // open, or a guard of its own
	}
	r := newRig(t)
	slug := r.share(t, ledger.Link{Site: "example.com"})
	cookie := r.session(t, ledger.RoleAdmin)
	for who, change := range map[string]func(*http.Request){
		"a link":                      func(*http.Request) {},
		"a link and a session":        func(q *http.Request) { q.AddCookie(cookie) },
		"a link and a key":            func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+bootstrap) },
		"a link, on this machine":     func(q *http.Request) { q.RemoteAddr, q.Host = "127.0.0.1:1", "127.0.0.1" },
		"a link, and a wrong one":     func(q *http.Request) { q.Header.Add("X-Eider-Share", "x") },
		"an unknown link and a key":   func(q *http.Request) { q.Header.Set("X-Eider-Share", "x"); q.Header.Set("X-Api-Key", bootstrap) },
		"an empty link and a session": func(q *http.Request) { q.Header.Set("X-Eider-Share", ""); q.AddCookie(cookie) },
		"a link to another site": func(q *http.Request) {
			q.Header.Set("X-Eider-Share", r.share(t, ledger.Link{Site: "other.com"}))
		},
	} {
		req := g.request(pattern, "")
		req.Header.Set("X-Eider-Share", slug)
		change(req)
		w := r.serve(req)
		switch shown := req.Header["X-Eider-Share"]; {
		case len(shown) > 1 || len(shown[0]) != len(slug):
			want(t, w, 401, "bad_link")
		case !g.link:
			want(t, w, 403, "link")
		case shown[0] != slug:
			want(t, w, 403, "site_of_the_link")
		case w.Code == 401 || w.Code == 403:
			t.Errorf("%s: %d, want to be let in: %s", who, w.Code, w.Body)
		}
	}
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
		beacon := strings.Contains(name, "/api/event ") // has no use for what only a document obeys
		need := map[string]string{
			"X-Content-Type-Options":    "nosniff",
			"Strict-Transport-Security": "max-age=31536000",
		}
		if !beacon {
			need["Referrer-Policy"], need["Cross-Origin-Opener-Policy"] = "no-referrer", "same-origin"
		}
		for header, value := range need {
			if h.Get(header) != value {
				t.Errorf("%s: %s is %q, want %q", name, header, h.Get(header), value)
			}
		}
		if beacon {
			if strings.Contains(h.Get("Content-Type"), "html") || h.Get("Cross-Origin-Resource-Policy") != "cross-origin" || h.Get("X-Request-Id") == "" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: headers %v", name, h)
			}
			return
		}
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: policy is %q", name, csp)
		}
		page := strings.HasPrefix(h.Get("Content-Type"), "text/html")
		if w.Code/100 != 3 && page != strings.Contains(h.Get("Content-Security-Policy"), "script-src 'self'") {
			t.Errorf("%s: %s with policy %q", name, h.Get("Content-Type"), h.Get("Content-Security-Policy"))
		}
		corp := "same-origin"
		if strings.Contains(name, "/js/") {
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
		if cors := h.Get("Access-Control-Allow-Origin"); cors != "" && !strings.HasPrefix(name, "GET /js/{file} ") { // a script is for every page
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
