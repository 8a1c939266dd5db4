package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/fault"
)

// An act is a change and the entries that say so, in one transaction. Whoever finds
// nobody writing commits his own. Other acts queue up, and a goroutine commits all that
// wait at once: each in a savepoint of its own, so that one that is refused takes no
// other with it.

// maxActs is how many acts can be in the queue, and in one commit. More wait to get
// in.
const maxActs = 256

// errPanic stands for what an act has panicked with.
var errPanic = errors.New("the act has panicked")

// A group is one transaction of acts.
type group struct {
	l      *Ledger
	tx     *sql.Tx
	now    time.Time
	chain  *audit.Chain // grows on its own until the commit; nil if there is none
	halted error
	must   bool // the act at hand takes place although the chain is halted

	adopted bool
	acts    int // recorded, counted or owed
	entries int
	unknown int64
	bytes   int64 // of leaves and hashes
	private int64 // bytes beside the chain
}

// An act is what one caller wants done.
type act struct {
	do   func(*group) error
	must bool // see [group.must]
	done chan struct{}
	err  error

	// What do has panicked with is for its caller to panic with: do may be called by
	// the goroutine of all.
	panicked any
}

// act makes a change with its entry. Nothing is changed while the chain is halted:
// that is [audit.ErrHalted]. fn, which may be nil, may fill in the entry. When ctx
// is cancelled before the act has got into the queue, it does not take place; later
// that cannot be told.
func (l *Ledger) act(ctx context.Context, e *audit.Entry, fn func(*sql.Tx) error) error {
	return l.submit(ctx, &act{do: record(ctx, e, fn)})
}

// mustAct is act for what cannot be refused: while the chain is halted the change is
// made, and the entry is owed.
func (l *Ledger) mustAct(ctx context.Context, e *audit.Entry, fn func(*sql.Tx) error) error {
	return l.submit(ctx, &act{do: record(ctx, e, fn), must: true})
}

func record(ctx context.Context, e *audit.Entry, fn func(*sql.Tx) error) func(*group) error {
	return func(g *group) error {
		if fn != nil {
			if err := fn(g.tx); err != nil {
				return err
			}
		}
		attribute(ctx, e)
		return g.record(*e)
	}
}

// attribute says by whom an entry's act was done, if the entry does not.
func attribute(ctx context.Context, e *audit.Entry) {
	if e.By == (audit.By{}) {
		e.By = audit.From(ctx)
	}
}

// submit has an act committed, at once or with others.
func (l *Ledger) submit(ctx context.Context, a *act) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Waking another goroutine takes as long as making an entry. Of those that wait
	// none is taken along: when the ledger is closed they have an answer already.
	if len(l.acts) == 0 && l.w.TryLock() {
		defer l.w.Unlock()
		return l.actLocked(a)
	}
	if err := l.enqueue(ctx, a); err != nil {
		return err
	}
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.err
}

// enqueue queues an act and waits for it.
func (l *Ledger) enqueue(ctx context.Context, a *act) error {
	a.done = make(chan struct{})
	select {
	case l.acts <- a:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stop:
		return l.closedOr()
	}
	select {
	case <-a.done:
	case <-l.over: // nobody takes acts any more; this one may have been the last
		select {
		case <-a.done:
		default:
			return l.closedOr()
		}
	}
	return nil
}

// closedOr returns why the ledger takes no acts although it has not failed.
func (l *Ledger) closedOr() error {
	if err := l.Failed(); err != nil {
		return err
	}
	return ErrClosed
}

// committer commits acts until the ledger is closed, and then those that are left.
func (l *Ledger) committer() {
	defer close(l.over)
	for {
		select {
		case <-l.stop:
			for len(l.acts) > 0 {
				l.commitWaiting(<-l.acts)
			}
			return
		case a := <-l.acts:
			l.commitWaiting(a)
		}
	}
}

// commitWaiting commits an act with all that wait.
func (l *Ledger) commitWaiting(first *act) {
	batch := []*act{first}
	l.w.Lock()
	defer l.w.Unlock()
	for len(batch) < maxActs && len(l.acts) > 0 {
		batch = append(batch, <-l.acts)
	}
	l.commitActs(batch)
	for _, a := range batch {
		close(a.done)
	}
}

// actLocked is submit for who holds w.
func (l *Ledger) actLocked(a *act) error {
	l.commitActs([]*act{a})
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.err
}

// commitActs makes a transaction of acts and gives each its error. The caller holds
// w.
func (l *Ledger) commitActs(batch []*act) {
	err := l.Failed()
	if err == nil {
		err = l.tryActs(batch)
	}
	if err == nil {
		return
	}
	for _, a := range batch {
		a.err = err
	}
}

