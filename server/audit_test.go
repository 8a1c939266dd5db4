package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// told is what an entry of these tests is compared as.
func told(e audit.Entry) string {
	outcome := e.Outcome
	if outcome == "" {
		outcome = audit.Done
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s by %s: %s", e.Kind, outcome, e.Object, e.Actor, e.Reason))
}

// wantEntries checks what was recorded.
func (r *rig) wantEntries(t *testing.T, want ...string) []audit.Entry {
	t.Helper()
	list := r.chain.recorded()
	var got []string
	for _, e := range list {
		got = append(got, told(e))
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n %s\nwant\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
	return list
}

// TestRefusals asks for what one has no right to, in every way there is: each is in
// the chain before it is answered, with who asked and from where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newRig(t).fake
	reader := f.key(t, "example.com", 0, "stats")
	spent := f.key(t, "", now.UnixMicro(), "admin")
	r := rigOf(t, f, func(o *server.Options) { o.MetricsTokens = []string{metricsToken} })
	const trace = "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	want(t, r.do("GET", "/api/keys", "", "-", "User-Agent: curl/8", "X-Request-Id: r-1", trace), 401, "no_key")
	want(t, r.do("GET", "/api/keys", "", "-", "X-Api-Key: eider_wrong"), 401, "bad_key")
	want(t, r.do("DELETE", "/api/keys/x", "", "-", "X-Api-Key: "+spent), 401, "bad_key")
	want(t, r.do("GET", "/api/parts", "", "-", "X-Api-Key: "+reader), 403, "scope")
	want(t, r.do("GET", "/api/stats/main?site_id=other.com", "", "-", "X-Api-Key: "+reader), 403, "site_of_the_key")
	want(t, r.do("GET", "/metrics", "", "-", "Authorization: Bearer wrong"), 401, "bad_key")
	want(t, r.do("POST", "/api/v2/query", `{"site_id": "example.com", "metrics": ["visitors"], "date_range": "day"}`, "-", asJSON), 401, "")
	want(t, r.do("POST", "/api/auth/setup", `{"token": "x"}`, "-", asJSON), 409, "set_up")
	want(t, r.do("POST", "/api/event", `{"n": "pageview", "u": "https://nowhere.example/"}`, "-", asJSON), 202, "")
	want(t, r.do("GET", "/api/nothing", "", "-"), 404, "not_found")

	id := "key:" + f.keys[0].ID
	list := r.wantEntries(t,
		"access.refusal refused route:GET /api/keys by : no_key",
		"access.refusal refused route:GET /api/keys by : bad_key",
		"access.refusal refused route:DELETE /api/keys/{id} by : bad_key",
		"access.refusal refused route:GET /api/parts by "+id+": scope",
		"access.refusal refused route:GET /api/stats/main by "+id+": site_of_the_key",
		"access.refusal refused route:GET /metrics by : bad_key",
		"access.refusal refused route:POST /api/v2/query by : no_key",
		"access.refusal refused route:POST /api/auth/setup by : set_up",
	)
	if by := list[0].By; by != (audit.By{Address: "203.0.113.9", Agent: "curl/8", Request: "r-1", Trace: "0af7651916cd43dd8448eb211c80319c"}) {
		t.Errorf("the first is by %+v", by)
	}
	if list[2].Detail["key"] != f.keys[1].ID || list[1].Detail != nil {
		t.Errorf("the details say %v and %v, want which key has expired and nothing", list[2].Detail, list[1].Detail)
	}
}

// TestRefusedWithoutChain: whoever has no right is refused, whatever becomes of the
// entry.
func TestRefusedWithoutChain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.chain.fails = errors.New("the ledger is in the way")
	want(t, r.do("GET", "/api/keys", "", "-"), 401, "no_key")
	if !strings.Contains(r.logged(), "refusal not recorded") {
		t.Error("that a refusal was not recorded is not told")
	}
	r = newRig(t)
	r.chain.halted = audit.ErrHalted
	want(t, r.do("GET", "/api/keys", "", "-"), 401, "no_key")
	if strings.Contains(r.logged(), "refusal not recorded") {
		t.Error("a log line for every refusal while the chain is halted")
	}
}

