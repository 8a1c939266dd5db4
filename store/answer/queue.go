package answer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A queue gives out places. Each asker has a line, one for heavy questions and
// one for the others, and the lines take turns.
type queue struct {
	wait   time.Duration
	now    func() time.Time
	waited func(time.Duration)

	mu      sync.Mutex // guards the fields below
	free    int        // places
	heavy   int        // places that heavy questions may still take
	places  int
	lines   []*line // with somebody in each; the first has the next turn
	waiting int
	begun   map[*waiter]time.Time // those who have a place, since when
	typical time.Duration         // how long a run takes, late ones weighing more
	refused int64
}

type line struct {
	asker   string
	heavy   bool
	waiters []*waiter
}

type waiter struct {
	heavy bool
	turn  chan struct{} // closed when he has a place
}

func newQueue(places int, wait time.Duration, now func() time.Time, waited func(time.Duration)) *queue {
	return &queue{
		wait: wait, now: now, waited: waited,
		free: places, heavy: max(places/2, 1), places: places, begun: map[*waiter]time.Time{},
	}
}

// enter waits for a place, which the returned function gives back.
func (q *queue) enter(ctx context.Context, asker string, heavy bool) (leave func(), err error) {
	w := &waiter{heavy: heavy, turn: make(chan struct{})}
	start := q.now()
	q.mu.Lock()
	q.push(asker, w)
	q.serve()
	q.mu.Unlock()
	timer := time.NewTimer(q.wait)
	defer timer.Stop()
	select {
	case <-w.turn:
	case <-timer.C:
		err = q.drop(w, true)
	case <-ctx.Done():
		if err = q.drop(w, false); err != nil {
			err = ctx.Err()
		}
	}
	q.waited(q.now().Sub(start))
	if err != nil {
		return nil, err
	}
	return func() { q.leave(w) }, nil
}

// push puts a waiter at the end of his line, with mu held.
func (q *queue) push(asker string, w *waiter) {
	q.waiting++
	i := slices.IndexFunc(q.lines, func(l *line) bool { return l.asker == asker && l.heavy == w.heavy })
	if i < 0 {
		i = len(q.lines)
		q.lines = append(q.lines, &line{asker: asker, heavy: w.heavy})
	}
	q.lines[i].waiters = append(q.lines[i].waiters, w)
}

// serve gives the free places to those whose turn it is, with mu held. A line
// that has had its turn goes to the end.
func (q *queue) serve() {
	for q.free > 0 {
		i := slices.IndexFunc(q.lines, func(l *line) bool { return !l.heavy || q.heavy > 0 })
		if i < 0 {
			return
		}
		l := q.lines[i]
		q.lines = slices.Delete(q.lines, i, i+1)
		w := l.waiters[0]
		if l.waiters = l.waiters[1:]; len(l.waiters) > 0 {
			q.lines = append(q.lines, l)
		}
		q.waiting--
		q.free--
		if w.heavy {
			q.heavy--
		}
		q.begun[w] = q.now()
		close(w.turn)
	}
}

// drop takes out one who will not wait any longer, and returns when he may come
// again. If it was his turn just now he gets nil: he has a place.
func (q *queue) drop(w *waiter, late bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, served := q.begun[w]; served {
		return nil
	}
	for i, l := range q.lines {
		if j := slices.Index(l.waiters, w); j >= 0 {
			if l.waiters = slices.Delete(l.waiters, j, j+1); len(l.waiters) == 0 {
				q.lines = slices.Delete(q.lines, i, i+1)
			}
			break
		}
	}
	q.waiting--
	if late {
		q.refused++
	}
	return &event.BusyError{RetryAfter: q.clear()}
}

// clear estimates when those who wait now will have been served, with mu held:
// that is when a place is free for whoever comes again. What is still running
// counts with the time that it has taken already.
func (q *queue) clear() time.Duration {
	var elapsed time.Duration
	for _, since := range q.begun {
		elapsed += q.now().Sub(since)
	}
	each := q.typical
	if n := len(q.begun); n > 0 {
		each = max(each, elapsed/time.Duration(n))
	}
	return min(max(each*time.Duration(q.waiting+1)/time.Duration(q.places), time.Second), time.Minute)
}

func (q *queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	took := q.now().Sub(q.begun[w])
	q.typical += (took - q.typical) / 8
	delete(q.begun, w)
	q.free++
	if w.heavy {
		q.heavy++
	}
	q.serve()
}

func (q *queue) stats(s *Stats) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Running, s.Waiting, s.Refused = len(q.begun), q.waiting, q.refused
}
