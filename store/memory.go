package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/eider-analytics/eider/store/event"
)

// outOfMemory says whether DuckDB had no room for something. What it had begun is
// then undone, unless undoing failed too. Of a view for which there was no room one
// hears by errView, or by the statement after it, which finds the transaction aborted;
// of a COMMIT, by an error of another type.
func outOfMemory(err error) bool {
	if errors.Is(err, errView) {
		return true
	}
	failed, ok := errors.AsType[*duckdb.Error](err)
	return ok && (failed.Type == duckdb.ErrorTypeOutOfMemory || slices.ContainsFunc(noRoom, func(text string) bool { return strings.Contains(failed.Msg, text) }))
}

// noRoom is what there is in the message of an error that want of memory has led to, if
// its type does not say so.
var noRoom = []string{"transaction is aborted", "could not allocate block", "failed to pin block", "failed to allocate data"}

// asked is err as who asked is told it: [event.ErrMemory] if there was no room, [ErrLens]
// if there is a new lens, which has none of the tables of a snapshot that was taken before.
func asked(err error) error {
	if outOfMemory(err) {
		return event.ErrMemory
	}
	if failed, ok := errors.AsType[*duckdb.Error](err); ok && failed.Type == duckdb.ErrorTypeCatalog && strings.Contains(failed.Msg, "Table with name") {
		return fmt.Errorf("%w: %w", ErrLens, err)
	}
	return err
}

// patiently does again what finds no memory, for a while.
func patiently(ctx context.Context, most time.Duration, do func() error) error {
	const pause = 50 * time.Millisecond
	began := time.Now()
	for {
		err := do()
		if !outOfMemory(err) && !errors.Is(err, event.ErrMemory) || time.Since(began) > most {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
