package main

import (
	"errors"
	"strings"
	"time"

	"github.com/eider-analytics/eider/server"
)

// A setting is one thing that an operator can set. The table of them is the only
// list: it parses, checks, prints and documents them.
type setting struct {
	env    string // its variable in the environment
	def    string // default, as text; "" if there is none or if auto says how it is found
	auto   string // how the default is found where it is not a text
	doc    string // what it does, for the operator
	secret bool   // never shown; can be given as a file
	later  bool   // known, but belongs to a later version: has no effect, and a warning says so
	needed bool   // later, and so much relied upon that anything but its default is an error
	alias  string // another variable that means the same
	value
}

// key returns the setting's name in eider.toml: flush_interval.
func (s *setting) key() string { return strings.ToLower(strings.TrimPrefix(s.env, "EIDER_")) }

// is says whether a name of the environment or of a file means this setting.
func (s *setting) is(name string) bool {
	return name == s.env || name == s.key() ||
		s.alias != "" && (name == s.alias || name == strings.ToLower(strings.TrimPrefix(s.alias, "EIDER_")))
}

// settings returns the table. Its values write to c.
func (c *config) settings() []setting {
	table := c.serverSettings()
	table = append(table, c.doorSettings()...)
	table = append(table, c.ingestSettings()...)
	table = append(table, c.storeSettings()...)
	table = append(table, c.auditSettings()...)
	return append(table, laterSettings()...)
}

func (c *config) serverSettings() []setting {
	const day = 24 * time.Hour
	return []setting{
		{env: "EIDER_DATA_DIR", def: "data", value: pathValue(&c.dataDir),
			doc: "The directory that holds everything Eider keeps. Made if it is not there."},
		{env: "EIDER_HOST", def: "127.0.0.1", value: hostValue(&c.host),
			doc: "Address to listen on. The image sets `0.0.0.0`."},
		{env: "EIDER_PORT", def: "8080", value: numberValue(&c.port, 0, 65535),
			doc: "Port to listen on; 0 takes a free one."},
		{env: "EIDER_DASHBOARD_ORIGIN", value: originValue(&c.dashboardOrigin),
			doc: "Where browsers reach this server, such as `https://stats.example.com`."},
		{env: "EIDER_SCRIPT_PATH", value: ownPathValue(&c.scriptPath),
			doc: "Another path of the tracker `/js/eider.js`, such as `/assets/app.js`, for visitors whose blockers know the usual one."},
		{env: "EIDER_EVENT_PATH", value: ownPathValue(&c.eventPath),
			doc: "Another path of `/api/event`, such as `/assets/data`. The trackers then send there."},
		{env: "EIDER_TRUSTED_PROXY", value: proxyValue(&c.trustedProxy),
			doc: "Whose word is taken for a visitor's address: `fly`, `cloudflare`, or a header and the proxies that may set it. " +
				"Without it the address is that of the connection, and no header changes it."},
		{env: "EIDER_SECRET", auto: "made once, kept in the ledger", secret: true, value: secretValue(&c.secret),
			doc: "Keys the data derived from what clients send, such as their own user ids. Never in an export. Changing it starts new user ids."},
		{env: "EIDER_API_KEY", secret: true, value: secretValue(&c.apiKey),
			doc: "A key with every scope, for the first steps. Make others with `eider key create`."},
		{env: "EIDER_METRICS_TOKEN", auto: "none: `/metrics` answers only on loopback", secret: true, value: tokensValue(&c.metricsToken),
			doc: "Bearer token of `/metrics`. Two, separated by a comma, while one replaces the other."},
		{env: "EIDER_METRICS_ADDR", value: listenValue(&c.metricsAddr),
			doc: "A listener for `/metrics` alone, such as `[::]:9091`."},
		{env: "EIDER_MAX_CONCURRENT_QUERIES", auto: "twice the cores", value: numberValue(&c.maxConcurrentQueries, 1, 1000),
			doc: "Reports and SQL queries that run at once. Others wait; after 10 s they are refused."},
		{env: "EIDER_CACHE_TTL", def: "1m", value: secondsValue(&c.cacheTTL, 0, day),
			doc: "Longest that the answer to a question is kept. It is forgotten at once when an event comes or goes that could change it; 0 keeps none."},
		{env: "EIDER_SHUTDOWN_TIMEOUT", alias: "EIDER_SHUTDOWN_TIMEOUT_SECS", def: "30s",
			value: secondsValue(&c.shutdownTimeout, time.Second, day),
			doc:   "How long a stop may take. What is not published then is in the journal, and published at the next start."},
		{env: "EIDER_LOG_FORMAT", auto: "`text` on a terminal, else `json`", value: choiceValue(&c.logFormat, "text", "json"),
			doc: "Form of the log on stderr."},
		{env: "EIDER_LOG_LEVEL", def: "info", value: choiceValue(&c.logLevel, "debug", "info", "warn", "error"),
			doc: "What is logged at all."},
	}
}

