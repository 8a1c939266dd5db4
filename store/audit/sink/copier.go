package sink

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// A Chain is the chain that is copied, as the ledger has it.
type Chain interface {
	audit.Log

	// AuditHead returns which chain it is, and its durable head.
	AuditHead() (origin string, h audit.Head)

	// Grown receives when the chain has grown. Whoever shares the channel with another
	// reader may miss it, and finds the growth when Options.Interval is over.
	Grown() <-chan struct{}
}

// Stats is what a [Copier] has done since it was started.
type Stats struct {
	Sink      string
	Attempted int64 // rows that were given to the sink
	Inserted  int64 // rows that were new there, as it says itself
	Bytes     int64 // of the leaves and notes given to the sink
	Errors    int64
	Refilled  int64 // times that the sink was found to have lost entries it had

	Duration time.Duration // of the last export that was taken

	// LagRows is how many entries are not known to be there, Lag the age of the oldest
	// of them; before the sink has first answered that is all of them, and the age of
	// the copier.
	LagRows int64
	Lag     time.Duration

	Alarm error // why copying has stopped; nil while it has not
}

// A Copier brings a chain to a sink. See the package documentation.
type Copier struct {
	sink  Sink
	chain Chain
	opts  Options
	log   *slog.Logger
	w     *worker

	// Owned by the goroutine.
	origin   string
	marked   bool  // next is what the sink has said
	compared int64 // entries that were compared in this round
	due      time.Time
	noted    int64                      // checkpoints up to this size are there
	notes    map[[sha256.Size]byte]bool // those of size noted that are there

	mu     sync.Mutex // guards what follows, of which the goroutine alone writes
	stats  Stats
	next   int64     // as the sink has it
	seen   bool      // the sink has answered for this origin
	oldest time.Time // when the entry next was recorded, or a time before that
}

// NewCopier starts to copy. The copier owns the sink from here on.
func NewCopier(s Sink, chain Chain, o Options) *Copier {
	c := &Copier{sink: s, chain: chain, opts: o.filled(), stats: Stats{Sink: s.Name()}}
	c.oldest, c.log = c.opts.Now(), c.opts.Log.With("sink", s.Name())
	c.w = startWorker(c.opts, c.log, chain.Grown(), c.step)
	return c
}

// Close tries for a last time to copy what is left, as long as ctx lets it, waits for
// the goroutine and closes the sink.
func (c *Copier) Close(ctx context.Context) error {
	c.w.close(ctx)
	if err := c.sink.Close(); err != nil {
		return fmt.Errorf("close %s: %w", c.sink.Name(), err)
	}
	return nil
}

// Stats returns what the copier has done.
func (c *Copier) Stats() Stats {
	_, head := c.chain.AuditHead()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	if s.LagRows = max(0, head.Size-c.next); s.LagRows > 0 {
		s.Lag = max(0, c.opts.Now().Sub(c.oldest))
	}
	return s
}

// step copies one batch, or compares one.
func (c *Copier) step(ctx context.Context) (more bool, err error) {
	origin, _ := c.chain.AuditHead()
	if origin != c.origin {
		c.begin(origin)
	}
	if c.alarmed() {
		return false, nil
	}
	more, err = c.advance(ctx)
	switch {
	case err == nil:
		return more, nil
	case errors.Is(err, ErrFork), errors.Is(err, ErrLost), errors.Is(err, audit.ErrRolledBack):
		c.raise(err)
		return false, nil
	}
	c.marked = false
	c.count(func(s *Stats) { s.Errors++ })
	if errors.Is(err, ErrGap) {
		c.noted, c.notes = 0, nil
	}
	return false, err
}

// begin turns to another origin, of which the sink is yet to say what it has.
func (c *Copier) begin(origin string) {
	c.origin, c.marked, c.compared, c.noted, c.notes = origin, false, 0, 0, nil
	c.due = c.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.seen, c.stats.Alarm = 0, false, nil
}

func (c *Copier) alarmed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats.Alarm != nil
}

// raise stops the copying of this origin.
func (c *Copier) raise(err error) {
	c.count(func(s *Stats) { s.Alarm = err })
	c.log.Error("copy is stopped", "err", err)
	c.opts.Alarm(err)
}

func (c *Copier) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

func (c *Copier) advance(ctx context.Context) (more bool, err error) {
	if !c.marked {
		if err := c.mark(ctx); err != nil {
			return false, err
		}
	}
	_, head := c.chain.AuditHead()
	rows, err := c.rows(ctx, c.next, head.Size)
	if err != nil {
		return false, err
	}
	notes, err := c.checkpoints(ctx, c.noted-1, c.next+int64(len(rows)), maxCheckpoints, c.notes)
	if err != nil {
		return false, err
	}
	if origin, _ := c.chain.AuditHead(); origin != c.origin {
		return true, nil // what was read may be another incarnation's
	}
	if len(rows) == 0 && len(notes) == 0 {
		return c.compare(ctx)
	}
	return true, c.put(ctx, rows, notes)
}

