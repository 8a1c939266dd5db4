package store_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

var (
	plannerSeed  = flag.Uint64("planner.seed", 0, "what TestPlanner makes up; 0 is something new")
	plannerCases = flag.Int("planner.cases", 1200, "how many queries TestPlanner asks")
)

// worlds is how many stores TestPlanner makes; each is asked a share of the queries.
const worlds = 4

// TestPlanner asks a store random questions about random events and compares the
// answers with those of a naive engine, while events are flushed, published,
// compacted, erased and rolled up.
func TestPlanner(t *testing.T) {
	t.Parallel()
	seed, cases := *plannerSeed, *plannerCases
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if testing.Short() {
		cases /= 5
	}
	t.Logf("again with: go test ./store -run ^TestPlanner$ -args -planner.seed=%d", seed)
	var mu sync.Mutex
	plans := map[string]int{}
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, rand.New(rand.NewPCG(seed, uint64(i))))
				w.live(cases / worlds)
				mu.Lock()
				defer mu.Unlock()
				for plan, n := range w.plans {
					plans[plan] += n
				}
			})
		}
	})
	t.Logf("plans: %v", plans)
	if t.Failed() {
		return
	}
	if raw, rolled, both := plans[event.PlanRaw], plans[event.PlanRollup], plans[event.PlanBoth]; 10*rolled < cases/2 || 10*both < cases/2 || 4*raw < cases {
		t.Errorf("%d of %d answers came from rollups, %d from both, %d from rows: each must be tried", rolled, cases, both, raw)
	}
}

// A world is a store with some sites, of which something has been made up.
type world struct {
	*rig
	rnd   *rand.Rand
	homes []home
	end   int64 // nothing happens later
	visit int64
	clock naiveClock
	plans map[string]int
	words map[event.Dimension][]string // that have been used
}

// A home is a site and its clock.
type home struct {
	site string
	zone *time.Location
}

