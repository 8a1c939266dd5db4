package door_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/store/ledger"
)

// ledgers are those that a door is tried on: what holds in memory must hold on disk.
func ledgers(t *testing.T, do func(*testing.T, door.Ledger)) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) { do(t, doortest.New()) })
	t.Run("disk", func(t *testing.T) {
		l, err := ledger.Open(t.Context(), t.TempDir()+"/ledger.db", migrations.FS, ledger.Options{Now: func() time.Time { return start }})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		do(t, l)
	})
}

// TestTOTP: a code is good once, in its half minute and those beside it; a recovery code
// is good once; a wrong one counts as a wrong password does.
func TestTOTP(t *testing.T) {
	ledgers(t, func(t *testing.T, l door.Ledger) {
		r := newRig(t, l)
		login := func(code string) error {
			_, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "Jo Bright", Password: right, Code: code})
			return err
		}
		jo := func() ledger.User {
			u, err := r.User(t.Context(), r.jo.ID)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		if _, err := r.ConfirmTOTP(t.Context(), from("192.0.2.1"), jo(), "000000"); !errors.Is(err, door.ErrNoPending) {
			t.Errorf("confirmed nothing: %v", err)
		}
		secret, err := r.BeginTOTP(t.Context(), jo())
		if err != nil || !strings.HasPrefix(secret.URI, "otpauth://totp/Eider:Jo%20Bright?") || !strings.HasPrefix(secret.QR, "<svg ") {
			t.Fatalf("%+v, %v", secret, err)
		}
		if bytes.Contains(jo().Pending, []byte(secret.Secret)) {
			t.Error("the secret is kept as it is")
		}
		code := func(after time.Duration) string {
			c, err := totp.GenerateCode(secret.Secret, r.clock.now().Add(after))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if err := login(""); err != nil {
			t.Errorf("a factor that is not confirmed is asked for: %v", err)
		}
		recovery, err := r.ConfirmTOTP(t.Context(), from("192.0.2.1"), jo(), code(0))
		if err != nil || len(recovery) != 10 {
			t.Fatalf("%d codes, %v", len(recovery), err)
		}
		if err := login(""); !errors.Is(err, door.ErrCodeNeeded) {
			t.Errorf("without a code: %v", err)
		}
		for what, c := range map[string]string{"the code of the confirmation": code(0), "one of a minute ago": code(-time.Minute), "one of the next minute": code(time.Minute), "another": "12345"} {
			if err := login(c); !errors.Is(err, door.ErrBadLogin) {
				t.Errorf("%s: %v", what, err)
			}
		}
		r.clock.forward(30 * time.Second)
		good := code(0)
		if err := login(good[:3] + " " + good[3:]); err != nil {
			t.Errorf("a good code: %v", err)
		}
		if err := login(good); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("the same code again: %v", err)
		}
		if err := login(strings.ToUpper(strings.ReplaceAll(recovery[0], "-", ""))); err != nil {
			t.Errorf("a recovery code: %v", err)
		}
		if err := login(recovery[0]); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("the same recovery code again: %v", err)
		}
		// With another EIDER_SECRET the secret cannot be read; recovery codes go on.
		r.open(t, func(o *door.Options) { o.Secret = []byte("another secret of thirty-two bytes") })
		r.clock.forward(30 * time.Second)
		if err := login(code(0)); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("with another secret: %v", err)
		}
		if err := login(recovery[1]); err != nil {
			t.Errorf("a recovery code with another secret: %v", err)
		}
		if err := r.RemoveTOTP(t.Context(), from("192.0.2.1"), jo(), "wrong"); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("removed without the password: %v", err)
		}
		if err := r.RemoveTOTP(t.Context(), from("192.0.2.1"), jo(), right); err != nil {
			t.Error(err)
		}
		if err := login(""); err != nil {
			t.Errorf("without a factor: %v", err)
		}
	})
}

