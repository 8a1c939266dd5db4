package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mattn/go-sqlite3"
)

// errWAL says how to read a ledger that was not closed, where nothing can be written.
var errWAL = errors.New("it was not closed and what it is in cannot be written to; copy ledger.db and ledger.db-wal to where it can")

// An AuditFile is the chain of a ledger that is not open, or is open elsewhere: an
// [audit.Log] that is only read.
type AuditFile struct {
	chainDB
	origin string
}

// OpenAudit reads the chain of the ledger at path. No migration is applied: a ledger
// without a chain, from an older version, is [ErrNotFound]. Nothing of the ledger is
// changed. Where it was not closed SQLite needs ledger.db-shm beside it to read the
// WAL, and makes it if it is not there.
func OpenAudit(ctx context.Context, path string) (*AuditFile, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("read audit chain: %w", err)
	}
	may := toLook
	if missingOrEmpty(path+"-wal") && missingOrEmpty(path+"-shm") {
		may += "&immutable=1" // then SQLite makes no files at all
	}
	f := &AuditFile{chainDB: chainDB{dial(path, may, 2)}}
	if err := f.look(ctx); err != nil {
		return nil, fmt.Errorf("read audit chain of %s: %w", path, errors.Join(err, f.Close()))
	}
	return f, nil
}

func missingOrEmpty(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Size() == 0
}

func (f *AuditFile) look(ctx context.Context) error {
	var app, tables int64
	err := f.db.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&app)
	var e sqlite3.Error
	switch {
	case errors.As(err, &e) && e.Code == sqlite3.ErrNotADB:
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case errors.As(err, &e) && (e.Code == sqlite3.ErrCantOpen || e.Code == sqlite3.ErrReadonly):
		return fmt.Errorf("%w: %w", errWAL, err)
	case err != nil:
		return err
	case app != applicationID:
		return ErrForeign
	}
	err = f.db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'audit_state'`).Scan(&tables)
	if err != nil {
		return err
	}
	if tables == 0 {
		return fmt.Errorf("audit chain: %w: the ledger is from a version that kept none", ErrNotFound)
	}
	return f.db.QueryRowContext(ctx, `SELECT 'eider/' || instance || '/' || incarnation FROM audit_state`).Scan(&f.origin)
}

// Origin returns which chain it is.
func (f *AuditFile) Origin() string { return f.origin }

// Close ends the reading.
func (f *AuditFile) Close() error { return f.db.Close() }
