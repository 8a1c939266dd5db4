package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// A messageJSON is one message of a live stream that comes by a WebSocket. Without data
// it is a [positionJSON].
type messageJSON[T any] struct {
	Type string `json:"type" enum:"event,missed,end"`
	ID   string `json:"id" doc:"Up to which event the client has now seen everything: what to say in after."`
	Data T      `json:"data,omitempty" doc:"As with server-sent events"`
}

// A positionJSON is a message that says nothing but how far the client is.
type positionJSON struct {
	Type string `json:"type" enum:"position"`
	ID   string `json:"id"`
}

// asksForSocket says whether a request asks for a WebSocket. Whether it does so as it
// should is looked at later, so that a client whose proxy has dropped half of the
// headers is told so, and does not get a stream that it cannot read.
func asksForSocket(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	for _, list := range r.Header["Upgrade"] {
		for protocol := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "websocket") {
				return true
			}
		}
	}
	return false
}

// sameOrigin refuses a WebSocket that a page of another site opens. It is a GET, which
// such a page may make, but no rule of a browser keeps the answer from it.
func (s *Server) sameOrigin(r *http.Request) error {
	asked := r.WithContext(r.Context())
	asked.Method = http.MethodPost // or it would be let pass
	return s.sameSite(asked)
}

// errTalks ends a WebSocket whose client has sent something.
var errTalks = &problem{status: http.StatusBadRequest, code: "no_messages", text: "a live stream takes no messages"}

// bySocket tells by a WebSocket.
func (l *listener) bySocket(w http.ResponseWriter) error {
	ctx, leave := context.WithCancelCause(l.r.Context())
	defer leave(nil)
	to, err := openSocket(w, l.r, l.s.patience)
	if err != nil {
		return err
	}
	defer to.cut()
	defer context.AfterFunc(l.r.Context(), to.line.sever)() // the drain is over
	to.leave, to.silence = leave, l.s.heartbeat+l.s.patience
	to.running.Go(to.hear)
	l.to = to
	why, err := l.follow(ctx)
	if err != nil {
		return err
	}
	if why == nil && !errors.As(context.Cause(ctx), &why) {
		return nil // it has said good-bye
	}
	if why.status == gone {
		return why
	}
	to.close(why)
	if why == errTalks {
		return why
	}
	return nil
}

// A socket is the [teller] of a WebSocket. Beside the listener's goroutine, which writes,
// there is one that reads, and one for a ping that has not been answered.
type socket struct {
	conn    *websocket.Conn
	line    *line
	leave   context.CancelCauseFunc // ends the stream; the cause is a problem if the client is to blame
	silence time.Duration           // how long a ping may stay without an answer
	pinging atomic.Bool             // one is under way
	running sync.WaitGroup          // hear and the ping
}

// openSocket makes a WebSocket of a request.
func openSocket(w http.ResponseWriter, r *http.Request, patience time.Duration) (*socket, error) {
	h := &handshake{ResponseWriter: w, line: &line{patience: patience, sent: &callOf(r).w.bytes}}
	// sameOrigin has looked at the origin, and knows the one that is set for the
	// dashboard. Compression would keep a window of 32 KiB for each stream.
	conn, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if h.refused == http.StatusUpgradeRequired {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
	}
	if h.refused != 0 {
		return nil, refuse(h.refused, "websocket", "%s", strings.TrimSpace(h.text.String()))
	}
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, line: h.line}, nil
}

func (k *socket) tell(kind string, id int64, data any) error {
	body, err := json.Marshal(messageJSON[any]{kind, fmt.Sprint(id), data})
	if err != nil {
		return fmt.Errorf("write a message of a live stream: %w", err)
	}
	err = k.conn.Write(context.Background(), websocket.MessageText, body) // the line has a deadline
	if errors.Is(err, net.ErrClosed) {
		return errGone
	}
	return err
}

// beat pings the client, and ends the stream if nothing comes back. It does not wait for
// that: the answer may be a long way behind what is under way.
func (k *socket) beat() error {
	if k.pinging.Swap(true) {
		return nil
	}
	k.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), k.silence)
		defer cancel()
		switch err := k.conn.Ping(ctx); {
		case err == nil:
			k.pinging.Store(false)
		case !errors.Is(err, net.ErrClosed): // or hear knows better why
			k.leave(errGone)
		}
	})
	return nil
}

// flush has nothing to do: each message goes at once.
func (k *socket) flush() error { return nil }

// hear reads, which is what sees pings, their answers and a good-bye. The first message
// of the client is the last: nothing of it is read but that it is there.
func (k *socket) hear() {
	if _, _, err := k.conn.Reader(context.Background()); err != nil {
		k.leave(nil)
		return
	}
	k.leave(errTalks)
}

// close says good-bye, and waits a while for the client to say so too. What it has sent
// before that is thrown away, however much it is.
func (k *socket) close(why *problem) {
	code := websocket.StatusPolicyViolation
	switch {
	case why == errDraining:
		code = websocket.StatusGoingAway
	case why.status >= http.StatusInternalServerError:
		code = websocket.StatusInternalError
	}
	over := time.AfterFunc(k.line.patience, k.line.sever)
	defer over.Stop()
	_ = k.conn.Close(code, why.code) // an error means that it has gone
}

// cut ends the connection, if it has not ended, and waits for the goroutines.
func (k *socket) cut() {
	k.line.sever()
	_ = k.conn.CloseNow() // nothing is left that could go wrong
	k.running.Wait()
}

// A handshake is what a WebSocket's library writes its answer to. A refusal is kept, to
// be told as all others are.
type handshake struct {
	http.ResponseWriter
	line    *line
	refused int // the status; 0 if it is not
	text    strings.Builder
}

func (h *handshake) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		h.refused = status
		return
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *handshake) Write(p []byte) (int, error) { return h.text.Write(p) }

// Hijack implements [http.Hijacker].
func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.line.Conn = conn
	buf.Writer.Reset(h.line)
	return h.line, buf, nil
}

// A line is a connection that net/http has let go of. With that its deadlines have gone,
// and neither the gate nor a stop knows of it any more: the places bound how many there
// are, each piece that is written has a deadline of its own, and [Server.join] makes a
// stop wait. The WebSocket lets one goroutine write at a time.
type line struct {
	net.Conn
	patience time.Duration // how long a piece may take to be taken
	sent     *int64        // bytes
}

func (c *line) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	*c.sent += int64(n)
	return n, err
}

func (c *line) sever() { sever(c.Conn) }
