package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sort"
	"time"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

// maxTexts is how many different values of a dimension an answer is made of; all
// of them are counted before the first can be left out.
const maxTexts = 1 << 18

// Funnel answers a funnel from the present. It returns an [event.QueryError] for
// a question beyond its limits.
func (s *Store) Funnel(ctx context.Context, q event.Funnel) (*event.FunnelAnswer, error) {
	return s.funnel(ctx, q, s.room())
}

func (s *Store) funnel(ctx context.Context, q event.Funnel, b room) (*event.FunnelAnswer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	r := reading{scope: q.Scope, room: b, from: q.From, to: q.To, value: q.By}
	for _, step := range q.Steps {
		r.conditions = append(r.conditions, step.Filter)
	}
	if !q.Any {
		r.valued = 1 // the entry's
	}
	c := newFunnelCount(q)
	if q.Over != "" {
		from, to, err := s.rangeOf(ctx, sn, q.Scope)
		if err == nil {
			c.starts, err = event.Buckets(from, to, q.Zone, q.Over)
		}
		if err != nil {
			return nil, fmt.Errorf("answer funnel: %w", err)
		}
	}
	if err := s.behave(ctx, r, sn, c.unit); err != nil {
		return nil, fmt.Errorf("answer funnel: %w", err)
	}
	a := c.answer()
	a.About = about(sn, q.Scope)
	if q.Unit == event.PerVisitor && q.Window > 24*time.Hour {
		a.Caveat = "a visitor is one for a day only, so steps on different days are never seen together; ask by user for that"
	}
	return a, nil
}

// A funnelCount counts the units of a funnel.
type funnelCount struct {
	q       event.Funnel
	machine *behaviour.Funnel
	whole   *funnelSums
	byValue map[string]*funnelSums
	byTime  []*funnelSums // by starts
	starts  []int64
	seen    []uint32 // values of the unit at hand
}

func newFunnelCount(q event.Funnel) *funnelCount {
	c := &funnelCount{q: q, whole: newFunnelSums(len(q.Steps)), byValue: map[string]*funnelSums{}}
	c.machine = behaviour.NewFunnel(len(q.Steps), q.Window.Microseconds(), q.Modes)
	for i := range c.whole.took {
		c.whole.took[i].spread = make([]int64, spreads)
	}
	return c
}

func (c *funnelCount) unit(events []behaviour.Event, values []string) error {
	times, entry := c.machine.Run(events)
	if times == nil {
		return nil
	}
	c.whole.add(times)
	if len(c.starts) > 0 {
		c.interval(times[0]).add(times)
	}
	if c.q.By == "" {
		return nil
	}
	if c.seen = c.seen[:0]; !c.q.Any {
		return c.segment(values[events[entry].Value], times)
	}
	steps := uint64(1)<<len(c.q.Steps) - 1
	for _, e := range events {
		if e.Mask&steps == 0 || slices.Contains(c.seen, e.Value) {
			continue
		}
		c.seen = append(c.seen, e.Value)
		if err := c.segment(values[e.Value], times); err != nil {
			return err
		}
	}
	return nil
}

func (c *funnelCount) segment(value string, times []int64) error {
	sums := c.byValue[value]
	if sums == nil {
		if len(c.byValue) == maxTexts {
			return tooMany(c.q.By)
		}
		sums = newFunnelSums(len(c.q.Steps))
		c.byValue[value] = sums
	}
	sums.add(times)
	return nil
}

func tooMany(d event.Dimension) error {
	return &event.QueryError{Message: fmt.Sprintf("there are more than %d values of %s; ask with a filter, for a shorter range, or by another dimension", maxTexts, d)}
}

// interval returns the sums of the interval of a time. Where days begin before
// the range, or a visit before its day, the first takes what is before it.
func (c *funnelCount) interval(t int64) *funnelSums {
	if c.byTime == nil {
		c.byTime = make([]*funnelSums, len(c.starts))
	}
	i := max(0, sort.Search(len(c.starts), func(i int) bool { return c.starts[i] > t })-1)
	if c.byTime[i] == nil {
		c.byTime[i] = newFunnelSums(len(c.q.Steps))
	}
	return c.byTime[i]
}

