package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A Key signs checkpoints. However it is printed, only its public half shows.
type Key struct{ private ed25519.PrivateKey }

// NewKey returns the key of a seed.
func NewKey(seed [32]byte) Key { return Key{ed25519.NewKeyFromSeed(seed[:])} }

// maxKeys bounds how many keys sign: a note of C2SP should be read with 16
// signatures, and a witness adds its own.
const maxKeys = 8

// ParseKeys reads one seed of 32 bytes or several, separated by commas, each in
// hexadecimal or in base64 of any sort. The first is the key that signs; the others
// are older ones that sign as well while keys are changed. An error does not say what
// was read.
func ParseKeys(s string) ([]Key, error) {
	var keys []Key
	for i, text := range strings.Split(s, ",") {
		seed, err := decode32(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("key %d of %d: it is no seed of 32 bytes in hexadecimal or base64", i+1, strings.Count(s, ",")+1)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("there are more than %d keys", maxKeys)
		}
		key := NewKey(seed)
		for _, other := range keys {
			if other.Public().Equal(key.Public()) {
				return nil, fmt.Errorf("key %d is there twice", i+1)
			}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

var errNot32 = errors.New("it is no 32 bytes in hexadecimal or base64")

// decode32 reads 32 bytes in hexadecimal, or in base64 with either alphabet, padded
// or not.
func decode32(s string) (b [32]byte, err error) {
	for _, read := range []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if raw, err := read(s); err == nil && len(raw) == len(b) {
			return [32]byte(raw), nil
		}
	}
	return b, errNot32
}

// Public returns what signatures of the key are checked with.
func (k Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// Verifier returns what an auditor needs to check the checkpoints of a chain, in the
// form of C2SP's notes: name+hash+key.
func (k Key) Verifier(origin string) string { return VerifierText(origin, k.Public()) }

// VerifierText is [Key.Verifier] of a public key.
func VerifierText(origin string, public ed25519.PublicKey) string {
	text, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		panic(fmt.Sprintf("audit: internal error: %v", err)) // a public key of another length
	}
	return text
}

// Text returns the public key as the entries [Genesis] and [Rotate] have it in their
// detail "key".
func (k Key) Text() string { return KeyText(k.Public()) }

// KeyText is [Key.Text] of a public key.
func KeyText(public ed25519.PublicKey) string { return encode(public) }

// Format prints the public half.
func (k Key) Format(s fmt.State, _ rune) {
	if k.private == nil {
		_, _ = io.WriteString(s, "no audit key")
		return
	}
	_, _ = io.WriteString(s, "audit key "+k.Text())
}

// MarshalText is of the public half.
func (k Key) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", k), nil }

// signer signs notes under the name of a chain.
type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

func (s signer) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

// signer returns the key under a name.
func (k Key) signer(name string) (note.Signer, error) {
	if k.private == nil {
		return nil, errors.New("there is no key to sign with")
	}
	v, err := note.NewVerifier(k.Verifier(name))
	if err != nil {
		return nil, fmt.Errorf("sign as %q: %w", name, err)
	}
	return signer{v, k.private}, nil
}

// Trusted are the public keys that somebody trusts. The zero value trusts nobody.
// It may be used by many at a time once it is made.
type Trusted struct{ keys []trustedKey }

type trustedKey struct {
	instance string // "": of any
	public   ed25519.PublicKey
}

// ParseTrusted reads public keys: verifier keys as [Key.Verifier] has them, or the 32
// bytes in hexadecimal or base64. A verifier key counts for every incarnation of the
// instance that it names, a bare one for every instance.
func ParseTrusted(texts ...string) (*Trusted, error) {
	t := new(Trusted)
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if public, err := decode32(text); err == nil {
			t.Trust("", public[:])
			continue
		}
		name, public, err := parseVerifier(text)
		if err != nil {
			return nil, err
		}
		instance, _, err := parseOrigin(name)
		if err != nil {
			return nil, fmt.Errorf("verifier key: %w", err)
		}
		t.Trust(instance, public)
	}
	return t, nil
}

// parseVerifier reads a verifier key of Ed25519.
func parseVerifier(text string) (name string, public ed25519.PublicKey, err error) {
	if _, err := note.NewVerifier(text); err != nil {
		return "", nil, fmt.Errorf("%.200q is neither a public key nor a verifier key (name+hash+key): %w", text, err)
	}
	name, rest, _ := strings.Cut(text, "+")
	_, rest, _ = strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return "", nil, err
	}
	return name, raw[1:], nil
}

// Trust adds a public key for an instance; "" is all of them.
func (t *Trusted) Trust(instance string, public ed25519.PublicKey) {
	t.keys = append(t.keys, trustedKey{instance, public})
}

// Empty reports whether nobody is trusted.
func (t *Trusted) Empty() bool { return t == nil || len(t.keys) == 0 }

// of returns the public keys that are trusted for a chain.
func (t *Trusted) of(origin string) (keys []ed25519.PublicKey) {
	if t == nil {
		return nil
	}
	instance, _, err := parseOrigin(origin)
	for _, k := range t.keys {
		if k.instance == "" || err == nil && k.instance == instance {
			keys = append(keys, k.public)
		}
	}
	return keys
}
