package server

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A route is one line of the list of everything that can be asked of a server.
type route struct {
	pattern string // as http.ServeMux takes it: method and path
	access  access
	class   class
	handle  func(*Server, http.ResponseWriter, *http.Request) error
}

// An access says who may use a route.
type access struct {
	scope string // of the key; "" leaves the route open to everyone
	also  string // another scope that will do
	whole bool   // about more than one site: a key of a single site will not do
	local bool   // needs no key from this machine itself
	token bool   // the metrics token will do
}

var (
	open    = access{}
	admin   = access{scope: "admin", whole: true}
	stats   = access{scope: "stats"}
	oneSite = access{scope: "admin"} // the handler asks whether the key is for the site
)

// A class of routes shares a number of places. Whoever finds none is refused at
// once: memory is bounded by the places, not by the clients.
type class int

const (
	light   class = iota // answered from memory; no limit
	pages                // likewise, and compressed
	single               // one event
	batch                // many events: each may hold 10 MiB
	imports              // long
	queries              // the store has a queue of its own behind this
	streams              // exports: long
	control              // everything an operator does
	door                 // the way in: open, so that it must not share places with what is not
)

var slots = map[class]int{single: 1024, batch: 4, imports: 2, queries: 64, streams: 8, control: 16, door: 8}

var routes = []route{
	{"POST /api/event", open, single, (*Server).postEvent},
	{"GET /api/event", open, single, (*Server).pixel},
	{"OPTIONS /api/event", open, light, (*Server).preflight},
	{"POST /api/events", access{scope: "ingest"}, batch, (*Server).postEvents},
	{"POST /api/import", access{scope: "admin", also: "ingest"}, imports, (*Server).postImport},

	{"GET /api/stats/main", stats, queries, (*Server).statsMain},
	{"GET /api/stats/timeseries", stats, queries, (*Server).statsTimeseries},
	{"GET /api/stats/breakdown/{dim}", stats, queries, (*Server).statsBreakdown},
	{"GET /api/stats/export", access{scope: "export"}, streams, (*Server).statsExport},
	{"POST /api/sql", access{scope: "sql", whole: true}, queries, (*Server).postSQL},

	{"GET /api/keys", admin, control, (*Server).listKeys},
	{"POST /api/keys", admin, control, (*Server).createKey},
	{"DELETE /api/keys/{id}", admin, control, (*Server).revokeKey},
	{"GET /api/sites", oneSite, control, (*Server).listSites},
	{"POST /api/sites", admin, control, (*Server).createSite},
	{"DELETE /api/sites/{domain}", oneSite, control, (*Server).removeSite},
	{"POST /api/gdpr/erase", oneSite, control, (*Server).erase},
	{"GET /api/parts", admin, control, (*Server).listParts},
	{"POST /api/parts/verify", admin, control, (*Server).verifyParts},
	{"POST /api/maintenance/{task}", admin, control, (*Server).maintain},

	{"GET /api/auth/status", open, light, (*Server).authStatus},
	{"POST /api/auth/setup", open, door, (*Server).authSetup},

	{"GET /health", open, light, (*Server).alive},
	{"GET /health/ready", open, light, (*Server).ready},
	{"GET /ready", open, light, (*Server).ready},
	{"GET /health/detailed", access{scope: anyScope, whole: true, local: true}, light, (*Server).detailed},
	{"GET /metrics", access{scope: "metrics", whole: true, local: true, token: true}, light, (*Server).metrics},

	{"GET /robots.txt", open, light, (*Server).robots},
	{"GET /setup", open, pages, (*Server).setupPage},
	{"/", open, pages, (*Server).asset}, // with a method it would conflict with /api/
}

// mux serves the list, and answers for every path of it what methods it takes.
// Paths under /api/ that are not in the list are answered in JSON.
func (s *Server) mux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{"/api/": nil}
	for _, rt := range routes {
		mux.Handle(rt.pattern, s.route(rt))
		method, path, ok := strings.Cut(rt.pattern, " ")
		if !ok {
			continue
		}
		methods[path] = append(methods[path], method)
		if method == http.MethodGet {
			methods[path] = append(methods[path], http.MethodHead)
		}
	}
	for path, allowed := range methods {
		slices.Sort(allowed)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if len(allowed) == 0 {
				s.fail(w, r, refuse(http.StatusNotFound, "not_found", "there is no such path"))
				return
			}
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, r, refuse(http.StatusMethodNotAllowed, "method", "this path takes %s", strings.Join(allowed, ", ")))
		})
	}
	return mux
}

// route wraps a handler in what its line of the list asks for: first the key,
// so that strangers take no places of those who have one, then a place.
func (s *Server) route(rt route) http.Handler {
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.admit(rt, w, r); err != nil {
			s.fail(w, r, err)
		}
	}))
	switch rt.class {
	case pages, queries, streams, control:
		h = s.compress(h)
	}
	return h
}

var errOverloaded = &problem{status: http.StatusServiceUnavailable, code: "overloaded", text: "too many requests of this kind at once; try again", retry: time.Second}

func (s *Server) admit(rt route, w http.ResponseWriter, r *http.Request) error {
	if err := s.authorize(rt.access, r); err != nil {
		return err
	}
	if rt.access == open && (rt.class == single || rt.class == door) {
		client := s.o.Proxy.Client(r)
		if !s.crowd.enter(rt.class, client) {
			return errOverloaded
		}
		defer s.crowd.leave(rt.class, client)
	}
	if places := s.slots[rt.class]; places != nil {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return errOverloaded
		}
	}
	return rt.handle(s, w, r)
}

// routeOf returns the path of a pattern: the name under which a route is counted
// and logged.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	if pattern == "" {
		return "none"
	}
	return pattern
}
