package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
)

// A call is what is known of a request while it runs.
type call struct {
	id     string     // X-Request-ID
	who    *identity  // whose key it came with; nil without one
	w      *recorder  // the writer under all others
	client netip.Addr // who sent it, as far as can be told

	actor string // who sent it, where there is no key
	spent string // id of the key it came with, if that has expired or was revoked
}

type callKey struct{}

func callOf(r *http.Request) *call { return r.Context().Value(callKey{}).(*call) }

// A recorder notes how a request was answered.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the answer has begun
	bytes  int64
	before func(http.Header) // if not nil, called when the answer begins
}

// begin notes that the answer begins, if it has not.
func (w *recorder) begin(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if w.before != nil {
		w.before(w.Header())
	}
}

func (w *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols { // the others come before an answer
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered; gzhttp looks for it.
func (w *recorder) Flush() {
	w.begin(http.StatusOK)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController find the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observed wraps every request, found in the list or not: it gives it an id and
// the security headers, counts it, and survives its panic.
func (s *Server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		r = s.aliases.resolve(r)
		c := &call{id: requestID(r), w: &recorder{ResponseWriter: w}, client: s.o.Proxy.Client(r)}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		s.secure(w.Header(), r)
		w.Header()["X-Request-Id"] = []string{c.id}
		s.o.Metrics.inFlight.Inc()
		defer func() { // runs for a panic too, and after recovered has answered it
			s.o.Metrics.inFlight.Dec()
			elapsed := time.Since(start)
			s.o.Metrics.request(r.Pattern, r.Method, c.w.status, elapsed)
			if s.log.Enabled(r.Context(), slog.LevelDebug) {
				s.log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("path", routeOf(r.Pattern)), slog.Int("status", c.w.status),
					slog.Int64("bytes", c.w.bytes), slog.Duration("elapsed", elapsed), slog.String("request_id", c.id))
			}
		}()
		defer s.recovered(c, r)
		next.ServeHTTP(c.w, r)
	})
}

// recovered answers a panic with 500, or breaks off an answer that has begun.
func (s *Server) recovered(c *call, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		if c.w.status == 0 {
			c.w.status = gone
		}
		panic(http.ErrAbortHandler)
	}
	s.o.Metrics.panics.Inc()
	s.log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("path", routeOf(r.Pattern)), slog.String("request_id", c.id),
		slog.String("err", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if c.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	c.w.Header().Del("Content-Encoding")
	p := &problem{status: http.StatusInternalServerError, code: "internal", text: "internal error"}
	writeJSON(c.w, p.status, p.body(c.id))
}

// requestID returns the client's own id of the request if it can be shown and
// logged, and else a new one.
func requestID(r *http.Request) string {
	ids := r.Header["X-Request-Id"]
	if len(ids) != 1 || ids[0] == "" || len(ids[0]) > 128 {
		return rand.Text()
	}
	for _, b := range []byte(ids[0]) {
		if b <= ' ' || b > '~' {
			return rand.Text()
		}
	}
	return ids[0]
}

const (
	pagePolicy = ownPolicy + "; frame-ancestors 'none'"
	// Of what pages of others may show in a frame: there is nothing to click that does
	// more than look.
	framedPolicy = ownPolicy + "; frame-ancestors *"
	ownPolicy    = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
		"frame-src 'self'; form-action 'self'; base-uri 'none'; require-trusted-types-for 'script'"
	dataPolicy = "default-src 'none'; frame-ancestors 'none'"
)

// A header is one that many answers have. The value is shared by all of them: it
// may be replaced, but not written to.
type header struct {
	name  string
	value []string
}

func headers(pairs ...string) (list []header) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, header{pairs[i], []string{pairs[i+1]}})
	}
	return list
}

var (
	// always are the headers of every answer that a browser might show. What is
	// right for data is the default; a page widens it.
	always = headers(
		"Content-Security-Policy", dataPolicy,
		"X-Content-Type-Options", "nosniff",
		"X-Frame-Options", "DENY",
		"Referrer-Policy", "no-referrer",
		"Cross-Origin-Opener-Policy", "same-origin",
		"Cross-Origin-Resource-Policy", "same-origin",
		"Permissions-Policy", "geolocation=(), microphone=(), camera=()",
		"Cache-Control", "no-store",
	)
	// beacon are those of /api/event, which any page may call and whose answer is
	// a word or a picture. It is asked for thousands of times a second, and every
	// header costs both sides: those that only a document obeys are left out.
	beacon = headers(
		"X-Content-Type-Options", "nosniff",
		"Cross-Origin-Resource-Policy", "cross-origin",
		"Cache-Control", "no-store",
		"Access-Control-Allow-Origin", "*",
	)
	hsts = headers("Strict-Transport-Security", "max-age=31536000")
)

func (h header) set(in http.Header) { in[h.name] = h.value }

// secure sets the headers of every answer.
func (s *Server) secure(h http.Header, r *http.Request) {
	list := always
	if r.URL.Path == eventPath {
		list = beacon
	}
	for _, x := range list {
		x.set(h)
	}
	if s.o.Secure || r.TLS != nil {
		hsts[0].set(h)
	}
	if strings.HasPrefix(r.URL.Path, "/js/") {
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
}

// compressor compresses answers that are worth it. Parquet and Arrow are not.
func compressor() (func(http.Handler) http.HandlerFunc, error) {
	return gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.ContentTypes([]string{
		"application/json", "application/x-ndjson", "text/csv", "text/html", "text/css", "text/javascript", "text/plain", "image/svg+xml",
	}))
}
