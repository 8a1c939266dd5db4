package store_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// bombs are statements that read nothing they may not, and would take for ever
// or all the memory.
var bombs = map[string]string{
	"recursion without end":        `WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r`,
	"recursion that doubles":       `WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + x FROM r, range(2) t(x)) SELECT max(n) FROM r`,
	"recursion that grows a text":  `WITH RECURSIVE r AS (SELECT 'x' AS s UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r`,
	"a trillion pairs":             `SELECT count(*) FROM range(1000000) a(x), range(1000000) b(y) WHERE (x * y) % 7 = 3`,
	"a quintillion of three":       `SELECT sum(hash(x, y, z)) FROM range(1000000) a(x), range(1000000) b(y), range(1000000) c(z)`,
	"every event with every other": `SELECT sum(hash(a.x, b.x)) FROM (SELECT seq AS x FROM events, range(100000)) a, (SELECT seq AS x FROM events, range(100000)) b`,
	"a list of a billion":          `SELECT list(x) FROM range(1000000000) t(x)`,
	"lists of lists":               `SELECT list(l) FROM (SELECT range(100000) AS l FROM range(100000))`,
	"a text of many":               `SELECT string_agg(x::VARCHAR, ',') FROM range(1000000000) t(x)`,
	"many long texts":              `WITH RECURSIVE r AS (SELECT lpad('', 1000, 'x') AS s, 1 AS n UNION ALL SELECT s || s, n + 1 FROM r WHERE n < 14) SELECT s || i::VARCHAR AS t FROM range(100000) t(i), r ORDER BY t`,
	"a text replaced by more":      `SELECT count(*) FROM range(1000000000) WHERE length(replace(lpad('', 1000, 'x'), 'x', 'yyyyyyyyyy') || range) = 1`,
	"a sort that does not fit":     `SELECT x FROM range(10000000000) t(x) ORDER BY hash(x) LIMIT 10`,
	"groups that do not fit":       `SELECT count(*) FROM (SELECT hash(x) AS h FROM range(10000000000) t(x) GROUP BY h)`,
	"a window over everything":     `SELECT max(m) FROM (SELECT median(x) OVER (ORDER BY x ROWS BETWEEN 100000 PRECEDING AND CURRENT ROW) AS m FROM range(100000000) t(x))`,
	"a pattern that goes back":     `SELECT count(*) FROM range(100000000) WHERE regexp_matches(lpad('', 1000, 'a') || range, '^(a+)+$|(a*)*b')`,
	"a generated series":           `SELECT count(*) FROM generate_series(1, 9000000000000000000)`,
	"unnested":                     `SELECT count(*) FROM (SELECT unnest(range(1000000)) FROM range(1000000))`,
}

// TestSQLBombs lets each bomb go off: it ends in time with an error that its
// author understands, and DuckDB answers as before.
func TestSQLBombs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	for name, query := range bombs {
		for _, asArrow := range []bool{false, true} {
			began := time.Now()
			_, err := r.store.SQL(t.Context(), query, event.SQLOptions{Timeout: 150 * time.Millisecond, Arrow: asArrow})
			if refused := (*event.QueryError)(nil); !errors.As(err, &refused) {
				t.Errorf("%s: %v, want a QueryError", name, err)
			}
			if took := time.Since(began); took > 15*time.Second { // of a machine that does other things too
				t.Errorf("%s took %v", name, took)
			}
		}
	}
	r.check()
	if err := r.store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSQLGone: when the client goes away DuckDB stops too, and has no more to do.
func TestSQLGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	began := time.Now()
	_, err := r.store.SQL(ctx, bombs["a quintillion of three"], event.SQLOptions{})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if err := r.store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSQLBesideIngest flushes and publishes while bombs go off, more of them at
// once than there are places for SQL: no flush fails, and none waits for them.
func TestSQLBesideIngest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	all := slices.Collect(maps.Values(bombs))
	for i := range 4 {
		wg.Go(func() {
			for ; ctx.Err() == nil; i++ {
				_, _ = r.store.SQL(ctx, all[i%len(all)], event.SQLOptions{Timeout: 300 * time.Millisecond})
			}
		})
	}
	var longest time.Duration
	end := time.Now().Add(3 * time.Second)
	for time.Now().Before(end) {
		r.append(story()...)
		began := time.Now()
		r.flush(len(r.waiting))
		longest = max(longest, time.Since(began))
	}
	r.publish()
	cancel()
	wg.Wait()
	r.check()
	t.Logf("longest flush %v on %d processors", longest, runtime.GOMAXPROCS(0))
}
