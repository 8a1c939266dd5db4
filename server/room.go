package server

import (
	"io"
	"net/netip"
	"sync/atomic"
)

// A room is how many bytes of bodies with events there is memory for at once, however
// many requests they are. Whoever finds none is told to come again: while he waited, what
// was read of his body would be kept.
type room struct{ left atomic.Int64 }

// take takes so many bytes of the room, and says false if they are not there. Who has
// taken them gives them back.
func (r *room) take(n int64) bool {
	if r.left.Add(-n) >= 0 {
		return true
	}
	r.left.Add(n)
	return false
}

func (r *room) give(n int64) { r.left.Add(n) }

// A publicRoom is one for bodies that anyone may send: one client has an eighth of it, as
// of the places, or who sends his bodies a byte at a time would keep all others out.
type publicRoom struct {
	room
	share int
	crowd crowd // of bytes
}

func newPublicRoom(size int64) *publicRoom {
	r := &publicRoom{share: int(max(size/8, maxEvent)), crowd: crowd{inside: map[member]int{}}}
	r.room.give(size)
	return r
}

func (r *publicRoom) take(client netip.Addr, n int64) bool {
	m := memberOf(single, client)
	if m.client.IsValid() && !r.crowd.add(m, int(n), r.share) {
		return false
	}
	if !r.room.take(n) {
		r.leave(m, n)
		return false
	}
	return true
}

func (r *publicRoom) give(client netip.Addr, n int64) {
	r.room.give(n)
	r.leave(memberOf(single, client), n)
}

func (r *publicRoom) leave(m member, n int64) {
	if m.client.IsValid() {
		r.crowd.remove(m, int(n))
	}
}

// A roomed body takes room as it is read, and gives it back when it is closed: whoever
// reads it closes it when he has no more to do with what he read.
type roomed struct {
	io.ReadCloser
	room  *room
	taken int64
}

func (b *roomed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.room.take(int64(n)) {
		return 0, errOverloaded
	}
	b.taken += int64(n)
	return n, err
}

func (b *roomed) Close() error {
	b.room.give(b.taken)
	b.taken = 0
	return b.ReadCloser.Close()
}
