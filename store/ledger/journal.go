package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/eider-analytics/eider/store/fault"
)

const (
	insertGroup = `INSERT INTO journal (last, first, count, received, ids, payload) VALUES (?, ?, ?, ?, ?, ?)`
	selectGroup = `SELECT last, first, count, received, ids, payload FROM journal WHERE last > ? ORDER BY last LIMIT ?`
)

// A Group is what the journal commits at once: consecutive events.
type Group struct {
	First, Last int64  // sequence numbers of its first and last event
	Count       int    // Last-First+1
	Received    int64  // when its oldest event was received, µs
	Payload     []byte // as event.Encode makes it; the ledger does not look inside
	IDs         []byte // entries (see [EntrySize]) of its events that have an id, in any order
}

// check says why g cannot follow the event numbered last.
func (g Group) check(last int64) error {
	switch {
	case g.First != last+1:
		return fmt.Errorf("group begins at %d, and the journal ends at %d", g.First, last)
	case g.Count < 1 || g.Last-g.First+1 != int64(g.Count):
		return fmt.Errorf("group from %d to %d says it holds %d events", g.First, g.Last, g.Count)
	case len(g.IDs)%EntrySize != 0:
		return fmt.Errorf("group has %d bytes of ids, no multiple of %d", len(g.IDs), EntrySize)
	}
	return nil
}

// JournalStats describe the live groups.
type JournalStats struct {
	Groups, Events int64
	Bytes          int64 // of payload
	First, Last    int64 // lowest and highest sequence number; 0 if there is none
	OldestReceived int64 // Received of the oldest group, µs; 0 if there is none
}

// loadJournal counts the live groups.
func (l *Ledger) loadJournal(ctx context.Context) error {
	s := &l.stats
	return l.main.QueryRowContext(ctx, `
		SELECT count(*), ifnull(sum(count), 0), ifnull(sum(length(payload)), 0), ifnull(min(first), 0), ifnull(max(last), 0),
			ifnull((SELECT received FROM journal WHERE last > ?1 ORDER BY last LIMIT 1), 0)
		FROM journal WHERE last > ?1`, l.published).
		Scan(&s.Groups, &s.Events, &s.Bytes, &s.First, &s.Last, &s.OldestReceived)
}

// Append adds a group to the journal. It is durable when Append returns nil (see
// [Durability]); if it does not, the group may or may not be there after the
// next Open, and the ledger has failed. Only a group that does not follow
// [Ledger.LastSeq], or contradicts itself, is refused without that.
//
// The slices are not kept. Append is meant for one caller that collects groups;
// there is no context, because what was accepted is stored even if the client
// that sent it has gone.
func (l *Ledger) Append(g Group) error {
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	if err := g.check(l.LastSeq()); err != nil {
		return fmt.Errorf("append to journal: %w", err)
	}
	fault.Point("ledger: before journal commit")
	start := time.Now()
	// One statement outside of a transaction is a transaction.
	if _, err := l.insert.Exec(g.Last, g.First, g.Count, g.Received, blob(g.IDs), blob(g.Payload)); err != nil {
		return l.fail(fmt.Errorf("append to journal: %w", err))
	}
	fault.Point("ledger: after journal commit")
	took := time.Since(start)
	l.appended(g)
	if l.opts.Durability == OS {
		select {
		case l.pending <- struct{}{}:
		default:
		}
	}
	l.wrote(len(g.Payload) + len(g.IDs) + 2*pageSize)
	if l.opts.Committed != nil {
		l.opts.Committed(took, g.Count, len(g.Payload))
	}
	return nil
}

// appended counts a group in.
func (l *Ledger) appended(g Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.stats
	if s.Groups == 0 {
		s.First, s.OldestReceived = g.First, g.Received
	}
	s.Groups++
	s.Events += int64(g.Count)
	s.Bytes += int64(len(g.Payload))
	s.Last = g.Last
}

// blob returns b, or an empty blob where b is nil: that would be NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Journal returns the state of the journal. It is kept in memory.
func (l *Ledger) Journal() JournalStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// LastSeq returns the sequence number of the newest event: that of the last live
// group, or of the last published event if there is none.
func (l *Ledger) LastSeq() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.published, l.stats.Last)
}

// Synced returns up to which sequence number events survive a power failure. With the
// durability [Sync] that is LastSeq.
func (l *Ledger) Synced() int64 {
	if l.opts.Durability == Sync {
		return l.LastSeq()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.published, l.synced)
}

