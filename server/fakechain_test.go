package server_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// A fakeChain is an audit chain in memory: a real one, without a ledger. It folds no
// refusals.
type fakeChain struct {
	mu      sync.Mutex // guards the fields below
	chain   *audit.Chain
	rows    []audit.Row
	entries []audit.Entry // as they were recorded
	notes   []audit.Checkpoint
	halted  error
	fails   error // of recording
	adopted string
	forgot  ledger.PrivateFilter
	basis   string
}

var fakeKey = audit.NewKey([32]byte{1})

func newFakeChain() *fakeChain {
	f := &fakeChain{chain: audit.New("0123456789abcdef")}
	f.append(audit.Entry{Kind: audit.Genesis, By: audit.System, Detail: map[string]string{"key": fakeKey.Text()}})
	f.sign()
	return f
}

// append records an entry. The caller holds mu, or is alone.
func (f *fakeChain) append(e audit.Entry) {
	row, err := f.chain.Append(e, now)
	if err != nil {
		panic(err)
	}
	f.rows, f.entries = append(f.rows, row), append(f.entries, e)
}

// sign makes a checkpoint.
func (f *fakeChain) sign() {
	c, err := audit.Sign(f.chain.Origin(), f.chain.Head(), []audit.Key{fakeKey}, now)
	if err != nil {
		panic(err)
	}
	f.notes = append(f.notes, c)
}

func (f *fakeChain) Record(ctx context.Context, e audit.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halted != nil {
		return f.halted
	}
	if f.fails != nil {
		return f.fails
	}
	if e.By == (audit.By{}) {
		e.By = audit.From(ctx)
	}
	f.append(e)
	return nil
}

func (f *fakeChain) Refuse(ctx context.Context, e audit.Entry) error { return f.Record(ctx, e) }

func (f *fakeChain) AuditHead() (string, audit.Head) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.chain.Origin(), f.chain.Head()
}

func (f *fakeChain) Halted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.halted
}

// recorded returns what was recorded since the chain began.
func (f *fakeChain) recorded() []audit.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.entries[1:])
}

func (f *fakeChain) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		seq, at := audit.Locate(index)
		if seq >= int64(len(f.rows)) {
			return nil, fmt.Errorf("there is no entry %d", seq)
		}
		copy(hashes[i][:], f.rows[seq].Hashes[32*at:])
	}
	return hashes, nil
}

func (f *fakeChain) Extent(context.Context) (first, end int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 0, int64(len(f.rows)), nil
}

func (f *fakeChain) Rows(_ context.Context, from, to int64, fn func(audit.Row) error) error {
	f.mu.Lock()
	rows := slices.Clone(f.rows[min(from, int64(len(f.rows))):min(to, int64(len(f.rows)))])
	f.mu.Unlock()
	for _, r := range rows {
		r.Private = nil
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeChain) Checkpoints(_ context.Context, after int64, fn func(audit.Checkpoint) error) error {
	f.mu.Lock()
	notes := slices.Clone(f.notes)
	f.mu.Unlock()
	for _, c := range notes {
		if c.Size > after {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fakeChain) Entries(_ context.Context, q ledger.EntryFilter) (list []audit.Row, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	is := func(want, have string) bool { return want == "" || want == have }
	for _, r := range slices.Backward(f.rows) {
		if len(list) < q.Limit && (q.Before == 0 || r.Seq < q.Before) && is(q.Kind, string(r.Kind)) && is(q.Actor, r.Actor) &&
			is(q.Object, r.Object) && is(q.Request, r.Request) && (q.From == 0 || r.Time >= q.From) && (q.To == 0 || r.Time < q.To) {
			list = append(list, r)
		}
	}
	return list, nil
}

func (f *fakeChain) Private(_ context.Context, from, to int64) (map[int64][]audit.Private, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[int64][]audit.Private{}
	for _, r := range f.rows[from:to] {
		all[r.Seq] = r.Private
	}
	return all, nil
}

func (f *fakeChain) Adopt(ctx context.Context, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halted == nil {
		return server.ErrNotHalted
	}
	row, err := f.chain.Adopt(audit.Entry{By: audit.From(ctx), Private: map[string]string{"reason": reason}}, now)
	f.rows, f.entries, f.halted, f.adopted = append(f.rows, row), append(f.entries, audit.Entry{Kind: audit.Adopt, By: audit.From(ctx)}), nil, reason
	return err
}

func (f *fakeChain) ErasePrivate(ctx context.Context, q ledger.PrivateFilter, basis string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgot, f.basis = q, basis
	f.append(audit.Entry{Kind: audit.Erase, By: audit.From(ctx), Detail: map[string]string{"basis": basis}})
	return 3, nil
}

func (f *fakeChain) Prune(ctx context.Context, before time.Time) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if before.Year() < 2020 {
		return 0, fmt.Errorf("%w: none is set", server.ErrNotCopied)
	}
	f.append(audit.Entry{Kind: audit.Prune, By: audit.From(ctx)})
	return 7, nil
}

func (f *fakeChain) Report(_ context.Context, from, to time.Time) ([]byte, error) {
	return []byte(from.Format(time.RFC3339) + " " + to.Format(time.RFC3339)), nil
}

func (f *fakeChain) Verifiers(context.Context) ([]string, error) {
	return []string{fakeKey.Verifier(f.chain.Origin())}, nil
}
