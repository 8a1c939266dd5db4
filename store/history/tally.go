package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// A rowKey is what the rows of a part are sorted by.
type rowKey struct {
	site      string
	time, seq int64
}

func keyOf(e *event.Event) rowKey { return rowKey{e.Site, e.Time, e.Seq} }

func (k rowKey) compare(l rowKey) int {
	return cmp.Or(cmp.Compare(k.site, l.site), cmp.Compare(k.time, l.time), cmp.Compare(k.seq, l.seq))
}

// A tally is what the rows of a part have in common: what the ledger keeps of
// them.
type tally struct {
	day              event.Day
	rows             int64
	first, last      int64
	minTime, maxTime int64
	sites            []string
	prev             rowKey
}

// add counts the next row, which must be of the day and sort after the one
// before.
func (t *tally) add(e *event.Event) error {
	k := keyOf(e)
	if t.rows == 0 {
		t.first, t.last, t.minTime, t.maxTime = e.Seq, e.Seq, e.Time, e.Time
	} else if t.prev.compare(k) >= 0 {
		return fmt.Errorf("event %d does not sort after event %d", e.Seq, t.prev.seq)
	}
	if day := event.DayOf(e.Time); day != t.day {
		return fmt.Errorf("event %d is of %s, not %s", e.Seq, day, t.day)
	}
	if t.rows == 0 || e.Site != t.prev.site {
		t.sites = append(t.sites, strings.Clone(e.Site)) // it may be a slice of a whole journal group
	}
	t.first, t.last = min(t.first, e.Seq), max(t.last, e.Seq)
	t.minTime, t.maxTime = min(t.minTime, e.Time), max(t.maxTime, e.Time)
	t.rows++
	t.prev = k
	return nil
}

func (t *tally) part() event.Part {
	return event.Part{
		Day: t.day, First: t.first, Last: t.last, Rows: t.rows,
		MinTime: t.minTime, MaxTime: t.maxTime, Sites: t.sites,
	}
}

// check says what part claims that the rows do not bear out.
func (t *tally) check(part event.Part) error {
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"rows", t.rows, part.Rows},
		{"first seq", t.first, part.First},
		{"last seq", t.last, part.Last},
		{"first time", t.minTime, part.MinTime},
		{"last time", t.maxTime, part.MaxTime},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s is %d, want %d", c.name, c.got, c.want)
		}
	}
	if !slices.Equal(t.sites, part.Sites) {
		return fmt.Errorf("sites are %q, want %q", t.sites, part.Sites)
	}
	return nil
}
