-- How many rows of files do the figures of a day depend on? Those that happened in
-- it, and those of a visit that is followed into it.
SELECT count(*)
FROM read_parquet([{{files}}], hive_partitioning=false, filename=false, union_by_name=false)
WHERE site = {{site}} AND (
    epoch_us("time") >= {{from}} AND epoch_us("time") < {{to}}
    OR epoch_us(visit_start) + {{ahead}} > {{from}} AND epoch_us(visit_start) - {{behind}} < {{to}}
)
