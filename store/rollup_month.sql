-- The days of a month added up: the dimensions that all of them have, and of those
-- the ones of which that makes half as many rows. Totals are always one row.
INSERT INTO {{table}}
WITH days AS (
    SELECT * FROM {{table}} WHERE span IN ({{days}}) AND (({{mask}}::UBIGINT >> dim::UBIGINT) & 1) = 1
),
sums AS (
    SELECT
        dim,
        value,
        sum(seen)::BIGINT,
        sum(visitors)::BIGINT,
        sum(pageviews)::BIGINT,
        sum(events)::BIGINT,
        sum(visits)::BIGINT,
        sum(views)::BIGINT,
        sum(bounces)::BIGINT,
        sum(length)::BIGINT
    FROM days
    GROUP BY dim, value
),
worth AS (
    SELECT dim FROM days GROUP BY dim HAVING dim = 0 OR 2 * count(DISTINCT value) <= count(*)
)
SELECT {{span}}, dim, {{start}}, sums.* EXCLUDE (dim) FROM sums SEMI JOIN worth USING (dim) ORDER BY dim
