package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// A journal has events in memory, and what of them is to be withdrawn.
type journal struct {
	mu    sync.Mutex
	list  []Event
	next  int64
	waits []Withdrawal
	made  int64 // withdrawals
	deaf  int   // how often Done is to fail
	grown chan struct{}
}

func newJournal() *journal { return &journal{next: 1, grown: make(chan struct{}, 1)} }

func (j *journal) grow(n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for range n {
		j.list = append(j.list, Event{
			Seq: j.next, Time: time.Date(2026, time.Month(8+rand.IntN(4)), 1+rand.IntN(28), 0, 0, 0, 0, time.UTC).UnixMicro() + rand.Int64N(1e6),
			Site: []string{"example.com", "example.org"}[rand.IntN(2)], Name: "pageview",
			Data:     fmt.Appendf(nil, `{"path":"/%d","n":%d,"visitor":"v%d","user":"u%d"}`, rand.IntN(100), j.next, rand.IntN(5), rand.IntN(3)),
			Received: time.Now().UnixMicro(),
		})
		j.next += 1 + rand.Int64N(2)
	}
	select {
	case j.grown <- struct{}{}:
	default:
	}
}

// erase takes out the events of a withdrawal, which is kept in the same moment.
func (j *journal) erase(w Withdrawal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.made++
	w.ID, w.Upto = j.made, j.next-1
	j.waits = append(j.waits, w)
	j.list = slices.DeleteFunc(slices.Clone(j.list), func(e Event) bool { return w.meets(e) })
	select {
	case j.grown <- struct{}{}:
	default:
	}
}

// meets is what a withdrawal means.
func (w Withdrawal) meets(e Event) bool {
	var data struct{ Visitor, User string }
	if err := json.Unmarshal(e.Data, &data); err != nil {
		panic(err)
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return e.Seq <= w.Upto && is(w.Site, e.Site) && is(w.Visitor, data.Visitor) && is(w.User, data.User) &&
		(w.From == 0 || e.Time >= w.From) && (w.To == 0 || e.Time < w.To)
}

func (j *journal) Next(context.Context) (w Withdrawal, found bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waits) == 0 {
		return w, false, nil
	}
	return j.waits[0], true, nil
}

func (j *journal) Done(_ context.Context, w Withdrawal, rows int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.deaf > 0 {
		j.deaf--
		return errors.New("the disk is full")
	}
	j.waits = slices.DeleteFunc(j.waits, func(x Withdrawal) bool { return x.ID == w.ID })
	return nil
}

func (j *journal) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waits)
}

func (j *journal) events() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

func (j *journal) Grown() <-chan struct{} { return j.grown }

func (j *journal) Newest() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next - 1
}

func (j *journal) Events(ctx context.Context, after int64, most, bytes int) (batch []Event, upto int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.list {
		if e.Seq <= after {
			continue
		}
		batch = append(batch, e)
		if bytes -= len(e.Data); bytes <= 0 || len(batch) == most {
			return batch, e.Seq, ctx.Err()
		}
	}
	return batch, j.next - 1, ctx.Err()
}

