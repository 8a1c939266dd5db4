package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An auditEntry is what these tests look at of an entry.
type auditEntry struct {
	Seq     int64
	Kind    string
	Outcome string
	Actor   string
	Object  string
	Reason  string
	Count   int64
	Detail  map[string]string
	Source  *struct{ Address string }
}

func (e auditEntry) String() string { return e.Kind + " " + e.Outcome + " " + e.Object }

// entries asks for the entries of a filter, newest first.
func (d *daemon) entries(query string) []auditEntry {
	d.Helper()
	var page struct{ Entries []auditEntry }
	d.must(http.MethodGet, "/api/audit?limit=1000&"+query, nil, &page)
	return page.Entries
}

// as makes a request with an id, and a key if it is not "".
func (d *daemon) as(id, key, method, path, body string) (status int, head, answer string, err error) {
	req, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	req.Header.Set("X-Request-Id", id)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if head = res.Trailer.Get("X-Eider-Audit-Head"); head == "" {
		head = res.Header.Get("X-Eider-Audit-Head")
	}
	return res.StatusCode, head, string(b), err
}

// TestEveryActIsRecorded does with the real server everything that its document says
// can be done, once with a key and once without: each leaves the entries that it
// should, by who did it, and the head in its answer is one that has them. A route that
// is new fails the test until it says here what it leaves.
func TestEveryActIsRecorded(t *testing.T) {
	t.Parallel()
	const secret, token, webhook = "the-secret-of-the-ids-in-this-test", "a-token-for-the-metrics-of-this-test", "the-secret-of-the-webhook-in-this-test"
	r := newRig(t, normal, "EIDER_SECRET="+secret, "EIDER_METRICS_TOKEN="+token, "EIDER_AUDIT_WEBHOOK_SECRET="+webhook)
	seed := strings.TrimSpace(r.run("audit", "key", "new"))
	r.env = append(r.env, "EIDER_AUDIT_KEY="+seed)
	d := r.start()
	var made struct{ ID, Key string }
	d.must(http.MethodPost, "/api/keys", map[string]any{"name": "doomed", "scopes": []string{"admin"}}, &made)
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": "gone.example"}, nil)
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	const q = "?site_id=" + site
	asked := map[string]bool{}
	for i, c := range []struct {
		route, target, body string
		want                string // entries, oldest first
	}{
		{"POST /api/keys", "", `{"name":"n","scopes":["stats"]}`, "key.create done key:"},
		{"DELETE /api/keys/{id}", "/api/keys/" + made.ID, "", "key.revoke done key:" + made.ID},
		{"POST /api/sites", "", `{"domain":"new.example"}`, "site.create done site:new.example"},
		{"DELETE /api/sites/{domain}", "/api/sites/gone.example", "", "site.remove done site:gone.example"},
		{"PATCH /api/sites/{domain}", "/api/sites/" + site, `{"timezone":"Europe/Berlin"}`, "site.change done site:" + site},
		{"PATCH /api/sites/{domain}/settings", "/api/sites/" + site + "/settings", `{"currency":"EUR"}`, "site.change done site:" + site},
		{"POST /api/goals", "/api/goals" + q, `{"kind":"event","event":"Signup"}`, "goal.create done goal:1"},
		{"PATCH /api/goals/{id}", "/api/goals/1" + q, `{"name":"Joined"}`, "goal.change done goal:1"},
		{"DELETE /api/goals/{id}", "/api/goals/1" + q, "", "goal.remove done goal:1"},
		{"POST /api/segments", "/api/segments" + q, `{"name":"s","filters":[["is","event:page",["/a"]]]}`, "segment.create done segment:1"},
		{"PATCH /api/segments/{id}", "/api/segments/1" + q, `{"name":"t"}`, "segment.change done segment:1"},
		{"DELETE /api/segments/{id}", "/api/segments/1" + q, "", "segment.remove done segment:1"},
		{"POST /api/annotations", "/api/annotations" + q, `{"date":"2026-01-31","text":"x"}`, "annotation.create done annotation:1"},
		{"PATCH /api/annotations/{id}", "/api/annotations/1" + q, `{"text":"y"}`, "annotation.change done annotation:1"},
		{"DELETE /api/annotations/{id}", "/api/annotations/1" + q, "", "annotation.remove done annotation:1"},
		{"POST /api/gdpr/erase", "", `{"site_id":"` + site + `","everything":true}`, "data.erase begun site:" + site + ", data.erase done site:" + site},
		{"POST /api/parts/verify", "", "", "server.maintenance begun task:verify, server.maintenance done task:verify"},
		{"POST /api/maintenance/{task}", "/api/maintenance/publish", "", "server.maintenance begun task:publish, server.maintenance done task:publish"},
		{"POST /api/import", "/api/import" + q, "-", "data.import begun site:" + site + ", data.import done site:" + site},
		{"POST /api/audit/prune", "", `{"before":"2026-01-01"}`, ""},                  // there is no copy
		{"POST /api/audit/erase", "", `{"address":"192.0.2.1","basis":"a test"}`, ""}, // nothing is from there
		{"POST /api/audit/adopt", "", `{"reason":"to see"}`, ""},                      // there is nothing to adopt
		{"GET /api/stats/export", "/api/stats/export" + q, "", "data.export begun site:" + site + ", data.export done site:" + site},
		{"GET /api/audit/export", "", "", "audit.read done audit:export"},
		{"GET /api/audit/report", "", "", "audit.read done audit:report"},
		{"POST /api/auth/setup", "", `{"token":"x"}`, "access.refusal refused route:POST /api/auth/setup"},
	} {
		method, path, _ := strings.Cut(c.route, " ")
		asked[strings.ToLower(method)+" "+path] = true
		if c.target != "" {
			path = c.target
		}
		id := fmt.Sprintf("act-%d", i)
		status, head, answer, err := d.as(id, apiKey, method, path, c.body)
		if err != nil || status >= 500 {
			t.Fatalf("%s: %d %s, %v", c.route, status, answer, err)
		}
		list := d.entries("request_id=" + id)
		slices.Reverse(list)
		var got []string
		for _, e := range list {
			text := e.String()
			if strings.HasPrefix(text, "key.create") {
				text = "key.create done key:" // and an id
			}
			got = append(got, text)
			if e.Actor != "key:bootstrap" && !strings.HasSuffix(c.route, "setup") || e.Source == nil || e.Source.Address != "127.0.0.1" {
				t.Errorf("%s: the entry %d is by %q from %v", c.route, e.Seq, e.Actor, e.Source)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s (%d %.200s) has left\n %s\nwant\n %s", c.route, status, answer, strings.Join(got, ", "), c.want)
		}
		if last := len(list) - 1; last >= 0 && !strings.HasPrefix(c.route, "GET /api/audit") {
			var size int64
			if _, err := fmt.Sscanf(head, "%d:", &size); err != nil || size <= list[last].Seq {
				t.Errorf("%s: the head is %q and its last entry %d", c.route, head, list[last].Seq)
			}
		}
		if strings.HasSuffix(c.route, "setup") {
			continue
		}
		status, _, _, err = d.as(id+"-refused", "", method, path, c.body)
		if err != nil || status != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d, %v", c.route, status, err)
		}
	}
	d.acts(asked)
	d.stop()

	// Every refusal is there, folded or not.
	var list []auditEntry
	if err := json.Unmarshal([]byte(r.run("audit", "show", "--kind", "access.refusal", "--limit", "1000", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	var refused int64
	for _, e := range list {
		refused += e.Count
	}
	if want := int64(len(asked)); refused != want {
		t.Errorf("%d refusals are in the chain, %d requests were refused", refused, want)
	}
	r.run("audit", "verify")
	export := filepath.Join(t.TempDir(), "audit.ndjson")
	r.run("audit", "export", "-o", export)
	leaves, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{apiKey, made.Key, secret, token, webhook, seed, "127.0.0.1", "doomed"} {
		if bytes.Contains(leaves, []byte(s)) {
			t.Errorf("%s is in a leaf", s)
		}
	}
	if !bytes.Contains(leaves, []byte(made.ID)) {
		t.Error("the search above finds nothing at all")
	}
}

// acts fails the test if the document has a route that changes something and was not
// asked.
func (d *daemon) acts(asked map[string]bool) {
	d.Helper()
	var doc struct {
		Paths map[string]map[string]any
	}
	d.must(http.MethodGet, "/openapi.json", nil, &doc)
	questions := []string{"post /api/event", "post /api/events", "post /api/sql", "post /api/v2/query", "post /api/stats/funnel"}
	for path, methods := range doc.Paths {
		for method := range methods {
			what := method + " " + path
			if method != "get" && method != "options" && !asked[what] && !atTheDoor[what] && !slices.Contains(questions, what) {
				d.Errorf("%s is not in the test: say which entries it leaves", what)
			}
		}
	}
}

// TestAuditCrash kills the program between acts, again and again. After each start
// every act that was acknowledged has its entry and its change, every entry has its
// change, and the chain is sound.
func TestAuditCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal)
	for round := range rounds(t, 12) {
		d := r.start()
		l := &load{d: d, stopped: make(chan struct{})}
		for range 4 {
			l.client(d.act, time.Millisecond)
		}
		time.Sleep(20*time.Millisecond + r.upTo(300*time.Millisecond))
		d.kill()
		l.wait()
		r.verifyDeeds()
		d = r.start()
		if err := d.checkDeeds(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round%4 == 3 {
			d.stop()
			r.verifyDeeds()
		} else {
			d.kill()
		}
	}
	if len(r.deeds.made) == 0 {
		t.Error("nothing was ever acknowledged")
	}
	t.Logf("%d acts begun, %d acknowledged", r.deeds.count, len(r.deeds.made))
}

// exit runs a command and returns its exit code and what it printed.
func (r *rig) exit(env []string, args ...string) (int, string) {
	r.Helper()
	cmd := exec.Command(r.program, args...)
	cmd.Env, cmd.Dir = r.environ(env...), filepath.Dir(r.dir)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		r.Fatalf("eider %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// keep copies the ledger of a directory that no process has, or puts it back.
func (r *rig) keep(to string) {
	r.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, "ledger.db"))
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) putBack(from string) {
	r.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.dir, "ledger.db"), b, 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// TestAuditRollback puts an older ledger in the place of the newer one: that is
// noticed, by the head file and by a pin, nothing can be changed until it is adopted,
// and events go on.
func TestAuditRollback(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"head file", "pin"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, normal)
			old := filepath.Join(t.TempDir(), "ledger.db")
			d := r.start()
			d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
			d.stop()
			r.keep(old)
			d = r.start()
			_, head, _, err := d.as("x", apiKey, http.MethodPost, "/api/sites", `{"domain":"newer.example"}`)
			if err != nil {
				t.Fatal(err)
			}
			d.stop()
			r.run("audit", "verify")
			r.putBack(old)
			if by == "pin" {
				if err := os.Remove(filepath.Join(r.dir, "audit.head")); err != nil {
					t.Fatal(err)
				}
				d = r.start() // nobody can know
				d.stop()
				r.env = append(r.env, "EIDER_AUDIT_PIN="+head)
			} else if code, out := r.exit(nil, "audit", "verify"); code != 2 {
				t.Errorf("eider audit verify: exit code %d, want 2: %s", code, out)
			}
			d = r.launch()
			select {
			case d.url = <-d.log.listening:
			case <-time.After(startTime):
				t.Fatal("it does not listen")
			}
			if status, reasons, _ := d.get("/health/ready"); status != http.StatusServiceUnavailable || !strings.Contains(reasons, "audit: ") {
				t.Errorf("readiness is %d %s, want 503 and audit", status, reasons)
			}
			if status, _, answer, err := d.as("y", apiKey, http.MethodPost, "/api/sites", `{"domain":"later.example"}`); status != http.StatusServiceUnavailable || !strings.Contains(answer, "audit_halted") {
				t.Errorf("a change is answered %d %s, %v", status, answer, err)
			}
			if status, _, answer, err := d.as("y", "", http.MethodPost, "/api/sites", `{"domain":"later.example"}`); status != http.StatusUnauthorized {
				t.Errorf("without a key it is answered %d %s, %v", status, answer, err)
			}
			if dropped := d.page("https://" + site + "/a"); dropped != "" {
				t.Errorf("the event is dropped: %s", dropped)
			}
			d.must(http.MethodPost, "/api/events", []map[string]string{{"n": "pageview", "d": "unheard.example", "url": "https://unheard.example/"}}, nil)
			d.seen(func() bool { return d.count() == 2 })
			if !d.log.has("the audit chain is halted") {
				t.Error("the log does not say that the chain is halted")
			}
			before := d.entries("")
			d.must(http.MethodPost, "/api/audit/adopt", map[string]string{"reason": "the disk was lost"}, nil)
			if status, reasons, _ := d.get("/health/ready"); status != http.StatusOK {
				t.Errorf("readiness after it was adopted is %d %s", status, reasons)
			}
			d.must(http.MethodPost, "/api/sites", map[string]string{"domain": "later.example"}, nil)
			list := d.entries("kind=audit.adopt")
			if len(list) != 1 || list[0].Seq != before[0].Seq+1 || list[0].Actor != "key:bootstrap" || list[0].Detail["known_size"] == "" {
				t.Errorf("the adoption is %+v", list)
			}
			if started := d.entries("kind=server.start"); started[0].Seq < list[0].Seq || started[0].Detail["done_at"] == "" {
				t.Errorf("the start while it was halted is %+v", started[0])
			}
			if made := d.entries("object=site:unheard.example"); len(made) != 1 || made[0].Actor != "system" || made[0].Detail["done_at"] == "" {
				t.Errorf("that an event has made a site while it was halted is told as %+v", made)
			}
			d.kill()
			d = r.start()
			d.stop()
			r.run("audit", "verify")
			// Whoever has kept the newer head is told that another chain took its place.
			if code, out := r.exit(nil, "audit", "verify", "--head", head); code == 0 && !strings.Contains(out, "has adopted another chain over it") {
				t.Errorf("that the chain is not the one that was kept is not told: %s", out)
			}
		})
	}
}

