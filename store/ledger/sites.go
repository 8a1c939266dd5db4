package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/eider-analytics/eider/store/audit"
)

// A Site is a web site, app or server whose events are taken.
type Site struct {
	Domain   string // as it is written in events and reports
	Timezone string // IANA name: Europe/Berlin
	Created  int64  // µs; AddSite sets it if it is 0
}

// now is the current time in µs.
func (l *Ledger) now() int64 { return l.opts.Now().UnixMicro() }

// Sites returns all sites, by domain.
func (l *Ledger) Sites(ctx context.Context) ([]Site, error) {
	rows, err := l.read.QueryContext(ctx, `SELECT domain, timezone, created FROM sites ORDER BY domain`)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	defer rows.Close()
	var sites []Site
	for rows.Next() {
		var s Site
		if err := rows.Scan(&s.Domain, &s.Timezone, &s.Created); err != nil {
			return nil, fmt.Errorf("read sites: %w", err)
		}
		sites = append(sites, s)
	}
	return sites, rows.Err()
}

// AddSite adds a site. One of the same domain is [ErrExists]. A site that Eider makes
// by itself, for an event or because the settings list it, cannot be refused: while the
// audit chain is halted its entry is owed.
func (l *Ledger) AddSite(ctx context.Context, s Site) error {
	if s.Created == 0 {
		s.Created = l.now()
	}
	e := audit.Entry{Kind: audit.SiteCreate, Object: "site:" + s.Domain, Detail: details("timezone", s.Timezone)}
	act := l.act
	if audit.From(ctx) == audit.System {
		act = l.mustAct
	}
	err := act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO sites (domain, timezone, created) VALUES (?, ?, ?)`, s.Domain, s.Timezone, s.Created)
		return err
	})
	return about("add site", s.Domain, err)
}

// SetSite changes the time zone of a site, as [Ledger.ChangeSettings] does.
func (l *Ledger) SetSite(ctx context.Context, s Site) error {
	_, err := l.ChangeSettings(ctx, s.Domain, func(set *SiteSettings) error {
		set.Timezone = s.Timezone
		return nil
	})
	return err
}

// RemoveSite removes a site, with its goals, segments, annotations, shared links and
// settings. Its events stay until they are erased, and its salts until they expire.
// One that is not there is [ErrNotFound].
func (l *Ledger) RemoveSite(ctx context.Context, domain string) error {
	e := audit.Entry{Kind: audit.SiteRemove, Object: "site:" + domain}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		return affect(tx.Exec(`DELETE FROM sites WHERE domain = ?`, domain))
	})
	return about("remove site", domain, err)
}

// about says what was being done to what.
func about(doing, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, what, err)
}

// Salt returns the salt of a site's day, which is YYYY-MM-DD in the site's own
// time zone. One that is not there is made at random, is durable when Salt
// returns, and may be destroyed from expires (µs) on. The expiry of one that is
// there does not change.
func (l *Ledger) Salt(ctx context.Context, site, day string, expires int64) (salt [16]byte, err error) {
	const find = `SELECT salt FROM salts WHERE site = ? AND day = ?`
	var b []byte
	err = l.read.QueryRowContext(ctx, find, site, day).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		var fresh [16]byte
		rand.Read(fresh[:])
		err = l.write(ctx, l.main, func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO salts (site, day, salt, expires) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				site, day, fresh[:], expires)
			if err != nil {
				return err
			}
			return tx.QueryRow(find, site, day).Scan(&b)
		})
	}
	if err == nil && len(b) != len(salt) {
		err = fmt.Errorf("it has %d bytes", len(b))
	}
	if err != nil {
		return salt, fmt.Errorf("salt of %s for %s: %w", site, day, err)
	}
	return [16]byte(b), nil
}

// DropSalts destroys the salts that expired before a time in µs and returns how
// many. When it returns nil their bytes are in neither the database nor its WAL.
// After an error they may still be there; call it again.
func (l *Ledger) DropSalts(ctx context.Context, before int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.w.Lock()
	defer l.w.Unlock()
	n, err := l.dropSalts(before)
	if err == nil {
		err = l.wipeLocked()
	}
	if err != nil {
		return n, fmt.Errorf("drop salts: %w", err)
	}
	return n, nil
}

// dropSalts writes the table anew with the salts that stay. Deleting the others
// row by row is not enough even with secure_delete: where SQLite moves rows
// between pages it leaves copies in what is then free space of the page. Emptying
// the table clears every page of it.
func (l *Ledger) dropSalts(before int64) (n int, err error) {
	err = l.writeLocked(l.main, func(tx *sql.Tx) error {
		if err := tx.QueryRow(`SELECT count(*) FROM salts WHERE expires < ?`, before).Scan(&n); err != nil || n == 0 {
			return err
		}
		for _, q := range []string{
			`CREATE TEMP TABLE kept AS SELECT * FROM salts`, // in memory: temp_store
			`DELETE FROM salts`,
			`INSERT INTO salts SELECT * FROM kept WHERE expires >= ?1`,
			`DROP TABLE kept`,
		} {
			if _, err := tx.Exec(q, before); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	l.wipe = l.wipe || n > 0
	return n, nil
}

// Secret returns the secret of that name. One that is not there is made of size
// random bytes, and is durable when Secret returns; one of another size is an
// error.
func (l *Ledger) Secret(ctx context.Context, name string, size int) ([]byte, error) {
	const find = `SELECT value FROM secrets WHERE name = ?`
	var b []byte
	err := l.read.QueryRowContext(ctx, find, name).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		fresh := make([]byte, size)
		rand.Read(fresh)
		err = l.write(ctx, l.main, func(tx *sql.Tx) error {
			if _, err := tx.Exec(`INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, name, fresh); err != nil {
				return err
			}
			return tx.QueryRow(find, name).Scan(&b)
		})
	}
	if err == nil && len(b) != size {
		err = fmt.Errorf("it has %d bytes, not %d", len(b), size)
	}
	if err != nil {
		return nil, about("secret", name, err)
	}
	return b, nil
}
