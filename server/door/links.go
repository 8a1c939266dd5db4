package door

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// PassTTL is how long who has given the password of a shared link need not give it again.
const PassTTL = 24 * time.Hour

var (
	// ErrNoLink is returned for a shared link that is not there, or has expired.
	ErrNoLink = errors.New("the link is unknown, has expired or was revoked; ask whoever gave it to you for another one")

	// ErrLinkPassword is returned for a shared link whose password has not been given.
	ErrLinkPassword = errors.New("the link asks for a password")

	// ErrOpenLink is returned for a password of a link that has none.
	ErrOpenLink = errors.New("the link asks for no password")
)

// A Shared is a link as the operator sees it.
type Shared struct {
	ledger.Link
	Slug string // by which it is asked for; "" if it cannot be shown: EIDER_SECRET was another one
}

// slugLen is the length of a slug, and of the token of a badge: 130 bits in base32.
const slugLen = 26

func newSlug() string { return strings.ToLower(rand.Text()) }

// BadgeOf returns the token of the badge of a link. It is put into public pages, so the
// slug cannot be told from it.
func BadgeOf(slug string) string {
	sum := sha256.Sum256([]byte("eider-badge/v1 " + slug))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:slugLen]
}

// sealedLink is the purpose for which slugs are sealed.
const sealedLink = "link"

func (d *Door) shown(k ledger.Link) Shared {
	slug, err := d.sealer.open(sealedLink, k.Sealed)
	if err != nil {
		return Shared{Link: k}
	}
	return Shared{k, string(slug)}
}

// Links returns the shared links of a site, oldest first.
func (d *Door) Links(ctx context.Context, site string) ([]Shared, error) {
	list, err := d.ledger.Links(ctx, site)
	all := make([]Shared, len(list))
	for i, k := range list {
		all[i] = d.shown(k)
	}
	return all, err
}

// AddLink makes a shared link, with a password if it is not "". Its slug, its hashes and
// its password need not be set.
func (d *Door) AddLink(ctx context.Context, k ledger.Link, password string) (Shared, error) {
	if password != "" {
		if err := d.setPassword(ctx, &k, password); err != nil {
			return Shared{}, err
		}
	}
	slug := newSlug()
	k.Hash, k.Badge, k.Sealed = ledger.HashKey(slug), ledger.HashKey(BadgeOf(slug)), d.sealer.seal(sealedLink, []byte(slug))
	k, err := d.ledger.AddLink(ctx, k)
	return Shared{k, slug}, err
}

func (d *Door) setPassword(ctx context.Context, k *ledger.Link, password string) (err error) {
	if err := CheckPassword("", password); err != nil {
		return err
	}
	k.Password, err = d.hasher.newPHC(ctx, true, password)
	return err
}

// ChangeLink makes a change to a shared link. password is its new one, "" for none; nil
// leaves it.
func (d *Door) ChangeLink(ctx context.Context, site string, id int64, password *string, change func(*ledger.Link) error) (Shared, error) {
	var with ledger.Link
	if password != nil && *password != "" { // not in the ledger's transaction: it takes long
		if err := d.setPassword(ctx, &with, *password); err != nil {
			return Shared{}, err
		}
	}
	k, err := d.ledger.ChangeLink(ctx, site, id, func(k *ledger.Link) error {
		if password != nil {
			k.Password = with.Password
		}
		return change(k)
	})
	return d.shown(k), err
}

// RevokeLink removes a shared link: from then on it shows nothing.
func (d *Door) RevokeLink(ctx context.Context, site string, id int64) error {
	return d.ledger.RevokeLink(ctx, site, id)
}

// FindLink returns the shared link of a slug. If it has a password, pass is what OpenLink
// has returned; without, the link is returned with [ErrLinkPassword]. One that is not
// there or has expired is [ErrNoLink].
func (d *Door) FindLink(ctx context.Context, slug, pass string) (ledger.Link, error) {
	k, err := d.liveLink(ctx, slug, d.ledger.Link)
	if err == nil && k.Password != "" && !d.passes(k, pass) {
		err = ErrLinkPassword
	}
	return k, err
}

