package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// A route is one line of the list of everything that can be asked of a server.
// What openapi.json says of it is in the table operations.
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
	user  bool   // for who has logged in, whatever his role; no key will do
	peer  bool   // a route of Plausible's: whoever has no right is told in its words
	link  bool   // the visitor of a shared link may, of its site
	badge bool   // for who has the token of a badge, in the path; nothing else will do
}

var (
	open    = access{}
	admin   = access{scope: "admin", whole: true}
	stats   = access{scope: "stats"}
	shared  = access{scope: "stats", link: true} // what the dashboard asks of one site
	peer    = access{scope: "stats", peer: true}
	oneSite = access{scope: "admin"} // the handler asks whether the key is for the site
	reader  = access{scope: "stats", also: "admin"}
	someone = access{user: true}
	auditor = access{scope: "audit", also: "admin", whole: true}
)

// A class of routes shares a number of places. Whoever finds none is refused at
// once: memory is bounded by the places, not by the clients.
type class int

const (
	light      class = iota // answered from memory; no limit
	pages                   // likewise, and compressed
	single                  // one event
	batch                   // many events: each may hold 10 MiB
	imports                 // long
	queries                 // there is a queue behind this, in which askers take turns
	statements              // SQL: likewise, and each answer may hold 16 MiB
	streams                 // exports: long
	lives                   // live streams: as long as somebody listens
	control                 // everything an operator does
	entry                   // the way in: open, so that it must not share places with what is not
	regulars                // the same, for a browser that has been in
)

var slots = map[class]int{single: 1024, batch: 4, imports: 2, queries: 128, statements: 4, streams: 8, lives: 50, control: 16, entry: 8, regulars: 8}