func (c *funnelCount) answer() *event.FunnelAnswer {
	a := &event.FunnelAnswer{Steps: c.steps(c.whole), Count: len(c.byValue)}
	values := slices.SortedFunc(maps.Keys(c.byValue), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.byValue[b].reached[0], c.byValue[a].reached[0]), cmp.Compare(a, b))
	})
	for _, v := range values[:min(len(values), c.q.Limit)] {
		a.Segments = append(a.Segments, event.FunnelSegment{Value: v, Steps: c.steps(c.byValue[v])})
	}
	none := newFunnelSums(len(c.q.Steps))
	for i, start := range c.starts {
		sums := none
		if c.byTime != nil && c.byTime[i] != nil {
			sums = c.byTime[i]
		}
		a.Points = append(a.Points, event.FunnelPoint{Time: start, Steps: c.steps(sums)})
	}
	return a
}

func (c *funnelCount) steps(sums *funnelSums) []event.FunnelStep {
	steps := make([]event.FunnelStep, len(c.q.Steps))
	for i, step := range c.q.Steps {
		n := sums.reached[i]
		steps[i] = event.FunnelStep{Name: step.Name, Reached: n, Rate: percent(n, sums.reached[0]), Kept: percent(n, n)}
		if i > 0 {
			before := sums.reached[i-1]
			steps[i].Kept, steps[i].Dropped, steps[i].Took = percent(n, before), before-n, sums.took[i].spell()
		}
	}
	return steps
}

func percent(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// funnelSums are how many units reached each step, and how long they took.
type funnelSums struct {
	reached []int64
	took    []spellSum
}

func newFunnelSums(steps int) *funnelSums {
	return &funnelSums{make([]int64, steps), make([]spellSum, steps)}
}

func (f *funnelSums) add(times []int64) {
	for i, t := range times {
		f.reached[i]++
		if i > 0 {
			f.took[i].add(t - times[i-1])
		}
	}
}

// A spellSum adds up times of µs. Its spread, if there is one, counts them by
// their first eight binary digits, so that what is found there is less than a
// 128th too large.
type spellSum struct {
	n                 int64
	high, low         uint64 // sum
	shortest, longest int64
	spread            []int64
}

const spreads = (64 - 7) << 7

func spreadOf(v int64) int {
	e := max(0, bits.Len64(uint64(v))-8)
	return e<<7 + int(v>>e)
}

// upTo returns the largest time with a place in the spread.
func upTo(place int) int64 {
	e := max(0, place>>7-1)
	return int64(place-e<<7+1)<<e - 1
}

func (s *spellSum) add(v int64) {
	if s.n == 0 || v < s.shortest {
		s.shortest = v
	}
	s.longest = max(s.longest, v)
	s.n++
	var carry uint64
	s.low, carry = bits.Add64(s.low, uint64(v), 0)
	s.high += carry
	if s.spread != nil {
		s.spread[spreadOf(v)]++
	}
}

func (s *spellSum) spell() event.Spell {
	if s.n == 0 {
		return event.Spell{}
	}
	const µs = time.Microsecond
	mean, _ := bits.Div64(s.high, s.low, uint64(s.n))
	sp := event.Spell{Mean: time.Duration(mean) * µs}
	sp.Shortest, sp.Longest = time.Duration(s.shortest)*µs, time.Duration(s.longest)*µs
	if s.spread != nil {
		sp.Median, sp.P90 = s.quantile(50), s.quantile(90)
	}
	return sp
}

// quantile returns how long at most so many percent took.
func (s *spellSum) quantile(percent int64) time.Duration {
	rank := (s.n*percent + 99) / 100
	for place, n := range s.spread {
		if rank -= n; rank <= 0 {
			return time.Duration(min(upTo(place), s.longest)) * time.Microsecond
		}
	}
	return time.Duration(s.longest) * time.Microsecond
}
