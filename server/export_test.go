package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
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

// Before returns the range with which that of a query is compared.
func Before(q url.Values, zone *time.Location, now time.Time, mode string) (from, to int64) {
	d, err := parseSpan(q, zone, now)
	if err != nil {
		panic(err)
	}
	return d.before(mode, now).micros()
}

// Conditions returns what the short form of filters says.
func Conditions(text string) ([]event.Filter, error) {
	list, err := parseConditions(text)
	var filters []event.Filter
	for _, c := range list {
		filters = append(filters, c.filter())
	}
	return filters, err
}

// ParseWindow is parseWindow, and Money what an amount looks like.
var (
	ParseWindow = parseWindow
	Money       = exactly
)

// LockedIn returns the context of a visitor whose link is locked.
func LockedIn(ctx context.Context, site string, f event.Filter) context.Context {
	return context.WithValue(ctx, lockKey{}, &lock{site, f})
}

// Locked returns what puts locks to questions.
func Locked(q Questions, r Reports) (Questions, Reports) { return lockedQuestions{q}, lockedReports{r} }

// ShortNumber is how a badge writes a number.
var ShortNumber = shortNumber

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

// Rooms returns how many bytes of single events and of batches there is room for.
func (s *Server) Rooms() (singles, batches int64) {
	return s.singles.left.Load(), s.batches.left.Load()
}

// Fill takes all but so many bytes of each room until the returned function is called.
func (s *Server) Fill(left int64) (release func()) {
	singles, batches := s.Rooms()
	s.singles.room.take(singles - left)
	s.batches.take(batches - left)
	return func() {
		s.singles.room.give(singles - left)
		s.batches.give(batches - left)
	}
}

// EventShare is how many events one client may send at once.
var EventShare = shareOf(single)

// AskerShare is how many SQL statements one key may ask at once.
var AskerShare = askerShare(statements)

// LimitConns sets the most connections of a listener that is served later.
func (s *Server) LimitConns(n int) { s.conns = n }

// PaceExports sets how fast an export has to be taken.
func (s *Server) PaceExports(grace time.Duration, rate float64) { s.pace = pace{grace, rate} }

// PaceTail sets how often a live stream is heard of, and how long it waits for who
// reads it.
func (s *Server) PaceTail(heartbeat, patience time.Duration) {
	s.heartbeat, s.patience = heartbeat, patience
}

// TailShare is how many live streams one key may have, and TailPlaces all of them.
var TailShare, TailPlaces = askerShare(lives), slots[lives]

// FlushKeys writes the last use of keys.
func (s *Server) FlushKeys() error { return s.keys.flush(context.Background()) }

// Described returns the patterns that have a description.
func Described() []string { return slices.Collect(maps.Keys(operations)) }

// StrictDocument returns openapi.json with nothing allowed that it does not list.
func StrictDocument() []byte {
	doc, err := json.Marshal(documentOf("test", routes, operations, true))
	if err != nil {
		panic(err)
	}
	return doc
}

// RouteOf returns the route of the list that answers a request; none for what is
// in no list.
func RouteOf(r *http.Request) string {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.pattern, http.NotFoundHandler())
	}
	mux.Handle("/api/", http.NotFoundHandler())
	_, pattern := mux.Handler(r)
	return strings.TrimPrefix(pattern, "/api/")
}
