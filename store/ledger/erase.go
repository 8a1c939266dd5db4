package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
)

// A PrivateFilter chooses private values of entries: those to which all that is given
// applies.
type PrivateFilter struct {
	Field   string  // only values of this name, as [audit.SourceField]
	Before  int64   // of entries before this time, µs
	Actor   string  // of what this actor did
	Address string  // of what was done from this address
	Seqs    []int64 // of these entries, at most [MaxEntries]
}

func (f *PrivateFilter) check() error {
	if f.Before == 0 && f.Actor == "" && f.Address == "" && len(f.Seqs) == 0 {
		return wrong("filter", "says nothing; give before, an actor, an address or entries")
	}
	if len(f.Seqs) > MaxEntries {
		return wrong("seqs", "has %d entries, at most %d", len(f.Seqs), MaxEntries)
	}
	return nil
}

// erasedAtOnce is how many values are destroyed in one transaction.
const erasedAtOnce = 1000

// findPrivate finds values that are there. An entry's source is the first of its own.
const findPrivate = `
	SELECT p.id FROM audit_private p JOIN audit_entries e ON e.seq = p.id >> 6
	WHERE p.id > ?1 AND p.id < ?9 AND p.salt <> zeroblob(32)
		AND (?2 = '' OR p.field = ?2) AND (?3 = 0 OR e.time < ?3) AND (?4 = '' OR e.actor = ?4)
		AND (?5 = '' OR (SELECT CASE WHEN s.field = ?6 AND s.salt <> zeroblob(32) THEN json_extract(CAST(s.value AS TEXT), '$.address') = ?5 END
			FROM audit_private s WHERE s.id = p.id >> 6 << 6))
		AND (?7 = '' OR p.id >> 6 IN (SELECT value FROM json_each(?7)))
	ORDER BY p.id LIMIT ?8`

// ErasePrivate destroys private values, and appends entries of the kind [audit.Erase]
// that name the entries they were of and the basis on which it was done. It returns
// how many values it has destroyed. When it returns nil they and their salts are in
// neither the database nor its WAL, and nobody can tell what the leaves have
// commitments to. After an error they may still be there; call it again.
func (l *Ledger) ErasePrivate(ctx context.Context, f PrivateFilter, basis string) (n int, err error) {
	if err := f.check(); err != nil {
		return 0, fmt.Errorf("erase private values: %w", err)
	}
	// The refusals that are counted would bring back where they came from.
	if err := l.submit(ctx, &act{do: l.sealAll}); err != nil {
		return 0, fmt.Errorf("erase private values: %w", err)
	}
	if n, err = l.erasePages(ctx, f, basis); err == nil {
		err = l.wipeLog()
	}
	if err != nil {
		return n, fmt.Errorf("erase private values: %w", err)
	}
	return n, nil
}

func (l *Ledger) erasePages(ctx context.Context, f PrivateFilter, basis string) (n int, err error) {
	_, head := l.AuditHead() // the entries of the erasure, which the filter may fit, are not erased by it
	for after := int64(-1); ; {
		// What is looked through may be long: nobody waits for it.
		ids, err := l.findPrivate(ctx, f, after, privateID(head.Size))
		if err != nil || len(ids) == 0 {
			return n, err
		}
		after = ids[len(ids)-1]
		erased := 0
		err = l.submit(ctx, &act{do: func(g *group) error {
			if err := g.erase(ids, &erased); err != nil {
				return err
			}
			return g.recordErasure(ctx, ids, f.Field, basis)
		}})
		if err != nil {
			return n, err
		}
		n += erased
	}
}

func (l *Ledger) findPrivate(ctx context.Context, f PrivateFilter, after, before int64) ([]int64, error) {
	seqs := ""
	if len(f.Seqs) > 0 {
		b, err := json.Marshal(f.Seqs)
		if err != nil {
			return nil, err
		}
		seqs = string(b)
	}
	scan := func(row scanner) (id int64, err error) { return id, row.Scan(&id) }
	return list(ctx, l, "private values", scan, findPrivate, after, f.Field, f.Before, f.Actor, f.Address, audit.SourceField, seqs, erasedAtOnce, before)
}

// overwrite destroys values where they are: a row that keeps its size is written over
// its old bytes. One that was deleted would make SQLite move others about.
const overwrite = `UPDATE audit_private SET salt = zeroblob(32), value = zeroblob(length(value)) WHERE salt <> zeroblob(32) AND `

