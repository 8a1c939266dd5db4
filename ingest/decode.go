package ingest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eider-analytics/eider/store/event"
)

// Limits on what one event may hold. The first four are Plausible's.
const (
	maxName     = 120
	maxURL      = 2000
	maxProps    = 30
	maxPropKey  = 300
	maxPropText = 2000
	maxTitle    = 500
	maxID       = 128
	maxUser     = 256
	maxAgent    = 2000
)

// MaxBatch is how many events one batch may hold.
const MaxBatch = 10_000

// An item is one event as it was sent: decoded and held to the limits, but not
// yet looked at in the light of the site, the visitor or the time.
type item struct {
	Name        string
	URL         string
	Domains     []string // one event for each
	Referrer    string
	Title       string
	Props       string // as Event.Props
	Amount      string // revenue; "" if none came
	Currency    string
	Interactive bool
	Hash        bool // the fragment belongs to the path
	Width       int32
	Scroll      int32 // or event.NoScroll
	EngagedMS   int64

	// Batches only.
	ID        string
	Time      time.Time // zero: now
	User      string
	Addr      netip.Addr
	UserAgent string
}

// wire is the JSON of an event: Plausible's keys, long and short, those of
// Mallard (ra, rc), and the ones that a batch adds.
type wire struct {
	N           json.RawMessage `json:"n"`
	Name        json.RawMessage `json:"name"`
	U           *string         `json:"u"`
	URL         *string         `json:"url"`
	D           *string         `json:"d"`
	Domain      *string         `json:"domain"`
	R           *string         `json:"r"`
	Referrer    *string         `json:"referrer"`
	P           json.RawMessage `json:"p"`
	M           json.RawMessage `json:"m"`
	Props       json.RawMessage `json:"props"`
	Meta        json.RawMessage `json:"meta"`
	Dollar      json.RawMessage `json:"$"`
	Revenue     json.RawMessage `json:"revenue"`
	I           *bool           `json:"i"`
	Interactive *bool           `json:"interactive"`
	H           json.RawMessage `json:"h"`
	HashMode    json.RawMessage `json:"hashMode"`
	W           json.RawMessage `json:"w"`
	SD          json.RawMessage `json:"sd"`
	E           json.RawMessage `json:"e"`
	RA          json.RawMessage `json:"ra"`
	RC          *string         `json:"rc"`
	Title       *string         `json:"title"`
	ID          *string         `json:"id"`
	Timestamp   json.RawMessage `json:"timestamp"`
	User        json.RawMessage `json:"user"`
	IP          *string         `json:"ip"`
	UserAgent   *string         `json:"user_agent"`
}

func fieldError(field, format string, args ...any) error {
	return &event.FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

var errBody = fieldError("request", "Unable to parse request body as json")

// decodeEvent decodes the body of POST /api/event. Its errors are
// *[event.FieldError].
func decodeEvent(body []byte) (item, error) {
	it, err := decodeItem(body)
	if err != nil {
		return it, err
	}
	if it.URL == "" {
		return it, fieldError("url", "is required")
	}
	return it, nil
}

// decodeItem decodes one event of a batch: the URL may be missing if the domain
// is there, for what happens on a server happens on no page.
func decodeItem(body []byte) (item, error) {
	var w wire
	return w.decode(body)
}

// decode is decodeItem with a wire that is used again and again.
func (w *wire) decode(body []byte) (item, error) {
	*w = wire{}
	if err := json.Unmarshal(body, w); err != nil {
		return item{}, wireError(err)
	}
	if len(body) == 0 || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return item{}, errBody // null decodes into anything
	}
	return w.item()
}

// wireError turns an error of encoding/json into one that names the field.
func wireError(err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) && te.Field != "" {
		return fieldError(longName(te.Field), "must not be a JSON %s", te.Value)
	}
	return errBody
}

// longName is what Plausible calls a field in its errors.
func longName(key string) string {
	switch key {
	case "n", "name":
		return "event_name"
	case "u":
		return "url"
	case "d":
		return "domain"
	case "r":
		return "referrer"
	case "i":
		return "interactive"
	case "rc":
		return "revenue"
	}
	return key
}

