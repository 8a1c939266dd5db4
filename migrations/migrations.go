// Package migrations holds the SQL that brings a data directory's databases to
// the form this program works with. Each directory is one database's; each file
// is one numbered step, one transaction, never edited once released. There is no
// way down: a database from a newer program is refused.
//
//	ledger/*.sql    ledger.db (SQLite), applied by store/ledger
//	postgres/*.sql  the schema eider of a PostgreSQL database that copies go to,
//	                applied by store/audit/sink
package migrations

import "embed"

// FS holds the directories named in the package documentation.
//
//go:embed ledger/*.sql postgres/*.sql
var FS embed.FS
