, starts AS (
    SELECT unnest($starts::BIGINT[]) AS start
),
people AS (
    SELECT
        start,
        count(DISTINCT visitor) AS visitors,
        count(*) FILTER (name = 'pageview') AS pageviews,
        count(*) FILTER (name <> 'engagement') AS events
    FROM e ASOF JOIN starts ON e.t >= starts.start
    WHERE inside
    GROUP BY start
),
visits AS (
    SELECT
        start,
        count(*) AS visits,
        sum(views)::BIGINT AS views,
        count(*) FILTER (views = 1 AND NOT active) AS bounces,
        sum(length)::BIGINT AS length
    FROM v ASOF JOIN starts ON v.began >= starts.start
    GROUP BY start
)
SELECT
    start,
    coalesce(visitors, 0),
    coalesce(pageviews, 0),
    coalesce(events, 0),
    coalesce(visits, 0),
    coalesce(views, 0),
    coalesce(bounces, 0),
    coalesce(length, 0)
FROM starts LEFT JOIN people USING (start) LEFT JOIN visits USING (start)
ORDER BY start
