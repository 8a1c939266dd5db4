package audit

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// Compare looks at two copies of a chain entry by entry. That one is shorter than the
// other, as a copy that lags, is a warning; an entry that differs is a finding.
func Compare(ctx context.Context, a, b Log) Report {
	began, r := time.Now(), newReport()
	if err := compare(ctx, a, b, &r); err != nil {
		r.fail(err)
	}
	r.finish(began)
	return r
}

func compare(ctx context.Context, a, b Log, r *Report) error {
	_, endA, err := a.Extent(ctx)
	if err != nil {
		return fmt.Errorf("read the first chain: %w", err)
	}
	_, endB, err := b.Extent(ctx)
	if err != nil {
		return fmt.Errorf("read the second chain: %w", err)
	}
	for _, l := range []Log{a, b} {
		if f, ok := l.(*File); ok {
			r.Start = max(r.Start, f.start)
		}
	}
	r.Size = min(endA, endB)
	if endA != endB {
		r.warn("the first has %d entries and the second %d", endA, endB)
	}
	for from := r.Start; from < r.Size; from += chunk {
		to := min(from+chunk, r.Size)
		rowsA, err := readRows(ctx, a, from, to)
		if err != nil {
			return fmt.Errorf("read the first chain from %d: %w", from, err)
		}
		rowsB, err := readRows(ctx, b, from, to)
		if err != nil {
			return fmt.Errorf("read the second chain from %d: %w", from, err)
		}
		for i := range to - from {
			if !r.same(from+i, rowsA, rowsB, i) {
				return nil
			}
			r.Entries++
		}
	}
	return nil
}

// same compares the i-th rows of two lists, and returns whether to go on.
func (r *Report) same(seq int64, a, b []Row, i int64) bool {
	switch {
	case i >= int64(len(a)) || a[i].Seq != seq:
		r.find(Tampered, seq, "the first does not have it")
		return false
	case i >= int64(len(b)) || b[i].Seq != seq:
		r.find(Tampered, seq, "the second does not have it")
		return false
	case a[i].Link() != b[i].Link():
		return r.find(Tampered, seq, "its link is not the same in both")
	case a[i].Leaf != nil && b[i].Leaf != nil && !bytes.Equal(a[i].Leaf, b[i].Leaf):
		return r.find(Tampered, seq, "its leaf is not the same in both")
	}
	return true
}
