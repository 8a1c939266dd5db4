-- Erasures name what they are of, and not each event.

DROP FUNCTION eider.erase_events(text, bigint[]);

-- withdraw_events takes those of an instance's events with after < seq <= upto that
-- meet all that is not null out, and returns how many there were.
CREATE FUNCTION eider.withdraw_events(instance text, after bigint, upto bigint, site text, starts timestamptz, ends timestamptz, visitor text, person text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	erased bigint;
BEGIN
	DELETE FROM eider.event e WHERE e.instance = withdraw_events.instance AND e.seq > withdraw_events.after AND e.seq <= withdraw_events.upto
		AND (withdraw_events.site IS NULL OR e.site = withdraw_events.site)
		AND (withdraw_events.starts IS NULL OR e.time >= withdraw_events.starts)
		AND (withdraw_events.ends IS NULL OR e.time < withdraw_events.ends)
		AND (withdraw_events.visitor IS NULL OR e.data ->> 'visitor' = withdraw_events.visitor)
		AND (withdraw_events.person IS NULL OR e.data ->> 'user' = withdraw_events.person);
	GET DIAGNOSTICS erased = ROW_COUNT;
	RETURN erased;
END
$$;
REVOKE EXECUTE ON FUNCTION eider.withdraw_events(text, bigint, bigint, text, timestamptz, timestamptz, text, text) FROM PUBLIC;
