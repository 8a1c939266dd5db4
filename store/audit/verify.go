package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Options say what a verification may rely on. The zero value relies on the chain
// alone: it then takes the keys that the chain names.
type Options struct {
	Trusted   *Trusted // keys of the auditor
	Kept      []Known  // heads that the auditor has kept, or that are known from elsewhere
	Witnesses []string // verifier keys of witnesses whose cosignatures are looked for
}

// A PrivateLog is a [Log] that has private values.
type PrivateLog interface {
	Log

	// Private returns those of the entries from ≤ seq < to that there are, by seq.
	Private(ctx context.Context, from, to int64) (map[int64][]Private, error)
}

// chunk is how many entries are looked at in one step.
const chunk = 1024

// Verify reads a whole chain once and says whether it is what was written. It does
// so with what fits in memory whatever the length: four bits for each entry.
//
// Every entry must be the next one, canonical, linked to the one before and the leaf
// of its own link; what is kept beside it, the nodes of the tree and the columns, must
// follow from it; private values must match or be erased by an entry; leaves may be
// missing only below what an entry has pruned and a checkpoint covers. Every
// checkpoint must have the root that the entries make at its size, which makes every
// pair of them consistent, be of the incarnation that the entries say, and be signed by
// the key that was in force. The newest must be signed by a key that is trusted, or
// that a chain of rotations, each signed by the old key and the new one, leads to. What
// the auditor has kept must be heads of the same chain.
func Verify(ctx context.Context, log Log, o Options) Report {
	return verify(ctx, log, o, 0)
}

// VerifyTail verifies the last n entries, by what is kept of the tree before them.
func VerifyTail(ctx context.Context, log Log, o Options, n int64) Report {
	_, end, err := log.Extent(ctx)
	if err != nil {
		return Unopened(fmt.Errorf("read audit chain: %w", err))
	}
	start := max(0, end-n)
	switch c, err := Newest(ctx, log, "", end); {
	case err == nil:
		start = min(start, c.Size) // without a signature it would be worth nothing
	case !errors.Is(err, ErrNotFound):
		return Unopened(err)
	}
	return verify(ctx, log, o, start)
}

func verify(ctx context.Context, log Log, o Options, start int64) Report {
	began := time.Now()
	v := &verifier{o: o, log: log, r: newReport(), chain: new(Chain)}
	err := v.begin(ctx, start)
	if err == nil {
		err = v.walk(ctx)
	}
	if err == nil {
		err = v.end()
	}
	if err != nil && !errors.Is(err, errEnough) {
		v.r.fail(err)
	}
	v.summarize()
	v.r.finish(began)
	return v.r
}

// errEnough ends a verification that has found enough, or cannot go on from what it
// has found.
var errEnough = errors.New("enough was found")

// A verifier is one pass over a chain. It belongs to one goroutine.
type verifier struct {
	o   Options
	log Log
	r   Report

	start, size int64  // the entries looked at are start ≤ seq < size
	ahead       int64  // size of a checkpoint of more than there is, 0 if none
	signed      int64  // size of the newest checkpoint, whoever has signed it
	chain       *Chain // as the entries make it, up to the last one seen
	known       []Known

	instance  string
	first     *tlog.Hash // prev of entry 0, until the instance is known
	at        int64      // incarnation of the last entry, 0 if its leaf is not there
	last      time.Time  // of the last entry
	backwards int64

	note    []byte // of the last checkpoint
	keys    keyring
	columns bool // the log keeps columns beside the leaf
	private PrivateLog
	cover   cover
}

func (v *verifier) find(s Status, seq int64, format string, args ...any) error {
	if !v.r.find(s, seq, format, args...) {
		return errEnough
	}
	return nil
}

// begin sets the pass up at an entry, or at the first one that the log begins with.
func (v *verifier) begin(ctx context.Context, start int64) error {
	_, end, err := v.log.Extent(ctx)
	if err != nil {
		return fmt.Errorf("read audit chain: %w", err)
	}
	v.size, v.columns = end, true
	v.private, _ = v.log.(PrivateLog)
	v.known = slices.Clone(v.o.Kept)
	if f, ok := v.log.(*File); ok {
		v.columns = f.columns
		start = max(start, f.start)
		if f.claim.Where != "" {
			v.known = append(v.known, f.claim)
		}
	}
	v.start = start
	if start > 0 {
		if v.chain, err = Resume("", 0, start, v.log); err != nil {
			return err
		}
		v.r.warn("the entries before %d were not looked at", start)
	}
	slices.SortStableFunc(v.known, func(a, b Known) int { return cmp.Compare(a.Size, b.Size) })
	for len(v.known) > 0 && v.known[0].Size < start {
		v.r.warn("%s is of %d entries, which were not looked at", v.known[0].Where, v.known[0].Size)
		v.known = v.known[1:]
	}
	v.keys.trusted = v.o.Trusted
	if start > 0 {
		return v.checkpoints(ctx, start-1, start)
	}
	return v.compare()
}

// walk looks at all entries, also at those that come while it does: what it has seen
// missing, or signed, may be explained only by them.
func (v *verifier) walk(ctx context.Context) error {
	for {
		for from := v.chain.size; from < v.size; from = v.chain.size {
			if err := v.step(ctx, from, min(from+chunk, v.size)); err != nil {
				return err
			}
		}
		ahead, err := readAhead(ctx, v.log, v.size)
		if err != nil {
			return err
		}
		_, end, err := v.log.Extent(ctx)
		if err != nil {
			return fmt.Errorf("read audit chain: %w", err)
		}
		if end <= v.size {
			v.ahead = ahead
			return nil
		}
		v.size = end
	}
}

