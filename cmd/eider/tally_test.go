package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"

// A mark is what is known of one event.
type mark uint8

const (
	acked  mark = 1 << iota // we were told that it is stored
	found                   // it was read back
	again                   // it has an id, so that it may be sent again
	leaver                  // its user is the one to be erased
	old                     // it is older than the retention allows
	logged                  // it is a line of a log
)

// A tally is what the clients know. An event's number is its path, its property
// and its id; whatever is sent again is the same to the byte.
type tally struct {
	now time.Time // when the tally was begun: times are relative to it

	mu    sync.Mutex
	marks []mark
	acked time.Time // when the last acknowledgement came
}

func newTally() *tally { return &tally{now: time.Now()} }

// next gives numbers to n new events.
func (y *tally) next(n int, m mark) (numbers []int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for range n {
		numbers = append(numbers, len(y.marks))
		y.marks = append(y.marks, m)
	}
	return numbers
}

// ack notes that events are stored.
func (y *tally) ack(numbers []int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.acked = time.Now()
	for _, n := range numbers {
		y.marks[n] |= acked
	}
}

// list returns the events that have all marks of with and none of without.
func (y *tally) list(with, without mark) (numbers []int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for n, m := range y.marks {
		if m&with == with && m&without == 0 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// json is an event as it is sent. One in four is of the day before, if the hour
// allows.
func (y *tally) json(n int) string {
	y.mu.Lock()
	m := y.marks[n]
	y.mu.Unlock()
	e := map[string]any{
		"name": "pageview", "domain": site, "url": fmt.Sprintf("https://%s/k/%d", site, n),
		"props": map[string]string{"k": strconv.Itoa(n)},
	}
	if m&again != 0 {
		e["id"] = fmt.Sprintf("event-%d", n)
		if n%4 == 0 {
			e["timestamp"] = y.now.Add(-20 * time.Hour).UnixMilli()
		}
	}
	if m&leaver != 0 {
		e["user"] = "leaver"
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// line is an event as a line of an access log, from three to six days ago, or
// fifty for an old one.
func (y *tally) line(n int) string {
	y.mu.Lock()
	m := y.marks[n]
	y.mu.Unlock()
	at := y.now.AddDate(0, 0, -3-n%4)
	if m&old != 0 {
		at = y.now.AddDate(0, 0, -50)
	}
	return fmt.Sprintf("192.0.2.%d - - [%s] \"GET /k/%d HTTP/1.1\" 200 512 \"-\" \"%s\"\n",
		n%250, at.UTC().Format("02/Jan/2006:15:04:05 -0700"), n, browser)
}

// A refusal is an answer that is no acknowledgement.
type refusal struct {
	path   string
	status int
	retry  string // the header Retry-After
	body   string
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: status %d: %s", e.path, e.status, e.body) }

// post sends a request and returns its answer if that is 202 or 200.
func (d *daemon) post(path, kind, body string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, d.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("User-Agent", browser)
	req.Header.Set("Content-Type", kind)
	res, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode/100 != 2 {
		return "", &refusal{path, res.StatusCode, res.Header.Get("Retry-After"), string(b)}
	}
	if dropped := res.Header.Get("X-Plausible-Dropped"); dropped != "" {
		return "", fmt.Errorf("%s events were dropped", dropped)
	}
	return string(b), nil
}

// sendOne sends one event without an id, as a page does: never again.
func (d *daemon) sendOne() error {
	numbers := d.events.next(1, 0)
	_, err := d.post("/api/event", "text/plain", d.events.json(numbers[0]))
	if err == nil {
		d.events.ack(numbers)
	}
	return err
}

// send sends events with their ids, or as lines of a log. They may have been sent
// before. It returns how many of them the server had already.
func (d *daemon) send(numbers []int) (duplicates int, err error) {
	if len(numbers) == 0 {
		return 0, nil
	}
	d.events.mu.Lock()
	isLog := d.events.marks[numbers[0]]&logged != 0
	d.events.mu.Unlock()
	if isLog {
		return d.sendLog(numbers)
	}
	var body strings.Builder
	for _, n := range numbers {
		body.WriteString(d.events.json(n) + "\n")
	}
	text, err := d.post("/api/events", "application/x-ndjson", body.String())
	if err != nil {
		return 0, err
	}
	var answer struct {
		Accepted, Duplicates int
		Rejected             []json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return 0, fmt.Errorf("answer %q: %w", text, err)
	}
	if answer.Accepted+answer.Duplicates != len(numbers) || len(answer.Rejected) != 0 {
		return 0, fmt.Errorf("%d events were answered with %s", len(numbers), text)
	}
	d.events.ack(numbers)
	return answer.Duplicates, nil
}

// sendLog imports events as an access log.
func (d *daemon) sendLog(numbers []int) (duplicates int, err error) {
	var body strings.Builder
	for _, n := range numbers {
		body.WriteString(d.events.line(n))
	}
	text, err := d.post("/api/import?format=combined&site_id="+site, "text/plain", body.String())
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var answer struct {
		Report *struct{ Imported, Duplicates int }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &answer); err != nil || answer.Report == nil {
		return 0, fmt.Errorf("the import was answered with %q: %v", text, err)
	}
	if answer.Report.Imported+answer.Report.Duplicates != len(numbers) {
		return 0, fmt.Errorf("%d lines were answered with %s", len(numbers), text)
	}
	d.events.ack(numbers)
	return answer.Report.Duplicates, nil
}

// settle sends what got no answer again, until it does and can be asked for.
func (d *daemon) settle() {
	d.Helper()
	for _, kind := range []mark{0, logged} {
		open := d.events.list(again|kind, acked|logged&^kind)
		for chunk := range slices.Chunk(open, 500) {
			if _, err := d.send(chunk); err != nil {
				d.Fatalf("send again: %v", err)
			}
		}
	}
	var health struct {
		Durable int64 `json:"durable_seq"`
		Flushed int64 `json:"flushed_seq"`
	}
	for range 1000 {
		d.must(http.MethodGet, "/health/detailed", nil, &health)
		if health.Flushed >= health.Durable {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.Fatalf("events up to %d are durable, and reports have them up to %d", health.Durable, health.Flushed)
}

// repeat sends up to n events again that were acknowledged, chosen at random.
// Each must be known.
func (d *daemon) repeat(n int) {
	d.Helper()
	for _, kind := range []mark{0, logged} {
		known := d.events.list(again|acked|kind, leaver|old|logged&^kind)
		d.rnd.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
		known = known[:min(n, len(known))]
		duplicates, err := d.send(known)
		if err != nil || duplicates != len(known) {
			d.Errorf("%d events that were acknowledged before were sent again: %d duplicates, %v", len(known), duplicates, err)
		}
	}
}

// A verdict compares what was acknowledged with what was read back.
type verdict struct {
	lost     []int    // acknowledged and not there
	doubled  []int    // there more than once
	strange  []string // there and never sent, or not as it was sent
	rows     int64    // read back since the beginning
	counted  int64    // what the server counts
	unmarked int      // read back without an acknowledgement: an answer was lost
}

// err returns what is wrong.
func (v verdict) err() error {
	if len(v.lost)+len(v.doubled)+len(v.strange) == 0 && v.rows == v.counted {
		return nil
	}
	return fmt.Errorf("of %d events, and %d counted, %d are lost %v, %d doubled %v, %d strange %q", v.rows, v.counted,
		len(v.lost), first(v.lost), len(v.doubled), first(v.doubled), len(v.strange), first(v.strange))
}

func first[T any](list []T) []T { return list[:min(len(list), 5)] }

// A row is what the check reads of an event.
type row struct {
	Seq   int64
	Path  string
	Via   string
	Props props
}

// props are the properties of an event: the one it was sent with.
type props struct{ K string }

// rowOf is a row of an event whose properties are still a text.
func rowOf(t testing.TB, seq int64, path, via, text string) row {
	t.Helper()
	r := row{Seq: seq, Path: path, Via: via}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &r.Props); err != nil {
			t.Fatalf("properties %q: %v", text, err)
		}
	}
	return r
}

// check reads back what was not read back before and compares (I1, I2, I3). It
// is to be called before new events are sent.
func (d *daemon) check() verdict {
	d.Helper()
	rows, err := d.export(d.last)
	if err != nil {
		d.Fatalf("export after %d: %v", d.last, err)
	}
	v := d.events.compare(rows)
	for _, r := range rows {
		if r.Seq <= d.last {
			v.strange = append(v.strange, fmt.Sprintf("seq %d after %d", r.Seq, d.last))
		}
		d.last = r.Seq
	}
	d.rows += int64(len(rows))
	v.rows, v.counted = d.rows, d.count()
	return v
}

// checkAll is check from the first event on.
func (d *daemon) checkAll() verdict {
	d.Helper()
	d.events.forget()
	d.last, d.rows = 0, 0
	return d.check()
}

// forget forgets what was read back.
func (y *tally) forget() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for n := range y.marks {
		y.marks[n] &^= found
	}
}

// compare marks what was found and says what is wrong.
func (y *tally) compare(rows []row) (v verdict) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, r := range rows {
		n, err := strconv.Atoi(strings.TrimPrefix(r.Path, "/k/"))
		if err != nil || n < 0 || n >= len(y.marks) {
			v.strange = append(v.strange, r.Path)
			continue
		}
		m := &y.marks[n]
		switch {
		case *m&logged == 0 && r.Props.K != strconv.Itoa(n), *m&logged != 0 && r.Via != "import":
			v.strange = append(v.strange, fmt.Sprintf("%+v", r))
		case *m&found != 0:
			v.doubled = append(v.doubled, n)
		case *m&acked == 0:
			v.unmarked++
		}
		*m |= found
	}
	for n, m := range y.marks {
		if m&(acked|found) == acked {
			v.lost = append(v.lost, n)
		}
	}
	return v
}

// export reads the events after a sequence number.
func (d *daemon) export(after int64) (rows []row, err error) {
	url := fmt.Sprintf("%s/api/stats/export?site_id=%s&format=ndjson&after=%d", d.url, site, after)
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode == http.StatusNotFound && bytes.Contains(b, []byte("no site")) {
			return nil, nil // killed before the first event made the site
		}
		return nil, &refusal{path: "/api/stats/export", status: res.StatusCode, body: string(b)}
	}
	rows, err = decodeRows(res.Body)
	if err == nil && res.Trailer.Get("X-Eider-Rows") != strconv.Itoa(len(rows)) {
		err = fmt.Errorf("%d rows, and the trailer says %q", len(rows), res.Trailer.Get("X-Eider-Rows"))
	}
	return rows, err
}

func decodeRows(r io.Reader) (rows []row, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var r row
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("row %q: %w", in.Bytes(), err)
		}
		rows = append(rows, r)
	}
	return rows, in.Err()
}

