package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/eider-analytics/eider/store/audit"
)

// A chainDB reads a chain from a database. Each of its reads is short: a checkpoint
// of the WAL cannot pass a reader.
type chainDB struct{ db *sql.DB }

// Rows are read a few at a time.
const (
	rowsAtOnce  = 256
	rowBytes    = 1 << 20
	rowColumns  = `seq, time, kind, outcome, actor, object, request, hashes, iif(seq < (SELECT pruned FROM audit_state), NULL, leaf)`
	selectRows  = `SELECT ` + rowColumns + ` FROM audit_entries WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?`
	selectNotes = `SELECT origin, size, root, time, note FROM audit_checkpoints WHERE size > ? ORDER BY size, time LIMIT ?`
)

// privateID is where the private values of an entry begin: at most 64, which is more
// than an entry can have.
func privateID(seq int64) int64 { return seq << 6 }

// hashSize is that of one of a row's hashes.
const hashSize = tlog.HashSize

// ReadHashes returns the hashes of the tree that have these indexes.
func (c chainDB) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	rows := make(map[int64][]byte)
	var seqs []any
	for _, i := range indexes {
		seq, _ := audit.Locate(i)
		if _, ok := rows[seq]; !ok {
			rows[seq] = nil
			seqs = append(seqs, seq)
		}
	}
	for len(seqs) > 0 {
		n := min(len(seqs), rowsAtOnce)
		if err := c.hashes(rows, seqs[:n]); err != nil {
			return nil, fmt.Errorf("read hashes: %w", err)
		}
		seqs = seqs[n:]
	}
	hashes := make([]tlog.Hash, len(indexes))
	for n, i := range indexes {
		seq, at := audit.Locate(i)
		b := rows[seq]
		if len(b) < (at+1)*hashSize {
			return nil, fmt.Errorf("read hashes: entry %d has %d bytes of them, not the one at %d", seq, len(b), at)
		}
		copy(hashes[n][:], b[at*hashSize:])
	}
	return hashes, nil
}

// hashes reads those of some rows.
func (c chainDB) hashes(into map[int64][]byte, seqs []any) error {
	query := `SELECT seq, hashes FROM audit_entries WHERE seq IN (?` + strings.Repeat(",?", len(seqs)-1) + `)`
	rows, err := c.db.Query(query, seqs...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var b []byte
		if err := rows.Scan(&seq, &b); err != nil {
			return err
		}
		into[seq] = b
	}
	return rows.Err()
}

