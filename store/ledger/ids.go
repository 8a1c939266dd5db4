package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/eider-analytics/eider/store/fault"
)

// EntrySize is the size of an entry of the idempotency window:
//
//	+--------------------+----------------------+
//	| key: id hash (16B) | body: body hash (8B) |
//	+--------------------+----------------------+
const EntrySize = 24

const (
	keySize     = 16
	pageEntries = 170 // 4,080 bytes: one read finds an entry
	pagesAtOnce = 64  // written or deleted while appends wait

	findPage = `SELECT entries FROM id_pages WHERE block = ? AND first <= ? ORDER BY first DESC LIMIT 1`
)

// An IDBlock holds the entries of the events of one publish.
type IDBlock struct {
	ID      int64
	Created int64  // when it was committed, µs
	Entries []byte // sorted by key, no key twice
}

// pages cuts sorted entries into pages and leaves out keys that repeat.
func pages(entries []byte) ([][]byte, error) {
	if len(entries)%EntrySize != 0 {
		return nil, fmt.Errorf("%d bytes of ids, no multiple of %d", len(entries), EntrySize)
	}
	var all [][]byte
	var page, last []byte
	for e := range slices.Chunk(entries, EntrySize) {
		key := e[:keySize]
		switch c := bytes.Compare(last, key); {
		case last != nil && c > 0:
			return nil, errors.New("ids are not sorted")
		case last != nil && c == 0:
			continue
		}
		if len(page) == pageEntries*EntrySize {
			all, page = append(all, page), nil
		}
		page, last = append(page, e...), key
	}
	if page != nil {
		all = append(all, page)
	}
	return all, nil
}

// writePages stores the pages of a new block that is not listed yet, and returns
// the block's id; 0 if there are no entries.
func (l *Ledger) writePages(ctx context.Context, entries []byte) (block int64, err error) {
	all, err := pages(entries)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	l.block++ // even if it comes to nothing: pages may be left under this id
	fault.Point("ledger: before id pages")
	for some := range slices.Chunk(all, pagesAtOnce) {
		err := l.write(ctx, l.bulk, func(tx *sql.Tx) error { return insertPages(tx, l.block, some) })
		if err != nil {
			return 0, fmt.Errorf("write ids: %w", err)
		}
	}
	fault.Point("ledger: after id pages")
	return l.block, nil
}

func insertPages(tx *sql.Tx, block int64, some [][]byte) error {
	stmt, err := tx.Prepare(`INSERT INTO id_pages (block, first, entries) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, p := range some {
		if _, err := stmt.Exec(block, p[:keySize], p); err != nil {
			return err
		}
	}
	return nil
}

// listBlock makes a block count.
func (l *Ledger) listBlock(tx *sql.Tx, block int64, bytes int) error {
	if block == 0 {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO id_blocks (id, created, bytes) VALUES (?, ?, ?)`, block, l.now(), bytes)
	return err
}

// IDBlocks calls fn with every block whose ID is above after, oldest first. fn
// may keep the entries, and ends the walk with an error, which IDBlocks returns.
func (l *Ledger) IDBlocks(ctx context.Context, after int64, fn func(IDBlock) error) error {
	blocks, err := l.blocks(ctx, after)
	if err != nil {
		return fmt.Errorf("read ids: %w", err)
	}
	for _, b := range blocks {
		if b.Entries, err = l.entries(ctx, b.ID); err != nil {
			return fmt.Errorf("read ids: %w", err)
		}
		if err := fn(b); err != nil {
			return err
		}
	}
	return nil
}

// blocks returns the listed blocks above after, without their entries.
func (l *Ledger) blocks(ctx context.Context, after int64) ([]IDBlock, error) {
	rows, err := l.read.QueryContext(ctx, `SELECT id, created FROM id_blocks WHERE id > ? ORDER BY id`, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var blocks []IDBlock
	for rows.Next() {
		var b IDBlock
		if err := rows.Scan(&b.ID, &b.Created); err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	return blocks, rows.Err()
}

func (l *Ledger) entries(ctx context.Context, block int64) ([]byte, error) {
	rows, err := l.read.QueryContext(ctx, `SELECT entries FROM id_pages WHERE block = ? ORDER BY first`, block)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []byte
	for rows.Next() {
		var page sql.RawBytes
		if err := rows.Scan(&page); err != nil {
			return nil, err
		}
		all = append(all, page...)
	}
	return all, rows.Err()
}

// FindID looks up one key in one block, by reading one page.
func (l *Ledger) FindID(ctx context.Context, block int64, key [16]byte) (body [8]byte, found bool, err error) {
	var page []byte
	err = l.find.QueryRowContext(ctx, block, key[:]).Scan(&page)
	if errors.Is(err, sql.ErrNoRows) {
		return body, false, nil
	}
	if err != nil {
		return body, false, fmt.Errorf("find id: %w", err)
	}
	lo, hi := 0, len(page)/EntrySize
	for lo < hi {
		mid := (lo + hi) / 2
		e := page[mid*EntrySize:][:EntrySize]
		switch c := bytes.Compare(e[:keySize], key[:]); {
		case c == 0:
			return [8]byte(e[keySize:]), true, nil
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return body, false, nil
}

// DropIDBlocks deletes the blocks created before a time in µs and returns their
// ids. The next Open finishes what a crash interrupts.
func (l *Ledger) DropIDBlocks(ctx context.Context, before int64) ([]int64, error) {
	l.commits.Lock()
	defer l.commits.Unlock()
	blocks, err := l.blocks(ctx, 0)
	if err != nil {
		return nil, fmt.Errorf("drop ids: %w", err)
	}
	var ids []int64
	for _, b := range blocks {
		if b.Created < before {
			ids = append(ids, b.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	err = l.write(ctx, l.main, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM id_blocks WHERE created < ?`, before)
		return err
	})
	if err == nil {
		err = l.sweepPages(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("drop ids: %w", err)
	}
	return ids, nil
}

// sweepPages deletes the pages of blocks that are not listed, a few at a time.
// The caller holds commits or is alone.
func (l *Ledger) sweepPages(ctx context.Context) error {
	blocks, err := l.blocks(ctx, 0)
	if err != nil {
		return err
	}
	listed := make(map[int64]bool)
	for _, b := range blocks {
		listed[b.ID] = true
	}
	for block := int64(0); ; {
		// One seek a block: a scan would read all the pages at every start.
		err := l.read.QueryRowContext(ctx, `SELECT block FROM id_pages WHERE block > ? ORDER BY block LIMIT 1`, block).Scan(&block)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil
		case err != nil:
			return err
		case listed[block]:
			continue
		}
		if err := l.dropPages(ctx, block); err != nil {
			return err
		}
	}
}

func (l *Ledger) dropPages(ctx context.Context, block int64) error {
	for more := true; more; {
		err := l.write(ctx, l.bulk, func(tx *sql.Tx) error {
			r, err := tx.Exec(`
				DELETE FROM id_pages WHERE block = ?1 AND first IN (
					SELECT first FROM id_pages WHERE block = ?1 ORDER BY first LIMIT ?2)`, block, pagesAtOnce)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			more = n == pagesAtOnce
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
