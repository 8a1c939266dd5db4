package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestLogInHalted logs in while the audit chain is halted. What that changes is there at
// once, and its entries when the chain is adopted; of attempts that fail the tallies are
// kept. Once too many entries are owed nobody comes in.
func TestLogInHalted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	user := ledger.User{ID: "u1", Name: "vera", Role: ledger.RoleAdmin, Password: "hash"}
	if err := l.AddUser(t.Context(), user, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	halted := ledger.Options{Known: func(context.Context, *ledger.Ledger) error { return audit.ErrRolledBack }}
	l = open(t, dir, halted)
	before := len(entriesOf(t, l))
	in := ledger.LogIn{How: "password", Session: ledger.Session{Hash: [32]byte{1}, ID: "s1", User: "u1", Expires: 1 << 60}}
	if err := l.LogIn(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	failed := []ledger.Tally{{Key: "source:x", Count: 3, Last: 5}}
	if err := l.LogInFailed(t.Context(), failed, nil, audit.Entry{Kind: audit.Login}, &audit.Entry{Kind: audit.Lockout}); err != nil {
		t.Fatal(err)
	}
	if s, _, err := l.Session(t.Context(), in.Session.Hash); err != nil || s.ID != "s1" {
		t.Errorf("session is %+v, %v", s, err)
	}
	if tallies, err := l.Tallies(t.Context()); err != nil || !slices.Equal(tallies, failed) {
		t.Errorf("tallies are %+v, %v", tallies, err)
	}
	if n := len(entriesOf(t, l)); n != before {
		t.Errorf("%d entries, want %d as before", n, before)
	}

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	owe(t, dir, 9_998) // with the two that are
	l = open(t, dir, halted)
	in.Session.Hash, in.Session.ID = [32]byte{2}, "s2"
	if err := l.LogIn(t.Context(), in); !errors.Is(err, audit.ErrHalted) {
		t.Errorf("LogIn with 10,000 entries that are owed = %v, want ErrHalted", err)
	}
	owe(t, dir, -9_998)

	if err := l.Adopt(acting(t, "user:u1"), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range entriesOf(t, l)[before:] {
		got = append(got, fmt.Sprint(r.Kind, " ", r.Object, " ", leaf(t, r).Detail["done_at"] != ""))
	}
	want := []string{"audit.adopt  false", "login.attempt user:u1 true", "session.start session:s1 true"}
	if !slices.Equal(got, want) {
		t.Errorf("entries are %q, want %q", got, want)
	}
}

// owe adds entries that are owed, or takes them away.
func owe(t *testing.T, dir string, n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	query, arg := `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO audit_owed (time, entry) SELECT 1, '{"filler":true}' FROM n`, n
	if n < 0 {
		query, arg = `DELETE FROM audit_owed WHERE entry = '{"filler":true}' AND ? < 0`, n
	}
	if _, err := db.Exec(query, arg); err != nil {
		t.Fatal(err)
	}
}
