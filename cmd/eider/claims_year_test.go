package main_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

var (
	yearEvents = flag.Int("year", 0, "make a year of so many `events` with TestYear, and nothing else")
	yearDir    = flag.String("year.dir", "", "in this `directory`, which must not be there yet")
)

// TestYear makes a year on request, for a look at it with the real program:
//
//	go test ./cmd/eider -run '^TestYear$' -timeout 0 -args -year 100000000 -year.dir /tmp/year
//
// Without a request it makes a small one twice, and compares.
func TestYear(t *testing.T) {
	if *yearEvents > 0 {
		if err := writeYear(t.Context(), *yearDir, newYear(*yearEvents, time.Now())); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	var dirs [2]string
	for i := range dirs {
		dirs[i] = t.TempDir()
		if err := writeYear(t.Context(), dirs[i], newYear(20_000, now)); err != nil {
			t.Fatal(err)
		}
	}
	var first []event.Part
	for i, dir := range dirs {
		parts := partsOf(t, dir)
		rows := int64(0)
		for j := range parts {
			parts[j].Created, rows = 0, rows+parts[j].Rows
		}
		if len(parts) < yearDays || rows < 18_000 || rows > 22_000 {
			t.Errorf("%d parts with %d events", len(parts), rows)
		}
		if i == 0 {
			first = parts
		} else if !slices.EqualFunc(first, parts, func(a, b event.Part) bool { return a.SHA256 == b.SHA256 && a.Path == b.Path }) {
			t.Error("the same seed makes another year")
		}
	}
}

func partsOf(t testing.TB, dir string) []event.Part {
	t.Helper()
	l, err := openLedger(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	parts, _, err := l.Parts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

func openLedger(ctx context.Context, dir string) (*ledger.Ledger, error) {
	return ledger.Open(ctx, filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{Log: slog.New(slog.DiscardHandler)})
}

const (
	yearDays = 365
	yearSite = "year.example" // has three quarters of the events
)

// yearSites are the sites of a year: what each has of it, and its clock.
var yearSites = []struct {
	domain, zone string
	share        float64
}{
	{yearSite, "Europe/Berlin", .75},
	{"shop.example", "America/New_York", .20},
	{"blog.example", "UTC", .05},
}

// A year is what the visitors of some sites have done in the year before a
// moment, as ingest would have stored it. The same seed makes the same year.
//
// Weekends are quiet, nights more so, and the year ends busier than it began; a
// campaign comes and goes each month. Paths, sources, countries and cities have
// long tails. A visit is 3.3 events on average: half of them see one page, most
// pages tell how long they were read, and one visit in forty signs up or buys.
// One in ten visitors of a day comes again that day, one in twenty has a user id,
// and one in fifty asks not to be counted. What bots do is drawn and left out, as
// ingest leaves it out. At 30 million events there are 25,000 visitors a day;
// with fewer or more events there are fewer or more of them.
type year struct {
	events int
	seed   uint64
	end    int64 // of the last day, µs
	first  int64 // of the first day

	pages []yearPage
	open  map[event.Day][]event.Event // what goes on after midnight
	seq   int64
	zones []*time.Location
}

type yearPage struct{ path, title string }

// newYear returns the year that ends with the UTC day before now.
func newYear(events int, now time.Time) *year {
	y := &year{events: events, seed: 2026, end: event.DayOf(now.UnixMicro()).Start(), open: map[event.Day][]event.Event{}}
	y.first = y.end - yearDays*dayLength
	sections := []string{"docs", "blog", "pricing", "products", "help", "about"}
	for i := range 20_000 {
		section := sections[i%len(sections)]
		y.pages = append(y.pages, yearPage{
			fmt.Sprintf("/%s/%d/%s-%d", section, 2020+i%7, []string{"how-to", "release", "guide", "story"}[i%4], i),
			fmt.Sprintf("%s no. %d of the %s", []string{"How to", "Release", "Guide", "Story"}[i%4], i, section),
		})
	}
	copy(y.pages, []yearPage{{"/", "Home"}, {"/pricing", "Prices"}, {"/signup", "Sign up"}, {"/welcome", "Welcome"}, {"/cart", "Cart"}, {"/docs", "Documents"}})
	for _, s := range yearSites {
		zone, err := time.LoadLocation(s.zone)
		if err != nil {
			panic(err)
		}
		y.zones = append(y.zones, zone)
	}
	return y
}

const dayLength = int64(24 * time.Hour / time.Microsecond)

// A yearDay draws one day.
type yearDay struct {
	*year
	r        *rand.Rand
	pick     func(n int, s float64) int // of n, the first ones most
	start    int64
	progress float64 // through the year, 0 to 1
	events   []event.Event
	people   [][]uint64 // by site: who has come today
}

// day returns the events of a day, in the order of parts; the first day is 0. Days
// must be asked for one after the other, because visits go on over midnight.
func (y *year) day(n int) []event.Event {
	d := yearDay{
		year: y, r: rand.New(rand.NewPCG(y.seed, uint64(n))), start: y.first + int64(n)*dayLength,
		progress: float64(n) / yearDays, people: make([][]uint64, len(yearSites)),
	}
	zipf := map[int]*rand.Zipf{}
	d.pick = func(n int, s float64) int {
		if zipf[n] == nil {
			zipf[n] = rand.NewZipf(d.r, s, 4, uint64(n-1))
		}
		return int(zipf[n].Uint64())
	}
	today := event.DayOf(d.start)
	d.events = y.open[today]
	delete(y.open, today)
	weekly := []float64{.7, 1.1, 1.15, 1.15, 1.1, 1.05, .75}[time.UnixMicro(d.start).UTC().Weekday()]
	visits := float64(y.events) / yearDays / perVisit * weekly * (.8 + .4*d.progress)
	for range int(visits + d.r.Float64()) {
		d.visit()
	}
	slices.SortFunc(d.events, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) })
	renumbered := map[int64]int64{}
	for i := range d.events {
		e := &d.events[i]
		y.seq++
		e.Seq = y.seq
		if e.Visit < 0 { // began today: its first event comes first
			if renumbered[e.Visit] == 0 {
				renumbered[e.Visit] = e.Seq
			}
			e.Visit = renumbered[e.Visit]
		}
	}
	for next := range y.open[today+1] {
		e := &y.open[today+1][next]
		if id, ok := renumbered[e.Visit]; ok {
			e.Visit = id
		}
	}
	slices.SortFunc(d.events, func(a, b event.Event) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Seq, b.Seq))
	})
	return d.events
}

