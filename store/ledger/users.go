package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
)

// The roles. An admin may do everything; a viewer may look at reports.
const (
	RoleAdmin  = "admin"
	RoleViewer = "viewer"
)

var (
	// ErrLastAdmin is returned for a change after which nobody could administer the
	// installation with a password or a passkey.
	ErrLastAdmin = errors.New("this is the last user who can administer the server; make another admin first")

	// ErrSpent is returned for a code that has been used, by someone who was faster.
	ErrSpent = errors.New("the code has been used")
)

// A User is somebody who can log in. What is secret is sealed or hashed by whoever
// gives it to the ledger.
type User struct {
	ID       string
	Name     string
	Role     string // one of the roles
	Password string // PHC string; "" is none yet
	TOTP     []byte // sealed secret of the second factor; empty is none
	Pending  []byte // likewise, not confirmed yet
	Step     int64  // of the newest code of TOTP that was taken

	// Times in µs; 0 is never.
	Created, Changed, LastUsed int64

	Passkeys int // how many there are
	Recovery int // codes that are left
}

// An Invitation lets somebody set the password of a user, once.
type Invitation struct {
	Hash    [32]byte // see [HashKey]
	User    string
	Expires int64 // µs
}

// NewID returns the id of a new user or session.
func NewID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

const selectUser = `
	SELECT id, name, role, password, totp, pending, totp_step, created, changed, last_used,
		(SELECT count(*) FROM passkeys p WHERE p.user = users.id), (SELECT count(*) FROM recovery_codes c WHERE c.user = users.id)
	FROM users `

func scanUser(row scanner) (u User, err error) {
	err = row.Scan(&u.ID, &u.Name, &u.Role, &u.Password, &u.TOTP, &u.Pending, &u.Step, &u.Created, &u.Changed, &u.LastUsed, &u.Passkeys, &u.Recovery)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return u, err
}

// Users returns all users, by name.
func (l *Ledger) Users(ctx context.Context) (users []User, err error) {
	rows, err := l.read.QueryContext(ctx, selectUser+`ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		u, err := scanUser(rows)
		if err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
		users = append(users, u)
	}
	return users, rows.Err()
}

// User returns the user of an id, or [ErrNotFound].
func (l *Ledger) User(ctx context.Context, id string) (User, error) {
	u, err := scanUser(l.read.QueryRowContext(ctx, selectUser+`WHERE id = ?`, id))
	return u, about("read user", id, err)
}

// UserNamed returns the user of a name, whatever its case, or [ErrNotFound].
func (l *Ledger) UserNamed(ctx context.Context, name string) (User, error) {
	u, err := scanUser(l.read.QueryRowContext(ctx, selectUser+`WHERE name = ?`, name))
	if err != nil {
		return u, fmt.Errorf("read user: %w", err)
	}
	return u, nil
}

// AddUser adds a user, and an invitation if it is not nil. One of the same name is
// [ErrExists].
func (l *Ledger) AddUser(ctx context.Context, u User, in *Invitation) error {
	if u.Created == 0 {
		u.Created = l.now()
	}
	if u.Password != "" {
		u.Changed = u.Created
	}
	e := audit.Entry{Kind: audit.UserCreate, Object: "user:" + u.ID, Private: map[string]string{"name": u.Name},
		Detail: details("role", u.Role, "invited", flag(in != nil))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			INSERT INTO users (id, name, role, password, totp, pending, totp_step, created, changed, last_used)
			VALUES (?, ?, ?, ?, x'', x'', 0, ?, ?, 0)`, u.ID, u.Name, u.Role, u.Password, u.Created, u.Changed)
		if err != nil || in == nil {
			return err
		}
		return invite(tx, in)
	})
	return about("add user", u.ID, err)
}

func flag(is bool) string {
	if is {
		return "true"
	}
	return ""
}

func invite(tx *sql.Tx, in *Invitation) error {
	_, err := tx.Exec(`INSERT OR REPLACE INTO invitations (hash, user, expires) VALUES (?, ?, ?)`, in.Hash[:], in.User, in.Expires)
	return err
}

// ChangeUser changes the name and the role of a user, and returns what he is then.
// A new role
// ends his sessions.
func (l *Ledger) ChangeUser(ctx context.Context, id string, change func(*User) error) (u User, err error) {
	e := audit.Entry{Kind: audit.UserChange, Object: "user:" + id}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		before, err := admins(tx)
		if err != nil {
			return err
		}
		was, err := scanUser(tx.QueryRow(selectUser+`WHERE id = ?`, id))
		if err != nil {
			return err
		}
		u = was
		if err := change(&u); err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), u.fields())
		if _, err := tx.Exec(`UPDATE users SET name = ?, role = ? WHERE id = ?`, u.Name, u.Role, id); err != nil {
			return err
		}
		if u.Role == was.Role {
			return nil
		}
		n, err := endSessions(tx, id, nil)
		if err != nil {
			return err
		}
		e.Detail["sessions_ended"] = strconv.FormatInt(n, 10)
		if before == 0 {
			return nil
		}
		return leavesAdmin(tx)
	})
	return u, about("change user", id, err)
}

