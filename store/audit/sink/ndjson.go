package sink

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/eider-analytics/eider/store/audit"
)

// Lines returns a batch as newline-delimited JSON, as exports have it: the leaf of an
// entry byte by byte, {"pruned":{"link":…,"seq":…}} for one that has none any more, and
// {"checkpoint":…} after the last entry that it signs.
func Lines(rows []audit.Row, checkpoints []audit.Checkpoint) []byte {
	var b bytes.Buffer
	next := 0
	notes := func(size int64) {
		for ; next < len(checkpoints) && checkpoints[next].Size <= size; next++ {
			line(&b, map[string]string{"checkpoint": string(checkpoints[next].Note)})
		}
	}
	for i := range rows {
		r := &rows[i]
		notes(r.Seq)
		if r.Leaf != nil {
			b.Write(r.Leaf)
			b.WriteByte('\n')
			continue
		}
		link := r.Link()
		line(&b, map[string]map[string]string{"pruned": {
			"seq": strconv.FormatInt(r.Seq, 10), "link": base64.RawURLEncoding.EncodeToString(link[:]),
		}})
	}
	if len(rows) > 0 {
		notes(rows[len(rows)-1].Seq + 1)
	}
	for ; next < len(checkpoints); next++ {
		line(&b, map[string]string{"checkpoint": string(checkpoints[next].Note)})
	}
	return b.Bytes()
}

// line appends texts, which always can be JSON.
func line(b *bytes.Buffer, v any) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	enc.Encode(v)
}

// NDJSON writes entries to a stream, as standard output, whose reader keeps them. It
// cannot know what was read, and begins with what is new when the process starts: what
// a crash has kept from being written is written by no other process. Where all is
// needed, an export has it.
type NDJSON struct {
	w io.Writer

	mu   sync.Mutex
	next map[string]int64 // by origin
}

// NewNDJSON returns a sink that writes the entries from next on. An incarnation that
// begins later is written from its first entry on.
func NewNDJSON(w io.Writer, origin string, next int64) *NDJSON {
	return &NDJSON{w: w, next: map[string]int64{origin: next}}
}

// Name is "ndjson".
func (n *NDJSON) Name() string { return "ndjson" }

// Mark returns what was not written yet.
func (n *NDJSON) Mark(_ context.Context, origin string) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.next[origin], nil
}

// Put writes all lines in one Write. It cannot be interrupted; after an error, all are
// written again.
func (n *NDJSON) Put(_ context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (int, error) {
	if _, err := n.w.Write(Lines(rows, checkpoints)); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(rows) > 0 {
		n.next[origin] = rows[len(rows)-1].Seq + 1
	}
	return len(rows), nil
}

// Close does not close the writer.
func (n *NDJSON) Close() error { return nil }
