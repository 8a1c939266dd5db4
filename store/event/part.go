package event

// A Part is one Parquet file of the history, as the ledger lists it. A file that
// the ledger does not list does not count.
type Part struct {
	ID          int64    // given by the ledger, never used twice
	Path        string   // relative to the data directory, with slashes
	Day         Day      // the UTC day of all its events
	First, Last int64    // lowest and highest Seq; other parts may hold events between them
	Rows        int64    // number of events
	Bytes       int64    // size of the file
	SHA256      [32]byte // of the file's bytes

	MinTime, MaxTime int64    // lowest and highest Time, µs
	Sites            []string // the sites it holds events of, sorted
	Created          int64    // when it was written, µs
	Damaged          string   // why it is quarantined; "" if it is sound
}
