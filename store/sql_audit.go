package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// auditSchema is of what the table audit is made of.
var auditSchema = arrow.NewSchema([]arrow.Field{
	{Name: "seq", Type: arrow.PrimitiveTypes.Int64},
	{Name: "time", Type: arrow.FixedWidthTypes.Timestamp_us},
	{Name: "kind", Type: arrow.BinaryTypes.String},
	{Name: "outcome", Type: arrow.BinaryTypes.String},
	{Name: "actor", Type: arrow.BinaryTypes.String},
	{Name: "object", Type: arrow.BinaryTypes.String},
	{Name: "request", Type: arrow.BinaryTypes.String},
	{Name: "leaf", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "link", Type: arrow.BinaryTypes.String},
}, nil)

const (
	auditTable = `CREATE TEMP TABLE audit (seq BIGINT, "time" TIMESTAMPTZ, kind VARCHAR, outcome VARCHAR, actor VARCHAR, object VARCHAR,
		request VARCHAR, reason VARCHAR, detail JSON, count BIGINT, leaf JSON, link VARCHAR)`
	auditInsert = `INSERT INTO audit SELECT seq, "time", kind, outcome, nullif(actor, ''), nullif(object, ''), nullif(request, ''),
		leaf->>'$.reason', leaf->'$.detail', coalesce((leaf->>'$.count')::BIGINT, 1), leaf, link FROM entries`
)

// auditAtOnce is how many entries are brought into the table audit at once.
const auditAtOnce = 4096

// makeAudit makes the table audit of all entries of the audit chain, on a connection
// that is thrown away with it. A view on the ledger would be read anew wherever a
// statement names it; DuckDB writes a table to disk where it does not fit.
func (s *Store) makeAudit(ctx context.Context, conn *sql.Conn, o event.SQLOptions) error {
	if !o.Audit {
		return &event.QueryError{Message: "the view audit is only for keys with the scope audit or admin"}
	}
	if _, err := conn.ExecContext(ctx, auditTable); err != nil {
		return fmt.Errorf("make table audit: %w", err)
	}
	first, end, err := s.ledger.Extent(ctx)
	if err != nil {
		return fmt.Errorf("make table audit: %w", err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, auditSchema)
	defer b.Release()
	insert := func() error {
		rec := b.NewRecordBatch()
		defer rec.Release()
		return addAudit(ctx, conn, rec)
	}
	n := 0
	err = s.ledger.Rows(ctx, first, end, func(r audit.Row) error {
		appendEntry(b, &r)
		if n++; n%auditAtOnce != 0 {
			return nil
		}
		return insert()
	})
	if err == nil && n%auditAtOnce != 0 {
		err = insert()
	}
	if err != nil {
		return fmt.Errorf("make table audit: %w", err)
	}
	return nil
}

func appendEntry(b *array.RecordBuilder, r *audit.Row) {
	b.Field(0).(*array.Int64Builder).Append(r.Seq)
	b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(r.Time))
	for i, text := range []string{string(r.Kind), string(r.Outcome), r.Actor, r.Object, r.Request} {
		b.Field(2 + i).(*array.StringBuilder).Append(text)
	}
	if leaf := b.Field(7).(*array.StringBuilder); r.Leaf == nil {
		leaf.AppendNull()
	} else {
		leaf.Append(string(r.Leaf))
	}
	link := r.Link()
	b.Field(8).(*array.StringBuilder).Append(hex.EncodeToString(link[:]))
}

// addAudit inserts a record into the table audit. The record is a view on memory,
// which is gone when the statement has ended.
func addAudit(ctx context.Context, conn *sql.Conn, rec arrow.RecordBatch) error {
	reader, err := array.NewRecordReader(auditSchema, []arrow.RecordBatch{rec})
	if err != nil {
		return err
	}
	defer reader.Release()
	var release func()
	err = conn.Raw(func(c any) error {
		a, err := duckdb.NewArrowFromConn(c.(driver.Conn))
		if err != nil {
			return err
		}
		release, err = a.RegisterView(reader, "entries")
		return err
	})
	if err != nil {
		return err
	}
	defer release()
	for _, stmt := range []string{auditInsert, "DROP VIEW entries"} {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}
