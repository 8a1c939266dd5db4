package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// Acts is where acts and refusals are recorded; durable on return. Of an entry
// without a By the context says who has acted. What the other parts change is
// recorded by them.
type Acts interface {
	Record(ctx context.Context, e audit.Entry) error
	Refuse(ctx context.Context, e audit.Entry) error
	// AuditHead returns how far the chain has come, of what is durable.
	AuditHead() (origin string, h audit.Head)
	// Halted says why the chain takes no entries, with [audit.ErrHalted] in it; nil if
	// it takes them.
	Halted() error
}

// headHeader is the header, and of a stream the trailer, that says how far the
// audit chain has come.
const headHeader = "X-Eider-Audit-Head"

// adoption is the one act that is possible while the chain is halted: it ends that.
const adoption = "POST /api/audit/adopt"

// acts says whether a route changes something, or hands out all there is: what is
// recorded, and not done while nothing can be recorded.
func (rt route) acts() bool {
	method, path, _ := strings.Cut(rt.pattern, " ")
	switch rt.class {
	case control, entry, imports:
		return method != http.MethodGet
	case light:
		return rt.pattern == "POST /api/auth/logout"
	case streams:
		return !strings.HasPrefix(path, "/api/audit/")
	}
	return false
}

// always says whether a route is open while the chain is halted: who ends that must
// not be kept from it, nor from coming in to see why it is, nor who ends a session.
func (rt route) always() bool {
	switch rt.pattern {
	case adoption, "POST /api/auth/login", "POST /api/auth/passkey/begin", "POST /api/auth/passkey/finish",
		"POST /api/auth/logout", "DELETE /api/auth/sessions/{id}":
		return true
	}
	return false
}

// entrance says whether a route gives or takes away a session, and is open: another
// site's page must not use it in a browser's name.
func (rt route) entrance() bool {
	return rt.class == entry || rt.pattern == "POST /api/auth/logout"
}

// traced says whether it is noted of a route's requests who makes them, and that they
// were refused. Of the visitors of a site nobody may know.
func (rt route) traced() bool { return rt.class != single && rt.class != pages }

// takesEvents says whether a route takes events, which is no act: what Eider does in
// the course of it, as to make a site, it does by itself.
func (rt route) takesEvents() bool { return rt.class == single || rt.class == batch }

// Actors that are no key.
const (
	bootstrapActor = "key:bootstrap"
	localActor     = "local"         // this machine, without a key
	metricsActor   = "token:metrics" // whoever has the token of /metrics
	setupActor     = "setup"         // whoever has the set-up link
)

// actor says who makes a request: nobody that is known if it is "".
func (s *Server) actor(c *call) string {
	switch {
	case c.who == nil:
		return c.actor
	case c.who.visit != nil:
		return "user:" + c.who.visit.User.ID
	case c.who.link != nil:
		return linkActor(c.who.link)
	case c.who.id != "":
		return "key:" + c.who.id
	case s.o.Operator != "":
		return s.o.Operator
	}
	return bootstrapActor
}

// by says of a request who makes it, from where, and in the course of what.
func (s *Server) by(r *http.Request) audit.By {
	c := callOf(r)
	by := audit.By{Actor: s.actor(c), Agent: r.UserAgent(), Request: c.id, Trace: traceOf(r)}
	if c.client.IsValid() {
		by.Address = c.client.String()
	}
	return by
}

// traceOf returns the trace id of a traceparent header as W3C Trace Context has
// it, version 00 or later; "" if there is none that is valid.
func traceOf(r *http.Request) string {
	values := r.Header["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	parts := strings.SplitN(values[0], "-", 5)
	if len(parts) < 4 || !isHex(parts[0], 2) || !isHex(parts[1], 32) || !isHex(parts[2], 16) || !isHex(parts[3], 2) {
		return ""
	}
	if parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 || strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return ""
	}
	return parts[1]
}

// isHex says whether s is so many digits of lower-case hexadecimal.
func isHex(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" }

// tellHead sets the header that says how far the chain has come, when an answer
// begins: by then the act that it answers is in the chain.
func (s *Server) tellHead(h http.Header) {
	_, head := s.o.Acts.AuditHead()
	h.Set(headHeader, head.String())
}

// tellHeadLast says it in a trailer, of an answer that began while the act went on.
func (s *Server) tellHeadLast(h http.Header) {
	_, head := s.o.Acts.AuditHead()
	h.Set(http.TrailerPrefix+headHeader, head.String())
}

// refusedAs says whether an error is a refusal for want of a right, and as what it
// is recorded.
func (rt route) refusedAs(err error) (p *problem, ok bool) {
	if p = problemOf(err); p.recorded {
		return p, false
	}
	switch p.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return p, rt.traced()
	case http.StatusConflict: // a set-up link that has been used
		return p, rt.class == entry
	}
	return p, false
}

// refused records a refusal before it is answered. It is answered too if that
// cannot be done: whoever has no right gets none by it.
func (s *Server) refused(rt route, r *http.Request, err error) {
	p, ok := rt.refusedAs(err)
	if !ok {
		return
	}
	e := audit.Entry{Kind: audit.Refusal, Outcome: audit.Refused, By: s.by(r), Object: "route:" + rt.pattern, Reason: p.code}
	if c := callOf(r); c.spent != "" {
		e.Detail = map[string]string{"key": c.spent}
	}
	err = s.o.Acts.Refuse(context.WithoutCancel(r.Context()), e)
	if err != nil && !errors.Is(err, audit.ErrHalted) && !errors.Is(err, ledger.ErrFailed) { // readiness says these
		s.log.Error("refusal not recorded", "path", routeOf(rt.pattern), "request_id", callOf(r).id, "err", err)
	}
}

// during does what takes long between two entries: that it has begun, and what has
// become of it. do returns what the second says more than the first.
func (s *Server) during(ctx context.Context, e audit.Entry, do func() (map[string]string, error)) error {
	if err := s.begin(ctx, e); err != nil {
		return err
	}
	detail, err := do()
	return s.end(ctx, e, detail, err)
}

// begin records that an act begins.
func (s *Server) begin(ctx context.Context, e audit.Entry) error {
	e.Outcome = audit.Begun
	return s.o.Acts.Record(ctx, e)
}

// end records how an act that has begun ended, and returns err or why it could not
// be recorded. The client may have gone.
func (s *Server) end(ctx context.Context, e audit.Entry, detail map[string]string, err error) error {
	more := make(map[string]string, len(e.Detail)+len(detail))
	for _, m := range []map[string]string{e.Detail, detail} {
		for name, value := range m {
			more[name] = value
		}
	}
	e.Outcome, e.Detail = audit.Done, more
	if err != nil {
		// The text of an error may say what a client has sent; its code does not.
		e.Outcome, e.Reason = audit.Failed, problemOf(err).code
	}
	if unrecorded := s.o.Acts.Record(context.WithoutCancel(ctx), e); unrecorded != nil {
		return errors.Join(err, unrecorded)
	}
	return err
}
