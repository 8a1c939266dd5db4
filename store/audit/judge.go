package audit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// What a verification looks at in one entry and in one checkpoint. What becomes of a
// whole chain is in verify.go.

// row looks at the next entry.
func (v *verifier) row(r Row, private []Private) error {
	seq := v.chain.size
	if r.Seq > seq {
		return v.gap(r.Seq)
	}
	if r.Seq < seq {
		v.r.find(Tampered, seq, "entry %d is there out of its turn", r.Seq)
		return errEnough
	}
	prev, link := v.chain.link, r.Link()
	if r.Leaf != nil {
		link = tlog.RecordHash(r.Leaf)
	}
	nodes := v.chain.grow(link)
	v.chain.link = link
	v.r.Entries++
	if !bytes.Equal(nodes, r.Hashes) {
		what := "the nodes of the tree kept with it do not follow from the entries"
		if link != r.Link() {
			what = "its leaf is not the one that its link was made of"
		}
		if err := v.find(Tampered, seq, "%s", what); err != nil {
			return err
		}
	}
	if r.Leaf == nil {
		v.pruned(seq)
		return nil
	}
	l, err := Parse(r.Leaf)
	if err != nil {
		v.at = 0
		if version, other := otherVersion(r.Leaf); other {
			return v.find(CannotAll, seq, "its leaf is of version %d, this program knows %d", version, Version)
		}
		return v.find(Tampered, seq, "%v", err)
	}
	return v.leaf(seq, l, r, prev, private)
}

// leaf looks at what an entry says.
func (v *verifier) leaf(seq int64, l Leaf, r Row, prev tlog.Hash, private []Private) error {
	var errs []error
	find := func(format string, args ...any) { errs = append(errs, v.find(Tampered, seq, format, args...)) }
	if l.Seq != seq {
		find("its leaf says that it is entry %d", l.Seq)
	}
	switch {
	case seq == 0:
		v.first = &l.Prev
	case l.Prev != prev:
		find("it names another entry before it than the one that is there")
	}
	if v.columns && (r.Time != l.Time.UnixMicro() || r.Kind != l.Kind || r.Outcome != l.Outcome || r.Actor != l.Actor || r.Object != l.Object || r.Request != l.Request) {
		find("the columns kept with it do not say what its leaf says")
	}
	if why := v.incarnation(seq, l); why != "" {
		find("%s", why)
	}
	if l.Time.Before(v.last) {
		if v.backwards++; v.backwards == 1 {
			v.r.warn("entry %d was recorded before the one before it: the clock was set back", seq)
		}
	}
	v.last = l.Time
	if !known[l.Kind] || l.Kind == Unknown {
		v.r.UnknownKinds++
	}
	if l.Kind == Genesis || l.Kind == Rotate {
		if err := v.keys.name(seq, l.Detail["key"]); err != nil {
			find("%v", err)
		}
	}
	for _, why := range v.cover.entry(seq, l, private, v.private != nil) {
		find("%s", why)
	}
	return errors.Join(errs...)
}

// incarnation returns why an entry cannot be of the incarnation that it names.
func (v *verifier) incarnation(seq int64, l Leaf) string {
	before := v.at
	v.at = l.Incarnation
	switch {
	case (seq == 0) != (l.Kind == Genesis):
		return fmt.Sprintf("it is %s, and only the first entry is %s", l.Kind, Genesis)
	case seq == 0 && l.Incarnation != 1:
		return "the first entry is not of the first incarnation"
	case seq == 0 || before == 0:
		return ""
	case l.Kind == Adopt && l.Incarnation != before+1, l.Kind != Adopt && l.Incarnation != before:
		return fmt.Sprintf("it is of incarnation %d after one of %d, and is %s", l.Incarnation, before, l.Kind)
	}
	if l.Kind == Adopt {
		v.adopt(l)
	}
	return ""
}

// adopt lets go of what an adoption took the place of.
func (v *verifier) adopt(l Leaf) {
	v.known = slices.DeleteFunc(v.known, func(k Known) bool {
		of := l.Incarnation - 1
		if _, n, err := parseOrigin(k.Origin); err == nil {
			of = n
		}
		over := l.covers(of, k)
		if over {
			v.r.warn("%s is of %d entries, and entry %d has adopted another chain over it", k.Where, k.Size, l.Seq)
		}
		return over
	})
}

func (v *verifier) pruned(seq int64) {
	v.r.Pruned++
	v.at = 0
	v.cover.pruned(seq)
}

// checkpoint looks at a checkpoint of the size that the chain has come to.
func (v *verifier) checkpoint(c Checkpoint) error {
	v.r.Checkpoints++
	at := c.Size - 1
	if bytes.Equal(c.Note, v.note) {
		return v.find(Tampered, at, "checkpoint of %d: it is there twice", c.Size)
	}
	v.note = c.Note
	said, _, err := ParseCheckpoint(c.Note)
	if err != nil {
		return v.find(Tampered, at, "checkpoint of %d: %v", c.Size, err)
	}
	if said.Origin != c.Origin || said.Size != c.Size || said.Root != c.Root {
		return v.find(Tampered, at, "checkpoint of %d: what is kept with it is not what it says", c.Size)
	}
	if said.Root != v.chain.Head().Root {
		if err := v.find(Tampered, at, "checkpoint of %d: the entries make another root", c.Size); err != nil {
			return err
		}
	}
	instance, incarnation, _ := parseOrigin(c.Origin)
	if v.instance == "" {
		v.instance = instance
	}
	if instance != v.instance || v.at != 0 && incarnation != v.at {
		if err := v.find(Tampered, at, "checkpoint of %d: it is of %s, and the entries of incarnation %d of %s", c.Size, c.Origin, v.at, v.instance); err != nil {
			return err
		}
	}
	v.r.Origin, v.signed = c.Origin, c.Size
	if err := v.r.cosigned(c, v.o.Witnesses); err != nil {
		return err
	}
	if why := v.keys.checkpoint(c, &v.r); why != "" {
		return v.find(Tampered, at, "checkpoint of %d: %s", c.Size, why)
	}
	return nil
}

// compare looks at what is known of the size that the chain has come to.
func (v *verifier) compare() error {
	for len(v.known) > 0 && v.known[0].Size == v.chain.size {
		k := v.known[0]
		v.known = v.known[1:]
		if k.Root == v.chain.Head().Root {
			continue
		}
		if err := v.find(Tampered, k.Size-1, "%s has another root at %d", k.Where, k.Size); err != nil {
			return err
		}
	}
	return nil
}
