package event

import (
	"errors"
	"net/netip"
	"time"
)

// A Client is what a request says about the one who sent it. It lives as long
// as the request: the address and the user agent are never stored or logged.
type Client struct {
	Addr      netip.Addr // unmapped, without a zone; the zero Addr if unknown
	UserAgent string
	Hints     Hints
	Language  string // the header Accept-Language as it came
	Origin    string // the header Origin, or the origin of Referer; "" if neither came
	Private   bool   // the client asks not to be counted: Sec-GPC: 1 or DNT: 1
}

// Hints are a browser's client hints: the values of the Sec-CH-UA headers as
// they came, quotes and all.
type Hints struct {
	Brands          string // Sec-CH-UA-Full-Version-List, or else Sec-CH-UA
	Platform        string // Sec-CH-UA-Platform
	PlatformVersion string // Sec-CH-UA-Platform-Version
	Mobile          string // Sec-CH-UA-Mobile
	Model           string // Sec-CH-UA-Model
}

// A Result says what became of the events of one request: accepted, duplicates
// and rejected together are all that was sent.
type Result struct {
	Accepted   int
	Duplicates int
	Rejected   []Rejection // by Index, ascending
	LastSeq    int64       // of the last event that is durable; 0 if none was accepted
}

// A Rejection says why one event of a request was not accepted.
type Rejection struct {
	Index   int    // its place in the request, from 0
	Code    string // one of the Reject constants
	Message string // what is wrong and what to do
}

// Reasons to reject an event: a closed set, for they label a metric.
const (
	RejectBot      = "bot"             // made by a crawler, a library or a test tool
	RejectSpam     = "spam_referrer"   // its referrer is a known spammer's
	RejectSite     = "unknown_site"    // no such site, and sites are not made by themselves
	RejectOrigin   = "origin_denied"   // the site does not take events from that origin
	RejectExcluded = "excluded"        // a rule of an agent leaves it out
	RejectInvalid  = "invalid"         // a field is missing, too long or wrong
	RejectSkew     = "timestamp"       // its time is too far from now
	RejectNoVisit  = "no_visit"        // an engagement whose visit is over
	RejectConflict = "id_conflict"     // its id was used for another event
	RejectRate     = "rate_limited"    // its site or address sends too many
	RejectKey      = "site_of_the_key" // the key may not send events of that site

	// Rules of the site, which its operator has made.
	RejectPath    = "excluded_path"
	RejectAddr    = "excluded_address"
	RejectCountry = "excluded_country"
	RejectHost    = "hostname_not_allowed"
)

// Dropped says whether the rejection is one that a browser's tracker is not
// told of as an error: it was a good request, and nobody wants the event.
func (r Rejection) Dropped() bool {
	switch r.Code {
	case RejectBot, RejectSpam, RejectSite, RejectOrigin, RejectExcluded, RejectNoVisit, RejectPath, RejectAddr, RejectCountry, RejectHost:
		return true
	}
	return false
}

// Errors of a whole request. After [ErrFull] and [ErrDiskFull] the client may
// send the same events again later; with their ids none is counted twice.
var (
	ErrFull     = errors.New("too many events wait to be stored; send them again later")             // the buffer is full
	ErrDiskFull = errors.New("the volume is nearly full; extend it or shorten the retention")        // below the disk floor
	ErrStopped  = errors.New("the server is stopping or cannot store events; send them again later") // closed, or its journal failed
)

// A FieldError says which field of a request is wrong. Messages of the fields
// that Plausible knows are Plausible's own, because clients compare them.
type FieldError struct {
	Field   string // url, domain, event_name, props, request, …
	Message string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Message }

// A LimitError says that a site or an address has sent more than it may.
type LimitError struct {
	RetryAfter time.Duration // when the next event will be taken
}

func (e *LimitError) Error() string { return "too many events; send fewer or send them in batches" }

// An ImportReport is the account of a whole import: Imported, Duplicates and the
// sum of Skipped together are Lines.
type ImportReport struct {
	Lines      int64
	Imported   int64
	Duplicates int64            // already in the history
	Skipped    map[string]int64 // by reason
	From, To   int64            // times of the first and the last event, µs; 0 if there is none
	LastSeq    int64
}

// Counts are the events that came in since the process started.
type Counts struct {
	Accepted      uint64
	Duplicates    uint64
	Rejected      map[string]uint64 // by code, bots among them
	Bots          map[string]uint64 // by reason of the bot filter, a closed set
	Buffered      int               // events that wait for the next flush
	BufferedBytes int64
}
