package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

func TestSites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: func() time.Time { return time.UnixMicro(77) }})
	for _, s := range []ledger.Site{{Domain: "b.example", Timezone: "Europe/Berlin"}, {Domain: "a.example", Timezone: "UTC", Created: 5}} {
		if err := l.AddSite(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.AddSite(t.Context(), ledger.Site{Domain: "a.example"}); !errors.Is(err, ledger.ErrExists) || errors.Is(err, ledger.ErrFailed) {
		t.Errorf("AddSite again = %v, want ErrExists", err)
	}
	if err := l.SetSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: "Asia/Tokyo"}); err != nil {
		t.Error(err)
	}
	if err := l.SetSite(t.Context(), ledger.Site{Domain: "c.example"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("SetSite = %v, want ErrNotFound", err)
	}
	l = reopen(t, dir, l)
	got, err := l.Sites(t.Context())
	want := []ledger.Site{{"a.example", "Asia/Tokyo", 5}, {"b.example", "Europe/Berlin", 77}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Sites = %+v, %v; want %+v", got, err, want)
	}
	if err := l.RemoveSite(t.Context(), "a.example"); err != nil {
		t.Error(err)
	}
	if err := l.RemoveSite(t.Context(), "a.example"); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("RemoveSite again = %v, want ErrNotFound", err)
	}
	if got, err := reopen(t, dir, l).Sites(t.Context()); err != nil || !reflect.DeepEqual(got, want[1:]) {
		t.Errorf("Sites = %+v, %v; want %+v", got, err, want[1:])
	}
}

func TestSalt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	var all [8][16]byte // of the same day, asked for at once
	var asked sync.WaitGroup
	for i := range all {
		asked.Go(func() {
			var err error
			if all[i], err = l.Salt(t.Context(), "a", "2026-01-01", 100); err != nil {
				t.Error(err)
			}
		})
	}
	asked.Wait()
	if all[0] == [16]byte{} {
		t.Error("the salt is zero")
	}
	for _, s := range all {
		if s != all[0] {
			t.Errorf("two salts for one day: %x and %x", s, all[0])
		}
	}
	for _, o := range [][2]string{{"a", "2026-01-02"}, {"b", "2026-01-01"}} {
		if s, err := l.Salt(t.Context(), o[0], o[1], 100); err != nil || s == all[0] {
			t.Errorf("salt of %v = %x, %v; want another one", o, s, err)
		}
	}
	l = reopen(t, dir, l)
	if s, err := l.Salt(t.Context(), "a", "2026-01-01", 999); err != nil || s != all[0] {
		t.Errorf("reopened: %x, %v; want %x", s, err, all[0])
	}
	if n, err := l.DropSalts(t.Context(), 100); n != 0 || err != nil {
		t.Errorf("DropSalts(100) = %d, %v; want none", n, err)
	}
	if n, err := l.DropSalts(t.Context(), 101); n != 3 || err != nil {
		t.Errorf("DropSalts(101) = %d, %v; want 3", n, err)
	}
	if s, err := l.Salt(t.Context(), "a", "2026-01-01", 999); err != nil || s == all[0] {
		t.Errorf("a dropped salt came back: %x, %v", s, err)
	}
}

// A tired context is cancelled as soon as it has been asked whether it is.
type tired struct {
	context.Context
	cancel func()
}

func (c tired) Err() error {
	err := c.Context.Err()
	c.cancel()
	return err
}

// TestDropSaltsCancelled gives up destroying salts when it has begun, as a server
// that is stopping does: the ledger goes on.
func TestDropSaltsCancelled(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{})
	if _, err := l.Salt(t.Context(), "a.example", "2026-01-01", 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n, err := l.DropSalts(tired{ctx, cancel}, 2); n != 1 || err != nil {
		t.Errorf("DropSalts = %d, %v; want 1", n, err)
	}
	if err := l.Failed(); err != nil {
		t.Errorf("the ledger has failed: %v", err)
	}
}

