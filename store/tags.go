//go:build !duckdb_arrow

package store

// The lens is filled through DuckDB's Arrow interface, which duckdb-go leaves out
// unless it is asked for. The name below says what to do about it.
var _ = build_with_make_or_GOFLAGS_tags_duckdb_arrow
