package event

// A Kind is how a column is stored.
type Kind int

const (
	Int64   Kind = iota // signed 64 bits
	Int32               // signed 32 bits
	Bool                //
	Text                // UTF-8
	Time                // µs since 1970 UTC
	UUID                // 128 bits
	Decimal             // signed 64 bits, four digits after the point
	JSON                // UTF-8 text of a JSON object
)

// A Column is one of an event's columns.
type Column struct {
	Name     string
	Kind     Kind
	Nullable bool // null where the Event's field says that nothing is known

	// Exactly one of the three is set, by Kind: str for Text and JSON, num for
	// the numbers, times and Bool, id for UUID.
	str func(*Event) *string
	num func(*Event) int64
	id  func(*Event) *ID
}

// Str returns the value of a Text or JSON column.
func (c Column) Str(e *Event) string { return *c.str(e) }

// Num returns the value of an Int64, Int32, Bool (0 or 1), Time or Decimal
// column.
func (c Column) Num(e *Event) int64 { return c.num(e) }

// ID returns the value of a UUID column.
func (c Column) ID(e *Event) ID { return *c.id(e) }

// Null says whether the column of this event holds no value.
func (c Column) Null(e *Event) bool {
	if !c.Nullable {
		return false
	}
	switch {
	case c.str != nil:
		return *c.str(e) == ""
	case c.id != nil:
		return c.id(e).IsZero()
	case c.Name == "scroll":
		return e.Scroll == NoScroll
	case c.Name == "revenue":
		return e.Currency == ""
	default:
		return c.num(e) == 0
	}
}

// Columns are an event's columns in the order in which every store holds them.
var Columns = []Column{
	num("seq", Int64, false, func(e *Event) int64 { return e.Seq }),
	text("site", false, func(e *Event) *string { return &e.Site }),
	num("time", Time, false, func(e *Event) int64 { return e.Time }),
	num("received", Time, false, func(e *Event) int64 { return e.Received }),
	text("name", false, func(e *Event) *string { return &e.Name }),
	text("via", false, func(e *Event) *string { return &e.Via }),
	uuid("visitor", func(e *Event) *ID { return &e.Visitor }),
	num("visit", Int64, true, func(e *Event) int64 { return e.Visit }),
	num("visit_start", Time, true, func(e *Event) int64 { return e.VisitStart }),
	uuid("user", func(e *Event) *ID { return &e.User }),
	uuid("event_id", func(e *Event) *ID { return &e.Dedupe }),
	num("interactive", Bool, false, func(e *Event) int64 { return b2i(e.Interactive) }),
	text("hostname", true, func(e *Event) *string { return &e.Hostname }),
	text("path", true, func(e *Event) *string { return &e.Path }),
	text("title", true, func(e *Event) *string { return &e.Title }),
	text("entry_hostname", true, func(e *Event) *string { return &e.EntryHostname }),
	text("entry_path", true, func(e *Event) *string { return &e.EntryPath }),
	text("referrer", true, func(e *Event) *string { return &e.Referrer }),
	text("source", true, func(e *Event) *string { return &e.Source }),
	text("channel", true, func(e *Event) *string { return &e.Channel }),
	text("utm_source", true, func(e *Event) *string { return &e.UTMSource }),
	text("utm_medium", true, func(e *Event) *string { return &e.UTMMedium }),
	text("utm_campaign", true, func(e *Event) *string { return &e.UTMCampaign }),
	text("utm_content", true, func(e *Event) *string { return &e.UTMContent }),
	text("utm_term", true, func(e *Event) *string { return &e.UTMTerm }),
	text("click_id", true, func(e *Event) *string { return &e.ClickID }),
	text("browser", true, func(e *Event) *string { return &e.Browser }),
	text("browser_version", true, func(e *Event) *string { return &e.BrowserVersion }),
	text("os", true, func(e *Event) *string { return &e.OS }),
	text("os_version", true, func(e *Event) *string { return &e.OSVersion }),
	text("device", true, func(e *Event) *string { return &e.Device }),
	num("screen", Int32, true, func(e *Event) int64 { return int64(e.Screen) }),
	text("language", true, func(e *Event) *string { return &e.Language }),
	text("country", true, func(e *Event) *string { return &e.Country }),
	text("region", true, func(e *Event) *string { return &e.Region }),
	text("region_name", true, func(e *Event) *string { return &e.RegionName }),
	text("city", true, func(e *Event) *string { return &e.City }),
	num("city_id", Int64, true, func(e *Event) int64 { return e.CityID }),
	num("revenue", Decimal, true, func(e *Event) int64 { return e.Revenue }),
	text("currency", true, func(e *Event) *string { return &e.Currency }),
	{Name: "props", Kind: JSON, Nullable: true, str: func(e *Event) *string { return &e.Props }},
	num("engaged_ms", Int64, true, func(e *Event) int64 { return e.EngagedMS }),
	num("scroll", Int32, true, func(e *Event) int64 { return int64(e.Scroll) }),
}

func text(name string, nullable bool, f func(*Event) *string) Column {
	return Column{Name: name, Kind: Text, Nullable: nullable, str: f}
}

func num(name string, k Kind, nullable bool, f func(*Event) int64) Column {
	return Column{Name: name, Kind: k, Nullable: nullable, num: f}
}

func uuid(name string, f func(*Event) *ID) Column {
	return Column{Name: name, Kind: UUID, Nullable: true, id: f}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