// perVisit is how many events a visit has on average.
const perVisit = 3.3

var (
	yearSources = []struct{ source, channel, referrer string }{
		{"", "Direct", ""}, {"Google", "Organic Search", "https://www.google.com/"}, {"Bing", "Organic Search", "https://www.bing.com/"},
		{"Hacker News", "Referral", "https://news.ycombinator.com/item"}, {"Reddit", "Organic Social", "https://www.reddit.com/r/analytics"},
		{"DuckDuckGo", "Organic Search", "https://duckduckgo.com/"}, {"GitHub", "Referral", "https://github.com/"},
		{"YouTube", "Organic Video", "https://www.youtube.com/"}, {"Mastodon", "Organic Social", "https://mastodon.social/"},
	}
	yearCountries = []string{
		"DE", "US", "GB", "FR", "NL", "IN", "CA", "AT", "CH", "PL", "ES", "IT", "BR", "SE", "JP", "AU", "BE", "CZ", "DK", "NO", "FI", "PT", "RO",
		"GR", "HU", "IE", "MX", "AR", "ZA", "KR", "SG", "ID", "TR", "UA", "IL", "NZ", "TH", "VN", "PH", "MY",
	}
	yearBrowsers = []struct{ browser, os, device string }{
		{"Chrome", "Windows", "desktop"}, {"Safari", "iOS", "mobile"}, {"Chrome", "Android", "mobile"}, {"Safari", "macOS", "desktop"},
		{"Firefox", "Linux", "desktop"}, {"Edge", "Windows", "desktop"}, {"Firefox", "Windows", "desktop"}, {"Safari", "iPadOS", "tablet"},
		{"Samsung Browser", "Android", "mobile"},
	}
	yearHours = []float64{.3, .2, .15, .1, .1, .15, .3, .6, 1, 1.3, 1.4, 1.4, 1.3, 1.4, 1.5, 1.4, 1.3, 1.2, 1.2, 1.3, 1.4, 1.2, .9, .5}
)

