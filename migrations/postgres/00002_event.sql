-- Copies of events, by month. They are no audit: an erasure takes rows out.

CREATE TABLE eider.event (
	instance    text COLLATE "C" NOT NULL,
	seq         bigint NOT NULL,
	time        timestamptz NOT NULL,
	site        text NOT NULL,
	name        text NOT NULL,
	data        jsonb NOT NULL,
	hash        bytea NOT NULL, -- SHA-256 of what was sent: jsonb keeps numbers and keys in its own way
	exported_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (instance, seq, time)
) PARTITION BY RANGE (time);
CREATE INDEX event_site_time ON eider.event (site, time);

-- What is of no month that anybody would ask for.
CREATE TABLE eider.event_rest PARTITION OF eider.event DEFAULT;

-- event_month makes the partition of the month that begins at a time in UTC. It
-- runs as the owner of the schema, so that copying needs no right to make tables.
CREATE FUNCTION eider.event_month(month timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET datestyle = ISO AS $$
DECLARE
	first timestamptz := date_trunc('month', month, 'UTC');
	past  timestamptz := (first AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
	name  text := 'event_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
	IF first < '2000-01-01 00:00:00+00' OR first >= '2100-01-01 00:00:00+00' OR to_regclass('eider.' || name) IS NOT NULL THEN
		RETURN;
	END IF;
	PERFORM pg_advisory_xact_lock(hashtext('eider.event_month'));
	EXECUTE format('CREATE TABLE IF NOT EXISTS eider.%I PARTITION OF eider.event FOR VALUES FROM (%L) TO (%L)', name, first, past);
END
$$;

-- erase_events takes rows out, and returns how many there were.
CREATE FUNCTION eider.erase_events(instance text, seqs bigint[]) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET datestyle = ISO AS $$
DECLARE
	erased bigint;
BEGIN
	DELETE FROM eider.event e WHERE e.instance = erase_events.instance AND e.seq = ANY (erase_events.seqs);
	GET DIAGNOSTICS erased = ROW_COUNT;
	RETURN erased;
END
$$;
REVOKE EXECUTE ON FUNCTION eider.event_month(timestamptz), eider.erase_events(text, bigint[]) FROM PUBLIC;
