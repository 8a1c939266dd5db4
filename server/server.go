// Package server is Eider's HTTP side: it takes events in, answers questions
// about them, and lets an operator and his scripts look after the whole. It
// knows no store of its own: what it needs comes in as small interfaces.
//
// # Promise
//
// An event is answered 202 only after [Ingest] has said that it is durable. A
// route is closed to whoever has no credential for it: the list of routes says
// of each what it asks for, and there is no route outside of the list. With no
// key configured everything but ingest, health and the dashboard's files is
// closed. Whatever goes wrong in the middle of a stream breaks the connection
// off, so that a client never takes the half for the whole.
//
// A shared link opens the reports of one site, read only. If it is locked to a segment,
// every question of its visitors is, where questions leave this package.
//
// Memory is bounded whatever strangers do: so many connections, so many requests
// of each class, and of those that are open to everyone an eighth for one client; so
// many bytes of events.
//
// A client's address is taken from a header only as [Proxy] says. Neither the
// address nor the user agent nor a URL is logged or counted.
//
// # Who may call
//
// Only cmd. It opens the listener with [Listen], so that an IPv4 host is not
// reachable over IPv6, and calls [Server.Serve], which returns when its context
// is done and every request has been answered or cut off.
//
// # On disk
//
// Nothing. Keys and sites are in the ledger; which key was used when is written
// there once a minute and when Serve returns, and a crash loses at most that
// minute of it.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/tail"
)

// Options are what a [Server] is made of. All parts but Proxy, TLS, the secrets
// and the durations must be given.
type Options struct {
	Version string
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now
	Metrics *Metrics

	Ingest      Ingest
	Importer    Importer
	Reports     Reports
	Questions   Questions
	Exporter    Exporter
	Queryer     Queryer
	Eraser      Eraser
	History     History
	Keys        Keys
	Sites       Sites
	Settings    Settings
	Goals       Goals
	Segments    Segments
	Annotations Annotations
	Acts        Acts
	Trail       Trail
	Custody     Custody
	Door        *door.Door
	Tail        *tail.Tap
	Health      Health
	Assets      fs.FS // what the browser gets: index.html and what it loads
	Tracker     fs.FS // js/*.js, of which the scripts for sites are made

	ScriptPath string // another path of /js/eider.js; "" for none
	EventPath  string // another path of /api/event, to which the scripts then send; "" for none

	Proxy         *Proxy
	APIKey        string   // bootstrap key with every scope; "" for none
	Operator      string   // what the audit chain calls who has APIKey; "" is key:bootstrap
	MetricsTokens []string // each opens /metrics; none leaves it to loopback and to keys
	Origin        string   // where browsers reach us, such as https://stats.example.com; "" is wherever they do
	SecureCookies bool     // cookies are for TLS only
	Secure        bool     // browsers reach us over TLS, here or at a proxy: sends HSTS
	TLS           *tls.Config

	EventRoom int64 // most bytes of single events at once; 0 means 64 MiB, which every place of theirs may fill
	BatchRoom int64 // the same of batches, at least one's; 0 means 40 MiB

	BodyTimeout time.Duration // longest a body may take, and a stream may stand still; 0 means 15 s
	Drain       time.Duration // longest Serve waits for running requests; 0 means 10 s
}

// Health says how the process is.
type Health interface {
	// Reasons says why the process is not ready, one a line; none if it is.
	Reasons(ctx context.Context) []string
	// Details is what GET /health/detailed shows beside status, version and
	// uptime: buffered, durable and published seq, disk, parts, last shutdown.
	Details(ctx context.Context) map[string]any
}

// A Server answers requests. It is safe for concurrent use.
type Server struct {
	o         Options
	log       *slog.Logger
	now       func() time.Time
	started   time.Time
	handler   http.Handler
	keys      *keyring
	setup     *setup
	origin    *http.CrossOriginProtection
	assets    map[string]asset
	scripts   *scripts
	aliases   aliases
	document  asset // openapi.json
	slots     map[class]chan struct{}
	crowd     crowd
	singles   *publicRoom
	batches   room
	compress  func(http.Handler) http.HandlerFunc
	conns     int // most connections of a listener
	pace      pace
	heartbeat time.Duration // of live streams
	patience  time.Duration // with who reads one
	reads     readers
	draining  atomic.Bool
	stopping  chan struct{}  // closed by Drain: live streams end
	joining   sync.Mutex     // held to change draining, and to add to listeners
	listeners sync.WaitGroup // live streams; none is added while the server drains
}

