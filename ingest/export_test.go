package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An Item is the part of an item that the tests look at.
type Item struct {
	Name, URL, Referrer, Props, Amount, Currency string
	Domains                                      []string
	Interactive, Hash                            bool
	Width, Scroll                                int32
	EngagedMS                                    int64
	ID, User                                     string
	Time                                         time.Time
	Addr                                         netip.Addr
}

func (it *item) export() Item {
	return Item{it.Name, it.URL, it.Referrer, it.Props, it.Amount, it.Currency, it.Domains,
		it.Interactive, it.Hash, it.Width, it.Scroll, it.EngagedMS, it.ID, it.User, it.Time, it.Addr}
}

func DecodeEvent(body []byte) (Item, error) {
	it, err := decodeEvent(body)
	return it.export(), err
}

func DecodePixel(q url.Values) (Item, error) {
	it, err := pixelItem(q)
	return it.export(), err
}

// DecodeBatch returns the items and, at the same index, the errors of a batch.
func DecodeBatch(body string, ndjson bool) (items []Item, errs []error, err error) {
	bodies, err := itemsOf([]byte(body), ndjson)
	for _, body := range bodies {
		it, err := decodeItem(body)
		items, errs = append(items, it.export()), append(errs, err)
	}
	return items, errs, err
}

// DecodeOnly decodes a batch into the struct that a batch is decoded into, and
// does nothing with it.
func DecodeOnly(body []byte, ndjson bool) error {
	if !ndjson {
		var all []wire
		return json.Unmarshal(body, &all)
	}
	var w wire
	for line := range bytes.Lines(body) {
		w = wire{}
		if err := json.Unmarshal(line, &w); err != nil {
			return err
		}
	}
	return nil
}

// Classify parses a line of a log and says what it is.
func Classify(line string, combined bool) (name, skip, target string, at time.Time) {
	l, ok := parseLogLine(line, combined)
	if !ok {
		return "", skipDamaged, "", time.Time{}
	}
	name, skip = l.classify()
	return name, skip, l.target, l.time
}

// A VisitTable is a table of open visits without the writer around it.
type VisitTable struct{ v *visits }

func NewVisitTable(size int) VisitTable { return VisitTable{newVisits(size)} }

func (t VisitTable) Assign(e *event.Event, yesterday event.ID) bool {
	return t.v.assign(e, yesterday)
}
func (t VisitTable) Restore(e *event.Event) { t.v.restore(e) }
func (t VisitTable) Len() int               { return t.v.open.Len() }
func (t VisitTable) Expire(now int64)       { t.v.expire(now) }

// Visitors returns who a client is at a time, today and the day before.
func (in *Ingest) Visitors(ctx context.Context, site string, zone *time.Location, t time.Time, addr, userAgent string) (today, yesterday event.ID, err error) {
	return in.identity.visitor(ctx, site, zone, t, netip.MustParseAddr(addr), userAgent)
}

// IDs returns how many ids the window holds.
func (in *Ingest) IDs(ctx context.Context) (n int, err error) {
	err = in.writer.do(ctx, func() { n = in.writer.window.kept + len(in.writer.window.recent) })
	return n, err
}

// MatchPatterns says whether one of the patterns is of a text.
func MatchPatterns(list []string, text string) bool { return newPatterns(list).match(text) }

// CheckRules holds an event with a page against rules.
func CheckRules(r ledger.Rules) (check func(e *event.Event, addr netip.Addr) error, err error) {
	s, err := newShield(r)
	return func(e *event.Event, addr netip.Addr) error { return s.check(e, true, addr) }, err
}

// ItemsOf returns the items of an array.
func ItemsOf(body string) ([][]byte, error) { return itemsOf([]byte(body), false) }

// Reserved returns how many events there is no room for any more.
func (in *Ingest) Reserved() int64 { return in.flusher.taken.Load() }
