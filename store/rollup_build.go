package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
)

//go:embed rollup_rows.sql
var rollupRowsSQL string

//go:embed rollup_visits.sql
var rollupVisitsSQL string

//go:embed rollup_exits.sql
var rollupExitsSQL string

//go:embed rollup_values.sql
var rollupValuesSQL string

//go:embed rollup_texts.sql
var rollupTextsSQL string

//go:embed rollup_insert.sql
var rollupInsertSQL string

//go:embed rollup_month.sql
var rollupMonthSQL string

//go:embed rollup_span.sql
var rollupSpanSQL string

// errNotYet is why a month cannot be worked out: some of its days are not.
var errNotYet = errors.New("days of the month are missing")

// fewEnough is how many rows, for each MiB that DuckDB may use, are read into
// memory once. Of more than that every dimension is read from the parts by itself.
const fewEnough = 1 << 10

// build works out the sums of a day or a month and replaces those there are.
func (p *pass) build(ctx context.Context, sn *Snapshot, at place, r rollup, parts []event.Part) error {
	began := time.Now()
	r.id = p.l.rollups.id()
	var err error
	if r.month {
		err = p.buildMonth(ctx, sn, at, &r, parts)
	} else {
		err = p.buildDay(ctx, at, &r, parts)
	}
	if err != nil {
		return err
	}
	fault.Point("rollup: committed")
	r.built, r.took = time.Now(), time.Since(began)
	old, replaced := p.l.rollups.find(at.site, r)
	p.l.rollups.put(at, r)
	if replaced {
		p.s.change(func(*view) trash { return trash{lens: p.l, spans: []int64{old.id}} })
	}
	if r.month {
		p.done.Months++
	} else {
		p.done.Days++
		p.done.Events += r.events
	}
	return nil
}

// buildDay works out a day. What it reads from it reads once, if that fits.
func (p *pass) buildDay(ctx context.Context, at place, r *rollup, parts []event.Part) error {
	text := strings.NewReplacer(
		"{{files}}", p.s.literals(parts), "{{columns}}", dayColumns, "{{site}}", quote(at.site), "{{from}}", number(r.start), "{{to}}", number(r.stop),
		"{{behind}}", number(visitBehind), "{{ahead}}", number(visitAhead),
	)
	return p.l.transact(ctx, func(tx *transaction) error {
		if err := p.readDay(tx, text.Replace(rollupRowsSQL), rowsOf(parts)); err != nil {
			return fmt.Errorf("read day: %w", err)
		}
		for _, stmt := range []string{
			"CREATE TEMP TABLE own AS " + rollupVisitsSQL,
			"CREATE TEMP TABLE exits AS " + text.Replace(rollupExitsSQL),
		} {
			if _, err := tx.exec(stmt); err != nil {
				return fmt.Errorf("read day: %w", err)
			}
		}
		counts, err := tx.numbers("SELECT unnest([count(*) FILTER (inside AND name <> 'engagement'), count(*)]) FROM day")
		if err != nil {
			return err
		}
		r.events = counts[0]
		if err := p.fillDay(ctx, tx, r, counts[1]); err != nil {
			return err
		}
		return p.list(tx, at, r, parts)
	})
}

// readDay makes day of a statement, whose rows are at most so many: a table if that
// is small, otherwise a view.
func (p *pass) readDay(tx *transaction, text string, most int64) error {
	few := fewEnough * (p.s.opts.MemoryLimit >> 20)
	if most > few { // of most parts it is only a little
		if _, err := tx.exec("CREATE TEMP VIEW day AS " + text); err != nil {
			return err
		}
		counts, err := tx.numbers("SELECT count(*) FROM day")
		if err != nil || counts[0] > few {
			return err
		}
		if _, err := tx.exec("DROP VIEW day"); err != nil {
			return err
		}
	}
	_, err := tx.exec("CREATE TEMP TABLE day AS " + text)
	return err
}

// atOnce is for about how many rows and dimensions, multiplied, values are worked
// out in one statement: of a small day for all dimensions together, because it is
// the statements that take the time.
const atOnce = 500_000

