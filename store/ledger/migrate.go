package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
)

// A Migration is one step from an older form of the ledger to a newer one.
type Migration struct {
	Version int64
	Name    string    // of its file
	Applied time.Time // UTC; zero if it has not been
}

// Migrations returns the migrations this program knows, in order, and when each
// was applied.
func (l *Ledger) Migrations(ctx context.Context) ([]Migration, error) {
	return applied(ctx, l.read, slices.Clone(l.known))
}

// Status is [Ledger.Migrations] for the ledger at path, which is not open, and
// is not changed. migrations is as in [Open]. A file that is not there is
// [fs.ErrNotExist].
func Status(ctx context.Context, path string, migrations fs.FS) ([]Migration, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	db := dial(path, toLook, 1)
	defer db.Close()
	p, err := provider(db, migrations)
	if err != nil {
		return nil, err
	}
	list := known(p)
	if err := accept(ctx, db, path, list); err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return applied(ctx, db, list)
}

func provider(db *sql.DB, migrations fs.FS) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "ledger")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// known returns the migrations of p as if none had been applied.
func known(p *goose.Provider) []Migration {
	var list []Migration
	for _, s := range p.ListSources() {
		list = append(list, Migration{Version: s.Version, Name: path.Base(s.Path)})
	}
	return list
}

// migrate refuses a file that this program cannot work with before anything in
// it is changed, and then applies what is missing.
func (l *Ledger) migrate(ctx context.Context, migrations fs.FS) error {
	p, err := provider(l.main, migrations)
	if err != nil {
		return err
	}
	l.known = known(p)
	if err := accept(ctx, l.main, l.path, l.known); err != nil {
		return err
	}
	if err := os.Chmod(l.path, 0o600); err != nil {
		return err
	}
	// The page size is taken up when the first page is written, and fixed by
	// journal_mode, which writes it. A crash before application_id leaves a
	// database without tables, which is taken for a new one.
	for _, pragma := range []string{
		fmt.Sprintf("page_size = %d", pageSize),
		"journal_mode = WAL",
		fmt.Sprintf("application_id = %d", applicationID),
	} {
		if _, err := l.main.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return fmt.Errorf("pragma %s: %w", pragma, err)
		}
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, m := range done {
		l.log.Info("ledger migrated", "path", path.Base(m.Source.Path), "elapsed", m.Duration)
	}
	return nil
}

// accept returns nil for an empty file and for a ledger no newer than list.
func accept(ctx context.Context, db *sql.DB, path string, list []Migration) error {
	var app, tables int64
	var e sqlite3.Error
	err := db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&app)
	if errors.As(err, &e) && e.Code == sqlite3.ErrNotADB {
		return fmt.Errorf("%s: %w: %w", path, ErrForeign, err)
	}
	if err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	if app != applicationID && (app != 0 || tables > 0) {
		return fmt.Errorf("%s: %w: another program's SQLite database (application id %#x, %d tables)", path, ErrForeign, app, tables)
	}
	if tables == 0 {
		return nil
	}
	var have int64
	if err := db.QueryRowContext(ctx, `SELECT ifnull(max(version_id), 0) FROM goose_db_version`).Scan(&have); err != nil {
		return err
	}
	if newest := list[len(list)-1].Version; have > newest {
		return fmt.Errorf("%s: %w: it is at version %d and this program knows %d; run the newer program, or restore a backup made before the upgrade",
			path, ErrNewer, have, newest)
	}
	return nil
}

// applied fills in when the migrations of list were applied.
func applied(ctx context.Context, db *sql.DB, list []Migration) ([]Migration, error) {
	var tables int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'`).Scan(&tables)
	if err != nil || tables == 0 {
		return list, err
	}
	rows, err := db.QueryContext(ctx, `SELECT version_id, tstamp FROM goose_db_version WHERE is_applied`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(list, func(m Migration) bool { return m.Version == version }); i >= 0 {
			list[i].Applied = at.UTC()
		}
	}
	return list, rows.Err()
}
