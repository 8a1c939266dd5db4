package main_test

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestOpenAPI asks the real server by its own document: every route with a real
// answer and with refusals. What comes must be as the document has it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal).start()
	res, err := d.client.Get(d.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	doc, err := jsonschema.UnmarshalJSON(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource("https://eider.test/doc", doc); err != nil {
		t.Fatal(err)
	}
	const q = "?site_id=" + site
	event := `{"n":"Signup","d":"` + site + `","url":"https://` + site + `/a","p":{"plan":"pro"},"revenue":{"amount":"9.50","currency":"EUR"}}`
	v2 := `{"site_id":"` + site + `","metrics":["visitors","pageviews"],"date_range":"7d","dimensions":["event:page"],"include":{"total_rows":true}}`
	asked := map[string]bool{}
	for _, c := range []struct {
		method, route, target, body string
		status                      int
	}{
		{"POST", "/api/sites", "", `{"domain":"` + site + `"}`, 201},
		{"POST", "/api/sites", "", `{"domain":"` + site + `"}`, 409},
		{"POST", "/api/sites", "", `{"domain":""}`, 422},
		{"POST", "/api/sites", "", `nothing`, 400},
		{"GET", "/api/sites", "", "", 200},
		{"GET", "/api/sites/{domain}", "/api/sites/" + site, "", 200},
		{"GET", "/api/sites/{domain}", "/api/sites/nowhere.example", "", 404},
		{"PATCH", "/api/sites/{domain}", "/api/sites/" + site, `{"timezone":"Europe/Berlin"}`, 200},
		{"GET", "/api/sites/{domain}/settings", "/api/sites/" + site + "/settings", "", 200},
		{"PATCH", "/api/sites/{domain}/settings", "/api/sites/" + site + "/settings", `{"currency":"EUR"}`, 200},
		{"POST", "/api/event", "", `{"n":"pageview","d":"` + site + `","u":"https://` + site + `/"}`, 202},
		{"POST", "/api/event", "", `{"n":"pageview"}`, 400},
		{"POST", "/api/events", "", `[` + event + `,{"n":"","d":"` + site + `"}]`, 202},
		{"POST", "/api/events", "", ``, 400},
		{"POST", "/api/goals", "/api/goals" + q, `{"kind":"event","event":"Signup","currency":"EUR"}`, 201},
		{"GET", "/api/goals", "/api/goals" + q, "", 200},
		{"PATCH", "/api/goals/{id}", "/api/goals/1" + q, `{"name":"Joined"}`, 200},
		{"POST", "/api/segments", "/api/segments" + q, `{"name":"s","filters":[["is","event:page",["/a"]]]}`, 201},
		{"GET", "/api/segments", "/api/segments" + q, "", 200},
		{"PATCH", "/api/segments/{id}", "/api/segments/1" + q, `{"name":"t"}`, 200},
		{"POST", "/api/links", "/api/links" + q, `{"name":"l","segment":1,"password":"correct horse"}`, 201},
		{"POST", "/api/links", "/api/links" + q, `{"name":"l"}`, 409},
		{"GET", "/api/links", "/api/links" + q, "", 200},
		{"PATCH", "/api/links/{id}", "/api/links/1" + q, `{"embed":true}`, 200},
		{"GET", "/api/share", "", "", 401},
		{"POST", "/api/share", "", `{"link":"none","password":"x"}`, 401},
		{"GET", "/share/{slug}", "/share/none", "", 404},
		{"GET", "/badge/{file}", "/badge/none.svg", "", 404},
		{"DELETE", "/api/segments/{id}", "/api/segments/1" + q, "", 409},
		{"DELETE", "/api/links/{id}", "/api/links/1" + q, "", 204},
		{"POST", "/api/annotations", "/api/annotations" + q, `{"date":"2026-01-31","text":"x"}`, 201},
		{"GET", "/api/annotations", "/api/annotations" + q, "", 200},
		{"PATCH", "/api/annotations/{id}", "/api/annotations/1" + q, `{"text":"y"}`, 200},
		{"GET", "/api/stats/main", "/api/stats/main" + q + "&compare=previous_period", "", 200},
		{"GET", "/api/stats/main", "/api/stats/main?site_id=nowhere.example", "", 404},
		{"GET", "/api/stats/main", "", "", 400},
		{"GET", "/api/stats/sessions", "/api/stats/sessions" + q, "", 200},
		{"GET", "/api/stats/timeseries", "/api/stats/timeseries" + q, "", 200},
		{"GET", "/api/stats/breakdown/{dim}", "/api/stats/breakdown/pages" + q, "", 200},
		{"GET", "/api/stats/breakdown/{dim}", "/api/stats/breakdown/goals" + q, "", 200},
		{"GET", "/api/stats/breakdown/{dim}", "/api/stats/breakdown/nothing" + q, "", 422},
		{"GET", "/api/stats/realtime", "/api/stats/realtime" + q, "", 200},
		{"GET", "/api/stats/goals", "/api/stats/goals" + q, "", 200},
		{"GET", "/api/stats/revenue", "/api/stats/revenue" + q, "", 200},
		{"GET", "/api/stats/properties", "/api/stats/properties" + q, "", 200},
		{"GET", "/api/stats/property-values", "/api/stats/property-values" + q + "&key=plan", "", 200},
		{"GET", "/api/stats/funnel", "/api/stats/funnel" + q + "&steps=page:/,event:Signup", "", 200},
		{"POST", "/api/stats/funnel", "", `{"site_id":"` + site + `","steps":["page:/","event:Signup"],"by":"browser","over":"day"}`, 200},
		{"GET", "/api/stats/retention", "/api/stats/retention" + q, "", 200},
		{"GET", "/api/stats/sequences", "/api/stats/sequences" + q + "&steps=page:/,event:Signup", "", 200},
		{"GET", "/api/stats/flow", "/api/stats/flow" + q + "&page=/&steps=2", "", 200},
		{"GET", "/api/stats/export", "/api/stats/export" + q + "&format=csv", "", 200},
		{"GET", "/api/stats/export", "/api/stats/export" + q + "&format=xlsx", "", 400},
		{"GET", "/api/tail", "/api/tail" + q + "&after=x", "", 400}, // what it answers else has no end
		{"POST", "/api/v2/query", "", v2, 200},
		{"POST", "/api/v2/query", "", `{}`, 400},
		{"GET", "/api/v1/stats/realtime/visitors", "/api/v1/stats/realtime/visitors" + q, "", 200},
		{"GET", "/api/v1/stats/aggregate", "/api/v1/stats/aggregate" + q, "", 200},
		{"GET", "/api/v1/stats/timeseries", "/api/v1/stats/timeseries" + q, "", 200},
		{"GET", "/api/v1/stats/breakdown", "/api/v1/stats/breakdown" + q + "&property=event:page", "", 200},
		{"GET", "/api/v1/stats/breakdown", "/api/v1/stats/breakdown" + q, "", 400},
		{"POST", "/api/sql", "", `{"query":"SELECT 1 AS a, NULL AS b, 'x' AS c"}`, 200},
		{"POST", "/api/sql", "/api/sql?format=arrow", `{"query":"FROM events"}`, 200},
		{"POST", "/api/sql", "", `{"query":"DROP TABLE events"}`, 422},
		{"GET", "/api/keys", "", "", 200},
		{"POST", "/api/keys", "", `{"name":"n","scopes":["stats"]}`, 201},
		{"DELETE", "/api/keys/{id}", "/api/keys/nothing", "", 404},
		{"GET", "/api/parts", "", "", 200},
		{"POST", "/api/parts/verify", "", "", 200},
		{"POST", "/api/maintenance/{task}", "/api/maintenance/publish", "", 200},
		{"POST", "/api/maintenance/{task}", "/api/maintenance/nothing", "", 404},
		{"GET", "/api/audit", "/api/audit?limit=3", "", 200},
		{"GET", "/api/audit", "/api/audit?limit=0", "", 400},
		{"GET", "/api/audit/checkpoint", "", "", 200},
		{"GET", "/api/audit/tile/{path}", "/api/audit/tile/0/000.p/1", "", 200},
		{"GET", "/api/audit/tile/{path}", "/api/audit/tile/nothing", "", 404},
		{"GET", "/api/audit/proof/{seq}", "/api/audit/proof/0", "", 200},
		{"GET", "/api/audit/proof/{seq}", "/api/audit/proof/99999", "", 404},
		{"GET", "/api/audit/report", "", "", 200},
		{"GET", "/api/audit/export", "", "", 200},
		{"GET", "/api/audit/keys", "", "", 200},
		{"POST", "/api/audit/prune", "", `{"before":"2026-01-01"}`, 409},
		{"POST", "/api/audit/erase", "", `{"actor":"key:none","basis":"none"}`, 200},
		{"POST", "/api/audit/adopt", "", `{"reason":"none"}`, 409},
		{"GET", "/api/auth/status", "", "", 200},
		{"POST", "/api/users", "", `{"name":"jo","role":"admin","password":"correct horse"}`, 201},
		{"POST", "/api/users", "", `{"name":"vi","role":"viewer"}`, 201},
		{"POST", "/api/users", "", `{"name":"VI","role":"viewer"}`, 409},
		{"GET", "/api/users", "", "", 200},
		{"PATCH", "/api/users/{id}", "/api/users/nobody", `{"role":"viewer"}`, 404},
		{"DELETE", "/api/users/{id}", "/api/users/nobody", "", 404},
		{"POST", "/api/auth/login", "", `{"username":"jo","password":"correct horse"}`, 200},
		{"POST", "/api/auth/login", "", `{"username":"jo","password":"wrong"}`, 401},
		{"POST", "/api/auth/logout", "", "", 204},
		{"POST", "/api/auth/invite", "", `{"token":"none","password":"correct horse"}`, 401},
		{"POST", "/api/auth/passkey/begin", "", "", 422}, // at an address there are none
		{"POST", "/api/auth/passkey/finish", "", `{}`, 422},
		{"GET", "/api/auth/sessions", "", "", 403}, // a key is nobody's
		{"DELETE", "/api/auth/sessions/{id}", "/api/auth/sessions/none", "", 403},
		{"POST", "/api/auth/password", "", `{"current":"x","new":"y"}`, 403},
		{"POST", "/api/auth/totp", "", "", 403},
		{"POST", "/api/auth/totp/confirm", "", `{"code":"000000"}`, 403},
		{"DELETE", "/api/auth/totp", "", `{"password":"x"}`, 403},
		{"GET", "/api/auth/passkeys", "", "", 403},
		{"POST", "/api/auth/passkeys/{id}", "/api/auth/passkeys/begin", `{"name":"x"}`, 403},
		{"DELETE", "/api/auth/passkeys/{id}", "/api/auth/passkeys/AAAA", "", 403},
		{"GET", "/health", "", "", 200},
		{"GET", "/health/ready", "", "", 200},
		{"GET", "/ready", "", "", 200},
		{"GET", "/health/detailed", "", "", 200},
		{"GET", "/metrics", "", "", 200},
		{"GET", "/robots.txt", "", "", 200},
		{"GET", "/js/{file}", "/js/eider.js", "", 200},
		{"GET", "/js/{file}", "/js/script.nothing.js", "", 404},
		{"GET", "/openapi.json", "", "", 200},
		{"GET", "/", "", "", 200},
		{"DELETE", "/api/annotations/{id}", "/api/annotations/1" + q, "", 204},
		{"DELETE", "/api/segments/{id}", "/api/segments/1" + q, "", 204},
		{"DELETE", "/api/goals/{id}", "/api/goals/1" + q, "", 204},
		{"POST", "/api/gdpr/erase", "", `{"site_id":"` + site + `","everything":true}`, 200},
		{"DELETE", "/api/sites/{domain}", "/api/sites/" + site, "", 204},
	} {
		if c.method+c.route == "POST/api/goals" { // the reports come after it
			d.seen(func() bool { return d.count() == 2 })
		}
		target := c.target
		if target == "" {
			target = c.route
		}
		asked[strings.ToLower(c.method)+" "+c.route] = true
		d.asDocumented(compiler, doc, c.method, c.route, target, c.body, c.status)
	}
	for path, methods := range doc.(map[string]any)["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			switch what := method + " " + path; what {
			case "post /api/import", "post /api/auth/setup", "get /setup", "get /api/event", "options /api/event": // a log, a new server, a page, a picture
			default:
				if !asked[what] {
					t.Errorf("%s is in the document and was not asked", what)
				}
			}
		}
	}
}

