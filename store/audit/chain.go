package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A Head is a chain of some length: what a checkpoint signs.
type Head struct {
	Size int64     // entries; that of the next one is Size
	Root tlog.Hash // of the tree of RFC 6962 over their leaves
	Link tlog.Hash // the leaf hash of the newest entry, which the next one names as prev
}

// String returns a head as X-Eider-Audit-Head has it: size and root.
func (h Head) String() string { return strconv.FormatInt(h.Size, 10) + ":" + encode(h.Root[:]) }

// A Row is an entry as it is kept.
type Row struct {
	Seq     int64
	Time    int64 // µs
	Kind    Kind
	Outcome Outcome
	Actor   string
	Object  string
	Request string

	Leaf []byte // nil when it was pruned

	// Hashes are the leaf hash and those of the nodes that the entry has completed,
	// upwards: all the tree that it has added, 32 bytes each. The node n of a level is
	// among those of entry (n+1)<<level - 1.
	Hashes []byte

	Private []Private // only of a row that [Chain.Append] has just made
}

// Link returns the leaf hash.
func (r *Row) Link() (h tlog.Hash) {
	copy(h[:], r.Hashes)
	return h
}

// A Chain is the growing end of a chain: it makes rows, and keeps none. It is for
// one goroutine at a time.
type Chain struct {
	instance    string
	incarnation int64
	size        int64
	link        tlog.Hash
	peaks       []tlog.Hash // by level: the root of the complete subtree for every bit of size that is set
}

// origin is the first line of checkpoints: which chain they are of. An incarnation
// is a chain of its own, which begins with all that the one before had when it was
// adopted: so what was signed for one never contradicts what is signed for another.
func origin(instance string, incarnation int64) string {
	return "eider/" + instance + "/" + strconv.FormatInt(incarnation, 10)
}

// parseOrigin is the inverse of origin.
func parseOrigin(s string) (instance string, incarnation int64, err error) {
	rest, ok := strings.CutPrefix(s, "eider/")
	instance, number, found := strings.Cut(rest, "/")
	incarnation, bad := strconv.ParseInt(number, 10, 64)
	if !ok || !found || bad != nil || incarnation < 1 || origin(instance, incarnation) != s {
		return "", 0, fmt.Errorf("%q is no origin of a chain; those are eider/<instance>/<incarnation>", s)
	}
	return instance, incarnation, nil
}

// New returns the chain of a new instance, which is empty: its first entry should
// be a [Genesis].
func New(instance string) *Chain {
	return &Chain{instance: instance, incarnation: 1, link: first(instance)}
}

// first is what the first entry of an instance has as prev: the SHA-256 of the
// origin of its first incarnation.
func first(instance string) tlog.Hash { return sha256.Sum256([]byte(origin(instance, 1))) }

// Resume returns a chain at a size of at least 1. The hashes are read by the indexes
// of [tlog.StoredHashIndex].
func Resume(instance string, incarnation, size int64, r tlog.HashReader) (*Chain, error) {
	c := &Chain{instance: instance, incarnation: incarnation, size: size}
	indexes := []int64{tlog.StoredHashIndex(0, size-1)}
	at := int64(0)
	for level := bits.Len64(uint64(size)) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			indexes = append(indexes, tlog.StoredHashIndex(level, at>>level))
			at += 1 << level
		}
	}
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return nil, fmt.Errorf("resume chain at %d: %w", size, err)
	}
	c.link, hashes = hashes[0], hashes[1:]
	c.peaks = make([]tlog.Hash, bits.Len64(uint64(size)))
	for level := len(c.peaks) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			c.peaks[level], hashes = hashes[0], hashes[1:]
		}
	}
	return c, nil
}

// Clone returns a copy that grows on its own.
func (c *Chain) Clone() *Chain {
	d := *c
	d.peaks = slices.Clone(c.peaks)
	return &d
}

// Origin returns which chain it is.
func (c *Chain) Origin() string { return origin(c.instance, c.incarnation) }

// Head returns how far the chain has come.
func (c *Chain) Head() Head {
	h := Head{Size: c.size, Link: c.link}
	if c.size == 0 {
		h.Root = sha256.Sum256(nil)
		return h
	}
	low := bits.TrailingZeros64(uint64(c.size))
	h.Root = c.peaks[low]
	for level := low + 1; level < len(c.peaks); level++ {
		if c.size>>level&1 == 1 {
			h.Root = tlog.NodeHash(c.peaks[level], h.Root)
		}
	}
	return h
}

// errAdopt is returned for an [Adopt] that is no incarnation's first entry.
var errAdopt = errors.New("audit: an adoption is recorded by Chain.Adopt")

// Append makes the row of an entry and moves the chain on. The time is that at which
// the entry is recorded.
func (c *Chain) Append(e Entry, at time.Time) (Row, error) {
	if e.Kind == Adopt {
		return Row{}, errAdopt
	}
	return c.append(e, at)
}

// Adopt begins the next incarnation with an entry that says why, and what was known
// of the one before.
func (c *Chain) Adopt(e Entry, at time.Time) (Row, error) {
	e.Kind = Adopt
	c.incarnation++
	return c.append(e, at)
}

func (c *Chain) append(e Entry, at time.Time) (Row, error) {
	leaf, private, f, err := seal(e, c.size, c.incarnation, at, c.link)
	if err != nil {
		return Row{}, fmt.Errorf("record %s: %w", e.Kind, err)
	}
	row := Row{
		Seq: c.size, Time: at.UnixMicro(), Kind: f.Kind, Outcome: f.Outcome, Actor: f.Actor, Object: f.Object, Request: f.Request,
		Leaf: leaf, Private: private,
	}
	c.link = tlog.RecordHash(leaf)
	row.Hashes = c.grow(c.link)
	return row, nil
}

// grow adds a leaf hash to the tree and returns it and the nodes it completes.
func (c *Chain) grow(h tlog.Hash) []byte {
	hashes := slices.Clone(h[:])
	level := 0
	for ; c.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(c.peaks[level], h)
		hashes = append(hashes, h[:]...)
	}
	if level == len(c.peaks) {
		c.peaks = append(c.peaks, h)
	} else {
		c.peaks[level] = h
	}
	c.size++
	return hashes
}

// Locate returns in which entry's hashes the one of an index is, and the how manieth
// of them. Indexes are those of [tlog.StoredHashIndex].
func Locate(index int64) (seq int64, position int) {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1, level
}
