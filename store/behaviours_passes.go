package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/plan"
)

// passes is a reading, cut into statements.
type passes struct {
	s  *Store
	sn *Snapshot
	r  *reading

	groups [][]slice // units are whole within a group
}

// A slice is some days of a reading, and in how many parts they are read.
type slice struct {
	from, to int64
	rows     int // events that the parts may have of them
}

// cut fills groups.
func (p *passes) cut() {
	all := p.slices()
	if p.r.scope.Unit == event.PerUser {
		p.groups = [][]slice{all}
		return
	}
	for _, sl := range all {
		p.groups = append(p.groups, []slice{sl})
	}
}

// slices cuts the reading at local midnights.
func (p *passes) slices() []slice {
	days := make([]int, len(p.r.starts)-1)
	listed := p.r.listed.within(p.r.from, p.r.to)
	at := 0 // both are in order, and there may be many: years of nothing between two events
	for _, d := range listed.days {
		at = p.r.day(d.start, at)
		days[at] += int(max(d.users, 0))
	}
	for i := range p.sn.v.parts {
		part := &p.sn.v.parts[i]
		if !overlaps(part, p.r.scope.Site, p.r.from, p.r.to) || listed.holds(part, p.r.from, p.r.to) {
			continue
		}
		rows := int(part.Rows)
		if p.r.brief() { // a unit is one row of many parts, and its rows are short
			rows = (rows + 3) / 4
		}
		first, last := p.r.day(part.MinTime, 0), p.r.day(part.MaxTime, 0)
		for d := first; d <= last; d++ {
			days[d] += rows / (last - first + 1)
		}
	}
	for _, g := range p.sn.v.hot {
		days[len(days)-1] += int(g.rows)
	}
	var all []slice
	for d, rows := range days {
		next := slice{p.r.starts[d], p.r.starts[d+1], rows}
		if n := len(all); n > 0 && all[n-1].rows+rows <= p.r.rows {
			all[n-1].to, all[n-1].rows = next.to, all[n-1].rows+rows
			continue
		}
		all = append(all, next)
	}
	return all
}

// day returns in which day of the reading a time is, near another one; the first
// or the last if it is before or after all of them.
func (r *reading) day(t int64, near int) int {
	for near > 0 && t < r.starts[near] {
		near--
	}
	for near < len(r.starts)-2 && t >= r.starts[near+1] {
		near++
	}
	return near
}

// keys are the columns whose value says whose an event is.
var keys = map[event.Unit]string{event.PerVisitor: "visitor", event.PerVisit: "visit", event.PerUser: `"user"`}

// bind returns the statement of a slice, and of one part of n.
func (p *passes) bind(sl slice, i, n int) (string, error) {
	r := p.r
	read := plan.Range{From: max(sl.from, r.from), To: min(sl.to, r.to)}
	where := []string{keys[r.scope.Unit] + " IS NOT NULL"}
	if r.scope.Unit == event.PerVisit {
		const t, began = `epoch_us("time")`, "epoch_us(visit_start)"
		where = append(where, timesIn(began, read.From, read.To),
			fmt.Sprintf("%s >= %s - %d AND %s < %s + %d", t, began, plan.Behind, t, began, plan.Ahead))
		read.From, read.To = read.From-plan.Behind, read.To+plan.Ahead
	}
	if n > 1 {
		where = append(where, fmt.Sprintf("hash(%s) %% %d = %d", keys[r.scope.Unit], n, i))
	}
	filters := r.conditions
	if f := r.scope.Filter; !f.Zero() {
		filters = append(filters[:len(filters):len(filters)], f)
	}
	sn, more := p.sn, ""
	if r.brief() {
		sn, more = p.inCells(where, read)
	}
	in := plan.Input{Events: func(from, to int64) string { return sn.Relation(r.scope.Site, from, to) }}
	all := len(filters)
	if !r.all {
		filters = append(filters[:all:all], implied(filters)...)
	}
	m, err := plan.Mark(in, r.scope.Site, read, filters, r.value)
	if err != nil {
		return "", err
	}
	if r.first && r.scope.Unit != event.PerUser { // whose events are in other slices too
		where = append(where, fmt.Sprintf("%[1]s IN (SELECT %[1]s%s AND %s AND %s)", keys[r.scope.Unit], m.From, strings.Join(where, " AND "), m.Hold[0]))
	}
	where = append(where, m.Hold[all:]...)
	value, kept := "value", "mask <> 0"
	if len(m.Hold) > all { // few rows are left that have no bit; DuckDB would work out the mask twice to find them
		kept = "true"
	}
	if r.valued != 0 {
		value = fmt.Sprintf("CASE WHEN mask & %d <> 0 THEN value END", r.valued)
	}
	if r.all {
		kept = "true"
	}
	return strings.NewReplacer(
		"{{with}}", m.With, "{{seq}}", map[bool]string{false: "seq", true: "0::BIGINT"}[r.cells != nil], "{{value}}", value, "{{key}}", keys[r.scope.Unit], "{{mask}}", r.mask(m.Hold[:all]),
		"{{column}}", m.Value, "{{from}}", m.From, "{{where}}", strings.Join(where, " AND "), "{{kept}}", kept,
	).Replace(behavioursSQL) + more, nil
}

