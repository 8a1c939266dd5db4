package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// A cover says which of a range is answered by rollups, and which is not. The two
// do not overlap, and what neither holds has no event.
type cover struct {
	// table is a relation in parentheses: start (µs of the local day or month; 0 if the
	// query does not ask for times), value (VARCHAR), seen (how many events of any name), then the figures visitors,
	// pageviews, events, visits, views, bounces and length (µs), all BIGINT and never
	// null. A statement with it fails if the lens has been rebuilt since.
	table string
	raw   []span2 // ranges that must be read raw, by time, apart from each other
	days  int     // that the table answers, those without an event too
}

// A span2 is the times from ≤ t < to, in µs; 0 leaves an end open.
type span2 struct{ from, to int64 }

// figures are the columns of a cover that are added up.
var figures = []string{"seen", "visitors", "pageviews", "events", "visits", "views", "bounces", "length"}

// emptyCover is a table of nothing.
var emptyCover = "(SELECT 0::BIGINT AS start, '' AS value, 0::BIGINT AS " + strings.Join(figures, ", 0::BIGINT AS ") + " WHERE false)"

// cover returns which days of the range of a query rollups answer for the values
// of a dimension, "" for the totals. Whole months may be taken if monthly. The
// answer is good for as long as the snapshot is held. A range with an open end is
// all raw, and so is one in another zone than the site's.
func (s *Store) cover(ctx context.Context, sn *Snapshot, q event.Query, dim event.Dimension, monthly bool) (cover, error) {
	if err := ctx.Err(); err != nil {
		return cover{}, err
	}
	rs, err := s.rollups()
	if err != nil {
		return cover{}, err
	}
	c := covering{sn: sn, at: placeOf(q.Site, q.Zone), dim: dim, done: q.From}
	if slices.Contains(rolledDims, dim) && q.From != 0 && q.To != 0 {
		calendar := rs.calendar(sn, c.at)
		if monthly {
			c.months(calendar, q.From, q.To)
		} else {
			c.days(within(calendar.days, q.From, q.To))
		}
	}
	c.skip(q.To)
	return cover{table: rs.relation(dim, c.ids, summed(q)), raw: c.raw, days: c.n}, nil
}

// summed says whether the rows of a value may be added up before anything else is done
// with them. Where there is a filter DuckDB looks for its few values first.
func summed(q event.Query) bool {
	return q.Filter.Zero() && !slices.ContainsFunc(q.Dimensions, func(d event.Dimension) bool {
		_, timely := d.Interval()
		return timely
	})
}

// rollups returns the rollups that there are now.
func (s *Store) rollups() (*rollups, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lens == nil {
		return nil, ErrLens
	}
	return s.lens.rollups, nil
}

// A covering is a cover in the making. It goes through time.
type covering struct {
	sn  *Snapshot
	at  place
	dim event.Dimension

	done int64 // up to here it is decided
	ids  []int64
	raw  []span2
	n    int
}

// months takes the months of a range that are there, and the days of the others.
func (c *covering) months(calendar *calendar, from, to int64) {
	for _, m := range within(calendar.months, from, to) {
		if !m.valid || !m.has(c.dim) || c.sn.touched(c.at.site, m.start, m.stop) {
			continue
		}
		c.days(within(calendar.days, c.done, m.start))
		c.take(m, len(within(calendar.days, m.start, m.stop)))
	}
	c.days(within(calendar.days, c.done, to))
}

// days takes those of the days that are there.
func (c *covering) days(days []entry) {
	for _, d := range days {
		if (d.empty || d.valid && d.has(c.dim)) && !c.sn.touched(c.at.site, d.start, d.stop) {
			c.take(d, 1)
		}
	}
}

// take takes a day or a month, and skips what is before it.
func (c *covering) take(e entry, days int) {
	c.skip(e.start)
	c.done = e.stop
	c.n += days
	if e.id != 0 && !e.empty {
		c.ids = append(c.ids, e.id)
	}
}

// skip leaves what is before a time to be read raw, if anything can be there.
func (c *covering) skip(to int64) {
	from := c.done
	if from != 0 && to != 0 && from >= to {
		return
	}
	c.done = to
	if from != 0 && to != 0 {
		if parts, sound := c.sn.concerning(c.at.site, from, to); len(parts) == 0 && sound && !c.sn.touched(c.at.site, from, to) {
			return
		}
	}
	c.raw = append(c.raw, span2{from, to})
}

// relation returns the values of spans. If they are summed up there is a row a value,
// and no start: numbers are faster to group by than their texts.
func (rs *rollups) relation(dim event.Dimension, ids []int64, summed bool) string {
	if len(ids) == 0 {
		return emptyCover
	}
	of := " FROM " + rs.table(dim) + " WHERE dim = " + strconv.Itoa(code(dim)) + " AND " + spansIn(ids)
	if dim == "" {
		return "(SELECT start, '' AS value, * EXCLUDE (span, dim, start, value)" + of + ")"
	}
	sums := "SELECT value AS id, * EXCLUDE (span, dim, value)" + of
	if summed {
		sums = "SELECT value AS id, 0::BIGINT AS start"
		for _, name := range figures {
			sums += ", sum(" + name + ")::BIGINT AS " + name
		}
		sums += of + " GROUP BY value"
	}
	return "(SELECT * EXCLUDE (id) FROM (" + sums + ") JOIN " + rs.texts() + " USING (id))"
}

// maxGaps is for how many gaps between spans a comparison for each is faster than a
// list of the spans.
const maxGaps = 16

// spansIn returns the condition that a span is one of some. Most of them were worked
// out one after the other, so that there are few gaps between their ids. Comparisons
// with these are made while DuckDB reads, which skips what they leave out; of a
// long list it makes a table and a join, which took a quarter of the time of a year.
func spansIn(ids []int64) string {
	sorted := slices.Sorted(slices.Values(ids))
	terms := []string{"span >= " + number(sorted[0]), "span <= " + number(sorted[len(sorted)-1])}
	for i, id := range sorted[1:] {
		if last := sorted[i]; id > last+1 {
			terms = append(terms, "(span <= "+number(last)+" OR span >= "+number(id)+")")
		}
	}
	if len(terms) > 2+maxGaps {
		return "span IN (" + numbers(ids) + ")"
	}
	return strings.Join(terms, " AND ")
}
