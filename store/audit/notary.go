package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// When a notary signs, unless told otherwise.
const (
	SignEntries  = 256              // so many entries after the last checkpoint,
	SignInterval = 10 * time.Second // or so long after the chain has grown
)

// maxRetry bounds how long a notary waits after a checkpoint that did not come about.
const maxRetry = 5 * time.Minute

// A Ledger is where a chain grows, as its notary sees it.
type Ledger interface {
	Log

	// AuditHead returns the chain as far as it is durable.
	AuditHead() (origin string, h Head)

	// Grown is signalled after the chain has grown. It holds one signal.
	Grown() <-chan struct{}

	// AddCheckpoint keeps a checkpoint, durably when it returns.
	AddCheckpoint(ctx context.Context, c Checkpoint) error
}

// NotaryOptions are what a notary needs.
type NotaryOptions struct {
	Log      Ledger
	Keys     []Key            // as [ParseKeys] returns them
	HeadFile string           // path of the head file, "" for none
	Witness  *Witness         // nil for none
	Logger   *slog.Logger     // nil discards
	Now      func() time.Time // nil is [time.Now]

	Entries  int64         // 0 is [SignEntries]
	Interval time.Duration // 0 is [SignInterval]
}

// NotaryStats are what a notary has done since it was made.
type NotaryStats struct {
	Size     int64     // of the newest checkpoint, also of an earlier run
	Time     time.Time // when it was signed
	Cosigned int64     // size of the newest checkpoint that a witness has cosigned
	Signed   uint64    // checkpoints
	Failures uint64    // checkpoints that did not come about
	Refusals uint64    // checkpoints that the witness did not cosign
	Err      error     // why the newest attempt failed, nil if it did not
}

// A Notary signs the head of a chain while the chain grows. It signs no head that
// does not continue the last one it has signed: the last head is in the head file
// before its signature leaves the process, so that an older ledger on the same volume
// is noticed.
//
// One goroutine, started by [NewNotary] and ended by [Notary.Close], signs.
type Notary struct {
	o    NotaryOptions
	stop context.CancelFunc // called by Close
	done chan struct{}      // closed when the goroutine has returned

	signing sync.Mutex // held for a checkpoint
	last    Checkpoint // the newest one; its origin is "" before there is any

	mu    sync.Mutex
	stats NotaryStats
}

// NewNotary returns a notary at work. Whether the chain continues what is known of it
// is for [CheckKnown] to say, before.
func NewNotary(ctx context.Context, o NotaryOptions) (*Notary, error) {
	if len(o.Keys) == 0 {
		return nil, errors.New("sign audit checkpoints: there is no key")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Entries == 0 {
		o.Entries = SignEntries
	}
	if o.Interval == 0 {
		o.Interval = SignInterval
	}
	n := &Notary{o: o, done: make(chan struct{})}
	if err := n.resume(ctx); err != nil {
		return nil, fmt.Errorf("sign audit checkpoints: %w", err)
	}
	// It outlives the context that it is made with.
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	go n.run(ctx)
	return n, nil
}

// resume finds out what was signed before.
func (n *Notary) resume(ctx context.Context) error {
	origin, h := n.o.Log.AuditHead()
	c, err := Newest(ctx, n.o.Log, origin, h.Size)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil {
		n.last = c
		n.stats.Size, n.stats.Time = c.Size, time.UnixMicro(c.Time)
	}
	if n.o.HeadFile == "" {
		return nil
	}
	// The head file may be ahead: its checkpoint did not reach the ledger, or the ledger
	// is older than it.
	switch c, err := ReadHeadFile(n.o.HeadFile); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case c.Origin == origin && c.Size > n.last.Size:
		n.last = c
	}
	return nil
}

func (n *Notary) run(ctx context.Context) {
	defer close(n.done)
	timer := time.NewTimer(0) // the chain may have grown since the last run
	defer timer.Stop()
	armed, wait := true, n.o.Interval
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.o.Log.Grown():
			_, h := n.o.Log.AuditHead()
			if wait > n.o.Interval || h.Size-n.signedSize() < n.o.Entries {
				if !armed {
					timer.Reset(n.o.Interval)
					armed = true
				}
				continue
			}
		case <-timer.C:
			armed = false
		}
		// A checkpoint under way is brought to its end, which a witness delays by seconds.
		if n.Sign(context.WithoutCancel(ctx)) == nil {
			wait = n.o.Interval
			continue
		}
		wait = min(2*wait, maxRetry)
		timer.Reset(wait)
		armed = true
	}
}

func (n *Notary) signedSize() int64 {
	n.signing.Lock()
	defer n.signing.Unlock()
	return n.last.Size
}

