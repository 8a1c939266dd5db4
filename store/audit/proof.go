package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// proofHeader is the first line of a proof (c2sp.org/tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1"

// A Proof says that an entry is in a chain: it needs nothing but the leaf and a key to
// be checked.
type Proof struct {
	Seq        int64
	Hashes     tlog.RecordProof
	Checkpoint Checkpoint
}

// Prove returns the proof of an entry against the newest checkpoint, as
// c2sp.org/tlog-proof has it. It is [ErrNotFound] for an entry that is not signed yet.
func Prove(ctx context.Context, log Log, seq int64) ([]byte, error) {
	_, end, err := log.Extent(ctx)
	if err != nil {
		return nil, fmt.Errorf("prove audit entry %d: %w", seq, err)
	}
	c, err := Newest(ctx, log, "", end)
	if err != nil {
		return nil, fmt.Errorf("prove audit entry %d: %w", seq, err)
	}
	if seq < 0 || seq >= c.Size {
		return nil, fmt.Errorf("prove audit entry %d: %w: the newest checkpoint is of %d entries", seq, ErrNotFound, c.Size)
	}
	hashes, err := tlog.ProveRecord(c.Size, seq, log)
	if err != nil {
		return nil, fmt.Errorf("prove audit entry %d: %w", seq, err)
	}
	return Proof{Seq: seq, Hashes: hashes, Checkpoint: c}.Marshal(), nil
}

// Marshal returns the text of a proof.
func (p Proof) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, p.Seq)
	for _, h := range p.Hashes {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint.Note)
	return b.Bytes()
}

// ParseProof reads a proof and checks nothing of it. A line of extra data is
// refused, as there is none in ours.
func ParseProof(text []byte) (p Proof, err error) {
	if len(text) > MaxEvidence {
		return p, fmt.Errorf("read proof: it has %d bytes", len(text))
	}
	head, note, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != proofHeader {
		return p, fmt.Errorf("read proof: it is no %s", proofHeader)
	}
	index, ok := strings.CutPrefix(lines[1], "index ")
	p.Seq, err = strconv.ParseInt(index, 10, 64)
	if !ok || err != nil || p.Seq < 0 || strconv.FormatInt(p.Seq, 10) != index {
		return p, fmt.Errorf("read proof: %.40q is no index", lines[1])
	}
	for _, line := range lines[2:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize || len(p.Hashes) == 64 {
			return p, fmt.Errorf("read proof: %.60q is no hash of it", line)
		}
		p.Hashes = append(p.Hashes, tlog.Hash(raw))
	}
	if p.Checkpoint, _, err = ParseCheckpoint(note); err != nil {
		return p, fmt.Errorf("read proof: %w", err)
	}
	return p, nil
}

// CheckProof checks that a leaf is in a chain, by a proof whose checkpoint a trusted
// key has signed. It returns what the leaf says, and the checkpoint.
func CheckProof(text, leaf []byte, trusted *Trusted) (Leaf, Checkpoint, error) {
	p, err := ParseProof(text)
	if err != nil {
		return Leaf{}, Checkpoint{}, err
	}
	c, err := trusted.Open(p.Checkpoint.Note)
	if err != nil {
		return Leaf{}, Checkpoint{}, fmt.Errorf("check proof of audit entry %d: %w", p.Seq, err)
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Seq, tlog.RecordHash(leaf)); err != nil {
		return Leaf{}, Checkpoint{}, fmt.Errorf("check proof of audit entry %d: it is not of this leaf: %w", p.Seq, err)
	}
	l, err := Parse(leaf)
	if err != nil {
		return Leaf{}, Checkpoint{}, fmt.Errorf("check proof of audit entry %d: %w", p.Seq, err)
	}
	if l.Seq != p.Seq {
		return Leaf{}, Checkpoint{}, fmt.Errorf("check proof of audit entry %d: the leaf says that it is %d", p.Seq, l.Seq)
	}
	return l, c, nil
}

// proveConsistency returns the proof that a chain of to entries continues the one of
// from entries, for [tlog.CheckTree].
func proveConsistency(log tlog.HashReader, from, to int64) (tlog.TreeProof, error) {
	proof, err := tlog.ProveTree(to, from, log)
	if err != nil {
		return nil, fmt.Errorf("prove that audit chain goes on from %d to %d: %w", from, to, err)
	}
	return proof, nil
}
