package server

import (
	"net/netip"
	"sync"
)

// A crowd counts what each client does at once on the routes that are open to
// everyone, so that one client that sends its bodies a byte at a time does not
// take all places from the others; and what each key does on those of questions,
// so that others get as far as the queue, where everyone has his turn. It takes
// no more memory than there are places.
type crowd struct {
	mu     sync.Mutex
	inside map[member]int // without those that have none
}

// A member is one client or one key on one class of routes. An IPv6 client is a
// /64: it has as many addresses as it likes.
type member struct {
	class  class
	client netip.Prefix
	asker  string
}

// shareOf is how much of a class one client may have: an eighth.
func shareOf(c class) int { return slots[c] / 8 }

func memberOf(c class, client netip.Addr) member {
	bits := 64
	if client.Is4() {
		bits = 32
	}
	prefix, err := client.Prefix(bits)
	if err != nil { // no address: a Unix socket or a pipe
		return member{class: c}
	}
	return member{class: c, client: prefix}
}

// askerShare is how much of a class one key may have: three quarters.
func askerShare(c class) int { return slots[c] * 3 / 4 }

// enter says whether a client may have one more place. If it may, call leave.
func (c *crowd) enter(in class, client netip.Addr) bool {
	m, share := memberOf(in, client), shareOf(in)
	if !m.client.IsValid() {
		share = slots[in]
	}
	return c.add(m, 1, share)
}

// add says whether a member may have n more places, if it may have so many. If it
// may, call remove.
func (c *crowd) add(m member, n, share int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside[m]+n > share {
		return false
	}
	c.inside[m] += n
	return true
}

func (c *crowd) leave(in class, client netip.Addr) { c.remove(memberOf(in, client), 1) }

func (c *crowd) remove(m member, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside[m] -= n; c.inside[m] == 0 {
		delete(c.inside, m)
	}
}
