package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
)

const asJSON = "Content-Type: application/json"

func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/keys", `{"name": "reader", "scopes": ["stats"], "site_id": "example.com", "expires": "2026-08-01T00:00:00Z"}`, asJSON)
	want(t, w, 201, "")
	made := into[struct {
		ID, Key, Prefix, Expires string
		Site                     string `json:"site_id"`
		Scopes                   []string
	}](t, w)
	if !strings.HasPrefix(made.Key, "eider_") || len(made.Key) < 32 || made.Site != "example.com" || made.Expires != "2026-08-01T00:00:00Z" {
		t.Errorf("made %+v", made)
	}
	const target = "/api/stats/main?site_id=example.com"
	want(t, r.do("GET", target, "", "-", "Authorization: bearer "+made.Key), 200, "")
	w = r.do("GET", "/api/keys", "")
	if strings.Contains(w.Body.String(), made.Key) || !strings.Contains(w.Body.String(), made.Prefix) || !strings.Contains(w.Body.String(), `"last_used":"2026-07-15T12:30:00Z"`) {
		t.Errorf("list is %s", w.Body)
	}
	want(t, r.do("DELETE", "/api/keys/"+made.ID, ""), 204, "")
	want(t, r.do("GET", target, "", "-", "X-Api-Key: "+made.Key), 401, "bad_key")
	want(t, r.do("DELETE", "/api/keys/none", ""), 404, "not_found")
	for _, body := range []string{
		`{"scopes": ["stats"]}`, `{"name": "x"}`, `{"name": "x", "scopes": ["root"]}`, `{"name": "x", "scopes": ["stats"], "expires": "2026-07-15T12:30:00Z"}`,
		`{"name": "` + strings.Repeat("x", 129) + `", "scopes": ["stats"]}`,
	} {
		want(t, r.do("POST", "/api/keys", body, asJSON), 422, "invalid")
	}
	want(t, r.do("POST", "/api/keys", `{"name": "x", "scopes": ["stats"], "site_id": "nowhere.com"}`, asJSON), 404, "unknown_site")
	want(t, r.do("POST", "/api/keys", `{"name": "x", "scopes": ["stats"], "expires": "soon"}`, asJSON), 400, "invalid")
}

// TestLastUse checks that the use of a key is kept through a failed write.
func TestLastUse(t *testing.T) {
	t.Parallel()
	f := newRig(t).fake
	key := f.key(t, "", 0, "stats")
	r := rigOf(t, f)
	want(t, r.do("GET", "/api/stats/main?site_id=example.com", "", "-", "X-Api-Key: "+key), 200, "")
	f.err = errors.New("ledger is busy")
	if err := r.srv.FlushKeys(); err == nil {
		t.Error("a failed write is not told")
	}
	f.err = nil
	if err := r.srv.FlushKeys(); err != nil || f.keys[0].LastUsed != now.UnixMicro() {
		t.Errorf("%v, last use %d, want %d", err, f.keys[0].LastUsed, now.UnixMicro())
	}
}

func TestNewRefusesEmptyToken(t *testing.T) {
	t.Parallel()
	o := server.Options{MetricsTokens: []string{metricsToken, ""}, Keys: newRig(t).fake, Metrics: server.NewMetrics(""), Assets: fstest.MapFS{}}
	if _, err := server.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "metrics token is empty") {
		t.Errorf("New = %v, want an error about the empty token", err)
	}
}

