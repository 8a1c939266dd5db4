package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
)

// plain returns a small chain that is the same in every process.
func plain(tb testing.TB) *memory {
	m := newMemory(tb, "test", seedA)
	for i := range 7 {
		m.append(tb, Entry{Kind: SiteCreate, By: By{Actor: "key:1"}, Object: "site:example.com", Detail: map[string]string{"n": strconv.Itoa(i)}})
		if i == 2 || i == 6 {
			m.sign(tb)
		}
	}
	return m
}

// FuzzLeaf reads leaves. What is read is what would be written.
func FuzzLeaf(f *testing.F) {
	for _, r := range plain(f).rows {
		f.Add(r.Leaf)
	}
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		l, err := Parse(leaf)
		if err != nil {
			if !errors.Is(err, ErrLeaf) {
				t.Errorf("%v is no ErrLeaf", err)
			}
			return
		}
		if l.Seq < 0 || l.Incarnation < 1 || l.Count < 1 {
			t.Errorf("%s is read as %+v", leaf, l)
		}
		if !bytes.Contains(leaf, []byte(`"time":"`+l.Time.UTC().Format(timeLayout))) {
			t.Errorf("%s is of %v", leaf, l.Time)
		}
	})
}

// FuzzTilePath reads paths of tiles: there is one for every tile.
func FuzzTilePath(f *testing.F) {
	for _, s := range []string{
		"tile/0/000", "tile/0/x001/234", "tile/7/000.p/1", "tile/entries/000", "tile/entries/x001/x234/067.p/255", "checkpoint",
		"tile/entries/000.p/256", "tile/data/000", "tile/8/0/000", "tile/-1/000", "tile/00/000", "tile/0/1", "tile/0/../000",
	} {
		f.Add(s)
	}
	m := plain(f)
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := parseTile(path)
		if err == nil && tilePath(tile) != path {
			t.Errorf("%q is read as that of %q", path, tilePath(tile))
		}
		data, err := Tile(t.Context(), m, path)
		if err != nil && !errors.Is(err, ErrTilePath) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", path, err)
		}
		if err == nil && len(data) == 0 {
			t.Errorf("%q is empty", path)
		}
	})
}

// FuzzCheckpoint reads notes. What is read is signed by whoever it says.
func FuzzCheckpoint(f *testing.F) {
	m := plain(f)
	trusted := new(Trusted)
	trusted.Trust("", seedA.Public())
	for _, c := range m.checkpoints {
		f.Add(c.Note)
	}
	f.Fuzz(func(t *testing.T, note []byte) {
		c, signatures, err := ParseCheckpoint(note)
		if err != nil {
			return
		}
		if len(signatures) == 0 || c.Size < 0 || !bytes.HasPrefix(note, []byte(c.text())) {
			t.Errorf("%q is read as %+v", note, c)
		}
		if _, err := trusted.Open(note); err != nil {
			return
		}
		for _, known := range m.checkpoints {
			if known.Size == c.Size && known.Root == c.Root {
				return
			}
		}
		t.Errorf("%q was never signed", note)
	})
}

// FuzzProof reads proofs: those that hold are of the leaf.
func FuzzProof(f *testing.F) {
	m := plain(f)
	trusted := new(Trusted)
	trusted.Trust("", seedA.Public())
	for seq := range int64(8) {
		text, err := Prove(f.Context(), m, seq)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, m.rows[seq].Leaf)
	}
	f.Fuzz(func(t *testing.T, text, leaf []byte) {
		if p, err := ParseProof(text); err == nil && !bytes.Equal(p.Marshal(), text) {
			t.Errorf("%q is read as %q", text, p.Marshal())
		}
		l, _, err := CheckProof(text, leaf, trusted)
		if err == nil && !bytes.Equal(m.rows[l.Seq].Leaf, leaf) {
			t.Errorf("%q proves %q", text, leaf)
		}
	})
}

// FuzzNDJSON reads exports. What is sound is what was written, if only a part of it.
func FuzzNDJSON(f *testing.F) {
	m := plain(f)
	for _, from := range []int64{0, 3} {
		var b bytes.Buffer
		if err := WriteNDJSON(f.Context(), &b, m, from, 100); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	trusted := new(Trusted)
	trusted.Trust("", seedA.Public())
	f.Fuzz(func(t *testing.T, text []byte) {
		log, err := readNDJSON(bytes.NewReader(text))
		if err != nil {
			var damage *Damage
			if !errors.As(err, &damage) {
				t.Errorf("%v is no Damage", err)
			}
			return
		}
		r := Verify(t.Context(), log, Options{Trusted: trusted})
		if r.Status != Sound || r.Signed != r.Size {
			return
		}
		for seq := r.Start; seq < r.Size; seq++ {
			if !bytes.Contains(text, m.rows[seq].Leaf) && r.Pruned == 0 {
				t.Errorf("sound without leaf %d: %q", seq, text)
			}
		}
	})
}

// FuzzKeys reads keys. No error says what was read.
func FuzzKeys(f *testing.F) {
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA, 0101010101010101010101010101010101010101010101010101010101010101")
	f.Add("secret-secret-secret-secret-secret")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err != nil && len(text) > 12 && bytes.Contains([]byte(err.Error()), []byte(text)) {
			t.Errorf("%v says %q", err, text)
		}
		for _, k := range keys {
			c, err := Sign("eider/test/1", Head{Size: 1}, []Key{k}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			trusted, err := ParseTrusted(k.Verifier("eider/test/7"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := trusted.Open(c.Note); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestHeadFile reads head files that are none, and replaces one.
func TestHeadFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.head")
	if _, err := ReadHeadFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	m := small(t)
	for _, c := range m.checkpoints {
		if err := writeHeadFile(path, c.Note); err != nil {
			t.Fatal(err)
		}
		if read, err := ReadHeadFile(path); err != nil || read.Size != c.Size || read.Root != c.Root {
			t.Error(read, err)
		}
	}
	for cut := range m.checkpoints[0].Note {
		if err := os.WriteFile(path, m.checkpoints[0].Note[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadHeadFile(path); err == nil {
			t.Errorf("a head file of %d bytes is read", cut)
		}
	}
}

// FuzzCanonical compares how a leaf is written with what an implementation of RFC 8785
// that reads any JSON makes of it.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"", "a", `"\/<>&`, "\x00\b\t\n\v\f\r\x1f\x7f", "é\u2028\u2029\ufeff", "\ue000\uffff", "😀\U00010000", "\xff\xfe"} {
		f.Add(s, "a", "B", s, 1)
		f.Add("x", s, "\uffff", "😀", -7)
	}
	f.Fuzz(func(t *testing.T, text, one, other, value string, version int) {
		if version > 1<<53 || version < -1<<53 {
			return // JSON's numbers end there
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "?") }
		text, one, other, value = valid(text), valid(one), valid(other), valid(value)
		l := fields{
			Version: version, Seq: text, Time: value, Incarnation: one, Kind: Kind(text), Outcome: Outcome(other), Actor: text, Object: one,
			Request: other, Trace: value, Reason: text, Detail: map[string]string{one: value, other: text, text: one},
			Private: map[string]string{value: other}, Count: one, First: value, Last: text, Prev: other,
		}
		plain, err := json.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(plain)
		if err != nil {
			t.Skip(err)
		}
		if got := l.canonical(); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}
