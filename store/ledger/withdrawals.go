package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// A Withdrawal is an erasure, or a retention, that the copy of the events has yet to
// follow: it is of the events up to Upto that meet all of the other fields that are set.
// It is kept in the transaction of the change that it comes with, and until the copy has
// followed it.
type Withdrawal struct {
	ID            int64
	Made          int64 // µs
	Upto          int64 // a sequence number
	Site          string
	From, To      int64 // µs, From ≤ time < To; 0 is an open end
	Visitor, User event.ID
}

// BeginCopy notes that there is a copy of the events from here on, so that erasures
// keep withdrawals. It is to be called before the first event is copied, and has an
// entry when it is called for the first time.
func (l *Ledger) BeginCopy(ctx context.Context) error {
	if begun, err := l.CopyBegun(ctx); err != nil || begun {
		return err
	}
	e := audit.Entry{Kind: audit.DataCopy, Outcome: audit.Begun, By: audit.System}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO event_copy (one, begun) VALUES (1, ?) ON CONFLICT DO NOTHING`, l.now())
		return err
	})
	if err != nil {
		return fmt.Errorf("note that events are copied: %w", err)
	}
	return nil
}

// CopyBegun says whether [Ledger.BeginCopy] was ever called.
func (l *Ledger) CopyBegun(ctx context.Context) (begun bool, err error) {
	if err := l.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM event_copy)`).Scan(&begun); err != nil {
		return false, fmt.Errorf("read whether events are copied: %w", err)
	}
	return begun, nil
}

// keep keeps a withdrawal, if there is a copy. Those that it makes needless go: of the
// retention of every hour one is left, and an erasure that is asked for again is not
// carried out twice.
func (w *Withdrawal) keep(tx *sql.Tx, now int64) error {
	if w == nil {
		return nil
	}
	const (
		needless = `DELETE FROM withdrawals WHERE upto <= ?1 AND site = ?2 AND starts = ?3 AND (?4 = 0 OR ends <> 0 AND ends <= ?4) AND visitor = ?5 AND user = ?6`
		insert   = `INSERT INTO withdrawals (upto, site, starts, ends, visitor, user, made) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM event_copy)`
	)
	args := []any{w.Upto, w.Site, w.From, w.To, w.Visitor[:], w.User[:]}
	if _, err := tx.Exec(needless, args...); err != nil {
		return fmt.Errorf("keep withdrawal: %w", err)
	}
	if _, err := tx.Exec(insert, append(args, now)...); err != nil {
		return fmt.Errorf("keep withdrawal: %w", err)
	}
	return nil
}

// NextWithdrawal returns the oldest one that waits, or false.
func (l *Ledger) NextWithdrawal(ctx context.Context) (w Withdrawal, found bool, err error) {
	const oldest = `SELECT id, made, upto, site, starts, ends, visitor, user FROM withdrawals ORDER BY id LIMIT 1`
	all, err := list(ctx, l, "withdrawals", func(row scanner) (w Withdrawal, err error) {
		var visitor, user []byte
		err = row.Scan(&w.ID, &w.Made, &w.Upto, &w.Site, &w.From, &w.To, &visitor, &user)
		copy(w.Visitor[:], visitor)
		copy(w.User[:], user)
		return w, err
	}, oldest)
	if err != nil || len(all) == 0 {
		return Withdrawal{}, false, err
	}
	return all[0], true, nil
}

// Withdrawals returns how many wait, and since when the oldest does.
func (l *Ledger) Withdrawals(ctx context.Context) (n int64, since time.Time, err error) {
	var made int64
	if err := l.read.QueryRowContext(ctx, `SELECT count(*), ifnull(min(made), 0) FROM withdrawals`).Scan(&n, &made); err != nil {
		return 0, time.Time{}, fmt.Errorf("count withdrawals: %w", err)
	}
	if n > 0 {
		since = time.UnixMicro(made)
	}
	return n, since, nil
}

// Withdrawn notes that the copy has followed a withdrawal, and that rows of it had to
// go there. It cannot be refused: while the audit chain is halted its entry is owed. One
// that is not there any more, because a later one has taken its place, is no error.
func (l *Ledger) Withdrawn(ctx context.Context, id, rows int64) error {
	e := audit.Entry{Kind: audit.DataWithdraw, By: audit.System, Detail: details("rows", strconv.FormatInt(rows, 10))}
	err := l.mustAct(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM withdrawals WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("note that the copy has followed an erasure: %w", err)
	}
	return nil
}