// asDocumented makes a request and holds the answer to the document.
func (d *daemon) asDocumented(c *jsonschema.Compiler, doc any, method, route, target, body string, status int) {
	d.Helper()
	req, err := http.NewRequest(method, d.url+target, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("User-Agent", browser)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	what := fmt.Sprintf("%s %s: %d %.300s", method, target, res.StatusCode, answer)
	if err != nil || res.StatusCode != status {
		d.Errorf("%s, want %d; %v", what, status, err)
		return
	}
	at := []string{"paths", route, strings.ToLower(method), "responses", fmt.Sprint(status)}
	content, ok := within(doc, append(at, "content")...).(map[string]any)
	if within(doc, at...) == nil || ok != (len(answer) > 0) {
		d.Errorf("%s: not in the document, or with another body", what)
		return
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	for listed, media := range content {
		if is, _, _ := mime.ParseMediaType(listed); is != kind {
			continue
		}
		if kind != "application/json" || within(media, "schema") == nil {
			return
		}
		pointer := ""
		for _, step := range append(at, "content", listed, "schema") {
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(step)
		}
		schema, err := c.Compile("https://eider.test/doc#" + pointer)
		if err != nil {
			d.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(answer))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			d.Errorf("%s: %v", what, err)
		}
		return
	}
	if len(answer) > 0 {
		d.Errorf("%s: comes as %q", what, kind)
	}
}

// within follows the keys of objects.
func within(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}
