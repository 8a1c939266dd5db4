package store

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/eider-analytics/eider/store/event"
)

// TestInsertEnds: an insert that finds no memory, and whose transaction has ended by
// itself, is told by what is in the table: as undone, or as done.
func TestInsertEnds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, _, err := openLens(ctx, Options{Dir: t.TempDir(), MemoryLimit: 24 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close(context.Background())
	do := func(stmts ...string) {
		t.Helper()
		if err := l.exec(ctx, stmts...); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE TABLE hot.g1 (" + columnTypes + ")")
	events := make([]event.Event, recordRows)
	for i := range events {
		events[i] = event.Event{Seq: int64(i + 1), Time: time.Now().UnixMicro(), Site: "example.com", Name: "pageview"}
	}
	record := l.batch.record(events)
	defer record.Release()
	if err := l.insert(ctx, "hot.g1", 0, []arrow.RecordBatch{record}, nil); err != nil {
		t.Fatal(err)
	}
	const n = 200
	var tooMany []arrow.RecordBatch
	for range n {
		tooMany = append(tooMany, record)
	}
	insert := func(room func()) error { return l.insert(ctx, "hot.g1", recordRows, tooMany, room) }
	if err := insert(func() {}); !outOfMemory(err) {
		t.Fatalf("%v, want one of memory", err)
	}
	if err := insert(func() { do("ROLLBACK") }); !outOfMemory(err) {
		t.Errorf("undone by itself: %v, want one of memory", err)
	}
	if err := insert(func() { do("ROLLBACK", "INSERT INTO hot.g1 SELECT * FROM hot.g1") }); err != nil {
		t.Errorf("done: %v", err)
	}
}
