package event

import (
	"errors"
	"time"
)

// A Query is a question about one site and one range of time.
type Query struct {
	Site     string
	From, To int64          // µs, To is the first that no longer belongs to it; 0 leaves that end open
	Zone     *time.Location // the site's: days and hours begin by its clock; nil is UTC
}

// Totals are the figures of a range, of one of its intervals or of one value of
// a dimension.
type Totals struct {
	Visitors      int64
	Visits        int64
	Pageviews     int64
	Events        int64   // pageviews and custom events; engagement is none
	ViewsPerVisit float64 // 0 if there is no visit
	BounceRate    float64 // percent of the visits, 0 to 100
	VisitDuration float64 // seconds, mean
}

// A Point is one interval of a time series. Intervals without an event are
// there too, with zeros.
type Point struct {
	Time int64 // its first µs
	Totals
}

// A Row is one value of a dimension. The value "" means that nothing is known.
type Row struct {
	Value string
	Totals
}

// Intervals of a time series.
const (
	Hourly  = "hour"
	Daily   = "day"
	Weekly  = "week" // from Monday
	Monthly = "month"
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
	MaxBytes int64 // 16 MiB of values, likewise
	Timeout  time.Duration
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
	Truncated bool // there are more rows
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
