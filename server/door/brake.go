package door

import (
	"cmp"
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// How a name is braked for strangers: beyond so many attempts that have failed,
// whoever they were of, one may try every ten seconds. It is no lock: the owner of the
// name is not told to come back tomorrow, and from a device that is known he is not
// braked at all.
const (
	brakeAfter = 20
	brakeEvery = 10 * time.Second
)

const (
	forget      = 15 * time.Minute // after the last failure, or the end of the wait
	longestWait = time.Hour        // of a source, unless the first wait is longer
	netFactor   = 10               // a /48 may fail so many times as often as a /64
)

// A lane is what an attempt counts for, and how many failures are free.
type lane struct {
	key         string // sort and keyed hash
	free        int64
	first, most time.Duration
}

// A brake counts attempts that have failed. An attempt counts as failed from its
// beginning, so that a thousand at once are a thousand.
type brake struct {
	key []byte
	o   Options

	mu    sync.Mutex // guards the fields below
	seen  map[string]*list.Element
	order *list.List // of *ledger.Tally, the oldest first
	owed  []string   // keys that are forgotten, and that the ledger was not told of
}

func newBrake(key []byte, o Options, tallies []ledger.Tally) *brake {
	b := &brake{key: key, o: o, seen: map[string]*list.Element{}, order: list.New()}
	slices.SortStableFunc(tallies, func(x, y ledger.Tally) int { return cmp.Compare(x.Last, y.Last) })
	for _, t := range tallies {
		b.put(t)
	}
	for len(b.seen) > o.Sources { // there were more when it stopped
		e := b.victim(o.Now())
		if e == nil {
			break
		}
		b.owed = append(b.owed, b.drop(e))
	}
	return b
}

func (b *brake) put(t ledger.Tally) *ledger.Tally {
	b.seen[t.Key] = b.order.PushBack(&t)
	return &t
}

func (b *brake) hash(sort, what string) string {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(sort + "\x00" + what))
	return sort + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:15])
}

// lanes returns what an attempt counts for. A device that is known to the user of the
// name counts for itself alone.
func (b *brake) lanes(name string, address netip.Addr, device string) []lane {
	n := int64(b.o.Attempts)
	most := max(longestWait, b.o.Lockout)
	if device != "" {
		return []lane{{b.hash("device", device), n, b.o.Lockout, most}}
	}
	var all []lane
	for _, p := range sources(address) {
		all = append(all, lane{b.hash("source", p.of), n * p.factor, b.o.Lockout, most})
	}
	if name != "" {
		all = append(all, lane{b.hash("account", strings.ToLower(name)), brakeAfter, brakeEvery, brakeEvery})
	}
	return all
}

// linkLanes returns what an attempt at the password of a shared link counts for.
func (b *brake) linkLanes(id int64, address netip.Addr) []lane {
	link := "link\x00" + strconv.FormatInt(id, 10) // nobody is called that
	all := []lane{{b.hash("account", link), brakeAfter, brakeEvery, brakeEvery}}
	for _, p := range sources(address) {
		all = append(all, lane{b.hash("source", "link\x00"+p.of), int64(b.o.Attempts) * p.factor, b.o.Lockout, max(longestWait, b.o.Lockout)})
	}
	return all
}

type sourceOf struct {
	of     string
	factor int64
}

// sources returns the networks that an address is of: who has one IPv6 address has
// 2^64.
func sources(a netip.Addr) []sourceOf {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return []sourceOf{{"none", 1}}
	case a.Is4():
		return []sourceOf{{a.String(), 1}}
	}
	host, _ := a.Prefix(64)
	site, _ := a.Prefix(48)
	return []sourceOf{{host.String(), 1}, {site.String(), netFactor}}
}

// An attempt is one that has begun, and counts as failed until it is taken back.
type attempt struct {
	brake  *brake
	lanes  []lane
	gone   []string // keys that were forgotten for it
	locked bool     // from now on: this was the last free one of a source or a device
}

// begin counts an attempt, or says how long it has to wait.
func (b *brake) begin(lanes []lane) (a *attempt, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.o.Now()
	for i := range lanes {
		t, key := b.find(lanes[i], now)
		lanes[i].key = key
		if t != nil {
			wait = max(wait, b.waitOf(t, lanes[i], now))
		}
	}
	if wait > 0 {
		return nil, wait
	}
	a = &attempt{brake: b, lanes: lanes, gone: b.owed}
	b.owed = nil
	for _, l := range lanes {
		e := b.seen[l.key]
		if e == nil {
			a.gone = append(a.gone, b.room(now)...)
			b.put(ledger.Tally{Key: l.key})
			e = b.seen[l.key]
		}
		t := e.Value.(*ledger.Tally)
		if stale(t, now) {
			t.Count = 0
		}
		t.Count, t.Last = t.Count+1, now.UnixMicro()
		if over := t.Count - l.free; over >= 0 {
			d := l.most
			if over < 20 {
				d = min(l.most, l.first<<over)
			}
			t.Until = now.Add(d).UnixMicro()
			a.locked = a.locked || !strings.HasPrefix(l.key, "account:")
		}
		b.order.MoveToBack(e)
	}
	return a, 0
}

