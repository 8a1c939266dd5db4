package tail_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server/tail"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

const site = "example.com"

// A rig is a tap, a journal that only counts, and a clock.
type rig struct {
	*tail.Tap
	testing.TB
	seq   atomic.Int64
	clock atomic.Int64 // ns
}

func newRig(t testing.TB) *rig {
	r := &rig{TB: t}
	r.Tap = tail.New(tail.Options{Durable: r.seq.Load, Now: func() time.Time { return time.Unix(0, r.clock.Load()) }})
	t.Cleanup(func() { r.Tap.Close() })
	return r
}

// commit makes a group durable and hands it over. Events are "site path".
func (r *rig) commit(events ...string) {
	first := r.seq.Load() + 1
	list := make([]event.Event, len(events))
	for i, e := range events {
		domain, path, _ := strings.Cut(e, " ")
		list[i] = event.Event{Seq: first + int64(i), Site: domain, Path: path, Name: event.Pageview, Via: event.ViaPage, Scroll: event.NoScroll}
		if path == "/import" {
			list[i].Via = event.ViaImport
		}
	}
	r.hand(list)
}

func (r *rig) hand(list []event.Event) {
	g := ledger.Group{First: list[0].Seq, Last: list[len(list)-1].Seq, Count: len(list), Payload: event.Encode(nil, list)}
	r.seq.Store(g.Last)
	r.Offer(g)
}

// settle waits until the tap has looked at all that was handed over.
func (r *rig) settle() {
	for deadline := time.Now().Add(10 * time.Second); r.On() && r.Last() < r.seq.Load(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			r.Fatalf("the tap is at %d, the journal at %d", r.Last(), r.seq.Load())
		}
	}
}

func (r *rig) listen(domain string, f event.Filter, after int64) *tail.Stream {
	r.Helper()
	st, err := r.Listen(domain, f, after)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(st.Close)
	return st
}

// taken writes down what a stream shows: paths, and what was missed.
func (r *rig) taken(st *tail.Stream) string {
	r.Helper()
	r.settle()
	var list []string
	if _, err := st.Take(func(x tail.Shown) error {
		switch {
		case x.Event != nil:
			list = append(list, fmt.Sprintf("%d %s", x.Seq, x.Event.Path))
		case x.Uncounted:
			list = append(list, fmt.Sprintf("%d missed %d+", x.Seq, x.Missed))
		default:
			list = append(list, fmt.Sprintf("%d missed %d", x.Seq, x.Missed))
		}
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	return strings.Join(list, ", ")
}

func (r *rig) wantTaken(st *tail.Stream, want string) {
	r.Helper()
	if got := r.taken(st); got != want {
		r.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestListen checks who is shown what: events of the site, from now on, in their
// order, once, without imports.
func TestListen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.commit("example.com /before")
	all := r.listen(site, event.Filter{}, tail.FromNow)
	some := r.listen(site, event.Filter{Op: event.Contains, Dimension: "path", Values: []string{"b"}}, tail.FromNow)
	other := r.listen("other.com", event.Filter{}, tail.FromNow)
	r.commit("example.com /a", "other.com /o", "example.com /import", "example.com /b")
	r.commit("example.com /bc")
	r.wantTaken(all, "2 /a, 5 /b, 6 /bc")
	r.wantTaken(some, "5 /b, 6 /bc")
	r.wantTaken(other, "3 /o")
	r.wantTaken(all, "")
	some.Close()
	some.Close() // again is no harm
	r.commit("example.com /d")
	r.wantTaken(some, "")
	r.wantTaken(all, "7 /d")
	if streams, missed := r.Stats(); streams != 2 || missed != 0 {
		t.Errorf("%d streams, %d missed; want 2, 0", streams, missed)
	}
	for _, f := range []event.Filter{
		{Op: event.HasDone, Of: []event.Filter{{}}},
		{Op: event.Is, Dimension: event.ExitPath, Values: []string{"/"}},
		{Op: event.Is, Dimension: "nothing", Values: []string{"/"}},
	} {
		var q *event.QueryError
		if _, err := r.Listen(site, f, tail.FromNow); !errors.As(err, &q) {
			t.Errorf("filter %v: %v, want a QueryError", f, err)
		}
	}
}

// TestReady checks that a stream tells when there is something to take.
func TestReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	st := r.listen(site, event.Filter{}, tail.FromNow)
	for i := range 3 {
		r.commit("example.com /a")
		select {
		case <-st.Ready():
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is ready")
		}
		r.wantTaken(st, fmt.Sprintf("%d /a", i+1))
	}
	r.commit("other.com /a")
	r.settle()
	select {
	case <-st.Ready():
		t.Error("another site's event made the stream ready")
	default:
	}
}

// TestNobodyListens checks that a tap does nothing for nobody, as it does before the
// first listener and a while after the last.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := ledger.Group{First: 1, Last: 1, Count: 1, Payload: event.Encode(nil, []event.Event{{Seq: 1, Site: site}})}
	r.Offer(g)
	r.Offer(g)
	if r.On() || r.Last() != 0 {
		t.Error("the tap looks at events, and nobody listens")
	}
	st := r.listen(site, event.Filter{}, tail.FromNow)
	st.Close()
	r.commit("example.com /a")
	r.settle()
	if !r.On() || r.Sites() != 1 {
		t.Error("a listener who has just gone is forgotten")
	}
	r.clock.Add(int64(tail.Linger) + 1)
	r.commit("example.com /b")
	for deadline := time.Now().Add(10 * time.Second); r.On(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatal("a listener who has gone long ago is not forgotten")
		}
	}
	if n := r.Sites(); n != 0 {
		t.Errorf("%d sites are kept for nobody", n)
	}
}

