package audit

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// TestParseKeys reads seeds in every form, and refuses what is none without repeating
// it.
func TestParseKeys(t *testing.T) {
	t.Parallel()
	seed := [32]byte{0xfb, 0xff, 1, 2, 3}
	want := NewKey(seed)
	for _, s := range []string{
		hex.EncodeToString(seed[:]), strings.ToUpper(hex.EncodeToString(seed[:])),
		base64.StdEncoding.EncodeToString(seed[:]), base64.RawStdEncoding.EncodeToString(seed[:]),
		base64.URLEncoding.EncodeToString(seed[:]), " " + base64.RawURLEncoding.EncodeToString(seed[:]) + "\n",
	} {
		keys, err := ParseKeys(s + "," + strings.Repeat("01", 32))
		if err != nil || len(keys) != 2 || !keys[0].Public().Equal(want.Public()) {
			t.Errorf("%q: %v, %v", s, keys, err)
		}
		if _, err := ParseKeys(s + "," + s); err == nil {
			t.Errorf("%q twice is read", s)
		}
	}
	for _, s := range []string{"", ",", "c2VjcmV0", strings.Repeat("01", 31), strings.Repeat("01", 33), "correct horse battery staple"} {
		if _, err := ParseKeys(s); err == nil || s != "" && s != "," && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
	// However a key is printed, the seed does not show.
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(want), fmt.Sprintf("%+v %#v %x %d", want, want, want, []Key{want}), fmt.Sprintf("%v", &want), string(text)} {
		if !strings.Contains(s, want.Text()) || strings.Contains(s, "fbff0102") || strings.Contains(s, "251 255") {
			t.Errorf("printed as %s", s)
		}
	}
}

// TestTrusted opens checkpoints for auditors who trust this and that.
func TestTrusted(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	c := m.sign(t)
	vkey := seedA.Verifier("eider/test/1")
	if _, err := note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	for text, ok := range map[string]bool{
		vkey:                               true,
		seedA.Verifier("eider/test/5"):     true, // another incarnation of the instance
		seedA.Text():                       true,
		hex.EncodeToString(seedA.Public()): true,
		seedA.Verifier("eider/other/1"):    false,
		seedB.Verifier("eider/test/1"):     false,
		seedB.Text():                       false,
	} {
		trusted, err := ParseTrusted(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trusted.Open(c.Note); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "x", strings.Replace(vkey, "test", "tess", 1), seedA.Verifier("example.com/log"), vkey[:len(vkey)-5]} {
		if _, err := ParseTrusted(text); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
	var nobody *Trusted
	if _, err := nobody.Open(c.Note); err == nil {
		t.Error("a checkpoint is good for nobody")
	}
	// Sixteen signatures of others do not matter.
	var others []note.Signer
	for i := range 16 {
		s, err := NewKey([32]byte{9, byte(i)}).signer(fmt.Sprint("witness", i))
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, s)
	}
	own, err := seedA.signer("eider/test/1")
	if err != nil {
		t.Fatal(err)
	}
	many, err := note.Sign(&note.Note{Text: c.text()}, append(others, own)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust(t, seedA).Open(many); err != nil {
		t.Error(err)
	}
	// The same key under another name has not signed for this chain.
	elsewhere, err := signNote(c.text(), "eider/test/2", []Key{seedA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust(t, seedA).Open(elsewhere); err == nil {
		t.Error("a signature under another name is good")
	}
}