// fillDay writes the values of every dimension for which there is room.
func (p *pass) fillDay(ctx context.Context, tx *transaction, r *rollup, rows int64) error {
	if rows == 0 { // no value is a value of nothing
		r.dims, r.users = 1<<len(rolledDims)-1, 0
		return nil
	}
	r.dims, r.rows = 1, 1
	if _, err := tx.exec(valuesText([]int{0}) + "; INSERT INTO " + p.l.rollups.table("") + " SELECT " + number(r.id) + ", dim, " + number(r.start) +
		", 0, * EXCLUDE (dim, value) FROM values"); err != nil {
		return fmt.Errorf("sum up: %w", err)
	}
	var dims []int
	for i := range rolledDims[1:] {
		dims = append(dims, i+1)
	}
	room, most := allowance(r.events)
	room, err := p.fillUsers(tx, r, room)
	if err != nil {
		return fmt.Errorf("list users: %w", err)
	}
	for some := range slices.Chunk(dims, int(max(1, atOnce/rows))) {
		if err := p.abandoned(ctx); err != nil {
			return err
		}
		left, err := p.fillDims(tx, r, some, room, most)
		if err != nil {
			return fmt.Errorf("sum up %s: %w", rolledDims[some[0]], err)
		}
		room = left
	}
	return nil
}

// fillUsers writes the users of a day, if they are few enough, and returns the room
// that is left.
func (p *pass) fillUsers(tx *transaction, r *rollup, room int64) (int64, error) {
	const of = ` FROM day WHERE inside AND "user" IS NOT NULL`
	count, err := tx.numbers(`SELECT count(DISTINCT "user")` + of)
	if err != nil || usersRows*count[0] > room/4 {
		return room, err
	}
	r.users = count[0]
	r.rows += r.users
	_, err = tx.exec("INSERT INTO " + p.l.rollups.users() + " SELECT DISTINCT " + number(r.id) + ", " + number(r.start) + `, "user"` + of)
	return room - usersRows*r.users, err
}

// fillDims writes the values of some dimensions: those that have few, and of the
// others those that do not have more than most, as long as there is room. It
// returns the room that is left.
func (p *pass) fillDims(tx *transaction, r *rollup, dims []int, room, most int64) (int64, error) {
	if _, err := tx.exec("DROP TABLE values; " + valuesText(dims)); err != nil {
		return 0, err
	}
	counts, err := tx.numbers("SELECT unnest([dim, count(*)]) FROM values GROUP BY dim")
	if err != nil {
		return 0, err
	}
	values := make(map[int]int64)
	for pair := range slices.Chunk(counts, 2) {
		values[int(pair[0])] = pair[1]
	}
	var fit []int64
	for _, i := range dims {
		n := values[i]
		if n > alwaysValues {
			if n > min(room, most) {
				continue
			}
			room -= n
		}
		fit = append(fit, int64(i))
		r.dims |= 1 << i
		r.rows += n
	}
	if len(fit) == 0 {
		return room, nil
	}
	return room, p.insert(tx, r, fit)
}

// valuesText returns the statement that makes the table values of dimensions.
func valuesText(dims []int) string {
	var codes []int64
	var list []string
	source := "day"
	for _, i := range dims {
		value := `coalesce("` + string(rolledDims[i]) + `"::VARCHAR, '')`
		switch rolledDims[i] {
		case "":
			value = "''"
		case event.ExitPath:
			source, value = "day LEFT JOIN exits ON day.visit = exits.visit AND NOT stray", "coalesce(exit_path, '')"
		}
		codes, list = append(codes, int64(i)), append(list, value)
	}
	return strings.NewReplacer("{{source}}", source, "{{dims}}", listOf(codes), "{{values}}", strings.Join(list, ", ")).Replace(rollupValuesSQL)
}

// insert keeps the values of dimensions: first their texts, then the sums.
func (p *pass) insert(tx *transaction, r *rollup, dims []int64) error {
	rs := p.l.rollups
	if _, err := tx.exec(strings.NewReplacer("{{texts}}", rs.texts(), "{{dims}}", numbers(dims)).Replace(rollupTextsSQL)); err != nil {
		return err
	}
	for _, table := range rs.tables() {
		of := slices.DeleteFunc(slices.Clone(dims), func(i int64) bool { return rs.table(rolledDims[i]) != table })
		if len(of) == 0 {
			continue
		}
		if _, err := tx.exec(strings.NewReplacer(
			"{{texts}}", rs.texts(), "{{sums}}", table, "{{dims}}", numbers(of), "{{span}}", number(r.id), "{{start}}", number(r.start),
		).Replace(rollupInsertSQL)); err != nil {
			return err
		}
	}
	return nil
}

