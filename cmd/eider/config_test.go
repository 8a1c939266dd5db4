package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// load loads settings from variables of the environment and the text of a file.
func load(t *testing.T, file string, env ...string) (*config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eider.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadConfig(env, path)
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []struct {
		name      string
		got, want any
	}{
		{"data dir", c.dataDir, "data"},
		{"host", c.host, "127.0.0.1"},
		{"port", c.port, 8080},
		{"flush interval", c.flushInterval, time.Second},
		{"publish interval", c.publishInterval, time.Hour},
		{"flush count", c.flushCount, 4096},
		{"buffered events", c.maxBufferedEvents, 100_000},
		{"shutdown timeout", c.shutdownTimeout, 30 * time.Second},
		{"floor", c.minFreeDisk, diskFloor{percent: 5, bytes: 64 << 20}},
		{"durability", c.durability, "sync"},
		{"bots", c.filterBots, true},
		{"GPC", c.respectGPC, true},
		{"sites by themselves, on loopback", c.makesSites(), true},
	} {
		if got.got != got.want {
			t.Errorf("%s: got %v, want %v", got.name, got.got, got.want)
		}
	}
}

// TestConfigOrder gives the same setting in all three places.
func TestConfigOrder(t *testing.T) {
	t.Parallel()
	const file = "flush_count = 10\npublish_interval = 60\nsite_ids = [\"a.example\", \"b.example\"]\n"
	c, err := load(t, file, "EIDER_FLUSH_COUNT=20", "EIDER_PORT=", "HOME=/")
	if err != nil {
		t.Fatal(err)
	}
	if c.flushCount != 20 || c.publishInterval != time.Minute || c.port != 8080 || len(c.siteIDs) != 2 {
		t.Errorf("got %d, %s, %d, %q; want 20, 1m, 8080, two sites", c.flushCount, c.publishInterval, c.port, c.siteIDs)
	}
	for env, want := range map[string]string{"EIDER_FLUSH_COUNT": "environment", "EIDER_PUBLISH_INTERVAL": c.path, "EIDER_PORT": ""} {
		if got := c.from[env]; got != want {
			t.Errorf("%s comes from %q, want %q", env, got, want)
		}
	}
}

// TestConfigValues takes every notation of every kind of value.
func TestConfigValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ env, want string }{
		{"EIDER_FLUSH_INTERVAL=5", "5s"},
		{"EIDER_FLUSH_INTERVAL=0.5", "500ms"},
		{"EIDER_FLUSH_INTERVAL=250ms", "250ms"},
		{"EIDER_PUBLISH_INTERVAL=90m", "1h30m"},
		{"EIDER_SHUTDOWN_TIMEOUT_SECS=45", "45s"},
		{"EIDER_RETENTION_DAYS=365", "365"},
		{"EIDER_RETENTION_DAYS=30d", "30"},
		{"EIDER_DUCKDB_MEMORY_LIMIT=64MiB", "64MiB"},
		{"EIDER_DUCKDB_MEMORY_LIMIT=256MB", "250000KiB"},
		{"EIDER_DUCKDB_MEMORY_LIMIT=67108864", "64MiB"},
		{"EIDER_MIN_FREE_DISK=10%", "10%"},
		{"EIDER_MIN_FREE_DISK=1GiB", "1GiB"},
		{"EIDER_MIN_FREE_DISK=max(2.5%,1GiB)", "max(2.5%, 1GiB)"},
		{"EIDER_MIN_FREE_DISK=0", "0"},
		{"EIDER_FILTER_BOTS=off", "false"},
		{"EIDER_AUTO_SITES=YES", "true"},
		{"EIDER_HOST=::1", "::1"},
		{"EIDER_HOST=[::]", "::"},
		{"EIDER_METRICS_ADDR=[::]:9091", "[::]:9091"},
		{"EIDER_TRUSTED_PROXY=fly", "fly"},
		{"EIDER_TRUSTED_PROXY=X-Forwarded-For 10.0.0.0/8 fd00::/8", "X-Forwarded-For 10.0.0.0/8 fd00::/8"},
		{"EIDER_DASHBOARD_ORIGIN=https://Stats.example.com/", "https://stats.example.com"},
		{"EIDER_SITE_IDS=a.example, b.example,", "a.example,b.example"},
		{"EIDER_LOG_LEVEL=debug", "debug"},
		{"EIDER_AUDIT_KAFKA=k-1:9092,k-2:9092/audit", "k-1:9092,k-2:9092/audit"},
		{"EIDER_AUDIT_PIN=7:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "7:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		{"EIDER_AUDIT_SOURCE_DAYS=30d", "30"},
		{"EIDER_EXPORT_INTERVAL=5", "5s"},
	} {
		cfg, err := load(t, "", c.env)
		if err != nil {
			t.Errorf("%s: %v", c.env, err)
			continue
		}
		name, _, _ := strings.Cut(c.env, "=")
		s, _ := find(cfg.settings(), name)
		if got := s.show(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.env, got, c.want)
		}
	}
}

