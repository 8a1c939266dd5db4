package history

import (
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/eider-analytics/eider/store/event"
)

// A decoder turns a Parquet file back into events, in file order.
type decoder struct {
	file    *parquet.File
	columns []*column
	group   int   // index of the next row group
	left    int64 // rows of the current one that have not been read
}

// newDecoder reads the columns named, or all for none.
func newDecoder(f *parquet.File, names []string) (*decoder, error) {
	d := &decoder{file: f}
	wanted := map[string]bool{}
	for _, name := range names {
		if _, ok := fields[name]; !ok {
			return nil, fmt.Errorf("an event has no column %q", name)
		}
		wanted[name] = true
	}
	for i, g := range f.Root().Fields() {
		if len(names) == 0 || wanted[g.Name()] {
			d.columns = append(d.columns, &column{index: i, field: fields[g.Name()], nullable: g.Optional()})
		}
	}
	return d, nil
}

// next overwrites the front of dst with the next events and returns how many,
// 0 after the last. It panics if a damaged file has misled parquet-go.
func (d *decoder) next(dst []event.Event) (int, error) {
	for d.left == 0 {
		groups := d.file.RowGroups()
		if d.group == len(groups) {
			return 0, nil
		}
		d.left = groups[d.group].NumRows()
		chunks := groups[d.group].ColumnChunks()
		for _, c := range d.columns {
			c.open(chunks[c.index])
		}
		d.group++
	}
	dst = dst[:min(int64(len(dst)), d.left)]
	for i := range dst {
		dst[i] = event.Event{Scroll: event.NoScroll}
	}
	for _, c := range d.columns {
		if err := c.read(dst); err != nil {
			return 0, fmt.Errorf("row group %d, column %s: %w", d.group-1, event.Columns[c.index].Name, err)
		}
	}
	d.left -= int64(len(dst))
	return len(dst), nil
}

func (d *decoder) close() {
	for _, c := range d.columns {
		c.close()
	}
}

// A column reads the values of one column chunk after the other.
type column struct {
	field
	index    int
	nullable bool

	pages parquet.Pages
	page  parquet.Page
	row   int // in the page
	rows  int
	value int // in the page's values, which leave out the nulls
	vals  values

	// The chunk's dictionary, in memory of its own.
	dict  parquet.Dictionary
	texts []string
	nums  []int64
	ids   []event.ID
}

// values are those of one page, in parquet-go's memory.
type values struct {
	levels  []byte  // 0 is null; nil if there are no nulls
	index   []int32 // in the dictionary; nil without one
	bytes   []byte
	offsets []uint32
	int64s  []int64
	int32s  []int32
}

func (c *column) open(chunk parquet.ColumnChunk) {
	c.close()
	c.pages = chunk.Pages()
}

func (c *column) close() {
	c.release()
	if c.pages != nil {
		c.pages.Close()
		c.pages = nil
	}
	c.dict, c.texts, c.nums, c.ids = nil, nil, nil, nil
	c.row, c.rows = 0, 0
}

func (c *column) release() {
	if c.page != nil {
		parquet.Release(c.page)
		c.page, c.vals = nil, values{}
	}
}

func (c *column) read(dst []event.Event) error {
	for len(dst) > 0 {
		if c.row == c.rows {
			if err := c.nextPage(); err != nil {
				return err
			}
			continue
		}
		n := min(len(dst), c.rows-c.row)
		for i := range dst[:n] {
			c.set(&dst[i])
		}
		dst = dst[n:]
	}
	return nil
}

func (c *column) nextPage() error {
	c.release()
	page, err := c.pages.ReadPage()
	if err == io.EOF {
		return fmt.Errorf("has fewer rows than the row group: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	c.page, c.row, c.rows, c.value = page, 0, int(page.NumRows()), 0
	if c.nullable {
		c.vals.levels = page.DefinitionLevels()
	}
	if d := page.Dictionary(); d != nil {
		if d != c.dict {
			c.dict = d
			c.readDict(d)
		}
		data := page.Data()
		c.vals.index = data.Int32()
		return nil
	}
	c.vals.set(page.Data())
	return nil
}

func (v *values) set(data encoding.Values) {
	switch data.Kind() {
	case encoding.ByteArray:
		v.bytes, v.offsets = data.ByteArray()
	case encoding.FixedLenByteArray:
		v.bytes, _ = data.FixedLenByteArray()
	case encoding.Boolean:
		v.bytes = data.Boolean()
	case encoding.Int32:
		v.int32s = data.Int32()
	case encoding.Int64:
		v.int64s = data.Int64()
	}
}

// readDict copies the dictionary, so that the events do not hold on to pages
// and equal texts are one.
func (c *column) readDict(d parquet.Dictionary) {
	var v values
	v.set(d.Page().Data())
	c.texts, c.nums, c.ids = nil, nil, nil
	for i := range d.Len() {
		switch {
		case c.text != nil:
			c.texts = append(c.texts, v.textAt(i))
		case c.id != nil:
			c.ids = append(c.ids, v.idAt(i))
		case c.num4 != nil:
			c.nums = append(c.nums, int64(v.int32s[i]))
		default:
			c.nums = append(c.nums, v.int64s[i])
		}
	}
}

func (v *values) textAt(i int) string {
	return string(v.bytes[v.offsets[i]:v.offsets[i+1]])
}

func (v *values) idAt(i int) event.ID {
	return event.ID(v.bytes[i*len(event.ID{}):][:len(event.ID{})])
}

// set puts the next value into e, unless it is null.
func (c *column) set(e *event.Event) {
	row := c.row
	c.row++
	if c.nullable && c.vals.levels[row] == 0 {
		return
	}
	i := c.value
	c.value++
	v := &c.vals
	switch {
	case c.text != nil && v.index != nil:
		*c.text(e) = c.texts[v.index[i]]
	case c.text != nil:
		*c.text(e) = v.textAt(i)
	case c.num != nil && v.index != nil:
		*c.num(e) = c.nums[v.index[i]]
	case c.num != nil:
		*c.num(e) = v.int64s[i]
	case c.num4 != nil && v.index != nil:
		*c.num4(e) = int32(c.nums[v.index[i]])
	case c.num4 != nil:
		*c.num4(e) = v.int32s[i]
	case c.flag != nil:
		*c.flag(e) = v.bytes[i/8]>>(i%8)&1 != 0
	case v.index != nil:
		*c.id(e) = c.ids[v.index[i]]
	default:
		*c.id(e) = v.idAt(i)
	}
}
