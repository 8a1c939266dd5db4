package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/eider-analytics/eider/store/audit"
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

// SealDue does what the folder does when its timer rings.
func (l *Ledger) SealDue() {
	if err := l.submit(context.Background(), &act{do: l.sealDue}); err != nil {
		panic(err)
	}
}

// WakeFolder makes the folder look at the clock.
func (l *Ledger) WakeFolder() { l.wakeFolder() }

// Spans writes numbers as an erasure names them.
func Spans(seqs []int64, most int) []string { return spans(seqs, most) }

// Act makes a site as an act, and lets the act fail with err when the entry has been
// appended.
func (l *Ledger) Act(ctx context.Context, site string, err error) error {
	return l.submit(ctx, &act{do: func(g *group) error {
		if _, err := g.tx.Exec(`INSERT INTO sites (domain, timezone, created) VALUES (?, 'UTC', 1)`, site); err != nil {
			return err
		}
		if err := g.record(audit.Entry{Kind: audit.SiteCreate, Object: "site:" + site}); err != nil {
			return err
		}
		return err
	}})
}
