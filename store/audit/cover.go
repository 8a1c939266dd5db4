package audit

import (
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// A cover is what may be missing from a chain, and what is: private values that were
// erased, leaves that were pruned. The entries that allow it come after what they
// allow, so that it is judged at the end.
type cover struct {
	lacking [2]bitset // entries of which a private value is gone; see setOf
	erased  [2]bitset // entries that one after them says were erased

	runs   [][2]int64 // leaves that are gone, as first and last
	before int64      // the highest below which an entry has pruned

	present, gone int64
}

// maxRuns bounds the runs of pruned leaves: there is one, unless somebody has been at
// the chain.
const maxRuns = 100

// setOf returns which of the sets a private value belongs to: sources have one of their
// own, because they are erased by themselves when they are old.
func setOf(field string) int {
	if field == SourceField {
		return 0
	}
	return 1
}

func (c *cover) pruned(seq int64) {
	if n := len(c.runs); n > 0 && (c.runs[n-1][1] == seq-1 || n == maxRuns) {
		c.runs[n-1][1] = seq
		return
	}
	c.runs = append(c.runs, [2]int64{seq, seq})
}

// entry takes an entry and those of its private values that there are, and returns
// what is wrong with them.
func (c *cover) entry(seq int64, l Leaf, private []Private, judge bool) (wrong []string) {
	switch l.Kind {
	case Erase:
		if err := c.erase(seq, l.Detail["field"], l.Detail["seqs"]); err != nil {
			wrong = append(wrong, err.Error())
		}
	case Prune:
		before, err := strconv.ParseInt(l.Detail["before"], 10, 64)
		if err != nil || before < 0 || before > seq {
			wrong = append(wrong, fmt.Sprintf("it prunes up to %q", l.Detail["before"]))
		}
		c.before = max(c.before, min(before, seq))
	}
	if !judge {
		return wrong
	}
	have := make(map[string]bool)
	for _, p := range private {
		if commitment, ok := l.Private[p.Field]; !ok || commitment != p.Commitment() || have[p.Field] {
			wrong = append(wrong, fmt.Sprintf("the private value %q is not the one that it was recorded with", p.Field))
		}
		have[p.Field] = true
		c.present++
	}
	for field := range l.Private {
		if !have[field] {
			c.lacking[setOf(field)].set(seq)
			c.gone++
		}
	}
	return wrong
}

// erase reads a list like "12,15-19", of entries whose values of a field were erased,
// or all of their values if it is "".
func (c *cover) erase(at int64, field, seqs string) error {
	for part := range strings.SplitSeq(seqs, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseInt(low, 10, 64)
		to, bad := strconv.ParseInt(high, 10, 64)
		if err != nil || bad != nil || from < 0 || to < from || to >= at {
			return fmt.Errorf("it erases of %q", part)
		}
		for seq := from; seq <= to; seq++ {
			for i := range c.erased {
				if field == "" || i == setOf(field) {
					c.erased[i].set(seq)
				}
			}
		}
	}
	return nil
}

// end returns what is missing without an entry that allows it.
func (c *cover) end(signed int64, judge bool) (wrong []Finding) {
	allowed := c.before
	if allowed > signed {
		allowed = 0
	}
	for _, run := range c.runs {
		if run[1] >= allowed {
			wrong = append(wrong, Finding{Seq: max(run[0], allowed), What: "its leaf is missing, and no entry below a checkpoint says that it was pruned"})
		}
	}
	if !judge {
		return wrong
	}
	for i, lacking := range c.lacking {
		for seq := range lacking.without(c.erased[i]) {
			if len(wrong) == maxFindings {
				return wrong
			}
			wrong = append(wrong, Finding{Seq: seq, What: "a private value is missing, and no entry says that it was erased"})
		}
	}
	return wrong
}

// A bitset is a set of seqs.
type bitset []uint64

func (b *bitset) set(seq int64) {
	for int64(len(*b)) <= seq/64 {
		*b = append(*b, 0)
	}
	(*b)[seq/64] |= 1 << (seq % 64)
}

// without yields what is in b and not in other.
func (b bitset) without(other bitset) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i, word := range b {
			if i < len(other) {
				word &^= other[i]
			}
			for ; word != 0; word &= word - 1 {
				if !yield(int64(i)*64 + int64(bits.TrailingZeros64(word))) {
					return
				}
			}
		}
	}
}
