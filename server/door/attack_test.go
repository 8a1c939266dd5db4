package door_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

const right = "correct horse battery"

var start = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// A clock stands still until it is moved.
type clock struct{ us atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.us.Store(start.UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.us.Load()).UTC() }
func (c *clock) forward(d time.Duration) { c.us.Add(d.Microseconds()) }

// A counter hashes without taking time, and counts how often, and how many at once.
type counter struct{ calls, running, most atomic.Int64 }

func (c *counter) hash(password, salt []byte, _, _ uint32, _ uint8, keyLen uint32) []byte {
	c.calls.Add(1)
	n := c.running.Add(1)
	defer c.running.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	sum := sha256.Sum256(append(slices.Clone(salt), password...))
	return sum[:keyLen]
}

// A rig is a door with an admin called Jo Bright.
type rig struct {
	*door.Door
	ledger door.Ledger
	clock  *clock
	hashes *counter
	jo     ledger.User
}

func newRig(t testing.TB, l door.Ledger, change ...func(*door.Options)) *rig {
	t.Helper()
	r := &rig{ledger: l, clock: newClock(), hashes: &counter{}}
	r.open(t, change...)
	var err error
	if r.jo, err = r.Create(t.Context(), "Jo Bright", ledger.RoleAdmin, right); err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens the door again, as a restart does.
func (r *rig) open(t testing.TB, change ...func(*door.Options)) {
	t.Helper()
	o := door.Options{Secret: make([]byte, 32), Now: r.clock.now, Hash: r.hashes.hash}
	for _, c := range change {
		c(&o)
	}
	var err error
	if r.Door, err = door.Open(t.Context(), r.ledger, o); err != nil {
		t.Fatal(err)
	}
}

func from(address string) door.Client { return door.Client{Address: netip.MustParseAddr(address)} }

func (r *rig) try(c door.Client, name, password string) error {
	_, err := r.LogIn(context.Background(), c, door.Credentials{Name: name, Password: password})
	return err
}

// waits returns how long an error makes one wait; 0 if it is another one.
func waits(err error) time.Duration {
	var locked *door.LockedError
	if errors.As(err, &locked) {
		return locked.Wait
	}
	return 0
}

// TestAttack: a hundred thousand attempts from as many sources as there can be, on one
// name, for a day. None gets in; a handful is looked at in ten seconds; the owner gets in
// from the browser he has, and waits from a new one no longer than he is told.
func TestAttack(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New(), func(o *door.Options) { o.Sources = 5000 })
	owner, err := r.LogIn(t.Context(), from("198.51.100.7"), door.Credentials{Name: "jo bright", Password: right})
	if err != nil {
		t.Fatal(err)
	}
	home := door.Client{Address: netip.MustParseAddr("203.0.113.66"), Device: owner.Device} // another address than before
	before := r.hashes.calls.Load()
	const attempts = 100_000
	for i := range attempts {
		r.clock.forward(24 * time.Hour / attempts)
		err := r.try(door.Client{Address: source(i)}, "jo bright", fmt.Sprint("guess ", i))
		if !errors.Is(err, door.ErrBadLogin) && waits(err) == 0 {
			t.Fatalf("attempt %d: %v", i, err)
		}
		if i%5000 == 0 {
			if err := r.try(home, "jo bright", right); err != nil {
				t.Fatalf("after %d attempts the owner is told: %v", i, err)
			}
			before++
		}
		if i%20_011 == 20_010 {
			r.open(t, func(o *door.Options) { o.Sources = 5000 }) // it makes no attempt more possible
		}
	}
	looked := r.hashes.calls.Load() - before
	if most := int64(24*time.Hour/(10*time.Second)) + 30; looked > most || looked < most/2 {
		t.Errorf("%d of %d attempts were looked at, want at most one in ten seconds: %d", looked, attempts, most)
	}
	if n := r.Tallied(); n > 5003 {
		t.Errorf("%d tallies are kept, want at most 5000 and 3 shared ones", n)
	}
	kept, err := r.ledger.Tallies(t.Context())
	if err != nil || len(kept) > 5100 {
		t.Errorf("%d tallies are in the ledger, %v", len(kept), err)
	}
	err = r.try(from("192.0.2.200"), "jo bright", right) // a new browser, somewhere else
	if d := waits(err); err != nil && (d == 0 || d > 10*time.Second) {
		t.Fatalf("from a new browser: %v", err)
	} else if err != nil {
		r.clock.forward(d)
		if err := r.try(from("192.0.2.200"), "jo bright", right); err != nil {
			t.Errorf("after the %v he was told to wait: %v", d, err)
		}
	}
}

