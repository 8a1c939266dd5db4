package door

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A sealer encrypts what we alone read again. What is sealed for one purpose cannot be
// opened for another.
type sealer struct{ aead cipher.AEAD }

var errSealed = errors.New("what was sealed cannot be opened: EIDER_SECRET is another one than it was")

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

func (s *sealer) seal(purpose string, plain []byte) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(purpose))
}

func (s *sealer) open(purpose string, sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// newToken returns 256 random bits as a text.
func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// DeviceTTL is how long a device is known after a log-in.
const DeviceTTL = 365 * 24 * time.Hour

// markDevice makes the mark of a device that a user has logged in from:
// "<user>.<random>.<Unix time>.<MAC>".
func (d *Door) markDevice(user string) string {
	var b [16]byte
	rand.Read(b[:])
	text := user + "." + base64.RawURLEncoding.EncodeToString(b[:]) + "." + strconv.FormatInt(d.o.Now().Unix(), 10)
	return text + "." + d.macOf(text)
}

func (d *Door) macOf(text string) string {
	mac := hmac.New(sha256.New, d.mark)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// readMark returns whose device a mark is, and which, if we have made it.
func (d *Door) readMark(mark string) (user, id string, ok bool) {
	if len(mark) > 200 {
		return "", "", false
	}
	at := strings.LastIndexByte(mark, '.')
	if at < 0 || !hmac.Equal([]byte(mark[at+1:]), []byte(d.macOf(mark[:at]))) {
		return "", "", false
	}
	parts := strings.Split(mark[:at], ".")
	if len(parts) != 3 {
		return "", "", false
	}
	made, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || d.o.Now().Sub(time.Unix(made, 0)) > DeviceTTL {
		return "", "", false
	}
	return parts[0], parts[1], true
}

func (d *Door) knownTo(mark, user string) bool {
	of, _, ok := d.readMark(mark)
	return ok && of == user
}

// cut returns a text that is not too long, of whole runes.
func cut(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
