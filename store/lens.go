package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// BUG(store): once, in thousands of lives under load, DuckDB has been seen to begin a
// scan of a table that was gone, which ends the process. What was acknowledged is
// in the journal; the statement is not known yet.

// lensVersion is what lens.duckdb is stamped with. A lens with another stamp is
// deleted, not migrated.
const lensVersion = 3

// maxSpill bounds what DuckDB may write to tmp, in bytes.
const maxSpill = 4 << 30

// A lens is an open DuckDB. Its main database is in memory and holds the hot
// rows in the schema hot; lens.duckdb is attached to it as lens. So a file that
// does not open costs nothing but itself.
type lens struct {
	db *sql.DB

	rollups *rollups

	// Guarded by Store.flushing.
	writer *sql.Conn // brings the hot rows
	batch  *batch
}

// lensFiles are the names that a lens has on disk.
func lensFiles(dir string) []string {
	path := filepath.Join(dir, "lens.duckdb")
	return []string{path, path + ".wal", path + ".wal.checkpoint", path + ".wal.recovery"}
}

// openLens opens the lens of a data directory. If that fails it deletes the
// files and makes a new one; rebuilt then says what was wrong.
func openLens(ctx context.Context, o Options) (l *lens, rebuilt, err error) {
	l, rebuilt = attachLens(ctx, o)
	if rebuilt == nil {
		return l, nil, nil
	}
	if ctx.Err() != nil {
		return nil, nil, rebuilt
	}
	if err := removeLens(o.Dir); err != nil {
		return nil, nil, err
	}
	if l, err = attachLens(ctx, o); err != nil {
		return nil, nil, fmt.Errorf("make new lens: %w", err)
	}
	return l, rebuilt, nil
}

func removeLens(dir string) error {
	for _, path := range lensFiles(dir) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("delete lens: %w", err)
		}
	}
	return nil
}

func attachLens(ctx context.Context, o Options) (*lens, error) {
	spill := filepath.Join(o.Dir, "tmp", "duckdb")
	if err := os.MkdirAll(spill, 0o700); err != nil {
		return nil, err
	}
	connector, err := duckdb.NewConnector("?"+settings(o, spill).Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	l := &lens{db: sql.OpenDB(connector), batch: newBatch()}
	l.db.SetMaxIdleConns(4)
	if err := l.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, l.close(ctx))
	}
	return l, nil
}

// settings are those that must hold before DuckDB opens a file: replaying a log
// of its own needs memory too.
func settings(o Options, spill string) url.Values {
	return url.Values{
		"memory_limit":                 {strconv.FormatInt(o.MemoryLimit>>10, 10) + "KiB"},
		"threads":                      {strconv.Itoa(o.Threads)},
		"temp_directory":               {spill},
		"max_temp_directory_size":      {strconv.Itoa(maxSpill>>20) + "MiB"},
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
		"allow_community_extensions":   {"false"},
		"allow_unsigned_extensions":    {"false"},
		"preserve_insertion_order":     {"false"},
		"enable_external_file_cache":   {"false"}, // the kernel caches parts; a name may be used again
		// By itself DuckDB would compress hot rows again and again while they come in,
		// which costs a flush a third of its time; what is written to lens.duckdb is
		// checkpointed where it is written.
		"checkpoint_threshold": {"1TB"},
	}
}

// setUp attaches the file and then locks DuckDB in: nothing but the parts can be
// opened, and no setting changed, by any statement on any connection.
func (l *lens) setUp(ctx context.Context, o Options) error {
	if _, err := l.db.ExecContext(ctx, "ATTACH "+quote(lensFiles(o.Dir)[0])+" AS lens"); err != nil {
		return fmt.Errorf("open lens.duckdb: %w", err)
	}
	if err := l.checkStamp(ctx); err != nil {
		return err
	}
	for _, stmt := range []string{
		"CREATE SCHEMA hot",
		"SET GLOBAL TimeZone = 'UTC'",
		"SET GLOBAL allowed_directories = [" + quote(filepath.Join(o.Dir, "events")+"/") + "]",
		"SET GLOBAL enable_external_access = false", // no directory can be added after this
		"SET GLOBAL lock_configuration = true",      // nothing can be set after this
	} {
		if _, err := l.db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("set up lens: %w", err)
		}
	}
	var err error
	if l.rollups, err = openRollups(ctx, l.db); err != nil {
		return err
	}
	if l.writer, err = l.db.Conn(ctx); err != nil {
		return fmt.Errorf("connect to lens: %w", err)
	}
	return nil
}