func postgresEvents(t testing.TB, url, instance string) *PostgresEvents {
	t.Helper()
	p, err := NewPostgresEvents(url, instance)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func eventCopier(t testing.TB, url, instance string, j *journal) *EventCopier {
	c := NewEventCopier(postgresEvents(t, url, instance), j, j, brisk(t))
	t.Cleanup(func() {
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(dead)
	})
	return c
}

// sameEvents tells in which way the copy is not what the journal has.
func sameEvents(t testing.TB, url, instance string, j *journal) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT seq, time, site, name, data FROM eider.event WHERE instance = $1 ORDER BY seq`, instance)
	if err != nil {
		return err.Error()
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Event, err error) {
		var at time.Time
		err = row.Scan(&e.Seq, &at, &e.Site, &e.Name, &e.Data)
		e.Time = at.UnixMicro()
		return e, err
	})
	if err != nil {
		return err.Error()
	}
	want := j.events()
	if len(list) != len(want) {
		return fmt.Sprintf("there are %d events, want %d", len(list), len(want))
	}
	for i, e := range want {
		var a, b any
		if json.Unmarshal(e.Data, &a) != nil || json.Unmarshal(list[i].Data, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) ||
			e.Seq != list[i].Seq || e.Time != list[i].Time || e.Site != list[i].Site || e.Name != list[i].Name {
			return fmt.Sprintf("event %d is %+v", e.Seq, list[i])
		}
	}
	return ""
}

// TestEvents copies events of several months of two instances, as a role that may not
// make tables, through lost answers and connections that break.
func TestEvents(t *testing.T) {
	t.Parallel()
	url := database(t)
	owner := postgres(t, url)
	defer owner.Close()
	if _, err := owner.Mark(t.Context(), "eider/one/1"); err != nil {
		t.Fatal(err)
	}
	name := "events_" + url[strings.Index(url, "@/")+2:strings.Index(url, "?")]
	exec1(t, url, strings.ReplaceAll(`CREATE ROLE copier LOGIN;
		GRANT USAGE ON SCHEMA eider TO copier;
		GRANT SELECT ON eider.schema_version TO copier;
		GRANT SELECT, INSERT ON eider.event TO copier;
		GRANT EXECUTE ON FUNCTION eider.event_month, eider.withdraw_events TO copier`, "copier", name))
	p := newProxy(t, shared.c)
	one, two := newJournal(), newJournal()
	c := eventCopier(t, p.url(strings.Replace(url, "postgres@", name+"@", 1)), "one", one)
	d := eventCopier(t, url, "two", two)
	for i := range 12 {
		one.grow(1 + rand.IntN(1500))
		two.grow(rand.IntN(50))
		switch i % 4 {
		case 1:
			p.set(fault{commit: true})
		case 2:
			p.set(fault{cut: true, after: rand.IntN(50_000), up: true})
		case 3:
			p.cutAll()
			one.erase(Withdrawal{Visitor: "v1"})
		}
		until(t, "withdraw", func() bool { return one.waiting() == 0 })
		until(t, "copy", func() bool { return sameEvents(t, url, "one", one) == "" })
	}
	until(t, "copy the other", func() bool { return sameEvents(t, url, "two", two) == "" })
	if s := c.Stats(); s.Lag > time.Hour {
		t.Errorf("the lag is %v", s.Lag)
	}
	until(t, "lag", func() bool { return c.Stats().LagRows == 0 && d.Stats().LagRows == 0 })
	if s := c.Stats(); s.Errors == 0 || s.Alarm != nil || s.Inserted > one.Newest() {
		t.Errorf("stats are %+v", s)
	}
	rest := 0
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM eider.event_rest) + count(*) FROM eider.event_2026_10 WHERE time < '2026-10-01 00:00+00'`).Scan(&rest); err != nil || rest != 0 {
		t.Errorf("%d events are in no partition of their month, %v", rest, err)
	}
}

