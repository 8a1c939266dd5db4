package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// rollups is what is known in memory of the rollups of a lens.
type rollups struct {
	schema string // of the tables of values

	mu    sync.Mutex
	sites map[string]*siteRollups
	next  int64   // id of the next span
	dead  []int64 // spans whose rows nobody reads any more
}

// siteRollups are the spans of a site. Guarded by rollups.mu.
type siteRollups struct {
	zone     string
	spans    map[spanKey]rollup
	hopeless map[spanKey]fingerprint // what could not be worked out

	last *calendar // the one that was asked for last; nil after a change of spans
}

// A spanKey tells the spans of a site from each other.
type spanKey struct {
	start int64
	month bool
}

func (r rollup) key() spanKey { return spanKey{r.start, r.month} }

// openRollups makes the tables, or reads what spans there are.
func openRollups(ctx context.Context, db *sql.DB) (*rollups, error) {
	rs := &rollups{sites: make(map[string]*siteRollups), next: 1}
	if err := db.QueryRowContext(ctx, "SELECT coalesce(max(rollups), '') FROM lens.stamp").Scan(&rs.schema); err != nil {
		return nil, err
	}
	if rs.schema == "" {
		return rs, rs.create(ctx, db)
	}
	if err := rs.read(ctx, db); err != nil {
		return nil, err
	}
	return rs, rs.orphans(ctx, db)
}

// create makes the tables, in one transaction with the stamp that names them.
func (rs *rollups) create(ctx context.Context, db *sql.DB) error {
	var b [8]byte
	rand.Read(b[:])
	rs.schema = "r" + hex.EncodeToString(b[:])
	return transact(ctx, db, func(tx *transaction) error {
		stmts := []string{
			"CREATE SCHEMA lens.rollups",
			"CREATE TABLE lens.rollups.spans (id BIGINT NOT NULL, site VARCHAR NOT NULL, zone VARCHAR NOT NULL," +
				" start BIGINT NOT NULL, stop BIGINT NOT NULL, month BOOLEAN NOT NULL, print VARCHAR NOT NULL, parts BIGINT[] NOT NULL," +
				" dims UBIGINT NOT NULL, row_count BIGINT NOT NULL, users BIGINT NOT NULL, events BIGINT NOT NULL)",
			"CREATE SCHEMA lens." + rs.schema,
			"CREATE TABLE " + rs.texts() + " (id UINTEGER NOT NULL, value VARCHAR NOT NULL)",
			"INSERT INTO " + rs.texts() + " VALUES (0, '')",
			"CREATE TABLE " + rs.users() + ` (span BIGINT NOT NULL, start BIGINT NOT NULL, "user" UUID NOT NULL)`,
		}
		for _, table := range rs.tables() {
			stmts = append(stmts, "CREATE TABLE "+table+" (span BIGINT NOT NULL, dim UTINYINT NOT NULL, start BIGINT NOT NULL, value UINTEGER NOT NULL,"+
				" seen BIGINT NOT NULL, visitors BIGINT NOT NULL, pageviews BIGINT NOT NULL, events BIGINT NOT NULL,"+
				" visits BIGINT NOT NULL, views BIGINT NOT NULL, bounces BIGINT NOT NULL, length BIGINT NOT NULL)")
		}
		for _, stmt := range append(stmts, "UPDATE lens.stamp SET rollups = "+quote(rs.schema)) {
			if _, err := tx.exec(stmt); err != nil {
				return fmt.Errorf("make rollups: %w", err)
			}
		}
		return nil
	})
}

// tables returns the tables of totals and of sums by value. They have the same columns.
func (rs *rollups) tables() (list []string) {
	for _, dim := range rolledDims {
		if table := rs.table(dim); !slices.Contains(list, table) {
			list = append(list, table)
		}
	}
	return list
}

// texts returns the table that has the values of all dimensions. Number 0 is "".
func (rs *rollups) texts() string { return "lens." + rs.schema + ".texts" }

// table returns the table that has the sums by the values of a dimension. Those of pages
// have one each: they are half of all rows, which whoever asks for another dimension
// would have to read over.
func (rs *rollups) table(dim event.Dimension) string {
	switch dim {
	case "":
		return "lens." + rs.schema + ".totals"
	case "path", "entry_path", event.ExitPath:
		return "lens." + rs.schema + ".sums_" + string(dim)
	}
	return "lens." + rs.schema + ".sums"
}

// users returns the table that has the users of days.
func (rs *rollups) users() string { return "lens." + rs.schema + ".users" }

