package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

// Rollups are exact sums of closed site-local days, and of whole months of them,
// in lens.duckdb:
//
//	lens.rollups.spans   a row a span: what it is of, its id, its fingerprint
//	                     and the parts that it goes back to
//	lens.<schema>.totals a row a span: seen (events of any name), visitors,
//	                     pageviews, events, visits, views, bounces, length
//	lens.<schema>.sums   the same, a row a span, dimension and value; those of the
//	                     three dimensions of pages in tables of their own
//	lens.<schema>.texts  the values, which sums have by number
//	lens.<schema>.users  a row a day and user id, for retention
//
// They are a cache. A span is taken only if its fingerprint is that of the
// snapshot at hand: a hash of the site, the zone, the two ends of the day and of
// every part that may hold a row which the figures of that day depend on. So
// there is nothing to invalidate. A late event, a compaction, an erasure, a part
// in quarantine, another zone: each changes what the fingerprint must be, and the
// day is read raw until [Store.Rollup] has come round.
//
// Which rows are these? The figures of a day [a, b) depend on a row if it happened
// in the day, or if its visit may have an event or its start there: a visit is
// followed from visitBehind before its start to visitAhead after it.
//
// Rows of a span are never changed, and go when no snapshot is left that is older
// than the span that replaced it. The schema has a random name in every new file,
// so that a statement that was made for a lens that is gone fails.

// rolledDims are the dimensions of which rollups are kept, those first that are
// asked for most: they get the room there is. The place of a dimension is its bit
// in rollup.dims; "" are the totals.
var rolledDims = []event.Dimension{
	"", "path", "source", "country", "entry_path", event.ExitPath, "referrer", "browser", "os", "device",
	"channel", "name", "hostname", "region", "city", "language", "utm_source", "utm_medium", "utm_campaign",
	"utm_content", "utm_term", "click_id", "via", "browser_version", "os_version", "screen", "title",
}

// Bounds of what is kept of a day. A dimension with few values is always kept: it
// takes no room to speak of, and without it a year is read from all of its rows. Of
// the others one is left out that has more values than three quarters of the day's
// events, or than maxValues, or for which there is no room: a day has about 1.8 rows an
// event. It has room for fewRows and a dimension for fewValues in any case, which is
// less than its part takes. Totals are always kept.
const (
	alwaysValues = 64
	alwaysRoom   = 100 // for all dimensions with so few values
	fewValues    = 256
	maxValues    = 50_000
	fewRows      = 384
)

// allowance returns how many rows a day may have of dimensions with more than few
// values, and how many each of them.
func allowance(events int64) (rows, values int64) {
	return max(fewRows, events*9/5) - alwaysRoom, min(max(fewValues, events/4*3), maxValues)
}

// unlisted is the number of users of a span that has none of them: a month, or a day
// with so many that they would take more than a quarter of its room. A user takes
// that of usersRows rows, since its id is random.
const (
	unlisted  = -1
	usersRows = 2
)

// maxFailed is how many builds may fail before a pass gives up.
const maxFailed = 3

// A rollup is a span whose sums are kept.
type rollup struct {
	id          int64
	start, stop int64 // µs: a local day, or a month of them
	month       bool
	print       fingerprint
	dims        uint64 // bit i: all values of rolledDims[i] are there
	rows        int64  // in all tables
	users       int64  // who had an event in the day; unlisted if that is not kept
	events      int64

	built time.Time // when, in this process
	took  time.Duration
}

// has says whether the values of a dimension are there.
func (r rollup) has(dim event.Dimension) bool { return r.dims>>code(dim)&1 == 1 }

// code returns what stands for a dimension in the table sums.
func code(dim event.Dimension) int { return slices.Index(rolledDims, dim) }

//go:embed rollup_concerns.sql
var rollupConcernsSQL string

