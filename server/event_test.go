package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
)

func TestPostEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		result  event.Result
		err     error
		status  int
		body    string // "" is not checked
		dropped string
		retry   string
	}{
		{"accepted", event.Result{Accepted: 1}, nil, 202, "ok", "", ""},
		{"duplicate", event.Result{Duplicates: 1}, nil, 202, "ok", "", ""},
		{"bot", event.Result{Rejected: []event.Rejection{{Code: event.RejectBot}}}, nil, 202, "ok", "1", ""},
		{"unknown sites", event.Result{Rejected: []event.Rejection{{Code: event.RejectSite}, {Code: event.RejectSite}}}, nil, 202, "ok", "2", ""},
		{"one of two", event.Result{Accepted: 1, Rejected: []event.Rejection{{Code: event.RejectSite}}}, nil, 202, "ok", "1", ""},
		{"conflict", event.Result{Rejected: []event.Rejection{{Code: event.RejectConflict, Message: "id was used"}}}, nil, 400, `{"errors":{"request":["id was used"]}}` + "\n", "", ""},
		{"field", event.Result{}, &event.FieldError{Field: "url", Message: "is required"}, 400, `{"errors":{"url":["is required"]}}` + "\n", "", ""},
		{"not JSON", event.Result{}, &event.FieldError{Field: "request", Message: "Unable to parse request body as json"}, 400, `{"errors":{"request":["Unable to parse request body as json"]}}` + "\n", "", ""},
		{"full", event.Result{}, fmt.Errorf("accept: %w", event.ErrFull), 503, "", "", "1"},
		{"disk full", event.Result{}, event.ErrDiskFull, 503, "", "", "60"},
		{"stopped", event.Result{}, event.ErrStopped, 503, "", "", "10"},
		{"too many", event.Result{}, &event.LimitError{RetryAfter: 1500 * time.Millisecond}, 429, "", "", "2"},
		{"too many, soon over", event.Result{}, &event.LimitError{RetryAfter: time.Millisecond}, 429, "", "", "1"},
		{"our fault", event.Result{}, errors.New("secret detail"), 500, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.result, r.err = c.result, c.err
			w := r.do("POST", "/api/event", `{"n":"pageview"}`, "-", "Content-Type: text/plain;charset=UTF-8")
			want(t, w, c.status, "")
			if c.body != "" && w.Body.String() != c.body {
				t.Errorf("body %q, want %q", w.Body, c.body)
			}
			if got := w.Header().Get("X-Plausible-Dropped"); got != c.dropped {
				t.Errorf("dropped %q, want %q", got, c.dropped)
			}
			if got := w.Header().Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After %q, want %q", got, c.retry)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("allowed origin %q, want *", got)
			}
			if r.body != `{"n":"pageview"}` {
				t.Errorf("ingest was given %q", r.body)
			}
			if c.status == 500 && (strings.Contains(w.Body.String(), "secret") || strings.Count(r.logged(), "secret detail") != 1) {
				t.Errorf("a fault of ours must be logged once and not told: %s", w.Body)
			}
		})
	}
}

func TestPostEventRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want(t, r.do("POST", "/api/event", strings.Repeat("x", 64<<10), "-"), 202, "")
	want(t, r.do("POST", "/api/event", strings.Repeat("x", 64<<10+1), "-"), 413, "too_large")
	w := r.do("POST", "/api/event", "<x/>", "-", "Content-Type: text/xml")
	want(t, w, 415, "media_type")
	if right := "application/json or text/plain or application/x-www-form-urlencoded\""; !strings.Contains(w.Body.String(), right) {
		t.Errorf("the answer does not say which types are right: %s", w.Body)
	}
	want(t, r.do("POST", "/api/event", "{}", "-", "Content-Type: \xff"), 415, "media_type")
	want(t, r.do("POST", "/api/event", "{}", "-", "Content-Encoding: gzip"), 415, "encoding")
	want(t, r.do("POST", "/api/event", "\xff\xfe\x00{", "-", "Content-Type: application/json"), 202, "")       // ingest judges it
	want(t, r.do("POST", "/api/event", "{}", "-", "Content-Type: application/x-www-form-urlencoded"), 202, "") // curl -d
	req := httptest.NewRequest("POST", "/api/event", io.MultiReader(strings.NewReader("{}")))                  // no Content-Length
	want(t, r.serve(req), 202, "")
	req = httptest.NewRequest("POST", "/api/event", io.MultiReader(strings.NewReader(strings.Repeat("x", 70_000))))
	want(t, r.serve(req), 413, "too_large")
}

