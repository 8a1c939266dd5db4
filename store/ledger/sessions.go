package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
)

// maxSessions is how many a user can have; beyond that the one that was not used for
// longest ends.
const maxSessions = 50

// A Session lets a browser in until it ends. Its token is not kept, only its hash.
type Session struct {
	Hash  [32]byte // see [HashKey]
	ID    string
	User  string
	Known bool // the device had logged in before

	Created, LastUsed, Expires int64 // µs

	Browser, Country string // where it began, as far as it is known: Firefox · Linux, DE
}

// A Tally is how many attempts of one source, on one account or from one device have
// failed. Its key says of nobody who he is.
type Tally struct {
	Key         string
	Count       int64
	Last, Until int64 // µs; no attempt before Until
}

// A LogIn is what changes when somebody comes in.
type LogIn struct {
	Session Session
	How     string // "password", "passkey", "invitation", "set-up"

	Tallies []Tally  // as they are now
	Gone    []string // keys of tallies that are no more

	Step     int64     // of the code of TOTP that is used up; 0 is none
	Recovery *[32]byte // hash of the recovery code that is used up
	Passkey  *Passkey  // as it is after its use
	Password string    // the same one, hashed anew; "" leaves it
}

// LogIn begins a session. A code that somebody else has used before is [ErrSpent]:
// then nothing has happened. While the audit chain is halted its entries are owed: an
// operator has to come in to see why it is, and to end it.
func (l *Ledger) LogIn(ctx context.Context, in LogIn) error {
	s := &in.Session
	if s.Created == 0 {
		s.Created = l.now()
	}
	user := "user:" + s.User
	err := l.submit(ctx, &act{must: true, do: func(g *group) error {
		if err := g.roomToOwe(); err != nil {
			return err
		}
		for _, step := range []func(*sql.Tx) error{in.spend, in.add} {
			if err := step(g.tx); err != nil {
				return err
			}
		}
		ended, err := in.prune(g.tx)
		if err != nil {
			return err
		}
		if err := keepTallies(g.tx, in.Tallies, in.Gone); err != nil {
			return err
		}
		by := audit.From(ctx)
		by.Actor = user
		attempt := audit.Entry{Kind: audit.Login, By: by, Object: user, Detail: details("by", in.How, "recovery_code", flag(in.Recovery != nil), "known_device", flag(s.Known))}
		if err := g.record(attempt); err != nil {
			return err
		}
		if err := g.record(audit.Entry{Kind: audit.SessionStart, By: by, Object: "session:" + s.ID, Detail: details("user", s.User, "expires", moment(s.Expires))}); err != nil {
			return err
		}
		for _, id := range ended {
			if err := g.record(audit.Entry{Kind: audit.SessionEnd, By: by, Object: "session:" + id, Reason: "too_many", Detail: details("user", s.User)}); err != nil {
				return err
			}
		}
		return nil
	}})
	return about("begin session of user", s.User, err)
}

// spend uses up what can be used once.
func (in *LogIn) spend(tx *sql.Tx) error {
	user := in.Session.User
	if in.Step > 0 {
		if err := spend(tx.Exec(`UPDATE users SET totp_step = ?1 WHERE id = ?2 AND totp_step < ?1`, in.Step, user)); err != nil {
			return err
		}
	}
	if in.Recovery != nil {
		if err := spend(tx.Exec(`DELETE FROM recovery_codes WHERE user = ? AND hash = ?`, user, in.Recovery[:])); err != nil {
			return err
		}
	}
	if in.Passkey != nil {
		return spend(tx.Exec(`UPDATE passkeys SET credential = ?, last_used = ? WHERE id = ? AND user = ?`, in.Passkey.Credential, in.Session.Created, in.Passkey.ID, user))
	}
	return nil
}

func (in *LogIn) add(tx *sql.Tx) error {
	s := &in.Session
	if in.Password != "" {
		if _, err := tx.Exec(`UPDATE users SET password = ? WHERE id = ?`, in.Password, s.User); err != nil {
			return err
		}
	}
	if err := affect(tx.Exec(`UPDATE users SET last_used = ? WHERE id = ?`, s.Created, s.User)); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO sessions (hash, id, user, created, last_used, expires, known, browser, country) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		s.Hash[:], s.ID, s.User, s.Created, s.Created, s.Expires, s.Known, s.Browser, s.Country)
	return err
}

// prune ends the user's oldest sessions, if he has too many, and returns their ids.
func (in *LogIn) prune(tx *sql.Tx) (ended []string, err error) {
	rows, err := tx.Query(`DELETE FROM sessions WHERE user = ?1 AND hash NOT IN (SELECT hash FROM sessions WHERE user = ?1 ORDER BY last_used DESC, created DESC LIMIT ?2) RETURNING id`,
		in.Session.User, maxSessions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ended = append(ended, id)
	}
	return ended, rows.Err()
}

// LogInFailed keeps the tallies of an attempt that has failed, with the refusal e,
// which is folded as [Ledger.Refuse] does. locked, if it is not nil, is an entry of
// its own: that somebody is locked out from now on. While the audit chain is halted it
// keeps the tallies, and no refusal is recorded.
func (l *Ledger) LogInFailed(ctx context.Context, tallies []Tally, gone []string, e audit.Entry, locked *audit.Entry) error {
	attribute(ctx, &e)
	e.Outcome = audit.Refused
	fresh := false
	err := l.submit(ctx, &act{do: func(g *group) (err error) {
		if err := keepTallies(g.tx, tallies, gone); err != nil {
			return err
		}
		if g.halted != nil {
			return nil
		}
		if locked != nil {
			attribute(ctx, locked)
			if _, err := g.refuse(*locked); err != nil {
				return err
			}
		}
		fresh, err = g.refuse(e)
		return err
	}})
	if err == nil && (fresh || locked != nil) {
		l.wakeFolder()
	}
	return about("record", string(e.Kind), err)
}

