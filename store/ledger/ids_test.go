package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// entries returns n sorted random entries.
func entries(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	list := make([][]byte, n)
	for i := range list {
		for len(list[i]) < ledger.EntrySize {
			list[i] = binary.BigEndian.AppendUint64(list[i], r.Uint64())
		}
	}
	slices.SortFunc(list, bytes.Compare)
	return bytes.Join(list, nil)
}

func addParts(n int) []event.Part {
	var all []event.Part
	for i := range n {
		all = append(all, part(fmt.Sprint("p", i), int64(i+1), int64(i+1)))
	}
	return all
}

// TestFindID looks for each of 100,000 random entries, and for as many that are
// not there.
func TestFindID(t *testing.T) {
	t.Parallel()
	const n = 100_000
	dir := t.TempDir()
	c := clockAt(1000)
	l := open(t, dir, ledger.Options{Now: c.now})
	want := map[[16]byte][8]byte{}
	all := entries(n, 7)
	for e := range slices.Chunk(all, ledger.EntrySize) {
		want[[16]byte(e[:16])] = [8]byte(e[16:])
	}
	// The first entry twice: the first counts.
	twice := append(append(append([]byte(nil), all[:24]...), all[:16]...), "other!!!"...)
	if _, err := l.Commit(t.Context(), ledger.Change{IDs: append(twice, all[24:]...)}); err != nil {
		t.Fatal(err)
	}
	c.us.Store(2000)
	few := entries(3, 8)
	if _, err := l.Commit(t.Context(), ledger.Change{IDs: few}); err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(t, l)
	if len(blocks) != 2 || !bytes.Equal(blocks[0].Entries, all) || !bytes.Equal(blocks[1].Entries, few) || blocks[0].Created != 1000 || blocks[1].Created != 2000 {
		t.Fatalf("%d blocks, want the two that were committed", len(blocks))
	}
	for key, body := range want {
		got, found, err := l.FindID(t.Context(), blocks[0].ID, key)
		if err != nil || !found || got != body {
			t.Fatalf("FindID(%x) = %x, %t, %v; want %x", key, got, found, err, body)
		}
		key[15]++
		if _, there := want[key]; there {
			continue
		}
		if _, found, err := l.FindID(t.Context(), blocks[0].ID, key); found || err != nil {
			t.Fatalf("FindID(%x) = %t, %v; want none", key, found, err)
		}
	}
	for _, key := range [][16]byte{{}, {15: 1}, [16]byte(bytes.Repeat([]byte{0xff}, 16))} {
		if _, found, err := l.FindID(t.Context(), blocks[1].ID, key); found || err != nil {
			t.Errorf("FindID(%x) = %t, %v; want none", key, found, err)
		}
	}
	if ids, err := l.DropIDBlocks(t.Context(), 1000); len(ids) != 0 || err != nil {
		t.Errorf("DropIDBlocks = %v, %v; want none", ids, err)
	}
	ids, err := l.DropIDBlocks(t.Context(), 1001)
	if err != nil || !slices.Equal(ids, []int64{blocks[0].ID}) {
		t.Errorf("DropIDBlocks = %v, %v; want %d", ids, err, blocks[0].ID)
	}
	if _, found, err := l.FindID(t.Context(), blocks[0].ID, [16]byte(all)); found || err != nil {
		t.Errorf("FindID in a dropped block = %t, %v; want none", found, err)
	}
	if got := rows(t, filepath.Join(dir, "ledger.db"), l, "id_pages"); got != 1 {
		t.Errorf("%d pages left, want 1", got)
	}
}

func blocksOf(t testing.TB, l *ledger.Ledger) []ledger.IDBlock {
	t.Helper()
	var all []ledger.IDBlock
	if err := l.IDBlocks(t.Context(), 0, func(b ledger.IDBlock) error { all = append(all, b); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLeftoverPages checks that Open deletes the pages of a block that a crash
// kept from being listed, and no others.
func TestLeftoverPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := open(t, dir, ledger.Options{})
	if _, err := l.Commit(t.Context(), ledger.Change{IDs: entries(1000, 1)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := raw(t, path).Exec(`
		INSERT INTO id_pages SELECT 2, first, entries FROM id_pages;
		INSERT INTO id_pages SELECT 5, first, entries FROM id_pages WHERE block = 1`)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = ledger.Open(t.Context(), path, migrations.FS, ledger.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, path, l, "id_pages"); got != 6 {
		t.Errorf("%d pages, want the 6 of the listed block", got)
	}
}

func BenchmarkFindID(b *testing.B) {
	l := open(b, b.TempDir(), ledger.Options{})
	all := entries(128_000, 3)
	if _, err := l.Commit(b.Context(), ledger.Change{IDs: all}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		i := rand.IntN(128_000) * ledger.EntrySize
		if _, found, err := l.FindID(b.Context(), 1, [16]byte(all[i:])); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}
