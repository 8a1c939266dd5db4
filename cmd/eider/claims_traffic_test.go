package main_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
)

const claimSite = "claims.example"

// A traffic makes what the visitors of a busy site send: 500 pages, 40 sources
// and 200 browsers, some much more often than others, from random addresses, so
// that countries come as often as they have addresses. A visit is up to eight
// events, one in three of them an engagement, one in twenty a custom event with
// properties and revenue.
type traffic struct {
	r                        *rand.Rand
	pages, sources, browsers *rand.Zipf
	open                     []guest
}

// A guest is a visitor in the middle of a visit.
type guest struct {
	agent, addr, source string
	page                string
	left                int // events until the visit is over
}

// A hit is one event before it is written as JSON.
type hit struct {
	guest
	name             string
	props            map[string]string
	amount           string
	scroll, engageMS int
}

func newTraffic(seed uint64) *traffic {
	r := rand.New(rand.NewPCG(seed, 1))
	return &traffic{
		r: r, pages: rand.NewZipf(r, 1.2, 3, 499), sources: rand.NewZipf(r, 1.3, 2, 39),
		browsers: rand.NewZipf(r, 1.2, 3, 199),
	}
}

// agents are the systems that browsers run on, with a place for the version.
var agents = [...]string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Mobile Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/%d.0 Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:%[1]d.0) Gecko/20100101 Firefox/%[1]d.0",
}

func (t *traffic) arrive() guest {
	b := int(t.browsers.Uint64())
	g := guest{
		agent: fmt.Sprintf(agents[b%len(agents)], 100+b/len(agents)),
		addr:  fmt.Sprintf("%d.%d.%d.%d", 1+t.r.IntN(220), t.r.IntN(256), t.r.IntN(256), t.r.IntN(256)),
		left:  1 + t.r.IntN(8),
	}
	if n := t.sources.Uint64(); n > 3 {
		g.source = fmt.Sprintf("https://source-%d.example.net/", n)
	}
	return g
}

// next returns the next event of one of the visitors, of whom 40 are about.
func (t *traffic) next() hit {
	if len(t.open) < 40 {
		t.open = append(t.open, t.arrive())
	}
	g := &t.open[t.r.IntN(len(t.open))]
	h := t.step(g)
	if g.left == 0 {
		*g = t.arrive()
	}
	return h
}

// step is what a visitor does next: first of all it sees a page.
func (t *traffic) step(g *guest) hit {
	g.left--
	n := t.r.IntN(60)
	h := hit{name: "pageview"}
	switch {
	case g.page != "" && n < 20:
		h.name, h.scroll, h.engageMS = "engagement", t.r.IntN(101), t.r.IntN(60_000)
	case g.page != "" && n < 23:
		h.name = "Signup"
		h.props = map[string]string{"method": "mail", "plan": fmt.Sprintf("p%d", t.r.IntN(5))}
		h.amount = strconv.Itoa(t.r.IntN(50)) + ".90"
	default:
		page := t.pages.Uint64()
		g.page = fmt.Sprintf("https://www.%s/docs/section-%d/page-number-%d", claimSite, page%17, page)
	}
	h.guest = *g
	return h
}

// page is the body that a tracker in a page sends.
func (h *hit) page() []byte {
	e := map[string]any{"n": h.name, "u": h.guest.page, "d": claimSite, "r": nil}
	if h.source != "" {
		e["r"] = h.source
	}
	if h.name == "engagement" {
		e["sd"], e["e"] = h.scroll, h.engageMS
	}
	if h.props != nil {
		e["p"] = h.props
		e["$"] = map[string]string{"currency": "EUR", "amount": h.amount}
	}
	return encode(e)
}

// line is the event as a server sends it in a batch.
func (h *hit) line(id, ms int64) []byte {
	e := map[string]any{
		"name": h.name, "url": h.guest.page, "domain": claimSite, "ip": h.addr, "user_agent": h.agent,
		"id": fmt.Sprintf("%08x-0000-4000-8000-%012x", id, uint64(id)*0x9e3779b97f4a7c15>>16), "timestamp": ms,
	}
	if h.source != "" {
		e["referrer"] = h.source
	}
	if h.name == "engagement" {
		e["sd"], e["e"] = h.scroll, h.engageMS
	}
	if h.props != nil {
		e["props"] = h.props
		e["revenue"] = map[string]string{"currency": "EUR", "amount": h.amount}
	}
	return append(encode(e), '\n')
}

func encode(e map[string]any) []byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return b
}

// request is the event as a browser sends it through a proxy, byte for byte.
func (h *hit) request() []byte {
	body := h.page()
	return fmt.Appendf(nil, "POST /api/event HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nContent-Length: %d\r\n"+
		"Content-Type: text/plain\r\nAccept: */*\r\nAccept-Language: de,en-US;q=0.7,en;q=0.3\r\nOrigin: https://www.%s\r\n"+
		"X-Forwarded-For: %s\r\n\r\n%s", claimSite, h.agent, len(body), claimSite, h.addr, body)
}

// requests makes the requests of so many connections. A visitor keeps to one of
// them, so that what it sends stays in order.
func requests(conns, each int) [][][]byte {
	all := make([][][]byte, conns)
	for i := range all {
		t := newTraffic(uint64(i) + 1)
		for range each {
			h := t.next()
			all[i] = append(all[i], h.request())
		}
	}
	return all
}
