package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
)

// BenchmarkFlush measures what it costs until a batch is in every report.
func BenchmarkFlush(b *testing.B) {
	for _, n := range []int{1, 64, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b, func(o *store.Options) { o.MemoryLimit = 1 << 30 }) // nothing is published here: it must not spill
			batch := some(rand.New(rand.NewPCG(1, 2)), n, 2)
			seq := int64(0)
			for b.Loop() {
				for i := range batch {
					seq++
					batch[i].Seq = seq
				}
				if err := r.store.Flush(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
		})
	}
}

// BenchmarkManyParts opens a store with 1,000 parts and counts what is in them.
func BenchmarkManyParts(b *testing.B) {
	r := newRig(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	for d := range 10 {
		var events []event.Event
		for i := range 1000 {
			e := some(rnd, 1, 1)[0]
			e.Time = noon - int64(i%100)*day - int64(d)
			events = append(events, e)
		}
		r.append(events...)
		r.flush(len(events))
		r.publish()
	}
	if n := len(r.files()); n != 1000 {
		b.Fatalf("%d parts, want 1000", n)
	}
	r.close()
	began := time.Now()
	r.open()
	opened := time.Since(began)
	sn := r.store.Snapshot()
	defer sn.Release()
	for b.Loop() {
		if n, err := count(b, r.store, sn); err != nil || n != 10_000 {
			b.Fatalf("counted %d: %v", n, err)
		}
	}
	b.ReportMetric(float64(opened.Milliseconds()), "ms-to-open")
}

// BenchmarkPublish measures the way from the journal to Parquet.
func BenchmarkPublish(b *testing.B) {
	const n = 4096
	rnd := rand.New(rand.NewPCG(1, 2))
	r := newRig(b, func(o *store.Options) { o.PublishRows = 1 << 20 })
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		r.append(some(rnd, n, 1)...)
		r.flush(n)
		b.StartTimer()
		took += r.publish().Elapsed
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N*n), "µs/event")
}
