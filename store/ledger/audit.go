package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/fault"
)

// AuditStats describe the chain.
type AuditStats struct {
	Size       int64 // entries
	Bytes      int64 // of leaves, hashes and private values, roughly
	Unknown    int64 // entries of a kind that this program does not know
	Folds      int64 // floods of refusals that go on
	Checkpoint int64 // size of the newest checkpoint; 0 if there is none
}

// errNoChain is why nothing can be recorded after a chain that cannot be read.
var errNoChain = errors.New("it cannot be read")

// openAudit finds the end of the chain, or begins one, and records what has happened
// before there was a ledger to record it in.
func (l *Ledger) openAudit(ctx context.Context) (err error) {
	for _, s := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&l.addEntry, `INSERT INTO audit_entries (seq, time, kind, outcome, actor, object, request, hashes, leaf) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&l.addPrivate, `INSERT INTO audit_private (id, field, salt, value) VALUES (?, ?, ?, ?)`},
		{&l.addFolded, `UPDATE audit_folds SET first = iif(count = 0, ?1, first), count = count + 1, last = ?1 WHERE seq = ?2`},
	} {
		if *s.stmt, err = l.main.PrepareContext(ctx, s.query); err != nil {
			return err
		}
	}
	l.folds = make(map[foldKey]*fold)
	if err := l.loadAudit(ctx); err != nil {
		return err
	}
	if l.head.Size == 0 && l.halted == nil {
		if err := l.begin(); err != nil {
			return err
		}
	} else if l.opts.Known != nil {
		if err := l.opts.Known(ctx, l); err != nil {
			l.Halt(err)
		}
	}
	if err := l.loadFolds(ctx); err != nil {
		return err
	}
	if err := l.actLocked(&act{do: l.sealAll}); err != nil {
		return err
	}
	if err := l.recordMigrations(ctx); err != nil {
		return err
	}
	return l.sweepPruned(ctx)
}

// loadAudit reads the state of the chain. What cannot be a chain halts the ledger:
// it has events to take, and somebody has to look.
func (l *Ledger) loadAudit(ctx context.Context) error {
	var instance string
	var incarnation, size int64
	var each float64 // bytes of an entry
	err := l.main.QueryRowContext(ctx, `SELECT instance, incarnation, (SELECT ifnull(max(seq) + 1, 0) FROM audit_entries) FROM audit_state`).
		Scan(&instance, &incarnation, &size)
	if err != nil {
		return err
	}
	err = l.main.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM audit_entries WHERE kind = ?),
			(SELECT ifnull(max(size), 0) FROM audit_checkpoints),
			ifnull((SELECT avg(length(leaf) + length(hashes)) FROM (SELECT leaf, hashes FROM audit_entries ORDER BY seq DESC LIMIT 200)), 0)
				+ ifnull((SELECT sum(length(value) + 64) FROM audit_private WHERE id >= ?), 0) / 200.0`,
		string(audit.Unknown), privateID(max(0, size-200))).Scan(&l.audit.Unknown, &l.audit.Checkpoint, &each)
	if err != nil {
		return err
	}
	l.audit.Bytes = int64(each * float64(size))
	switch {
	case instance == "" && size == 0:
		return nil
	case instance == "" || size == 0:
		l.Halt(fmt.Errorf("%w: it has %d entries and is called %q", errNoChain, size, instance))
		return nil
	}
	chain, err := audit.Resume(instance, incarnation, size, chainDB{l.main})
	if err != nil {
		l.Halt(fmt.Errorf("%w: %w", errNoChain, err))
		return nil
	}
	l.chain, l.origin, l.head = chain, chain.Origin(), chain.Head()
	return nil
}

// begin makes a chain and its first entry, which says what was there before it.
func (l *Ledger) begin() error {
	var b [8]byte
	rand.Read(b[:])
	instance := hex.EncodeToString(b[:])
	return l.actLocked(&act{do: func(g *group) error {
		var keys, sites int64
		err := g.tx.QueryRow(`SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM sites)`).Scan(&keys, &sites)
		if err != nil {
			return err
		}
		if _, err := g.tx.Exec(`UPDATE audit_state SET instance = ?, incarnation = 1`, instance); err != nil {
			return err
		}
		detail := map[string]string{"keys": strconv.FormatInt(keys, 10), "sites": strconv.FormatInt(sites, 10)}
		maps.Copy(detail, l.opts.Genesis)
		detail["instance"] = instance
		g.chain = audit.New(instance)
		return g.record(audit.Entry{Kind: audit.Genesis, By: audit.System, Detail: detail})
	}})
}

