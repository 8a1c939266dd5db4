package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/eider-analytics/eider/store/audit"
)

// A ledger is a chain in memory: the local side of the tests.
type ledger struct {
	mu    sync.Mutex
	chain *audit.Chain
	rows  []audit.Row
	notes []audit.Checkpoint
	grown chan struct{}
	keys  []audit.Key
}

func newLedger(instance string) *ledger {
	l := &ledger{chain: audit.New(instance), grown: make(chan struct{}, 1), keys: []audit.Key{audit.NewKey([32]byte{1})}}
	l.grow(1)
	return l
}

// grow appends n entries of random length and signs the head.
func (l *ledger) grow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		row, err := l.chain.Append(audit.Entry{
			Kind: audit.SettingChange, By: audit.By{Actor: "key:1", Request: "r-ä"}, Object: fmt.Sprint("setting:", rand.N(100)),
			Detail: map[string]string{"value": strings.Repeat("x", rand.N(300))},
		}, time.Now())
		if err != nil {
			panic(err)
		}
		l.rows = append(l.rows, row)
	}
	l.sign()
	select {
	case l.grown <- struct{}{}:
	default:
	}
}

func (l *ledger) sign() {
	note, err := audit.Sign(l.chain.Origin(), l.chain.Head(), l.keys, time.Now())
	if err != nil {
		panic(err)
	}
	l.notes = append(l.notes, note)
}

// cut takes the ledger back to an older state.
func (l *ledger) cut(t testing.TB, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.Clone(l.rows[:size])
	l.notes = slices.DeleteFunc(slices.Clone(l.notes), func(c audit.Checkpoint) bool { return c.Size > size })
	chain, err := audit.Resume(strings.Split(l.chain.Origin(), "/")[1], 1, size, tlog.HashReaderFunc(l.hashes))
	if err != nil {
		t.Fatal(err)
	}
	l.chain = chain
}

// adopt begins another incarnation.
func (l *ledger) adopt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	row, err := l.chain.Adopt(audit.Entry{By: audit.System, Reason: "test"}, time.Now())
	if err != nil {
		panic(err)
	}
	l.rows = append(l.rows, row)
	l.sign()
}

func (l *ledger) AuditHead() (string, audit.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain.Origin(), l.chain.Head()
}

func (l *ledger) Grown() <-chan struct{} { return l.grown }

func (l *ledger) Extent(context.Context) (first, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for first < int64(len(l.rows)) && l.rows[first].Leaf == nil {
		first++
	}
	return first, int64(len(l.rows)), nil
}

func (l *ledger) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	l.mu.Lock()
	rows := slices.Clone(l.rows)
	l.mu.Unlock()
	for _, r := range rows {
		if r.Seq >= from && r.Seq < to {
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (l *ledger) Checkpoints(_ context.Context, after int64, fn func(audit.Checkpoint) error) error {
	l.mu.Lock()
	notes := slices.Clone(l.notes)
	l.mu.Unlock()
	for _, c := range notes {
		if c.Size > after {
			if err := fn(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *ledger) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hashes(indexes)
}

func (l *ledger) hashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		seq, at := audit.Locate(index)
		if seq >= int64(len(l.rows)) {
			return nil, errors.New("no such hash")
		}
		copy(list[i][:], l.rows[seq].Hashes[32*at:])
	}
	return list, nil
}

// prune takes away the leaves below a seq.
func (l *ledger) prune(before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows[:before] {
		l.rows[i].Leaf = nil
	}
}

// brisk are options that make a test quick.
func brisk(t testing.TB) Options {
	return Options{
		Interval: 10 * time.Millisecond, Backoff: 2 * time.Millisecond, Timeout: 5 * time.Second, Compare: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// copier starts one that ends with the test.
func copier(t testing.TB, s Sink, l Chain, o Options) *Copier {
	c := NewCopier(s, l, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(ctx)
	})
	return c
}

func postgres(t testing.TB, url string) *Postgres {
	t.Helper()
	p, err := NewPostgres(url)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// same fails unless the copy is what the ledger has, to the last byte.
func same(t testing.TB, url string, l *ledger) {
	t.Helper()
	if what := difference(t, url, l); what != "" {
		t.Fatal(what)
	}
}

func difference(t testing.TB, url string, l *ledger) string {
	t.Helper()
	origin, head := l.AuditHead()
	remote, err := OpenPostgresLog(t.Context(), url, origin)
	if err != nil {
		return err.Error()
	}
	defer remote.Close()
	_, end, err := remote.Extent(t.Context())
	if err != nil || end != head.Size {
		return fmt.Sprintf("the copy has %d entries, the ledger %d, %v", end, head.Size, err)
	}
	want, got := contents(t, l, origin), contents(t, remote, origin)
	for i := range want.rows {
		if i >= len(got.rows) || !reflect.DeepEqual(got.rows[i], want.rows[i]) {
			return fmt.Sprintf("entry %d differs", i)
		}
	}
	for size, note := range want.notes {
		if got.notes[size] != note {
			return fmt.Sprintf("the checkpoint of size %d is\n%q, want\n%q", size, got.notes[size], note)
		}
	}
	root, err := tlog.TreeHash(end, remote)
	if err != nil || root != head.Root {
		return fmt.Sprintf("the copy's root is %v, want %v, %v", root, head.Root, err)
	}
	return ""
}

type content struct {
	rows  []audit.Row
	notes map[int64]string
}

func contents(t testing.TB, log audit.Log, origin string) content {
	t.Helper()
	c := content{notes: make(map[int64]string)}
	err := log.Rows(t.Context(), 0, 1<<40, func(r audit.Row) error {
		r.Private = nil
		c.rows = append(c.rows, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = log.Checkpoints(t.Context(), -1, func(p audit.Checkpoint) error {
		if p.Origin == origin {
			c.notes[p.Size] += string(p.Note)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// watched is a sink that tells how far it was compared.
type watched struct {
	*Postgres
	upto atomic.Int64
}

func (w *watched) Compare(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) error {
	err := w.Postgres.Compare(ctx, origin, rows, checkpoints)
	if err == nil && len(rows) > 0 {
		w.upto.Store(rows[len(rows)-1].Seq + 1)
	}
	return err
}
