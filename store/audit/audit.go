// Package audit keeps a record of what operators and programs did to an
// installation, and lets anybody prove that it is whole: what was recorded cannot
// be changed, taken out, added or cut off without that showing.
//
// # The chain
//
// An entry ([Entry]) is one act, or one refusal. Its leaf is a JSON object in the
// canonical form of RFC 8785, kept byte by byte as it was written. Its link is the
// leaf hash of RFC 6962, SHA-256(0x00 ‖ leaf), and every leaf names the link of the
// one before as prev. The same links are the leaves of a Merkle tree, so that one
// entry can be proved without the others.
//
//	leaf 0 {"prev":SHA-256(origin),…}   leaf 1 {"prev":link 0,…}   leaf 2 {"prev":link 1,…}
//	   │                                   │                          │
//	link 0 ───────────┐                 link 1 ──────┐             link 2
//	                  └──── node ───────────┘        …
//	                         └──────────────── root ── signed in a checkpoint
//
// A checkpoint is a note of C2SP (tlog-checkpoint) that names the chain, its size
// and its root, signed with Ed25519. Whoever keeps one can show later that the
// chain has been changed since, whoever holds the key and the disk.
//
// # What is personal
//
// Leaves are for ever. Of what is about a person, as the address of a client or the
// name that somebody has given a key, a leaf has a salted commitment; salt and value
// are kept beside the chain and can be destroyed, after which nobody can tell what
// they were.
//
// # Who uses it
//
// store/ledger keeps the rows, in the transaction of the act itself; server and
// cmd/eider say who acts ([With]) and hand out what there is to prove. The package
// needs neither of them: whatever can be read as a [Log] can be verified.
package audit

import (
	"context"
	"errors"

	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrHalted is returned for acts while the chain may not grow: it is broken, or
	// older than what is known of it elsewhere.
	ErrHalted = errors.New("the audit chain takes no entries, so nothing may be changed")

	// ErrRolledBack is returned when a chain is shorter than, or another one than, a
	// checkpoint that was made of it.
	ErrRolledBack = errors.New("the audit chain is not the one that was signed")
)

// A Log is a chain as it is kept somewhere: in the ledger, in a copy, in an export.
// The hashes of [tlog.HashReader] are those of the tree, also of leaves that were
// pruned.
type Log interface {
	tlog.HashReader

	// Extent returns the seqs of the first entry that has a leaf, and of the one after
	// the last: 0, 0 when it is empty.
	Extent(ctx context.Context) (first, end int64, err error)

	// Rows calls fn with the rows of from ≤ seq < to in order, of those that there are,
	// without their private values. fn may keep them, and ends the walk with an error.
	Rows(ctx context.Context, from, to int64, fn func(Row) error) error

	// Checkpoints calls fn with the notes that were signed, of sizes above after, by
	// size.
	Checkpoints(ctx context.Context, after int64, fn func(Checkpoint) error) error
}

// A Checkpoint is a signed head.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Time   int64  // when it was signed, µs; it is not part of what is signed
	Note   []byte // text and signatures, as c2sp.org/tlog-checkpoint has them
}