// source returns an address: half of them IPv6.
func source(i int) netip.Addr {
	var b [16]byte
	if i%2 == 0 {
		binary.BigEndian.PutUint32(b[:], uint32(i)*2654435761)
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	b[0], b[1] = 0x20, 0x01
	binary.BigEndian.PutUint64(b[2:], uint64(i)*0x9e3779b97f4a7c15)
	return netip.AddrFrom16(b)
}

// TestLockout: a source waits from the fifth failure on, twice as long each time, is told
// how long, and is let in then. A restart changes nothing of it.
func TestLockout(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"IPv4": "192.0.2.1", "IPv6": "2001:db8::1", "IPv4 in IPv6": "::ffff:192.0.2.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := doortest.New()
			r := newRig(t, m)
			for i := range 5 {
				if err := r.try(from(address), "jo bright", "wrong"); !errors.Is(err, door.ErrBadLogin) {
					t.Fatalf("failure %d: %v", i+1, err)
				}
			}
			for _, want := range []time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
				r.open(t)
				hashed := r.hashes.calls.Load()
				err := r.try(from(address), "jo bright", right)
				if got := waits(err); got != want {
					t.Fatalf("told to wait %v (%v), want %v", got, err, want)
				}
				r.clock.forward(want - time.Microsecond)
				if err := r.try(from(address), "jo bright", right); waits(err) != time.Microsecond || r.hashes.calls.Load() != hashed {
					t.Fatalf("a moment too early: %v", err)
				}
				r.clock.forward(time.Microsecond)
				if err := r.try(from(address), "jo bright", "wrong"); !errors.Is(err, door.ErrBadLogin) {
					t.Fatalf("after the wait: %v", err)
				}
			}
			r.clock.forward(time.Hour)
			if err := r.try(from(address), "jo bright", right); err != nil {
				t.Fatalf("after the wait: %v", err)
			}
			if err := r.try(from(address), "jo bright", "wrong"); !errors.Is(err, door.ErrBadLogin) {
				t.Errorf("after a success the count begins anew: %v", err)
			}
			if n := count(m, audit.Lockout); n != 7 {
				t.Errorf("%d lockouts recorded, want 7", n)
			}
		})
	}
}

func count(m *doortest.Memory, kind audit.Kind) (n int) {
	for _, e := range m.Entries() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// TestSources: addresses of one /64 are one source, and of one /48 ten; another IPv4
// address is another source.
func TestSources(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	for i := range 5 {
		_ = r.try(from(fmt.Sprintf("2001:db8:1:2:%x::1", i)), fmt.Sprint("name ", i), "wrong")
	}
	if err := r.try(from("2001:db8:1:2:ffff::9"), "jo bright", right); waits(err) == 0 {
		t.Errorf("another address of the /64: %v", err)
	}
	if err := r.try(from("2001:db8:1:3::1"), "jo bright", right); err != nil {
		t.Errorf("another /64: %v", err)
	}
	for i := range 50 {
		_ = r.try(from(fmt.Sprintf("2001:db8:7:%x::1", i)), fmt.Sprint("name ", i), "wrong")
	}
	if err := r.try(from("2001:db8:7:ffff::1"), "jo bright", right); waits(err) == 0 {
		t.Errorf("a /48 that has failed 50 times: %v", err)
	}
	for range 5 {
		_ = r.try(from("192.0.2.1"), "x", "wrong")
	}
	if err := r.try(from("::ffff:192.0.2.1"), "jo bright", right); waits(err) == 0 {
		t.Errorf("the same IPv4 address, as IPv6: %v", err)
	}
	if err := r.try(from("192.0.2.2"), "jo bright", right); err != nil {
		t.Errorf("the next IPv4 address: %v", err)
	}
}

// TestSameWork: a name that exists and one that does not cost one look-up and one hash
// each, and are answered alike, braked or not.
func TestSameWork(t *testing.T) {
	t.Parallel()
	m := doortest.New()
	r := newRig(t, m)
	invited, _, err := r.CreateInvited(t.Context(), "Vi", ledger.RoleViewer) // has no password
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		hashes, lookups int64
		answer          string
	}
	var all []seen
	for n, name := range []string{"jo bright", "nobody", invited.Name, strings.Repeat("long", 1000)} {
		var s []seen
		for i := range 40 {
			h, l := r.hashes.calls.Load(), m.Lookups()
			err := r.try(from(fmt.Sprintf("10.%d.%d.1", n, i)), name, "wrong")
			s = append(s, seen{r.hashes.calls.Load() - h, int64(m.Lookups() - l), fmt.Sprint(err)})
		}
		if n == 0 {
			all = s
		}
		if !slices.Equal(s, all) {
			t.Errorf("%.20s: %v\nwant as for one that exists: %v", name, s, all)
		}
	}
	if all[0] != (seen{1, 1, door.ErrBadLogin.Error()}) || all[39].hashes != 0 {
		t.Errorf("got %v", all)
	}
	if err := r.try(from("192.0.2.1"), "Vi", ""); !errors.Is(err, door.ErrBadLogin) && waits(err) == 0 {
		t.Errorf("who has no password gets in without: %v", err)
	}
}

