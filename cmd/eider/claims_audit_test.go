package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

var auditEntries = flag.Int("claims.entries", 1_000_000, "how many `entries` the chain has that is verified")

// audit measures the audit chain: acts, its verification, and its copy.
func (c *claims) audit(t *testing.T) {
	c.acts(t)
	c.verified(t)
	c.drained(t)
}

// acts measures durable acts with their entry beside bare commits of SQLite of as many
// bytes, in one run.
func (c *claims) acts(t *testing.T) {
	got := benchmarks(t, "../../store/ledger", "BenchmarkActs", "4000x", 3)
	bare := median(got["sqlite acts/s"])
	for _, clients := range []int{1, 16, 256} {
		of := func(unit string) float64 { return median(got[fmt.Sprint("clients=", clients, " ", unit)]) }
		ratio := of("acts/s") / bare
		c.add(fmt.Sprintf("acts with their entry, durable; clients: %d", clients),
			fmt.Sprintf("%.0f/s, p50 %.1f ms, p99 %.1f ms", of("acts/s"), of("p50-µs")/1000, of("p99-µs")/1000),
			fmt.Sprintf("%.0f/s bare commits, 1 client", bare), ratio, "≥ 0.5", ratio >= 0.5)
	}
}

// verified makes a long chain, signed as a server does, and has the program verify it.
func (c *claims) verified(t *testing.T) {
	r := claimRig(t)
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n := *auditEntries
	key := longChain(t, r.dir, n)
	each := float64(fileSize(t, filepath.Join(r.dir, "ledger.db"))) / float64(n)
	c.add("audit chain on the disk, an entry with its private values and indexes", fmt.Sprintf("%.0f bytes", each), "", 0, "≤ 1200 bytes", each <= 1200)

	cmd := exec.Command(r.program, "audit", "verify", "--json", "--key", key)
	var stdout bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr, cmd.Stdout = r.environ(), filepath.Dir(r.dir), os.Stderr, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Not of its rusage, which begins with what this process had when it was forked.
	over, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			if n, err := procOf(cmd.Process.Pid, "status", "VmHWM"); err == nil {
				most = max(most, n<<10)
			}
			select {
			case <-tick.C:
			case <-over:
				peak <- most
				return
			}
		}
	}()
	err := cmd.Wait()
	close(over)
	rss := <-peak
	var report struct {
		Status  string
		Entries int
		Elapsed float64
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &report)
	}
	if err != nil || report.Status != "sound" || report.Entries < n {
		t.Fatalf("eider audit verify: %v: %s", err, &stdout)
	}
	c.add(fmt.Sprintf("audit verify, %d entries", report.Entries), fmt.Sprintf("%.0f entries/s, %.1f s", float64(report.Entries)/report.Elapsed, report.Elapsed), "", 0, "", true)
	c.add(fmt.Sprintf("audit verify, %d entries: peak memory", report.Entries), fmt.Sprintf("%.0f MB", float64(rss)/1e6), "128 MB", float64(rss)/128e6, "≤ 1", rss <= 128e6)
}

// longChain makes a ledger with at least n entries, as acts from addresses make them,
// and returns the key that has signed them.
func longChain(t *testing.T, dir string, n int) string {
	key := audit.NewKey([32]byte{1})
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{Genesis: map[string]string{"key": key.Text()}})
	if err != nil {
		t.Fatal(err)
	}
	notary, err := audit.NewNotary(t.Context(), audit.NotaryOptions{Log: l, Keys: []audit.Key{key}, HeadFile: filepath.Join(dir, "audit.head")})
	if err != nil {
		t.Fatal(err)
	}
	const actors = 256
	var all sync.WaitGroup
	for i := range actors {
		all.Go(func() {
			for k := i; k < n; k += actors {
				e := audit.Entry{
					Kind: audit.KeyCreate, Object: fmt.Sprintf("key:%08x", k), Detail: map[string]string{"scopes": "stats", "expires": "2027-01-01T00:00:00Z"},
					By: audit.By{Actor: fmt.Sprintf("user:%d", k%50), Address: fmt.Sprintf("2001:db8::%x", k%65536), Agent: browser, Request: fmt.Sprintf("%016x", k)},
				}
				if err := l.Record(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := notary.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return key.Text()
}

// drained measures the copy in PostgreSQL beside COPY of the same rows.
func (c *claims) drained(t *testing.T) {
	got := benchmarks(t, "../../store/audit/sink", "BenchmarkDrain", "3x", 3)
	ratio := median(got["of-COPY"])
	c.add("audit chain to PostgreSQL", fmt.Sprintf("%.0f entries/s", median(got["entries/s"])), fmt.Sprintf("%.0f/s by COPY", median(got["COPY-entries/s"])),
		ratio, "≥ 0.3", ratio >= 0.3)
}

// benchmarks runs one of another package's benchmarks, and returns what each run has
// reported, by the name below it, if it has one, and the unit.
func benchmarks(t *testing.T, pkg, name, each string, runs int) map[string][]float64 {
	t.Helper()
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^"+name+"$", "-benchtime", each, "-count", strconv.Itoa(runs), pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go test -bench: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	figures := map[string][]float64{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], name) {
			continue
		}
		below := cores.ReplaceAllString(strings.TrimPrefix(strings.TrimPrefix(f[0], name), "/"), "")
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				t.Fatal(err)
			}
			what := strings.TrimSpace(below + " " + f[i+1])
			figures[what] = append(figures[what], v)
		}
	}
	return figures
}

// cores is what a benchmark has after its name.
var cores = regexp.MustCompile(`-\d+$`)