// checkStamp reads all of the file's schema and stamps a new file.
func (l *lens) checkStamp(ctx context.Context) error {
	if _, err := l.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS lens.stamp (version INTEGER NOT NULL, rollups VARCHAR)"); err != nil {
		return fmt.Errorf("read lens.duckdb: %w", err)
	}
	var version sql.NullInt64
	if err := l.db.QueryRowContext(ctx, "SELECT max(version) FROM lens.stamp").Scan(&version); err != nil {
		return fmt.Errorf("read lens.duckdb: %w", err)
	}
	switch {
	case version.Valid && version.Int64 == lensVersion:
		return nil
	case version.Valid:
		return fmt.Errorf("lens.duckdb has version %d, want %d", version.Int64, lensVersion)
	}
	for _, stmt := range []string{fmt.Sprintf("INSERT INTO lens.stamp VALUES (%d, NULL)", lensVersion), "CHECKPOINT lens"} {
		if _, err := l.db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("stamp lens.duckdb: %w", err)
		}
	}
	return nil
}

// close waits until every connection has been given back: only then does DuckDB
// let go of its file. It may be called again, to wait again.
func (l *lens) close(ctx context.Context) error {
	var err error
	if l.writer != nil {
		err = l.writer.Close()
		l.writer = nil
	}
	err = errors.Join(err, l.db.Close())
	for l.db.Stats().OpenConnections > 0 {
		select {
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("close lens: queries are still running: %w", ctx.Err()))
		case <-time.After(time.Millisecond):
		}
	}
	return err
}

// Conn returns a connection to the lens for reading; Close gives it back. No
// statement on it can open a file outside the parts, load code or change a
// setting; but one could write to the lens, or with COPY and ATTACH into the
// directory of the parts, so that of a user's text only a single statement that
// was found to be a SELECT may be run. It returns [ErrLens] while there is no lens. A connection taken before
// a rebuild works no more after it, and a [Snapshot] taken before it finds its
// hot tables gone: an error, never a wrong answer. Take both again.
func (s *Store) Conn(ctx context.Context) (*sql.Conn, error) {
	s.mu.Lock()
	l, closed := s.lens, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case l == nil:
		return nil, ErrLens
	}
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to lens: %w", err)
	}
	return conn, nil
}

// Rebuild throws the lens away, file and hot rows, and makes a new one from the
// journal. It is the remedy when a flush has failed or DuckDB has stopped after
// a fatal error; it waits for the queries that are running, for as long as ctx
// allows. A journal that the lens does not take in is published first. After an
// error the store has no lens, and Rebuild may be tried again.
func (s *Store) Rebuild(ctx context.Context) error {
	err := s.rebuild(ctx)
	if errors.Is(err, errLoad) {
		return s.relieve(ctx, err)
	}
	return err
}

// relieve publishes a journal that the lens could not take in, which needs no lens,
// and makes a new one of what is left. DuckDB spills hot rows, but not without
// limits: a table of 131,072 does not fit into 48 MiB.
func (s *Store) relieve(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return why
	}
	s.log.Warn("journal does not fit into the lens and is published", "err", why)
	if _, err := s.Publish(ctx); err != nil {
		return errors.Join(why, err)
	}
	return s.rebuild(ctx)
}

func (s *Store) rebuild(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.lens != nil {
		s.stale, s.lens = s.lens, nil
	}
	s.mu.Unlock()
	if s.stale != nil {
		if err := s.stale.close(ctx); err != nil {
			s.log.Warn("lens did not close cleanly", "err", err)
		}
		// Two at a time would spill into the same files.
		if n := s.stale.db.Stats().OpenConnections; n > 0 {
			return fmt.Errorf("rebuild lens: %d queries still use the old one", n)
		}
		s.stale = nil
	}
	if err := removeLens(s.opts.Dir); err != nil {
		return fmt.Errorf("rebuild lens: %w", err)
	}
	fresh, _, err := openLens(ctx, s.opts)
	if err != nil {
		return fmt.Errorf("rebuild lens: %w", err)
	}
	s.boundary.Lock()
	defer s.boundary.Unlock()
	s.mu.Lock()
	published := s.view.published
	s.mu.Unlock()
	hot, err := s.load(ctx, fresh, nil, published)
	if err != nil {
		return errors.Join(fmt.Errorf("rebuild lens: %w", err), fresh.close(ctx))
	}
	s.change(func(v *view) trash {
		s.lens, s.broken = fresh, nil
		s.stats.rebuilds++
		v.hot, v.flushed = hot, newest(hot, v.flushed)
		return trash{}
	})
	s.log.Warn("lens was thrown away and rebuilt from the journal")
	return nil
}
