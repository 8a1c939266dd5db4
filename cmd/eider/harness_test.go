package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package that end in violence run the real program: they
// build it once, start it on a data directory, send it events, end it, start it
// again, and compare what it had acknowledged with what it has. What the clients
// know is in a tally (tally_test.go), a rig holds everything that outlives one
// process, and a daemon is that one process.

const (
	site   = "crash.example"
	apiKey = "a-key-for-the-tests-with-every-scope"
)

// binaries is where the programs are while the tests run.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if binaries, err = os.MkdirTemp("", "eider-test-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(binaries)
		flag.Parse()
		if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
			// Tests here wait for processes, browsers and clocks more than they compute.
			_ = flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)/2))
		}
		return m.Run()
	}())
}

// The program as it is, and the one that dies at the points of store/fault.
var (
	normal = sync.OnceValues(func() (string, error) { return build("eider") })
	faulty = sync.OnceValues(func() (string, error) { return build("eider-fault", "fault") })
)

// build builds the program with the tags of the tests themselves and some more.
func build(name string, tags ...string) (string, error) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" && s.Value != "" {
				tags = append(tags, s.Value)
			}
		}
	}
	path := filepath.Join(binaries, name)
	cmd := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// A rig is a data directory, the program that runs on it, and what the clients
// know.
type rig struct {
	testing.TB
	program string
	dir     string
	env     []string // settings, before those of one start
	seed    uint64
	rnd     *rand.Rand
	events  *tally
	deeds   *deeds
	daemons int // how many were launched

	// What has been read back, by check.
	last int64 // Seq of the newest event that was seen
	rows int64 // how many were seen
}

// newRig returns a rig on a new data directory. The seed is EIDER_CRASH_SEED if
// that is set, and is told when the test fails.
func newRig(t testing.TB, program func() (string, error), env ...string) *rig {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		TB: t, program: path, dir: filepath.Join(t.TempDir(), "data"),
		env:    append([]string{"EIDER_FLUSH_INTERVAL=0.05", "EIDER_PUBLISH_INTERVAL=1", "EIDER_MIN_FREE_DISK=1MiB"}, env...),
		seed:   rand.Uint64(),
		events: newTally(), deeds: newDeeds(),
	}
	if s := os.Getenv("EIDER_CRASH_SEED"); s != "" {
		if r.seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("EIDER_CRASH_SEED: %v", err)
		}
	}
	r.rnd = rand.New(rand.NewPCG(r.seed, 0))
	t.Cleanup(func() {
		if t.Failed() {
			name, _, _ := strings.Cut(t.Name(), "/")
			t.Logf("again, as far as chance goes: EIDER_CRASH_SEED=%d go test ./cmd/eider -count=1 -v -run '^%s$'", r.seed, name)
		}
	})
	return r
}

// environ is the environment of the program: ours without settings, then those
// of the rig, then more.
func (r *rig) environ(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "EIDER_") })
	env = append(env, "EIDER_DATA_DIR="+r.dir, "EIDER_PORT=0", "EIDER_API_KEY="+apiKey, "EIDER_LOG_FORMAT=json")
	return append(append(env, r.env...), more...)
}

// A daemon is eider serve, from exec to its end.
type daemon struct {
	*rig
	cmd     *exec.Cmd
	started time.Time
	log     *transcript
	url     string // known once it is ready
	client  *http.Client
	gone    chan struct{} // closed when the process has ended
}

// launch starts the program and returns at once.
func (r *rig) launch(env ...string) *daemon {
	r.Helper()
	d := &daemon{rig: r, log: newTranscript(), gone: make(chan struct{}), started: time.Now()}
	d.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: time.Minute}
	d.cmd = exec.Command(r.program, "serve")
	d.cmd.Env = r.environ(env...)
	d.cmd.Dir = filepath.Dir(r.dir) // an eider.toml of the developer's must not count
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		r.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // the exit code is asked for later
		d.log.close()
		close(d.gone)
	}()
	r.daemons++
	number := r.daemons
	r.Cleanup(func() {
		d.kill()
		if r.Failed() && number > r.daemons-2 {
			r.Logf("the log of process %d ends:\n%s", d.cmd.Process.Pid, d.log.end())
		}
	})
	return d
}

// start starts the program and waits until it is ready.
func (r *rig) start(env ...string) *daemon {
	r.Helper()
	d := r.launch(env...)
	if !d.ready() {
		r.Fatalf("process %d ended before it was ready", d.cmd.Process.Pid)
	}
	return d
}

// startTime is how long a start may take, whatever was left behind (I5).
const startTime = 10 * time.Second

// ready waits until the process says that it is ready. It says false if it ended
// before.
func (d *daemon) ready() bool {
	d.Helper()
	late := time.After(startTime)
	select {
	case d.url = <-d.log.listening:
	case <-d.gone:
		return false
	case <-late:
		d.Fatalf("process %d does not listen after %s", d.cmd.Process.Pid, startTime)
	}
	for {
		if status, _, err := d.get("/health/ready"); err == nil && status == http.StatusOK {
			return true
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-d.gone:
			return false
		case <-late:
			_, reasons, _ := d.get("/health/ready")
			d.Fatalf("process %d is not ready after %s: %s", d.cmd.Process.Pid, startTime, reasons)
		}
	}
}

// kill ends the process as a power cut would and waits for its end.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.gone
	d.client.CloseIdleConnections()
}