// TestTrace reads traceparent headers, good and bad.
func TestTrace(t *testing.T) {
	t.Parallel()
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for header, want := range map[string]string{
		"00-" + id + "-" + parent + "-01":                      id,
		"01-" + id + "-" + parent + "-01-more":                 id,
		"00-" + id + "-" + parent + "-01-more":                 "",
		"ff-" + id + "-" + parent + "-01":                      "",
		"00-" + strings.ToUpper(id) + "-" + parent + "-01":     "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01": "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":     "",
		"00-" + id + "-" + parent:                              "",
		"":                                                     "", "-": "",
	} {
		r := newRig(t)
		r.do("GET", "/api/keys", "", "-", "Traceparent: "+header)
		if got := r.chain.recorded()[0].Trace; got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
}

// TestLongActs: what takes long has two entries of one request.
func TestLongActs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want(t, r.do("GET", "/api/stats/export?site_id=example.com", "", "X-Request-Id: e"), 200, "")
	want(t, r.do("HEAD", "/api/stats/export?site_id=example.com", ""), 200, "")
	want(t, r.do("POST", "/api/import?site_id=example.com", "log", "Content-Type: text/plain"), 200, "")
	want(t, r.do("POST", "/api/maintenance/compact", ""), 200, "")
	want(t, r.do("POST", "/api/parts/verify", ""), 200, "")
	want(t, r.do("POST", "/api/gdpr/erase", `{"site_id": "example.com", "user": "who-he-is"}`, asJSON), 200, "")
	r.err = errors.New("no")
	want(t, r.do("POST", "/api/maintenance/publish", ""), 500, "internal")
	want(t, r.do("POST", "/api/import?site_id=example.com", "log", "Content-Type: text/plain"), 500, "internal")
	want(t, r.do("POST", "/api/gdpr/erase", `{"site_id": "example.com", "user": "who-he-is"}`, asJSON), 500, "internal")
	list := r.wantEntries(t,
		"data.export begun site:example.com by key:bootstrap:", "data.export done site:example.com by key:bootstrap:",
		"data.import begun site:example.com by key:bootstrap:", "data.import done site:example.com by key:bootstrap:",
		"server.maintenance begun task:compact by key:bootstrap:", "server.maintenance done task:compact by key:bootstrap:",
		"server.maintenance begun task:verify by key:bootstrap:", "server.maintenance done task:verify by key:bootstrap:",
		"data.erase begun site:example.com by key:bootstrap:", // the store says that it is done
		"server.maintenance begun task:publish by key:bootstrap:", "server.maintenance failed task:publish by key:bootstrap: internal",
		"data.import begun site:example.com by key:bootstrap:", "data.import failed site:example.com by key:bootstrap: internal",
		"data.erase begun site:example.com by key:bootstrap:", "data.erase failed site:example.com by key:bootstrap: internal",
	)
	if list[0].Request != "e" || list[1].Request != "e" || list[3].Detail["imported"] != "1" || list[8].Detail["of"] != "a user" {
		t.Errorf("entries %+v, %+v, %+v", list[1], list[3], list[8])
	}
	for _, e := range list {
		if strings.Contains(fmt.Sprint(e), "who-he-is") {
			t.Errorf("whose events are erased is in the entry %+v", e)
		}
	}
}

// TestHead: every answer to a change says how far the chain is, with the change in it;
// those to questions do not.
func TestHead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const header = "X-Eider-Audit-Head"
	head := func() string {
		_, h := r.chain.AuditHead()
		return h.String()
	}
	for _, pattern := range server.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		acts := method != "GET" && method != "OPTIONS" && path != "/api/event" && path != "/api/events" && path != "/api/sql" &&
			path != "/api/v2/query" && path != "/api/stats/funnel" && method != "/" || pattern == "GET /api/stats/export"
		for who, key := range map[string]string{"the operator": bootstrap, "nobody": ""} {
			w := r.serve(guards[pattern].request(pattern, key))
			got := w.Result().Trailer.Get(header)
			if got == "" {
				got = w.Header().Get(header)
			}
			if acts && got != head() || !acts && got != "" {
				t.Errorf("%s by %s: the head is %q, want %q if it acts, which is %t", pattern, who, got, head(), acts)
			}
		}
	}
}

