package ledger

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/eider-analytics/eider/store/audit"
)

// A Passkey is a credential of WebAuthn.
type Passkey struct {
	ID         []byte
	User       string
	Name       string
	Credential string // JSON: public key, counter, flags

	// Times in µs; 0 is never.
	Created, LastUsed int64
}

// SetPending keeps a sealed secret of TOTP until it is confirmed. Nothing is recorded:
// it opens nothing.
func (l *Ledger) SetPending(ctx context.Context, user string, sealed []byte) error {
	err := l.write(ctx, l.main, func(tx *sql.Tx) error {
		return affect(tx.Exec(`UPDATE users SET pending = ? WHERE id = ?`, sealed, user))
	})
	return about("keep second factor of user", user, err)
}

// ConfirmTOTP makes the pending secret, which must still be the given one, the second
// factor of a user, with new recovery codes by their hashes. step is that of the code
// he has confirmed it with.
func (l *Ledger) ConfirmTOTP(ctx context.Context, user string, sealed []byte, step int64, codes [][32]byte) error {
	e := audit.Entry{Kind: audit.FactorAdd, Object: "user:" + user, Detail: details("factor", "totp")}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		if err := spend(tx.Exec(`UPDATE users SET totp = pending, pending = x'', totp_step = ? WHERE id = ? AND pending = ?`, step, user, sealed)); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM recovery_codes WHERE user = ?`, user); err != nil {
			return err
		}
		for _, hash := range codes {
			if _, err := tx.Exec(`INSERT INTO recovery_codes (user, hash) VALUES (?, ?)`, user, hash[:]); err != nil {
				return err
			}
		}
		return nil
	})
	return about("add second factor of user", user, err)
}

// RemoveTOTP removes the second factor of a user, and his recovery codes.
func (l *Ledger) RemoveTOTP(ctx context.Context, user string) error {
	e := audit.Entry{Kind: audit.FactorRemove, Object: "user:" + user, Detail: details("factor", "totp")}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		if err := affect(tx.Exec(`UPDATE users SET totp = x'', pending = x'' WHERE id = ? AND totp <> x''`, user)); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM recovery_codes WHERE user = ?`, user)
		return err
	})
	return about("remove second factor of user", user, err)
}

// HasRecovery says whether a user has a recovery code of that hash.
func (l *Ledger) HasRecovery(ctx context.Context, user string, hash [32]byte) (bool, error) {
	var n int
	err := l.read.QueryRowContext(ctx, `SELECT count(*) FROM recovery_codes WHERE user = ? AND hash = ?`, user, hash[:]).Scan(&n)
	return n > 0, about("read recovery codes of user", user, err)
}

// AddPasskey adds a passkey. One that is there is [ErrExists].
func (l *Ledger) AddPasskey(ctx context.Context, p Passkey) error {
	if p.Created == 0 {
		p.Created = l.now()
	}
	e := audit.Entry{Kind: audit.FactorAdd, Object: "user:" + p.User, Private: map[string]string{"name": p.Name},
		Detail: details("factor", "passkey", "id", passkeyID(p.ID))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO passkeys (id, user, name, credential, created, last_used) VALUES (?, ?, ?, ?, ?, 0)`,
			p.ID, p.User, p.Name, p.Credential, p.Created)
		return err
	})
	return about("add passkey of user", p.User, err)
}

func passkeyID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

// RemovePasskey removes a passkey of a user.
func (l *Ledger) RemovePasskey(ctx context.Context, user string, id []byte) error {
	e := audit.Entry{Kind: audit.FactorRemove, Object: "user:" + user, Detail: details("factor", "passkey", "id", passkeyID(id))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		before, err := admins(tx)
		if err != nil {
			return err
		}
		if err := affect(tx.Exec(`DELETE FROM passkeys WHERE id = ? AND user = ?`, id, user)); err != nil || before == 0 {
			return err
		}
		return leavesAdmin(tx)
	})
	return about("remove passkey of user", user, err)
}

// Passkeys returns the passkeys of a user, oldest first.
func (l *Ledger) Passkeys(ctx context.Context, user string) (keys []Passkey, err error) {
	rows, err := l.read.QueryContext(ctx, `SELECT id, user, name, credential, created, last_used FROM passkeys WHERE user = ? ORDER BY created, id`, user)
	if err != nil {
		return nil, fmt.Errorf("read passkeys: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Passkey
		if err := rows.Scan(&p.ID, &p.User, &p.Name, &p.Credential, &p.Created, &p.LastUsed); err != nil {
			return nil, fmt.Errorf("read passkeys: %w", err)
		}
		keys = append(keys, p)
	}
	return keys, rows.Err()
}
