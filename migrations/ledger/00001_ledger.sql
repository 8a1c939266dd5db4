-- +goose Up

-- The rows of the journal are appended in order of their key and deleted from
-- the front. The blobs stand last so that sums need not read them.
CREATE TABLE journal (
	last     INTEGER PRIMARY KEY,
	first    INTEGER NOT NULL,
	count    INTEGER NOT NULL CHECK (count = last - first + 1),
	received INTEGER NOT NULL,
	ids      BLOB NOT NULL,
	payload  BLOB NOT NULL
) STRICT;

CREATE TABLE history (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	published INTEGER NOT NULL
) STRICT;

INSERT INTO history (one, published) VALUES (1, 0);

CREATE TABLE parts (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	path     TEXT NOT NULL UNIQUE,
	day      INTEGER NOT NULL,
	first    INTEGER NOT NULL,
	last     INTEGER NOT NULL,
	rows     INTEGER NOT NULL,
	bytes    INTEGER NOT NULL,
	sha256   BLOB NOT NULL CHECK (length(sha256) = 32),
	min_time INTEGER NOT NULL,
	max_time INTEGER NOT NULL,
	sites    TEXT NOT NULL, -- JSON array
	created  INTEGER NOT NULL,
	damaged  TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE id_blocks (
	id      INTEGER PRIMARY KEY,
	created INTEGER NOT NULL,
	bytes   INTEGER NOT NULL
) STRICT;

-- Pages of a block that id_blocks does not list are left over from a crash.
CREATE TABLE id_pages (
	block   INTEGER NOT NULL,
	first   BLOB NOT NULL, -- the key of its first entry
	entries BLOB NOT NULL,
	PRIMARY KEY (block, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE sites (
	domain   TEXT PRIMARY KEY,
	timezone TEXT NOT NULL,
	created  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE salts (
	site    TEXT NOT NULL,
	day     TEXT NOT NULL,
	salt    BLOB NOT NULL CHECK (length(salt) = 16),
	expires INTEGER NOT NULL,
	PRIMARY KEY (site, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
	id        TEXT PRIMARY KEY,
	name      TEXT NOT NULL,
	prefix    TEXT NOT NULL,
	hash      BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
	scopes    TEXT NOT NULL, -- separated by spaces
	site      TEXT NOT NULL,
	created   INTEGER NOT NULL,
	expires   INTEGER NOT NULL,
	last_used INTEGER NOT NULL,
	revoked   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	version TEXT NOT NULL,
	started INTEGER NOT NULL,
	stopped INTEGER NOT NULL DEFAULT 0,
	clean   INTEGER NOT NULL DEFAULT 0,
	took    INTEGER NOT NULL DEFAULT 0 -- ns
) STRICT;

CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
