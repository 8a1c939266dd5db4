package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// reportHeader is the first line of a signed report. No checkpoint begins so: what is
// signed as the one is never the other.
const reportHeader = "eider-audit-report/v1"

// A WindowReport says what happened in a span of time.
type WindowReport struct {
	Origin string    `json:"origin"`
	From   time.Time `json:"from"` // it is in the report,
	To     time.Time `json:"to"`   // and this is not

	Entries   int64            `json:"entries"`
	Acts      int64            `json:"acts"` // entries, and what was folded into them
	FirstSeq  int64            `json:"first_seq,string"`
	LastSeq   int64            `json:"last_seq,string"`
	FirstLink string           `json:"first_link"`
	LastLink  string           `json:"last_link"`
	Kinds     map[string]int64 `json:"kinds"`    // entries
	Outcomes  map[string]int64 `json:"outcomes"` // entries

	Head       string `json:"head"`       // size:root of the chain when the report was made
	Checkpoint string `json:"checkpoint"` // the newest one
}

// SignedReport returns the report of the entries from ≤ time < to as a signed note: a
// line that says what it is, the report as one line of JSON, and the signatures. The
// first and last seq are -1 if there are none.
func SignedReport(ctx context.Context, log Log, origin string, from, to time.Time, keys []Key) ([]byte, error) {
	w := WindowReport{
		Origin: origin, From: from.UTC(), To: to.UTC(), FirstSeq: -1, LastSeq: -1,
		Kinds: make(map[string]int64), Outcomes: make(map[string]int64),
	}
	_, end, err := log.Extent(ctx)
	if err != nil {
		return nil, fmt.Errorf("report on audit chain: %w", err)
	}
	if err := log.Rows(ctx, 0, end, w.add); err != nil {
		return nil, fmt.Errorf("report on audit chain: %w", err)
	}
	root, err := tlog.TreeHash(end, log)
	if err != nil {
		return nil, fmt.Errorf("report on audit chain: %w", err)
	}
	w.Head = Head{Size: end, Root: root}.String()
	c, err := Newest(ctx, log, "", end)
	if err != nil {
		return nil, fmt.Errorf("report on audit chain: %w", err)
	}
	w.Checkpoint = string(c.Note)
	text, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	note, err := signNote(reportHeader+"\n"+string(text)+"\n", origin, keys)
	if err != nil {
		return nil, fmt.Errorf("sign report on audit chain: %w", err)
	}
	return note, nil
}

// add counts an entry if it is of the span.
func (w *WindowReport) add(r Row) error {
	if r.Time < w.From.UnixMicro() || r.Time >= w.To.UnixMicro() {
		return nil
	}
	link := r.Link()
	if w.FirstSeq < 0 {
		w.FirstSeq, w.FirstLink = r.Seq, encode(link[:])
	}
	w.LastSeq, w.LastLink = r.Seq, encode(link[:])
	w.Entries++
	w.Acts++
	kind := r.Kind
	if !known[kind] {
		kind = Unknown
	}
	w.Kinds[string(kind)]++
	w.Outcomes[string(r.Outcome)]++
	if r.Leaf != nil && bytes.Contains(r.Leaf, []byte(`"count":`)) {
		l, err := Parse(r.Leaf)
		if err != nil {
			return err
		}
		w.Acts += l.Count - 1
	}
	return nil
}