// stop sends SIGTERM and waits for a clean end.
func (d *daemon) stop() {
	d.Helper()
	d.signal(syscall.SIGTERM)
	if code := d.wait(40 * time.Second); code != 0 {
		d.Fatalf("exit code %d after SIGTERM, want 0", code)
	}
}

func (d *daemon) signal(s os.Signal) {
	if err := d.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.Fatal(err)
	}
}

// wait returns the exit code once the process has ended, -1 if a signal ended it.
func (d *daemon) wait(most time.Duration) int {
	d.Helper()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-d.gone:
	case <-late.C:
		d.Fatalf("process %d has not ended after %s", d.cmd.Process.Pid, most)
	}
	return d.cmd.ProcessState.ExitCode()
}

// get returns status and body of an answer.
func (d *daemon) get(path string) (status int, body string, err error) {
	return d.ask(http.MethodGet, path, "", nil)
}

// ask sends a request with the key and reads the whole answer.
func (d *daemon) ask(method, path, kind string, body []byte) (status int, answer string, err error) {
	req, err := http.NewRequest(method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("User-Agent", browser)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// must is ask for a request that has to succeed; out, if not nil, takes its JSON.
func (d *daemon) must(method, path string, in, out any) {
	d.Helper()
	var body []byte
	if in != nil {
		body, _ = json.Marshal(in)
	}
	status, answer, err := d.ask(method, path, "application/json", body)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	if err == nil && out != nil {
		err = json.Unmarshal([]byte(answer), out)
	}
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
}

// count asks how many events there are.
func (d *daemon) count() int64 {
	d.Helper()
	var answer struct{ Rows [][]int64 }
	d.must(http.MethodPost, "/api/sql", map[string]string{"query": "SELECT count(*) FROM events"}, &answer)
	return answer.Rows[0][0]
}

// run runs a command of the program to its end and returns what it printed.
func (r *rig) run(args ...string) string {
	r.Helper()
	cmd := exec.Command(r.program, args...)
	cmd.Env, cmd.Dir = r.environ(), filepath.Dir(r.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		r.Fatalf("eider %s: %v\n%s%s", strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// leftovers fails the test if files lie around that nobody lists, or if a listed
// one is not there (I6). What is being written just now comes and goes; what is
// left over stays.
func (d *daemon) leftovers() {
	d.Helper()
	var why string
	for range 200 {
		if why = d.stray(); why == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.Errorf("files and ledger differ: %s", why)
}

func (d *daemon) stray() string {
	var answer struct{ Parts []struct{ Path string } }
	d.must(http.MethodGet, "/api/parts", nil, &answer)
	var listed []string
	for _, p := range answer.Parts {
		listed = append(listed, p.Path)
	}
	return strayFiles(d, d.dir, listed)
}

// strayFiles says how the files of a data directory differ from those that are
// listed; "" if they do not.
func strayFiles(t testing.TB, dir string, listed []string) string {
	t.Helper()
	var there []string
	for _, top := range []string{"events", "tmp"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed since, or never made
			}
			if err == nil && !e.IsDir() {
				path, err = filepath.Rel(dir, path)
				there = append(there, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(there)
	slices.Sort(listed)
	if slices.Equal(there, listed) {
		return ""
	}
	return fmt.Sprintf("there are %q, listed are %q", there, listed)
}

// A transcript keeps what a process prints and logs, and finds in it where it listens.
type transcript struct {
	listening chan string // takes the URL, once
	w         *io.PipeWriter
	done      chan struct{} // closed when all has been read

	mu    sync.Mutex
	lines []string
}

func newTranscript() *transcript {
	r, w := io.Pipe()
	t := &transcript{listening: make(chan string, 1), w: w, done: make(chan struct{})}
	go t.read(r)
	return t
}

func (t *transcript) Write(b []byte) (int, error) { return t.w.Write(b) }

// close waits until everything that was written is in lines.
func (t *transcript) close() {
	_ = t.w.Close()
	<-t.done
}

func (t *transcript) read(r io.Reader) {
	defer close(t.done)
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		t.mu.Lock()
		t.lines = append(t.lines, line)
		t.mu.Unlock()
		var record struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "listening" {
			t.listening <- "http://" + record.Addr
		}
	}
}

// end returns the last lines, and if the program crashed those before it and the
// stacks after it.
func (t *transcript) end() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const before, stacks = 15, 200
	crash := slices.IndexFunc(t.lines, func(line string) bool {
		return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "SIG")
	})
	if crash < 0 {
		crash = len(t.lines)
	}
	return strings.Join(t.lines[max(0, crash-before):min(len(t.lines), crash+stacks)], "")
}

// has says whether a line of the log contains s.
func (t *transcript) has(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.lines, func(line string) bool { return strings.Contains(line, s) })
}

// find returns the first match in the log, or "".
func (t *transcript) find(what *regexp.Regexp) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return what.FindString(strings.Join(t.lines, ""))
}

// asRoot skips the test for everyone else, and says so.
func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: this test mounts or traces, which only root may; run it with sudo")
	}
}

// rounds is how often a test is to be repeated: n, or less where time is short.
func rounds(t testing.TB, n int) int {
	t.Helper()
	if s := os.Getenv("EIDER_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("EIDER_CRASH_ROUNDS=%q: must be a number from 1", s)
		}
		return n
	}
	if testing.Short() {
		return min(n, 3)
	}
	return n
}

// until waits for something to come true.
func until(ctx context.Context, every time.Duration, ok func() bool) bool {
	for !ok() {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return ok()
		}
	}
	return true
}