// every is the mask of an event for which all conditions hold.
func (r *reading) every() uint64 { return 1<<len(r.conditions) - 1 }

// brief says whether nothing but cells matters of an event: then no column but its key is
// read of the parts that are within one.
func (r *reading) brief() bool {
	return r.cells != nil && r.scope.Unit == event.PerUser && r.scope.Filter.Zero()
}

// inCells returns statements to be added to the one for the rest of the snapshot: the
// users that rollups list of days in one cell, and a row a unit, at a time in the cell, for
// all other parts of one that have something in the range. What these have outside of it is
// in the same cell, and may be read more than once.
func (p *passes) inCells(where []string, in plan.Range) (rest *Snapshot, text string) {
	site, cells := p.r.scope.Site, p.r.cells
	listed := p.r.listed.within(in.From, in.To)
	if ids := listed.spans(); len(ids) > 0 {
		text = fmt.Sprintf("\nUNION ALL SELECT %[1]s, start, 0, %[2]d, NULL FROM %[3]s WHERE %[4]s AND %[5]s",
			keys[p.r.scope.Unit], p.r.every(), listed.table, spansIn(ids), strings.Join(where, " AND "))
	}
	v := *p.sn.v
	v.parts = nil
	within := make(map[int][]event.Part)
	for _, part := range p.sn.v.parts {
		if !overlaps(&part, site, in.From, in.To) || listed.holds(&part, in.From, in.To) {
			continue
		}
		i, _ := slices.BinarySearch(cells, part.MinTime+1) // cells[i-1] ≤ MinTime < cells[i]
		if part.MaxTime >= cells[i] {
			v.parts = append(v.parts, part)
			continue
		}
		within[i] = append(within[i], part)
	}
	where = append([]string{"site = " + quote(site)}, where...)
	for _, i := range slices.Sorted(maps.Keys(within)) {
		of := Snapshot{s: p.sn.s, v: &view{parts: within[i]}}
		text += fmt.Sprintf("\nUNION ALL SELECT %[1]s, %[2]d, 0, %[3]d, NULL FROM %[4]s AS events WHERE %[5]s GROUP BY %[1]s",
			keys[p.r.scope.Unit], within[i][0].MinTime, p.r.every(), of.Relation(site, 0, 0), strings.Join(where, " AND "))
	}
	return &Snapshot{s: p.sn.s, v: &v}, text
}

// implied returns filters that hold for every event for which any of some does.
// DuckDB does not find them in a mask; from them it knows early which rows not to
// read the other columns of.
func implied(filters []event.Filter) (more []event.Filter) {
	for _, d := range []event.Dimension{"path", "name"} {
		if values, ok := valuesOf(event.Any(filters...), d); ok && len(values) > 0 && len(values) <= 100 {
			more = append(more, event.Filter{Op: event.Is, Dimension: d, Values: values})
		}
	}
	return more
}

