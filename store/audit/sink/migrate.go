package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/migrations"
)

// migrationLock is the advisory lock under which the schema is changed, so that of
// many appliances one does it.
const migrationLock = 0x6569646572 // "eider"

// A migration is one step of the schema.
type migration struct {
	version int
	name    string
	sql     string
}

// readMigrations returns the steps of the directory postgres, in order.
func readMigrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "postgres/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []migration
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		list = append(list, migration{version: i + 1, name: path.Base(name), sql: string(text)})
	}
	return list, nil
}

// schemaVersion returns that of the schema, 0 if there is none.
func schemaVersion(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (version int, err error) {
	// to_regclass would answer from a cache that knows nothing of what was done while
	// this transaction waited for the lock.
	var there bool
	if err := q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'eider' AND c.relname = 'schema_version')`).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = q.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM eider.schema_version`).Scan(&version)
	return version, err
}

// migrate brings the schema to the form this program works with, in one transaction.
// Where it has that form it needs no right to change anything.
func migrate(ctx context.Context, conn *pgx.Conn) error {
	steps, err := readMigrations(migrations.FS)
	if err != nil {
		return err
	}
	have, err := schemaVersion(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the version of the schema: %w", err)
	}
	if have > len(steps) {
		return fmt.Errorf("%w: it is at version %d and this program knows %d", ErrNewer, have, len(steps))
	}
	if have == len(steps) {
		return nil
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return applySteps(ctx, tx, steps) })
	if err != nil {
		return fmt.Errorf("make the schema eider (a role that may create it has to connect once): %w", err)
	}
	return nil
}

// applySteps applies what is missing once the lock is held, when another appliance
// may have done it.
func applySteps(ctx context.Context, tx pgx.Tx, steps []migration) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	have, err := schemaVersion(ctx, tx)
	if err != nil {
		return err
	}
	if have > len(steps) {
		return ErrNewer
	}
	if have == 0 {
		var there bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'eider')`).Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, `CREATE SCHEMA eider`); err != nil {
				return err
			}
		}
		const table = `CREATE TABLE eider.schema_version (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`
		if _, err := tx.Exec(ctx, table); err != nil {
			return err
		}
	}
	for _, s := range steps[have:] {
		// A file is several statements, which the extended protocol would not take.
		if _, err := tx.Conn().PgConn().Exec(ctx, s.sql).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO eider.schema_version (version, name) VALUES ($1, $2)`, s.version, s.name); err != nil {
			return err
		}
	}
	return nil
}

// errServer is why a server is not one that copies can be kept at.
var errServer = errors.New("this PostgreSQL cannot keep copies")

// usable refuses servers whose schema would not hold what it says.
func usable(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var encoding string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`).Scan(&version, &encoding)
	if err != nil {
		return fmt.Errorf("ask the server for its version: %w", err)
	}
	if version < 130000 {
		return fmt.Errorf("%w: its version is %d, and 13 is the oldest that does", errServer, version/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: the database has the encoding %s; create one with ENCODING 'UTF8'", errServer, encoding)
	}
	return nil
}
