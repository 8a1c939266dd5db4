package behaviour

// Bits of the masks of a [Flow]'s events.
const (
	Start   = 1 << iota // a journey can begin with it
	Station             // it is one
)

// A Flow finds the journeys of units; see [event.Flow].
type Flow struct {
	Backwards bool
	Depth     int  // stations after the start
	Repeats   bool // whether a station with the value of the one before counts

	path []uint32
}

// Run returns the values of a unit's stations, the start first, at most Depth
// after it; nil if it has no start. The slice is good until the next call.
func (f *Flow) Run(events []Event) []uint32 {
	from, to, by := 0, len(events), 1
	if f.Backwards {
		from, to, by = len(events)-1, -1, -1
	}
	for from != to && events[from].Mask&Start == 0 {
		from += by
	}
	if from == to {
		return nil
	}
	f.path = append(f.path[:0], events[from].Value)
	for i := from + by; i != to && len(f.path) <= f.Depth; i += by {
		v := events[i].Value
		if events[i].Mask&Station == 0 || !f.Repeats && v == f.path[len(f.path)-1] {
			continue
		}
		f.path = append(f.path, v)
	}
	return f.path
}
