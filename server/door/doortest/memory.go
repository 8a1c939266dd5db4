// Package doortest keeps in memory what a door keeps in the ledger, without its entries'
// chain, so that a test can look at what was recorded and try a hundred thousand times.
package doortest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// A Memory is a ledger of a door. It is safe for concurrent use.
type Memory struct {
	mu       sync.Mutex // guards the fields below
	users    map[string]ledger.User
	recovery map[string]map[[32]byte]bool
	invited  map[[32]byte]ledger.Invitation
	sessions map[[32]byte]ledger.Session
	passkeys map[string][]ledger.Passkey
	tallies  map[string]ledger.Tally
	links    []ledger.Link
	made     int64 // links, those that are gone too
	entries  []audit.Entry
	names    int // looked up
}

var _ door.Ledger = (*Memory)(nil)

// New returns an empty one.
func New() *Memory {
	return &Memory{
		users: map[string]ledger.User{}, recovery: map[string]map[[32]byte]bool{}, invited: map[[32]byte]ledger.Invitation{},
		sessions: map[[32]byte]ledger.Session{}, passkeys: map[string][]ledger.Passkey{}, tallies: map[string]ledger.Tally{},
	}
}

// Entries returns what was recorded.
func (m *Memory) Entries() []audit.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries)
}

// Lookups returns how many names were looked up.
func (m *Memory) Lookups() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names
}

func (m *Memory) record(ctx context.Context, e audit.Entry) {
	if e.By == (audit.By{}) {
		e.By = audit.From(ctx)
	}
	m.entries = append(m.entries, e)
}

func (m *Memory) user(id string) (ledger.User, error) {
	u, ok := m.users[id]
	if !ok {
		return u, ledger.ErrNotFound
	}
	u.Passkeys, u.Recovery = len(m.passkeys[id]), len(m.recovery[id])
	return u, nil
}

// Users implements [door.Ledger].
func (m *Memory) Users(context.Context) (list []ledger.User, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.users {
		u, _ := m.user(id)
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b ledger.User) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// User implements [door.Ledger].
func (m *Memory) User(_ context.Context, id string) (ledger.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user(id)
}

// UserNamed implements [door.Ledger].
func (m *Memory) UserNamed(_ context.Context, name string) (ledger.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names++
	for id, u := range m.users {
		if strings.EqualFold(u.Name, name) {
			return m.user(id)
		}
	}
	return ledger.User{}, ledger.ErrNotFound
}

// AddUser implements [door.Ledger].
func (m *Memory) AddUser(ctx context.Context, u ledger.User, in *ledger.Invitation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.users {
		if strings.EqualFold(other.Name, u.Name) {
			return ledger.ErrExists
		}
	}
	m.users[u.ID] = u
	if in != nil {
		m.invited[in.Hash] = *in
	}
	m.record(ctx, audit.Entry{Kind: audit.UserCreate, Object: "user:" + u.ID})
	return nil
}

// ChangeUser implements [door.Ledger].
func (m *Memory) ChangeUser(ctx context.Context, id string, change func(*ledger.User) error) (ledger.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(id)
	if err != nil {
		return u, err
	}
	was := u
	if err := change(&u); err != nil {
		return u, err
	}
	m.users[id] = u
	if u.Role != was.Role {
		if m.admins() == 0 {
			m.users[id] = was
			return was, ledger.ErrLastAdmin
		}
		m.endAll(id, nil)
	}
	m.record(ctx, audit.Entry{Kind: audit.UserChange, Object: "user:" + id})
	return u, nil
}

func (m *Memory) admins() (n int) {
	for id, u := range m.users {
		if u.Role == ledger.RoleAdmin && (u.Password != "" || len(m.passkeys[id]) > 0) {
			n++
		}
	}
	return n
}

// RemoveUser implements [door.Ledger].
func (m *Memory) RemoveUser(ctx context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(id)
	if err != nil {
		return err
	}
	before := m.admins()
	delete(m.users, id)
	if before > 0 && m.admins() == 0 {
		m.users[id] = u
		return ledger.ErrLastAdmin
	}
	m.endAll(id, nil)
	m.record(ctx, audit.Entry{Kind: audit.UserRemove, Object: "user:" + id})
	return nil
}

// Administered implements [door.Ledger].
func (m *Memory) Administered(context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.admins() > 0, nil
}

// Invite implements [door.Ledger].
func (m *Memory) Invite(ctx context.Context, in ledger.Invitation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uninvite(in.User)
	m.invited[in.Hash] = in
	m.record(ctx, audit.Entry{Kind: audit.UserChange, Object: "user:" + in.User})
	return nil
}

func (m *Memory) uninvite(user string) {
	for hash, in := range m.invited {
		if in.User == user {
			delete(m.invited, hash)
		}
	}
}

// Invited implements [door.Ledger].
func (m *Memory) Invited(_ context.Context, hash [32]byte, at int64) (ledger.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.invited[hash]
	if !ok || in.Expires <= at {
		return ledger.User{}, ledger.ErrNotFound
	}
	return m.user(in.User)
}

// SetPassword implements [door.Ledger].
func (m *Memory) SetPassword(ctx context.Context, p ledger.NewPassword) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(p.User)
	if err != nil {
		return err
	}
	if p.Invited != nil {
		if _, ok := m.invited[*p.Invited]; !ok {
			return ledger.ErrSpent
		}
	}
	u.Password = p.Password
	if p.Factors {
		u.TOTP, u.Pending = nil, nil
		delete(m.recovery, p.User)
		delete(m.passkeys, p.User)
	}
	m.users[p.User] = u
	m.uninvite(p.User)
	m.endAll(p.User, p.Keep)
	if p.Unlock {
		clear(m.tallies)
	}
	m.record(ctx, audit.Entry{Kind: audit.PasswordChange, Object: "user:" + p.User})
	return nil
}

