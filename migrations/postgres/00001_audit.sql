-- Copies of audit chains. Entries and checkpoints are only ever added: the
-- triggers refuse everything else, also where triggers are off for a session
-- (session_replication_role), so that whoever changes a row has to change the
-- schema first, or own the files.

CREATE TABLE eider.audit_entry (
	origin      text COLLATE "C" NOT NULL, -- eider/<instance>/<incarnation>
	seq         bigint NOT NULL CHECK (seq >= 0),
	time        timestamptz NOT NULL,
	kind        text NOT NULL,
	outcome     text NOT NULL,
	actor       text NOT NULL,
	object      text NOT NULL,
	request     text NOT NULL,
	leaf        bytea,          -- null if it was pruned before it could be copied
	hashes      bytea NOT NULL, -- the link, and the nodes of the tree that the entry completes, 32 bytes each
	exported_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (origin, seq),
	CHECK (length(hashes) >= 32 AND length(hashes) % 32 = 0),
	CHECK (leaf IS NULL OR sha256('\x00'::bytea || leaf) = substring(hashes FROM 1 FOR 32))
);
CREATE INDEX audit_entry_time ON eider.audit_entry USING brin (time);

CREATE TABLE eider.audit_checkpoint (
	origin      text COLLATE "C" NOT NULL,
	size        bigint NOT NULL CHECK (size >= 0),
	root        bytea NOT NULL CHECK (length(root) = 32),
	time        timestamptz NOT NULL, -- when it was signed
	note        bytea NOT NULL,
	note_hash   bytea NOT NULL GENERATED ALWAYS AS (sha256(note)) STORED,
	received_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (origin, size, note_hash)
);

CREATE FUNCTION eider.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
		USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eider.audit_entry
	FOR EACH STATEMENT EXECUTE FUNCTION eider.append_only();
ALTER TABLE eider.audit_entry ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON eider.audit_checkpoint
	FOR EACH STATEMENT EXECUTE FUNCTION eider.append_only();
ALTER TABLE eider.audit_checkpoint ENABLE ALWAYS TRIGGER append_only;

-- For people and their tools: entries as JSON.
CREATE VIEW eider.audit AS
	SELECT origin, seq, time, kind, outcome, actor, object, request,
		convert_from(leaf, 'UTF8')::jsonb AS entry,
		encode(substring(hashes FROM 1 FOR 32), 'hex') AS link,
		exported_at
	FROM eider.audit_entry;
