package history

import (
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/eider-analytics/eider/store/event"
)

// A Writer writes events in any order as one Parquet file with the columns of a
// part, for somebody else: it is not in the history. It holds a row group in
// memory, which is small.
type Writer struct {
	enc *encoder
	out counter
}

// A counter counts the bytes that go through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// NewWriter returns a Writer of a file that begins at w's next byte.
func NewWriter(w io.Writer) *Writer {
	nw := &Writer{out: counter{w: w}}
	nw.enc = newEncoder(&nw.out, func() int64 { return nw.out.n }, &parquet.Zstd)
	return nw
}

// Add adds an event. Its texts must stay as they are until the next Flush.
func (w *Writer) Add(e event.Event) error { return w.enc.add(e) }

// Flush encodes what has been added. It does not end a row group.
func (w *Writer) Flush() error { return w.enc.flush() }

// Close writes what is left and the footer. It does not close the writer under it.
func (w *Writer) Close() error { return w.enc.close(nil) }
