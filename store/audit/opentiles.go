package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// firstAfter returns the index of the first checkpoint of a size above after.
func firstAfter(list []Checkpoint, after int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].Size > after })
}

// A tileDir is a directory of tiles, as far as its checkpoint covers it.
type tileDir struct {
	dir         string
	size        int64
	checkpoints []Checkpoint // by size, with the newest
	leaves      map[int64][]byte
	tiles       map[int]loadedTile // the last that was read of each level
}

type loadedTile struct {
	t    tlog.Tile
	data []byte
}

// OpenTiles opens what [WriteTiles] has written. All of it is read: a tile whose
// hashes do not follow from the entries is a [Damage].
func OpenTiles(dir string) (*File, error) {
	d := &tileDir{dir: dir, leaves: make(map[int64][]byte), tiles: make(map[int]loadedTile)}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open audit tiles %s: %w", dir, err)
	}
	log := newFile(new(Chain))
	for n := int64(0); n*tileWidth < d.size; n++ {
		entries, err := d.entries(n)
		if err != nil {
			return nil, fmt.Errorf("open audit tiles %s: %w", dir, err)
		}
		for _, i := range entries {
			nodes := log.add(i)
			if err := d.compare(log.chain.size, nodes); err != nil {
				return nil, fmt.Errorf("open audit tiles %s: %w", dir, err)
			}
		}
	}
	log.scan = func(ctx context.Context, n int, fn func(item) error) error { return d.scan(ctx, int64(n), fn) }
	return log, nil
}

// open reads the checkpoints.
func (d *tileDir) open() error {
	note, err := os.ReadFile(filepath.Join(d.dir, "checkpoint"))
	if err != nil {
		return err
	}
	newest, _, err := ParseCheckpoint(note)
	if err != nil {
		return &Damage{Seq: -1, What: "checkpoint: " + err.Error()}
	}
	d.size = newest.Size
	if err := d.side(); err != nil {
		return err
	}
	switch n := len(d.checkpoints); {
	case n == 0 || d.checkpoints[n-1].Size < newest.Size:
		d.checkpoints = append(d.checkpoints, newest)
	case d.checkpoints[n-1].Size > newest.Size:
		return &Damage{Seq: newest.Size, What: fmt.Sprintf("%s has a checkpoint of %d entries", tileCheckpoints, d.checkpoints[n-1].Size), Truncated: true}
	case string(d.checkpoints[n-1].Note) != string(note):
		return &Damage{Seq: newest.Size - 1, What: "the newest checkpoint is there in two forms"}
	}
	return nil
}

// side reads what is beside the tiles. A directory without it is one that another
// program has copied.
func (d *tileDir) side() error {
	f, err := os.Open(filepath.Join(d.dir, tileCheckpoints))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines, ended := newLines(f), false
	for number := 1; ; number++ {
		text, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil && err != errCut && err != errLong {
			return err
		}
		if err == nil && ended {
			err = errors.New("it is after the end")
		}
		if err == nil && bytes.HasPrefix(text, []byte(`{"end":`)) {
			ended, err = true, d.ends(text)
		} else if err == nil {
			err = d.take(bytes.Clone(text))
		}
		if err != nil {
			return &Damage{Seq: -1, What: fmt.Sprintf("%s, line %d: %v", tileCheckpoints, number, err), Truncated: err == errCut}
		}
	}
	if !ended {
		return &Damage{Seq: -1, What: tileCheckpoints + ": the end is missing", Truncated: true}
	}
	return nil
}

// take takes a line of what is beside the tiles.
func (d *tileDir) take(text []byte) error {
	i, err := parseItem(text)
	switch {
	case err != nil:
		return err
	case i.checkpoint == nil:
		l, err := Parse(i.row.Leaf)
		if err == nil && (d.leaves[l.Seq] != nil || len(d.leaves) == tileWidth) {
			err = errors.New("there are more leaves than there should be")
		}
		if err == nil {
			d.leaves[l.Seq] = i.row.Leaf
		}
		return err
	case i.checkpoint.Size < 1 || len(d.checkpoints) > 0 && i.checkpoint.Size < d.checkpoints[len(d.checkpoints)-1].Size:
		return errors.New("a checkpoint stands after a larger one")
	}
	d.checkpoints = append(d.checkpoints, *i.checkpoint)
	return nil
}

func (d *tileDir) ends(text []byte) error {
	var l endLine
	err := readLine(text, &l)
	if err == nil && (l.End.Checkpoints != int64(len(d.checkpoints)) || l.End.Root != "" || l.End.Size != strconv.Itoa(len(d.leaves))) {
		err = fmt.Errorf("there are %d leaves and %d checkpoints before it", len(d.leaves), len(d.checkpoints))
	}
	return err
}