// TestDropSalts makes so many salts, of names so different in length, that SQLite
// moves them between pages, drops most of them in steps, and looks for their
// bytes in the files. Groups are appended meanwhile. With secure_delete alone
// about one salt in 3,000 is left.
func TestDropSalts(t *testing.T) {
	t.Parallel()
	for range 8 {
		dir := t.TempDir()
		salts := manySalts(t, dir, 3000)
		l := open(t, dir, ledger.Options{})
		for before := range int64(8) {
			add(t, l, 1, 30_000)
			if _, err := l.DropSalts(t.Context(), before); err != nil {
				t.Fatal(err)
			}
		}
		var files []byte
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, b...)
		}
		for s, expires := range salts {
			if got, want := bytes.Contains(files, s[:]), expires >= 7; got != want {
				t.Fatalf("a salt that expired at %d is in the files: %t, want %t", expires, got, want)
			}
		}
		if n, err := l.DropSalts(t.Context(), 7); n != 0 || err != nil {
			t.Errorf("DropSalts again = %d, %v; want 0", n, err)
		}
	}
}

// manySalts makes a ledger with n salts and returns when each expires: 0 to 9.
func manySalts(t *testing.T, dir string, n int) map[[16]byte]int64 {
	t.Helper()
	l := open(t, dir, ledger.Options{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// One by one through the ledger would take a sync each.
	tx, err := raw(t, filepath.Join(dir, "ledger.db")).Begin()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[[16]byte]int64)
	for i := range n {
		var s [16]byte
		binary.BigEndian.PutUint64(s[:], rand.Uint64())
		binary.BigEndian.PutUint64(s[8:], rand.Uint64())
		all[s] = rand.Int64N(10)
		site := fmt.Sprint(rand.IntN(1<<30), i) + strings.Repeat("x", rand.IntN(200))
		if _, err := tx.Exec("INSERT INTO salts VALUES (?, '2026-01-01', ?, ?)", site, s[:], all[s]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDropSaltsRetry checks that a WAL that could not be emptied, because someone
// read from it, is emptied by the next call although there is nothing to drop.
func TestDropSaltsRetry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	salt, err := l.Salt(t.Context(), "a", "2026-01-01", 1)
	if err != nil {
		t.Fatal(err)
	}
	l.HurryChecks()
	reader, err := raw(t, filepath.Join(dir, "ledger.db")).Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT count(*) FROM salts").Scan(&n); err != nil || n != 1 {
		t.Fatalf("%d salts, %v; want 1", n, err)
	}
	if n, err := l.DropSalts(t.Context(), 2); n != 1 || err == nil || errors.Is(err, ledger.ErrFailed) {
		t.Fatalf("DropSalts = %d, %v; want 1 and an error that is not ErrFailed", n, err)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n, err := l.DropSalts(t.Context(), 2); n != 0 || err != nil {
		t.Fatalf("DropSalts = %d, %v; want 0", n, err)
	}
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || bytes.Contains(b, salt[:]) {
			t.Errorf("%s: %v, or it still has the salt", name, err)
		}
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	a, err := l.Secret(t.Context(), "a", 32)
	if err != nil || len(a) != 32 || bytes.Equal(a, make([]byte, 32)) {
		t.Fatalf("Secret = %x, %v; want 32 random bytes", a, err)
	}
	if b, err := l.Secret(t.Context(), "b", 32); err != nil || bytes.Equal(a, b) {
		t.Errorf("Secret = %x, %v; want another one", b, err)
	}
	l = reopen(t, dir, l)
	if b, err := l.Secret(t.Context(), "a", 32); err != nil || !bytes.Equal(a, b) {
		t.Errorf("reopened: %x, %v; want %x", b, err, a)
	}
	if _, err := l.Secret(t.Context(), "a", 16); err == nil {
		t.Error("a secret of another size was returned")
	}
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	k, secret, err := ledger.NewKey("importer", []string{"stats", "ingest", "stats"}, "a.example", 9)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^eider_[0-9a-f]{48}$`).MatchString(secret) || !strings.HasPrefix(secret, k.Prefix) || len(k.Prefix) > 12 {
		t.Errorf("secret %q with the prefix %q", secret, k.Prefix)
	}
	want := ledger.Key{ID: k.ID, Name: "importer", Prefix: k.Prefix, Hash: ledger.HashKey(secret), Scopes: []string{"ingest", "stats"}, Site: "a.example", Expires: 9}
	if !reflect.DeepEqual(k, want) {
		t.Errorf("got %+v, want %+v", k, want)
	}
	if strings.Contains(secret, k.ID) {
		t.Error("the id gives part of the secret away")
	}
	for _, scopes := range [][]string{nil, {"ingest", "root"}} {
		if _, _, err := ledger.NewKey("x", scopes, "", 0); err == nil {
			t.Errorf("a key with the scopes %q was made", scopes)
		}
	}
	if _, again, _ := ledger.NewKey("importer", []string{"sql"}, "", 0); again == secret {
		t.Error("the same key twice")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := clockAt(100)
	l := open(t, dir, ledger.Options{Now: c.now})
	var want []ledger.Key
	for _, scope := range ledger.Scopes[:3] {
		k, _, err := ledger.NewKey(scope, []string{scope}, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AddKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if err := l.AddKey(t.Context(), k); !errors.Is(err, ledger.ErrExists) {
			t.Errorf("AddKey again = %v, want ErrExists", err)
		}
		k.Created = c.us.Load()
		c.pass(time.Microsecond)
		want = append(want, k)
	}
	if err := l.RevokeKey(t.Context(), want[0].ID, 500); err != nil {
		t.Fatal(err)
	}
	if err := l.RevokeKey(t.Context(), want[0].ID, 600); err != nil { // keeps the first time
		t.Fatal(err)
	}
	if err := l.RevokeKey(t.Context(), "none", 600); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("RevokeKey = %v, want ErrNotFound", err)
	}
	for _, used := range []map[string]int64{{want[1].ID: 70, "none": 3}, {want[1].ID: 60, want[2].ID: 61}, nil} {
		if err := l.TouchKeys(t.Context(), used); err != nil {
			t.Fatal(err)
		}
	}
	want[0].Revoked, want[1].LastUsed, want[2].LastUsed = 500, 70, 61
	got, err := reopen(t, dir, l).Keys(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := clockAt(100)
	l := open(t, dir, ledger.Options{Now: c.now})
	if err := l.EndRun(t.Context(), true, 0); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("EndRun without a run = %v, want ErrNotFound", err)
	}
	start := func(version string, want ledger.Run) {
		t.Helper()
		got, err := l.StartRun(t.Context(), version)
		if err != nil || got != want {
			t.Fatalf("StartRun = %+v, %v; want %+v", got, err, want)
		}
	}
	c.us.Store(201)
	start("1", ledger.Run{})
	c.pass(time.Microsecond)
	if err := l.EndRun(t.Context(), true, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Microsecond)
	start("2", ledger.Run{ID: 1, Version: "1", Started: 201, Stopped: 202, Clean: true, Took: 3 * time.Second})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{Now: c.now}) // as after a kill
	start("3", ledger.Run{ID: 2, Version: "2", Started: 203})
	for range 150 {
		if _, err := l.StartRun(t.Context(), "4"); err != nil {
			t.Fatal(err)
		}
	}
	if got := rows(t, filepath.Join(dir, "ledger.db"), l, "runs"); got != 100 {
		t.Errorf("%d runs are kept, want 100", got)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	if v, found, err := l.Setting(t.Context(), "a"); v != "" || found || err != nil {
		t.Errorf("Setting = %q, %t, %v; want none", v, found, err)
	}
	for _, v := range []string{"1", "", "zwei"} {
		if err := l.SetSetting(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		l = reopen(t, dir, l)
		if got, found, err := l.Setting(t.Context(), "a"); got != v || !found || err != nil {
			t.Errorf("Setting = %q, %t, %v; want %q", got, found, err, v)
		}
	}
}
