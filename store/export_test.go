package store

// For tests from the outside.
var (
	Binned    = binned
	Intervals = intervals
	GuardTree = guardTree
)
