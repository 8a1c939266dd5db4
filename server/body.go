package server

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	maxEvent  = 64 << 10 // of POST /api/event
	maxBatch  = 10 << 20 // of POST /api/events, decompressed
	maxAsk    = 64 << 10 // of what an operator or a query sends
	maxWindow = 8 << 20  // of zstd: what every decoder must support (RFC 9659)

	// writeTimeout is how long an answer may take to be taken; a stream may
	// take that long for each piece.
	writeTimeout = 60 * time.Second
)

// readBody reads a whole small body that is not compressed.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if len(r.Header["Content-Encoding"]) > 0 {
		return nil, refuse(http.StatusUnsupportedMediaType, "encoding", "send this body uncompressed")
	}
	body := sound{http.MaxBytesReader(w, r.Body, limit)}
	if r.ContentLength < 0 || r.ContentLength > limit {
		return io.ReadAll(body)
	}
	buf := make([]byte, r.ContentLength)
	_, err := io.ReadFull(body, buf)
	return buf, err
}

// openBody returns a reader of a body without its compression. Not more than
// limit bytes come out of it, however small the body was: a bomb costs what the
// limit costs. No limit is 0.
func openBody(w http.ResponseWriter, r *http.Request, limit int64) (io.ReadCloser, error) {
	body := sound{r.Body}
	if limit > 0 {
		if r.ContentLength > limit {
			return nil, &http.MaxBytesError{Limit: limit}
		}
		body = sound{http.MaxBytesReader(w, r.Body, limit)}
	}
	encodings := r.Header["Content-Encoding"]
	if len(encodings) == 0 || len(encodings) == 1 && encodings[0] == "identity" {
		return body, nil
	}
	if len(encodings) > 1 {
		return nil, refuse(http.StatusUnsupportedMediaType, "encoding", "compress the body once")
	}
	var plain io.ReadCloser
	switch encodings[0] {
	case "gzip":
		zr, err := gzip.NewReader(body)
		if err != nil {
			return nil, inflateError(err)
		}
		plain = zr
	case "zstd":
		zr, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, inflateError(err)
		}
		plain = zr.IOReadCloser()
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "encoding", "compress the body with gzip or zstd or not at all")
	}
	return &inflated{plain: plain, limit: limit, left: limit}, nil
}

// An inflated reads a decompressor up to a limit.
type inflated struct {
	plain io.ReadCloser
	limit int64
	left  int64
}

func (b *inflated) Read(p []byte) (int, error) {
	if b.limit == 0 {
		n, err := b.plain.Read(p)
		return n, inflateError(err)
	}
	if int64(len(p)) > b.left+1 { // one more byte tells whether there are more
		p = p[:b.left+1]
	}
	n, err := b.plain.Read(p)
	if int64(n) > b.left {
		return int(b.left), &http.MaxBytesError{Limit: b.limit}
	}
	b.left -= int64(n)
	return n, inflateError(err)
}

func (b *inflated) Close() error { return b.plain.Close() }

// A sound body gives no error of reading that [problemOf] does not know: what is
// none of the connection is a body that is not as HTTP has it, such as a chunk
// without its length.
type sound struct{ io.ReadCloser }

func (b sound) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.ErrUnexpectedEOF && !ofTransport(err) {
		err = refuse(http.StatusBadRequest, "malformed", "the body is not well-formed HTTP")
	}
	return n, err
}

// ofTransport says whether an error of reading a body is its end, its limit, or
// the connection's.
func ofTransport(err error) bool {
	var (
		large *http.MaxBytesError
		conn  *net.OpError
		p     *problem
	)
	return err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &large) || errors.As(err, &conn) || errors.As(err, &p)
}

// inflateError tells damaged compression, the client's fault, from errors of the
// connection, which are what they are.
func inflateError(err error) error {
	switch {
	case err == nil, ofTransport(err):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "compress the body with a window of at most 8 MiB")
	}
	return refuse(http.StatusBadRequest, "encoding", "the compressed body is damaged: %v", err)
}

// A patient reader lets a body take as long as it likes, so long as it does not
// stand still.
type patient struct {
	io.ReadCloser
	conn  *http.ResponseController
	pause time.Duration
}

func (b patient) Read(p []byte) (int, error) {
	if err := b.conn.SetReadDeadline(time.Now().Add(b.pause)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // net/http watches the connection from here on, and takes a deadline for its end
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// A stream writes an answer of any length. It gives every piece time to be
// taken, and knows whether the answer has begun.
type stream struct {
	w        http.ResponseWriter
	conn     *http.ResponseController
	sent     bool
	patience time.Duration // how long a piece may take to be taken
	pace     pace
	end      time.Time // when it is over unless more is taken; zero without a pace
}

// A pace is how fast a client has to take an answer that something is held for
// meanwhile, such as a snapshot: so many bytes a second, on the whole and after a
// while. Without it one that takes a byte now and then would hold it for ever.
type pace struct {
	grace time.Duration
	rate  float64 // bytes a second; 0 is any
}

// exportPace lets a year's events go over a thin line, and no line be so thin that
// the memory of published events is kept for days.
var exportPace = pace{grace: 10 * time.Minute, rate: 256 << 10}

func newStream(w http.ResponseWriter) *stream {
	return &stream{w: w, conn: http.NewResponseController(w), patience: writeTimeout}
}

// paced sets the pace, from now on.
func (s *stream) paced(p pace) *stream {
	s.pace = p
	if p.rate > 0 {
		s.end = time.Now().Add(p.grace)
	}
	return s
}

func (s *stream) Write(p []byte) (int, error) {
	deadline := time.Now().Add(s.patience)
	if !s.end.IsZero() {
		if s.end.Before(time.Now()) {
			return 0, os.ErrDeadlineExceeded
		}
		if s.end.Before(deadline) {
			deadline = s.end
		}
		s.end = s.end.Add(time.Duration(float64(len(p)) / s.pace.rate * float64(time.Second)))
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	s.sent = s.sent || len(p) > 0
	return s.w.Write(p)
}

// flush sends what has been written.
func (s *stream) flush() { _ = s.conn.Flush() }

// mediaType checks the type of a body against those a route takes; "" at their
// end lets it be left out.
func mediaType(r *http.Request, types ...string) (string, error) {
	given := r.Header.Get("Content-Type")
	if given != "" && slices.Contains(types, given) {
		return given, nil
	}
	kind, _, err := mime.ParseMediaType(given)
	if given != "" && err != nil || !slices.Contains(types, kind) {
		right := strings.TrimSuffix(strings.Join(types, " or "), " or ")
		return "", refuse(http.StatusUnsupportedMediaType, "media_type", "send the body with the Content-Type %s", right)
	}
	return kind, nil
}

// firstByte looks at the first byte of a body that is not white space, without
// taking it.
func firstByte(b *bufio.Reader) (byte, error) {
	for {
		c, err := b.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, b.UnreadByte()
		}
	}
}
