package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestCrash kills the program at random moments under load, again and again on
// one data directory, and at every start compares what it had acknowledged with
// what it has. A kill loses nothing even where an answer does not wait for the
// disk; that takes a power cut.
func TestCrash(t *testing.T) {
	t.Parallel()
	for durability, n := range map[string]int{"sync": rounds(t, 20), "os": max(rounds(t, 20)/4, 2)} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, normal, "EIDER_DURABILITY="+durability)
			sum := r.crash(n, func(round int, v verdict) bool {
				if err := v.err(); err != nil {
					t.Fatalf("round %d of %d: %v", round, n, err)
				}
				return true
			})
			d := r.start()
			d.settle()
			d.repeat(500)
			if err := d.checkAll().err(); err != nil {
				t.Fatalf("at the end: %v", err)
			}
			d.stop()
			r.commands()
			t.Logf("seed %d: %d rounds, %s, %d events, slowest start %s", r.seed, n, sum, r.rows, sum.slowest.Round(time.Millisecond))
		})
	}
}

// TestCrashFindsLosses is the control: a program that acknowledges before it
// commits must be found out, or the test above would find nothing either.
func TestCrashFindsLosses(t *testing.T) {
	t.Parallel()
	const most = 60
	r := newRig(t, faulty, "EIDER_FAULT_ACK_EARLY=1")
	lost := 0
	r.crash(most, func(round int, v verdict) bool {
		lost = len(v.lost)
		if lost > 0 {
			t.Logf("round %d: %d events are lost", round, lost)
		}
		return lost == 0
	})
	if lost == 0 {
		t.Errorf("no loss was found in %d rounds of a program that loses events", most)
	}
}

// A crashSum is what has happened in a number of rounds.
type crashSum struct {
	early   int // kills before the program was ready
	spoilt  int // starts without the lens of before
	resent  int // events whose answer was lost, sent again
	known   int // those of them that were stored all the same
	slowest time.Duration
}

func (s *crashSum) String() string {
	return fmt.Sprintf("%d killed while starting, %d lenses spoilt, %d answers lost to a kill of which %d events were stored",
		s.early, s.spoilt, s.resent, s.known)
}

// crash starts, loads and kills the program, and tells each what every start has
// shown. It ends early if each returns false. Half of the kills come at a random
// time, and half right after an answer: there an acknowledgement that came too
// early is found out most easily.
func (r *rig) crash(rounds int, each func(round int, v verdict) bool) *crashSum {
	r.Helper()
	sum := &crashSum{}
	for round := 1; round <= rounds; round++ {
		if r.rnd.IntN(6) == 0 {
			d := r.launch()
			time.Sleep(r.upTo(400 * time.Millisecond))
			d.kill()
			sum.early++
		}
		if r.rnd.IntN(10) == 0 {
			r.spoil()
			sum.spoilt++
		}
		d := r.start()
		sum.slowest = max(sum.slowest, time.Since(d.started))
		v := d.check()
		if err := d.checkDeeds(); err != nil {
			r.Fatalf("round %d: %v", round, err)
		}
		sum.known += v.unmarked
		if !each(round, v) {
			return sum
		}
		d.leftovers()
		sum.resent += len(r.events.list(again, acked))
		d.settle()
		d.repeat(50)
		load := d.load(24)
		if r.rnd.IntN(2) == 0 {
			load.kill.Store(1 + r.rnd.Int64N(1500))
		}
		select {
		case <-time.After(10*time.Millisecond + r.upTo(900*time.Millisecond)):
		case <-d.gone:
		}
		d.kill()
		load.wait()
	}
	return sum
}

