package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// Version is that of the leaves this program writes, and the only one it reads.
const Version = 1

// An Entry is one act, or one refusal, as whoever records it tells it. What is left
// empty is not in the leaf.
type Entry struct {
	Kind    Kind
	Outcome Outcome // "" is [Done]
	By
	Object string            // what it was done to: its sort and its name, as "site:example.com"
	Detail map[string]string // more of it: nothing that is about a person
	Reason string            // of a refusal or a failure

	// Private is what an operator has typed in, or anything else that is about a
	// person. The leaf has only a commitment to each value; the values are kept
	// beside the chain, where they can be destroyed.
	Private map[string]string

	// Of identical refusals that were folded into one entry: how many, and when the
	// first and the last of them was. A Count of 0 or 1 is one act.
	Count       int64
	First, Last time.Time
}

// By says who did something, from where, and in the course of what.
type By struct {
	Actor   string // "system", "key:<id>", "user:<id>", "agent:<name>"; "" is nobody that is known
	Address string // of the client
	Agent   string // its User-Agent
	Request string // X-Request-ID
	Trace   string // trace id of W3C Trace Context
}

// System is the [By] of what Eider does by itself.
var System = By{Actor: "system"}

type byKey struct{}

// With returns a context that says by whom what is done with it is done.
func With(ctx context.Context, by By) context.Context { return context.WithValue(ctx, byKey{}, by) }

// From returns by whom something is done: by Eider itself where the context does
// not say.
func From(ctx context.Context) By {
	if by, ok := ctx.Value(byKey{}).(By); ok {
		return by
	}
	return System
}

// Bounds of what an entry may hold. Longer texts are cut: that an act was strange is
// no reason not to record it. A leaf is at most 64 KiB in tiles, and stays far below.
const (
	maxText   = 1000 // bytes of a detail, an object or a reason
	maxName   = 100  // bytes of the name of a detail
	maxDetail = 32   // details of an entry
)

// A Private is a value that the leaf has only a commitment to.
type Private struct {
	Field string
	Salt  [32]byte
	Value string
}

// Commitment returns what the leaf has of it, in base64.
func (p Private) Commitment() string {
	h := sha256.New()
	h.Write([]byte("eider-audit-private/v1\x00" + p.Field + "\x00"))
	h.Write(p.Salt[:])
	h.Write([]byte(p.Value))
	return encode(h.Sum(nil))
}

// SourceField is the name of the private value that says where an act came from:
// a JSON object with the texts address and user_agent.
const SourceField = "source"

// encode is how hashes stand in a leaf.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decode is the inverse of encode for hashes. There is one text of each: another that
// stands for the same bytes is refused, so that no change goes unseen.
func decode(s string) (h tlog.Hash, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(h) || encode(b) != s {
		return h, fmt.Errorf("%.100q is no hash", s)
	}
	return tlog.Hash(b), nil
}

