package store_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// TestModel does what a store can be asked to do in a random order and compares
// every report with a list in memory after each step, also through snapshots
// that were taken many steps ago.
func TestModel(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t, func(o *store.Options) {
		o.PublishBytes = 4 << 10 // several rounds a publish
		o.PublishRows = 50       // several generations
	})
	type held struct {
		sn   *store.Snapshot
		want tally
	}
	var snapshots []held
	release := func() {
		for _, h := range snapshots {
			if diff := cmp.Diff(h.want, tallyIn(t, r.store, h.sn, "", 0, 0)); diff != "" {
				t.Fatalf("old snapshot, want -, got +:\n%s", diff)
			}
			h.sn.Release()
		}
		snapshots = nil
	}
	for step := range 150 {
		switch op := rnd.IntN(20); {
		case op < 6:
			r.append(some(rnd, 1+rnd.IntN(40), 4)...)
		case op < 11:
			r.flush(1 + rnd.IntN(len(r.waiting)+1))
		case op < 13:
			r.publish()
		case op < 14:
			if _, err := r.store.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		case op < 15:
			retainAny(t, rnd, r)
		case op < 16:
			eraseAny(t, rnd, r)
		case op < 17:
			release()
			r.reopen()
		case op < 18:
			release()
			if err := r.store.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.waiting, r.flushed = nil, r.last
		case op < 19:
			snapshots = append(snapshots, held{r.store.Snapshot(), tallyOf(r.visible())})
		default:
			release()
		}
		r.check()
		checkPruned(t, rnd, r)
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
		if len(snapshots) == 0 {
			r.checkFiles()
		}
	}
	release()
	r.flush(len(r.waiting))
	r.publish()
	r.check()
	r.checkFiles()
	if damaged, err := r.store.VerifyParts(t.Context(), nil); err != nil || len(damaged) > 0 {
		t.Errorf("VerifyParts = %v, %v", damaged, err)
	}
}

func retainAny(t *testing.T, rnd *rand.Rand, r *rig) {
	before := event.DayOf(noon - rnd.Int64N(5)*day)
	if _, err := r.store.Retain(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	published := r.boundary()
	r.forget(func(e event.Event) bool { return event.DayOf(e.Time) < before && e.Seq <= published })
}

func eraseAny(t *testing.T, rnd *rand.Rand, r *rig) {
	e := store.Erasure{Site: sites[rnd.IntN(len(sites))], From: noon - rnd.Int64N(3*day)}
	if rnd.IntN(2) == 0 {
		e.Visitor = event.ID{byte(rnd.IntN(5)), 1}
	}
	if rnd.IntN(2) == 0 {
		e.To = e.From + rnd.Int64N(2*day)
	}
	rows, err := r.store.Erase(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	r.waiting, r.flushed = nil, r.last // what was acknowledged is erased too
	want := r.forget(func(x event.Event) bool {
		return x.Site == e.Site && x.Time >= e.From && (e.To == 0 || x.Time < e.To) && (e.Visitor.IsZero() || x.Visitor == e.Visitor)
	})
	if rows != want {
		t.Fatalf("erased %d events, want %d", rows, want)
	}
}

// checkPruned asks for one site and some time, so that parts are left out.
func checkPruned(t *testing.T, rnd *rand.Rand, r *rig) {
	site, from := sites[rnd.IntN(len(sites))], noon-rnd.Int64N(4*day)
	to := from + rnd.Int64N(2*day)
	var want []event.Event
	for _, e := range r.visible() {
		if e.Site == site && e.Time >= from && e.Time < to {
			want = append(want, e)
		}
	}
	sn := r.store.Snapshot()
	defer sn.Release()
	if diff := cmp.Diff(tallyOf(want), tallyIn(t, r.store, sn, site, from, to)); diff != "" {
		t.Errorf("%s from %d to %d, want -, got +:\n%s", site, from, to, diff)
	}
}

// TestConcurrent counts without a pause while events are flushed, published and
// compacted. Nothing is taken away, so a count is what was flushed when its
// snapshot was taken, and never falls. When the lens is rebuilt as well, a count
// may fail, but not be wrong.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	t.Run("one lens", func(t *testing.T) {
		t.Parallel()
		concurrent(t, false)
	})
	t.Run("rebuilt", func(t *testing.T) {
		t.Parallel()
		concurrent(t, true)
	})
}

func concurrent(t *testing.T, rebuilt bool) {
	r := newRig(t, func(o *store.Options) { o.PublishRows = 300 })
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func() bool) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if !f() {
						return
					}
				}
			}
		})
	}
	for range 2 {
		var last int64
		loop(func() bool {
			sn := r.store.Snapshot()
			defer sn.Release()
			got, err := count(t, r.store, sn)
			if err != nil && rebuilt {
				return true
			}
			if err != nil || got != sn.Flushed() || got < last {
				t.Errorf("counted %d of %d, %d before: %v", got, sn.Flushed(), last, err)
				return false
			}
			last = got
			return true
		})
	}
	loop(func() bool {
		if _, err := r.store.Publish(t.Context()); err != nil {
			t.Errorf("publish: %v", err)
			return false
		}
		return true
	})
	loop(func() bool {
		if _, err := r.store.Compact(t.Context()); err != nil {
			t.Errorf("compact: %v", err)
			return false
		}
		return true
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		r.append(some(rnd, 20, 2)...)
		if rebuilt && i%10 == 9 {
			if err := r.store.Rebuild(t.Context()); err != nil {
				t.Error(err)
			}
		}
		r.flush(len(r.waiting))
	}
	close(stop)
	wg.Wait()
	r.check()
	r.checkFiles()
	if st := r.store.Stats(); st.Publishes == 0 || st.Compactions == 0 {
		t.Errorf("%d publishes and %d compactions: nothing was tested", st.Publishes, st.Compactions)
	}
}

// count returns how many events a snapshot holds.
func count(t testing.TB, s *store.Store, sn *store.Snapshot) (n int64, err error) {
	conn, err := s.Conn(t.Context())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	err = conn.QueryRowContext(t.Context(), "SELECT count(*) FROM "+sn.Relation("", 0, 0)).Scan(&n)
	return n, err
}
