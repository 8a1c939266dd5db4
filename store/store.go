// Package store keeps the events that the journal has made durable where they
// can be asked about: in the lens (DuckDB) while they are fresh, in the history
// (Parquet parts) afterwards.
//
// # Promise
//
// The truth is the ledger and the parts it lists; the lens can be thrown away at
// any time. An event of the journal is seen by every [Snapshot] taken after the
// [Store.Flush] that brought it, exactly once, while flush, publish, compaction,
// retention and erasure go on. A part is a file that is whole and synced before
// the ledger lists it, and that stays until no snapshot needs it.
//
// # On disk
//
// In the data directory, beside the ledger:
//
//	events/date=YYYY-MM-DD/*.parquet   the parts: see package history
//	lens.duckdb, lens.duckdb.wal       a stamp and rollups: see rollup.go
//	tmp/                               half-written parts and what DuckDB spills
//
// Hot rows are not in lens.duckdb but in memory, in one table a generation:
//
//	journal rows     | ≤ published: dead | published … flushed | … last |
//	hot.g1 hot.g2    |  (being dropped)  | generations         |
//	parts            |  all of them      |
//
// A snapshot is a list of parts, a list of generations and the two numbers. It
// reads exactly those parts and the hot rows with published < seq ≤ flushed, so
// that it does not matter when a published row leaves the hot table.
//
// # What a crash leaves
//
// One ledger transaction is the commit point of every change of the history.
// Before it, new files are there that the ledger does not list; after it, old
// ones are. [Open] deletes both. Hot rows are read again from the journal. A
// lens.duckdb that does not open is deleted. A part that is missing or damaged
// is quarantined: the others are served and [Snapshot.Degraded] names it.
//
// # Locks
//
// rolling is held by one rollup at a time; maintaining by one publish, compaction,
// retention or erasure; flushing by one flush; boundary keeps the journal's
// beginning where it is while it is read; replacing keeps who copies events from
// seeing those that the ledger says are erased; discarding is held while files and tables
// are deleted; mu guards the current view and is never held over a call to DuckDB
// or the disk; the locks of rollups and of a reach are held for moments, by whoever
// needs them, and nothing is called with them.
// They are taken in this order.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

var (
	// ErrClosed is returned by a [Store] that has been closed.
	ErrClosed = errors.New("store is closed")

	// ErrOrphans is returned by [Open] when the ledger is new and the history is
	// not. Nothing has been changed.
	ErrOrphans = errors.New("ledger.db is new, but there are parts that it does not list: restore the ledger.db they belong to, or move the directory events away")

	// ErrLens is returned while the lens does not work: after a flush that
	// failed, until [Store.Rebuild] has succeeded. Nothing is lost.
	ErrLens = errors.New("the lens has to be rebuilt from the journal")
)

// Options adjust a [Store]. Dir, Ledger and Log are required.
type Options struct {
	Dir         string         // the data directory; must exist; no ? * or [ in its path
	FS          history.FS     // Optional: where the parts are; nil means the files of Dir. DuckDB always reads Dir
	Ledger      *ledger.Ledger // open; the caller closes it after the store
	MemoryLimit int64          // bytes DuckDB may use before it spills to tmp; 0 means 128 MiB
	Threads     int            // of DuckDB; 0 means the number of processors, 4 at most
	Log         *slog.Logger
	Now         func() time.Time // Optional: nil means time.Now

	// A publish is due at PublishBytes of journal payload or PublishRows
	// unpublished events. PublishBytes also bounds what one publish holds in
	// memory. 0 means 32 MiB and 131,072.
	PublishBytes int64
	PublishRows  int64

	// Failed, if not nil, is called once, when the ledger has refused a change of
	// the history. What it has stored is then unknown: the process should exit.
	Failed func(error)
}

func (o *Options) setDefaults() error {
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 128 << 20
	}
	if o.Threads == 0 {
		o.Threads = min(runtime.GOMAXPROCS(0), 4)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.PublishBytes == 0 {
		o.PublishBytes = 32 << 20
	}
	if o.PublishRows == 0 {
		o.PublishRows = 128 << 10
	}
	dir, err := filepath.Abs(o.Dir) // DuckDB compares whole paths
	if err != nil {
		return err
	}
	if strings.ContainsAny(dir, "?*[") { // DuckDB takes such a path for a pattern, or for options
		return fmt.Errorf("data directory %s: its path must not contain ? * or [", dir)
	}
	o.Dir = dir
	if o.FS == nil {
		o.FS = history.OS(dir)
	}
	return nil
}

