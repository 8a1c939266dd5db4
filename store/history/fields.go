package history

import "github.com/eider-analytics/eider/store/event"

// A field is where a column's value is in an event, for writing as well, which
// [event.Column] does not allow. Exactly one of the first five is set.
type field struct {
	text func(*event.Event) *string
	num  func(*event.Event) *int64
	num4 func(*event.Event) *int32
	flag func(*event.Event) *bool
	id   func(*event.Event) *event.ID

	unknown func(*event.Event) bool // is it null? If nil, it is when it is zero
}

// fields has all of [event.Columns].
var fields = map[string]field{
	"seq":             {num: func(e *event.Event) *int64 { return &e.Seq }},
	"site":            {text: func(e *event.Event) *string { return &e.Site }},
	"time":            {num: func(e *event.Event) *int64 { return &e.Time }},
	"received":        {num: func(e *event.Event) *int64 { return &e.Received }},
	"name":            {text: func(e *event.Event) *string { return &e.Name }},
	"via":             {text: func(e *event.Event) *string { return &e.Via }},
	"visitor":         {id: func(e *event.Event) *event.ID { return &e.Visitor }},
	"visit":           {num: func(e *event.Event) *int64 { return &e.Visit }},
	"visit_start":     {num: func(e *event.Event) *int64 { return &e.VisitStart }},
	"user":            {id: func(e *event.Event) *event.ID { return &e.User }},
	"event_id":        {id: func(e *event.Event) *event.ID { return &e.Dedupe }},
	"interactive":     {flag: func(e *event.Event) *bool { return &e.Interactive }},
	"hostname":        {text: func(e *event.Event) *string { return &e.Hostname }},
	"path":            {text: func(e *event.Event) *string { return &e.Path }},
	"title":           {text: func(e *event.Event) *string { return &e.Title }},
	"entry_hostname":  {text: func(e *event.Event) *string { return &e.EntryHostname }},
	"entry_path":      {text: func(e *event.Event) *string { return &e.EntryPath }},
	"referrer":        {text: func(e *event.Event) *string { return &e.Referrer }},
	"source":          {text: func(e *event.Event) *string { return &e.Source }},
	"channel":         {text: func(e *event.Event) *string { return &e.Channel }},
	"utm_source":      {text: func(e *event.Event) *string { return &e.UTMSource }},
	"utm_medium":      {text: func(e *event.Event) *string { return &e.UTMMedium }},
	"utm_campaign":    {text: func(e *event.Event) *string { return &e.UTMCampaign }},
	"utm_content":     {text: func(e *event.Event) *string { return &e.UTMContent }},
	"utm_term":        {text: func(e *event.Event) *string { return &e.UTMTerm }},
	"click_id":        {text: func(e *event.Event) *string { return &e.ClickID }},
	"browser":         {text: func(e *event.Event) *string { return &e.Browser }},
	"browser_version": {text: func(e *event.Event) *string { return &e.BrowserVersion }},
	"os":              {text: func(e *event.Event) *string { return &e.OS }},
	"os_version":      {text: func(e *event.Event) *string { return &e.OSVersion }},
	"device":          {text: func(e *event.Event) *string { return &e.Device }},
	"screen":          {num4: func(e *event.Event) *int32 { return &e.Screen }},
	"language":        {text: func(e *event.Event) *string { return &e.Language }},
	"country":         {text: func(e *event.Event) *string { return &e.Country }},
	"region":          {text: func(e *event.Event) *string { return &e.Region }},
	"region_name":     {text: func(e *event.Event) *string { return &e.RegionName }},
	"city":            {text: func(e *event.Event) *string { return &e.City }},
	"city_id":         {num: func(e *event.Event) *int64 { return &e.CityID }},
	"revenue":         {num: func(e *event.Event) *int64 { return &e.Revenue }, unknown: func(e *event.Event) bool { return e.Currency == "" }},
	"currency":        {text: func(e *event.Event) *string { return &e.Currency }},
	"props":           {text: func(e *event.Event) *string { return &e.Props }},
	"engaged_ms":      {num: func(e *event.Event) *int64 { return &e.EngagedMS }},
	"scroll":          {num4: func(e *event.Event) *int32 { return &e.Scroll }, unknown: func(e *event.Event) bool { return e.Scroll == event.NoScroll }},
}
