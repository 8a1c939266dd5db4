package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/eider-analytics/eider/store/audit"
)

// Bounds of the settings of one site.
const (
	maxRulePaths     = 100
	maxRuleAddresses = 500
	maxRuleHostnames = 100
	keepZoneChanges  = 100
)

// SiteSettings are what an operator has decided for a site. The zero value of a
// rule leaves every event in.
type SiteSettings struct {
	Domain   string
	Timezone string // IANA name: Europe/Berlin
	Currency string // ISO 4217, in which its reports show revenue; "" if they show each its own
	Rules
	Changed int64 // µs; 0 if they are as they were when the site was made
}

// Rules say which events of a site are not taken. They are of what happens from
// now on: what has been counted stays.
type Rules struct {
	Paths     []string // patterns of paths not to be counted, in which * is any text without /, and ** any text
	Addresses []string // addresses and networks not to be counted: 192.0.2.1, 2001:db8::/32
	Countries []string // ISO 3166-1 alpha-2, not to be counted
	Hostnames []string // patterns of the hosts whose pages are counted; none: all. The same wildcards, and no www. before them
}

// Zero says whether the rules leave every event in.
func (r Rules) Zero() bool {
	return len(r.Paths)+len(r.Addresses)+len(r.Countries)+len(r.Hostnames) == 0
}

// A ZoneChange is when the days of a site began to be those of another clock.
// Visitors of the days before were told apart by the days of the clock before.
type ZoneChange struct {
	At            int64 // µs
	Before, After string
}

// check puts settings into their one form, or says which field is wrong.
func (s *SiteSettings) check() error {
	if err := checkZone(s.Timezone); err != nil {
		return err
	}
	if err := checkCurrency(&s.Currency); err != nil {
		return err
	}
	for _, l := range []struct {
		field string
		list  *[]string
		most  int
		check func(field string, s *string) error
	}{
		{"excluded_paths", &s.Paths, maxRulePaths, checkPath},
		{"excluded_addresses", &s.Addresses, maxRuleAddresses, checkAddress},
		{"excluded_countries", &s.Countries, 300, checkCountry},
		{"allowed_hostnames", &s.Hostnames, maxRuleHostnames, checkHostname},
	} {
		if err := checkList(l.field, l.list, l.most, l.check); err != nil {
			return err
		}
	}
	return nil
}

// checkList checks each of a list's texts, sorts them and leaves out what repeats.
func checkList(field string, texts *[]string, most int, check func(field string, s *string) error) error {
	if len(*texts) > most {
		return wrong(field, "has %d entries, at most %d", len(*texts), most)
	}
	list := slices.Clone(*texts)
	for i := range list {
		if err := check(fmt.Sprintf("%s[%d]", field, i), &list[i]); err != nil {
			return err
		}
	}
	slices.Sort(list)
	if list = slices.Compact(list); len(list) == 0 {
		list = nil
	}
	*texts = list
	return nil
}

func checkZone(name string) error {
	if _, err := time.LoadLocation(name); err != nil || name == "" || name == "Local" {
		return wrong("timezone", "is no zone of the IANA database; give a name such as Europe/Berlin or UTC")
	}
	return nil
}

// checkAddress checks an address or a network, and writes it in its short form.
func checkAddress(field string, s *string) error {
	*s = strings.TrimSpace(*s)
	if addr, err := netip.ParseAddr(*s); err == nil && addr.Zone() == "" {
		*s = addr.Unmap().String()
		return nil
	}
	net, err := netip.ParsePrefix(*s)
	if err != nil {
		return wrong(field, "is no address or network; write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")
	}
	if net.Addr().Is4In6() {
		return wrong(field, "is a network of mapped addresses; write the IPv4 network, such as 192.0.2.0/24")
	}
	if net.Bits() == 0 {
		return wrong(field, "is every address there is; to count nothing, delete the site")
	}
	*s = net.Masked().String()
	return nil
}

func checkCountry(field string, s *string) error {
	*s = strings.ToUpper(strings.TrimSpace(*s))
	region, err := language.ParseRegion(*s)
	if err != nil || len(*s) != 2 || !region.IsCountry() {
		return wrong(field, "is no country of ISO 3166-1; give two letters such as DE")
	}
	return nil
}

