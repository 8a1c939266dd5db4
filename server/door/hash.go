package door

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// What OWASP recommends for machines with little memory.
const (
	memory  = 19 << 10 // KiB
	passes  = 2
	lanes   = 1
	saltLen = 16
	hashLen = 32
)

const (
	hashers  = 2               // at once: 38 MiB
	queued   = 6               // strangers that wait
	patience = 5 * time.Second // that one waits at most
)

// A HashFunc makes a key of a password: Argon2id.
type HashFunc func(password, salt []byte, passes, memory uint32, lanes uint8, keyLen uint32) []byte

var argon HashFunc = argon2.IDKey

// A hasher hashes passwords, a few at once. Strangers use one place fewer than there
// are, so that somebody whose device is known does not wait behind them.
type hasher struct {
	hash      HashFunc
	places    chan struct{}
	strangers chan struct{}
	waiting   atomic.Int64
}

func newHasher(hash HashFunc) *hasher {
	return &hasher{hash: hash, places: make(chan struct{}, hashers), strangers: make(chan struct{}, hashers-1)}
}

// run hashes when there is a place.
func (h *hasher) run(ctx context.Context, known bool, password string, p params) ([]byte, error) {
	most := int64(queued)
	if known {
		most *= 2
	}
	if h.waiting.Add(1) > most {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	defer h.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	line := []chan struct{}{h.strangers, h.places}
	if known {
		line = line[1:]
	}
	for _, places := range line {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		case <-ctx.Done():
			return nil, ErrBusy
		}
	}
	return h.hash([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(len(p.key))), nil
}

// params are what a PHC string says.
type params struct {
	passes, memory uint32
	lanes          uint8
	salt, key      []byte
}

func usual() params {
	p := params{passes: passes, memory: memory, lanes: lanes, salt: make([]byte, saltLen), key: make([]byte, hashLen)}
	rand.Read(p.salt)
	return p
}

func (p params) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.lanes, enc.EncodeToString(p.salt), enc.EncodeToString(p.key))
}

var errPHC = errors.New("the ledger has a password that is no PHC string of Argon2id")

// parsePHC reads what [params.String] has written. Costs that would be ours to pay are
// bounded.
func parsePHC(s string) (p params, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errPHC
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil {
		return p, errPHC
	}
	if p.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil {
		return p, errPHC
	}
	if p.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil {
		return p, errPHC
	}
	if p.memory > 64<<10 || p.memory < 8 || p.passes < 1 || p.passes > 10 || p.lanes != 1 || len(p.salt) < 8 || len(p.salt) > 64 || len(p.key) < 16 || len(p.key) > 64 {
		return p, errPHC
	}
	return p, nil
}

// newPHC hashes a password as it is done today.
func (h *hasher) newPHC(ctx context.Context, known bool, password string) (string, error) {
	p := usual()
	key, err := h.run(ctx, known, password, p)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

// verify says whether a password is that of a PHC string, and whether that was made
// with other costs than today's.
func (h *hasher) verify(ctx context.Context, known bool, phc, password string) (ok, stale bool, err error) {
	p, err := parsePHC(phc)
	if err != nil {
		return false, false, err
	}
	key, err := h.run(ctx, known, password, p)
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(key, p.key) == 1, p.memory != memory || p.passes != passes || len(p.key) != hashLen, nil
}

// decoyOf returns a PHC string that no password has: what is checked for those who
// have none.
func decoyOf(key []byte) string {
	p := usual()
	salt := sha256.Sum256(append([]byte("decoy"), key...))
	copy(p.salt, salt[:])
	rand.Read(p.key)
	return p.String()
}
