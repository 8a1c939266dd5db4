-- +goose Up

-- Whether there is a copy of the events elsewhere, which erasures have to follow.
CREATE TABLE event_copy (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	begun INTEGER NOT NULL
) STRICT;

-- Erasures that the copy has yet to follow: of the events up to upto that meet all
-- that is set.
CREATE TABLE withdrawals (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	made    INTEGER NOT NULL,
	upto    INTEGER NOT NULL,
	site    TEXT NOT NULL,    -- '' is every one
	starts  INTEGER NOT NULL, -- the first µs; 0 is an open end
	ends    INTEGER NOT NULL, -- the µs after the last; 0 is an open end
	visitor BLOB NOT NULL CHECK (length(visitor) = 16), -- zeros are every one
	user    BLOB NOT NULL CHECK (length(user) = 16)     -- likewise
) STRICT;
