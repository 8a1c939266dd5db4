package store_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// hostile are statements that must be refused. CANARY is a file in the directory
// of the parts, which DuckDB itself would open; PART is a part; OUT is a path
// beside it.
var hostile = []string{
	// Files.
	`SELECT * FROM 'CANARY'`,
	`FROM "CANARY"`,
	`SELECT * FROM '/etc/passwd'`,
	`SELECT * FROM 'PART'`,
	`SELECT * FROM read_text('CANARY')`,
	`SELECT * FROM READ_TEXT('CANARY')`,
	`SELECT * FROM "read_text"('CANARY')`,
	`SELECT * FROM main.read_text('CANARY')`,
	`SELECT * FROM system.main.read_text('CANARY')`,
	`SELECT * FROM read_blob('CANARY')`,
	`SELECT * FROM read_csv('CANARY')`,
	`SELECT * FROM read_csv_auto('CANARY')`,
	`SELECT * FROM sniff_csv('CANARY')`,
	`SELECT * FROM read_json('CANARY')`,
	`SELECT * FROM read_ndjson_objects('CANARY')`,
	`SELECT * FROM read_parquet('PART')`,
	`SELECT * FROM parquet_scan('PART')`,
	`SELECT * FROM parquet_metadata('PART')`,
	`SELECT * FROM parquet_schema('PART')`,
	`SELECT * FROM parquet_kv_metadata('PART')`,
	`SELECT * FROM glob('/*')`,
	`SELECT * FROM read_duckdb('OUT')`,
	`SELECT * FROM events, read_text('CANARY') t`,
	`SELECT * FROM events e, LATERAL (SELECT * FROM read_text(e.path))`,
	`SELECT (SELECT content FROM read_text('CANARY'))`,
	`SELECT 1 WHERE EXISTS (SELECT 1 FROM 'CANARY')`,
	`SELECT 1 WHERE 'x' IN (SELECT content FROM read_text('CANARY'))`,
	`SELECT [x FOR x IN (SELECT list(content) FROM read_text('CANARY'))]`,
	`SELECT count(*) FILTER (WHERE (SELECT true FROM 'CANARY')) FROM events`,
	`SELECT sum(1) OVER (ORDER BY (SELECT 1 FROM 'CANARY'))`,
	`SELECT 1 ORDER BY (SELECT 1 FROM 'CANARY')`,
	`SELECT 1 LIMIT (SELECT 1 FROM 'CANARY')`,
	`SELECT 1 GROUP BY (SELECT 1 FROM 'CANARY')`,
	`SELECT 1 HAVING (SELECT true FROM 'CANARY')`,
	`SELECT 1 QUALIFY (SELECT true FROM 'CANARY')`,
	`SELECT * REPLACE ((SELECT 1 FROM 'CANARY') AS seq) FROM events`,
	`SELECT DISTINCT ON ((SELECT 1 FROM 'CANARY')) 1`,
	`VALUES ((SELECT content FROM read_text('CANARY')))`,
	`SELECT 1 UNION ALL SELECT content FROM read_text('CANARY')`,
	`SELECT * FROM events JOIN 'CANARY' ON true`,
	`SELECT * FROM events JOIN visits ON (SELECT true FROM 'CANARY')`,
	`SELECT * FROM range((SELECT count(*) FROM 'CANARY'))`,
	`SELECT * FROM (FROM 'CANARY')`,
	`TABLE "CANARY"`,
	`DESCRIBE 'CANARY'`,
	`DESCRIBE SELECT * FROM 'CANARY'`,
	`SUMMARIZE 'CANARY'`,
	`SELECT * FROM (DESCRIBE 'CANARY')`,
	`PIVOT 'CANARY' ON x`,
	`SELECT * FROM 'CANARY' UNPIVOT (v FOR n IN (a, b))`,

	// Common table expressions that look like a file, or are not in scope.
	`WITH a AS (FROM 'CANARY') FROM a`,
	`WITH a AS (FROM b), b AS (SELECT 1) FROM a`,
	`WITH "CANARY" AS (SELECT 1) FROM "CANARY"`,
	`WITH a AS (FROM "CANARY"), "CANARY" AS (SELECT 1) FROM a`,
	`WITH a AS (FROM a) FROM a`,
	`SELECT * FROM (WITH x AS (SELECT 1) FROM x), x`,
	`WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r, 'CANARY' WHERE n < 3) FROM r`,
	`WITH RECURSIVE r AS (FROM r UNION ALL SELECT 1) FROM r`,
	`WITH a AS MATERIALIZED (FROM read_text('CANARY')) FROM a`,

	// Tables that are not ours to show.
	`FROM hot.g0`,
	`FROM hot.g1`,
	`FROM lens.stamp`,
	`FROM lens.main.stamp`,
	`FROM memory.hot.g1`,
	`FROM temp.events`,
	`FROM main.events`,
	`FROM sqlite_master`,
	`FROM duckdb_tables`,
	`FROM duckdb_tables()`,
	`FROM duckdb_settings()`,
	`FROM duckdb_secrets()`,
	`FROM duckdb_databases()`,
	`FROM duckdb_views()`,
	`FROM duckdb_temporary_files()`,
	`FROM duckdb_functions()`,
	`FROM information_schema.tables`,
	`FROM pg_catalog.pg_tables`,
	`FROM pragma_database_list`,
	`FROM pragma_database_size()`,
	`FROM pragma_table_info('events')`,
	`FROM pragma_storage_info('hot.g1')`,
	`SHOW TABLES`,
	`SHOW ALL TABLES`,
	`SHOW DATABASES`,
	`FROM (SHOW TABLES)`,
	`FROM query('SELECT 42')`,
	`FROM query_table('events')`,
	`FROM query_table(['CANARY'])`,
	`FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))`,
	`FROM from_substrait('x'::BLOB)`,
	`FROM arrow_scan(1, 2, 3)`,
	`FROM seq_scan('events')`,
	`FROM test_all_types()`,
	`FROM histogram('CANARY', 'x')`,
	`FROM checkpoint()`,
	`FROM force_checkpoint()`,
	`FROM enable_logging()`,

	// Functions with an effect, or that tell of the machine.
	`SELECT getenv('HOME')`,
	`SELECT getvariable('x')`,
	`SELECT current_setting('temp_directory')`,
	`SELECT nextval('s')`,
	`SELECT setseed(0.5)`,
	`SELECT write_log('x')`,
	`SELECT sleep_ms(100000)`,
	`SELECT pg_sleep(100)`,
	`SELECT json_serialize_sql('SELECT 1')`,
	`SELECT repeat('x', 1000000000)`,
	`SELECT lpad('', 1000000000, 'x')`,
	`SELECT rpad('', 999 * 999 * 999, 'x')`,
	`SELECT LPAD('', seq, 'x') FROM events`,
	`SELECT rpad('', '1000000000', 'x')`,
	`SELECT lpad('', '1e9'::BIGINT, 'x')`,
	`SELECT printf('%1000000000d', 1)`,
	`SELECT format('{:1000000000}', 1)`,
	`SELECT levenshtein(path, title) FROM events`,
	`SELECT version()`,
	`SELECT current_database()`,
	`SELECT 1::lens.main.stamp`,
	`SELECT finalize('x'::BLOB)`,
	`SELECT "Finalize"('x'::BLOB)`,
	`SELECT count(*) FROM events WHERE current_query() = path`,
	`SELECT list_transform([1], x -> getenv('HOME'))`,
	`SELECT $1`,
	`SELECT ?`,
	`SELECT $name`,

	// Other statements.
	`ATTACH 'OUT' AS x`,
	`ATTACH ':memory:' AS x`,
	`DETACH lens`,
	`USE lens`,
	`INSTALL httpfs`,
	`LOAD httpfs`,
	`LOAD 'OUT'`,
	`SET memory_limit = '1GB'`,
	`SET VARIABLE x = 1`,
	`RESET memory_limit`,
	`PRAGMA threads = 8`,
	`PRAGMA database_list`,
	`PRAGMA table_info('events')`,
	`CALL pragma_version()`,
	`COPY events TO 'OUT'`,
	`COPY (SELECT 1) TO 'OUT'`,
	`COPY hot.g1 FROM 'CANARY'`,
	`EXPORT DATABASE 'OUT'`,
	`IMPORT DATABASE 'OUT'`,
	`CREATE TABLE x (a INT)`,
	`CREATE TEMP TABLE x AS SELECT 1`,
	`CREATE VIEW x AS SELECT 1`,
	`CREATE MACRO f(x) AS x`,
	`CREATE SECRET (TYPE s3)`,
	`CREATE TYPE x AS INT`,
	`CREATE SEQUENCE s`,
	`INSERT INTO hot.g1 SELECT * FROM events`,
	`UPDATE hot.g1 SET site = ''`,
	`DELETE FROM hot.g1`,
	`TRUNCATE hot.g1`,
	`DROP TABLE hot.g1`,
	`DROP SCHEMA hot CASCADE`,
	`ALTER TABLE hot.g1 ADD COLUMN x INT`,
	`MERGE INTO hot.g1 USING events ON true WHEN MATCHED THEN DELETE`,
	`CHECKPOINT`,
	`VACUUM`,
	`ANALYZE`,
	`BEGIN`,
	`COMMIT`,
	`PREPARE p AS SELECT 1`,
	`EXECUTE p`,
	`DEALLOCATE p`,
	`EXPLAIN SELECT 1`,
	`EXPLAIN ANALYZE DELETE FROM hot.g1`,
	`COMMENT ON TABLE hot.g1 IS 'x'`,
	`WITH x AS (INSERT INTO hot.g1 SELECT * FROM events RETURNING *) FROM x`,
	`WITH x AS (DELETE FROM hot.g1 RETURNING *) FROM x`,
	`SELECT * INTO x FROM events`,

	// More than one, and ways out of where ours is put.
	`SELECT 1; SELECT 2`,
	`SELECT 1; DROP TABLE hot.g1`,
	`SELECT 1) AS x; DROP TABLE hot.g1; SELECT * FROM (SELECT 1`,
	`SELECT 1) AS x, (SELECT 2`,
	`SELECT 1) LIMIT 1 --`,
	`SELECT 1 /*`,
	`SELECT 1 /* */ ; /* */ ATTACH 'OUT'`,
	`SELECT 'x`,
	`SELECT $$x`,
	"SELECT 1\x00; DROP TABLE hot.g1",
	"SELECT '\xff'",
	"SELECT 1; -- \nDROP TABLE hot.g1",
	``,
	`;`,
	`-- nothing`,
	`SELECT`,
	`hello`,
}

