package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/eider-analytics/eider/store/event"
)

// Defaults of [event.SQLOptions], and the longest statement in bytes.
const (
	sqlMaxRows  = 10_000
	sqlMaxBytes = 16 << 20
	sqlTimeout  = 30 * time.Second
	maxSQL      = 64 << 10
)

//go:embed sql_visits.sql
var visitsViewSQL string

// SQL answers one statement that only reads: SELECT, WITH, VALUES, FROM, DESCRIBE
// or SUMMARIZE, over four views of the present and nothing else.
//
//	events   a row an event, with [event.Columns]
//	visits   a row a visit: site, visit, visitor, start, end, duration (seconds),
//	         pageviews, events, bounce, exit_path, and the columns of first touch
//	parts    a row a part: path, day, first_seq, last_seq, row_count, bytes,
//	         min_time, max_time, sites, damaged (null if it is sound)
//	audit    a row an entry of the audit chain, for who may read it: seq, time, kind,
//	         outcome, actor, object, request, reason, detail (JSON), count, leaf
//	         (null when it was pruned), link (hexadecimal)
//
// There are two lines of defence. The statement is parsed by DuckDB itself and
// what it consists of is compared with lists of what is allowed (see guard), so
// what nobody has thought of is refused. And DuckDB has been told to open nothing
// but the parts and to change no setting. The statement runs on a connection of
// its own, which is thrown away.
//
// A statement that is refused, fails, takes too long or too much memory is an
// [event.QueryError]. It is ended as well if there is no room for new events.
func (s *Store) SQL(ctx context.Context, query string, o event.SQLOptions) (*event.SQLResult, error) {
	if o.MaxRows <= 0 {
		o.MaxRows = sqlMaxRows
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = sqlMaxBytes
	}
	if o.Timeout <= 0 {
		o.Timeout = sqlTimeout
	}
	limited, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	running, ended := s.statements.begin(limited, s.opts.MemoryLimit)
	result, err := s.sql(running, query, o)
	cause := context.Cause(running)
	ended()
	if err == nil || ctx.Err() != nil {
		return result, err
	}
	if cause == errRoom || cause == errShut {
		return nil, cause
	}
	if limited.Err() != nil {
		return nil, &event.QueryError{Message: fmt.Sprintf("the query took longer than %s; ask for less", o.Timeout)}
	}
	return nil, blame(err)
}

func (s *Store) sql(ctx context.Context, query string, o event.SQLOptions) (*event.SQLResult, error) {
	if err := checkText(query); err != nil {
		return nil, err
	}
	query = strings.TrimRight(query, "; \t\r\n")
	conn, err := s.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer discardConn(conn)
	tables, err := guardSQL(ctx, conn, query)
	if err != nil {
		return nil, err
	}
	sn := s.Snapshot()
	defer sn.Release()
	for _, view := range sn.views(tables) {
		if _, err := conn.ExecContext(ctx, view); err != nil {
			return nil, fmt.Errorf("make view: %w", err)
		}
	}
	if slices.Contains(tables, "audit") {
		if err := s.makeAudit(ctx, conn, o); err != nil {
			return nil, err
		}
	}
	columns, err := describe(ctx, conn, query)
	if err != nil {
		return nil, err
	}
	values, get := textual, fetch
	if o.Arrow {
		values, get = arrowed, fetchArrow
	}
	text := wrap(query, columns, values, o.MaxRows+1)
	if _, err := guardSQL(ctx, conn, text); err != nil { // what is run is what has been looked at
		return nil, err
	}
	return get(ctx, conn, text, columns, o)
}

func checkText(query string) error {
	switch {
	case len(query) > maxSQL:
		return &event.QueryError{Message: fmt.Sprintf("the statement has %d bytes; at most %d are read", len(query), maxSQL)}
	case !utf8.ValidString(query) || strings.ContainsRune(query, 0):
		return &event.QueryError{Message: "the statement is not UTF-8 text"}
	case strings.TrimSpace(query) == "":
		return &event.QueryError{Message: "there is no statement"}
	}
	return nil
}

