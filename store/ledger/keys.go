package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/audit"
)

// Scopes are what a key can be allowed to do.
var Scopes = []string{"ingest", "stats", "sql", "export", "backup", "metrics", "audit", "admin"}

// keyPrefix begins every key, so that scanners for leaked secrets can find it.
const keyPrefix = "eider_"

// A Key lets a program in. The key itself is not kept, only its hash.
type Key struct {
	ID     string
	Name   string   // what the operator calls it
	Prefix string   // the beginning of the key itself, to tell one from another
	Hash   [32]byte // see [HashKey]
	Scopes []string // some of [Scopes], sorted
	Site   string   // the only site it is good for; "" for all

	// Times in µs; 0 is never.
	Created, Expires, LastUsed, Revoked int64
}

// NewKey makes a key and returns it with its secret, which is to be shown once:
// "eider_" and 192 random bits in hexadecimal. It is good once it has been added
// with [Ledger.AddKey].
func NewKey(name string, scopes []string, site string, expires int64) (Key, string, error) {
	if len(scopes) == 0 {
		return Key{}, "", fmt.Errorf("new key: it needs a scope: %s", strings.Join(Scopes, ", "))
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes, s) {
			return Key{}, "", fmt.Errorf("new key: no scope %q; there are %s", s, strings.Join(Scopes, ", "))
		}
	}
	var b [24 + 6]byte
	rand.Read(b[:])
	secret := keyPrefix + hex.EncodeToString(b[:24])
	scopes = slices.Sorted(slices.Values(scopes))
	return Key{
		ID:      hex.EncodeToString(b[24:]),
		Name:    name,
		Prefix:  secret[:len(keyPrefix)+6],
		Hash:    HashKey(secret),
		Scopes:  slices.Compact(scopes),
		Site:    site,
		Expires: expires,
	}, secret, nil
}

// HashKey returns what is kept of a key. A key is random and long, so a fast
// hash will do.
func HashKey(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// AddKey adds a key. Its Created is set if it is 0. A key that is there already
// is [ErrExists].
func (l *Ledger) AddKey(ctx context.Context, k Key) error {
	if k.Created == 0 {
		k.Created = l.now()
	}
	e := audit.Entry{Kind: audit.KeyCreate, Object: "key:" + k.ID, Private: map[string]string{"name": k.Name}, Detail: details(
		"prefix", k.Prefix, "scopes", strings.Join(k.Scopes, " "), "site", k.Site, "expires", moment(k.Expires))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`
			INSERT INTO keys (id, name, prefix, hash, scopes, site, created, expires, last_used, revoked)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.ID, k.Name, k.Prefix, k.Hash[:], strings.Join(k.Scopes, " "), k.Site, k.Created, k.Expires, k.LastUsed, k.Revoked)
		return err
	})
	return about("add key", k.ID, err)
}

// Keys returns all keys, the expired and the revoked too, oldest first.
func (l *Ledger) Keys(ctx context.Context) ([]Key, error) {
	rows, err := l.read.QueryContext(ctx, `
		SELECT id, name, prefix, hash, scopes, site, created, expires, last_used, revoked FROM keys ORDER BY created, id`)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer rows.Close()
	var keys []Key
	for rows.Next() {
		var k Key
		var hash []byte
		var scopes string
		if err := rows.Scan(&k.ID, &k.Name, &k.Prefix, &hash, &scopes, &k.Site, &k.Created, &k.Expires, &k.LastUsed, &k.Revoked); err != nil {
			return nil, fmt.Errorf("read keys: %w", err)
		}
		copy(k.Hash[:], hash)
		k.Scopes = strings.Fields(scopes)
		keys = append(keys, k)
	}
	return keys, rows.Err()
}

// RevokeKey makes a key good for nothing from a time in µs on. A key that was
// revoked before keeps that time. One that is not there is [ErrNotFound].
func (l *Ledger) RevokeKey(ctx context.Context, id string, at int64) error {
	e := audit.Entry{Kind: audit.KeyRevoke, Object: "key:" + id, Detail: details("at", moment(at))}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		return affect(tx.Exec(`UPDATE keys SET revoked = iif(revoked = 0, ?, revoked) WHERE id = ?`, at, id))
	})
	return about("revoke key", id, err)
}

// TouchKeys notes when keys were last used, in µs by id. Ids that are not there
// are skipped, and no time goes back.
func (l *Ledger) TouchKeys(ctx context.Context, used map[string]int64) error {
	if len(used) == 0 {
		return nil
	}
	err := l.write(ctx, l.main, func(tx *sql.Tx) error {
		for id, at := range used {
			if _, err := tx.Exec(`UPDATE keys SET last_used = max(last_used, ?) WHERE id = ?`, at, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("touch keys: %w", err)
	}
	return nil
}