// TestSlow checks that a stream that is not taken from is bounded, counts exactly
// what it leaves out, and goes on afterwards.
func TestSlow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	slow, quick := r.listen(site, event.Filter{}, tail.FromNow), r.listen(site, event.Filter{}, tail.FromNow)
	group := slices.Repeat([]string{"example.com /a", "other.com /o"}, 50)
	seen := 0
	for range (tail.Buffered + 200) / 50 {
		r.commit(group...)
		seen += strings.Count(r.taken(quick), "/a")
	}
	sent := (tail.Buffered + 200) / 50 * 50
	if seen != sent {
		t.Errorf("the quick one saw %d of %d", seen, sent)
	}
	got := strings.Split(r.taken(slow), ", ")
	if want := fmt.Sprintf("%d missed %d", r.seq.Load()-1, sent-tail.Buffered); len(got) != tail.Buffered+1 || got[tail.Buffered] != want {
		t.Errorf("%d items, the last is %q; want %d and %q", len(got), got[len(got)-1], tail.Buffered+1, want)
	}
	if _, missed := r.Stats(); missed != int64(sent-tail.Buffered) {
		t.Errorf("counted %d, want %d", missed, sent-tail.Buffered)
	}
	r.commit("example.com /on")
	r.wantTaken(slow, fmt.Sprintf("%d /on", r.seq.Load()))
	for range 3 { // by bytes too
		r.commit("example.com /" + strings.Repeat("x", 300<<10))
	}
	if items := strings.Split(r.taken(slow), ", "); len(items) != 2 || !strings.HasSuffix(items[1], "missed 2") {
		t.Errorf("%d large items, the last %.40q; want one, and that 2 were missed", len(items), items[len(items)-1])
	}
}

// TestOverrun hands over more than the tap can look at: Offer does not wait, and
// listeners are told that something is missing where it is.
func TestOverrun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	st := r.listen(site, event.Filter{}, tail.FromNow)
	release := r.Hold()
	large := "example.com /" + strings.Repeat("x", tail.WaitingMost/4)
	for range 10 {
		r.commit(large)
	}
	release()
	r.settle() // the last were dropped: that is told without another event
	got := r.taken(st)
	if !strings.HasSuffix(got, "missed 0+") && !strings.Contains(got, "missed ") {
		t.Errorf("nothing is said to be missing: %.200s", got)
	}
	if _, missed := r.Stats(); missed < 5 {
		t.Errorf("%d counted as missed", missed)
	}
	r.commit("example.com /after")
	r.wantTaken(st, "11 /after")
	back := r.listen(site, event.Filter{}, 1)
	if got := r.taken(back); !strings.Contains(got, "missed 0+") || !strings.HasSuffix(got, "11 /after") {
		t.Errorf("who comes back over the gap sees %.200s", got)
	}
}