// TestHash: a password is kept as OWASP says, and one that was hashed otherwise is hashed
// anew at the next log-in.
func TestHash(t *testing.T) {
	t.Parallel()
	m := doortest.New()
	r := newRig(t, m, func(o *door.Options) { o.Hash = nil })
	phc := func() string {
		u, err := m.User(t.Context(), r.jo.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u.Password
	}
	if !strings.HasPrefix(phc(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("kept as %s", phc())
	}
	salt := []byte("0123456789abcdef")
	enc := base64.RawStdEncoding
	old := "$argon2id$v=19$m=64,t=1,p=1$" + enc.EncodeToString(salt) + "$" + enc.EncodeToString(argon2.IDKey([]byte(right), salt, 1, 64, 1, 32))
	if err := m.SetPassword(t.Context(), ledger.NewPassword{User: r.jo.ID, Password: old}); err != nil {
		t.Fatal(err)
	}
	if err := r.try(from("192.0.2.1"), "jo bright", right); err != nil || !strings.HasPrefix(phc(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%v; kept as %s", err, phc())
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$AAAA", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=-1,t=1,p=1$AAAA$AAAA"} {
		if err := m.SetPassword(t.Context(), ledger.NewPassword{User: r.jo.ID, Password: bad}); err != nil {
			t.Fatal(err)
		}
		if err := r.try(from("192.0.2.1"), "jo bright", right); err == nil || errors.Is(err, door.ErrBadLogin) {
			t.Errorf("%s: %v, want an error of ours", bad, err)
		}
	}
}

// A device is an authenticator with one key.
type device struct {
	key    *ecdsa.PrivateKey
	id     []byte
	user   []byte
	count  uint32
	origin string
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// challengeOf reads options as a browser gets them.
func challengeOf(t *testing.T, options any) string {
	t.Helper()
	text, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Challenge string }
	if err := json.Unmarshal(text, &o); err != nil || o.Challenge == "" {
		t.Fatalf("%v: %s", err, text)
	}
	return o.Challenge
}

func (d *device) client(kind, challenge string) []byte {
	text, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": d.origin, "crossOrigin": false})
	return text
}

func (d *device) data(flags byte) []byte {
	d.count++
	rp := sha256.Sum256([]byte("localhost"))
	return binary.BigEndian.AppendUint32(append(rp[:], flags), d.count)
}

// make answers a request for a new key.
func (d *device) make(t *testing.T, challenge string) []byte {
	t.Helper()
	pub, err := d.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	key, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: pub[1:33], -3: pub[33:]})
	if err != nil {
		t.Fatal(err)
	}
	data := append(d.data(0x45), make([]byte, 16)...) // present, verified, with a key
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(d.id))), d.id...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, key...)})
	if err != nil {
		t.Fatal(err)
	}
	return d.answer(map[string]any{"attestationObject": b64(object), "clientDataJSON": b64(d.client("webauthn.create", challenge))})
}

