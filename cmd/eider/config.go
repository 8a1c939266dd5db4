package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// A config is what the operator has set, with the defaults filled in. The table
// in settings.go documents every field.
type config struct {
	warnings []string // what is set and yet unwise or without effect, for the log of a start

	dataDir string

	host            string
	port            int
	dashboardOrigin string
	scriptPath      string // of the tracker, beside its own; "" for none
	eventPath       string
	trustedProxy    string
	metricsAddr     string

	secret       string
	metricsToken string
	apiKey       string

	siteIDs     []string
	autoSites   string // "true", "false", or "" for the default
	filterBots  bool
	respectGPC  bool
	gdpr        gdprConfig
	geoipDB     string
	geoipDetail string

	rateLimit, rateLimitPerIP int // events a second; 0 is off

	flushInterval     time.Duration
	flushCount        int
	publishInterval   time.Duration
	maxBufferedEvents int
	durability        string
	minFreeDisk       diskFloor
	retentionDays     int // 0 keeps for ever

	maxConcurrentQueries int // 0 is twice the cores
	cacheTTL             time.Duration
	duckdbMemoryLimit    int64 // bytes; 0 is a share of the memory there is
	duckdbThreads        int   // 0 is what the memory and the cores allow

	door  doorConfig
	audit auditConfig

	shutdownTimeout time.Duration
	logFormat       string // text, json, or "" for what stderr is
	logLevel        string

	from map[string]string // setting's environment name → where its value came from
	path string            // the eider.toml that was read; "" if none
}

// gdprConfig says what is left out of events before they are stored. Mode turns
// all of them on but SuppressVisitorID.
type gdprConfig struct {
	Mode, StripReferrerQuery, RoundTimestamps, SuppressBrowserVersion,
	SuppressOSVersion, SuppressScreenSize, SuppressVisitorID bool
}

// loopback says whether only this machine can reach the server.
func (c *config) loopback() bool {
	addr, err := netip.ParseAddr(c.host)
	return c.host == "localhost" || err == nil && addr.IsLoopback()
}

// makesSites says whether the first event of an unknown site makes the site.
func (c *config) makesSites() bool {
	if c.autoSites == "" {
		return c.loopback()
	}
	return c.autoSites == "true"
}

// file returns the path of a file of the data directory.
func (c *config) file(name string) string { return filepath.Join(c.dataDir, name) }

// notSettings are variables of the environment that begin with EIDER_ and do not
// belong in the table: where commands find a running server, and where a build
// for the crash tests is to die.
var notSettings = []string{"EIDER_URL", "EIDER_FAULT", "EIDER_FAULT_ACK_EARLY"}

// defaultFile is read from the working directory if --config names no file.
const defaultFile = "eider.toml"

// loadConfig returns the settings: a variable of env before a key of the file
// before the default. path is --config; if it is "" a missing file is no error.
// Every wrong setting is told at once.
func loadConfig(env []string, path string) (*config, error) {
	c := &config{from: map[string]string{}}
	table := c.settings()
	for _, s := range table {
		if s.def != "" && !s.later {
			if err := s.set(s.def); err != nil {
				panic("eider: internal error: default of " + s.env + ": " + err.Error())
			}
		}
	}
	file, path, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c.path = path
	errs := c.apply(table, file, path)
	errs = append(errs, c.apply(table, environ(env), "environment")...)
	if len(errs) == 0 {
		errs = append(errs, c.check())
	}
	return c, errors.Join(errs...)
}

// A given is one setting as it was given: its name there, and its text.
type given struct{ name, text string }

// environ returns the variables that begin with EIDER_ or are an alias of such
// a one. An empty variable counts as one that is not there, because container
// platforms cannot always unset what an image sets.
func environ(env []string) []given {
	var list []given
	for _, kv := range env {
		name, text, _ := strings.Cut(kv, "=")
		ours := strings.HasPrefix(name, "EIDER_") || name == "DATABASE_URL"
		if ours && text != "" && !slices.Contains(notSettings, name) {
			list = append(list, given{name, text})
		}
	}
	slices.SortFunc(list, func(a, b given) int { return strings.Compare(a.name, b.name) })
	return list
}

// readFile returns the keys of the file, and its path if there is one.
func readFile(path string) ([]given, string, error) {
	optional := path == ""
	if optional {
		path = defaultFile
	}
	var keys map[string]any
	_, err := toml.DecodeFile(path, &keys)
	switch {
	case optional && errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("read settings from %s: %w", path, err)
	}
	var list []given
	for key, v := range keys {
		text, err := tomlText(v)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %s: %w", path, key, err)
		}
		list = append(list, given{key, text})
	}
	slices.SortFunc(list, func(a, b given) int { return strings.Compare(a.name, b.name) })
	return list, path, nil
}

// tomlText returns a key's value as one would write it in the environment.
func tomlText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			text, err := tomlText(v[i])
			if err != nil {
				return "", err
			}
			texts[i] = text
		}
		return strings.Join(texts, ","), nil
	default:
		return "", errors.New("must be a text, a number, true or false, or a list of them; settings are not grouped in tables")
	}
}

