package door

import (
	"context"
	"errors"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// A Visit is a session that goes on, and whose it is.
type Visit struct {
	Session ledger.Session
	User    ledger.User
	Expires time.Time // the earlier one of idle and absolute
}

// Find returns the session of a token and notes that it is used. One that is not there
// or has ended is [ErrNoSession].
func (d *Door) Find(ctx context.Context, token string) (*Visit, error) {
	if len(token) != 43 {
		return nil, ErrNoSession
	}
	hash := ledger.HashKey(token)
	s, u, err := d.ledger.Session(ctx, hash)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, ErrNoSession
	}
	if err != nil {
		return nil, err
	}
	now := d.o.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	s.LastUsed = max(s.LastUsed, d.used[hash])
	if d.ended(s, now) {
		return nil, ErrNoSession
	}
	s.LastUsed = now.UnixMicro()
	d.used[hash] = s.LastUsed
	return &Visit{Session: s, User: u, Expires: d.expiry(s)}, nil
}

func (d *Door) expiry(s ledger.Session) time.Time {
	return time.UnixMicro(min(s.Expires, s.Created+d.o.TTL.Microseconds(), s.LastUsed+d.o.Idle.Microseconds()))
}

func (d *Door) ended(s ledger.Session, now time.Time) bool { return !now.Before(d.expiry(s)) }

// Sessions returns the sessions of a user that have not ended, the newest first.
func (d *Door) Sessions(ctx context.Context, user string) ([]Visit, error) {
	list, err := d.ledger.Sessions(ctx, user)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, all := d.o.Now(), []Visit{}
	for _, s := range list {
		s.LastUsed = max(s.LastUsed, d.used[s.Hash])
		if !d.ended(s, now) {
			all = append(all, Visit{Session: s, Expires: d.expiry(s)})
		}
	}
	return all, nil
}

// EndSession ends a session of a user by its id.
func (d *Door) EndSession(ctx context.Context, user, id string) error {
	return d.ledger.EndSession(ctx, user, id)
}

// Flush writes when sessions were last used, and removes those that have ended.
func (d *Door) Flush(ctx context.Context) error {
	d.mu.Lock()
	used := d.used
	d.used = map[[32]byte]int64{}
	now := d.o.Now()
	for challenge, until := range d.spent {
		if !now.Before(until) {
			delete(d.spent, challenge)
		}
	}
	d.mu.Unlock()
	if err := d.ledger.TouchSessions(ctx, used); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		for hash, at := range used {
			d.used[hash] = max(at, d.used[hash])
		}
		return err
	}
	_, err := d.ledger.DropSessions(ctx, now.UnixMicro(), now.Add(-d.o.Idle).UnixMicro())
	if errors.Is(err, ledger.ErrFailed) || errors.Is(err, ledger.ErrClosed) {
		return nil // readiness says it
	}
	return err
}