// TestRoomOfOneClient: who declares large bodies and does not send them takes an eighth of
// the room, and the events of others come in.
func TestRoomOfOneClient(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.EventRoom = 1 << 20 })
	const slow = 40 // of 64 KiB: more than there is room for
	stop, refused := make(chan struct{}), make(chan int, slow)
	var wg sync.WaitGroup
	post := func(from string, body io.Reader, length int64) int {
		req := httptest.NewRequest("POST", "/api/event", body)
		req.ContentLength, req.RemoteAddr = length, from+":1"
		w := r.serve(req)
		return w.Code
	}
	for range slow {
		wg.Go(func() {
			if code := post("192.0.2.1", slowBody{stop}, 64<<10); code == 503 {
				refused <- code
			}
		})
	}
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	for n := range slow - 2 { // the others are held
		select {
		case <-refused:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d are refused, want all but 2", n, slow)
		}
	}
	if code := post("192.0.2.2", strings.NewReader("{}"), 2); code != 202 {
		t.Errorf("the event of another client is answered with %d, want 202", code)
	}
	if code := post("192.0.2.1", strings.NewReader("{}"), 2); code != 503 {
		t.Errorf("one more of the same is answered with %d, want 503", code)
	}
	end()
	wg.Wait()
	if singles, _ := r.srv.Rooms(); singles != 1<<20 {
		t.Errorf("afterwards there is room for %d bytes, want all", singles)
	}
	if code := post("192.0.2.1", strings.NewReader("{}"), 2); code != 202 {
		t.Errorf("afterwards its event is answered with %d, want 202", code)
	}
}

// A slowBody does not come until it is stopped.
type slowBody struct{ stop chan struct{} }

func (b slowBody) Read([]byte) (int, error) {
	<-b.stop
	return 0, io.ErrUnexpectedEOF
}

// TestRoom: bodies of events take no more memory at once than there is for them, and
// however a request ends it gives back what it had.
func TestRoom(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.EventRoom = 1 << 20 })
	singles, batches := r.srv.Rooms()
	if singles != 1<<20 || batches < 10<<20 {
		t.Fatalf("room for %d bytes of events and %d of batches, want 1 MiB, and a batch at least", singles, batches)
	}
	asked := func(full bool) {
		for _, c := range []struct {
			path, body, header string
			status             int
			code               string
			room               bool // is there for it
		}{
			{"/api/event", `{"n":"a"}`, "X: y", 202, "", true},
			{"/api/event", strings.Repeat("x", 101), "X: y", 202, "", false},
			{"/api/event", strings.Repeat("x", 64<<10+1), "X: y", 413, "too_large", false},
			{"/api/events", "[]", "X: y", 202, "", true},
			{"/api/events", "[" + strings.Repeat(" ", 100) + "]", "X: y", 202, "", false},
			{"/api/events", gzipped(t, []byte("["+strings.Repeat(" ", 1000)+"]")), "Content-Encoding: gzip", 202, "", false},
			{"/api/events", "\x1f\x8b nothing", "Content-Encoding: gzip", 400, "encoding", true},
			{"/api/events", strings.Repeat(" ", 10<<20+1), "X: y", 413, "too_large", true}, // its length is said
		} {
			w := r.do("POST", c.path, c.body, "-", "X-Api-Key: "+bootstrap, c.header)
			if full && !c.room {
				want(t, w, 503, "overloaded")
				if w.Header().Get("Retry-After") == "" {
					t.Errorf("%s of %d bytes: no Retry-After", c.path, len(c.body))
				}
			} else {
				want(t, w, c.status, c.code)
			}
		}
	}
	asked(false)
	release := r.srv.Fill(100)
	asked(true)
	release()
	if s, b := r.srv.Rooms(); s != singles || b != batches {
		t.Errorf("afterwards there is room for %d and %d bytes, want %d and %d", s, b, singles, batches)
	}
}

func TestDebugRequest(t *testing.T) {
	t.Parallel()
	proxy, err := server.ParseProxy("X-Forwarded-For 203.0.113.9")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *server.Options) { o.Proxy = proxy })
	w := r.do("POST", "/api/event", "{}", "-", "X-Debug-Request: true", "X-Forwarded-For: 198.51.100.7")
	if w.Code != 200 || w.Body.String() != "198.51.100.7" || r.body != "" {
		t.Errorf("%d %q, body to ingest %q; want 200, the address and none", w.Code, w.Body, r.body)
	}
}

