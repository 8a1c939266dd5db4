SELECT people.*, visits.*
FROM (
    SELECT
        count(DISTINCT visitor),
        count(*) FILTER (name = 'pageview'),
        count(*) FILTER (name <> 'engagement')
    FROM e
    WHERE inside
) AS people, (
    SELECT
        count(*),
        coalesce(sum(views), 0)::BIGINT,
        count(*) FILTER (views = 1 AND NOT active),
        coalesce(sum(length), 0)::BIGINT
    FROM v
) AS visits