func keepTallies(tx *sql.Tx, tallies []Tally, gone []string) error {
	for _, t := range tallies {
		if t.Count == 0 {
			gone = append(gone, t.Key)
			continue
		}
		if _, err := tx.Exec(`INSERT OR REPLACE INTO login_tallies (key, count, last, until) VALUES (?, ?, ?, ?)`, t.Key, t.Count, t.Last, t.Until); err != nil {
			return err
		}
	}
	for _, key := range gone {
		if _, err := tx.Exec(`DELETE FROM login_tallies WHERE key = ?`, key); err != nil {
			return err
		}
	}
	return nil
}

// KeepTallies keeps tallies as they are now, and forgets others. Nothing is recorded.
func (l *Ledger) KeepTallies(ctx context.Context, tallies []Tally, gone []string) error {
	if len(tallies)+len(gone) == 0 {
		return nil
	}
	err := l.write(ctx, l.main, func(tx *sql.Tx) error { return keepTallies(tx, tallies, gone) })
	if err != nil {
		return fmt.Errorf("keep failed log-ins: %w", err)
	}
	return nil
}

// Tallies returns all tallies, the oldest first.
func (l *Ledger) Tallies(ctx context.Context) (list []Tally, err error) {
	rows, err := l.read.QueryContext(ctx, `SELECT key, count, last, until FROM login_tallies ORDER BY last, key`)
	if err != nil {
		return nil, fmt.Errorf("read failed log-ins: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t Tally
		if err := rows.Scan(&t.Key, &t.Count, &t.Last, &t.Until); err != nil {
			return nil, fmt.Errorf("read failed log-ins: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

const selectSession = `SELECT hash, id, user, created, last_used, expires, known, browser, country FROM sessions `

func scanSession(row scanner) (s Session, err error) {
	var hash []byte
	err = row.Scan(&hash, &s.ID, &s.User, &s.Created, &s.LastUsed, &s.Expires, &s.Known, &s.Browser, &s.Country)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	copy(s.Hash[:], hash)
	return s, err
}

// Session returns a session and whose it is, ended by time or not. One that is not
// there is [ErrNotFound].
func (l *Ledger) Session(ctx context.Context, hash [32]byte) (Session, User, error) {
	s, err := scanSession(l.read.QueryRowContext(ctx, selectSession+`WHERE hash = ?`, hash[:]))
	if err != nil {
		return s, User{}, fmt.Errorf("read session: %w", err)
	}
	u, err := l.User(ctx, s.User)
	return s, u, err
}

// Sessions returns the sessions of a user, ended by time or not, the newest first.
func (l *Ledger) Sessions(ctx context.Context, user string) (list []Session, err error) {
	rows, err := l.read.QueryContext(ctx, selectSession+`WHERE user = ? ORDER BY created DESC, id`, user)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scanSession(rows)
		if err != nil {
			return nil, fmt.Errorf("read sessions: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// EndSession ends a session of a user by its id, while the chain is halted too: nobody
// is to be kept in.
func (l *Ledger) EndSession(ctx context.Context, user, id string) error {
	e := audit.Entry{Kind: audit.SessionEnd, Object: "session:" + id, Detail: details("user", user)}
	err := l.mustAct(ctx, &e, func(tx *sql.Tx) error {
		return affect(tx.Exec(`DELETE FROM sessions WHERE user = ? AND id = ?`, user, id))
	})
	return about("end session", id, err)
}

// endSessions ends the sessions of a user but one.
func endSessions(tx *sql.Tx, user string, keep *[32]byte) (int64, error) {
	kept := []byte{}
	if keep != nil {
		kept = keep[:]
	}
	r, err := tx.Exec(`DELETE FROM sessions WHERE user = ? AND hash <> ?`, user, kept)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// TouchSessions notes when sessions were last used, in µs by hash. Those that are not
// there are skipped, and no time goes back.
func (l *Ledger) TouchSessions(ctx context.Context, used map[[32]byte]int64) error {
	if len(used) == 0 {
		return nil
	}
	err := l.write(ctx, l.main, func(tx *sql.Tx) error {
		for hash, at := range used {
			if _, err := tx.Exec(`UPDATE sessions SET last_used = max(last_used, ?) WHERE hash = ?`, at, hash[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("touch sessions: %w", err)
	}
	return nil
}

// DropSessions removes the sessions that had expired by a time, or were not used since
// another, both in µs, and returns how many. Invitations that have expired go with
// them.
func (l *Ledger) DropSessions(ctx context.Context, expired, unused int64) (n int64, err error) {
	const where = ` FROM sessions WHERE expires <= ? OR last_used <= ?`
	if err := l.read.QueryRowContext(ctx, `SELECT count(*)`+where, expired, unused).Scan(&n); err != nil || n == 0 {
		return 0, err
	}
	e := audit.Entry{Kind: audit.SessionEnd, By: audit.System, Object: "sessions", Reason: "expired"}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		r, err := tx.Exec(`DELETE`+where, expired, unused)
		if err != nil {
			return err
		}
		if n, err = r.RowsAffected(); err != nil {
			return err
		}
		e.Detail = details("sessions", strconv.FormatInt(n, 10))
		_, err = tx.Exec(`DELETE FROM invitations WHERE expires <= ?`, expired)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("drop sessions: %w", err)
	}
	return n, nil
}
