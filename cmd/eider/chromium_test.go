package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The directories into which npm has installed what the package.json in a directory
// of testdata names.
var (
	trackers        = installed("trackers")
	trackerDriver   = installed("browser")
	dashboardDriver = installed("dashboard")
)

func installed(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir := filepath.Join(binaries, name)
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
			return "", err
		}
		npm := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
		npm.Dir, npm.Stderr = dir, os.Stderr
		return dir, npm.Run()
	})
}

// install returns the directory of something that npm installs.
func install(t testing.TB, what func() (string, error)) string {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("npm is needed (make test installs it)")
	}
	dir, err := what()
	if err != nil {
		t.Fatalf("npm ci: %v", err)
	}
	return dir
}

// chromium returns the path of the browser.
func chromium(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is needed (make test installs it)")
	}
	return path
}