func TestSQLRefuses(t *testing.T) {
	t.Parallel()
	const secret = "the canary sings"
	r := newRig(t, roomy)
	r.add(story()...)
	r.publish()
	r.add(story()...)
	canary := filepath.Join(r.dir, "events", "canary.txt")
	if err := os.WriteFile(canary, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(r.dir, "events", "out")
	names := strings.NewReplacer("CANARY", canary, "OUT", out, "PART", filepath.Join(r.dir, r.store.Snapshot().Parts()[0].Path))
	for _, query := range hostile {
		query = names.Replace(query)
		result, err := r.store.SQL(t.Context(), query, event.SQLOptions{})
		var refused *event.QueryError
		if !errors.As(err, &refused) {
			t.Errorf("%s\ngot %v, %v; want a QueryError", query, result, err)
			continue
		}
		if strings.Contains(refused.Message, secret) || strings.Contains(refused.Message, r.dir) && !strings.Contains(query, r.dir) {
			t.Errorf("%s\ntells too much: %s", query, refused.Message)
		}
	}
	if got, err := os.ReadFile(canary); err != nil || string(got) != secret {
		t.Errorf("canary: %q, %v", got, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	r.check()
	if len(hostile) < 80 {
		t.Errorf("%d hostile statements", len(hostile))
	}
}

// TestLockDown is the second line: what the guard would have refused is refused
// by DuckDB too.
func TestLockDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	outside := filepath.Join(t.TempDir(), "outside")
	for _, query := range []string{
		`SELECT * FROM '/etc/passwd'`, `FROM read_text('/etc/passwd')`, `COPY (SELECT 1) TO '` + outside + `'`,
		`ATTACH '` + outside + `' AS x`, `INSTALL httpfs`, `LOAD httpfs`, `SET memory_limit = '10GB'`, `SET enable_external_access = true`,
	} {
		if _, err := conn.ExecContext(t.Context(), query); err == nil {
			t.Errorf("%s: allowed", query)
		}
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	r.add(story()...)
	r.publish()
	for _, c := range []struct {
		query string
		want  [][]any
	}{
		{`SELECT count(*) FROM events`, [][]any{{int64(15)}}},
		{`select COUNT(*) from EVENTS;`, [][]any{{int64(15)}}},
		{`FROM events SELECT site, count(*) GROUP BY ALL ORDER BY ALL`, [][]any{{"a.example", int64(14)}, {"b.example", int64(1)}}},
		{`SELECT sum(seq), avg(seq), min(seq) IS NULL, null FROM events`, [][]any{{int64(120), 8.0, false, nil}}},
		{"SELECT 1 -- one", [][]any{{int64(1)}}},
		{"/* a */ SELECT 'it''s; --' AS \"DROP TABLE\" -- b", [][]any{{"it's; --"}}},
		{`VALUES (1, 'a'), (2, NULL)`, [][]any{{int64(1), "a"}, {int64(2), nil}}},
		{`WITH p AS (SELECT path, count(*) AS n FROM events WHERE name = 'pageview' GROUP BY path) SELECT * FROM p WHERE n > 3 ORDER BY n DESC`,
			[][]any{{"/", int64(5)}, {"/b", int64(4)}}},
		{`WITH events AS (SELECT * FROM events WHERE site = 'b.example') SELECT count(*) FROM events`, [][]any{{int64(1)}}},
		{`WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r`, [][]any{{int64(10)}}},
		{`WITH a AS (SELECT 1 AS x), b AS MATERIALIZED (SELECT x + 1 AS x FROM a) SELECT a.x, b.x FROM a, b`, [][]any{{int64(1), int64(2)}}},
		{`SELECT visit, pageviews, bounce, duration FROM visits WHERE site = 'a.example' AND visit = 66`, [][]any{{int64(66), int64(2), false, 90.0}}},
		{`SELECT count(*), count(*) FILTER (bounce) FROM visits`, [][]any{{int64(7), int64(3)}}},
		{`SELECT sum(row_count), bool_and(damaged IS NULL) FROM parts`, [][]any{{int64(15), true}}},
		{`SELECT day FROM parts ORDER BY day LIMIT 1`, [][]any{{"2026-03-09"}}},
		{`SELECT date_trunc('day', "time") AS d, count(*) FROM events GROUP BY d ORDER BY d LIMIT 1`, [][]any{{"2026-03-09 00:00:00+00", int64(1)}}},
		{`SELECT 1.5::DECIMAL(18,4), 0.1 + 0.2, 1e100, '∞'::VARCHAR, 'nan'::DOUBLE, DATE '2026-01-01', INTERVAL 1 DAY`,
			[][]any{{"1.5000", "0.3", 1e100, "∞", "NaN", "2026-01-01", "1 day"}}},
		{`SELECT row_number() OVER (ORDER BY n DESC), n FROM range(3) t(n) ORDER BY n`, [][]any{{int64(3), int64(0)}, {int64(2), int64(1)}, {int64(1), int64(2)}}},
		{`SELECT list_transform([1, 2], x -> x + 1), {'a': 1}, [x FOR x IN [1, 2] IF x > 1]`, [][]any{{"[2, 3]", "{'a': 1}", "[2]"}}},
		{`SELECT 1 AS a, 2 AS a`, [][]any{{int64(1), int64(2)}}},
		{`SELECT unnest([1, 2]) AS u UNION ALL SELECT 3 ORDER BY u`, [][]any{{int64(1)}, {int64(2)}, {int64(3)}}},
		{`SELECT CASE WHEN path LIKE '/b%' THEN 'b' ELSE 'other' END AS p, count(DISTINCT visitor) FROM events GROUP BY p ORDER BY p`, [][]any{{"b", int64(4)}, {"other", int64(4)}}},
		{`SELECT column_name, column_type FROM (DESCRIBE events) LIMIT 2`, [][]any{{"seq", "BIGINT"}, {"site", "VARCHAR"}}},
		{`SELECT e.path FROM events e JOIN visits v USING (visit) WHERE v.pageviews = 2 AND e.path = '/late'`, [][]any{{"/late"}}},
		{`SELECT name, count(*) FROM events GROUP BY name HAVING count(*) > 1 ORDER BY 2 DESC`, [][]any{{"pageview", int64(12)}}},
		{`SELECT '{"a": "b"}'::JSON ->> 'a', json_extract_string('{"a": 1}', '$.a')`, [][]any{{"b", "1"}}},
		{`SELECT * FROM (VALUES (1, 2)) v(a, b) UNPIVOT (x FOR n IN (a, b)) ORDER BY ALL`, [][]any{{"a", int64(1)}, {"b", int64(2)}}},
		{`SELECT regexp_extract(path, '/(\w+)', 1) FROM events WHERE path = '/late'`, [][]any{{"late"}}},
		{`SELECT quantile_cont(x, 0.5), strftime(TIMESTAMP '2026-01-02', '%d') FROM range(5) t(x)`, [][]any{{2.0, "02"}}},
		{`SELECT EXISTS (SELECT 1 FROM events WHERE path = '/nowhere')`, [][]any{{false}}},
		{`SELECT x FROM range(100000) t(x) ORDER BY x DESC LIMIT 2`, [][]any{{int64(99999)}, {int64(99998)}}},
	} {
		got, err := r.store.SQL(t.Context(), c.query, event.SQLOptions{})
		if err != nil {
			t.Errorf("%s\n%v", c.query, err)
			continue
		}
		if diff := gocmp.Diff(c.want, got.Rows); diff != "" {
			t.Errorf("%s\nwant -, got +:\n%s", c.query, diff)
		}
	}
}

func TestSQLColumns(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	got, err := r.store.SQL(t.Context(), `SELECT 1 AS a, 'x' AS "b c", 1.5 AS a, [1] AS l LIMIT 0`, event.SQLOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := &event.SQLResult{Columns: []event.SQLColumn{
		{Name: "a", Type: "INTEGER"}, {Name: "b c", Type: "VARCHAR"}, {Name: "a_1", Type: "DECIMAL(2,1)"}, {Name: "l", Type: "INTEGER[]"},
	}, Rows: [][]any{}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	all, err := r.store.SQL(t.Context(), `SELECT * FROM events`, event.SQLOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range event.Columns {
		if all.Columns[i].Name != c.Name {
			t.Errorf("column %d of events is %s, want %s", i, all.Columns[i].Name, c.Name)
		}
	}
}

// TestSQLOrder checks that what is put around a query does not undo its ORDER BY.
func TestSQLOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	const order = `x * 7919 % 1000003 + x * 31 % 1009`
	got, err := r.store.SQL(t.Context(), `SELECT `+order+` AS o FROM range(1000000) t(x) ORDER BY o DESC`, event.SQLOptions{MaxRows: 1000})
	if err != nil {
		t.Fatal(err)
	}
	last := int64(math.MaxInt64)
	for i, row := range got.Rows {
		if n := row[0].(int64); n > last {
			t.Fatalf("row %d: %d after %d", i, n, last)
		} else {
			last = n
		}
	}
	if len(got.Rows) != 1000 || got.Rows[0][0].(int64) < 1_000_000 || !got.Truncated {
		t.Errorf("%d rows, the first %v, truncated %t", len(got.Rows), got.Rows[0], got.Truncated)
	}
}

func TestSQLLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	for _, c := range []struct {
		name      string
		query     string
		o         event.SQLOptions
		rows      int
		truncated bool
	}{
		{"as many as allowed", `FROM range(10)`, event.SQLOptions{MaxRows: 10}, 10, false},
		{"one more", `FROM range(11)`, event.SQLOptions{MaxRows: 10}, 10, true},
		{"default", `FROM range(20000)`, event.SQLOptions{}, 10_000, true},
		{"bytes", `SELECT lpad('', 1000, 'x') FROM range(100)`, event.SQLOptions{MaxBytes: 50_000}, 48, true},
	} {
		got, err := r.store.SQL(t.Context(), c.query, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(got.Rows) != c.rows || got.Truncated != c.truncated {
			t.Errorf("%s: %d rows, truncated %t; want %d, %t", c.name, len(got.Rows), got.Truncated, c.rows, c.truncated)
		}
	}
	began := time.Now()
	_, err := r.store.SQL(t.Context(), `SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11`, event.SQLOptions{Timeout: 200 * time.Millisecond})
	if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) || time.Since(began) > 5*time.Second {
		t.Errorf("a long query: %v after %v, want a QueryError", err, time.Since(began))
	}
	if _, err := r.store.SQL(t.Context(), `SELECT list(range) FROM range(100000000)`, event.SQLOptions{}); err == nil {
		t.Error("a query took all the memory it wanted")
	}
	if _, err := r.store.SQL(t.Context(), "SELECT '"+strings.Repeat("x", 70_000)+"'", event.SQLOptions{}); err == nil {
		t.Error("a long statement was taken")
	}
	deep := strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000)
	if _, err := r.store.SQL(t.Context(), "SELECT "+deep, event.SQLOptions{}); err == nil {
		t.Error("a deep statement was taken")
	}
	if err := r.store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSQLLeavesNothing checks that a query's views are gone after it.
func TestSQLLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	r.add(story()...)
	for range 10 {
		if _, err := r.store.SQL(t.Context(), `SELECT count(*) FROM visits`, event.SQLOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := r.store.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), `SELECT * FROM visits`); err == nil {
		t.Error("the view visits is still there")
	}
}

// FuzzGuard feeds trees to the guard: it must not panic, and what it lets through
// must name no table but the views.
func FuzzGuard(f *testing.F) {
	f.Add([]byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","cte_map":{"map":[]},"from_table":{"type":"BASE_TABLE","table_name":"events"}}}]}`))
	f.Add([]byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","cte_map":{"map":[{"key":"a","value":{}}]},"from_table":{"type":"TABLE_FUNCTION","function":{"type":"FUNCTION","function_name":"range"}}}}]}`))
	f.Add([]byte(`{"error":true,"error_type":"parser","error_message":"x"}`))
	f.Add([]byte(`{"statements":[null]}`))
	f.Fuzz(func(t *testing.T, tree []byte) {
		read, err := store.GuardTree(tree)
		if err != nil {
			return
		}
		for _, name := range read {
			if name != "events" && name != "visits" && name != "parts" {
				t.Errorf("reads %q", name)
			}
		}
	})
}

// FuzzSQL runs texts as statements: whatever they are, nothing is written.
func FuzzSQL(f *testing.F) {
	for _, query := range hostile {
		f.Add(query)
	}
	f.Add(`WITH a AS (SELECT 1) SELECT * FROM a, events e, visits v WHERE e.visit = v.visit`)
	r := newRig(f)
	r.append(story()...)
	r.flush(len(r.waiting))
	f.Fuzz(func(t *testing.T, query string) {
		_, err := r.store.SQL(t.Context(), query, event.SQLOptions{Timeout: time.Second, MaxRows: 10})
		if wrong := (*event.QueryError)(nil); err != nil && !errors.As(err, &wrong) {
			t.Errorf("%q: %v, want a QueryError", query, err)
		}
	})
}
