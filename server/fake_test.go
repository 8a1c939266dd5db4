package server_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/server/tail"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// now is the time in every test: 14:30 in Berlin on a Wednesday.
var now = time.Date(2026, 7, 15, 12, 30, 0, 0, time.UTC)

const (
	bootstrap    = "bootstrap-key-of-the-tests"
	metricsToken = "metrics-token-of-the-tests"
)

// A fake is every part a server needs. A test sets the answers and looks at what
// was asked.
type fake struct {
	mu     sync.Mutex
	client event.Client
	body   string
	query  url.Values
	ndjson bool
	site   string

	result   event.Result
	err      error                 // of everything
	hang     chan struct{}         // if not nil, Event waits for it
	boom     bool                  // Event panics
	imported func(io.Reader) error // runs in Import

	answer   func(event.Query) (*event.Answer, error) // to each Query; nil: nothing is there
	asked    []event.Query
	bounds   [2]int64 // of every site, if not 0
	behaved  behaved
	export   func(io.Writer) (int64, int64, error)
	exported event.ExportQuery
	sql      event.SQLResult
	sqlOpts  event.SQLOptions
	asker    string
	erased   server.Erasure
	parts    []event.Part
	reasons  []string

	users    *doortest.Memory // behind the door
	keys     []ledger.Key
	sites    []ledger.Site
	goals    []ledger.Goal    // of every site
	segments []ledger.Segment // likewise
}

func (f *fake) Event(ctx context.Context, body []byte, c event.Client) (event.Result, error) {
	if f.boom {
		panic("boom")
	}
	if f.hang != nil {
		<-f.hang
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.body, f.client = string(body), c
	return f.result, f.err
}

func (f *fake) Pixel(ctx context.Context, q url.Values, c event.Client) (event.Result, error) {
	f.query, f.client = q, c
	return f.result, f.err
}

func (f *fake) Batch(ctx context.Context, body io.Reader, ndjson bool, c event.Client, site string) (event.Result, error) {
	b, err := io.ReadAll(body)
	if err != nil {
		return event.Result{}, err
	}
	f.body, f.ndjson, f.site = string(b), ndjson, site
	return f.result, f.err
}

func (f *fake) Import(ctx context.Context, site, format string, r io.Reader) (event.ImportReport, error) {
	if f.imported != nil {
		if err := f.imported(r); err != nil {
			return event.ImportReport{}, err
		}
	}
	b, err := io.ReadAll(r)
	f.body, f.site = string(b), site
	if err == nil {
		err = cmp.Or(f.err, ctx.Err())
	}
	return event.ImportReport{Lines: 2, Imported: 1, Skipped: map[string]int64{"status": 1}, From: now.UnixMicro()}, err
}

func (f *fake) Query(_ context.Context, q event.Query) (*event.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if f.err != nil {
		return nil, f.err
	}
	if f.answer != nil {
		return f.answer(q)
	}
	return &event.Answer{Plan: event.PlanRaw, Seq: 7}, nil
}

func (f *fake) Bounds(context.Context, string) (first, last int64, some bool, err error) {
	return f.bounds[0], f.bounds[1], f.bounds[1] != 0, f.err
}

// behaved is what was asked of what visitors do one after the other, and the
// answers.
type behaved struct {
	funnel    event.Funnel
	retention event.Retention
	sequence  event.Sequence
	flow      event.Flow

	funnels    event.FunnelAnswer
	retentions event.RetentionAnswer
	sequences  event.SequenceAnswer
	flows      event.FlowAnswer
}

func (f *fake) Funnel(_ context.Context, q event.Funnel) (*event.FunnelAnswer, error) {
	f.behaved.funnel = q
	a := f.behaved.funnels
	a.Unit, a.Plan = q.Unit, event.PlanRaw
	return &a, f.err
}

func (f *fake) Retention(_ context.Context, q event.Retention) (*event.RetentionAnswer, error) {
	f.behaved.retention = q
	a := f.behaved.retentions
	a.Unit, a.Plan = q.Unit, event.PlanBoth
	return &a, f.err
}

func (f *fake) Sequence(_ context.Context, q event.Sequence) (*event.SequenceAnswer, error) {
	f.behaved.sequence = q
	a := f.behaved.sequences
	a.Unit, a.Plan = q.Unit, event.PlanRaw
	return &a, f.err
}

func (f *fake) Flow(_ context.Context, q event.Flow) (*event.FlowAnswer, error) {
	f.behaved.flow = q
	a := f.behaved.flows
	a.Unit, a.Plan = q.Unit, event.PlanRaw
	return &a, f.err
}

func (f *fake) Export(ctx context.Context, w io.Writer, q event.ExportQuery) (int64, int64, error) {
	f.exported = q
	if f.export == nil {
		return 0, 0, f.err
	}
	return f.export(w)
}

func (f *fake) SQL(ctx context.Context, query string, o event.SQLOptions) (event.SQLResult, error) {
	f.body, f.sqlOpts, f.asker = query, o, event.Asker(ctx)
	return f.sql, f.err
}

func (f *fake) Erase(ctx context.Context, e server.Erasure) (int64, error) {
	f.erased = e
	return 7, f.err
}

func (f *fake) Parts(context.Context) ([]event.Part, int64, error) { return f.parts, 99, nil }

func (f *fake) VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error) {
	progress(1, 2)
	return f.parts, f.err
}

