package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// everyReport is a request for each report, to which parameters can be added.
var everyReport = []string{
	"main?", "sessions?", "timeseries?", "breakdown/page?", "breakdown/goals?", "breakdown/prop:plan?", "realtime?", "goals?", "revenue?",
	"properties?", "property-values?key=plan&", "funnel?steps=page:/a,event:b&", "retention?", "sequences?steps=page:/a,event:b&", "flow?page=/a&",
}

// Shelves hold what a site has set up.
type (
	anyGoals    server.Goals
	anySegments server.Segments
	anySettings server.Settings

	goalShelf struct {
		anyGoals
		goals []ledger.Goal
	}
	segmentShelf struct {
		anySegments
		segments []ledger.Segment
	}
	settingsShelf struct {
		anySettings
		currency string
	}
)

func (s goalShelf) Goals(context.Context, string) ([]ledger.Goal, error) { return s.goals, nil }

func (s segmentShelf) Segments(context.Context, string) ([]ledger.Segment, error) {
	return s.segments, nil
}

func (s settingsShelf) SiteSettings(context.Context, string) (ledger.SiteSettings, error) {
	return ledger.SiteSettings{Currency: s.currency}, nil
}

// newStats returns a rig whose site has two goals, a segment and, if it is not
// "", a currency.
func newStats(t testing.TB, currency string, change ...func(*server.Options)) *rig {
	t.Helper()
	return newRig(t, append(change, func(o *server.Options) {
		o.Questions = o.Keys.(*fake)
		o.Goals = goalShelf{goals: []ledger.Goal{
			{ID: 3, Name: "Signup", Kind: ledger.EventGoal, Event: "Signup"},
			{ID: 4, Name: "Visit /thanks", Kind: ledger.PageGoal, Path: "/thanks"},
			{ID: 5, Name: "Sold", Kind: ledger.EventGoal, Event: "Purchase", Currency: "EUR"},
		}}
		o.Segments = segmentShelf{segments: []ledger.Segment{{ID: 9, Filters: json.RawMessage(`[["is", "visit:country", ["DE", "AT"]]]`)}}}
		o.Settings = settingsShelf{currency: currency}
	})...)
}

func (r *rig) stats(target string) string {
	r.t.Helper()
	w := r.do("GET", "/api/stats/"+target, "")
	if w.Code != 200 {
		r.t.Errorf("%s: %d %s", target, w.Code, w.Body)
	}
	return strings.TrimSuffix(w.Body.String(), "\n")
}

// sameJSON compares two texts of JSON, of which the second may be written wide.
func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var packed strings.Builder
	inText := false
	for _, c := range want {
		if c == '"' {
			inText = !inText
		}
		if inText || !strings.ContainsRune(" \n\t", c) {
			packed.WriteRune(c)
		}
	}
	if got != packed.String() {
		t.Errorf("%s\ngot  %s\nwant %s", what, got, packed.String())
	}
}

func ints(values ...int64) []event.Figure {
	list := make([]event.Figure, len(values))
	for i, v := range values {
		list[i].Int = v
	}
	return list
}

func values(texts ...string) []event.Value {
	list := make([]event.Value, len(texts))
	for i, text := range texts {
		list[i].Text = text
	}
	return list
}

func texts(d event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: d, Values: values}
}

// sameZone compares zones by their names.
var sameZone = cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })

var usual = []event.Figure{{Int: 1}, {Int: 2}, {Int: 3}, {Int: 4}, {Float: 1.5}, {Float: 50}, {Float: 12.5}}

const usualJSON = `"visitors":1,"visits":2,"pageviews":3,"events":4,"views_per_visit":1.5,"bounce_rate":50,"visit_duration":12.5`

// TestMain is about one line of figures, in the frame.
func TestMainReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		return &event.Answer{Lines: []event.Line{{Figures: usual}}, Plan: event.PlanRollup, Seq: 12, Degraded: []event.Part{{Path: "events/x.parquet"}}}, nil
	}
	sameJSON(t, "main", r.stats("main?site_id=example.com&period=today"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"start_date":"2026-07-15","end_date":"2026-07-15","degraded":["events/x.parquet"],"meta":{"plan":"rollup","seq":12},"results":{`+usualJSON+`}}`)
	want := event.Query{
		Site: "example.com", Zone: r.asked[0].Zone, From: 1784066400e6, To: 1784152800e6,
		Metrics: []event.Metric{"visitors", "visits", "pageviews", "events", "views_per_visit", "bounce_rate", "visit_duration"},
	}
	if diff := cmp.Diff(want, r.asked[0], sameZone); diff != "" {
		t.Errorf("asked, -want +got:\n%s", diff)
	}
	if name := r.asked[0].Zone.String(); name != "Europe/Berlin" {
		t.Errorf("asked in %s", name)
	}
	r.answer = func(q event.Query) (*event.Answer, error) {
		return &event.Answer{Lines: []event.Line{{Figures: []event.Figure{
			{Int: 123_456}, {Unknown: true}, {Float: math.NaN()}, {Float: math.Inf(1)},
		}}}}, nil
	}
	sameJSON(t, "metrics", r.stats("main?site_id=example.com&period=all&metrics=total_revenue,time_on_page,bounce_rate,average_revenue&currency=eur"),
		`{"site_id":"example.com","timezone":"Europe/Berlin","meta":{"seq":0},"results":{"total_revenue":12.3456,"time_on_page":null,"bounce_rate":null,"average_revenue":null}}`)
	if q := r.asked[1]; q.Currency != "EUR" || q.From != 0 || q.To != 0 {
		t.Errorf("asked %+v", q)
	}
	sameJSON(t, "sessions", newStats(t, "").stats("sessions?site_id=example.com&period=all"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"meta":{"plan":"raw","seq":7},"results":{"visits":0,"visitors":0,"views_per_visit":0,"bounce_rate":0,"visit_duration":0}}`)
}

