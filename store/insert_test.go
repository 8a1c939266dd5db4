package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/duckdb/duckdb-go/v2"

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
	rows := int64(recordRows)
	insert := func(room func()) error { return l.insert(ctx, "hot.g1", rows, tooMany, room) }
	if err := insert(func() {}); !outOfMemory(err) {
		t.Fatalf("%v, want one of memory", err)
	}
	if err := insert(func() { do("ROLLBACK") }); !outOfMemory(err) {
		t.Errorf("undone by itself: %v, want one of memory", err)
	}
	rows -= n * recordRows // the table has as many rows as if all of them were in it
	if err := insert(func() { do("ROLLBACK") }); err != nil {
		t.Errorf("done: %v", err)
	}
	rows++
	if err := insert(func() { do("ROLLBACK") }); err == nil || outOfMemory(err) {
		t.Errorf("neither: %v, want an error that is not one of memory", err)
	}
}

// TestOutOfMemory: what DuckDB says when it had no room, as it was seen to.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&duckdb.Error{Type: duckdb.ErrorTypeOutOfMemory, Msg: "Out of Memory Error: failed to offload data block"}, true},
		{&duckdb.Error{Type: duckdb.ErrorTypeTransaction, Msg: "TransactionContext Error: Failed to commit: could not allocate block of size 256.0 KiB (79.8 MiB/80.0 MiB used)"}, true},
		{&duckdb.Error{Type: duckdb.ErrorTypeTransaction, Msg: "TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB (47.8 MiB/48.0 MiB used)"}, true},
		{&duckdb.Error{Type: duckdb.ErrorTypeTransaction, Msg: "TransactionContext Error: Failed to commit: PRIMARY KEY or UNIQUE constraint violation"}, false},
		{&duckdb.Error{Type: duckdb.ErrorTypeTransaction, Msg: "TransactionContext Error: Current transaction is aborted (please ROLLBACK)"}, true},
		{&duckdb.Error{Type: duckdb.ErrorTypeCatalog, Msg: "Catalog Error: Table with name g7 does not exist!"}, false},
		{fmt.Errorf("%w: %w", errView, errors.New("x")), true},
		{context.Canceled, false},
		{nil, false},
	} {
		if got := outOfMemory(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
