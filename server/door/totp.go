package door

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/boombuler/barcode/qr"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/eider-analytics/eider/store/ledger"
)

const (
	totpPeriod = 30 // s
	totpSkew   = 1  // periods that a clock may be off
	codes      = 10 // of recovery
)

// ErrNoPending is returned for a confirmation of nothing.
var ErrNoPending = errors.New("there is no second factor to confirm: begin again")

// A Secret is a second factor that is to be confirmed, shown once.
type Secret struct {
	Secret string // base32
	URI    string // otpauth:
	QR     string // an SVG of it
}

// BeginTOTP makes a secret for a user. It opens nothing until it is confirmed.
func (d *Door) BeginTOTP(ctx context.Context, u ledger.User) (Secret, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: d.o.Issuer, AccountName: u.Name, Period: totpPeriod, SecretSize: 20})
	if err != nil {
		return Secret{}, fmt.Errorf("make second factor: %w", err)
	}
	if err := d.ledger.SetPending(ctx, u.ID, d.sealer.seal("totp "+u.ID, []byte(key.Secret()))); err != nil {
		return Secret{}, err
	}
	picture, err := svgOf(key.URL())
	return Secret{key.Secret(), key.URL(), picture}, err
}

// ConfirmTOTP makes the pending secret of a user his second factor, if the code is of
// it, and returns new recovery codes, which are shown once.
func (d *Door) ConfirmTOTP(ctx context.Context, c Client, u ledger.User, code string) ([]string, error) {
	if len(u.Pending) == 0 {
		return nil, ErrNoPending
	}
	a, wait := d.brake.begin(d.brake.lanes("", c.Address, u.ID))
	if a == nil {
		return nil, d.locked(ctx, "totp", objectOf(u), wait)
	}
	step, err := d.stepOf(u.ID, u.Pending, code, 0)
	if err != nil {
		a.cancel()
		return nil, err
	}
	if step == 0 {
		return nil, d.failed(ctx, a, "totp", objectOf(u), "bad_code")
	}
	if err := d.ledger.KeepTallies(ctx, a.succeeded(), a.gone); err != nil {
		return nil, err
	}
	plain := make([]string, codes)
	hashes := make([][32]byte, codes)
	for i := range plain {
		plain[i] = newRecoveryCode()
		hashes[i] = ledger.HashKey(canonical(plain[i]))
	}
	err = d.ledger.ConfirmTOTP(ctx, u.ID, u.Pending, step, hashes)
	if errors.Is(err, ledger.ErrSpent) {
		return nil, ErrNoPending
	}
	return plain, err
}

// RemoveTOTP removes the second factor of a user who knows his password.
func (d *Door) RemoveTOTP(ctx context.Context, c Client, u ledger.User, password string) error {
	if err := d.confirm(ctx, c, u, password); err != nil {
		return err
	}
	return d.ledger.RemoveTOTP(ctx, u.ID)
}

// second checks a code of a user's second factor, and says in the log-in what is used
// up by it.
func (d *Door) second(ctx context.Context, u ledger.User, code string, in *ledger.LogIn) (bool, error) {
	step, err := d.stepOf(u.ID, u.TOTP, code, u.Step)
	if err == nil && step > 0 {
		in.Step = step
		return true, nil
	}
	// A secret that was sealed with another EIDER_SECRET leaves the recovery codes.
	if err != nil && !errors.Is(err, errSealed) {
		return false, err
	}
	hash := ledger.HashKey(canonical(code))
	ok, err := d.ledger.HasRecovery(ctx, u.ID, hash)
	if ok {
		in.Recovery = &hash
	}
	return ok, err
}

// stepOf returns the step that a code is of, later than after; 0 if it is of none.
func (d *Door) stepOf(user string, sealed []byte, code string, after int64) (int64, error) {
	secret, err := d.sealer.open("totp "+user, sealed)
	if err != nil {
		return 0, err
	}
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	now, found := d.o.Now().Unix()/totpPeriod, int64(0)
	for step := now - totpSkew; step <= now+totpSkew; step++ {
		ok, err := hotp.ValidateCustom(code, uint64(step), string(secret), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil && !errors.Is(err, otp.ErrValidateInputInvalidLength) {
			return 0, fmt.Errorf("check code: %w", err)
		}
		if ok && step > after {
			found = step
		}
	}
	return found, nil
}

// newRecoveryCode returns 80 random bits as 4 groups of 4.
func newRecoveryCode() string {
	var b [10]byte
	rand.Read(b[:])
	s := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
}

// canonical is a recovery code however it is written.
func canonical(code string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, code))
}

// svgOf draws a QR code, dark on light, with the margin that readers need.
func svgOf(text string) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fmt.Errorf("draw QR code: %w", err)
	}
	const margin = 4
	side := code.Bounds().Dx()
	var path strings.Builder
	for y := range side {
		for x := range side {
			if r, _, _, _ := code.At(x, y).RGBA(); r == 0 {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+margin, y+margin)
			}
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[1]d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path fill="#000" d="%[2]s"/></svg>`,
		side+2*margin, path.String()), nil
}
