package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/ledger"
)

// A generation is one table of hot rows. Rows are only added, to the newest; a
// generation goes as a whole, when all its rows are in parts.
type generation struct {
	table string // as SQL names it
	rows  int64
	last  int64 // Seq of its newest row
	reach *reach
}

// sqlTypes are the types of hot columns, which are those that read_parquet gives
// to the columns of a part.
var sqlTypes = map[event.Kind]string{
	event.Int64:   "BIGINT",
	event.Int32:   "INTEGER",
	event.Bool:    "BOOLEAN",
	event.Text:    "VARCHAR",
	event.Time:    "TIMESTAMP WITH TIME ZONE",
	event.UUID:    "UUID",
	event.Decimal: "DECIMAL(18,4)",
	event.JSON:    "VARCHAR",
}

var (
	columnList    = columns(func(c event.Column) string { return `"` + c.Name + `"` })
	columnTypes   = columns(func(c event.Column) string { return `"` + c.Name + `" ` + sqlTypes[c.Kind] })
	emptyRelation = "SELECT " + columns(func(c event.Column) string {
		return "NULL::" + sqlTypes[c.Kind] + ` AS "` + c.Name + `"`
	}) + " WHERE false"
)

func columns(f func(event.Column) string) string {
	var list []string
	for _, c := range event.Columns {
		list = append(list, f(c))
	}
	return strings.Join(list, ", ")
}

