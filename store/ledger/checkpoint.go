package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/eider-analytics/eider/store/fault"
)

// checkpointer moves pages from the WAL into the database whenever that is due.
//
// The first pass runs while groups are appended. What they have added in the
// meantime is moved by the second, for which they wait: only a WAL of which
// nothing is left is begun anew, and without that pass a busy ledger's would
// grow for ever.
func (l *Ledger) checkpointer() {
	for {
		select {
		case <-l.stop:
			return
		case <-l.due:
		}
		err := l.checkpoint("PASSIVE")
		l.w.Lock()
		if err == nil && l.Failed() == nil {
			err = l.checkpoint("PASSIVE")
		}
		l.written = 0
		l.w.Unlock()
		if err != nil {
			l.log.Error("checkpoint did not finish", "path", l.path, "err", err)
		}
	}
}

// checkpoint moves what it can from the WAL into the database. For the mode
// TRUNCATE the caller holds w or is alone, and it is an error if the WAL is not
// empty afterwards. An error of the disk fails the ledger: a second try could
// begin the WAL anew although the database was never synced. Only a full disk
// does not; nothing was synced then, and the WAL still has it all. There is no
// context: a checkpoint that somebody gives up looks like one that has failed.
func (l *Ledger) checkpoint(mode string) error {
	fault.Point("ledger: before checkpoint")
	var busy, frames, moved int
	err := l.checks.QueryRow("PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &moved)
	var e sqlite3.Error
	switch {
	case errors.As(err, &e) && (e.Code == sqlite3.ErrFull || e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked):
		return fmt.Errorf("checkpoint: %w", err)
	case err != nil:
		return l.fail(fmt.Errorf("checkpoint: %w", err))
	case busy != 0 && mode == "TRUNCATE":
		return errors.New("checkpoint: a reader did not let go of the WAL")
	}
	fault.Point("ledger: after checkpoint")
	return nil
}

// syncer syncs groups that were appended with the durability OS.
func (l *Ledger) syncer() {
	for {
		select {
		case <-l.stop:
			return // Close syncs
		case <-l.pending:
		}
		select {
		case <-l.stop:
			return
		case <-time.After(syncAfter):
		}
		last := l.LastSeq()
		if err := l.syncFile(); err != nil {
			err = l.fail(fmt.Errorf("sync the WAL: %w", err))
			l.log.Error("acknowledged events may not be on disk", "path", l.path, "err", err)
			return
		}
		l.mu.Lock()
		l.synced = last
		l.mu.Unlock()
	}
}
