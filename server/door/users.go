package door

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// Admin is the name of the first user, where none is given.
const Admin = "admin"

// inviteTTL is how long an invitation is good.
const inviteTTL = 7 * 24 * time.Hour

var (
	// ErrName is returned for what nobody can be called.
	ErrName = errors.New("a user name has 1 to 64 characters, none of them a control character or at the edge a space")

	// ErrInvitation is returned for an invitation that is not there, or no more.
	ErrInvitation = errors.New("the invitation is unknown, used or too old; ask for a new one")
)

// CheckName refuses what nobody can be called.
func CheckName(name string) error {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > 64 || !utf8.ValidString(name) || name != strings.TrimSpace(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ErrName
	}
	return nil
}

// Administered says whether there is an admin who can log in.
func (d *Door) Administered(ctx context.Context) (bool, error) { return d.ledger.Administered(ctx) }

// SetUp makes the first admin and lets him in.
func (d *Door) SetUp(ctx context.Context, c Client, name, password string) (Entrance, error) {
	u, err := d.Create(ctx, name, ledger.RoleAdmin, password)
	if err != nil {
		return Entrance{}, err
	}
	return d.enter(ctx, c, u, ledger.LogIn{How: "set-up"})
}

// Create makes a user with a password.
func (d *Door) Create(ctx context.Context, name, role, password string) (ledger.User, error) {
	if err := errors.Join(CheckName(name), CheckPassword(name, password)); err != nil {
		return ledger.User{}, err
	}
	phc, err := d.hasher.newPHC(ctx, true, password)
	if err != nil {
		return ledger.User{}, err
	}
	u := ledger.User{ID: ledger.NewID(), Name: name, Role: role, Password: phc, Created: d.o.Now().UnixMicro()}
	return u, d.ledger.AddUser(ctx, u, nil)
}

// CreateInvited makes a user who sets his password himself, and returns the token of
// the invitation, which is shown once.
func (d *Door) CreateInvited(ctx context.Context, name, role string) (ledger.User, string, error) {
	if err := CheckName(name); err != nil {
		return ledger.User{}, "", err
	}
	u := ledger.User{ID: ledger.NewID(), Name: name, Role: role, Created: d.o.Now().UnixMicro()}
	in, token := d.invitation(u.ID)
	return u, token, d.ledger.AddUser(ctx, u, &in)
}

func (d *Door) invitation(user string) (ledger.Invitation, string) {
	token := newToken()
	return ledger.Invitation{Hash: ledger.HashKey(token), User: user, Expires: d.o.Now().Add(inviteTTL).UnixMicro()}, token
}

// Invite makes an invitation for a user who is there, in place of an older one.
func (d *Door) Invite(ctx context.Context, user string) (token string, err error) {
	in, token := d.invitation(user)
	return token, d.ledger.Invite(ctx, in)
}

// Accept sets the password of who has an invitation, and lets him in if he has no
// second factor: for that he has to log in.
func (d *Door) Accept(ctx context.Context, c Client, token, password string) (Entrance, error) {
	a, wait := d.brake.begin(d.brake.lanes("", c.Address, ""))
	if a == nil {
		return Entrance{}, d.locked(ctx, "invitation", "", wait)
	}
	hash := ledger.HashKey(token)
	u, err := d.ledger.Invited(ctx, hash, d.o.Now().UnixMicro())
	if errors.Is(err, ledger.ErrNotFound) {
		if err := d.failed(ctx, a, "invitation", "", "bad_token"); !errors.Is(err, ErrBadLogin) {
			return Entrance{}, err
		}
		return Entrance{}, ErrInvitation
	}
	a.cancel()
	if err != nil {
		return Entrance{}, err
	}
	if err := CheckPassword(u.Name, password); err != nil {
		return Entrance{}, err
	}
	phc, err := d.hasher.newPHC(ctx, true, password)
	if err != nil {
		return Entrance{}, err
	}
	ctx = actingAs(ctx, u.ID)
	err = d.ledger.SetPassword(ctx, ledger.NewPassword{User: u.ID, Password: phc, Invited: &hash})
	if errors.Is(err, ledger.ErrSpent) {
		return Entrance{}, ErrInvitation
	}
	if err != nil {
		return Entrance{}, err
	}
	if len(u.TOTP) > 0 {
		return Entrance{User: u}, ErrCodeNeeded
	}
	return d.enter(ctx, c, u, ledger.LogIn{How: "invitation"})
}

