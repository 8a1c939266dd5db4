package enrich_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/eider-analytics/eider/ingest/enrich"
)

func TestParsePage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw                string
		hash               bool
		scheme, host, path string
		err                error
	}{
		{"https://www.Example.COM/Page?utm_source=news#h", false, "https", "example.com", "/Page", nil},
		{"https://example.com", false, "https", "example.com", "/", nil},
		{"https://example.com/", false, "https", "example.com", "/", nil},
		{"https://example.com?x=1", false, "https", "example.com", "/", nil},
		{"https://example.com/a/b///", false, "https", "example.com", "/a/b", nil},
		{"https://example.com/a%20 %2F/ ", false, "https", "example.com", "/a", nil},
		{"https://example.com:8443/x", false, "https", "example.com", "/x", nil},
		{"https://user:pass@example.com./x", false, "https", "example.com", "/x", nil},
		{"http://[2001:DB8::1]:80/x", false, "http", "[2001:db8::1]", "/x", nil},
		{"HTTPS://example.com/%C3%BCber/%E2%82%AC", false, "https", "example.com", "/über/€", nil},
		{"https://example.com/100%/%zz/%ff%41", false, "https", "example.com", "/100%/%zz/%ffA", nil}, // stays UTF-8
		{"https://example.com/a%00b%0Ac\x01d", false, "https", "example.com", "/abcd", nil},
		{"https://xn--mller-kva.example/", false, "https", "xn--mller-kva.example", "/", nil},
		{"//example.com/x", false, "", "example.com", "/x", nil},
		// Without a host.
		{"/about/", false, "", "(none)", "/about", nil},
		{"about", false, "", "(none)", "/about", nil},
		{"", false, "", "(none)", "/", nil},
		{"file:///C:/x.html", false, "file", "(none)", "/C:/x.html", nil},
		{"app://localhost/x", false, "app", "localhost", "/x", nil},
		{"capacitor:///index.html", false, "capacitor", "(none)", "/index.html", nil},
		// Routes in the fragment.
		{"https://example.com/#/route/1", true, "https", "example.com", "/#/route/1", nil},
		{"https://example.com/a/#b%20c?q=1", true, "https", "example.com", "/a#b c", nil},
		{"https://example.com/a#", true, "https", "example.com", "/a", nil},
		{"https://example.com/a#/x", false, "https", "example.com", "/a", nil},
		// Refused.
		{"data:text/html,<h1>x", false, "", "", "", enrich.ErrScheme},
		{" JavaScript:alert(1)", false, "", "", "", enrich.ErrScheme},
		{"java\x00script:alert(1)", false, "", "", "", enrich.ErrScheme},
		{"https://exa mple.com/", false, "", "", "", enrich.ErrURL},
		{"https://<script>/", false, "", "", "", enrich.ErrURL},
		{"https://example.com:http/", false, "", "", "", enrich.ErrURL},
		{"https://" + strings.Repeat("a", 300), false, "", "", "", enrich.ErrURL},
	} {
		p, err := enrich.ParsePage(c.raw, c.hash)
		if p.Scheme != c.scheme || p.Hostname != c.host || p.Path != c.path || !errors.Is(err, c.err) {
			t.Errorf("%q: got %q %q %q %v, want %q %q %q %v", c.raw, p.Scheme, p.Hostname, p.Path, err, c.scheme, c.host, c.path, c.err)
		}
	}
}

func TestParsePageQuery(t *testing.T) {
	t.Parallel()
	p, err := enrich.ParsePage("https://example.com/?utm_source=caf%C3%A9+au+lait&bad=%zz&b", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Query.Get("utm_source"), "café au lait"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if p, _ := enrich.ParsePage("https://example.com/"+strings.Repeat("ü", 2000), false); len(p.Path) != 1999 {
		t.Errorf("a path of 4001 bytes is cut to %d, want 1999, between two letters", len(p.Path))
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add("https://www.example.com:80/a%20b/?utm_source=x#/y", true)
	f.Add("data:text/html,x", false)
	f.Fuzz(func(t *testing.T, raw string, hash bool) {
		p, err := enrich.ParsePage(raw, hash)
		if err != nil {
			return
		}
		if !strings.HasPrefix(p.Path, "/") || p.Hostname == "" || len(p.Path) > 2000 || len(p.Hostname) > 253 {
			t.Errorf("%q: got %+v", raw, p)
		}
		for _, s := range []string{p.Scheme, p.Hostname, p.Path} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%q: %q is not clean", raw, s)
			}
		}
	})
}
