-- The first and the last event of each visitor's latest visit, for those visitors
-- that were heard of last.
CREATE TEMP TABLE ends AS
WITH e AS NOT MATERIALIZED (
    SELECT seq, visitor, visit, epoch_us("time") AS t
    FROM {{events}} AS events
    WHERE epoch_us("time") >= $since AND visitor IS NOT NULL AND via <> 'import'
),
latest AS (
    SELECT visitor, arg_max(visit, t) AS visit
    FROM e
    GROUP BY visitor
    ORDER BY max(seq) DESC
    LIMIT $limit
)
SELECT DISTINCT unnest([arg_min(seq, t), arg_max(seq, t)]) AS seq
FROM e JOIN latest USING (visitor, visit)
GROUP BY visitor