// moment draws a time of the day.
func (d *yearDay) moment() int64 {
	for {
		hour := d.r.IntN(24)
		if d.r.Float64()*1.5 < yearHours[hour] {
			return d.start + int64(hour)*dayLength/24 + d.r.Int64N(dayLength/24)
		}
	}
}

// visit draws a visit and what happens in it.
func (d *yearDay) visit() {
	if d.r.IntN(5) == 0 { // a bot: ingest knows it and counts it elsewhere
		_ = d.pick(len(yearCountries), 1.2)
	}
	at, share := 0, d.r.Float64()
	for share > yearSites[at].share {
		share -= yearSites[at].share
		at++
	}
	person := d.r.Uint64()
	if again := d.people[at]; len(again) > 0 && d.r.IntN(10) == 0 {
		person = again[d.r.IntN(len(again))]
	} else {
		d.people[at] = append(d.people[at], person)
	}
	start := d.moment()
	e := d.arrival(at, person, start)
	counted := person%50 != 0
	if counted {
		e.Visit, e.VisitStart = -int64(len(d.events)+1)-int64(d.start/dayLength)<<32, start
	}
	if person%20 == 1 {
		e.User = yearID(person%uint64(1+d.year.events/400), 1)
	}
	views := 1
	if d.r.IntN(2) == 0 {
		views = 2 + int(math.Min(d.r.ExpFloat64()*1.6, 30))
	}
	page := d.page()
	for i := range views {
		e.Path, e.Title, e.Name, e.Interactive = page.path, page.title, event.Pageview, true
		if i == 0 {
			e.EntryPath = page.path
		}
		d.put(e, at, person, counted)
		read := 2 + int64(math.Min(d.r.ExpFloat64()*40, 1500))
		if d.r.IntN(4) > 0 {
			tell := e
			tell.Name, tell.Interactive, tell.EngagedMS, tell.Scroll = event.Engagement, false, read*900, int32(20+d.r.IntN(81))
			tell.Time += read * 1_000_000
			d.put(tell, at, person, counted)
		}
		e.Time += (read + 1) * 1_000_000
		if page = d.page(); i > 0 && d.r.IntN(12) == 0 {
			page = d.pages[2] // which is where one signs up
		}
	}
	if d.r.IntN(40) == 0 {
		e.Name, e.Interactive = "Signup", true
		e.Props = fmt.Sprintf(`{"method":"%s","plan":"p%d"}`, []string{"mail", "oauth"}[d.r.IntN(2)], d.r.IntN(5))
		if d.r.IntN(2) == 0 {
			e.Name, e.Currency, e.Revenue = "Purchase", "EUR", int64(9+d.r.IntN(200))*event.RevenueScale
		}
		d.put(e, at, person, counted)
	}
}

func (d *yearDay) page() yearPage { return d.pages[d.pick(len(d.pages), 1.15)] }

// put adds an event to its day.
func (d *yearDay) put(e event.Event, at int, person uint64, counted bool) {
	e.Received = e.Time + 80_000
	if counted {
		local := time.UnixMicro(e.Time).In(d.zones[at])
		e.Visitor = yearID(person, uint64(local.Year()*1000+local.YearDay()))
	}
	if e.Time >= d.start+dayLength {
		if e.Time < d.end {
			day := event.DayOf(e.Time)
			d.open[day] = append(d.open[day], e)
		}
		return
	}
	d.events = append(d.events, e)
}

// yearID is the id of somebody, with the salt of a day.
func yearID(person, salt uint64) (id event.ID) {
	r := rand.NewPCG(person, salt)
	for i := range id {
		if i%8 == 0 {
			person = r.Uint64()
		}
		id[i] = byte(person >> (8 * (i % 8)))
	}
	return id
}

