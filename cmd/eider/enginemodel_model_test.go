package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
)

// Lengths of time in µs.
const (
	minute = int64(60_000_000)
	hour   = 60 * minute
	day    = 24 * hour
)

// A model is what the engine promises, without any of what it is made of: lists
// and loops. What it cannot know, such as the value of a hash, it learns from the
// stored events, and then holds all others to it.
type model struct {
	t     *testing.T
	now   func() time.Time
	zones map[string]*time.Location

	events    []event.Event // that must be there, by Seq
	last      int64         // Seq of the newest that was ever accepted
	flushed   int64
	published int64

	ids   map[string]*usedID // by site and id
	open  visitTable
	salts map[string]*daySalt // by site and day

	visitors, users, dedupes bijection // by what they are hashes of

	imports    int
	accepted   uint64 // since the start
	duplicates int
	visits     int
}

// A usedID is an event id in the window.
type usedID struct {
	body      string
	seq       int64
	published int64 // when, µs; 0 if it is still in the journal
}

// A daySalt counts the salts that a day of a site has had.
type daySalt struct {
	number  int
	expires int64
	gone    bool
}

// A bijection says which id stands for what: one for each, and for nothing else.
type bijection struct {
	ids   map[string]event.ID
	names map[event.ID]string
}

func newBijection() bijection {
	return bijection{make(map[string]event.ID), make(map[event.ID]string)}
}

// check learns an id for a name, or says why it cannot be.
func (b bijection) check(name string, id event.ID) error {
	if name == "" || id.IsZero() {
		if name != "" || !id.IsZero() {
			return fmt.Errorf("id %s for %q", id, name)
		}
		return nil
	}
	if old, ok := b.ids[name]; ok && old != id {
		return fmt.Errorf("id %s for %q, was %s", id, name, old)
	}
	if old, ok := b.names[id]; ok && old != name {
		return fmt.Errorf("id %s for %q and for %q", id, name, old)
	}
	b.ids[name], b.names[id] = id, name
	return nil
}

func newModel(t *testing.T, now func() time.Time) *model {
	m := &model{
		t: t, now: now, zones: make(map[string]*time.Location), ids: make(map[string]*usedID), salts: make(map[string]*daySalt),
		visitors: newBijection(), users: newBijection(), dedupes: newBijection(),
	}
	for _, s := range modelSites {
		zone, err := time.LoadLocation(s.Timezone)
		if err != nil {
			t.Fatal(err)
		}
		m.zones[s.Domain] = zone
	}
	return m
}

func (m *model) micros() int64 { return m.now().UnixMicro() }

func (m *model) flush() { m.flushed = m.last }

func (m *model) unpublished() (n int64) {
	for i := range m.events {
		if e := &m.events[i]; e.Seq > m.published && e.Seq <= m.flushed {
			n++
		}
	}
	return n
}

func (m *model) publish() {
	m.published = m.flushed
	for _, id := range m.ids {
		if id.published == 0 && id.seq <= m.published {
			id.published = m.micros()
		}
	}
}

func (m *model) forget(gone func(*event.Event) bool) int64 {
	before := len(m.events)
	m.events = slices.DeleteFunc(m.events, func(e event.Event) bool { return gone(&e) })
	return int64(before - len(m.events))
}

// expire forgets ids a day after they were published, salts a day after their
// own, and visits that are over.
func (m *model) expire() {
	for key, id := range m.ids {
		if id.published != 0 && id.published < m.micros()-day {
			delete(m.ids, key)
		}
	}
	for _, s := range m.salts {
		if s.expires <= m.micros() && !s.gone {
			s.gone = true
		}
	}
	for len(m.open) > 0 && m.open[0].visits[0].last < m.micros()-30*minute {
		m.open = m.open[1:]
	}
}

// restart opens the visits again of which the last half hour has an event.
func (m *model) restart() {
	m.flush()
	m.accepted, m.open = 0, nil
	for _, e := range m.events {
		if e.Time < m.micros()-30*minute || e.Visitor.IsZero() || e.Via == event.ViaImport {
			continue
		}
		who := m.visitors.names[e.Visitor]
		var v *openVisit
		if both := m.open.get(who); both != nil && both[0].first.Visit == e.Visit {
			v = both[0]
		} else {
			v = &openVisit{first: e, earliest: e.Time, last: e.Time}
			m.open.put(who, v)
		}
		v.earliest, v.last = min(v.earliest, e.Time), max(v.last, e.Time)
	}
	for i := range m.open { // of what came late only the latest visit is known again
		latest := slices.MaxFunc(m.open[i].visits, func(a, b *openVisit) int { return int(a.last - b.last) })
		m.open[i].visits = []*openVisit{latest}
	}
}

