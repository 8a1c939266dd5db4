package behaviour

import (
	"math/bits"

	"github.com/eider-analytics/eider/store/event"
)

// modes are those of a funnel as bits.
type modes uint8

const (
	strict modes = 1 << iota // strict_deduplication
	strictOrder
	strictIncrease
	timestampDedup
	strictOnce
	allowReentry
)

var modeBits = map[event.Mode]modes{
	event.Strict:              strict,
	event.StrictDeduplication: strict,
	event.StrictOrder:         strictOrder,
	event.StrictIncrease:      strictIncrease,
	event.TimestampDedup:      timestampDedup,
	event.StrictOnce:          strictOnce,
	event.AllowReentry:        allowReentry,
}

// A Funnel finds how far units get; see [event.Funnel] for what is meant. Bit n
// of a mask is step n.
//
// It follows all chains at once. What becomes of a chain depends on the step it
// has reached, on whether it has reached it at this very time, and on when its
// window closes: so of the chains that agree in the first two only that which
// began last is kept. There are at most two for each step, however many events.
type Funnel struct {
	steps  int
	window int64
	modes  modes

	// live are the chains by step and whether they reached it at the time now;
	// bit s of has[f] says that live[f][s] is one.
	live [2][MaxSteps + 1]chain
	has  [2]uint64
	now  int64
	best chain
}

// A chain is a run through some steps of a funnel.
type chain struct {
	began int64 // when its window opened
	entry int   // place of the event that is its first step; what began later has a higher one
	by    int   // place of the event that is its last step
	steps int
	times [MaxSteps]int64
}

// settled and fresh are the indexes of Funnel.live.
const (
	settled = iota
	fresh
)

// NewFunnel returns a funnel of 1 to [MaxSteps] steps with a window in µs. What
// is not a mode is left out.
func NewFunnel(steps int, window int64, modes []event.Mode) *Funnel {
	f := &Funnel{steps: steps, window: window}
	for _, m := range modes {
		f.modes |= modeBits[m]
	}
	return f
}

// Run returns when the steps were reached by the unit's best chain, and which
// event is its first; nil if there is none. The slice is good until the next
// call.
func (f *Funnel) Run(events []Event) (times []int64, entry int) {
	f.has, f.best.steps, f.now = [2]uint64{}, 0, 0
	for i := range events {
		mask := events[i].Mask
		if mask&(1<<f.steps-1) == 0 {
			continue
		}
		if t := events[i].Time; t != f.now {
			f.settle(t)
		}
		if f.has[settled]|f.has[fresh] != 0 {
			f.advance(i, mask)
		}
		if mask&1 != 0 {
			f.enter(i)
		}
		if f.best.steps == f.steps {
			break
		}
	}
	if f.best.steps == 0 {
		return nil, 0
	}
	return f.best.times[:f.best.steps], f.best.entry
}

// settle goes on to a later time.
func (f *Funnel) settle(now int64) {
	f.now = now
	for has := f.has[fresh]; has != 0; has &= has - 1 {
		s := bits.TrailingZeros64(has)
		f.put(settled, s, &f.live[fresh][s])
	}
	f.has[fresh] = 0
}

// enter begins a chain.
func (f *Funnel) enter(i int) {
	c := chain{began: f.now, entry: i, by: i, steps: 1}
	c.times[0] = f.now
	f.put(fresh, 1, &c)
	f.offer(&c)
}

// advance shows an event to all chains, those at the last steps first: so none
// sees it twice.
func (f *Funnel) advance(i int, mask uint64) {
	for has := f.has[settled] | f.has[fresh]; has != 0; {
		s := 63 - bits.LeadingZeros64(has)
		has &^= 1 << s
		for age := range f.live {
			if f.has[age]&(1<<s) != 0 {
				f.step(age, s, i, mask)
			}
		}
	}
}

// step shows an event to one chain. The order of the modes is that of the
// engines they come from, and can be seen where several are set.
func (f *Funnel) step(age, s, i int, mask uint64) {
	c := &f.live[age][s]
	reached := uint64(1)<<s - 1 // the steps of the chain
	next := mask>>s&1 != 0 && s < f.steps
	switch {
	case f.now-c.began > f.window:
	case f.modes&allowReentry != 0 && mask&1 != 0 && s > 1:
		// It would begin anew at this event, in its old window. So does a chain
		// of its own, whose window closes later: this one has no say any more.
	case f.modes&strict != 0 && mask>>(s-1)&1 != 0 && !next:
	case f.modes&strictOrder != 0 && mask&reached != 0:
	case f.modes&(timestampDedup|strictIncrease) != 0 && age == fresh:
		return
	case !next:
		return
	default:
		moved := *c
		f.has[age] &^= 1 << s
		for mask>>moved.steps&1 != 0 && moved.steps < f.steps {
			moved.times[moved.steps] = f.now
			moved.steps, moved.by = moved.steps+1, i
			if f.modes&strictOnce != 0 {
				break
			}
		}
		f.put(fresh, moved.steps, &moved)
		f.offer(&moved)
		return
	}
	f.has[age] &^= 1 << s // its window has closed, or a mode ended it
}

// put keeps a chain, unless there is one like it that began later.
func (f *Funnel) put(age, s int, c *chain) {
	if f.has[age]&(1<<s) != 0 && f.live[age][s].entry > c.entry {
		return
	}
	f.has[age] |= 1 << s
	f.live[age][s] = *c
}

// offer makes a chain the best, if it is: furthest, then first there, then last
// begun.
func (f *Funnel) offer(c *chain) {
	if c.steps > f.best.steps || c.steps == f.best.steps && c.by == f.best.by && c.entry > f.best.entry {
		f.best = *c
	}
}