func (rs *rollups) read(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT id, site, zone, start, stop, month, print, dims, row_count, users, events FROM lens.rollups.spans")
	if err != nil {
		return fmt.Errorf("read rollups: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r rollup
		var site, zone, print string
		if err := rows.Scan(&r.id, &site, &zone, &r.start, &r.stop, &r.month, &print, &r.dims, &r.rows, &r.users, &r.events); err != nil {
			return fmt.Errorf("read rollups: %w", err)
		}
		if n, err := hex.Decode(r.print[:], []byte(print)); err != nil || n != len(r.print) {
			return fmt.Errorf("read rollups: span %d has no fingerprint", r.id)
		}
		rs.next = max(rs.next, r.id+1)
		rs.of(site, zone).spans[r.key()] = r
	}
	return rows.Err()
}

// orphans finds the rows of spans that were replaced before a crash or a stop.
func (rs *rollups) orphans(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT DISTINCT span FROM "+rs.table("")+" WHERE span NOT IN (SELECT id FROM lens.rollups.spans)")
	if err != nil {
		return fmt.Errorf("read rollups: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("read rollups: %w", err)
		}
		rs.next = max(rs.next, id+1)
		rs.dead = append(rs.dead, id)
	}
	return rows.Err()
}

// of returns the spans of a site, with mu held or before anybody else knows rs.
// Those of another zone are forgotten; see strangers.
func (rs *rollups) of(site, zone string) *siteRollups {
	sr := rs.sites[site]
	if sr == nil || sr.zone != zone {
		sr = &siteRollups{zone: zone, spans: make(map[spanKey]rollup), hopeless: make(map[spanKey]fingerprint)}
		rs.sites[site] = sr
	}
	return sr
}

// put adds a span, or replaces the one of its time.
func (rs *rollups) put(at place, r rollup) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	sr := rs.of(at.site, at.zone.String())
	sr.spans[r.key()], sr.last = r, nil
	delete(sr.hopeless, r.key())
}

// find returns the span that there is of the time of r, true or not.
func (rs *rollups) find(site string, r rollup) (rollup, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	sr := rs.sites[site]
	if sr == nil {
		return rollup{}, false
	}
	found, ok := sr.spans[r.key()]
	return found, ok
}

// giveUp notes that r cannot be worked out, gaveUp says whether that was so for the
// same parts.
func (rs *rollups) giveUp(at place, r rollup) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.of(at.site, at.zone.String()).hopeless[r.key()] = r.print
}

func (rs *rollups) gaveUp(site string, r rollup) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	sr := rs.sites[site]
	return sr != nil && sr.hopeless[r.key()] == r.print
}

// id returns the id of a new span.
func (rs *rollups) id() int64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.next++
	return rs.next - 1
}

// strangers returns the spans of sites that are not among those of zones, or that
// have another one.
func (rs *rollups) strangers(zones map[string]string) (spans []rollup) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for site, sr := range rs.sites {
		if zone, ok := zones[site]; ok && zone == sr.zone {
			continue
		}
		for _, r := range sr.spans {
			spans = append(spans, r)
		}
	}
	return spans
}

// forget removes spans.
func (rs *rollups) forget(spans []rollup) {
	gone := make(map[int64]bool, len(spans))
	for _, r := range spans {
		gone[r.id] = true
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for site, sr := range rs.sites {
		before := len(sr.spans)
		for k, r := range sr.spans {
			if gone[r.id] {
				delete(sr.spans, k)
			}
		}
		if len(sr.spans) != before {
			sr.last = nil
		}
		if len(sr.spans) == 0 && len(sr.hopeless) == 0 {
			delete(rs.sites, site)
		}
	}
}

// bury notes spans whose rows may be deleted, takeDead returns all of them.
func (rs *rollups) bury(ids []int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.dead = append(rs.dead, ids...)
}

func (rs *rollups) takeDead() []int64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	dead := rs.dead
	rs.dead = nil
	return dead
}

// tally returns how many spans and rows there are.
func (rs *rollups) tally() (spans int, rows int64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, sr := range rs.sites {
		spans += len(sr.spans)
		for _, r := range sr.spans {
			rows += r.rows
		}
	}
	return spans, rows
}

// A fingerprint is a hash over everything that the sums of a span depend on.
type fingerprint [16]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

// fingerprintOf returns that of [start, stop) and the parts that concern it, which
// are in the order of a view.
func fingerprintOf(at place, start, stop int64, parts []event.Part) (f fingerprint) {
	b := make([]byte, 0, 64+40*len(parts))
	b = append(append(append(b, at.site...), 0), at.zone.String()...)
	b = binary.BigEndian.AppendUint64(append(b, 0), uint64(start))
	b = binary.BigEndian.AppendUint64(b, uint64(stop))
	for i := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(parts[i].ID))
		b = append(b, parts[i].SHA256[:]...)
	}
	sum := sha256.Sum256(b)
	copy(f[:], sum[:])
	return f
}

// around is how far from a day a row can be that its figures depend on: an event at
// the one end of what is followed of a visit, the day at the other.
const around = visitBehind + visitAhead

