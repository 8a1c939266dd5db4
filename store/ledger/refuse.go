package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// Of identical refusals the first is an entry, and those of the next seconds are
// counted, durably, to become one more. What is identical gets coarser with the
// number of floods at once, so that nobody fills the disk with being refused.
const (
	foldFor   = 10 * time.Second // a flood's refusals are counted before they become an entry
	floodFor  = 10 * time.Minute // the same, while there are more floods than can be told apart
	maxFolds  = 64               // floods of the same address
	moreFolds = 64               // floods of any address, beyond those
)

// A foldKey is what identical refusals have in common.
type foldKey struct {
	kind                           audit.Kind
	actor, object, reason, address string
	coarse                         int // 0: all of it; 1: any address; 2: nothing but the kind
}

// A fold is a flood that goes on. It is in the ledger by the seq of its entry, with
// the counts; what its refusals were is in that entry's leaf.
type fold struct {
	entry       audit.Entry
	seq         int64
	count       int64 // after the first
	first, last int64 // µs
	until       int64 // µs
}

// Refuse records that something was refused: the first time at once, and further
// times within ten seconds, when nothing but the request differs, in one entry with a
// count. All are durable when Refuse returns nil, and none is dropped. In a flood from
// many addresses those are not told apart, and the entry's detail says so.
func (l *Ledger) Refuse(ctx context.Context, e audit.Entry) error {
	if e.Kind == audit.Adopt {
		return fmt.Errorf("record refusal: %s is no kind of one", e.Kind)
	}
	attribute(ctx, &e)
	if e.Outcome == "" {
		e.Outcome = audit.Refused
	}
	fresh := false
	err := l.submit(ctx, &act{do: func(g *group) (err error) {
		fresh, err = g.refuse(e)
		return err
	}})
	if fresh && err == nil {
		l.wakeFolder()
	}
	return about("record", string(e.Kind), err)
}

// refuse counts a refusal, or records it and begins a fold.
func (g *group) refuse(e audit.Entry) (fresh bool, err error) {
	if g.halted != nil {
		return false, g.halted
	}
	l, now := g.l, g.now.UnixMicro()
	key := l.foldOf(e, now)
	if f := l.folds[key]; f != nil {
		if now < f.until {
			_, err := g.tx.Stmt(l.addFolded).Exec(now, f.seq)
			if err == nil {
				f.add(now)
				g.acts++
			}
			return false, err
		}
		if err := g.seal(key, f); err != nil {
			return false, err
		}
	}
	e = key.folded(e)
	f := &fold{entry: e, seq: g.chain.Head().Size, until: now + foldFor.Microseconds()}
	if err := g.record(e); err != nil {
		return false, err
	}
	if key.coarse > 0 {
		f.until = now + floodFor.Microseconds()
	}
	if _, err := g.tx.Exec(`INSERT INTO audit_folds (seq, count, first, last) VALUES (?, 0, 0, 0)`, f.seq); err != nil {
		return false, err
	}
	l.keepFold(key, f)
	return true, nil
}

func (f *fold) add(now int64) {
	if f.count == 0 {
		f.first = now
	}
	f.count++
	f.last = now
}

// foldOf returns which fold a refusal belongs to: the finest that is there, or that
// there is still room for. When there is no room, the folds that there are last
// longer.
func (l *Ledger) foldOf(e audit.Entry, now int64) foldKey {
	key := foldKey{kind: e.Kind, actor: e.Actor, object: e.Object, reason: e.Reason, address: e.Address}
	if l.folds[key] != nil || l.foldsOf(0) < maxFolds {
		return key
	}
	for k, f := range l.folds {
		if k.coarse == 0 {
			f.until = max(f.until, now+floodFor.Microseconds())
		}
	}
	key.address, key.coarse = "", 1
	if l.folds[key] != nil || l.foldsOf(1) < moreFolds {
		return key
	}
	kind := audit.Unknown
	if slices.Contains(audit.Kinds, e.Kind) {
		kind = e.Kind
	}
	return foldKey{kind: kind, coarse: 2}
}

// foldsOf returns how many folds there are of a coarseness.
func (l *Ledger) foldsOf(coarse int) (n int) {
	for k := range l.folds {
		if k.coarse == coarse {
			n++
		}
	}
	return n
}

// foldDetail is the detail that says what a fold does not tell apart.
const foldDetail = "folded"

// folded says in the first entry of a coarse fold what is counted with it. Its own
// fields are its own.
func (k foldKey) folded(e audit.Entry) audit.Entry {
	if k.coarse == 0 {
		return e
	}
	e.Detail = maps.Clone(e.Detail)
	if e.Detail == nil {
		e.Detail = make(map[string]string)
	}
	e.Detail[foldDetail] = "addresses"
	if k.coarse == 2 {
		e.Detail[foldDetail] = "all"
	}
	return e
}

// keepFold begins a fold. The caller holds w.
func (l *Ledger) keepFold(key foldKey, f *fold) {
	l.folds[key] = f
	l.noteFolds()
}