// step looks at the entries from ≤ seq < to and the checkpoints of their sizes.
func (v *verifier) step(ctx context.Context, from, to int64) error {
	checkpoints, err := readCheckpoints(ctx, v.log, from, to)
	if err != nil {
		return err
	}
	var private map[int64][]Private
	if v.private != nil {
		if private, err = v.private.Private(ctx, from, to); err != nil {
			return fmt.Errorf("read private values: %w", err)
		}
	}
	rows, err := readRows(ctx, v.log, from, to)
	for _, r := range rows {
		if err := v.row(r, private[r.Seq]); err != nil {
			return err
		}
		for len(checkpoints) > 0 && checkpoints[0].Size == r.Seq+1 {
			if err := v.checkpoint(checkpoints[0]); err != nil {
				return err
			}
			checkpoints = checkpoints[1:]
		}
		if err := v.compare(); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("read entries from %d: %w", v.chain.size, err)
	}
	if v.chain.size != to {
		return v.gap(to)
	}
	for _, c := range checkpoints {
		if err := v.find(Tampered, c.Size-1, "checkpoint of %d: it is there out of its turn", c.Size); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) gap(to int64) error {
	v.r.find(Tampered, v.chain.size, "entries %d to %d are missing", v.chain.size, to-1)
	return errEnough
}

// readRows returns what there is of a range, also beside an error.
func readRows(ctx context.Context, log Log, from, to int64) (rows []Row, err error) {
	read := log.Rows
	if f, ok := log.(*File); ok && !f.columns {
		read = f.bare
	}
	err = read(ctx, from, to, func(r Row) error {
		if len(rows) > chunk {
			return &Damage{Seq: r.Seq, What: "there are more entries than numbers for them"}
		}
		rows = append(rows, r)
		return nil
	})
	return rows, err
}

// errStop ends a walk that has seen what it wanted.
var errStop = errors.New("stop")

// maxAtSize bounds the checkpoints of a chunk: one of each size is usual, more come
// of incarnations.
const maxAtSize = 4 * chunk

// readCheckpoints returns those with after < size ≤ to.
func readCheckpoints(ctx context.Context, log Log, after, to int64) (list []Checkpoint, err error) {
	err = log.Checkpoints(ctx, after, func(c Checkpoint) error {
		if c.Size > to {
			return errStop
		}
		if len(list) == maxAtSize {
			return &Damage{Seq: c.Size - 1, What: "there are too many checkpoints of one size"}
		}
		list = append(list, c)
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoints from %d: %w", after, err)
	}
	return list, nil
}

func (v *verifier) checkpoints(ctx context.Context, after, to int64) error {
	list, err := readCheckpoints(ctx, v.log, after, to)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := v.checkpoint(c); err != nil {
			return err
		}
	}
	return v.compare()
}

// end looks at what only the whole can tell.
func (v *verifier) end() error {
	if f, ok := v.log.(*File); ok && f.misplaced != nil {
		v.r.fail(f.misplaced)
	}
	if v.ahead > 0 {
		if err := v.find(Truncated, v.size, "there is a checkpoint of %d entries, and there are only %d", v.ahead, v.size); err != nil {
			return err
		}
	}
	for _, k := range v.known {
		if err := v.find(Truncated, v.size, "%s is of %d entries, and there are only %d", k.Where, k.Size, v.size); err != nil {
			return err
		}
	}
	if v.first != nil && v.instance != "" && *v.first != first(v.instance) {
		if err := v.find(Tampered, 0, "it does not begin instance %s", v.instance); err != nil {
			return err
		}
	}
	if err := v.missing(); err != nil {
		return err
	}
	if why := v.keys.end(&v.r); why != "" {
		return v.find(Tampered, v.keys.unanchored-1, "%s", why)
	}
	if v.r.Signed == 0 && v.size > 0 {
		if v.r.Pruned > 0 {
			return v.find(CannotAll, -1, "nothing of it is signed by a key that is known: the leaf that names the key was pruned, so it has to be given")
		}
		return v.find(CannotAll, -1, "nothing of it is signed by a key that is known")
	}
	return nil
}

// missing looks at what is missing and may be. Of a chain that was cut off nobody
// knows: the entry that allows it may be gone.
func (v *verifier) missing() error {
	if slices.ContainsFunc(v.r.Findings, func(f Finding) bool { return f.Status == Truncated }) {
		return nil
	}
	for _, f := range v.cover.end(v.signed, v.private != nil) {
		if err := v.find(Tampered, f.Seq, "%s", f.What); err != nil {
			return err
		}
	}
	return nil
}

// readAhead returns the size of a checkpoint beyond the end, 0 if there is none.
func readAhead(ctx context.Context, log Log, end int64) (size int64, err error) {
	err = log.Checkpoints(ctx, end, func(c Checkpoint) error {
		size = c.Size
		return errStop
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return size, err
}

func (v *verifier) summarize() {
	h := v.chain.Head()
	v.r.Start, v.r.Size, v.r.Head, v.r.Incarnation = v.start, h.Size, h.String(), v.at
	v.r.PrivateKept, v.r.PrivateErased = v.cover.present, v.cover.gone
	v.keys.summarize(&v.r)
	if v.backwards > 1 {
		v.r.warn("the clock was set back %d times", v.backwards)
	}
	if v.r.UnknownKinds > 0 {
		v.r.warn("%s entries are of kinds that this program does not know", strconv.FormatInt(v.r.UnknownKinds, 10))
	}
	if unsigned := h.Size - max(v.r.Signed, v.start); unsigned > 0 && v.r.Signed < math.MaxInt64 {
		v.r.warn("the last %d entries are not signed yet", unsigned)
	}
}
