// Package ledger keeps what Eider must never lose: the journal of accepted
// events that are not in the history yet, the list of the history's parts, and
// the small things an installation is made of (sites and what operators keep for
// each, salts, secrets, keys, settings, runs). It is one SQLite database.
//
// # Promise
//
// When [Ledger.Append], [Ledger.Commit] or any other writing call returns nil,
// what it wrote survives a power failure. With the durability [OS] that holds
// for everything but Append: a power failure can then take the groups of the
// last 200 ms, always the newest ones; a crash of the process takes nothing.
//
// An act of an operator, as the making of a site or of a key, and the entry of the
// audit chain that says so are one transaction, and the call returns when both are
// durable. Acts that are asked for at the same time share a commit. While the chain is
// halted acts are refused, and events are taken.
//
// What is read back is what was written: groups are a run without gaps from the
// oldest one that is not published to the newest, in every crash.
//
// # Why SQLite
//
// One commit moves the boundary between journal and history: it lists new parts
// and says up to which event they reach. A log of our own would need a second
// file for that, and an order between the two. A group appended to SQLite costs
// one sync, as it would in a log.
//
// # On disk
//
// ledger.db, and beside it while it is open ledger.db-wal and ledger.db-shm.
// Its application_id is "EIDR". Times are µs since 1970, numbers are SQLite's.
//
//	journal    last | first | count | received | ids | payload   one row a group
//	history    published                                         one row
//	parts      id | path | day | first | last | rows | …         one row a file
//	id_blocks  id | created | bytes                              one row a publish
//	id_pages   (block, first) | entries                          170 entries of 24 B
//	sites, salts, secrets, keys, runs, settings
//	goals, segments, annotations, links, site_rules, zone_changes  gone with their site
//	audit_entries      seq | time | kind | … | hashes | leaf     one row an act
//	audit_private      seq, number | field | salt | value        overwritten when destroyed
//	audit_checkpoints, audit_folds, audit_owed, audit_state
//
// A group is live while its last is above published, and dead from then on;
// dead rows are deleted later, a few at a time ([Ledger.TrimJournal]).
//
//	 1 … published              published+1 … LastSeq
//	+--------------------------+----------------------+
//	| history (parts)          | journal (live groups)|
//	+--------------------------+----------------------+
//
// # What a crash leaves
//
//   - during Append: the group is there or it is not. One that is there although
//     Append did not return was never acknowledged, and is kept: it is whole.
//   - between Commit and TrimJournal: dead rows, which the next TrimJournal finds.
//   - during Commit, or when it is refused: pages of an id block that is not listed,
//     deleted by [Open]; everything else is the one transaction.
//   - during an act: it is there with its entry, or neither is. Refusals that were
//     counted and had no entry of their own yet get it from [Open], and migrations
//     that were applied without one do.
//   - during PruneAudit: leaves that do not count any more, deleted by [Open].
//   - during DropSalts or ErasePrivate: if its transaction was committed, the bytes
//     can still be in ledger.db-wal; [Open] empties that file.
//
// # Syncs and failure
//
// SQLite runs in WAL mode with synchronous=FULL: a commit appends the changed
// pages to ledger.db-wal and syncs that file, once. No commit pays for moving
// pages from there into ledger.db (a checkpoint): a goroutine does that with a
// connection of its own, whenever about 8 MiB have been written.
//
// After a failed sync nobody knows what is on disk, and trying again can report
// success for pages the kernel has dropped. A full disk is treated alike: the
// error does not say how far the write came. So the first write that fails with
// an error of the disk fails the ledger for good: every later write returns
// [ErrFailed] with that first cause, [Ledger.Healthy] reports it, and the process
// should exit. Reads go on. An argument that is refused fails nothing.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// BUG(ledger): what DropSalts destroys is gone from the files. A file system
// that copies on write, a snapshot of the volume or the flash below it may still
// have it.