// valuesOf returns values of which an event for which f holds has one, if there
// are any such.
func valuesOf(f event.Filter, d event.Dimension) (values []string, ok bool) {
	switch {
	case f.Op == event.Is && f.Dimension == d && !f.IgnoreCase:
		return f.Values, true
	case f.Op == event.And:
		for _, of := range f.Of {
			if values, ok := valuesOf(of, d); ok {
				return values, true
			}
		}
	case f.Op == event.Or:
		for _, of := range f.Of {
			more, ok := valuesOf(of, d)
			if !ok {
				return nil, false
			}
			values = append(values, more...)
		}
		slices.Sort(values)
		return slices.Compact(values), len(f.Of) > 0
	}
	return nil, false
}

// mask returns the SQL of the mask, given that of the conditions and, behind
// them, the filter.
func (r *reading) mask(hold []string) string {
	var terms []string
	for n, text := range hold {
		bit := uint64(1) << n
		if n == len(r.conditions) {
			bit = filterBit
			if r.scope.Unit != event.PerVisit {
				text = "(" + text + ") AND " + timesIn(`epoch_us("time")`, r.scope.From, r.scope.To)
			}
		}
		terms = append(terms, fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", text, bit))
	}
	return "(" + strings.Join(append(terms, "0"), " | ") + ")::BIGINT"
}

// timesIn returns the SQL of from ≤ text < to, where 0 leaves an end open.
func timesIn(text string, from, to int64) string {
	terms := "true"
	if from != 0 {
		terms += " AND " + text + " >= " + strconv.FormatInt(from, 10)
	}
	if to != 0 {
		terms += " AND " + text + " < " + strconv.FormatInt(to, 10)
	}
	return terms
}

// A brood is some units with all their events.
type brood struct {
	table  behaviour.Table
	ids    map[string]uint32
	values []string
}

// value returns the number of a text.
func (b *brood) value(text string) uint32 {
	id, known := b.ids[text]
	if !known {
		text = strings.Clone(text)
		id = uint32(len(b.values))
		b.values = append(b.values, text)
		b.ids[text] = id
	}
	return id
}

func (b *brood) reset() {
	b.table.Reset()
	b.ids, b.values = map[string]uint32{}, []string{""}
	b.ids[""] = 0
}

// run reads the passes one after the other, and counts one while it reads the
// next.
func (p *passes) run(ctx context.Context, each units) error {
	ctx, cancel := context.WithCancel(ctx)
	full, free := make(chan *brood), make(chan *brood, 2)
	free <- &brood{}
	free <- &brood{}
	var readErr error
	go func() {
		defer close(full)
		readErr = p.read(ctx, free, full)
	}()
	var err error
	for b := range full {
		if err == nil {
			err = p.count(b, each)
		}
		if err != nil {
			cancel()
		}
		free <- b
	}
	cancel()
	if err != nil {
		return err
	}
	return readErr
}

// read brings all groups of all passes into batches.
func (p *passes) read(ctx context.Context, free chan *brood, full chan<- *brood) error {
	conn, err := p.s.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, group := range p.groups {
		n, err := p.parts(ctx, conn, group)
		if err != nil {
			return err
		}
		for i := 0; i < n; i++ {
			var b *brood
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			more, err := p.fill(ctx, conn, group, i, n, b)
			if err != nil {
				return err
			}
			if more > 1 { // there is more than was thought: begin again
				n, i = n*more, -1
				free <- b
				continue
			}
			full <- b
		}
	}
	return nil
}

// fill reads one part of n of a group. If it sees in the first of them that this
// is more than should be held at once it stops, and returns into how many parts
// each part should be split.
func (p *passes) fill(ctx context.Context, conn *sql.Conn, group []slice, i, n int, b *brood) (more int, err error) {
	b.reset()
	seen, all := 0, 0
	for _, sl := range group {
		all += 1 + sl.rows // a slice may have more than is thought, also than nothing
	}
	most := 2 * p.r.rows
	for _, sl := range group {
		if err := p.load(ctx, conn, sl, i, n, b); err != nil {
			return 0, err
		}
		seen += 1 + sl.rows
		if held := b.table.Len(); held > most && i == 0 && n < 1<<20 {
			// The first slice may have most of it. Too many parts cost more than to
			// begin once again.
			return min(1+int(1.2*float64(held)/float64(most)*float64(all)/float64(seen)), 4), nil
		}
	}
	return 1, nil
}

// parts returns into how many parts a group is split at first, by a hash of the
// units. The number of events that parts list is an upper bound and known at once;
// whether it is far off is worth a count where a slice may have too many.
func (p *passes) parts(ctx context.Context, conn *sql.Conn, group []slice) (int, error) {
	if !slices.ContainsFunc(group, func(sl slice) bool { return sl.rows > p.r.rows }) {
		return 1, nil
	}
	rows := 0
	for _, sl := range group {
		text, err := p.bind(sl, 0, 1)
		if err != nil {
			return 0, err
		}
		var n int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM ("+text+")").Scan(&n); err != nil {
			return 0, err
		}
		rows += n
	}
	return 1 + rows/p.r.rows, nil
}

// load adds a slice's rows to a batch.
func (p *passes) load(ctx context.Context, conn *sql.Conn, sl slice, i, n int, b *brood) error {
	text, err := p.bind(sl, i, n)
	if err != nil {
		return err
	}
	day := 0
	return records(ctx, conn, text, nil, func(rec arrow.RecordBatch) error {
		times, seqs := rec.Column(1).(*array.Int64), rec.Column(2).(*array.Int64)
		masks, values := rec.Column(3).(*array.Int64), rec.Column(4).(*array.String)
		for row := range int(rec.NumRows()) {
			e := behaviour.Event{Time: times.Value(row), Seq: seqs.Value(row), Mask: uint64(masks.Value(row))}
			if e.Mask == 0 && !p.r.all {
				continue
			}
			if p.r.value != "" && values.IsValid(row) {
				e.Value = b.value(values.Value(row))
			}
			key := keyOf(rec.Column(0), row)
			if p.r.scope.Unit == event.PerVisitor {
				day = p.r.day(e.Time, day)
				key.Day = int32(day)
			}
			b.table.Add(key, e)
		}
		return nil
	})
}

// keyOf returns an id of 128 bits, which comes as text, or of 64.
func keyOf(column arrow.Array, row int) (k behaviour.Key) {
	ids, ok := column.(*array.String)
	if !ok {
		k.Lo = uint64(column.(*array.Int64).Value(row))
		return k
	}
	s := ids.Value(row)
	k.Hi = hexOf(s[0:8])<<32 | hexOf(s[9:13])<<16 | hexOf(s[14:18])
	k.Lo = hexOf(s[19:23])<<48 | hexOf(s[24:36])
	return k
}

func hexOf(s string) (n uint64) {
	for i := range len(s) {
		c := uint64(s[i])
		n = n<<4 | c&15 + c>>6*9
	}
	return n
}

// count hands the units of a batch on, without the bit of the filter and those
// events that were there for it alone.
func (p *passes) count(b *brood, each units) (err error) {
	filtered := !p.r.scope.Filter.Zero()
	b.table.Each(func(events []behaviour.Event) bool {
		if filtered {
			if events = p.through(events); len(events) == 0 {
				return true
			}
		}
		err = each(events, b.values)
		return err == nil
	})
	return err
}

// through returns what is left of a unit's events: nothing, if the filter holds
// for none of them.
func (p *passes) through(events []behaviour.Event) []behaviour.Event {
	var seen uint64
	kept := events[:0]
	for _, e := range events {
		seen |= e.Mask
		if e.Mask &^= filterBit; e.Mask != 0 || p.r.all {
			kept = append(kept, e)
		}
	}
	if seen&filterBit == 0 {
		return nil
	}
	return kept
}
