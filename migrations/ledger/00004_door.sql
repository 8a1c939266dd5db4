-- +goose Up

-- Who may come in by the front door. Names are unique whatever their case; they are
-- kept as they were written.
CREATE TABLE users (
	id        TEXT PRIMARY KEY,
	name      TEXT NOT NULL COLLATE NOCASE UNIQUE,
	role      TEXT NOT NULL CHECK (role IN ('admin', 'viewer')),
	password  TEXT NOT NULL,    -- PHC string; '' is none yet
	totp      BLOB NOT NULL,    -- sealed; empty is none
	pending   BLOB NOT NULL,    -- likewise, not confirmed yet
	totp_step INTEGER NOT NULL, -- the newest code that was taken
	created   INTEGER NOT NULL,
	changed   INTEGER NOT NULL, -- the password; 0 is never
	last_used INTEGER NOT NULL  -- the last log-in; 0 is never
) STRICT, WITHOUT ROWID;

-- What is secret of the following is kept as its SHA-256: each is random and long.
CREATE TABLE recovery_codes (
	user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	hash BLOB NOT NULL CHECK (length(hash) = 32),
	PRIMARY KEY (user, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (
	hash    BLOB PRIMARY KEY CHECK (length(hash) = 32),
	user    TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
	hash      BLOB PRIMARY KEY CHECK (length(hash) = 32),
	id        TEXT NOT NULL UNIQUE,
	user      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	created   INTEGER NOT NULL,
	last_used INTEGER NOT NULL,
	expires   INTEGER NOT NULL,
	known     INTEGER NOT NULL, -- 1: the device had logged in before
	browser   TEXT NOT NULL,    -- where it began: Firefox · Linux
	country   TEXT NOT NULL     -- ISO 3166-1, or empty
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_user ON sessions (user);

CREATE TABLE passkeys (
	id         BLOB PRIMARY KEY, -- the credential's
	user       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	credential TEXT NOT NULL,    -- JSON: public key, counter, flags
	created    INTEGER NOT NULL,
	last_used  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX passkeys_user ON passkeys (user);

-- Attempts that failed, by source, account or device. The key is a keyed hash: it
-- says of nobody who he is.
CREATE TABLE login_tallies (
	key   TEXT PRIMARY KEY,
	count INTEGER NOT NULL,
	last  INTEGER NOT NULL,
	until INTEGER NOT NULL -- no attempt before
) STRICT, WITHOUT ROWID;