// Rolled tells what [Store.Rollup] has done.
type Rolled struct {
	Days    int // whose sums have been worked out
	Months  int // of which that is true
	Kept    int // spans whose parts have changed, but not what they are sums of
	Removed int // spans of what is no longer there
	Failed  int // spans that could not be worked out; they are read raw

	Events  int64 // of the days
	Elapsed time.Duration
}

// Rollup works out the sums of the closed days and months of every site that the
// ledger knows, those that are missing or no longer true, newest day first, and
// removes those of days and sites that are gone. One day is one transaction of
// lens.duckdb; neither flush nor publish waits for it. Days with hot rows are left
// for the next time, so it is best called after a publish.
//
// Nothing depends on it: whatever is not there is read from the rows.
func (s *Store) Rollup(ctx context.Context) (done Rolled, err error) {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	if err := s.usable(); err != nil {
		return done, fmt.Errorf("roll up: %w", err)
	}
	l, _, err := s.present()
	if err != nil {
		return done, fmt.Errorf("roll up: %w", err)
	}
	p := pass{s: s, l: l, began: time.Now()}
	err = p.run(ctx)
	p.done.Elapsed = time.Since(p.began)
	if p.done.Days+p.done.Months > 0 {
		s.mu.Lock()
		s.stats.rollups += int64(p.done.Days + p.done.Months)
		s.stats.rollup = Work{At: s.opts.Now(), Took: p.done.Elapsed, Events: p.done.Events}
		s.mu.Unlock()
	}
	if err != nil {
		return p.done, fmt.Errorf("roll up: %w", err)
	}
	return p.done, nil
}

// A pass is one call of Rollup.
type pass struct {
	s     *Store
	l     *lens
	began time.Time
	done  Rolled
}

func (p *pass) run(ctx context.Context) error {
	sites, err := p.s.zones(ctx)
	if err != nil {
		return err
	}
	defer p.checkpoint()
	if err := p.sweep(ctx, sites); err != nil {
		return err
	}
	for _, site := range sites {
		if err := p.site(ctx, site); err != nil {
			return err
		}
	}
	return nil
}

// maxLog is how many bytes of the log of lens.duckdb may have to be read at a start.
const maxLog = 8 << 20

// checkpoint brings what was written into lens.duckdb. DuckDB does not do that by
// itself; see settings. A reader can keep it from it, then the next pass does.
func (p *pass) checkpoint() {
	info, err := os.Stat(lensFiles(p.s.opts.Dir)[1])
	if err != nil || info.Size() == 0 {
		return
	}
	if _, err := p.l.db.ExecContext(context.Background(), "CHECKPOINT lens"); err != nil {
		p.s.log.Debug("lens.duckdb not checkpointed, the next pass tries again", "err", err)
	}
}

// A place is a site and its clock.
type place struct {
	site string
	zone *time.Location
}

// placeOf returns a site by the clock of a question.
func placeOf(site string, zone *time.Location) place {
	if zone == nil {
		zone = time.UTC
	}
	return place{site, zone}
}

// zones returns the sites of the ledger. One whose zone this program does not know
// is left out: its reports do not know it either.
func (s *Store) zones(ctx context.Context) ([]place, error) {
	sites, err := s.ledger.Sites(ctx)
	if err != nil {
		return nil, err
	}
	var places []place
	for _, site := range sites {
		zone, err := time.LoadLocation(site.Timezone)
		if err != nil {
			s.log.Warn("site is not rolled up", "site", site.Domain, "err", err)
			continue
		}
		places = append(places, place{site.Domain, zone})
	}
	return places, nil
}

// site brings a site up to date: its days, newest first, then its months.
func (p *pass) site(ctx context.Context, at place) error {
	sn := p.s.Snapshot()
	c := p.l.rollups.calendar(sn, at)
	sn.Release()
	if err := p.remove(ctx, c.gone); err != nil {
		return err
	}
	now := p.s.opts.Now().UnixMicro()
	for _, entry := range slices.Concat(reversed(c.days), reversed(c.months)) {
		if entry.valid || entry.empty || entry.stop > now {
			continue
		}
		if err := p.refresh(ctx, at, entry.rollup); err != nil {
			return err
		}
	}
	return nil
}

