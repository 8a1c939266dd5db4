package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// everything says whether each bit is flipped, and how many random changes are tried:
// with EIDER_AUDIT_MUTATIONS=all each bit, and 10,000. Otherwise one bit of every byte.
func everything() (bits []int, random int) {
	if os.Getenv("EIDER_AUDIT_MUTATIONS") == "all" {
		return []int{0, 1, 2, 3, 4, 5, 6, 7}, 10_000
	}
	n := 300
	if s, err := strconv.Atoi(os.Getenv("EIDER_AUDIT_MUTATIONS")); err == nil {
		n = s
	}
	return []int{rand.IntN(8)}, n
}

// flips calls fn with every flip of a bit of b, which it undoes.
func flips(b []byte, fn func(at, bit int)) {
	bits, _ := everything()
	for at := range b {
		for _, bit := range bits {
			b[at] ^= 1 << bit
			fn(at, bit)
			b[at] ^= 1 << bit
		}
	}
}

// found fails if a report says that a chain is sound, or cannot tell, or has no place.
func found(t *testing.T, r Report, format string, args ...any) {
	t.Helper()
	if r.Exit != 1 && r.Exit != 2 || r.Where == nil || r.Where.What == "" {
		t.Errorf("%s: %s at %+v", fmt.Sprintf(format, args...), r.Status, r.Where)
	}
}

// TestTamperedRows changes a small chain as the ledger keeps it.
func TestTamperedRows(t *testing.T) {
	t.Parallel()
	m := small(t)
	last := m.checkpoints[1]
	o := Options{Trusted: trust(t, seedA), Kept: []Known{last.Known("the kept checkpoint")}}
	want(t, Verify(t.Context(), m, o), Sound, "untouched")
	check := func(s Status, seq int64, d *memory, format string, args ...any) {
		t.Helper()
		r := Verify(t.Context(), d, o)
		if r.Status != s || r.Where == nil || seq >= 0 && r.Where.Seq != seq {
			t.Errorf("%s: %s at %+v, want %s at %d", fmt.Sprintf(format, args...), r.Status, r.Findings, s, seq)
		}
	}
	for i := range m.rows {
		r, seq := &m.rows[i], int64(i)
		flips(r.Leaf, func(at, bit int) { check(Tampered, seq, m, "bit %d of byte %d of leaf %d", bit, at, i) })
		flips(r.Hashes, func(at, bit int) { check(Tampered, -1, m, "bit %d of byte %d of the hashes of %d", bit, at, i) })
		for field, change := range map[string]func(*Row){
			"time": func(r *Row) { r.Time++ }, "kind": func(r *Row) { r.Kind = Read },
			"outcome": func(r *Row) { r.Outcome = Failed }, "actor": func(r *Row) { r.Actor += "x" },
			"object": func(r *Row) { r.Object += "x" }, "request": func(r *Row) { r.Request += "x" },
			"leaf": func(r *Row) { r.Leaf = nil }, "hashes": func(r *Row) { r.Hashes = r.Hashes[:31] },
		} {
			d := m.clone()
			change(&d.rows[i])
			check(Tampered, seq, d, "%s of %d", field, i)
		}
		d := m.clone()
		d.rows = slices.Delete(d.rows, i, i+1)
		s := Tampered
		if i == len(m.rows)-1 {
			s = Truncated
		}
		check(s, seq, d, "without %d", i)
		d = m.clone()
		d.rows = slices.Insert(d.rows, i, d.rows[i])
		check(Tampered, seq+1, d, "%d twice", i)
		for j := range i {
			d = m.clone()
			d.rows[i], d.rows[j] = d.rows[j], d.rows[i]
			check(Tampered, int64(j), d, "%d and %d swapped", i, j)
		}
		d = m.clone()
		d.rows = d.rows[:i]
		check(Truncated, seq, d, "only %d", i)
		d.checkpoints = slices.DeleteFunc(d.checkpoints, func(c Checkpoint) bool { return c.Size > int64(i) })
		check(Truncated, seq, d, "only %d, and of the checkpoints", i)
	}
	for i := range m.checkpoints {
		c := &m.checkpoints[i]
		flips(c.Note, func(at, bit int) { check(Tampered, c.Size-1, m, "bit %d of byte %d of checkpoint %d", bit, at, i) })
		flips(c.Root[:], func(at, bit int) { check(Tampered, c.Size-1, m, "root of checkpoint %d", i) })
		d := m.clone()
		d.checkpoints[i].Origin = "eider/test/2"
		check(Tampered, c.Size-1, d, "origin of checkpoint %d", i)
		d = m.clone()
		d.checkpoints = slices.Insert(d.checkpoints, i, d.checkpoints[i])
		check(Tampered, c.Size-1, d, "checkpoint %d twice", i)
	}
	for seq, list := range m.private {
		for i := range list {
			d := m.clone()
			d.private[seq] = slices.Clone(list)
			d.private[seq][i].Value += "x"
			check(Tampered, seq, d, "private value of %d", seq)
			d.private[seq][i] = list[i]
			d.private[seq][i].Salt[0] ^= 1
			check(Tampered, seq, d, "salt of %d", seq)
			d.private[seq] = slices.Delete(slices.Clone(list), i, i+1)
			check(Tampered, seq, d, "no private value of %d", seq)
		}
	}
}