func (f *fake) Maintain(ctx context.Context, task string) (int, error) { return 3, f.err }

func (f *fake) Reasons(context.Context) []string { return f.reasons }

func (f *fake) Details(context.Context) map[string]any { return map[string]any{"durable_seq": 12} }

func (f *fake) Keys(context.Context) ([]ledger.Key, error) { return slices.Clone(f.keys), nil }

func (f *fake) AddKey(_ context.Context, k ledger.Key) error {
	f.keys = append(f.keys, k)
	return nil
}

func (f *fake) RevokeKey(_ context.Context, id string, at int64) error {
	for i := range f.keys {
		if f.keys[i].ID == id {
			f.keys[i].Revoked = at
			return nil
		}
	}
	return ledger.ErrNotFound
}

func (f *fake) TouchKeys(_ context.Context, used map[string]int64) error {
	if f.err != nil {
		return f.err
	}
	for i := range f.keys {
		f.keys[i].LastUsed = max(f.keys[i].LastUsed, used[f.keys[i].ID])
	}
	return nil
}

func (f *fake) Sites(context.Context) ([]ledger.Site, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sites), nil
}

func (f *fake) AddSite(_ context.Context, s ledger.Site) error {
	for _, old := range f.sites {
		if old.Domain == s.Domain {
			return ledger.ErrExists
		}
	}
	f.sites = append(f.sites, s)
	return nil
}

func (f *fake) RemoveSite(_ context.Context, domain string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.sites)
	f.sites = slices.DeleteFunc(f.sites, func(s ledger.Site) bool { return s.Domain == domain })
	if len(f.sites) == n {
		return ledger.ErrNotFound
	}
	return nil
}

func (f *fake) Goals(context.Context, string) ([]ledger.Goal, error) { return f.goals, f.err }

func (f *fake) AddGoal(_ context.Context, g ledger.Goal) (ledger.Goal, error) { return g, f.err }

func (f *fake) ChangeGoal(_ context.Context, site string, id int64, change func(*ledger.Goal) error) (ledger.Goal, error) {
	g := ledger.Goal{ID: id, Site: site, Kind: "page"}
	return g, change(&g)
}

func (f *fake) RemoveGoal(context.Context, string, int64) error { return f.err }

func (f *fake) Segments(context.Context, string) ([]ledger.Segment, error) { return f.segments, f.err }

func (f *fake) AddSegment(_ context.Context, s ledger.Segment) (ledger.Segment, error) {
	return s, f.err
}

func (f *fake) ChangeSegment(_ context.Context, site string, id int64, change func(*ledger.Segment) error) (ledger.Segment, error) {
	s := ledger.Segment{ID: id, Site: site, Filters: []byte("[]")}
	return s, change(&s)
}

func (f *fake) RemoveSegment(context.Context, string, int64) error { return f.err }

func (f *fake) Annotations(context.Context, string) ([]ledger.Annotation, error) { return nil, f.err }

func (f *fake) AddAnnotation(_ context.Context, a ledger.Annotation) (ledger.Annotation, error) {
	return a, f.err
}

func (f *fake) ChangeAnnotation(_ context.Context, site string, id int64, change func(*ledger.Annotation) error) (ledger.Annotation, error) {
	a := ledger.Annotation{ID: id, Site: site}
	return a, change(&a)
}

func (f *fake) RemoveAnnotation(context.Context, string, int64) error { return f.err }

