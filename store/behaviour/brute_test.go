package behaviour_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("EIDER_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	t.Logf("EIDER_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// random returns a unit's events: few different times, so that many are equal,
// and masks of few bits, some of them none.
func random(rnd *rand.Rand, n, steps int, unit int64) []behaviour.Event {
	events := make([]behaviour.Event, n)
	at := int64(0)
	density := rnd.IntN(4)
	for i := range events {
		at += rnd.Int64N(3) * unit
		events[i] = behaviour.Event{Time: at, Seq: int64(i), Value: uint32(rnd.IntN(4))}
		for range density {
			events[i].Mask |= 1 << rnd.IntN(steps)
		}
		if rnd.IntN(3) > 0 {
			events[i].Mask |= 1 << rnd.IntN(steps)
		}
	}
	return events
}

// bruteFunnel follows a chain from each entry, one after the other, as the
// definition says it.
func bruteFunnel(events []behaviour.Event, steps int, window int64, has map[event.Mode]bool) (best []int64, entry int) {
	strict := has[event.Strict] || has[event.StrictDeduplication]
	is := func(i, step int) bool { return events[i].Mask>>step&1 != 0 } // step from 0
	bestBy := -1
	for from := range events {
		if !is(from, 0) {
			continue
		}
		times, first := []int64{events[from].Time}, from
		offer := func(by int) {
			if len(times) > len(best) || len(times) == len(best) && by <= bestBy {
				best, entry, bestBy = slices.Clone(times), first, by
			}
		}
		offer(from)
	chain:
		for i := from + 1; i < len(events) && events[i].Time-events[from].Time <= window; i++ {
			t, n := events[i].Time, len(times)
			if events[i].Mask&(1<<steps-1) == 0 {
				continue
			}
			if has[event.AllowReentry] && is(i, 0) && n > 1 {
				times, first = []int64{t}, i
				continue
			}
			if strict && is(i, n-1) && (n == steps || !is(i, n)) {
				break
			}
			if has[event.StrictOrder] {
				for s := range n {
					if is(i, s) {
						break chain
					}
				}
			}
			if has[event.TimestampDedup] && t == times[n-1] || has[event.StrictIncrease] && t <= times[n-1] {
				continue
			}
			for len(times) < steps && is(i, len(times)) {
				times = append(times, t)
				if has[event.StrictOnce] {
					break
				}
			}
			if len(times) > n {
				offer(i)
			}
		}
	}
	return best, entry
}

var allModes = []event.Mode{event.Strict, event.StrictDeduplication, event.StrictOrder, event.StrictIncrease,
	event.TimestampDedup, event.StrictOnce, event.AllowReentry}

// TestFunnelBrute tries every combination of the seven modes.
func TestFunnelBrute(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	further := map[int]int{}
	for combination := range 1 << len(allModes) {
		var modes []event.Mode
		has := map[event.Mode]bool{}
		for i, m := range allModes {
			if combination>>i&1 != 0 {
				modes = append(modes, m)
				has[m] = true
			}
		}
		for range 400 {
			steps := 1 + rnd.IntN(5)
			if rnd.IntN(10) == 0 {
				steps = 32
			}
			window := rnd.Int64N(int64(12 + 3*steps))
			f := behaviour.NewFunnel(steps, window, modes)
			for range 3 { // a machine must not remember the unit before
				events := random(rnd, rnd.IntN(14), steps, 1)
				if rnd.IntN(4) == 0 { // most go far
					events = random(rnd, steps+rnd.IntN(8), steps, 1)
					for i := range events {
						events[i].Mask |= 1 << (i * steps / len(events))
					}
				}
				got, entry := f.Run(events)
				want, wantEntry := bruteFunnel(events, steps, window, has)
				if !slices.Equal(got, want) || len(want) > 0 && entry != wantEntry {
					t.Fatalf("%d steps within %d, modes %v, events %v:\ngot  %v from %d\nwant %v from %d", steps, window, modes, show(events), got, entry, want, wantEntry)
				}
				further[len(got)]++
			}
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 32} {
		if further[n] < 50 {
			t.Errorf("only %d chains of %d steps: the test tries nothing", further[n], n)
		}
	}
}

func show(events []behaviour.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, " %d:%b", e.Time, e.Mask)
	}
	return b.String()
}

