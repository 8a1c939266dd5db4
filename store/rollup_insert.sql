-- Keep the sums of some dimensions by the numbers of their values.
INSERT INTO {{sums}}
SELECT {{span}}, dim, {{start}}, id, values.* EXCLUDE (dim, value)
FROM values JOIN {{texts}} USING (value)
WHERE dim IN ({{dims}})
ORDER BY dim, id
