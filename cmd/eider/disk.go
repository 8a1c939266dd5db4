package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A disk watches the volume of the data directory, so that events are refused
// while there still is room to store those that were accepted.
//
// It keeps a file of up to 16 MiB there, the ballast, and gives it up when the
// volume has less free than the floor, or when the process stops: for the last
// flush and publish. The space of a ballast that was given up does not count as
// free, so that giving it up does not let events in again.
type disk struct {
	dir   string
	floor diskFloor
	log   *slog.Logger
	stat  func(dir string) (free, total int64, err error)

	mu      sync.Mutex // guards the fields below
	free    int64      // without what the ballast would take
	total   int64
	ballast int64 // bytes it has; 0 while it is given up
	err     error // why the volume could not be asked
	closed  bool  // the ballast has been given up for good
}

const mostBallast = 16 << 20

// openDisk looks at the volume of dir for the first time.
func openDisk(dir string, floor diskFloor, log *slog.Logger) (*disk, error) {
	d := &disk{dir: dir, floor: floor, log: log, stat: statfs}
	if info, err := os.Stat(d.path()); err == nil {
		d.ballast = info.Size()
	}
	d.check()
	return d, d.err
}

// statfs returns the bytes that are free for us on the volume of dir, and its
// size.
func statfs(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("ask volume of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

func (d *disk) path() string { return filepath.Join(d.dir, "ballast") }

// watch checks the volume every second until ctx is done.
func (d *disk) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.check()
		case <-ctx.Done():
			return
		}
	}
}

// check asks the volume and takes or gives up the ballast.
func (d *disk) check() {
	free, total, err := d.stat(d.dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	was := d.full()
	d.err = err
	if err != nil {
		return
	}
	want := min(mostBallast, total/64)
	d.total, d.free = total, free-(want-d.ballast)
	if is := d.full(); is != was {
		d.log.Warn(map[bool]string{true: "volume is nearly full, events are refused", false: "volume has room again"}[is], "bytes", d.free)
	}
	switch full := d.full(); {
	case full && d.ballast > 0:
		d.drop()
	case !full && d.ballast < want:
		d.take(want)
	}
}

// full says whether the volume has less than the floor. The caller holds mu.
func (d *disk) full() bool { return d.total > 0 && d.free < d.floor.of(d.total) }

// take makes the ballast. It is no failure if there is no room for it.
func (d *disk) take(size int64) {
	f, err := os.OpenFile(d.path(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		d.log.Warn("ballast not made", "err", err)
		return
	}
	defer f.Close()
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		_, err = f.Write(make([]byte, size))
	}
	if err != nil {
		d.log.Warn("ballast not made", "err", err)
		d.drop()
		return
	}
	d.ballast = size
}

// drop gives the ballast up.
func (d *disk) drop() {
	if err := os.Remove(d.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("ballast not given up", "err", err)
		return
	}
	d.ballast = 0
}

// Room returns [event.ErrDiskFull] if events must be refused.
func (d *disk) Room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full() {
		return event.ErrDiskFull
	}
	return nil
}

// reason says why the disk keeps the process from being ready, or "".
func (d *disk) reason() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
		return "disk: " + d.err.Error()
	case d.full():
		return fmt.Sprintf("disk: %d MiB free, %d MiB needed (EIDER_MIN_FREE_DISK=%s); extend the volume or shorten EIDER_RETENTION_DAYS",
			max(d.free, 0)>>20, d.floor.of(d.total)>>20, d.floor)
	default:
		return ""
	}
}

// state returns what is free, of how much, and how much has to be.
func (d *disk) state() (free, total, floor int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.total, d.floor.of(d.total)
}

// Close gives the ballast up for good. It may be called again.
func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.drop()
	return nil
}