// any returns one of the events; a zero one if there is none.
func (m *model) any(rnd *rand.Rand) event.Event {
	if len(m.events) == 0 {
		return event.Event{}
	}
	return m.events[rnd.IntN(len(m.events))]
}

// An openVisit is one that may go on.
type openVisit struct {
	first          event.Event // for what the others take from it
	earliest, last int64       // µs
}

// A visitTable is the last visits of each visitor, the latest first and at most
// two; the visitor heard of last is at the end.
type visitTable []visitorVisits

type visitorVisits struct {
	who    string
	visits []*openVisit
}

func (v *visitTable) get(who string) []*openVisit {
	for i, entry := range *v {
		if entry.who == who {
			*v = append(slices.Delete(*v, i, i+1), entry)
			return entry.visits
		}
	}
	return nil
}

func (v *visitTable) put(who string, visit *openVisit) {
	visits := v.get(who)
	switch {
	case visits == nil:
		*v = append(*v, visitorVisits{who, []*openVisit{visit}})
		return
	case visit.last < visits[0].last:
		visits = []*openVisit{visits[0], visit}
	default:
		visits = []*openVisit{visit, visits[0]}
	}
	(*v)[len(*v)-1].visits = visits
}

// find returns the visit of a visitor that a time is no more than a half hour
// from.
func (v *visitTable) find(who string, t int64) *openVisit {
	for _, visit := range v.get(who) {
		if t >= visit.earliest-30*minute && t <= visit.last+30*minute {
			return visit
		}
	}
	return nil
}

// An arrival is one event on its way in, and what the model knows of it.
type arrival struct {
	item
	site   string
	via    string
	who    client // whose address and user agent count
	time   int64
	mirror *visitTable // where its visit is looked for
	batch  int         // number of its import, from 1
}

// verdicts of the model that are no rejections.
const (
	isAccepted  = "accepted"
	isDuplicate = "duplicate"
)

// judge says what must become of an arrival, and makes of what was stored for it
// what must have been stored. next returns the next stored event.
func (m *model) judge(a arrival, next func() event.Event) string {
	now := m.micros()
	switch {
	case a.Name == "":
		return event.RejectInvalid
	case m.zones[a.site] == nil:
		return event.RejectSite
	case a.who.bot:
		return event.RejectBot
	case a.via != event.ViaImport && (a.time < now-day || a.time > now+10*minute):
		return event.RejectSkew
	}
	who, before := m.visitorOf(a)
	key := ""
	if a.ID != "" {
		key = a.site + " " + a.ID
		if a.via == event.ViaImport && m.stored(key) {
			m.duplicates++
			return isDuplicate
		}
		if used := m.ids[key]; used != nil {
			m.duplicates++
			if used.body == a.body() {
				return isDuplicate
			}
			return event.RejectConflict
		}
	}
	visit := m.visitOf(a, who, before)
	if visit == nil && who != "" && a.Name == event.Engagement {
		return event.RejectNoVisit
	}
	if key != "" {
		m.ids[key] = &usedID{body: a.body(), seq: m.last + 1}
	}
	m.accepted++
	m.last++
	got := next()
	want := m.expect(a, got)
	if who != "" && visit == nil {
		m.visits++
		want.Visit, want.VisitStart = want.Seq, want.Time
		want.EntryHostname, want.EntryPath = want.Hostname, want.Path
		a.mirror.put(who, &openVisit{first: want, earliest: a.time, last: a.time})
	}
	if visit != nil {
		want.Visit, want.VisitStart = visit.first.Visit, visit.first.VisitStart
		touch(&want, &visit.first)
		visit.earliest, visit.last = min(visit.earliest, a.time), max(visit.last, a.time)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		m.t.Errorf("stored event, want -, got +:\n%s", diff)
	}
	for _, err := range []error{m.visitors.check(who, got.Visitor), m.dedupes.check(key, got.Dedupe), m.users.check(a.userKey(), got.User)} {
		if err != nil {
			m.t.Errorf("event %d: %v", got.Seq, err)
		}
	}
	m.events = append(m.events, got)
	return isAccepted
}

// stored says whether an import finds the id in the history.
func (m *model) stored(key string) bool {
	id, ok := m.dedupes.ids[key]
	return ok && slices.ContainsFunc(m.events, func(e event.Event) bool { return e.Dedupe == id && e.Seq <= m.flushed })
}

// visitorOf names who an arrival is of: someone is another on every day of a
// site. If it was another day half an hour ago it also says who that was.
func (m *model) visitorOf(a arrival) (who, before string) {
	if a.who.nobody() {
		return "", ""
	}
	today := m.date(a.site, a.time)
	who = m.visitorOn(a, today)
	if earlier := m.date(a.site, a.time-30*minute); earlier != today {
		before = m.visitorOn(a, earlier)
	}
	return who, before
}

