package main_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A volume is a small file system for a data directory, with a file that takes
// up what the test wants to be taken up.
type volume struct {
	*rig
	filler string
}

func newVolume(t *testing.T, mib int, env ...string) *volume {
	t.Helper()
	asRoot(t)
	v := &volume{rig: newRig(t, normal, env...)}
	v.filler = filepath.Join(v.dir, "filler")
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", v.dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { // after the processes on it were killed
		if err := syscall.Unmount(v.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return v
}

// fill takes up everything but so many bytes. It may be called again.
func (v *volume) fill(leave int64) {
	v.Helper()
	var st syscall.Statfs_t
	f, err := os.OpenFile(v.filler, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		defer f.Close()
		err = syscall.Statfs(v.dir, &st)
	}
	if err != nil {
		v.Fatal(err)
	}
	block := make([]byte, st.Bsize)
	for more := int64(st.Bavail)*st.Bsize - leave; more > 0; more -= st.Bsize {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			v.Fatal(err)
		}
	}
}

func (v *volume) free() {
	v.Helper()
	if err := os.Remove(v.filler); err != nil {
		v.Fatal(err)
	}
}

// TestVolumeFloor fills a volume while events come in: they are refused while
// there still is room, told when to come again, and taken again when there is
// room again. Nobody has to do anything.
func TestVolumeFloor(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 128, "EIDER_MIN_FREE_DISK=32MiB")
	d := v.start()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	load := v.fillUnderLoad(ctx, d, 20<<20)
	no := load.refusal()
	if seconds, err := strconv.Atoi(no.retry); err != nil || seconds < 1 || !strings.Contains(no.body, `"disk_full"`) {
		t.Errorf("refused with %v and Retry-After %q, want disk_full and a number", no, no.retry)
	}
	if status, reasons, err := d.get("/health/ready"); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(reasons, "disk: ") {
		t.Errorf("readiness is %d %q (%v), want 503 with a line disk:", status, reasons, err)
	}
	before := 0
	if !until(ctx, 700*time.Millisecond, func() bool { // what was let in before ends first
		was := before
		before = len(v.events.list(acked, 0))
		return was == before
	}) {
		t.Error("events are taken below the floor")
	}
	if got := d.count(); got < int64(before) {
		t.Errorf("reports show %d events, want at least %d", got, before)
	}

	v.free()
	if !until(ctx, 10*time.Millisecond, func() bool { return len(v.events.list(acked, 0)) > before+100 }) {
		t.Error("events are not taken again when there is room again")
	}
	if status, reasons, err := d.get("/health/ready"); err != nil || status != http.StatusOK {
		t.Errorf("readiness is %d %q (%v), want 200", status, reasons, err)
	}
	d.kill()
	load.wait()
	d = v.start()
	if err := d.check().err(); err != nil {
		t.Error(err)
	}
	d.settle()
	d.stop()
	v.published()
}

