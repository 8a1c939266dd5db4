package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// A problem is an error as a client is told of it.
type problem struct {
	status int
	code   string        // snake_case, for programs
	text   string        // what is wrong and what to do
	retry  time.Duration // if not 0, when it may go better

	recorded bool // who said so has recorded it
}

func (p *problem) Error() string { return p.text }

func refuse(status int, code, format string, args ...any) error {
	return &problem{status: status, code: code, text: fmt.Sprintf(format, args...)}
}

// gone is the status of an answer that nobody waits for any more. It is never
// sent; it only counts.
const gone = 499

var errGone = &problem{status: gone, code: "gone", text: "the client has gone"}

// problemOf says how each kind of error is told. It is the one place that maps
// errors to status codes; what it does not know is our fault.
//
// A volume that is nearly full is 503, not 507: to a client it is a server that
// takes no events just now, and the libraries that send events try again after
// a 503 with Retry-After, while they drop what was answered with a 507.
func problemOf(err error) *problem {
	var (
		p     *problem
		large *http.MaxBytesError
		field *event.FieldError
		query *event.QueryError
		limit *event.LimitError
		busy  *event.BusyError
		conn  *net.OpError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &large):
		return &problem{status: http.StatusRequestEntityTooLarge, code: "too_large", text: fmt.Sprintf("the body is larger than %d bytes; send less at once", large.Limit)}
	case errors.As(err, &field):
		status := http.StatusUnprocessableEntity
		if field.Field == "request" {
			status = http.StatusBadRequest // not even well-formed
		}
		return &problem{status: status, code: "invalid", text: field.Error()}
	case errors.As(err, &query):
		return &problem{status: http.StatusUnprocessableEntity, code: "bad_query", text: query.Message}
	case errors.As(err, &limit):
		return &problem{status: http.StatusTooManyRequests, code: "rate_limited", text: limit.Error(), retry: max(limit.RetryAfter, time.Second)}
	case errors.As(err, &busy):
		return &problem{status: http.StatusTooManyRequests, code: "busy", text: busy.Error(), retry: busy.RetryAfter}
	case errors.Is(err, event.ErrBusy):
		return &problem{status: http.StatusTooManyRequests, code: "busy", text: event.ErrBusy.Error(), retry: 5 * time.Second}
	case errors.Is(err, event.ErrMemory):
		return &problem{status: http.StatusServiceUnavailable, code: "memory", text: event.ErrMemory.Error(), retry: 5 * time.Second}
	case errors.Is(err, event.ErrFull):
		return &problem{status: http.StatusServiceUnavailable, code: "buffer_full", text: event.ErrFull.Error(), retry: time.Second}
	case errors.Is(err, event.ErrDiskFull), errors.Is(err, syscall.ENOSPC):
		return &problem{status: http.StatusServiceUnavailable, code: "disk_full", text: event.ErrDiskFull.Error(), retry: time.Minute}
	case errors.Is(err, event.ErrStopped), errors.Is(err, ledger.ErrFailed), errors.Is(err, ledger.ErrClosed):
		return &problem{status: http.StatusServiceUnavailable, code: "stopped", text: event.ErrStopped.Error(), retry: 10 * time.Second}
	case errors.Is(err, audit.ErrHalted):
		return &problem{status: http.StatusServiceUnavailable, code: "audit_halted", text: audit.ErrHalted.Error() + "; GET /health/ready says why", retry: time.Minute}
	case errors.Is(err, ledger.ErrExists):
		return &problem{status: http.StatusConflict, code: "exists", text: "it exists already"}
	case errors.Is(err, ledger.ErrInUse):
		return &problem{status: http.StatusConflict, code: "in_use", text: ledger.ErrInUse.Error()}
	case errors.Is(err, ledger.ErrNotFound):
		return &problem{status: http.StatusNotFound, code: "not_found", text: "there is no such thing"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{status: http.StatusRequestTimeout, code: "too_slow", text: "the body came too slowly"}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{status: http.StatusGatewayTimeout, code: "timeout", text: "it took too long; ask for less"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &problem{status: http.StatusBadRequest, code: "cut_off", text: "the body ended early"}
	case errors.Is(err, context.Canceled), errors.As(err, &conn):
		// The text of a connection's error holds the client's address: it must
		// get neither into an answer nor into the log.
		return errGone
	}
	return &problem{status: http.StatusInternalServerError, code: "internal", text: "internal error"}
}

// fail answers a request with an error. If the answer has begun it can only be
// broken off, so that the client does not take the half for the whole.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	c := callOf(r)
	if p.status == http.StatusInternalServerError {
		s.log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("path", routeOf(r.Pattern)), slog.String("request_id", c.id), slog.Any("err", err))
	}
	if c.w.status != 0 || p.status == gone {
		c.w.status = p.status // what it came to, though the client was told 200
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for _, name := range []string{"Content-Disposition", "Content-Length", "Trailer", "Etag"} {
		h.Del(name)
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="eider"`)
	}
	writeJSON(w, p.status, p.body(c.id))
}

type errorBody struct {
	Error     string `json:"error"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

func (p *problem) body(id string) errorBody {
	return errorBody{Error: p.text, Code: p.code, RequestID: id}
}

// writeJSON answers with v, which must be something that JSON can say.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("server: internal error: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error means that the client has gone.
	_, _ = w.Write(append(body, '\n'))
}

var plainText = headers("Content-Type", "text/plain; charset=utf-8")

func writeText(w http.ResponseWriter, status int, text string) {
	plainText[0].set(w.Header())
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