// TestCrowd: thousands at once. No more passwords are hashed than there are places for,
// and no more guesses are looked at than one after the other would be.
func TestCrowd(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	var wg sync.WaitGroup
	var looked atomic.Int64
	for i := range 2000 {
		wg.Go(func() {
			err := r.try(from(fmt.Sprintf("10.0.%d.%d", i/250, i%250)), "jo bright", "wrong")
			switch {
			case errors.Is(err, door.ErrBadLogin):
				looked.Add(1)
			case !errors.Is(err, door.ErrBusy) && waits(err) == 0:
				t.Errorf("unexpected: %v", err)
			}
		})
	}
	wg.Wait()
	if n := looked.Load(); n > 20 {
		t.Errorf("%d guesses were looked at, want at most 20", n)
	}
	if n := r.hashes.most.Load(); n > 2 {
		t.Errorf("%d passwords were hashed at once, want at most 2", n)
	}
}

// TestOneSource: a thousand attempts at once from one source are as many as one after the
// other.
func TestOneSource(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	before := r.hashes.calls.Load()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() { _ = r.try(from("192.0.2.1"), fmt.Sprint("name ", i), "wrong") })
	}
	wg.Wait()
	if n := r.hashes.calls.Load() - before; n > 5 {
		t.Errorf("%d passwords were hashed, want at most 5", n)
	}
}

// TestBusy: with every place taken strangers are told to come back, and who is known has
// a place of his own.
func TestBusy(t *testing.T) {
	t.Parallel()
	hang, begun := make(chan struct{}), make(chan struct{}, 100)
	var slow atomic.Bool
	quick := &counter{}
	m := doortest.New()
	r := newRig(t, m, func(o *door.Options) {
		o.Hash = func(password, salt []byte, a, b uint32, c uint8, n uint32) []byte {
			if slow.Load() && string(password) == "wrong" {
				begun <- struct{}{}
				<-hang
			}
			return quick.hash(password, salt, a, b, c, n)
		}
	})
	owner, err := r.LogIn(t.Context(), from("198.51.100.7"), door.Credentials{Name: "jo bright", Password: right})
	if err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	var wg sync.WaitGroup
	answers := make(chan error, 100)
	wg.Go(func() { answers <- r.try(from("10.0.0.1"), "x", "wrong") })
	<-begun // the only place of strangers is taken
	for i := range 20 {
		wg.Go(func() { answers <- r.try(from(fmt.Sprintf("10.0.1.%d", i)), fmt.Sprint("x", i), "wrong") })
	}
	for range 15 { // those that the queue has no room for
		if err := <-answers; !errors.Is(err, door.ErrBusy) {
			t.Errorf("a stranger too many: %v", err)
		}
	}
	if err := r.try(door.Client{Device: owner.Device}, "jo bright", right); err != nil {
		t.Errorf("the owner: %v", err)
	}
	close(hang)
	wg.Wait()
	kept, _ := m.Tallies(t.Context())
	for _, tally := range kept {
		if tally.Count > 1 {
			t.Errorf("who was told to come back has been counted: %+v", tally)
		}
	}
}

