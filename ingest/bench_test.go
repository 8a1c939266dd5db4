package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// batchSize is how many events the benchmarks send at once.
const batchSize = 1000

// A batches makes the bodies of POST /api/events. All have the same length and
// the same events but for their ids, so that none is a retry of another, and
// making the next one costs next to nothing.
type batches struct {
	body []byte
	ids  []int // where in body an id begins
	n    int
}

// newBatches makes what a site's server sends of its visitors: 500 pages, 40
// sources and 120 browsers, some much more often than others, visits of a few
// pages, one event in twenty with properties and revenue.
func newBatches(ndjson bool) *batches {
	r := rand.New(rand.NewPCG(1, 2))
	pages, sources, versions := rand.NewZipf(r, 1.2, 3, 499), rand.NewZipf(r, 1.3, 2, 39), rand.NewZipf(r, 1.2, 3, 29)
	agents := []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1%02d.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E1%02d Safari/604.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1%02d.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (X11; Linux x86_64; rv:1%[1]02d.0) Gecko/20100101 Firefox/1%02[1]d.0",
	}
	b := &batches{}
	var addr, agent, source string
	for i := range batchSize {
		if i%5 == 0 {
			addr = fmt.Sprintf("%d.%d.%d.%d", 1+r.IntN(220), r.IntN(256), r.IntN(256), r.IntN(256))
			agent = fmt.Sprintf(agents[r.IntN(len(agents))], versions.Uint64())
			source = ""
			if n := sources.Uint64(); n > 3 {
				source = fmt.Sprintf("https://source-%d.example.net/", n)
			}
		}
		page := pages.Uint64()
		e := map[string]any{
			"name": "pageview", "domain": "example.com", "url": fmt.Sprintf("https://www.example.com/docs/section-%d/page-number-%d", page%17, page),
			"id": "00000000-0000-4000-8000-000000000000", "ip": addr, "user_agent": agent,
		}
		if source != "" {
			e["referrer"] = source
		}
		if r.IntN(20) == 0 {
			e["name"] = "Signup"
			e["props"] = map[string]string{"method": "mail", "plan": fmt.Sprintf("p%d", r.IntN(5))}
			e["revenue"] = map[string]string{"currency": "EUR", "amount": fmt.Sprintf("%d.90", r.IntN(50))}
		}
		text, _ := json.Marshal(e)
		if i > 0 && !ndjson {
			b.body = append(b.body, ',')
		}
		b.ids = append(b.ids, len(b.body)+bytes.Index(text, []byte("00000000-")))
		b.body = append(b.body, text...)
		if ndjson {
			b.body = append(b.body, '\n')
		}
	}
	if !ndjson {
		b.body = append(append([]byte{'['}, b.body...), ']')
		for i := range b.ids {
			b.ids[i]++
		}
	}
	return b
}

// next returns a body whose ids were never used. It is valid until the next one.
func (b *batches) next() []byte {
	for _, at := range b.ids {
		b.n++
		var digits [8]byte
		d := strconv.AppendInt(digits[:0], int64(b.n), 16)
		copy(b.body[at+8-len(d):], d)
	}
	return b.body
}

// blind is a lens that shows nothing: what is left is the way to the journal.
type blind struct{}

func (blind) Flush(context.Context, []event.Event) error { return nil }
func (blind) OpenVisits(context.Context, int64, int, func(*event.Event) error) error {
	return nil
}
func (blind) KnownIDs(context.Context, string, event.Day, event.Day, []event.ID) (map[event.ID]bool, error) {
	return nil, nil
}

// benchIngest returns an ingest on a ledger of its own, and if it shows its
// events, on a store.
func benchIngest(b *testing.B, shows bool) *ingest.Ingest {
	b.Helper()
	dir, log := b.TempDir(), slog.New(slog.DiscardHandler)
	l, err := ledger.Open(b.Context(), filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{Log: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	o := ingest.Options{Ledger: l, Lens: blind{}, Secret: []byte("secret"), Log: log, AutoSites: true, FilterBots: true, RespectGPC: true}
	if shows {
		s, err := store.Open(b.Context(), store.Options{Dir: dir, Ledger: l, Log: log, MemoryLimit: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		o.Lens = s
	}
	if o.Places, err = enrich.OpenPlaces("", enrich.PrecisionCity, log); err != nil {
		b.Fatal(err)
	}
	in, err := ingest.New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close() })
	return in
}

// BenchmarkBatch takes batches in as one client sends them, one after the other.
// decode is what the others are measured by: the same bytes into the same struct,
// and nothing else. durable is the way to the journal; shown goes on into the
// reports, and waits for them at the end.
func BenchmarkBatch(b *testing.B) {
	for _, ndjson := range []bool{true, false} {
		form := map[bool]string{true: "ndjson", false: "array"}[ndjson]
		b.Run(form+"/decode", func(b *testing.B) {
			all := newBatches(ndjson)
			defer perEvent(b, processor(b))
			for b.Loop() {
				if err := ingest.DecodeOnly(all.next(), ndjson); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(form+"/durable", func(b *testing.B) { benchBatch(b, ndjson, false) })
		b.Run(form+"/shown", func(b *testing.B) { benchBatch(b, ndjson, true) })
	}
}

func benchBatch(b *testing.B, ndjson, shows bool) {
	in := benchIngest(b, shows)
	all := newBatches(ndjson)
	defer perEvent(b, processor(b))
	for b.Loop() {
		send(b, in, all.next(), ndjson)
	}
	if err := in.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// send takes one body in, and waits where a client would: when it is told to.
func send(b *testing.B, in *ingest.Ingest, body []byte, ndjson bool) {
	for {
		res, err := in.Batch(b.Context(), bytes.NewReader(body), ndjson, event.Client{}, "")
		if err == event.ErrFull {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil || res.Accepted != batchSize {
			b.Fatalf("%d of %d accepted: %v %v", res.Accepted, batchSize, err, res.Rejected)
		}
		return
	}
}

// perEvent reports what an event has taken of time, and of all processors
// together, since the process had used so much of them.
func perEvent(b *testing.B, before time.Duration) {
	n := float64(b.N * batchSize)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/event")
	b.ReportMetric(float64((processor(b)-before).Nanoseconds())/n, "cpu-ns/event")
}

// processor returns the processor time that the process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEvent takes the body of a single event in, as a page sends it, from as
// many requests at once as there are connections.
func BenchmarkEvent(b *testing.B) {
	in := benchIngest(b, false)
	c := event.Client{UserAgent: firefox}
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		body := []byte(page)
		for pb.Next() {
			if _, err := in.Event(b.Context(), body, c); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
