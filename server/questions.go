package server

import (
	"context"

	"github.com/eider-analytics/eider/store/event"
)

// Questions answers every report. It is safe for concurrent use, and neither
// side keeps what it was given or changes it. A [*event.QueryError] says that
// the question is wrong, [event.ErrBusy] that there are too many.
type Questions interface {
	// Query answers from one consistent state of the store.
	Query(ctx context.Context, q event.Query) (*event.Answer, error)
	// Bounds returns the times of a site's first and last event, in µs, and
	// whether there is any.
	Bounds(ctx context.Context, site string) (first, last int64, some bool, err error)
}
