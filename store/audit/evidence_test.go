package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestVerifyProof checks a proof without the chain, and changes it in every way that
// there is in one bit.
func TestVerifyProof(t *testing.T) {
	t.Parallel()
	m := plain(t) // a signature by a key that is not trusted may be anything; here is none
	proof, err := Prove(t.Context(), m, 3)
	if err != nil {
		t.Fatal(err)
	}
	leaf, last := m.rows[3].Leaf, m.checkpoints[1]
	o := Options{Trusted: trust(t, seedA), Kept: []Known{last.Known("the kept checkpoint"), m.checkpoints[0].Known("an older one")}}
	r := VerifyProof(proof, leaf, o)
	want(t, r, Sound, "untouched")
	if r.Start != 3 || r.Entries != 1 || r.Signed != 8 || r.Head != m.chain.Head().String() || !slices.Contains(r.Keys, seedA.Text()) || len(r.Warnings) != 1 {
		t.Errorf("report is %+v", r)
	}
	other := last.Known("another checkpoint")
	other.Root[0] ^= 1
	for name, c := range map[string]struct {
		proof, leaf []byte
		o           Options
		want        Status
	}{
		"another leaf": {proof, m.rows[4].Leaf, o, Tampered}, "no leaf": {proof, nil, o, Tampered},
		"another key": {proof, leaf, Options{Trusted: trust(t, newSeed(9))}, CannotAll}, "no key": {proof, leaf, Options{}, CannotAll},
		"another root": {proof, leaf, Options{Trusted: o.Trusted, Kept: []Known{other}}, Tampered},
		"a hash less":  {withoutLine(proof, 2), leaf, o, Tampered}, "nothing": {nil, leaf, o, CannotAll}, "a checkpoint": {last.Note, leaf, o, CannotAll},
	} {
		want(t, VerifyProof(c.proof, c.leaf, c.o), c.want, name)
	}
	for what, text := range map[string][]byte{"proof": bytes.Clone(proof), "leaf": bytes.Clone(leaf)} {
		flips(text, func(at, bit int) {
			r := VerifyProof(text, leaf, o)
			if what == "leaf" {
				r = VerifyProof(proof, text, o)
			}
			if r.Status == Sound {
				t.Errorf("%s: bit %d of byte %d: sound", what, bit, at)
			}
		})
	}
	for cut := range proof {
		if r := VerifyProof(proof[:cut], leaf, o); r.Status == Sound {
			t.Errorf("cut at %d: sound", cut)
		}
	}
}

func withoutLine(text []byte, n int) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return slices.Concat(slices.Delete(lines, n, n+1)...)
}

func newSeed(b byte) Key { return NewKey([32]byte{b}) }

// TestFindLeaf finds leaves in files that have one and in exports.
func TestFindLeaf(t *testing.T) {
	t.Parallel()
	m := small(t)
	var b bytes.Buffer
	if err := WriteNDJSON(t.Context(), &b, m, 0, 100); err != nil {
		t.Fatal(err)
	}
	for seq, row := range m.rows {
		for name, text := range map[string][]byte{"export": b.Bytes(), "alone": row.Leaf, "line": append(bytes.Clone(row.Leaf), '\n')} {
			if got, err := FindLeaf(bytes.NewReader(text), int64(seq)); err != nil || !bytes.Equal(got, row.Leaf) {
				t.Errorf("%d, %s: %s, %v", seq, name, got, err)
			}
		}
	}
	for name, text := range map[string][]byte{"nothing": nil, "another": m.rows[1].Leaf, "a long line": bytes.Repeat([]byte("x"), 1<<20)} {
		if got, err := FindLeaf(bytes.NewReader(text), 2); err == nil || name != "a long line" && !errors.Is(err, ErrNotFound) {
			t.Error(name, fmt.Sprintf("%.40s", got), err)
		}
	}
}
