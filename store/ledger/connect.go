package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

const (
	applicationID = 0x45494452 // "EIDR"
	pageSize      = 4096
)

// create makes an empty file that only its owner can read. SQLite would make one
// too, but with the umask's permissions, which the WAL then inherits.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Close(), dir.Sync(), dir.Close())
}

// A connector opens connections to one file with one set of settings.
type connector struct {
	dsn     string
	pragmas []string
}

func (c connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pragmas {
		if _, err := conn.(*sqlite3.SQLiteConn).Exec("PRAGMA "+p, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("pragma %s: %w", p, err), conn.Close())
		}
	}
	return conn, nil
}

// What a connection may do. A writer's transaction asks for the write lock when
// it begins: one that asks when it first writes can find that it may not have it.
const (
	toWrite = "mode=rw&_txlock=immediate"
	toRead  = "mode=rw&_query_only=true" // but it can recover the WAL
	toLook  = "mode=ro"
)

// dial returns a pool of at most conns connections. Nothing is opened yet.
func dial(path, may string, conns int, pragmas ...string) *sql.DB {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_busy_timeout=10000&" + may
	db := sql.OpenDB(connector{dsn, append([]string{
		"trusted_schema = OFF",
		"foreign_keys = ON",
		"temp_store = MEMORY",
		"wal_autocheckpoint = 0",
		"cache_size = -512", // KiB: there are eight connections, and the kernel caches the file
	}, pragmas...)})
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// connect prepares the connections. They differ in two settings.
//
// secure_delete overwrites what is deleted, which makes SQLite read, change and
// log every page of a deleted blob. Salts must be destroyed; journal groups and
// id pages only have to go, and go cheaply: they are deleted with it off.
//
// synchronous: a lost trim only brings dead rows back, and id pages count for
// nothing until a commit on main, which syncs the whole WAL and them with it. So
// bulk does not sync.
func (l *Ledger) connect() {
	sync := "synchronous = FULL"
	if l.opts.Durability == OS {
		sync = "synchronous = NORMAL"
	}
	l.main = dial(l.path, toWrite, 1, "synchronous = FULL", "secure_delete = ON")
	l.journal = dial(l.path, toWrite, 1, sync, "secure_delete = OFF")
	l.bulk = dial(l.path, toWrite, 1, "synchronous = NORMAL", "secure_delete = OFF")
	l.checks = dial(l.path, toWrite, 1, "synchronous = FULL")
	l.read = dial(l.path, toRead, 4)
}

func (l *Ledger) closeAll() error {
	var errs []error
	for _, s := range []*sql.Stmt{l.insert, l.find, l.addEntry, l.addPrivate, l.addFolded} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, db := range []*sql.DB{l.journal, l.bulk, l.main, l.read, l.checks} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if l.wal != nil {
		errs = append(errs, l.wal.Close())
	}
	return errors.Join(errs...)
}