// New returns a server. It reads the keys and the assets, and starts nothing.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 15 * time.Second
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	for _, token := range o.MetricsTokens {
		if token == "" {
			return nil, errors.New("metrics token is empty; make one with: openssl rand -hex 32")
		}
	}
	o.Questions, o.Reports = lockedQuestions{o.Questions}, lockedReports{o.Reports}
	s := &Server{o: o, log: o.Log, now: o.Now, started: o.Now(), conns: mostConns(), pace: exportPace, heartbeat: heartbeat, patience: tailPatience, setup: newSetup(o.Now()), stopping: make(chan struct{})}
	var err error
	if s.keys, err = openKeyring(ctx, o.Keys, o.APIKey, o.Now); err != nil {
		return nil, err
	}
	if s.origin, err = newOrigin(o.Origin); err != nil {
		return nil, fmt.Errorf("dashboard origin: %w", err)
	}
	if s.assets, err = loadAssets(o.Assets); err != nil {
		return nil, fmt.Errorf("load assets: %w", err)
	}
	if s.scripts, err = openScripts(o.Tracker, cmp.Or(o.EventPath, eventPath)); err != nil {
		return nil, fmt.Errorf("make the tracker: %w", err)
	}
	if s.aliases, err = newAliases(o.ScriptPath, o.EventPath, s.assets); err != nil {
		return nil, err
	}
	if s.document, err = openDocument(o.Version); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	if s.compress, err = compressor(); err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	s.crowd.inside = map[member]int{}
	s.singles = newPublicRoom(cmp.Or(o.EventRoom, int64(slots[single])*maxEvent))
	s.batches.give(max(cmp.Or(o.BatchRoom, int64(slots[batch])*maxBatch), maxBatch))
	s.slots = make(map[class]chan struct{}, len(slots))
	for c, n := range slots {
		s.slots[c] = make(chan struct{}, n)
	}
	s.handler = s.observed(s.mux())
	return s, nil
}

// Handler returns the whole of the server without its listener.
func (s *Server) Handler() http.Handler { return s.handler }

// Listen opens the TCP listener of host and port. For an IPv4 host it takes no
// IPv6 connections, which "tcp" would for 0.0.0.0: over IPv6 a neighbour on
// Fly's private network could reach us past the proxy and forge its header.
func Listen(host string, port int) (net.Listener, error) {
	network := "tcp"
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() {
		network = "tcp4"
	}
	return net.Listen(network, net.JoinHostPort(host, strconv.Itoa(port)))
}

// Drain makes readiness fail with "draining", so that a load balancer sends no
// more, and ends live streams, while requests are still answered. Serve drains by
// itself when its context is done; call Drain to leave time between the two.
func (s *Server) Drain() {
	s.joining.Lock()
	defer s.joining.Unlock()
	if s.draining.CompareAndSwap(false, true) {
		close(s.stopping)
	}
}

// Serve answers requests from ln until ctx is done. Then it takes no more, waits
// for those that run, and cuts off what is left after Options.Drain. It returns
// nil after a stop and an error if the listener fails.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	used, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { s.flushEvery(used, time.Minute, "last use of keys not written", s.keys.flush) })
	done.Go(func() { s.flushEvery(used, time.Minute, "last use of sessions not written", s.o.Door.Flush) })
	defer func() {
		stop()
		done.Wait()
	}()
	return s.serve(ctx, ln, s.handler)
}

// flushEvery calls flush until ctx is done, and then once more. What goes wrong is
// logged and tried again the next time.
func (s *Server) flushEvery(ctx context.Context, every time.Duration, wrong string, flush func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
		if err := flush(context.WithoutCancel(ctx)); err != nil {
			s.log.Warn(wrong, "err", err)
		}
	}
}

// ServeMetrics is [Server.Serve] for a listener of its own that answers nothing
// but /metrics and asks for no token: bind it where only a scraper comes.
func (s *Server) ServeMetrics(ctx context.Context, ln net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.o.Metrics.handler)
	return s.serve(ctx, ln, mux)
}

func (s *Server) serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	// Requests outlive ctx, for as long as the drain; then base ends them.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	hs := &http.Server{
		Handler:           h,
		TLSConfig:         s.o.TLS,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       s.o.BodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         newGate(s.conns).changed,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(quiet{s.log.Handler()}, slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() {
		if s.o.TLS != nil {
			failed <- hs.ServeTLS(ln, "", "")
			return
		}
		failed <- hs.Serve(ln)
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.Drain()
	deadline, cancel := context.WithTimeout(base, s.o.Drain)
	defer cancel()
	err := hs.Shutdown(deadline)
	if err == nil {
		err = s.listened(deadline) // it knows nothing of connections that have become WebSockets
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests cut off", "elapsed", s.o.Drain)
		cut()
		err = hs.Close()
	}
	<-failed
	s.listeners.Wait() // what was cut off ends at once
	return err
}

// quiet leaves the text of net/http's messages out: they hold addresses.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	return q.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, "connection failed", 0))
}
