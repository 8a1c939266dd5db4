// Package door says who may come in by the front door: it checks passwords, second
// factors and passkeys, keeps sessions, and slows down those who guess.
//
// # Promise
//
// A password is hashed with Argon2id, two at a time at most, so that a log-in form
// takes a bounded amount of memory whatever strangers do. Whether a name exists
// cannot be told from an answer, nor from the work that is done for it.
//
// Whoever fails too often has to wait, longer each time: by source (an IPv6 source is
// a /64, and ten times as much its /48), and for one name by all strangers together.
// A browser that has logged in before carries a signed mark, has a tally of its own,
// and waits for no stranger: nobody can lock the owner out from afar. What was counted
// survives a restart, and takes a bounded amount of memory: who is made to wait is
// never forgotten for want of room.
//
// A session is a random token of 256 bits. Only its SHA-256 is kept. It ends when it is
// not used for a while, a while after it began, and when its user, his role or his
// password goes or changes.
//
// A shared link lets in whoever has it, and knows its password if it has one, to look at
// the reports of one site. It is no session and begins none. Its slug has 130 random bits;
// look-ups know its SHA-256, and it is kept sealed, to be shown to the operator again.
//
// # What a crash leaves
//
// Whatever was changed is in the ledger with its entry of the audit chain, in one
// transaction. An attempt that was cut off before it was counted has not been answered.
// When a session was last used can be a minute old.
package door

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// A Ledger is where a door keeps what it knows; durable on return, with the entries.
type Ledger interface {
	Users(ctx context.Context) ([]ledger.User, error)
	User(ctx context.Context, id string) (ledger.User, error)
	UserNamed(ctx context.Context, name string) (ledger.User, error)
	AddUser(ctx context.Context, u ledger.User, in *ledger.Invitation) error
	ChangeUser(ctx context.Context, id string, change func(*ledger.User) error) (ledger.User, error)
	RemoveUser(ctx context.Context, id string) error
	Administered(ctx context.Context) (bool, error)
	Invite(ctx context.Context, in ledger.Invitation) error
	Invited(ctx context.Context, hash [32]byte, at int64) (ledger.User, error)
	SetPassword(ctx context.Context, p ledger.NewPassword) error

	SetPending(ctx context.Context, user string, sealed []byte) error
	ConfirmTOTP(ctx context.Context, user string, sealed []byte, step int64, codes [][32]byte) error
	RemoveTOTP(ctx context.Context, user string) error
	HasRecovery(ctx context.Context, user string, hash [32]byte) (bool, error)
	AddPasskey(ctx context.Context, p ledger.Passkey) error
	RemovePasskey(ctx context.Context, user string, id []byte) error
	Passkeys(ctx context.Context, user string) ([]ledger.Passkey, error)

	LogIn(ctx context.Context, in ledger.LogIn) error
	LogInFailed(ctx context.Context, tallies []ledger.Tally, gone []string, e audit.Entry, locked *audit.Entry) error
	KeepTallies(ctx context.Context, tallies []ledger.Tally, gone []string) error
	Tallies(ctx context.Context) ([]ledger.Tally, error)
	Session(ctx context.Context, hash [32]byte) (ledger.Session, ledger.User, error)
	Sessions(ctx context.Context, user string) ([]ledger.Session, error)
	EndSession(ctx context.Context, user, id string) error
	TouchSessions(ctx context.Context, used map[[32]byte]int64) error
	DropSessions(ctx context.Context, expired, unused int64) (int64, error)

	LinkLedger
}

var (
	// ErrBadLogin is returned for a name, a password or a code that is wrong, without
	// saying which.
	ErrBadLogin = errors.New("the name, the password or the code is wrong")

	// ErrCodeNeeded is returned when all that is wrong is that there is no code.
	ErrCodeNeeded = errors.New("send the code of the second factor, or a recovery code")

	// ErrBusy is returned when too many passwords wait to be checked.
	ErrBusy = errors.New("too many log-ins at once; try again")

	// ErrNoSession is returned for a session that is not there, or has ended.
	ErrNoSession = errors.New("the session has ended; log in again")
)

// A LockedError is why an attempt was not even looked at.
type LockedError struct{ Wait time.Duration }

