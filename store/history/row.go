package history

import (
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/eider-analytics/eider/store/event"
)

// A row is an event as parquet-go writes it. Its tags are the schema of every
// part: a column for each of [event.Columns], in that order.
//
//	Int64    INT64, INTEGER(64, signed)
//	Int32    INT32, INTEGER(32, signed)
//	Bool     BOOLEAN
//	Text     BYTE_ARRAY, STRING
//	Time     INT64, TIMESTAMP(MICROS, adjusted to UTC)
//	UUID     FIXED_LEN_BYTE_ARRAY(16), UUID
//	Decimal  INT64, DECIMAL(18, 4)
//	JSON     BYTE_ARRAY, STRING
//
// JSON is not annotated as such: every engine reads a string, and their JSON
// functions take one, whereas the annotation becomes another type in each.
//
// Columns that grow or repeat little are delta-encoded, ids that never repeat
// are plain, all others have a dictionary. An optional field is null where it is
// zero.
type row struct {
	Seq            int64    `parquet:"seq,delta"`
	Site           string   `parquet:"site,dict"`
	Time           int64    `parquet:"time,timestamp(microsecond),delta"`
	Received       int64    `parquet:"received,timestamp(microsecond),delta"`
	Name           string   `parquet:"name,dict"`
	Via            string   `parquet:"via,dict"`
	Visitor        event.ID `parquet:"visitor,optional,uuid,dict"`
	Visit          int64    `parquet:"visit,optional,delta"`
	VisitStart     int64    `parquet:"visit_start,optional,timestamp(microsecond),delta"`
	User           event.ID `parquet:"user,optional,uuid,dict"`
	Dedupe         event.ID `parquet:"event_id,optional,uuid"`
	Interactive    bool     `parquet:"interactive"`
	Hostname       string   `parquet:"hostname,optional,dict"`
	Path           string   `parquet:"path,optional,dict"`
	Title          string   `parquet:"title,optional,dict"`
	EntryHostname  string   `parquet:"entry_hostname,optional,dict"`
	EntryPath      string   `parquet:"entry_path,optional,dict"`
	Referrer       string   `parquet:"referrer,optional,dict"`
	Source         string   `parquet:"source,optional,dict"`
	Channel        string   `parquet:"channel,optional,dict"`
	UTMSource      string   `parquet:"utm_source,optional,dict"`
	UTMMedium      string   `parquet:"utm_medium,optional,dict"`
	UTMCampaign    string   `parquet:"utm_campaign,optional,dict"`
	UTMContent     string   `parquet:"utm_content,optional,dict"`
	UTMTerm        string   `parquet:"utm_term,optional,dict"`
	ClickID        string   `parquet:"click_id,optional,dict"`
	Browser        string   `parquet:"browser,optional,dict"`
	BrowserVersion string   `parquet:"browser_version,optional,dict"`
	OS             string   `parquet:"os,optional,dict"`
	OSVersion      string   `parquet:"os_version,optional,dict"`
	Device         string   `parquet:"device,optional,dict"`
	Screen         int32    `parquet:"screen,optional,dict"`
	Language       string   `parquet:"language,optional,dict"`
	Country        string   `parquet:"country,optional,dict"`
	Region         string   `parquet:"region,optional,dict"`
	RegionName     string   `parquet:"region_name,optional,dict"`
	City           string   `parquet:"city,optional,dict"`
	CityID         int64    `parquet:"city_id,optional,dict"`
	Revenue        *int64   `parquet:"revenue,optional,decimal(4:18),dict"`
	Currency       string   `parquet:"currency,optional,dict"`
	Props          string   `parquet:"props,optional,dict"`
	EngagedMS      int64    `parquet:"engaged_ms,optional,delta"`
	Scroll         *int32   `parquet:"scroll,optional,dict"`
}

// schema is shared by all writers and readers; it does not change.
var schema = parquet.SchemaOf(row{})

// rowOf returns the row of an event. It shares e's memory.
func rowOf(e *event.Event) row {
	r := row{
		Seq:            e.Seq,
		Site:           valid(e.Site),
		Time:           e.Time,
		Received:       e.Received,
		Name:           valid(e.Name),
		Via:            valid(e.Via),
		Visitor:        e.Visitor,
		Visit:          e.Visit,
		VisitStart:     e.VisitStart,
		User:           e.User,
		Dedupe:         e.Dedupe,
		Interactive:    e.Interactive,
		Hostname:       valid(e.Hostname),
		Path:           valid(e.Path),
		Title:          valid(e.Title),
		EntryHostname:  valid(e.EntryHostname),
		EntryPath:      valid(e.EntryPath),
		Referrer:       valid(e.Referrer),
		Source:         valid(e.Source),
		Channel:        valid(e.Channel),
		UTMSource:      valid(e.UTMSource),
		UTMMedium:      valid(e.UTMMedium),
		UTMCampaign:    valid(e.UTMCampaign),
		UTMContent:     valid(e.UTMContent),
		UTMTerm:        valid(e.UTMTerm),
		ClickID:        valid(e.ClickID),
		Browser:        valid(e.Browser),
		BrowserVersion: valid(e.BrowserVersion),
		OS:             valid(e.OS),
		OSVersion:      valid(e.OSVersion),
		Device:         valid(e.Device),
		Screen:         e.Screen,
		Language:       valid(e.Language),
		Country:        valid(e.Country),
		Region:         valid(e.Region),
		RegionName:     valid(e.RegionName),
		City:           valid(e.City),
		CityID:         e.CityID,
		Currency:       valid(e.Currency),
		Props:          valid(e.Props),
		EngagedMS:      e.EngagedMS,
	}
	if e.Currency != "" {
		r.Revenue = &e.Revenue
	}
	if e.Scroll != event.NoScroll {
		r.Scroll = &e.Scroll
	}
	return r
}

// valid returns s as UTF-8. One byte that is not would make the whole part
// unreadable to DuckDB, so it is replaced; ingest lets none through.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