// discardConn closes a connection for good, with the views that are on it.
func discardConn(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// views returns the statements that make the views a query reads.
func (sn *Snapshot) views(tables []string) (views []string) {
	has := func(name string) bool { return slices.Contains(tables, name) }
	if has("events") || has("visits") {
		views = append(views, "CREATE TEMP VIEW events AS SELECT * FROM "+sn.Relation("", 0, 0)+" AS events")
	}
	if has("visits") {
		views = append(views, visitsViewSQL)
	}
	if has("parts") {
		views = append(views, partsView(slices.Concat(sn.Parts(), sn.Degraded())))
	}
	return views
}

func partsView(parts []event.Part) string {
	var b strings.Builder
	b.WriteString(`CREATE TEMP VIEW parts AS SELECT path, "day"::DATE AS "day", first_seq, last_seq, row_count, bytes,
		make_timestamptz(min_time) AS min_time, make_timestamptz(max_time) AS max_time, sites, damaged FROM (VALUES `)
	row := func(p event.Part) {
		sites := make([]string, len(p.Sites))
		for i, s := range p.Sites {
			sites[i] = quote(s)
		}
		fmt.Fprintf(&b, "(%s, %s, %d::BIGINT, %d::BIGINT, %d::BIGINT, %d::BIGINT, %d::BIGINT, %d::BIGINT, [%s]::VARCHAR[], nullif(%s, ''))",
			quote(p.Path), quote(p.Day.String()), p.First, p.Last, p.Rows, p.Bytes, p.MinTime, p.MaxTime, strings.Join(sites, ", "), quote(p.Damaged))
	}
	for _, p := range parts {
		row(p)
		b.WriteString(", ")
	}
	row(event.Part{}) // for the types
	b.WriteString(`) AS parts(path, "day", first_seq, last_seq, row_count, bytes, min_time, max_time, sites, damaged) WHERE path <> ''`)
	return b.String()
}

// describe returns the columns of a statement without running it.
func describe(ctx context.Context, conn *sql.Conn, query string) (columns []event.SQLColumn, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM (\n"+query+"\n))")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c event.SQLColumn
		if err := rows.Scan(&c.Name, &c.Type); err != nil {
			return nil, err
		}
		columns = append(columns, c)
	}
	return columns, rows.Err()
}

// native are the types whose values a result holds as they are; of others it has
// the text.
var native = []string{"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE", "VARCHAR"}

// textual returns the value of a column as a result has it: text for what is not
// native.
func textual(name string, c event.SQLColumn) string {
	if !slices.Contains(native, c.Type) {
		name += "::VARCHAR"
	}
	return name
}

// wrap returns a statement with the result of query, of which it takes no more
// than limit rows, and what values makes of each column.
func wrap(query string, columns []event.SQLColumn, values func(name string, c event.SQLColumn) string, limit int) string {
	var names, list []string
	for i, c := range columns {
		name := "c" + strconv.Itoa(i)
		names = append(names, name)
		list = append(list, values(name, c))
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (\n" + query + "\n) AS result(" + strings.Join(names, ", ") + ") LIMIT " + strconv.Itoa(limit)
}

// cellBytes is what a value in a row takes beside itself.
const cellBytes = 16

func fetch(ctx context.Context, conn *sql.Conn, text string, columns []event.SQLColumn, o event.SQLOptions) (*event.SQLResult, error) {
	rows, err := conn.QueryContext(ctx, text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	result := &event.SQLResult{Columns: columns, Rows: [][]any{}}
	into := make([]any, len(columns))
	var size int64
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i := range row {
			var n int
			row[i], n = value(row[i], columns[i].Type)
			size += int64(n + cellBytes)
		}
		if len(result.Rows) == o.MaxRows || size > o.MaxBytes {
			result.Truncated = true
			break
		}
		result.Rows = append(result.Rows, row)
	}
	result.Count = len(result.Rows)
	return result, rows.Err()
}

// value returns a value as a result holds it, and about how many bytes it is.
func value(v any, sqlType string) (any, int) {
	switch v := v.(type) {
	case int8:
		return int64(v), 8
	case int16:
		return int64(v), 8
	case int32:
		return int64(v), 8
	case uint8:
		return int64(v), 8
	case uint16:
		return int64(v), 8
	case uint32:
		return int64(v), 8
	case float32:
		return value(float64(v), sqlType)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) { // JSON has no number for it
			return strconv.FormatFloat(v, 'g', -1, 64), 8
		}
	case string:
		if strings.HasSuffix(sqlType, "HUGEINT") || sqlType == "UBIGINT" { // what sum and count make of a number
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				return n, 8
			}
		}
		return v, 16 + len(v)
	}
	return v, 8
}

// blame returns what a query's author can do something about as a QueryError. It
// leaves out DuckDB's excerpt, which shows our own text around theirs.
func blame(err error) error {
	var failed *duckdb.Error
	if !errors.As(err, &failed) {
		return err
	}
	switch failed.Type {
	case duckdb.ErrorTypeIO, duckdb.ErrorTypeFatal, duckdb.ErrorTypeInternal, duckdb.ErrorTypeInterrupt,
		duckdb.ErrorTypeTransaction, duckdb.ErrorTypeConnection, duckdb.ErrorTypePermission, duckdb.ErrorTypeInvalid:
		return fmt.Errorf("query: %w", err)
	case duckdb.ErrorTypeOutOfMemory:
		return &event.QueryError{Message: "the query needs more memory than there is beside what else is going on; ask for less, or try again"}
	}
	message, _, _ := strings.Cut(failed.Msg, "\n\nLINE ")
	return &event.QueryError{Message: message}
}