// timeLayout is how times stand in a leaf: in UTC, always with six digits.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// fields is a leaf before it is canonical. Numbers of more than 53 bits would not
// survive JSON, so that all but the version are texts.
type fields struct {
	Version     int               `json:"v"`
	Seq         string            `json:"seq"`
	Time        string            `json:"time"`
	Incarnation string            `json:"incarnation"`
	Kind        Kind              `json:"kind"`
	Outcome     Outcome           `json:"outcome"`
	Actor       string            `json:"actor,omitempty"`
	Object      string            `json:"object,omitempty"`
	Request     string            `json:"request,omitempty"`
	Trace       string            `json:"trace,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Detail      map[string]string `json:"detail,omitempty"`
	Private     map[string]string `json:"private,omitempty"`
	Count       string            `json:"count,omitempty"`
	First       string            `json:"first,omitempty"`
	Last        string            `json:"last,omitempty"`
	Prev        string            `json:"prev"`
}

// A Leaf is what an entry has become in the chain.
type Leaf struct {
	Seq         int64
	Time        time.Time
	Incarnation int64
	Kind        Kind
	Outcome     Outcome
	Actor       string
	Object      string
	Request     string
	Trace       string
	Reason      string
	Detail      map[string]string
	Private     map[string]string // commitments
	Count       int64             // 1 unless it is a fold
	First, Last time.Time         // of a fold
	Prev        tlog.Hash
}

// seal makes the leaf of an entry.
func seal(e Entry, seq, incarnation int64, at time.Time, prev tlog.Hash) (leaf []byte, private []Private, f fields, err error) {
	f = fields{
		Version: Version, Seq: strconv.FormatInt(seq, 10), Time: at.UTC().Format(timeLayout), Incarnation: strconv.FormatInt(incarnation, 10),
		Kind: e.Kind, Outcome: e.Outcome, Actor: text(e.Actor, maxText), Object: text(e.Object, maxText),
		Request: text(e.Request, maxText), Trace: text(e.Trace, maxText), Reason: text(e.Reason, maxText),
		Detail: make(map[string]string, len(e.Detail)), Private: make(map[string]string), Prev: encode(prev[:]),
	}
	if f.Outcome == "" {
		f.Outcome = Done
	}
	if !known[e.Kind] {
		f.Kind, f.Detail["kind"] = Unknown, text(string(e.Kind), maxText)
	}
	for name, value := range e.Detail {
		if len(f.Detail) == maxDetail {
			break
		}
		f.Detail[text(name, maxName)] = text(value, maxText)
	}
	if e.Address != "" || e.Agent != "" {
		source, err := json.Marshal(map[string]string{"address": e.Address, "user_agent": text(e.Agent, maxText)})
		if err != nil {
			return nil, nil, f, err
		}
		private = append(private, Private{Field: SourceField, Value: string(source)})
	}
	for name, value := range e.Private {
		if name = text(name, maxName); len(private) < maxDetail && name != SourceField && value != "" {
			private = append(private, Private{Field: name, Value: text(value, maxText)})
		}
	}
	for i := range private {
		rand.Read(private[i].Salt[:])
		f.Private[private[i].Field] = private[i].Commitment()
	}
	if e.Count > 1 {
		f.Count = strconv.FormatInt(e.Count, 10)
		f.First, f.Last = e.First.UTC().Format(timeLayout), e.Last.UTC().Format(timeLayout)
	}
	return f.canonical(), private, f, nil
}

// text returns s as a leaf can have it: of whole runes, without control characters,
// and not too long.
func text(s string, most int) string {
	if len(s) > most {
		for most -= len("…"); most > 0 && !utf8.RuneStart(s[most]); most-- {
		}
		s = s[:most] + "…"
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// ErrLeaf is why something is no leaf of this version in its canonical form.
var ErrLeaf = errors.New("no canonical leaf")

// Parse reads a leaf, which must be what [Chain.Append] could have made: of this
// version, in the canonical form of RFC 8785, without fields that it does not know.
// Its kind may be one that is not known.
func Parse(leaf []byte) (Leaf, error) {
	dec := json.NewDecoder(bytes.NewReader(leaf))
	dec.DisallowUnknownFields()
	var f fields
	if err := dec.Decode(&f); err != nil {
		return Leaf{}, fmt.Errorf("%w: %w", ErrLeaf, err)
	}
	if string(f.canonical()) != string(leaf) {
		return Leaf{}, fmt.Errorf("%w: RFC 8785 has it otherwise", ErrLeaf)
	}
	l, err := f.leaf()
	if err != nil {
		return Leaf{}, fmt.Errorf("%w: %w", ErrLeaf, err)
	}
	return l, nil
}

// otherVersion reports whether a leaf says that it is of another version than
// [Parse] reads.
func otherVersion(leaf []byte) (version int, other bool) {
	var f struct {
		Version int `json:"v"`
	}
	if json.Unmarshal(leaf, &f) != nil {
		return 0, false
	}
	return f.Version, f.Version > Version
}

func (f *fields) leaf() (l Leaf, err error) {
	if f.Version != Version {
		return l, fmt.Errorf("version %d, this program knows %d", f.Version, Version)
	}
	l = Leaf{
		Kind: f.Kind, Outcome: f.Outcome, Actor: f.Actor, Object: f.Object, Request: f.Request, Trace: f.Trace,
		Reason: f.Reason, Detail: f.Detail, Private: f.Private, Count: 1,
	}
	number := func(s string, least int64) (n int64) {
		n, bad := strconv.ParseInt(s, 10, 64)
		if (bad != nil || n < least || strconv.FormatInt(n, 10) != s) && err == nil {
			err = fmt.Errorf("%q is no number from %d on", s, least)
		}
		return n
	}
	moment := func(s string) (t time.Time) {
		t, bad := time.Parse(timeLayout, s)
		if (bad != nil || t.Format(timeLayout) != s) && err == nil {
			err = fmt.Errorf("%q is no time in the form %s", s, timeLayout)
		}
		return t
	}
	l.Seq, l.Incarnation, l.Time = number(f.Seq, 0), number(f.Incarnation, 1), moment(f.Time)
	if f.Count != "" {
		l.Count, l.First, l.Last = number(f.Count, 2), moment(f.First), moment(f.Last)
	}
	if err != nil {
		return l, err
	}
	l.Prev, err = decode(f.Prev)
	return l, err
}
