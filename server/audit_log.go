package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// A Trail is the audit chain as it is kept, with what of it can be forgotten.
type Trail interface {
	audit.Log
	// Entries returns the rows that meet a filter, newest first.
	Entries(ctx context.Context, f ledger.EntryFilter) ([]audit.Row, error)
	// Private returns the private values of the entries of from ≤ seq < to, of those
	// that still have some.
	Private(ctx context.Context, from, to int64) (map[int64][]audit.Private, error)
}

// Custody is what is done with the chain as a whole.
type Custody interface {
	// Adopt takes the chain as it is for the truth and begins its next incarnation. It
	// is an error if the chain is not halted.
	Adopt(ctx context.Context, reason string) error
	// ErasePrivate destroys private values and returns how many.
	ErasePrivate(ctx context.Context, f ledger.PrivateFilter, basis string) (values int, err error)
	// Prune deletes the leaves of the entries from before a time that every copy has and
	// a checkpoint covers, and returns how many entries have none now. It is
	// [ErrNotCopied] while there is no copy to read them in.
	Prune(ctx context.Context, before time.Time) (entries int64, err error)
	// Report returns a signed report of the entries of a time.
	Report(ctx context.Context, from, to time.Time) ([]byte, error)
	// Verifiers returns the keys that checkpoints are signed with, as
	// golang.org/x/mod/sumdb/note has them, the newest first.
	Verifiers(ctx context.Context) ([]string, error)
}

// ErrNotHalted is returned by [Custody.Adopt] when there is nothing to adopt.
var ErrNotHalted = errors.New("the audit chain is not halted: there is nothing to adopt")

// ErrNotCopied is returned by [Custody.Prune] when leaves would be nowhere.
var ErrNotCopied = errors.New("no copy of the audit chain has these entries")

// readEvery is how often it is recorded of one and the same reader that the chain
// was looked at. An export is recorded each time.
const readEvery = 10 * time.Minute

// mostReaders bounds who is remembered; beyond that everyone is recorded each time.
const mostReaders = 1000

// readers remembers whose look at the chain was recorded.
type readers struct {
	mu   sync.Mutex // guards seen
	seen map[string]time.Time
}

// due says whether a look is to be recorded, and remembers it.
func (d *readers) due(who string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.seen[who]; ok && now.Sub(at) < readEvery {
		return false
	}
	if d.seen == nil || len(d.seen) >= mostReaders {
		d.seen = map[string]time.Time{}
	}
	d.seen[who] = now
	return true
}

// forget undoes due, for what could not be recorded.
func (d *readers) forget(who string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, who)
}

// read records that the chain is looked at, in one of the ways that there are. A
// chain that is halted can be looked at all the same: that is when it has to be.
func (s *Server) read(r *http.Request, what string, folded bool) error {
	e := audit.Entry{Kind: audit.Read, Object: "audit:" + what}
	who := s.actor(callOf(r)) + " " + what
	if folded && !s.reads.due(who, s.now()) {
		return nil
	}
	err := s.o.Acts.Record(r.Context(), e)
	if err != nil {
		s.reads.forget(who)
	}
	if errors.Is(err, audit.ErrHalted) {
		return nil
	}
	return err
}

type sourceJSON struct {
	Address   string `json:"address"`
	UserAgent string `json:"user_agent"`
}

