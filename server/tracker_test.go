package server_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/eider-analytics/eider/server"
)

// TestTracker asks for the scripts as browsers do, for every way that a name can
// be written, and for names that are none.
func TestTracker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("GET", "/js/eider.js", "", "-")
	want(t, w, http.StatusOK, "")
	for name, value := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "public, max-age=86400, stale-while-revalidate=604800",
		"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	again := r.do("GET", "/js/eider.js", "", "-", "If-None-Match: "+w.Header().Get("ETag"))
	want(t, again, http.StatusNotModified, "")
	if again.Body.Len() > 0 {
		t.Errorf("304 with a body: %s", again.Body)
	}
	packed := r.do("GET", "/js/eider.js", "", "-", "Accept-Encoding: gzip")
	if packed.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("not compressed for one who takes gzip")
	}
	one, other := r.do("GET", "/js/script.hash.outbound-links.js", "", "-"), r.do("GET", "/js/script.outbound-links.hash.js", "", "-")
	if one.Code != http.StatusOK || !bytes.Equal(one.Body.Bytes(), other.Body.Bytes()) {
		t.Errorf("the order of suffixes makes a difference: %d and %d bytes", one.Body.Len(), other.Body.Len())
	}
	all := "/js/script.compat.exclusions.file-downloads.hash.local.manual.outbound-links.pageview-props.revenue.tagged-events.js"
	want(t, r.do("GET", all, "", "-"), http.StatusOK, "")
	for _, name := range []string{"script", "script.nothing.js", "script.hash.hash.js", "script..js", "eider.hash.js", "eider.vitals.js", "eider.js%3Fmore", "core.js", "plausible", "script.hash.mjs", ".js", "js"} {
		w := r.do("GET", "/js/"+name, "", "-")
		want(t, w, http.StatusNotFound, "not_found")
	}
	if body := r.do("GET", "/js/script.hush.js", "", "-").Body.String(); !strings.Contains(body, "hush") || !strings.Contains(body, "outbound-links") {
		t.Errorf("what is wrong, and what there is, is not said: %s", body)
	}
	if body := r.do("GET", "/js/app.js", "", "-").Body.String(); !strings.HasPrefix(body, "// code") {
		t.Errorf("a file of the dashboard is hidden: %.60s", body)
	}
}

// TestTrackerPaths gives the tracker and its events paths of their own: they
// answer as the usual ones do, are counted as these, and hide nothing.
func TestTrackerPaths(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.ScriptPath, o.EventPath = "/assets/app.js", "/assets/data" })
	own, usual := r.do("GET", "/assets/app.js", "", "-"), r.do("GET", "/js/eider.js", "", "-")
	if own.Code != http.StatusOK || own.Body.String() != usual.Body.String() || !strings.Contains(own.Body.String(), "/assets/data") {
		t.Errorf("%d: %.200s", own.Code, own.Body)
	}
	w := r.do("POST", "/assets/data", `{"n":"pageview","d":"example.com","u":"https://example.com/"}`, "-")
	want(t, w, http.StatusAccepted, "")
	if w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Error("a page of another origin may not read the answer")
	}
	want(t, r.do("OPTIONS", "/assets/data", "", "-"), http.StatusNoContent, "")
	want(t, r.do("GET", "/assets/other", "", "-"), http.StatusNotFound, "not_found")
	if text := r.do("GET", "/metrics", "").Body.String(); strings.Contains(text, "/assets/") || !strings.Contains(text, `route="/js/{file}"`) {
		t.Error("the paths are not counted as the usual ones")
	}
	want(t, newRig(t).do("GET", "/assets/app.js", "", "-"), http.StatusNotFound, "not_found")
	for _, p := range []string{"assets", "/", "/a/", "/a//b", "/a b", "/../x", "/api/x", "/js/x.js", "/health/x", "/metrics", "/ready", "/setup", "/openapi.json", "/index.html", "/é", "/" + strings.Repeat("a", 200)} {
		if server.CheckPath(p) == nil {
			t.Errorf("%s may be the tracker's", p)
		}
	}
	o := server.Options{Keys: r.fake, Metrics: server.NewMetrics(""), Tracker: os.DirFS("../web"), Assets: fstest.MapFS{"app.css": {}}, ScriptPath: "/app.css"}
	if _, err := server.New(t.Context(), o); err == nil {
		t.Error("a file of the dashboard is hidden")
	}
	o.ScriptPath, o.EventPath = "/x", "/x"
	if _, err := server.New(t.Context(), o); err == nil {
		t.Error("the script and its events have the same path")
	}
}

// TestTrackerSize holds the scripts to their limits: bytes with gzip as a server
// compresses them.
func TestTrackerSize(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, limit := range map[string]int{
		"eider.js": 1500, "eider.js?more": 1500,
		"script.js": 2600, "script.compat.js": 1600,
	} {
		raw := r.do("GET", "/js/"+name, "", "-").Body.Bytes()
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		_, _ = z.Write(raw)
		_ = z.Close()
		t.Logf("%s: %d raw, %d gzip, limit %d", name, len(raw), b.Len(), limit)
		if b.Len() > limit {
			t.Errorf("%s has %d bytes with gzip, limit %d", name, b.Len(), limit)
		}
	}
}
