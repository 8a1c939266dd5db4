package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestLock holds a directory, and then takes it over.
func TestLock(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data")
	first, err := openDir(dir, "eider serve")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v (%v), want 0700", info.Mode().Perm(), err)
	}
	_, err = openDir(dir, "eider import")
	var locked *lockedError
	if !errors.As(err, &locked) {
		t.Fatalf("second openDir = %v, want a lockedError", err)
	}
	want := fmt.Sprintf("the data directory %s is in use by eider serve (process %d)", dir, os.Getpid())
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := openDir(dir, "eider import")
	if err != nil {
		t.Fatalf("openDir after Close = %v", err)
	}
	defer second.Close()
	b, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	if want := fmt.Sprintf("%d eider import\n", os.Getpid()); err != nil || string(b) != want {
		t.Errorf("LOCK holds %q (%v), want %q", b, err, want)
	}
}

// TestLockClosesDirectory: a directory that was open to others is closed.
func TestLockClosesDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := openDir(dir, "eider serve")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v (%v), want 0700", info.Mode().Perm(), err)
	}
}