func TestClientOfARequest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.do("POST", "/api/event", "{}", "-", "User-Agent: UA", "Accept-Language: de", "Origin: https://example.com", "Referer: https://other.com/x", "Dnt: 1",
		`Sec-CH-UA: "Short"`, `Sec-CH-UA-Full-Version-List: "Long"`, `Sec-CH-UA-Platform: "P"`, `Sec-CH-UA-Platform-Version: "V"`, `Sec-CH-UA-Mobile: ?0`, `Sec-CH-UA-Model: "M"`)
	got := r.client
	if got.Addr.String() != "203.0.113.9" {
		t.Errorf("address %s", got.Addr)
	}
	got.Addr = event.Client{}.Addr
	want := event.Client{UserAgent: "UA", Language: "de", Origin: "https://example.com", Private: true, Hints: event.Hints{Brands: `"Long"`, Platform: `"P"`, PlatformVersion: `"V"`, Mobile: "?0", Model: `"M"`}}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	r.do("POST", "/api/event", "{}", "-", `Sec-CH-UA: "Short"`, "Referer: https://example.com:8443/path?q", "Sec-GPC: 1")
	if r.client.Hints.Brands != `"Short"` || r.client.Origin != "https://example.com:8443" || !r.client.Private {
		t.Errorf("got %+v", r.client)
	}
	r.do("POST", "/api/event", "{}", "-", "Referer: ://", "Sec-GPC: 0")
	if r.client.Origin != "" || r.client.Private {
		t.Errorf("got %+v", r.client)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := newRig(t).do("OPTIONS", "/api/event", "", "-", "Origin: https://example.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
	h := w.Header()
	if w.Code != 204 || h.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type") || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("%d %v", w.Code, h)
	}
}

func TestPixel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, err := range []error{nil, event.ErrFull, &event.FieldError{Field: "domain", Message: "can't be blank"}, errors.New("broken")} {
		r.err = err
		w := r.do("GET", "/api/event?d=example.com&n=pageview", "", "-")
		if w.Code != 200 || w.Header().Get("Content-Type") != "image/gif" || w.Header().Get("Cache-Control") != "no-store" || !strings.HasPrefix(w.Body.String(), "GIF89a") || w.Body.Len() != 43 {
			t.Errorf("%v: %d %v %q", err, w.Code, w.Header(), w.Body)
		}
		if r.query.Get("d") != "example.com" {
			t.Errorf("ingest was given %v", r.query)
		}
	}
	r.query = nil
	if w := r.do("HEAD", "/api/event?d=example.com", "", "-"); w.Code != 200 || r.query != nil {
		t.Errorf("HEAD: %d, counted %v", w.Code, r.query)
	}
}

func gzipped(t testing.TB, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.String()
}

func zstded(t testing.TB, b []byte, o ...zstd.EOption) string {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, o...)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.String()
}

// TestRejections: every rejection of a batch tells the status that the event
// alone would have had.
func TestRejections(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{
		event.RejectConflict: 409, event.RejectInvalid: 422, event.RejectSkew: 422, event.RejectKey: 403,
		event.RejectRate: 429, event.RejectBot: 202, event.RejectSite: 202, event.RejectNoVisit: 202,
	} {
		r := newRig(t)
		r.result = event.Result{Rejected: []event.Rejection{{Code: code}}}
		w := r.do("POST", "/api/events", "[{}]", "-", "X-Api-Key: "+bootstrap)
		if want := fmt.Sprintf(`"status":%d,"code":%q`, status, code); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", code, w.Body, want)
		}
	}
}