// Sign signs the head now if it is not signed yet. The error has been logged and
// counted.
func (n *Notary) Sign(ctx context.Context) error {
	n.signing.Lock()
	defer n.signing.Unlock()
	c, err := n.sign(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Err = err
	if err != nil {
		n.stats.Failures++
		n.o.Logger.Error("audit checkpoint not signed", "err", err)
		return err
	}
	if c.Note != nil {
		n.stats.Signed++
		n.stats.Size, n.stats.Time = c.Size, time.UnixMicro(c.Time)
		// With the logs this leaves the machine, where nobody can take it back.
		n.o.Logger.Info("audit checkpoint", "audit_size", c.Size, "root", c.Root.String(), "origin", c.Origin)
	}
	return nil
}

// sign returns a checkpoint without a note if there was nothing to sign.
func (n *Notary) sign(ctx context.Context) (Checkpoint, error) {
	origin, h := n.o.Log.AuditHead()
	if h.Size == 0 || origin == n.last.Origin && h.Size == n.last.Size && h.Root == n.last.Root && n.kept(ctx) {
		return Checkpoint{}, nil
	}
	if err := n.continues(origin, h); err != nil {
		return Checkpoint{}, err
	}
	c, err := Sign(origin, h, n.o.Keys, n.o.Now())
	if err != nil {
		return c, err
	}
	if n.o.HeadFile != "" {
		if err := writeHeadFile(n.o.HeadFile, c.Note); err != nil {
			return c, err
		}
	}
	n.last = c
	if n.o.Witness != nil {
		c.Note = n.cosign(ctx, c)
	}
	if err := n.o.Log.AddCheckpoint(ctx, c); err != nil {
		return c, fmt.Errorf("keep audit checkpoint of %d: %w", c.Size, err)
	}
	return c, nil
}

// kept reports whether the last checkpoint is in the log: it may be only in the head
// file.
func (n *Notary) kept(ctx context.Context) bool {
	c, err := Newest(ctx, n.o.Log, n.last.Origin, n.last.Size)
	return err == nil && c.Size == n.last.Size
}

// continues returns an error unless a head continues the last one that was signed
// for its chain. That of an earlier incarnation was judged when the chain was
// adopted.
func (n *Notary) continues(origin string, h Head) error {
	if n.last.Size == 0 || n.last.Origin != origin {
		return nil
	}
	known := n.last.Known("the last checkpoint")
	if h.Size < n.last.Size {
		return &RolledBack{known, h.Size, fmt.Sprintf("only %d", h.Size)}
	}
	proof, err := proveConsistency(n.o.Log, n.last.Size, h.Size)
	if err != nil {
		return err
	}
	if tlog.CheckTree(proof, h.Size, h.Root, n.last.Size, n.last.Root) != nil {
		return &RolledBack{known, h.Size, "does not continue that"}
	}
	return nil
}

// cosign returns the note with the signature of the witness, or without it: a
// witness that is away stops nothing.
func (n *Notary) cosign(ctx context.Context, c Checkpoint) []byte {
	ctx, cancel := context.WithTimeout(ctx, witnessTimeout)
	defer cancel()
	cosigned, err := n.o.Witness.Cosign(ctx, n.o.Log, c)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.stats.Refusals++
		n.o.Logger.Warn("audit checkpoint not cosigned", "err", err, "audit_size", c.Size)
		return c.Note
	}
	n.stats.Cosigned = c.Size
	return cosigned
}

// Stats returns what the notary has done.
func (n *Notary) Stats() NotaryStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close signs the last head and ends the notary.
func (n *Notary) Close(ctx context.Context) error {
	n.stop()
	select {
	case <-n.done:
	case <-ctx.Done():
		return fmt.Errorf("end audit notary: %w", ctx.Err())
	}
	return n.Sign(ctx)
}

// Newest returns the newest checkpoint of a chain with a size of at most end, or
// [ErrNotFound]. "" is every chain.
func Newest(ctx context.Context, log Log, origin string, end int64) (c Checkpoint, err error) {
	// There is usually one near the end; only where there is none all are read.
	for _, back := range []int64{2 * SignEntries, 64 * SignEntries, end} {
		found := false
		err = log.Checkpoints(ctx, max(0, end-back), func(one Checkpoint) error {
			if one.Size <= end && (origin == "" || one.Origin == origin) {
				c, found = one, true
			}
			return nil
		})
		if err != nil {
			return Checkpoint{}, fmt.Errorf("read newest audit checkpoint: %w", err)
		}
		if found {
			return c, nil
		}
	}
	return Checkpoint{}, fmt.Errorf("%w: no head of it is signed", ErrNotFound)
}

// ReadHeadFile returns the newest head that was signed on this volume, without a word
// about who signed it. It is [fs.ErrNotExist] if there was none.
//
// The head file is the note of the checkpoint. It is replaced before the checkpoint
// goes anywhere else, by writing, syncing and renaming a file beside it and syncing
// the directory: a crash leaves the one or the other.
func ReadHeadFile(path string) (Checkpoint, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read audit head: %w", err)
	}
	c, _, err := ParseCheckpoint(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read audit head %s: %w", path, err)
	}
	return c, nil
}

func writeHeadFile(path string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write audit head: %w", err)
		}
	}()
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
