package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// TestSQLAudit asks for entries of the audit chain in SQL, more of them than are
// brought in at once, also twice in one statement; who may not read it is told so.
func TestSQLAudit(t *testing.T) {
	t.Parallel()
	r := newRig(t, roomy)
	const n = 5000
	for i := range n {
		e := audit.Entry{Kind: audit.Task, Object: fmt.Sprint("task:", i%10), Detail: map[string]string{"i": fmt.Sprint(i)}}
		if err := r.ledger.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(query string) [][]any {
		t.Helper()
		got, err := r.store.SQL(t.Context(), query, event.SQLOptions{Audit: true})
		if err != nil {
			t.Fatal(err)
		}
		return got.Rows
	}
	got := ask(`SELECT count(*), sum((detail->>'$.i')::BIGINT)::BIGINT FROM audit WHERE kind = 'server.maintenance'`)
	if want := fmt.Sprint([]any{int64(n), int64(n * (n - 1) / 2)}); fmt.Sprint(got[0]) != want {
		t.Errorf("got %v, want %v", got[0], want)
	}
	got = ask(`SELECT count(*) FROM audit a JOIN audit b ON b.seq = a.seq + 1 AND (b.leaf->>'$.seq')::BIGINT = b.seq`)
	if size := n; got[0][0].(int64) < int64(size) {
		t.Errorf("%v entries have one before them, want at least %d", got[0][0], size)
	}
	_, err := r.store.SQL(t.Context(), "SELECT * FROM audit", event.SQLOptions{})
	if err == nil || !strings.Contains(err.Error(), "scope") {
		t.Errorf("without the right: %v", err)
	}
	if _, err := r.store.SQL(t.Context(), "WITH audit AS (SELECT 1 AS x) SELECT x FROM audit", event.SQLOptions{}); err != nil {
		t.Errorf("a name of one's own: %v", err)
	}
}
