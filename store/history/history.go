// Package history keeps the Parquet parts: files that are written once, hold
// the events of one UTC day, and are never changed. Which of them count is not
// its business: the ledger lists them.
//
// # Promise
//
// When [Dir.Write] or [Dir.Merge] returns a part without an error, the file is
// whole on disk under its final name and survives a power failure: content,
// name and directories are synced, and its footer has been read back. When they
// return an error, nothing is left under a final name, unless the disk refused
// even to remove it; then it is whole, and unlisted.
//
// A file under a final name is never overwritten and never changed. [Dir.Read],
// [Dir.Merge] and [Dir.Verify] compare the SHA-256 of the whole file with the
// ledger's before they decode a byte of it, so that damage is found and never
// merged, and so that Parquet is only decoded if we wrote it. Hashing costs a
// tenth of decoding. Damage is a [*DamageError]; a file that is not there is
// one as well, and matches [fs.ErrNotExist].
//
// # On disk
//
//	events/date=2025-11-21/1-4711.parquet      a part: lowest and highest seq
//	events/date=2025-11-21/1-4711.1.parquet    another of the same range, made by
//	                                           a compaction or an erasure
//	tmp/part-1.parquet                         a part that is not finished
//
// Several parts may cover the same range: it names a file, it does not say that
// every seq in between is there. A part is a Parquet file of format version 2,
// zstd, with data pages of version 2 and checksums, the columns of
// [event.Columns] in their order and rows sorted by (site, time, seq); row
// groups have up to 122,880 rows. Its metadata has three keys:
//
//	eider.version   "1", the version of this layout
//	eider.first     lowest seq, decimal
//	eider.last      highest seq, decimal
//
// A part with fewer columns is older: the missing ones are null. One with more,
// or with another version, was written by a later Eider and is refused with
// [ErrNewer].
//
// # Write order, and what a crash leaves
//
//  1. create tmp/part-n.parquet and write it    a file in tmp/
//  2. sync it and close it                      a file in tmp/
//  3. open it again, read its footer            a file in tmp/
//  4. make events/ and the day's directory      an empty directory
//  5. rename it to the final name               a whole file that is not listed
//  6. sync the day's directory, events/ and
//     the data directory                        a whole file that is not listed
//
// [Dir.Sweep] removes all of that at start.
//
// After a directory could not be synced, nobody knows which names the disk
// holds: that call and every later one that would write a part returns
// [ErrFailed]. A file that could not be synced is only thrown away.
package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

const (
	eventsDir = "events"
	tempDir   = "tmp"
	extension = ".parquet"

	version    = "1"
	keyVersion = "eider.version"
	keyFirst   = "eider.first"
	keyLast    = "eider.last"
)

// ErrFailed is returned by [Dir.Write] and [Dir.Merge] when a directory could
// not be synced, and ever after. Only a new process can go on.
var ErrFailed = errors.New("history: a directory could not be synced, restart Eider when the disk is sound")

// ErrNewer is returned for a part that a later version of Eider has written.
var ErrNewer = errors.New("part was written by a newer Eider: upgrade Eider to read it")

// A DamageError says that a part is not what was written. It is never a crash's
// doing: quarantine the part, and restore it from a backup.
type DamageError struct {
	Path string // relative to the data directory
	Why  string // where and what
	Err  error  // what was met, or nil; [fs.ErrNotExist] if the file is missing
}

func (e *DamageError) Error() string {
	s := "part " + e.Path + " is damaged: " + e.Why
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *DamageError) Unwrap() error { return e.Err }

func damage(path string, err error, format string, args ...any) error {
	return &DamageError{Path: path, Why: fmt.Sprintf(format, args...), Err: err}
}

type eventSeq = iter.Seq2[event.Event, error]

// A Dir is the directory of the parts. It is safe for concurrent use, as long as
// nobody reads a part that another removes.
type Dir struct {
	// Now tells when a part was created. It is [time.Now] unless a test sets
	// another before the first use.
	Now func() time.Time

	// Pause is called by Write and Merge between two batches of rows, so that
	// their caller may let others have the processor. It does nothing unless it is
	// set before the first use.
	Pause func()

	fs     FS
	codec  *zstd.Codec
	drafts atomic.Int64 // number of the last one

	mu     sync.Mutex // held while names under events/ come and go
	failed error      // why no more is written
}

