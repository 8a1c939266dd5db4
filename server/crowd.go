package server

import (
	"net/netip"
	"sync"
)

// A crowd counts what each client does at once on the routes that are open to
// everyone, so that one client that sends its bodies a byte at a time does not
// take all places from the others. It takes no more memory than there are
// places.
type crowd struct {
	mu     sync.Mutex
	inside map[member]int // without those that have none
}

// A member is one client on one class of routes. An IPv6 client is a /64: it has
// as many addresses as it likes.
type member struct {
	class  class
	client netip.Prefix
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
	return member{c, prefix}
}

// enter says whether a client may have one more place. If it may, call leave.
func (c *crowd) enter(in class, client netip.Addr) bool {
	m := memberOf(in, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.client.IsValid() && c.inside[m] >= shareOf(in) {
		return false
	}
	c.inside[m]++
	return true
}

func (c *crowd) leave(in class, client netip.Addr) {
	m := memberOf(in, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside[m]--; c.inside[m] == 0 {
		delete(c.inside, m)
	}
}