func (u *User) fields() []field {
	return []field{{name: "role", value: u.Role}, {name: "name", value: u.Name, private: true}}
}

// leavesAdmin refuses a transaction after which no admin can log in, if one could.
func leavesAdmin(tx *sql.Tx) error {
	n, err := admins(tx)
	if err == nil && n == 0 {
		err = ErrLastAdmin
	}
	return err
}

func admins(db interface {
	QueryRow(string, ...any) *sql.Row
}) (n int, err error) {
	err = db.QueryRow(`
		SELECT count(*) FROM users WHERE role = 'admin' AND (password <> '' OR EXISTS (SELECT 1 FROM passkeys p WHERE p.user = users.id))`).Scan(&n)
	return n, err
}

// Administered says whether there is an admin who can log in.
func (l *Ledger) Administered(ctx context.Context) (bool, error) {
	n, err := admins(l.read)
	if err != nil {
		return false, fmt.Errorf("look for an admin: %w", err)
	}
	return n > 0, nil
}

// RemoveUser removes a user with all that is his: sessions, factors, invitations.
func (l *Ledger) RemoveUser(ctx context.Context, id string) error {
	e := audit.Entry{Kind: audit.UserRemove, Object: "user:" + id}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		before, err := admins(tx)
		if err != nil {
			return err
		}
		if err := affect(tx.Exec(`DELETE FROM users WHERE id = ?`, id)); err != nil || before == 0 {
			return err
		}
		return leavesAdmin(tx)
	})
	return about("remove user", id, err)
}

// Invite makes an invitation of a user, in place of the one there is.
func (l *Ledger) Invite(ctx context.Context, in Invitation) error {
	e := audit.Entry{Kind: audit.UserChange, Object: "user:" + in.User, Detail: details("changed", "invitation", "expires", moment(in.Expires))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error { return invite(tx, &in) })
	return about("invite user", in.User, err)
}

// Invited returns whose an invitation is. One that is not there, or that has expired
// by a time in µs, is [ErrNotFound].
func (l *Ledger) Invited(ctx context.Context, hash [32]byte, at int64) (User, error) {
	var id string
	err := l.read.QueryRowContext(ctx, `SELECT user FROM invitations WHERE hash = ? AND expires > ?`, hash[:], at).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return User{}, fmt.Errorf("read invitation: %w", err)
	}
	return l.User(ctx, id)
}

// A NewPassword is a change of a password and what goes with it.
type NewPassword struct {
	User     string
	Password string    // PHC string
	Keep     *[32]byte // hash of the session that goes on; nil ends all
	Invited  *[32]byte // hash of the invitation that is used up; [ErrSpent] if it is gone
	Factors  bool      // removes the second factors too
	Unlock   bool      // forgets all attempts that have failed
}

// SetPassword sets the password of a user, ends his other sessions, and makes his
// invitations worthless.
func (l *Ledger) SetPassword(ctx context.Context, p NewPassword) error {
	e := audit.Entry{Kind: audit.PasswordChange, Object: "user:" + p.User, Detail: details("invited", flag(p.Invited != nil), "factors_removed", flag(p.Factors), "unlocked", flag(p.Unlock))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		if p.Invited != nil {
			if err := spend(tx.Exec(`DELETE FROM invitations WHERE hash = ? AND user = ?`, p.Invited[:], p.User)); err != nil {
				return err
			}
		}
		if err := affect(tx.Exec(`UPDATE users SET password = ?, changed = ? WHERE id = ?`, p.Password, l.now(), p.User)); err != nil {
			return err
		}
		n, err := endSessions(tx, p.User, p.Keep)
		if err != nil {
			return err
		}
		e.Detail["sessions_ended"] = strconv.FormatInt(n, 10)
		todo := []string{`DELETE FROM invitations WHERE user = ?1`}
		if p.Factors {
			todo = append(todo, `DELETE FROM recovery_codes WHERE user = ?1`, `DELETE FROM passkeys WHERE user = ?1`, `UPDATE users SET totp = x'', pending = x'' WHERE id = ?1`)
		}
		if p.Unlock {
			todo = append(todo, `DELETE FROM login_tallies WHERE ?1 <> ''`)
		}
		for _, q := range todo {
			if _, err := tx.Exec(q, p.User); err != nil {
				return err
			}
		}
		return nil
	})
	return about("set password of user", p.User, err)
}

// spend is affect for what can be used once.
func spend(r sql.Result, err error) error {
	if err = affect(r, err); errors.Is(err, ErrNotFound) {
		return ErrSpent
	}
	return err
}