func (g *group) erase(ids []int64, n *int) error {
	if g.halted != nil {
		return g.halted
	}
	stmt, err := g.tx.Prepare(overwrite + `id = ?`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, id := range ids {
		r, err := stmt.Exec(id)
		if err != nil {
			return err
		}
		changed, err := r.RowsAffected()
		if err != nil {
			return err
		}
		*n += int(changed)
	}
	g.l.wipe = true
	return nil
}

// seqsInEntry is how many bytes an entry may have of the numbers of others.
const seqsInEntry = 900

// recordErasure appends the entries of an erasure.
func (g *group) recordErasure(ctx context.Context, ids []int64, field, basis string) error {
	var seqs []int64
	for _, id := range ids {
		seqs = append(seqs, id>>6)
	}
	for _, some := range spans(slices.Compact(seqs), seqsInEntry) {
		e := audit.Entry{Kind: audit.Erase, Detail: details("seqs", some, "field", field, "basis", basis)}
		attribute(ctx, &e)
		if err := g.record(e); err != nil {
			return err
		}
	}
	return nil
}

// spans writes sorted numbers as "12,15-19", in texts of at most so many bytes.
func spans(seqs []int64, most int) (texts []string) {
	text := ""
	for i := 0; i < len(seqs); {
		to := i
		for to+1 < len(seqs) && seqs[to+1] == seqs[to]+1 {
			to++
		}
		span := strconv.FormatInt(seqs[i], 10)
		if to > i {
			span += "-" + strconv.FormatInt(seqs[to], 10)
		}
		switch {
		case text == "":
			text = span
		case len(text)+1+len(span) <= most:
			text += "," + span
		default:
			texts, text = append(texts, text), span
		}
		i = to + 1
	}
	if text != "" {
		texts = append(texts, text)
	}
	return texts
}

// wipeLog empties the WAL if something was destroyed of which older versions may still
// be in it. A reader that keeps it from being emptied makes this an error, and wipe
// stays set.
func (l *Ledger) wipeLog() error {
	l.w.Lock()
	defer l.w.Unlock()
	return l.wipeLocked()
}

// wipeLocked is wipeLog for who holds w.
func (l *Ledger) wipeLocked() error {
	if !l.wipe {
		return nil
	}
	if err := l.Failed(); err != nil {
		return err
	}
	err := l.checkpoint("TRUNCATE")
	if err == nil {
		l.wipe, l.written = false, 0
	}
	return err
}

// PruneAudit deletes the leaves of the entries below a seq, and destroys their private
// values. Their hashes stay, so that the chain can be verified from there, and the
// entry of the kind [audit.Prune] comes before the deletion. Only entries that a
// checkpoint covers can be pruned. What an error or a crash interrupts, the next call
// or Open finishes.
func (l *Ledger) PruneAudit(ctx context.Context, before int64) error {
	if before < 1 {
		return fmt.Errorf("prune audit chain: %w", wrong("before", "is the number of an entry, from 1 on"))
	}
	e := audit.Entry{Kind: audit.Prune, Detail: details("before", strconv.FormatInt(before, 10))}
	attribute(ctx, &e)
	err := l.submit(ctx, &act{do: func(g *group) error { return g.prune(e, before) }})
	if err == nil {
		err = l.sweepPruned(ctx)
	}
	if err == nil {
		err = l.wipeLog()
	}
	if err != nil {
		return fmt.Errorf("prune audit chain: %w", err)
	}
	return nil
}

// prune makes leaves count no more. The folds must not need theirs.
func (g *group) prune(e audit.Entry, before int64) error {
	var pruned, size int64
	err := g.tx.QueryRow(`SELECT pruned, (SELECT ifnull(max(size), 0) FROM audit_checkpoints) FROM audit_state`).Scan(&pruned, &size)
	if err != nil || before <= pruned {
		return err
	}
	if before > size {
		return wrong("before", "is %d, and the newest checkpoint covers %d entries; later ones must stay", before, size)
	}
	if err := g.l.sealAll(g); err != nil {
		return err
	}
	if err := g.record(e); err != nil {
		return err
	}
	_, err = g.tx.Exec(`UPDATE audit_state SET pruned = ?`, before)
	return err
}

// sweepPruned deletes the leaves that do not count any more, a few at a time.
func (l *Ledger) sweepPruned(ctx context.Context) error {
	for {
		var swept, pruned int64
		if err := l.main.QueryRowContext(ctx, `SELECT swept, pruned FROM audit_state`).Scan(&swept, &pruned); err != nil {
			return err
		}
		if swept == pruned {
			return nil
		}
		upto := min(pruned, swept+erasedAtOnce)
		err := l.write(ctx, l.main, func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE audit_entries SET leaf = NULL WHERE seq >= ? AND seq < ?`, swept, upto)
			if err == nil {
				_, err = tx.Exec(overwrite+`id >= ? AND id < ?`, privateID(swept), privateID(upto))
			}
			if err == nil {
				_, err = tx.Exec(`UPDATE audit_state SET swept = ?`, upto)
			}
			l.wipe = true
			return err
		})
		if err != nil {
			return err
		}
	}
}