// TestEventsErased erases while events are copied, with copiers that end in the middle
// and connections that break: what is erased here is not there in the end, and nothing
// else is missing.
func TestEventsErased(t *testing.T) {
	t.Parallel()
	url, j := database(t), newJournal()
	p := newProxy(t, shared.c)
	start := func() *EventCopier {
		return NewEventCopier(postgresEvents(t, p.url(url), "one"), j, j, brisk(t))
	}
	kill := func(c *EventCopier) {
		dead, cancel := context.WithCancel(context.Background())
		cancel()
		c.Close(dead)
	}
	c := start()
	defer func() { kill(c) }()
	middle := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	for i := range 21 {
		j.grow(1 + rand.IntN(2000))
		w := []Withdrawal{
			{Visitor: "v1"}, {Site: "example.com", User: "u2"}, {Site: "example.org"}, {To: middle}, {From: middle, Visitor: "v3"},
			{Site: "example.com", From: middle - 1e12, To: middle}, {From: -1 << 63, To: 1<<63 - 1, Visitor: "v4"},
		}[i%7]
		j.erase(w)
		switch rand.IntN(5) {
		case 0:
			p.set(fault{commit: true})
		case 1:
			p.cutAll()
		case 2:
			kill(c)
			c = start()
		case 3:
			j.mu.Lock()
			j.deaf = 2
			j.mu.Unlock()
		}
		if i%2 == 1 {
			until(t, "withdraw", func() bool { return j.waiting() == 0 })
			until(t, "copy", func() bool { return sameEvents(t, url, "one", j) == "" })
		}
	}
	// All of it, and then more: the mark goes back and finds nothing that was before.
	j.erase(Withdrawal{From: 1})
	j.grow(10)
	until(t, "withdraw", func() bool { return j.waiting() == 0 })
	until(t, "copy what came after", func() bool { return sameEvents(t, url, "one", j) == "" })
	if s := c.Stats(); s.Alarm != nil {
		t.Errorf("stats are %+v", s)
	}

	// One that copies nothing withdraws all the same.
	kill(c)
	j.erase(Withdrawal{From: 1})
	c = NewEventCopier(postgresEvents(t, url, "one"), nil, j, brisk(t))
	until(t, "withdraw without copying", func() bool { return j.waiting() == 0 && sameEvents(t, url, "one", j) == "" })
	if s := c.Stats(); s.LagRows != 0 {
		t.Errorf("%d events are said to be missing", s.LagRows)
	}
}

