package history_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
)

// forged returns the part as a ledger would list it that believes data.
func forged(p event.Part, data []byte) event.Part {
	p.Bytes, p.SHA256 = int64(len(data)), sha256.Sum256(data)
	return p
}

// damaged fails the test unless err is damage of the part.
func damaged(t *testing.T, what string, err error, p event.Part) {
	t.Helper()
	if d, ok := errors.AsType[*history.DamageError](err); !ok || d.Path != p.Path || d.Why == "" {
		t.Fatalf("%s: got %v, want a DamageError of %s", what, err, p.Path)
	}
}

// place returns a directory that holds data in place of the part.
func place(p event.Part, data []byte) *history.Dir {
	m := newMemFS()
	m.put(p.Path, data)
	return history.Open(m)
}

func sample(t *testing.T) (event.Part, []byte) {
	t.Helper()
	m := newMemFS()
	p := write(t, history.Open(m), append(web(1, 400), event.Event{Seq: 401, Site: "other", Time: day.Start()}))
	return p, []byte(m.files("events")[p.Path])
}

// TestTruncated cuts a part at every byte of its footer and at every 97th
// before it. The cut is found by the size, and also if the ledger believes it.
func TestTruncated(t *testing.T) {
	t.Parallel()
	p, data := sample(t)
	for cut := len(data) - 1; cut >= 0; cut-- {
		if cut < len(data)-2000 && cut%97 != 0 {
			continue
		}
		d := place(p, data[:cut])
		damaged(t, "check", d.Check(p), p)
		damaged(t, "verify", d.Verify(t.Context(), p), p)
		f := forged(p, data[:cut])
		damaged(t, "check believing", d.Check(f), p)
		damaged(t, "verify believing", d.Verify(t.Context(), f), p)
	}
}

// TestBitFlips flips random bits. Verify, Read and Merge find every one by the
// hash.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	p, data := sample(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		bit := r.IntN(len(data) * 8)
		d := place(p, flip(data, bit))
		damaged(t, "verify", d.Verify(t.Context(), p), p)
		if _, err := collect(d.Read(t.Context(), p, "seq")); err == nil {
			t.Fatalf("seed %d, bit %d: Read did not find it", seed, bit)
		}
	}
	_, err := place(p, flip(data, 800)).Merge(t.Context(), day, []event.Part{p}, nil)
	damaged(t, "merge", err, p)
}

func flip(data []byte, bit int) []byte {
	bad := slices.Clone(data)
	bad[bit/8] ^= 1 << (bit % 8)
	return bad
}

// TestFooterFlips flips every bit of the footer and some before it, and has a
// ledger that believes it, so that no hash stands before parquet-go. Not all of
// that can be seen, but nothing panics, no forged length is believed, and every
// error is damage.
func TestFooterFlips(t *testing.T) {
	t.Parallel()
	p, data := sample(t)
	footer := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	r := rand.New(rand.NewPCG(1, 1))
	var bits []int
	for bit := footer * 8; bit < len(data)*8; bit += 7 {
		bits = append(bits, bit)
	}
	for range 2000 {
		bits = append(bits, r.IntN(footer*8))
	}
	found := 0
	for _, bit := range bits {
		bad := flip(data, bit)
		d, f := place(p, bad), forged(p, bad)
		for what, err := range map[string]error{"check": d.Check(f), "verify": d.Verify(t.Context(), f)} {
			if err != nil && !errors.Is(err, history.ErrNewer) {
				damaged(t, what, err, p)
				found++
			}
		}
	}
	if found < len(bits)/2 {
		t.Errorf("decoding finds only %d of %d flips", found, 2*len(bits))
	}
	t.Logf("without the hash, %d of %d flips are found", found, 2*len(bits))
}

// FuzzRead changes bytes of a part and has a ledger that believes it: reading it
// ends with damage or with events, never with a panic. What is fuzzed are the
// changes, three bytes each: where and what. A whole part is too long for that.
func FuzzRead(f *testing.F) {
	sound, err := os.ReadFile("../testdata/v1/events/date=2026-03-10/1-3.parquet")
	if err != nil {
		f.Fatal(err)
	}
	footer := len(sound) - 8 - int(binary.LittleEndian.Uint32(sound[len(sound)-8:]))
	f.Add([]byte{})
	for _, at := range []int{4, 5, 10, footer / 2, footer, footer + 2, footer + 100, len(sound) - 200, len(sound) - 8, len(sound) - 1} {
		f.Add([]byte{byte(at >> 8), byte(at), 0x7f})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		data := slices.Clone(sound)
		for c := range slices.Chunk(changes[:len(changes)/3*3], 3) {
			data[int(binary.BigEndian.Uint16(c))%len(data)] = c[2]
		}
		p := forged(event.Part{Path: "events/date=2026-03-10/1-3.parquet", Day: event.Day(20_522), Rows: 3, First: 1, Last: 3}, data)
		d := place(p, data)
		for what, err := range map[string]error{"check": d.Check(p), "verify": d.Verify(t.Context(), p)} {
			if err != nil && !errors.Is(err, history.ErrNewer) {
				damaged(t, what, err, p)
			}
		}
		events, err := collect(d.Read(t.Context(), p))
		if err != nil && !errors.Is(err, history.ErrNewer) {
			damaged(t, "read", err, p)
		}
		if len(changes) == 0 && (err != nil || len(events) != 3) || len(events) > 3 {
			t.Fatalf("read %d events, %v; want 3", len(events), err)
		}
	})
}

func TestMissing(t *testing.T) {
	t.Parallel()
	d := history.Open(history.OS(t.TempDir()))
	p := event.Part{Path: "events/date=2025-11-21/1-2.parquet"}
	for what, err := range map[string]error{
		"check": d.Check(p), "verify": d.Verify(t.Context(), p),
	} {
		damaged(t, what, err, p)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v does not say that it is missing", what, err)
		}
	}
}

// TestVerifyLedger: each thing that the ledger says of a part is compared.
func TestVerifyLedger(t *testing.T) {
	t.Parallel()
	p, data := sample(t)
	d := place(p, data)
	if err := d.Verify(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*event.Part){
		"rows":  func(p *event.Part) { p.Rows++ },
		"first": func(p *event.Part) { p.First++ },
		"last":  func(p *event.Part) { p.Last++ },
		"min":   func(p *event.Part) { p.MinTime++ },
		"max":   func(p *event.Part) { p.MaxTime++ },
		"sites": func(p *event.Part) { p.Sites = p.Sites[:1] },
		"day":   func(p *event.Part) { p.Day++ },
		"bytes": func(p *event.Part) { p.Bytes++ },
		"hash":  func(p *event.Part) { p.SHA256[31] ^= 1 },
	} {
		q := p
		change(&q)
		damaged(t, what, d.Verify(t.Context(), q), p)
	}
}