// Open returns the parts below a data directory. It touches nothing: call
// [Dir.Sweep] once, before the first write.
func Open(fs FS) *Dir {
	return &Dir{Now: time.Now, Pause: func() {}, fs: fs, codec: &zstd.Codec{Level: zstd.SpeedDefault}}
}

// Write writes the events of one day as a new part and returns what the ledger
// is to list, without an ID. The rows must come sorted by (site, time, seq) and
// each seq once; an error among them is returned. They are streamed: memory is
// bounded whatever their number. No rows make no file and a part with Rows 0
// and an empty Path.
func (d *Dir) Write(ctx context.Context, day event.Day, rows iter.Seq2[event.Event, error]) (event.Part, error) {
	part, err := d.write(ctx, day, rows)
	if err != nil {
		return event.Part{}, fmt.Errorf("write part of %s: %w", day, err)
	}
	return part, nil
}

func (d *Dir) write(ctx context.Context, day event.Day, rows eventSeq) (event.Part, error) {
	if err := d.refused(); err != nil {
		return event.Part{}, err
	}
	temp, err := d.draft(ctx, day, true, rows)
	if err != nil || temp.Path == "" {
		return temp, err
	}
	part, err := d.publish(temp)
	if err != nil {
		return event.Part{}, errors.Join(err, removeIfThere(d.fs, temp.Path))
	}
	return part, nil
}

// refuse makes err the reason why no more is written, and returns the reason.
func (d *Dir) refuse(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	return d.failed
}

func (d *Dir) refused() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// rename moves a finished draft to the first final name that is free.
func (d *Dir) rename(part event.Part) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := path.Join(eventsDir, "date="+part.Day.String())
	for _, name := range []string{eventsDir, dir} {
		if err := makeDir(d.fs, name); err != nil {
			return "", err
		}
	}
	fault.Point("history: directory made")
	base := fmt.Sprintf("%d-%d", part.First, part.Last)
	for n := 0; ; n++ {
		name := path.Join(dir, base+extension)
		if n > 0 {
			name = path.Join(dir, fmt.Sprintf("%s.%d%s", base, n, extension))
		}
		_, err := d.fs.Stat(name)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := d.fs.Rename(part.Path, name); err != nil {
			return "", errors.Join(err, removeIfThere(d.fs, name)) // it may have been done all the same
		}
		return name, nil
	}
}

func makeDir(f FS, name string) error {
	err := f.Mkdir(name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func removeIfThere(f FS, name string) error {
	if err := f.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Remove removes the file of a part that the ledger no longer lists, and its
// directory if it was the last one. A file that is gone already is no error. It
// is not synced: if a power cut brings the file back, [Dir.Sweep] removes it.
func (d *Dir) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fault.Point("history: remove")
	if err := removeIfThere(d.fs, name); err != nil {
		return fmt.Errorf("remove part: %w", err)
	}
	fault.Point("history: removed")
	dir := path.Dir(name)
	if left, err := d.fs.ReadDir(dir); err == nil && len(left) == 0 && dir != eventsDir {
		_ = d.fs.Remove(dir) // Sweep tries again
	}
	return nil
}

// Sweep removes what a crash may have left: everything in tmp/, every file under
// events/ whose path is not listed, and directories that are empty then. It
// returns the paths that it removed, files and directories, also if it fails
// half-way. It must not run while parts are being written.
func (d *Dir) Sweep(listed map[string]bool) (removed []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := sweep{fs: d.fs, listed: listed}
	for _, dir := range []string{tempDir, eventsDir} {
		if _, err := s.dir(dir); err != nil {
			return s.removed, fmt.Errorf("sweep %s: %w", dir, err)
		}
	}
	return s.removed, nil
}

type sweep struct {
	fs      FS
	listed  map[string]bool
	removed []string
}

// dir sweeps a directory and says whether it is empty now.
func (s *sweep) dir(name string) (empty bool, err error) {
	entries, err := s.fs.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	empty = true
	for _, e := range entries {
		child := path.Join(name, e.Name())
		gone := !s.listed[child]
		if e.IsDir() {
			if gone, err = s.dir(child); err != nil {
				return false, err
			}
		}
		if !gone {
			empty = false
			continue
		}
		fault.Point("history: sweep")
		if err := s.fs.Remove(child); err != nil {
			return false, err
		}
		fault.Point("history: swept")
		s.removed = append(s.removed, child)
	}
	return empty, nil
}