func (m *Memory) endAll(user string, keep *[32]byte) {
	for hash, s := range m.sessions {
		if s.User == user && (keep == nil || hash != *keep) {
			delete(m.sessions, hash)
		}
	}
}

// SetPending implements [door.Ledger].
func (m *Memory) SetPending(_ context.Context, user string, sealed []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(user)
	u.Pending = sealed
	m.users[user] = u
	return err
}

// ConfirmTOTP implements [door.Ledger].
func (m *Memory) ConfirmTOTP(ctx context.Context, user string, sealed []byte, step int64, codes [][32]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(user)
	if err != nil || string(u.Pending) != string(sealed) {
		return ledger.ErrSpent
	}
	u.TOTP, u.Pending, u.Step = sealed, nil, step
	m.users[user], m.recovery[user] = u, map[[32]byte]bool{}
	for _, hash := range codes {
		m.recovery[user][hash] = true
	}
	m.record(ctx, audit.Entry{Kind: audit.FactorAdd, Object: "user:" + user})
	return nil
}

// RemoveTOTP implements [door.Ledger].
func (m *Memory) RemoveTOTP(ctx context.Context, user string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(user)
	if err != nil || len(u.TOTP) == 0 {
		return ledger.ErrNotFound
	}
	u.TOTP, u.Pending = nil, nil
	m.users[user] = u
	delete(m.recovery, user)
	m.record(ctx, audit.Entry{Kind: audit.FactorRemove, Object: "user:" + user})
	return nil
}

// HasRecovery implements [door.Ledger].
func (m *Memory) HasRecovery(_ context.Context, user string, hash [32]byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recovery[user][hash], nil
}

// AddPasskey implements [door.Ledger].
func (m *Memory) AddPasskey(ctx context.Context, p ledger.Passkey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.passkeys[p.User] = append(m.passkeys[p.User], p)
	m.record(ctx, audit.Entry{Kind: audit.FactorAdd, Object: "user:" + p.User})
	return nil
}

