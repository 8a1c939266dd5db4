package history

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"strconv"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

// A draft is a part that is being written, under a temporary name. The file is
// made with the first event.
type draft struct {
	dir  *Dir
	name string // of the temporary file; "" while there is none
	file File   // nil before it is made and after it is closed
	enc  *encoder
	rows tally

	// Of the bytes that have been written.
	size int64
	sum  hash.Hash
}

// Write takes the bytes of the file from the encoder.
func (w *draft) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	return n, err
}

// create makes the temporary file, under a name that no other draft of this
// process has had, so that it may be removed even if Create failed half-way.
func (w *draft) create() error {
	if err := makeDir(w.dir.fs, tempDir); err != nil {
		return err
	}
	for {
		name := path.Join(tempDir, "part-"+strconv.FormatInt(w.dir.drafts.Add(1), 10)+extension)
		f, err := w.dir.fs.Create(name)
		if errors.Is(err, fs.ErrExist) {
			continue // of the process before
		}
		w.name = name
		if err != nil {
			return err
		}
		w.file, w.sum = f, sha256.New()
		w.enc = newEncoder(w, func() int64 { return w.size }, w.dir.codec)
		fault.Point("history: temp created")
		return nil
	}
}

func (w *draft) add(e event.Event) error {
	if w.file == nil {
		if err := w.create(); err != nil {
			return err
		}
	}
	if err := w.rows.add(&e); err != nil {
		return err
	}
	return w.enc.add(e)
}

// seal writes the footer, closes the file and returns the part under its
// temporary name. If sync is false it is only good for this process.
func (w *draft) seal(sync bool) (event.Part, error) {
	part := w.rows.part()
	err := w.enc.close(map[string]string{
		keyFirst: strconv.FormatInt(part.First, 10),
		keyLast:  strconv.FormatInt(part.Last, 10),
	})
	if err != nil {
		return event.Part{}, err
	}
	part.Path, part.Bytes = w.name, w.size
	w.sum.Sum(part.SHA256[:0])
	fault.Point("history: temp written")
	if sync {
		if err := w.file.Sync(); err != nil {
			return event.Part{}, err
		}
		fault.Point("history: temp synced")
	}
	f := w.file
	w.file = nil
	return part, f.Close()
}

// discard closes and removes the temporary file, if there is one.
func (w *draft) discard() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	if w.name != "" {
		err = errors.Join(err, removeIfThere(w.dir.fs, w.name))
		w.name = ""
	}
	return err
}

// draft writes rows to a temporary file and closes it. With no rows there is no
// file and the part's Path is empty. After an error nothing is left.
func (d *Dir) draft(ctx context.Context, day event.Day, sync bool, rows eventSeq) (part event.Part, err error) {
	w := &draft{dir: d, rows: tally{day: day}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.discard())
		}
	}()
	for e, err := range rows {
		if err != nil {
			return event.Part{}, err
		}
		if w.rows.rows%batchRows == 0 {
			if ctx.Err() != nil {
				return event.Part{}, ctx.Err()
			}
			d.Pause()
		}
		if err := w.add(e); err != nil {
			return event.Part{}, err
		}
	}
	if w.file == nil {
		return event.Part{Day: day}, nil
	}
	return w.seal(sync)
}

// publish gives a sealed draft its final name, for good.
func (d *Dir) publish(part event.Part) (event.Part, error) {
	if err := d.Check(part); err != nil {
		return event.Part{}, fmt.Errorf("read back: %w", err)
	}
	fault.Point("history: read back")
	final, err := d.rename(part)
	if err != nil {
		return event.Part{}, err
	}
	fault.Point("history: renamed")
	// The directories above are synced even if they are old: whoever made them
	// may have failed before it synced them.
	for name := path.Dir(final); ; name = path.Dir(name) {
		if err := d.fs.SyncDir(name); err != nil {
			return event.Part{}, errors.Join(d.refuse(err), removeIfThere(d.fs, final))
		}
		if name == "." {
			break
		}
	}
	fault.Point("history: directory synced")
	part.Path = final
	part.Created = d.Now().UnixMicro()
	return part, nil
}