// TestCurrency: figures of money are of one currency, that of the site if no
// other is asked for.
func TestCurrency(t *testing.T) {
	t.Parallel()
	r := newStats(t, "CHF")
	for target, want := range map[string]string{
		"main?metrics=average_revenue":                   "CHF",
		"main?metrics=total_revenue&currency=USD":        "USD",
		"timeseries?metrics=visitors":                    "",
		"breakdown/pages?metrics=visitors,total_revenue": "CHF",
	} {
		r.asked = nil
		r.stats(target + "&site_id=example.com")
		if len(r.asked) != 1 || r.asked[0].Currency != want {
			t.Errorf("%s: asked %+v, want the currency %q", target, r.asked, want)
		}
	}
}

// TestCompare is about what ranges are compared with; it is 14:30 in Berlin.
func TestCompare(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	for _, c := range []struct{ query, mode, from, to string }{
		{"start_date=2026-07-01&end_date=2026-07-07", "previous_period", "2026-06-24T00:00:00+02:00", "2026-07-01T00:00:00+02:00"},
		{"start_date=2026-07-01&end_date=2026-07-07", "year_over_year", "2025-07-01T00:00:00+02:00", "2025-07-08T00:00:00+02:00"},
		// Today is compared with as much of yesterday, and so on.
		{"period=today", "previous_period", "2026-07-14T00:00:00+02:00", "2026-07-14T14:31:00+02:00"},
		{"period=7d", "previous_period", "2026-07-02T00:00:00+02:00", "2026-07-08T14:31:00+02:00"},
		{"period=month", "previous_period", "2026-05-31T00:00:00+02:00", "2026-06-14T14:31:00+02:00"},
		{"period=month", "year_over_year", "2025-07-01T00:00:00+02:00", "2025-07-15T14:31:00+02:00"},
		{"period=yesterday", "previous_period", "2026-07-13T00:00:00+02:00", "2026-07-14T00:00:00+02:00"},
		{"period=30m", "previous_period", "2026-07-15T13:30:01+02:00", "2026-07-15T14:00:01+02:00"},
		{"period=24h", "year_over_year", "2025-07-14T14:30:01+02:00", "2025-07-15T14:30:01+02:00"},
		// The clock was put forward on 29 March: the days are as many, not the hours.
		{"start_date=2026-03-29&end_date=2026-03-30", "previous_period", "2026-03-27T00:00:00+01:00", "2026-03-29T00:00:00+01:00"},
		{"start_date=2024-02-29&end_date=2024-02-29", "year_over_year", "2023-02-28T00:00:00+01:00", "2023-03-01T00:00:00+01:00"},
		{"start_date=2027-01-01&end_date=2027-01-01", "year_over_year", "2026-01-01T00:00:00+01:00", "2026-01-02T00:00:00+01:00"},
	} {
		q, _ := url.ParseQuery(c.query)
		from, to := server.Before(q, berlin, now, c.mode)
		got := [2]string{time.UnixMicro(from).In(berlin).Format(time.RFC3339), time.UnixMicro(to).In(berlin).Format(time.RFC3339)}
		if got != [2]string{c.from, c.to} {
			t.Errorf("%s %s: got %v, want %s to %s", c.query, c.mode, got, c.from, c.to)
		}
	}
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		a := &event.Answer{Plan: event.PlanRollup, Seq: 4, Lines: []event.Line{{Figures: []event.Figure{{Int: 15}, {Float: 60}, {Int: 3}, {Unknown: true}}}}}
		if len(r.asked) == 2 {
			a = &event.Answer{Plan: event.PlanRaw, Seq: 5, Lines: []event.Line{{Figures: []event.Figure{{Int: 12}, {Float: 50}, {Int: 0}, {Float: 1}}}}}
		}
		return a, nil
	}
	sameJSON(t, "comparison", r.stats("main?site_id=example.com&period=today&compare=previous_period&metrics=visitors,bounce_rate,events,time_on_page"), `{
		"site_id":"example.com","timezone":"Europe/Berlin","start_date":"2026-07-15","end_date":"2026-07-15","meta":{"plan":"both","seq":4},
		"results":{"visitors":15,"bounce_rate":60,"events":3,"time_on_page":null},
		"comparison":{"start_date":"2026-07-14","end_date":"2026-07-14","until":"2026-07-14T14:31:00+02:00",
			"results":{"visitors":12,"bounce_rate":50,"events":0,"time_on_page":1},
			"change":{"visitors":25,"bounce_rate":10,"events":null,"time_on_page":null}}}`)
	if got := r.stats("main?site_id=example.com&period=yesterday&compare=year_over_year&metrics=visitors,bounce_rate,events,time_on_page"); !strings.Contains(got, `"end_date":"2025-07-14","results"`) {
		t.Errorf("a range that is over: %s", got)
	}
}

