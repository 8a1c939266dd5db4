package main

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/eider-analytics/eider/store/event"
)

// TestDisk fills a volume of 4 GiB and empties it again. Its floor is 64 MiB and
// its ballast 16 MiB.
func TestDisk(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	d := &disk{dir: t.TempDir(), floor: diskFloor{bytes: 64 * mib}, log: slog.New(slog.DiscardHandler)}
	var others int64 // what others leave free, our ballast apart
	d.stat = func(string) (free, total int64, err error) { return others - d.ballast, 4096 * mib, nil }
	for _, step := range []struct {
		name    string
		others  int64
		full    bool
		ballast int64
	}{
		{"empty", 2000 * mib, false, 16 * mib},
		{"just above the floor", (64 + 16) * mib, false, 16 * mib},
		{"below the floor", (64+16)*mib - 1, true, 0},
		{"the ballast that was given up lets nothing in", (64+16)*mib - 1, true, 0},
		{"full to the brim", 0, true, 0},
		{"room again", 100 * mib, false, 16 * mib},
	} {
		others = step.others
		d.check()
		err := d.Room()
		if errors.Is(err, event.ErrDiskFull) != step.full {
			t.Errorf("%s: Room = %v, want full: %t", step.name, err, step.full)
		}
		if (d.reason() != "") != step.full {
			t.Errorf("%s: reason %q, want one: %t", step.name, d.reason(), step.full)
		}
		var size int64
		if info, err := os.Stat(d.path()); err == nil {
			size = info.Size()
		}
		if d.ballast != step.ballast || size != step.ballast {
			t.Errorf("%s: ballast of %d bytes in memory, %d on disk, want %d", step.name, d.ballast, size, step.ballast)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d.check()
	if _, err := os.Stat(d.path()); err == nil {
		t.Error("the ballast is there after Close")
	}
}

// TestDiskError: a volume that cannot be asked is a reason not to be ready, and
// none to refuse events.
func TestDiskError(t *testing.T) {
	t.Parallel()
	d := &disk{dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	d.stat = func(string) (int64, int64, error) { return 0, 0, errors.New("gone") }
	d.check()
	if got := d.reason(); got != "disk: gone" {
		t.Errorf("reason %q, want disk: gone", got)
	}
	if err := d.Room(); err != nil {
		t.Errorf("Room = %v, want nil", err)
	}
}

// TestDiskReal takes the ballast on a real volume.
func TestDiskReal(t *testing.T) {
	t.Parallel()
	d, err := openDisk(t.TempDir(), diskFloor{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	free, total, _ := d.state()
	if free <= 0 || total < free || d.ballast == 0 {
		t.Errorf("%d of %d bytes free, ballast of %d", free, total, d.ballast)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
