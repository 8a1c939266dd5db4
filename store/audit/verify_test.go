package audit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// want fails unless a report has a status, and for one that is not sound a place.
func want(t *testing.T, r Report, s Status, about string) {
	t.Helper()
	if r.Status != s || r.Exit != exits[s] || (s != Sound) != (r.Where != nil) {
		text, _ := json.Marshal(r)
		t.Errorf("%s: %s, want %s", about, text, s)
	}
}

// forms writes a log in every form and opens them again.
func forms(t *testing.T, log Log, from int64) map[string]*File {
	t.Helper()
	dir := t.TempDir()
	opened := make(map[string]*File)
	for name, write := range map[string]func(f *os.File) error{
		"ndjson":  func(f *os.File) error { return WriteNDJSON(t.Context(), f, log, from, 1<<60) },
		"parquet": func(f *os.File) error { return WriteParquet(t.Context(), f, log, from, 1<<60) },
	} {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := write(f); err != nil {
			t.Fatal(name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		open := OpenNDJSON
		if name == "parquet" {
			open = OpenParquet
		}
		if opened[name], err = open(path); err != nil {
			t.Fatal(name, err)
		}
		t.Cleanup(func() { opened[name].Close() })
	}
	if from > 0 {
		return opened
	}
	if err := WriteTiles(t.Context(), log, filepath.Join(dir, "tiles")); err != nil {
		t.Fatal(err)
	}
	var err error
	if opened["tiles"], err = OpenTiles(filepath.Join(dir, "tiles")); err != nil {
		t.Fatal("tiles", err)
	}
	return opened
}

// TestSound verifies chains that nobody has touched, of many sizes and in all forms,
// whole and in parts.
func TestSound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 255, 256, 257, 1023, 1024, 1025, 2600} {
		m := newMemory(t, "test", seedA)
		for i := 1; i < n; i++ {
			m.fill(t, 1)
			if i%100 == 0 || i == 1023 && n > 1024 {
				m.sign(t)
			}
		}
		m.sign(t)
		o := Options{Trusted: trust(t, seedA), Kept: []Known{m.checkpoints[0].Known("kept")}}
		r := Verify(t.Context(), m, o)
		want(t, r, Sound, "memory")
		if r.Size != int64(n) || r.Signed != int64(n) || r.Head != m.chain.Head().String() || r.Checkpoints != int64(len(m.checkpoints)) || r.KeysFromLog {
			t.Errorf("%d entries: %+v", n, r)
		}
		if n > 1 && r.PrivateKept != 2*int64(n-1) {
			t.Errorf("%d private values of %d entries", r.PrivateKept, n)
		}
		for _, from := range []int64{0, 1, 300, 1024, 1500} {
			if from >= int64(n) || from > 0 && n < 1000 && n != 257 {
				continue
			}
			for name, f := range forms(t, m, from) {
				o := Options{Trusted: trust(t, seedA), Kept: []Known{m.checkpoints[len(m.checkpoints)-1].Known("kept")}}
				r := Verify(t.Context(), f, o)
				want(t, r, Sound, name)
				if r.Head != m.chain.Head().String() || r.Start != from || len(r.Warnings) != int(min(from, 1)) {
					t.Errorf("%s of %d entries from %d: %+v", name, n, from, r)
				}
				want(t, Compare(t.Context(), m, f), Sound, "compare with "+name)
				if _, err := Prove(t.Context(), f, int64(n)-1); err != nil && from == 0 {
					t.Error(name, err)
				}
			}
		}
		want(t, VerifyTail(t.Context(), m, o, 100), Sound, "tail")
	}
}

// TestKeys verifies what rotations of the key have to show.
func TestKeys(t *testing.T) {
	t.Parallel()
	m := small(t)
	want(t, Verify(t.Context(), m, Options{}), Sound, "keys of the log")
	if r := Verify(t.Context(), m, Options{}); !r.KeysFromLog || len(r.Keys) != 2 {
		t.Errorf("keys of the log: %+v", r)
	}
	want(t, Verify(t.Context(), m, Options{Trusted: trust(t, seedA)}), Sound, "the old key")
	want(t, Verify(t.Context(), m, Options{Trusted: trust(t, seedB)}), Sound, "the new key")
	want(t, Verify(t.Context(), m, Options{Trusted: trust(t, NewKey([32]byte{3}))}), Tampered, "another key")

	on := small(t)
	on.fill(t, 2)
	on.sign(t, seedB)
	want(t, Verify(t.Context(), on, Options{Trusted: trust(t, seedA)}), Sound, "the new key alone, after both")
	want(t, Verify(t.Context(), on, Options{}), Sound, "the new key alone, after both, by the log")

	single := small(t)
	single.checkpoints = single.checkpoints[:1]
	single.sign(t, seedB)
	want(t, Verify(t.Context(), single, Options{}), Tampered, "a rotation that only the new key has signed")
	want(t, Verify(t.Context(), single, Options{Trusted: trust(t, seedA)}), Tampered, "a rotation that only the new key has signed, the old one trusted")
	r := Verify(t.Context(), single, Options{Trusted: trust(t, seedA, seedB)})
	want(t, r, Sound, "a rotation that only the new key has signed, both trusted")
	if !strings.Contains(strings.Join(r.Warnings, "\n"), "no checkpoint is signed by the old one") {
		t.Errorf("warnings are %q", r.Warnings)
	}

	old := small(t)
	old.checkpoints = old.checkpoints[:1]
	old.sign(t, seedA)
	want(t, Verify(t.Context(), old, Options{Trusted: trust(t, seedA)}), Tampered, "a rotation that only the old key has signed")
	old.checkpoints = nil
	want(t, Verify(t.Context(), old, Options{Trusted: trust(t, seedA)}), CannotAll, "no checkpoint")
}
