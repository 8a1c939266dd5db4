package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// footerLimit is far more than a footer of ours has, which is 10 kB and about
// that again for each row group.
const footerLimit = 16 << 20

// openParquet reads the footer of a file that may not be what was written. What
// it allocates is bounded by the length of the footer, not by what the footer
// claims, and what it returns can be decoded by zstd and within the file only.
func openParquet(r io.ReaderAt, size int64) (*parquet.File, error) {
	var tail [8]byte
	if size < int64(len(tail)) {
		return nil, fmt.Errorf("%d bytes are too few", size)
	}
	end := size - int64(len(tail))
	if _, err := r.ReadAt(tail[:], end); err != nil {
		return nil, fmt.Errorf("read the end of the file: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > min(end, footerLimit) {
		return nil, fmt.Errorf("%d bytes of it in a file of %d", n, size)
	}
	meta := make([]byte, n)
	if _, err := r.ReadAt(meta, end-n); err != nil {
		return nil, fmt.Errorf("read %d bytes at %d: %w", n, end-n, err)
	}
	t := thrift{b: meta}
	if t.skip(thriftStruct, 0); t.bad || len(t.b) > 0 {
		return nil, errors.New("not a structure of Thrift's compact protocol")
	}
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(16<<10))
	if err != nil {
		return nil, err
	}
	return f, checkChunks(f.Metadata(), end-n)
}

// checkChunks says whether all column chunks are as an encoder makes them and
// end before the footer.
func checkChunks(m *format.FileMetaData, end int64) error {
	var rows int64
	for i, g := range m.RowGroups {
		for j := range g.Columns {
			c := &g.Columns[j].MetaData
			start := c.DataPageOffset
			if c.DictionaryPageOffset != 0 {
				start = c.DictionaryPageOffset
			}
			switch {
			case c.Codec != format.Zstd:
				return fmt.Errorf("row group %d, column %d: compressed with %v", i, j, c.Codec)
			case c.NumValues != g.NumRows || g.NumRows <= 0 || g.NumRows > maxGroupRows:
				return fmt.Errorf("row group %d, column %d: %d values of %d rows", i, j, c.NumValues, g.NumRows)
			case start < 4 || start > c.DataPageOffset || c.TotalCompressedSize < 0 || c.TotalCompressedSize > end-start:
				return fmt.Errorf("row group %d, column %d: %d bytes at %d are not in the file", i, j, c.TotalCompressedSize, start)
			}
		}
		rows += g.NumRows
	}
	if rows != m.NumRows {
		return fmt.Errorf("row groups have %d rows, not %d", rows, m.NumRows)
	}
	return nil
}

// checkSchema says whether the file has the columns of an event: the first ones,
// if it is older.
func checkSchema(f *parquet.File) error {
	if v, _ := f.Lookup(keyVersion); v != version {
		return fmt.Errorf("%w: layout %q, this one reads %q", ErrNewer, v, version)
	}
	got, want := f.Root().Fields(), schema.Fields()
	if len(got) > len(want) {
		return fmt.Errorf("%w: %d columns, this one knows %d", ErrNewer, len(got), len(want))
	}
	for i, g := range got {
		if g.Name() != want[i].Name() || !parquet.EqualNodes(g, want[i]) {
			return fmt.Errorf("column %d is %s %v, want %s %v", i, g.Name(), g, want[i].Name(), want[i])
		}
	}
	for i, g := range f.Metadata().RowGroups {
		if len(g.Columns) != len(got) {
			return fmt.Errorf("row group %d has %d columns, want %d", i, len(g.Columns), len(got))
		}
	}
	return nil
}

// A thrift walks over a value of Thrift's compact protocol. parquet-go makes a
// list as long as its header says before it reads the first element: one flipped
// bit can ask for more memory than there is, which no recover survives. Here a
// list has no more elements than there are bytes left.
type thrift struct {
	b   []byte
	bad bool
}

const (
	thriftList   = 9
	thriftSet    = 10
	thriftStruct = 12

	thriftDepth = 16 // a footer's is 7
)

func (t *thrift) skip(typ byte, depth int) {
	switch {
	case t.bad || depth > thriftDepth:
		t.bad = true
	case typ == 1, typ == 2: // true and false, in the type
	case typ == 3: // byte
		t.take(1)
	case typ <= 6 && typ > 3: // integers
		t.uvarint()
	case typ == 7: // double
		t.take(8)
	case typ == 8: // bytes
		t.take(t.uvarint())
	case typ == thriftList, typ == thriftSet:
		t.skipList(depth)
	case typ == thriftStruct:
		t.skipStruct(depth)
	default: // a footer has no map
		t.bad = true
	}
}

func (t *thrift) skipStruct(depth int) {
	for !t.bad {
		head := t.take(1)
		if t.bad || head[0] == 0 {
			return
		}
		if head[0]>>4 == 0 {
			t.uvarint() // the field's number
		}
		t.skip(head[0]&0xf, depth+1)
	}
}

func (t *thrift) skipList(depth int) {
	head := t.take(1)
	if t.bad {
		return
	}
	typ, n := head[0]&0xf, uint64(head[0]>>4)
	if n == 0xf {
		n = t.uvarint()
	}
	if typ <= 2 { // in a list a truth takes a byte
		typ = 3
	}
	if n > uint64(len(t.b)) {
		t.bad = true
	}
	for range n {
		if t.bad {
			return
		}
		t.skip(typ, depth+1)
	}
}

func (t *thrift) uvarint() uint64 {
	x, n := binary.Uvarint(t.b)
	if n <= 0 {
		t.bad = true
		return 0
	}
	t.b = t.b[n:]
	return x
}

func (t *thrift) take(n uint64) []byte {
	if n > uint64(len(t.b)) {
		t.bad = true
		return nil
	}
	head := t.b[:n]
	t.b = t.b[n:]
	return head
}