// Published returns up to which sequence number events are in the history.
func (l *Ledger) Published() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published
}

// Groups calls fn with every live group whose Last is above after, in order. fn
// may keep the slices, may call the ledger, and ends the walk with an error,
// which Groups returns. A group that is appended during the walk may or may not
// be seen. One that is published during it may be missing: nothing must be
// published then.
func (l *Ledger) Groups(ctx context.Context, after int64, fn func(Group) error) error {
	after = max(after, l.Published())
	for {
		// Groups are fetched a few at a time, so that no read lasts: a checkpoint
		// cannot pass a reader.
		groups, err := l.groups(ctx, after)
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if len(groups) == 0 {
			return nil
		}
		for _, g := range groups {
			if err := fn(g); err != nil {
				return err
			}
		}
		after = groups[len(groups)-1].Last
	}
}

// groups returns the next few groups after a sequence number, about 1 MiB.
func (l *Ledger) groups(ctx context.Context, after int64) ([]Group, error) {
	const most = 256
	rows, err := l.read.QueryContext(ctx, selectGroup, after, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var groups []Group
	for size := 0; size < 1<<20 && rows.Next(); {
		var g Group
		if err := rows.Scan(&g.Last, &g.First, &g.Count, &g.Received, &g.IDs, &g.Payload); err != nil {
			return nil, err
		}
		size += len(g.Payload)
		groups = append(groups, g)
	}
	return groups, rows.Err()
}

// TrimJournal deletes a few dead groups, about 1 MiB of them, and says whether
// there are more. It is to be called again until there are not, with pauses:
// while it deletes, nothing can be appended.
func (l *Ledger) TrimJournal(ctx context.Context) (more bool, err error) {
	upto, more, err := l.dead(ctx, 1<<20)
	if err != nil || upto == 0 {
		return false, trimming(err)
	}
	fault.Point("ledger: before trim")
	err = l.write(ctx, l.bulk, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM journal WHERE last <= ?`, upto)
		return err
	})
	if err != nil {
		return false, trimming(err)
	}
	fault.Point("ledger: after trim")
	return more, nil
}

func trimming(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("trim journal: %w", err)
}

// dead returns the last of the oldest dead groups that have size bytes between
// them, and whether there are more; 0 if there is none.
func (l *Ledger) dead(ctx context.Context, size int64) (upto int64, more bool, err error) {
	rows, err := l.read.QueryContext(ctx,
		`SELECT last, length(payload) + length(ids) FROM journal WHERE last <= ? ORDER BY last LIMIT 1024`, l.Published())
	if err != nil {
		return 0, false, err
	}
	defer rows.Close()
	for n := 1; rows.Next(); n++ {
		if size <= 0 {
			return upto, true, nil
		}
		var bytes int64
		if err := rows.Scan(&upto, &bytes); err != nil {
			return 0, false, err
		}
		size -= bytes
		more = n == 1024
	}
	return upto, more, rows.Err()
}

// A tally is the part of the journal up to a boundary.
type tally struct{ groups, events, bytes int64 }

// count returns what is live up to and including to, which must be a boundary.
func (l *Ledger) count(ctx context.Context, to int64) (t tally, err error) {
	var last int64
	err = l.read.QueryRowContext(ctx, `
		SELECT count(*), ifnull(sum(count), 0), ifnull(sum(length(payload)), 0), ifnull(max(last), 0)
		FROM journal WHERE last > ? AND last <= ?`, l.Published(), to).
		Scan(&t.groups, &t.events, &t.bytes, &last)
	if err == nil && last != to {
		err = fmt.Errorf("no group ends at %d", to)
	}
	return t, err
}

// settle takes what has been published out of the counts. next is the oldest
// group that is still live, or zero.
func (l *Ledger) settle(published int64, t tally, next Group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published = published
	s := &l.stats
	s.Groups -= t.groups
	s.Events -= t.events
	s.Bytes -= t.bytes
	s.First, s.OldestReceived = next.First, next.Received
	if s.Groups == 0 {
		s.Last = 0
	}
}

// oldest returns the first and the time of the oldest group after published, or
// a zero Group if there is none.
func oldest(tx *sql.Tx, published int64) (g Group, err error) {
	err = tx.QueryRow(`SELECT first, received FROM journal WHERE last > ? ORDER BY last LIMIT 1`, published).
		Scan(&g.First, &g.Received)
	if errors.Is(err, sql.ErrNoRows) {
		return Group{}, nil
	}
	return g, err
}
