package sink

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/audit/sink/sinktest"
)

// A proxy stands between a copier and a server, and can be in the way.
type proxy struct {
	ln     net.Listener
	socket string // of the server

	mu    sync.Mutex
	fault fault
	cuts  int // connections that were cut by the fault
	open  map[net.Conn]bool
}

// A fault is what a proxy does.
type fault struct {
	delay  time.Duration // of every chunk
	cut    bool          // cut the connection …
	after  int           // … when so many bytes have come
	up     bool          // … from the client, not from the server
	commit bool          // or cut it when the server says that what was inserted is committed
}

func newProxy(t testing.TB, c *sinktest.Cluster) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, socket: filepath.Join(c.Dir, ".s.PGSQL.5432"), open: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.cutAll()
		running.Wait()
	})
	return p
}

// url returns that of a database behind the proxy.
func (p *proxy) url(direct string) string {
	return direct[:strings.Index(direct, "@")+1] + p.ln.Addr().String() + direct[strings.Index(direct, "@/")+1:strings.Index(direct, "?")] + "?sslmode=disable"
}

// set changes the fault.
func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *proxy) cutSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	end := func() {
		client.Close()
		server.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client, true); end() })
	both.Go(func() { p.pass(client, server, false); end() })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, client)
	delete(p.open, server)
}

// pass copies from one to the other, until the fault ends it.
func (p *proxy) pass(to, from net.Conn, up bool) {
	buf := make([]byte, 4096)
	inserted := false
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		inserted = inserted || bytes.Contains(buf[:n], []byte("INSERT 0 "))
		pass, cut, delay := p.judge(buf[:n], up, inserted)
		time.Sleep(delay)
		if _, err := to.Write(buf[:pass]); err != nil || cut {
			return
		}
	}
}

// judge returns how much of a chunk goes on, and whether it is the last.
func (p *proxy) judge(chunk []byte, up, inserted bool) (pass int, cut bool, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.fault
	switch {
	case f.commit && !up && inserted && bytes.Contains(chunk, []byte("COMMIT\x00")):
		f.commit = false
		p.cuts++
		return 0, true, 0
	case f.cut && f.up == up && f.after < len(chunk):
		f.cut = false
		p.cuts++
		return f.after, true, 0
	case f.cut && f.up == up:
		f.after -= len(chunk)
	}
	return len(chunk), false, f.delay
}