// TestDevice: a mark is good for its user alone, for a year, and only as it was made.
func TestDevice(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	e, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: right})
	if err != nil {
		t.Fatal(err)
	}
	if e.Session.Known || !r.Knows(e.Device) {
		t.Errorf("known before: %t, after: %t", e.Session.Known, r.Knows(e.Device))
	}
	again, err := r.LogIn(t.Context(), door.Client{Device: e.Device}, door.Credentials{Name: "jo bright", Password: right})
	if err != nil || !again.Session.Known {
		t.Errorf("known: %t, %v", again.Session.Known, err)
	}
	for i := range len(e.Device) {
		b := []byte(e.Device)
		b[i] ^= 1
		if r.Knows(string(b)) && i < len(b)-1 { // the last digit of base64 has bits to spare
			t.Errorf("a mark with another byte %d is known", i)
		}
	}
	for _, bad := range []string{"", ".", "...", e.Device + ".", strings.Repeat("x", 10_000), e.Device[:len(e.Device)-1]} {
		if r.Knows(bad) {
			t.Errorf("%.30q is known", bad)
		}
	}
	if _, err := r.Create(t.Context(), "Vi", ledger.RoleViewer, right); err != nil {
		t.Fatal(err)
	}
	for i := range 30 { // Vi is braked for strangers, and Jo's mark is a stranger's to her
		_ = r.try(from(fmt.Sprintf("10.0.0.%d", i)), "vi", "wrong")
	}
	if err := r.try(door.Client{Address: netip.MustParseAddr("10.9.9.9"), Device: e.Device}, "vi", right); waits(err) == 0 {
		t.Errorf("with the mark of another user: %v", err)
	}
	for range 5 { // a stolen mark has five attempts, and costs no one else one
		_ = r.try(door.Client{Device: e.Device}, "jo bright", "wrong")
	}
	if err := r.try(door.Client{Device: e.Device}, "jo bright", right); waits(err) != 5*time.Minute {
		t.Errorf("a device that has failed: %v", err)
	}
	if err := r.try(door.Client{Device: again.Device}, "jo bright", right); err != nil {
		t.Errorf("the other device: %v", err)
	}
	r.clock.forward(door.DeviceTTL + time.Second)
	if r.Knows(e.Device) {
		t.Error("a mark is known for ever")
	}
}

// TestModelOfBrake does anything in any order and compares with a plain count: nobody who
// has to wait is looked at, however little room there is.
func TestModelOfBrake(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, doortest.New(), func(o *door.Options) { o.Sources = 40 })
	until := map[string]time.Time{} // by source, as it was told
	for i := range 20_000 {
		if rnd.IntN(4) == 0 {
			r.clock.forward(time.Duration(rnd.IntN(int(time.Minute))))
		}
		if rnd.IntN(500) == 0 {
			r.open(t, func(o *door.Options) { o.Sources = 40 })
		}
		address := fmt.Sprintf("10.0.0.%d", rnd.IntN(60))
		hashed := r.hashes.calls.Load()
		err := r.try(from(address), fmt.Sprint("name ", rnd.IntN(1000)), "wrong")
		if looked := r.hashes.calls.Load() > hashed; looked && r.clock.now().Before(until[address]) {
			t.Fatalf("seed %d, attempt %d: %s was looked at %v too early", seed, i, address, until[address].Sub(r.clock.now()))
		}
		if d := waits(err); d > 0 && d > 10*time.Second { // not the brake of a name
			until[address] = r.clock.now().Add(d)
		}
		if n := r.Tallied(); n > 43 {
			t.Fatalf("seed %d: %d tallies", seed, n)
		}
	}
}

// TestLedger is the attack on a real ledger: what was counted survives, and of 3,000
// attempts there are a few entries that say how many they were.
func TestLedger(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/ledger.db"
	l, err := ledger.Open(t.Context(), path, migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := newRig(t, l)
	ctx := audit.With(t.Context(), audit.By{Address: "192.0.2.1"})
	for range 3000 {
		_, err := r.LogIn(ctx, from("192.0.2.1"), door.Credentials{Name: "secret-typed-as-name", Password: "secret-guess"})
		if !errors.Is(err, door.ErrBadLogin) && waits(err) == 0 {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = ledger.Open(t.Context(), path, migrations.FS, ledger.Options{}); err != nil {
		t.Fatal(err)
	}
	r.ledger = l
	r.open(t)
	if err := r.try(from("192.0.2.1"), "jo bright", right); waits(err) != 5*time.Minute {
		t.Errorf("after a restart: %v", err)
	}
	rows, err := l.Entries(t.Context(), ledger.EntryFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var attempts, entries int64
	for _, row := range rows {
		for _, secret := range []string{"secret-", right, "Jo Bright", "192.0.2.1"} {
			if strings.Contains(string(row.Leaf), secret) {
				t.Errorf("%s is in the leaf %s", secret, row.Leaf)
			}
		}
		leaf, err := audit.Parse(row.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if leaf.Kind == audit.Login && leaf.Outcome == audit.Refused {
			attempts, entries = attempts+leaf.Count, entries+1
		}
	}
	if attempts < 3000 || entries > 100 {
		t.Errorf("%d entries stand for %d attempts, want 3000", entries, attempts)
	}
	if err := r.SetPassword(t.Context(), r.jo, "another one", false); err != nil {
		t.Fatal(err)
	}
	if err := r.try(from("192.0.2.1"), "jo bright", "another one"); err != nil {
		t.Errorf("after the operator has set the password: %v", err)
	}
}
