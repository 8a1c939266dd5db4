package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// Lines of NDJSON that are not leaves. Every one has one way to be written.
type (
	startLine struct {
		Start struct {
			Link  string   `json:"link"`  // of the entry before the first
			Peaks []string `json:"peaks"` // roots of the complete subtrees before the first, the largest first
			Size  string   `json:"size"`  // seq of the first
		} `json:"start"`
	}
	prunedLine struct {
		Pruned struct {
			Link string `json:"link"`
			Seq  string `json:"seq"`
		} `json:"pruned"`
	}
	checkpointLine struct {
		Checkpoint string `json:"checkpoint"` // the note
	}
	endLine struct {
		End struct {
			Checkpoints int64  `json:"checkpoints"` // how many there are
			Root        string `json:"root"`
			Size        string `json:"size"`
		} `json:"end"`
	}
)

// maxLine bounds a line: a leaf, or a note with what JSON makes of it.
const maxLine = 2 * maxNote

// WriteNDJSON writes the entries from ≤ seq < to as lines: each leaf as it is, or
// {"pruned":…} with the link where there is none; after the entry that it covers each
// checkpoint as {"checkpoint":…}; and {"end":…} with size and root. What does not begin
// with entry 0 begins with {"start":…}, the state of the tree before.
func WriteNDJSON(ctx context.Context, w io.Writer, log Log, from, to int64) error {
	out := bufio.NewWriterSize(w, 1<<16)
	count := int64(0)
	err := export(ctx, log, from, to, func(i item) error {
		switch {
		case i.checkpoint != nil:
			count++
			return writeLine(out, checkpointLine{string(i.checkpoint.Note)})
		case i.row.Leaf == nil:
			var l prunedLine
			link := i.row.Link()
			l.Pruned.Link, l.Pruned.Seq = encode(link[:]), strconv.FormatInt(i.row.Seq, 10)
			return writeLine(out, l)
		}
		_, err := out.Write(append(i.row.Leaf, '\n'))
		return err
	}, func(c *Chain) error {
		if l, ok := startOf(c); ok {
			return writeLine(out, l)
		}
		return nil
	}, func(c *Chain) error { return writeLine(out, endOf(c, count)) })
	if err = errors.Join(err, out.Flush()); err != nil {
		return fmt.Errorf("write audit chain as NDJSON: %w", err)
	}
	return nil
}

// export calls begin with the tree before the first entry, then each with entries and
// checkpoints in order, then end with the tree after the last.
func export(ctx context.Context, log Log, from, to int64, each func(item) error, begin func(*Chain) error, end func(*Chain) error) error {
	_, size, err := log.Extent(ctx)
	if err != nil {
		return err
	}
	from, to = max(0, min(from, size)), min(to, size)
	chain := new(Chain)
	if from > 0 {
		if chain, err = Resume("", 0, from, log); err != nil {
			return err
		}
	}
	if err := begin(chain); err != nil {
		return err
	}
	for at := from; at < to; at += chunk {
		if err := exportChunk(ctx, log, at, min(at+chunk, to), chain, each); err != nil {
			return err
		}
	}
	return end(chain)
}

func exportChunk(ctx context.Context, log Log, from, to int64, chain *Chain, each func(item) error) error {
	checkpoints, err := readCheckpoints(ctx, log, from, to)
	if err != nil {
		return err
	}
	rows, err := readRows(ctx, log, from, to)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.Seq != chain.size || len(r.Hashes) < tlog.HashSize {
			return &Damage{Seq: chain.size, What: "the entry is missing"}
		}
		chain.grow(r.Link())
		chain.link = r.Link()
		if err := each(item{row: r}); err != nil {
			return err
		}
		for ; len(checkpoints) > 0 && checkpoints[0].Size == chain.size; checkpoints = checkpoints[1:] {
			if err := each(item{checkpoint: &checkpoints[0]}); err != nil {
				return err
			}
		}
	}
	if chain.size != to {
		return &Damage{Seq: chain.size, What: "the entry is missing"}
	}
	return ctx.Err()
}

func startOf(c *Chain) (l startLine, ok bool) {
	l.Start.Link, l.Start.Size = encode(c.link[:]), strconv.FormatInt(c.size, 10)
	for _, h := range c.list() {
		l.Start.Peaks = append(l.Start.Peaks, encode(h[:]))
	}
	return l, c.size > 0
}

func (l startLine) chain() (*Chain, error) {
	size, err := strconv.ParseInt(l.Start.Size, 10, 64)
	link, bad := decode(l.Start.Link)
	if err = errors.Join(err, bad); err != nil {
		return nil, err
	}
	var peaks []tlog.Hash
	for _, text := range l.Start.Peaks {
		h, err := decode(text)
		if err != nil {
			return nil, err
		}
		peaks = append(peaks, h)
	}
	c, ok := unlist(size, link, peaks)
	if !ok {
		return nil, errors.New("a tree of that size has other subtrees")
	}
	return c, nil
}

func endOf(c *Chain, checkpoints int64) (l endLine) {
	h := c.Head()
	l.End.Checkpoints = checkpoints
	l.End.Root, l.End.Size = encode(h.Root[:]), strconv.FormatInt(h.Size, 10)
	return l
}

func (l endLine) known() (Known, error) {
	if _, err := decode(l.End.Root); err != nil {
		return Known{}, err
	}
	return ParsePin("the end of the export", l.End.Size+":"+l.End.Root)
}