// tryActs is commitActs; its error is one for all of them.
func (l *Ledger) tryActs(batch []*act) error {
	start := time.Now()
	tx, err := l.main.BeginTx(context.Background(), nil)
	if err != nil {
		return l.judge(err)
	}
	g := &group{l: l, tx: tx, now: l.opts.Now(), halted: l.Halted()}
	if l.chain != nil {
		g.chain = l.chain.Clone()
	}
	done := 0
	for _, a := range batch {
		if err := g.try(a, len(batch) > 1); err != nil {
			_ = tx.Rollback() // err is the one that counts
			return err
		}
		if a.err == nil {
			done++
		}
	}
	if done == 0 {
		_ = tx.Rollback() // each act has its error
		return nil
	}
	fault.Point("act: before commit")
	if err := tx.Commit(); err != nil {
		return l.fail(err)
	}
	fault.Point("act: committed")
	l.grew(g)
	if l.opts.Recorded != nil && g.acts > 0 {
		l.opts.Recorded(time.Since(start), g.acts)
	}
	return nil
}

// try does one act, and undoes what it has done if it fails. It returns an error if
// the ledger has failed.
func (g *group) try(a *act, others bool) error {
	if others {
		if _, err := g.tx.Exec(`SAVEPOINT act`); err != nil {
			return g.l.fail(err)
		}
	}
	was := *g
	g.must = a.must
	if a.err = a.run(g); a.err != nil {
		a.err = g.l.judge(a.err)
	}
	if err := g.l.Failed(); err != nil {
		return err
	}
	if a.err != nil {
		*g = was
	}
	if !others {
		return nil
	}
	if a.err != nil {
		if _, err := g.tx.Exec(`ROLLBACK TO act`); err != nil {
			return g.l.fail(err)
		}
	}
	if _, err := g.tx.Exec(`RELEASE act`); err != nil {
		return g.l.fail(err)
	}
	return nil
}

func (a *act) run(g *group) (err error) {
	finished := false
	defer func() {
		if !finished {
			a.panicked, err = recover(), errPanic
		}
	}()
	err = a.do(g)
	finished = true
	return err
}

// record appends an entry. While the chain is halted the entry is owed, if the act
// must take place, and else the act is refused.
func (g *group) record(e audit.Entry) error {
	switch {
	case g.halted == nil:
		return g.append(e, (*audit.Chain).Append)
	case g.must:
		return g.owe(e)
	}
	return g.halted
}

func (g *group) append(e audit.Entry, to func(*audit.Chain, audit.Entry, time.Time) (audit.Row, error)) error {
	fault.Point("act: before entry")
	next := g.chain.Clone()
	row, err := to(next, e, g.now)
	if err != nil {
		return err
	}
	_, err = g.tx.Stmt(g.l.addEntry).Exec(row.Seq, row.Time, string(row.Kind), string(row.Outcome), row.Actor, row.Object, row.Request, row.Hashes, row.Leaf)
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Kind, err)
	}
	for i, p := range row.Private {
		if _, err := g.tx.Stmt(g.l.addPrivate).Exec(privateID(row.Seq)+int64(i), p.Field, p.Salt[:], []byte(p.Value)); err != nil {
			return fmt.Errorf("record %s: %w", e.Kind, err)
		}
		g.private += int64(len(p.Value)) + 64
	}
	fault.Point("act: entry written")
	g.chain = next
	g.acts++
	g.entries++
	g.bytes += int64(len(row.Leaf) + len(row.Hashes))
	if row.Kind == audit.Unknown {
		g.unknown++
	}
	return nil
}

// maxOwed bounds the entries that are owed by what somebody does as often as he likes.
const maxOwed = 10_000

// roomToOwe refuses an act if its entry would be owed and too many are.
func (g *group) roomToOwe() error {
	if g.halted == nil {
		return nil
	}
	var n int
	if err := g.tx.QueryRow(`SELECT count(*) FROM audit_owed`).Scan(&n); err != nil {
		return err
	}
	if n >= maxOwed {
		return g.halted
	}
	return nil
}

// owe keeps an entry until the chain takes entries again.
func (g *group) owe(e audit.Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Kind, err)
	}
	g.acts++
	_, err = g.tx.Exec(`INSERT INTO audit_owed (time, entry) VALUES (?, ?)`, g.now.UnixMicro(), string(b))
	return err
}

// grew makes what a group has committed the state of the ledger. The caller holds w.
func (l *Ledger) grew(g *group) {
	l.wrote(int(g.bytes+g.private) + 4*pageSize)
	l.chain = g.chain
	l.mu.Lock()
	if l.chain != nil {
		l.origin, l.head = l.chain.Origin(), l.chain.Head()
	}
	if g.adopted {
		l.halted = nil
	}
	l.audit.Unknown += g.unknown
	l.audit.Bytes += g.bytes + g.private
	l.mu.Unlock()
	if g.entries == 0 {
		return
	}
	select {
	case l.grown <- struct{}{}:
	default:
	}
}
