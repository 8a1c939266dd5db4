package behaviour

import (
	"math"
	"slices"

	"github.com/eider-analytics/eider/store/event"
)

// work is the budget of a unit; see [Pattern.Count].
const work = 1 << 24

// Count returns how many matches a unit's events have that do not overlap.
// Events that are no step are left out unless every.
//
// It first finds, from the last step to the first, which events can be a step of
// a whole match, and then follows the matches without ever going back. That takes
// time in proportion to events times parts. Only a step that must come neither
// too soon nor too late needs a search for each event, as far as its time
// reaches; if that grows too long Count returns an [event.QueryError] rather than
// a wrong number.
func (p *Pattern) Count(events []Event, every bool) (int, error) {
	p.take(events, every)
	p.budget = work
	if err := p.prepare(); err != nil {
		return 0, err
	}
	n := 0
	for at := 0; at < len(p.events); {
		if p.reach[at]&1 == 0 { // of the gap before the first step, see prepare
			at++
			continue
		}
		at = p.follow(at)
		n++
	}
	return n, nil
}

// take keeps the events that are looked at.
func (p *Pattern) take(events []Event, every bool) {
	if every {
		p.events = events
		return
	}
	if !slices.ContainsFunc(events, func(e Event) bool { return e.Mask == 0 }) {
		p.events = events
		return
	}
	kept := make([]Event, 0, len(events))
	for _, e := range events {
		if e.Mask != 0 {
			kept = append(kept, e)
		}
	}
	p.events = kept
}

// prepare fills ok for all steps, and reach for the gap before the first.
func (p *Pattern) prepare() error {
	n := len(p.events)
	p.ok = zeroed(p.ok, n)
	p.reach = zeroed(p.reach, n+1)
	for k := len(p.gaps) - 1; k >= 0; k-- {
		g := &p.gaps[k]
		p.reachable(k)
		if k == 0 {
			return nil
		}
		before := p.gaps[k-1].step
		if err := p.leads(k, g, before); err != nil {
			return err
		}
	}
	return nil
}

