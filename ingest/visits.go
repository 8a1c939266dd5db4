package ingest

import (
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/eider-analytics/eider/store/event"
)

// visitGap is the longest pause inside a visit.
const visitGap = 30 * time.Minute

// A touch is what a visit takes from its first event.
type touch struct {
	entryHostname, entryPath                               string
	referrer, source, channel                              string
	utmSource, utmMedium, utmCampaign, utmContent, utmTerm string
	clickID                                                string
	browser, browserVersion, os, osVersion, device         string
	screen                                                 int32
	language, country, region, regionName, city            string
	cityID                                                 int64
}

func touchOf(e *event.Event) touch {
	return touch{
		e.EntryHostname, e.EntryPath,
		e.Referrer, e.Source, e.Channel,
		e.UTMSource, e.UTMMedium, e.UTMCampaign, e.UTMContent, e.UTMTerm,
		e.ClickID,
		e.Browser, e.BrowserVersion, e.OS, e.OSVersion, e.Device,
		e.Screen,
		e.Language, e.Country, e.Region, e.RegionName, e.City,
		e.CityID,
	}
}

// clone returns a touch that shares no memory with others.
func (t touch) clone() touch {
	for _, s := range []*string{
		&t.entryHostname, &t.entryPath, &t.referrer, &t.source, &t.channel,
		&t.utmSource, &t.utmMedium, &t.utmCampaign, &t.utmContent, &t.utmTerm, &t.clickID,
		&t.browser, &t.browserVersion, &t.os, &t.osVersion, &t.device,
		&t.language, &t.country, &t.region, &t.regionName, &t.city,
	} {
		*s = strings.Clone(*s)
	}
	return t
}

func (t *touch) apply(e *event.Event) {
	e.EntryHostname, e.EntryPath = t.entryHostname, t.entryPath
	e.Referrer, e.Source, e.Channel = t.referrer, t.source, t.channel
	e.UTMSource, e.UTMMedium, e.UTMCampaign, e.UTMContent, e.UTMTerm = t.utmSource, t.utmMedium, t.utmCampaign, t.utmContent, t.utmTerm
	e.ClickID = t.clickID
	e.Browser, e.BrowserVersion, e.OS, e.OSVersion, e.Device = t.browser, t.browserVersion, t.os, t.osVersion, t.device
	e.Screen = t.screen
	e.Language, e.Country, e.Region, e.RegionName, e.City = t.language, t.country, t.region, t.regionName, t.city
	e.CityID = t.cityID
}

// A visit is one visitor's events with no pause over visitGap.
type visit struct {
	id          int64 // Seq of its first event
	start       int64 // Time of its first event, µs
	first, last int64 // earliest and latest Time, µs: events may come late
	touch       touch
}

// A pair is the two visits of a visitor that its next event may go on with: the
// latest, and the one before it or one that came late, in a batch.
type pair struct{ latest, other *visit }

// near returns the visit of the pair that a time belongs to, or nil.
func (p *pair) near(t int64) *visit {
	switch {
	case p.latest.near(t):
		return p.latest
	case p.other != nil && p.other.near(t):
		return p.other
	}
	return nil
}

// add takes a visit in; of three the one that is neither the latest nor the
// newcomer goes.
func (p *pair) add(vis *visit) {
	if vis.last < p.latest.last {
		p.other = vis
		return
	}
	p.latest, p.other = vis, p.latest
}

// visits are the open visits, by visitor. One goroutine owns them: the writer.
//
// When there are too many, the one that has been quiet longest is closed early,
// and counted: its visitor's next event begins another visit.
type visits struct {
	open   *simplelru.LRU[event.ID, *pair]
	closed uint64 // early, for want of room
}

func newVisits(size int) *visits {
	v := &visits{}
	v.open, _ = simplelru.NewLRU[event.ID, *pair](max(size, 1), nil) // fails for a size below 1 only
	return v
}

// assign gives an event the visit it belongs to, and makes one if there is none.
// It says false for an engagement without a visit: nothing was read that had not
// been opened, so it is left out.
func (v *visits) assign(e *event.Event, yesterday event.ID) bool {
	if e.Visitor.IsZero() {
		return true
	}
	vis := v.find(e, yesterday)
	if vis == nil {
		if e.Name == event.Engagement {
			return false
		}
		v.begin(e)
		return true
	}
	vis.first, vis.last = min(vis.first, e.Time), max(vis.last, e.Time)
	e.Visit, e.VisitStart = vis.id, vis.start
	vis.touch.apply(e)
	return true
}

// find returns the visit that e goes on with, or nil.
func (v *visits) find(e *event.Event, yesterday event.ID) *visit {
	if vis := v.near(e.Visitor, e.Time); vis != nil || yesterday.IsZero() {
		return vis
	}
	vis := v.near(yesterday, e.Time)
	if vis != nil {
		v.put(e.Visitor, vis) // the visit stays, the visitor is another from today
	}
	return vis
}

// near returns the visit of a visitor that a time belongs to, or nil.
func (v *visits) near(visitor event.ID, t int64) *visit {
	if p, ok := v.open.Get(visitor); ok {
		return p.near(t)
	}
	return nil
}

func (vis *visit) near(t int64) bool {
	gap := visitGap.Microseconds()
	return t >= vis.first-gap && t <= vis.last+gap
}

// begin makes e the first event of a visit.
func (v *visits) begin(e *event.Event) {
	e.Visit, e.VisitStart = e.Seq, e.Time
	e.EntryHostname, e.EntryPath = e.Hostname, e.Path
	v.put(e.Visitor, &visit{id: e.Seq, start: e.Time, first: e.Time, last: e.Time, touch: touchOf(e)})
}

func (v *visits) put(visitor event.ID, vis *visit) {
	if p, ok := v.open.Get(visitor); ok {
		p.add(vis)
		return
	}
	if v.open.Add(visitor, &pair{latest: vis}) {
		v.closed++
	}
}

// restore takes up what an event that is already stored says of its visit. It
// keeps no text of the event. The visits of an import have ended with it, and are
// nobody's to go on with. Of what came late only the latest visit is known again.
func (v *visits) restore(e *event.Event) {
	if e.Visitor.IsZero() || e.Via == event.ViaImport {
		return
	}
	var vis *visit
	if p, ok := v.open.Get(e.Visitor); ok && p.latest.id == e.Visit {
		vis = p.latest
	} else {
		vis = &visit{id: e.Visit, start: e.VisitStart, first: e.Time, last: e.Time, touch: touchOf(e).clone()}
		v.put(e.Visitor, vis)
	}
	vis.first, vis.last = min(vis.first, e.Time), max(vis.last, e.Time)
}

// expire closes the visits whose last event is more than a gap before now.
func (v *visits) expire(now int64) {
	for {
		visitor, p, ok := v.open.GetOldest()
		if !ok || p.latest.last >= now-visitGap.Microseconds() {
			return
		}
		v.open.Remove(visitor)
	}
}
