-- +goose Up

-- What belongs to a site goes with it. Ids are never given twice: a saved query
-- that names one which is gone must not find another.
CREATE TABLE goals (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	site     TEXT NOT NULL REFERENCES sites (domain) ON DELETE CASCADE,
	name     TEXT NOT NULL,
	kind     TEXT NOT NULL CHECK (kind IN ('page', 'event', 'scroll')),
	path     TEXT NOT NULL,    -- pattern; '' for an event
	event    TEXT NOT NULL,    -- '' but for an event
	props    TEXT NOT NULL,    -- JSON object of texts
	scroll   INTEGER NOT NULL, -- percent; 0 but for scroll
	currency TEXT NOT NULL,
	created  INTEGER NOT NULL,
	UNIQUE (site, name)
) STRICT;

CREATE TABLE segments (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	site    TEXT NOT NULL REFERENCES sites (domain) ON DELETE CASCADE,
	name    TEXT NOT NULL,
	filters TEXT NOT NULL, -- JSON array, as the Stats API v2 has them
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	UNIQUE (site, name)
) STRICT;

-- An annotation is of a day or of a moment: one of the two is set.
CREATE TABLE annotations (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	site    TEXT NOT NULL REFERENCES sites (domain) ON DELETE CASCADE,
	day     TEXT NOT NULL, -- YYYY-MM-DD
	time    INTEGER NOT NULL,
	text    TEXT NOT NULL,
	created INTEGER NOT NULL,
	CHECK ((day = '') <> (time = 0))
) STRICT;

CREATE INDEX annotations_site ON annotations (site);

-- A site without a row has no rules. The lists are JSON arrays of texts.
CREATE TABLE site_rules (
	site      TEXT PRIMARY KEY REFERENCES sites (domain) ON DELETE CASCADE,
	currency  TEXT NOT NULL,
	paths     TEXT NOT NULL,
	addresses TEXT NOT NULL,
	countries TEXT NOT NULL,
	hostnames TEXT NOT NULL,
	changed   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Before a change the days of a site's visitors were those of the older zone.
CREATE TABLE zone_changes (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	site   TEXT NOT NULL REFERENCES sites (domain) ON DELETE CASCADE,
	at     INTEGER NOT NULL,
	before TEXT NOT NULL,
	after  TEXT NOT NULL
) STRICT;

CREATE INDEX zone_changes_site ON zone_changes (site);
