package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A socketing is somebody who listens by a WebSocket.
type socketing struct {
	t     *testing.T
	ctx   context.Context
	conn  *websocket.Conn
	res   *http.Response
	pings atomic.Int64
}

// knock asks for a WebSocket. A header is "Name: value", or "Name: " to leave it out.
func (r *rig) knock(t *testing.T, url, query string, header ...string) (*socketing, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	h := http.Header{"Authorization": {"Bearer " + bootstrap}}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if h.Set(name, value); value == "" {
			h.Del(name)
		}
	}
	k := &socketing{t: t, ctx: ctx}
	var err error
	k.conn, k.res, err = websocket.Dial(ctx, url+"/api/tail?"+query, &websocket.DialOptions{
		HTTPHeader: h, CompressionMode: websocket.CompressionContextTakeover,
		OnPingReceived: func(context.Context, []byte) bool { k.pings.Add(1); return true },
	})
	if err != nil {
		return k, err
	}
	t.Cleanup(func() { _ = k.conn.CloseNow() })
	k.conn.SetReadLimit(1 << 20)
	return k, nil
}

func (r *rig) socketing(t *testing.T, url, query string, header ...string) *socketing {
	t.Helper()
	k, err := r.knock(t, url, query, header...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// refused asks for a WebSocket in vain.
func (r *rig) refused(t *testing.T, want, url, query string, header ...string) {
	t.Helper()
	k, err := r.knock(t, url, query, header...)
	if err == nil {
		t.Errorf("%v is let in, want %s", header, want)
		return
	}
	if k.res == nil {
		t.Fatal(err)
	}
	var e struct{ Code string }
	if err := json.NewDecoder(k.res.Body).Decode(&e); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(k.res.StatusCode, " ", e.Code); got != want {
		t.Errorf("%v: %s, want %s", header, got, want)
	}
}

// message reads the next message, of whatever type, and holds it to the document. If the
// stream has ended it says how.
func (k *socketing) message() string {
	kind, body, err := k.conn.Read(k.ctx)
	var end websocket.CloseError
	switch {
	case errors.As(err, &end):
		return fmt.Sprint("closed ", int(end.Code), " ", end.Reason)
	case err != nil:
		return "cut off"
	case kind != websocket.MessageText:
		return "binary"
	}
	c, err := strict()
	if err == nil {
		err = c.check("GET /api/tail", &http.Response{StatusCode: 101, Header: http.Header{"Content-Type": {"application/json"}}}, body)
	}
	if err != nil {
		k.t.Errorf("not as openapi.json says: %v", err)
	}
	return string(body)
}

// next reads the next message that says something, as "type id what", where what is the
// path of an event.
func (k *socketing) next() string {
	k.t.Helper()
	for {
		text := k.message()
		var m struct {
			Type, ID string
			Data     json.RawMessage
		}
		if json.Unmarshal([]byte(text), &m) != nil {
			return text
		}
		var e struct{ Path, Code string }
		if m.Data != nil {
			if err := json.Unmarshal(m.Data, &e); err != nil {
				k.t.Fatal(err)
			}
		}
		switch m.Type {
		case "position":
			continue
		case "event":
			return m.ID + " " + e.Path
		case "end":
			return "end " + e.Code
		}
		return fmt.Sprintf("%s %s %s", m.Type, m.ID, m.Data)
	}
}

func (k *socketing) want(list ...string) {
	k.t.Helper()
	for _, want := range list {
		if got := k.next(); got != want {
			k.t.Fatalf("got %.200q, want %q", got, want)
		}
	}
}

const handshake = "GET /api/tail?site_id=example.com HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bootstrap + "\r\nConnection: keep-alive, Upgrade\r\n" +
	"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// silent opens a WebSocket whose client answers nothing.
func silent(t *testing.T, url string) wire {
	t.Helper()
	w := dial(t, url)
	if got := w.status(handshake); got != 101 {
		t.Fatalf("status %d, want 101", got)
	}
	return w
}

// closed reads until the connection ends, and fails if it does not.
func (w wire) closed() []byte {
	w.t.Helper()
	b, err := io.ReadAll(w.in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Error("the connection is not closed")
	}
	return b
}

// TestSocket checks what a stream is made of, down to the byte, and what is counted of it.
func TestSocket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url, _ := r.listen(t)
	k := r.socketing(t, url, "site_id=example.com")
	for name, want := range map[string]string{"Sec-Websocket-Extensions": "", "Sec-Websocket-Protocol": "", "Cache-Control": "no-store", "Content-Type": ""} {
		if got := k.res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := k.message(); got != `{"type":"position","id":"0"}` {
		t.Fatalf("a stream begins with %s", got)
	}
	at := time.Date(2026, 7, 15, 12, 29, 58, 123e6, time.UTC).UnixMicro()
	r.durable(event.Event{Time: at, Name: event.Engagement, Path: "/buy", EngagedMS: 1500, Scroll: 0, Visitor: event.ID{1}})
	const want = `{"type":"event","id":"1","data":{"seq":1,"time":"2026-07-15T14:29:58.123+02:00","name":"engagement","hostname":null,"path":"/buy","title":null,` +
		`"referrer":null,"source":null,"channel":null,"utm_campaign":null,"browser":null,"os":null,"device":null,"language":null,"country":null,"region":null,` +
		`"city":null,"revenue":null,"currency":null,"props":null,"engaged_ms":1500,"scroll":0}}`
	if got := k.message(); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if m := r.do("GET", "/metrics", "").Body.String(); !strings.Contains(m, "eider_http_requests_in_flight 2") {
		t.Error("the stream is no request in flight")
	}
	if err := k.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing handshake: %v", err)
	}
	r.streams(t, 0)
	r.counted(t, "1xx")
	var line string
	for deadline := time.Now().Add(10 * time.Second); line == "" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, after, ok := strings.Cut(r.logged(), `"path":"/api/tail",`); ok {
			line, _, _ = strings.Cut(after, "\n")
		}
	}
	if !strings.HasPrefix(line, `"status":101,"bytes":`) || strings.Contains(line, `"bytes":0,`) {
		t.Errorf("logged: %q", line)
	}
}

