package door_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
)

// processor is the time that this process has had of the processors so far.
func processor(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLogIn is what a log-in costs, with Argon2id as it is: by one who comes after
// the other, and by as many at once as there are places.
func BenchmarkLogIn(b *testing.B) {
	for _, at := range []int{1, 2} {
		b.Run(fmt.Sprint("at once=", at), func(b *testing.B) {
			r := newRig(b, doortest.New(), func(o *door.Options) { o.Hash = nil })
			owner, err := r.LogIn(b.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: right})
			if err != nil {
				b.Fatal(err)
			}
			home := door.Client{Device: owner.Device} // who is known may take every place
			b.ReportAllocs()
			b.ResetTimer()
			before := processor(b)
			var wg sync.WaitGroup
			var next atomic.Int64
			for range at {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if err := r.try(home, "jo bright", right); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(processor(b)-before)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op")
		})
	}
}

// TestMemory: a hundred who try to log in at once, with Argon2id as it is, take the
// memory of those few that are looked at. It is not parallel: the memory is that of the
// process.
func TestMemory(t *testing.T) {
	r := newRig(t, doortest.New(), func(o *door.Options) { o.Hash = nil })
	owner, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: right})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	over := make(chan struct{})
	peak := make(chan uint64)
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-over:
				peak <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	var wg sync.WaitGroup
	var looked, busy atomic.Int64
	for i := range 100 {
		wg.Go(func() {
			c := from(fmt.Sprintf("10.0.0.%d", i))
			if i%10 == 0 {
				c = door.Client{Device: owner.Device}
			}
			switch err := r.try(c, "jo bright", fmt.Sprint("guess ", i)); {
			case errors.Is(err, door.ErrBadLogin):
				looked.Add(1)
			case errors.Is(err, door.ErrBusy):
				busy.Add(1)
			case waits(err) == 0:
				t.Errorf("unexpected: %v", err)
			}
		})
	}
	wg.Wait()
	close(over)
	const one = 19 << 20
	// Two are hashed at once; what those before them had may not be collected yet.
	if most := <-peak; most > 8*one {
		t.Errorf("the heap had %d MiB, want at most those of 8 passwords", most>>20)
	} else if most < one {
		t.Errorf("the heap had %d MiB: not even one password was hashed", most>>20)
	}
	t.Logf("%d were looked at, %d told to come back", looked.Load(), busy.Load())
}
