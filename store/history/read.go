package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/eider-analytics/eider/store/event"
)

// Read returns the events of a part in file order, which is by (site, time,
// seq). Columns name what is wanted of [event.Columns], none means all; what is
// not wanted or not known is zero, and Scroll is [event.NoScroll]. The file is
// hashed before the first event comes, and decoded a page at a time. The last
// pair has an error if there was one: a [*DamageError] or the context's. The
// events' strings are the caller's to keep.
func (d *Dir) Read(ctx context.Context, part event.Part, columns ...string) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		r, err := d.open(ctx, part, batchRows, columns)
		if err != nil {
			yield(event.Event{}, err)
			return
		}
		defer r.close()
		for {
			e, err := r.next()
			if err != nil {
				yield(event.Event{}, err)
				return
			}
			if e == nil || !yield(*e, nil) {
				return
			}
		}
	}
}

// Check does what is cheap: the file is there, has its size, and has a footer
// that fits the part.
func (d *Dir) Check(part event.Part) error {
	f, err := d.openFile(part)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = footer(f, part)
	return err
}

// Verify reads everything: every byte must be as the SHA-256 says, every row
// must decode and be in its place, and together they must be what the part says
// of them. A million events take a quarter of a second of a processor.
func (d *Dir) Verify(ctx context.Context, part event.Part) error {
	rows := tally{day: part.Day}
	for e, err := range d.Read(ctx, part) {
		if err != nil {
			return err
		}
		if err := rows.add(&e); err != nil {
			return damage(part.Path, err, "row %d", rows.rows)
		}
	}
	if err := rows.check(part); err != nil {
		return damage(part.Path, err, "the ledger says otherwise")
	}
	return nil
}

// open opens a part whose bytes are what was written.
func (d *Dir) open(ctx context.Context, part event.Part, batch int, columns []string) (r *reader, err error) {
	f, err := d.openFile(part)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := checkSum(ctx, f, part); err != nil {
		return nil, err
	}
	pf, err := footer(f, part)
	if err != nil {
		return nil, err
	}
	dec, err := newDecoder(pf, columns)
	if err != nil {
		return nil, fmt.Errorf("read part %s: %w", part.Path, err)
	}
	return &reader{ctx: ctx, path: part.Path, file: f, dec: dec, batch: make([]event.Event, batch)}, nil
}

func (d *Dir) openFile(part event.Part) (File, error) {
	f, err := d.fs.Open(part.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damage(part.Path, err, "it is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("open part: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open part: %w", err)
	}
	if info.Size() != part.Bytes {
		f.Close()
		return nil, damage(part.Path, nil, "it has %d bytes, want %d", info.Size(), part.Bytes)
	}
	return f, nil
}

// checkSum compares the bytes of a file with the part's SHA-256.
func checkSum(ctx context.Context, f File, part event.Part) error {
	h := sha256.New()
	buf := make([]byte, 64<<10)
	for at := int64(0); at < part.Bytes; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), part.Bytes-at)], at)
		h.Write(buf[:n])
		at += int64(n)
		if err != nil && (err != io.EOF || at < part.Bytes) {
			return damage(part.Path, err, "byte %d cannot be read", at)
		}
	}
	if got := h.Sum(nil); !bytes.Equal(got, part.SHA256[:]) {
		return damage(part.Path, nil, "SHA-256 of its %d bytes is %x, want %x", part.Bytes, got, part.SHA256)
	}
	return nil
}

// footer reads the footer and checks it against the part.
func footer(f File, part event.Part) (*parquet.File, error) {
	var pf *parquet.File
	err := guard(part.Path, "footer", func() (err error) {
		if pf, err = openParquet(f, part.Bytes); err != nil {
			return err
		}
		if err := checkSchema(pf); err != nil {
			return err
		}
		if pf.NumRows() != part.Rows {
			return fmt.Errorf("%d rows, want %d", pf.NumRows(), part.Rows)
		}
		return nil
	})
	return pf, err
}

// guard calls f, which parses what was read from disk, and turns its error or
// its panic into damage of the part.
func guard(path, where string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = damage(path, nil, "%s: %v", where, r)
		}
	}()
	err = f()
	if err != nil && !errors.Is(err, ErrNewer) {
		return damage(path, err, "%s", where)
	}
	if err != nil {
		return fmt.Errorf("part %s: %w", path, err)
	}
	return nil
}

// A reader reads an open part event by event.
type reader struct {
	ctx   context.Context // for the length of one call of Read or Merge
	path  string
	file  File
	dec   *decoder
	batch []event.Event
	n, i  int   // events in the batch, and how many of them are out
	row   int64 // of the file, first of the next batch
}

// next returns the next event, nil after the last. It is good until the next
// call.
func (r *reader) next() (*event.Event, error) {
	if r.i == r.n {
		if err := r.fill(); err != nil || r.n == 0 {
			return nil, err
		}
	}
	r.i++
	return &r.batch[r.i-1], nil
}

func (r *reader) fill() error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.n, r.i = 0, 0
	err := guard(r.path, fmt.Sprintf("row %d", r.row), func() (err error) {
		r.n, err = r.dec.next(r.batch)
		return err
	})
	r.row += int64(r.n)
	return err
}

func (r *reader) close() {
	_ = guard(r.path, "close", func() error { r.dec.close(); return nil })
	r.file.Close()
}
