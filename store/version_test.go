package store_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// asked is a site and a range, in days before and after noon; 0 and 0 are open.
type asked struct {
	name     string
	site     string
	from, to int64
}

var askedRanges = []asked{
	{"all of a", "a.example", 0, 0},
	{"today of a", "a.example", noon - day/2, noon + day/2},
	{"yesterday of a", "a.example", noon - day/2 - day, noon - day/2},
	{"five days ago of a", "a.example", noon - 5*day - day/2, noon - 4*day - day/2},
	{"from five days ago of a", "a.example", noon - 5*day, 0},
	{"until five days ago of a", "a.example", 0, noon - 4*day - day/2},
	{"all of b", "b.example", 0, 0},
}

func versionsOf(s *store.Store) map[string]int64 {
	m := map[string]int64{}
	for _, a := range askedRanges {
		m[a.name], _ = s.Version(a.site, a.from, a.to)
	}
	return m
}

// TestVersion goes through what changes answers and what does not.
func TestVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := func(site string, time int64) func() {
		return func() {
			r.add(event.Event{Site: site, Time: time, Received: noon, Name: event.Pageview, Scroll: event.NoScroll})
		}
	}
	all := []string{"all of a", "all of b", "five days ago of a", "from five days ago of a", "today of a", "until five days ago of a", "yesterday of a"}
	for _, step := range []struct {
		name string
		do   func()
		want []string // whose version rises
	}{
		{"nothing", func() {}, nil},
		{"an event of today", at("a.example", noon), []string{"all of a", "from five days ago of a", "today of a", "yesterday of a"}},
		{"another", at("a.example", noon+1), []string{"all of a", "from five days ago of a", "today of a", "yesterday of a"}},
		{"an event of another site", at("b.example", noon), []string{"all of b"}},
		{"a late event", at("a.example", noon-5*day), []string{"all of a", "five days ago of a", "from five days ago of a", "until five days ago of a"}},
		{"one of the day after a range", at("a.example", noon-4*day), []string{"all of a", "five days ago of a", "from five days ago of a", "until five days ago of a"}},
		{"one of two days after", at("a.example", noon-3*day), []string{"all of a", "five days ago of a", "from five days ago of a", "until five days ago of a", "yesterday of a"}}, // of a visit that goes on
		{"one of three days after", at("a.example", noon-2*day), []string{"all of a", "from five days ago of a", "today of a", "yesterday of a"}},
		{"a publish", func() { r.publish() }, nil},
		{"events, published", func() {
			at("b.example", noon-20*day)()
			at("b.example", noon-20*day)()
			r.publish()
			at("b.example", noon-20*day)()
			r.publish()
		}, []string{"all of b"}},
		{"a compaction", func() {
			n, err := r.store.Compact(t.Context())
			if err != nil || n == 0 {
				t.Fatalf("compacted %d, %v", n, err)
			}
		}, nil},
		{"a rebuilt lens", func() {
			if err := r.store.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, all},
		{"an erasure", func() {
			n, err := r.store.Erase(t.Context(), store.Erasure{Site: "a.example", From: noon + 1, To: noon + 2})
			if err != nil || n != 1 {
				t.Fatalf("erased %d, %v", n, err)
			}
		}, all},
		{"retention", func() {
			n, err := r.store.Retain(t.Context(), event.DayOf(noon-10*day))
			if err != nil || n == 0 {
				t.Fatalf("removed %d, %v", n, err)
			}
		}, all},
	} {
		before := versionsOf(r.store)
		step.do()
		var got []string
		for name, v := range versionsOf(r.store) {
			if v < before[name] {
				t.Errorf("%s: the version of %s fell", step.name, name)
			}
			if v > before[name] {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if diff := gocmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", step.name, diff)
		}
	}
}

// TestVersionHolds does random things and checks what a version promises: as long
// as it does not rise, the events of the range and of the days around it stay as
// they were.
func TestVersionHolds(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	r := newRig(t)
	type seen struct {
		version int64
		tally   tally
	}
	last := map[string]seen{}
	kept := 0
	for range 60 {
		switch rnd.IntN(8) {
		case 0:
			if _, err := r.store.Publish(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 1:
			if _, err := r.store.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 2:
			at := noon - rnd.Int64N(20)*day
			if _, err := r.store.Erase(t.Context(), store.Erasure{Site: "a.example", From: at, To: at + day/4}); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := r.store.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.waiting, r.flushed = nil, r.last // it reads the journal
		default:
			r.append(some(rnd, 1+rnd.IntN(4), 1+rnd.IntN(30))...)
			r.flush(rnd.IntN(len(r.waiting) + 1))
		}
		for range 4 {
			from := noon - rnd.Int64N(6)*5*day
			a := asked{site: sites[rnd.IntN(2)], from: from, to: from + (1+rnd.Int64N(2))*day}
			a.name = fmt.Sprint(a.site, a.from, a.to)
			version, _ := r.store.Version(a.site, a.from, a.to)
			sn := r.store.Snapshot()
			now := seen{version, tallyIn(t, r.store, sn, a.site, a.from-day, a.to+day)}
			sn.Release()
			if before, ok := last[a.name]; ok && before.version == now.version {
				kept++
				if diff := gocmp.Diff(before.tally, now.tally); diff != "" {
					t.Fatalf("version %d of %s holds other events, before -, now +:\n%s", version, a.name, diff)
				}
			}
			last[a.name] = now
		}
	}
	if kept < 5 {
		t.Errorf("%d versions held", kept)
	}
}

// TestFlushKeepsNoText: the texts of the events that are flushed are those of a whole group of
// the journal, a megabyte and more. Nothing of the store may hold on to them, not even a
// site that is noted for a day.
func TestFlushKeepsNoText(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	freed := make(chan bool, 3)
	for day := range 3 {
		group := make([]byte, 1<<20)
		copy(group, "a.example")
		runtime.AddCleanup(&group[0], func(c chan bool) { c <- true }, freed)
		r.append(event.Event{Time: noon - int64(day)*24*hour, Received: noon, Name: "a", Via: event.ViaPage, Scroll: event.NoScroll})
		r.waiting[0].Site = unsafe.String(&group[0], len("a.example"))
		r.flush(1)
	}
	r.waiting = nil
	for day := range 3 {
		for tries := 0; len(freed) == 0 && tries < 100; tries++ {
			runtime.GC()
			time.Sleep(10 * time.Millisecond)
		}
		if len(freed) == 0 {
			t.Fatalf("%d of 3 groups are kept", 3-day)
		}
		<-freed
	}
}
