package ingest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/store/event"
)

// How far an event's own time may be from now. Older ones are for an import:
// the salt of their day is gone.
const (
	maxLate  = 24 * time.Hour
	maxEarly = 10 * time.Minute
)

// A pending event is one that has passed every check that can be made without
// knowing what came before it.
type pending struct {
	event     event.Event
	yesterday event.ID // who its visitor was the day before, if the visit may go on over midnight
	body      [8]byte  // hash of what it says, if it has an id
	index     int      // its place in the request
	outcome   outcome  // the writer's verdict
}

// A rejected item carries its code and what to do.
type rejected struct {
	code, message string
	reason        string // of the bot filter
}

func (r *rejected) Error() string { return r.message }

func reject(code, message string) error { return &rejected{code: code, message: message} }

// A source is how and from whom items came.
type source struct {
	via      string
	client   event.Client
	identity *identity
	now      time.Time
	anyTime  bool // an import: its events are as old as they are
}

// prepare makes an event of an item, for one of the sites it names, and appends
// it to events: what is pending is large, and made where it stays. Its error is a
// *rejected, a *[event.FieldError], a *[event.LimitError], or one that ends the
// whole request; then events are what they were.
func (in *Ingest) prepare(ctx context.Context, src *source, it *item, domain string, events []pending) ([]pending, error) {
	client := in.clientOf(src, it)
	st, ok, err := in.sites.get(ctx, domain, src.now)
	switch {
	case err != nil:
		return events, err
	case !ok:
		return events, reject(event.RejectSite, "there is no site "+domain+"; make it in the dashboard or by POST /api/sites")
	}
	if err := in.admit(src, it, &client, st.domain); err != nil {
		return events, err
	}
	at := it.Time
	if at.IsZero() {
		at = src.now
	}
	if late := src.now.Sub(at); !src.anyTime && (late > maxLate || late < -maxEarly) {
		return events, reject(event.RejectSkew, "its time is more than 24 h past or 10 min ahead; import what is older")
	}
	n := len(events)
	events = append(events, pending{})
	p := &events[n]
	e := &p.event
	e.Site, e.Time, e.Received = st.domain, at.UnixMicro(), src.now.UnixMicro()
	e.Name, e.Via = enrich.CleanText(it.Name, maxName), src.via
	e.Interactive, e.Title = it.Interactive, enrich.CleanText(it.Title, maxTitle)
	e.Props, e.EngagedMS, e.Scroll = it.Props, it.EngagedMS, it.Scroll
	if e.Name == "" {
		return events[:n], fieldError("event_name", "can't be blank")
	}
	if err := in.enrich(e, it, &client); err != nil {
		return events[:n], err
	}
	if st.shield != nil {
		if err := st.shield.check(e, it.URL != "", client.Addr); err != nil {
			return events[:n], err
		}
	}
	if err := in.identify(ctx, src, p, it, &client, st); err != nil {
		return events[:n], err
	}
	return events, nil
}

// clientOf returns the visitor's own connection data: those of the request, or
// in a batch those that the item names.
func (in *Ingest) clientOf(src *source, it *item) event.Client {
	c := src.client
	if src.via != event.ViaBatch && src.via != event.ViaImport {
		return c
	}
	// The request comes from a server: nothing of it is the visitor's.
	return event.Client{Addr: it.Addr, UserAgent: it.UserAgent, Private: c.Private}
}

// admit holds an item against the rules: origin, rate, bots, spam.
func (in *Ingest) admit(src *source, it *item, c *event.Client, domain string) error {
	if !in.sites.origin(c.Origin) {
		return reject(event.RejectOrigin, "the page's origin belongs to no site in EIDER_SITE_IDS")
	}
	if src.via != event.ViaImport {
		if err := in.perSite.take(domain, 1, src.now); err != nil {
			return err
		}
	}
	if in.opts.FilterBots && (c.UserAgent != "" || src.via != event.ViaBatch) {
		if reason := in.bots.Match(c.UserAgent); reason != "" {
			return &rejected{event.RejectBot, "its user agent is a " + reason, reason}
		}
	}
	if it.Referrer != "" && in.sources.Spam(it.Referrer) {
		return reject(event.RejectSpam, "its referrer is known for spam")
	}
	return nil
}

