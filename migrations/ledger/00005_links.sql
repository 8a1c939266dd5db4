-- +goose Up

-- Links by which people without an account see the reports of one site. Whoever has a
-- link asks with its slug, of which lookups know the SHA-256 only; the slug itself is
-- sealed, so that the operator can be shown it again. A badge has a token of its own,
-- from which the slug cannot be told.
--
-- A segment to which a link is locked cannot be removed alone; with its site it goes,
-- and so do the links.
CREATE TABLE links (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	site       TEXT NOT NULL REFERENCES sites (domain) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
	badge_hash BLOB NOT NULL UNIQUE CHECK (length(badge_hash) = 32),
	sealed     BLOB NOT NULL,    -- the slug
	password   TEXT NOT NULL,    -- PHC string; '' is none
	segment    INTEGER REFERENCES segments (id),
	embed      INTEGER NOT NULL, -- 1: pages of others may show it in a frame
	badge      INTEGER NOT NULL, -- 1: there is a badge
	created    INTEGER NOT NULL,
	changed    INTEGER NOT NULL,
	expires    INTEGER NOT NULL, -- 0 is never
	UNIQUE (site, name)
) STRICT;

CREATE INDEX links_segment ON links (segment);