// An AuditEntry is an entry as it is told.
type AuditEntry struct {
	Seq     int64             `json:"seq"`
	Time    string            `json:"time"`
	Kind    string            `json:"kind"`
	Outcome string            `json:"outcome"`
	Actor   string            `json:"actor"`
	Object  string            `json:"object"`
	Request string            `json:"request_id,omitempty"`
	Trace   string            `json:"trace_id,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
	Count   int64             `json:"count" doc:"How many acts it stands for: identical refusals are folded."`
	First   string            `json:"first,omitempty" doc:"Of a fold."`
	Last    string            `json:"last,omitempty" doc:"Of a fold."`
	Source  *sourceJSON       `json:"source,omitempty" doc:"Where it came from, until that is erased."`
	Private map[string]string `json:"private,omitempty" doc:"What was typed in, until that is erased."`
	Erased  []string          `json:"erased,omitempty" doc:"Names of the private values that there is only a commitment to."`
	Pruned  bool              `json:"pruned,omitempty" doc:"Only its hashes are kept."`
	Link    string            `json:"link" doc:"Its leaf hash, in base64url."`
}

type entriesJSON struct {
	Origin  string       `json:"origin"`
	Size    int64        `json:"size"`
	Entries []AuditEntry `json:"entries" doc:"Newest first."`
	Next    *int64       `json:"next" doc:"The value of before for those that follow; null at the end."`
}

// EntryOf tells a row. What an entry says that this version cannot read is left
// out: the leaf itself is in an export.
func EntryOf(row audit.Row, private []audit.Private) AuditEntry {
	link := row.Link()
	e := AuditEntry{
		Seq: row.Seq, Time: stamp(row.Time), Kind: string(row.Kind), Outcome: string(row.Outcome), Actor: row.Actor, Object: row.Object,
		Request: row.Request, Count: 1, Pruned: row.Leaf == nil, Link: base64.RawURLEncoding.EncodeToString(link[:]),
	}
	leaf, err := audit.Parse(row.Leaf)
	if err != nil {
		return e
	}
	e.Trace, e.Reason, e.Detail, e.Count = leaf.Trace, leaf.Reason, leaf.Detail, leaf.Count
	if leaf.Count > 1 {
		e.First, e.Last = stamp(leaf.First.UnixMicro()), stamp(leaf.Last.UnixMicro())
	}
	there := map[string]bool{}
	for _, p := range private {
		there[p.Field] = true
		if p.Field != audit.SourceField {
			if e.Private == nil {
				e.Private = map[string]string{}
			}
			e.Private[p.Field] = p.Value
			continue
		}
		e.Source = &sourceJSON{}
		if err := json.Unmarshal([]byte(p.Value), e.Source); err != nil {
			e.Source.UserAgent = p.Value
		}
	}
	for field := range leaf.Private {
		if !there[field] {
			e.Erased = append(e.Erased, field)
		}
	}
	slices.Sort(e.Erased)
	return e
}

// Bounds of a page of entries.
const (
	defaultEntries = 100
	maxEntries     = 1000
)

var entryFilters = []string{"from", "to", "kind", "actor", "object", "request_id", "before", "limit"}

func (s *Server) listEntries(w http.ResponseWriter, r *http.Request) error {
	f, err := entryFilter(r)
	if err != nil {
		return err
	}
	if err := s.read(r, "list", true); err != nil {
		return err
	}
	rows, err := s.o.Trail.Entries(r.Context(), f)
	if err != nil {
		return err
	}
	private, err := s.privateOf(r.Context(), rows)
	if err != nil {
		return err
	}
	origin, head := s.o.Acts.AuditHead()
	out := entriesJSON{Origin: origin, Size: head.Size, Entries: make([]AuditEntry, len(rows))}
	for i, row := range rows {
		out.Entries[i] = EntryOf(row, private[row.Seq])
	}
	if n := len(rows); n == f.Limit && rows[n-1].Seq > 0 {
		out.Next = &rows[n-1].Seq
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// privateOf returns the private values of rows, newest first, asking for each run
// of them at once.
func (s *Server) privateOf(ctx context.Context, rows []audit.Row) (map[int64][]audit.Private, error) {
	all := map[int64][]audit.Private{}
	for i := 0; i < len(rows); {
		last := i
		for last+1 < len(rows) && rows[last+1].Seq == rows[last].Seq-1 {
			last++
		}
		some, err := s.o.Trail.Private(ctx, rows[last].Seq, rows[i].Seq+1)
		if err != nil {
			return nil, err
		}
		for seq, values := range some {
			all[seq] = values
		}
		i = last + 1
	}
	return all, nil
}

func entryFilter(r *http.Request) (f ledger.EntryFilter, err error) {
	if err := taking(r, entryFilters); err != nil {
		return f, err
	}
	from, to, err := timesOf(r)
	if err != nil {
		return f, err
	}
	f.From, f.To = micros(from), micros(to)
	for name, into := range map[string]*string{"kind": &f.Kind, "actor": &f.Actor, "object": &f.Object, "request_id": &f.Request} {
		if *into, err = optional(r, name); err != nil {
			return f, err
		}
	}
	if f.Before, err = number(r, "before", 0, 0, 1<<53); err != nil {
		return f, err
	}
	limit, err := number(r, "limit", defaultEntries, 1, maxEntries)
	f.Limit = int(limit)
	return f, err
}

// taking refuses parameters that a route does not take: an answer to another question
// than the one that was asked would be taken for the whole.
func taking(r *http.Request, names []string) error {
	if err := wellFormed(r); err != nil {
		return err
	}
	for name := range r.URL.Query() {
		if !slices.Contains(names, name) {
			return refuse(http.StatusBadRequest, "parameter", "there is no parameter %.60q here; there are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// micros is a time in µs, and 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// timesOf reads from and to: points in time, or days in UTC, the last of them whole.
// What is left out is zero.
func timesOf(r *http.Request) (from, to time.Time, err error) {
	if from, err = timeOf(r, "from", 0); err != nil {
		return from, to, err
	}
	if to, err = timeOf(r, "to", 1); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, refuse(http.StatusBadRequest, "range", "to is not after from")
	}
	return from, to, nil
}

func timeOf(r *http.Request, name string, days int) (time.Time, error) {
	s, err := optional(r, name)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, days), nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		return time.Time{}, refuse(http.StatusBadRequest, "parameter", "%s is a day such as 2026-01-31 or a point in time such as 2026-01-31T12:00:00Z", name)
	}
	return at, nil
}

// absent turns what the chain does not have, or not yet, into a 404.
func absent(err error) error {
	if errors.Is(err, audit.ErrNotFound) || errors.Is(err, audit.ErrTilePath) {
		return refuse(http.StatusNotFound, "not_found", "there is no such thing in the audit chain, or no checkpoint covers it yet; those are made within 10 seconds")
	}
	return err
}

// tile answers with a file of C2SP's tlog-tiles.
func (s *Server) tile(w http.ResponseWriter, r *http.Request, path, kind string) error {
	if err := s.read(r, "tiles", true); err != nil {
		return err
	}
	b, err := audit.Tile(r.Context(), s.o.Trail, path)
	if err != nil {
		return absent(err)
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(b) // an error means that the client has gone
	return nil
}

const (
	noteType = "text/plain; charset=utf-8"
	tileType = "application/octet-stream"
)

func (s *Server) auditCheckpoint(w http.ResponseWriter, r *http.Request) error {
	return s.tile(w, r, "checkpoint", noteType)
}

func (s *Server) auditTile(w http.ResponseWriter, r *http.Request) error {
	return s.tile(w, r, "tile/"+r.PathValue("path"), tileType)
}

func (s *Server) auditProof(w http.ResponseWriter, r *http.Request) error {
	seq, err := strconv.ParseInt(r.PathValue("seq"), 10, 64)
	if err != nil || seq < 0 {
		return ledger.ErrNotFound
	}
	if err := s.read(r, "proof", true); err != nil {
		return err
	}
	proof, err := audit.Prove(r.Context(), s.o.Trail, seq)
	if err != nil {
		return absent(err)
	}
	w.Header().Set("Content-Type", noteType)
	_, _ = w.Write(proof)
	return nil
}