// TestTally: a check that finds nothing wrong whatever is wrong is worth
// nothing.
func TestTally(t *testing.T) {
	t.Parallel()
	y := newTally()
	y.ack(y.next(3, again)) // 0, 1 and 2 were acknowledged
	y.next(1, again)        // 3 was not
	at := func(n int) row {
		return row{Path: fmt.Sprintf("/k/%d", n), Props: props{strconv.Itoa(n)}}
	}
	for _, c := range []struct {
		name string
		rows []row
		want string
	}{
		{"right", []row{at(0), at(1), at(2)}, ""},
		{"right, and an answer was lost", []row{at(3), at(1), at(0), at(2)}, ""},
		{"one is lost", []row{at(0), at(2)}, "1 are lost [1]"},
		{"one is there twice", []row{at(0), at(1), at(2), at(1)}, "1 doubled [1]"},
		{"one was never sent", []row{at(0), at(1), at(2), at(4)}, `1 strange ["/k/4"]`},
		{"one is mixed up", []row{at(0), at(1), {Path: "/k/2", Props: props{"1"}}}, "1 strange"},
	} {
		y.forget()
		v := y.compare(c.rows)
		switch err := v.err(); {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v, want nothing", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := (verdict{rows: 4, counted: 5}).err(); err == nil {
		t.Error("4 rows and 5 counted: no error")
	}
}
