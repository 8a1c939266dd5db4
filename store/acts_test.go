package store_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// leaves returns the entries of a kind, oldest first.
func (r *rig) leaves(kind audit.Kind) (list []audit.Leaf) {
	r.t.Helper()
	rows, err := r.ledger.Entries(r.t.Context(), ledger.EntryFilter{Kind: string(kind)})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, row := range slices.Backward(rows) {
		leaf, err := audit.Parse(row.Leaf)
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, leaf)
	}
	return list
}

// TestActs: an erasure and a retention have their entry, by whoever asked for it, and
// neither takes place while the chain is halted. A publish is no act, and goes on.
func TestActs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	events := some(rand.New(rand.NewPCG(1, 2)), 200, 3)
	for i := range events {
		events[i].Site = "a.example"
	}
	r.append(events...)
	r.flush(200)
	r.publish()
	ctx := audit.With(t.Context(), audit.By{Actor: "key:k", Request: "r"})

	r.ledger.Halt(errors.New("an older one"))
	if _, err := r.store.Erase(ctx, store.Erasure{Site: "a.example"}); !errors.Is(err, audit.ErrHalted) {
		t.Errorf("Erase while the chain is halted = %v, want ErrHalted", err)
	}
	if _, err := r.store.Retain(ctx, event.DayOf(noon)+10); !errors.Is(err, audit.ErrHalted) {
		t.Errorf("Retain while the chain is halted = %v, want ErrHalted", err)
	}
	more := some(rand.New(rand.NewPCG(3, 4)), 10, 1)
	r.append(more...)
	r.flush(10)
	r.publish()
	r.check()
	if err := r.ledger.Adopt(ctx, audit.Entry{}); err != nil {
		t.Fatal(err)
	}

	if n, err := r.store.Erase(ctx, store.Erasure{Site: "nobody.example"}); err != nil || n != 0 {
		t.Fatalf("Erase of nothing = %d, %v", n, err)
	}
	n, err := r.store.Erase(ctx, store.Erasure{Site: "a.example"})
	if err != nil || n < 200 {
		t.Fatalf("Erase = %d, %v", n, err)
	}
	list := r.leaves(audit.DataErase)
	if len(list) != 2 || list[0].Detail["rows"] != "0" || list[1].Object != "site:a.example" || list[1].Actor != "key:k" || list[1].Request != "r" {
		t.Errorf("erasures are told as %+v", list)
	}
	parts, err := r.store.Retain(t.Context(), event.DayOf(noon)+10)
	if err != nil {
		t.Fatal(err)
	}
	list = r.leaves(audit.DataRetain)
	if len(list) != min(parts, 1) || parts > 0 && (list[0].Actor != "system" || list[0].Detail["before"] == "") {
		t.Errorf("a retention of %d parts is told as %+v", parts, list)
	}
	if _, err := r.store.Retain(t.Context(), event.DayOf(noon)+10); err != nil {
		t.Fatal(err)
	}
	if again := r.leaves(audit.DataRetain); len(again) != len(list) {
		t.Error("a retention of nothing has an entry")
	}
}
