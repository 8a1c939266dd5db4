package audit

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// TestIndependent lets other implementations verify checkpoints and proofs.
func TestIndependent(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	var sizes []Checkpoint
	for range 6 {
		m.fill(t, 43)
		sizes = append(sizes, m.sign(t))
	}
	v, err := note.NewVerifier(seedA.Verifier("eider/test/1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sizes {
		n, err := note.Open(c.Note, note.VerifierList(v))
		if err != nil {
			t.Fatal(err)
		}
		var other log.Checkpoint
		if rest, err := other.Unmarshal([]byte(n.Text)); err != nil || len(rest) > 0 {
			t.Fatal(err, rest)
		}
		if other.Origin != c.Origin || other.Size != uint64(c.Size) || !bytes.Equal(other.Hash, c.Root[:]) {
			t.Errorf("checkpoint %+v is read as %+v", c, other)
		}
	}
	trusted := trust(t, seedA)
	newest := sizes[len(sizes)-1]
	for seq := range newest.Size {
		text, err := Prove(t.Context(), m, seq)
		if err != nil {
			t.Fatal(err)
		}
		var other formats.TLogProof
		if err := other.Unmarshal(text); err != nil {
			t.Fatal(err)
		}
		if other.Index != uint64(seq) || !bytes.Equal(other.Checkpoint, newest.Note) || !bytes.Equal(other.Marshal(), text) {
			t.Fatalf("proof of %d is read as %+v", seq, other)
		}
		leaf := m.rows[seq].Leaf
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, other.Index, uint64(newest.Size), rfc6962.DefaultHasher.HashLeaf(leaf), slice(other.Hashes), newest.Root[:]); err != nil {
			t.Fatal(err)
		}
		if l, _, err := CheckProof(text, leaf, trusted); err != nil || l.Seq != seq {
			t.Fatal(l, err)
		}
		if _, _, err := CheckProof(text, m.rows[(seq+1)%newest.Size].Leaf, trusted); err == nil {
			t.Fatalf("the proof of %d proves another leaf", seq)
		}
		if _, _, err := CheckProof(text, leaf, trust(t, seedB)); err == nil {
			t.Fatal("a proof is good for somebody who does not trust the key")
		}
	}
	for i, from := range sizes {
		for _, to := range sizes[i:] {
			p, err := proveConsistency(m, from.Size, to.Size)
			if err != nil {
				t.Fatal(err)
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from.Size), uint64(to.Size), slice(p), from.Root[:], to.Root[:]); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Prove(t.Context(), m, newest.Size); err == nil {
		t.Error("an entry that is not there is proved")
	}
}

func slice[H [32]byte | tlog.Hash](list []H) (out [][]byte) {
	for _, h := range list {
		b := [32]byte(h)
		out = append(out, b[:])
	}
	return out
}

// TestPython runs the program of AUDIT.md on an export, and on what somebody has made
// of it.
func TestPython(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "AUDIT.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(text), "```python\n")
	program, _, found := strings.Cut(program, "```\n")
	alone, err := os.ReadFile(filepath.Join("testdata", "verify.py"))
	if err != nil {
		t.Fatal(err)
	}
	if !found || program != string(alone) || strings.Count(program, "\n") > 40 {
		t.Fatal("the program of AUDIT.md is not testdata/verify.py of at most 40 lines")
	}
	var b bytes.Buffer
	m := newMemory(t, "test", seedA)
	for range 3 {
		m.fill(t, 100)
		m.sign(t)
	}
	if err := WriteNDJSON(t.Context(), &b, m, 0, 1000); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, text []byte) (string, error) {
		path := filepath.Join(t.TempDir(), "export")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "python3", "-c", program, path).CombinedOutput()
		return string(out), err
	}
	out, err := run(t, b.Bytes())
	root := m.chain.Head().Root
	if err != nil || !strings.Contains(out, hex.EncodeToString(root[:])) {
		t.Fatalf("%v: %s", err, out)
	}
	lines := bytes.SplitAfter(b.Bytes(), []byte("\n"))
	join := func(lines ...[]byte) []byte { return bytes.Join(lines, nil) }
	for name, tampered := range map[string][]byte{
		"a value":            bytes.Replace(b.Bytes(), []byte("key:57"), []byte("key:58"), 1),
		"no entry":           append(join(lines[:50]...), join(lines[51:]...)...),
		"no checkpoint":      append(join(lines[:101]...), join(lines[102:]...)...),
		"swapped":            append(append(join(lines[:50]...), join(lines[51], lines[50])...), join(lines[52:]...)...),
		"cut off":            b.Bytes()[:b.Len()-100],
		"another instance":   bytes.Replace(b.Bytes(), []byte("eider/test/1\\n"), []byte("eider/tess/1\\n"), 1),
		"another end":        append(join(lines[:len(lines)-2]...), bytes.Replace(lines[len(lines)-2], []byte(`"size":"301"`), []byte(`"size":"300"`), 1)...),
		"not canonical":      bytes.Replace(b.Bytes(), []byte(`"v":1}`), []byte(`"v":1 }`), 1),
		"one entry too many": append(join(lines[:50]...), join(lines[49:]...)...),
	} {
		if out, err := run(t, tampered); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}
