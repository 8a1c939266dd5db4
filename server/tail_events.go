package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
)

// byEvents tells by server-sent events.
func (l *listener) byEvents(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // of nginx, which would wait for a page full
	if l.r.Method == http.MethodHead {
		return nil
	}
	out := newStream(w)
	out.patience = l.s.patience
	to := &eventStream{out: out, w: bufio.NewWriterSize(out, 8<<10)}
	fmt.Fprintf(to.w, "retry: %d\n\n", tailRetry.Milliseconds())
	l.to = to
	_, err := l.follow(l.r.Context())
	return err
}

// An eventStream is the [teller] of server-sent events.
type eventStream struct {
	out *stream
	w   *bufio.Writer // of out
}

func (e *eventStream) tell(kind string, id int64, data any) error {
	if data == nil {
		_, err := fmt.Fprintf(e.w, "id: %d\n\n", id)
		return err
	}
	body, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write a message of a live stream: %w", err)
	}
	if kind != tellsEvent { // a browser's EventSource calls what has no name a message
		fmt.Fprintf(e.w, "event: %s\n", kind)
	}
	_, err = fmt.Fprintf(e.w, "id: %d\ndata: %s\n\n", id, body)
	return err
}

func (e *eventStream) beat() error {
	_, err := e.w.WriteString(":\n\n")
	return err
}

func (e *eventStream) flush() error {
	if err := e.w.Flush(); err != nil {
		return err
	}
	return e.out.conn.Flush()
}