// TestResume checks what somebody gets who comes back.
func TestResume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.commit("example.com /long ago")
	st := r.listen(site, event.Filter{}, tail.FromNow)
	for i := range 3 {
		r.commit(fmt.Sprintf("example.com /%d", i), "other.com /")
	}
	r.settle()
	st.Close()
	r.commit("example.com /x")
	r.wantTaken(r.listen(site, event.Filter{}, 4), "6 /2, 8 /x")
	r.wantTaken(r.listen(site, event.Filter{}, 8), "")
	r.wantTaken(r.listen(site, event.Filter{}, 1), "2 /0, 4 /1, 6 /2, 8 /x") // nothing happened before
	r.wantTaken(r.listen(site, event.Filter{}, 0), "1 missed 0+, 2 /0, 4 /1, 6 /2, 8 /x")
	r.wantTaken(r.listen(site, event.Filter{}, 1<<40), "") // of another server
	r.wantTaken(r.listen(site, event.Filter{Op: event.Is, Dimension: "path", Values: []string{"/1"}}, 1), "4 /1")
	r.wantTaken(r.listen("other.com", event.Filter{}, 2), "8 missed 0+") // nobody has listened to that
	for range tail.Kept {
		r.commit("example.com /y")
	}
	r.settle() // or they would come as they happen
	got := r.taken(r.listen(site, event.Filter{}, 6))
	if !strings.HasPrefix(got, "8 missed 0+, 9 /y, ") || strings.Count(got, "/y") != tail.Kept {
		t.Errorf("after more than is kept: %.60s…, %d events", got, strings.Count(got, "/y"))
	}
	r.Forget(site)
	r.wantTaken(r.listen(site, event.Filter{}, 6), fmt.Sprintf("%d missed 0+", r.seq.Load()))
}

// TestLingering checks that sites that were listened to are bounded.
func TestLingering(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 3 * tail.Lingering {
		r.clock.Add(1)
		r.listen(fmt.Sprint(i, ".com"), event.Filter{}, tail.FromNow).Close()
	}
	if n := r.Sites(); n != tail.Lingering {
		t.Errorf("%d sites, want %d", n, tail.Lingering)
	}
	r.commit(fmt.Sprint(3*tail.Lingering-1, ".com /"))
	r.wantTaken(r.listen(fmt.Sprint(3*tail.Lingering-1, ".com"), event.Filter{}, 0), "1 /")
}

// A reader comes and goes, and writes down what he has seen, and where he was told
// that he missed something.
type reader struct {
	st    *tail.Stream
	at    int64 // what he says when he comes back
	first int64 // he has seen nothing up to here, and is owed nothing
	seen  []int64
	holes [][2]int64 // after, up to
}