// TestConfigErrors holds every refusal to naming the key and what is possible.
func TestConfigErrors(t *testing.T) {
	t.Parallel()
	const none = ""
	for _, c := range []struct{ file, env, want string }{
		{none, "EIDER_PRT=80", "EIDER_PRT: no such setting; the nearest is EIDER_PORT (a whole number from 0 to 65535); eider config lists them all"},
		{none, "EIDER_RETENTION=80", "EIDER_RETENTION: no such setting; the nearest is EIDER_RETENTION_DAYS (a number of days from 0 (for ever) to 36500); eider config lists them all"},
		{"flush_cuont = 1", none, "eider.toml: flush_cuont: no such setting; the nearest is flush_count (a whole number from 1 to 1000000); eider config lists them all"},
		{none, "EIDER_PORT=99999", `EIDER_PORT="99999": must be a whole number from 0 to 65535`},
		{none, "EIDER_PORT=tcp://10.0.0.1:80", `EIDER_PORT="tcp://10.0.0.1:80": must be a whole number from 0 to 65535`},
		{"port = 80.5", none, `port="80.5": must be a whole number from 0 to 65535`},
		{"[port]\nhttp = 1", none, "port: must be a text, a number, true or false, or a list of them; settings are not grouped in tables"},
		{"port = = 1", none, "read settings from"},
		{none, "EIDER_HOST=example.com", `EIDER_HOST="example.com": must be an IP address to listen on, or localhost`},
		{none, "EIDER_FLUSH_INTERVAL=soon", `EIDER_FLUSH_INTERVAL="soon": must be from 10ms to 1m, as a duration such as 90s, or a bare number of seconds`},
		{none, "EIDER_FLUSH_INTERVAL=0", `EIDER_FLUSH_INTERVAL="0": must be from 10ms to 1m`},
		{none, "EIDER_PUBLISH_INTERVAL=NaN", `EIDER_PUBLISH_INTERVAL="NaN": must be from 1s to 24h`},
		{none, "EIDER_PUBLISH_INTERVAL=25h", `must be from 1s to 24h`},
		{none, "EIDER_RETENTION_DAYS=-1", `EIDER_RETENTION_DAYS="-1": must be a number of days from 0 (for ever) to 36500`},
		{none, "EIDER_DUCKDB_MEMORY_LIMIT=1MiB", `EIDER_DUCKDB_MEMORY_LIMIT="1MiB": must be a size of at least 16MiB, such as 64MiB, or a bare number of bytes`},
		{none, "EIDER_MIN_FREE_DISK=95%", `EIDER_MIN_FREE_DISK="95%": must be a share from 0% to 90%`},
		{none, "EIDER_MIN_FREE_DISK=NaN%", `EIDER_MIN_FREE_DISK="NaN%": must be a share from 0% to 90%`},
		{none, "EIDER_FILTER_BOTS=maybe", `EIDER_FILTER_BOTS="maybe": must be true or false`},
		{none, "EIDER_DURABILITY=none", `EIDER_DURABILITY="none": must be one of sync, os`},
		{none, "EIDER_TRUSTED_PROXY=yes", `EIDER_TRUSTED_PROXY="yes": must be fly, cloudflare, or a header`},
		{none, "EIDER_TRUSTED_PROXY=X-Real-IP 10.0.0.0/33", `"10.0.0.0/33" is neither a range nor an address`},
		{none, "EIDER_TRUSTED_PROXY=X-Real-IP 0.0.0.0/0", "would let everyone forge an address"},
		{none, "EIDER_DASHBOARD_ORIGIN=stats.example.com", "must be an origin without a path, such as https://stats.example.com"},
		{none, "EIDER_SITE_IDS=https://a.example", "a domain has no scheme, port or path: example.com"},
		{none, "EIDER_SECRET_FILE=/does/not/exist", "EIDER_SECRET_FILE: read the secret: open /does/not/exist: no such file or directory"},
		{none, "EIDER_SECRET_FILE=/dev/null", "EIDER_SECRET_FILE: /dev/null is empty; EIDER_SECRET must be text, best 32 bytes or more by chance"},
		{none, "EIDER_PORT_FILE=/port", "EIDER_PORT_FILE: no such setting"},
		{none, "EIDER_TLS_CERT=/cert.pem", "EIDER_TLS_CERT: not available in this version; remove it"},
		{none, "EIDER_RATE_LIMIT_BACKEND=redis://h", "EIDER_RATE_LIMIT_BACKEND: not available in this version; remove it"},
		{none, "EIDER_METRICS_TOKEN=one,two,three", "EIDER_METRICS_TOKEN: must be one or two tokens, separated by a comma"},
		{none, "EIDER_AUDIT_KEY=one,two,three", "EIDER_AUDIT_KEY: must be one seed of 32 bytes in base64 or hexadecimal"},
		{none, "EIDER_AUDIT_PIN=7", "EIDER_AUDIT_PIN=\"7\": must be a size and a root"},
		{none, "EIDER_AUDIT_KAFKA=kafka/topic", "must be brokers and a topic, such as"},
		{none, "EIDER_AUDIT_KAFKA=kafka:9092", "must be brokers and a topic, such as"},
		{none, "EIDER_AUDIT_WEBHOOK=ftp://h", "must be a URL such as https://"},
		{none, "EIDER_EXPORT_EVENTS=true", "EIDER_EXPORT_EVENTS: there is nowhere to copy them to; set EIDER_POSTGRES_URL too"},
		{none, "EIDER_AUDIT_WEBHOOK=https://siem.example", "EIDER_AUDIT_WEBHOOK: set EIDER_AUDIT_WEBHOOK_SECRET too"},
		{"audit_webhook_secret = 'one,two'\naudit_webhook = 'https://siem.example'", none, "EIDER_AUDIT_WEBHOOK_SECRET: must have at least 16 bytes"},
		{none, "EIDER_AUDIT_WITNESS=https://witness.example", "EIDER_AUDIT_WITNESS="},
		{none, "DATABASE_URL=mysql://u:one,two@h/d", "DATABASE_URL: must be a URL such as postgres://"},
		{"publish_interval = 1\nflush_interval = 2", none, "EIDER_PUBLISH_INTERVAL=1s: must be at least EIDER_FLUSH_INTERVAL, which is 2s"},
		{"shutdown_timeout = 1\nshutdown_timeout_secs = 2", none, "EIDER_SHUTDOWN_TIMEOUT: shutdown_timeout and shutdown_timeout_secs are both set in the file"},
	} {
		_, err := load(t, c.file, c.env)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s:\n got %v\nwant %s", c.file, c.env, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "one,two") {
			t.Errorf("%s%s: the error tells the secret: %v", c.file, c.env, err)
		}
	}
}

