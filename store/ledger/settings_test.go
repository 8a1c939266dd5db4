package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

func TestSiteSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	got, err := l.SiteSettings(t.Context(), "a.example")
	if want := (ledger.SiteSettings{Domain: "a.example", Timezone: "UTC"}); err != nil || !reflect.DeepEqual(got, want) || !got.Zero() {
		t.Errorf("before anything: %+v, %v; want %+v", got, err, want)
	}
	want := ledger.SiteSettings{Domain: "a.example", Timezone: "Europe/Berlin", Currency: "EUR", Changed: 77, Rules: ledger.Rules{
		Paths:     []string{"/admin/**", "/preview"},
		Addresses: []string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "2001:db8::1"},
		Countries: []string{"AT", "DE"},
		Hostnames: []string{"*.example.com", "example.com"},
	}}
	got, err = l.ChangeSettings(t.Context(), "a.example", func(s *ledger.SiteSettings) error {
		s.Domain = "b.example" // stays what it is
		s.Timezone, s.Currency = "Europe/Berlin", " eur "
		s.Paths = []string{" /preview/", "/admin/**", "/preview"}
		s.Addresses = []string{"2001:DB8:0::1", "::ffff:192.0.2.1", "10.9.8.7/8", "2001:db8:1::/32"}
		s.Countries = []string{"de", "AT"}
		s.Hostnames = []string{"WWW.Example.com.", "*.example.com"}
		return nil
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, want -, got +:\n%s", err, diff)
	}
	l = reopen(t, dir, l)
	other := ledger.SiteSettings{Domain: "b.example", Timezone: "UTC"}
	if all, err := l.Settings(t.Context()); err != nil || !reflect.DeepEqual(all, []ledger.SiteSettings{want, other}) {
		t.Errorf("Settings = %+v, %v", all, err)
	}
	if _, err := l.SiteSettings(t.Context(), "c.example"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("settings of no site: %v, want ErrNotFound", err)
	}
	if _, err := l.ChangeSettings(t.Context(), "c.example", func(*ledger.SiteSettings) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("changed settings of no site: %v, want ErrNotFound", err)
	}
	if got, err = l.ChangeSettings(t.Context(), "a.example", func(s *ledger.SiteSettings) error { s.Rules = ledger.Rules{}; return nil }); err != nil || !got.Zero() || got.Currency != "EUR" {
		t.Errorf("rules taken back: %+v, %v", got, err)
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	for _, c := range []struct {
		field string
		fn    func(*ledger.SiteSettings)
	}{
		{"timezone", func(s *ledger.SiteSettings) { s.Timezone = "Mars/Olympus" }},
		{"timezone", func(s *ledger.SiteSettings) { s.Timezone = "" }},
		{"timezone", func(s *ledger.SiteSettings) { s.Timezone = "Local" }},
		{"timezone", func(s *ledger.SiteSettings) { s.Timezone = "../../etc/passwd" }},
		{"currency", func(s *ledger.SiteSettings) { s.Currency = "Taler" }},
		{"excluded_paths[1]", func(s *ledger.SiteSettings) { s.Paths = []string{"/a", "b"} }},
		{"excluded_paths[0]", func(s *ledger.SiteSettings) { s.Paths = []string{""} }},
		{"excluded_paths", func(s *ledger.SiteSettings) { s.Paths = slices.Repeat([]string{"/a"}, 101) }},
		{"excluded_addresses[0]", func(s *ledger.SiteSettings) { s.Addresses = []string{"example.com"} }},
		{"excluded_addresses[0]", func(s *ledger.SiteSettings) { s.Addresses = []string{"fe80::1%eth0"} }},
		{"excluded_addresses[0]", func(s *ledger.SiteSettings) { s.Addresses = []string{"0.0.0.0/0"} }},
		{"excluded_addresses[0]", func(s *ledger.SiteSettings) { s.Addresses = []string{"::ffff:10.0.0.0/104"} }},
		{"excluded_addresses[0]", func(s *ledger.SiteSettings) { s.Addresses = []string{"10.0.0.0/33"} }},
		{"excluded_addresses", func(s *ledger.SiteSettings) { s.Addresses = slices.Repeat([]string{"192.0.2.1"}, 501) }},
		{"excluded_countries[0]", func(s *ledger.SiteSettings) { s.Countries = []string{"Germany"} }},
		{"excluded_countries[0]", func(s *ledger.SiteSettings) { s.Countries = []string{"QX"} }},
		{"excluded_countries[0]", func(s *ledger.SiteSettings) { s.Countries = []string{"EU"} }},
		{"allowed_hostnames[0]", func(s *ledger.SiteSettings) { s.Hostnames = []string{"https://example.com"} }},
		{"allowed_hostnames[0]", func(s *ledger.SiteSettings) { s.Hostnames = []string{"example.com:8080"} }},
		{"allowed_hostnames[0]", func(s *ledger.SiteSettings) { s.Hostnames = []string{""} }},
	} {
		_, err := l.ChangeSettings(t.Context(), "a.example", func(s *ledger.SiteSettings) error { c.fn(s); return nil })
		wantField(t, err, c.field)
	}
	if got, err := l.SiteSettings(t.Context(), "a.example"); err != nil || got.Changed != 0 || !got.Zero() {
		t.Errorf("settings %+v, %v; want none", got, err)
	}
}

// TestCountries checks that the codes of places that look up tables tell are
// taken.
func TestCountries(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	list := []string{"AQ", "CN", "DE", "GB", "HK", "PS", "RU", "TW", "US", "XK"}
	got, err := l.ChangeSettings(t.Context(), "a.example", func(s *ledger.SiteSettings) error { s.Countries = list; return nil })
	if err != nil || !slices.Equal(got.Countries, list) {
		t.Errorf("%v, %v", got.Countries, err)
	}
}

func TestZoneChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := clockAt(100)
	l := open(t, dir, ledger.Options{Now: c.now})
	if err := l.AddSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: "UTC", Created: 1}); err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"UTC", "Asia/Tokyo", "Asia/Tokyo", "Europe/Berlin"} {
		c.pass(time.Microsecond)
		if err := l.SetSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: zone}); err != nil {
			t.Fatal(err)
		}
	}
	want := []ledger.ZoneChange{{102, "UTC", "Asia/Tokyo"}, {104, "Asia/Tokyo", "Europe/Berlin"}}
	l = reopen(t, dir, l)
	if got, err := l.ZoneChanges(t.Context(), "a.example"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for i := range 110 {
		c.pass(time.Microsecond)
		if err := l.SetSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: fmt.Sprintf("Etc/GMT+%d", 1+i%2)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.ZoneChanges(t.Context(), "a.example")
	if err != nil || len(got) != 100 || got[99].After != "Etc/GMT+2" || got[99].At <= got[98].At {
		t.Errorf("%d changes, %v, last %+v; want 100", len(got), err, got[len(got)-1])
	}
}

// TestSettingsAtOnce makes many changes at the same time: none takes another's
// away.
func TestSettingsAtOnce(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := l.ChangeSettings(t.Context(), "a.example", func(s *ledger.SiteSettings) error {
				s.Paths = append(s.Paths, fmt.Sprint("/", i))
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := l.SiteSettings(t.Context(), "a.example"); err != nil || len(got.Paths) != 20 {
		t.Errorf("%d paths, %v; want 20", len(got.Paths), err)
	}
}

// TestUpgrade opens a ledger that was made before there were goals and settings:
// it has all it had, and can be given them. What made it refuses it then.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	first := older(t, 1)
	g := group(0, 3, 100)
	db := raw(t, path)
	for _, q := range []struct {
		query string
		args  []any
	}{
		{"PRAGMA journal_mode = WAL", nil},
		{fmt.Sprintf("PRAGMA application_id = %d", 0x45494452), nil},
		{string(first["ledger/00001_ledger.sql"].Data), nil},
		{`CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL,
			tstamp TIMESTAMP DEFAULT (datetime('now')))`, nil},
		{`INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1)`, nil},
		{`INSERT INTO sites VALUES ('a.example', 'Europe/Berlin', 5)`, nil},
		{`INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)`, []any{g.Last, g.First, g.Count, g.Received, []byte{}, g.Payload}},
	} {
		if _, err := db.Exec(q.query, q.args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	site := ledger.Site{Domain: "a.example", Timezone: "Europe/Berlin", Created: 5}
	l := open(t, dir, ledger.Options{})
	if rows := entriesOf(t, l); len(rows) != 2 || rows[0].Kind != audit.Genesis || detail(t, rows[0])["sites"] != "1" ||
		detail(t, rows[1])["from"] != "0" || detail(t, rows[1])["to"] != strconv.Itoa(len(steps(t))) {
		t.Errorf("the chain begins with %+v, want a genesis with one site, and a migration", rows)
	}
	l = reopen(t, dir, l)
	if rows := entriesOf(t, l); len(rows) != 2 {
		t.Errorf("%d entries, want no more for opening it again", len(rows))
	}
	if got, err := l.Sites(t.Context()); err != nil || !slices.Equal(got, []ledger.Site{site}) {
		t.Errorf("Sites = %+v, %v", got, err)
	}
	if got := live(t, l, 0); len(got) != 1 || !slices.Equal(got[0].Payload, g.Payload) {
		t.Errorf("the journal holds %d groups", len(got))
	}
	if got, err := l.SiteSettings(t.Context(), "a.example"); err != nil || !reflect.DeepEqual(got, ledger.SiteSettings{Domain: "a.example", Timezone: "Europe/Berlin"}) {
		t.Errorf("settings %+v, %v", got, err)
	}
	if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "page", Path: "/x"}); err != nil {
		t.Error(err)
	}
	if err := l.RemoveSite(t.Context(), "a.example"); err != nil {
		t.Error(err)
	}
	if got, err := l.Goals(t.Context(), "a.example"); err != nil || len(got) != 0 {
		t.Errorf("Goals = %+v, %v; want none", got, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(t.Context(), path, first, ledger.Options{}); !errors.Is(err, ledger.ErrNewer) {
		t.Errorf("the program before opens it: %v, want ErrNewer", err)
	}
}
