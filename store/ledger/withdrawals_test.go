package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// waiting carries out all withdrawals, and returns them.
func waiting(t *testing.T, l *ledger.Ledger) (all []ledger.Withdrawal) {
	t.Helper()
	n, since, err := l.Withdrawals(t.Context())
	if err != nil || since.IsZero() != (n == 0) {
		t.Fatalf("%d wait since %v, %v", n, since, err)
	}
	for {
		w, found, err := l.NextWithdrawal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			if int(n) != len(all) {
				t.Errorf("%d wait, and %d were found", n, len(all))
			}
			return all
		}
		all = append(all, w)
		if err := l.Withdrawn(t.Context(), w.ID, 3); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWithdrawals keeps those of changes that were made, once there is a copy, over a
// restart, and until they are carried out; and none that another has made needless.
func TestWithdrawals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	erase := func(w ledger.Withdrawal) {
		t.Helper()
		if _, err := l.Commit(t.Context(), ledger.Change{Withdraw: &w, Entry: &audit.Entry{Kind: audit.DataErase}}); err != nil {
			t.Fatal(err)
		}
	}
	erase(ledger.Withdrawal{Upto: 1, Site: "a.example"})
	if all := waiting(t, l); len(all) != 0 {
		t.Errorf("without a copy %+v wait", all)
	}
	for range 2 {
		if err := l.BeginCopy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	full := ledger.Withdrawal{Upto: 5, Site: "a.example", From: -3, To: 9, Visitor: event.ID{1, 2}, User: event.ID{15: 7}}
	list := []ledger.Withdrawal{
		{Upto: 4, Site: "a.example"},
		full,
		{Upto: 6, To: 100},           // needless:
		{Upto: 7, To: 200},           // of the days before and more
		{Upto: 7, Site: "a.example"}, // as the first, and of more events
		{Upto: 8, From: 4, To: 300},  // another beginning
		{Upto: 6, To: 400},           // of fewer events
		{Upto: 9, User: event.ID{15: 7}},
	}
	for _, w := range list {
		erase(w)
	}
	_, err := l.Commit(t.Context(), ledger.Change{Remove: []int64{99}, Withdraw: &ledger.Withdrawal{Upto: 99}, Entry: &audit.Entry{Kind: audit.DataErase}})
	if !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a change of nothing is %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{})
	want := []ledger.Withdrawal{full, list[3], list[4], list[5], list[6], list[7]}
	if diff := cmp.Diff(want, waiting(t, l), cmpopts.IgnoreFields(ledger.Withdrawal{}, "ID", "Made")); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if err := l.Withdrawn(t.Context(), 1, 0); err != nil {
		t.Errorf("one that has gone: %v", err)
	}
	// An open end is more than any other.
	erase(ledger.Withdrawal{Upto: 9, Site: "b.example", To: 50})
	erase(ledger.Withdrawal{Upto: 9, Site: "b.example"})
	if all := waiting(t, l); len(all) != 1 || all[0].To != 0 {
		t.Errorf("%+v wait", all)
	}
	var kinds []string
	rows, err := l.Entries(t.Context(), ledger.EntryFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Kind == audit.DataCopy || row.Kind == audit.DataWithdraw {
			kinds = append(kinds, string(row.Kind))
		}
	}
	if got := strings.Join(kinds, " "); got != strings.Repeat("data.withdraw ", 8)+"data.copy" {
		t.Errorf("the entries are %s", got)
	}
}