// BUG(ledger): nothing in this process may open ledger.db but through SQLite, not
// even to copy it: closing any descriptor of the file drops the locks that keep
// other processes out of it.

// checkpointAfter is how many bytes may be written to the WAL before they are
// moved to the database. More makes checkpoints rarer and longer.
const checkpointAfter = 8 << 20

// syncAfter is how long an event may wait for the sync in the durability OS. It
// leaves half of the promised 200 ms for the sync itself.
const syncAfter = 100 * time.Millisecond

var (
	// ErrFailed is returned by every write after one has failed with an error of
	// the disk. It wraps the first cause.
	ErrFailed = errors.New("ledger has failed and takes no more writes; restart when the disk is sound and has space")

	// ErrNewer is returned by [Open] and [Status] for a ledger that a newer program
	// has migrated. Nothing has been changed.
	ErrNewer = errors.New("ledger is from a newer version")

	// ErrForeign is returned by [Open] and [Status] for a file that is no ledger.
	// Nothing has been changed.
	ErrForeign = errors.New("file is not an Eider ledger")

	// ErrClosed is returned by writes after Close.
	ErrClosed = errors.New("ledger is closed")

	// ErrExists is returned when something of that name is there already.
	ErrExists = errors.New("exists already")

	// ErrNotFound is returned when what is to be changed is not there.
	ErrNotFound = errors.New("not found")
)

// A Durability says when an appended group is safe from a power failure.
type Durability int

// The durabilities. Both survive a crash of the process.
const (
	Sync Durability = iota // when Append returns
	OS                     // at most 200 ms after Append returned
)

// Options adjust a [Ledger]. The zero value is ready for use.
type Options struct {
	Log        *slog.Logger     // nil discards
	Durability Durability       // of Append; everything else is always Sync
	Now        func() time.Time // nil means time.Now

	// Committed, if not nil, is called after every successful Append with the time
	// the commit took and the group's events and bytes. It must not block.
	Committed func(d time.Duration, events, bytes int)

	// Failed, if not nil, is called once, when the ledger has failed. It must not
	// block and not call the ledger.
	Failed func(error)

	// Genesis are details of the chain's first entry, which Open makes where there is
	// none.
	Genesis map[string]string

	// Known, if not nil, is called by Open when there is a chain and before anything
	// is added to it, to compare it with what is known of it elsewhere. It may read
	// the ledger as an [audit.Log], and what it returns halts the chain.
	Known func(ctx context.Context, l *Ledger) error

	// Recorded, if not nil, is called after every commit of acts with the time the
	// commit took and how many they were. It must not block.
	Recorded func(d time.Duration, acts int)
}

// A Ledger is an open ledger. It is safe for concurrent use. Only one process
// may have it open.
type Ledger struct {
	opts Options
	log  *slog.Logger

	// All writers hold w for the whole of a transaction, so that no commit ever
	// finds the database busy. Each connection below has its own settings; see
	// connect.go.
	w       sync.Mutex
	journal *sql.DB // Append
	bulk    *sql.DB // trims and id pages
	main    *sql.DB // everything else
	insert  *sql.Stmt
	written int // bytes since the last checkpoint, roughly
	wipe    bool

	// The growing end of the audit chain, with w held; nil if there is none. It moves
	// when a commit has succeeded, and never before.
	chain      *audit.Chain
	folds      map[foldKey]*fold
	addEntry   *sql.Stmt
	addPrivate *sql.Stmt
	addFolded  *sql.Stmt

	// commits is held for the whole of a Commit and of a DropIDBlocks, which are
	// more than one transaction. It is taken before w.
	commits sync.Mutex
	block   int64 // highest id of a block ever given

	mu        sync.Mutex // guards the rest of this group; never held during I/O
	stats     JournalStats
	published int64
	synced    int64 // up to which seq groups are on the disk; used with the durability OS only
	run       int64 // id of the current run
	err       error // first failure
	origin    string
	head      audit.Head // durable
	halted    error      // why the chain takes no entries
	audit     AuditStats // without Size
	nextFold  int64      // when the next fold is due, µs; 0 if there is none

	// Not changed after Open.
	read     *sql.DB // has connections of its own: readers wait for no writer
	checks   *sql.DB // used by the checkpointer
	find     *sql.Stmt
	path     string
	known    []Migration
	syncFile func() error // syncs the WAL

	acts         chan *act     // to the committer
	grown        chan struct{} // cap 1: the chain has grown
	foldsChanged chan struct{} // cap 1: to the folder
	over         chan struct{} // closed when nobody takes acts any more

	due     chan struct{} // cap 1: a checkpoint is due
	pending chan struct{} // cap 1: a group waits for its sync
	stop    chan struct{} // closed by Close
	done    sync.WaitGroup
	wal     *os.File
	closing sync.Once
	closed  error // what Close returned first
}