// RemovePasskey implements [door.Ledger].
func (m *Memory) RemovePasskey(ctx context.Context, user string, id []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.IndexFunc(m.passkeys[user], func(p ledger.Passkey) bool { return string(p.ID) == string(id) })
	if at < 0 {
		return ledger.ErrNotFound
	}
	m.passkeys[user] = slices.Delete(m.passkeys[user], at, at+1)
	m.record(ctx, audit.Entry{Kind: audit.FactorRemove, Object: "user:" + user})
	return nil
}

// Passkeys implements [door.Ledger].
func (m *Memory) Passkeys(_ context.Context, user string) ([]ledger.Passkey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.passkeys[user]), nil
}

// LogIn implements [door.Ledger].
func (m *Memory) LogIn(ctx context.Context, in ledger.LogIn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, err := m.user(in.Session.User)
	if err != nil {
		return err
	}
	if in.Step > 0 && in.Step <= u.Step || in.Recovery != nil && !m.recovery[u.ID][*in.Recovery] {
		return ledger.ErrSpent
	}
	if in.Step > 0 {
		u.Step = in.Step
	}
	if in.Recovery != nil {
		delete(m.recovery[u.ID], *in.Recovery)
	}
	if in.Password != "" {
		u.Password = in.Password
	}
	m.users[u.ID], m.sessions[in.Session.Hash] = u, in.Session
	m.keep(in.Tallies, in.Gone)
	m.record(ctx, audit.Entry{Kind: audit.Login, Object: "user:" + u.ID})
	m.record(ctx, audit.Entry{Kind: audit.SessionStart, Object: "session:" + in.Session.ID})
	return nil
}

func (m *Memory) keep(tallies []ledger.Tally, gone []string) {
	for _, t := range tallies {
		if m.tallies[t.Key] = t; t.Count == 0 {
			delete(m.tallies, t.Key)
		}
	}
	for _, key := range gone {
		delete(m.tallies, key)
	}
}

// LogInFailed implements [door.Ledger].
func (m *Memory) LogInFailed(ctx context.Context, tallies []ledger.Tally, gone []string, e audit.Entry, locked *audit.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(tallies, gone)
	if locked != nil {
		m.record(ctx, *locked)
	}
	e.Outcome = audit.Refused
	m.record(ctx, e)
	return nil
}

// KeepTallies implements [door.Ledger].
func (m *Memory) KeepTallies(_ context.Context, tallies []ledger.Tally, gone []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(tallies, gone)
	return nil
}

// Tallies implements [door.Ledger].
func (m *Memory) Tallies(context.Context) (list []ledger.Tally, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tallies {
		list = append(list, t)
	}
	return list, nil
}

// Session implements [door.Ledger].
func (m *Memory) Session(_ context.Context, hash [32]byte) (ledger.Session, ledger.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[hash]
	if !ok {
		return s, ledger.User{}, ledger.ErrNotFound
	}
	u, err := m.user(s.User)
	return s, u, err
}

// Sessions implements [door.Ledger].
func (m *Memory) Sessions(_ context.Context, user string) (list []ledger.Session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.User == user {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b ledger.Session) int { return cmp.Compare(b.Created, a.Created) })
	return list, nil
}

// EndSession implements [door.Ledger].
func (m *Memory) EndSession(ctx context.Context, user, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, s := range m.sessions {
		if s.User == user && s.ID == id {
			delete(m.sessions, hash)
			m.record(ctx, audit.Entry{Kind: audit.SessionEnd, Object: "session:" + id})
			return nil
		}
	}
	return ledger.ErrNotFound
}

// TouchSessions implements [door.Ledger].
func (m *Memory) TouchSessions(_ context.Context, used map[[32]byte]int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, at := range used {
		if s, ok := m.sessions[hash]; ok {
			s.LastUsed = max(s.LastUsed, at)
			m.sessions[hash] = s
		}
	}
	return nil
}

// DropSessions implements [door.Ledger].
func (m *Memory) DropSessions(_ context.Context, expired, unused int64) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for hash, s := range m.sessions {
		if s.Expires <= expired || s.LastUsed <= unused {
			delete(m.sessions, hash)
			n++
		}
	}
	return n, nil
}
