, people AS (
    SELECT
        value,
        count(DISTINCT visitor) FILTER (inside) AS visitors,
        count(*) FILTER (inside AND name = 'pageview') AS pageviews,
        count(*) FILTER (inside AND name <> 'engagement') AS events
    FROM e
    WHERE {{where}} AND (inside OR began >= $from AND began < $to AND t >= began - $behind AND t < began + $ahead)
    GROUP BY value
),
visits AS (
    SELECT
        value,
        count(*) AS visits,
        sum(views)::BIGINT AS views,
        count(*) FILTER (views = 1 AND NOT active) AS bounces,
        sum(length)::BIGINT AS length
    FROM (SELECT DISTINCT value, visit FROM own WHERE {{where}}) JOIN v USING (visit)
    GROUP BY value
),
page AS (
    SELECT * FROM people LEFT JOIN visits USING (value) ORDER BY visitors DESC, value LIMIT $limit OFFSET $offset
)
-- The number of values comes with the rows, or alone if there are none.
SELECT
    total,
    value,
    coalesce(visitors, 0),
    coalesce(pageviews, 0),
    coalesce(events, 0),
    coalesce(visits, 0),
    coalesce(views, 0),
    coalesce(bounces, 0),
    coalesce(length, 0)
FROM (SELECT count(*) AS total FROM people) LEFT JOIN page ON true
ORDER BY visitors DESC, value
