package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/duckdb/duckdb-go/v2"
)

// undoPatience is how long it is tried to undo what found no memory: what has been ended
// gives its own back a little later.
const undoPatience = time.Second

// insert adds records to a hot table that has so many rows, in one transaction.
//
// room is called when there is none, before what was begun is undone: that takes
// memory too.
//
// They are a view on memory that only this transaction may read: it is made and
// dropped inside it, so that no other connection ever sees its name.
func (l *lens) insert(ctx context.Context, table string, rows int64, records []arrow.RecordBatch, room func()) (err error) {
	if _, err := l.writer.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	release, err := l.register(records)
	if err != nil {
		err = fmt.Errorf("%w: %w", errView, err)
	} else {
		defer release()
		err = l.exec(ctx, "INSERT INTO "+table+" SELECT * FROM incoming", "DROP VIEW incoming", "COMMIT")
	}
	if err == nil {
		return nil
	}
	if outOfMemory(err) {
		room()
	}
	// A COMMIT that finds no room has ended the transaction, the one way or the other: also
	// the answer to it needs room. The rows tell how: all of them are there, or none.
	undo := patiently(ctx, undoPatience, func() error { _, err := l.writer.ExecContext(ctx, "ROLLBACK"); return err })
	if undo != nil && !strings.Contains(undo.Error(), "no transaction is active") {
		return fmt.Errorf("%v; undo: %v", err, undo) // not to be taken for one that was undone
	}
	var now, more int64
	for _, r := range records {
		more += r.NumRows()
	}
	count := patiently(ctx, undoPatience, func() error { return l.writer.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&now) })
	switch {
	case count == nil && now == rows:
		return err
	case count == nil && now == rows+more:
		return nil
	}
	return fmt.Errorf("%v; %d rows, want %d or %d: %v", err, now, rows, rows+more, count)
}

func (l *lens) exec(ctx context.Context, stmts ...string) error {
	for _, stmt := range stmts {
		if _, err := l.writer.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}

// errView is why records could not be made known to DuckDB, which does not say
// more. There is nothing in it that can fail but for want of memory.
var errView = errors.New("make view of records")

// register makes the view incoming of records.
func (l *lens) register(records []arrow.RecordBatch) (release func(), err error) {
	reader, err := array.NewRecordReader(l.batch.schema, records)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	err = l.writer.Raw(func(conn any) error {
		a, err := duckdb.NewArrowFromConn(conn.(driver.Conn))
		if err != nil {
			return err
		}
		release, err = a.RegisterView(reader, "incoming")
		return err
	})
	return release, err
}