// mark asks the sink how far it has come.
func (c *Copier) mark(ctx context.Context) error {
	next, err := c.sink.Mark(ctx, c.origin)
	if err != nil {
		return fmt.Errorf("ask %s for its mark: %w", c.sink.Name(), err)
	}
	if _, head := c.chain.AuditHead(); next > head.Size {
		return fmt.Errorf("%s has %d entries of %s, the ledger %d: %w", c.sink.Name(), next, c.origin, head.Size, audit.ErrRolledBack)
	}
	c.mu.Lock()
	lost := c.seen && next < c.next
	if had := c.next; lost {
		c.stats.Refilled++
		c.log.Warn("copy has lost entries, and gets them again", "had", had, "has", next)
	}
	first := !c.seen
	c.next, c.seen = next, true
	c.mu.Unlock()
	switch {
	case lost:
		c.noted, c.notes = 0, nil
	case first:
		if c.noted, err = c.newest(ctx, next); err != nil {
			return err
		}
	}
	c.marked = true
	return nil
}

// newest returns up to which size the sink has checkpoints, as far as is known.
func (c *Copier) newest(ctx context.Context, next int64) (int64, error) {
	s, ok := c.sink.(interface {
		Noted(ctx context.Context, origin string) (int64, error)
	})
	if !ok {
		return next, nil
	}
	size, err := s.Noted(ctx, c.origin)
	if err != nil {
		return 0, fmt.Errorf("ask %s for its checkpoints: %w", c.sink.Name(), err)
	}
	return size, nil
}

// errEnough ends the reading of a batch.
var errEnough = errors.New("the batch is full")

// rows reads a batch that begins at from.
func (c *Copier) rows(ctx context.Context, from, to int64) ([]audit.Row, error) {
	if from >= to {
		return nil, nil
	}
	var rows []audit.Row
	bytes := 0
	err := c.chain.Rows(ctx, from, min(to, from+maxRows), func(r audit.Row) error {
		if r.Seq != from+int64(len(rows)) {
			return fmt.Errorf("entry %d of %s: %w", from+int64(len(rows)), c.origin, ErrLost)
		}
		rows = append(rows, r)
		if bytes += len(r.Leaf) + len(r.Hashes); bytes >= maxBytes {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read the chain from %d: %w", from, err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("entry %d of %s: %w", from, c.origin, ErrLost)
	}
	return rows, nil
}

// checkpoints reads those with after < size ≤ upto that are not among known. A copy
// never has a checkpoint of more entries than it has.
func (c *Copier) checkpoints(ctx context.Context, after, upto int64, most int, known map[[sha256.Size]byte]bool) ([]audit.Checkpoint, error) {
	var list []audit.Checkpoint
	err := c.chain.Checkpoints(ctx, after, func(p audit.Checkpoint) error {
		if p.Size > upto || len(list) == most {
			return errEnough
		}
		if p.Origin == c.origin && !known[sha256.Sum256(p.Note)] {
			list = append(list, p)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read the checkpoints above %d: %w", after, err)
	}
	return list, nil
}

// put gives a batch to the sink.
func (c *Copier) put(ctx context.Context, rows []audit.Row, notes []audit.Checkpoint) error {
	bytes := 0
	for _, r := range rows {
		bytes += len(r.Leaf)
	}
	for _, p := range notes {
		bytes += len(p.Note)
	}
	c.mu.Lock()
	c.stats.Attempted += int64(len(rows))
	c.stats.Bytes += int64(bytes)
	if len(rows) > 0 {
		c.oldest = time.UnixMicro(rows[0].Time)
	}
	c.mu.Unlock()
	start := time.Now()
	inserted, err := c.sink.Put(ctx, c.origin, rows, notes)
	if err != nil {
		return fmt.Errorf("copy %d entries from %d to %s: %w", len(rows), c.next, c.sink.Name(), err)
	}
	for _, p := range notes {
		if p.Size > c.noted || c.notes == nil {
			c.noted, c.notes = p.Size, make(map[[sha256.Size]byte]bool)
		}
		c.notes[sha256.Sum256(p.Note)] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Inserted += int64(inserted)
	c.stats.Duration = time.Since(start)
	c.next += int64(len(rows))
	if len(rows) > 0 {
		c.oldest = time.UnixMicro(rows[len(rows)-1].Time)
	}
	// Where rows were there already, more of them may be: a hole was filled.
	c.marked = inserted == len(rows)
	return nil
}

// compare has the sink compare a batch of what it has with the ledger, when that is
// due: at the start, and again from time to time.
func (c *Copier) compare(ctx context.Context) (more bool, err error) {
	c.mu.Lock()
	c.oldest = c.opts.Now()
	c.mu.Unlock()
	s, ok := c.sink.(Comparer)
	if !ok || c.opts.Compare < 0 || c.opts.Now().Before(c.due) {
		// Nothing keeps the mark true for ever: it is asked for in every round.
		c.marked = false
		return false, nil
	}
	rows, err := c.rows(ctx, c.compared, c.next)
	if err != nil {
		return false, err
	}
	to := c.compared + int64(len(rows))
	notes, err := c.checkpoints(ctx, c.compared, to, maxRows, nil)
	if err != nil {
		return false, err
	}
	if err := s.Compare(ctx, c.origin, rows, notes); err != nil {
		return false, fmt.Errorf("compare %d entries from %d with %s: %w", len(rows), c.compared, c.sink.Name(), err)
	}
	if c.compared = to; to >= c.next {
		c.compared, c.due = 0, c.opts.Now().Add(c.opts.Compare)
	}
	return true, nil
}