// enrich fills in what can be told from the item and the client.
func (in *Ingest) enrich(e *event.Event, it *item, c *event.Client) error {
	page := enrich.Page{Hostname: e.Site}
	if it.URL != "" {
		var err error
		if page, err = enrich.ParsePage(it.URL, it.Hash); err != nil {
			return fieldError("url", "%s", strings.TrimPrefix(err.Error(), "url "))
		}
		if len(page.Path) > maxURL {
			return fieldError("url", "its path is too long: %d bytes, at most %d", len(page.Path), maxURL)
		}
	}
	e.Hostname, e.Path = page.Hostname, page.Path
	t := in.sources.Attribute(page, it.Referrer)
	e.Referrer, e.Source, e.Channel = t.Referrer, t.Source, t.Channel
	e.UTMSource, e.UTMMedium, e.UTMCampaign, e.UTMContent, e.UTMTerm = t.UTMSource, t.UTMMedium, t.UTMCampaign, t.UTMContent, t.UTMTerm
	e.ClickID = t.ClickID
	a := in.agents.Parse(c.UserAgent, enrich.Hints(c.Hints), it.Width)
	e.Browser, e.BrowserVersion, e.OS, e.OSVersion, e.Device = a.Browser, a.BrowserVersion, a.OS, a.OSVersion, a.Device
	e.Screen = it.Width
	e.Language = enrich.Language(c.Language)
	p := in.places.Lookup(c.Addr)
	e.Country, e.Region, e.RegionName, e.City, e.CityID = p.Country, p.Region, p.RegionName, p.City, p.CityID
	if it.Currency != "" && it.Amount != "" {
		// Revenue that cannot be read is left out, as Plausible does: the event counts.
		if scaled, currency, err := enrich.Money(it.Amount, it.Currency); err == nil {
			e.Revenue, e.Currency = scaled, currency
		}
	}
	in.opts.Privacy.apply(e)
	return nil
}

// identify says who did it, and under which id it is known.
func (in *Ingest) identify(ctx context.Context, src *source, p *pending, it *item, c *event.Client, st site) (err error) {
	e := &p.event
	if it.ID != "" {
		e.Dedupe = src.identity.dedupe(st.domain, src.via == event.ViaPage, it.ID)
		p.body = src.identity.body(it)
	}
	if it.User != "" {
		e.User = src.identity.user(st.domain, it.User)
	}
	if (c.Private && in.opts.RespectGPC) || in.opts.Privacy.HideVisitor || (!c.Addr.IsValid() && c.UserAgent == "") {
		return nil // nobody to count: it asked not to be, or it says nothing of itself
	}
	e.Visitor, p.yesterday, err = src.identity.visitor(ctx, st.domain, st.zone, time.UnixMicro(e.Time), c.Addr, c.UserAgent)
	return err
}

// rejection turns an error of prepare into the answer's form. It says false for
// an error that ends the request.
func (in *Ingest) rejection(index int, err error) (event.Rejection, bool) {
	var r *rejected
	var fe *event.FieldError
	var le *event.LimitError
	switch {
	case errors.As(err, &r):
		in.counts.reject(r.code, r.reason)
		return event.Rejection{Index: index, Code: r.code, Message: r.message}, true
	case errors.As(err, &fe):
		in.counts.reject(event.RejectInvalid, "")
		return event.Rejection{Index: index, Code: event.RejectInvalid, Message: fe.Error()}, true
	case errors.As(err, &le):
		in.counts.reject(event.RejectRate, "")
		return event.Rejection{Index: index, Code: event.RejectRate, Message: le.Error()}, true
	}
	return event.Rejection{}, false
}

// Privacy says what of an event is not kept. EIDER_GDPR_MODE sets all of it but
// HideVisitor.
type Privacy struct {
	RoundTimes         bool // times are those of the hour they lie in, once the visit is known
	HideBrowserVersion bool
	HideOSVersion      bool
	HideScreen         bool // the device is not told by the width either
	HideReferrerPath   bool // only the host of the referrer is kept
	HideVisitor        bool // nobody gets a visitor id, so there are no visits either
}

func (p Privacy) apply(e *event.Event) {
	if p.HideBrowserVersion {
		e.BrowserVersion = ""
	}
	if p.HideOSVersion {
		e.OSVersion = ""
	}
	if p.HideScreen {
		e.Screen, e.Device = 0, ""
	}
	if p.HideReferrerPath {
		e.Referrer, _, _ = strings.Cut(e.Referrer, "/")
	}
}

// round cuts an event's times to the hour.
func (p Privacy) round(e *event.Event) {
	if !p.RoundTimes {
		return
	}
	const hour = int64(time.Hour / time.Microsecond)
	e.Time -= e.Time % hour
	e.Received -= e.Received % hour
	e.VisitStart -= e.VisitStart % hour
}
