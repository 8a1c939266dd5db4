package door

import (
	"context"
	"errors"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// Credentials are what somebody types in to come in.
type Credentials struct {
	Name, Password string
	Code           string // of TOTP, or a recovery code; "" for none
}

// LogIn lets somebody in who knows a password, and the code of his second factor if he
// has one. Whatever is wrong is [ErrBadLogin]; before it is known whether the password
// is right, names that exist and names that do not take the same way. Every attempt is
// in the audit chain before LogIn returns. It returns [*LockedError], [ErrCodeNeeded]
// and [ErrBusy] too.
func (d *Door) LogIn(ctx context.Context, c Client, cred Credentials) (Entrance, error) {
	if cred.Name == "" {
		cred.Name = Admin
	}
	u, err := d.ledger.UserNamed(ctx, cred.Name)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return Entrance{}, err
	}
	device := ""
	if of, id, ok := d.readMark(c.Device); ok && u.ID != "" && of == u.ID {
		device = id
	}
	a, wait := d.brake.begin(d.brake.lanes(cred.Name, c.Address, device))
	if a == nil {
		return Entrance{}, d.locked(ctx, "password", objectOf(u), wait)
	}
	ok, stale, err := d.verify(ctx, device != "", u, cred.Password)
	if err != nil {
		a.cancel()
		return Entrance{}, err
	}
	in := ledger.LogIn{How: "password", Gone: a.gone}
	if !ok {
		return Entrance{}, d.failed(ctx, a, "password", objectOf(u), "bad_login")
	}
	if len(u.TOTP) > 0 {
		if cred.Code == "" {
			return Entrance{}, d.codeNeeded(ctx, a, u)
		}
		if ok, err = d.second(ctx, u, cred.Code, &in); err != nil {
			a.cancel()
			return Entrance{}, err
		}
		if !ok {
			return Entrance{}, d.failed(ctx, a, "password", objectOf(u), "bad_code")
		}
	}
	if stale {
		if in.Password, err = d.hasher.newPHC(ctx, true, cred.Password); err != nil {
			in.Password = "" // another time
		}
	}
	in.Tallies = a.succeeded()
	e, err := d.enter(ctx, c, u, in)
	if errors.Is(err, ledger.ErrSpent) { // somebody was faster with the same code
		return Entrance{}, d.spentCode(ctx, "password", u)
	}
	return e, err
}

// verify checks a password, or does the same work for a user who has none.
func (d *Door) verify(ctx context.Context, known bool, u ledger.User, password string) (ok, stale bool, err error) {
	phc := u.Password
	if phc == "" {
		phc = d.decoy
	}
	if len(password) > 4*maxPassword {
		password = "" // too long for anyone's; the work is the same
	}
	ok, stale, err = d.hasher.verify(ctx, known, phc, password)
	return ok && u.Password != "", stale, err
}

// failed records an attempt that has failed, and that its source is locked out from
// now on.
func (d *Door) failed(ctx context.Context, a *attempt, how, object, reason string) error {
	e := audit.Entry{Kind: audit.Login, Object: object, Reason: reason, Detail: map[string]string{"by": how}}
	var locked *audit.Entry
	if a.locked {
		locked = &audit.Entry{Kind: audit.Lockout, Outcome: audit.Done, Object: object, Reason: "attempts"}
		d.o.Metered(how, "lockout")
	}
	d.o.Metered(how, "bad")
	if err := d.ledger.LogInFailed(ctx, a.failed(), a.gone, e, locked); err != nil {
		return err
	}
	return ErrBadLogin
}

// locked records an attempt that was not looked at.
func (d *Door) locked(ctx context.Context, how, object string, wait time.Duration) error {
	d.o.Metered(how, "locked")
	e := audit.Entry{Kind: audit.Login, Object: object, Reason: "locked", Detail: map[string]string{"by": how}}
	if err := d.ledger.LogInFailed(ctx, nil, nil, e, nil); err != nil {
		return err
	}
	return &LockedError{Wait: wait}
}

// spentCode records an attempt with something that can be used once, and was.
func (d *Door) spentCode(ctx context.Context, how string, u ledger.User) error {
	d.o.Metered(how, "bad")
	e := audit.Entry{Kind: audit.Login, Object: objectOf(u), Reason: "spent", Detail: map[string]string{"by": how}}
	if err := d.ledger.LogInFailed(ctx, nil, nil, e, nil); err != nil {
		return err
	}
	return ErrBadLogin
}

// codeNeeded is told to who has the right password. It is no failure, and clears none.
func (d *Door) codeNeeded(ctx context.Context, a *attempt, u ledger.User) error {
	d.o.Metered("password", "code_needed")
	e := audit.Entry{Kind: audit.Login, Object: objectOf(u), Reason: "code_needed", Detail: map[string]string{"by": "password"}}
	if err := d.ledger.LogInFailed(ctx, a.undo(), a.gone, e, nil); err != nil {
		return err
	}
	return ErrCodeNeeded
}

// objectOf names a user in the chain; a name that nobody has is not kept: it may be a
// password in the wrong field.
func objectOf(u ledger.User) string {
	if u.ID == "" {
		return ""
	}
	return "user:" + u.ID
}
