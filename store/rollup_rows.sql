-- The rows that the figures of a day are made of: those inside it, and those of the
-- visits that began in it (own). A stray is inside, and too far from its visit to
-- be one of its events.
SELECT
    inside,
    coalesce(near AND began >= {{from}} AND began < {{to}}, false) AS own,
    coalesce(NOT near, false) AS stray,
    t,
    name,
    interactive AND name NOT IN ('pageview', 'engagement') AS active,
    visitor,
    visit,
    {{columns}}
FROM (
    SELECT *, t >= {{from}} AND t < {{to}} AS inside, t >= began - {{behind}} AND t < began + {{ahead}} AS near
    FROM (
        SELECT *, epoch_us("time") AS t, epoch_us(visit_start) AS began
        FROM read_parquet([{{files}}], hive_partitioning=false, filename=false, union_by_name=false)
        WHERE site = {{site}}
    )
    WHERE t >= {{from}} - {{behind}} AND t < {{to}} + {{ahead}}
)
WHERE inside OR near AND began >= {{from}} AND began < {{to}}
