package store

import (
	"sync/atomic"
	"time"
)

// A pace makes the writing of parts leave room for what cannot wait. Encoding
// keeps a core busy for as long as it goes on, and on two cores every request
// that comes meanwhile would queue behind it for as long as the scheduler lets
// it. So it works for a moment and rests for twice as long.
//
// Whoever holds Store.maintaining owns it, but for gentle.
type pace struct {
	gentle atomic.Bool // rest at all
	from   time.Time   // when the work since the last rest began
}

// The longest stretch of work, and how much longer than it a rest is.
const (
	paceWork = time.Millisecond
	paceRest = 2
)

// begin begins a piece of work.
func (p *pace) begin() { p.from = time.Now() }

// rest rests if there has been work for long enough. It is to be called often.
func (p *pace) rest() {
	if !p.gentle.Load() {
		return
	}
	if worked := time.Since(p.from); worked >= paceWork {
		time.Sleep(min(paceRest*worked, 20*time.Millisecond))
		p.from = time.Now()
	}
}

// Pace says whether what writes parts, and rolling up, take their time so as not to
// keep requests waiting. At first they do not: where nobody is served, at the start,
// at the end and in a command, only the end of it is waited for.
func (s *Store) Pace(gently bool) { s.pace.gentle.Store(gently) }

// breathe is called between two batches of rows that are written to a part. A
// journal that grows faster than it is published is no time to rest.
func (s *Store) breathe() {
	if s.ledger.Journal().Bytes < 2*s.opts.PublishBytes {
		s.pace.rest()
	}
}