// Extent returns the seqs of the first entry that has a leaf, and of the one after
// the last: 0, 0 when the chain is empty.
func (c chainDB) Extent(ctx context.Context) (first, end int64, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT pruned, (SELECT ifnull(max(seq) + 1, 0) FROM audit_entries) FROM audit_state`).Scan(&first, &end)
	if err != nil {
		return 0, 0, fmt.Errorf("read audit chain: %w", err)
	}
	return first, end, nil
}

// Rows calls fn with the rows of from ≤ seq < to in order, of those that there are,
// without their private values. fn may keep them, may call the ledger, and ends the
// walk with an error.
func (c chainDB) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	for from < to {
		some, err := c.rows(ctx, rowBytes, selectRows, from, to, rowsAtOnce)
		if err != nil {
			return err
		}
		if len(some) == 0 {
			return nil
		}
		for _, r := range some {
			if err := fn(r); err != nil {
				return err
			}
		}
		from = some[len(some)-1].Seq + 1
	}
	return nil
}

// rows returns what a query of rowColumns gives, up to a size.
func (c chainDB) rows(ctx context.Context, size int, query string, args ...any) (some []audit.Row, err error) {
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read audit chain: %w", err)
	}
	defer rows.Close()
	for size > 0 && rows.Next() {
		var r audit.Row
		if err := rows.Scan(&r.Seq, &r.Time, &r.Kind, &r.Outcome, &r.Actor, &r.Object, &r.Request, &r.Hashes, &r.Leaf); err != nil {
			return nil, fmt.Errorf("read audit chain: %w", err)
		}
		size -= len(r.Leaf) + len(r.Hashes)
		some = append(some, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read audit chain: %w", err)
	}
	return some, nil
}

// Checkpoints calls fn with the notes that were signed, of sizes above after, by
// size. fn may call the ledger, and ends the walk with an error.
func (c chainDB) Checkpoints(ctx context.Context, after int64, fn func(audit.Checkpoint) error) error {
	for {
		some, err := c.notes(ctx, after)
		if err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		for _, n := range some {
			if err := fn(n); err != nil {
				return err
			}
			after = n.Size
		}
		if len(some) == 0 {
			return nil
		}
	}
}

// notes returns the next few checkpoints, all or none of a size.
func (c chainDB) notes(ctx context.Context, after int64) ([]audit.Checkpoint, error) {
	rows, err := c.db.QueryContext(ctx, selectNotes, after, rowsAtOnce+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var some []audit.Checkpoint
	for rows.Next() {
		var n audit.Checkpoint
		var root []byte
		if err := rows.Scan(&n.Origin, &n.Size, &root, &n.Time, &n.Note); err != nil {
			return nil, err
		}
		copy(n.Root[:], root)
		some = append(some, n)
	}
	// The size of the last one may go on in what was not read. A size has one for
	// every incarnation that signed it, so that there are others before it.
	if n := len(some); n > rowsAtOnce {
		last := some[n-1].Size
		for n > 0 && some[n-1].Size == last {
			n--
		}
		some = some[:n]
	}
	return some, rows.Err()
}

// Private returns the private values of from ≤ seq < to that have not been destroyed,
// by seq.
func (c chainDB) Private(ctx context.Context, from, to int64) (map[int64][]audit.Private, error) {
	rows, err := c.db.QueryContext(ctx, `
		SELECT id, field, salt, value FROM audit_private WHERE id >= ? AND id < ? AND salt <> zeroblob(32) ORDER BY id`,
		privateID(from), privateID(to))
	if err != nil {
		return nil, fmt.Errorf("read private values: %w", err)
	}
	defer rows.Close()
	all := make(map[int64][]audit.Private)
	for rows.Next() {
		var id int64
		var p audit.Private
		var salt, value []byte
		if err := rows.Scan(&id, &p.Field, &salt, &value); err != nil {
			return nil, fmt.Errorf("read private values: %w", err)
		}
		copy(p.Salt[:], salt)
		p.Value = string(value)
		all[id>>6] = append(all[id>>6], p)
	}
	return all, rows.Err()
}

// ReadHashes is [tlog.HashReader].
func (l *Ledger) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	return chainDB{l.read}.ReadHashes(indexes)
}

// Extent is that of [audit.Log].
func (l *Ledger) Extent(ctx context.Context) (first, end int64, err error) {
	return chainDB{l.read}.Extent(ctx)
}

// Rows is that of [audit.Log]. fn may call the ledger.
func (l *Ledger) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	return chainDB{l.read}.Rows(ctx, from, to, fn)
}

// Checkpoints is that of [audit.Log]. fn may call the ledger.
func (l *Ledger) Checkpoints(ctx context.Context, after int64, fn func(audit.Checkpoint) error) error {
	return chainDB{l.read}.Checkpoints(ctx, after, fn)
}

// Private returns the private values of from ≤ seq < to that have not been destroyed,
// by seq.
func (l *Ledger) Private(ctx context.Context, from, to int64) (map[int64][]audit.Private, error) {
	return chainDB{l.read}.Private(ctx, from, to)
}

// An EntryFilter chooses entries. What is zero chooses all.
type EntryFilter struct {
	From, To                     int64 // µs: From ≤ time < To
	Kind, Actor, Object, Request string
	Before                       int64 // seq: only older ones, for the next page; 0 is the newest
	Limit                        int   // at most MaxEntries; 0 is MaxEntries
}

// MaxEntries is how many entries are given at once.
const MaxEntries = 1000

// Entries returns the newest entries of a filter, newest first, without their private
// values.
func (l *Ledger) Entries(ctx context.Context, f EntryFilter) ([]audit.Row, error) {
	return chainDB{l.read}.Entries(ctx, f)
}

// Entries is [Ledger.Entries].
func (c chainDB) Entries(ctx context.Context, f EntryFilter) ([]audit.Row, error) {
	query := `SELECT ` + rowColumns + ` FROM audit_entries WHERE true`
	var args []any
	where := func(is bool, condition string, arg any) {
		if is {
			query += ` AND ` + condition
			args = append(args, arg)
		}
	}
	where(f.From != 0, `time >= ?`, f.From)
	where(f.To != 0, `time < ?`, f.To)
	where(f.Kind != "", `kind = ?`, f.Kind)
	where(f.Actor != "", `actor = ?`, f.Actor)
	where(f.Object != "", `object <> '' AND object = ?`, f.Object)
	where(f.Request != "", `request <> '' AND request = ?`, f.Request)
	where(f.Before != 0, `seq < ?`, f.Before)
	limit := f.Limit
	if limit <= 0 || limit > MaxEntries {
		limit = MaxEntries
	}
	return c.rows(ctx, MaxEntries*(64<<10), query+` ORDER BY seq DESC LIMIT ?`, append(args, limit)...)
}
