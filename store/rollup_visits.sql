-- The visits that began on the day, one row each.
SELECT
    visit,
    count(*) FILTER (name = 'pageview') AS views,
    bool_or(active) AS active,
    max(t) - min(t) AS length
FROM day
WHERE own
GROUP BY visit
