-- Events with the exit page of their visit: its last pageview with a path.
{{events}} AS events LEFT JOIN (
    SELECT visit, arg_max(path, row("time", seq)) AS exit_path
    FROM {{events}} AS views
    WHERE site = $site
        AND name = 'pageview'
        AND epoch_us("time") >= $from - $behind AND epoch_us("time") < $to + $ahead
        AND epoch_us("time") < epoch_us(visit_start) + $ahead
    GROUP BY visit
) AS exits USING (visit)
