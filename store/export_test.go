package store

// For tests from the outside.
var (
	Intervals = intervals
	GuardTree = guardTree
)