// concerning returns the parts that may hold a row which the figures of site in
// [start, stop) depend on, in their order, and whether none of them is damaged.
func (sn *Snapshot) concerning(site string, start, stop int64) (parts []event.Part, sound bool) {
	from, to := start-around, stop+around
	all := sn.v.parts
	first := event.DayOf(from)
	for _, p := range all[sort.Search(len(all), func(i int) bool { return all[i].Day >= first }):] {
		if p.MinTime >= to && p.Day.Start() >= to {
			break
		}
		if overlaps(&p, site, from, to) {
			parts = append(parts, p)
		}
	}
	return parts, sn.degraded(site, from, to) == nil
}

// touched says whether the figures of site in [start, stop) may depend on a hot row.
func (sn *Snapshot) touched(site string, start, stop int64) bool {
	for _, g := range sn.v.hot {
		if g.rows > 0 && g.reach.touches(site, start, stop) {
			return true
		}
	}
	return false
}

// A calendar says of the days and months of a site, by the parts of a snapshot,
// which of them have sums that are true. Hot rows are not looked at.
type calendar struct {
	days, months []entry  // by time, without a gap
	gone         []rollup // spans of none of them

	// What it was made of.
	zone           string
	parts, damaged []event.Part
}

// An entry is a day or a month of a calendar.
type entry struct {
	rollup      // its id is 0 if there is no span
	valid  bool // the span is true
	empty  bool // there is no part that could concern it
}

// maxCalendar is the most days of a calendar. A site that has events further apart
// has no rollups.
const maxCalendar = 100_000

// calendar returns that of a site. It must not be changed.
func (rs *rollups) calendar(sn *Snapshot, at place) *calendar {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	zone := at.zone.String()
	sr := rs.sites[at.site]
	if sr == nil || sr.zone != zone {
		return newCalendar(sn, at, nil)
	}
	if c := sr.last; c != nil && c.zone == zone && same(c.parts, sn.v.parts) && same(c.damaged, sn.v.damaged) {
		return c
	}
	sr.last = newCalendar(sn, at, sr.spans)
	return sr.last
}

// same says whether two lists of parts are one. They are never changed in place.
func same(a, b []event.Part) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func newCalendar(sn *Snapshot, at place, spans map[spanKey]rollup) *calendar {
	c := &calendar{zone: at.zone.String(), parts: sn.v.parts, damaged: sn.v.damaged}
	found := make(map[int64]bool)
	if from, to, ok := sn.extent(at.site); ok && (to-from)/day24 < maxCalendar {
		c.days = c.entries(sn, at, spans, from, to, event.Daily, found)
		c.months = c.entries(sn, at, spans, from, to, event.Monthly, found)
	}
	for _, r := range spans {
		if !found[r.id] {
			c.gone = append(c.gone, r)
		}
	}
	return c
}

const day24 = int64(24 * time.Hour / time.Microsecond)

// extent returns within which times the days lie that a part may concern.
func (sn *Snapshot) extent(site string) (from, to int64, ok bool) {
	for _, list := range [][]event.Part{sn.v.parts, sn.v.damaged} {
		for i := range list {
			p := &list[i]
			if !overlaps(p, site, 0, 0) {
				continue
			}
			if !ok {
				from, to, ok = p.MinTime, p.MaxTime, true
			}
			from, to = min(from, p.MinTime), max(to, p.MaxTime)
		}
	}
	return from - around, to + around, ok
}

// entries returns the days or months between two times, and notes in found whose
// spans are among them.
func (c *calendar) entries(sn *Snapshot, at place, spans map[spanKey]rollup, from, to int64, interval string, found map[int64]bool) []entry {
	var list []entry
	for t := event.StartOf(time.UnixMicro(from).In(at.zone), interval); t.UnixMicro() <= to; {
		next := event.NextOf(t, interval)
		e := entry{rollup: rollup{start: t.UnixMicro(), stop: next.UnixMicro(), month: interval == event.Monthly}}
		t = next
		parts, sound := sn.concerning(at.site, e.start, e.stop)
		e.empty = len(parts) == 0 && sound
		if r, ok := spans[e.key()]; ok && r.stop == e.stop && !e.empty {
			found[r.id] = true
			e.valid = sound && r.print == fingerprintOf(at, e.start, e.stop, parts)
			e.rollup = r
		}
		list = append(list, e)
	}
	return list
}

// within returns the entries of a list that lie wholly in [from, to).
func within(list []entry, from, to int64) []entry {
	lo, _ := slices.BinarySearchFunc(list, from, func(e entry, t int64) int { return cmp.Compare(e.start, t) })
	hi := sort.Search(len(list), func(i int) bool { return list[i].stop > to })
	if hi < lo {
		return nil
	}
	return list[lo:hi]
}
