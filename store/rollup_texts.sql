-- Number the texts of some dimensions that have no number yet.
INSERT INTO {{texts}}
SELECT (SELECT max(id) FROM {{texts}}) + row_number() OVER (), value
FROM (SELECT DISTINCT value FROM values WHERE dim IN ({{dims}})) ANTI JOIN {{texts}} USING (value)