func reversed(list []entry) []entry {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// refresh makes a span true again, if there is no reason to wait.
func (p *pass) refresh(ctx context.Context, at place, r rollup) error {
	if err := p.abandoned(ctx); err != nil {
		return err
	}
	sn := p.s.Snapshot()
	defer sn.Release()
	r = rollup{start: r.start, stop: r.stop, month: r.month, users: unlisted} // nothing of an old one
	parts, sound := sn.concerning(at.site, r.start, r.stop)
	if len(parts) == 0 || !sound || sn.touched(at.site, r.start, r.stop) {
		return nil
	}
	r.print = fingerprintOf(at, r.start, r.stop, parts)
	if p.l.rollups.gaveUp(at.site, r) {
		return nil
	}
	if old, ok := p.l.rollups.find(at.site, r); ok {
		same, err := p.restamp(ctx, at, old, r.print, parts)
		if same || err != nil {
			return err
		}
		if time.Since(old.built) < busy*(old.took-time.Second) {
			return nil
		}
	}
	began := time.Now()
	limited, end := p.s.statements.begin(ctx, 1<<60)
	err := p.build(limited, sn, at, r, parts)
	why := context.Cause(limited)
	end()
	switch {
	case err == nil:
	case errors.Is(why, errRoom): // for a flush: the next pass tries again
		return nil
	default:
		return p.failed(ctx, at, r, err)
	}
	if info, err := os.Stat(lensFiles(p.s.opts.Dir)[1]); err == nil && info.Size() > maxLog {
		p.checkpoint()
	}
	return p.rest(ctx, time.Since(began))
}

// busy keeps a day that is open to late events and takes long from being worked out
// all the time: not before busy times as long has gone by.
const busy = 10

// rest leaves the machine to others for half as long as a build has taken, if
// anybody is served, but not for long: a pass must come to an end on a busy machine
// too.
func (p *pass) rest(ctx context.Context, took time.Duration) error {
	if !p.s.pace.gentle.Load() {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
	case <-time.After(min(took/2, 100*time.Millisecond)):
	}
	return ctx.Err()
}

// abandoned returns an error if the pass is to end: its caller has gone, or its
// lens has.
func (p *pass) abandoned(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, _, err := p.s.present()
	if err == nil && l != p.l {
		err = ErrLens
	}
	return err
}

// failed notes that a span cannot be worked out of the parts there are, so that it
// is not tried again before they change, and ends the pass if that happens often.
func (p *pass) failed(ctx context.Context, at place, r rollup, err error) error {
	if errors.Is(err, errNotYet) {
		return nil
	}
	if gone := p.abandoned(ctx); gone != nil {
		return gone
	}
	p.done.Failed++
	p.s.log.Warn("day is not rolled up and read from its rows", "site", at.site, "day", time.UnixMicro(r.start).In(at.zone).Format(time.DateOnly), "err", err)
	p.l.rollups.giveUp(at, r)
	if p.done.Failed >= maxFailed {
		return err
	}
	return nil
}

// restamp gives a span the fingerprint of now if nothing has happened to its parts
// but that others came which hold nothing of the span. Without this every publish
// of today would have yesterday worked out again.
func (p *pass) restamp(ctx context.Context, at place, old rollup, print fingerprint, parts []event.Part) (same bool, err error) {
	err = p.l.transact(ctx, func(tx *transaction) error {
		had, err := tx.numbers("SELECT unnest(parts) FROM lens.rollups.spans WHERE id = " + number(old.id))
		if err != nil {
			return err
		}
		added, gone := p.difference(had, parts)
		if gone {
			return nil
		}
		if len(added) > 0 {
			n, err := tx.numbers(concernsText(added, at.site, old.start, old.stop))
			if err != nil || n[0] > 0 {
				return err
			}
		}
		same = true
		_, err = tx.exec("UPDATE lens.rollups.spans SET print = " + quote(print.String()) + ", parts = " + listOf(idsOf(parts)) + " WHERE id = " + number(old.id))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look at new parts: %w", err)
	}
	if same {
		old.print = print
		p.l.rollups.put(at, old)
		p.done.Kept++
	}
	return same, nil
}

// difference returns literals of the parts that are not among the ids, and whether
// some of those are of no part.
func (p *pass) difference(had []int64, parts []event.Part) (added []string, gone bool) {
	still := 0
	for _, part := range parts {
		if slices.Contains(had, part.ID) {
			still++
		} else {
			added = append(added, p.s.literal(part.Path))
		}
	}
	return added, still < len(had)
}

// concernsText returns the statement that counts the rows of files which the
// figures of [start, stop) depend on.
func concernsText(files []string, site string, start, stop int64) string {
	return strings.NewReplacer(
		"{{files}}", strings.Join(files, ","), "{{site}}", quote(site), "{{from}}", number(start), "{{to}}", number(stop),
		"{{ahead}}", number(visitAhead), "{{behind}}", number(visitBehind),
	).Replace(rollupConcernsSQL)
}

func idsOf(parts []event.Part) []int64 {
	ids := make([]int64, len(parts))
	for i := range parts {
		ids[i] = parts[i].ID
	}
	return ids
}

// sweep deletes the rows of spans that no snapshot reads any more, and the spans of
// sites that are gone or have another zone.
func (p *pass) sweep(ctx context.Context, sites []place) error {
	zones := make(map[string]string, len(sites))
	for _, at := range sites {
		zones[at.site] = at.zone.String()
	}
	if err := p.remove(ctx, p.l.rollups.strangers(zones)); err != nil {
		return err
	}
	dead := p.l.rollups.takeDead()
	if len(dead) == 0 {
		return nil
	}
	err := p.l.transact(ctx, func(tx *transaction) error {
		for _, table := range append(p.l.rollups.tables(), p.l.rollups.users()) {
			if _, err := tx.exec("DELETE FROM " + table + " WHERE span IN (" + numbers(dead) + ")"); err != nil {
				return err
			}
		}
		// What an erasure or a retention has taken from the parts is not to stay as a text.
		_, err := tx.exec("DELETE FROM " + p.l.rollups.texts() + " WHERE id NOT IN (SELECT value FROM " + strings.Join(p.l.rollups.tables(), " UNION ALL SELECT value FROM ") + ") AND id <> 0")
		return err
	})
	if err != nil {
		p.l.rollups.bury(dead)
		return fmt.Errorf("delete old rollups: %w", err)
	}
	fault.Point("rollup: swept")
	return nil
}

// remove forgets spans. Their rows go when no snapshot is left that may read them.
func (p *pass) remove(ctx context.Context, spans []rollup) error {
	if len(spans) == 0 {
		return nil
	}
	ids := make([]int64, len(spans))
	for i, r := range spans {
		ids[i] = r.id
	}
	err := p.l.transact(ctx, func(tx *transaction) error {
		_, err := tx.exec("DELETE FROM lens.rollups.spans WHERE id IN (" + numbers(ids) + ")")
		return err
	})
	if err != nil {
		return fmt.Errorf("remove rollups: %w", err)
	}
	p.l.rollups.forget(spans)
	p.s.change(func(*view) trash { return trash{lens: p.l, spans: ids} })
	p.done.Removed += len(ids)
	return nil
}

// number and numbers return SQL literals.
func number(n int64) string { return strconv.FormatInt(n, 10) }

func numbers(list []int64) string {
	text := listOf(list)
	return text[1 : len(text)-1]
}
