package sink

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eider-analytics/eider/store/audit"
)

// remembered are marks in memory, which can be made to fail.
type remembered struct {
	mu    sync.Mutex
	marks map[string]int64
	fail  error
}

func (r *remembered) Get(_ context.Context, name string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.marks[name], r.fail
}

func (r *remembered) Set(_ context.Context, name string, next int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail == nil {
		if r.marks == nil {
			r.marks = make(map[string]int64)
		}
		r.marks[name] = next
	}
	return r.fail
}

// leaves returns the leaves of lines, and how many checkpoints there are among them.
func leaves(t *testing.T, lines []byte) (list []string, notes int) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n") {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if v["checkpoint"] != nil {
			notes++
			continue
		}
		list = append(list, line)
	}
	return list, notes
}

func (l *ledger) leaves(from int) (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rows[from:] {
		list = append(list, string(r.Leaf))
	}
	return list
}

// TestLines has a checkpoint stand behind the last entry that it signs.
func TestLines(t *testing.T) {
	t.Parallel()
	l := newLedger("one")
	l.grow(2)
	l.grow(1)
	l.prune(1)
	got := strings.Split(string(Lines(l.rows[1:], l.notes)), "\n")
	want := []string{"checkpoint", "v", "v", "checkpoint", "v", "checkpoint"}
	for i, field := range want {
		if i >= len(got) || !strings.Contains(got[i], `"`+field+`":`) {
			t.Fatalf("line %d has no %s: %q", i, field, got)
		}
	}
	var pruned struct{ Pruned struct{ Seq, Link string } }
	line := Lines(l.rows[:1], nil)
	if err := json.Unmarshal(line, &pruned); err != nil || pruned.Pruned.Seq != "0" || len(pruned.Pruned.Link) != 43 {
		t.Errorf("a pruned entry is %s, %v", line, err)
	}
	var note map[string]string
	if err := json.Unmarshal([]byte(got[0]), &note); err != nil || note["checkpoint"] != string(l.notes[0].Note) {
		t.Errorf("a checkpoint is %q, %v", got[0], err)
	}
}

// flaky is a writer that fails now and then, having written nothing.
type flaky struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (f *flaky) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if rand.IntN(2) == 0 {
		return 0, errors.New("the pipe is full")
	}
	return f.bytes.Write(p)
}

func (f *flaky) text() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bytes.Bytes())
}

// TestNDJSON writes what is new, once, through a writer that fails.
func TestNDJSON(t *testing.T) {
	t.Parallel()
	l, w := newLedger("one"), &flaky{}
	l.grow(9)
	c := copier(t, NewNDJSON(w, "eider/one/1", 10), l, brisk(t))
	for range 10 {
		l.grow(30)
	}
	until(t, "write", func() bool { return c.Stats().LagRows == 0 })
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, notes := leaves(t, w.text())
	if !slices.Equal(got, l.leaves(10)) || notes == 0 {
		t.Errorf("%d entries and %d checkpoints were written, want %d", len(got), notes, len(l.leaves(10)))
	}
}

// A receiver is the other side of a webhook: it keeps each entry once, as the
// documentation has it, and checks what is signed.
type receiver struct {
	secret string
	now    func() time.Time

	mu     sync.Mutex
	leaves map[int64]string
	twice  int
	bad    []string
	lose   bool // take the next batch, and answer nothing
	answer int  // to refuse with
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	at, _ := strconv.ParseInt(req.Header.Get("X-Eider-Timestamp"), 10, 64)
	given, _ := hex.DecodeString(strings.TrimPrefix(req.Header.Get("X-Eider-Signature"), "sha256="))
	want := webhookMAC([]byte(r.secret), req.Header.Get("X-Eider-Timestamp"), req.Header.Get("X-Eider-Origin"), body)
	switch {
	case err != nil || !hmac.Equal(given, want):
		r.bad = append(r.bad, "signature")
		w.WriteHeader(401)
		return
	case r.now().Unix()-at > 300:
		r.bad = append(r.bad, "old")
		w.WriteHeader(401)
		return
	case r.answer != 0:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(r.answer)
		return
	}
	r.take(req, body)
	if r.lose {
		r.lose = false
		panic(http.ErrAbortHandler)
	}
}

