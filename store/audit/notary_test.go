package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// notary returns a notary of a chain, which must be closed.
func notary(t *testing.T, m *memory, o NotaryOptions) *Notary {
	t.Helper()
	o.Log, o.Keys = m, m.keys
	n, err := NewNotary(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// signedSizes returns of what sizes a chain has checkpoints.
func (m *memory) signedSizes() (sizes []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.checkpoints {
		sizes = append(sizes, c.Size)
	}
	return sizes
}

// TestNotary grows a chain and looks at when it is signed.
func TestNotary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, "test", seedA)
		var told bytes.Buffer
		head := filepath.Join(t.TempDir(), "audit.head")
		n := notary(t, m, NotaryOptions{HeadFile: head, Logger: slog.New(slog.NewTextHandler(&told, nil))})
		expect := func(want ...int64) {
			t.Helper()
			synctest.Wait()
			if got := m.signedSizes(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("signed are %v, want %v", got, want)
			}
		}
		expect(1) // what was there at the start
		m.fill(t, 1)
		expect(1)
		time.Sleep(SignInterval)
		expect(1, 2)
		time.Sleep(10 * SignInterval)
		expect(1, 2) // nothing has grown
		m.fill(t, SignEntries)
		expect(1, 2, 2+SignEntries)
		m.fill(t, 3)
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(1, 2, 2+SignEntries, 5+SignEntries)
		c, err := ReadHeadFile(head)
		if err != nil || c.Size != 5+SignEntries || c.Root != m.chain.Head().Root {
			t.Errorf("the head file has %+v, %v", c, err)
		}
		if s := n.Stats(); s.Size != c.Size || s.Signed != 4 || s.Failures != 0 || s.Err != nil {
			t.Errorf("stats are %+v", s)
		}
		if lines := strings.Count(told.String(), "audit checkpoint"); lines != 4 || !strings.Contains(told.String(), c.Root.String()) {
			t.Errorf("told was %s", told.String())
		}
		want(t, Verify(t.Context(), m, Options{Trusted: trust(t, seedA), Kept: []Known{c.Known("the head file")}}), Sound, "signed by a notary")
	})
}

