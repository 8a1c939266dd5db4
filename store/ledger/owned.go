package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/currency"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// What follows is shared by what a site owns: goals, segments, annotations,
// shared links and rules.

// A scanner is a row, or the rows of a query.
type scanner interface{ Scan(...any) error }

// list returns the rows of a query, in its order.
func list[T any](ctx context.Context, l *Ledger, what string, scan func(scanner) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := l.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// insert adds a row to a table unless the site has as many as it may.
func insert(tx *sql.Tx, table string, most int, site, query string, args ...any) (id int64, err error) {
	var have int
	if err := tx.QueryRow(`SELECT count(*) FROM `+table+` WHERE site = ?`, site).Scan(&have); err != nil {
		return 0, err
	}
	if have >= most {
		return 0, wrong("site_id", "names a site with %d %s, which is the most; delete one that nobody needs", have, table)
	}
	r, err := tx.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// remove deletes what is kept in the table of its sort, if it is the site's and nothing
// speaks against it.
func (l *Ledger) remove(ctx context.Context, kind audit.Kind, sort, site string, id int64, against ...func(*sql.Tx) error) error {
	e := audit.Entry{Kind: kind, Object: owned(sort, id), Detail: details("site", site)}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		for _, speaks := range against {
			if err := speaks(tx); err != nil {
				return err
			}
		}
		return affect(tx.Exec(`DELETE FROM `+sort+`s WHERE id = ? AND site = ?`, id, site))
	})
	return about("remove "+sort+" of", site, err)
}

// missing makes [ErrNotFound] of a row that is not there.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// wrong says which field is wrong, to whoever sent it.
func wrong(field, format string, args ...any) error {
	return &event.FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// checkText takes the space around a text away and refuses what is no text of 1
// to most bytes.
func checkText(field string, s *string, most int) error {
	*s = strings.TrimSpace(*s)
	switch {
	case *s == "":
		return wrong(field, "is missing")
	case len(*s) > most:
		return wrong(field, "is too long: %d bytes, at most %d", len(*s), most)
	case !utf8.ValidString(*s) || strings.ContainsFunc(*s, unicode.IsControl):
		return wrong(field, "has control characters or is no UTF-8")
	}
	return nil
}

// checkPath checks a pattern of paths. Slashes at the end are taken away, as
// ingest does with those of the events.
func checkPath(field string, s *string) error {
	if err := checkText(field, s, 500); err != nil {
		return err
	}
	if !strings.HasPrefix(*s, "/") {
		return wrong(field, "is a pattern of paths, such as /blog/** or /thanks: it begins with /")
	}
	if *s = strings.TrimRight(*s, " /"); *s == "" {
		*s = "/"
	}
	return nil
}

// checkCurrency checks the code of a currency, which may be left out.
func checkCurrency(s *string) error {
	*s = strings.ToUpper(strings.TrimSpace(*s))
	if *s == "" {
		return nil
	}
	if unit, err := currency.ParseISO(*s); err != nil || unit == currency.XXX {
		return wrong("currency", "is no currency of ISO 4217; give a code such as EUR, or none")
	}
	return nil
}

// cut returns at most the first n bytes of s, between two runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
