package event

import (
	"errors"
	"time"
)

// Intervals of a time series.
const (
	Minutely = "minute"
	Hourly   = "hour"
	Daily    = "day"
	Weekly   = "week" // from Monday
	Monthly  = "month"
)

// Formats of an export.
const (
	FormatCSV     = "csv"
	FormatJSON    = "json" // one array
	FormatNDJSON  = "ndjson"
	FormatParquet = "parquet"
	FormatArrow   = "arrow" // IPC stream
)

// An ExportQuery asks for every event of a site, in the order of its sequence
// numbers.
type ExportQuery struct {
	Site     string
	From, To int64  // µs, half-open; 0 leaves that end open
	After    int64  // only events with a greater Seq: where the export before stopped
	Format   string // one of the Format constants
}

// SQLOptions bound a read-only SQL query. A zero value means the default.
type SQLOptions struct {
	MaxRows  int   // 10,000; more are cut off and the result says so
	MaxBytes int64 // 16 MiB of memory, likewise
	Timeout  time.Duration
	Arrow    bool // the rows are wanted as an Arrow stream
	Audit    bool // who asks may read the audit chain
}

// An SQLColumn is a column of an SQL result.
type SQLColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // as DuckDB calls it
}

// An SQLResult is the answer to an SQL query. A value is nil, a bool, an int64,
// a float64 or a string; what fits none of these, a decimal or a time, is the
// string that DuckDB would print.
type SQLResult struct {
	Columns   []SQLColumn
	Rows      [][]any
	Arrow     []byte // an IPC stream instead of Rows, if that was wanted
	Count     int    // rows
	Truncated bool   // there are more rows
}

// A QueryError says what is wrong with a question: a dimension that does not
// exist, an SQL statement that is refused or does not parse. Whoever asked may
// read it, so it holds neither a path nor anything else of the machine's.
type QueryError struct {
	Message string
}

func (e *QueryError) Error() string { return e.Message }

// ErrBusy is returned for a question that waited its time in the queue and
// found no place.
var ErrBusy = errors.New("too many queries at once; ask again later")

// ErrMemory is returned for a question that DuckDB has no memory for. What other
// work holds is free again in seconds; many goals and filters take megabytes each
// of their own.
var ErrMemory = errors.New("there is no memory for this question now; ask for fewer goals, filters or days, or again later")

// A BusyError is an [ErrBusy] that says when.
type BusyError struct {
	RetryAfter time.Duration // when a place should be free
}

func (e *BusyError) Error() string { return ErrBusy.Error() }

// Is says that it is an ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }
