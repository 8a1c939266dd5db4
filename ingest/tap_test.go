package ingest_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestTap checks when a group is handed over: once, in its order, when it is in the
// journal, and before anybody is told that it was accepted. What is not durable is not
// handed over.
func TestTap(t *testing.T) {
	t.Parallel()
	var r *rig
	var mu sync.Mutex // guards tapped
	var tapped []event.Event
	r = newRig(t, func(o *ingest.Options) {
		o.Tap = func(g ledger.Group) {
			var durable int64
			if err := r.ledger.Groups(context.Background(), 0, func(g ledger.Group) error {
				durable = g.Last
				return nil
			}); err != nil || durable != g.Last {
				t.Errorf("the journal ends at %d (%v), and events up to %d were handed over", durable, err, g.Last)
			}
			events, err := event.Decode(string(g.Payload))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			tapped = append(tapped, events...)
		}
	})
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(tapped)
	}
	r.send(page, client("192.0.2.1"))
	if n := count(); n != 1 {
		t.Errorf("an accepted event: %d handed over, want 1", n)
	}
	r.batch(strings.Repeat(`{"name":"pageview","url":"https://example.com/b","domain":"example.com","id":"same"}`+"\n", 3))
	if n := count(); n != 2 {
		t.Errorf("an event and its duplicates: %d handed over, want 2", n)
	}
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for range 20 {
				r.send(page, client("192.0.2.1"))
			}
		})
	}
	senders.Wait()
	for i, e := range tapped {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d in the order of handing over has Seq %d", i+1, e.Seq)
		}
	}
	if n := count(); n != 162 {
		t.Errorf("%d handed over, want 162", n)
	}
	r.ledger.Close()
	if _, err := r.Event(t.Context(), []byte(page), client("192.0.2.1")); err == nil {
		t.Fatal("an event was acknowledged that cannot be durable")
	}
	if n := count(); n != 162 {
		t.Error("an event was handed over that is not durable")
	}
}
