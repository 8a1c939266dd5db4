package door_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestMostSessions: a user has fifty sessions; the next log-in ends the one that was not
// used for longest, whoever's are older, and says so in the chain.
func TestMostSessions(t *testing.T) {
	t.Parallel()
	const most = 50
	l, err := ledger.Open(t.Context(), t.TempDir()+"/ledger.db", migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := newRig(t, l)
	if _, err := r.Create(t.Context(), "Vi", ledger.RoleViewer, right); err != nil {
		t.Fatal(err)
	}
	enter := func(name string) door.Entrance {
		t.Helper()
		r.clock.forward(time.Second)
		e, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: name, Password: right})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	other := enter("vi")
	var all []door.Entrance
	for range most {
		all = append(all, enter("jo bright"))
	}
	r.clock.forward(time.Second)
	if _, err := r.Find(t.Context(), all[0].Token); err != nil { // the oldest is in use
		t.Fatal(err)
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	all = append(all, enter("jo bright"), enter("jo bright"), enter("jo bright"))
	var ended []string
	for i, e := range all {
		_, err := r.Find(t.Context(), e.Token)
		if want := i >= 1 && i <= 3; errors.Is(err, door.ErrNoSession) != want {
			t.Errorf("session %d: %v, ended is %t", i, err, want)
		}
		if err != nil {
			ended = append(ended, "session:"+e.Session.ID)
		}
	}
	if list, err := r.Sessions(t.Context(), r.jo.ID); err != nil || len(list) != most {
		t.Errorf("%d sessions are listed, %v; want %d", len(list), err, most)
	}
	if _, err := r.Find(t.Context(), other.Token); err != nil {
		t.Errorf("the session of another user: %v", err)
	}
	rows, err := l.Entries(t.Context(), ledger.EntryFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, row := range rows {
		leaf, err := audit.Parse(row.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if leaf.Kind == audit.SessionEnd && leaf.Reason == "too_many" {
			recorded[leaf.Object] = true
		}
	}
	if len(recorded) != len(ended) {
		t.Errorf("%d ends are recorded, want %d", len(recorded), len(ended))
	}
	for _, id := range ended {
		if !recorded[id] {
			t.Errorf("the end of %s is not recorded", id)
		}
	}
}

// TestSessionEnds: a session ends when it is not used for half a day, and a day after it
// began however often it is used; a change of the password ends all but one's own.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	enter := func(password string) door.Entrance {
		t.Helper()
		e, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	ended := func(e door.Entrance) bool {
		t.Helper()
		_, err := r.Find(t.Context(), e.Token)
		if err != nil && !errors.Is(err, door.ErrNoSession) {
			t.Fatal(err)
		}
		return err != nil
	}
	idle, used := enter(right), enter(right)
	r.clock.forward(12*time.Hour - time.Microsecond)
	if ended(used) {
		t.Error("a session has ended too early")
	}
	r.clock.forward(time.Microsecond)
	if !ended(idle) || ended(used) {
		t.Errorf("after half a day: not used, ended is %t; used, ended is %t", ended(idle), ended(used))
	}
	r.clock.forward(12*time.Hour - time.Microsecond)
	if ended(used) {
		t.Error("a session has ended before its day was over")
	}
	r.clock.forward(time.Microsecond)
	if !ended(used) {
		t.Error("a session that is used never ends")
	}
	own, other := enter(right), enter(right)
	visit, err := r.Find(t.Context(), own.Token)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ChangePassword(t.Context(), from("192.0.2.1"), visit, right, right+" staple"); err != nil {
		t.Fatal(err)
	}
	if ended(own) || !ended(other) {
		t.Errorf("after a change of the password: one's own, ended is %t; another, ended is %t", ended(own), ended(other))
	}
	if err := r.SetPassword(t.Context(), r.jo, right, false); err != nil || !ended(own) {
		t.Errorf("%v; after the operator has set the password, ended is %t", err, ended(own))
	}
}