// Open opens the ledger at path, or makes one, and applies the migrations it
// lacks: the *.sql files in the directory "ledger" of migrations. The directory
// of path must exist, and nobody else may use it.
func Open(ctx context.Context, path string, migrations fs.FS, o Options) (*Ledger, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Ledger{
		opts: o, log: o.Log, path: path,
		acts: make(chan *act, maxActs), grown: make(chan struct{}, 1), foldsChanged: make(chan struct{}, 1), over: make(chan struct{}),
		due: make(chan struct{}, 1), pending: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if err := l.open(ctx, migrations); err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, l.closeAll()))
	}
	l.done.Go(l.checkpointer)
	l.done.Go(l.committer)
	l.done.Go(l.folder)
	if o.Durability == OS {
		l.done.Go(l.syncer)
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context, migrations fs.FS) error {
	if err := create(l.path); err != nil {
		return err
	}
	l.connect()
	if err := l.migrate(ctx, migrations); err != nil {
		return err
	}
	if err := l.load(ctx); err != nil {
		return err
	}
	// The WAL of a crashed process may hold salts that were to be destroyed.
	if err := l.checkpoint("TRUNCATE"); err != nil {
		return err
	}
	var err error
	l.synced = l.LastSeq()
	if l.wal, err = os.Open(l.path + "-wal"); err != nil {
		return err
	}
	l.syncFile = l.wal.Sync
	if l.insert, err = l.journal.PrepareContext(ctx, insertGroup); err != nil {
		return err
	}
	l.find, err = l.read.PrepareContext(ctx, findPage)
	return err
}

// load reads what is kept in memory and sweeps up after a crash.
func (l *Ledger) load(ctx context.Context) error {
	if err := l.main.QueryRowContext(ctx, `SELECT published FROM history`).Scan(&l.published); err != nil {
		return err
	}
	if err := l.loadJournal(ctx); err != nil {
		return err
	}
	if err := l.main.QueryRowContext(ctx, `SELECT ifnull(max(id), 0) FROM id_blocks`).Scan(&l.block); err != nil {
		return err
	}
	if err := l.sweepPages(ctx); err != nil {
		return err
	}
	return l.openAudit(ctx)
}

// Close empties the WAL into the database and closes it. After a failure it
// leaves the files as they are, for the next Open to recover from, and the
// connections open until the process ends: SQLite checkpoints when the last one
// goes, and would copy pages whose sync has failed. It may be called again.
func (l *Ledger) Close() error {
	l.closing.Do(func() { l.closed = l.close() })
	return l.closed
}

func (l *Ledger) close() error {
	close(l.stop)
	l.done.Wait()
	l.w.Lock()
	defer l.w.Unlock()
	if err := l.Failed(); err != nil {
		return err
	}
	err := l.actLocked(&act{do: l.sealAll})
	if err == nil {
		err = l.checkpoint("TRUNCATE")
	}
	l.mu.Lock()
	l.err = ErrClosed
	l.mu.Unlock()
	return errors.Join(err, l.closeAll())
}
