package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/eider-analytics/eider/store/event"
)

// bodies are buffers for bodies: of what is decoded nothing shares their memory.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer that is kept for the next body.
const maxPooled = 1 << 20

// readBatch reads the whole body of a batch and lets use have it.
func readBatch(r io.Reader, use func(body []byte) error) error {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		return fmt.Errorf("read batch: %w", err)
	}
	return use(buf.Bytes())
}

// itemsOf finds the items of a body: a JSON array, or one event a line. They share its
// memory. An item that is wrong is rejected alone, later; a body that is no JSON at all, or
// an array that breaks off, is an error, and then nothing of it has been accepted.
func itemsOf(body []byte, ndjson bool) (items [][]byte, err error) {
	body = bytes.TrimSpace(body)
	n := 0
	add := func(item []byte) {
		if n++; n <= MaxBatch { // of more than that not even the places are kept
			items = append(items, item)
		}
	}
	if ndjson || len(body) == 0 || body[0] != '[' {
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				add(line)
			}
		}
	} else if err := inArray(body, add); err != nil {
		return nil, err
	}
	if n > MaxBatch {
		return nil, fieldError("request", "holds %d events, at most %d; send it in parts", n, MaxBatch)
	}
	return items, nil
}

// inArray calls item with each element of a JSON array.
func inArray(body []byte, item func([]byte)) error {
	if !json.Valid(body) {
		err := json.Unmarshal(body, new(any))
		return fieldError("request", "is not a JSON array of events: %v", err)
	}
	depth, from, quoted := 0, 1, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++ // whatever comes is no end of the text
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ',' && depth == 1:
			item(body[from:i])
			from = i + 1
		case c == ']' || c == '}':
			if depth--; depth == 0 && len(bytes.TrimSpace(body[from:i])) > 0 {
				item(body[from:i])
			}
		}
	}
	return nil
}

// A batch goes through the writer in pieces, of so many items and so many bytes at
// most, or of one: what it takes beside its body is a few pieces, and whoever
// else sends events meanwhile waits for a piece and not for the batch.
const (
	pieceItems = 1024
	pieceBytes = 1 << 20
)

// takeBatch commits the items of a batch, and prepares each piece while the one before it
// is committed. There is room in the buffer for all of it, or nothing is taken: after
// the first piece it fails only if nothing is accepted any more.
func (in *Ingest) takeBatch(ctx context.Context, src *source, items [][]byte, site string, res *event.Result) error {
	if err := in.reserve(ctx, len(items), false); err != nil {
		return err
	}
	reserved := len(items)
	defer func() { in.flusher.release(reserved) }()
	var before *submission
	settle := func() error {
		if before == nil {
			return nil
		}
		err := <-before.done
		if err == nil {
			in.tally(res, before)
		}
		before = nil
		return err
	}
	for first := 0; first < len(items); {
		n := 1
		for size := len(items[first]); first+n < len(items) && n < pieceItems && size < pieceBytes; n++ {
			size += len(items[first+n])
		}
		events, rejected, err := in.prepareItems(ctx, src, items[first:first+n], first, site)
		if err := errors.Join(err, settle()); err != nil {
			return err
		}
		res.Rejected = append(res.Rejected, rejected...)
		if first += n; len(events) == 0 {
			continue
		}
		before = newSubmission(events, nil)
		reserved -= len(events)
		if err := in.hand(before); err != nil {
			return err
		}
	}
	err := settle()
	slices.SortStableFunc(res.Rejected, byIndex)
	return err
}

// worthSharing is how many items are worth a goroutine.
const worthSharing = 128

// A share is what one goroutine makes of some items that stand together.
type share struct {
	events   []pending
	rejected []event.Rejection
	err      error  // ends the request
	panicked string // how, and where; "" if it did not
}

// prepareItems decodes and prepares items of a batch, of which the first has that index,
// each processor its share: up to here no event looks at the one before it. What it returns
// is in their order. If site is not empty, events of other sites are rejected.
func (in *Ingest) prepareItems(ctx context.Context, src *source, items [][]byte, first int, site string) (events []pending, rejected []event.Rejection, err error) {
	all := make([]pending, len(items))
	shares := make([]share, max(1, min(runtime.GOMAXPROCS(0), len(items)/worthSharing)))
	var wg sync.WaitGroup
	for n := range shares {
		from, to := len(items)*n/len(shares), len(items)*(n+1)/len(shares)
		s := &shares[n]
		s.events = all[from:from:to]
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					s.panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
				}
			}()
			in.prepareShare(ctx, src, items[from:to], first+from, site, s)
		})
	}
	wg.Wait()
	events = all[:0]
	for n := range shares {
		s := &shares[n]
		if s.panicked != "" {
			panic(s.panicked) // where whoever called can recover
		}
		if s.err != nil {
			return nil, nil, s.err
		}
		events = append(events, s.events...)
		rejected = append(rejected, s.rejected...)
	}
	return events, rejected, nil
}

// prepareShare decodes and prepares items, of which the first has that index.
func (in *Ingest) prepareShare(ctx context.Context, src *source, items [][]byte, first int, site string, s *share) {
	var w wire
	for i, body := range items {
		it, err := w.decode(body)
		if err == nil {
			s.events, err = in.prepareItem(ctx, src, &it, site, s.events)
		}
		if err == nil {
			s.events[len(s.events)-1].index = first + i
			continue
		}
		r, ok := in.rejection(first+i, err)
		if !ok {
			s.err = err
			return
		}
		s.rejected = append(s.rejected, r)
	}
}

func (in *Ingest) prepareItem(ctx context.Context, src *source, it *item, site string, events []pending) ([]pending, error) {
	switch {
	case len(it.Domains) > 1:
		return events, fieldError("domain", "names %d sites; in a batch, send one event for each", len(it.Domains))
	case site != "" && it.Domains[0] != site:
		return events, reject(event.RejectKey, "the key may only send events of "+site)
	}
	return in.prepare(ctx, src, it, it.Domains[0], events)
}
