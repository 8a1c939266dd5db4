package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// maxAutoSites is how many sites may come into being by an event that names
// them. Whoever needs more makes them on purpose.
const maxAutoSites = 1000

// validDomain is what a site may be called: host names, with a path or a port
// for those who tell several sites of one host apart.
var validDomain = regexp.MustCompile(`^[a-z0-9_][a-z0-9._:/-]{0,252}$`)

// A site is what ingest needs to know of one.
type site struct {
	domain string
	zone   *time.Location
	shield *shield // nil if every event of the site is wanted
}

// sites are the sites there are. Reading is free; a change loads them anew.
type sites struct {
	ledger *ledger.Ledger
	auto   bool
	closed bool // only the listed sites may send: their origins are checked
	listed []string

	mu    sync.Mutex // held while the list is made anew
	known atomic.Pointer[map[string]site]
}

// openSites reads the sites, and makes those that the settings list.
func openSites(ctx context.Context, l *ledger.Ledger, listed []string, auto bool, now time.Time) (*sites, error) {
	s := &sites{ledger: l, auto: auto, closed: len(listed) > 0}
	for _, d := range listed {
		d = Domain(d)
		s.listed = append(s.listed, d)
		if err := s.add(ctx, d, now); err != nil {
			return nil, err
		}
	}
	return s, s.reload(ctx)
}

// add makes a site if it is not there.
func (s *sites) add(ctx context.Context, domain string, now time.Time) error {
	if !validDomain.MatchString(domain) {
		return fmt.Errorf("site %q: a site is named by its host name, such as example.com", domain)
	}
	err := s.ledger.AddSite(ctx, ledger.Site{Domain: domain, Timezone: "UTC", Created: now.UnixMicro()})
	if err != nil && !errors.Is(err, ledger.ErrExists) {
		return fmt.Errorf("add site %s: %w", domain, err)
	}
	return nil
}

// reload reads the sites from the ledger.
func (s *sites) reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.ledger.Settings(ctx)
	if err != nil {
		return fmt.Errorf("read sites: %w", err)
	}
	known := make(map[string]site, len(all))
	for _, l := range all {
		zone, err := time.LoadLocation(l.Timezone)
		if err != nil {
			return fmt.Errorf("site %s: time zone: %w", l.Domain, err)
		}
		rules, err := newShield(l.Rules)
		if err != nil {
			return fmt.Errorf("site %s: rules: %w", l.Domain, err)
		}
		known[l.Domain] = site{l.Domain, zone, rules}
	}
	s.known.Store(&known)
	return nil
}

// get returns a site, and makes it if sites are made by their first event.
func (s *sites) get(ctx context.Context, domain string, now time.Time) (site, bool, error) {
	known := *s.known.Load()
	if st, ok := known[domain]; ok {
		return st, true, nil
	}
	if !s.auto || s.closed || len(known) >= maxAutoSites || !validDomain.MatchString(domain) {
		return site{}, false, nil
	}
	if err := s.add(ctx, domain, now); err != nil {
		return site{}, false, err
	}
	if err := s.reload(ctx); err != nil {
		return site{}, false, err
	}
	st, ok := (*s.known.Load())[domain]
	return st, ok, nil
}

// origin says whether a page of that origin may send events. Where the settings
// list the sites, it must be one of them or a subdomain of one; a request that
// names no origin comes from no browser, and is judged by its site alone.
func (s *sites) origin(origin string) bool {
	if !s.closed || origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := Domain(u.Hostname())
	for _, d := range s.listed {
		d, _, _ = strings.Cut(d, "/")
		if host == d || strings.HasSuffix(host, "."+d) {
			return true
		}
	}
	return false
}