// TestHalted: with a chain that takes no entries nothing is changed, and events and
// questions go on.
func TestHalted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.sites = append(r.sites[:0:0], r.sites...)
	halted := fmt.Errorf("%w: rolled back", audit.ErrHalted)
	cookie := r.session(t, ledger.RoleAdmin)
	r.chain.halted = halted
	before := len(r.sites)
	open := []string{"POST /api/audit/adopt", "POST /api/auth/logout", "DELETE /api/auth/sessions/{id}",
		"POST /api/auth/login", "POST /api/auth/passkey/begin", "POST /api/auth/passkey/finish"}
	for _, pattern := range open[3:] { // nobody is kept from seeing why
		method, path, _ := strings.Cut(pattern, " ")
		if w := r.do(method, path, `{"username": "nobody", "password": "wrong"}`, asJSON, "-"); strings.Contains(w.Body.String(), "audit_halted") {
			t.Errorf("%s: %d %s", pattern, w.Code, w.Body)
		}
	}
	for _, pattern := range server.Patterns() {
		if slices.Contains(open, pattern) {
			continue
		}
		req := guards[pattern].request(pattern, bootstrap)
		if guards[pattern].user {
			req.Header.Del("Authorization")
			req.AddCookie(cookie)
		}
		method, path, _ := strings.Cut(pattern, " ")
		changes := slices.Contains([]string{"POST", "PATCH", "DELETE"}, method) && !slices.Contains([]string{"/api/event", "/api/events", "/api/sql", "/api/v2/query", "/api/stats/funnel"}, path) ||
			pattern == "GET /api/stats/export"
		w := r.serve(req)
		if (w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), `"audit_halted"`)) != changes {
			t.Errorf("%s: %d %s", pattern, w.Code, w.Body)
		}
	}
	if len(r.sites) != before || len(r.chain.recorded()) != 0 || r.erased != (server.Erasure{}) {
		t.Errorf("%d sites, %d entries: something was changed", len(r.sites), len(r.chain.recorded()))
	}
	want(t, r.do("POST", "/api/auth/logout", "", "-", withCookies(cookie)), 204, "") // nobody is kept in
	want(t, r.do("POST", "/api/audit/adopt", `{"reason": " "}`, asJSON), 422, "invalid")
	want(t, r.do("POST", "/api/audit/adopt", `{"reason": "restored from the backup of Monday"}`, asJSON), 200, "")
	want(t, r.do("POST", "/api/sites", `{"domain": "again.example"}`, asJSON), 201, "")
	want(t, r.do("POST", "/api/audit/adopt", `{"reason": "again"}`, asJSON), 409, "not_halted")
	if origin, _ := r.chain.AuditHead(); !strings.HasSuffix(origin, "/2") || r.chain.adopted != "restored from the backup of Monday" {
		t.Errorf("origin %s, adopted for %q", origin, r.chain.adopted)
	}
}

// TestNothingWithoutItsEntry: what cannot be recorded is not begun.
func TestNothingWithoutItsEntry(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.chain.fails = errors.New("no")
	want(t, r.do("POST", "/api/gdpr/erase", `{"site_id": "example.com", "user": "u"}`, asJSON), 500, "internal")
	want(t, r.do("GET", "/api/stats/export?site_id=example.com", ""), 500, "internal")
	want(t, r.do("GET", "/api/audit", ""), 500, "internal")
	if r.erased != (server.Erasure{}) || r.exported.Site != "" {
		t.Errorf("erased %+v, exported %+v", r.erased, r.exported)
	}
}

type entriesPage struct {
	Origin  string
	Size    int64
	Next    *int64
	Entries []struct {
		Seq     int64
		Kind    string
		Actor   string
		Request string `json:"request_id"`
		Source  *struct{ Address string }
		Private map[string]string
		Erased  []string
		Count   int64
	}
}