// line returns how one of the structs above is written.
func line(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

func writeLine(w io.Writer, v any) error {
	b, err := line(v)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// readLine reads one of the structs above, which must be written as we would.
func readLine(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return err
	}
	again, err := line(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), text) {
		return errors.New("it is not written as it should be")
	}
	return nil
}

// parseItem reads a line of an entry or a checkpoint. The leaf may share memory with
// the line.
func parseItem(text []byte) (i item, err error) {
	switch {
	case bytes.HasPrefix(text, []byte(`{"checkpoint":`)):
		var l checkpointLine
		if err := readLine(text, &l); err != nil {
			return i, err
		}
		c, _, err := ParseCheckpoint([]byte(l.Checkpoint))
		return item{checkpoint: &c}, err
	case bytes.HasPrefix(text, []byte(`{"pruned":`)):
		var l prunedLine
		if err := readLine(text, &l); err != nil {
			return i, err
		}
		i.row.Seq, err = strconv.ParseInt(l.Pruned.Seq, 10, 64)
		link, bad := decode(l.Pruned.Link)
		i.link = &link
		return i, errors.Join(err, bad)
	case bytes.HasPrefix(text, []byte("{")):
		i.row.Leaf = text
		return i, nil
	}
	return i, errors.New("it is neither an entry nor a checkpoint")
}

// OpenNDJSON opens what [WriteNDJSON] has written. What is not in that form is a
// [Damage].
func OpenNDJSON(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open audit export: %w", err)
	}
	log, err := readNDJSON(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit export %s: %w", path, err), f.Close())
	}
	log.close = f.Close
	return log, nil
}

// readNDJSON reads all of an export and keeps what is needed to find it again.
func readNDJSON(r io.ReaderAt) (*File, error) {
	x := &indexing{log: newFile(new(Chain)), offsets: []int64{0}}
	lines := newLines(io.NewSectionReader(r, 0, 1<<62))
	for number := 1; ; number++ {
		at := lines.offset
		text, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil && err != errCut && err != errLong {
			return nil, err
		}
		if err == nil {
			err = x.line(number, at, lines.offset, text)
		}
		if err != nil {
			return nil, &Damage{Seq: x.log.chain.size, What: fmt.Sprintf("line %d: %v", number, err), Truncated: err == errCut}
		}
	}
	if !x.ended {
		return nil, &Damage{Seq: x.log.chain.size, What: "the end is missing", Truncated: true}
	}
	offsets := append(x.offsets, lines.offset)
	x.log.scan = func(ctx context.Context, n int, fn func(item) error) error {
		return scanNDJSON(ctx, io.NewSectionReader(r, offsets[n], offsets[n+1]-offsets[n]), fn)
	}
	return x.log, nil
}

// indexing is the state of reading an export for the first time.
type indexing struct {
	log         *File
	offsets     []int64 // of chunks
	checkpoints int64
	ended       bool
}

func (x *indexing) line(number int, at, next int64, text []byte) error {
	switch {
	case x.ended:
		return errors.New("it is after the end")
	case number == 1 && bytes.HasPrefix(text, []byte(`{"start":`)):
		var l startLine
		if err := readLine(text, &l); err != nil {
			return err
		}
		c, err := l.chain()
		if err != nil {
			return err
		}
		x.log, x.offsets[0] = newFile(c), next
		return nil
	case bytes.HasPrefix(text, []byte(`{"end":`)):
		x.ended = true
		return x.log.ends(text, x.checkpoints)
	}
	i, err := parseItem(text)
	if err != nil {
		return err
	}
	size := x.log.chain.size
	switch {
	case i.checkpoint != nil:
		x.checkpoints++
		if i.checkpoint.Size != size {
			x.log.misplace("line %d is a checkpoint of %d entries", number, i.checkpoint.Size)
		}
		return nil
	case i.row.Leaf == nil && i.row.Seq != size:
		x.log.misplace("line %d is of entry %d", number, i.row.Seq)
	}
	if size%chunk == 0 && size > x.log.start {
		x.offsets = append(x.offsets, at)
	}
	x.log.add(i)
	return nil
}

// ends takes what the end of an export says of it.
func (f *File) ends(text []byte, checkpoints int64) error {
	var l endLine
	err := readLine(text, &l)
	if err == nil {
		f.claim, err = l.known()
	}
	if err == nil && f.claim.Size < f.chain.size { // of more, the last ones were cut off
		f.misplace("there are %d entries, and it was written with %d", f.chain.size, f.claim.Size)
	}
	if err == nil && l.End.Checkpoints != checkpoints {
		f.misplace("there are %d checkpoints, and it was written with %d", checkpoints, l.End.Checkpoints)
	}
	return err
}

func scanNDJSON(ctx context.Context, r io.Reader, fn func(item) error) error {
	lines := newLines(r)
	for {
		text, err := lines.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte(`{"end":`)) {
			return nil
		}
		i, err := parseItem(bytes.Clone(text))
		if err != nil {
			return err // the file has changed since it was opened
		}
		if err := fn(i); err != nil {
			return err
		}
	}
}

var (
	errCut  = errors.New("it is cut off")
	errLong = errors.New("it is too long")
)

// lines reads lines of bounded length.
type lines struct {
	r      *bufio.Reader
	offset int64 // of the next line
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next returns a line without its end, which is good until the next one is asked for.
func (l *lines) next() ([]byte, error) {
	text, err := l.r.ReadSlice('\n')
	l.offset += int64(len(text))
	switch {
	case err == bufio.ErrBufferFull:
		return nil, errLong
	case err == io.EOF && len(text) > 0:
		return nil, errCut
	case err != nil:
		return nil, err
	}
	return text[:len(text)-1], nil
}
