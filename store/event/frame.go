package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unsafe"
)

// A payload is a group of events as the journal stores it: all that was
// committed at once, in the order of their sequence numbers.
//
//	+-------------+-------------+-----------+----------+-----+
//	| version (1B)| crc32c (4B) | count (uv)| frame    | ... |
//	+-------------+-------------+-----------+----------+-----+
//
// crc32c (Castagnoli, big-endian) covers everything after it. A frame is one
// event:
//
//	+----------+----------------------------------------------+
//	| len (uv) | the columns, in the order of appendFields    |
//	+----------+----------------------------------------------+
//
// uv is an unsigned varint. A number is a zigzag varint, a text is its length
// (uv) and its bytes, an id is one byte 0, or one byte 1 and 16 bytes. The first
// three columns are seq, site and time, so that a payload can be sorted without
// decoding all of it (see [Frame.Key]). Another order or another column is
// another version, and a later program reads all the earlier ones.
const (
	payloadVersion = 1
	payloadHeader  = 1 + 4
)

// ErrPayload is returned by [Frames] and [Frame.Decode] for bytes that are not
// a whole payload of a version this program knows.
var ErrPayload = errors.New("journal payload is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode appends the payload of a group of events to dst and returns it.
func Encode(dst []byte, events []Event) []byte {
	start := len(dst)
	dst = append(dst, payloadVersion, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(len(events)))
	var frame []byte
	for i := range events {
		frame = appendFields(frame[:0], &events[i])
		dst = binary.AppendUvarint(dst, uint64(len(frame)))
		dst = append(dst, frame...)
	}
	sum := crc32.Checksum(dst[start+payloadHeader:], castagnoli)
	binary.BigEndian.PutUint32(dst[start+1:], sum)
	return dst
}

// A Frame is one encoded event. It shares the memory of its payload.
type Frame string

// Frames checks a payload and returns its frames without decoding them.
func Frames(payload string) ([]Frame, error) {
	if len(payload) < payloadHeader {
		return nil, fmt.Errorf("%w: %d bytes", ErrPayload, len(payload))
	}
	if v := payload[0]; v != payloadVersion {
		return nil, fmt.Errorf("%w: version %d, want %d", ErrPayload, v, payloadVersion)
	}
	r := reader{s: payload[payloadHeader:]}
	sum := uint32(payload[1])<<24 | uint32(payload[2])<<16 | uint32(payload[3])<<8 | uint32(payload[4])
	if got := crc32.Checksum(unsafe.Slice(unsafe.StringData(r.s), len(r.s)), castagnoli); got != sum {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrPayload, got, sum)
	}
	n := r.uvarint()
	if n > uint64(len(r.s)) { // a frame takes a byte at least
		return nil, fmt.Errorf("%w: %d events in %d bytes", ErrPayload, n, len(r.s))
	}
	frames := make([]Frame, 0, n)
	for range n {
		frames = append(frames, Frame(r.text()))
	}
	if r.bad || r.s != "" {
		return nil, fmt.Errorf("%w: frames do not fill it", ErrPayload)
	}
	return frames, nil
}

// Key returns what a payload is sorted by, without decoding the rest.
func (f Frame) Key() (seq int64, site string, time int64) {
	r := reader{s: string(f)}
	return r.varint(), r.text(), r.varint()
}

// Decode returns the event. Its strings share the frame's memory.
func (f Frame) Decode() (Event, error) {
	r := reader{s: string(f)}
	var e Event
	readFields(&r, &e)
	if r.bad {
		return Event{}, fmt.Errorf("%w: frame of %d bytes", ErrPayload, len(f))
	}
	return e, nil
}

// Decode returns the events of a payload. Their strings share its memory.
func Decode(payload string) ([]Event, error) {
	frames, err := Frames(payload)
	if err != nil {
		return nil, err
	}
	events := make([]Event, len(frames))
	for i, f := range frames {
		if events[i], err = f.Decode(); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// frameTexts are the text columns after site, in the order of a frame.
func frameTexts(e *Event) [28]*string {
	return [...]*string{
		&e.Name, &e.Via, &e.Hostname, &e.Path, &e.Title, &e.EntryHostname, &e.EntryPath,
		&e.Referrer, &e.Source, &e.Channel,
		&e.UTMSource, &e.UTMMedium, &e.UTMCampaign, &e.UTMContent, &e.UTMTerm, &e.ClickID,
		&e.Browser, &e.BrowserVersion, &e.OS, &e.OSVersion, &e.Device, &e.Language,
		&e.Country, &e.Region, &e.RegionName, &e.City, &e.Currency, &e.Props,
	}
}

func appendFields(dst []byte, e *Event) []byte {
	dst = binary.AppendVarint(dst, e.Seq)
	dst = appendText(dst, e.Site)
	dst = binary.AppendVarint(dst, e.Time)
	dst = binary.AppendVarint(dst, e.Received-e.Time)
	dst = appendID(dst, e.Visitor)
	dst = binary.AppendVarint(dst, e.Visit)
	dst = binary.AppendVarint(dst, e.VisitStart)
	dst = appendID(dst, e.User)
	dst = appendID(dst, e.Dedupe)
	dst = binary.AppendVarint(dst, b2i(e.Interactive))
	dst = binary.AppendVarint(dst, int64(e.Screen))
	dst = binary.AppendVarint(dst, e.CityID)
	dst = binary.AppendVarint(dst, e.Revenue)
	dst = binary.AppendVarint(dst, e.EngagedMS)
	dst = binary.AppendVarint(dst, int64(e.Scroll))
	for _, s := range frameTexts(e) {
		dst = appendText(dst, *s)
	}
	return dst
}

func readFields(r *reader, e *Event) {
	e.Seq = r.varint()
	e.Site = r.text()
	e.Time = r.varint()
	e.Received = r.varint() + e.Time
	e.Visitor = r.id()
	e.Visit = r.varint()
	e.VisitStart = r.varint()
	e.User = r.id()
	e.Dedupe = r.id()
	e.Interactive = r.varint() != 0
	e.Screen = int32(r.varint())
	e.CityID = r.varint()
	e.Revenue = r.varint()
	e.EngagedMS = r.varint()
	e.Scroll = int32(r.varint())
	for _, s := range frameTexts(e) {
		*s = r.text()
	}
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendID(dst []byte, id ID) []byte {
	if id.IsZero() {
		return append(dst, 0)
	}
	return append(append(dst, 1), id[:]...)
}

// A reader takes values from the front of s. After the first value that is not
// there whole it is bad and returns zero values.
type reader struct {
	s   string
	bad bool
}

func (r *reader) uvarint() uint64 {
	var x uint64
	for i := 0; i < len(r.s) && i < binary.MaxVarintLen64; i++ {
		b := r.s[i]
		x |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break // overflows 64 bits
			}
			r.s = r.s[i+1:]
			return x
		}
	}
	r.bad, r.s = true, ""
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.s)) {
		r.bad, r.s = true, ""
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) id() (id ID) {
	switch {
	case r.s == "":
		r.bad = true
	case r.s[0] == 0:
		r.s = r.s[1:]
	case r.s[0] == 1 && len(r.s) > len(id):
		copy(id[:], r.s[1:])
		r.s = r.s[1+len(id):]
	default:
		r.bad, r.s = true, ""
	}
	return id
}