// counted waits until one live stream has ended with a class of status, and no other.
func (r *rig) counted(t *testing.T, class string) {
	t.Helper()
	const name = `eider_http_requests_total{code="%s",method="read",route="/api/tail"} 1`
	var m string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if m = r.do("GET", "/metrics", "").Body.String(); strings.Contains(m, fmt.Sprintf(name, class)) {
			return
		}
	}
	t.Errorf("no stream ended with %s: %v", class, m)
}

// TestSocketResume checks that who comes back sees what he has missed, or is told so,
// and everything in its order.
func TestSocketResume(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.durable(onPath("/0"))
	url, _ := r.listen(t)
	k := r.socketing(t, url, "site_id=example.com")
	if got := k.message(); got != `{"type":"position","id":"1"}` {
		t.Errorf("a stream begins with %q, want where it begins", got)
	}
	r.durable(onPath("/1"), event.Event{Site: "other.com", Path: "/secret"}, onPath("/2"))
	k.want("2 /1", "4 /2")
	_ = k.conn.CloseNow()
	r.streams(t, 0)
	r.durable(onPath("/3"))
	r.socketing(t, url, "site_id=example.com&after=2").want("4 /2", "5 /3")
	r.socketing(t, url, "site_id=example.com", "Last-Event-ID: 4").want("5 /3")
	r.socketing(t, url, "site_id=example.com&after=0").want(`missed 1 {"events":0,"exact":false}`, "2 /1", "4 /2", "5 /3")
	some := r.socketing(t, url, "site_id=example.com&after=5&filters=page~/b")
	r.durable(onPath("/a"), onPath("/b"))
	some.want("7 /b")
	var list []event.Event
	for i := range 500 {
		list = append(list, onPath(fmt.Sprint("/b", i)))
	}
	r.durable(list...)
	for i := range list {
		some.want(fmt.Sprintf("%d /b%d", 8+i, i))
	}
	r.refused(t, "422 bad_query", url, "site_id=example.com&filters=exit_page==/")
	r.refused(t, "404 unknown_site", url, "site_id=none.com")
}

// TestSocketEnds takes away what lets somebody listen, and checks that he is told why the
// stream ends.
func TestSocketEnds(t *testing.T) {
	t.Parallel()
	base := newRig(t)
	secret := base.key(t, "", 0, "stats")
	id := base.keys[0].ID
	r := rigOf(t, base.fake)
	r.srv.PaceTail(10*time.Millisecond, time.Minute)
	url, _ := r.listen(t)
	cookie := r.session(t, ledger.RoleViewer)
	byKey := r.socketing(t, url, "site_id=example.com", "Authorization: Bearer "+secret)
	bySession := r.socketing(t, url, "site_id=example.com", "Authorization: ", "Cookie: "+cookie.Name+"="+cookie.Value)
	of := r.socketing(t, url, "site_id=other.com")
	stays := r.socketing(t, url, "site_id=example.com")
	want(t, r.do("DELETE", "/api/keys/"+id, ""), 204, "")
	byKey.want("end bad_key", "closed 1008 bad_key")
	want(t, r.do("POST", "/api/auth/logout", "", "-", "Cookie: "+cookie.Name+"="+cookie.Value), 204, "")
	bySession.want("end no_key", "closed 1008 no_key")
	want(t, r.do("DELETE", "/api/sites/other.com", ""), 204, "")
	of.want("end unknown_site", "closed 1008 unknown_site")
	r.durable(onPath("/a"))
	stays.want("1 /a")
}

