package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/eider-analytics/eider/store/event"
)

// A Row is an event as a copy of it elsewhere has it.
type Row struct {
	Seq            int64
	Time, Received int64 // µs
	Site, Name     string

	// Rest is an object of all other columns, as [Store.Export] writes them, without
	// those that are null: so the row of an event stays what it was when a later version
	// adds a column.
	Rest []byte
}

// Rows returns the events after a Seq, in its order: as many as there are, but no more
// than most, and none after those whose Rest have so many bytes. What is between after
// and upto, and not among them, is not there, and never will be.
//
// It has only what survives a power failure: what a copy has must not be lost here, or
// its Seq would be given to another event. Events that a part in quarantine may hold
// must not be passed over either; where that part begins this ends, and if it has
// begun, it is an error. An erasure that [ledger.Ledger.NextWithdrawal] has returned
// before the call is seen.
func (s *Store) Rows(ctx context.Context, after int64, most, bytes int) (rows []Row, upto int64, err error) {
	s.replacing.Lock()
	sn := s.Snapshot()
	s.replacing.Unlock()
	defer sn.Release()
	upto = min(sn.Flushed(), s.ledger.Synced())
	for _, p := range sn.Degraded() {
		if p.Last <= after || p.First > upto {
			continue
		}
		if upto = p.First - 1; upto <= after {
			return nil, after, fmt.Errorf("part %s is damaged, and events of it are not copied yet: restore its file, and run eider parts verify", p.Path)
		}
	}
	if upto <= after {
		return nil, after, nil
	}
	size := 0
	err = s.scan(ctx, sn, span{after: after, upTo: upto, most: most}, func(rec arrow.RecordBatch) error {
		put := rest(rec)
		for row := range int(rec.NumRows()) {
			r := put(row)
			rows = append(rows, r)
			if size += len(r.Rest); len(rows) == most || size >= bytes {
				upto = r.Seq
				return errEnough
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, after, fmt.Errorf("read the events after %d: %w", after, err)
	}
	return rows, upto, nil
}

// rest returns what makes a [Row] of a row of a record.
func rest(rec arrow.RecordBatch) func(row int) Row {
	columns := cells(rec, appendJSON, appendObject)
	text := func(name string, row int) string {
		return strings.Clone(rec.Column(columnOf[name]).(*array.String).Value(row))
	}
	at := func(name string, row int) int64 {
		return int64(rec.Column(columnOf[name]).(*array.Timestamp).Value(row))
	}
	return func(row int) Row {
		r := Row{
			Seq: rec.Column(columnOf["seq"]).(*array.Int64).Value(row), Time: at("time", row), Received: at("received", row),
			Site: text("site", row), Name: text("name", row),
		}
		for i, put := range columns {
			switch c := event.Columns[i].Name; {
			case c == "seq" || c == "time" || c == "site" || c == "name" || rec.Column(i).IsNull(row):
				continue
			case r.Rest == nil:
				r.Rest = append(r.Rest, '{')
			default:
				r.Rest = append(r.Rest, ',')
			}
			r.Rest = append(strconv.AppendQuote(r.Rest, event.Columns[i].Name), ':')
			r.Rest = put(r.Rest, row)
		}
		r.Rest = append(r.Rest, '}') // received is never null
		return r
	}
}

// columnOf is where a column is among [event.Columns].
var columnOf = func() map[string]int {
	m := make(map[string]int, len(event.Columns))
	for i, c := range event.Columns {
		m[c.Name] = i
	}
	return m
}()