// recordMigrations records the migrations that are not in the chain: they were
// applied just now, or before a crash.
func (l *Ledger) recordMigrations(ctx context.Context) error {
	var from, to int64
	err := l.main.QueryRowContext(ctx, `SELECT migrated, (SELECT max(version_id) FROM goose_db_version WHERE is_applied) FROM audit_state`).
		Scan(&from, &to)
	if err != nil || from == to {
		return err
	}
	e := audit.Entry{Kind: audit.Migrate, By: audit.System, Object: "ledger", Detail: map[string]string{
		"from": strconv.FormatInt(from, 10), "to": strconv.FormatInt(to, 10),
	}}
	return l.actLocked(&act{must: true, do: record(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE audit_state SET migrated = ?`, to)
		return err
	})})
}

// Record appends an entry of an act that changes nothing in the ledger. It is durable
// when Record returns nil. An entry without a By is of whom ctx names.
func (l *Ledger) Record(ctx context.Context, e audit.Entry) error {
	return about("record", string(e.Kind), l.act(ctx, &e, nil))
}

// AuditHead returns the chain's origin and how far it has come, durably. Before a
// chain that cannot be read both are zero.
func (l *Ledger) AuditHead() (origin string, h audit.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.origin, l.head
}

// Grown receives after the chain has grown. It is for one receiver.
func (l *Ledger) Grown() <-chan struct{} { return l.grown }

// AuditStats returns the state of the chain. It is kept in memory.
func (l *Ledger) AuditStats() AuditStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.audit
	s.Size = l.head.Size
	return s
}

// Halt makes the chain take no more entries, until [Ledger.Adopt]: every act that
// would change something returns an error that wraps [audit.ErrHalted] and the cause.
// The journal, the history and whatever is no act go on. The first cause stays.
func (l *Ledger) Halt(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.halted == nil {
		l.halted = fmt.Errorf("%w: %w", audit.ErrHalted, cause)
	}
}

// Halted returns why the chain takes no entries, or nil if it does.
func (l *Ledger) Halted() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halted
}

// ErrNotHalted is returned when a chain is to be adopted that takes entries.
var ErrNotHalted = errors.New("the audit chain is not halted: there is nothing to adopt")

// Adopt takes the chain as it is here for the true one: a new incarnation begins with
// the entry e, of the kind [audit.Adopt], and the entries follow that could not be
// made while the chain was halted. Then it is not halted any more. A chain that cannot
// be read cannot be adopted.
func (l *Ledger) Adopt(ctx context.Context, e audit.Entry) error {
	attribute(ctx, &e)
	err := l.submit(ctx, &act{do: func(g *group) error {
		switch {
		case g.halted == nil:
			return ErrNotHalted
		case g.chain == nil:
			return g.halted
		}
		g.halted, g.adopted = nil, true
		if err := g.append(e, (*audit.Chain).Adopt); err != nil {
			return err
		}
		if _, err := g.tx.Exec(`UPDATE audit_state SET incarnation = incarnation + 1`); err != nil {
			return err
		}
		return g.settleOwed()
	}})
	if err != nil {
		return fmt.Errorf("adopt audit chain: %w", err)
	}
	l.wakeFolder()
	return nil
}

// settleOwed appends the entries that are owed.
func (g *group) settleOwed() error {
	type owed struct {
		at    int64
		entry []byte
	}
	rows, err := g.tx.Query(`SELECT time, entry FROM audit_owed ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []owed
	for rows.Next() {
		var o owed
		if err := rows.Scan(&o.at, &o.entry); err != nil {
			return err
		}
		all = append(all, o)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, o := range all {
		var e audit.Entry
		if err := json.Unmarshal(o.entry, &e); err != nil {
			return fmt.Errorf("entry that is owed: %w", err)
		}
		if e.Detail == nil {
			e.Detail = make(map[string]string)
		}
		e.Detail["done_at"] = time.UnixMicro(o.at).UTC().Format(time.RFC3339Nano)
		if err := g.record(e); err != nil {
			return err
		}
	}
	_, err = g.tx.Exec(`DELETE FROM audit_owed`)
	return err
}

// AddCheckpoint keeps a signed head. One of the same size takes the place of the one
// before, which may have fewer signatures; one of another root, or of more entries
// than there are, is [audit.ErrRolledBack].
func (l *Ledger) AddCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	_, head := l.AuditHead()
	if c.Size > head.Size || c.Size < 1 {
		return fmt.Errorf("add checkpoint of %d entries: %w: there are %d", c.Size, audit.ErrRolledBack, head.Size)
	}
	fault.Point("ledger: before audit checkpoint")
	err := l.write(ctx, l.main, func(tx *sql.Tx) error {
		return affect(tx.Exec(`
			INSERT INTO audit_checkpoints (origin, size, root, time, note) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET time = excluded.time, note = excluded.note WHERE root = excluded.root`,
			c.Origin, c.Size, c.Root[:], c.Time, blob(c.Note)))
	})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: another root was signed", audit.ErrRolledBack)
	}
	if err != nil {
		return fmt.Errorf("add checkpoint of %d entries: %w", c.Size, err)
	}
	fault.Point("ledger: after audit checkpoint")
	l.mu.Lock()
	defer l.mu.Unlock()
	l.audit.Checkpoint = max(l.audit.Checkpoint, c.Size)
	return nil
}
