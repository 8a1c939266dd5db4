package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrCheckpoint is why something is no checkpoint, or not one that is signed by a key
// that is trusted.
var ErrCheckpoint = errors.New("no checkpoint to rely on")

// maxNote bounds a note, in bytes: 16 signatures have a tenth of it.
const maxNote = 32 << 10

// maxSignatures bounds the signatures of a note that are read.
const maxSignatures = 64

// A Signature is a line of a note.
type Signature struct {
	Name string
	Hash uint32 // of name and key, as c2sp.org/signed-note has it
	sig  []byte
}

// Sign makes a checkpoint of a head, signed by all the keys under the name of the
// chain. The text is
//
//	eider/<instance>/<incarnation>
//	<size>
//	<root, in base64>
//
// and no signature says when it was made: a time that matters is in the entries.
func Sign(origin string, h Head, keys []Key, at time.Time) (Checkpoint, error) {
	c := Checkpoint{Origin: origin, Size: h.Size, Root: h.Root, Time: at.UnixMicro()}
	if _, _, err := parseOrigin(origin); err != nil {
		return c, fmt.Errorf("sign checkpoint: %w", err)
	}
	if len(keys) == 0 {
		return c, errors.New("sign checkpoint: there is no key")
	}
	var err error
	c.Note, err = signNote(c.text(), origin, keys)
	if err != nil {
		return c, fmt.Errorf("sign checkpoint: %w", err)
	}
	return c, nil
}

func signNote(text, name string, keys []Key) ([]byte, error) {
	signers := make([]note.Signer, len(keys))
	for i, key := range keys {
		var err error
		if signers[i], err = key.signer(name); err != nil {
			return nil, err
		}
	}
	return note.Sign(&note.Note{Text: text}, signers...)
}

// text is what is signed.
func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// ParseCheckpoint reads a note, without a word about who signed it: signatures are
// not checked. Its Time is 0.
func ParseCheckpoint(signed []byte) (Checkpoint, []Signature, error) {
	text, signatures, err := splitNote(signed)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	lines := strings.SplitN(text, "\n", 4)
	c := Checkpoint{Note: bytes.Clone(signed)}
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, nil, fmt.Errorf("%w: its text is not three lines", ErrCheckpoint)
	}
	if _, _, err := parseOrigin(lines[0]); err != nil {
		return Checkpoint{}, nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	c.Origin = lines[0]
	c.Size, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.Size < 0 {
		return Checkpoint{}, nil, fmt.Errorf("%w: %.40q is no size", ErrCheckpoint, lines[1])
	}
	if c.Root, err = tlog.ParseHash(lines[2]); err != nil || c.text() != text {
		return Checkpoint{}, nil, fmt.Errorf("%w: size or root is not written as it should be", ErrCheckpoint)
	}
	return c, signatures, nil
}

// splitNote takes a note apart. Every line has exactly one way to be written, so that
// a note that has been changed anywhere is another note.
func splitNote(signed []byte) (text string, signatures []Signature, err error) {
	if len(signed) > maxNote || !utf8.Valid(signed) {
		return "", nil, fmt.Errorf("%w: it is too long, or not UTF-8", ErrCheckpoint)
	}
	at := bytes.LastIndex(signed, []byte("\n\n"))
	if at < 0 || signed[len(signed)-1] != '\n' || bytes.ContainsFunc(signed, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return "", nil, fmt.Errorf("%w: it is no signed note", ErrCheckpoint)
	}
	text = string(signed[:at+1])
	for line := range strings.Lines(string(signed[at+2:])) {
		s, err := parseSignature(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return "", nil, err
		}
		if len(signatures) == maxSignatures {
			return "", nil, fmt.Errorf("%w: it has more than %d signatures", ErrCheckpoint, maxSignatures)
		}
		signatures = append(signatures, s)
	}
	if len(signatures) == 0 {
		return "", nil, fmt.Errorf("%w: it is not signed", ErrCheckpoint)
	}
	return text, signatures, nil
}

func parseSignature(line string) (s Signature, err error) {
	rest, ok := strings.CutPrefix(line, "— ")
	name, code, found := strings.Cut(rest, " ")
	raw, bad := base64.StdEncoding.Strict().DecodeString(code)
	if !ok || !found || bad != nil || name == "" || len(raw) < 5 || base64.StdEncoding.EncodeToString(raw) != code {
		return s, fmt.Errorf("%w: %.100q is no signature", ErrCheckpoint, line)
	}
	return Signature{Name: name, Hash: binary.BigEndian.Uint32(raw), sig: raw[4:]}, nil
}

// Algorithms of signatures in notes.
const (
	algEd25519     = 1
	algCosignature = 4
)

// keyHash is how a signature of a note names its key.
func keyHash(name string, algorithm byte, public ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append(append([]byte(name), '\n', algorithm), public...))
	return binary.BigEndian.Uint32(sum[:])
}

// signed returns those of the keys that have signed a note under a name. Signatures
// of others are passed over; one that says it is by a key and is not is an error.
func signed(note []byte, name string, keys []ed25519.PublicKey) (by []ed25519.PublicKey, err error) {
	text, signatures, err := splitNote(note)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		hash, good := keyHash(name, algEd25519, key), false
		for _, s := range signatures {
			if s.Name != name || s.Hash != hash {
				continue
			}
			if !ed25519.Verify(key, []byte(text), s.sig) {
				return nil, fmt.Errorf("%w: the signature by %s is not of this text", ErrCheckpoint, VerifierText(name, key))
			}
			good = true
		}
		if good {
			by = append(by, key)
		}
	}
	return by, nil
}

// Open reads a checkpoint that at least one trusted key has signed, under the name of
// the chain.
func (t *Trusted) Open(note []byte) (Checkpoint, error) {
	c, _, err := ParseCheckpoint(note)
	if err != nil {
		return c, err
	}
	by, err := signed(note, c.Origin, t.of(c.Origin))
	if err != nil {
		return Checkpoint{}, err
	}
	if len(by) == 0 {
		return Checkpoint{}, fmt.Errorf("%w: that of %s at %d is signed by none of the %d keys that are trusted", ErrCheckpoint, c.Origin, c.Size, len(t.of(c.Origin)))
	}
	return c, nil
}