// sign answers a request to show the key.
func (d *device) sign(t *testing.T, challenge string, flags byte) []byte {
	t.Helper()
	data, client := d.data(flags), d.client("webauthn.get", challenge)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(bytes.Clone(data), sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, d.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return d.answer(map[string]any{"authenticatorData": b64(data), "clientDataJSON": b64(client), "signature": b64(sig), "userHandle": b64(d.user)})
}

func (d *device) answer(response map[string]any) []byte {
	text, _ := json.Marshal(map[string]any{"id": b64(d.id), "rawId": b64(d.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	return text
}

// TestPasskey adds a passkey and comes in by it, and tries what must not work.
func TestPasskey(t *testing.T) {
	ledgers(t, func(t *testing.T, l door.Ledger) {
		const here = "http://localhost:8080"
		r := newRig(t, l)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		d := &device{key: key, id: []byte("credential"), user: []byte(r.jo.ID), origin: here}
		for _, bad := range []string{"", "http://192.0.2.1", "http://example.com", "https://"} {
			if _, _, err := r.BeginEntry(bad); !errors.Is(err, door.ErrNoPasskeys) {
				t.Errorf("at %q: %v", bad, err)
			}
		}
		options, state, err := r.BeginPasskey(t.Context(), r.jo, here, "laptop")
		if err != nil {
			t.Fatal(err)
		}
		made := d.make(t, challengeOf(t, options))
		if _, err := r.FinishPasskey(t.Context(), ledger.User{ID: "another"}, here, state, made); !errors.Is(err, door.ErrPasskey) {
			t.Errorf("of another user: %v", err)
		}
		if _, err := r.FinishPasskey(t.Context(), r.jo, "https://evil.example", state, made); !errors.Is(err, door.ErrPasskey) {
			t.Errorf("at another origin: %v", err)
		}
		p, err := r.FinishPasskey(t.Context(), r.jo, here, state, made)
		if err != nil || p.Name != "laptop" {
			t.Fatalf("%+v, %v", p, err)
		}
		enter := func(change func(d *device, challenge string, state []byte) (answer, sent []byte)) error {
			options, state, err := r.BeginEntry(here)
			if err != nil {
				t.Fatal(err)
			}
			answer, sent := change(d, challengeOf(t, options), state)
			_, err = r.FinishEntry(t.Context(), from("192.0.2.1"), here, sent, answer)
			return err
		}
		var oldAnswer, oldState []byte
		good := func(d *device, challenge string, state []byte) ([]byte, []byte) {
			oldAnswer, oldState = d.sign(t, challenge, 0x05), state
			return oldAnswer, oldState
		}
		if err := enter(good); err != nil {
			t.Fatalf("a good passkey: %v", err)
		}
		for name, change := range map[string]func(*device, string, []byte) ([]byte, []byte){
			"again":           func(*device, string, []byte) ([]byte, []byte) { return oldAnswer, oldState },
			"not verified":    func(d *device, c string, s []byte) ([]byte, []byte) { return d.sign(t, c, 0x01), s },
			"other challenge": func(d *device, _ string, s []byte) ([]byte, []byte) { return d.sign(t, b64(make([]byte, 32)), 0x05), s },
			"state of adding": func(d *device, c string, _ []byte) ([]byte, []byte) { return d.sign(t, c, 0x05), state },
			"no state":        func(d *device, c string, _ []byte) ([]byte, []byte) { return d.sign(t, c, 0x05), nil },
			"nothing":         func(_ *device, _ string, s []byte) ([]byte, []byte) { return []byte(`{}`), s },
			"another's handle": func(d *device, c string, s []byte) ([]byte, []byte) {
				o := *d
				o.user = []byte("x")
				return o.sign(t, c, 0x05), s
			},
			"a copy, behind": func(d *device, c string, s []byte) ([]byte, []byte) {
				o := *d
				o.count = 0
				return o.sign(t, c, 0x05), s
			},
			"another origin": func(d *device, c string, s []byte) ([]byte, []byte) {
				o := *d
				o.origin = "http://localhost:9"
				return o.sign(t, c, 0x05), s
			},
			"too late": func(d *device, c string, s []byte) ([]byte, []byte) {
				answer := d.sign(t, c, 0x05)
				r.clock.forward(door.PasskeyTTL + time.Second)
				return answer, s
			},
		} {
			if err := enter(change); !errors.Is(err, door.ErrBadLogin) {
				t.Errorf("%s: %v", name, err)
			}
			r.clock.forward(2 * time.Hour) // nobody is to wait here
		}
		if err := enter(good); err != nil {
			t.Errorf("the good passkey after all that: %v", err)
		}
		if err := r.RemovePasskey(t.Context(), r.jo, d.id); err != nil {
			t.Error(err)
		}
		if err := enter(good); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("a passkey that was removed: %v", err)
		}
	})
}
