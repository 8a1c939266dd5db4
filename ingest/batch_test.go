package ingest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestBatchMemory: what a body of very many items takes has nothing to do with how
// many there are. It runs alone: the whole process is measured.
func TestBatchMemory(t *testing.T) {
	r := newRig(t, nil)
	for name, body := range map[string]string{
		"array": "[" + strings.Repeat("{},", 3<<20) + "{}]",
		"lines": strings.Repeat("{}\n", 3<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := r.Batch(t.Context(), strings.NewReader(body), name == "lines", event.Client{}, "")
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > uint64(10*len(body)) { // most of it a buffer that grows
			t.Errorf("%s: refused with %v after %d MiB, want at most ten times the body's %d", name, err, took>>20, len(body)>>20)
		}
	}
}

// TestBatchOrder: however many goroutines a batch is shared by, its events and its
// rejections are in its own order.
func TestBatchOrder(t *testing.T) {
	t.Parallel()
	const items = 2000
	for _, form := range []struct{ begin, between, end string }{{"[", ",", "]"}, {"", "\n", "\n"}} {
		r := newRig(t, nil)
		var list []string
		var wrong []int
		for i := range items {
			switch {
			case i%7 == 3:
				list, wrong = append(list, `{"n":1,"d":""}`), append(wrong, i)
			case i%100 == 99:
				list, wrong = append(list, `{"n":"a","d":"elsewhere.example"}`), append(wrong, i)
			default:
				list = append(list, fmt.Sprintf(`{"n":"event %d","d":"example.com"}`, i))
			}
		}
		body := form.begin + strings.Join(list, form.between) + form.end
		res, err := r.Batch(t.Context(), strings.NewReader(body), form.begin == "", event.Client{}, "example.com")
		if err != nil || res.Accepted != items-len(wrong) {
			t.Fatalf("%d accepted, %v; want %d", res.Accepted, err, items-len(wrong))
		}
		var rejected []int
		for _, x := range res.Rejected {
			rejected = append(rejected, x.Index)
		}
		if !reflect.DeepEqual(rejected, wrong) {
			t.Errorf("rejected are %v, want %v", rejected, wrong)
		}
		last := -1
		for _, e := range r.stored() {
			var at int
			if _, err := fmt.Sscanf(e.Name, "event %d", &at); err != nil || at <= last {
				t.Fatalf("%q comes after event %d", e.Name, last)
			}
			last = at
		}
	}
}

// TestBatchPieces: a large batch goes through the writer in pieces, all of it or, if
// there is no room for all of it, nothing; and of its room nothing is lost.
func TestBatchPieces(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`{"n":"a","d":"example.com"}`+"\n"+`{"n":"","d":"example.com"}`+"\n", 1500)
	large := strings.Repeat(fmt.Sprintf(`{"n":"a","d":"example.com","props":{"a":"%s"}}`+"\n", strings.Repeat("x", 2000)), 1500)
	r := newRig(t, func(o *ingest.Options) { o.MaxBuffered = 3500 })
	sent := 0
	for _, c := range []struct {
		body     string
		accepted int
		rejected int
		pieces   int
	}{{many, 1500, 1500, 3}, {large, 1500, 0, 3}} {
		before := r.groups()
		res, err := r.Batch(t.Context(), strings.NewReader(c.body), true, event.Client{}, "")
		if err != nil || res.Accepted != c.accepted || len(res.Rejected) != c.rejected || res.LastSeq != int64(sent+c.accepted) {
			t.Errorf("%d accepted, %d rejected, last %d, %v; want %d, %d, %d", res.Accepted, len(res.Rejected), res.LastSeq, err, c.accepted, c.rejected, sent+c.accepted)
		}
		if n := r.groups() - before; n != c.pieces {
			t.Errorf("%d bytes were committed in %d groups, want %d", len(c.body), n, c.pieces)
		}
		sent += res.Accepted
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Reserved(); n != 0 {
		t.Errorf("room for %d events is lost", n)
	}

	r.lens.fail(errors.New("no lens")) // what is taken now waits
	if _, err := r.Batch(t.Context(), strings.NewReader(many), true, event.Client{}, ""); err != nil {
		t.Fatal(err)
	}
	if res, err := r.Batch(t.Context(), strings.NewReader(many), true, event.Client{}, ""); !errors.Is(err, event.ErrFull) || res.Accepted > 0 {
		t.Errorf("with room for half of it %d were accepted, %v; want none", res.Accepted, err)
	}
	if n := len(r.stored()); n != sent+1500 {
		t.Errorf("the journal holds %d, want %d", n, sent+1500)
	}
}

// TestBufferBytes: what waits for the reports is held to its bytes, however few events
// they are.
func TestBufferBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *ingest.Options) { o.MaxBufferSize = 10_000 })
	r.lens.fail(errors.New("no lens"))
	body := fmt.Sprintf(`{"n":"a","d":"example.com","props":{"a":"%s"}}`, strings.Repeat("x", 2000))
	n := 0
	for ; n < 100; n++ {
		if _, err := r.Batch(t.Context(), strings.NewReader(body), true, event.Client{}, ""); err != nil {
			if !errors.Is(err, event.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if n != 5 {
		t.Errorf("%d events of 2,000 bytes were taken, want 5", n)
	}
	r.lens.fail(nil)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.batch(body)
}

// groups returns how many groups the journal holds.
func (r *rig) groups() (n int) {
	r.t.Helper()
	if err := r.ledger.Groups(r.t.Context(), 0, func(ledger.Group) error { n++; return nil }); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestBatchPanics: a panic while a batch is prepared is the caller's, who can answer it,
// and not the end of the process.
func TestBatchPanics(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	o := r.opts
	o.Places = nil // so that looking one up panics
	in, err := ingest.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), "places.go") {
			t.Errorf("recovered %v, want where it happened", v)
		}
	}()
	body := strings.Repeat(`{"n":"a","d":"example.com","ip":"192.0.2.1"}`+"\n", 1000)
	res, err := in.Batch(t.Context(), strings.NewReader(body), true, event.Client{}, "")
	t.Errorf("no panic, but %+v, %v", res, err)
}

// FuzzArray holds the items that are found in an array against those of encoding/json.
func FuzzArray(f *testing.F) {
	f.Add(`[{"a":"],[\"\\"},[1,[2]],"x,\\\"y", 7 ,null]`)
	f.Add(`[ ]`)
	f.Add(`[[],{}]`)
	f.Fuzz(func(t *testing.T, body string) {
		if !strings.HasPrefix(body, "[") {
			return
		}
		var want []json.RawMessage
		wrong := json.Unmarshal([]byte(strings.TrimSpace(body)), &want)
		got, err := ingest.ItemsOf(body)
		if (err == nil) != (wrong == nil) && len(want) <= ingest.MaxBatch {
			t.Fatalf("%v, want %v", err, wrong)
		}
		if err != nil {
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%d items, want %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(bytes.TrimSpace(got[i]), want[i]) {
				t.Fatalf("item %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}
