package history

import (
	"io"
	"io/fs"
	"os"
)

// An FS is the door to the disk: the calls that the protocol of this package
// needs, and no more. Names are relative to the data directory, with slashes.
// The tests put file systems behind it that fail, and that forget what was not
// synced.
type FS interface {
	// Create makes a new file for reading and writing. It fails with
	// [fs.ErrExist] if there is one of that name.
	Create(name string) (File, error)

	// Open opens a file for reading.
	Open(name string) (File, error)

	Stat(name string) (fs.FileInfo, error)

	// Rename moves a file. The caller has made sure that to does not exist.
	Rename(from, to string) error

	// Remove removes a file or an empty directory.
	Remove(name string) error

	// Mkdir makes a directory. It fails with [fs.ErrExist] if there is one.
	Mkdir(name string) error

	// ReadDir returns what is in a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)

	// SyncDir makes the names in a directory durable: without it a power cut
	// can take back a rename, however well the file itself was synced.
	SyncDir(name string) error
}

// A File is an open file of an [FS].
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error // makes the content durable, not the name
}

// OS returns the file system below the directory root. No name leads out of it,
// not even through a symbolic link. Files are made with mode 0600, directories
// with 0700. The directory need not exist until the first call.
func OS(root string) FS { return disk(root) }

// A disk opens its root anew for each call: that costs microseconds where each
// call costs a disk access, and leaves nothing to close.
type disk string

func (d disk) Create(name string) (File, error) {
	return in(d, func(r *os.Root) (File, error) {
		return r.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	})
}

func (d disk) Open(name string) (File, error) {
	return in(d, func(r *os.Root) (File, error) { return r.Open(name) })
}

func (d disk) Stat(name string) (fs.FileInfo, error) {
	return in(d, func(r *os.Root) (fs.FileInfo, error) { return r.Lstat(name) })
}

func (d disk) Rename(from, to string) error {
	return d.do(func(r *os.Root) error { return r.Rename(from, to) })
}

func (d disk) Remove(name string) error {
	return d.do(func(r *os.Root) error { return r.Remove(name) })
}

func (d disk) Mkdir(name string) error {
	return d.do(func(r *os.Root) error { return r.Mkdir(name, 0o700) })
}

func (d disk) ReadDir(name string) ([]fs.DirEntry, error) {
	return in(d, func(r *os.Root) ([]fs.DirEntry, error) { return fs.ReadDir(r.FS(), name) })
}

func (d disk) SyncDir(name string) error {
	return d.do(func(r *os.Root) error {
		f, err := r.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

func (d disk) do(f func(*os.Root) error) error {
	_, err := in(d, func(r *os.Root) (struct{}, error) { return struct{}{}, f(r) })
	return err
}

func in[T any](d disk, f func(*os.Root) (T, error)) (t T, err error) {
	r, err := os.OpenRoot(string(d))
	if err != nil {
		return t, err
	}
	defer r.Close()
	return f(r)
}
