package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPowerCut cuts the power under load: the process is stopped, and what is on
// the disk at that moment, without anything that only the kernel's cache has, is
// what the next process finds.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	asRoot(t)
	p := newPlug(t)
	n := rounds(t, 10)
	for round := 1; round <= n; round++ {
		if err := p.round().err(); err != nil {
			t.Fatalf("round %d of %d: %v", round, n, err)
		}
	}
	d := p.start()
	d.settle()
	if err := d.checkAll().err(); err != nil {
		t.Fatalf("at the end: %v", err)
	}
	d.stop()
	p.commands()
	t.Logf("seed %d: %d power cuts, %d events", p.seed, n, p.rows)
}

// TestPowerCutFindsLosses is the control: with EIDER_DURABILITY=os an answer does
// not wait for the disk, and a power cut takes the last moments, as the README
// says. Here they must be missed.
func TestPowerCutFindsLosses(t *testing.T) {
	t.Parallel()
	asRoot(t)
	const most = 20
	p := newPlug(t, "EIDER_DURABILITY=os")
	for round := 1; round <= most; round++ {
		if lost := len(p.round().lost); lost > 0 {
			t.Logf("round %d: %d events are lost", round, lost)
			return
		}
	}
	t.Errorf("no loss was found in %d power cuts without a sync", most)
}

// A plug is a rig whose data directory is on a file system of its own, in an
// image that can be copied while it is in use.
type plug struct {
	*rig
	image string
	mount string
}

func newPlug(t *testing.T, env ...string) *plug {
	t.Helper()
	p := &plug{rig: newRig(t, normal, env...), image: filepath.Join(t.TempDir(), "disk.img"), mount: t.TempDir()}
	p.dir = filepath.Join(p.mount, "data")
	f, err := os.Create(p.image)
	if err == nil {
		err = f.Truncate(256 << 20)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.system("mkfs.ext4", "-q", "-F", p.image)
	p.plugIn()
	t.Cleanup(p.pullOut)
	return p
}

func (p *plug) system(name string, args ...string) {
	p.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		p.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (p *plug) plugIn() {
	p.Helper()
	p.system("mount", "-o", "loop", p.image, p.mount)
}

func (p *plug) pullOut() {
	p.Helper()
	p.system("umount", p.mount)
}

// round lets the program work, cuts the power, and compares at the next start.
func (p *plug) round() verdict {
	p.Helper()
	d := p.start()
	d.settle()
	load := d.load(24)
	time.Sleep(50*time.Millisecond + p.upTo(700*time.Millisecond))

	// Nothing runs on while the disk is copied: what the image holds now has been
	// written through, the rest is in a cache that the cut empties.
	d.signal(syscall.SIGSTOP)
	cut := p.image + ".cut"
	p.system("cp", "--sparse=always", p.image, cut)
	d.kill()
	load.wait()
	p.pullOut()
	if err := os.Rename(cut, p.image); err != nil {
		p.Fatal(err)
	}
	p.plugIn()

	d = p.start()
	v := d.check()
	if err := d.checkDeeds(); err != nil {
		p.Fatal(err)
	}
	d.leftovers()
	d.kill()
	return v
}