// find returns the tally of a lane, and under which key it is counted: when there is no
// room for one of its own, all that are like it share one.
func (b *brake) find(l lane, now time.Time) (*ledger.Tally, string) {
	if e := b.seen[l.key]; e != nil {
		return e.Value.(*ledger.Tally), l.key
	}
	if len(b.seen) < b.o.Sources || b.victim(now) != nil {
		return nil, l.key
	}
	sort, _, _ := strings.Cut(l.key, ":")
	key := sort + ":others"
	if e := b.seen[key]; e != nil {
		return e.Value.(*ledger.Tally), key
	}
	return nil, key
}

// waitOf is how long a tally lets nobody try. A clock that was set back makes nobody
// wait longer than is possible.
func (b *brake) waitOf(t *ledger.Tally, l lane, now time.Time) time.Duration {
	return min(time.UnixMicro(t.Until).Sub(now), l.most)
}

// stale says whether a tally is of no account any more.
func stale(t *ledger.Tally, now time.Time) bool {
	return now.Sub(time.UnixMicro(max(t.Last, t.Until))) > forget
}

// victim returns the tally that can be forgotten first: one of nobody who has to wait,
// looked for among the oldest.
func (b *brake) victim(now time.Time) *list.Element {
	looked := 0
	for e := b.order.Front(); e != nil && looked < 100; e = e.Next() {
		if t := e.Value.(*ledger.Tally); t.Until <= now.UnixMicro() {
			return e
		}
		looked++
	}
	return nil
}

// room forgets a tally if there are too many, and some that are of no account. Those
// that several share are the only ones beyond the bound.
func (b *brake) room(now time.Time) (gone []string) {
	for range 4 {
		e := b.order.Front()
		if e == nil || !stale(e.Value.(*ledger.Tally), now) {
			break
		}
		gone = append(gone, b.drop(e))
	}
	if len(b.seen) < b.o.Sources {
		return gone
	}
	if e := b.victim(now); e != nil {
		gone = append(gone, b.drop(e))
	}
	return gone
}

func (b *brake) drop(e *list.Element) string {
	t := b.order.Remove(e).(*ledger.Tally)
	delete(b.seen, t.Key)
	return t.Key
}

// failed returns the tallies as they are, to be kept.
func (a *attempt) failed() []ledger.Tally {
	a.brake.mu.Lock()
	defer a.brake.mu.Unlock()
	var all []ledger.Tally
	for _, l := range a.lanes {
		if e := a.brake.seen[l.key]; e != nil {
			all = append(all, *e.Value.(*ledger.Tally))
		}
	}
	return all
}

// undo takes an attempt back that was no guess.
func (a *attempt) undo() []ledger.Tally {
	a.brake.mu.Lock()
	defer a.brake.mu.Unlock()
	var all []ledger.Tally
	for _, l := range a.lanes {
		e := a.brake.seen[l.key]
		if e == nil {
			continue
		}
		t := e.Value.(*ledger.Tally)
		t.Count = max(0, t.Count-1)
		t.Until = min(t.Until, a.brake.o.Now().UnixMicro())
		all = append(all, *t)
	}
	return all
}

// cancel is undo for what is not kept in the ledger.
func (a *attempt) cancel() {
	a.undo()
	a.brake.mu.Lock()
	defer a.brake.mu.Unlock()
	a.brake.owed = append(a.brake.owed, a.gone...)
}

// succeeded forgets the failures of the source or the device, and takes the attempt on
// the account back: what strangers have tried there goes on to count.
func (a *attempt) succeeded() (all []ledger.Tally) {
	all = a.undo()
	a.brake.mu.Lock()
	defer a.brake.mu.Unlock()
	for i, t := range all {
		if strings.HasPrefix(t.Key, "account:") || strings.HasSuffix(t.Key, ":others") {
			continue
		}
		if e := a.brake.seen[t.Key]; e != nil {
			a.brake.drop(e)
		}
		all[i] = ledger.Tally{Key: t.Key}
	}
	return all
}

// clear forgets everything.
func (b *brake) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.seen)
	b.order.Init()
}

// size is how many tallies there are.
func (b *brake) size() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen)
}

// Tallied is how many sources, names and devices are remembered for having failed.
func (d *Door) Tallied() int { return d.brake.size() }