var routes = []route{
	{"POST /api/event", open, single, (*Server).postEvent},
	{"GET /api/event", open, single, (*Server).pixel},
	{"OPTIONS /api/event", open, light, (*Server).preflight},
	{"POST /api/events", access{scope: "ingest"}, batch, (*Server).postEvents},
	{"POST /api/import", access{scope: "admin", also: "ingest"}, imports, (*Server).postImport},

	{"GET /api/stats/main", shared, queries, (*Server).statsMain},
	{"GET /api/stats/timeseries", shared, queries, (*Server).statsTimeseries},
	{"GET /api/stats/breakdown/{dim}", shared, queries, (*Server).statsBreakdown},
	{"POST /api/v2/query", peer, queries, (*Server).postQuery},
	{"GET /api/v1/stats/realtime/visitors", peer, queries, (*Server).v1Realtime},
	{"GET /api/v1/stats/aggregate", peer, queries, (*Server).v1Aggregate},
	{"GET /api/v1/stats/timeseries", peer, queries, (*Server).v1Timeseries},
	{"GET /api/v1/stats/breakdown", peer, queries, (*Server).v1Breakdown},
	{"GET /api/stats/sessions", shared, queries, (*Server).statsSessions},
	{"GET /api/stats/realtime", shared, queries, (*Server).statsRealtime},
	{"GET /api/stats/goals", shared, queries, (*Server).statsGoals},
	{"GET /api/stats/revenue", shared, queries, (*Server).statsRevenue},
	{"GET /api/stats/properties", shared, queries, (*Server).statsProperties},
	{"GET /api/stats/property-values", shared, queries, (*Server).statsPropertyValues},
	{"GET /api/stats/funnel", shared, queries, (*Server).statsFunnel},
	{"POST /api/stats/funnel", stats, queries, (*Server).postFunnel},
	{"GET /api/stats/retention", shared, queries, (*Server).statsRetention},
	{"GET /api/stats/sequences", stats, queries, (*Server).statsSequences},
	{"GET /api/stats/flow", shared, queries, (*Server).statsFlow},
	{"GET /api/stats/export", access{scope: "export"}, streams, (*Server).statsExport},
	{"GET /api/tail", stats, lives, (*Server).tail},
	{"POST /api/sql", access{scope: "sql", whole: true}, statements, (*Server).postSQL},

	{"GET /api/keys", admin, control, (*Server).listKeys},
	{"POST /api/keys", admin, control, (*Server).createKey},
	{"DELETE /api/keys/{id}", admin, control, (*Server).revokeKey},
	{"GET /api/sites", reader, control, (*Server).listSites},
	{"POST /api/sites", admin, control, (*Server).createSite},
	{"DELETE /api/sites/{domain}", oneSite, control, (*Server).removeSite},
	{"GET /api/sites/{domain}", oneSite, control, (*Server).showSite},
	{"PATCH /api/sites/{domain}", oneSite, control, (*Server).changeSite},
	{"GET /api/sites/{domain}/settings", oneSite, control, (*Server).showSettings},
	{"PATCH /api/sites/{domain}/settings", oneSite, control, (*Server).changeSettings},
	{"GET /api/goals", reader, control, (*Server).listGoals},
	{"POST /api/goals", oneSite, control, (*Server).createGoal},
	{"PATCH /api/goals/{id}", oneSite, control, (*Server).changeGoal},
	{"DELETE /api/goals/{id}", oneSite, control, (*Server).removeGoal},
	{"GET /api/segments", reader, control, (*Server).listSegments},
	{"POST /api/segments", oneSite, control, (*Server).createSegment},
	{"PATCH /api/segments/{id}", oneSite, control, (*Server).changeSegment},
	{"DELETE /api/segments/{id}", oneSite, control, (*Server).removeSegment},
	{"GET /api/annotations", reader, control, (*Server).listAnnotations},
	{"POST /api/annotations", oneSite, control, (*Server).createAnnotation},
	{"PATCH /api/annotations/{id}", oneSite, control, (*Server).changeAnnotation},
	{"DELETE /api/annotations/{id}", oneSite, control, (*Server).removeAnnotation},
	{"GET /api/links", oneSite, control, (*Server).listLinks},
	{"POST /api/links", oneSite, control, (*Server).createLink},
	{"PATCH /api/links/{id}", oneSite, control, (*Server).changeLink},
	{"DELETE /api/links/{id}", oneSite, control, (*Server).revokeLink},
	{"POST /api/gdpr/erase", oneSite, control, (*Server).erase},
	{"GET /api/parts", admin, control, (*Server).listParts},
	{"POST /api/parts/verify", admin, control, (*Server).verifyParts},
	{"POST /api/maintenance/{task}", admin, control, (*Server).maintain},

	{"GET /api/audit", auditor, control, (*Server).listEntries},
	{"GET /api/audit/checkpoint", auditor, control, (*Server).auditCheckpoint},
	{"GET /api/audit/tile/{path...}", auditor, control, (*Server).auditTile},
	{"GET /api/audit/proof/{seq}", auditor, control, (*Server).auditProof},
	{"GET /api/audit/report", auditor, control, (*Server).auditReport},
	{"GET /api/audit/export", auditor, streams, (*Server).auditExport},
	{"GET /api/audit/keys", auditor, control, (*Server).auditKeys},
	{"POST /api/audit/adopt", admin, control, (*Server).adopt},
	{"POST /api/audit/erase", admin, control, (*Server).forget},
	{"POST /api/audit/prune", admin, control, (*Server).prune},

	{"GET /api/auth/status", open, light, (*Server).authStatus},
	{"POST /api/auth/setup", open, entry, (*Server).authSetup},

	{"POST /api/auth/login", open, entry, (*Server).login},
	{"POST /api/auth/logout", open, light, (*Server).logout},

	{"POST /api/auth/invite", open, entry, (*Server).acceptInvitation},
	{"GET /api/auth/sessions", someone, control, (*Server).listSessions},
	{"DELETE /api/auth/sessions/{id}", someone, control, (*Server).endSession},
	{"POST /api/auth/password", someone, control, (*Server).changePassword},
	{"POST /api/auth/totp", someone, control, (*Server).beginTOTP},
	{"POST /api/auth/totp/confirm", someone, control, (*Server).confirmTOTP},
	{"DELETE /api/auth/totp", someone, control, (*Server).removeTOTP},
	{"GET /api/auth/passkeys", someone, control, (*Server).listPasskeys},
	{"POST /api/auth/passkeys/{id}", someone, control, (*Server).makePasskey}, // begin or finish
	{"DELETE /api/auth/passkeys/{id}", someone, control, (*Server).removePasskey},
	{"POST /api/auth/passkey/begin", open, entry, (*Server).beginEntry},
	{"POST /api/auth/passkey/finish", open, entry, (*Server).finishEntry},
	{"GET /api/users", admin, control, (*Server).listUsers},
	{"POST /api/users", admin, control, (*Server).createUser},
	{"PATCH /api/users/{id}", admin, control, (*Server).changeUser},
	{"DELETE /api/users/{id}", admin, control, (*Server).removeUser},

	{"GET /api/share", open, light, (*Server).showShare},
	{"POST /api/share", open, entry, (*Server).openShare},
	{"GET /share/{slug}", open, pages, (*Server).sharePage},
	{"GET /badge/{file}", access{badge: true}, queries, (*Server).badge},

	{"GET /health", open, light, (*Server).alive},
	{"GET /health/ready", open, light, (*Server).ready},
	{"GET /ready", open, light, (*Server).ready},
	{"GET /health/detailed", access{scope: anyScope, whole: true, local: true}, light, (*Server).detailed},
	{"GET /metrics", access{scope: "metrics", whole: true, local: true, token: true}, light, (*Server).metrics},

	{"GET /js/{file}", open, pages, (*Server).script},
	{"GET /openapi.json", open, pages, (*Server).openAPI},
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
		if rt.acts() {
			callOf(r).w.before = s.tellHead
		}
		if err := s.admit(rt, w, r); err != nil {
			s.refused(rt, r, err)
			s.fail(w, r, err)
		}
	}))
	switch rt.class {
	case pages, queries, statements, streams, control:
		h = s.compress(h)
	}
	return h
}