// Flush adds a batch to the hot rows; every snapshot taken after it returns has
// them. The batch is in the order of Seq, follows the one before, and is already
// in the journal; events that the lens has read from there itself are skipped.
// Flush keeps nothing of it.
//
// If questions leave it no room in DuckDB's memory, what is in the journal is published
// instead, which needs none, unless other maintenance is going on: then there is an
// error, and Flush is to be called again. After [ErrLens] the lens takes no more: call
// [Store.Rebuild]. What it had before can still be asked for.
func (s *Store) Flush(ctx context.Context, batch []event.Event) error {
	if err := s.usable(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	err := s.flush(ctx, batch)
	if outOfMemory(err) && !errors.Is(err, ErrLens) {
		err = s.publishInstead(ctx, err)
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// publishInstead publishes all of the journal, for why, if nothing else is being done to
// the parts.
func (s *Store) publishInstead(ctx context.Context, why error) error {
	if !s.maintaining.TryLock() {
		return why
	}
	defer s.maintaining.Unlock()
	s.log.Warn("no room for new events in DuckDB's memory: they are published")
	if _, err := s.publishTo(ctx, s.ledger.LastSeq()); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

// flush makes a batch hot. An error of memory has left everything as it was.
func (s *Store) flush(ctx context.Context, batch []event.Event) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	l, v, err := s.present()
	if err != nil {
		return err
	}
	for len(batch) > 0 && batch[0].Seq <= v.flushed {
		batch = batch[1:]
	}
	if len(batch) == 0 {
		return nil
	}
	began := time.Now()
	// What is accepted is stored, even if whoever asked for it has gone.
	record := l.batch.record(batch)
	defer record.Release()
	ctx = context.WithoutCancel(ctx)
	hot, err := s.add(ctx, l, v.hot, batch[len(batch)-1].Seq, record)
	if outOfMemory(err) {
		s.statements.keepOut(true)
		defer s.statements.keepOut(false)
	}
	for try := 1; try < 5 && outOfMemory(err); try++ { // it was undone, and others have made room
		time.Sleep(time.Duration(try) * 50 * time.Millisecond)
		hot, err = s.add(ctx, l, v.hot, batch[len(batch)-1].Seq, record)
	}
	switch {
	case outOfMemory(err):
		return err
	case err != nil:
		return s.spoil(err)
	}
	hot[len(hot)-1].reach.note(batch)
	fault.Point("flush: inserted")
	s.bring(batch, func(v *view) trash {
		// A publish without the lens may have gone further.
		v.hot, v.flushed = hot, max(v.flushed, batch[len(batch)-1].Seq)
		s.stats.flushes++
		s.stats.flush = Work{At: s.opts.Now(), Took: time.Since(began), Events: int64(len(batch))}
		return trash{}
	})
	return nil
}

// spoil keeps the lens from taking more hot rows until it has been rebuilt: what
// the failed attempt has left in them is not known. It returns what others will be told.
func (s *Store) spoil(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = fmt.Errorf("%w: %w", ErrLens, err)
	return s.broken
}

// present returns the lens, if it takes hot rows, and the current view.
func (s *Store) present() (*lens, *view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lens == nil:
		return nil, nil, ErrLens
	case s.broken != nil:
		return nil, nil, s.broken
	}
	return s.lens, s.view, nil
}

// add inserts records whose newest event is last into the newest of the
// generations, or into a new one, and returns the generations as they are then,
// with flushing held.
func (s *Store) add(ctx context.Context, l *lens, hot []generation, last int64, records ...arrow.RecordBatch) ([]generation, error) {
	hot = slices.Clone(hot)
	if n := len(hot); n == 0 || hot[n-1].rows >= s.opts.PublishRows {
		g, err := s.newGeneration(ctx, l)
		if err != nil {
			return nil, err
		}
		hot = append(hot, g)
	}
	g := &hot[len(hot)-1]
	if err := l.insert(ctx, g.table, g.rows, records, s.statements.giveWay); err != nil {
		return nil, err
	}
	for _, r := range records {
		g.rows += r.NumRows()
	}
	g.last = last
	return hot, nil
}

func (s *Store) newGeneration(ctx context.Context, l *lens) (generation, error) {
	table := fmt.Sprintf("hot.g%d", s.nextGen)
	s.nextGen++
	if err := l.exec(ctx, "CREATE TABLE "+table+" ("+columnTypes+")"); err != nil {
		return generation{}, fmt.Errorf("make hot table: %w", err)
	}
	return generation{table: table, reach: new(reach)}, nil
}

// rotate makes the next flush start a new generation, so that those there are can
// go when what they hold now is published. It returns the newest Seq they hold.
func (s *Store) rotate(ctx context.Context) (int64, error) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	l, v, err := s.present()
	if err != nil {
		return 0, err
	}
	if n := len(v.hot); n == 0 || v.hot[n-1].rows == 0 {
		return v.flushed, nil
	}
	g, err := s.newGeneration(ctx, l)
	if err != nil {
		return 0, err
	}
	s.rearrange(func(v *view) trash {
		v.hot = append(slices.Clone(v.hot), g)
		return trash{}
	})
	return v.flushed, nil
}

// shed takes the generations out whose rows are all in parts.
func (s *Store) shed() {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.rearrange(func(v *view) trash {
		t := trash{lens: s.lens}
		var kept []generation
		for _, g := range v.hot {
			if g.rows > 0 && g.last <= v.published {
				t.tables = append(t.tables, g.table)
			} else {
				kept = append(kept, g)
			}
		}
		v.hot = kept
		return t
	})
}

// The journal is turned into records of about recordRows events, which bounds the
// memory of decoded ones, and inserted about loadRows or loadBytes of payload at a
// time: of so many DuckDB takes a row in for half of what it costs in a flush.
const (
	recordRows = 4096
	loadRows   = 64 << 10
	loadBytes  = 16 << 20
)

// errLoad is why the lens could not be filled from the journal.
var errLoad = errors.New("read journal into lens")

// load inserts what the journal holds after a Seq into l and returns hot with
// those rows, with flushing and boundary held.
func (s *Store) load(ctx context.Context, l *lens, hot []generation, after int64) ([]generation, error) {
	ld := loading{store: s, lens: l, hot: hot}
	defer ld.drop()
	err := s.ledger.Groups(ctx, after, func(g ledger.Group) error {
		events, err := event.Decode(string(g.Payload))
		if err != nil {
			return damagedGroup(g, err)
		}
		for len(events) > 0 && events[0].Seq <= after {
			events = events[1:]
		}
		ld.events = append(ld.events, events...)
		ld.bytes += len(g.Payload)
		if len(ld.events) < recordRows && ld.bytes < loadBytes {
			return nil
		}
		return ld.record(ctx, loadRows)
	})
	if err == nil {
		err = ld.record(ctx, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLoad, err)
	}
	return ld.hot, nil
}

// damagedGroup is why a group of the journal cannot be read. Its events are nowhere
// else, so nobody but the operator can say that they are to be given up.
func damagedGroup(g ledger.Group, err error) error {
	return fmt.Errorf("events %d to %d of the journal cannot be read; restore ledger.db from a backup: %w", g.First, g.Last, err)
}

// A loading is what of the journal is on its way into the lens.
type loading struct {
	store   *Store
	lens    *lens
	hot     []generation
	events  []event.Event
	records []arrow.RecordBatch
	rows    int
	reach   reach
	bytes   int   // of the payloads of events and records
	last    int64 // Seq of the newest in records
}

// record makes a record of the events, and inserts the records if they have at
// least so many rows or loadBytes.
func (ld *loading) record(ctx context.Context, atLeast int) (err error) {
	if n := len(ld.events); n > 0 {
		ld.records = append(ld.records, ld.lens.batch.record(ld.events))
		ld.reach.note(ld.events)
		ld.rows, ld.last = ld.rows+n, ld.events[n-1].Seq
		ld.events = ld.events[:0]
	}
	if ld.rows == 0 || ld.rows < atLeast && ld.bytes < loadBytes {
		return nil
	}
	ld.hot, err = ld.store.add(ctx, ld.lens, ld.hot, ld.last, ld.records...)
	ld.drop()
	if err == nil {
		ld.hot[len(ld.hot)-1].reach.join(&ld.reach)
	}
	return err
}

// drop releases the records.
func (ld *loading) drop() {
	for _, r := range ld.records {
		r.Release()
	}
	ld.records, ld.rows, ld.bytes = nil, 0, 0
}

// catchUp flushes what the journal holds and the lens does not. Whoever brings
// the same events later is told nothing: they are skipped.
func (s *Store) catchUp(ctx context.Context) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.boundary.Lock()
	defer s.boundary.Unlock()
	l, v, err := s.present()
	if err != nil {
		return err
	}
	hot, err := s.load(ctx, l, v.hot, v.flushed)
	if err != nil {
		return s.spoil(err) // some of it may be in
	}
	s.change(func(v *view) trash {
		v.hot, v.flushed = hot, newest(hot, v.flushed)
		return trash{}
	})
	return nil
}

