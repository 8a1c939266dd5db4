package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An item is an event as it is sent.
type item struct {
	Name        string            `json:"n"`
	URL         string            `json:"u,omitempty"`
	Domain      string            `json:"d"`
	Title       string            `json:"title,omitempty"`
	Referrer    string            `json:"r,omitempty"`
	Props       map[string]string `json:"p,omitempty"`
	Revenue     *revenue          `json:"$,omitempty"`
	Interactive *bool             `json:"i,omitempty"`
	Width       int               `json:"w,omitempty"`
	Scroll      int               `json:"sd,omitempty"`
	Engaged     int64             `json:"e,omitempty"`

	// Of a batch.
	ID        string `json:"id,omitempty"`
	Timestamp int64  `json:"timestamp,omitempty"` // ms
	User      string `json:"user,omitempty"`
	IP        string `json:"ip,omitempty"`
	Agent     string `json:"user_agent,omitempty"`

	who client
}

type revenue struct {
	Cents    int64
	Currency string
}

// MarshalJSON writes the amount as a number.
func (r revenue) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"amount":%d.%02d,"currency":%q}`, r.Cents/100, r.Cents%100, r.Currency), nil
}

// body is what an id stands for: sent again it must be the same.
func (it item) body() string {
	it.ID, it.IP, it.Agent, it.Interactive, it.Width = "", "", "", nil, 0
	return marshalled(it)
}

func (it item) userKey() string {
	if it.User == "" {
		return ""
	}
	return it.Domain + " " + it.User
}

func marshalled(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const (
	modelFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	modelChrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)

// modelClients are who there is. Two addresses of one IPv6 network are one
// visitor; two browsers on one address are two.
var modelClients = []client{
	{name: "ann", addr: "203.0.113.7", agent: modelFirefox, browser: "Firefox"},
	{name: "bob", addr: "203.0.113.7", agent: modelChrome, browser: "Chrome"},
	{name: "cid", addr: "2001:db8:1:2::3", agent: modelFirefox, browser: "Firefox"},
	{name: "cid", addr: "2001:db8:1:2:ffff::4", agent: modelFirefox, browser: "Firefox"},
	{name: "dot", addr: "198.51.100.20", agent: modelChrome, browser: "Chrome"},
	{name: "gpc", addr: "198.51.100.21", agent: modelFirefox, browser: "Firefox", private: true},
	{name: "bot", addr: "198.51.100.22", agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", bot: true},
}

// item returns an event of someone.
func (r *trial) item(who client) item {
	it := item{Name: event.Pageview, Domain: r.site(), who: who}
	it.URL = fmt.Sprintf("https://%s/%d", it.Domain, r.rnd.IntN(5))
	switch r.rnd.IntN(10) {
	case 0, 1:
		it.Name, it.Scroll, it.Engaged = event.Engagement, r.rnd.IntN(100)+1, 1+r.rnd.Int64N(60_000)
	case 2:
		it.Name, it.Props = "Signup", map[string]string{"plan": `"pro" & more`, "a": "ü"}
	case 3:
		passive := false
		it.Name, it.Interactive = "Video Ended", &passive
	case 4:
		it.Name, it.Revenue = "Purchase", &revenue{1 + r.rnd.Int64N(100_000), []string{"EUR", "USD"}[r.rnd.IntN(2)]}
	}
	switch r.rnd.IntN(5) {
	case 0:
		it.URL += "?utm_source=news"
	case 1:
		it.Referrer = "https://www.google.com/"
	case 2:
		it.Width = []int{390, 1024, 1920}[r.rnd.IntN(3)]
	case 3:
		it.Title = fmt.Sprintf("page %d, =1+1", r.rnd.IntN(3))
	}
	if r.rnd.IntN(25) == 0 {
		it.Domain = "nobody.example"
	}
	return it
}

// sendEvents sends a few events from a page, a little while apart, and now and
// then one for two sites at once or by the pixel.
func (r *trial) sendEvents() {
	who := modelClients[r.rnd.IntN(len(modelClients))]
	for range 1 + r.rnd.IntN(6) {
		if r.rnd.IntN(3) == 0 {
			who = modelClients[r.rnd.IntN(len(modelClients))]
		}
		it := r.item(who)
		domains := []string{it.Domain}
		var res event.Result
		var err error
		switch r.rnd.IntN(6) {
		case 0:
			it = item{Name: it.Name, URL: it.URL, Domain: it.Domain, Referrer: it.Referrer, Width: it.Width, who: who}
			if it.Name == event.Engagement {
				it.Name = event.Pageview
			}
			q := url.Values{"n": {it.Name}, "u": {it.URL}, "d": {it.Domain}, "r": {it.Referrer}, "w": {fmt.Sprint(it.Width)}}
			res, err = r.ingest.Pixel(r.t.Context(), q, who.event())
			r.judge([]arrival{r.live(it, it.Domain, event.ViaPixel)}, res, err)
			r.pass(r.rnd.Int64N(12 * minute))
			continue
		case 1:
			domains = append(domains, r.site())
		}
		it.Domain = strings.Join(domains, ",")
		var all []arrival
		for _, d := range domains {
			all = append(all, r.live(it, d, event.ViaPage))
		}
		res, err = r.ingest.Event(r.t.Context(), []byte(marshalled(it)), who.event())
		r.judge(all, res, err)
		r.pass(r.rnd.Int64N(12 * minute))
	}
}

// live returns the arrival of an event that happens now.
func (r *trial) live(it item, site, via string) arrival {
	return arrival{item: it, site: site, via: via, who: it.who, time: r.clock.Load(), mirror: &r.model.open}
}

// sendBatch sends a batch: some of it late, some of it again, some of it wrong.
func (r *trial) sendBatch() {
	private := r.rnd.IntN(8) == 0
	var items []item
	for range 1 + r.rnd.IntN(50) {
		if n := len(r.sent); n > 0 && r.rnd.IntN(4) == 0 {
			it := r.sent[n-1-r.rnd.IntN(min(n, 200))]
			if r.rnd.IntN(4) == 0 {
				it.Title = "another event under the same id"
			}
			items = append(items, it)
			continue
		}
		it := r.batchItem()
		if it.ID != "" {
			r.sent = append(r.sent, it)
		}
		items = append(items, it)
	}
	all := make([]arrival, len(items))
	for i, it := range items {
		all[i] = r.live(it, it.Domain, event.ViaBatch)
		if it.Timestamp != 0 {
			all[i].time = it.Timestamp * 1000
		}
		all[i].who.private = private
	}
	body, ndjson := marshalled(items), r.rnd.IntN(2) == 0
	if ndjson {
		body = ""
		for _, it := range items {
			body += marshalled(it) + "\n"
		}
	}
	res, err := r.ingest.Batch(r.t.Context(), strings.NewReader(body), ndjson, event.Client{Addr: modelClients[0].event().Addr, Private: private}, "")
	r.judge(all, res, err)
}

func (r *trial) batchItem() item {
	it := r.item(modelClients[r.rnd.IntN(len(modelClients))])
	it.IP, it.Agent = it.who.addr, it.who.agent
	if r.rnd.IntN(10) == 0 { // what a server did by itself
		it.IP, it.Agent, it.URL, it.who = "", "", "", client{}
	}
	if r.rnd.IntN(3) > 0 {
		it.ID = fmt.Sprintf("id %d", r.rnd.IntN(1_000_000))
	}
	if r.rnd.IntN(4) == 0 {
		it.User = fmt.Sprintf("user %d", r.rnd.IntN(4))
	}
	now := r.clock.Load()
	switch r.rnd.IntN(6) {
	case 0, 1:
		it.Timestamp = (now - r.rnd.Int64N(40*minute)) / 1000
	case 2:
		it.Timestamp = (now - r.rnd.Int64N(25*hour)) / 1000
	case 3:
		it.Timestamp = (now + r.rnd.Int64N(11*minute)) / 1000
	}
	if r.rnd.IntN(25) == 0 {
		it.Name = ""
	}
	return it
}

// judge holds a result against the model's verdicts, and what was stored too.
func (r *trial) judge(all []arrival, res event.Result, err error) {
	r.t.Helper()
	r.must(err)
	want := event.Result{}
	stored := r.stored(r.model.last)
	for i, a := range all {
		code := r.model.judge(a, r.next(&stored))
		it := a.item
		it.IP, it.Agent = "", ""
		r.note("  %s %s of %q at %s: %s, %s", a.via, a.site, a.who.name, time.UnixMicro(a.time).UTC().Format("02T15:04:05.999999"), marshalled(it), code)
		switch code {
		case isAccepted:
			want.Accepted++
			want.LastSeq = r.model.last
		case isDuplicate:
			want.Duplicates++
		default:
			want.Rejected = append(want.Rejected, event.Rejection{Index: i, Code: code})
		}
	}
	if len(stored) > 0 {
		r.t.Errorf("%d events more than were accepted are in the journal", len(stored))
	}
	if diff := cmp.Diff(want, res, cmpopts.IgnoreFields(event.Rejection{}, "Message")); diff != "" {
		r.t.Errorf("result, want -, got +:\n%s", diff)
	}
	if sum := res.Accepted + res.Duplicates + len(res.Rejected); sum != len(all) {
		r.t.Errorf("%d accepted, %d duplicates and %d rejected of %d sent", res.Accepted, res.Duplicates, len(res.Rejected), len(all))
	}
}

// stored returns the events that the journal holds after a Seq.
func (r *trial) stored(after int64) (events []event.Event) {
	r.t.Helper()
	r.must(r.ledger.Groups(r.t.Context(), after, func(g ledger.Group) error {
		group, err := event.Decode(string(g.Payload))
		events = append(events, group...)
		return err
	}))
	return events
}

// next takes the first of the stored events away.
func (r *trial) next(stored *[]event.Event) func() event.Event {
	return func() event.Event {
		if len(*stored) == 0 {
			r.t.Fatal("an event was accepted and is not in the journal")
		}
		e := (*stored)[0]
		*stored = (*stored)[1:]
		return e
	}
}

// A logLine is a line of an access log and why it is no event; "" if it is one.
type logLine struct {
	text string
	skip string
	item item
	time int64
}

// importLog imports an access log: a new one, or one that was imported before and
// has perhaps grown.
func (r *trial) importLog() {
	var log modelLog
	if n := len(r.logs); n > 0 && r.rnd.IntN(3) == 0 {
		i := r.rnd.IntN(n)
		log = r.logs[i]
		r.logs = slices.Delete(r.logs, i, i+1)
	} else {
		log.site = r.site()
	}
	if len(log.lines) == 0 || r.rnd.IntN(2) == 0 {
		for range 1 + r.rnd.IntN(40) {
			log.lines = append(log.lines, r.logLine(log))
		}
	}
	r.logs = append(r.logs, log)
	var text strings.Builder
	for _, l := range log.lines {
		text.WriteString(l.text + "\n")
	}
	report, err := importer{r.ingest}.Import(r.t.Context(), log.site, ingest.Combined, strings.NewReader(text.String()))
	r.must(err)
	r.judgeImport(log, report)
	r.model.flush()
}

// A modelLog is an access log of a site.
type modelLog struct {
	site  string
	lines []logLine
}

// logLine makes up a line: one of the last minutes, or of the last days, or one
// that was there before.
func (r *trial) logLine(log modelLog) logLine {
	if n := len(log.lines); n > 0 && r.rnd.IntN(8) == 0 {
		return log.lines[r.rnd.IntN(n)]
	}
	who := modelClients[r.rnd.IntN(len(modelClients))]
	who.private = false // a log does not say
	at := r.clock.Load() - r.rnd.Int64N([]int64{hour, 4 * day}[r.rnd.IntN(2)])
	at -= at % 1_000_000
	l := logLine{time: at, item: item{Name: event.Pageview, Domain: log.site, who: who}}
	method, path, status := "GET", fmt.Sprintf("/%d", r.rnd.IntN(5)), []int{200, 304}[r.rnd.IntN(2)]
	l.item.URL = "https://" + log.site + path
	switch r.rnd.IntN(12) {
	case 0:
		path += ".pdf"
		l.item.URL += ".pdf"
		l.item.Name, l.item.Props = "File Download", map[string]string{"url": l.item.URL}
	case 1:
		path, l.skip = "/style.css", "asset"
	case 2:
		method, l.skip = "POST", "method"
	case 3:
		status, l.skip = 404, "status"
	}
	when := time.UnixMicro(at).In(r.model.zones[log.site]).Format("02/Jan/2006:15:04:05 -0700")
	l.text = fmt.Sprintf(`%s - - [%s] "%s %s HTTP/1.1" %d 512 "-" "%s"`, who.addr, when, method, path, status, who.agent)
	switch r.rnd.IntN(20) {
	case 0:
		l.text, l.skip = l.text[:r.rnd.IntN(len(l.text)-len(who.agent)-10)+1], "damaged"
	case 1:
		l.text, l.skip = "", "empty"
	}
	return l
}

// judgeImport holds the account of an import against the model.
func (r *trial) judgeImport(log modelLog, report event.ImportReport) {
	r.t.Helper()
	r.model.imports++
	want := event.ImportReport{Skipped: make(map[string]int64)}
	seen, table := make(map[string]int), visitTable{}
	stored := r.stored(r.model.last)
	for _, l := range log.lines {
		want.Lines++
		if l.skip != "" {
			want.Skipped[l.skip]++
			continue
		}
		seen[l.text]++
		a := arrival{item: l.item, site: log.site, via: event.ViaImport, who: l.item.who, time: l.time, mirror: &table, batch: r.model.imports}
		a.ID = fmt.Sprint("line ", seen[l.text], " ", l.text)
		code := r.model.judge(a, r.next(&stored))
		r.note("  import %s of %q at %s, %s", a.site, a.who.name, time.UnixMicro(a.time).UTC().Format("02T15:04:05"), code)
		switch code {
		case isAccepted:
			want.Imported++
			want.LastSeq = r.model.last
		case isDuplicate:
			want.Duplicates++
		default:
			want.Skipped[code]++
			continue
		}
		if want.From == 0 || l.time < want.From {
			want.From = l.time
		}
		want.To = max(want.To, l.time)
	}
	if len(stored) > 0 {
		r.t.Errorf("%d events more than were imported are in the journal", len(stored))
	}
	if diff := cmp.Diff(want, report); diff != "" {
		r.t.Errorf("import of %s, want -, got +:\n%s", log.site, diff)
	}
}