// buildMonth adds up the days of a month. They must all be there for the same
// snapshot. A dimension of which that does not save half of the rows is left to
// the days.
func (p *pass) buildMonth(ctx context.Context, sn *Snapshot, at place, r *rollup, parts []event.Part) error {
	var ids []int64
	dims := ^uint64(0)
	for _, day := range within(p.l.rollups.calendar(sn, at).days, r.start, r.stop) {
		switch {
		case day.valid:
			ids = append(ids, day.id)
			dims &= day.dims
			r.events += day.events
		case !day.empty:
			return errNotYet
		}
	}
	if len(ids) == 0 {
		return errNotYet
	}
	r.dims = 1 // totals, also of nothing
	return p.l.transact(ctx, func(tx *transaction) error {
		for _, table := range p.l.rollups.tables() {
			n, err := tx.exec(strings.NewReplacer(
				"{{table}}", table, "{{days}}", numbers(ids), "{{mask}}", fmt.Sprint(dims),
				"{{span}}", number(r.id), "{{start}}", number(r.start),
			).Replace(rollupMonthSQL))
			if err != nil {
				return fmt.Errorf("add up days: %w", err)
			}
			r.rows += n
			kept, err := tx.numbers("SELECT DISTINCT dim::BIGINT FROM " + table + " WHERE span = " + number(r.id))
			if err != nil {
				return err
			}
			for _, i := range kept {
				r.dims |= 1 << i
			}
		}
		return p.list(tx, at, r, parts)
	})
}

// list puts a span in the place of the one of its time that is listed.
func (p *pass) list(tx *transaction, at place, r *rollup, parts []event.Part) error {
	stmts := []string{strings.NewReplacer(
		"{{id}}", number(r.id), "{{site}}", quote(at.site), "{{zone}}", quote(at.zone.String()),
		"{{start}}", number(r.start), "{{stop}}", number(r.stop), "{{month}}", fmt.Sprint(r.month),
		"{{print}}", quote(r.print.String()), "{{parts}}", listOf(idsOf(parts)),
		"{{dims}}", fmt.Sprint(r.dims), "{{rows}}", number(r.rows), "{{users}}", number(r.users), "{{events}}", number(r.events),
	).Replace(rollupSpanSQL)}
	if old, ok := p.l.rollups.find(at.site, *r); ok {
		stmts = append(stmts, "DELETE FROM lens.rollups.spans WHERE id = "+number(old.id))
	}
	for _, stmt := range stmts {
		if _, err := tx.exec(stmt); err != nil {
			return fmt.Errorf("list rollup: %w", err)
		}
	}
	fault.Point("rollup: before commit")
	return nil
}

// literals returns the SQL literals of the paths of parts.
func (s *Store) literals(parts []event.Part) string {
	var list []string
	for i := range parts {
		list = append(list, s.literal(parts[i].Path))
	}
	return strings.Join(list, ",")
}

// A transaction changes lens.duckdb, on a connection of its own.
type transaction struct {
	ctx  context.Context
	conn *sql.Conn
}

// transact runs f in a transaction of lens.duckdb. The temporary tables that f
// makes are gone after it, with the connection.
func (l *lens) transact(ctx context.Context, f func(tx *transaction) error) error {
	return transact(ctx, l.db, f)
}

func transact(ctx context.Context, db *sql.DB, f func(tx *transaction) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer discardConn(conn)
	tx := &transaction{ctx, conn}
	if _, err := tx.exec("BEGIN"); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		// What is open would end with the connection too, but if its last statement was
		// interrupted that has been seen to end the process: DuckDB undoes the transaction
		// before it has waited for the statement's tasks.
		_, undone := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, undone)
	}
	_, err = tx.exec("COMMIT") // if it fails nothing is open any more
	return err
}

// exec runs a statement and returns how many rows it has changed.
func (tx *transaction) exec(text string) (int64, error) {
	result, err := tx.conn.ExecContext(tx.ctx, text)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// numbers returns the only column of a result.
func (tx *transaction) numbers(text string) (list []int64, err error) {
	rows, err := tx.conn.QueryContext(tx.ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, rows.Err()
}

// dayColumns are the columns that rollup_rows.sql takes from events for their
// values, and for the list of users.
var dayColumns = func() string {
	list := []string{`"user"`}
	for _, dim := range rolledDims {
		if dim != "" && dim != event.ExitPath && dim != "name" {
			list = append(list, `"`+string(dim)+`"`)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}()