// TestSocketStop checks that a stop tells those who listen, and that Serve does not return
// before the last of them has gone: net/http knows nothing of them any more.
func TestSocketStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Drain = time.Hour })
	r.srv.PaceTail(time.Hour, 300*time.Millisecond)
	url, stop := r.listen(t)
	var all []*socketing
	for range 5 {
		all = append(all, r.socketing(t, url, "site_id=example.com"))
	}
	mute := silent(t, url) // does not say good-bye, and is waited for
	r.streams(t, 6)
	ends := make(chan string, len(all))
	for _, k := range all {
		go func() { ends <- k.next() }()
	}
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if n, _ := r.tap.Stats(); n != 0 {
		t.Errorf("Serve has returned while there were %d live streams", n)
	}
	for range all {
		if got := <-ends; got != "closed 1001 draining" {
			t.Errorf("got %q, want to be told of the stop", got)
		}
	}
	if b := mute.closed(); !strings.HasSuffix(string(b), "\x03\xe9draining") {
		t.Errorf("got %q, want a close frame of 1001", b)
	}
	want(t, r.do("GET", "/api/tail?site_id=example.com", "", "Connection: Upgrade", "Upgrade: websocket"), 503, "draining")
}

// TestSocketDrain has a stop that waits for nobody: streams are cut off, and gone when
// Serve returns. They come over TLS.
func TestSocketDrain(t *testing.T) {
	t.Parallel()
	borrowed := httptest.NewTLSServer(nil)
	borrowed.Close()
	r := newRig(t, func(o *server.Options) {
		o.Drain = 20 * time.Millisecond
		o.TLS = &tls.Config{Certificates: borrowed.TLS.Certificates}
	})
	r.srv.PaceTail(time.Hour, time.Hour)
	url, stop := r.listen(t)
	const many = 20
	for range many {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "http://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w := wire{t, conn, bufio.NewReader(conn)}
		if got := w.status(handshake); got != 101 {
			t.Fatalf("status %d, want 101", got)
		}
	}
	r.streams(t, many)
	start := time.Now()
	if err := stop(); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if n, _ := r.tap.Stats(); n != 0 {
		t.Errorf("Serve has returned while there were %d live streams", n)
	}
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestSocketSlow has a client that takes nothing: it is cut off, and everybody else sees
// everything meanwhile.
func TestSocketSlow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.srv.PaceTail(time.Hour, 100*time.Millisecond)
	url, _ := r.listen(t)
	slow := silent(t, url)
	quick := r.socketing(t, url, "site_id=example.com")
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
	r.counted(t, "4xx")
	slow.closed()
}

// TestSocketTimeouts checks that the limits of a request's times do not end a stream, and
// that nobody stays who answers no ping.
func TestSocketTimeouts(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.BodyTimeout = 50 * time.Millisecond })
	r.srv.PaceTail(20*time.Millisecond, 2*time.Second)
	url, _ := r.listen(t)
	k := r.socketing(t, url, "site_id=example.com")
	silent(t, url)
	r.streams(t, 2)
	said := make(chan string, 1)
	go func() { said <- k.next() }() // reading is what answers pings
	r.streams(t, 1)
	r.counted(t, "4xx")
	r.durable(onPath("/late"))
	if got := <-said; got != "1 /late" {
		t.Errorf("got %q, want %q", got, "1 /late")
	}
	if n := k.pings.Load(); n < 20 {
		t.Errorf("%d pings in two seconds", n)
	}
}

// TestSocketPlaces opens as many streams as one key may have. Who comes then is refused
// before anything is upgraded.
func TestSocketPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url, _ := r.listen(t)
	first := r.socketing(t, url, "site_id=example.com")
	r.tailing(t, url, "site_id=example.com") // both kinds share the places
	for range server.TailShare - 2 {
		r.socketing(t, url, "site_id=example.com")
	}
	r.refused(t, "503 overloaded", url, "site_id=example.com")
	_ = first.conn.Close(websocket.StatusNormalClosure, "")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // its place is free a moment later
		if _, err := r.knock(t, url, "site_id=example.com"); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no place is free")
		}
	}
}