// TestEventsWithdrawnLate has a batch that was given up, and whose commit comes yet: a
// withdrawal waits for it, and takes it away.
func TestEventsWithdrawnLate(t *testing.T) {
	t.Parallel()
	url, j := database(t), newJournal()
	j.grow(10)
	p := postgresEvents(t, url, "one")
	defer p.Close()
	if _, err := p.Mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close(context.Background())
	tx, err := lost.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given := postgresEvents(t, url, "one")
	if err := given.alone(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if _, err := given.insert(t.Context(), tx, j.events()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := p.Withdraw(context.Background(), Withdrawal{Upto: 1000, From: 1}, 0)
		done <- err
	}()
	until(t, "wait", func() bool { return waitsForLock(t, url) })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	j.erase(Withdrawal{From: 1})
	if what := sameEvents(t, url, "one", j); what != "" {
		t.Error(what)
	}
}

// waitsForLock says whether somebody waits for an advisory lock of a database.
func waitsForLock(t *testing.T, url string) (waits bool) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	err = conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database())`).Scan(&waits)
	if err != nil {
		t.Fatal(err)
	}
	return waits
}

// TestEventsStretches withdraws from a copy with more numbers than one statement looks
// through.
func TestEventsStretches(t *testing.T) {
	t.Parallel()
	url, j := database(t), newJournal()
	for range 5 {
		j.grow(3)
		j.next += stretch * 2 / 3
	}
	c := eventCopier(t, url, "one", j)
	until(t, "copy", func() bool { return sameEvents(t, url, "one", j) == "" })
	j.erase(Withdrawal{From: 1, To: 1<<63 - 1})
	until(t, "withdraw", func() bool { return j.waiting() == 0 })
	if what := sameEvents(t, url, "one", j); what != "" {
		t.Error(what)
	}
	if s := c.Stats(); s.Errors != 0 || s.Alarm != nil {
		t.Errorf("stats are %+v", s)
	}
}

// TestEventsOlder puts either side back to an older state.
func TestEventsOlder(t *testing.T) {
	t.Parallel()
	url, j := database(t), newJournal()
	j.grow(2500)
	c := eventCopier(t, url, "one", j)
	until(t, "copy", func() bool { return sameEvents(t, url, "one", j) == "" })
	exec1(t, url, `DELETE FROM eider.event WHERE seq > 700`)
	until(t, "copy again", func() bool { return sameEvents(t, url, "one", j) == "" })
	if s := c.Stats(); s.Refilled == 0 || s.Alarm != nil {
		t.Errorf("stats are %+v", s)
	}
	// The ledger is older: its newest are not there any more.
	old := newJournal()
	old.list, old.next = j.list[:2000], j.list[2000].Seq
	d := eventCopier(t, url, "one", old)
	until(t, "alarm", func() bool { return errors.Is(d.Stats().Alarm, ErrAhead) })
	old.erase(Withdrawal{Visitor: "v2"})
	until(t, "withdraw in spite of it", func() bool { return old.waiting() == 0 })
	// Its numbers were given to others before anybody asked.
	old.grow(2000)
	e := eventCopier(t, url, "one", old)
	until(t, "alarm", func() bool { return errors.Is(e.Stats().Alarm, ErrFork) })
}

// TestEventsFork has another event where one of ours is.
func TestEventsFork(t *testing.T) {
	t.Parallel()
	url, j := database(t), newJournal()
	j.grow(10)
	p := postgresEvents(t, url, "one")
	defer p.Close()
	if n, err := p.Put(t.Context(), j.list[:7]); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := p.Put(t.Context(), j.list); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for name, change := range map[string]func(*Event){
		"time": func(e *Event) { e.Time += 40 * 24 * 3600 * 1e6 },
		"data": func(e *Event) { e.Data = []byte(`{}`) },
		"site": func(e *Event) { e.Site = "example.net" },
	} {
		changed := slices.Clone(j.list)
		change(&changed[4])
		var fork *Fork
		if _, err := p.Put(t.Context(), changed); !errors.As(err, &fork) || fork.Seq != changed[4].Seq {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if what := sameEvents(t, url, "one", j); what != "" {
		t.Error(what)
	}
}

// TestEventsOdd copies what PostgreSQL would not take as it is.
func TestEventsOdd(t *testing.T) {
	t.Parallel()
	p := postgresEvents(t, database(t), "one")
	defer p.Close()
	var batch []Event
	for i, s := range odd {
		batch = append(batch, Event{Seq: int64(i + 1), Time: 1, Site: "a\x00b\xff", Name: s, Data: []byte(s)})
	}
	batch[0].Time = time.Date(1850, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	batch[1].Time = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()
	if n, err := p.Put(t.Context(), batch); n != len(odd) || err != nil {
		t.Fatal(n, err)
	}
	if n, err := p.Put(t.Context(), batch); n != 0 || err != nil {
		t.Errorf("a second time: %d, %v", n, err)
	}
	if _, err := p.Put(t.Context(), []Event{{Seq: 100, Data: []byte(`{`)}}); err == nil || !strings.Contains(err.Error(), "event 100") {
		t.Errorf("no JSON: %v", err)
	}
}

// odd are texts of JSON of which jsonb refuses some.
var odd = []string{
	`{"a":"\u0000"}`, `{"a":"x\\u0000"}`, `{"\u0000":"\\\u0000\n"}`, `{"a":"\ud800"}`, `{"a":"\udc00\ud800x"}`, `{"a":"\ud83d\ude00"}`,
	`{"a":"\ud83d\u0041"}`, `{"a":"\uD83D\\uDE00"}`, `{"a":1,"a":2}`, `{"a":1e300}`, `{}`, `{"a":"\"\/\u00e4ä"}`, "{\"a\":\"\xff\"}",
}

// FuzzStorableJSON holds that what is JSON stays JSON, with only such differences as are
// meant.
func FuzzStorableJSON(f *testing.F) {
	for _, s := range odd {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out := storableJSON(data)
		if !json.Valid(data) {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q has become %q", data, out)
		}
		var a, b any
		if json.Unmarshal(data, &a) != nil {
			return // numbers that Go has no room for
		}
		if err := json.Unmarshal(out, &b); err != nil {
			t.Fatalf("%q has become %q: %v", data, out, err)
		}
		// Go itself reads a surrogate that is no pair as U+FFFD, and so each byte that is
		// no UTF-8, of which we make one for many.
		was, is := must(json.Marshal(a)), must(json.Marshal(b))
		if utf8.Valid(data) && !bytes.Contains(was, []byte(`\u0000`)) && !bytes.Equal(was, is) {
			t.Fatalf("%q has become %q", data, out)
		}
		if bytes.Contains(bytes.ReplaceAll(is, []byte(`\\`), nil), []byte(`\u0000`)) {
			t.Fatalf("%q has become %q", data, out)
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
