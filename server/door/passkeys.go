package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/eider-analytics/eider/store/ledger"
)

// PasskeyTTL is how long a browser may take between the two halves of a ceremony.
const PasskeyTTL = 5 * time.Minute

// maxPasskeys is how many a user can have.
const maxPasskeys = 20

var (
	// ErrPasskey is returned for an answer of a browser that is not what was asked for.
	ErrPasskey = errors.New("the passkey was not accepted; try again")

	// ErrNoPasskeys is returned where a browser would take none.
	ErrNoPasskeys = errors.New("passkeys need a host name and TLS, or localhost; set EIDER_DASHBOARD_ORIGIN")

	// ErrTooMany is returned for one passkey too many.
	ErrTooMany = fmt.Errorf("a user has at most %d passkeys; remove one first", maxPasskeys)
)

// A ceremony is the state between the two halves of one. A browser keeps it for us,
// sealed.
type ceremony struct {
	Name string               `json:"name,omitempty"` // of the new passkey
	Data webauthn.SessionData `json:"data"`
	At   int64                `json:"at"` // Unix time
}

// Purposes of a ceremony: one that was begun for one cannot end as the other.
const (
	toAdd   = "passkey add"
	toEnter = "passkey enter"
)

// owner is a user as WebAuthn sees him.
type owner struct {
	user ledger.User
	keys []webauthn.Credential
}

// WebAuthnID implements [webauthn.User].
func (o *owner) WebAuthnID() []byte { return []byte(o.user.ID) }

// WebAuthnName implements [webauthn.User].
func (o *owner) WebAuthnName() string { return o.user.Name }

// WebAuthnDisplayName implements [webauthn.User].
func (o *owner) WebAuthnDisplayName() string { return o.user.Name }

// WebAuthnCredentials implements [webauthn.User].
func (o *owner) WebAuthnCredentials() []webauthn.Credential { return o.keys }

func (d *Door) owner(ctx context.Context, u ledger.User) (*owner, error) {
	list, err := d.ledger.Passkeys(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	o := &owner{user: u}
	for _, p := range list {
		var c webauthn.Credential
		if err := json.Unmarshal([]byte(p.Credential), &c); err != nil {
			return nil, fmt.Errorf("read passkey: %w", err)
		}
		o.keys = append(o.keys, c)
	}
	return o, nil
}

// party is what we are to a browser that is at an origin.
func (d *Door) party(origin string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Hostname() != "localhost" {
		return nil, ErrNoPasskeys
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: d.o.Issuer, RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference:  protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired},
	})
	if err != nil {
		return nil, ErrNoPasskeys // an address is no host name
	}
	return w, nil
}