// FindBadge returns the shared link of a badge's token. One that is not there, has
// expired, or has no badge any more is [ErrNoLink].
func (d *Door) FindBadge(ctx context.Context, token string) (ledger.Link, error) {
	k, err := d.liveLink(ctx, token, d.ledger.BadgedLink)
	if err == nil && !k.Badges {
		err = ErrNoLink
	}
	return k, err
}

func (d *Door) liveLink(ctx context.Context, secret string, find func(context.Context, [32]byte) (ledger.Link, error)) (ledger.Link, error) {
	if len(secret) != slugLen {
		return ledger.Link{}, ErrNoLink
	}
	k, err := find(ctx, ledger.HashKey(secret))
	if errors.Is(err, ledger.ErrNotFound) || err == nil && !k.LiveAt(d.o.Now().UnixMicro()) {
		return ledger.Link{}, ErrNoLink
	}
	return k, err
}

// OpenLink returns a pass for a shared link to who knows its password. Who guesses has
// to wait as one who guesses at a log-in has, with a tally of his own: visitors of a link
// keep nobody from logging in. Every attempt is in the audit chain before OpenLink returns. It
// returns [ErrNoLink], [ErrOpenLink], [ErrBadLogin], [*LockedError] and [ErrBusy].
func (d *Door) OpenLink(ctx context.Context, c Client, slug, password string) (pass string, until time.Time, err error) {
	k, err := d.FindLink(ctx, slug, "")
	switch {
	case err == nil:
		return "", until, ErrOpenLink
	case !errors.Is(err, ErrLinkPassword):
		return "", until, err
	}
	a, wait := d.brake.begin(d.brake.linkLanes(k.ID, c.Address))
	if a == nil {
		return "", until, d.locked(ctx, "link", linkObject(k), wait)
	}
	ok, _, err := d.verify(ctx, false, ledger.User{Password: k.Password}, password)
	if err != nil {
		a.cancel()
		return "", until, err
	}
	if !ok {
		return "", until, d.failed(ctx, a, "link", linkObject(k), "bad_login")
	}
	if err := d.ledger.LinkOpened(ctx, a.succeeded(), a.gone, k.ID); err != nil {
		return "", until, err
	}
	d.o.Metered("link", "ok")
	until = d.o.Now().Add(PassTTL)
	return d.passOf(k, strconv.FormatInt(until.Unix(), 10)), until, nil
}

func linkObject(k ledger.Link) string { return "link:" + strconv.FormatInt(k.ID, 10) }

// passOf makes a pass: "<Unix time of its end>.<MAC>". It is of one password of one link,
// whose hash has a salt of its own.
func (d *Door) passOf(k ledger.Link, until string) string {
	mac := hmac.New(sha256.New, d.pass)
	mac.Write([]byte(k.Password + "\x00" + until))
	return until + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (d *Door) passes(k ledger.Link, pass string) bool {
	until, _, ok := strings.Cut(pass, ".")
	if !ok || len(pass) > 100 || !hmac.Equal([]byte(pass), []byte(d.passOf(k, until))) {
		return false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && d.o.Now().Before(time.Unix(end, 0))
}

// A LinkLedger is the part of a [Ledger] that keeps shared links.
type LinkLedger interface {
	Links(ctx context.Context, site string) ([]ledger.Link, error)
	Link(ctx context.Context, hash [32]byte) (ledger.Link, error)
	BadgedLink(ctx context.Context, hash [32]byte) (ledger.Link, error)
	AddLink(ctx context.Context, k ledger.Link) (ledger.Link, error)
	ChangeLink(ctx context.Context, site string, id int64, change func(*ledger.Link) error) (ledger.Link, error)
	RevokeLink(ctx context.Context, site string, id int64) error
	LinkOpened(ctx context.Context, tallies []ledger.Tally, gone []string, id int64) error
}