// TestFunnelModes has one case for what each mode is there for.
func TestFunnelModes(t *testing.T) {
	t.Parallel()
	type e = behaviour.Event
	const a, b, c = 1, 2, 4
	cases := []struct {
		name   string
		modes  []event.Mode
		events []e
		want   []int64
	}{
		{"window's last moment is in it", nil, []e{{Time: 0, Mask: a}, {Time: 10, Mask: b}}, []int64{0, 10}},
		{"a moment later is not", nil, []e{{Time: 0, Mask: a}, {Time: 11, Mask: b}}, []int64{0}},
		{"a later entry", nil, []e{{Time: 0, Mask: a}, {Time: 5, Mask: a}, {Time: 15, Mask: b}}, []int64{5, 15}},
		{"an event is two steps", nil, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b | c}}, []int64{0, 1, 1}},
		{"the entry is one only", nil, []e{{Time: 0, Mask: a | b | c}}, []int64{0}},
		{"equal times in their order", nil, []e{{Time: 0, Mask: a}, {Time: 0, Mask: b}}, []int64{0, 0}},
		{"strict_once", []event.Mode{event.StrictOnce}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b | c}}, []int64{0, 1}},
		{"strict_increase", []event.Mode{event.StrictIncrease}, []e{{Time: 0, Mask: a}, {Time: 0, Mask: b}, {Time: 1, Mask: b}}, []int64{0, 1}},
		{"timestamp_dedup", []event.Mode{event.TimestampDedup}, []e{{Time: 0, Mask: a}, {Time: 0, Mask: b}}, []int64{0}},
		{"strict ends a chain", []event.Mode{event.Strict}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: b}, {Time: 3, Mask: c}}, []int64{0, 1}},
		{"strict_deduplication is the same", []event.Mode{event.StrictDeduplication}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: b}, {Time: 3, Mask: c}}, []int64{0, 1}},
		{"strict lets the next step pass", []event.Mode{event.Strict}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: b | c}}, []int64{0, 1, 2}},
		{"strict_order does not", []event.Mode{event.StrictOrder}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: b | c}}, []int64{0, 1}},
		{"allow_reentry", []event.Mode{event.AllowReentry}, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: a}, {Time: 3, Mask: c}}, []int64{0, 1}},
		{"without it", nil, []e{{Time: 0, Mask: a}, {Time: 1, Mask: b}, {Time: 2, Mask: a}, {Time: 3, Mask: c}}, []int64{0, 1, 3}},
	}
	for _, c := range cases {
		if got, _ := behaviour.NewFunnel(3, 10, c.modes).Run(c.events); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFunnelWork gives one unit so many events that a chain from each entry would
// take hours.
func TestFunnelWork(t *testing.T) {
	t.Parallel()
	events := make([]behaviour.Event, 1<<20)
	for i := range events {
		events[i] = behaviour.Event{Time: int64(i), Mask: 1}
	}
	began := time.Now()
	if got, _ := behaviour.NewFunnel(3, 1<<40, nil).Run(events); len(got) != 1 {
		t.Errorf("got %v, want one step", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a million entries took %v", took)
	}
}

// bruteGrid counts a retention grid as the definition says it.
func bruteGrid(units [][]behaviour.Event, starts []int64, from, to int64, periods int) (sizes []int64, cells [][]int64) {
	in := func(t int64, i int) bool { return i >= 0 && i+1 < len(starts) && starts[i] <= t && t < starts[i+1] }
	sizes, cells = make([]int64, len(starts)-1), make([][]int64, len(starts)-1)
	for c := range sizes {
		cells[c] = make([]int64, periods)
		for _, events := range units {
			first := slices.IndexFunc(events, func(e behaviour.Event) bool { return e.Mask&behaviour.First != 0 })
			if first < 0 || events[first].Time < from || events[first].Time >= to || !in(events[first].Time, c) {
				continue
			}
			sizes[c]++
			for p := range periods {
				if slices.ContainsFunc(events[first:], func(e behaviour.Event) bool { return e.Mask&behaviour.Again != 0 && in(e.Time, c+p) }) {
					cells[c][p]++
				}
			}
		}
	}
	return sizes, cells
}

func TestGridBrute(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	for range 2000 {
		starts := []int64{rnd.Int64N(5)}
		for range 2 + rnd.IntN(8) {
			starts = append(starts, starts[len(starts)-1]+1+rnd.Int64N(6))
		}
		cohorts, periods := 1+rnd.IntN(len(starts)-1), 2+rnd.IntN(4)
		from := starts[0] + rnd.Int64N(3)
		to := min(from+rnd.Int64N(20), starts[cohorts])
		var units [][]behaviour.Event
		g := behaviour.NewGrid(starts, from, to, cohorts, periods)
		for range rnd.IntN(8) {
			units = append(units, random(rnd, rnd.IntN(12), 2, 1+rnd.Int64N(3)))
			g.Run(units[len(units)-1])
		}
		sizes, cells := bruteGrid(units, starts, from, to, periods)
		for c := range cohorts {
			for p := range periods {
				if g.Size(c) != sizes[c] || g.Cell(c, p) != cells[c][p] {
					t.Fatalf("starts %v, births from %d to %d, units %v: cohort %d period %d: got %d of %d, want %d of %d",
						starts, from, to, units, c, p, g.Cell(c, p), g.Size(c), cells[c][p], sizes[c])
				}
			}
		}
	}
}

func TestFlowBrute(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	for range 5000 {
		f := behaviour.Flow{Depth: 1 + rnd.IntN(10), Backwards: rnd.IntN(2) == 0, Repeats: rnd.IntN(2) == 0}
		for range 2 {
			events := random(rnd, rnd.IntN(16), 2, 1)
			turned := slices.Clone(events)
			if f.Backwards {
				slices.Reverse(turned)
			}
			var want []uint32
			for _, e := range turned {
				switch {
				case len(want) == 0 && e.Mask&behaviour.Start == 0:
				case len(want) > 0 && e.Mask&behaviour.Station == 0:
				case len(want) > 0 && !f.Repeats && want[len(want)-1] == e.Value:
				default:
					want = append(want, e.Value)
				}
			}
			want = want[:min(len(want), f.Depth+1)]
			if got := f.Run(events); !slices.Equal(got, want) {
				t.Fatalf("%+v, events %v: got %v, want %v", f, events, got, want)
			}
		}
	}
}

// TestTable puts events in at random and finds each unit's, in order.
func TestTable(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	var table behaviour.Table
	for range 200 {
		want := map[behaviour.Key][]behaviour.Event{}
		keys := map[behaviour.Event]behaviour.Key{}
		for i := range rnd.IntN(4000) {
			k := behaviour.Key{Hi: rnd.Uint64N(20), Lo: rnd.Uint64N(20), Day: int32(rnd.IntN(2))}
			e := behaviour.Event{Time: rnd.Int64N(50), Seq: int64(i), Mask: 1}
			want[k] = append(want[k], e)
			keys[e] = k
			table.Add(k, e)
		}
		seen := 0
		table.Each(func(events []behaviour.Event) bool {
			bare := make([]behaviour.Event, len(events))
			for i, e := range events {
				bare[i] = behaviour.Event{Time: e.Time, Seq: e.Seq, Mask: e.Mask}
			}
			k := keys[bare[0]]
			slices.SortFunc(want[k], func(a, b behaviour.Event) int {
				if a.Time != b.Time {
					return int(a.Time - b.Time)
				}
				return int(a.Seq - b.Seq)
			})
			if !slices.Equal(bare, want[k]) {
				t.Fatalf("unit %v: got %v, want %v", k, bare, want[k])
			}
			seen++
			return true
		})
		if seen != len(want) || table.Len() != 0 {
			t.Fatalf("%d units, want %d; %d events left", seen, len(want), table.Len())
		}
	}
}