// TestSocketOrigin asks as a page of another site would have a browser ask, which brings
// the session along if the site is a neighbour.
func TestSocketOrigin(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.Origin = "https://stats.example.com" })
	url, _ := r.listen(t)
	cookie := r.session(t, ledger.RoleAdmin)
	session := []string{"Authorization: ", "Cookie: " + cookie.Name + "=" + cookie.Value}
	for _, c := range []struct {
		header  []string
		allowed bool
	}{
		{append(session, "Origin: "+url), true},
		{append(session, "Origin: https://stats.example.com"), true},
		{append(session, "Origin: https://stats.example.com", "Sec-Fetch-Site: cross-site"), true},
		{append(session, "Origin: https://evil.example"), false},
		{append(session, "Origin: https://stats.example.com.evil.example"), false},
		{append(session, "Origin: https://example.com", "Sec-Fetch-Site: same-site"), false},
		{append(session, "Origin: null"), false}, // a page in a sandbox
		{nil, true},
		{[]string{"Origin: https://evil.example"}, false},
	} {
		if c.allowed {
			_ = r.socketing(t, url, "site_id=example.com", c.header...).conn.CloseNow()
		} else {
			r.refused(t, "403 cross_site", url, "site_id=example.com", c.header...)
		}
	}
	r.refused(t, "401 no_key", url, "site_id=example.com", "Authorization: ", "Origin: "+url)
}

// TestSocketTalks has clients that send something: they are told that this is not what a
// live stream is for. One that never comes to an end is not waited for.
func TestSocketTalks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.srv.PaceTail(time.Hour, 300*time.Millisecond)
	url, _ := r.listen(t)
	k := r.socketing(t, url, "site_id=example.com")
	go func() { _ = k.conn.Write(k.ctx, websocket.MessageBinary, make([]byte, 1<<20)) }()
	k.want("closed 1008 no_messages")
	r.counted(t, "4xx")
	small := r.socketing(t, url, "site_id=example.com")
	_ = small.conn.Write(small.ctx, websocket.MessageText, []byte("hello"))
	small.want("closed 1008 no_messages")

	endless := silent(t, url)
	if _, err := endless.Write([]byte("\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00mask")); err != nil { // a message of a tebibyte begins
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := endless.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	r.streams(t, 0)
	if b := endless.closed(); !strings.Contains(string(b), "\x03\xf0no_messages") {
		t.Errorf("got %q, want a close frame of 1008", b)
	}

	ping := silent(t, url)
	if _, err := ping.Write([]byte("\x89\x82\x00\x00\x00\x00hi")); err != nil {
		t.Fatal(err)
	}
	pong := make([]byte, len("\x81\x1c"+`{"type":"position","id":"0"}`+"\x8a\x02hi"))
	if _, err := io.ReadFull(ping.in, pong); err != nil || !strings.Contains(string(pong), "\x8a\x02hi") {
		t.Errorf("a ping is answered with %q, %v", pong, err)
	}
}

// TestSocketHandshake asks in all the wrong ways, each of which is told.
func TestSocketHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url, _ := r.listen(t)
	for _, c := range []struct {
		name, from, to, answer string
		header, is             string
	}{
		{"nothing wrong", "Host: x", "Host: x", "101 ", "Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		{"many protocols", "Upgrade: websocket", "Upgrade: h2c, WebSocket", "101 ", "", ""},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", "426 websocket", "Upgrade", "websocket"},
		{"an old version", "Version: 13", "Version: 8", "400 websocket", "Sec-WebSocket-Version", "13"},
		{"no version", "Sec-WebSocket-Version: 13\r\n", "", "400 websocket", "Sec-WebSocket-Version", "13"},
		{"no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", "400 websocket", "", ""},
		{"a short key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIA==", "400 websocket", "", ""},
		{"a proxy that drops Connection", "Connection: keep-alive, Upgrade\r\n", "", "426 websocket", "Upgrade", "websocket"},
		{"a wrong parameter", "site_id=example.com", "site_id=example.com&after=x", "400 parameter", "", ""},
		{"no API key", "Bearer " + bootstrap, "Bearer x", "401 bad_key", "", ""},
		{"POST", "GET", "POST", "405 method", "Allow", "GET, HEAD"},
	} {
		w := dial(t, url)
		if _, err := io.WriteString(w, strings.Replace(handshake, c.from, c.to, 1)); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(w.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Error, Code string }
		if res.StatusCode != 101 {
			if err := json.NewDecoder(res.Body).Decode(&e); err != nil || e.Error == "" || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %s %+v, %v", c.name, res.Status, e, err)
			}
		}
		if got := fmt.Sprint(res.StatusCode, " ", e.Code); got != c.answer || res.Header.Get(c.header) != c.is {
			t.Errorf("%s: %s, %s %q; want %s, %q", c.name, got, c.header, res.Header.Get(c.header), c.answer, c.is)
		}
		w.Close()
	}
	r.streams(t, 0)
	if log := r.logged(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged: %s", log)
	}
}
