// Package event is the vocabulary of Eider: what an event is, what its columns
// are called, and what a question about events looks like. Every other package
// speaks in these words. It imports nothing of ours and needs no C compiler.
//
// # One list of columns
//
// [Columns] is the only list of an event's columns. The journal's frames, the
// hot table, the Parquet parts, the export and the SQL views all follow it, and
// a test in each of them holds it to that. A new column is added at the end.
//
// # Time
//
// A time is an int64 of microseconds since 1970-01-01T00:00:00Z. Parquet,
// DuckDB and Arrow all store that number as it is.
package event

import (
	"encoding/hex"
	"time"
)

// An ID is 128 bits that stand for something we do not keep: a visitor's
// address, a user's name, a client's own event id. The zero ID means none.
type ID [16]byte

// IsZero says whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the id as a UUID's 36 characters, the form in which DuckDB and
// the exports show it, or "" for the zero ID.
func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// Names of events that mean something to Eider. Every other name is a custom
// event.
const (
	Pageview   = "pageview"   // a page was shown
	Engagement = "engagement" // how long and how far the page before it was read
)

// Ways by which an event can come in: the values of the column via.
const (
	ViaPage   = "page"   // POST /api/event
	ViaPixel  = "pixel"  // GET /api/event
	ViaBatch  = "batch"  // POST /api/events
	ViaImport = "import" // an import of a log or of another tool's data
	ViaAgent  = "agent"  // an agent's emit
)

// NoScroll is the Scroll of an event that does not say how far the page was
// scrolled.
const NoScroll = -1

// An Event is one thing a visitor, a server or an agent did, as it is stored.
// The zero value of a field means that nothing is known, but for Scroll, where
// [NoScroll] does. No field holds an address or a raw user agent.
type Event struct {
	Seq      int64  // place in the order of acceptance, from 1; 0 until the journal gives it
	Site     string // domain of the site, as registered
	Time     int64  // when it happened, µs
	Received int64  // when Eider received it, µs
	Name     string // Pageview, Engagement or a custom name
	Via      string // one of the Via constants

	Visitor    ID    // who, for one site-local day; zero if the visitor asked not to be counted
	Visit      int64 // Seq of the first event of its visit; 0 if Visitor is zero
	VisitStart int64 // Time of that event
	User       ID    // the id the site gave, hashed
	Dedupe     ID    // the client's own event id, hashed

	Interactive bool // false if the event does not end a bounce

	Hostname string
	Path     string
	Title    string

	// First touch: these are the values of the visit's first event.
	EntryHostname, EntryPath                               string
	Referrer, Source, Channel                              string
	UTMSource, UTMMedium, UTMCampaign, UTMContent, UTMTerm string
	ClickID                                                string // name of the ad network's parameter (gclid), never its value
	Browser, BrowserVersion, OS, OSVersion                 string
	Device                                                 string // desktop, mobile, tablet, tv, console or wearable
	Screen                                                 int32  // viewport width in CSS pixels; 0 if unknown
	Language                                               string // BCP 47 primary tag with region: de, pt-BR
	Country                                                string // ISO 3166-1 alpha-2
	Region                                                 string // ISO 3166-2: US-CA
	RegionName, City                                       string // English
	CityID                                                 int64  // GeoNames id
	Revenue                                                int64  // in ten-thousandths of Currency
	Currency                                               string // ISO 4217; "" if the event carries no revenue
	Props                                                  string // JSON object of strings, keys sorted; "" if there are none
	EngagedMS                                              int64  // Engagement only: ms the page was in front of the reader
	Scroll                                                 int32  // Engagement only: 0 to 100 % of the page, or NoScroll
}

// RevenueScale is what one unit of a currency is in [Event.Revenue].
const RevenueScale = 10_000

// A Day is a UTC day: the number of days since 1970-01-01. Parts of the history
// belong to one.
type Day int32

const microsPerDay = 24 * 60 * 60 * 1_000_000

// DayOf returns the UTC day of a time in µs.
func DayOf(micros int64) Day {
	d := micros / microsPerDay
	if micros%microsPerDay < 0 {
		d--
	}
	return Day(d)
}

// Start returns the first microsecond of the day.
func (d Day) Start() int64 { return int64(d) * microsPerDay }

// String returns the day as YYYY-MM-DD.
func (d Day) String() string { return time.UnixMicro(d.Start()).UTC().Format(time.DateOnly) }

// ParseDay is the inverse of [Day.String].
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, err
	}
	return DayOf(t.UnixMicro()), nil
}