func (w *wire) item() (it item, err error) {
	if it.Name, err = nameOf(first(w.N, w.Name)); err != nil {
		return it, err
	}
	it.URL = strings.TrimSpace(text(w.U, w.URL))
	if len(it.URL) > 10*maxURL { // the path is held to maxURL later, without host and query
		return it, fieldError("url", "is too long: %d bytes, at most %d", len(it.URL), 10*maxURL)
	}
	it.Domains = domainsOf(text(w.D, w.Domain), it.URL)
	if len(it.Domains) == 0 {
		return it, fieldError("domain", "can't be blank")
	}
	if len(it.Domains) > 10 {
		return it, fieldError("domain", "names %d sites, at most 10", len(it.Domains))
	}
	it.Referrer = cut(text(w.R, w.Referrer), maxURL)
	it.Title = cut(text(w.Title, nil), maxTitle)
	if it.Props, err = propsOf(first(w.P, w.M, w.Props, w.Meta)); err != nil {
		return it, err
	}
	it.Amount, it.Currency = revenueOf(first(w.Dollar, w.Revenue), w.RA, w.RC)
	it.Interactive = flag(w.I, w.Interactive, true)
	it.Hash = truthy(first(w.H, w.HashMode))
	it.Width = int32(min(max(intOf(w.W, 0), 0), 100_000))
	if err := it.engagement(w); err != nil {
		return it, err
	}
	return it, it.batch(w)
}

// engagement reads how far and how long a page was read.
func (it *item) engagement(w *wire) error {
	it.Scroll = event.NoScroll
	if it.Name != event.Engagement {
		return nil
	}
	if sd := intOf(w.SD, -1); sd >= 0 {
		it.Scroll = int32(min(sd, 100))
	}
	it.EngagedMS = intOf(w.E, -1)
	if it.Scroll == event.NoScroll && it.EngagedMS < 0 {
		return fieldError("event_name", "engagement event requires a valid integer value for at least one of 'sd' or 'e' fields")
	}
	const month = 30 * 24 * time.Hour
	if it.EngagedMS < 0 || it.EngagedMS >= month.Milliseconds() {
		it.EngagedMS = 0
	}
	it.Interactive = false
	return nil
}

// batch reads the keys that only a batch may use.
func (it *item) batch(w *wire) (err error) {
	if it.ID = text(w.ID, nil); len(it.ID) > maxID {
		return fieldError("id", "is too long: %d bytes, at most %d", len(it.ID), maxID)
	}
	if it.User = scalar(w.User); len(it.User) > maxUser {
		return fieldError("user", "is too long: %d bytes, at most %d", len(it.User), maxUser)
	}
	if ip := text(w.IP, nil); ip != "" {
		if it.Addr, err = netip.ParseAddr(ip); err != nil {
			return fieldError("ip", "is not an IP address")
		}
		it.Addr = it.Addr.Unmap().WithZone("")
	}
	it.UserAgent = cut(text(w.UserAgent, nil), maxAgent)
	it.Time, err = timeOf(w.Timestamp)
	return err
}

// pixelItem decodes the query of the pixel, which has the short keys only.
func pixelItem(q url.Values) (item, error) {
	get := func(key string) *string {
		if !q.Has(key) {
			return nil
		}
		v := q.Get(key)
		return &v
	}
	name, err := json.Marshal(cmp.Or(q.Get("n"), event.Pageview))
	if err != nil {
		return item{}, err
	}
	w := wire{N: name, U: get("u"), D: get("d"), R: get("r"), W: json.RawMessage(q.Get("w"))}
	it, err := w.item()
	if err == nil && it.URL == "" {
		err = fieldError("url", "is required")
	}
	return it, err
}

// nameOf reads an event's name: a string, or an integer, which is how some
// trackers send 404.
func nameOf(raw json.RawMessage) (string, error) {
	name := scalar(raw)
	switch {
	case name == "" || raw[0] == 't' || raw[0] == 'f':
		return "", fieldError("event_name", "can't be blank")
	case len(name) > maxName:
		return "", fieldError("event_name", "should be at most %d byte(s)", maxName)
	}
	return name, nil
}

// domainsOf returns the sites an event is for: those it names, or else the host
// of its URL.
func domainsOf(domain, rawURL string) []string {
	if strings.TrimSpace(domain) == "" {
		u, err := url.Parse(rawURL)
		if err != nil || u.Hostname() == "" {
			return nil
		}
		domain = u.Hostname()
	}
	var domains []string
	for d := range strings.SplitSeq(domain, ",") {
		if d = Domain(d); d != "" {
			domains = append(domains, d)
		}
	}
	return domains
}

// Domain returns the form in which a site's domain is registered: lower case,
// without spaces around it and without "www.".
func Domain(s string) string {
	return strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "www.")
}

