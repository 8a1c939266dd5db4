package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// durable makes events durable and shows them.
func (r *rig) durable(events ...event.Event) {
	first := r.seq.Load() + 1
	for i := range events {
		e := &events[i]
		e.Seq = first + int64(i)
		if e.Site == "" {
			e.Site = "example.com"
		}
		if e.Name == "" {
			e.Name = event.Pageview
		}
	}
	g := ledger.Group{First: first, Last: first + int64(len(events)) - 1, Count: len(events), Payload: event.Encode(nil, events)}
	r.seq.Store(g.Last)
	r.tap.Offer(g)
}

func onPath(path string) event.Event { return event.Event{Path: path, Scroll: event.NoScroll} }

// A message is one of a stream of server-sent events; text is what it was read from.
type message struct{ id, kind, data, text string }

// A tailing is somebody who listens.
type tailing struct {
	t    *testing.T
	res  *http.Response
	in   *bufio.Scanner
	quit context.CancelFunc
}

// tailing opens a live stream and reads its greeting. A header is "Name: value".
func (r *rig) tailing(t *testing.T, url, query string, header ...string) *tailing {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/api/tail?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); value == "" {
			req.Header.Del(name)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %s", res.Status, b)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	in.Split(func(data []byte, end bool) (int, []byte, error) {
		if i := strings.Index(string(data), "\n\n"); i >= 0 {
			return i + 2, data[:i], nil
		}
		return 0, nil, nil
	})
	tl := &tailing{t: t, res: res, in: in, quit: cancel}
	if m, ok := tl.message(); !ok || m.text != "retry: 2000" {
		t.Fatalf("the greeting is %q", m.text)
	}
	return tl
}

// message reads the next message, of whatever kind; false at the end.
func (tl *tailing) message() (m message, ok bool) {
	if !tl.in.Scan() {
		return m, false
	}
	m.text = tl.in.Text()
	for line := range strings.SplitSeq(m.text, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			m.id = value
		case "event":
			m.kind = value
		case "data":
			m.data = value
		}
	}
	return m, true
}

// next reads the next message that says something, as "kind id what", where what is
// the path of an event.
func (tl *tailing) next() string {
	tl.t.Helper()
	for {
		m, ok := tl.message()
		if !ok {
			return fmt.Sprintf("end: %v", tl.in.Err())
		}
		if m.data == "" {
			continue
		}
		var e struct{ Path, Code string }
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			tl.t.Fatal(err)
		}
		switch m.kind {
		case "":
			return m.id + " " + e.Path
		case "end":
			return "end " + e.Code
		}
		return m.kind + " " + m.id + " " + m.data
	}
}

func (tl *tailing) want(list ...string) {
	tl.t.Helper()
	for _, want := range list {
		if got := tl.next(); got != want {
			tl.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// gone waits until so many live streams are left.
func (r *rig) streams(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		n, _ := r.tap.Stats()
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d live streams, want %d", n, want)
		}
	}
}

// TestTail checks what a stream is made of, down to the byte.
func TestTail(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url, _ := r.listen(t)
	tl := r.tailing(t, url, "site_id=example.com")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Encoding": "",
	} {
		if got := tl.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	id := event.ID{1}
	at := time.Date(2026, 7, 15, 12, 29, 58, 123e6, time.UTC).UnixMicro()
	full := event.Event{
		Time: at, Received: at, Name: "purchase", Via: event.ViaPage, Visitor: id, Visit: 3, VisitStart: at, User: id, Dedupe: id,
		Hostname: "www.example.com", Path: "/buy", Title: "Line\nbreak", Referrer: "https://news.example/", Source: "News", Channel: "Referral",
		UTMCampaign: "spring", Browser: "Firefox", BrowserVersion: "128", OS: "Linux", Device: "desktop", Language: "de", Country: "DE",
		Region: "DE-BE", RegionName: "Berlin", City: "Berlin", CityID: 1, Revenue: 19_9000, Currency: "EUR", Props: `{"plan":"a"}`, Scroll: event.NoScroll,
	}
	read := event.Event{Time: at, Name: event.Engagement, Path: "/buy", EngagedMS: 1500, Scroll: 0}
	r.durable(full, read)
	nothing := `"hostname":null,"path":"/buy","title":null,"referrer":null,"source":null,"channel":null,"utm_campaign":null,"browser":null,"os":null,"device":null,` +
		`"language":null,"country":null,"region":null,"city":null,"revenue":null,"currency":null,"props":null,`
	for _, want := range []string{
		"id: 0",
		`id: 1
data: {"seq":1,"time":"2026-07-15T14:29:58.123+02:00","name":"purchase","hostname":"www.example.com","path":"/buy","title":"Line\nbreak",` +
			`"referrer":"https://news.example/","source":"News","channel":"Referral","utm_campaign":"spring","browser":"Firefox","os":"Linux","device":"desktop",` +
			`"language":"de","country":"DE","region":"DE-BE","city":"Berlin","revenue":19.9,"currency":"EUR","props":{"plan":"a"},"engaged_ms":null,"scroll":null}`,
		`id: 2
data: {"seq":2,"time":"2026-07-15T14:29:58.123+02:00","name":"engagement",` + nothing + `"engaged_ms":1500,"scroll":0}`,
	} {
		if m, _ := tl.message(); m.text != want {
			t.Fatalf("got\n%s\nwant\n%s", m.text, want)
		}
	}
	if m := r.do("GET", "/metrics", "").Body.String(); !strings.Contains(m, `eider_http_requests_in_flight 2`) {
		t.Error("the stream is no request in flight")
	}
	tl.quit()
	r.streams(t, 0)
	w := r.do("HEAD", "/api/tail?site_id=example.com", "")
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %q", w.Code, w.Body)
	}
	r.streams(t, 0)
}

