-- The page on which each visit ended that may have an event on the day: that of the
-- last pageview that has one, among the visit's own events.
SELECT visit, arg_max(path, row(t, seq)) AS exit_path
FROM (
    SELECT visit, path, name, seq, epoch_us("time") AS t, epoch_us(visit_start) AS began
    FROM read_parquet([{{files}}], hive_partitioning=false, filename=false, union_by_name=false)
    WHERE site = {{site}}
)
WHERE name = 'pageview'
    AND path IS NOT NULL
    AND t >= began - {{behind}} AND t < began + {{ahead}}
    AND began + {{ahead}} > {{from}} AND began - {{behind}} < {{to}}
GROUP BY visit