func (r *receiver) take(req *http.Request, body []byte) {
	seq, _ := strconv.ParseInt(req.Header.Get("X-Eider-First"), 10, 64)
	for _, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		if strings.HasPrefix(line, `{"checkpoint"`) {
			continue
		}
		if _, ok := r.leaves[seq]; ok {
			r.twice++
		}
		r.leaves[seq] = line
		seq++
	}
}

func (r *receiver) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *receiver) doubles() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.twice
}

func (r *receiver) all() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(r.leaves)) {
		list = append(list, r.leaves[seq])
	}
	return list
}

// TestWebhook posts through refusals, redirects and lost answers.
func TestWebhook(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery"
	l, marks := newLedger("one"), &remembered{}
	r := &receiver{secret: secret, leaves: make(map[int64]string), now: time.Now}
	server := httptest.NewServer(r)
	defer server.Close()
	open := func() *Webhook {
		w, err := NewWebhook(WebhookOptions{URL: server.URL + "/hook?token=geheim", Secret: secret, Marks: marks})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	l.grow(1500)
	c := copier(t, open(), l, brisk(t))
	until(t, "post", func() bool { return slices.Equal(r.all(), l.leaves(0)) && c.Stats().LagRows == 0 })
	for _, code := range []int{500, 302, 429, 100 + 204} {
		r.set(func() { r.answer = code })
		before := c.Stats().Errors
		l.grow(3)
		until(t, "refusal", func() bool { return c.Stats().Errors > before })
		r.set(func() { r.answer = 0 })
		until(t, "post again", func() bool { return slices.Equal(r.all(), l.leaves(0)) && c.Stats().LagRows == 0 })
	}
	if n := r.doubles(); n != 0 {
		t.Errorf("%d entries came twice though nothing was lost", n)
	}
	r.set(func() { r.lose = true })
	l.grow(5)
	until(t, "post after a lost answer", func() bool { return slices.Equal(r.all(), l.leaves(0)) && c.Stats().LagRows == 0 })
	if n := r.doubles(); n != 5 {
		t.Errorf("%d entries came twice after the answer of 5 was lost", n)
	}

	// Another process goes on where the marks say.
	c.Close(t.Context())
	c = copier(t, open(), l, brisk(t))
	until(t, "ask", func() bool { return c.Stats().LagRows == 0 })
	l.grow(1)
	until(t, "post the last", func() bool { return slices.Equal(r.all(), l.leaves(0)) })
	if s := c.Stats(); s.Attempted != 1 {
		t.Errorf("the second copier has attempted %d", s.Attempted)
	}
	r.set(func() {
		if len(r.bad) > 0 {
			t.Errorf("refused for %v", r.bad)
		}
	})
}

// TestWebhookRefused shows what a receiver refuses, and what errors keep to themselves.
func TestWebhookRefused(t *testing.T) {
	t.Parallel()
	l := newLedger("one")
	now := time.Now()
	r := &receiver{secret: "the right secret of it", leaves: make(map[int64]string), now: func() time.Time { return now }}
	server := httptest.NewServer(r)
	put := func(secret string, at time.Time) error {
		w, err := NewWebhook(WebhookOptions{URL: server.URL + "?token=geheim", Secret: secret, Marks: &remembered{}, Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		_, err = w.Put(t.Context(), "eider/one/1", l.rows, nil)
		return err
	}
	if err := put("the wrong secret of it", now); err == nil || !slices.Equal(r.bad, []string{"signature"}) {
		t.Errorf("another secret: %v, %v", err, r.bad)
	}
	if err := put(r.secret, now.Add(-time.Hour)); err == nil || !slices.Equal(r.bad, []string{"signature", "old"}) {
		t.Errorf("an hour ago: %v, %v", err, r.bad)
	}
	if err := put(r.secret, now); err != nil {
		t.Error(err)
	}
	server.Close()
	if err := put(r.secret, now); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("nobody there: %v", err)
	}
	for _, o := range []WebhookOptions{{URL: "ftp://geheim", Secret: r.secret}, {URL: "https://h/geheim", Secret: "geheim"}, {URL: "geheim\x00", Secret: r.secret}} {
		if _, err := NewWebhook(o); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", o.URL, err)
		}
	}
}

// TestKafka produces to kfake, a broker in the process of the test: it stands for the
// protocol, not for a broker that is really there.
func TestKafka(t *testing.T) {
	t.Parallel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "audit"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	l, marks := newLedger("one"), &remembered{}
	open := func() *Kafka {
		k, err := NewKafka(KafkaOptions{Brokers: broker.ListenAddrs(), Topic: "audit", Marks: marks})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	l.grow(1200)
	c := copier(t, open(), l, brisk(t))
	until(t, "produce", func() bool { return c.Stats().LagRows == 0 })

	// The broker refuses for a while.
	refuse := true
	var mu sync.Mutex
	refused := 0
	broker.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		mu.Lock()
		defer mu.Unlock()
		if !refuse {
			return nil, nil, false
		}
		broker.KeepControl()
		refused++
		answer := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			a := kmsg.NewProduceResponseTopic()
			a.Topic, a.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				b := kmsg.NewProduceResponseTopicPartition()
				b.Partition, b.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				a.Partitions = append(a.Partitions, b)
			}
			answer.Topics = append(answer.Topics, a)
		}
		return answer, nil, true
	})
	l.grow(10)
	until(t, "refusal", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return refused > 0 && c.Stats().Errors > 0
	})
	mu.Lock()
	refuse = false
	mu.Unlock()
	until(t, "produce again", func() bool { return c.Stats().LagRows == 0 })
	c.Close(t.Context())

	c = copier(t, open(), l, brisk(t))
	until(t, "ask", func() bool { return c.Stats().LagRows == 0 })
	l.grow(1)
	until(t, "produce the last", func() bool { return c.Stats().LagRows == 0 && c.Stats().Attempted == 1 })
	consumed(t, broker.ListenAddrs(), l)
}

