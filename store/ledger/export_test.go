package ledger

import (
	"database/sql"
	"errors"
	"fmt"
)

// LimitPages makes the database full once it has n pages.
func (l *Ledger) LimitPages(n int) error {
	var got int
	if err := l.journal.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&got); err != nil {
		return err
	}
	return l.main.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", n)).Scan(&got)
}

// SetSync replaces the sync of the WAL that the durability OS does. It must be
// called before the first Append.
func (l *Ledger) SetSync(f func() error) { l.syncFile = f }

// Checkpoint moves pages from the WAL into the database now.
func (l *Ledger) Checkpoint() {
	select {
	case l.due <- struct{}{}:
	default:
	}
}

// A Syncer is the goroutine that syncs for the durability OS, without a ledger.
type Syncer struct{ l *Ledger }

// StartSyncer starts one that calls sync.
func StartSyncer(sync func() error) Syncer {
	l := &Ledger{pending: make(chan struct{}, 1), stop: make(chan struct{}), syncFile: sync}
	l.done.Go(l.syncer)
	return Syncer{l}
}

// Pending says that a group has been appended.
func (s Syncer) Pending() {
	select {
	case s.l.pending <- struct{}{}:
	default:
	}
}

// Stop ends it.
func (s Syncer) Stop() {
	close(s.l.stop)
	s.l.done.Wait()
}

// HurryChecks makes checkpoints give up on readers at once.
func (l *Ledger) HurryChecks() {
	if _, err := l.checks.Exec("PRAGMA busy_timeout = 1"); err != nil {
		panic(err)
	}
}

// Syncs returns the synchronous setting of the connections that write what is
// durable on return, and of the one that checkpoints: 2 is FULL, 1 NORMAL.
func (l *Ledger) Syncs() (journal, main, checks int, err error) {
	for _, c := range []struct {
		db *sql.DB
		v  *int
	}{{l.journal, &journal}, {l.main, &main}, {l.checks, &checks}} {
		err = errors.Join(err, c.db.QueryRow("PRAGMA synchronous").Scan(c.v))
	}
	return journal, main, checks, err
}