func (rd *reader) take(r *rig) {
	upTo, err := rd.st.Take(func(x tail.Shown) error {
		if x.Event == nil {
			rd.holes = append(rd.holes, [2]int64{rd.at, x.Seq})
		} else {
			rd.seen = append(rd.seen, x.Seq)
		}
		rd.at = max(rd.at, x.Seq)
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	rd.at = max(rd.at, upTo)
}

// TestRandom has readers come and go while groups are handed over, some of them to a
// tap that cannot look at them. Whatever happens: each event of the site is seen once,
// in order, or is where its reader was told that he has missed something.
func TestRandom(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for world := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, world))
		r := newRig(t)
		var mine []int64 // events of the site
		readers := make([]*reader, 3)
		for range 400 {
			switch i := rnd.IntN(len(readers)); {
			case rnd.IntN(12) == 0:
				if rd := readers[i]; rd == nil {
					readers[i] = &reader{at: r.seq.Load(), first: r.seq.Load()}
					readers[i].st = r.listen(site, event.Filter{}, tail.FromNow)
				} else if rd.st == nil {
					rd.st = r.listen(site, event.Filter{}, rd.at)
				} else {
					rd.take(r) // what he does not take before he goes he has not seen
					rd.st.Close()
					rd.st = nil
				}
			case rnd.IntN(4) == 0:
				if readers[i] != nil && readers[i].st != nil {
					readers[i].take(r)
				}
			case rnd.IntN(40) == 0:
				r.clock.Add(int64(tail.Linger) * 2)
			case rnd.IntN(40) == 0:
				r.Forget(site)
			case rnd.IntN(100) == 0:
				release := r.Hold()
				for range 6 {
					mine = append(mine, r.seq.Load()+1)
					r.commit("example.com /" + strings.Repeat("x", tail.WaitingMost/5))
				}
				release()
			default:
				n := 1 + rnd.IntN(30)
				group := make([]string, n)
				for j := range group {
					group[j] = "other.com /"
					if rnd.IntN(2) == 0 {
						group[j] = "example.com /"
						mine = append(mine, r.seq.Load()+int64(j)+1)
					}
				}
				r.commit(group...)
			}
		}
		r.settle()
		for i, rd := range readers {
			if rd != nil {
				if rd.st == nil {
					rd.st = r.listen(site, event.Filter{}, rd.at)
				}
				rd.take(r)
				rd.check(t, fmt.Sprintf("world %d, reader %d", world, i), mine)
			}
		}
	}
}

func (rd *reader) check(t *testing.T, who string, mine []int64) {
	t.Helper()
	if !slices.IsSortedFunc(rd.seen, func(a, b int64) int {
		if a >= b {
			return 1
		}
		return -1
	}) {
		t.Errorf("%s: not in order, or twice: %v", who, rd.seen)
	}
	for _, seq := range mine {
		_, seen := slices.BinarySearch(rd.seen, seq)
		told := slices.ContainsFunc(rd.holes, func(h [2]int64) bool { return h[0] < seq && seq <= h[1] })
		if seq > rd.first && !seen && !told {
			t.Errorf("%s: event %d was neither seen nor said to be missed (first %d, holes %v)", who, seq, rd.first, rd.holes)
			return
		}
	}
}

// TestAtOnce lets everything happen at once, for the race detector.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stop := make(chan struct{})
	var listeners sync.WaitGroup
	for i := range 8 {
		listeners.Go(func() {
			after := int64(tail.FromNow)
			for n := 0; ; n++ {
				st, err := r.Listen(site, event.Filter{}, after)
				if err != nil {
					t.Error(err)
					return
				}
				for range i {
					select {
					case <-st.Ready():
					case <-stop:
					}
					if after, err = st.Take(func(tail.Shown) error { return nil }); err != nil {
						t.Error(err)
					}
				}
				st.Close()
				r.Stats()
				r.Forget(site)
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 200 {
		r.commit("example.com /a", "other.com /b")
	}
	close(stop)
	listeners.Wait()
	if streams, _ := r.Stats(); streams != 0 {
		t.Errorf("%d streams are left", streams)
	}
}

// BenchmarkOffer hands over groups of 64 events while nobody, one or fifty listen.
func BenchmarkOffer(b *testing.B) {
	for _, listeners := range []int{0, 1, 50} {
		b.Run(fmt.Sprintf("listeners=%d", listeners), func(b *testing.B) {
			r := newRig(b)
			for range listeners {
				st := r.listen(site, event.Filter{}, tail.FromNow)
				go func() {
					for range st.Ready() {
						_, _ = st.Take(func(tail.Shown) error { return nil })
					}
				}()
			}
			list := make([]event.Event, 64)
			for i := range list {
				list[i] = event.Event{Site: site, Path: "/", Name: event.Pageview, Via: event.ViaPage}
			}
			groups := make([]ledger.Group, b.N)
			for i := range groups {
				for j := range list {
					list[j].Seq = int64(64*i + j + 1)
				}
				groups[i] = ledger.Group{First: list[0].Seq, Last: list[63].Seq, Count: 64, Payload: event.Encode(nil, list)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, g := range groups {
				r.Offer(g)
			}
		})
	}
}
