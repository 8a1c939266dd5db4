package door_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
)

// TestQueue: no more wait for a place than the queue holds. The others are told to come
// back before any time has passed, and those who wait five seconds later.
func TestQueue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who   string
		holds int
	}{{"strangers", 6}, {"who is known", 12}} {
		t.Run(c.who, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				hang, slow := make(chan struct{}), atomic.Bool{}
				hashes := &counter{}
				r := newRig(t, doortest.New(), func(o *door.Options) {
					o.Attempts = 100
					o.Hash = func(password, salt []byte, a, b uint32, c uint8, n uint32) []byte {
						if slow.Load() {
							<-hang
						}
						return hashes.hash(password, salt, a, b, c, n)
					}
				})
				owner, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: right})
				if err != nil {
					t.Fatal(err)
				}
				slow.Store(true)
				const all = 18 // fewer than brake the name
				answers := make(chan error, all)
				for i := range all {
					client := from(fmt.Sprintf("10.0.0.%d", i))
					if c.holds == 12 {
						client = door.Client{Device: owner.Device}
					}
					go func() { answers <- r.try(client, "jo bright", "wrong") }()
				}
				synctest.Wait()
				if n := len(answers); n != all-c.holds {
					t.Errorf("%d are told to come back at once, want %d", n, all-c.holds)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				looked := 1
				if c.holds == 12 {
					looked = 2
				}
				if n := len(answers); n != all-looked {
					t.Errorf("%d are told to come back in the end, want all but %d", n, looked)
				}
				close(hang)
				busy := 0
				for range all {
					if errors.Is(<-answers, door.ErrBusy) {
						busy++
					}
				}
				if busy != all-looked {
					t.Errorf("%d were told that all places are taken, want %d", busy, all-looked)
				}
			})
		})
	}
}
