package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/eider-analytics/eider/store/event"
)

// arrowNative are the types that Arrow has as well, beside decimals.
var arrowNative = append([]string{"UBIGINT", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}, native...)

// arrowed returns the value of a column under its own name, in a type that Arrow
// has: what sum and count make of a number is a decimal, what there is no type
// for is text.
func arrowed(name string, c event.SQLColumn) string {
	switch {
	case c.Type == "HUGEINT" || c.Type == "UHUGEINT":
		name += "::DECIMAL(38,0)"
	case !slices.Contains(arrowNative, c.Type) && !strings.HasPrefix(c.Type, "DECIMAL("):
		name += "::VARCHAR"
	}
	return name + ` AS "` + strings.ReplaceAll(c.Name, `"`, `""`) + `"`
}

// An arrowResult is a result as an Arrow stream, of no more than so many bytes.
type arrowResult struct {
	out    bytes.Buffer
	to     *ipc.Writer
	schema *arrow.Schema
	most   int64
}

func (a *arrowResult) open(schema *arrow.Schema) {
	a.schema = schema
	a.to = ipc.NewWriter(&a.out, ipc.WithSchema(schema))
}

// write writes the first n rows of a record, or as many of them as there is room
// for, and returns how many those are.
func (a *arrowResult) write(rec arrow.RecordBatch, n int) (int, error) {
	before := a.out.Len()
	for ; n > 0; n /= 2 {
		part := rec.NewSlice(0, int64(n))
		err := a.to.Write(part)
		part.Release()
		if err != nil || int64(a.out.Len()) <= a.most {
			return n, err
		}
		if a.out.Truncate(before); before == 0 { // the schema stood before the first record
			a.open(a.schema)
		}
	}
	return 0, nil
}

// fetchArrow is fetch for a result that is wanted as an Arrow stream.
func fetchArrow(ctx context.Context, conn *sql.Conn, text string, columns []event.SQLColumn, o event.SQLOptions) (*event.SQLResult, error) {
	result := &event.SQLResult{Columns: columns}
	a := &arrowResult{most: o.MaxBytes}
	err := recordsWith(ctx, conn, text, nil, a.open, func(rec arrow.RecordBatch) error {
		n, err := a.write(rec, min(int(rec.NumRows()), o.MaxRows-result.Count))
		if err != nil {
			return err
		}
		result.Count += n
		if result.Truncated = n < int(rec.NumRows()); result.Truncated {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if err := a.to.Close(); err != nil {
		return nil, err
	}
	result.Arrow = a.out.Bytes()
	return result, nil
}
