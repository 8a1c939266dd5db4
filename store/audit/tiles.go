package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of C2SP's tiles: 256 hashes in each.
const tileHeight = 8

const tileWidth = 1 << tileHeight

// ErrTilePath is returned for a path that no tile has.
var ErrTilePath = errors.New("no path of a tile")

// parseTile reads tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]. The level of a
// bundle of entries is -1.
func parseTile(path string) (tlog.Tile, error) {
	bad := fmt.Errorf("%w: %.100q", ErrTilePath, path)
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || len(path) > 100 || strings.HasPrefix(rest, "data") {
		return tlog.Tile{}, bad
	}
	if entries, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + entries
	}
	inner := fmt.Sprintf("tile/%d/%s", tileHeight, rest)
	t, err := tlog.ParseTilePath(inner)
	if err != nil || t.Path() != inner || t.L > 7 || t.N < 0 || t.N > math.MaxInt64>>(tileHeight*(max(t.L, 0)+1)) {
		return tlog.Tile{}, bad
	}
	return t, nil
}

// tilePath is the inverse of parseTile.
func tilePath(t tlog.Tile) string {
	rest := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	if bundle, ok := strings.CutPrefix(rest, "data/"); ok {
		rest = "entries/" + bundle
	}
	return "tile/" + rest
}

// Tile returns a file of a chain as c2sp.org/tlog-tiles has it: "checkpoint", a tile
// of hashes, or a bundle of entries. It is [ErrTilePath] for a path that is none, and
// [ErrNotFound] for what the newest checkpoint does not cover and for leaves that were
// pruned.
func Tile(ctx context.Context, log Log, path string) ([]byte, error) {
	var t tlog.Tile
	if path != "checkpoint" {
		var err error
		if t, err = parseTile(path); err != nil {
			return nil, err
		}
	}
	_, end, err := log.Extent(ctx)
	if err != nil {
		return nil, fmt.Errorf("read audit tile: %w", err)
	}
	c, err := Newest(ctx, log, "", end)
	if err != nil || path == "checkpoint" {
		return c.Note, err
	}
	if have := tileEntries(c.Size, t.L); t.N<<tileHeight+int64(t.W) > have {
		return nil, fmt.Errorf("%w: the newest checkpoint is of %d entries", ErrNotFound, c.Size)
	}
	return readTile(ctx, log, t)
}

// tileEntries returns how many hashes, or entries, a chain of a size has on a level
// of tiles.
func tileEntries(size int64, level int) int64 { return size >> (tileHeight * max(level, 0)) }

func readTile(ctx context.Context, log Log, t tlog.Tile) ([]byte, error) {
	if t.L >= 0 {
		data, err := tlog.ReadTileData(t, log)
		if err != nil {
			return nil, fmt.Errorf("read audit tile %s: %w", tilePath(t), err)
		}
		return data, nil
	}
	from := t.N << tileHeight
	next := from
	var bundle []byte
	err := log.Rows(ctx, from, from+int64(t.W), func(r Row) error {
		if r.Leaf == nil || r.Seq != next || len(r.Leaf) > math.MaxUint16 {
			return ErrNotFound
		}
		next++
		bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(r.Leaf)))
		bundle = append(bundle, r.Leaf...)
		return nil
	})
	if err == nil && next != from+int64(t.W) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read audit entries %s: %w", tilePath(t), err)
	}
	return bundle, nil
}

// tileCheckpoints is a file beside the tiles that the specification does not know:
// NDJSON of all checkpoints, and of the leaves whose bundle lacks others that were
// pruned.
const tileCheckpoints = "checkpoints.ndjson"

// WriteTiles writes the chain, as far as it is signed, as files below a directory, as
// c2sp.org/tlog-tiles has them, with the checkpoint at the end. Beside them it writes
// checkpoints.ndjson, with what the specification has no place for. The directory is
// made; files of the same name are replaced. Nothing is synced.
func WriteTiles(ctx context.Context, log Log, dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write audit tiles: %w", err)
		}
	}()
	_, end, err := log.Extent(ctx)
	if err != nil {
		return err
	}
	newest, err := Newest(ctx, log, "", end)
	if err != nil {
		return err
	}
	for level := -1; level <= 7 && tileEntries(newest.Size, level) > 0; level++ {
		if err := writeLevel(ctx, log, dir, newest.Size, level); err != nil {
			return err
		}
	}
	if err := writeTileCheckpoints(ctx, log, dir, newest.Size); err != nil {
		return err
	}
	return writeTile(dir, "checkpoint", newest.Note)
}

func writeLevel(ctx context.Context, log Log, dir string, size int64, level int) error {
	first, _, err := log.Extent(ctx)
	if err != nil {
		return err
	}
	have := tileEntries(size, level)
	for n := int64(0); n<<tileHeight < have; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		t := tlog.Tile{H: tileHeight, L: level, N: n, W: int(min(tileWidth, have-n<<tileHeight))}
		if level < 0 && n<<tileHeight < first {
			continue // leaves of it were pruned
		}
		data, err := readTile(ctx, log, t)
		if err != nil {
			return err
		}
		if err := writeTile(dir, tilePath(t), data); err != nil {
			return err
		}
	}
	return nil
}

func writeTile(dir, path string, data []byte) error {
	path = filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// lastTile returns the number and the width of the last tile of a level.
func lastTile(size int64, level int) (n int64, width int) {
	have := tileEntries(size, level)
	n = (have - 1) >> tileHeight
	return n, int(have - n<<tileHeight)
}