// A Store is the lens and the life of the history. It is safe for concurrent
// use. Only one Store may be open on a directory at a time.
type Store struct {
	opts   Options
	log    *slog.Logger
	ledger *ledger.Ledger
	parts  *history.Dir

	rolling sync.Mutex // held for the whole of a Rollup

	maintaining sync.Mutex // held for the whole of a publish, compaction, retention or erasure
	pace        pace

	flushing sync.Mutex // held for the whole of a flush or a rebuild
	nextGen  int        // number of the next generation; no number is used twice
	stale    *lens      // one that was thrown away and that queries still use

	boundary sync.Mutex // held while published moves, and while the journal is read into the lens

	replacing sync.Mutex // held while what the ledger has replaced is replaced in the view

	discarding sync.Mutex // held while files and tables are deleted

	mu     sync.Mutex
	lens   *lens // nil while it is being rebuilt
	broken error // why it takes no more hot rows until then
	view   *view // the current one
	oldest *view // the first that is not gone; the others follow by next
	closed bool
	failed error // why the ledger can no longer be trusted
	stats  counters

	versions versions // of what the current view holds

	statements statements // has a lock of its own, held for a moment
}

// Open brings the store up to date with the ledger: it deletes what a crash has
// left, quarantines the parts that are damaged, opens the lens or makes a new
// one, and reads the journal into it.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opts: o, log: o.Log, ledger: o.Ledger, parts: history.Open(o.FS), nextGen: 1}
	s.parts.Now, s.parts.Pause = o.Now, s.breathe
	if err := s.start(ctx); err != nil {
		if s.lens != nil {
			err = errors.Join(err, s.lens.close(ctx))
		}
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	parts, published, err := s.ledger.Parts(ctx)
	if err != nil {
		return err
	}
	if err := s.sweep(parts); err != nil {
		return err
	}
	s.view = &view{published: published, flushed: published}
	s.oldest = s.view
	if s.view.parts, s.view.damaged, err = s.check(ctx, parts); err != nil {
		return err
	}
	lens, rebuilt, err := openLens(ctx, s.opts)
	if err != nil {
		return err
	}
	s.lens = lens
	if rebuilt != nil {
		s.stats.rebuilds++
		s.log.Warn("lens did not open and was made anew", "err", rebuilt)
	}
	fault.Point("start: lens open")
	err = s.catchUp(ctx)
	if errors.Is(err, errLoad) {
		err = s.relieve(ctx, err)
	}
	fault.Point("start: journal read")
	return err
}

// sweep deletes the files that a crash has left before or after the ledger
// transaction that would have listed, or has removed, them.
func (s *Store) sweep(parts []event.Part) error {
	listed := make(map[string]bool, len(parts))
	for _, p := range parts {
		listed[p.Path] = true
	}
	if err := s.refuseOrphans(); err != nil {
		return err
	}
	fault.Point("start: before sweep")
	removed, err := s.parts.Sweep(listed)
	for _, path := range removed {
		if strings.HasPrefix(path, "tmp") { // what DuckDB spilled, or a part that was being written
			continue
		}
		s.log.Warn("file that the ledger does not list was deleted", "path", path)
	}
	if err != nil {
		return fmt.Errorf("sweep history: %w", err)
	}
	fault.Point("start: swept")
	return nil
}

// refuseOrphans returns an error if there are parts and the ledger has never held
// an event. No crash leaves that: a part is made of events that the ledger holds.
// It is a ledger that was lost or belongs to another directory, and sweeping by it
// would delete the whole history.
func (s *Store) refuseOrphans() error {
	if s.ledger.LastSeq() != 0 {
		return nil
	}
	days, err := s.opts.FS.ReadDir("events")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, day := range days {
		if err != nil || !day.IsDir() {
			continue
		}
		var files []fs.DirEntry
		if files, err = s.opts.FS.ReadDir("events/" + day.Name()); len(files) > 0 {
			return fmt.Errorf("%w: events/%s/%s", ErrOrphans, day.Name(), files[0].Name())
		}
	}
	return err
}

// Close waits for the flush and the maintenance that are running and closes the
// lens. It publishes nothing. Snapshots that are still held are of no more use.
func (s *Store) Close() error {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.mu.Lock()
	lens := cmp.Or(s.lens, s.stale)
	s.lens, s.closed = nil, true
	s.mu.Unlock()
	s.discarding.Lock() // a file whose name may be used again must not be deleted after this
	defer s.discarding.Unlock()
	if lens == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return lens.close(ctx)
}

// usable returns why the history may not be changed.
func (s *Store) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.failed
}

// fail notes that the ledger has refused a change, and tells the owner once.
func (s *Store) fail(err error) {
	s.mu.Lock()
	first := s.failed == nil
	if first {
		s.failed = fmt.Errorf("an earlier change of the history failed: %w", err)
	}
	s.mu.Unlock()
	if first && s.opts.Failed != nil {
		s.opts.Failed(err)
	}
}

// Healthy returns why questions cannot be answered or events not be published,
// or nil. It asks DuckDB, which after a fatal error refuses everything; that there is no
// memory to ask with is no such error.
func (s *Store) Healthy(ctx context.Context) error {
	if err := s.usable(); err != nil {
		return err
	}
	if _, _, err := s.present(); err != nil {
		return err
	}
	conn, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SELECT 1"); err != nil && !outOfMemory(err) {
		return fmt.Errorf("ask lens: %w", err)
	}
	return nil
}