// TestTailSites checks that nobody is shown the events of a site that he has not asked
// for, or may not see.
func TestTailSites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	own := r.key(t, "example.com", 0, "stats")
	r = rigOf(t, r.fake)
	url, _ := r.listen(t)
	tl := r.tailing(t, url, "site_id=example.com", "Authorization: Bearer "+own)
	r.durable(event.Event{Site: "other.com", Path: "/secret"}, onPath("/a"))
	r.durable(event.Event{Path: "/import", Via: event.ViaImport}, onPath("/b"))
	tl.want("2 /a", "4 /b")
	want(t, r.do("GET", "/api/tail?site_id=other.com", "", "-", "Authorization: Bearer "+own), 403, "site_of_the_key")
}

// TestTailFilters narrows streams as reports are narrowed.
func TestTailFilters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.goals = []ledger.Goal{{ID: 1, Site: "example.com", Name: "Visit /b", Kind: "page", Path: "/b"}}
	r.segments = []ledger.Segment{{ID: 7, Site: "example.com", Name: "Firefox", Filters: []byte(`[["is","visit:browser",["Firefox"]]]`)}}
	url, _ := r.listen(t)
	var all []*tailing
	for _, query := range []string{
		"filters=page~/b",
		`filters=[["is","event:goal",["Visit%20/b"]]]`,
		"segment=7",
		"filters=page!=/b&segment=7",
	} {
		all = append(all, r.tailing(t, url, "site_id=example.com&"+query))
	}
	fox := onPath("/b")
	fox.Browser = "Firefox"
	last := onPath("/bye")
	last.Browser = "Firefox"
	r.durable(onPath("/a"), onPath("/b"), fox, onPath("/bc"), last)
	all[0].want("2 /b", "3 /b", "4 /bc", "5 /bye")
	all[1].want("2 /b", "3 /b")
	all[2].want("3 /b", "5 /bye")
	all[3].want("5 /bye")
	for query, code := range map[string]string{
		`filters=[["has_done",["is","event:page",["/"]]]]`: "422 bad_query",
		"filters=exit_page==/":                             "422 bad_query",
		"filters=nothing==/":                               "",
		"period=day":                                       "400 range",
		"after=x":                                          "400 parameter",
		"after=-1":                                         "400 parameter",
		"limit=1":                                          "400 parameter",
		"site_id=none.com":                                 "400 parameter", // twice
	} {
		w := r.do("GET", "/api/tail?site_id=example.com&"+query, "")
		var e struct{ Code string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code/100 != 4 || code != "" && fmt.Sprint(w.Code, " ", e.Code) != code {
			t.Errorf("%s: %d %s, want %s", query, w.Code, w.Body, code)
		}
	}
	want(t, r.do("GET", "/api/tail?site_id=none.com", ""), 404, "unknown_site")
	want(t, r.do("GET", "/api/tail?site_id=example.com", "", "Last-Event-ID: x"), 400, "parameter")
	r.streams(t, len(all))
}

// TestTailResume checks that who comes back sees what he has missed, or is told so.
func TestTailResume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.durable(onPath("/0"))
	url, _ := r.listen(t)
	tl := r.tailing(t, url, "site_id=example.com")
	if m, _ := tl.message(); m.text != "id: 1" {
		t.Errorf("a stream begins with %q, want where it begins", m.text)
	}
	r.durable(onPath("/1"), event.Event{Site: "other.com"}, onPath("/2"))
	tl.want("2 /1", "4 /2")
	tl.quit()
	r.streams(t, 0)
	r.durable(onPath("/3"))
	r.tailing(t, url, "site_id=example.com", "Last-Event-ID: 2").want("4 /2", "5 /3")
	r.tailing(t, url, "site_id=example.com&after=4").want("5 /3")
	r.tailing(t, url, "site_id=example.com&after=0", "Last-Event-ID: 4").want("5 /3")
	r.tailing(t, url, "site_id=example.com&after=0").want(`missed 1 {"events":0,"exact":false}`, "2 /1", "4 /2", "5 /3")
	end := r.tailing(t, url, "site_id=example.com&after=5")
	r.durable(onPath("/4"))
	end.want("6 /4")
}

