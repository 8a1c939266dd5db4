package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A shot is what a load has seen.
type shot struct {
	accepted int // answered with 202
	refused  int // answered otherwise
	elapsed  time.Duration
	samples  []sample
}

// A sample is one request.
type sample struct {
	start time.Time
	took  time.Duration
}

// A span is a time in which something ran.
type span struct{ from, to time.Time }

func (s *shot) rate() float64 { return float64(s.accepted) / s.elapsed.Seconds() }

// within returns the times of the requests that were under way in a span, sorted;
// of all without one.
func (s *shot) within(spans ...span) latencies {
	var l latencies
	for _, x := range s.samples {
		if len(spans) == 0 || slices.ContainsFunc(spans, func(sp span) bool {
			return x.start.Before(sp.to) && x.start.Add(x.took).After(sp.from)
		}) {
			l = append(l, x.took)
		}
	}
	slices.Sort(l)
	return l
}

// latencies are times, sorted.
type latencies []time.Duration

// at returns the time below which a share of them stayed.
func (l latencies) at(share float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[min(int(share*float64(len(l))), len(l)-1)]
}

// fire sends each connection's requests over and over until ctx is done. With a
// pace, in requests a second, they are due at fixed times and the time that one
// took counts from then on, so that a stall is seen in all that it held up.
// Without one each connection sends as soon as it has its answer.
//
// It shares the cores with what it measures, so it does as little as it can:
// whole requests that were made before, one read for an answer, no parsing but of
// status and length.
func fire(ctx context.Context, t testing.TB, addr string, all [][][]byte, pace float64) *shot {
	t.Helper()
	shots := make([]shot, len(all))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	began := time.Now()
	for i := range all {
		c := caller{requests: all[i], shot: &shots[i]}
		c.samples = make([]sample, 0, 1<<14)
		if pace > 0 {
			c.every = time.Duration(float64(len(all)) / pace * float64(time.Second))
			c.due = began.Add(c.every * time.Duration(i) / time.Duration(len(all)))
		}
		wg.Go(func() { errs[i] = c.run(ctx, addr) })
	}
	wg.Wait()
	sum := &shot{elapsed: time.Since(began)}
	for i := range shots {
		if errs[i] != nil {
			t.Fatalf("connection %d: %v", i, errs[i])
		}
		sum.accepted += shots[i].accepted
		sum.refused += shots[i].refused
		sum.samples = append(sum.samples, shots[i].samples...)
	}
	return sum
}

// A caller is one keep-alive connection of a load.
type caller struct {
	*shot
	requests [][]byte
	every    time.Duration // 0: no pace
	due      time.Time     // when the next request is
}

func (c *caller) run(ctx context.Context, addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 4096)
	for i := 0; ctx.Err() == nil; i++ {
		start := time.Now()
		if c.every > 0 {
			if start.Before(c.due) {
				time.Sleep(c.due.Sub(start))
				start = time.Now() // that we woke late is not the server's fault
			} else {
				start = c.due
			}
			c.due = c.due.Add(c.every)
		}
		if _, err := conn.Write(c.requests[i%len(c.requests)]); err != nil {
			return err
		}
		ok, err := answer(conn, buf)
		if err != nil {
			return err
		}
		c.samples = append(c.samples, sample{start, time.Since(start)})
		if ok {
			c.accepted++
		} else {
			c.refused++
		}
	}
	return nil
}

// answer reads one answer and says whether it is a 202.
func answer(conn net.Conn, buf []byte) (accepted bool, err error) {
	n, whole := 0, 0
	for whole == 0 || n < whole {
		if n == len(buf) {
			return false, fmt.Errorf("answer of more than %d bytes", n)
		}
		m, err := conn.Read(buf[n:])
		if err != nil {
			return false, err
		}
		if n += m; whole != 0 {
			continue
		}
		head := bytes.Index(buf[:n], []byte("\r\n\r\n"))
		if head < 0 {
			continue
		}
		if whole, err = length(buf[:head+2]); err != nil {
			return false, err
		}
		whole += head + 4
	}
	return bytes.HasPrefix(buf, []byte("HTTP/1.1 202")), nil
}

// length returns the Content-Length that a head names.
func length(head []byte) (int, error) {
	_, rest, ok := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !ok {
		return 0, fmt.Errorf("no Content-Length in %q", head)
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r"))
	return strconv.Atoi(string(digits))
}

// fireFor is fire for a while.
func fireFor(t testing.TB, d time.Duration, addr string, all [][][]byte, pace float64) *shot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return fire(ctx, t, addr, all, pace)
}

// median returns the middle of some figures.
func median(figures []float64) float64 {
	s := slices.Sorted(slices.Values(figures))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