func (c *config) ingestSettings() []setting {
	return []setting{
		{env: "EIDER_SITE_IDS", value: listValue(&c.siteIDs, "domains separated by commas", checkDomain),
			doc: "The only sites that events are taken for, separated by commas."},
		{env: "EIDER_AUTO_SITES", auto: "`true` on loopback, else `false`", value: autoValue(&c.autoSites),
			doc: "Make a site when its first event comes."},
		{env: "EIDER_RATE_LIMIT", def: "0", value: numberValue(&c.rateLimit, 0, 1_000_000),
			doc: "Events a second of one site; 0 is no limit."},
		{env: "EIDER_RATE_LIMIT_PER_IP", def: "0", value: numberValue(&c.rateLimitPerIP, 0, 1_000_000),
			doc: "Events a second from one address; 0 is no limit."},
		{env: "EIDER_FILTER_BOTS", def: "true", value: boolValue(&c.filterBots),
			doc: "Refuse the events of crawlers, libraries and test tools, and count them."},
		{env: "EIDER_RESPECT_GPC", def: "true", value: boolValue(&c.respectGPC),
			doc: "A request with `Sec-GPC: 1` or `DNT: 1` keeps no visitor id."},
		{env: "EIDER_GEOIP_DB", auto: "the built-in table of countries", value: pathValue(&c.geoipDB),
			doc: "An `.mmdb` file such as GeoLite2-City. A new version of the file is taken into use by itself."},
		{env: "EIDER_GEOIP_PRECISION", def: "city", value: choiceValue(&c.geoipDetail, "city", "region", "country", "none"),
			doc: "The finest part of a place that is kept."},
		{env: "EIDER_GDPR_MODE", def: "false", value: boolValue(&c.gdpr.Mode),
			doc: "Turns on the next five and cuts `EIDER_GEOIP_PRECISION` to the country."},
		{env: "EIDER_STRIP_REFERRER_QUERY", def: "false", value: boolValue(&c.gdpr.StripReferrerQuery),
			doc: "Keep only the host of a referrer. Its query is never kept."},
		{env: "EIDER_ROUND_TIMESTAMPS", def: "false", value: boolValue(&c.gdpr.RoundTimestamps),
			doc: "Keep the hour of an event, no finer."},
		{env: "EIDER_SUPPRESS_BROWSER_VERSION", def: "false", value: boolValue(&c.gdpr.SuppressBrowserVersion),
			doc: "Keep no version of a browser."},
		{env: "EIDER_SUPPRESS_OS_VERSION", def: "false", value: boolValue(&c.gdpr.SuppressOSVersion),
			doc: "Keep no version of an operating system."},
		{env: "EIDER_SUPPRESS_SCREEN_SIZE", def: "false", value: boolValue(&c.gdpr.SuppressScreenSize),
			doc: "Keep neither the width of the screen nor the kind of the device."},
		{env: "EIDER_SUPPRESS_VISITOR_ID", def: "false", value: boolValue(&c.gdpr.SuppressVisitorID),
			doc: "Keep no visitor id: pageviews and events are counted, visitors and visits are not. Not part of the GDPR mode."},
		{env: "EIDER_FLUSH_INTERVAL", def: "1s", value: secondsValue(&c.flushInterval, 10*time.Millisecond, time.Minute),
			doc: "Longest time that a stored event waits before reports show it."},
		{env: "EIDER_FLUSH_COUNT", def: "4096", value: numberValue(&c.flushCount, 1, 1_000_000),
			doc: "Events after which that is done at once."},
		{env: "EIDER_MAX_BUFFERED_EVENTS", def: "100000", value: numberValue(&c.maxBufferedEvents, 1, 10_000_000),
			doc: "Events that may wait for it, in no more than a sixteenth of the memory. More are answered with 503 and `Retry-After`."},
		{env: "EIDER_DURABILITY", def: "sync", value: choiceValue(&c.durability, "sync", "os"),
			doc: "`sync`: an event is answered when it is on the disk. `os`: when the operating system has it; at most 200 ms later it is on the disk."},
	}
}

