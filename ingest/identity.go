package ingest

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/dchest/siphash"

	"github.com/eider-analytics/eider/store/event"
)

// saltLife is how long after the end of its day a salt is kept: long enough for
// an event that comes up to maxLate late to find the visitor it belongs to. With
// the day itself these are the 48 hours after which nobody can link two days.
const saltLife = 24 * time.Hour

// A saltStore keeps the salts of the visitor ids: the ledger, or for an import
// nothing but memory.
type saltStore interface {
	// Salt returns the salt of a site's day, made by chance when it is first
	// asked for. When it returns, the salt is durable.
	Salt(ctx context.Context, site, day string, expires int64) ([16]byte, error)
}

// identity turns addresses and user agents into visitor ids. It is safe for
// concurrent use.
type identity struct {
	store  saltStore
	users  salt // keys the hashes of user ids; for ever
	events salt // keys the hashes of event ids and bodies; for ever

	mu    sync.Mutex // held while a salt is looked up or made
	salts map[saltDay]salt
}

type saltDay struct {
	site string
	day  int32 // days since 1970 on the site's calendar
}

type salt struct {
	k0, k1  uint64
	expires int64 // µs
}

func newIdentity(store saltStore, secret []byte) *identity {
	return &identity{store: store, users: derive(secret, "user ids"), events: derive(secret, "event ids"), salts: make(map[saltDay]salt)}
}

// derive makes a key for one purpose out of the secret.
func derive(secret []byte, purpose string) salt {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(purpose))
	return newSalt([16]byte(mac.Sum(nil)))
}

func newSalt(raw [16]byte) salt {
	return salt{k0: binary.LittleEndian.Uint64(raw[:8]), k1: binary.LittleEndian.Uint64(raw[8:])}
}

// localDay returns the day of t on the clock of zone.
func localDay(t time.Time, zone *time.Location) int32 {
	_, offset := t.In(zone).Zone()
	return int32(event.DayOf(t.UnixMicro() + int64(offset)*1_000_000))
}

// salt returns the salt of a day on the clock of zone.
func (id *identity) salt(ctx context.Context, site string, zone *time.Location, day int32) (salt, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	key := saltDay{site, day}
	if s, ok := id.salts[key]; ok {
		return s, nil
	}
	y, m, d := time.Unix(int64(day)*86400, 0).UTC().Date()
	expires := time.Date(y, m, d+1, 0, 0, 0, 0, zone).Add(saltLife).UnixMicro()
	name := event.Day(day).String()
	raw, err := id.store.Salt(ctx, site, name, expires)
	if err != nil {
		return salt{}, fmt.Errorf("salt of %s: %w", name, err)
	}
	s := newSalt(raw)
	s.expires = expires
	id.salts[key] = s
	return s, nil
}

// forget drops the salts that have expired from memory; the store drops its own.
func (id *identity) forget(now time.Time) {
	id.mu.Lock()
	defer id.mu.Unlock()
	for key, s := range id.salts {
		if s.expires <= now.UnixMicro() {
			delete(id.salts, key)
		}
	}
}

// visitor returns who sent an event at time t, and, in the first half hour of the
// site's day, who the same visitor was the day before: a visit goes on over
// midnight, a visitor does not. The clock alone does not tell that half hour:
// where it is put forward at midnight the day begins at one.
func (id *identity) visitor(ctx context.Context, site string, zone *time.Location, t time.Time, addr netip.Addr, userAgent string) (today, yesterday event.ID, err error) {
	day := localDay(t, zone)
	before := localDay(t.Add(-visitGap), zone)
	s, err := id.salt(ctx, site, zone, day)
	if err != nil {
		return today, yesterday, err
	}
	var b [512]byte
	msg := visitorMessage(b[:0], site, addr, userAgent)
	today = s.hash(msg)
	if before == day {
		return today, yesterday, nil
	}
	if s, err = id.salt(ctx, site, zone, before); err != nil {
		return today, yesterday, err
	}
	return today, s.hash(msg), nil
}

// visitorMessage is what a visitor id is the hash of. An IPv6 address is cut to
// its /64, which is what a household keeps while its devices change the rest.
func visitorMessage(dst []byte, site string, addr netip.Addr, userAgent string) []byte {
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	a := addr.As16()
	dst = append(dst, a[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(userAgent)))
	dst = append(dst, userAgent...)
	return append(dst, site...)
}

func (s salt) hash(msg []byte) (id event.ID) {
	hi, lo := siphash.Hash128(s.k0, s.k1, msg)
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id
}

// user returns the id of a user that the site itself names. It is the same on
// every day, and another on every site.
func (id *identity) user(site, user string) event.ID { return id.users.pair(site, user) }

// dedupe returns the id under which an event that carries its own is known. Ids
// that come without a key are a space of their own: nobody can take those of a
// server's events.
func (id *identity) dedupe(site string, public bool, own string) event.ID {
	if public {
		own = "page\x00" + own
	}
	return id.events.pair(site, own)
}

// body returns a hash of what an event says, to tell a retry from another event
// that was given the same id.
func (id *identity) body(it *item) (sum [8]byte) {
	var b [1024]byte
	msg := b[:0]
	for _, s := range [...]string{it.Name, it.URL, it.Referrer, it.Title, it.Props, it.Amount, it.Currency, it.User} {
		msg = binary.AppendUvarint(msg, uint64(len(s)))
		msg = append(msg, s...)
	}
	if !it.Time.IsZero() {
		msg = binary.AppendVarint(msg, it.Time.UnixMicro())
	}
	msg = binary.AppendVarint(msg, int64(it.Scroll))
	msg = binary.AppendVarint(msg, it.EngagedMS)
	h := id.events.hash(msg)
	copy(sum[:], h[:])
	return sum
}

// pair hashes a site and a value of that site.
func (s salt) pair(site, value string) event.ID {
	var b [512]byte
	msg := binary.AppendUvarint(b[:0], uint64(len(site)))
	msg = append(msg, site...)
	msg = append(msg, value...)
	return s.hash(msg)
}

// memorySalts are the salts of an import: they end with it. For the days on
// which visitors are still being counted they are those of the living, so that
// nobody is counted twice.
type memorySalts struct {
	live saltStore
	from int32 // the first day whose salt is still the live one

	mu  sync.Mutex
	old map[saltDay][16]byte
}

// Salt implements saltStore.
func (m *memorySalts) Salt(ctx context.Context, site, day string, expires int64) ([16]byte, error) {
	d, err := event.ParseDay(day)
	if err != nil {
		return [16]byte{}, err
	}
	if int32(d) >= m.from {
		return m.live.Salt(ctx, site, day, expires)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := saltDay{site, int32(d)}
	s, ok := m.old[key]
	if !ok {
		rand.Read(s[:]) // never fails
		m.old[key] = s
	}
	return s, nil
}