// TestTailEnds takes away what lets somebody listen, and checks that he is told why
// the stream ends.
func TestTailEnds(t *testing.T) {
	t.Parallel()
	base := newRig(t)
	secret := base.key(t, "", 0, "stats")
	id := base.keys[0].ID
	r := rigOf(t, base.fake)
	r.srv.PaceTail(10*time.Millisecond, time.Minute)
	url, _ := r.listen(t)
	cookie := r.session(t, ledger.RoleViewer)
	byKey := r.tailing(t, url, "site_id=example.com", "Authorization: Bearer "+secret)
	bySession := r.tailing(t, url, "site_id=example.com", "Authorization: ", "Cookie: "+cookie.Name+"="+cookie.Value)
	of := r.tailing(t, url, "site_id=other.com")
	stays := r.tailing(t, url, "site_id=example.com")
	for _, tl := range []*tailing{byKey, bySession, of, stays} {
		for beats := 0; beats < 3; {
			if m, ok := tl.message(); !ok {
				t.Fatal("a stream ended by itself")
			} else if m.text == ":" {
				beats++
			}
		}
	}
	want(t, r.do("DELETE", "/api/keys/"+id, ""), 204, "")
	byKey.want("end bad_key", "end: <nil>")
	want(t, r.do("POST", "/api/auth/logout", "", "-", "Cookie: "+cookie.Name+"="+cookie.Value), 204, "")
	bySession.want("end no_key", "end: <nil>")
	want(t, r.do("DELETE", "/api/sites/other.com", ""), 204, "")
	of.want("end unknown_site", "end: <nil>")
	r.durable(onPath("/a"))
	stays.want("1 /a")
}

// TestTailStop checks that streams do not hold up a stop: neither those that stand
// still nor one whose client has stopped reading.
func TestTailStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Drain = time.Hour })
	r.srv.PaceTail(time.Hour, 100*time.Millisecond)
	url, stop := r.listen(t)
	var all []*tailing
	for range 5 {
		all = append(all, r.tailing(t, url, "site_id=example.com"))
	}
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	for _, tl := range all {
		tl.want("end: <nil>")
	}
	r.streams(t, 0)
	want(t, r.do("GET", "/api/tail?site_id=example.com", ""), 503, "draining")
}

// TestTailSlow has a client that takes nothing: it is cut off, and everybody else sees
// everything meanwhile.
func TestTailSlow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.srv.PaceTail(time.Hour, 100*time.Millisecond)
	url, _ := r.listen(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET /api/tail?site_id=example.com HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", bootstrap)
	r.streams(t, 1)
	quick := r.tailing(t, url, "site_id=example.com")
	r.streams(t, 2)
	large := onPath("/" + strings.Repeat("x", 64<<10))
	sent := 0
	for deadline := time.Now().Add(20 * time.Second); ; sent++ {
		if n, _ := r.tap.Stats(); n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the slow client is not cut off")
		}
		r.durable(large)
		quick.want(fmt.Sprint(sent+1, " ", large.Path))
	}
	r.durable(onPath("/on"))
	quick.want(fmt.Sprint(sent+1, " /on"))
}

// TestTailTimeouts checks that the limits of a request's times do not end a stream.
func TestTailTimeouts(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.BodyTimeout = 50 * time.Millisecond })
	r.srv.PaceTail(20*time.Millisecond, 100*time.Millisecond)
	url, _ := r.listen(t)
	tl := r.tailing(t, url, "site_id=example.com")
	for beats := 0; beats < 20; {
		m, ok := tl.message()
		if !ok {
			t.Fatalf("ended after %d heartbeats: %v", beats, tl.in.Err())
		}
		if m.text == ":" {
			beats++
		}
	}
	r.durable(onPath("/late"))
	tl.want("1 /late")
}

// TestTailPlaces opens as many streams as there may be: one key cannot have them all,
// and who comes then is told when to come again.
func TestTailPlaces(t *testing.T) {
	t.Parallel()
	base := newRig(t)
	second := base.key(t, "", 0, "stats")
	r := rigOf(t, base.fake)
	url, _ := r.listen(t)
	var first *tailing
	for range server.TailShare {
		first = r.tailing(t, url, "site_id=example.com")
	}
	w := r.do("GET", "/api/tail?site_id=example.com", "")
	want(t, w, 503, "overloaded")
	if w.Header().Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	other := "Authorization: Bearer " + second
	for range server.TailPlaces - server.TailShare {
		r.tailing(t, url, "site_id=example.com", other)
	}
	want(t, r.do("GET", "/api/tail?site_id=example.com", "", "-", other), 503, "overloaded")
	first.quit()
	r.streams(t, server.TailPlaces-1)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // its place is free a moment later
		req, _ := http.NewRequestWithContext(t.Context(), "HEAD", url+"/api/tail?site_id=example.com", nil)
		req.Header.Set("Authorization", "Bearer "+second)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no place is free: %s", res.Status)
		}
	}
}
