package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/answer"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An asker is a store with events, and questions put to it by way of a desk that
// keeps answers for an hour.
type asker struct {
	*questions
	t      *testing.T
	ledger *ledger.Ledger
	last   int64
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	l, err := ledger.Open(t.Context(), filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Ledger: l, MemoryLimit: 64 << 20, Threads: 2, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	desk := answer.New(answer.Options{Places: 4, Bytes: 8 << 20, TTL: time.Hour})
	return &asker{questions: &questions{s, desk, server.NewMetrics("test"), 1 << 20}, t: t, ledger: l}
}

// add makes events durable and flushes them, as ingest does.
func (a *asker) add(events ...event.Event) {
	a.t.Helper()
	g := ledger.Group{First: a.last + 1, Count: len(events), Received: events[0].Time}
	for i := range events {
		a.last++
		events[i].Seq = a.last
		g.IDs = append(g.IDs, append(binary.BigEndian.AppendUint64(nil, uint64(a.last)*0x9e3779b97f4a7c15), make([]byte, 16)...)...)
	}
	g.Last, g.Payload = a.last, event.Encode(nil, events)
	if err := a.ledger.Append(g); err != nil {
		a.t.Fatal(err)
	}
	if err := a.store.Flush(a.t.Context(), events); err != nil {
		a.t.Fatal(err)
	}
}

const someDay = int64(1_773_100_800_000_000) // 2026-03-10T00:00:00Z

// visiting returns an event of a visit that began some hours after someDay.
func visiting(rnd *rand.Rand) event.Event {
	visit := 1 + rnd.Int64N(30)
	start := someDay + (visit*7-100)*hour
	return event.Event{
		Site: []string{"a.example", "b.example"}[visit%2], Time: start - hour + rnd.Int64N(25*hour), Received: start,
		Name: event.Pageview, Interactive: true, Scroll: event.NoScroll, Visitor: event.ID{byte(visit)}, Visit: visit, VisitStart: start,
		Hostname: "h", Path: fmt.Sprintf("/%d", rnd.IntN(4)), EntryPath: "/0",
	}
}

// TestKeptAnswersAreRight asks random questions again and again, by way of the
// desk and past it, while events come, late ones too, and are published. What was
// kept must always be what the store would answer now.
func TestKeptAnswersAreRight(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	a := newAsker(t)
	is := func(d event.Dimension, v string) event.Filter {
		return event.Filter{Op: event.Is, Dimension: d, Values: []string{v}}
	}
	var asked []event.Query
	for _, dims := range [][]event.Dimension{nil, {"path"}, {event.ExitPath}, {event.Daytime}, {"entry_path"}} {
		for _, f := range []event.Filter{{}, is("path", "/1"), is(event.ExitPath, "/2"), {Op: event.HasDone, Of: []event.Filter{is("path", "/3")}}} {
			from := someDay + (rnd.Int64N(10)-5)*24*hour
			asked = append(asked, event.Query{
				Site: "a.example", From: from, To: from + (1+rnd.Int64N(3))*24*hour, Dimensions: dims, Filter: f,
				Metrics: []event.Metric{event.Visitors, event.Visits, event.Pageviews, event.BounceRate, event.VisitDuration},
			})
		}
	}
	funnel := event.Funnel{Window: 20 * time.Hour, Steps: []event.Step{{Filter: is("path", "/1")}, {Filter: is("path", "/2")}}}
	funnel.Site, funnel.From, funnel.To = "a.example", someDay, someDay+48*hour
	for range 25 {
		var batch []event.Event
		for range 1 + rnd.IntN(3) {
			batch = append(batch, visiting(rnd))
		}
		a.add(batch...)
		if rnd.IntN(5) == 0 {
			if _, err := a.store.Publish(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 {
			ask := asked[rnd.IntN(len(asked))]
			got, err := a.Query(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			want, err := a.store.Query(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(event.Answer{}, "Plan"), cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d: %+v: want -, kept +:\n%s", seed, ask, diff)
			}
		}
		got, err := a.Funnel(t.Context(), funnel)
		if err != nil {
			t.Fatal(err)
		}
		want, err := a.store.Funnel(t.Context(), funnel)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Steps, got.Steps); diff != "" {
			t.Fatalf("seed %d: funnel: want -, kept +:\n%s", seed, diff)
		}
	}
	if s := a.desk.Stats(); s.Hits < 20 || s.Misses < 20 {
		t.Errorf("%+v: too little was kept, or asked anew", s)
	}
}

// TestDurableEventsAreAnswered: what has been flushed is in the next answer, and
// what cannot matter leaves the kept one where it is.
func TestDurableEventsAreAnswered(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	at := func(site string, time int64) event.Event {
		return event.Event{Site: site, Time: time, Received: time, Name: event.Pageview, Scroll: event.NoScroll, Path: "/"}
	}
	ask := event.Query{Site: "a.example", From: someDay, To: someDay + 24*hour, Metrics: []event.Metric{event.Pageviews}}
	for i, step := range []struct {
		add  event.Event
		want int64
		hits int64
	}{
		{at("a.example", someDay), 1, 0},
		{at("a.example", someDay+24*hour-1), 2, 0},
		{at("b.example", someDay), 2, 1},
		{at("a.example", someDay+30*24*hour), 2, 2},
		{at("a.example", someDay+1), 3, 2},
	} {
		a.add(step.add)
		got, err := a.Query(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if n := got.Lines[0].Figures[0].Int; n != step.want || got.Seq != a.last || a.desk.Stats().Hits != step.hits {
			t.Errorf("step %d: %d pageviews up to %d, %d hits; want %d, %d, %d", i, n, got.Seq, a.desk.Stats().Hits, step.want, a.last, step.hits)
		}
	}
}

// TestGoneAskers: a client that goes away ends what was run for it, in DuckDB
// too, and leaves its place.
func TestGoneAskers(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := a.SQL(ctx, `SELECT sum(hash(x, y, z)) FROM range(1000000) a(x), range(1000000) b(y), range(1000000) c(z)`, event.SQLOptions{})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if s := a.desk.Stats(); s.Running != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	if err := a.store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestKindsOfQueries: the kinds label a metric.
func TestKindsOfQueries(t *testing.T) {
	t.Parallel()
	for dims, want := range map[string]string{"": "aggregate", "path": "breakdown", "time:day": "timeseries", "path,time:month": "timeseries"} {
		var q event.Query
		for d := range strings.SplitSeq(dims, ",") {
			if d != "" {
				q.Dimensions = append(q.Dimensions, event.Dimension(d))
			}
		}
		if got := kindOf(q); got != want {
			t.Errorf("%q is counted as %s, want %s", dims, got, want)
		}
	}
}