// date is the day on the site's calendar.
func (m *model) date(site string, t int64) string {
	return time.UnixMicro(t).In(m.zones[site]).Format(time.DateOnly)
}

// visitorOn names the visitor of a day. An import has salts of its own for the
// days before yesterday.
func (m *model) visitorOn(a arrival, date string) string {
	salt := fmt.Sprint("import ", a.batch)
	if today, _ := event.ParseDay(m.date(a.site, m.micros())); a.batch == 0 || date >= (today-1).String() {
		salt = m.salt(a.site, date)
	}
	return strings.Join([]string{a.site, date, a.who.name, salt}, " ")
}

// salt names the salt of a day, which is another one when the first was destroyed.
func (m *model) salt(site, date string) string {
	s := m.salts[site+" "+date]
	if s == nil {
		s = &daySalt{gone: true}
		m.salts[site+" "+date] = s
	}
	if s.gone {
		d, err := time.Parse(time.DateOnly, date)
		if err != nil {
			m.t.Fatal(err)
		}
		s.number, s.gone = s.number+1, false
		s.expires = time.Date(d.Year(), d.Month(), d.Day()+1, 0, 0, 0, 0, m.zones[site]).UnixMicro() + day
	}
	return fmt.Sprint("salt ", s.number)
}

// visitOf returns the visit that an arrival goes on with, also over midnight.
func (m *model) visitOf(a arrival, who, before string) *openVisit {
	if who == "" {
		return nil
	}
	if v := a.mirror.find(who, a.time); v != nil || before == "" {
		return v
	}
	v := a.mirror.find(before, a.time)
	if v != nil {
		a.mirror.put(who, v)
	}
	return v
}

// expect returns what must be stored for an arrival, apart from its visit. What
// only a data set can tell it takes from got.
func (m *model) expect(a arrival, got event.Event) event.Event {
	want := got
	want.Seq, want.Site, want.Time, want.Received, want.Via = m.last, a.site, a.time, m.micros(), a.via
	want.Name, want.Title = a.Name, a.Title
	want.Interactive = a.Interactive == nil || *a.Interactive
	want.Scroll, want.EngagedMS = event.NoScroll, 0
	if a.Name == event.Engagement {
		want.Interactive, want.Scroll, want.EngagedMS = false, int32(a.Scroll), a.Engaged
	}
	want.Hostname, want.Path, want.UTMSource = a.site, "", ""
	if u, err := url.Parse(a.URL); err == nil && a.URL != "" {
		want.Hostname, want.Path, want.UTMSource = u.Hostname(), u.Path, u.Query().Get("utm_source")
	}
	want.Props, want.Revenue, want.Currency = "", 0, ""
	if len(a.Props) > 0 {
		want.Props = strings.ReplaceAll(marshalled(a.Props), `\u0026`, "&") // stored without HTML's escapes
	}
	if a.Revenue != nil {
		want.Revenue, want.Currency = a.Revenue.Cents*event.RevenueScale/100, a.Revenue.Currency
	}
	want.Screen, want.Browser = int32(a.Width), a.who.browser
	want.Visit, want.VisitStart, want.EntryHostname, want.EntryPath = 0, 0, "", ""
	return want
}

// touch gives an event what it takes from the first one of its visit.
func touch(e, first *event.Event) {
	e.EntryHostname, e.EntryPath = first.EntryHostname, first.EntryPath
	e.Referrer, e.Source, e.Channel = first.Referrer, first.Source, first.Channel
	e.UTMSource, e.UTMMedium, e.UTMCampaign, e.UTMContent, e.UTMTerm = first.UTMSource, first.UTMMedium, first.UTMCampaign, first.UTMContent, first.UTMTerm
	e.ClickID, e.Browser, e.BrowserVersion, e.OS, e.OSVersion = first.ClickID, first.Browser, first.BrowserVersion, first.OS, first.OSVersion
	e.Device, e.Screen, e.Language = first.Device, first.Screen, first.Language
	e.Country, e.Region, e.RegionName, e.City, e.CityID = first.Country, first.Region, first.RegionName, first.City, first.CityID
}

// A client is someone in front of a page. Those of one name are one visitor.
type client struct {
	name, addr, agent string
	browser           string
	private, bot      bool
}

func (c client) nobody() bool { return c.private || c.addr == "" && c.agent == "" }

func (c client) event() event.Client {
	e := event.Client{UserAgent: c.agent, Private: c.private}
	if c.addr != "" {
		e.Addr = netip.MustParseAddr(c.addr)
	}
	return e
}