func zeroed(s []uint64, n int) []uint64 {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// reachable fills reach for a gap: bit i of an event's word says that, from part
// i on and with this event next, the step behind the gap can be reached, whatever
// the time. The bit after the parts is the step itself, or the end of the
// pattern.
func (p *Pattern) reachable(k int) {
	g := &p.gaps[k]
	last := uint64(1) << len(g.parts)
	word := uint64(0)
	if g.step == nil {
		word = closed(g, last)
	}
	p.reach[len(p.events)] = word
	for i := len(p.events) - 1; i >= 0; i-- {
		var now uint64
		for j := range g.parts {
			part := &g.parts[j]
			if !part.fits(p.events[i].Mask) {
				continue
			}
			if part.star {
				now |= word & (1 << j)
			} else {
				now |= word >> 1 & (1 << j)
			}
		}
		if g.step == nil || p.ok[i]>>k&1 != 0 {
			now |= last
		}
		word = closed(g, now)
		p.reach[i] = word
	}
}

// closed adds the parts that may be left out before those in a word.
func closed(g *gap, word uint64) uint64 {
	for j := len(g.parts) - 1; j >= 0; j-- {
		if g.parts[j].star && word>>(j+1)&1 != 0 {
			word |= 1 << j
		}
	}
	return word
}

// leads fills ok for the step before gap k: those events that are it and from
// which the next step can be reached in time.
func (p *Pattern) leads(k int, g *gap, before *part) error {
	timed := g.step != nil && g.step.timed()
	simple := timed && oneSided(g.step)
	if simple {
		p.extremes(k)
	}
	for i := range p.events {
		if !before.fits(p.events[i].Mask) || p.reach[i+1]&1 == 0 {
			continue
		}
		good := true
		switch {
		case simple:
			at := (i + 1) * (len(g.parts) + 1)
			good = p.inTime(g.step, i, int(p.near[at])) || p.inTime(g.step, i, int(p.far[at]))
		case timed:
			good = p.search(k, i) >= 0
			if p.budget < 0 {
				return &event.QueryError{Message: "the sequence has a time with two ends, and somebody with too many events within it; leave one end away, or ask for a filter"}
			}
		}
		if good {
			p.ok[i] |= 1 << (k - 1)
		}
	}
	return nil
}

// oneSided says whether it is enough to look at the nearest and the farthest
// event: if neither is in time, none between them is.
func oneSided(s *part) bool {
	switch len(s.except) {
	case 0:
		return s.least <= 0 || s.most == math.MaxInt64
	case 1:
		return s.least <= 0 && s.most == math.MaxInt64
	}
	return false
}

// extremes fills near and far for a gap.
func (p *Pattern) extremes(k int) {
	g := &p.gaps[k]
	n, w := len(p.events), len(g.parts)+1
	p.near = slices.Grow(p.near[:0], (n+1)*w)[:(n+1)*w]
	p.far = slices.Grow(p.far[:0], (n+1)*w)[:(n+1)*w]
	for j := range w {
		p.near[n*w+j], p.far[n*w+j] = -1, -1
	}
	for i := n - 1; i >= 0; i-- {
		near, far := p.near[i*w:][:2*w], p.far[i*w:][:2*w]
		near[w-1], far[w-1] = -1, -1
		if p.ok[i]>>k&1 != 0 {
			near[w-1], far[w-1] = int32(i), int32(i)
		}
		for j := w - 2; j >= 0; j-- {
			part := &g.parts[j]
			next := w + j + 1 // the next part, in the next event's row
			if part.star {
				next = w + j
			}
			near[j], far[j] = -1, -1
			if part.fits(p.events[i].Mask) {
				near[j], far[j] = near[next], far[next]
			}
			if part.star { // or left out
				near[j], far[j] = nearer(near[j], near[j+1]), max(far[j], far[j+1])
			}
		}
	}
}

func nearer(a, b int32) int32 {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// inTime says whether event j may be the step s after event i.
func (p *Pattern) inTime(s *part, i, j int) bool {
	if j < 0 {
		return false
	}
	past := (p.events[j].Time - p.events[i].Time) / 1e6
	return past >= s.least && past <= s.most && !slices.Contains(s.except, past)
}

// search returns the earliest event after i that can be the step behind gap k, or
// -1.
func (p *Pattern) search(k, i int) int {
	g := &p.gaps[k]
	set := opened(g, 1)
	for j := i + 1; j < len(p.events) && set != 0; j++ {
		if p.budget--; p.budget < 0 {
			return -1
		}
		if set>>len(g.parts)&1 != 0 && p.ok[j]>>k&1 != 0 && (i < 0 || p.inTime(g.step, i, j)) {
			return j
		}
		if i >= 0 && (p.events[j].Time-p.events[i].Time)/1e6 > g.step.most {
			return -1
		}
		set = passed(g, set, p.events[j].Mask)
	}
	return -1
}

// passed returns where one can be in a gap after an event.
func passed(g *gap, set, mask uint64) (next uint64) {
	for j := range g.parts {
		part := &g.parts[j]
		if set>>j&1 == 0 || !part.fits(mask) {
			continue
		}
		if part.star {
			next |= 1 << j
		} else {
			next |= 2 << j
		}
	}
	return opened(g, next)
}

// opened adds the parts behind those in a set that may be left out.
func opened(g *gap, set uint64) uint64 {
	for j := range g.parts {
		if g.parts[j].star && set>>j&1 != 0 {
			set |= 2 << j
		}
	}
	return set
}

// follow returns where the match ends that begins at an event, past its last
// event. There is one.
func (p *Pattern) follow(at int) int {
	p.budget = math.MaxInt
	at = p.start(at)
	for k := 1; k < len(p.gaps)-1; k++ {
		at = p.search(k, at)
	}
	g := &p.gaps[len(p.gaps)-1]
	set := opened(g, 1)
	for at++; set>>len(g.parts)&1 == 0; at++ {
		set = passed(g, set, p.events[at].Mask)
	}
	return at
}

// start returns the first step of the match that begins at an event.
func (p *Pattern) start(at int) int {
	g := &p.gaps[0]
	set := opened(g, 1)
	for ; ; at++ {
		if set>>len(g.parts)&1 != 0 && p.ok[at]&1 != 0 {
			return at
		}
		set = passed(g, set, p.events[at].Mask)
	}
}
