package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	const (
		fly   = "fly"
		cf    = "cloudflare"
		cfTun = "cloudflare 127.0.0.1"
		xff   = "X-Forwarded-For 10.0.0.0/8 2001:db8:f::/48"
		fwd   = "Forwarded 10.0.0.0/8"
		real  = "X-Real-IP 10.1.2.3"
	)
	for _, c := range []struct {
		name, proxy, peer string
		header            []string // name, value, name, value …
		want              string
	}{
		{"no proxy", "", "203.0.113.9:1", nil, "203.0.113.9"},
		{"none", "none", "203.0.113.9:1", []string{"X-Forwarded-For", "1.2.3.4"}, "203.0.113.9"},
		{"no proxy, every header forged", "", "203.0.113.9:1", []string{"X-Forwarded-For", "1.2.3.4", "Fly-Client-IP", "1.2.3.4", "CF-Connecting-IP", "1.2.3.4", "Forwarded", "for=1.2.3.4", "X-Plausible-IP", "1.2.3.4"}, "203.0.113.9"},
		{"IPv4 in IPv6", "", "[::ffff:203.0.113.9]:1", nil, "203.0.113.9"},
		{"zone", "", "[fe80::1%eth0]:1", nil, "fe80::1"},
		{"Unix socket", "", "@", nil, "invalid IP"},

		{"fly", fly, "172.16.4.2:1", []string{"Fly-Client-IP", "198.51.100.7"}, "198.51.100.7"},
		{"fly over IPv6", fly, "172.16.4.2:1", []string{"Fly-Client-IP", "2001:db8::7"}, "2001:db8::7"},
		{"fly with a forged list", fly, "172.16.4.2:1", []string{"Fly-Client-IP", "198.51.100.7", "X-Forwarded-For", "1.2.3.4"}, "198.51.100.7"},
		{"fly header twice", fly, "172.16.4.2:1", []string{"Fly-Client-IP", "1.2.3.4", "Fly-Client-IP", "198.51.100.7"}, "172.16.4.2"},
		{"fly header is no address", fly, "172.16.4.2:1", []string{"Fly-Client-IP", "1.2.3.4, 5.6.7.8"}, "172.16.4.2"},
		{"fly header missing", fly, "172.16.4.2:1", nil, "172.16.4.2"},
		{"fly neighbour on the private network", fly, "[fdaa:0:1::3]:1", []string{"Fly-Client-IP", "1.2.3.4"}, "fdaa:0:1::3"},
		{"fly from outside", fly, "203.0.113.9:1", []string{"Fly-Client-IP", "1.2.3.4"}, "203.0.113.9"},
		{"fly peer as IPv4 in IPv6", fly, "[::ffff:172.16.4.2]:1", []string{"Fly-Client-IP", "198.51.100.7"}, "198.51.100.7"},

		{"cloudflare", cf, "104.16.0.1:1", []string{"CF-Connecting-IP", "198.51.100.7"}, "198.51.100.7"},
		{"cloudflare over IPv6", cf, "[2606:4700::1]:1", []string{"CF-Connecting-IP", "198.51.100.7"}, "198.51.100.7"},
		{"cloudflare from elsewhere", cf, "203.0.113.9:1", []string{"CF-Connecting-IP", "1.2.3.4"}, "203.0.113.9"},
		{"cloudflare from loopback unasked", cf, "127.0.0.1:1", []string{"CF-Connecting-IP", "1.2.3.4"}, "127.0.0.1"},
		{"cloudflare tunnel", cfTun, "127.0.0.1:1", []string{"CF-Connecting-IP", "198.51.100.7"}, "198.51.100.7"},

		{"list of one", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"list with a forged head", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4, 198.51.100.7"}, "198.51.100.7"},
		{"two trusted hops", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"trusted hop over IPv6", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.7,2001:db8:f::2"}, "198.51.100.7"},
		{"all trusted", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "10.0.0.9, 10.0.0.2"}, "10.0.0.9"},
		{"a forged list before the proxy's own line", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"untrusted peer with a list", xff, "203.0.113.9:1", []string{"X-Forwarded-For", "1.2.3.4"}, "203.0.113.9"},
		{"rubbish at the right", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4, unknown"}, "10.0.0.1"},
		{"rubbish at the left", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "<script>, 198.51.100.7"}, "198.51.100.7"},
		{"with ports", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.7:4711, 10.0.0.2:80"}, "198.51.100.7"},
		{"brackets and port", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::7]:4711"}, "2001:db8::7"},
		{"brackets", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::7]"}, "2001:db8::7"},
		{"hop as IPv4 in IPv6 is still trusted", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.7, ::ffff:10.0.0.2"}, "198.51.100.7"},
		{"empty list", xff, "10.0.0.1:1", []string{"X-Forwarded-For", ""}, "10.0.0.1"},
		{"trailing comma", xff, "10.0.0.1:1", []string{"X-Forwarded-For", "1.2.3.4,"}, "10.0.0.1"},
		{"other header than the configured one", xff, "10.0.0.1:1", []string{"X-Real-IP", "1.2.3.4"}, "10.0.0.1"},

		{"forwarded", fwd, "10.0.0.1:1", []string{"Forwarded", `for=198.51.100.7;proto=https`}, "198.51.100.7"},
		{"forwarded, quoted IPv6 with port", fwd, "10.0.0.1:1", []string{"Forwarded", `proto=https; For="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"forwarded through two", fwd, "10.0.0.1:1", []string{"Forwarded", `for=1.2.3.4, for=198.51.100.7, for=10.0.0.2`}, "198.51.100.7"},
		{"forwarded, hidden", fwd, "10.0.0.1:1", []string{"Forwarded", `for=1.2.3.4, for=_hidden`}, "10.0.0.1"},
		{"forwarded, quote left open by the client", fwd, "10.0.0.1:1", []string{"Forwarded", `for="1.2.3.4, for=198.51.100.7`}, "198.51.100.7"},
		{"forwarded, comma in quotes", fwd, "10.0.0.1:1", []string{"Forwarded", `for=198.51.100.7;by="a,for=1.2.3.4"`}, "198.51.100.7"},
		{"forwarded, for twice", fwd, "10.0.0.1:1", []string{"Forwarded", `for=1.2.3.4;for=198.51.100.7`}, "10.0.0.1"},

		{"single header", real, "10.1.2.3:1", []string{"X-Real-IP", "198.51.100.7"}, "198.51.100.7"},
		{"single header is a list", real, "10.1.2.3:1", []string{"X-Real-IP", "1.2.3.4, 198.51.100.7"}, "10.1.2.3"},
		{"single header from a neighbour", real, "10.1.2.4:1", []string{"X-Real-IP", "1.2.3.4"}, "10.1.2.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := server.ParseProxy(c.proxy)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Add(c.header[i], c.header[i+1])
			}
			if got := p.Client(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParseProxyRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, want string }{
		{"X-Forwarded-For", "add the proxy's range"},
		{"X-Forwarded-For 10.0.0.0/33", "neither a range nor an address"},
		{"X-Forwarded-For 0.0.0.0/0", "forge"},
		{"X-Forwarded-For ::ffff:0.0.0.0/96", "forge"},
		{"X-Forwarded-For 10.0.0.0/8 ::/0", "forge"},
		{"X:Forwarded 10.0.0.0/8", "not the name of a header"},
		{"fly 10.0.0.0/8", "takes no ranges"},
		{"cloudflare everywhere", "neither"},
	} {
		if _, err := server.ParseProxy(c.setting); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.setting, err, c.want)
		}
	}
}

// FuzzForgedHeaders checks that what a client puts in front of what a trusted
// proxy appends never changes who the client is, and that a peer who is not
// trusted is always the client itself.
func FuzzForgedHeaders(f *testing.F) {
	f.Add("1.2.3.4", "1.2.3.4")
	f.Add(`for="1.2.3.4`, `", for=1.2.3.4`)
	f.Add("10.0.0.1,10.0.0.2", "\\\"")
	list, _ := server.ParseProxy("X-Forwarded-For 10.0.0.0/8")
	fwd, _ := server.ParseProxy("Forwarded 10.0.0.0/8")
	want := netip.MustParseAddr("198.51.100.7")
	f.Fuzz(func(t *testing.T, line, head string) {
		for _, c := range []struct {
			p            *server.Proxy
			name, append string
		}{{list, "X-Forwarded-For", "198.51.100.7"}, {fwd, "Forwarded", "for=198.51.100.7"}} {
			r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{c.name: {line, head + ", " + c.append}}}
			if got := c.p.Client(r); got != want {
				t.Fatalf("%s %q: got %s, want %s", c.name, r.Header[c.name], got, want)
			}
			r.RemoteAddr = "203.0.113.9:1"
			if got := c.p.Client(r); got.String() != "203.0.113.9" {
				t.Fatalf("untrusted peer became %s", got)
			}
		}
	})
}

// FuzzParseHop checks that whatever is taken for an address is a plain one.
func FuzzParseHop(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "1.2.3.4:80", "[::1]:80", "[::1%lo]", "::ffff:1.2.3.4", "[", "]", "[]", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr, ok := server.ParseHop(s)
		if !ok {
			return
		}
		again, ok := server.ParseHop(addr.String())
		if !ok || again != addr || addr.Zone() != "" || addr.Is4In6() {
			t.Fatalf("%q is %v, again %v", s, addr, again)
		}
	})
}