// propsOf reads the properties: an object, or a string of one. Values become
// strings; lists, objects, nulls and blanks are left out; the first maxProps
// stay.
func propsOf(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] == 'n' {
		return "", nil
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil || strings.TrimSpace(s) == "" {
			return "", nil
		}
		raw = json.RawMessage(s)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return "", fieldError("props", "must be a JSON object or a string of one")
	}
	if len(all) > maxProps {
		all = firstProps(raw)
	}
	props := make(map[string]string, len(all))
	for k, v := range all {
		s := scalar(v)
		if strings.TrimSpace(k) == "" || strings.TrimSpace(s) == "" {
			continue
		}
		if len(k) > maxPropKey || len(s) > maxPropText {
			return "", fieldError("props", "keys should have at most %d bytes and values should have at most %d bytes", maxPropKey, maxPropText)
		}
		props[k] = s
	}
	if len(props) == 0 {
		return "", nil
	}
	return marshal(props), nil
}

// firstProps returns the properties that come first in an object of too many.
// Unmarshal has found raw to be a whole object before.
func firstProps(raw json.RawMessage) map[string]json.RawMessage {
	d := json.NewDecoder(bytes.NewReader(raw))
	_, err := d.Token()
	props := make(map[string]json.RawMessage, maxProps)
	for len(props) < maxProps && err == nil && d.More() {
		var key json.Token
		var value json.RawMessage
		if key, err = d.Token(); err != nil {
			break
		}
		if err = d.Decode(&value); err == nil && scalar(value) != "" {
			props[key.(string)] = value
		}
	}
	return props
}

// marshal writes properties with their keys sorted.
func marshal(props map[string]string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(props); err != nil {
		panic("ingest: internal error: a map of strings has no JSON: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// revenueOf reads {"currency", "amount"}, as an object or a string of one, or
// Mallard's two keys. What cannot be read is no revenue: the event stays.
func revenueOf(raw, amount json.RawMessage, currency *string) (string, string) {
	var r struct {
		Amount   json.RawMessage `json:"amount"`
		Currency string          `json:"currency"`
	}
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return "", ""
		}
		raw = json.RawMessage(s)
	}
	if len(raw) > 0 {
		if json.Unmarshal(raw, &r) != nil {
			return "", ""
		}
		return scalar(r.Amount), r.Currency
	}
	if currency == nil {
		return "", ""
	}
	return scalar(amount), *currency
}

// timeOf reads RFC 3339 or Unix milliseconds. No timestamp is the zero time.
func timeOf(raw json.RawMessage) (time.Time, error) {
	s := scalar(raw)
	if s == "" {
		return time.Time{}, nil
	}
	if raw[0] != '"' {
		ms, err := strconv.ParseInt(s, 10, 64)
		if err != nil || ms < 0 || ms > 253_402_300_799_000 {
			return time.Time{}, fieldError("timestamp", "is not a number of milliseconds since 1970 before the year 10000")
		}
		return time.UnixMilli(ms), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 {
		return time.Time{}, fieldError("timestamp", "is neither RFC 3339 after 1970 nor Unix milliseconds")
	}
	return t, nil
}

// scalar returns a JSON string's value, or the text of a number or a boolean.
// Everything else is "".
func scalar(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		if plain := raw[1 : len(raw)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
			return string(plain) // raw is whole JSON: nothing else needs decoding
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(raw)
}

// intOf reads an integer or a string of one; a fraction is cut off. Anything
// else is otherwise.
func intOf(raw json.RawMessage, otherwise int64) int64 {
	s := scalar(raw)
	if s == "" {
		return otherwise
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1e15 && f < 1e15 {
		return int64(f)
	}
	return otherwise
}

// truthy reads a switch: true, 1 or "1".
func truthy(raw json.RawMessage) bool {
	s := scalar(raw)
	return s == "1" || s == "true"
}

// first returns the first value that was sent.
func first(values ...json.RawMessage) json.RawMessage {
	for _, v := range values {
		if len(v) > 0 {
			return v
		}
	}
	return nil
}

func text(short, long *string) string {
	switch {
	case short != nil:
		return *short
	case long != nil:
		return *long
	}
	return ""
}

func flag(short, long *bool, otherwise bool) bool {
	switch {
	case short != nil:
		return *short
	case long != nil:
		return *long
	}
	return otherwise
}

// cut returns at most n bytes of s. What it may leave of a rune at the end,
// CleanText removes later.
func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
