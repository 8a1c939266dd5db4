package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

// Flow answers a flow from the present. It returns an [event.QueryError] for a
// question beyond its limits.
func (s *Store) Flow(ctx context.Context, q event.Flow) (*event.FlowAnswer, error) {
	return s.flow(ctx, q, s.room())
}

func (s *Store) flow(ctx context.Context, q event.Flow, b room) (*event.FlowAnswer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	if q.Events.Zero() {
		q.Events = event.Filter{Op: event.Is, Dimension: "name", Values: []string{event.Pageview}}
	}
	anchored := !q.Start.Zero()
	if !anchored {
		q.Start = q.Events
	}
	r := reading{scope: q.Scope, room: b, from: q.From, to: q.To, value: q.By, first: anchored, conditions: []event.Filter{q.Start, q.Events}}
	c := newFlowCount(q, b.links)
	if err := s.behave(ctx, r, sn, c.unit); err != nil {
		return nil, fmt.Errorf("answer flow: %w", err)
	}
	shown := c.nodes()
	if c.links == nil {
		again := newFlowCount(q, math.MaxInt)
		again.ids, again.texts, again.places = c.ids, c.texts, shown.places
		if err := s.behave(ctx, r, sn, again.unit); err != nil {
			return nil, fmt.Errorf("answer flow: %w", err)
		}
		c = again
	}
	return &event.FlowAnswer{Start: shown.levels[0], Steps: c.steps(shown), About: about(sn, q.Scope)}, nil
}

// A flowCount counts the journeys of a flow. Texts are numbered from 1.
type flowCount struct {
	q       event.Flow
	machine behaviour.Flow
	ids     map[string]uint32
	texts   []string

	at    []map[uint32]int64 // by level, 0 is the start: units by text
	ends  []int64            // by level: units whose journey was over before
	links map[link]int64     // nil if there were too many
	limit int

	// places says of each text of a level in which node it is. If it is set,
	// links are between nodes.
	places []map[uint32]int

	known []uint32 // number of each value of the brood at hand, 0 if it has none yet
	last  []string // the values of that brood
}

// A link is from a text to a text of a level, or from a node to a node.
type link struct {
	level    int
	from, to uint32 // to 0 is the end
}

func newFlowCount(q event.Flow, limit int) *flowCount {
	c := &flowCount{
		q: q, limit: limit, links: map[link]int64{}, ids: map[string]uint32{}, texts: []string{""},
		machine: behaviour.Flow{Backwards: q.Backwards, Depth: q.Depth, Repeats: q.Repeats},
		at:      make([]map[uint32]int64, q.Depth+1), ends: make([]int64, q.Depth+1),
	}
	for i := range c.at {
		c.at[i] = map[uint32]int64{}
	}
	return c
}

func (c *flowCount) unit(events []behaviour.Event, values []string) error {
	var before uint32
	path := c.machine.Run(events)
	for level, v := range path {
		id, err := c.id(v, values)
		if err != nil {
			return err
		}
		c.at[level][id]++
		if level > 0 {
			c.link(level, before, id)
		}
		before = id
	}
	if n := len(path); n > 0 && n <= c.q.Depth {
		c.ends[n]++
		c.link(n, before, 0)
	}
	return nil
}

// id returns the number of a value.
func (c *flowCount) id(v uint32, values []string) (uint32, error) {
	if len(values) != len(c.last) || len(values) > 0 && &values[0] != &c.last[0] {
		c.last = values
		c.known = slices.Grow(c.known[:0], len(values))[:len(values)]
		clear(c.known)
	}
	if id := c.known[v]; id != 0 {
		return id, nil
	}
	id, ok := c.ids[values[v]]
	if !ok {
		if len(c.texts) > maxTexts {
			return 0, tooMany(c.q.By)
		}
		id = uint32(len(c.texts))
		c.texts = append(c.texts, values[v])
		c.ids[values[v]] = id
	}
	c.known[v] = id
	return id, nil
}

func (c *flowCount) link(level int, from, to uint32) {
	if c.links == nil {
		return
	}
	if c.places != nil {
		from, to = c.node(level-1, from), c.node(level, to)
	}
	l := link{level, from, to}
	if _, known := c.links[l]; !known && len(c.links) == c.limit {
		c.links = nil
		return
	}
	c.links[l]++
}

// node returns the place of a text's node. The nodes that are not of a text come
// last: the others, then the end.
func (c *flowCount) node(level int, text uint32) uint32 {
	places := c.places[level]
	if text == 0 {
		return uint32(places[0])
	}
	if place, ok := places[text]; ok {
		return uint32(place)
	}
	return uint32(places[others])
}

// others stands for all texts that have no node of their own.
const others = ^uint32(0)

// flowNodes are the nodes of all levels, and where each text is.
type flowNodes struct {
	levels [][]event.FlowNode
	places []map[uint32]int
}

// nodes returns those that are shown.
func (c *flowCount) nodes() flowNodes {
	var all flowNodes
	for level, units := range c.at {
		texts := slices.SortedFunc(maps.Keys(units), func(a, b uint32) int {
			return cmp.Or(cmp.Compare(units[b], units[a]), cmp.Compare(c.texts[a], c.texts[b]))
		})
		var nodes []event.FlowNode
		places := map[uint32]int{}
		rest := int64(0)
		for i, text := range texts {
			if i >= c.q.Top {
				rest += units[text]
				continue
			}
			places[text] = len(nodes)
			nodes = append(nodes, event.FlowNode{Kind: event.Station, Value: c.texts[text], Units: units[text]})
		}
		if rest > 0 {
			places[others] = len(nodes)
			nodes = append(nodes, event.FlowNode{Kind: event.Others, Units: rest})
		}
		if n := c.ends[level]; n > 0 {
			places[0] = len(nodes)
			nodes = append(nodes, event.FlowNode{Kind: event.End, Units: n})
		}
		all.levels, all.places = append(all.levels, nodes), append(all.places, places)
	}
	return all
}

// steps returns the levels after the start.
func (c *flowCount) steps(shown flowNodes) []event.FlowStep {
	folded := c.links
	if c.places == nil {
		c.places = shown.places
		folded = map[link]int64{}
		for l, n := range c.links {
			folded[link{l.level, c.node(l.level-1, l.from), c.node(l.level, l.to)}] += n
		}
	}
	steps := make([]event.FlowStep, c.q.Depth)
	for i := range steps {
		steps[i].Nodes = shown.levels[i+1]
	}
	for l, n := range folded {
		step := &steps[l.level-1]
		step.Links = append(step.Links, event.FlowLink{From: int(l.from), To: int(l.to), Units: n})
	}
	for i := range steps {
		slices.SortFunc(steps[i].Links, func(a, b event.FlowLink) int {
			return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
		})
	}
	return steps
}