func TestPostEvents(t *testing.T) {
	t.Parallel()
	plain := ` [{"n":"a"}]`
	for _, c := range []struct {
		name, body string
		header     []string
		ndjson     bool
		want       string
	}{
		{"array", plain, []string{"Content-Type: application/json"}, false, plain},
		{"array without a type", plain, nil, false, plain},
		{"lines by type", "{}\n{}", []string{"Content-Type: application/x-ndjson"}, true, "{}\n{}"},
		{"lines by first byte", "\n{}\n{}", []string{"Content-Type: application/json"}, true, "{}\n{}"},
		{"gzip", gzipped(t, []byte(plain)), []string{"Content-Encoding: gzip"}, false, plain},
		{"zstd", zstded(t, []byte(plain)), []string{"Content-Encoding: zstd"}, false, plain},
		{"identity", plain, []string{"Content-Encoding: identity"}, false, plain},
		{"the most", "[" + strings.Repeat(" ", 10<<20-2) + "]", nil, false, "[" + strings.Repeat(" ", 10<<20-2) + "]"},
		{"the most in gzip", gzipped(t, []byte("["+strings.Repeat(" ", 10<<20-2)+"]")), []string{"Content-Encoding: gzip"}, false, "[" + strings.Repeat(" ", 10<<20-2) + "]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.result = event.Result{Accepted: 2, Duplicates: 1, Rejected: []event.Rejection{{Index: 3, Code: "bot", Message: "a crawler"}}, LastSeq: 9}
			w := r.do("POST", "/api/events", c.body, append([]string{"-", "X-Api-Key: " + bootstrap}, c.header...)...)
			want(t, w, 202, "")
			if r.ndjson != c.ndjson || strings.TrimLeft(r.body, " \n") != strings.TrimLeft(c.want, " \n") {
				t.Errorf("lines %t, body %.40q", r.ndjson, r.body)
			}
			if got, want := w.Body.String(), `{"accepted":2,"duplicates":1,"rejected":[{"index":3,"status":202,"code":"bot","error":"a crawler"}],"last_seq":9}`+"\n"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	r := newRig(t)
	if w := r.do("POST", "/api/events", "[]"); !strings.Contains(w.Body.String(), `"rejected":[]`) {
		t.Errorf("nothing rejected is %s, want an empty list", w.Body)
	}
	key := r.key(t, "example.com", 0, "ingest")
	r2 := rigOf(t, r.fake)
	r2.do("POST", "/api/events", "[]", "-", "X-Api-Key: "+key)
	if r2.site != "example.com" {
		t.Errorf("ingest is told of site %q, want the key's", r2.site)
	}
}

func TestPostEventsRefuses(t *testing.T) {
	t.Parallel()
	random := make([]byte, 1000)
	rand.NewChaCha8([32]byte{}).Read(random)
	for _, c := range []struct {
		name, body string
		header     string
		err        error
		status     int
		code       string
	}{
		{"too large", strings.Repeat(" ", 10<<20+1), "X: y", nil, 413, "too_large"},
		{"empty", " \n", "X: y", nil, 400, "invalid"},
		{"wrong type", "[]", "Content-Type: text/csv", nil, 415, "media_type"},
		{"unknown encoding", "[]", "Content-Encoding: br", nil, 415, "encoding"},
		{"two encodings", "[]", "Content-Encoding: gzip, gzip", nil, 415, "encoding"},
		{"not gzip", "[]", "Content-Encoding: gzip", nil, 400, "encoding"},
		{"not zstd", "[]", "Content-Encoding: zstd", nil, 400, "encoding"},
		{"gzip cut off", gzipped(t, random)[:500], "Content-Encoding: gzip", nil, 400, "encoding"},
		{"zstd cut off", zstded(t, random)[:500], "Content-Encoding: zstd", nil, 400, "encoding"},
		{"gzip of one byte too many", gzipped(t, make([]byte, 10<<20+1)), "Content-Encoding: gzip", nil, 413, "too_large"},
		{"zstd of one byte too many", zstded(t, make([]byte, 10<<20+1)), "Content-Encoding: zstd", nil, 413, "too_large"},
		{"zstd with a window of 64 MiB", zstded(t, make([]byte, 65<<20), zstd.WithWindowSize(64<<20)), "Content-Encoding: zstd", nil, 413, "too_large"},
		{"not well-formed", "[", "X: y", &event.FieldError{Field: "request", Message: "is not JSON"}, 400, "invalid"},
		{"wrong", "[]", "X: y", &event.FieldError{Field: "site", Message: "is unknown"}, 422, "invalid"},
		{"full", "[]", "X: y", event.ErrFull, 503, "buffer_full"},
		{"disk full", "[]", "X: y", event.ErrDiskFull, 503, "disk_full"},
		{"too many", "[]", "X: y", &event.LimitError{RetryAfter: time.Second}, 429, "rate_limited"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.err = c.err
			want(t, r.do("POST", "/api/events", c.body, "X-Nothing: x", c.header), c.status, c.code)
		})
	}
	r := newRig(t)
	want(t, r.do("POST", "/api/events", "[]", "Content-Encoding: gzip", "Content-Encoding: gzip"), 415, "encoding")
	want(t, r.do("POST", "/api/events", "[]", "Authorization: Bearer "+bootstrap), 401, "no_key") // the header twice
	want(t, r.do("POST", "/api/events", "[]", "X-Api-Key: "+bootstrap), 401, "no_key")            // both headers
	want(t, r.do("POST", "/api/events", "[]", "-", "Authorization: Basic "+bootstrap), 401, "no_key")
}

// TestBombs sends a thousandfold bombs and looks at what they cost. It does not
// run beside other tests: they allocate too.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	for name, body := range map[string]string{"gzip": gzipped(t, zeros), "zstd": zstded(t, zeros)} {
		if ratio := len(zeros) / len(body); ratio < 900 {
			t.Fatalf("%s: %d:1 is no bomb", name, ratio)
		}
		r := newRig(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		want(t, r.do("POST", "/api/events", body, "Content-Encoding: "+name), 413, "too_large")
		runtime.ReadMemStats(&after)
		// The fake reads the ten megabytes there may be into memory, growing.
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 100<<20 {
			t.Errorf("%s: cost %d MiB", name, cost>>20)
		}
		t.Logf("%s: %v, %d KiB", name, time.Since(start), (after.TotalAlloc-before.TotalAlloc)>>10)
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("POST", "/api/import?site_id=example.com&format=combined", gzipped(t, []byte("line\nline\n")), "Content-Encoding: gzip")
	want(t, w, 200, "")
	if r.body != "line\nline\n" || r.site != "example.com" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("imported %q to %s, answered %v", r.body, r.site, w.Header())
	}
	got := into[struct {
		Report struct {
			Lines, Imported int64
			Skipped         map[string]int64
			From            string
		}
	}](t, w).Report
	if got.Lines != 2 || got.Imported != 1 || got.Skipped["status"] != 1 || got.From != "2026-07-15T12:30:00Z" {
		t.Errorf("report is %+v", got)
	}
	want(t, r.do("POST", "/api/import", ""), 400, "parameter")
	want(t, r.do("POST", "/api/import?site_id=a&site_id=b", ""), 400, "parameter")
	r.err = event.ErrStopped
	want(t, r.do("POST", "/api/import?site_id=example.com", ""), 503, "stopped")
	r.err = nil
	key := r.key(t, "example.com", 0, "ingest")
	all := r.key(t, "", 0, "ingest")
	r = rigOf(t, r.fake)
	want(t, r.do("POST", "/api/import?site_id=example.com", "", "-", "X-Api-Key: "+key), 200, "")
	want(t, r.do("POST", "/api/import?site_id=other.com", "", "-", "X-Api-Key: "+key), 403, "site_of_the_key")
	want(t, r.do("POST", "/api/import?site_id=example.com", "", "-", "X-Api-Key: "+all), 403, "scope")
}