func newWorld(t *testing.T, rnd *rand.Rand) *world {
	t.Helper()
	middle, err := event.ParseDay(places[rnd.IntN(len(places))].day)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{rnd: rnd, end: middle.Start() + 3*day, plans: map[string]int{}, words: map[event.Dimension][]string{}}
	w.rig = newRig(t, func(o *store.Options) {
		o.Now = func() time.Time { return time.UnixMicro(w.end - day) }
		o.PublishBytes, o.Threads = 64<<10, 1
		o.MemoryLimit = 80 << 20 // as on a machine of 256 MiB
	})
	for _, site := range sites {
		near := slices.DeleteFunc(slices.Clone(places), func(p struct{ zone, day string }) bool {
			return p.day != middle.String() && rnd.IntN(4) != 0 || p.zone == "UTC" && rnd.IntN(2) == 0
		})
		name := "Asia/Kathmandu"
		if len(near) > 0 {
			name = near[rnd.IntN(len(near))].zone
		}
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		w.homes = append(w.homes, home{site, zone})
		if err := w.ledger.AddSite(t.Context(), ledger.Site{Domain: site, Timezone: name}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// live does what a store does, in a random order, and asks cases questions
// meanwhile.
func (w *world) live(cases int) {
	const steps = 15
	w.add(w.history(60)...)
	w.publish()
	for step := range steps {
		switch op := w.rnd.IntN(10); {
		case op < 4:
			w.append(w.history(1 + w.rnd.IntN(8))...)
			w.flush(1 + w.rnd.IntN(len(w.waiting)))
		case op < 6:
			w.add(w.history(3)...)
			w.publish()
		case op < 7:
			if _, err := w.store.Compact(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		case op < 8:
			w.erase()
		case op < 9:
			w.flush(len(w.waiting))
			w.publish()
			w.roll()
		default:
			w.reopen()
		}
		if step%5 == 0 {
			w.roll()
		}
		for range cases / steps {
			w.check(w.question())
			if w.t.Failed() {
				w.t.Fatalf("step %d", step)
			}
		}
	}
}

func (w *world) roll() {
	w.t.Helper()
	if done, err := w.store.Rollup(w.t.Context()); err != nil || done.Failed > 0 {
		w.t.Fatalf("Rollup = %+v, %v\n%s", done, err, w.log)
	}
}

// erase forgets a visitor, or all that a site has of some hours.
func (w *world) erase() {
	w.t.Helper()
	some := w.events[w.rnd.IntN(len(w.events))]
	e := store.Erasure{Site: some.Site, Visitor: some.Visitor, From: some.Time - 3*hour}
	if some.Visitor.IsZero() {
		e.To = some.Time + 3*hour
	}
	if _, err := w.store.Erase(w.t.Context(), e); err != nil {
		w.t.Fatal(err)
	}
	w.waiting, w.flushed = nil, w.last
	w.forget(func(x event.Event) bool {
		return x.Site == e.Site && x.Time >= e.From && (e.To == 0 || x.Time < e.To) && (e.Visitor.IsZero() || x.Visitor == e.Visitor)
	})
}

// check asks the store a question and compares.
func (w *world) check(q event.Query) {
	w.t.Helper()
	got, err := w.store.Query(w.t.Context(), q)
	if err != nil {
		w.t.Errorf("%s\n%v", wording(q), err)
		return
	}
	w.plans[got.Plan]++
	lines, count := newNaive(q, w.visible(), &w.clock).answer()
	if diff := differ(q, lines, count, got); diff != "" {
		w.t.Errorf("%s\nby plan %s, want -, got +:\n%s", wording(q), got.Plan, diff)
	}
	if got.Seq != w.flushed {
		w.t.Errorf("seq %d, want %d", got.Seq, w.flushed)
	}
}

// differ compares an answer with what it must be.
func differ(q event.Query, lines []event.Line, count int64, got *event.Answer) string {
	diff := cmp.Diff(lines, got.Lines, cmpopts.EquateApprox(1e-9, 1e-9), cmpopts.EquateEmpty())
	if q.Count && got.Count != count {
		diff += fmt.Sprintf("count %d, want %d", got.Count, count)
	}
	return diff
}

// TestPlannerCatches changes right answers in every way there is, and looks
// whether that is seen.
func TestPlannerCatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	q := storyDay
	q.Metrics = []event.Metric{event.Visitors, event.BounceRate, event.ScrollDepth}
	q.Dimensions = []event.Dimension{"path", event.Hour}
	q.Count = true
	lines, count := newNaive(q, r.visible(), new(naiveClock)).answer()
	for name, spoil := range map[string]func(a *event.Answer){
		"":               func(*event.Answer) {},
		"one more":       func(a *event.Answer) { a.Lines[1].Figures[0].Int++ },
		"a little more":  func(a *event.Answer) { a.Lines[1].Figures[1].Float += 1e-6 },
		"known":          func(a *event.Answer) { a.Lines[0].Figures[2].Unknown = false },
		"other value":    func(a *event.Answer) { a.Lines[2].Values[0].Text += " " },
		"other hour":     func(a *event.Answer) { a.Lines[2].Values[1].Time += hour },
		"other order":    func(a *event.Answer) { a.Lines[1], a.Lines[2] = a.Lines[2], a.Lines[1] },
		"a line less":    func(a *event.Answer) { a.Lines = a.Lines[1:] },
		"a line twice":   func(a *event.Answer) { a.Lines = append(a.Lines, a.Lines[0]) },
		"count too high": func(a *event.Answer) { a.Count++ },
	} {
		got, err := r.store.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		spoil(got)
		if caught := differ(q, lines, count, got) != ""; caught != (name != "") {
			t.Errorf("%q: caught %v", name, caught)
		}
	}
}

// TestPlannerCatchesRollup spoils sums of closed days, and looks whether that is
// seen.
func TestPlannerCatchesRollup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rand.New(rand.NewPCG(1, 1)))
	w.add(w.history(40)...)
	w.publish()
	w.roll()
	at := w.homes[0]
	for _, dim := range []event.Dimension{"", "source"} {
		q := event.Query{Site: at.site, Zone: at.zone, From: w.clock.start(w.end-80*day, at.zone, event.Monthly), To: w.clock.start(w.end, at.zone, event.Daily)}
		q.Metrics = []event.Metric{event.Visitors, event.Pageviews}
		if dim != "" {
			q.Dimensions = []event.Dimension{dim}
		}
		for _, spoilt := range []bool{false, true} {
			if spoilt {
				if err := w.store.Spoil(t.Context(), dim); err != nil {
					t.Fatal(err)
				}
			}
			got, err := w.store.Query(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			lines, count := newNaive(q, w.visible(), &w.clock).answer()
			if caught := differ(q, lines, count, got) != ""; caught != spoilt || got.Plan == event.PlanRaw {
				t.Errorf("by %q from %s, spoilt %v: caught %v", dim, got.Plan, spoilt, caught)
			}
		}
	}
}

// wording returns a query as one would read it.
func wording(q event.Query) string {
	return fmt.Sprintf("%q from %d to %d in %v\n%v by %v, filter %s, goals %v, currency %q, order %v, limit %d, offset %d",
		q.Site, q.From, q.To, q.Zone, q.Metrics, q.Dimensions, filterText(q.Filter), q.Goals, q.Currency, q.Order, q.Limit, q.Offset)
}

func filterText(f event.Filter) string {
	if len(f.Of) == 0 {
		return fmt.Sprintf("%d(%s %q %v)", f.Op, f.Dimension, f.Values, f.IgnoreCase)
	}
	var of []string
	for _, f := range f.Of {
		of = append(of, filterText(f))
	}
	return fmt.Sprintf("%d[%s]", f.Op, strings.Join(of, " "))
}

// one returns any of a list.
func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// moment returns a time at which something might go wrong: a midnight or an hour
// of a zone, or any other.
func (w *world) moment(zone *time.Location) int64 {
	at := w.end - w.rnd.Int64N(4*day)
	if w.rnd.IntN(6) == 0 { // few days, as each is a part and a rollup
		at -= one[int64](w.rnd, 9, 30, 62) * day
	}
	switch w.rnd.IntN(8) {
	case 0:
		at = w.clock.start(at, zone, event.Daily)
	case 1:
		at = w.clock.start(at, zone, event.Daily) - one[int64](w.rnd, 1, second, 10*minute)
	case 2:
		at = w.clock.start(at, zone, event.Hourly)
	default:
		at -= at % second
	}
	return at
}

// history makes up some visits, and events that are nobody's.
func (w *world) history(visits int) (events []event.Event) {
	for range visits {
		at := w.homes[w.rnd.IntN(len(w.homes))]
		events = append(events, w.visitTo(at)...)
	}
	w.rnd.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	return events
}

func (w *world) visitTo(at home) (events []event.Event) {
	rnd := w.rnd
	w.visit++
	start := w.moment(at.zone)
	local := time.UnixMicro(start).In(at.zone)
	first := event.Event{
		Site: at.site, Received: w.end, Via: one(rnd, event.ViaPage, event.ViaPage, event.ViaBatch),
		Visitor: event.ID{byte(1 + rnd.IntN(6)), byte(local.YearDay()), byte(local.YearDay() >> 8)}, Visit: w.visit, VisitStart: start,
		Hostname: one(rnd, "", "www.a.example", "shop.a.example"), EntryPath: one(rnd, "", "/", "/a", "/blog/x"),
		Source: one(rnd, "", "Google", "it's", "google"), Channel: one(rnd, "Direct", "Organic Search"),
		UTMSource: one(rnd, "", "", "news%", "news_"), UTMCampaign: one(rnd, "", "spring"), ClickID: one(rnd, "", "gclid"),
		Referrer: one(rnd, "", "https://news.example/a?b=c"), Browser: one(rnd, "Firefox", "Chrome", ""), BrowserVersion: one(rnd, "9", "10"),
		OS: one(rnd, "Linux", "iOS"), Device: one(rnd, "desktop", "mobile"), Screen: one[int32](rnd, 0, 360, 1920), Language: one(rnd, "", "de", "pt-BR"),
		Country: one(rnd, "", "DE", "US"), Region: one(rnd, "", "US-CA"), City: one(rnd, "", "Köln", "KÖLN"), CityID: one[int64](rnd, 0, 2886242),
	}
	if rnd.IntN(8) == 0 { // asked not to be counted
		first.Visitor, first.Visit, first.VisitStart = event.ID{}, 0, 0
	}
	if rnd.IntN(12) == 0 { // the same on two days, as after a change of the zone
		first.Visitor = event.ID{99}
	}
	user := one(rnd, event.ID{}, event.ID{}, event.ID{7, byte(rnd.IntN(4))})
	var offset int64
	for i := range 1 + rnd.IntN(5) {
		e := first
		if i > 0 {
			offset += one[int64](rnd, 0, second, 20*second, 5*minute, 29*minute)
		}
		e.Time, e.User = start+offset, user
		if i > 0 && rnd.IntN(10) == 0 { // late, or what an import can do
			e.Time = start + one[int64](rnd, -hour, -hour-1, -30*minute, 3*hour, day-1, day, 24*hour+30*minute)
		}
		w.happen(&e)
		events = append(events, e)
	}
	return events
}

// happen fills in what an event is about.
func (w *world) happen(e *event.Event) {
	rnd := w.rnd
	e.Name = one(rnd, event.Pageview, event.Pageview, event.Pageview, event.Engagement, event.Engagement, "Signup", "purchase", "Sign*up")
	e.Interactive = rnd.IntN(3) > 0
	e.Path = one(rnd, "", "/", "/a", "/a", "/A", "/a/b", "/blog/x", "/blog/x/y", "/it's", "/100%", "/*")
	e.Title = one(rnd, "", "A title")
	e.Scroll = event.NoScroll
	e.Props = one(rnd, "", "", `{"plan":"a"}`, `{"it's \"it\"":"x","plan":"A"}`, `{"plan":""}`)
	if e.Name == event.Engagement {
		e.Scroll = one[int32](rnd, event.NoScroll, 0, 50, 75, 100)
		e.EngagedMS = 1000 * rnd.Int64N(100)
		return
	}
	if e.Name != event.Pageview && rnd.IntN(2) == 0 {
		e.Currency = one(rnd, "EUR", "USD")
		e.Revenue = event.RevenueScale * (rnd.Int64N(50) - 5)
	}
}

var (
	rolledMetrics = []event.Metric{
		event.Visitors, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration, event.Percentage,
	}
	otherMetrics = []event.Metric{event.Users, event.TimeOnPage, event.ScrollDepth, event.TotalRevenue, event.AverageRevenue}
	rolledOnes   = []event.Dimension{
		"path", "entry_path", event.ExitPath, "hostname", "referrer", "source", "channel", "utm_source", "utm_campaign", "click_id",
		"browser", "os", "device", "country", "region", "city", "language", "name", "via", "browser_version", "screen", "title",
	}
	otherOnes = []event.Dimension{
		event.ExitHostname, event.Prop("plan"), event.Prop(`it's "it"`), event.Prop("none"), "city_id", "currency", "scroll", "entry_hostname", "utm_term",
	}
	timely = []event.Dimension{event.Minute, event.Hour, event.Daytime, event.Week, event.Month}
)

// question makes up a query: half of them are like a dashboard's.
func (w *world) question() event.Query {
	rnd := w.rnd
	at := w.homes[rnd.IntN(len(w.homes))]
	q := event.Query{Site: at.site, Zone: at.zone, Count: rnd.IntN(2) == 0}
	if rnd.IntN(12) == 0 {
		q.Zone = one(rnd, nil, w.homes[rnd.IntN(len(w.homes))].zone)
	}
	w.spell(&q)
	if rnd.IntN(2) == 0 {
		w.dashboard(&q)
	} else {
		w.anything(&q)
	}
	w.arrange(&q)
	return q
}

// dashboard makes a query that rollups could answer.
func (w *world) dashboard(q *event.Query) {
	rnd := w.rnd
	q.Metrics = pick(rnd, rolledMetrics, 1+rnd.IntN(5))
	if rnd.IntN(3) > 0 {
		q.Dimensions = append(q.Dimensions, one(rnd, rolledOnes...))
	}
	if rnd.IntN(3) == 0 {
		q.Dimensions = append(q.Dimensions, one(rnd, event.Daytime, event.Week, event.Month))
	}
	if len(q.Dimensions) > 0 && rnd.IntN(5) == 0 {
		if d := q.Dimensions[0]; slices.Contains(rolledOnes, d) {
			q.Filter = event.Filter{Op: event.Is, Dimension: d, Values: []string{w.word(d)}}
		}
	}
}

// anything makes a query of whatever there is.
func (w *world) anything(q *event.Query) {
	rnd := w.rnd
	metrics := slices.Concat(rolledMetrics, otherMetrics)
	if rnd.IntN(3) > 0 {
		q.Filter = w.filter(3, true)
	}
	if rnd.IntN(12) == 0 {
		q.Metrics = append(pick(rnd, metrics, rnd.IntN(3)), event.ExitRate)
		q.Dimensions = []event.Dimension{event.ExitPath}
		return
	}
	dims := slices.Concat(rolledOnes, otherOnes, timely)
	if rnd.IntN(3) == 0 {
		metrics = append(metrics, event.ConversionRate, event.GroupConversionRate)
		if rnd.IntN(2) == 0 {
			q.Dimensions = append(q.Dimensions, event.GoalName)
		}
		for i := range 1 + rnd.IntN(3) {
			q.Goals = append(q.Goals, event.Goal{Name: fmt.Sprintf("%c goal %d", 'z'-i, i), Filter: w.filter(1, true)})
		}
		if !slices.Contains(q.Dimensions, event.GoalName) {
			q.Goals = q.Goals[:1]
		}
	}
	q.Metrics = pick(rnd, metrics, 1+rnd.IntN(6))
	if rnd.IntN(3) == 0 {
		q.Currency = "EUR"
	}
	q.Dimensions = append(q.Dimensions, pick(rnd, dims, one(rnd, 0, 0, 1, 1, 1, 2, 3))...)
	if clocks := func(d event.Dimension) bool { _, ok := d.Interval(); return ok }; slices.Contains(q.Dimensions, event.Minute) {
		q.Dimensions = slices.DeleteFunc(q.Dimensions, clocks) // there would be too many
	} else if i := slices.IndexFunc(q.Dimensions, clocks); i >= 0 { // two make no sense
		q.Dimensions = append(slices.DeleteFunc(slices.Clone(q.Dimensions[:i+1]), func(event.Dimension) bool { return false }), slices.DeleteFunc(slices.Clone(q.Dimensions[i+1:]), clocks)...)
	}
}

// pick returns n of a list in any order.
func pick[T any](rnd *rand.Rand, list []T, n int) (some []T) {
	for _, i := range rnd.Perm(len(list))[:min(n, len(list))] {
		some = append(some, list[i])
	}
	return some
}

// spell sets the range: whole days, months, all there is, or anything.
func (w *world) spell(q *event.Query) {
	rnd := w.rnd
	zone := q.Zone
	if zone == nil {
		zone = time.UTC
	}
	midnight := func(t int64) int64 { return w.clock.start(t, zone, event.Daily) }
	switch rnd.IntN(8) {
	case 0, 1, 2:
		q.From = midnight(w.end - rnd.Int64N(9*day))
		q.To = midnight(q.From + rnd.Int64N(9*day) + day)
	case 3:
		q.From = w.clock.start(w.end-rnd.Int64N(80*day), zone, event.Monthly)
		q.To = midnight(w.end - rnd.Int64N(4*day))
	case 4:
		q.From = w.clock.start(w.end-rnd.Int64N(80*day), zone, event.Monthly)
		q.To = w.clock.start(q.From+32*day, zone, event.Monthly)
	case 5:
		q.From = one(rnd, 0, midnight(w.end-4*day))
		q.To = one(rnd, 0, midnight(w.end))
	default:
		q.From = w.moment(zone)
		q.To = q.From + rnd.Int64N(one[int64](rnd, hour, day, 5*day, 40*day)) + 1
	}
	if q.To != 0 && q.To <= q.From {
		q.To = q.From + day
	}
}

// arrange sets the order and which rows are wanted.
func (w *world) arrange(q *event.Query) {
	rnd := w.rnd
	if rnd.IntN(2) == 0 {
		q.Limit = 1 + rnd.IntN(12)
	}
	if rnd.IntN(4) == 0 {
		q.Offset = rnd.IntN(6)
	}
	if rnd.IntN(2) == 0 {
		return
	}
	for _, m := range pick(rnd, q.Metrics, rnd.IntN(3)) {
		q.Order = append(q.Order, event.Order{Metric: m, Descending: rnd.IntN(2) == 0})
	}
	for _, d := range pick(rnd, q.Dimensions, rnd.IntN(2)) {
		q.Order = append(q.Order, event.Order{Dimension: d, Descending: rnd.IntN(2) == 0})
	}
	rnd.Shuffle(len(q.Order), func(i, j int) { q.Order[i], q.Order[j] = q.Order[j], q.Order[i] })
}

// filter makes a filter of at most so many levels.
func (w *world) filter(depth int, visits bool) event.Filter {
	rnd := w.rnd
	if depth > 0 {
		switch rnd.IntN(8) {
		case 0:
			return event.Every(w.filter(depth-1, visits), w.filter(depth-1, visits))
		case 1:
			return event.Any(w.filter(depth-1, visits), w.filter(depth-1, visits))
		case 2:
			return event.Without(w.filter(depth-1, visits))
		case 3:
			if visits {
				return event.Filter{Op: event.HasDone, Of: []event.Filter{w.filter(depth-1, false)}}
			}
		}
	}
	d := one(rnd, one(rnd, rolledOnes...), one(rnd, otherOnes...), "path", "name", event.ExitPath)
	f := event.Filter{Op: one(rnd, event.Is, event.Is, event.Contains, event.Matches, event.Like, event.AtLeast), Dimension: d}
	if f.Op == event.AtLeast {
		f.Dimension, f.Values = one[event.Dimension](rnd, "screen", "scroll"), []string{one(rnd, "0", "1", "50", "75", "360.5", "1000")}
		return f
	}
	f.IgnoreCase = f.Op != event.Matches && rnd.IntN(3) == 0
	for range 1 + rnd.IntN(3) {
		f.Values = append(f.Values, w.pattern(f.Op, d))
	}
	return f
}

// pattern makes up a value for an operation.
func (w *world) pattern(op event.Op, d event.Dimension) string {
	word := w.word(d)
	switch op {
	case event.Contains:
		return one(w.rnd, strings.ToValidUTF8(word[:len(word)/2], ""), "a", "%", "_", "'")
	case event.Matches:
		return one(w.rnd, "^/a", "[A-C]$", "^$", "(?i)sign|GOO", `^/.*/\w+$`, "'", ".")
	case event.Like:
		return one(w.rnd, word, "/*", "/**", "/blog/*", "/blog/**/y", "*", "**", "*'*", "s*n*", "/100%")
	}
	return one(w.rnd, word, word, strings.ToLower(word), "none", "")
}

// word returns a value that an event has.
func (w *world) word(d event.Dimension) string {
	n := newNaive(event.Query{Site: ""}, nil, &w.clock)
	text := n.text(&w.events[w.rnd.IntN(len(w.events))], d)
	if d == event.ExitPath {
		text = one(w.rnd, "", "/", "/a", "/A")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r > 127 }) && w.rnd.IntN(2) == 0 {
		return "" // half of a letter is none
	}
	return text
}

// TestPlannerRefuses asks what must not be answered.
func TestPlannerRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.add(story()...)
	deep := event.Filter{Op: event.Is, Dimension: "path", Values: []string{"/"}}
	for range event.MaxDepth + 1 {
		deep = event.Without(deep)
	}
	done := event.Filter{Op: event.HasDone, Of: []event.Filter{{Op: event.Is, Dimension: "path", Values: []string{"/"}}}}
	for name, change := range map[string]func(q *event.Query){
		"no metric":          func(q *event.Query) { q.Metrics = nil },
		"unknown metric":     func(q *event.Query) { q.Metrics = []event.Metric{"hits"} },
		"unknown dimension":  func(q *event.Query) { q.Dimensions = []event.Dimension{`path" FROM events --`} },
		"time of no kind":    func(q *event.Query) { q.Dimensions = []event.Dimension{"time:year"} },
		"an id":              func(q *event.Query) { q.Dimensions = []event.Dimension{"visitor"} },
		"goals missing":      func(q *event.Query) { q.Dimensions = []event.Dimension{event.GoalName} },
		"rate without goal":  func(q *event.Query) { q.Metrics = []event.Metric{event.ConversionRate} },
		"exits of no page":   func(q *event.Query) { q.Metrics = []event.Metric{event.ExitRate} },
		"too many rows":      func(q *event.Query) { q.Limit = event.MaxRows + 1 },
		"negative limit":     func(q *event.Query) { q.Limit = -1 },
		"negative offset":    func(q *event.Query) { q.Offset = -1 },
		"order by no metric": func(q *event.Query) { q.Order = []event.Order{{Metric: event.Visits}} },
		"order by nothing":   func(q *event.Query) { q.Order = []event.Order{{}} },
		"deep filter":        func(q *event.Query) { q.Filter = deep },
		"wide filter": func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Is, Dimension: "path", Values: make([]string, event.MaxFilters+1)}
		},
		"no pattern": func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Matches, Dimension: "path", Values: []string{"("}}
		},
		"long pattern": func(q *event.Query) {
			q.Filter = event.Filter{Op: event.Matches, Dimension: "path", Values: []string{strings.Repeat("a", event.MaxPattern+1)}}
		},
		"done in done": func(q *event.Query) { q.Filter = event.Filter{Op: event.HasDone, Of: []event.Filter{done}} },
		"many dimensions": func(q *event.Query) {
			for i := range event.MaxDimensions + 1 {
				q.Dimensions = append(q.Dimensions, event.Prop(fmt.Sprint(i)))
			}
		},
	} {
		q := event.Query{Site: "a.example", From: midnight, To: midnight + day, Metrics: []event.Metric{event.Visitors}}
		change(&q)
		_, err := r.store.Query(t.Context(), q)
		if wrong := (*event.QueryError)(nil); !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want a QueryError", name, err)
		}
	}
}

