package ingest

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A shield is the rules of a site by which events are left out, in a form that is
// quick to hold an event against. A site without rules has none: nil.
type shield struct {
	addrs     networks
	hosts     *patterns // nil: every host is counted
	paths     *patterns // nil: no path is left out
	countries []string
}

func newShield(r ledger.Rules) (*shield, error) {
	if r.Zero() {
		return nil, nil
	}
	s := &shield{hosts: newPatterns(r.Hostnames), paths: newPatterns(r.Paths), countries: r.Countries}
	return s, s.addrs.add(r.Addresses)
}

var (
	errAddr    = reject(event.RejectAddr, "the settings of the site exclude its address")
	errHost    = reject(event.RejectHost, "its host is not one of those that the settings of the site allow")
	errPath    = reject(event.RejectPath, "the settings of the site exclude its path")
	errCountry = reject(event.RejectCountry, "the settings of the site exclude its country")
)

// check says whether an event is wanted. One that names no page has the site's own
// name for a host, and is not held against the hosts.
func (s *shield) check(e *event.Event, page bool, addr netip.Addr) error {
	switch {
	case s.addrs.contain(addr):
		return errAddr
	case page && s.hosts != nil && !s.hosts.match(e.Hostname):
		return errHost
	case page && s.paths != nil && s.paths.match(e.Path):
		return errPath
	case e.Country != "" && slices.Contains(s.countries, e.Country):
		return errCountry
	}
	return nil
}

// networks are sets of addresses. To look one up takes as many steps as there are
// lengths of networks, however many networks there are.
type networks struct {
	of     map[netip.Prefix]struct{}
	v4, v6 []int // lengths that occur
}

// add takes addresses and networks as the ledger keeps them.
func (n *networks) add(texts []string) error {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return err
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if n.of == nil {
			n.of = make(map[netip.Prefix]struct{}, len(texts))
		}
		n.of[p] = struct{}{}
		bits := &n.v6
		if p.Addr().Is4() {
			bits = &n.v4
		}
		if !slices.Contains(*bits, p.Bits()) {
			*bits = append(*bits, p.Bits())
		}
	}
	return nil
}

// contain says whether an address, unmapped, is in one of the networks.
func (n *networks) contain(addr netip.Addr) bool {
	bits := n.v6
	if addr.Is4() {
		bits = n.v4
	}
	for _, b := range bits {
		p, err := addr.Prefix(b)
		if err != nil {
			return false // no address
		}
		if _, ok := n.of[p]; ok {
			return true
		}
	}
	return false
}

// patterns are texts in which * stands for any text without /, and ** for any
// text. Most have one wildcard or none; the others are patterns of RE2, which
// takes time in proportion to the text, whatever the text is: it comes from
// strangers.
type patterns struct {
	exact  map[string]struct{}
	gaps   []gap
	others []*regexp.Regexp
}

// A gap is a pattern with one wildcard, and what is before and after it.
type gap struct {
	before, after string
	slashes       bool // it is **
}

func (g gap) match(text string) bool {
	end := len(text) - len(g.after)
	return end >= len(g.before) && strings.HasPrefix(text, g.before) && text[end:] == g.after &&
		(g.slashes || strings.IndexByte(text[len(g.before):end], '/') < 0)
}

// newPatterns returns nil for none.
func newPatterns(texts []string) *patterns {
	if len(texts) == 0 {
		return nil
	}
	p := &patterns{exact: make(map[string]struct{})}
	for _, text := range texts {
		before, after, some := strings.Cut(text, "*")
		after, slashes := strings.CutPrefix(after, "*")
		switch {
		case !some:
			p.exact[text] = struct{}{}
		case !strings.Contains(after, "*"):
			p.gaps = append(p.gaps, gap{before, after, slashes})
		default:
			p.others = append(p.others, regexp.MustCompile(wild(text)))
		}
	}
	return p
}

// wild returns the RE2 pattern of a pattern with wildcards.
func wild(pattern string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i, part := range strings.Split(pattern, "**") {
		if i > 0 {
			b.WriteString(`.*`)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(part), `\*`, `[^/]*`))
	}
	b.WriteString(`\z`)
	return b.String()
}

// match says whether one of the patterns is of the whole text.
func (p *patterns) match(text string) bool {
	if _, ok := p.exact[text]; ok {
		return true
	}
	for _, g := range p.gaps {
		if g.match(text) {
			return true
		}
	}
	return slices.ContainsFunc(p.others, func(r *regexp.Regexp) bool { return r.MatchString(text) })
}