// noteFolds tells others how many folds there are, and when the next is due.
func (l *Ledger) noteFolds() {
	var next int64
	for _, f := range l.folds {
		if next == 0 || f.until < next {
			next = f.until
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.audit.Folds, l.nextFold = int64(len(l.folds)), next
}

// seal makes an entry of what was counted, and ends the fold.
func (g *group) seal(key foldKey, f *fold) error {
	if f.count > 0 {
		e := f.entry
		e.Request, e.Trace, e.Private = "", "", nil // of the first one only
		e.Count, e.First, e.Last = f.count, time.UnixMicro(f.first), time.UnixMicro(f.last)
		e.Detail = maps.Clone(e.Detail)
		if e.Detail == nil {
			e.Detail = make(map[string]string)
		}
		e.Detail["like"] = strconv.FormatInt(f.seq, 10)
		if key.coarse > 0 {
			e.Address, e.Agent = "", ""
		}
		if key.coarse == 2 {
			e.Actor, e.Object, e.Reason = "", "", ""
		}
		if err := g.record(e); err != nil {
			return err
		}
	}
	if _, err := g.tx.Exec(`DELETE FROM audit_folds WHERE seq = ?`, f.seq); err != nil {
		return err
	}
	delete(g.l.folds, key)
	g.l.noteFolds()
	return nil
}

// sealDue seals the folds whose time is over.
func (l *Ledger) sealDue(g *group) error {
	return g.sealIf(func(f *fold) bool { return f.until <= g.now.UnixMicro() })
}

// sealAll seals all folds, so that what was refused so far is in the chain.
func (l *Ledger) sealAll(g *group) error {
	return g.sealIf(func(*fold) bool { return true })
}

// sealIf seals folds in the order of their entries. A chain that is halted keeps them
// as they are.
func (g *group) sealIf(due func(*fold) bool) error {
	if g.halted != nil {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(g.l.folds), func(a, b foldKey) int { return int(g.l.folds[a].seq - g.l.folds[b].seq) })
	for _, k := range keys {
		if f := g.l.folds[k]; due(f) {
			if err := g.seal(k, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder seals folds when their time is over.
func (l *Ledger) folder() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return // Close seals what is left
		case <-l.foldsChanged:
		case <-timer.C:
			err := l.submit(context.Background(), &act{do: l.sealDue})
			if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFailed) {
				l.log.Error("folded refusals are not in the audit chain yet", "err", err)
			}
		}
		l.mu.Lock()
		next, halted := l.nextFold, l.halted != nil
		l.mu.Unlock()
		timer.Stop()
		if next == 0 || halted || l.Failed() != nil {
			continue
		}
		timer.Reset(max(time.Duration(next-l.now())*time.Microsecond, time.Millisecond))
	}
}

// wakeFolder makes the folder look at when the next fold is due.
func (l *Ledger) wakeFolder() {
	select {
	case l.foldsChanged <- struct{}{}:
	default:
	}
}

// loadFolds reads the folds that a crash has left. They are due at once.
func (l *Ledger) loadFolds(ctx context.Context) error {
	rows, err := l.main.QueryContext(ctx, `
		SELECT f.seq, f.count, f.first, f.last, e.leaf FROM audit_folds f LEFT JOIN audit_entries e ON e.seq = f.seq ORDER BY f.seq`)
	if err != nil {
		return err
	}
	defer rows.Close()
	found := make(map[int64]*fold)
	for rows.Next() {
		var f fold
		var leaf []byte
		if err := rows.Scan(&f.seq, &f.count, &f.first, &f.last, &leaf); err != nil {
			return err
		}
		parsed, err := audit.Parse(leaf)
		if err != nil {
			l.Halt(fmt.Errorf("the entry of folded refusals: %d: %w", f.seq, err))
			return nil
		}
		f.entry = audit.Entry{
			Kind: parsed.Kind, Outcome: parsed.Outcome, Object: parsed.Object, Reason: parsed.Reason, Detail: parsed.Detail,
			By: audit.By{Actor: parsed.Actor},
		}
		found[f.seq] = &f
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for seq, f := range found {
		if err := l.readdress(ctx, seq, f); err != nil {
			return err
		}
	}
	return nil
}

// readdress puts back where a fold's refusals came from, if that has not been
// destroyed, and takes the fold up.
func (l *Ledger) readdress(ctx context.Context, seq int64, f *fold) error {
	private, err := chainDB{l.main}.Private(ctx, seq, seq+1)
	if err != nil {
		return err
	}
	for _, p := range private[seq] {
		var source source
		if p.Field == audit.SourceField && json.Unmarshal([]byte(p.Value), &source) == nil {
			f.entry.Address, f.entry.Agent = source.Address, source.Agent
		}
	}
	e := f.entry
	f.until = 1 // long ago
	key := foldKey{kind: e.Kind, actor: e.Actor, object: e.Object, reason: e.Reason, address: e.Address}
	switch e.Detail[foldDetail] {
	case "addresses":
		key.coarse, key.address = 1, ""
	case "all":
		key = foldKey{kind: e.Kind, coarse: 2}
	}
	if l.folds[key] != nil { // two that have become alike
		key.reason += "\x00" + strconv.FormatInt(seq, 10)
	}
	l.keepFold(key, f)
	return nil
}

// source is the value of [audit.SourceField].
type source struct {
	Address string `json:"address"`
	Agent   string `json:"user_agent"`
}
