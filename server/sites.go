package server

import (
	"context"
	"net/http"

	"github.com/eider-analytics/eider/store/ledger"
)

// Settings is where the settings of sites are kept; durable on return, and then
// ingest goes by them.
type Settings interface {
	SiteSettings(ctx context.Context, domain string) (ledger.SiteSettings, error)
	ChangeSettings(ctx context.Context, domain string, change func(*ledger.SiteSettings) error) (ledger.SiteSettings, error)
	ZoneChanges(ctx context.Context, domain string) ([]ledger.ZoneChange, error)
}

type zoneChangeJSON struct {
	At     string `json:"at"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// siteDetailJSON is a site with what has become of its clock: before a change
// visitors were told apart by the days of the zone before.
type siteDetailJSON struct {
	siteJSON
	ZoneChanges []zoneChangeJSON `json:"timezone_changes"`
}

func (s *Server) showSite(w http.ResponseWriter, r *http.Request) error {
	domain := r.PathValue("domain")
	if err := forSite(r, domain); err != nil {
		return err
	}
	site, _, err := s.site(r.Context(), domain)
	if err != nil {
		return err
	}
	changes, err := s.o.Settings.ZoneChanges(r.Context(), domain)
	if err != nil {
		return err
	}
	out := siteDetailJSON{siteJSON{site.Domain, site.Timezone, stamp(site.Created)}, make([]zoneChangeJSON, len(changes))}
	for i, c := range changes {
		out.ZoneChanges[i] = zoneChangeJSON{stamp(c.At), c.Before, c.After}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

type siteChange struct {
	Timezone *string `json:"timezone" doc:"IANA name such as Europe/Berlin"`
}

func (s *Server) changeSite(w http.ResponseWriter, r *http.Request) error {
	if err := s.ownSite(r, r.PathValue("domain")); err != nil {
		return err
	}
	var ask siteChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Timezone == nil {
		return refuse(http.StatusUnprocessableEntity, "invalid", "timezone is missing; whatever else there is to change about a site is in its settings")
	}
	_, err := s.o.Settings.ChangeSettings(r.Context(), r.PathValue("domain"), settingsChange{Timezone: ask.Timezone}.apply)
	if err != nil {
		return err
	}
	return s.showSite(w, r)
}

type settingsJSON struct {
	Domain    string   `json:"domain"`
	Timezone  string   `json:"timezone"`
	Currency  string   `json:"currency" doc:"of the reports; empty if they show each its own"`
	Paths     []string `json:"excluded_paths" doc:"patterns in which * stands for any text without /, and ** for any text"`
	Addresses []string `json:"excluded_addresses"`
	Countries []string `json:"excluded_countries"`
	Hostnames []string `json:"allowed_hostnames" doc:"patterns; empty: all"`
	Changed   string   `json:"changed,omitempty"`
}

func settingsOf(s ledger.SiteSettings) settingsJSON {
	list := func(texts []string) []string { return append([]string{}, texts...) }
	return settingsJSON{
		s.Domain, s.Timezone, s.Currency,
		list(s.Paths), list(s.Addresses), list(s.Countries), list(s.Hostnames), stamp(s.Changed),
	}
}

func (s *Server) showSettings(w http.ResponseWriter, r *http.Request) error {
	domain := r.PathValue("domain")
	if err := s.ownSite(r, domain); err != nil {
		return err
	}
	settings, err := s.o.Settings.SiteSettings(r.Context(), domain)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, settingsOf(settings))
	return nil
}

// settingsChange is what is to be another way about a site. A list takes the place
// of the one before.
type settingsChange struct {
	Timezone  *string   `json:"timezone" doc:"IANA name such as Europe/Berlin"`
	Currency  *string   `json:"currency" doc:"ISO 4217; empty for none"`
	Paths     *[]string `json:"excluded_paths" doc:"up to 100 patterns"`
	Addresses *[]string `json:"excluded_addresses" doc:"up to 500 addresses and networks"`
	Countries *[]string `json:"excluded_countries" doc:"ISO 3166-1 alpha-2"`
	Hostnames *[]string `json:"allowed_hostnames" doc:"up to 100 patterns; empty: all"`
}

func (ask settingsChange) apply(s *ledger.SiteSettings) error {
	set(&s.Timezone, ask.Timezone)
	set(&s.Currency, ask.Currency)
	set(&s.Paths, ask.Paths)
	set(&s.Addresses, ask.Addresses)
	set(&s.Countries, ask.Countries)
	set(&s.Hostnames, ask.Hostnames)
	return nil
}

func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request) error {
	domain := r.PathValue("domain")
	if err := s.ownSite(r, domain); err != nil {
		return err
	}
	var ask settingsChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	settings, err := s.o.Settings.ChangeSettings(r.Context(), domain, ask.apply)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, settingsOf(settings))
	return nil
}