// Error implements error.
func (e *LockedError) Error() string {
	return fmt.Sprintf("too many attempts have failed; try again in %d seconds", seconds(e.Wait))
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Options adjust a [Door].
type Options struct {
	Secret  []byte           // keys what is signed and sealed: 32 random bytes or more
	Now     func() time.Time // nil means time.Now
	Hash    HashFunc         // nil means Argon2id
	Metered func(how, result string)

	// Describe says of a client what its session is told apart by, without the address
	// and the user agent, which are not kept. Nil says nothing.
	Describe func(Client) (browser, country string)

	TTL      time.Duration // of a session; 0 means 24 h
	Idle     time.Duration // that a session may be unused; 0 means 12 h
	Attempts int           // that may fail before one has to wait; 0 means 5
	Lockout  time.Duration // the first wait; 0 means 5 min
	Sources  int           // most tallies; 0 means 20,000
	Issuer   string        // what an authenticator shows; "" means Eider
}

// A Door lets people in. It is safe for concurrent use.
type Door struct {
	ledger Ledger
	o      Options
	hasher *hasher
	brake  *brake
	sealer *sealer
	mark   []byte // key of the marks of known devices
	pass   []byte // key of the passes of shared links
	decoy  string // PHC string of nobody's password

	mu    sync.Mutex // guards the fields below
	used  map[[32]byte]int64
	spent map[string]time.Time // challenges of passkeys that were used, until they expire
}

// Open returns a door. It reads the attempts that have failed, and starts nothing.
func Open(ctx context.Context, l Ledger, o Options) (*Door, error) {
	o = o.withDefaults()
	d := &Door{ledger: l, o: o, hasher: newHasher(o.Hash), used: map[[32]byte]int64{}, spent: map[string]time.Time{}}
	var err error
	for _, key := range []struct {
		into *[]byte
		name string
	}{{&d.mark, "device"}, {&d.pass, "link"}} {
		if *key.into, err = derive(o.Secret, key.name); err != nil {
			return nil, err
		}
	}
	sealing, err := derive(o.Secret, "seal")
	if err != nil {
		return nil, err
	}
	if d.sealer, err = newSealer(sealing); err != nil {
		return nil, err
	}
	counting, err := derive(o.Secret, "tally")
	if err != nil {
		return nil, err
	}
	tallies, err := l.Tallies(ctx)
	if err != nil {
		return nil, err
	}
	d.brake = newBrake(counting, o, tallies)
	d.decoy = decoyOf(sealing)
	return d, nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Hash == nil {
		o.Hash = argon
	}
	if o.Metered == nil {
		o.Metered = func(string, string) {}
	}
	if o.Describe == nil {
		o.Describe = func(Client) (string, string) { return "", "" }
	}
	for _, d := range []struct {
		of  *time.Duration
		def time.Duration
	}{{&o.TTL, 24 * time.Hour}, {&o.Idle, 12 * time.Hour}, {&o.Lockout, 5 * time.Minute}} {
		if *d.of == 0 {
			*d.of = d.def
		}
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Sources == 0 {
		o.Sources = 20_000
	}
	if o.Issuer == "" {
		o.Issuer = "Eider"
	}
	return o
}

// derive makes a key of its own for each purpose.
func derive(secret []byte, purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "eider-door/v1 "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}

// A Client is who stands before the door.
type Client struct {
	Address netip.Addr // zero if it is not known
	Agent   string     // User-Agent
	Device  string     // the mark of a known device, as it was sent; "" for none
}

// An Entrance is somebody who has come in.
type Entrance struct {
	User    ledger.User
	Session ledger.Session
	Token   string // of the session; shown once
	Device  string // mark of the device
}

// enter begins a session, and makes of the device one that is known.
func (d *Door) enter(ctx context.Context, c Client, u ledger.User, in ledger.LogIn) (Entrance, error) {
	token, now := newToken(), d.o.Now()
	in.Session = ledger.Session{
		Hash: ledger.HashKey(token), ID: ledger.NewID(), User: u.ID, Known: d.knownTo(c.Device, u.ID),
		Created: now.UnixMicro(), LastUsed: now.UnixMicro(), Expires: now.Add(d.o.TTL).UnixMicro(),
	}
	in.Session.Browser, in.Session.Country = d.o.Describe(c)
	if err := d.ledger.LogIn(ctx, in); err != nil {
		return Entrance{}, err
	}
	d.o.Metered(in.How, "ok")
	return Entrance{User: u, Session: in.Session, Token: token, Device: d.markDevice(u.ID)}, nil
}

// Knows says whether somebody has a mark that we have made: on the way in he needs not
// stand in line with strangers.
func (d *Door) Knows(device string) bool {
	_, _, ok := d.readMark(device)
	return ok
}
