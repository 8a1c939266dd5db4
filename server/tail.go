package server

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/server/tail"
	"github.com/eider-analytics/eider/store/event"
)

const (
	// heartbeat is how often a live stream says that it is there, and is asked
	// whether it still may.
	heartbeat = 15 * time.Second
	// tailPatience is how long a piece of a live stream may take to be taken. It is
	// also the longest that such a stream holds up a stop.
	tailPatience = 5 * time.Second
	// tailRetry is what a client is told to wait before it comes again.
	tailRetry = 2 * time.Second
)

// A tailJSON is an event as a live stream shows it: what the reports tell of it,
// and nothing that says whose it is.
type tailJSON struct {
	Seq      int64           `json:"seq"`
	Time     string          `json:"time"`
	Name     string          `json:"name"`
	Hostname *string         `json:"hostname"`
	Path     *string         `json:"path"`
	Title    *string         `json:"title"`
	Referrer *string         `json:"referrer"`
	Source   *string         `json:"source"`
	Channel  *string         `json:"channel"`
	Campaign *string         `json:"utm_campaign"`
	Browser  *string         `json:"browser"`
	OS       *string         `json:"os"`
	Device   *string         `json:"device"`
	Language *string         `json:"language"`
	Country  *string         `json:"country"`
	Region   *string         `json:"region"`
	City     *string         `json:"city"`
	Revenue  *json.Number    `json:"revenue"`
	Currency *string         `json:"currency"`
	Props    json.RawMessage `json:"props"`
	Engaged  *int64          `json:"engaged_ms"`
	Scroll   *int32          `json:"scroll"`
}

func tailOf(e *event.Event, zone *time.Location) tailJSON {
	out := tailJSON{
		Seq: e.Seq, Time: time.UnixMicro(e.Time).In(zone).Format("2006-01-02T15:04:05.000Z07:00"), Name: e.Name,
		Hostname: textOrNil(e.Hostname), Path: textOrNil(e.Path), Title: textOrNil(e.Title),
		Referrer: textOrNil(e.Referrer), Source: textOrNil(e.Source), Channel: textOrNil(e.Channel), Campaign: textOrNil(e.UTMCampaign),
		Browser: textOrNil(e.Browser), OS: textOrNil(e.OS), Device: textOrNil(e.Device), Language: textOrNil(e.Language),
		Country: textOrNil(e.Country), Region: textOrNil(e.Region), City: textOrNil(e.City), Currency: textOrNil(e.Currency),
	}
	if e.Currency != "" {
		amount := exactly(e.Revenue)
		out.Revenue = &amount
	}
	if json.Valid([]byte(e.Props)) { // "" is not
		out.Props = json.RawMessage(e.Props)
	}
	if e.Name == event.Engagement {
		out.Engaged = &e.EngagedMS
		if e.Scroll != event.NoScroll {
			out.Scroll = &e.Scroll
		}
	}
	return out
}

// A missedJSON says what a live stream has left out.
type missedJSON struct {
	Events int64 `json:"events"` // of the site, with those that the filters would have left out
	Exact  bool  `json:"exact"`  // false if there may have been more
}

// tail answers with the events of a site as they become durable, until the client
// goes, may not listen any more, or the server stops: as server-sent events, or by a
// WebSocket if the client asks for one.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) error {
	upgrade := asksForSocket(r)
	if upgrade {
		if err := s.sameOrigin(r); err != nil {
			return err
		}
	}
	q, after, err := s.askTail(r)
	if err != nil {
		return err
	}
	if !s.join() {
		return errDraining
	}
	defer s.listeners.Done()
	listening, err := s.o.Tail.Listen(q.Site, q.whole(), after)
	if err != nil {
		return err
	}
	defer listening.Close()
	l := &listener{s: s, r: r, q: q, from: listening, told: tail.FromNow}
	if upgrade {
		return l.bySocket(w)
	}
	return l.byEvents(w)
}

