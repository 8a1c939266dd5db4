package main_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// static is the program as the Makefile builds it: with nothing beside it.
var static = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaries, "eider-static")
	cmd := exec.Command("make", "-s", "-C", filepath.Join("..", ".."), "build", "OUT="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// TestStatic checks that the program asks for no loader and no library.
func TestStatic(t *testing.T) {
	t.Parallel()
	path, err := static()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	if err != nil || len(libraries) > 0 {
		t.Errorf("it needs the libraries %q (%v)", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a loader")
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	const most = 100_000_000 // the budget was 90: the clients of PostgreSQL and Kafka and the door came on top
	if info.Size() > most {
		t.Errorf("it has %d bytes, want at most %d", info.Size(), most)
	}
}

// TestChroot runs the program as the image does: the only file in an empty root,
// with a user that owns nothing but /data, from start to SIGTERM.
func TestChroot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, AND SHOULD NOT BE: only root can change the root directory; run this as root, as CI does")
	}
	path, err := static()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: another user has to get through to it.
	root, err := os.MkdirTemp("", "eider-root-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	const uid = 65532
	steps := []error{
		os.Chmod(root, 0o755), os.Link(path, filepath.Join(root, "eider")), os.Chmod(path, 0o755),
		os.Mkdir(filepath.Join(root, "data"), 0o700), os.Chown(filepath.Join(root, "data"), uid, uid),
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	inside := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/eider", args...)
		cmd.Path = "/eider"
		cmd.Dir = "/"
		cmd.Env = []string{"EIDER_HOST=0.0.0.0", "EIDER_DATA_DIR=/data", fmt.Sprintf("EIDER_PORT=%d", port),
			"EIDER_AUTO_SITES=true", "EIDER_MIN_FREE_DISK=1MiB", "EIDER_API_KEY=" + apiKey}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return cmd
	}
	var log bytes.Buffer
	serve := inside("serve")
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		if t.Failed() {
			t.Logf("its log:\n%s", log.String())
		}
	})

	// The image's health check.
	for start := time.Now(); inside("healthcheck").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("not healthy after 20 s")
		}
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	sendPageview(t, url)
	zones(t, url)
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("after SIGTERM it ended with %v, want exit code 0", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it runs 30 s after SIGTERM")
	}

	parts, err := filepath.Glob(filepath.Join(root, "data", "events", "date=*", "*.parquet"))
	if err != nil || len(parts) != 1 {
		t.Errorf("parts are %q (%v), want one", parts, err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"data", "eider"}; !slices.Equal(names, want) {
		t.Errorf("the root holds %q, want %q: something was written outside of /data", names, want)
	}
	modes(t, filepath.Join(root, "data"))
}

// sendPageview sends one event as a browser would.
func sendPageview(t *testing.T, url string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/api/event", strings.NewReader(`{"n":"pageview","d":"example.com","u":"https://example.com/"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("the event was answered %s: %s (%v), want 202", res.Status, body, err)
	}
}

// zones makes a site in a time zone, which an empty root has no files for.
func zones(t *testing.T, url string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"domain": "zone.example", "timezone": "Asia/Kathmandu"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, url+"/api/sites", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Errorf("a site in Kathmandu was answered %s, want 201", res.Status)
	}
}

// modes checks that nobody else can read what is in the data directory, and that
// the ballast is gone.
func modes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
		if d.Name() == "ballast" {
			t.Error("the ballast is there after the stop")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
