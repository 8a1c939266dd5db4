-- The view visits of a query: one row a visit, from all of its events.
CREATE TEMP VIEW visits AS
SELECT
    any_value(site) AS site,
    visit,
    arg_min(visitor, seq) AS visitor,
    any_value(visit_start) AS start,
    max("time") AS "end",
    (max(epoch_us("time")) - min(epoch_us("time"))) / 1e6 AS duration,
    count(*) FILTER (name = 'pageview') AS pageviews,
    count(*) FILTER (name <> 'engagement') AS events,
    count(*) FILTER (name = 'pageview') = 1
        AND NOT bool_or(interactive AND name NOT IN ('pageview', 'engagement')) AS bounce,
    any_value(entry_hostname) AS entry_hostname,
    any_value(entry_path) AS entry_path,
    arg_max(path, row("time", seq)) FILTER (name = 'pageview') AS exit_path,
    any_value(referrer) AS referrer,
    any_value(source) AS source,
    any_value(channel) AS channel,
    any_value(utm_source) AS utm_source,
    any_value(utm_medium) AS utm_medium,
    any_value(utm_campaign) AS utm_campaign,
    any_value(utm_content) AS utm_content,
    any_value(utm_term) AS utm_term,
    any_value(click_id) AS click_id,
    any_value(browser) AS browser,
    any_value(browser_version) AS browser_version,
    any_value(os) AS os,
    any_value(os_version) AS os_version,
    any_value(device) AS device,
    any_value(screen) AS screen,
    any_value("language") AS "language",
    any_value(country) AS country,
    any_value(region) AS region,
    any_value(region_name) AS region_name,
    any_value(city) AS city,
    any_value(city_id) AS city_id
FROM events
WHERE visit IS NOT NULL
GROUP BY visit