// TestNotaryFails lets the ledger keep no checkpoint: it is tried again, and the head
// file has it all the time.
func TestNotaryFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, "test", seedA)
		m.refuse = errors.New("no space")
		head := filepath.Join(t.TempDir(), "audit.head")
		n := notary(t, m, NotaryOptions{HeadFile: head})
		synctest.Wait()
		if s := n.Stats(); s.Failures != 1 || !errors.Is(s.Err, m.refuse) {
			t.Errorf("stats are %+v", s)
		}
		if c, err := ReadHeadFile(head); err != nil || c.Size != 1 {
			t.Errorf("the head file has %+v, %v", c, err)
		}
		m.mu.Lock()
		m.refuse = nil
		m.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := m.signedSizes(); len(got) != 1 || n.Stats().Err != nil {
			t.Errorf("signed are %v, %+v", got, n.Stats())
		}
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestNotaryRolledBack puts an older ledger under the head file, and another one of the
// same size: neither is signed, until it is adopted.
func TestNotaryRolledBack(t *testing.T) {
	t.Parallel()
	for name, grow := range map[string]int{"older": 0, "another": 3, "longer": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			head := filepath.Join(t.TempDir(), "audit.head")
			m := newMemory(t, "test", seedA)
			old := m.clone()
			m.fill(t, 3)
			n := notary(t, m, NotaryOptions{HeadFile: head})
			if err := n.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			known, err := ReadHeadFile(head)
			if err != nil || known.Size != 4 {
				t.Fatal(known, err)
			}
			for range grow {
				old.append(t, Entry{Kind: SiteCreate, By: System})
			}
			n = notary(t, old, NotaryOptions{HeadFile: head})
			var rolled *RolledBack
			if err := n.Close(t.Context()); !errors.Is(err, ErrRolledBack) || !errors.As(err, &rolled) || len(old.checkpoints) > 0 {
				t.Fatalf("%v, and there are %d checkpoints", err, len(old.checkpoints))
			}
			list := []Known{known.Known("the head file")}
			if err := CheckKnown(t.Context(), old, "eider/test/1", list); !errors.Is(err, ErrRolledBack) || !strings.Contains(err.Error(), "the head file") {
				t.Fatal(err)
			}
			want(t, Verify(t.Context(), old, Options{Kept: list}), map[bool]Status{true: Truncated, false: Tampered}[grow == 0], name)
			if grow > 0 {
				return // a head that is no longer than what is adopted has to be a part of it
			}
			old.append(t, Entry{Kind: Adopt, By: System, Detail: AdoptDetail(list)})
			n = notary(t, old, NotaryOptions{HeadFile: head})
			if err := n.Close(t.Context()); err != nil || len(old.checkpoints) != 1 || old.checkpoints[0].Origin != "eider/test/2" {
				t.Fatal(err, old.checkpoints)
			}
			old.fill(t, 10)
			old.sign(t)
			if err := CheckKnown(t.Context(), old, "eider/test/2", list); err != nil {
				t.Error(err)
			}
			r := Verify(t.Context(), old, Options{Trusted: trust(t, seedA), Kept: list})
			want(t, r, Sound, "adopted")
			if len(r.Warnings) == 0 || r.Incarnation != 2 {
				t.Errorf("%+v", r)
			}
			for what, k := range map[string]Known{
				"longer":           {Origin: "eider/test/1", Size: 5, Root: known.Root},
				"another root":     {Origin: "eider/test/1", Size: 4},
				"later":            {Origin: "eider/test/3", Size: 1, Root: old.rows[0].Link()},
				"another instance": {Origin: "eider/tess/1", Size: 1, Root: old.rows[0].Link()},
			} {
				if err := CheckKnown(t.Context(), old, "eider/test/2", []Known{k}); !errors.Is(err, ErrRolledBack) {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A cosigner is a witness as c2sp.org/tlog-witness has it.
type cosigner struct {
	t   *testing.T
	key ed25519.PrivateKey

	mu    sync.Mutex
	size  int64
	root  tlog.Hash
	asked int
}

func (w *cosigner) vkey() string {
	public := append([]byte{algCosignature}, w.key.Public().(ed25519.PublicKey)...)
	return fmt.Sprintf("witness.example+%08x+%s", keyHash("witness.example", algCosignature, public[1:]), base64.StdEncoding.EncodeToString(public))
}

func (w *cosigner) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/w/add-checkpoint" {
		w.t.Error(err, r.URL)
	}
	head, note, _ := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	c, err := trust(w.t, seedA).Open([]byte(note))
	if err != nil {
		w.t.Error(err)
	}
	if lines[0] != fmt.Sprintf("old %d", w.size) {
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.size)
		return
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			w.t.Error(err)
		}
		proof = append(proof, h)
	}
	if w.size > 0 && tlog.CheckTree(proof, c.Size, c.Root, w.size, w.root) != nil {
		rw.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	w.size, w.root = c.Size, c.Root
	sig := ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", 1700000000, c.text()))
	raw := binary.BigEndian.AppendUint32(nil, keyHash("witness.example", algCosignature, w.key.Public().(ed25519.PublicKey)))
	raw = append(binary.BigEndian.AppendUint64(raw, 1700000000), sig...)
	fmt.Fprintf(rw, "— witness.example %s\n", base64.StdEncoding.EncodeToString(raw))
}

// TestWitness has checkpoints cosigned, also after the witness and the notary have lost
// sight of each other, and not where the chain is not the one that it knows.
func TestWitness(t *testing.T) {
	t.Parallel()
	w := &cosigner{t: t, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))}
	server := httptest.NewServer(w)
	defer server.Close()
	m := newMemory(t, "test", seedA)
	sign := func(m *memory) NotaryStats {
		t.Helper()
		witness, err := ParseWitness(w.vkey() + " " + server.URL + "/w")
		if err != nil {
			t.Fatal(err)
		}
		n := notary(t, m, NotaryOptions{Witness: witness})
		if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
		return n.Stats()
	}
	other := m.clone()
	for i := range 3 {
		m.fill(t, 5)
		if s := sign(m); s.Cosigned != int64(5*i+6) || s.Refusals != 0 {
			t.Errorf("stats are %+v", s)
		}
	}
	r := Verify(t.Context(), m, Options{Trusted: trust(t, seedA), Witnesses: []string{w.vkey()}})
	want(t, r, Sound, "cosigned")
	if r.Cosigned != 16 || w.asked != 5 {
		t.Errorf("cosigned up to %d, asked %d times", r.Cosigned, w.asked)
	}
	other.fill(t, 30)
	if s := sign(other); s.Cosigned != 0 || s.Refusals != 1 || len(other.checkpoints) != 1 {
		t.Errorf("a fork is cosigned: %+v", s)
	}
	short := m.clone()
	short.rows, short.checkpoints, short.chain = short.rows[:6], nil, New("test")
	for _, r := range short.rows {
		short.chain.grow(r.Link())
	}
	if s := sign(short); s.Cosigned != 0 || s.Refusals != 1 {
		t.Errorf("what is shorter is cosigned: %+v", s)
	}
}