// TestTimeseries is about the points that nobody counted, and those of which only
// a part has been.
func TestTimeseries(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	at := func(text string) int64 {
		t.Helper()
		tm, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return tm.UnixMicro()
	}
	points := map[string]int64{}
	r.answer = func(q event.Query) (*event.Answer, error) {
		a := &event.Answer{Plan: event.PlanRaw}
		for text, n := range points {
			a.Lines = append(a.Lines, event.Line{Values: []event.Value{{Time: at(text)}}, Figures: []event.Figure{{Int: n}, {Float: 7}}})
		}
		return a, nil
	}
	for _, c := range []struct {
		query  string
		points map[string]int64
		want   []string // date, visitors and time on page; ~ marks a part
	}{
		{"start_date=2026-07-01&end_date=2026-07-03", map[string]int64{"2026-07-02T00:00:00+02:00": 5}, []string{"2026-07-01 0 null", "2026-07-02 5 7", "2026-07-03 0 null"}},
		// Weeks begin on Monday, 29 June and 6 July.
		{"start_date=2026-07-02&end_date=2026-07-07&interval=week", map[string]int64{"2026-06-29T00:00:00+02:00": 4}, []string{"2026-06-29 4 7 ~", "2026-07-06 0 null ~"}},
		// The month goes on, and so does today; what has not begun is left out.
		{"period=month&interval=month", nil, []string{"2026-07-01 0 null ~"}},
		{"period=month&interval=week", nil, []string{"2026-06-29 0 null ~", "2026-07-06 0 null", "2026-07-13 0 null ~"}},
		{"start_date=2026-07-14&end_date=2026-07-20", nil, []string{"2026-07-14 0 null", "2026-07-15 0 null ~"}},
		// But not what an event claims.
		{"start_date=2026-07-14&end_date=2026-07-20", map[string]int64{"2026-07-16T00:00:00+02:00": 1}, []string{"2026-07-14 0 null", "2026-07-15 0 null ~", "2026-07-16 1 7 ~"}},
		{"start_date=2027-01-01&end_date=2027-01-02", nil, nil},
		{"period=30m&interval=hour", nil, []string{"2026-07-15 14:00:00 0 null ~"}},
		// The hour from two to three comes twice.
		{"start_date=2025-10-26&end_date=2025-10-26", map[string]int64{"2025-10-26T02:00:00+01:00": 2}, append([]string{
			"2025-10-26 00:00:00 0 null", "2025-10-26 01:00:00 0 null", "2025-10-26 02:00:00 0 null", "2025-10-26 02:00:00 2 7"}, hours("2025-10-26", 3)...)},
		{"start_date=2026-03-29&end_date=2026-03-29", nil, append([]string{"2026-03-29 00:00:00 0 null", "2026-03-29 01:00:00 0 null"}, hours("2026-03-29", 3)...)},
	} {
		points = c.points
		got := into[struct {
			Results []struct {
				Date     string
				Time     string
				Visitors int64
				Page     *float64 `json:"time_on_page"`
				Partial  bool
			}
		}](t, r.do("GET", "/api/stats/timeseries?site_id=example.com&metrics=visitors,time_on_page&"+c.query, ""))
		var list []string
		for _, p := range got.Results {
			text := fmt.Sprintf("%s %d null", p.Date, p.Visitors)
			if p.Page != nil {
				text = fmt.Sprintf("%s %d %v", p.Date, p.Visitors, *p.Page)
			}
			if p.Partial {
				text += " ~"
			}
			list = append(list, text)
		}
		if !slices.Equal(list, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.query, list, c.want)
		}
	}
}

// hours are the hours of a day without an event.
func hours(day string, from int) (list []string) {
	for h := from; h < 24; h++ {
		list = append(list, fmt.Sprintf("%s %02d:00:00 0 null", day, h))
	}
	return list
}

// TestAllOfTime: a series of all of time goes from the first event to today.
func TestAllOfTime(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	sameJSON(t, "nothing", r.stats("timeseries?site_id=example.com&period=all&metrics=visitors"),
		`{"site_id":"example.com","timezone":"Europe/Berlin","interval":"month","meta":{"seq":0},"results":[]}`)
	r.bounds = [2]int64{time.Date(2026, 5, 31, 22, 30, 0, 0, time.UTC).UnixMicro(), time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC).UnixMicro()}
	sameJSON(t, "some", r.stats("timeseries?site_id=example.com&period=all&metrics=visitors"), `{"site_id":"example.com","timezone":"Europe/Berlin","interval":"month",
		"meta":{"plan":"raw","seq":7},"results":[{"date":"2026-06-01","time":"2026-06-01T00:00:00+02:00","visitors":0},
		{"date":"2026-07-01","time":"2026-07-01T00:00:00+02:00","partial":true,"visitors":0}]}`)
}

