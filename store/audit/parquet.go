package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/mod/sumdb/tlog"
)

// A parquetRow is an entry in Parquet.
type parquetRow struct {
	Seq     int64    `parquet:"seq,delta"`
	Time    int64    `parquet:"time,timestamp(microsecond),delta"`
	Kind    string   `parquet:"kind,dict"`
	Outcome string   `parquet:"outcome,dict"`
	Actor   string   `parquet:"actor,dict"`
	Object  string   `parquet:"object"`
	Request string   `parquet:"request"`
	Leaf    []byte   `parquet:"leaf,optional"`
	Link    [32]byte `parquet:"link"`
}

// What an export has in the metadata of the file, as lines of NDJSON.
const (
	metaStart       = "eider.audit.start"
	metaCheckpoints = "eider.audit.checkpoints"
	metaEnd         = "eider.audit.end"
)

// digestMagic begins the digest of a Parquet export: 8 bytes and the SHA-256 of all
// the others, just before the footer, where no reader of Parquet looks.
const digestMagic = "EIDERSUM"

const digestSize = len(digestMagic) + sha256.Size

// maxFooter bounds the footer of an export, which has the checkpoints.
const maxFooter = 1 << 30

// rowGroup is how many entries stand together in Parquet: what is in memory at once.
const rowGroup = 16 * chunk

// WriteParquet writes the entries from ≤ seq < to as Parquet, with the columns seq,
// time, kind, outcome, actor, object, request, leaf (null where it was pruned) and
// link, and the checkpoints in the metadata.
func WriteParquet(ctx context.Context, w io.Writer, log Log, from, to int64) error {
	sum := &summing{w: w, sum: sha256.New()}
	out := parquet.NewGenericWriter[parquetRow](sum, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(rowGroup))
	var checkpoints bytes.Buffer
	count := int64(0)
	err := export(ctx, log, from, to, func(i item) error {
		if i.checkpoint != nil {
			count++
			return writeLine(&checkpoints, checkpointLine{string(i.checkpoint.Note)})
		}
		r := &i.row
		_, err := out.Write([]parquetRow{{
			Seq: r.Seq, Time: r.Time, Kind: string(r.Kind), Outcome: string(r.Outcome), Actor: r.Actor, Object: r.Object,
			Request: r.Request, Leaf: r.Leaf, Link: r.Link(),
		}})
		return err
	}, func(c *Chain) error {
		l, ok := startOf(c)
		if !ok {
			return nil
		}
		return setMeta(out, metaStart, l)
	}, func(c *Chain) error {
		out.SetKeyValueMetadata(metaCheckpoints, checkpoints.String())
		return setMeta(out, metaEnd, endOf(c, count))
	})
	if err == nil {
		err = out.Flush()
	}
	sum.hold = true
	if err = errors.Join(err, out.Close()); err == nil {
		err = sum.finish()
	}
	if err != nil {
		return fmt.Errorf("write audit chain as Parquet: %w", err)
	}
	return nil
}

func setMeta(out *parquet.GenericWriter[parquetRow], key string, v any) error {
	text, err := line(v)
	out.SetKeyValueMetadata(key, string(text))
	return err
}

// summing puts the digest of a Parquet file before its footer.
type summing struct {
	w    io.Writer
	sum  hash.Hash
	hold bool // what comes now ends with the footer
	end  []byte
}

func (s *summing) Write(b []byte) (int, error) {
	if s.hold {
		s.end = append(s.end, b...)
		return len(b), nil
	}
	s.sum.Write(b)
	return s.w.Write(b)
}