// TestVolumeBrim fills a volume to the last byte under load, with no floor to
// stop at. A commit that fails ends the process, and when there is room again it
// starts and has everything.
func TestVolumeBrim(t *testing.T) {
	t.Parallel()
	v := newVolume(t, 48, "EIDER_MIN_FREE_DISK=0", "EIDER_SHUTDOWN_TIMEOUT=5s")
	for round := range 3 {
		d := v.start()
		if err := d.check().err(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		d.settle()
		load := d.load(24)
		time.Sleep(100*time.Millisecond + v.upTo(500*time.Millisecond))
		v.fill(0)
		if code := d.wait(startTime); code != 1 {
			t.Errorf("round %d: exit code %d, want 1", round, code)
		}
		load.wait("/api/maintenance/publish", "/api/maintenance/compact")

		// Without room it may start or not, but it must not make it worse.
		full := v.launch()
		if full.ready() {
			full.kill()
		} else if code := full.wait(startTime); code != 1 {
			t.Errorf("round %d: without room it ends with %d, want 1", round, code)
		}
		v.free()
	}
	d := v.start()
	d.settle()
	d.repeat(200)
	if err := d.checkAll().err(); err != nil {
		t.Errorf("at the end: %v", err)
	}
	d.stop()
	v.published()
	v.commands()
}

// TestVolumeFullStop fills a volume to the last byte, makes room again, and stops
// the program, before it stops one for which no room was made: neither the one
// nor the other may cost an event.
func TestVolumeFullStop(t *testing.T) {
	t.Parallel()
	for _, room := range []bool{true, false} {
		t.Run(map[bool]string{true: "room again", false: "no room"}[room], func(t *testing.T) {
			t.Parallel()
			v := newVolume(t, 96, "EIDER_MIN_FREE_DISK=24MiB", "EIDER_SHUTDOWN_TIMEOUT=30s")
			d := v.start()
			for try := 1; !v.fillIdle(d); try++ {
				if try == 10 {
					t.Fatal("whenever the room goes a commit finds none")
				}
				if code := d.wait(20 * time.Second); code != 1 {
					t.Fatalf("after a commit that found no room it ends with %d, want 1", code)
				}
				v.free()
				d = v.start()
				if err := d.check().err(); err != nil {
					t.Error(err)
				}
			}
			if room {
				v.free()
			}
			d.signal(syscall.SIGTERM)
			code := d.wait(20 * time.Second)
			if room && code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			if !room {
				t.Logf("without room it ends with %d", code)
				v.free()
			}
			d = v.start()
			if err := d.check().err(); err != nil {
				t.Error(err)
			}
			d.settle()
			d.stop()
			v.published()
		})
	}
}

// fillUnderLoad takes up everything but so many bytes, fewer than the floor, while events
// come in, and returns when one was refused.
func (v *volume) fillUnderLoad(ctx context.Context, d *daemon, leave int64) *load {
	v.Helper()
	load := d.load(24)
	time.Sleep(400 * time.Millisecond)
	v.fill(leave)
	if !until(ctx, 10*time.Millisecond, func() bool { return load.refusal() != nil }) {
		v.Fatal("no event was refused below the floor")
	}
	return load
}

// fillIdle fills the volume to the last byte when the program has refused events for a
// while, so that only its own work finds no room. It says false if the program
// ends by that: what was under way came to its commit.
func (v *volume) fillIdle(d *daemon) bool {
	v.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), 20*time.Second)
	defer cancel()
	load := v.fillUnderLoad(ctx, d, 16<<20)
	load.stop()
	v.fill(0)
	select {
	case <-d.gone:
		return false
	case <-time.After(1500 * time.Millisecond): // a publish finds no room
		return true
	}
}

// TestCommitFails lets the disk refuse to sync the journal, once and for good:
// from then on nothing is acknowledged, the process ends, and everything that was
// acknowledged is there at the next start.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	asRoot(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("there is no strace, with which this test lets the disk fail; .ci/needs test installs it")
	}
	for _, when := range []string{"once", "for good"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, normal)
			d := r.start()
			load := d.senders(24)
			time.Sleep(200*time.Millisecond + r.upTo(300*time.Millisecond))
			failed := d.failSyncs(strace, when == "once")
			if code := d.wait(startTime); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			ended := time.Now()
			load.wait()
			at := failed()
			if took := ended.Sub(at); took > 2*time.Second {
				t.Errorf("it ended %s after the sync that failed, want 2 s at most", took)
			}
			// What was acknowledged before may still be on its way to the client.
			if late := r.events.acked.Sub(at); late > 200*time.Millisecond {
				t.Errorf("an event was acknowledged %s after the sync that failed", late)
			}
			if !d.log.has("input/output error") && !d.log.has("disk I/O error") {
				t.Errorf("the log does not say why it ended:\n%s", d.log.end())
			}
			d = r.start()
			if err := d.check().err(); err != nil {
				t.Error(err)
			}
			d.settle()
			d.stop()
			r.published()
		})
	}
}

var injected = regexp.MustCompile(`(?m)([0-9]+\.[0-9]+) .*EIO.*\(INJECTED\)`)

// failSyncs makes every thread's syncs of the journal fail, the first or all of
// them. It returns a function that says, after the process has ended, when the
// first one did.
func (d *daemon) failSyncs(strace string, once bool) (failed func() time.Time) {
	d.Helper()
	out := filepath.Join(d.TempDir(), "strace")
	when := ""
	if once {
		when = ":when=1"
	}
	cmd := exec.Command(strace, "-f", "-ttt", "-p", strconv.Itoa(d.cmd.Process.Pid), "-o", out,
		"-P", filepath.Join(d.dir, "ledger.db-wal"), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"+when)
	if err := cmd.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() time.Time {
		d.Helper()
		_ = cmd.Wait() // its exit code is that of what it traced
		log, err := os.ReadFile(out)
		if err != nil {
			d.Fatal(err)
		}
		m := injected.FindSubmatch(log)
		if m == nil {
			d.Fatalf("no sync has failed:\n%s", log)
		}
		seconds, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			d.Fatal(err)
		}
		return time.UnixMicro(int64(seconds * 1e6))
	}
}