// BeginPasskey begins to add a passkey, for a browser that is at origin. It returns what
// PublicKeyCredential.parseCreationOptionsFromJSON takes, and the sealed state.
func (d *Door) BeginPasskey(ctx context.Context, u ledger.User, origin, name string) (options any, state []byte, err error) {
	w, err := d.party(origin)
	if err != nil {
		return nil, nil, err
	}
	o, err := d.owner(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	if len(o.keys) >= maxPasskeys {
		return nil, nil, ErrTooMany
	}
	there := make([]protocol.CredentialDescriptor, len(o.keys))
	for i, k := range o.keys {
		there[i] = k.Descriptor()
	}
	creation, data, err := w.BeginRegistration(o, webauthn.WithExclusions(there))
	if err != nil {
		return nil, nil, fmt.Errorf("begin passkey: %w", err)
	}
	state, err = d.sealCeremony(toAdd, ceremony{Name: cut(name, 100), Data: *data})
	return creation.Response, state, err
}

// FinishPasskey adds a passkey that a browser has made.
func (d *Door) FinishPasskey(ctx context.Context, u ledger.User, origin string, state, answer []byte) (ledger.Passkey, error) {
	w, c, err := d.resume(toAdd, origin, state)
	if err != nil {
		return ledger.Passkey{}, err
	}
	if !bytes.Equal(c.Data.UserID, []byte(u.ID)) {
		return ledger.Passkey{}, ErrPasskey
	}
	o, err := d.owner(ctx, u)
	if err != nil {
		return ledger.Passkey{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return ledger.Passkey{}, ErrPasskey
	}
	cred, err := w.CreateCredential(o, c.Data, parsed)
	if err != nil || !d.once(c) {
		return ledger.Passkey{}, ErrPasskey
	}
	text, err := json.Marshal(cred)
	if err != nil {
		return ledger.Passkey{}, fmt.Errorf("keep passkey: %w", err)
	}
	p := ledger.Passkey{ID: cred.ID, User: u.ID, Name: c.Name, Credential: string(text), Created: d.o.Now().UnixMicro()}
	return p, d.ledger.AddPasskey(ctx, p)
}

// BeginEntry begins a log-in by passkey, whoever it is: it returns what
// PublicKeyCredential.parseRequestOptionsFromJSON takes, and the sealed state.
func (d *Door) BeginEntry(origin string) (options any, state []byte, err error) {
	w, err := d.party(origin)
	if err != nil {
		return nil, nil, err
	}
	assertion, data, err := w.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, nil, fmt.Errorf("begin log-in: %w", err)
	}
	state, err = d.sealCeremony(toEnter, ceremony{Data: *data})
	return assertion.Response, state, err
}

// FinishEntry lets somebody in by his passkey. The device has verified who he is, so
// that a passkey is two factors. Whatever is wrong is [ErrBadLogin].
func (d *Door) FinishEntry(ctx context.Context, c Client, origin string, state, answer []byte) (Entrance, error) {
	device := ""
	if _, id, ok := d.readMark(c.Device); ok {
		device = id
	}
	a, wait := d.brake.begin(d.brake.lanes("", c.Address, device))
	if a == nil {
		return Entrance{}, d.locked(ctx, "passkey", "", wait)
	}
	o, p, err := d.checkEntry(ctx, origin, state, answer)
	if errors.Is(err, ErrPasskey) {
		u := ledger.User{}
		if o != nil {
			u = o.user
		}
		return Entrance{}, d.failed(ctx, a, "passkey", objectOf(u), "bad_passkey")
	}
	if err != nil {
		a.cancel()
		return Entrance{}, err
	}
	e, err := d.enter(ctx, c, o.user, ledger.LogIn{How: "passkey", Passkey: &p, Tallies: a.succeeded(), Gone: a.gone})
	if errors.Is(err, ledger.ErrSpent) { // it was removed meanwhile
		return Entrance{}, d.spentCode(ctx, "passkey", o.user)
	}
	return e, err
}

func (d *Door) checkEntry(ctx context.Context, origin string, state, answer []byte) (o *owner, p ledger.Passkey, err error) {
	w, c, err := d.resume(toEnter, origin, state)
	if err != nil {
		return nil, p, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, p, ErrPasskey
	}
	var trouble error
	find := func(_, handle []byte) (webauthn.User, error) {
		u, err := d.ledger.User(ctx, string(handle))
		if err == nil {
			o, err = d.owner(ctx, u)
		}
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			trouble = err
		}
		return o, err
	}
	_, cred, err := w.ValidatePasskeyLogin(find, c.Data, parsed)
	if trouble != nil {
		return o, p, trouble
	}
	// A counter that goes back is of a copy.
	if err != nil || cred.Authenticator.CloneWarning || !d.once(c) {
		return o, p, ErrPasskey
	}
	text, err := json.Marshal(cred)
	return o, ledger.Passkey{ID: cred.ID, User: o.user.ID, Credential: string(text)}, err
}

func (d *Door) sealCeremony(purpose string, c ceremony) ([]byte, error) {
	c.At = d.o.Now().Unix()
	c.Data.Expires = time.Time{} // At is by our clock
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("keep ceremony: %w", err)
	}
	return d.sealer.seal(purpose, plain), nil
}

// resume reads the state that a browser has kept.
func (d *Door) resume(purpose, origin string, state []byte) (*webauthn.WebAuthn, ceremony, error) {
	var c ceremony
	w, err := d.party(origin)
	if err != nil {
		return nil, c, err
	}
	plain, err := d.sealer.open(purpose, state)
	if err != nil || json.Unmarshal(plain, &c) != nil {
		return nil, c, ErrPasskey
	}
	if age := d.o.Now().Sub(time.Unix(c.At, 0)); age > PasskeyTTL || age < -time.Minute {
		return nil, c, ErrPasskey
	}
	return w, c, nil
}

// once says whether a challenge is used for the first time. Only those that have led to
// something are remembered, so that strangers cannot fill the memory.
func (d *Door) once(c ceremony) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, spent := d.spent[c.Data.Challenge]; spent {
		return false
	}
	d.spent[c.Data.Challenge] = time.Unix(c.At, 0).Add(PasskeyTTL)
	return true
}

// Passkeys returns the passkeys of a user, oldest first.
func (d *Door) Passkeys(ctx context.Context, user string) ([]ledger.Passkey, error) {
	return d.ledger.Passkeys(ctx, user)
}

// RemovePasskey removes a passkey of a user. The last one of a user without a password
// stays: he could not come in again.
func (d *Door) RemovePasskey(ctx context.Context, u ledger.User, id []byte) error {
	keys, err := d.ledger.Passkeys(ctx, u.ID)
	if err != nil {
		return err
	}
	own := slices.ContainsFunc(keys, func(p ledger.Passkey) bool { return bytes.Equal(p.ID, id) })
	if own && u.Password == "" && len(keys) == 1 {
		return ledger.ErrLastAdmin
	}
	return d.ledger.RemovePasskey(ctx, u.ID, id)
}