// actingAs says that it is a user who acts, where so far nobody was known.
func actingAs(ctx context.Context, user string) context.Context {
	by := audit.From(ctx)
	by.Actor = "user:" + user
	return audit.With(ctx, by)
}

// ChangePassword sets the password of a user who knows the one he has, and ends his
// other sessions.
func (d *Door) ChangePassword(ctx context.Context, c Client, v *Visit, current, next string) error {
	if err := CheckPassword(v.User.Name, next); err != nil {
		return err
	}
	if err := d.confirm(ctx, c, v.User, current); err != nil {
		return err
	}
	phc, err := d.hasher.newPHC(ctx, true, next)
	if err != nil {
		return err
	}
	return d.ledger.SetPassword(ctx, ledger.NewPassword{User: v.User.ID, Password: phc, Keep: &v.Session.Hash})
}

// confirm checks the password of somebody who has a session: it may be a stolen one.
// He has a tally of his own.
func (d *Door) confirm(ctx context.Context, c Client, u ledger.User, password string) error {
	a, wait := d.brake.begin(d.brake.lanes("", c.Address, u.ID))
	if a == nil {
		return d.locked(ctx, "confirmation", objectOf(u), wait)
	}
	ok, _, err := d.verify(ctx, true, u, password)
	if err != nil {
		a.cancel()
		return err
	}
	if !ok {
		return d.failed(ctx, a, "confirmation", objectOf(u), "bad_login")
	}
	return d.ledger.KeepTallies(ctx, a.succeeded(), a.gone)
}

// SetPassword sets the password of a user, ends all his sessions, and forgets who has
// to wait: it is for the operator. factors removes the second factors too.
func (d *Door) SetPassword(ctx context.Context, u ledger.User, password string, factors bool) error {
	if err := CheckPassword(u.Name, password); err != nil {
		return err
	}
	phc, err := d.hasher.newPHC(ctx, true, password)
	if err != nil {
		return err
	}
	err = d.ledger.SetPassword(ctx, ledger.NewPassword{User: u.ID, Password: phc, Factors: factors, Unlock: true})
	if err == nil {
		d.brake.clear()
	}
	return err
}

// EnsureAdmin makes the user admin, or sets his password, if it is not that one.
func (d *Door) EnsureAdmin(ctx context.Context, password string) error {
	u, err := d.ledger.UserNamed(ctx, Admin)
	if errors.Is(err, ledger.ErrNotFound) {
		_, err = d.Create(ctx, Admin, ledger.RoleAdmin, password)
		return err
	}
	if err != nil {
		return err
	}
	if u.Role != ledger.RoleAdmin {
		if _, err := d.ledger.ChangeUser(ctx, u.ID, func(u *ledger.User) error { u.Role = ledger.RoleAdmin; return nil }); err != nil {
			return err
		}
	}
	if ok, _, err := d.verify(ctx, true, u, password); err != nil || ok {
		return err
	}
	return d.SetPassword(ctx, u, password, false)
}

// Users, User and UserNamed return users as the ledger has them.
func (d *Door) Users(ctx context.Context) ([]ledger.User, error) { return d.ledger.Users(ctx) }

// User returns the user of an id.
func (d *Door) User(ctx context.Context, id string) (ledger.User, error) {
	return d.ledger.User(ctx, id)
}

// UserNamed returns the user of a name, whatever its case.
func (d *Door) UserNamed(ctx context.Context, name string) (ledger.User, error) {
	return d.ledger.UserNamed(ctx, name)
}

// Change changes the name or the role of a user; "" leaves it.
func (d *Door) Change(ctx context.Context, id, name, role string) (ledger.User, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return ledger.User{}, err
		}
	}
	return d.ledger.ChangeUser(ctx, id, func(u *ledger.User) error {
		if name != "" {
			u.Name = name
		}
		if role != "" {
			u.Role = role
		}
		return nil
	})
}

// Remove removes a user with all that is his.
func (d *Door) Remove(ctx context.Context, id string) error { return d.ledger.RemoveUser(ctx, id) }