// TestQueryMemory asks a store with half of the least memory for visits that have done one of forty
// things, which takes no more memory than one, and then for all there is at once.
func TestQueryMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *store.Options) { o.MemoryLimit, o.Threads = 9<<20, 1 })
	r.add(story()...)
	var things []event.Filter
	for i := range 40 {
		of := event.Filter{Op: event.Is, Dimension: "path", Values: []string{"/", fmt.Sprint("/", i)}}
		things = append(things, event.Filter{Op: event.HasDone, Of: []event.Filter{of}})
	}
	q := event.Query{
		Site: "a.example", From: midnight, To: midnight + day,
		Metrics: []event.Metric{event.Visitors, event.BounceRate, event.TimeOnPage}, Filter: event.Any(things...),
	}
	if _, err := r.store.Query(t.Context(), q); err != nil {
		t.Errorf("forty things: %v", err)
	}
	q.Dimensions = []event.Dimension{event.GoalName, "region", event.ExitPath}
	q.Goals = []event.Goal{{Name: "exit", Filter: event.Filter{Op: event.Is, Dimension: event.ExitPath, Values: []string{"/"}}}}
	q.Metrics = append(q.Metrics, event.GroupConversionRate, event.Users, event.TotalRevenue)
	if _, err := r.store.Query(t.Context(), q); !errors.Is(err, event.ErrMemory) {
		t.Errorf("all at once: %v, want %v", err, event.ErrMemory)
	}
	if _, err := r.store.Query(t.Context(), event.Query{Site: q.Site, From: q.From, To: q.To, Metrics: q.Metrics[:1]}); err != nil {
		t.Errorf("a plain question after it: %v", err)
	}
}