// writeTileCheckpoints writes what side reads.
func writeTileCheckpoints(ctx context.Context, log Log, dir string, size int64) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, tileCheckpoints), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	first, _, err := log.Extent(ctx)
	if err != nil {
		return err
	}
	var end endLine
	leaves := 0
	boundary := min((first+tileWidth-1)/tileWidth*tileWidth, size)
	err = log.Rows(ctx, first, boundary, func(r Row) error {
		leaves++
		_, err := f.Write(append(slices.Clone(r.Leaf), '\n'))
		return err
	})
	if err != nil {
		return err
	}
	err = log.Checkpoints(ctx, 0, func(c Checkpoint) error {
		if c.Size > size {
			return nil
		}
		end.End.Checkpoints++
		return writeLine(f, checkpointLine{string(c.Note)})
	})
	if err != nil {
		return err
	}
	end.End.Size = strconv.Itoa(leaves)
	return writeLine(f, end)
}

// read reads a tile or a bundle, of which the last one may be partial.
func (d *tileDir) read(level int, n int64) (data []byte, t tlog.Tile, err error) {
	last, width := lastTile(d.size, level)
	t = tlog.Tile{H: tileHeight, L: level, N: n, W: tileWidth}
	if n == last {
		t.W = width
	}
	data, err = os.ReadFile(filepath.Join(d.dir, filepath.FromSlash(tilePath(t))))
	if errors.Is(err, fs.ErrNotExist) && level >= 0 {
		err = d.damage(t, n*tileWidth<<(tileHeight*level), "it is missing")
	}
	return data, t, err
}

// damage is of a file that is not as it should be; at the end it seems cut off.
func (d *tileDir) damage(t tlog.Tile, seq int64, what string) error {
	last, _ := lastTile(d.size, t.L)
	return &Damage{Seq: min(seq, d.size-1), What: tilePath(t) + ": " + what, Truncated: t.N == last && what != wrongHash}
}

const wrongHash = "it has another hash than the entries make"

// entries reads a bundle; of one that is not there the hashes, and what leaves are
// elsewhere.
func (d *tileDir) entries(n int64) (list []item, err error) {
	data, t, err := d.read(-1, n)
	if errors.Is(err, fs.ErrNotExist) {
		return d.prunedEntries(n)
	}
	if err != nil {
		return nil, err
	}
	for range t.W {
		seq := n*tileWidth + int64(len(list))
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return nil, d.damage(t, seq, "it ends too early")
		}
		size := 2 + int(binary.BigEndian.Uint16(data))
		list = append(list, item{row: Row{Leaf: data[2:size:size]}})
		data = data[size:]
	}
	if len(data) > 0 {
		return nil, &Damage{Seq: n*tileWidth + int64(len(list)), What: tilePath(t) + ": there is more after its entries"}
	}
	return list, nil
}

func (d *tileDir) prunedEntries(n int64) (list []item, err error) {
	data, t, err := d.read(0, n)
	if err != nil {
		return nil, err
	}
	if len(data) != t.W*tlog.HashSize {
		return nil, d.damage(t, n*tileWidth, fmt.Sprintf("it has %d bytes", len(data)))
	}
	for k := range t.W {
		link := tlog.Hash(data[k*tlog.HashSize:])
		list = append(list, item{row: Row{Leaf: d.leaves[n*tileWidth+int64(k)]}, link: &link})
	}
	return list, nil
}

// compare compares the nodes that the last entry of a size has completed with the
// tiles.
func (d *tileDir) compare(size int64, nodes []byte) error {
	for level := 0; level < 8 && size&(1<<(tileHeight*level)-1) == 0; level++ {
		at := size>>(tileHeight*level) - 1
		loaded, ok := d.tiles[level]
		if !ok || loaded.t.N != at/tileWidth {
			data, t, err := d.read(level, at/tileWidth)
			if err != nil {
				return err
			}
			if len(data) != t.W*tlog.HashSize {
				return d.damage(t, size-1, fmt.Sprintf("it has %d bytes", len(data)))
			}
			loaded = loadedTile{t, data}
			d.tiles[level] = loaded
		}
		node := nodes[tileHeight*level*tlog.HashSize:][:tlog.HashSize]
		if !bytes.Equal(loaded.data[at%tileWidth*tlog.HashSize:][:tlog.HashSize], node) {
			return d.damage(loaded.t, size-1, wrongHash)
		}
	}
	return nil
}

// scan reads a chunk, and the checkpoints in it.
func (d *tileDir) scan(ctx context.Context, n int64, fn func(item) error) error {
	seq := n * chunk
	for bundle := seq / tileWidth; bundle < (n+1)*chunk/tileWidth && bundle*tileWidth < d.size; bundle++ {
		entries, err := d.entries(bundle)
		if err != nil {
			return err
		}
		for _, i := range entries {
			seq++
			if err := fn(i); err != nil {
				return err
			}
			if err := notes(d.checkpoints, seq-1, seq, fn); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}