// TestImportAnswersLast imports a log over a real connection. However long that takes, no
// answer begins before the log has been read to its end: behind nginx the rest would
// not come.
func TestImportAnswersLast(t *testing.T) {
	t.Parallel()
	clock := now
	r := newRig(t, func(o *server.Options) {
		o.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
	})
	reading := make(chan struct{})
	r.imported = func(body io.Reader) error {
		defer close(reading)
		_, err := io.ReadFull(body, make([]byte, 5))
		return err
	}
	url, _ := r.listen(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/import?site_id=example.com HTTP/1.1\r\nHost: example.com\r\nAuthorization: Bearer %s\r\nContent-Length: 10\r\n\r\nline\n", bootstrap)
	<-reading
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an answer begins while the log is read: %d bytes, %v", n, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	_, _ = io.WriteString(conn, "line\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Report struct{ Lines int64 } }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 || answer.Report.Lines != 2 {
		t.Errorf("%s: %+v, %v; want a report of 2 lines", resp.Status, answer, err)
	}
}

// TestImportTakesItsTime imports a log that takes longer when it has been read than it may
// stand still before: the client has not gone.
func TestImportTakesItsTime(t *testing.T) {
	t.Parallel()
	const pause = 50 * time.Millisecond
	r := newRig(t, func(o *server.Options) { o.BodyTimeout = pause })
	r.imported = func(body io.Reader) error {
		for range 2 { // as who reads lines does
			if _, err := io.ReadAll(body); err != nil {
				return err
			}
		}
		time.Sleep(4 * pause)
		return nil
	}
	url, _ := r.listen(t)
	req, _ := http.NewRequest("POST", url+"/api/import?site_id=example.com", strings.NewReader("line\nline\n"))
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
		t.Errorf("%s, %v: %s", resp.Status, err, text)
	}
}

// BenchmarkPostEvent compares the way of an event through the server, up to
// ingest, with a handler that only reads the body.
func BenchmarkPostEvent(b *testing.B) {
	r := newRig(b, func(o *server.Options) { o.Log = slog.New(slog.DiscardHandler) })
	r.result = event.Result{Accepted: 1}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	for name, h := range map[string]http.Handler{"server": r.srv.Handler(), "echo": echo} {
		b.Run(name, func(b *testing.B) {
			body := strings.NewReader(`{"n":"pageview","u":"https://example.com/","d":"example.com"}`)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = body.Seek(0, io.SeekStart)
				req := httptest.NewRequest("POST", "/api/event", body)
				req.Header.Set("Content-Type", "text/plain")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				if w.Code != http.StatusAccepted {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