func (c *config) storeSettings() []setting {
	return []setting{
		{env: "EIDER_PUBLISH_INTERVAL", def: "1h", value: secondsValue(&c.publishInterval, time.Second, 24*time.Hour),
			doc: "How often the journal is written to Parquet, if it does not grow too big before."},
		{env: "EIDER_RETENTION_DAYS", def: "0", value: daysValue(&c.retentionDays),
			doc: "Days that events are kept; 0 is for ever."},
		{env: "EIDER_MIN_FREE_DISK", def: "max(5%, 64MiB)", value: floorValue(&c.minFreeDisk),
			doc: "Space on the volume below which events are answered with 503 and readiness fails. Nothing is lost."},
		{env: "EIDER_DUCKDB_MEMORY_LIMIT", auto: "a share of the cgroup's memory", value: sizeValue(&c.duckdbMemoryLimit, 16<<20),
			doc: "Memory that queries may take."},
		{env: "EIDER_DUCKDB_THREADS", auto: "what cores and memory allow", value: numberValue(&c.duckdbThreads, 1, 1024),
			doc: "Threads that queries may take."},
	}
}

// laterSettings are those of versions to come. They are in the table so that a
// deployment prepared for such a version is told that this one ignores them, and
// is refused where that would be dangerous: traffic that should be encrypted.
func laterSettings() []setting {
	var table []setting
	for _, s := range []struct{ env, def string }{
		{env: "EIDER_RATE_LIMIT_BACKEND", def: "memory"},
		{env: "EIDER_AGENT_DIR"},
		{env: "EIDER_AGENT_REQUIRE_SIGNATURES", def: "true"},
		{env: "EIDER_AGENT_TRUSTED_KEYS"},
		{env: "EIDER_TLS_CERT"},
		{env: "EIDER_TLS_KEY"},
		{env: "EIDER_TLS_CA"},
		{env: "EIDER_OTLP_ENDPOINT"},
		{env: "EIDER_MCP", def: "false"},
	} {
		needed := strings.HasPrefix(s.env, "EIDER_TLS_") || s.env == "EIDER_RATE_LIMIT_BACKEND"
		table = append(table, setting{env: s.env, def: s.def, later: true, needed: needed,
			value: value{valid: "not available in this version"}})
	}
	return table
}

// autoValue is a boolean that is not known until the other settings are.
func autoValue(p *string) value {
	var b bool
	v := boolValue(&b)
	return value{
		valid: v.valid,
		set: func(s string) error {
			if err := v.set(s); err != nil {
				return err
			}
			*p = v.show()
			return nil
		},
		show: func() string { return *p },
	}
}

// tokensValue takes one token, or two while one replaces the other.
func tokensValue(p *string) value {
	return value{
		valid: "one or two tokens, separated by a comma",
		set: func(s string) error {
			tokens := strings.Split(s, ",")
			if len(tokens) > 2 {
				return errRange
			}
			for _, token := range tokens {
				if strings.TrimSpace(token) == "" {
					return errRange
				}
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

// proxyValue takes fly, cloudflare, or a header and at least one network.
func proxyValue(p *string) value {
	return value{
		valid: "fly, cloudflare, or a header and the networks that may set it, such as X-Forwarded-For 10.0.0.0/8",
		set: func(s string) error {
			if _, err := server.ParseProxy(s); err != nil {
				return err
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

// ownPathValue takes a path that is none of the server's own.
func ownPathValue(p *string) value {
	return value{
		valid: "a path such as /assets/app.js, none of Eider's own",
		set: func(s string) error {
			if err := server.CheckPath(s); err != nil {
				return err
			}
			*p = s
			return nil
		},
		show: func() string { return *p },
	}
}

// checkDomain refuses what a site cannot be called.
func checkDomain(s string) error {
	if len(s) > 253 || strings.ContainsAny(s, "/:@?#\\ \t") {
		return errors.New("a domain has no scheme, port or path: example.com")
	}
	return nil
}
