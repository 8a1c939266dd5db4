package ingest_test

import (
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	const prefix = `192.0.2.7 - - [17/May/2015:10:05:03 +0200] `
	for _, c := range []struct{ name, line, event, skip, target string }{
		{"page", prefix + `"GET /a/b?q=1 HTTP/1.1" 200 123 "-" "UA"`, "pageview", "", "/a/b?q=1"},
		{"not modified", prefix + `"GET / HTTP/1.1" 304 - "https://a.example/" "UA"`, "pageview", "", "/"},
		{"html", prefix + `"GET /x.HTML HTTP/1.1" 200 1 "-" "UA"`, "pageview", "", "/x.HTML"},
		{"version in the path", prefix + `"GET /blog/go-1.26 HTTP/1.1" 200 1 "-" "UA"`, "pageview", "", "/blog/go-1.26"},
		{"document", prefix + `"GET /paper.pdf HTTP/1.1" 200 1 "-" "UA"`, "File Download", "", "/paper.pdf"},
		{"archive", prefix + `"GET /src.tar.gz?x=.png HTTP/1.1" 200 1 "-" "UA"`, "File Download", "", "/src.tar.gz?x=.png"},
		{"image", prefix + `"GET /a.png HTTP/1.1" 200 1 "-" "UA"`, "", "asset", "/a.png"},
		{"robots", prefix + `"GET /robots.txt HTTP/1.1" 200 1 "-" "UA"`, "", "asset", "/robots.txt"},
		{"well-known", prefix + `"GET /.well-known/x HTTP/1.1" 200 1 "-" "UA"`, "", "asset", "/.well-known/x"},
		{"missing", prefix + `"GET /a HTTP/1.1" 404 1 "-" "UA"`, "", "status", "/a"},
		{"part of a file", prefix + `"GET /a.pdf HTTP/1.1" 206 1 "-" "UA"`, "", "status", "/a.pdf"},
		{"post", prefix + `"POST /a HTTP/1.1" 200 1 "-" "UA"`, "", "method", "/a"},
		{"head", prefix + `"HEAD / HTTP/1.1" 200 1 "-" "UA"`, "", "method", "/"},
		{"TLS on a plain port", prefix + `"\x16\x03" 400 1 "-" "-"`, "", "method", ""},
		{"escaped quote", prefix + `"GET /a HTTP/1.1" 200 1 "-" "U\"A\\"`, "pageview", "", "/a"},
		{"more fields", prefix + `"GET /a HTTP/1.1" 200 1 "-" "UA" "0.1" extra`, "pageview", "", "/a"},
		{"user with spaces", `192.0.2.7 - John Doe [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 1 "-" "UA"`, "pageview", "", "/a"},
		{"IPv6", `2001:db8::1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 1 "-" "UA"`, "pageview", "", "/a"},
		{"cut in the agent", prefix + `"GET /a HTTP/1.1" 200 1 "-" "UA`, "", "damaged", ""},
		{"cut in the request", prefix + `"GET /a HT`, "", "damaged", ""},
		{"cut in the time", `192.0.2.7 - - [17/May/2015:10:0`, "", "damaged", ""},
		{"impossible day", `192.0.2.7 - - [31/Feb/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 1 "-" "UA"`, "", "damaged", ""},
		{"no address", `web1 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 1 "-" "UA"`, "", "damaged", ""},
		{"no size", prefix + `"GET /a HTTP/1.1" 200 x "-" "UA"`, "", "damaged", ""},
		{"nothing", ``, "", "damaged", ""},
	} {
		name, skip, target, at := ingest.Classify(c.line, true)
		if name != c.event || skip != c.skip || target != c.target {
			t.Errorf("%s: %q, %q, %q; want %q, %q, %q", c.name, name, skip, target, c.event, c.skip, c.target)
		}
		if want := time.Date(2015, 5, 17, 8, 5, 3, 0, time.UTC); skip != "damaged" && !at.Equal(want) {
			t.Errorf("%s: at %v, want %v", c.name, at, want)
		}
	}
	if name, skip, _, _ := ingest.Classify(prefix+`"GET /a HTTP/1.1" 200 1`, false); name != "pageview" {
		t.Errorf("common format: %q, %q; want a pageview", name, skip)
	}
	if _, skip, _, _ := ingest.Classify(prefix+`"GET /a HTTP/1.1" 200 1`, true); skip != "damaged" {
		t.Errorf("common format taken for combined: %q, want damaged", skip)
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add(`192.0.2.7 - - [17/May/2015:10:05:03 +0200] "GET /a\x41\" HTTP/1.1" 200 1 "-" "U\\A"`)
	f.Fuzz(func(t *testing.T, line string) {
		for _, combined := range []bool{false, true} {
			if name, skip, _, _ := ingest.Classify(line, combined); (name == "") == (skip == "") {
				t.Fatalf("%q, %q: a line is an event or skipped", name, skip)
			}
		}
	})
}
