SELECT coalesce(min(epoch_us("time")), 0), coalesce(max(epoch_us("time")), 0), count(*)
FROM {{events}} AS events
WHERE site = $site AND epoch_us("time") >= $from AND epoch_us("time") < $to