// consumed reads the topic until it has every entry, and compares.
func consumed(t *testing.T, brokers []string, l *ledger) {
	t.Helper()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("audit"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	want := l.leaves(0)
	var got []string
	partitions := make(map[int32]bool)
	for len(got) < len(want) {
		fetches := consumer.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			partitions[r.Partition] = true
			h := make(map[string]string)
			for _, header := range r.Headers {
				h[header.Key] = string(header.Value)
			}
			if string(r.Key) != "eider/one/1" || h["origin"] != string(r.Key) {
				t.Fatalf("record has the key %s and the headers %v", r.Key, h)
			}
			if h["checkpoint"] != "" {
				return
			}
			link := l.rows[len(got)].Link()
			if h["seq"] != strconv.Itoa(len(got)) || h["link"] != hex.EncodeToString(link[:]) {
				t.Fatalf("record %d has the headers %v", len(got), h)
			}
			got = append(got, string(r.Value))
		})
	}
	if !slices.Equal(got, want) || len(partitions) != 1 {
		t.Errorf("%d entries in %d partitions, want %d in one", len(got), len(partitions), len(want))
	}
}

// TestMarksFail has a copier stop short of what is not remembered.
func TestMarksFail(t *testing.T) {
	t.Parallel()
	l, marks := newLedger("one"), &remembered{fail: errors.New("the ledger is busy")}
	r := &receiver{secret: "the right secret of it", leaves: make(map[int64]string), now: time.Now}
	server := httptest.NewServer(r)
	defer server.Close()
	w, err := NewWebhook(WebhookOptions{URL: server.URL, Secret: r.secret, Marks: marks})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Put(t.Context(), "eider/one/1", l.rows, nil); !errors.Is(err, marks.fail) {
		t.Errorf("taken though nobody remembers: %v", err)
	}
	var _ Sink = w
	var _ = []Sink{&Kafka{}, &NDJSON{}, &Postgres{}}
	var _ audit.Log = &PostgresLog{}
}
