// Package migrations holds the SQL that brings a data directory's databases to
// the form this program works with. Each directory is one database's; each file
// is one numbered step, one transaction, never edited once released. There is no
// way down: a database from a newer program is refused.
//
//	ledger/*.sql    ledger.db (SQLite), applied by store/ledger
package migrations

import "embed"

// FS holds the directories named in the package documentation.
//
//go:embed ledger/*.sql
var FS embed.FS
