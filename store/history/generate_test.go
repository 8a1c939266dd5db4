package history_test

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// day is the one that the events of these tests are of.
const day = event.Day(20_413) // 2025-11-21

// web makes events as a busy site's visitors do: 500 pages, 40 sources, 30
// browsers and 60 countries, some much more often than others, visits of a few
// pages each, spread over the day, half of them with engagements.
func web(seed uint64, n int) []event.Event {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(n uint64) uint64 { return rand.NewZipf(r, 1.2, 3, n-1).Uint64() }
	pages, sources, agents, countries := rand.NewZipf(r, 1.2, 3, 499), rand.NewZipf(r, 1.3, 2, 39), rand.NewZipf(r, 1.2, 3, 29), rand.NewZipf(r, 1.1, 3, 59)
	_ = pick
	type visit struct {
		e    event.Event
		left int
	}
	var open []visit
	var events []event.Event
	step := int64(86_000_000_000 / n)
	for seq := int64(1); len(events) < n; seq++ {
		now := day.Start() + seq*step
		if len(open) < 40 || r.IntN(4) == 0 {
			open = append(open, visit{first(r, seq, now, sources.Uint64(), agents.Uint64(), countries.Uint64()), 1 + r.IntN(8)})
		}
		i := r.IntN(len(open))
		v := &open[i]
		e := v.e
		e.Seq, e.Time, e.Received = seq, now-r.Int64N(1000), now
		switch page := pages.Uint64(); {
		case r.IntN(3) == 0:
			e.Name, e.EngagedMS, e.Scroll, e.Interactive = event.Engagement, r.Int64N(60_000), r.Int32N(101), false
		case r.IntN(20) == 0:
			e.Name, e.Props = "Signup", fmt.Sprintf(`{"method":"mail","plan":"p%d"}`, r.IntN(5))
			e.Revenue, e.Currency = int64(r.IntN(50))*99_000, "EUR"
			r.Uint64()
		default:
			e.Path = fmt.Sprintf("/docs/section-%d/page-number-%d", page%17, page)
			e.Title = fmt.Sprintf("Page number %d of section %d | Example documentation", page, page%17)
		}
		if v.e.EntryPath == "" {
			v.e.EntryPath, v.e.EntryHostname = e.Path, e.Hostname
			e.EntryPath, e.EntryHostname = e.Path, e.Hostname
		}
		if v.e.Path == "" || e.Path != "" {
			v.e.Path, v.e.Title = e.Path, e.Title
		}
		if v.left--; v.left == 0 {
			open = slices.Delete(open, i, i+1)
		}
		events = append(events, e)
	}
	slices.SortFunc(events, compare)
	return events
}

// first returns what the events of a visit have in common.
func first(r *rand.Rand, seq, now int64, source, agent, country uint64) event.Event {
	e := event.Event{
		Site: "example.com", Name: event.Pageview, Via: event.ViaPage, Visitor: randomID(r), Visit: seq, VisitStart: now,
		Interactive: true, Hostname: "www.example.com",
		Browser: []string{"Chrome", "Safari", "Firefox", "Edge", "Samsung Internet"}[agent%5], BrowserVersion: fmt.Sprint(100 + agent),
		OS: []string{"Windows", "iOS", "Android", "macOS", "Linux"}[agent%5], OSVersion: fmt.Sprint(10 + agent%7),
		Device: []string{"desktop", "mobile", "mobile", "desktop", "desktop"}[agent%5],
		Screen: []int32{1920, 390, 412, 1440, 2560, 1366}[r.IntN(6)], Language: []string{"en-US", "de", "fr", "pt-BR"}[country%4],
		Country: string([]byte{byte('A' + country%26), byte('A' + country/26)}), Scroll: event.NoScroll,
	}
	e.Region, e.RegionName = fmt.Sprintf("%s-%d", e.Country, country%9), fmt.Sprintf("Region %d", country%9)
	e.City, e.CityID = fmt.Sprintf("City %d", country*7%101), int64(2_000_000+country*7%101)
	if source > 3 {
		e.Source = fmt.Sprintf("Source %d", source)
		e.Referrer = fmt.Sprintf("https://source-%d.example.net/", source)
		e.Channel = []string{"Organic Search", "Organic Social", "Referral", "Email"}[source%4]
	} else {
		e.Channel = "Direct"
	}
	if source%10 == 9 {
		e.UTMSource, e.UTMMedium, e.UTMCampaign = "newsletter", "email", fmt.Sprintf("week-%d", source)
	}
	return e
}

func randomID(r *rand.Rand) (id event.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// wild makes events of a day whose fields hold anything that may come: extreme
// numbers, long texts, NULs, quotes and every script.
func wild(seed uint64, n int) []event.Event {
	r := rand.New(rand.NewPCG(seed, 2))
	texts := []string{"", "", "a", "ü", "\x00", "a\x00b", "日本語", "🦆", "'\"\\;--", " ", "NULL", "\u202e", "\ufffd", strings.Repeat("long ", 400), "\t\r\n", "{}"}
	nums := []int64{0, 0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt32, math.MinInt32, 4711}
	ids := []event.ID{{}, {}, {15: 1}, {0: 255, 15: 255}, randomID(r), randomID(r)}
	text := func() string { return texts[r.IntN(len(texts))] }
	num := func() int64 { return nums[r.IntN(len(nums))] }
	id := func() event.ID { return ids[r.IntN(len(ids))] }
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{
			Seq: int64(i) + 1, Site: text(), Time: day.Start() + r.Int64N(86_400_000_000), Received: num(), Name: text(), Via: text(),
			Visitor: id(), Visit: num(), VisitStart: num(), User: id(), Dedupe: id(), Interactive: r.IntN(2) == 0,
			Hostname: text(), Path: text(), Title: text(), EntryHostname: text(), EntryPath: text(), Referrer: text(),
			Source: text(), Channel: text(), UTMSource: text(), UTMMedium: text(), UTMCampaign: text(), UTMContent: text(),
			UTMTerm: text(), ClickID: text(), Browser: text(), BrowserVersion: text(), OS: text(), OSVersion: text(),
			Device: text(), Screen: int32(num()), Language: text(), Country: text(), Region: text(), RegionName: text(),
			City: text(), CityID: num(), Currency: text(), Props: text(), EngagedMS: num(), Scroll: int32(num()),
		}
		if e := &events[i]; e.Currency != "" { // what a DECIMAL(18,4) can hold
			e.Revenue = []int64{0, 1, -1, 999_999_999_999_999_999, -999_999_999_999_999_999, 12_345_678}[r.IntN(6)]
		}
	}
	slices.SortFunc(events, compare)
	return events
}

func compare(a, b event.Event) int {
	return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Time, b.Time), cmp.Compare(a.Seq, b.Seq))
}

func rows(events []event.Event) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// collect returns all of a sequence, up to its error.
func collect(seq iter.Seq2[event.Event, error]) (events []event.Event, err error) {
	for e, err := range seq {
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, nil
}
