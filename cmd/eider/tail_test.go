package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTail has eider tail show what happens, through a stop, a kill and a start of its
// server: each event once, in its order, the moment it is durable.
func TestTail(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, fmt.Sprint("EIDER_PORT=", freePort(t)))
	d := r.start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tail := func(args ...string) (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.CommandContext(ctx, r.program, append([]string{"tail", "--site", site}, args...)...)
		cmd.Env = r.environ("EIDER_URL=" + d.url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, bufio.NewScanner(out)
	}
	streams := func(n string) {
		d.seen(func() bool {
			_, metrics, err := d.get("/metrics")
			return err == nil && strings.Contains(metrics, "\neider_tail_streams "+n+"\n")
		})
	}
	all, lines := tail("--json")
	some, human := tail("--filters", "page~/b")
	streams("2")
	var last float64
	want := func(path string) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("eider tail ended before %s", path)
		}
		var e struct {
			Seq    float64
			Path   string
			Missed any
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Path != path || e.Seq <= last {
			t.Fatalf("got %s after event %v, want %s (%v)", lines.Bytes(), last, path, err)
		}
		last = e.Seq
	}
	for _, path := range []string{"/a", "/b\x1b[31m", "/c"} {
		body, _ := json.Marshal(map[string]string{"n": "pageview", "u": "https://" + site + path, "d": site})
		if status, answer, err := d.ask(http.MethodPost, "/api/event", "application/json", body); err != nil || status != http.StatusAccepted {
			t.Fatal(status, answer, err)
		}
	}
	d.page("https://" + site + "/bc")
	want("/a")
	if !lines.Scan() || !strings.Contains(lines.Text(), `"path":"/b`) {
		t.Fatalf("got %s, want /b", lines.Text())
	}
	want("/c")
	want("/bc")
	for _, path := range []string{"/b", "/bc"} {
		if !human.Scan() || !strings.Contains(human.Text(), path) || strings.Contains(human.Text(), "\x1b") {
			t.Fatalf("got %q, want %s and nothing that steers the terminal", human.Text(), path)
		}
	}

	d.stop() // streams do not hold it up
	d = r.start()
	streams("2")
	d.page("https://" + site + "/d")
	want("/d")
	d.kill()
	d = r.start()
	streams("2")
	d.page("https://" + site + "/e")
	want("/e")

	if err := all.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("a line too many: %s", lines.Text())
	}
	if err := all.Wait(); err != nil {
		t.Errorf("eider tail that was stopped: %v", err)
	}
	_ = some.Process.Kill()
	_ = some.Wait()
	if out, err := exec.CommandContext(ctx, r.program, "tail", "--site", "none.example").CombinedOutput(); err == nil || !strings.Contains(string(out), "EIDER_URL") {
		t.Errorf("without a server: %s (%v)", out, err)
	}
	gone := exec.CommandContext(ctx, r.program, "tail", "--site", "none.example")
	gone.Env = r.environ("EIDER_URL=" + d.url)
	if out, err := gone.CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no site of that name") {
		t.Errorf("of no site: %s (%v)", out, err)
	}
}

// TestDashboardStream looks at the live stream in the browser, which asks for the stop
// and the start of the server.
func TestDashboardStream(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, "EIDER_ADMIN_PASSWORD="+adminPassword, fmt.Sprint("EIDER_PORT=", freePort(t)))
	d := r.start()
	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": dashboardSite}, nil)
	restart := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery == "stop" {
			d.kill()
		} else {
			d = r.start()
		}
	}))
	defer restart.Close()
	d.good(t, "stream", map[string]any{"restart": restart.URL})
}