func (f *fake) SiteSettings(_ context.Context, domain string) (ledger.SiteSettings, error) {
	return ledger.SiteSettings{Domain: domain, Timezone: "UTC"}, f.err
}

func (f *fake) ChangeSettings(_ context.Context, domain string, change func(*ledger.SiteSettings) error) (ledger.SiteSettings, error) {
	s := ledger.SiteSettings{Domain: domain, Timezone: "UTC"}
	return s, change(&s)
}

func (f *fake) ZoneChanges(context.Context, string) ([]ledger.ZoneChange, error) { return nil, f.err }

// key adds a key and returns it.
func (f *fake) key(t *testing.T, site string, expires int64, scopes ...string) string {
	t.Helper()
	k, secret, err := ledger.NewKey("test", scopes, site, expires)
	if err != nil {
		t.Fatal(err)
	}
	f.keys = append(f.keys, k)
	return secret
}

// A rig is a server with a fake of everything.
type rig struct {
	door *door.Door
	*fake
	t     testing.TB
	chain *fakeChain
	srv   *server.Server
	tap   *tail.Tap
	seq   *atomic.Int64 // the last event that was made durable
	log   *bytes.Buffer // guarded by logMu
	mu    *sync.Mutex
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func newRig(t testing.TB, change ...func(*server.Options)) *rig {
	t.Helper()
	return rigOf(t, &fake{sites: []ledger.Site{{Domain: "example.com", Timezone: "Europe/Berlin"}, {Domain: "other.com", Timezone: "UTC"}}}, change...)
}

func rigOf(t testing.TB, f *fake, change ...func(*server.Options)) *rig {
	t.Helper()
	r := &rig{fake: f, t: t, chain: newFakeChain(), log: &bytes.Buffer{}, mu: &sync.Mutex{}, seq: &atomic.Int64{}}
	r.tap = tail.New(tail.Options{Durable: r.seq.Load})
	t.Cleanup(func() { _ = r.tap.Close() })
	o := server.Options{
		Version: "1.2.3",
		Log:     slog.New(slog.NewJSONHandler(lockedWriter{r.mu, r.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:     func() time.Time { return now },
		Metrics: server.NewMetrics("1.2.3"),
		Ingest:  f, Importer: f, Reports: f, Exporter: f, Queryer: f, Eraser: f, History: f, Keys: f, Sites: f, Health: f,
		Settings: f, Goals: f, Segments: f, Annotations: f, Questions: &fakeQuestions{},
		Acts: r.chain, Trail: r.chain, Custody: r.chain,
		Assets: fstest.MapFS{
			"index.html": {Data: []byte("<!doctype html><title>Eider</title>")},
			"js/app.js":  {Data: []byte(strings.Repeat("// code\n", 500))},
			"embed.go":   {Data: []byte("package web")},
		},
		Tracker: os.DirFS("../web"),
		Tail:    r.tap,
		APIKey:  bootstrap,
	}
	for _, c := range change {
		c(&o)
	}
	if o.Door == nil {
		var err error
		if r.users == nil {
			r.users = doortest.New()
		}
		o.Door, err = door.Open(t.Context(), r.users, door.Options{Secret: make([]byte, 32), Now: o.Now, Hash: quickHash})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.door = o.Door
	srv, err := server.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	return r
}

func (r *rig) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// do makes a request from 203.0.113.9 with the bootstrap key. A header is "Name:
// value"; "-" as the first leaves the key out.
func (r *rig) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	req.RemoteAddr = "203.0.113.9:4242"
	if len(header) > 0 && header[0] == "-" {
		header = header[1:]
	} else {
		req.Header.Set("Authorization", "Bearer "+bootstrap)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return r.serve(req)
}

func (r *rig) serve(req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.srv.Handler().ServeHTTP(w, req)
	r.held(req, w)
	return w
}

// want checks the status and, for an error, its code.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if code == "" {
		return
	}
	var e struct {
		Error, Code string
		RequestID   string `json:"request_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if e.Code != code || e.Error == "" || e.RequestID != w.Header().Get("X-Request-Id") {
		t.Fatalf("got %+v, want code %s and request id %s", e, code, w.Header().Get("X-Request-Id"))
	}
}

// into decodes the body of an answer.
func into[T any](t *testing.T, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// quickHash takes no time, and hides nothing.
func quickHash(password, salt []byte, _, _ uint32, _ uint8, keyLen uint32) []byte {
	sum := sha256.Sum256(append(slices.Clone(salt), password...))
	return sum[:keyLen]
}
