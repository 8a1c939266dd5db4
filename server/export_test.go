package server

import (
	"context"
	"net/url"
	"time"
)

// Patterns returns the list of routes.
func Patterns() []string {
	var list []string
	for _, rt := range routes {
		list = append(list, rt.pattern)
	}
	return list
}

// Span returns the range that a query asks for, in µs.
func Span(q url.Values, zone *time.Location, now time.Time) (from, to int64, days int, err error) {
	d, err := parseSpan(q, zone, now)
	if err != nil {
		return 0, 0, 0, err
	}
	from, to = d.micros()
	return from, to, d.days(), nil
}

// ParseHop is parseHop.
var ParseHop = parseHop

// Occupy takes all places of the class of POST /api/events until the returned
// function is called.
func (s *Server) Occupy() (release func()) {
	places := s.slots[batch]
	for range cap(places) {
		places <- struct{}{}
	}
	return func() {
		for range cap(places) {
			<-places
		}
	}
}

// EventShare is how many events one client may send at once.
var EventShare = shareOf(single)

// LimitConns sets the most connections of a listener that is served later.
func (s *Server) LimitConns(n int) { s.conns = n }

// FlushKeys writes the last use of keys.
func (s *Server) FlushKeys() error { return s.keys.flush(context.Background()) }
