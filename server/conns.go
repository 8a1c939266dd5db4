package server

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// mostConns returns how many connections a listener keeps: as many as there are
// places twice over, and half of the files that the process may open at most,
// because the stores open files too. A connection takes 14 KiB, whoever has it.
func mostConns() int {
	const most = 2048
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur/2 > most {
		return most
	}
	return int(files.Cur / 2)
}

// A gate bounds the connections of a listener. When one too many comes, the one
// that has been idle longest is closed for it, as its client expects of a
// connection it keeps for later. When none is idle, the new one is closed. One that
// has become a WebSocket is not counted any more: it has a place.
type gate struct {
	most int

	mu   sync.Mutex                 // guards the fields below
	open map[net.Conn]*list.Element // its place in idle; nil while it has a request
	idle *list.List                 // of net.Conn, the longest idle first
}

func newGate(most int) *gate {
	return &gate{most: most, open: map[net.Conn]*list.Element{}, idle: list.New()}
}

// changed is the server's [http.Server.ConnState].
func (g *gate) changed(conn net.Conn, state http.ConnState) {
	if surplus := g.note(conn, state); surplus != nil {
		sever(surplus)
	}
}

// sever closes a connection without a word. Its goroutine sees it and ends.
func sever(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn() // or Close would wait for a client to read its farewell
	}
	_ = conn.Close()
}

// note keeps account of a connection and returns the one to close, if any.
func (g *gate) note(conn net.Conn, state http.ConnState) (surplus net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	place, known := g.open[conn]
	if place != nil {
		g.idle.Remove(place)
	}
	switch {
	case state == http.StateNew:
		g.open[conn] = nil
	case state == http.StateClosed || state == http.StateHijacked || !known:
		delete(g.open, conn)
	case state == http.StateIdle:
		g.open[conn] = g.idle.PushBack(conn)
	default:
		g.open[conn] = nil
	}
	if len(g.open) <= g.most {
		return nil
	}
	surplus = conn
	if first := g.idle.Front(); first != nil {
		surplus = g.idle.Remove(first).(net.Conn)
	}
	delete(g.open, surplus)
	return surplus
}