// apply sets what was given in one place, and returns what is wrong with it.
func (c *config) apply(table []setting, list []given, place string) []error {
	var errs []error
	seen := map[string]string{} // setting → the name it was given by
	for _, g := range list {
		s, fromFile := find(table, g.name)
		switch {
		case s == nil:
			errs = append(errs, unknown(table, g.name, place))
			continue
		case seen[s.env] != "":
			errs = append(errs, fmt.Errorf("%s: %s and %s are both set in the %s: remove one", s.env, seen[s.env], g.name, where(place)))
			continue
		}
		seen[s.env] = g.name
		if err := s.take(g, fromFile); err != nil {
			errs = append(errs, err)
			continue
		}
		if s.later && g.text != s.def {
			c.warnings = append(c.warnings, g.name+" has no effect in this version")
		}
		c.from[s.env] = place
		if fromFile {
			c.from[s.env] = g.text
		}
	}
	return errs
}

func where(place string) string {
	if place == "environment" {
		return place
	}
	return "file " + place
}

// find returns the setting that a name means, in the environment or in a file,
// and whether it is the name of a file that holds the value.
func find(table []setting, name string) (s *setting, fromFile bool) {
	for i := range table {
		s := &table[i]
		switch {
		case s.is(name):
			return s, false
		case s.secret && (name == s.env+"_FILE" || name == s.key()+"_file"):
			return s, true
		}
	}
	return nil, false
}

// take sets s to what was given.
func (s *setting) take(g given, fromFile bool) error {
	text := g.text
	if fromFile {
		b, err := os.ReadFile(g.text)
		if err != nil {
			return fmt.Errorf("%s: read the secret: %w", g.name, err)
		}
		if text = strings.TrimRight(string(b), "\r\n"); text == "" {
			return fmt.Errorf("%s: %s is empty; %s must be %s", g.name, g.text, s.env, s.valid)
		}
	}
	if s.later && (text == s.def || !s.needed) {
		return nil
	}
	if s.later {
		return fmt.Errorf("%s: not available in this version; remove it", g.name)
	}
	err := s.set(strings.TrimSpace(text))
	if err == nil {
		return nil
	}
	shown := fmt.Sprintf("%s=%q", g.name, text)
	if s.secret {
		shown = g.name
	}
	if err == errRange {
		return fmt.Errorf("%s: must be %s", shown, s.valid)
	}
	return fmt.Errorf("%s: must be %s: %w", shown, s.valid, err)
}

// unknown is the error for a name that no setting has: it names the setting that
// was probably meant.
func unknown(table []setting, name, place string) error {
	best, least := &table[0], 1<<30
	for i := range table {
		s := &table[i]
		candidate := s.key()
		if place == "environment" {
			candidate = s.env
		}
		if d := distance(name, candidate); d < least {
			best, least = s, d
		}
	}
	meant := best.key()
	if place == "environment" {
		meant = best.env
	} else {
		name = place + ": " + name
	}
	return fmt.Errorf("%s: no such setting; the nearest is %s (%s); eider config lists them all", name, meant, best.valid)
}

// distance returns how many letters have to be added, removed or changed to make
// b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// goodSecret is the length below which a secret is likely to be one that can be
// guessed.
const goodSecret = 16

// check returns what is wrong between settings that are each right by themselves,
// and notes what is right and yet unwise.
func (c *config) check() error {
	weak := func(name, secret string) {
		if secret != "" && len(secret) < goodSecret {
			c.warnings = append(c.warnings, name+" is so short that it can be guessed; make one with: openssl rand -hex 32")
		}
	}
	weak("EIDER_SECRET", c.secret)
	weak("EIDER_API_KEY", c.apiKey)
	for _, token := range c.metricsTokens() {
		weak("EIDER_METRICS_TOKEN", token)
	}
	if c.publishInterval < c.flushInterval {
		return fmt.Errorf("EIDER_PUBLISH_INTERVAL=%s: must be at least EIDER_FLUSH_INTERVAL, which is %s",
			plain(c.publishInterval), plain(c.flushInterval))
	}
	return c.audit.check()
}

// queries returns how many reports and SQL queries may run at once.
func (c *config) queries() int {
	if c.maxConcurrentQueries != 0 {
		return c.maxConcurrentQueries
	}
	return 2 * runtime.GOMAXPROCS(0)
}

// metricsTokens returns the tokens that open /metrics.
func (c *config) metricsTokens() []string {
	if c.metricsToken == "" {
		return nil
	}
	tokens := strings.Split(c.metricsToken, ",")
	for i := range tokens {
		tokens[i] = strings.TrimSpace(tokens[i])
	}
	return tokens
}

// secure says whether browsers reach the server over TLS.
func (c *config) secure() bool {
	return c.trustedProxy == "fly" || strings.HasPrefix(c.dashboardOrigin, "https://")
}