// TestTamperedNDJSON changes an export.
func TestTamperedNDJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteNDJSON(t.Context(), &b, small(t), 0, 100); err != nil {
		t.Fatal(err)
	}
	sound := b.Bytes()
	o := Options{Trusted: trust(t, seedA)}
	verify := func(text []byte) Report {
		f, err := readNDJSON(bytes.NewReader(text))
		if err != nil {
			return Unopened(err)
		}
		return Verify(t.Context(), f, o)
	}
	want(t, verify(sound), Sound, "untouched")
	text := bytes.Clone(sound)
	flips(text, func(at, bit int) { found(t, verify(text), "bit %d of byte %d", bit, at) })
	for cut := range sound {
		want(t, verify(sound[:cut]), Truncated, fmt.Sprint("cut at ", cut))
	}
	lines := bytes.SplitAfter(sound, []byte("\n"))
	lines = lines[:len(lines)-1]
	for i := range lines {
		found(t, verify(slices.Concat(slices.Delete(slices.Clone(lines), i, i+1)...)), "without line %d", i+1)
		found(t, verify(slices.Concat(slices.Insert(slices.Clone(lines), i, lines[i])...)), "line %d twice", i+1)
		found(t, verify(slices.Concat(slices.Insert(slices.Clone(lines), i, []byte("\n"))...)), "a line before %d", i+1)
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			found(t, verify(slices.Concat(swapped...)), "lines %d and %d swapped", i+1, j+1)
		}
	}
}

// TestTamperedLines flips each bit of the lines that are no entries, in an export that
// begins in the middle of a chain of which leaves were pruned: nothing but their own
// form keeps a hash in them from being written in another way.
func TestTamperedLines(t *testing.T) {
	t.Parallel()
	m := small(t)
	m.rows[4].Leaf = nil
	m.append(t, Entry{Kind: Prune, By: System, Detail: map[string]string{"before": "5"}})
	m.sign(t, seedB)
	var b bytes.Buffer
	if err := WriteNDJSON(t.Context(), &b, m, 3, 100); err != nil {
		t.Fatal(err)
	}
	text := b.Bytes()
	verify := func() Report {
		f, err := readNDJSON(bytes.NewReader(text))
		if err != nil {
			return Unopened(err)
		}
		return Verify(t.Context(), f, Options{Trusted: trust(t, seedA)})
	}
	want(t, verify(), Sound, "untouched")
	sorts := map[string]int{}
	for at := range text {
		line := text[bytes.LastIndexByte(text[:at], '\n')+1:]
		sort, _, _ := bytes.Cut(line, []byte(":"))
		if !slices.Contains([]string{`{"start"`, `{"pruned"`, `{"checkpoint"`, `{"end"`}, string(sort)) {
			continue
		}
		sorts[string(sort)]++
		for bit := range 8 {
			text[at] ^= 1 << bit
			found(t, verify(), "%s: bit %d of byte %d", sort, bit, at)
			text[at] ^= 1 << bit
		}
	}
	if len(sorts) != 4 {
		t.Errorf("lines were changed of %v, want all four sorts", sorts)
	}
}

// TestTamperedParquet changes an export.
func TestTamperedParquet(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteParquet(t.Context(), &b, small(t), 0, 100); err != nil {
		t.Fatal(err)
	}
	text := b.Bytes()
	verify := func(text []byte) Report {
		f, err := readParquet(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			return Unopened(err)
		}
		return Verify(t.Context(), f, Options{Trusted: trust(t, seedA)})
	}
	want(t, verify(text), Sound, "untouched")
	flips(text, func(at, bit int) { found(t, verify(text), "bit %d of byte %d", bit, at) })
	for cut := range text {
		found(t, verify(text[:cut]), "cut at %d", cut)
	}
	for range 200 {
		at, to := rand.IntN(len(text)), rand.IntN(len(text))
		found(t, verify(slices.Delete(slices.Clone(text), min(at, to), max(at, to)+1)), "without %d to %d", at, to)
		found(t, verify(slices.Insert(slices.Clone(text), at, byte(to))), "one more at %d", at)
	}
}