// askTail reads whose events are wanted, and the last one that the client has seen.
func (s *Server) askTail(r *http.Request) (q *question, after int64, err error) {
	if q, err = s.ask(r, "filters", "segment", "after"); err != nil {
		return nil, 0, err
	}
	if err := aboutNow(r); err != nil {
		return nil, 0, err
	}
	after = tail.FromNow
	if r.URL.Query().Has("after") {
		if after, err = number(r, "after", 0, 0, math.MaxInt64); err != nil {
			return nil, 0, err
		}
	}
	if seen := r.Header["Last-Event-Id"]; len(seen) > 0 {
		// A browser that comes again asks for the same URL, with this beside it.
		if after, err = strconv.ParseInt(seen[0], 10, 64); err != nil || after < 0 || len(seen) > 1 {
			return nil, 0, refuse(http.StatusBadRequest, "parameter", "Last-Event-ID is the number of an event")
		}
	}
	return q, after, nil
}

// The kinds of what a live stream tells.
const (
	tellsEvent    = "event"
	tellsMissed   = "missed"
	tellsPosition = "position" // nothing but how far the client has seen everything
	tellsEnd      = "end"
)

// A teller writes what a live stream tells in the way that its client has asked for.
type teller interface {
	// tell tells of something of a kind; data is nil for a position. It may wait for
	// flush, and does not keep data.
	tell(kind string, id int64, data any) error
	// beat says that the stream is there.
	beat() error
	flush() error
}

// A listener is one stream that is being written.
type listener struct {
	s    *Server
	r    *http.Request
	q    *question
	from *tail.Stream
	to   teller
	told int64 // the last id that the client was told
}

// follow tells what there is until the client has gone, which is when ctx is done, or
// has to: then it says why. A client that is barred has been told; of a stop nothing is
// told.
func (l *listener) follow(ctx context.Context) (why *problem, err error) {
	tick := time.NewTicker(l.s.heartbeat)
	defer tick.Stop()
	err = l.show(true)
	for err == nil {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-l.s.stopping:
			return errDraining, nil
		case <-l.from.Ready():
			err = l.show(false)
		case <-tick.C:
			if p := l.barred(); p != nil {
				return p, l.end(p)
			}
			if err = l.to.beat(); err == nil {
				err = l.show(true)
			}
		}
	}
	return nil, err
}

// show tells what there is. If it is asked for, the client is told too up to which
// event of the server it has seen everything.
func (l *listener) show(position bool) error {
	upTo, err := l.from.Take(func(x tail.Shown) error {
		l.told = x.Seq
		if x.Event == nil {
			return l.to.tell(tellsMissed, x.Seq, missedJSON{x.Missed, !x.Uncounted})
		}
		return l.to.tell(tellsEvent, x.Seq, tailOf(x.Event, l.q.Zone))
	})
	if err == nil && position && upTo != l.told {
		l.told = upTo
		err = l.to.tell(tellsPosition, upTo, nil)
	}
	if err != nil {
		return err
	}
	return l.to.flush()
}

// barred says why the client may not listen any more: its key or session is over, or
// the site has gone.
func (l *listener) barred() *problem {
	err := l.s.authorize(stats, l.r)
	if err == nil {
		err = forSite(l.r, l.q.Site)
	}
	if err == nil {
		_, _, err = l.s.site(l.r.Context(), l.q.Site)
	}
	if err == nil {
		return nil
	}
	return problemOf(err)
}

// end tells the client why this is the end.
func (l *listener) end(p *problem) error {
	if p.status == gone {
		return nil
	}
	if err := l.to.tell(tellsEnd, l.told, p.body(callOf(l.r).id)); err != nil {
		return err
	}
	return l.to.flush()
}

var errDraining = &problem{status: http.StatusServiceUnavailable, code: "draining", text: "the server is stopping; try again", retry: tailRetry}

// join counts a live stream in, for which a stop then waits, unless the server is
// stopping already. Whoever has joined calls listeners.Done.
func (s *Server) join() bool {
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners.Add(1)
	return true
}

// listened waits until no live stream is left.
func (s *Server) listened(ctx context.Context) error {
	left := make(chan struct{})
	go func() {
		s.listeners.Wait()
		close(left)
	}()
	select {
	case <-left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
