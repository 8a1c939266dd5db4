-- The figures of a day by the values of some dimensions.
CREATE TEMP TABLE values AS
WITH e AS NOT MATERIALIZED (
    SELECT inside, own, name, visitor, day.visit, unnest({{dims}}) AS dim, unnest([{{values}}]) AS value
    FROM {{source}}
),
people AS (
    SELECT
        dim,
        value,
        count(*) FILTER (inside) AS seen,
        count(DISTINCT visitor) FILTER (inside) AS visitors,
        count(*) FILTER (inside AND name = 'pageview') AS pageviews,
        count(*) FILTER (inside AND name <> 'engagement') AS events
    FROM e
    GROUP BY dim, value
),
visits AS (
    SELECT
        dim,
        value,
        count(*) AS visits,
        sum(views)::BIGINT AS views,
        count(*) FILTER (views = 1 AND NOT active) AS bounces,
        sum(length)::BIGINT AS length
    FROM (SELECT DISTINCT dim, value, visit FROM e WHERE own) JOIN own USING (visit)
    GROUP BY dim, value
)
SELECT
    dim,
    value,
    seen,
    visitors,
    pageviews,
    events,
    coalesce(visits, 0) AS visits,
    coalesce(views, 0) AS views,
    coalesce(bounces, 0) AS bounces,
    coalesce(length, 0) AS length
FROM people LEFT JOIN visits USING (dim, value)