// TestTamperedAnew changes a leaf and makes the file, with its digest, anew.
func TestTamperedAnew(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(context.Context, io.Writer, Log, int64, int64) error{"parquet": WriteParquet, "ndjson": WriteNDJSON} {
		for seq := range int64(8) {
			m := small(t)
			m.rows[seq].Leaf = bytes.Replace(m.rows[seq].Leaf, []byte(`"outcome":"done"`), []byte(`"outcome":"fine"`), 1)
			m.rows[seq].Outcome = "fine"
			path := filepath.Join(t.TempDir(), "export")
			var b bytes.Buffer
			if err := write(t.Context(), &b, m, 0, 100); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			open := OpenParquet
			if name == "ndjson" {
				open = OpenNDJSON
			}
			f, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			r := Verify(t.Context(), f, Options{Trusted: trust(t, seedA)})
			want(t, r, Tampered, fmt.Sprintf("%s with another leaf %d", name, seq))
			// NDJSON has the leaves alone: what does not fit is the one after it.
			if name == "parquet" && r.Where.Seq != seq || r.Where.Seq < seq {
				t.Errorf("%s with another leaf %d: found at %d", name, seq, r.Where.Seq)
			}
			f.Close()
		}
	}
}

// TestTamperedTiles changes every file of a directory of tiles.
func TestTamperedTiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := WriteTiles(t.Context(), small(t), dir); err != nil {
		t.Fatal(err)
	}
	verify := func() Report {
		f, err := OpenTiles(dir)
		if err != nil {
			return Unopened(err)
		}
		return Verify(t.Context(), f, Options{Trusted: trust(t, seedA)})
	}
	want(t, verify(), Sound, "untouched")
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		put := func(b []byte) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		flips(text, func(at, bit int) {
			put(text)
			found(t, verify(), "%s: bit %d of byte %d", path, bit, at)
		})
		for cut := range text {
			put(text[:cut])
			found(t, verify(), "%s: cut at %d", path, cut)
		}
		put(append(slices.Clone(text), 0))
		found(t, verify(), "%s: one byte more", path)
		if filepath.Base(path) != tileCheckpoints {
			if err := os.Remove(path); err != nil {
				return err
			}
			if r := verify(); r.Status == Sound {
				t.Errorf("without %s: %+v", path, r)
			}
		}
		put(text)
		return nil
	})
	if err != nil || files != 4 {
		t.Fatal(files, err)
	}
}

// TestTamperedLarge makes random changes to a chain of more than a chunk.
func TestTamperedLarge(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	for range 12 {
		m.fill(t, 100)
		m.sign(t)
	}
	o := Options{Trusted: trust(t, seedA)}
	want(t, Verify(t.Context(), m, o), Sound, "untouched")
	_, n := everything()
	for range n {
		d := &memory{chain: m.chain, rows: slices.Clone(m.rows), checkpoints: slices.Clone(m.checkpoints), private: m.private}
		i, j := rand.IntN(len(d.rows)), rand.IntN(len(d.rows))
		what := rand.IntN(7)
		switch r := &d.rows[i]; what {
		case 0:
			r.Leaf = slices.Clone(r.Leaf)
			r.Leaf[rand.IntN(len(r.Leaf))] ^= 1 << rand.IntN(8)
		case 1:
			r.Hashes = slices.Clone(r.Hashes)
			r.Hashes[rand.IntN(len(r.Hashes))] ^= 1 << rand.IntN(8)
		case 2:
			d.rows = slices.Delete(d.rows, i, i+1)
		case 3:
			d.rows = slices.Insert(d.rows, i, d.rows[j])
		case 4:
			d.rows[i], d.rows[j] = d.rows[j], d.rows[i]
			if i == j {
				continue
			}
		case 5:
			d.rows = d.rows[:i]
		case 6:
			c := &d.checkpoints[rand.IntN(len(d.checkpoints))]
			c.Note = slices.Clone(c.Note)
			c.Note[rand.IntN(len(c.Note))] ^= 1 << rand.IntN(8)
		}
		found(t, Verify(t.Context(), d, o), "change %d of %d, %d", what, i, j)
	}
}
