package main_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestStop stops the program under load, as a supervisor and as a terminal does:
// what it has acknowledged is in Parquet when it has exited, and what got no
// answer may be sent again.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			const budget = 20 * time.Second
			r := newRig(t, normal, "EIDER_PUBLISH_INTERVAL=1h", "EIDER_SHUTDOWN_TIMEOUT=20s")
			d := r.start()
			load := d.load(32)
			time.Sleep(200*time.Millisecond + r.upTo(500*time.Millisecond))
			began := time.Now()
			d.signal(sig)
			if code := d.wait(budget); code != 0 {
				t.Fatalf("exit code %d, want 0", code)
			}
			took := time.Since(began)
			load.wait()
			r.published()

			d = r.start()
			if err := d.check().err(); err != nil {
				t.Errorf("after the stop: %v", err)
			}
			resent := len(r.events.list(again, acked))
			d.settle()
			d.repeat(200)
			clean, seconds := d.lastShutdown()
			if !clean || seconds <= 0 || seconds > took.Seconds() {
				t.Errorf("last shutdown: clean %t in %g s, want true in at most %s", clean, seconds, took)
			}
			d.kill()

			d = r.start()
			if clean, _ := d.lastShutdown(); clean {
				t.Error("last shutdown after a kill is clean")
			}
			if err := d.checkAll().err(); err != nil {
				t.Errorf("at the end: %v", err)
			}
			t.Logf("stopped in %s, %d events, %d sent again", took.Round(time.Millisecond), r.rows, resent)
		})
	}
}

// TestStopTwice: a second signal does not wait for a request that never ends.
// That is in order as well: everything that was acknowledged is in Parquet.
func TestStopTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, "EIDER_PUBLISH_INTERVAL=1h", "EIDER_SHUTDOWN_TIMEOUT=60s")
	d := r.start()
	d.mustSend(d.events.next(100, again))
	d.neverEnding()
	d.signal(syscall.SIGTERM)
	select {
	case <-d.gone:
		t.Fatal("it does not wait for a request that has not ended")
	case <-time.After(500 * time.Millisecond):
	}
	began := time.Now()
	d.signal(syscall.SIGTERM)
	if code := d.wait(startTime); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it ended %s after the second signal, want 3 s at most", took)
	}
	r.published()
	d = r.start()
	if clean, _ := d.lastShutdown(); !clean {
		t.Error("last shutdown is not clean")
	}
}

// neverEnding sends a request whose body never ends.
func (d *daemon) neverEnding() {
	d.Helper()
	body, more := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, d.url+"/api/import?format=combined&site_id="+site, body)
	if err != nil {
		d.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	go func() {
		if res, err := d.client.Do(req); err == nil {
			res.Body.Close()
		}
		more.Close()
	}()
	d.Cleanup(func() { more.Close() })
	if _, err := io.WriteString(more, "no line of a log\n"); err != nil {
		d.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // until it has arrived
}

// published fails the test unless every acknowledged event is in a part that the
// ledger lists, and nothing is in the journal. No process has the directory, and
// neither the server nor DuckDB is asked.
func (r *rig) published() {
	r.Helper()
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(r.dir, "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		r.Fatal(err)
	}
	defer l.Close()
	if j := l.Journal(); j.Events != 0 {
		r.Errorf("the journal has %d events, want none", j.Events)
	}
	parts, _, err := l.Parts(ctx)
	if err != nil {
		r.Fatal(err)
	}
	var listed []string
	var rows []row
	dir := history.Open(history.OS(r.dir))
	for _, p := range parts {
		listed = append(listed, p.Path)
		for e, err := range dir.Read(ctx, p, "seq", "path", "via", "props") {
			if err != nil {
				r.Fatal(err)
			}
			rows = append(rows, rowOf(r, e.Seq, e.Path, e.Via, e.Props))
		}
	}
	r.events.forget()
	v := r.events.compare(rows)
	v.rows, v.counted = int64(len(rows)), int64(len(rows))
	if err := v.err(); err != nil {
		r.Errorf("in the parts: %v", err)
	}
	if why := strayFiles(r, r.dir, listed); why != "" {
		r.Errorf("files and ledger differ: %s", why)
	}
	r.events.forget()
}

// lastShutdown asks how the run before has ended.
func (d *daemon) lastShutdown() (clean bool, seconds float64) {
	d.Helper()
	var health struct {
		Last *struct {
			Clean   bool
			Seconds float64
		} `json:"last_shutdown"`
	}
	d.must(http.MethodGet, "/health/detailed", nil, &health)
	if health.Last == nil {
		d.Fatal("the health says nothing of the last shutdown")
	}
	return health.Last.Clean, health.Last.Seconds
}
