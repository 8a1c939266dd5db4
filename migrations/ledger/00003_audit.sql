-- +goose Up

-- One row an entry. What is filtered by stands beside the leaf: it stays when the
-- leaf is pruned. Nothing here is about a person.
CREATE TABLE audit_entries (
	seq     INTEGER PRIMARY KEY,
	time    INTEGER NOT NULL,
	kind    TEXT NOT NULL,
	outcome TEXT NOT NULL,
	actor   TEXT NOT NULL,
	object  TEXT NOT NULL,
	request TEXT NOT NULL,
	hashes  BLOB NOT NULL, -- of the tree, 32 bytes each: the leaf's first
	leaf    BLOB           -- NULL when it was pruned
) STRICT;

CREATE INDEX audit_time ON audit_entries (time);
CREATE INDEX audit_kind ON audit_entries (kind);
CREATE INDEX audit_actor ON audit_entries (actor);
CREATE INDEX audit_object ON audit_entries (object) WHERE object <> '';
CREATE INDEX audit_request ON audit_entries (request) WHERE request <> '';

-- What leaves have commitments to. Rows are only appended, and only overwritten
-- in place: moving them would leave copies in the file that nobody could destroy.
-- For the same reason there is no index.
CREATE TABLE audit_private (
	id    INTEGER PRIMARY KEY, -- seq * 64 + its number among those of the entry
	field TEXT NOT NULL,
	salt  BLOB NOT NULL,       -- 32 bytes; zeroes when it was destroyed
	value BLOB NOT NULL
) STRICT;

CREATE TABLE audit_checkpoints (
	origin TEXT NOT NULL,
	size   INTEGER NOT NULL,
	root   BLOB NOT NULL CHECK (length(root) = 32),
	time   INTEGER NOT NULL,
	note   BLOB NOT NULL,
	PRIMARY KEY (origin, size)
) STRICT, WITHOUT ROWID;

-- Refusals like that of the entry, which are not in the chain yet.
CREATE TABLE audit_folds (
	seq   INTEGER PRIMARY KEY,
	count INTEGER NOT NULL,
	first INTEGER NOT NULL,
	last  INTEGER NOT NULL
) STRICT;

-- Entries of acts that could not wait while the chain was halted.
CREATE TABLE audit_owed (
	id    INTEGER PRIMARY KEY,
	time  INTEGER NOT NULL,
	entry TEXT NOT NULL -- JSON
) STRICT;

CREATE TABLE audit_state (
	one         INTEGER PRIMARY KEY CHECK (one = 1),
	instance    TEXT NOT NULL,    -- '' before the first entry
	incarnation INTEGER NOT NULL,
	migrated    INTEGER NOT NULL, -- migrations up to this one are in the chain
	pruned      INTEGER NOT NULL, -- leaves below this seq are no more
	swept       INTEGER NOT NULL  -- and have been deleted below this one
) STRICT;

INSERT INTO audit_state (one, instance, incarnation, migrated, pruned, swept) VALUES (1, '', 0, 0, 0, 0);