func (s *summing) finish() error {
	if len(s.end) < 8 {
		return errors.New("the file has no footer")
	}
	footer := int(binary.LittleEndian.Uint32(s.end[len(s.end)-8:])) + 8
	if footer > len(s.end) {
		return errors.New("the footer was written too early")
	}
	at := len(s.end) - footer
	s.sum.Write(s.end)
	digest := s.sum.Sum([]byte(digestMagic))
	for _, part := range [][]byte{s.end[:at], digest, s.end[at:]} {
		if _, err := s.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// OpenParquet opens what [WriteParquet] has written. A file with other bytes is a
// [Damage].
func OpenParquet(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open audit export: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit export: %w", err), f.Close())
	}
	log, err := readParquet(f, info.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open audit export %s: %w", path, err), f.Close())
	}
	log.close = f.Close
	return log, nil
}

func readParquet(r io.ReaderAt, size int64) (log *File, err error) {
	if err := checkDigest(r, size); err != nil {
		return nil, err
	}
	// The digest is no secret: whoever has changed the file may have made it anew.
	defer func() {
		if p := recover(); p != nil {
			log, err = nil, unreadable(p)
		}
	}()
	file, err := parquet.OpenFile(r, size)
	if err != nil {
		return nil, unreadable(err)
	}
	log, err = beginning(file)
	if err != nil {
		return nil, &Damage{Seq: -1, What: fmt.Sprintf("where it starts: %v", err)}
	}
	checkpoints, err := readNotes(file)
	if err != nil {
		return nil, err
	}
	log.scan = func(ctx context.Context, n int, fn func(item) error) error {
		return scanParquet(ctx, file, log, checkpoints, n, fn)
	}
	err = scanRows(context.Background(), file, 0, file.NumRows(), func(i item) error {
		if i.row.Seq != log.chain.size {
			log.misplace("it says that it is entry %d", i.row.Seq)
		}
		log.add(i)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := log.ends(metadata(file, metaEnd), int64(len(checkpoints))); err != nil {
		return nil, &Damage{Seq: -1, What: fmt.Sprintf("where it ends: %v", err)}
	}
	return log, nil
}

func unreadable(why any) error {
	return &Damage{Seq: -1, What: fmt.Sprintf("it is no Parquet that can be read: %v", why)}
}

// metadata returns a line of the metadata, nil if there is none.
func metadata(file *parquet.File, key string) []byte {
	text, _ := file.Lookup(key)
	return bytes.TrimSuffix([]byte(text), []byte("\n"))
}

// beginning returns the log of a file before its entries are read.
func beginning(file *parquet.File) (*File, error) {
	chain := new(Chain)
	if text := metadata(file, metaStart); len(text) > 0 {
		var l startLine
		if err := readLine(text, &l); err != nil {
			return nil, err
		}
		var err error
		if chain, err = l.chain(); err != nil {
			return nil, err
		}
	}
	log := newFile(chain)
	log.columns = true
	return log, nil
}

// checkDigest reads all of a file.
func checkDigest(f io.ReaderAt, size int64) error {
	cut := &Damage{Seq: -1, What: "its end is missing", Truncated: true}
	tail := make([]byte, 8)
	if size < 8 {
		return cut
	}
	if _, err := f.ReadAt(tail, size-8); err != nil {
		return err
	}
	footer := int64(binary.LittleEndian.Uint32(tail)) + 8
	at := size - footer - int64(digestSize)
	if footer > maxFooter || at < 0 {
		return cut
	}
	digest := make([]byte, digestSize)
	if _, err := f.ReadAt(digest, at); err != nil {
		return err
	}
	if string(digest[:len(digestMagic)]) != digestMagic && string(tail[4:]) != "PAR1" {
		return cut
	}
	sum := sha256.New()
	_, err := io.Copy(sum, io.MultiReader(io.NewSectionReader(f, 0, at), io.NewSectionReader(f, size-footer, footer)))
	if err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum([]byte(digestMagic)), digest) {
		return &Damage{Seq: -1, What: "its bytes are not those that were written (SHA-256)"}
	}
	return nil
}

// readNotes reads the checkpoints of the metadata.
func readNotes(file *parquet.File) (list []Checkpoint, err error) {
	text, _ := file.Lookup(metaCheckpoints)
	lines, last := newLines(bytes.NewReader([]byte(text))), int64(1)
	for {
		l, err := lines.next()
		if err == io.EOF {
			return list, nil
		}
		var i item
		if err == nil {
			i, err = parseItem(l)
		}
		if err == nil && (i.checkpoint == nil || i.checkpoint.Size < last) {
			err = errors.New("it is no checkpoint, or before its turn")
		}
		if err != nil {
			return nil, &Damage{Seq: last - 1, What: fmt.Sprintf("checkpoint %d: %v", len(list), err)}
		}
		last = i.checkpoint.Size
		list = append(list, *i.checkpoint)
	}
}

// scanParquet reads a chunk, and the checkpoints in it; with the last all that are
// left.
func scanParquet(ctx context.Context, file *parquet.File, log *File, checkpoints []Checkpoint, n int, fn func(item) error) error {
	begin := max(log.start, (log.start/chunk+int64(n))*chunk)
	end := min((log.start/chunk+int64(n)+1)*chunk, log.chain.size)
	seq := begin
	err := scanRows(ctx, file, begin-log.start, end-log.start, func(i item) error {
		seq++
		if err := fn(i); err != nil {
			return err
		}
		return notes(checkpoints, seq-1, seq, fn)
	})
	if err == nil && end == log.chain.size {
		err = notes(checkpoints, end, 1<<62, fn)
	}
	return err
}

// notes calls fn with the checkpoints of after < size ≤ to.
func notes(list []Checkpoint, after, to int64, fn func(item) error) error {
	for i := firstAfter(list, after); i < len(list) && list[i].Size <= to; i++ {
		if err := fn(item{checkpoint: &list[i]}); err != nil {
			return err
		}
	}
	return nil
}

// scanRows reads the rows from ≤ n < to of a file.
func scanRows(ctx context.Context, file *parquet.File, from, to int64, fn func(item) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = unreadable(p)
		}
	}()
	if from >= to {
		return nil
	}
	r := parquet.NewGenericReader[parquetRow](file)
	defer r.Close()
	if err := r.SeekToRow(from); err != nil {
		return err
	}
	rows := make([]parquetRow, 128)
	for from < to {
		n, err := r.Read(rows[:min(to-from, int64(len(rows)))])
		for _, p := range rows[:n] {
			if err := fn(p.item()); err != nil {
				return err
			}
		}
		from += int64(n)
		if err == io.EOF && from < to || err == nil && n == 0 {
			return &Damage{Seq: -1, What: "it has fewer rows than it says"}
		}
		if err != nil && err != io.EOF {
			return unreadable(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(rows)
	}
	return nil
}

func (p *parquetRow) item() item {
	link := tlog.Hash(p.Link)
	return item{link: &link, row: Row{
		Seq: p.Seq, Time: p.Time, Kind: Kind(p.Kind), Outcome: Outcome(p.Outcome), Actor: p.Actor, Object: p.Object,
		Request: p.Request, Leaf: bytes.Clone(p.Leaf),
	}}
}