// TestConfigWarnings: what is unwise or without effect is told, and taken.
func TestConfigWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ env, want string }{
		{"EIDER_MCP=true", "EIDER_MCP has no effect in this version"},
		{"DATABASE_URL=postgres://u:p@h/d", ""},
		{"EIDER_AGENT_DIR=/agents", "EIDER_AGENT_DIR has no effect in this version"},
		{"EIDER_CACHE_TTL=60", ""},
		{"EIDER_API_KEY=secret", "EIDER_API_KEY is so short that it can be guessed; make one with: openssl rand -hex 32"},
		{"EIDER_METRICS_TOKEN=0123456789abcdef,short", "EIDER_METRICS_TOKEN is so short that it can be guessed; make one with: openssl rand -hex 32"},
		{"EIDER_SECRET=0123456789abcdef", ""},
	} {
		got, err := load(t, "", c.env)
		if err != nil || strings.Join(got.warnings, "; ") != c.want {
			t.Errorf("%s: %q, %v; want %q", c.env, got.warnings, err, c.want)
		}
	}
}

// TestConfigErrorsAtOnce has two wrong settings: both are told.
func TestConfigErrorsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, "port = -1", "EIDER_DURABILITY=none")
	if err == nil || !strings.Contains(err.Error(), "port=") || !strings.Contains(err.Error(), "EIDER_DURABILITY=") {
		t.Errorf("got %v, want both", err)
	}
}

// TestConfigMissingFile: a file that was asked for must be there.
func TestConfigMissingFile(t *testing.T) {
	t.Parallel()
	if _, err := loadConfig(nil, filepath.Join(t.TempDir(), "none.toml")); err == nil {
		t.Error("no error for a missing --config")
	}
}

// TestConfigSecretFile reads a secret from a file and never shows it.
func TestConfigSecretFile(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "metrics_token_file = '"+path+"'", "EIDER_SECRET_FILE="+path, "EIDER_API_KEY="+secret)
	if err != nil {
		t.Fatal(err)
	}
	if c.secret != secret || c.metricsToken != secret || c.apiKey != secret {
		t.Errorf("got %q, %q, %q", c.secret, c.metricsToken, c.apiKey)
	}
	for _, s := range c.shown() {
		if strings.Contains(s.Value, secret) {
			t.Errorf("%s is shown", s.Name)
		}
		if s.Name == "EIDER_SECRET" && (s.Source != path || s.Value != masked) {
			t.Errorf("EIDER_SECRET: got %s from %s, want it masked, from %s", s.Value, s.Source, path)
		}
	}
}

// TestConfigShown: what eider config prints can be set again.
func TestConfigShown(t *testing.T) {
	t.Parallel()
	c, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.settings() {
		if s.later || s.auto != "" || s.show() == "" {
			continue
		}
		if err := s.set(s.show()); err != nil {
			t.Errorf("%s: set(%q) = %v", s.env, s.show(), err)
		}
		if s.doc == "" || s.valid == "" {
			t.Errorf("%s is not documented", s.env)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"port", "prt", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDiskFloor(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	f := diskFloor{percent: 5, bytes: 64 << 20}
	if got := f.of(gib); got != 64<<20 {
		t.Errorf("of 1 GiB: got %d, want the 64 MiB", got)
	}
	if got := f.of(100 * gib); got != 5*gib {
		t.Errorf("of 100 GiB: got %d, want 5 GiB", got)
	}
}
