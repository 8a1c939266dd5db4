package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

const (
	insertPart = `
		INSERT INTO parts (path, day, first, last, rows, bytes, sha256, min_time, max_time, sites, created, damaged)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	selectParts = `
		SELECT id, path, day, first, last, rows, bytes, sha256, min_time, max_time, sites, created, damaged
		FROM parts ORDER BY id`
)

// A Change is one step of the history: a publish, a compaction, a retention or
// an erasure. The files of Add are on disk before it, and those of Remove are
// unlinked after it.
type Change struct {
	Add       []event.Part // ID is ignored
	Remove    []int64      // ids of parts
	Published int64        // the new boundary, the last of a group; 0 leaves it

	// IDs are the entries (see [EntrySize]) of what is published, sorted, for a new
	// block. Optional. Of entries with the same key the first counts.
	IDs []byte

	// Withdraw, if not nil, is kept with the change if there is a copy of the events
	// (see [Ledger.BeginCopy]). Its ID and Made are ignored.
	Withdraw *Withdrawal

	// Entry, if not nil, is appended to the audit chain with the change, or neither
	// is. Then a chain that is halted refuses the change.
	Entry *audit.Entry
}

// Commit makes a change: all of it or nothing. It returns Add with the ids of
// the parts. The boundary can only grow. Removing a part that is not listed is
// [ErrNotFound], and adding a path that is listed is [ErrExists].
func (l *Ledger) Commit(ctx context.Context, c Change) ([]event.Part, error) {
	l.commits.Lock()
	defer l.commits.Unlock()
	added, err := l.commit(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("commit to history: %w", err)
	}
	return added, nil
}

func (l *Ledger) commit(ctx context.Context, c Change) ([]event.Part, error) {
	if err := l.Failed(); err != nil {
		return nil, err
	}
	published := l.Published()
	var t tally
	if c.Published != 0 && c.Published != published {
		if c.Published < published {
			return nil, fmt.Errorf("published cannot go back from %d to %d", published, c.Published)
		}
		// Groups up to the boundary do not change any more, so they can be counted
		// while others are appended.
		var err error
		if t, err = l.count(ctx, c.Published); err != nil {
			return nil, err
		}
		published = c.Published
	}
	// The pages of the block are many; they go ahead of the transaction, in small
	// ones, so that it is short and nobody waits long to append.
	block, err := l.writePages(ctx, c.IDs)
	if err != nil {
		return nil, err
	}
	added := append([]event.Part(nil), c.Add...)
	var next Group
	fault.Point("ledger: before history commit")
	l.w.Lock()
	defer l.w.Unlock()
	err = l.commitLocked(ctx, c.Entry, func(tx *sql.Tx) error {
		if err := change(tx, added, c.Remove, published); err != nil {
			return err
		}
		if err := l.listBlock(tx, block, len(c.IDs)); err != nil {
			return err
		}
		if err := c.Withdraw.keep(tx, l.now()); err != nil {
			return err
		}
		next, err = oldest(tx, published)
		return err
	})
	if err != nil {
		return nil, err
	}
	fault.Point("ledger: after history commit")
	l.settle(published, t, next)
	return added, nil
}

// commitLocked commits a change of the history, with the entry that says so if there
// is one. The caller holds w.
func (l *Ledger) commitLocked(ctx context.Context, e *audit.Entry, fn func(*sql.Tx) error) error {
	if e == nil {
		return l.writeLocked(l.main, fn)
	}
	entry := *e
	return l.actLocked(&act{do: record(ctx, &entry, fn)})
}

// change removes and adds parts, gives the added their ids, and moves the
// boundary.
func change(tx *sql.Tx, add []event.Part, remove []int64, published int64) error {
	for _, id := range remove {
		if err := affect(tx.Exec(`DELETE FROM parts WHERE id = ?`, id)); err != nil {
			return fmt.Errorf("remove part %d: %w", id, err)
		}
	}
	for i := range add {
		if err := addPart(tx, &add[i]); err != nil {
			return fmt.Errorf("add part %s: %w", add[i].Path, err)
		}
	}
	_, err := tx.Exec(`UPDATE history SET published = ? WHERE published <> ?`, published, published)
	return err
}

func addPart(tx *sql.Tx, p *event.Part) error {
	if p.Path == "" {
		return fmt.Errorf("it has no path")
	}
	sites, err := json.Marshal(append([]string{}, p.Sites...))
	if err != nil {
		return err
	}
	r, err := tx.Exec(insertPart, p.Path, p.Day, p.First, p.Last, p.Rows, p.Bytes, p.SHA256[:],
		p.MinTime, p.MaxTime, string(sites), p.Created, p.Damaged)
	if err != nil {
		return err
	}
	p.ID, err = r.LastInsertId()
	return err
}

// affect returns [ErrNotFound] if a statement changed no row.
func affect(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrNotFound
}

// Parts returns the parts of the history, the damaged ones included, by id, and
// the boundary that goes with them.
func (l *Ledger) Parts(ctx context.Context) (parts []event.Part, published int64, err error) {
	// One transaction: a change must not come between the two.
	tx, err := l.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, fmt.Errorf("read parts: %w", err)
	}
	defer tx.Rollback()
	if err := tx.QueryRow(`SELECT published FROM history`).Scan(&published); err != nil {
		return nil, 0, fmt.Errorf("read parts: %w", err)
	}
	rows, err := tx.Query(selectParts)
	if err != nil {
		return nil, 0, fmt.Errorf("read parts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scanPart(rows)
		if err != nil {
			return nil, 0, fmt.Errorf("read parts: %w", err)
		}
		parts = append(parts, p)
	}
	return parts, published, rows.Err()
}

func scanPart(rows *sql.Rows) (p event.Part, err error) {
	var sum, sites []byte
	if err := rows.Scan(&p.ID, &p.Path, &p.Day, &p.First, &p.Last, &p.Rows, &p.Bytes, &sum,
		&p.MinTime, &p.MaxTime, &sites, &p.Created, &p.Damaged); err != nil {
		return p, err
	}
	copy(p.SHA256[:], sum)
	return p, json.Unmarshal(sites, &p.Sites)
}

// Quarantine notes why a part must not be read; an empty why lifts it. It cannot be
// refused: while the audit chain is halted its entry is owed.
func (l *Ledger) Quarantine(ctx context.Context, id int64, why string) error {
	e := audit.Entry{Kind: audit.DataQuarantine, Object: owned("part", id)}
	err := l.mustAct(ctx, &e, func(tx *sql.Tx) error {
		var path string
		if err := tx.QueryRow(`SELECT path FROM parts WHERE id = ?`, id).Scan(&path); err != nil {
			return missing(err)
		}
		e.Detail = details("path", path, "why", why)
		if why == "" {
			e.Detail["lifted"] = "true"
		}
		return affect(tx.Exec(`UPDATE parts SET damaged = ? WHERE id = ?`, why, id))
	})
	if err != nil {
		return fmt.Errorf("quarantine part %d: %w", id, err)
	}
	return nil
}