func TestBreakdown(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		return &event.Answer{Plan: event.PlanRollup, Count: 42, Seq: 7, Lines: []event.Line{{Values: values("/a"), Figures: usual}, {Values: values(""), Figures: usual}}}, nil
	}
	sameJSON(t, "pages", r.stats("breakdown/page?site_id=example.com&period=all&limit=2&page=3"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"dimension":"page","limit":2,"page":3,"total_rows":42,"meta":{"plan":"rollup","seq":7},
		"results":[{"value":"/a",`+usualJSON+`},{"value":null,`+usualJSON+`}]}`)
	if q := r.asked[0]; q.Limit != 2 || q.Offset != 4 || !q.Count || q.Order != nil || !q.Filter.Zero() {
		t.Errorf("asked %+v", q)
	}
	for target, want := range map[string]event.Query{
		"pages?search=Blog": {Dimensions: []event.Dimension{"path"},
			Filter: event.Filter{Op: event.Contains, Dimension: "path", Values: []string{"Blog"}, IgnoreCase: true}},
		"entry_pages?sort=bounce_rate": {Dimensions: []event.Dimension{"entry_path"}, Order: []event.Order{{Metric: "bounce_rate", Descending: true}, {Dimension: "entry_path"}}},
		"exit-page?sort=visits:asc":    {Dimensions: []event.Dimension{"exit_path"}, Order: []event.Order{{Metric: "visits"}, {Dimension: "exit_path"}}},
		"country?sort=value":           {Dimensions: []event.Dimension{"country"}, Order: []event.Order{{Dimension: "country"}}},
		"cities?sort=value:desc":       {Dimensions: []event.Dimension{"city"}, Order: []event.Order{{Dimension: "city", Descending: true}}},
		"events?":                      {Dimensions: []event.Dimension{"name"}, Filter: event.Without(texts("name", "engagement"))},
		"prop:a%2Fb?":                  {Dimensions: []event.Dimension{"prop:a/b"}},
		"screen-sizes?":                {Dimensions: []event.Dimension{"screen"}},
		"source?filters=country==DE":   {Dimensions: []event.Dimension{"source"}, Filter: texts("country", "DE")},
		"utm_campaign?segment=9":       {Dimensions: []event.Dimension{"utm_campaign"}, Filter: texts("country", "DE", "AT")},
		"os?filters=goal==Signup":      {Dimensions: []event.Dimension{"os"}, Goals: []event.Goal{{Name: "goal", Filter: texts("name", "Signup")}}},
		"os?filters=goal!%3DSignup":    {Dimensions: []event.Dimension{"os"}, Filter: event.Without(texts("name", "Signup"))},
		"browser?filters=%5B%5B%22is%22,%22event:goal%22,%5B%22Signup%22%5D%5D,%5B%22is%22,%22visit:os%22,%5B%22Linux%22%5D%5D%5D": {
			Dimensions: []event.Dimension{"browser"}, Filter: texts("os", "Linux"), Goals: []event.Goal{{Name: "goal", Filter: texts("name", "Signup")}}},
	} {
		r.asked = nil
		r.stats("breakdown/" + target + "&site_id=example.com")
		got := event.Query{Dimensions: r.asked[0].Dimensions, Filter: r.asked[0].Filter, Order: r.asked[0].Order, Goals: r.asked[0].Goals}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", target, diff)
		}
	}
}

// TestConditions is about the short form of filters.
func TestConditions(t *testing.T) {
	t.Parallel()
	contains := func(d event.Dimension, values ...string) event.Filter {
		return event.Filter{Op: event.Contains, Dimension: d, Values: values, IgnoreCase: true}
	}
	for text, want := range map[string][]event.Filter{
		"pages==/a":                      {texts("path", "/a")},
		"page==/a|/b":                    {texts("path", "/a", "/b")},
		"countries!=DE;os==Linux":        {event.Without(texts("country", "DE")), texts("os", "Linux")},
		"os==Linux;":                     {texts("os", "Linux")},
		"source==(unknown)":              {texts("source", "")},
		"source!=(unknown)|Google":       {event.Without(texts("source", "", "Google"))},
		"title~Hello World":              {contains("title", "Hello World")},
		"title!~a|b":                     {event.Without(contains("title", "a", "b"))},
		"source~(unknown)":               {contains("source", "(unknown)")},
		`pages==/a\;b\|c\\d|/e\f`:        {texts("path", `/a;b|c\d`, `/e\f`)},
		"pages==/a==b!=c~d":              {texts("path", "/a==b!=c~d")},
		"entry-pages==/a;exit-pages==/b": {texts("entry_path", "/a"), texts("exit_path", "/b")},
		"prop:plan==pro":                 {texts("prop:plan", "pro")},
		`props:a\=b\~==c`:                {texts("prop:a=b~", "c")},
		"via==page; browser_version==1":  {texts("via", "page"), texts("browser_version", "1")},
	} {
		got, err := server.Conditions(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", text, diff)
		}
	}
	for _, text := range []string{
		";", "pages", "pages=/a", "pages==", "pages==/a|", "pages==|", "==/a", "nothing==a", "pages!/a", "prop:==a", `pages\==a`,
		"time:day==1", "pages==" + strings.Repeat("x", 2001), strings.Repeat("os==a;", 101),
	} {
		if got, err := server.Conditions(text); err == nil {
			t.Errorf("%.50s: %+v, want an error", text, got)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1 day": 24 * time.Hour, "30 minutes": 30 * time.Minute, "86400 second": 24 * time.Hour, "52 weeks": 364 * 24 * time.Hour, "720 hours": 720 * time.Hour,
	} {
		if got, err := server.ParseWindow(text); got != want || err != nil {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "1", "day", "1  day", "1 day ", "-1 day", "1.5 days", "86401 seconds", "1441 minutes", "53 weeks", "1 month", "99999999999999999999 days"} {
		if got, err := server.ParseWindow(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0", 1: "0.0001", 10_000: "1", 123_400: "12.34", -5_000: "-0.5", -10_001: "-1.0001", 1_000_000_000: "100000",
		math.MaxInt64: "922337203685477.5807", math.MinInt64: "-922337203685477.5808",
	} {
		if got := server.Money(n).String(); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestGoals: the goals that were set up, and every custom event that none of
// them is.
func TestGoalsReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		a := &event.Answer{Plan: event.PlanRaw}
		switch {
		case q.Dimensions[0] == "name":
			a.Lines = []event.Line{{Values: values("Download"), Figures: ints(3)}}
		case q.Currency == "EUR":
			a.Lines = []event.Line{{Values: values("Sold"), Figures: []event.Figure{{Int: 125_000}, {Float: 6.25}}}}
		default:
			a.Lines = []event.Line{
				{Values: values("Download"), Figures: []event.Figure{{Int: 3}, {Int: 4}, {Float: 30}}},
				{Values: values("Sold"), Figures: []event.Figure{{Int: 1}, {Int: 2}, {Float: 10}}},
			}
		}
		return a, nil
	}
	sameJSON(t, "goals", r.stats("goals?site_id=example.com&period=all&filters=country==DE;goal==Signup"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"meta":{"plan":"raw","seq":0},"results":[
		{"id":3,"name":"Signup","kind":"event","visitors":0,"events":0,"conversion_rate":0},
		{"id":4,"name":"Visit /thanks","kind":"page","visitors":0,"events":0,"conversion_rate":0},
		{"id":5,"name":"Sold","kind":"event","visitors":1,"events":2,"conversion_rate":10,"revenue":{"currency":"EUR","total":12.5,"average_order_value":6.25}},
		{"name":"Download","kind":"custom_event","visitors":3,"events":4,"conversion_rate":30}]}`)
	narrowed := event.Every(texts("country", "DE"), texts("name", "Signup"))
	taken := texts("name", "pageview", "engagement", "Signup", "Signup", "Visit /thanks", "Purchase", "Sold")
	if diff := cmp.Diff(event.Every(narrowed, event.Without(taken)), r.asked[0].Filter); diff != "" {
		t.Errorf("asked for events, -want +got:\n%s", diff)
	}
	var names []string
	for _, g := range r.asked[1].Goals {
		names = append(names, g.Name)
	}
	if diff := cmp.Diff(narrowed, r.asked[1].Filter); diff != "" || !slices.Equal(names, []string{"Signup", "Visit /thanks", "Sold", "Download"}) {
		t.Errorf("asked for goals %q, -want +got:\n%s", names, diff)
	}
	r.answer = func(event.Query) (*event.Answer, error) { return &event.Answer{}, nil }
	sameJSON(t, "breakdown of goals", r.stats("breakdown/goals?site_id=example.com&period=all"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"dimension":"goals","limit":100,"page":1,"total_rows":0,"meta":{"seq":0},"results":[]}`)
	none := newStats(t, "", func(o *server.Options) {})
	none.sites[0].Domain = "example.com"
	empty := newRig(t, func(o *server.Options) { o.Goals = goalShelf{} })
	for _, target := range []string{"goals?", "breakdown/goals?"} {
		if got := empty.stats(target + "site_id=example.com"); !strings.Contains(got, `"results":[]`) {
			t.Errorf("%s of nothing: %s", target, got)
		}
	}
}

// TestGoalOfSomeEvents: a goal of those events only that have a property is not
// that of all events of the name.
func TestGoalOfSomeEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) {
		o.Questions = o.Keys.(*fake)
		o.Goals = goalShelf{goals: []ledger.Goal{{ID: 1, Name: "Upgraded", Kind: ledger.EventGoal, Event: "Plan", Props: map[string]string{"to": "pro"}}}}
	})
	r.stats("goals?site_id=example.com")
	if diff := cmp.Diff(event.Without(texts("name", "pageview", "engagement", "Upgraded")), r.asked[0].Filter); diff != "" {
		t.Errorf("asked for events, -want +got:\n%s", diff)
	}
}

func TestRevenueReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		v := map[event.Dimension]string{"currency": "EUR", "name": "Purchase", "path": ""}
		line := event.Line{Figures: []event.Figure{{Int: 250_000}, {Int: 4}, {Int: 3}, {Float: 6.25}}}
		for _, d := range q.Dimensions {
			line.Values = append(line.Values, event.Value{Text: v[d]})
		}
		return &event.Answer{Plan: event.PlanRaw, Seq: 3, Lines: []event.Line{line}}, nil
	}
	const earned = `"currency":"EUR","total":25,"transactions":4,"paying_visitors":3,"average_order_value":6.25}`
	sameJSON(t, "revenue", r.stats("revenue?site_id=example.com&period=all&currency=EUR"), `{"site_id":"example.com","timezone":"Europe/Berlin","limit":20,
		"meta":{"plan":"raw","seq":3},"results":{"by_currency":[{`+earned+`],"by_event":[{"value":"Purchase",`+earned+`],"by_page":[{"value":null,`+earned+`]}}`)
	if q := r.asked[2]; q.Limit != 20 || !slices.Equal(q.Dimensions, []event.Dimension{"currency", "path"}) {
		t.Errorf("asked %+v", q)
	}
	if diff := cmp.Diff(event.Every(event.Without(texts("currency", "")), texts("currency", "EUR")), r.asked[0].Filter); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r = newStats(t, "")
	sameJSON(t, "no revenue", r.stats("revenue?site_id=example.com&period=all"), `{"site_id":"example.com","timezone":"Europe/Berlin","limit":20,
		"meta":{"plan":"raw","seq":7},"results":{"by_currency":[],"by_event":[],"by_page":[]}}`)
}

// TestRealtimeReport: it is 14:30:00 in Berlin; the running second is in it.
func TestRealtimeReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		a := &event.Answer{Plan: event.PlanRaw, Seq: 9}
		switch {
		case len(q.Dimensions) == 0:
			a.Lines = []event.Line{{Figures: ints(4, 6)}}
		case q.Dimensions[0] == event.Minute:
			a.Lines = []event.Line{{Values: []event.Value{{Time: time.Date(2026, 7, 15, 12, 27, 0, 0, time.UTC).UnixMicro()}}, Figures: ints(4, 6)}}
		case q.Dimensions[0] == "path":
			a.Lines = []event.Line{{Values: values("/a"), Figures: ints(3)}}
		default:
			a.Lines = []event.Line{{Values: values(""), Figures: ints(4)}}
		}
		return a, nil
	}
	sameJSON(t, "realtime", r.stats("realtime?site_id=example.com&minutes=3"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"start_date":"2026-07-15","end_date":"2026-07-15","interval":"minute","meta":{"plan":"raw","seq":9},"results":{
		"current_visitors":4,"pageviews":6,"window_minutes":3,"top_pages":[{"value":"/a","visitors":3}],"top_sources":[{"value":null,"visitors":4}],
		"per_minute":[{"time":"2026-07-15T14:27:00+02:00","visitors":4,"pageviews":6},{"time":"2026-07-15T14:28:00+02:00","visitors":0,"pageviews":0},
		{"time":"2026-07-15T14:29:00+02:00","visitors":0,"pageviews":0},{"time":"2026-07-15T14:30:00+02:00","visitors":0,"pageviews":0}]}}`)
	r.asked = nil
	r.stats("realtime?site_id=example.com&minutes=3&filters=os==Linux;goal==Signup")
	for _, q := range r.asked {
		want := event.Every(texts("os", "Linux"), texts("name", "Signup"))
		if len(q.Dimensions) > 0 && q.Dimensions[0] == "path" {
			want = event.Every(want, texts("name", "pageview"))
		}
		if diff := cmp.Diff(want, q.Filter); diff != "" || q.Goals != nil {
			t.Errorf("asked, -want +got:\n%s", diff)
		}
		if q.To != now.UnixMicro()+1e6 || q.To-q.From != 180e6 {
			t.Errorf("asked from %d to %d", q.From, q.To)
		}
	}
}

func TestPropertyReports(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.answer = func(q event.Query) (*event.Answer, error) {
		return &event.Answer{Plan: event.PlanRaw, Seq: 2, Count: 1, Lines: []event.Line{{Values: values("plan"), Figures: ints(5, 8)}}}, nil
	}
	sameJSON(t, "properties", r.stats("properties?site_id=example.com&period=all&event=Signup"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"limit":50,"page":1,"total_rows":1,"meta":{"plan":"raw","seq":2},"results":[{"name":"plan","visitors":5,"events":8}]}`)
	sameJSON(t, "values", r.stats("property-values?site_id=example.com&period=all&key=a.b&event=Signup&filters=os==Linux"), `{"site_id":"example.com",
		"timezone":"Europe/Berlin","dimension":"prop:a.b","limit":50,"page":1,"total_rows":1,"meta":{"plan":"raw","seq":2},
		"results":[{"value":"plan","visitors":5,"events":8}]}`)
	want := event.Every(texts("os", "Linux"), texts("name", "Signup"))
	if diff := cmp.Diff(want, r.asked[1].Filter.Of[0]); diff != "" || len(r.asked[1].Filter.Of) != 2 {
		t.Errorf("asked %+v", r.asked[1].Filter)
	}
}

func number[T any](v T) *T { return &v }

func TestFunnelReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	steps := []event.FunnelStep{
		{Name: "a", Reached: 4, Rate: 100, Kept: 100},
		{Name: "b", Reached: 1, Rate: 25, Kept: 25, Dropped: 3, Took: event.Spell{Mean: 90 * time.Second, Median: time.Minute, P90: 2 * time.Minute, Shortest: time.Second, Longest: time.Hour}},
		{Name: "c", Kept: 0, Dropped: 1},
	}
	r.behaved.funnels = event.FunnelAnswer{Steps: steps, Count: 2, Segments: []event.FunnelSegment{{Value: "", Steps: steps[:2]}}, About: event.About{Seq: 6, Caveat: "c"}}
	const first = `{"step":1,"name":"a","visitors":4,"conversion_rate":100,"kept_rate":100,"dropped_off":0,"took":null}`
	sameJSON(t, "funnel", r.stats(`funnel?site_id=example.com&period=all&steps=page:/a\,b,event:B,goal:Signup,page:/c/**&by=country&limit=1`+
		`&window=2+hours&modes=strict_order,strict_once&filters=os==Linux`), `{"site_id":"example.com","timezone":"Europe/Berlin","dimension":"country","limit":1,
		"meta":{"plan":"raw","seq":6,"unit":"visitor","caveat":"c"},"results":{"steps":[`+first+`,
		{"step":2,"name":"b","visitors":1,"conversion_rate":25,"kept_rate":25,"dropped_off":3,"took":{"mean":90,"median":60,"p90":120,"shortest":1,"longest":3600}},
		{"step":3,"name":"c","visitors":0,"conversion_rate":0,"kept_rate":0,"dropped_off":1,"took":null}],
		"segments":[{"value":null,"steps":[`+first+`,
		{"step":2,"name":"b","visitors":1,"conversion_rate":25,"kept_rate":25,"dropped_off":3,"took":{"mean":90,"shortest":1,"longest":3600}}]}],"total_segments":2}}`)
	want := event.Funnel{
		Scope: event.Scope{Site: "example.com", Zone: r.behaved.funnel.Zone, Unit: event.PerVisitor, Filter: texts("os", "Linux")},
		Steps: []event.Step{
			{Name: "page:/a,b", Filter: event.Every(texts("name", "pageview"), texts("path", "/a,b"))},
			{Name: "event:B", Filter: texts("name", "B")},
			{Name: "goal:Signup", Filter: texts("name", "Signup")},
			{Name: "page:/c/**", Filter: event.Every(texts("name", "pageview"), event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/c/**"}})},
		},
		Window: 2 * time.Hour, Modes: []event.Mode{"strict_once", "strict_order"}, By: "country", Limit: 1,
	}
	if diff := cmp.Diff(want, r.behaved.funnel, sameZone); diff != "" {
		t.Errorf("asked, -want +got:\n%s", diff)
	}

	w := r.do("POST", "/api/stats/funnel", `{"site_id": "example.com", "period": "all", "filters": [["is", "visit:os", ["Linux"]]], "window": "2 hours",
		"by": "country", "limit": 1, "modes": ["strict_once", "strict_order"], "steps": ["page:/a\\,b", {"name": "event:B", "filters": [["is", "event:name", ["B"]]]},
		"goal:Signup", "page:/c/**"]}`, "Content-Type: application/json")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff(want, r.behaved.funnel, sameZone); diff != "" {
		t.Errorf("asked by POST, -want +got:\n%s", diff)
	}
	for body, code := range map[string]string{
		`{}`:                         "parameter",
		`{"site_id": "example.com"}`: "steps",
		`{"site_id": "example.com", "steps": [{}]}`:                                                "steps",
		`{"site_id": "example.com", "steps": [[]]}`:                                                "steps",
		`{"site_id": "example.com", "steps": [{"filter": []}]}`:                                    "steps",
		`{"site_id": "example.com", "steps": [{"filters": [["is", "nothing", ["a"]]]}]}`:           "bad_query",
		`{"site_id": "example.com", "steps": ["page:/a"], "filters": {}}`:                          "filters",
		`{"site_id": "example.com", "steps": ["page:/a"], "segment": 77}`:                          "bad_query",
		`{"site_id": "example.com", "steps": ["page:/a"], "window": "a while"}`:                    "window",
		`{"site_id": "example.com", "steps": ["page:/a"], "windows": "1 day"}`:                     "invalid",
		`{"site_id": "example.com", "steps": [` + strings.Repeat(`"page:/a",`, 32) + `"page:/b"]}`: "steps",
	} {
		w := r.do("POST", "/api/stats/funnel", body, "Content-Type: application/json")
		if w.Code < 400 || w.Code >= 500 || !strings.Contains(w.Body.String(), `"code":"`+code+`"`) {
			t.Errorf("%s: %d %s, want %s", body, w.Code, w.Body, code)
		}
	}

	day := time.Date(2026, 7, 14, 22, 0, 0, 0, time.UTC).UnixMicro()
	r.behaved.funnels = event.FunnelAnswer{Steps: steps[:1], Points: []event.FunnelPoint{{Time: day, Steps: steps[:1]}, {Time: day + 86_400e6, Steps: steps[:1]}}}
	sameJSON(t, "over time", r.stats("funnel?site_id=example.com&period=month&steps=page:/a,page:/b&over=day&unit=user"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"start_date":"2026-07-01","end_date":"2026-07-31","interval":"day","meta":{"plan":"raw","seq":0,"unit":"user"},"results":{
		"steps":[`+strings.ReplaceAll(first, "visitors", "users")+`],"points":[{"date":"2026-07-15","time":"2026-07-15T00:00:00+02:00","partial":true,
		"steps":[`+strings.ReplaceAll(first, "visitors", "users")+`]}]}}`)
}

func TestRetentionReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	monday := time.Date(2026, 7, 5, 22, 0, 0, 0, time.UTC).UnixMicro()
	r.behaved.retentions = event.RetentionAnswer{
		Cohorts: []event.Cohort{{Time: monday, Size: 4, Retained: []*int64{number(int64(4)), nil}, Rates: []*float64{number(100.0), nil}}},
		Whole:   event.Cohort{Size: 4, Retained: []*int64{number(int64(4)), nil}, Rates: []*float64{number(100.0), nil}},
	}
	sameJSON(t, "retention", r.stats("retention?site_id=example.com&weeks=2"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"start_date":"2026-07-06","end_date":"2026-07-15","interval":"week","meta":{"plan":"both","seq":0,"unit":"user"},"results":{
		"cohorts":[{"cohort_date":"2026-07-06","cohort_size":4,"retained":[4,null],"retention_rates":[100,null]}],
		"total":{"cohort_size":4,"retained":[4,null],"retention_rates":[100,null]},"interval":"week","periods":2,"identity_supports_cohorts":true}}`)
	for query, want := range map[string]event.Retention{
		"":                     {Interval: "week", Periods: 4, Scope: event.Scope{Unit: "user", From: day(t, "2026-06-22"), To: day(t, "2026-07-16")}},
		"interval=day&n=7":     {Interval: "day", Periods: 7, Scope: event.Scope{Unit: "user", From: day(t, "2026-07-09"), To: day(t, "2026-07-16")}},
		"interval=month&n=3":   {Interval: "month", Periods: 3, Scope: event.Scope{Unit: "user", From: day(t, "2026-05-01"), To: day(t, "2026-07-16")}},
		"by=visitor&period=7d": {Interval: "week", Periods: 4, Scope: event.Scope{Unit: "visitor", From: day(t, "2026-07-09"), To: day(t, "2026-07-16")}},
		"start=event:Signup&return=page:/a&start_date=2026-07-01&end_date=2026-07-01": {
			Interval: "week", Periods: 4, Scope: event.Scope{Unit: "user", From: day(t, "2026-07-01"), To: day(t, "2026-07-02")},
			Start: texts("name", "Signup"), Return: event.Every(texts("name", "pageview"), texts("path", "/a"))},
	} {
		r.stats("retention?site_id=example.com&" + query)
		got := r.behaved.retention
		want.Site, want.Zone = "example.com", got.Zone
		if diff := cmp.Diff(want, got, sameZone); diff != "" {
			t.Errorf("%s, -want +got:\n%s", query, diff)
		}
	}
}

// day returns the first µs of a day in Berlin.
func day(t *testing.T, date string) int64 {
	t.Helper()
	d, err := time.ParseInLocation(time.DateOnly, date, zone(t, "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	return d.UnixMicro()
}

func TestSequenceReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.behaved.sequences = event.SequenceAnswer{Matched: 1, Units: 4, Rate: 25, Matches: 3, Pattern: "(?1)(?2)"}
	sameJSON(t, "sequences", r.stats("sequences?site_id=example.com&period=all&steps=page:/a,event:b&pattern="+url.QueryEscape("(?1)(?2)")+"&every=true&unit=visit"),
		`{"site_id":"example.com","timezone":"Europe/Berlin","meta":{"plan":"raw","seq":0,"unit":"visit"},"results":{
		"converting_visits":1,"total_visits":4,"conversion_rate":25,"total_matches":3,"pattern":"(?1)(?2)"}}`)
	if q := r.behaved.sequence; q.Pattern != "(?1)(?2)" || !q.Every || len(q.Steps) != 2 {
		t.Errorf("asked %+v", q)
	}
}

func TestFlowReport(t *testing.T) {
	t.Parallel()
	r := newStats(t, "")
	r.behaved.flows = event.FlowAnswer{
		Start: []event.FlowNode{{Value: "/a", Units: 3}, {Kind: event.Others, Units: 1}},
		Steps: []event.FlowStep{{
			Nodes: []event.FlowNode{{Value: "/b", Units: 1}, {Kind: event.End, Units: 3}},
			Links: []event.FlowLink{{From: 0, To: 1, Units: 2}},
		}},
	}
	sameJSON(t, "flow", r.stats("flow?site_id=example.com&period=all&page=/a*&limit=5&steps=2&direction=backward"), `{"site_id":"example.com","timezone":"Europe/Berlin",
		"dimension":"pages","limit":5,"meta":{"plan":"raw","seq":0,"unit":"visit"},"results":{
		"start":[{"kind":"value","value":"/a","visits":3,"share":75},{"kind":"others","value":null,"visits":1,"share":25}],
		"steps":[{"nodes":[{"kind":"value","value":"/b","visits":1,"share":25},{"kind":"entry","value":null,"visits":3,"share":75}],"links":[{"from":0,"to":1,"visits":2}]}]}}`)
	q := r.behaved.flow
	like := event.Every(texts("name", "pageview"), event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/a*"}})
	if diff := cmp.Diff(like, q.Start); diff != "" || q.Depth != 2 || q.Top != 5 || !q.Backwards || q.By != "path" || !q.Events.Zero() {
		t.Errorf("asked %+v\n%s", q, diff)
	}
	r.stats("flow?site_id=example.com&by=events&start=event:Signup")
	if q := r.behaved.flow; q.By != "name" || q.Events.Op != event.Not || q.Depth != 1 || q.Top != 10 || q.Start.Dimension != "name" {
		t.Errorf("asked %+v", q)
	}
}

// TestEmptySite asks everything about a site on which nothing has happened.
func TestEmptySite(t *testing.T) {
	t.Parallel()
	r := newStats(t, "EUR")
	for _, target := range everyReport {
		for _, more := range []string{"", "&period=all", "&period=day"} {
			if strings.HasPrefix(target, "realtime") && more != "" {
				continue
			}
			if got := r.stats(target + "site_id=example.com" + more); !json.Valid([]byte(got)) || strings.Contains(got, ":null,\"meta\"") || strings.Contains(got, `"results":null`) {
				t.Errorf("%s%s: %s", target, more, got)
			}
		}
	}
}