var errOverloaded = &problem{status: http.StatusServiceUnavailable, code: "overloaded", text: "too many requests of this kind at once; try again", retry: time.Second}

func (s *Server) admit(rt route, w http.ResponseWriter, r *http.Request) error {
	if err := s.authorize(rt.access, r); err != nil {
		return err
	}
	class := rt.class
	if rt.entrance() {
		if err := s.sameSite(r); err != nil {
			return err
		}
		if class == entry && s.o.Door.Knows(s.cookieOf(r, deviceCookie)) {
			class = regulars
		}
	}
	if rt.acts() && !rt.always() {
		if err := s.o.Acts.Halted(); err != nil {
			return err
		}
	}
	if rt.traced() && !rt.takesEvents() {
		r = r.WithContext(audit.With(r.Context(), s.by(r)))
	}
	if who := callOf(r).who; who != nil && who.link != nil {
		ctx, err := s.locked(r.Context(), who.link)
		if err != nil {
			return err
		}
		r = r.WithContext(ctx)
	}
	if rt.access == open && (rt.class == single || rt.class == entry) {
		client := callOf(r).client
		if !s.crowd.enter(class, client) {
			return errOverloaded
		}
		defer s.crowd.leave(class, client)
	}
	if rt.class == queries || rt.class == statements || rt.class == lives {
		m := member{class: rt.class, asker: askerOf(r)}
		if !s.crowd.add(m, 1, askerShare(rt.class)) {
			return errOverloaded
		}
		defer s.crowd.remove(m, 1)
		r = r.WithContext(event.WithAsker(r.Context(), m.asker))
	}
	if places := s.slots[class]; places != nil {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return errOverloaded
		}
	}
	return rt.handle(s, w, r)
}

// askerOf tells those apart who ask questions: by their keys, sessions and links.
func askerOf(r *http.Request) string {
	switch who := callOf(r).who; {
	case who == nil:
		return "local"
	case who.visit != nil:
		return "user:" + who.visit.User.ID
	case who.link != nil: // however many look at it
		return linkActor(who.link)
	case who.id == "":
		return "bootstrap"
	default:
		return who.id
	}
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