// checkHostname checks a pattern of host names, and takes www. away as ingest
// does with those of the events.
func checkHostname(field string, s *string) error {
	*s = strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(*s)), "."), "www.")
	if err := checkText(field, s, 253); err != nil {
		return err
	}
	if strings.ContainsAny(*s, " \"<>\\^`{|}[]:%/?#@") {
		return wrong(field, "is a host name such as shop.example.com or *.example.com, without https://, port and path")
	}
	return nil
}

const settingsOf = `
	SELECT domain, timezone, ifnull(currency, ''), ifnull(paths, '[]'), ifnull(addresses, '[]'),
		ifnull(countries, '[]'), ifnull(hostnames, '[]'), ifnull(changed, 0)
	FROM sites LEFT JOIN site_rules ON site = domain`

func scanSettings(row scanner) (s SiteSettings, err error) {
	lists := []*[]string{&s.Paths, &s.Addresses, &s.Countries, &s.Hostnames}
	var texts [4][]byte
	if err := row.Scan(&s.Domain, &s.Timezone, &s.Currency, &texts[0], &texts[1], &texts[2], &texts[3], &s.Changed); err != nil {
		return s, err
	}
	for i, text := range texts {
		if string(text) == "[]" {
			continue
		}
		if err := json.Unmarshal(text, lists[i]); err != nil {
			return s, fmt.Errorf("rules of %s: %w", s.Domain, err)
		}
	}
	return s, nil
}

// Settings returns the settings of all sites, by domain.
func (l *Ledger) Settings(ctx context.Context) ([]SiteSettings, error) {
	return list(ctx, l, "settings", scanSettings, settingsOf+` ORDER BY domain`)
}

// SiteSettings returns the settings of a site. One that is not there is
// [ErrNotFound].
func (l *Ledger) SiteSettings(ctx context.Context, domain string) (SiteSettings, error) {
	s, err := scanSettings(l.read.QueryRowContext(ctx, settingsOf+` WHERE domain = ?`, domain))
	return s, about("read settings of", domain, missing(err))
}

// ChangeSettings makes fn's change to the settings of a site, in one transaction,
// and returns what they have become. A setting that is wrong is a
// *[event.FieldError], and a site that is not there is [ErrNotFound].
func (l *Ledger) ChangeSettings(ctx context.Context, domain string, fn func(*SiteSettings) error) (s SiteSettings, err error) {
	e := audit.Entry{Kind: audit.SiteChange, Object: "site:" + domain}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		if s, err = scanSettings(tx.QueryRow(settingsOf+` WHERE domain = ?`, domain)); err != nil {
			return missing(err)
		}
		was := s
		if err := fn(&s); err != nil {
			return err
		}
		s.Domain, s.Changed = domain, l.now()
		if err := s.check(); err != nil {
			return err
		}
		if err := changeZone(tx, domain, was.Timezone, s.Timezone, s.Changed); err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), s.fields())
		_, err := tx.Exec(`
			INSERT OR REPLACE INTO site_rules (site, currency, paths, addresses, countries, hostnames, changed)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			domain, s.Currency, array(s.Paths), array(s.Addresses), array(s.Countries), array(s.Hostnames), s.Changed)
		return err
	})
	return s, about("change settings of", domain, err)
}

// changeZone sets the zone of a site and notes since when it holds.
func changeZone(tx *sql.Tx, domain, before, after string, at int64) error {
	if before == after {
		return nil
	}
	if err := affect(tx.Exec(`UPDATE sites SET timezone = ? WHERE domain = ?`, after, domain)); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO zone_changes (site, at, before, after) VALUES (?, ?, ?, ?)`, domain, at, before, after); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM zone_changes WHERE site = ?1 AND id <=
		(SELECT id FROM zone_changes WHERE site = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`, domain, keepZoneChanges)
	return err
}

// ZoneChanges returns the last changes of a site's zone, oldest first.
func (l *Ledger) ZoneChanges(ctx context.Context, domain string) ([]ZoneChange, error) {
	scan := func(row scanner) (c ZoneChange, err error) {
		err = row.Scan(&c.At, &c.Before, &c.After)
		return c, err
	}
	return list(ctx, l, "zone changes", scan, `SELECT at, before, after FROM zone_changes WHERE site = ? ORDER BY id`, domain)
}

// array returns the JSON array of texts.
func array(texts []string) string {
	b, err := json.Marshal(append([]string{}, texts...))
	if err != nil {
		panic("ledger: internal error: " + err.Error())
	}
	return string(b)
}