func TestSites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/sites", `{"domain": " WWW.New.com", "timezone": "America/New_York"}`, asJSON)
	want(t, w, 201, "")
	if got, want := w.Body.String(), `{"domain":"new.com","timezone":"America/New_York","created":"2026-07-15T12:30:00Z"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want(t, r.do("POST", "/api/sites", `{"domain": "new.com"}`, asJSON), 409, "exists")
	want(t, r.do("POST", "/api/sites", `{"domain": "b\u00fccher.example"}`, asJSON), 201, "")
	for _, body := range []string{
		`{"domain": ""}`, `{"domain": "a b"}`, `{"domain": "x\u0000"}`, `{"domain": "<x>"}`, `{"domain": "` + strings.Repeat("x", 254) + `"}`,
		`{"domain": "x.com", "timezone": "Mars/Olympus"}`, `{"domain": "x.com", "timezone": "Local"}`, `{"domain": "x.com", "timezone": "../../etc/passwd"}`,
	} {
		want(t, r.do("POST", "/api/sites", body, asJSON), 422, "invalid")
	}
	want(t, r.do("DELETE", "/api/sites/new.com", ""), 204, "")
	want(t, r.do("DELETE", "/api/sites/new.com", ""), 404, "not_found")
	f := r.fake
	key := f.key(t, "other.com", 0, "admin")
	w = rigOf(t, f).do("GET", "/api/sites", "", "-", "X-Api-Key: "+key)
	if got, want := w.Body.String(), `{"sites":[{"domain":"other.com","timezone":"UTC"}]}`+"\n"; got != want {
		t.Errorf("a key of one site sees %s, want %s", got, want)
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/gdpr/erase", `{"site_id": "example.com", "start_date": "2026-07-01", "end_date": "2026-07-01", "visitor": "01234567-89ab-cdef-1032-547698badcfe", "user": "u"}`, asJSON)
	if got, want := w.Body.String(), `{"rows":7,"site_id":"example.com","status":"erased"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	day := time.Date(2026, 6, 30, 22, 0, 0, 0, time.UTC).UnixMicro()
	if got, want := r.erased, (server.Erasure{Site: "example.com", From: day, To: day + 24*3600e6, User: "u",
		Visitor: event.ID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}}); got != want {
		t.Errorf("erased %+v, want %+v", got, want)
	}
	want(t, r.do("POST", "/api/gdpr/erase", `{"site_id": "removed.com", "everything": true}`, asJSON), 200, "")
	if r.erased != (server.Erasure{Site: "removed.com"}) {
		t.Errorf("erased %+v", r.erased)
	}
	r.erased = server.Erasure{}
	for _, body := range []string{
		`{"site_id": "example.com"}`, `{"user": "u"}`, `{"site_id": "example.com", "user": "u", "everything": true}`,
		`{"site_id": "example.com", "visitor": "xyz"}`, `{"site_id": "example.com", "visitor": "0123"}`,
	} {
		want(t, r.do("POST", "/api/gdpr/erase", body, asJSON), 422, "invalid")
	}
	want(t, r.do("POST", "/api/gdpr/erase", `{"site_id": "example.com", "start_date": "2026-07-01"}`, asJSON), 400, "range")
	if r.erased.Site != "" {
		t.Errorf("erased %+v for a request that was refused", r.erased)
	}
}

