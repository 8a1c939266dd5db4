package main_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A flaw is what is done to an answer of the server on its way to the browser.
type flaw struct {
	path   string // of the answers it is done to
	change func(head http.Header, body string) string
	want   string // what the driver has to say of it
	status int    // of the answer; 0 leaves it
}

func appending(code string) func(http.Header, string) string {
	return func(_ http.Header, body string) string { return body + "\n" + code }
}

const strange = `document.body.append(Object.assign(new Image(), { src: 'http://other.example/pixel.png', alt: '' }))`

var visitorsCount = regexp.MustCompile(`"visitors":\d+`)

// flaws are one of each kind that the driver looks for.
var flaws = map[string]flaw{
	"none":         {want: `^\d+ checks, 0 wrong`},
	"a figure":     {path: "/api/stats/main", change: func(_ http.Header, b string) string { return visitorsCount.ReplaceAllString(b, `"visitors":7`) }, want: `^visitors: got "7", want "[\d,]+"`},
	"the console":  {path: "/dashboard/main.js", change: appending(`console.error('a complaint')`), want: `^console on .*: a complaint`},
	"an exception": {path: "/dashboard/main.js", change: appending(`setTimeout(() => { throw new Error('thrown') })`), want: `^error on .*thrown`},
	"the policy":   {path: "/dashboard/main.js", change: appending(strange), want: `policy violated: img-src http://other\.example`},
	"another host": {path: "/", change: func(h http.Header, b string) string {
		h.Del("Content-Security-Policy")
		return strings.Replace(b, "</body>", `<img src="http://other.example/pixel.png" alt=""></body>`, 1)
	}, want: `^a request to another host: http://other\.example/pixel\.png`},
	"an answer":   {path: "/api/annotations", status: http.StatusInternalServerError, want: `^500 for .*/api/annotations`},
	"a barrier":   {path: "/dashboard/main.js", change: appending(`document.body.append(document.createElement('button'))`), want: `^axe on glance: got \["button-name`},
	"a wide page": {path: "/dashboard/dashboard.css", change: appending(`body { min-width: 3000px }`), want: `^glance is wider than its window`},
}

// TestDashboardFlaws is the control: one deliberate flaw in what the browser gets, and
// the driver has to name it. Without one it has nothing to say.
func TestDashboardFlaws(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal, "EIDER_AUTO_SITES=true", "EIDER_ADMIN_PASSWORD="+adminPassword).start()
	shop(d)
	for name, f := range flaws { // one browser at a time
		between := httptest.NewServer(f.proxy(t, d.url))
		report, err := drive(t, "glance", map[string]any{"base": between.URL, "api": d.url})
		between.Close()
		if (err == nil) != (name == "none") {
			t.Errorf("%s: the driver says %v", name, err)
		}
		if want := regexp.MustCompile("(?m)" + f.want); !want.MatchString(report) {
			t.Errorf("%s: want %s, the driver says\n%s", name, f.want, report)
		}
	}
}

// proxy stands between the browser and the server.
func (f *flaw) proxy(t *testing.T, server string) http.Handler {
	t.Helper()
	at, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // a page that goes away leaves its questions
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(at)
			r.Out.Header.Del("Accept-Encoding")
			r.Out.Header.Del("If-None-Match")
		},
		ModifyResponse: func(res *http.Response) error {
			if res.Request.URL.Path != f.path {
				return nil
			}
			if f.status != 0 {
				res.StatusCode = f.status
			}
			if f.change == nil {
				return nil
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			changed := []byte(f.change(res.Header, string(body)))
			res.Header.Set("Content-Length", strconv.Itoa(len(changed)))
			res.Body = io.NopCloser(bytes.NewReader(changed))
			return nil
		},
	}
}
