package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

// Keys is where API keys are kept; durable on return.
type Keys interface {
	Keys(ctx context.Context) ([]ledger.Key, error)
	AddKey(ctx context.Context, k ledger.Key) error
	RevokeKey(ctx context.Context, id string, at int64) error
	TouchKeys(ctx context.Context, used map[string]int64) error
}

// anyScope is the scope of a route that every key may use.
const anyScope = "*"

// An identity is what a valid key, a session or a shared link stands for.
type identity struct {
	id     string       // "" for the bootstrap key, for a session and for a link
	visit  *door.Visit  // nil for a key
	link   *ledger.Link // of whom a shared link lets in
	scopes []string
	site   string // the only site it may touch; "" for all
}

func (who *identity) has(scope string) bool {
	return scope == anyScope || scope != "" && slices.Contains(who.scopes, scope)
}

// A keyring knows the keys. It looks a key up by the SHA-256 of it, so that how
// long the look-up takes says nothing about the key.
type keyring struct {
	ledger    Keys
	now       func() time.Time
	bootstrap *[sha256.Size]byte

	mu   sync.Mutex // guards the fields below
	keys map[[sha256.Size]byte]ledger.Key
	used map[string]int64 // last use that the ledger does not know of
}

func openKeyring(ctx context.Context, from Keys, bootstrap string, now func() time.Time) (*keyring, error) {
	k := &keyring{ledger: from, now: now, used: map[string]int64{}}
	if bootstrap != "" {
		h := ledger.HashKey(bootstrap)
		k.bootstrap = &h
	}
	return k, k.load(ctx)
}

// load reads the keys again; call it after each change.
func (k *keyring) load(ctx context.Context) error {
	list, err := k.ledger.Keys(ctx)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	keys := make(map[[sha256.Size]byte]ledger.Key, len(list))
	for _, key := range list {
		keys[key.Hash] = key
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	return nil
}

// find returns whom a key stands for, or nil if it is not valid now, and then its id
// if it once was.
func (k *keyring) find(secret string) (who *identity, spent string) {
	h := ledger.HashKey(secret)
	if k.bootstrap != nil && subtle.ConstantTimeCompare(h[:], k.bootstrap[:]) == 1 {
		return &identity{scopes: ledger.Scopes}, ""
	}
	now := k.now().UnixMicro()
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[h]
	if !ok || subtle.ConstantTimeCompare(h[:], key.Hash[:]) != 1 {
		return nil, ""
	}
	if !live(key, now) {
		return nil, key.ID
	}
	k.used[key.ID] = now
	return &identity{id: key.ID, scopes: key.Scopes, site: key.Site}, ""
}

func live(key ledger.Key, now int64) bool {
	return key.Revoked == 0 && (key.Expires == 0 || now < key.Expires)
}

// administered says whether anyone can administer this server already.
func (k *keyring) administered() bool {
	if k.bootstrap != nil {
		return true
	}
	now := k.now().UnixMicro()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		if live(key, now) && key.Site == "" && slices.Contains(key.Scopes, "admin") {
			return true
		}
	}
	return false
}

// lastUse returns when a key was last used, as far as this process knows.
func (k *keyring) lastUse(key ledger.Key) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(key.LastUsed, k.used[key.ID])
}

// flush writes the last uses to the ledger.
func (k *keyring) flush(ctx context.Context) error {
	k.mu.Lock()
	used := k.used
	k.used = map[string]int64{}
	k.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	err := k.ledger.TouchKeys(ctx, used)
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		for id, at := range used {
			k.used[id] = max(at, k.used[id])
		}
	}
	return err
}

// secretOf returns the key that a request shows: a bearer token or X-API-Key. A
// header that comes twice is none: which of the two a proxy in front of us has
// looked at cannot be known.
func secretOf(r *http.Request) string {
	auth, other := r.Header["Authorization"], r.Header["X-Api-Key"]
	switch {
	case len(auth) == 1 && len(other) == 0:
		scheme, secret, _ := strings.Cut(auth[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(secret)
		}
	case len(other) == 1 && len(auth) == 0:
		return other[0]
	}
	return ""
}

// authorize finds out who makes a request and whether a route is open to him. A
// session opens what a key with the scopes of its role would, to requests of our own
// pages; a request that shows a key is judged by that alone, and one that shows a shared
// link by that, whatever else it brings along.
func (s *Server) authorize(a access, r *http.Request) error {
	switch {
	case a == open:
		return nil
	case a.badge:
		return s.authorizeBadge(r)
	case showsLink(r):
		return s.authorizeLink(a, r)
	}
	secret, c := secretOf(r), callOf(r)
	if secret == "" && !shown(r) {
		who, err := s.visitor(r)
		if err != nil {
			return err
		}
		if who != nil {
			c.who = who
			return s.allowed(a, r, who)
		}
	}
	if a.token && s.metricsToken(secret) {
		c.actor = metricsActor
		return nil
	}
	if secret == "" {
		// Once a token is set it is asked for on this machine too.
		if a.local && s.o.Proxy.Direct(r) && !(a.token && len(s.o.MetricsTokens) > 0) {
			c.actor = localActor
			return nil
		}
		if a.peer {
			return refuse(http.StatusUnauthorized, "no_key", missingKey)
		}
		return refuse(http.StatusUnauthorized, "no_key", "log in, or send an API key: Authorization: Bearer eider_…")
	}
	who, spent := s.keys.find(secret)
	c.who, c.spent = who, spent // of whom a refusal tells
	if a.peer && (who == nil || !who.has(a.scope)) {
		return refuse(http.StatusUnauthorized, "bad_key", invalidKey)
	}
	if who == nil {
		return refuse(http.StatusUnauthorized, "bad_key", "the API key is unknown, expired or revoked")
	}
	if a.user { // a key is nobody's
		return refuse(http.StatusForbidden, "no_session", "this is for a user who has logged in, not for a key")
	}
	if !who.has(a.scope) && !who.has(a.also) {
		return refuse(http.StatusForbidden, "scope", "the API key lacks the scope %s", a.scope)
	}
	if a.whole && who.site != "" {
		return refuse(http.StatusForbidden, "site_of_the_key", "the API key is for the site %s only", who.site)
	}
	return nil
}

// allowed says whether a route is open to who has a session.
func (s *Server) allowed(a access, r *http.Request, who *identity) error {
	if err := s.sameSite(r); err != nil {
		return err
	}
	if !a.user && !who.has(a.scope) && !who.has(a.also) {
		return refuse(http.StatusForbidden, "scope", "your role does not allow this; ask an admin")
	}
	return nil
}

// shown says whether a request shows a key, if perhaps not in a way that we take.
func shown(r *http.Request) bool {
	return len(r.Header["Authorization"]) > 0 || len(r.Header["X-Api-Key"]) > 0
}

// metricsToken compares digests, which are of one length, with every token.
func (s *Server) metricsToken(secret string) bool {
	got, found := sha256.Sum256([]byte(secret)), 0
	for _, token := range s.o.MetricsTokens {
		want := sha256.Sum256([]byte(token))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// forSite refuses a key, or a link, that is for another site.
func forSite(r *http.Request, site string) error {
	if l := lockOf(r.Context()); l != nil {
		return l.admits(site)
	}
	if who := callOf(r).who; who.site != "" && who.site != site {
		return refuse(http.StatusForbidden, "site_of_the_key", "the API key is for the site %s only", who.site)
	}
	return nil
}
