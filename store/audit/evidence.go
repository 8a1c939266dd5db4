package audit

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What somebody has of a chain without having it: a proof of one entry, or a signed
// report of a time. Unlike a chain they name no key, so that without one that is trusted
// nothing can be told of them.

// MaxEvidence bounds a proof or a report, in bytes.
const MaxEvidence = 2 * maxNote

// IsProof and IsReport say what a text is, by how it begins.
func IsProof(text []byte) bool  { return bytes.HasPrefix(text, []byte(proofHeader+"\n")) }
func IsReport(text []byte) bool { return bytes.HasPrefix(text, []byte(reportHeader+"\n")) }

// FindLeaf returns the leaf of an entry from a file that has it alone, or as a line of
// an export. It is [ErrNotFound] if there is none.
func FindLeaf(r io.Reader, seq int64) ([]byte, error) {
	lines := newLines(io.MultiReader(r, strings.NewReader("\n"))) // a leaf alone has no end of a line
	for {
		text, err := lines.next()
		if err == io.EOF {
			err = ErrNotFound
		}
		if err != nil {
			return nil, fmt.Errorf("leaf of entry %d: %w", seq, err)
		}
		var l struct{ Seq string }
		if json.Unmarshal(text, &l) == nil && l.Seq == strconv.FormatInt(seq, 10) {
			return bytes.Clone(text), nil
		}
	}
}

// VerifyProof says whether a leaf is in a chain, by a proof as [Prove] makes it.
func VerifyProof(text, leaf []byte, o Options) Report {
	began, r := time.Now(), newReport()
	p, err := ParseProof(text)
	if err != nil {
		r.find(CannotAll, -1, "%v", err)
	} else if r.evidence(p.Checkpoint.Note, p.Checkpoint.Origin, o) && r.checkpointOf(p.Checkpoint, o) {
		r.Signed = p.Checkpoint.Size
		if _, _, err := CheckProof(text, leaf, o.Trusted); err != nil {
			r.find(Tampered, p.Seq, "%v", err)
		} else {
			r.Start, r.Entries = p.Seq, 1
		}
	}
	r.finish(began)
	return r
}

// VerifyReport says whether a report is one that [SignedReport] has made, and fits what
// was kept. It returns what it says, which counts for nothing unless that is sound.
func VerifyReport(note []byte, o Options) (Report, WindowReport) {
	began, r := time.Now(), newReport()
	w, err := parseReport(note)
	if err != nil {
		r.find(CannotAll, -1, "%v", err)
	} else if r.evidence(note, w.Origin, o) {
		r.ofWindow(w, o)
	}
	r.finish(began)
	return r, w
}

// ofWindow looks at what a report says of its chain: its head, and the newest
// checkpoint of then.
func (r *Report) ofWindow(w WindowReport, o Options) {
	head, err := ParsePin("the report", w.Head)
	if err != nil {
		r.find(Tampered, -1, "%v", err)
		return
	}
	r.Size, r.Head, r.Entries, r.Start = head.Size, w.Head, w.Entries, max(0, w.FirstSeq)
	r.kept(head, o)
	c, _, err := ParseCheckpoint([]byte(w.Checkpoint))
	switch {
	case err != nil:
		r.find(Tampered, -1, "its checkpoint: %v", err)
	case c.Origin != w.Origin || c.Size > head.Size || c.Size == head.Size && c.Root != head.Root:
		r.find(Tampered, -1, "its checkpoint is not of the chain that it is of")
	case r.evidence(c.Note, c.Origin, o) && r.checkpointOf(c, o):
		r.Signed = c.Size
		r.Size, r.Head = head.Size, w.Head
	}
}

// evidence looks at who has signed a note, and returns whether a key that is trusted
// has.
func (r *Report) evidence(note []byte, origin string, o Options) bool {
	r.Origin = origin
	keys := o.Trusted.of(origin)
	by, err := signed(note, origin, keys)
	switch {
	case err != nil:
		r.find(Tampered, -1, "%v", err)
	case o.Trusted.Empty():
		r.find(CannotAll, -1, "it names no key itself; give one that you trust")
	case len(by) == 0:
		r.find(CannotAll, -1, "it is signed by none of the %d keys that are trusted for %s", len(keys), origin)
	}
	for _, key := range by {
		r.key(key)
	}
	return len(by) > 0
}

// key notes a key whose signature was valid.
func (r *Report) key(key ed25519.PublicKey) {
	if text := KeyText(key); !slices.Contains(r.Keys, text) {
		r.Keys = append(r.Keys, text)
	}
}

// checkpointOf looks at a checkpoint that a trusted key has signed.
func (r *Report) checkpointOf(c Checkpoint, o Options) bool {
	r.Checkpoints++
	r.Size, r.Head = c.Size, Head{Size: c.Size, Root: c.Root}.String()
	_, r.Incarnation, _ = parseOrigin(c.Origin)
	if err := r.cosigned(c, o.Witnesses); err != nil {
		r.find(CannotAll, -1, "%v", err)
		return false
	}
	return r.kept(c.Known("it"), o)
}

// kept compares a head with what the auditor has kept. Of another size it says nothing:
// that takes the chain.
func (r *Report) kept(head Known, o Options) bool {
	for _, k := range slices.SortedFunc(slices.Values(o.Kept), func(a, b Known) int { return cmp.Compare(a.Size, b.Size) }) {
		switch {
		case k.Origin != "" && head.Origin != "" && k.Origin != head.Origin:
			r.warn("%s is of %s", k.Where, k.Origin)
		case k.Size != head.Size:
			r.warn("%s is of %d entries and this of %d: only the chain can tell whether one continues the other", k.Where, k.Size, head.Size)
		case k.Root != head.Root:
			r.find(Tampered, k.Size-1, "%s has another root at %d", k.Where, k.Size)
			return false
		}
	}
	return true
}

// cosigned notes whether a witness that is looked for has signed a checkpoint.
func (r *Report) cosigned(c Checkpoint, witnesses []string) error {
	_, signatures, err := splitNote(c.Note)
	for _, w := range witnesses {
		name, public, bad := parseCosigner(w)
		if err = errors.Join(err, bad); err != nil {
			return err
		}
		if slices.ContainsFunc(signatures, func(s Signature) bool { return s.Name == name && s.cosigns(public, c.text()) }) {
			r.Cosigned = c.Size
		}
	}
	return err
}

// parseReport reads a report and checks nothing of it.
func parseReport(note []byte) (w WindowReport, err error) {
	if len(note) > MaxEvidence {
		return w, fmt.Errorf("read report: it has %d bytes", len(note))
	}
	at := bytes.LastIndex(note, []byte("\n\n"))
	header, rest, found := strings.Cut(string(note[:max(at, 0)]), "\n")
	if !found || header != reportHeader {
		return w, fmt.Errorf("read report: it is no %s", reportHeader)
	}
	if err := json.Unmarshal([]byte(rest), &w); err != nil {
		return w, fmt.Errorf("read report: %w", err)
	}
	if _, _, err := parseOrigin(w.Origin); err != nil {
		return w, fmt.Errorf("read report: %w", err)
	}
	return w, nil
}