func TestAuditList(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 5 {
		r.chain.append(audit.Entry{Kind: audit.KeyCreate, By: audit.By{Actor: "key:a", Address: "192.0.2.7", Request: fmt.Sprint("r", i)}, Object: "key:x", Private: map[string]string{"name": "shop"}})
	}
	r.chain.append(audit.Entry{Kind: audit.Refusal, By: audit.By{Address: "192.0.2.8"}, Count: 7, First: now, Last: now.Add(time.Second)})
	r.chain.rows[3].Private = nil // erased
	page := into[entriesPage](t, r.do("GET", "/api/audit?limit=3&kind=key.create", ""))
	if len(page.Entries) != 3 || page.Entries[0].Seq != 5 || page.Next == nil || *page.Next != 3 || page.Size != 8 || page.Origin != "eider/0123456789abcdef/1" {
		t.Fatalf("page %+v", page)
	}
	if e := page.Entries[0]; e.Source == nil || e.Source.Address != "192.0.2.7" || e.Private["name"] != "shop" || e.Erased != nil || e.Count != 1 {
		t.Errorf("entry %+v", e)
	}
	if e := page.Entries[2]; e.Seq != 3 || e.Source != nil || !slices.Equal(e.Erased, []string{"name", "source"}) {
		t.Errorf("an entry whose private values were erased is %+v", e)
	}
	page = into[entriesPage](t, r.do("GET", fmt.Sprintf("/api/audit?limit=3&kind=key.create&before=%d", *page.Next), ""))
	if len(page.Entries) != 2 || page.Next != nil {
		t.Errorf("the last page is %+v", page)
	}
	for query, n := range map[string]int{
		"request_id=r2": 1, "actor=key:a": 5, "object=key:x": 5, "kind=access.refusal": 1, "from=2026-07-15&to=2026-07-15": 8,
		"to=2026-07-14": 0, "from=2026-07-15T12:30:00.000001Z": 0, "actor=nobody": 0,
	} {
		if page := into[entriesPage](t, r.do("GET", "/api/audit?"+query, "")); len(page.Entries) != n {
			t.Errorf("%s: %d entries, want %d", query, len(page.Entries), n)
		}
	}
	for _, query := range []string{"limit=0", "limit=1001", "before=-1", "from=yesterday", "from=2026-07-16&to=2026-07-15", "actors=x", "kind=a&kind=b"} {
		if w := r.do("GET", "/api/audit?"+query, ""); w.Code != 400 {
			t.Errorf("%s: %d, want 400", query, w.Code)
		}
	}
}

// TestReadsAreRecorded: a look at the chain is an entry, and a page that looks again
// and again makes one in ten minutes.
func TestReadsAreRecorded(t *testing.T) {
	t.Parallel()
	f := newRig(t).fake
	auditor := f.key(t, "", 0, "audit")
	at := now
	r := rigOf(t, f, func(o *server.Options) { o.Now = func() time.Time { return at } })
	get := func(path string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		w := r.do("GET", "/api/audit"+path, "", header...)
		want(t, w, 200, "")
		return w
	}
	for range 3 {
		get("")
		get("", "-", "X-Api-Key: "+auditor)
		get("/checkpoint")
		get("/tile/0/000.p/1")
		get("/proof/0")
		get("/export")
	}
	at = now.Add(10 * time.Minute)
	get("")
	id := "key:" + f.keys[0].ID
	r.wantEntries(t,
		"audit.read done audit:list by key:bootstrap:", "audit.read done audit:list by "+id+":",
		"audit.read done audit:tiles by key:bootstrap:", "audit.read done audit:proof by key:bootstrap:",
		"audit.read done audit:export by key:bootstrap:", "audit.read done audit:export by key:bootstrap:", "audit.read done audit:export by key:bootstrap:",
		"audit.read done audit:list by key:bootstrap:",
	)
}

