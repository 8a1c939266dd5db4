package server

import (
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// A Proxy says from which header, and from whom, the address of a client is
// believed. The nil Proxy and the zero Proxy believe nobody: the client is the
// TCP peer.
//
// A header that comes from anyone but a trusted peer changes nothing. Where a
// header is a list, only its right end was written by somebody we trust: it is
// read from the right, past the addresses of trusted proxies, and the first
// other one is the client. What stands left of it the client may have made up.
type Proxy struct {
	header  string         // canonical; "" means believe nobody
	list    bool           // the header is a list that each proxy appends to
	trusted []netip.Prefix // peers whose header is believed
}

// Cloudflare's ranges as published on https://www.cloudflare.com/ips/. The list
// was last changed on 28 September 2023.
var cloudflare = []string{
	"173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "141.101.64.0/18",
	"108.162.192.0/18", "190.93.240.0/20", "188.114.96.0/20", "197.234.240.0/22", "198.41.128.0/17",
	"162.158.0.0/15", "104.16.0.0/13", "104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22",
	"2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32",
	"2a06:98c0::/29", "2c0f:f248::/32",
}

// privateIPv4 are the ranges from which Fly's proxy reaches a machine. Its
// private network is IPv6, so that a neighbour, who could send any header, is
// outside of them.
var privateIPv4 = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}

// ParseProxy reads the setting EIDER_TRUSTED_PROXY: nothing or "none", "fly",
// "cloudflare" with the ranges of a tunnel if there is one, or the name of a
// header and the ranges (or addresses) of the proxies that set it.
func ParseProxy(setting string) (*Proxy, error) {
	words := strings.Fields(setting)
	if len(words) == 0 || setting == "none" {
		return &Proxy{}, nil
	}
	p := &Proxy{header: http.CanonicalHeaderKey(words[0])}
	ranges := words[1:]
	switch words[0] {
	case "fly":
		if len(ranges) > 0 {
			return nil, fmt.Errorf("trusted proxy %q: fly takes no ranges", setting)
		}
		p.header, ranges = "Fly-Client-Ip", privateIPv4
	case "cloudflare":
		p.header, ranges = "Cf-Connecting-Ip", append(ranges, cloudflare...)
	default:
		if !isToken(words[0]) {
			return nil, fmt.Errorf("trusted proxy %q: %q is not the name of a header", setting, words[0])
		}
		p.list = p.header == "X-Forwarded-For" || p.header == "Forwarded"
	}
	if len(ranges) == 0 {
		return nil, fmt.Errorf("trusted proxy %q: add the proxy's range, for example 10.0.0.0/8", setting)
	}
	for _, word := range ranges {
		prefix, err := parseRange(word)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q: %w", setting, err)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

// parseRange reads a CIDR range or an address. A range of everyone is refused:
// whoever asks for it has not understood that a header can be forged.
func parseRange(word string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(word)
	if err != nil {
		addr, addrErr := netip.ParseAddr(word)
		if addrErr != nil {
			return netip.Prefix{}, fmt.Errorf("%q is neither a range nor an address", word)
		}
		addr = plain(addr)
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if prefix.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("%q would let everyone forge an address", word)
	}
	return prefix.Masked(), nil
}

// Client returns the address of the one who made the request, without zone and
// port, IPv4 as IPv4; the zero Addr if the peer has none (a Unix socket).
func (p *Proxy) Client(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !p.trusts(peer) {
		return peer
	}
	values := r.Header[p.header]
	if !p.list {
		if len(values) != 1 {
			return peer // the proxy sets it once: more than one was forged
		}
		if addr, ok := parseHop(values[0]); ok {
			return addr
		}
		return peer
	}
	client := peer
	for hop := range hops(values) {
		if p.header == "Forwarded" {
			hop = forwardedFor(hop)
		}
		addr, ok := parseHop(hop)
		if !ok {
			break // a trusted proxy does not say who: the proxy is all we know
		}
		client = addr
		if !p.trusts(addr) {
			break
		}
	}
	return client
}

// Direct says whether the request came straight from this machine: from a
// loopback peer that is no proxy of ours, without a trace of any other proxy,
// and for a loopback name, which a page that has rebound its own name to
// 127.0.0.1 does not use. An nginx that was told nothing but proxy_pass leaves no
// trace and uses our name, but speaks HTTP/1.0.
func (p *Proxy) Direct(r *http.Request) bool {
	peer := peerOf(r)
	if !peer.IsLoopback() || p.trusts(peer) || !r.ProtoAtLeast(1, 1) {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via", "Fly-Client-Ip", "Cf-Connecting-Ip", "True-Client-Ip"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, ok := parseHop(host)
	return ok && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}

func (p *Proxy) trusts(addr netip.Addr) bool {
	if p == nil || !addr.IsValid() {
		return false
	}
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func peerOf(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return plain(ap.Addr())
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// hops yields the elements of a list header from the right. Quotes are counted
// from the right too: the right end is a trusted proxy's and therefore whole,
// while a quote that a client left open must not swallow what follows it.
func hops(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := len(values) - 1; i >= 0; i-- {
			rest, quoted := values[i], false
			for at := len(rest) - 1; at >= 0; at-- {
				switch {
				case rest[at] == '"':
					quoted = !quoted
				case rest[at] == ',' && !quoted:
					if !yield(rest[at+1:]) {
						return
					}
					rest = rest[:at]
				}
			}
			if !yield(rest) {
				return
			}
		}
	}
}

// forwardedFor returns the node of the one for parameter in an element of the
// header Forwarded (RFC 7239), or "".
func forwardedFor(element string) string {
	node, found := "", false
	for pair := range strings.SplitSeq(element, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || !strings.EqualFold(name, "for") {
			continue
		}
		if found {
			return ""
		}
		node, found = strings.Trim(value, `"`), true
	}
	return node
}

// parseHop reads an address as proxies write it: bare, in brackets, or with a
// port.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(s)
	return plain(addr), err == nil
}

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
