package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/eider-analytics/eider/store/event"
)

// A batchItem is one event of a batch, or why it could not be decoded.
type batchItem struct {
	item item
	err  error // *event.FieldError
}

// bodies are buffers for bodies: of what is decoded nothing shares their memory.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooled is the largest buffer that is kept for the next body.
const maxPooled = 1 << 20

// decodeBatch reads a whole batch: a JSON array, or one event a line. An item
// that is wrong is rejected alone; a body that is no JSON at all, or an array
// that breaks off, is an error, and then nothing of it has been accepted.
func decodeBatch(r io.Reader, ndjson bool) ([]batchItem, error) {
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooled {
			buf.Reset()
			bodies.Put(buf)
		}
	}()
	if _, err := buf.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	body := bytes.TrimSpace(buf.Bytes())
	if ndjson || len(body) == 0 || body[0] != '[' {
		return decodeLines(body)
	}
	return decodeArray(body)
}

// decodeArray decodes an array in one go. Only if an item in it is wrong does it
// take the array apart, to find out which.
func decodeArray(body []byte) ([]batchItem, error) {
	var wires []wire
	if err := json.Unmarshal(body, &wires); err != nil {
		return decodeEach(body)
	}
	if len(wires) > MaxBatch {
		return nil, tooMany(len(wires))
	}
	items := make([]batchItem, len(wires))
	for i := range wires {
		items[i].item, items[i].err = wires[i].item()
	}
	return items, nil
}

func decodeEach(body []byte) ([]batchItem, error) {
	var raws []json.RawMessage
	if err := json.Unmarshal(body, &raws); err != nil {
		return nil, fieldError("request", "is not a JSON array of events: %v", err)
	}
	if len(raws) > MaxBatch {
		return nil, tooMany(len(raws))
	}
	items := make([]batchItem, len(raws))
	for i, raw := range raws {
		items[i].item, items[i].err = decodeItem(raw)
	}
	return items, nil
}

// decodeLines decodes one event a line. Empty lines do not count.
func decodeLines(body []byte) ([]batchItem, error) {
	items := make([]batchItem, 0, min(bytes.Count(body, []byte("\n"))+1, MaxBatch))
	var w wire
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(items) == MaxBatch {
			return nil, tooMany(bytes.Count(body, []byte("\n")) + 1)
		}
		items = append(items, batchItem{})
		b := &items[len(items)-1]
		b.item, b.err = w.decode(line)
	}
	return items, nil
}

func tooMany(n int) error {
	return &event.FieldError{Field: "request", Message: fmt.Sprintf("holds %d events, at most %d; send it in parts", n, MaxBatch)}
}
