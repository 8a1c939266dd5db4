package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// rules makes rules for example.com known to ingest.
func (r *rig) rules(rules ledger.Rules) {
	r.t.Helper()
	_, err := r.ledger.ChangeSettings(r.t.Context(), "example.com", func(s *ledger.SiteSettings) error { s.Rules = rules; return nil })
	if err == nil {
		err = r.ReloadSites(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestShield sends events to a site with every kind of rule, to one without, and to
// both at once.
func TestShield(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, domain := range []string{"example.com", "other.example"} {
		if err := r.ledger.AddSite(t.Context(), ledger.Site{Domain: domain, Timezone: "UTC"}); err != nil {
			t.Fatal(err)
		}
	}
	r.rules(ledger.Rules{
		Paths:     []string{"/admin/**", "/preview", "/*/draft"},
		Addresses: []string{"192.0.2.7", "198.51.100.0/24", "2001:db8:1::/48"},
		Countries: []string{"DE"},
		Hostnames: []string{"example.com", "*.shop.example"},
	})
	const near = "192.0.2.1" // of no country
	for _, c := range []struct {
		url, domain, addr string
		reasons           string
	}{
		{"https://www.example.com/", "example.com", near, ""},
		{"https://a.shop.example/x", "example.com", near, ""},
		{"https://shop.example/x", "example.com", near, "hostname_not_allowed"},
		{"https://example.com.evil.example/", "example.com", near, "hostname_not_allowed"},
		{"/x", "example.com", near, "hostname_not_allowed"}, // names none
		{"https://example.com/admin/users?q=1", "example.com", near, "excluded_path"},
		{"https://example.com/admin", "example.com", near, ""},
		{"https://example.com/preview/", "example.com", near, "excluded_path"},
		{"https://example.com/preview2", "example.com", near, ""},
		{"https://example.com/post/draft", "example.com", near, "excluded_path"},
		{"https://example.com/post/1/draft", "example.com", near, ""},
		{"https://example.com/%70review", "example.com", near, "excluded_path"},
		{"https://example.com/", "example.com", "192.0.2.7", "excluded_address"},
		{"https://example.com/", "example.com", "192.0.2.70", ""},
		{"https://example.com/", "example.com", "198.51.100.255", "excluded_address"},
		{"https://example.com/", "example.com", "198.51.101.0", ""},
		{"https://example.com/", "example.com", "2001:db8:1:ff::1", "excluded_address"},
		{"https://example.com/", "example.com", "2001:db8:2::1", ""},
		{"https://example.com/", "example.com", "79.192.0.1", "excluded_country"},
		{"https://example.com/", "example.com", "8.8.8.8", ""},
		{"https://example.com/preview", "other.example", "192.0.2.7", ""},
		{"https://example.com/preview", "example.com,other.example", near, "excluded_path"},
		{"https://example.com/", "example.com,other.example,example.com", "192.0.2.7", "excluded_address excluded_address"},
	} {
		res := r.send(fmt.Sprintf(`{"n":"pageview","u":%q,"d":%q}`, c.url, c.domain), client(c.addr))
		var got []string
		for _, x := range res.Rejected {
			got = append(got, x.Code)
			if !x.Dropped() || x.Message == "" || strings.Contains(x.Message, c.addr) {
				t.Errorf("%+v: a tracker is told %+v", c, x)
			}
		}
		if sent := 1 + strings.Count(c.domain, ","); strings.Join(got, " ") != c.reasons || res.Accepted+len(res.Rejected) != sent {
			t.Errorf("%+v: %+v, want %q rejected", c, res, c.reasons)
		}
	}
	want := map[string]uint64{event.RejectHost: 3, event.RejectPath: 5, event.RejectAddr: 5, event.RejectCountry: 1}
	for code, n := range want {
		if got := r.Counts().Rejected[code]; got != n {
			t.Errorf("%s is counted %d times, want %d", code, got, n)
		}
	}
}

// TestShieldOfBatches: in a batch the address is the visitor's, not the sender's,
// and an event of no page is held to no host. Taking the rules back lets all in.
func TestShieldOfBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if err := r.ledger.AddSite(t.Context(), ledger.Site{Domain: "example.com", Timezone: "UTC"}); err != nil {
		t.Fatal(err)
	}
	r.rules(ledger.Rules{Hostnames: []string{"shop.example"}, Addresses: []string{"192.0.2.0/24"}})
	const body = `{"n":"Signup","d":"example.com"}
{"n":"Signup","d":"example.com","ip":"192.0.2.1"}
{"n":"Signup","d":"example.com","ip":"203.0.113.1"}
{"n":"Signup","d":"example.com","url":"https://example.com/","id":"1"}
{"n":"Signup","d":"example.com","url":"https://shop.example/","id":"2"}
{"n":"Signup","d":"example.com","url":"https://shop.example/","id":"2"}
`
	send := func() event.Result {
		t.Helper()
		res, err := r.Batch(t.Context(), strings.NewReader(body), true, client("192.0.2.9"), "")
		if err != nil {
			t.Fatal(err)
		}
		if n := res.Accepted + res.Duplicates + len(res.Rejected); n != 6 {
			t.Errorf("%+v: %d events answered for, want 6", res, n)
		}
		return res
	}
	res := send()
	var got []string
	for _, x := range res.Rejected {
		got = append(got, fmt.Sprint(x.Index, " ", x.Code))
	}
	if want := []string{"1 excluded_address", "3 hostname_not_allowed"}; !slices.Equal(got, want) || res.Accepted != 3 || res.Duplicates != 1 {
		t.Errorf("%+v, want %v rejected", res, want)
	}
	r.reopen() // the rules are the ledger's
	if res := send(); len(res.Rejected) != 2 {
		t.Errorf("after a restart %+v, want two rejected", res)
	}
	r.rules(ledger.Rules{})
	if res := send(); len(res.Rejected) != 0 {
		t.Errorf("without rules %+v, want none rejected", res)
	}
}

// TestShieldOfImports: the rules hold for a log that is read later too.
func TestShieldOfImports(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if err := r.ledger.AddSite(t.Context(), ledger.Site{Domain: "example.com", Timezone: "UTC"}); err != nil {
		t.Fatal(err)
	}
	r.rules(ledger.Rules{Paths: []string{"/admin/**"}})
	const log = `203.0.113.1 - - [01/Mar/2026:10:00:00 +0000] "GET /admin/x HTTP/1.1" 200 5 "-" "` + firefox + `"
203.0.113.1 - - [01/Mar/2026:10:00:01 +0000] "GET /x HTTP/1.1" 200 5 "-" "` + firefox + `"
`
	report, err := r.Import(t.Context(), "example.com", "combined", strings.NewReader(log))
	if err != nil || report.Lines != 2 || report.Imported != 1 || report.Skipped[event.RejectPath] != 1 {
		t.Errorf("%+v, %v; want one imported and one skipped by its path", report, err)
	}
}

// matches is what * and ** mean, in the plainest words.
func matches(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case strings.HasPrefix(pattern, "**"):
		return matches(pattern[2:], text) || text != "" && matches(pattern, text[1:])
	case pattern[0] == '*':
		return matches(pattern[1:], text) || text != "" && text[0] != '/' && matches(pattern, text[1:])
	}
	return text != "" && pattern[0] == text[0] && matches(pattern[1:], text[1:])
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(alphabet string, most int) string {
		b := make([]byte, random.IntN(most))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	hits := 0
	for range 20_000 {
		list := []string{pick("/a.**", 7), pick("/a+**", 5)}
		text := pick("/aa.\n", 7)
		want := matches(list[0], text) || matches(list[1], text)
		if got := ingest.MatchPatterns(list, text); got != want {
			t.Fatalf("%q and %q: %t, want %t", list, text, got, want)
		}
		if want {
			hits++
		}
	}
	if hits < 1000 {
		t.Errorf("only %d of the texts match", hits)
	}
}

// TestShieldAllocations: an event costs the rules no memory, whatever they say of
// it. A long path of a stranger's costs little time with the worst of patterns.
func TestShieldAllocations(t *testing.T) {
	rules := ledger.Rules{Paths: []string{"/x", "/admin/**", "/*/a"}, Hostnames: []string{"example.com", "*.example.com"}, Countries: []string{"DE"}}
	for i := range 250 {
		rules.Addresses = append(rules.Addresses, fmt.Sprintf("10.0.%d.0/24", i), fmt.Sprintf("2001:db8::%x", i))
	}
	check, err := ingest.CheckRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{Hostname: "a.example.com", Path: "/b/c", Country: "FR"}
	addr, bad := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("10.0.249.77")
	if check(e, addr) != nil || check(e, bad) == nil {
		t.Fatal("the rules say the wrong thing")
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = check(e, addr), check(e, bad) }); n > 0 {
		t.Errorf("%v allocations for an event, want none", n)
	}
	worst, err := ingest.CheckRules(ledger.Rules{Paths: []string{"/" + strings.Repeat("**a*", 60) + "b"}})
	if err != nil {
		t.Fatal(err)
	}
	e.Path = "/" + strings.Repeat("a", 1999)
	start := time.Now()
	if err := worst(e, addr); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the worst pattern took %v", took)
	}
}

// BenchmarkShield holds an event against the rules of a usual site, and against as
// many as there can be. A site without rules costs one comparison with nil.
func BenchmarkShield(b *testing.B) {
	some := ledger.Rules{Paths: []string{"/admin/**", "/preview"}, Addresses: []string{"192.0.2.1"}, Hostnames: []string{"example.com", "*.example.com"}}
	most := ledger.Rules{Countries: []string{"DE"}, Hostnames: []string{"*.example.com"}}
	for i := range 500 {
		most.Addresses = append(most.Addresses, fmt.Sprintf("10.%d.%d.0/%d", i/250, i%250, 24+i%8))
	}
	for i := range 100 {
		most.Paths = append(most.Paths, fmt.Sprintf("/section-%d/*/draft", i))
	}
	e := &event.Event{Hostname: "www.example.com", Path: "/docs/section-7/page-number-42", Country: "FR"}
	addr := netip.MustParseAddr("203.0.113.1")
	for _, c := range []struct {
		name  string
		rules ledger.Rules
	}{{"some", some}, {"most", most}} {
		check, err := ingest.CheckRules(c.rules)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := check(e, addr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