// newest returns the Seq of the newest hot row, and at least flushed.
func newest(hot []generation, flushed int64) int64 {
	for _, g := range hot {
		flushed = max(flushed, g.last)
	}
	return flushed
}

// A batch turns events into an Arrow record. It is reused, not shared.
type batch struct {
	schema  *arrow.Schema
	columns []array.Builder
}

func newBatch() *batch {
	types := map[event.Kind]arrow.DataType{
		event.Int64:   arrow.PrimitiveTypes.Int64,
		event.Int32:   arrow.PrimitiveTypes.Int32,
		event.Bool:    arrow.FixedWidthTypes.Boolean,
		event.Text:    arrow.BinaryTypes.String,
		event.Time:    &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
		event.UUID:    &arrow.FixedSizeBinaryType{ByteWidth: len(event.ID{})},
		event.Decimal: &arrow.Decimal128Type{Precision: 18, Scale: 4},
		event.JSON:    arrow.BinaryTypes.String,
	}
	var fields []arrow.Field
	b := &batch{}
	for _, c := range event.Columns {
		field := arrow.Field{Name: c.Name, Type: types[c.Kind], Nullable: c.Nullable}
		if c.Kind == event.UUID { // by this DuckDB knows it; the package extensions would bring Thrift with it
			field.Metadata = arrow.MetadataFrom(map[string]string{"ARROW:extension:name": "arrow.uuid", "ARROW:extension:metadata": ""})
		}
		fields = append(fields, field)
		b.columns = append(b.columns, array.NewBuilder(memory.DefaultAllocator, types[c.Kind]))
	}
	b.schema = arrow.NewSchema(fields, nil)
	return b
}

// record returns the events as a record, which the caller releases.
func (b *batch) record(events []event.Event) arrow.RecordBatch {
	arrays := make([]arrow.Array, len(b.columns))
	for i, c := range event.Columns {
		appendColumn(b.columns[i], c, events)
		arrays[i] = b.columns[i].NewArray()
		defer arrays[i].Release()
	}
	return array.NewRecordBatch(b.schema, arrays, int64(len(events)))
}

func appendColumn(to array.Builder, c event.Column, events []event.Event) {
	to.Reserve(len(events))
	put := appender(to, c)
	for i := range events {
		if c.Null(&events[i]) {
			to.AppendNull()
		} else {
			put(&events[i])
		}
	}
}

func appender(to array.Builder, c event.Column) func(*event.Event) {
	switch to := to.(type) {
	case *array.Int64Builder:
		return func(e *event.Event) { to.Append(c.Num(e)) }
	case *array.Int32Builder:
		return func(e *event.Event) { to.Append(int32(c.Num(e))) }
	case *array.BooleanBuilder:
		return func(e *event.Event) { to.Append(c.Num(e) != 0) }
	case *array.TimestampBuilder:
		return func(e *event.Event) { to.Append(arrow.Timestamp(c.Num(e))) }
	case *array.Decimal128Builder:
		return func(e *event.Event) { to.Append(decimal128.FromI64(c.Num(e))) }
	case *array.StringBuilder:
		return func(e *event.Event) { to.Append(valid(c.Str(e))) }
	case *array.FixedSizeBinaryBuilder:
		return func(e *event.Event) {
			id := c.ID(e)
			to.Append(id[:])
		}
	}
	panic(fmt.Sprintf("store: internal error: no way to append to a %T", to))
}

// valid returns s as DuckDB can take it. Ingest lets nothing else in; but what is
// in the journal must go in, or the store would never open again.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
