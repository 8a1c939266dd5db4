-- The beginning of every report: e, the events of a site in a range and around
-- it, and v, the visits that began in the range, one row each.
--
-- A visit belongs to the range it began in, with all its events, also those after
-- the end of the range: so the figures of two ranges that touch add up. It is
-- followed for $behind µs before its start, because events may come late, and for
-- $ahead µs after it.
--
-- Times are whole µs here. Neither TIMESTAMPTZ nor ICU is ever asked.
WITH e AS NOT MATERIALIZED (
    SELECT *, t >= $from AND t < $to AS inside
    FROM (
        SELECT
            seq,
            epoch_us("time") AS t,
            name,
            visitor,
            visit,
            epoch_us(visit_start) AS began,
            interactive AND name NOT IN ('pageview', 'engagement') AS active,
            path,
            {{value}} AS value
        FROM {{source}}
        WHERE site = $site
    )
    WHERE t >= $from - $behind AND t < $to + $ahead
),
own AS NOT MATERIALIZED (
    SELECT *
    FROM e
    WHERE began >= $from AND began < $to AND t >= began - $behind AND t < began + $ahead
),
v AS (
    SELECT
        visit,
        any_value(began) AS began,
        count(*) FILTER (name = 'pageview') AS views,
        bool_or(active) AS active,
        max(t) - min(t) AS length
    FROM own
    GROUP BY visit
)