// TestProofsOut: what the routes hand out is verified as an auditor would.
func TestProofsOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	keys := into[struct {
		Origin string
		Keys   []string
	}](t, r.do("GET", "/api/audit/keys", ""))
	trusted, err := audit.ParseTrusted(keys.Keys...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := trusted.Open(r.do("GET", "/api/audit/checkpoint", "").Body.Bytes())
	if err != nil || c.Size != 1 || c.Origin != keys.Origin {
		t.Fatalf("checkpoint %+v, %v", c, err)
	}
	if _, _, err := audit.CheckProof(r.do("GET", "/api/audit/proof/0", "").Body.Bytes(), r.chain.rows[0].Leaf, trusted); err != nil {
		t.Errorf("the proof of the first entry: %v", err)
	}
	if _, _, err := audit.CheckProof(r.do("GET", "/api/audit/proof/0", "").Body.Bytes(), r.chain.rows[1].Leaf, trusted); err == nil {
		t.Error("the proof of the first entry proves the second")
	}
	for _, path := range []string{"proof/1", "proof/-1", "proof/x", "tile/0/001", "tile/x", "tile/../checkpoint", "tile/entries/x001/000"} {
		if w := r.do("GET", "/api/audit/"+path, ""); w.Code != 404 && w.Code != 307 {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
	if got := r.do("GET", "/api/audit/report?from=2026-07-01&to=2026-07-02", "").Body.String(); got != "2026-07-01T00:00:00Z 2026-07-03T00:00:00Z" {
		t.Errorf("a report of %s", got)
	}
	export := r.do("GET", "/api/audit/export", "")
	lines := strings.Split(strings.TrimSpace(export.Body.String()), "\n")
	if lines[0] != string(r.chain.rows[0].Leaf) || !json.Valid([]byte(lines[len(lines)-1])) {
		t.Errorf("the export is %s", export.Body)
	}
	want(t, r.do("GET", "/api/audit/export?format=csv", ""), 400, "format")
	want(t, r.do("GET", "/api/audit/export?form=csv", ""), 400, "parameter")
}

func TestForget(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/audit/erase", `{"actor": "key:a", "address": "192.0.2.1", "before": "2026-07-01", "basis": "asked for"}`, asJSON)
	want(t, w, 200, "")
	if got := w.Body.String(); got != `{"values":3}`+"\n" {
		t.Errorf("got %s", got)
	}
	if f := r.chain.forgot; f.Actor != "key:a" || f.Address != "192.0.2.1" || f.Before != time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC).UnixMicro() || r.chain.basis != "asked for" {
		t.Errorf("erased %+v, %s", f, r.chain.basis)
	}
	for _, body := range []string{`{"basis": "x"}`, `{"actor": "a"}`, `{"before": "soon", "basis": "x"}`, `{"actor": "a", "basis": "` + strings.Repeat("x", 201) + `"}`} {
		want(t, r.do("POST", "/api/audit/erase", body, asJSON), 422, "invalid")
	}
}

// TestPrune: the answer says how many entries have no leaf, or why none was deleted.
func TestPrune(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/audit/prune", `{"before": "2026-07-01"}`, asJSON)
	want(t, w, 200, "")
	if got := w.Body.String(); !strings.Contains(got, `"entries":7`) {
		t.Errorf("got %s", got)
	}
	want(t, r.do("POST", "/api/audit/prune", `{"before": "2019-07-01"}`, asJSON), 409, "not_copied")
	want(t, r.do("POST", "/api/audit/prune", `{"before": "soon"}`, asJSON), 422, "invalid")
	want(t, r.do("POST", "/api/audit/prune", `{}`, asJSON), 422, "invalid")
}

// TestAuditMetrics: there is no label that is not from the closed set.
func TestAuditMetrics(t *testing.T) {
	t.Parallel()
	m := server.NewMetrics("1")
	m.WatchAudit(func() server.AuditGauges {
		return server.AuditGauges{Size: 12, Sound: true, ErasuresWaiting: 2, ErasuresSince: time.Unix(5, 0), Copies: []server.CopyGauges{{Sink: "postgres", Inserted: 7, Lag: time.Minute}, {Sink: "postgres_events", Refilled: 3}, {Sink: "made-up"}}}
	})
	m.Recorded(time.Millisecond, 3)
	r := newRig(t, func(o *server.Options) { o.Metrics = m })
	got := r.do("GET", "/metrics", "").Body.String()
	for _, line := range []string{
		"eider_audit_size 12", "eider_audit_verify_result 1", "eider_audit_append_duration_seconds_count 1", "eider_audit_append_acts_sum 3",
		`eider_export_inserted_rows_total{sink="postgres"} 7`, `eider_export_lag_seconds{sink="postgres"} 60`, `eider_export_alarm{sink="postgres"} 0`,
		`eider_export_refills_total{sink="postgres_events"} 3`, "eider_export_erasures_waiting 2", "eider_export_erasures_since_timestamp_seconds 5",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if strings.Contains(got, "made-up") {
		t.Error("a label that is from no closed set")
	}
}
