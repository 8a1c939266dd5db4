package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// How the ledger writes, and what it does when that fails; see the package's section on
// syncs and failure.

// Failed returns why the ledger takes no more writes, or nil if it does. The
// error wraps [ErrFailed] and the cause, or is [ErrClosed].
func (l *Ledger) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Healthy returns nil if the ledger takes writes and can be read. It is cheap
// enough for every readiness check.
func (l *Ledger) Healthy(ctx context.Context) error {
	if err := l.Failed(); err != nil {
		return err
	}
	var one int
	if err := l.read.QueryRowContext(ctx, `SELECT one FROM history`).Scan(&one); err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	return nil
}

// fail makes cause the reason why no more is written, if there is none yet, and
// returns the reason.
func (l *Ledger) fail(cause error) error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	l.err = err
	l.mu.Unlock()
	if l.opts.Failed != nil {
		l.opts.Failed(err)
	}
	return err
}

// judge fails the ledger if err comes from the disk and not from an argument.
func (l *Ledger) judge(err error) error {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case sqlite3.ErrConstraint:
		if e.ExtendedCode == sqlite3.ErrConstraintForeignKey {
			return fmt.Errorf("%w: %w", ErrNotFound, err) // the site
		}
		return fmt.Errorf("%w: %w", ErrExists, err)
	case sqlite3.ErrInterrupt, sqlite3.ErrTooBig, sqlite3.ErrRange:
		return err
	}
	return l.fail(err)
}

// write runs fn in one transaction on db. Once it has begun it is not cancelled:
// whether a cancelled commit took place could not be told.
func (l *Ledger) write(ctx context.Context, db *sql.DB, fn func(*sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.w.Lock()
	defer l.w.Unlock()
	return l.writeLocked(db, fn)
}

// writeLocked is write for who holds w.
func (l *Ledger) writeLocked(db *sql.DB, fn func(*sql.Tx) error) error {
	if err := l.Failed(); err != nil {
		return err
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return l.judge(err)
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // fn's error is the one that counts
		return l.judge(err)
	}
	if err := tx.Commit(); err != nil {
		return l.fail(err)
	}
	l.wrote(4 * pageSize)
	return nil
}

// wrote counts bytes that went into the WAL, and asks for a checkpoint. The
// caller holds w.
func (l *Ledger) wrote(bytes int) {
	l.written += bytes
	if l.written < checkpointAfter {
		return
	}
	select {
	case l.due <- struct{}{}:
	default:
	}
}
