package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A lock is the hold of one process on a data directory: the file LOCK in it,
// locked with flock(2), which the kernel ends with the process however it ends.
// The file says who holds it, "<pid> <name>\n", and stays when the hold ends, so
// that no process can lock a file that another has just removed.
type lock struct{ f *os.File }

// A lockedError says that another process holds a data directory.
type lockedError struct {
	dir, holder string // holder is "eider serve (process 123)"
}

func (e *lockedError) Error() string {
	return fmt.Sprintf("the data directory %s is in use by %s", e.dir, e.holder)
}

// openDir makes the data directory if it is not there, closes it to others, and
// takes hold of it in the name of name. It returns a [*lockedError] if another
// process has it.
func openDir(dir, name string) (*lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	// The directory may be a volume that was there before: close that as well.
	// Not to own it is no reason to refuse it, the files in it are ours alone.
	if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("close data directory to others: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &lockedError{dir, holder(f)}
		}
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := sign(f, name); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return &lock{f}, nil
}

// sign writes who holds the lock into its file. It need not survive a crash.
func sign(f *os.File, name string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d %s\n", os.Getpid(), name), 0)
	return err
}

// holder returns who holds the lock, as its file says.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.LimitReader(f, 256))
	pid, name, ok := strings.Cut(strings.TrimSpace(string(b)), " ")
	if err != nil || !ok {
		return "another process"
	}
	return fmt.Sprintf("%s (process %s)", name, pid)
}

// Close ends the hold.
func (l *lock) Close() error { return l.f.Close() }