// TestAuditTampered changes an entry in the ledger: the next start finds it, nothing
// can be changed, and nobody can adopt that.
func TestAuditTampered(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal)
	d := r.start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	d.stop()
	path := filepath.Join(r.dir, "ledger.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	leaf := []byte(`"kind":"site.create"`)
	if !bytes.Contains(b, leaf) {
		t.Fatal("the leaf is not in the file")
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, leaf, []byte(`"kind":"site.remove"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := r.exit(nil, "audit", "verify"); code != 1 || !strings.Contains(out, "entry ") {
		t.Errorf("eider audit verify: exit code %d, want 1 and a place: %s", code, out)
	}
	d = r.launch()
	d.url = <-d.log.listening
	if status, _, answer, _ := d.as("y", apiKey, http.MethodPost, "/api/sites", `{"domain":"later.example"}`); status != http.StatusServiceUnavailable {
		t.Errorf("a change is answered %d %s", status, answer)
	}
	if status, _, answer, _ := d.as("z", apiKey, http.MethodPost, "/api/audit/adopt", `{"reason":"as if nothing were"}`); status != http.StatusServiceUnavailable {
		t.Errorf("its adoption is answered %d %s", status, answer)
	}
	if status, reasons, _ := d.get("/health/ready"); status != http.StatusServiceUnavailable || !strings.Contains(reasons, "tampered") {
		t.Errorf("readiness is %d %s", status, reasons)
	}
}

// TestAuditKeyChange signs with one key after the other. As long as each has agreed to
// the next, whoever trusts the first trusts the last.
func TestAuditKeyChange(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal)
	seed := func() string { return strings.TrimSpace(r.run("audit", "key", "new")) }
	run := func(keys string) *daemon {
		t.Helper()
		d := r.start("EIDER_AUDIT_KEY=" + keys)
		d.must(http.MethodPost, "/api/keys", map[string]any{"name": "n", "scopes": []string{"stats"}}, nil)
		d.stop()
		return d
	}
	d := r.start()
	d.stop()
	if !d.log.has("kept beside the chain") {
		t.Error("that the key is in the ledger is not told")
	}
	first := strings.TrimSpace(r.run("audit", "key", "show"))
	one, two, three := seed(), seed(), seed()
	run(one) // takes the place of the one in the ledger
	run(two + "," + one)
	run(two)
	if code, out := r.exit(nil, "audit", "verify", "--key", first); code != 0 || strings.Count(out, "\nkey ") != 3 {
		t.Fatalf("after three keys that follow each other: exit code %d: %s", code, out)
	}
	keys := strings.Fields(r.run("audit", "key", "show"))
	if len(keys) != 3 || keys[2] != first {
		t.Errorf("the keys are %q, want the first last", keys)
	}
	if code, out := r.exit(nil, "audit", "verify", "--key", keys[0]); code != 0 {
		t.Errorf("with the newest key alone: exit code %d: %s", code, out)
	}
	// The control: a key that the old one knows nothing of.
	if d := run(three); !d.log.has("changed without the old one") {
		t.Error("that the old key is missing is not told")
	}
	if code, out := r.exit(nil, "audit", "verify", "--key", first); code == 0 {
		t.Errorf("a key that none has agreed to is believed: %s", out)
	}
}

// TestAuditCopies has entries go to a webhook and to standard output, through a
// restart: each is there, and none is lost.
func TestAuditCopies(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string]bool{}
	down := true
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		if down || !strings.HasPrefix(req.Header.Get("X-Eider-Signature"), "sha256=") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for line := range strings.Lines(string(b)) {
			var leaf struct{ Seq string }
			if err := json.Unmarshal([]byte(line), &leaf); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			if leaf.Seq != "" {
				got[leaf.Seq] = true
			}
		}
	}))
	t.Cleanup(hook.Close)
	r := newRig(t, normal, "EIDER_AUDIT_WEBHOOK="+hook.URL, "EIDER_AUDIT_WEBHOOK_SECRET=0123456789abcdef", "EIDER_EXPORT_INTERVAL=0.1")
	d := r.start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	if _, metrics, _ := d.get("/metrics"); !strings.Contains(metrics, `eider_export_lag_rows{sink="webhook"}`) {
		t.Error("the metrics do not tell of the copy")
	}
	d.kill()
	mu.Lock()
	down = false
	mu.Unlock()
	d = r.start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": "two.example"}, nil)
	d.stop() // ends with a last try
	var list []auditEntry
	if err := json.Unmarshal([]byte(r.run("audit", "show", "--dir", filepath.Join(r.dir, "ledger.db"), "--limit", "1000", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, e := range list {
		if !got[fmt.Sprint(e.Seq)] {
			t.Errorf("entry %d (%s) did not get there", e.Seq, e)
		}
	}
}