func TestPartsAndMaintenance(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.parts = []event.Part{{ID: 1, Path: "events/date=2026-07-14/1-9.parquet", Day: 20648, First: 1, Last: 9, Rows: 9, Bytes: 100, MinTime: now.UnixMicro(), MaxTime: now.UnixMicro(), Sites: []string{"example.com"}, Created: now.UnixMicro(), Damaged: "short"}}
	w := r.do("GET", "/api/parts", "")
	if !strings.Contains(w.Body.String(), `"published_seq":99`) || !strings.Contains(w.Body.String(), `"day":"2026-07-14"`) || !strings.Contains(w.Body.String(), `"damaged":"short"`) {
		t.Errorf("parts are %s", w.Body)
	}
	w = r.do("POST", "/api/parts/verify", "")
	if !strings.Contains(w.Body.String(), `{"report":{"damaged":[{`) || !strings.Contains(w.Body.String(), `"verified":2`) {
		t.Errorf("verify is %s", w.Body)
	}
	w = r.do("POST", "/api/maintenance/compact", "")
	if got, want := w.Body.String(), `{"parts":3,"task":"compact"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want(t, r.do("POST", "/api/maintenance/format", ""), 404, "not_found")
	r.err = errors.New("x")
	want(t, r.do("POST", "/api/maintenance/publish", ""), 500, "internal")
	want(t, r.do("POST", "/api/parts/verify", ""), 500, "internal")
}

func TestSetup(t *testing.T) {
	t.Parallel()
	clock := now
	f := newRig(t).fake
	open := func() *rig {
		return rigOf(t, f, func(o *server.Options) { o.APIKey, o.Now = "", func() time.Time { return clock } })
	}
	status := func(r *rig, key string) string {
		return r.do("GET", "/api/auth/status", "", "-", "X-Api-Key: "+key).Body.String()
	}
	r := open()
	path, token, _ := strings.Cut(r.srv.SetupPath(), "#")
	if path != "/setup" || len(token) < 26 {
		t.Fatalf("set-up path is %s#%s", path, token)
	}
	if got, want := status(r, "x"), `{"setup_required":true,"authenticated":false}`+"\n"; got != want {
		t.Errorf("status %s, want %s", got, want)
	}
	try := func(r *rig, token string) *httptest.ResponseRecorder {
		return r.do("POST", "/api/auth/setup", fmt.Sprintf(`{"token": %q}`, token), "-", asJSON)
	}
	want(t, try(r, ""), 401, "bad_token")
	want(t, try(r, token[1:]), 401, "bad_token")
	want(t, try(open(), token), 401, "bad_token") // of another start
	clock = now.Add(time.Hour)
	want(t, try(r, token), 401, "bad_token")
	clock = now.Add(time.Hour - 1)
	w := try(r, token)
	want(t, w, 201, "")
	key := into[struct{ Key string }](t, w).Key
	want(t, r.do("GET", "/api/keys", "", "-", "X-Api-Key: "+key), 200, "")
	want(t, try(r, token), 409, "set_up")
	if got := status(r, key); !strings.Contains(got, `"authenticated":true`) || !strings.Contains(got, `"setup_required":false`) {
		t.Errorf("status %s", got)
	}
	again := open()
	if p := again.srv.SetupPath(); p != "" {
		t.Errorf("a server with an administrator offers %s", p)
	}
	want(t, try(again, token), 409, "set_up")
	for _, k := range f.keys {
		want(t, r.do("DELETE", "/api/keys/"+k.ID, "", "-", "X-Api-Key: "+key), 204, "")
	}
	want(t, try(r, token), 409, "set_up") // nobody is left, and still it has been used
	if p := newRig(t).srv.SetupPath(); p != "" {
		t.Errorf("a server with a bootstrap key offers %s", p)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if w := r.do("GET", "/health", "", "-"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	for _, path := range []string{"/health/ready", "/ready"} {
		if w := r.do("GET", path, "", "-"); w.Code != 200 || w.Body.String() != "ready\n" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	}
	if got, want := r.do("GET", "/health/detailed", "").Body.String(), `{"durable_seq":12,"status":"ok","uptime":0,"version":"1.2.3"}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.reasons = []string{"ledger: failed", "disk: 1 MiB free"}
	r.srv.Drain()
	if w := r.do("GET", "/ready", "", "-"); w.Code != 503 || w.Body.String() != "draining\nledger: failed\ndisk: 1 MiB free\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := r.do("GET", "/health", "", "-"); w.Code != 200 {
		t.Errorf("not alive: %d", w.Code)
	}
	if got := r.do("GET", "/health/detailed", "").Body.String(); !strings.Contains(got, `"status":"not ready"`) || !strings.Contains(got, `"reasons":["draining","ledger: failed","disk: 1 MiB free"]`) {
		t.Errorf("got %s", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := server.NewMetrics("1.2.3")
	m.Watch(func() event.Counts {
		return event.Counts{Accepted: 5, Duplicates: 1, Rejected: map[string]uint64{event.RejectBot: 2}, Bots: map[string]uint64{"crawler": 2}, Buffered: 3}
	}, func() server.Gauges {
		return server.Gauges{DurableSeq: 5, OldestUnpublished: 1500 * time.Millisecond, Parts: 2}
	})
	r := newRig(t, func(o *server.Options) {
		o.Metrics, o.MetricsTokens = m, []string{metricsToken, "the-next-metrics-token"}
	})
	m.Committed(time.Millisecond, 10, 1000)
	m.Task("publish", time.Second, 100, nil)
	m.Task("flush", time.Second, 0, errors.New("x"))
	m.Query("main", "raw", time.Millisecond)
	r.do("GET", "/../secret-path", "", "-")
	r.do("GET", "/secret-path", "", "-")
	r.do("BREW", "/secret-path", "", "-")
	r.do("GET", "/api/stats/breakdown/prop:secret-path?site_id=example.com", "")
	for _, token := range []string{metricsToken, "the-next-metrics-token", bootstrap} {
		want(t, r.do("GET", "/metrics", "", "-", "Authorization: Bearer "+token), 200, "")
	}
	want(t, r.do("GET", "/metrics", "", "-", "Authorization: Bearer metrics-token"), 401, "bad_key")
	req := httptest.NewRequest("GET", "http://localhost/metrics", nil)
	req.RemoteAddr = "127.0.0.1:1"
	want(t, r.serve(req), 401, "no_key") // a token is set: this machine needs it too
	got := r.do("GET", "/metrics", "").Body.String()
	for _, line := range []string{
		`eider_build_info{go="go`,
		`version="1.2.3"} 1`,
		`eider_http_requests_total{code="4xx",method="other",route="/"} 1`,
		`eider_http_requests_total{code="2xx",method="read",route="/api/stats/breakdown/{dim}"} 1`,
		`eider_http_request_duration_seconds_count{route="/metrics"}`,
		"eider_journal_commit_duration_seconds_count 1\n",
		"eider_journal_group_events_sum 10\n",
		`eider_store_task_duration_seconds_count{result="ok",task="publish"} 1`,
		`eider_store_task_duration_seconds_count{result="error",task="flush"} 1`,
		`eider_store_task_rows_total{task="publish"} 100`,
		`eider_query_duration_seconds_count{kind="main",plan="raw"} 1`,
		"eider_events_accepted_total 5\n", "eider_events_duplicate_total 1\n",
		`eider_events_rejected_total{reason="bot"} 2`, `eider_events_rejected_total{reason="invalid"} 0`, `eider_events_bot_total{reason="crawler"} 2`,
		"eider_buffered_events 3\n", "eider_durable_seq 5\n", "eider_oldest_unpublished_seconds 1.5\n", "eider_parts 2\n",
		"go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %s", line)
		}
	}
	if strings.Contains(got, "secret") {
		t.Error("a path that was asked for became a label")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for target, content := range map[string]string{"/": "<title>Eider", "/setup": "<title>Eider", "/index.html": "<title>Eider", "/robots.txt": "Disallow: /api/"} {
		if w := r.do("GET", target, "", "-"); w.Code != 200 || !strings.Contains(w.Body.String(), content) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	w := r.do("GET", "/js/app.js", "", "-", "Accept-Encoding: gzip")
	etag := w.Header().Get("ETag")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Body.Len() > 1000 || etag == "" || w.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("%v, %d bytes", w.Header(), w.Body.Len())
	}
	for header, status := range map[string]int{etag: 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200, strings.TrimPrefix(etag, "W/"): 304} {
		w := r.do("GET", "/js/app.js", "", "-", "If-None-Match: "+header)
		if w.Code != status || (status == 304) != (w.Body.Len() == 0) {
			t.Errorf("%s: %d with %d bytes, want %d", header, w.Code, w.Body.Len(), status)
		}
	}
	if w := r.do("HEAD", "/", "", "-"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
	none := newRig(t, func(o *server.Options) { o.Assets = fstest.MapFS{} })
	want(t, none.do("GET", "/", "", "-"), 404, "not_found")
}

func TestCompression(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.export = func(w io.Writer) (int64, int64, error) {
		_, err := io.WriteString(w, strings.Repeat("row,row,row\n", 1000))
		return 1, 1, err
	}
	for format, encoding := range map[string]string{"csv": "gzip", "ndjson": "gzip", "json": "gzip", "parquet": "", "arrow": ""} {
		w := r.do("GET", "/api/stats/export?site_id=example.com&format="+format, "", "X-None: x", "Accept-Encoding: gzip, zstd")
		if got := w.Header().Get("Content-Encoding"); got != encoding {
			t.Errorf("%s is encoded as %q, want %q", format, got, encoding)
		}
	}
}
