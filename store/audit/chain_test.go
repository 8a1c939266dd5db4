package audit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// hashes is a tree in memory, kept as rows are.
type hashes [][]byte

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		seq, at := Locate(index)
		if seq >= int64(len(h)) || len(h[seq]) < 32*(at+1) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		copy(list[i][:], h[seq][32*at:])
	}
	return list, nil
}

// TestChain grows a chain and compares every head with what package tlog makes of
// the leaves; a chain that is resumed at any size goes on in the same way.
func TestChain(t *testing.T) {
	t.Parallel()
	c := New("test")
	var kept hashes
	at := time.UnixMicro(1_700_000_000_123_456)
	prev := first("test")
	for i := range int64(150) {
		row, err := c.Append(Entry{Kind: KeyCreate, By: System, Object: fmt.Sprint("key:", i)}, at)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Parse(row.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if l.Seq != i || l.Prev != prev || !l.Time.Equal(at) || row.Link() != tlog.RecordHash(row.Leaf) {
			t.Fatalf("entry %d is %+v", i, l)
		}
		prev, kept = row.Link(), append(kept, row.Hashes)
		want, err := tlog.StoredHashes(i, row.Leaf, kept)
		if err != nil {
			t.Fatal(err)
		}
		var flat []byte
		for _, h := range want {
			flat = append(flat, h[:]...)
		}
		if !bytes.Equal(flat, row.Hashes) {
			t.Fatalf("entry %d adds %d hashes that are not those of tlog", i, len(row.Hashes)/32)
		}
		root, err := tlog.TreeHash(i+1, kept)
		if err != nil {
			t.Fatal(err)
		}
		if h := c.Head(); h.Root != root || h.Size != i+1 || h.Link != prev {
			t.Fatalf("head of %d is %v, want the root %v", i+1, h, root)
		}
		again, err := Resume("test", 1, i+1, kept)
		if err != nil {
			t.Fatal(err)
		}
		if again.Head() != c.Head() {
			t.Fatalf("resumed at %d it is %v, want %v", i+1, again.Head(), c.Head())
		}
		if rand.IntN(3) == 0 {
			c = again
		}
	}
}

// TestLeafBounds records what no operator should be able to bring in: the leaf is
// canonical, bounded, and says what it can.
func TestLeafBounds(t *testing.T) {
	t.Parallel()
	long := string(bytes.Repeat([]byte("ä"), 10_000))
	detail, private := map[string]string{}, map[string]string{}
	for i := range 100 {
		detail[fmt.Sprint(i, long)], private[fmt.Sprint(i, long)] = long, long
	}
	c := New("test")
	row, err := c.Append(Entry{
		Kind: "no.such", By: By{Actor: "\x00\xff", Request: long, Agent: long, Address: "::1"}, Object: long, Reason: "a\nb",
		Detail: detail, Private: private,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(row.Leaf) > 60<<10 {
		t.Errorf("leaf of %d bytes", len(row.Leaf))
	}
	l, err := Parse(row.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	if l.Kind != Unknown || l.Detail["kind"] != "no.such" || l.Reason != "a b" || l.Outcome != Done || len(l.Detail) != maxDetail {
		t.Errorf("leaf is %.300s", row.Leaf)
	}
	for _, p := range row.Private {
		if l.Private[p.Field] != p.Commitment() {
			t.Errorf("the commitment to %.20s is %s", p.Field, l.Private[p.Field])
		}
	}
	if bytes.Contains(row.Leaf, []byte("::1")) {
		t.Error("the address is in the leaf")
	}
}