// spoil takes away what the program can make anew, or leaves something in its
// place that does not open.
func (r *rig) spoil() {
	r.Helper()
	path := filepath.Join(r.dir, "lens.duckdb")
	err := os.Remove(path)
	if r.rnd.IntN(2) == 0 {
		err = os.WriteFile(path, []byte("this is not a database"), 0o600)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
}

// upTo returns a random time.
func (r *rig) upTo(most time.Duration) time.Duration { return time.Duration(r.rnd.Int64N(int64(most))) }

// commands asks the stopped data directory by the commands, and compares.
func (r *rig) commands() {
	r.Helper()
	r.run("parts", "verify")
	r.verifyDeeds()
	rows, err := decodeRows(strings.NewReader(r.run("export", "--site", site, "--format", "ndjson")))
	if err != nil || int64(len(rows)) != r.rows {
		r.Errorf("eider export writes %d events (%v), the server had %d", len(rows), err, r.rows)
	}
	if got := r.run("query", "SELECT count(*) FROM events"); !strings.Contains(got, fmt.Sprint(r.rows)) {
		r.Errorf("eider query counts %q, the server had %d", got, r.rows)
	}
}

// A load is clients that send until the process is gone or they are stopped.
type load struct {
	d       *daemon
	clients sync.WaitGroup
	stopped chan struct{}
	kill    atomic.Int64 // if above 0, kill the process after so many answers

	mu      sync.Mutex
	full    int        // answers 503
	refused []*refusal // the first of those, and every other one
}

// load starts n clients that send single events, four that send batches and logs, two
// that publish, compact and ask while events come in, and two that act.
func (d *daemon) load(n int) *load {
	l := d.senders(n)
	for range 2 {
		l.client(d.act, 20*time.Millisecond)
	}
	l.client(func() error { return d.maintain("publish") }, 90*time.Millisecond)
	l.client(func() error { return errors.Join(d.maintain("compact"), l.look()) }, 130*time.Millisecond)
	return l
}

// senders is load with those that send and no others.
func (d *daemon) senders(n int) *load {
	l := &load{d: d, stopped: make(chan struct{})}
	for range n {
		l.client(d.sendOne, 3*time.Millisecond)
	}
	for range 3 {
		// Every client has a source of chance of its own: that of the rig belongs
		// to the test.
		rnd := rand.New(rand.NewPCG(d.rnd.Uint64(), 1))
		l.client(func() error {
			_, err := d.send(d.events.next(1+rnd.IntN(20), again))
			return err
		}, 10*time.Millisecond)
	}
	l.client(func() error {
		_, err := d.send(d.events.next(25, again|logged))
		return err
	}, 60*time.Millisecond)
	return l
}

// client calls do until it fails because the process has gone, with pauses.
func (l *load) client(do func() error, pause time.Duration) {
	l.clients.Go(func() {
		for {
			var no *refusal
			err := do()
			if err == nil && l.kill.Add(-1) == 0 {
				_ = l.d.cmd.Process.Kill()
			}
			if errors.As(err, &no) {
				l.note(no)
			}
			select {
			case <-l.stopped:
				return
			case <-l.d.gone:
				return
			case <-time.After(pause/2 + rand.N(pause)):
			}
		}
	})
}

func (l *load) note(no *refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if no.status == http.StatusServiceUnavailable {
		if l.full++; l.full > 1 {
			return
		}
	}
	l.refused = append(l.refused, no)
}

// refusal returns the first answer 503, or nil.
func (l *load) refusal() *refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, no := range l.refused {
		if no.status == http.StatusServiceUnavailable {
			return no
		}
	}
	return nil
}

// wait waits for the clients after the process has ended, and fails the test for
// an answer that should not have been, on any path but those that may fail.
func (l *load) wait(mayFail ...string) {
	l.d.Helper()
	l.clients.Wait()
	for _, no := range l.refused {
		if no.status != http.StatusServiceUnavailable && !slices.Contains(mayFail, no.path) {
			l.d.Errorf("under load: %v", no)
		}
	}
}

// stop ends the clients, and waits as wait does.
func (l *load) stop(mayFail ...string) {
	l.d.Helper()
	close(l.stopped)
	l.wait(mayFail...)
}

// look asks what a dashboard asks.
func (l *load) look() error {
	status, body, err := l.d.get("/api/stats/main?site_id=" + site)
	if err == nil && status != http.StatusOK && status != http.StatusNotFound && status != http.StatusServiceUnavailable {
		return &refusal{path: "/api/stats/main", status: status, body: body}
	}
	return err
}

// maintain does now what would else be done when it is due.
func (d *daemon) maintain(task string) error {
	_, err := d.post("/api/maintenance/"+task, "application/json", "")
	return err
}

// TestTwoProcesses: a data directory belongs to one process, and the second one
// says whose it is.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal)
	first := r.start()
	if _, err := first.send(first.events.next(100, again)); err != nil {
		t.Fatal(err)
	}
	second := r.launch()
	if code := second.wait(startTime); code != 1 {
		t.Errorf("the second process ended with %d, want 1", code)
	}
	if pid := fmt.Sprintf("(process %d)", first.cmd.Process.Pid); !second.log.has(pid) {
		t.Errorf("the second process does not name the first, %s:\n%s", pid, second.log.end())
	}
	if _, err := first.send(first.events.next(100, again)); err != nil {
		t.Errorf("the first process does not take events any more: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	until(ctx, 20*time.Millisecond, func() bool { return first.count() == 200 })
	if err := first.check().err(); err != nil {
		t.Error(err)
	}
	first.stop()
}