// arrival draws how somebody comes: what all events of the visit have.
func (d *yearDay) arrival(at int, person uint64, start int64) event.Event {
	country := d.pick(len(yearCountries), 1.3)
	city := d.r.IntN(1 + d.r.IntN(60))
	b := yearBrowsers[int(person>>8)%1000*len(yearBrowsers)/1000*(int(person>>20)%3)/2%len(yearBrowsers)]
	e := event.Event{
		Site: yearSites[at].domain, Time: start, Via: event.ViaPage, Scroll: event.NoScroll,
		Hostname: "www." + yearSites[at].domain, EntryHostname: "www." + yearSites[at].domain,
		Browser: b.browser, BrowserVersion: fmt.Sprint(100 + int(d.progress*12) + int(person%3)), OS: b.os, OSVersion: fmt.Sprint(10 + person%5), Device: b.device,
		Screen: []int32{390, 768, 1366, 1440, 1920, 2560}[person%6], Language: []string{"en", "de", "fr", "en-US"}[person%4],
		Country: yearCountries[country], Region: fmt.Sprintf("%s-%d", yearCountries[country], city%12),
		RegionName: fmt.Sprintf("Region %d", city%12), City: fmt.Sprintf("City %d of %s", city, yearCountries[country]), CityID: int64(country*100 + city + 1),
	}
	switch n := d.r.IntN(100); {
	case n < 8 && int(d.progress*365)%30 < 12: // this month's campaign
		e.UTMSource, e.UTMMedium, e.UTMCampaign = "newsletter", "email", fmt.Sprintf("campaign-%d", int(d.progress*12))
		e.Source, e.Channel = "newsletter", "Email"
	case n < 12:
		e.UTMSource, e.UTMMedium, e.UTMCampaign, e.ClickID = "google", "cpc", fmt.Sprintf("ads-%d", d.r.IntN(8)), "gclid"
		e.Source, e.Channel = "Google", "Paid Search"
	case n < 25: // the long tail
		host := d.pick(3000, 1.25)
		e.Source, e.Channel, e.Referrer = fmt.Sprintf("site-%d.example", host), "Referral", fmt.Sprintf("https://site-%d.example/page-%d", host, d.r.IntN(4))
	default:
		s := yearSources[d.pick(len(yearSources), 1.4)]
		e.Source, e.Channel, e.Referrer = s.source, s.channel, s.referrer
	}
	return e
}

// writeYear writes a year into a new data directory: a part for each day, as
// publish and compaction would have left it. Two of them are encoded at a time.
func writeYear(ctx context.Context, dir string, y *year) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	l, err := openLedger(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	for _, s := range yearSites {
		if err := l.AddSite(ctx, ledger.Site{Domain: s.domain, Timezone: s.zone}); err != nil {
			return err
		}
	}
	parts, err := y.write(ctx, history.Open(history.OS(dir)))
	if err != nil {
		return err
	}
	// The journal is told that all of it has gone through, so that the next event is
	// given the next number.
	if err := l.Append(ledger.Group{First: 1, Last: y.seq, Count: int(y.seq), Payload: event.Encode(nil, nil)}); err != nil {
		return err
	}
	_, err = l.Commit(ctx, ledger.Change{Add: parts, Published: y.seq})
	return err
}

func (y *year) write(ctx context.Context, to *history.Dir) ([]event.Part, error) {
	type job struct {
		n      int
		events []event.Event
	}
	jobs := make(chan job)
	parts, errs := make([]event.Part, yearDays), make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for j := range jobs {
				if errs[i] != nil || len(j.events) == 0 {
					continue
				}
				parts[j.n], errs[i] = to.Write(ctx, event.DayOf(j.events[0].Time), sequence(j.events))
			}
		})
	}
	for n := range yearDays {
		jobs <- job{n, y.day(n)}
	}
	close(jobs)
	wg.Wait()
	return slices.DeleteFunc(parts, func(p event.Part) bool { return p.Rows == 0 }), errors.Join(errs...)
}

// sequence is what parts are written from.
func sequence(events []event.Event) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}
