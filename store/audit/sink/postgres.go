package sink

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/store/audit"
)

// Postgres keeps copies in the schema eider of a PostgreSQL database, which many
// appliances may share. The schema is made, and brought up to date, when a connection
// is made. Once it is there, a role with these rights is enough:
//
//	GRANT USAGE ON SCHEMA eider TO copier;
//	GRANT SELECT ON eider.schema_version TO copier;
//	GRANT SELECT, INSERT ON eider.audit_entry, eider.audit_checkpoint TO copier;
//	GRANT SELECT, INSERT ON eider.event TO copier;                      -- for events
//	GRANT EXECUTE ON FUNCTION eider.event_month, eider.withdraw_events TO copier;
//
// It uses one connection, of which a call that comes while another runs waits. TLS,
// timeouts and all else are as its URL says; statements end after 10 s if it does not.
type Postgres struct {
	s *session

	// Used in turns of s.
	solid   map[string]int64 // by origin: entries that were seen to be there, by this connection
	checked time.Time        // when solid was last begun anew
}

// recheck is after which time all of an origin is counted again.
const recheck = time.Hour

// NewPostgres returns the sink at a URL. It does not connect yet; an error is that of
// the URL, and does not have it.
func NewPostgres(url string) (*Postgres, error) {
	s, err := newSession(url)
	if err != nil {
		return nil, err
	}
	p := &Postgres{s: s, solid: make(map[string]int64)}
	s.fresh = p.forget // what another connection saw may have been restored away
	return p, nil
}

func (p *Postgres) forget() {
	clear(p.solid)
	p.checked = time.Now()
}

// seeing has the next Mark count anew when entries turn out to be missing.
func (p *Postgres) seeing(err error) error {
	if errors.Is(err, ErrGap) {
		p.forget()
	}
	return err
}

// Name is "postgres".
func (p *Postgres) Name() string { return "postgres" }

// Close closes the connection.
func (p *Postgres) Close() error { return p.s.close() }

// Mark returns the first seq that is not there. It counts: in full with every new
// connection and every hour, else only what is new.
func (p *Postgres) Mark(ctx context.Context, origin string) (next int64, err error) {
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		if time.Since(p.checked) > recheck {
			p.forget()
		}
		next, err = contiguous(ctx, conn, origin, p.solid[origin])
		if err == nil {
			p.solid[origin] = next
		}
		return err
	})
	return next, err
}

// countChunk is how many entries one statement of contiguous counts, so that it ends
// in good time however long the chain is.
const countChunk = 500_000

// contiguous returns the first seq that is not there, if all below from are taken to be
// unless the last of them is not.
func contiguous(ctx context.Context, conn *pgx.Conn, origin string, from int64) (int64, error) {
	const chunk = `SELECT count(*), coalesce(max(seq), -1) FROM eider.audit_entry WHERE origin = $1 AND seq >= $2 AND seq < $3`
	var count, last int64
	if from > 0 {
		if err := conn.QueryRow(ctx, chunk, origin, from-1, from).Scan(&count, &last); err != nil {
			return 0, err
		}
		if count == 0 {
			from = 0
		}
	}
	for {
		if err := conn.QueryRow(ctx, chunk, origin, from, from+countChunk).Scan(&count, &last); err != nil {
			return 0, err
		}
		if count == 0 {
			return from, nil
		}
		if last != from+count-1 {
			return firstHole(ctx, conn, origin, from)
		}
		from = last + 1
	}
}

// firstHole returns the first seq from from on that is not there.
func firstHole(ctx context.Context, conn *pgx.Conn, origin string, from int64) (next int64, err error) {
	err = conn.QueryRow(ctx, `SELECT coalesce(min(n), $2) FROM (
		SELECT seq + 1 AS n, lead(seq) OVER (ORDER BY seq) AS after, min(seq) OVER () AS least
		FROM eider.audit_entry WHERE origin = $1 AND seq >= $2 AND seq < $3) e
		WHERE least = $2 AND after IS DISTINCT FROM n`, origin, from, from+countChunk).Scan(&next)
	return next, err
}

// Noted returns the size of the newest checkpoint of an origin, 0 if there is none.
func (p *Postgres) Noted(ctx context.Context, origin string) (size int64, err error) {
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(max(size), 0) FROM eider.audit_checkpoint WHERE origin = $1`, origin).Scan(&size)
	})
	return size, err
}

// Put adds all or nothing.
func (p *Postgres) Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (inserted int, err error) {
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return p.seeing(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			inserted, err = putRows(ctx, tx, origin, rows)
			if err != nil {
				return err
			}
			return putCheckpoints(ctx, tx, origin, checkpoints)
		}))
	})
	if err != nil {
		return 0, err
	}
	return inserted, nil
}

// putRows inserts rows whose predecessor is there, and compares those that were.
func putRows(ctx context.Context, tx pgx.Tx, origin string, rows []audit.Row) (inserted int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	if err := anchored(ctx, tx, origin, &rows[0]); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO eider.audit_entry (origin, seq, time, kind, outcome, actor, object, request, leaf, hashes)
		SELECT $1, * FROM unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bytea[])
		ON CONFLICT DO NOTHING`, append([]any{origin}, columns(rows)...)...)
	if err != nil {
		return 0, fmt.Errorf("insert: %w", err)
	}
	if inserted = int(tag.RowsAffected()); inserted == len(rows) {
		return inserted, nil
	}
	return inserted, compareRows(ctx, tx, origin, rows)
}

// anchored returns ErrGap if the entry before row is not there, and a Fork if it is not
// the one that row names.
func anchored(ctx context.Context, tx pgx.Tx, origin string, row *audit.Row) error {
	if row.Seq == 0 {
		return nil
	}
	var link []byte
	err := tx.QueryRow(ctx, `SELECT substring(hashes FROM 1 FOR 32) FROM eider.audit_entry WHERE origin = $1 AND seq = $2`,
		origin, row.Seq-1).Scan(&link)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("entry %d: %w", row.Seq-1, ErrGap)
	}
	if err != nil || row.Leaf == nil {
		return err
	}
	leaf, err := audit.Parse(row.Leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", row.Seq, err)
	}
	if string(leaf.Prev[:]) != string(link) {
		return &Fork{Sink: "postgres", Origin: origin, Seq: row.Seq - 1, What: "link"}
	}
	return nil
}

// columns returns rows as one slice for each column, in the order of the table.
func columns(rows []audit.Row) []any {
	n := len(rows)
	seqs, times := make([]int64, n), make([]time.Time, n)
	texts := [5][]string{}
	for i := range texts {
		texts[i] = make([]string, n)
	}
	leaves, hashes := make([][]byte, n), make([][]byte, n)
	for i, r := range rows {
		seqs[i], times[i], leaves[i], hashes[i] = r.Seq, time.UnixMicro(r.Time), r.Leaf, r.Hashes
		for j, text := range rowTexts(&r) {
			texts[j][i] = text
		}
	}
	return []any{seqs, times, texts[0], texts[1], texts[2], texts[3], texts[4], leaves, hashes}
}

func rowTexts(r *audit.Row) [5]string {
	return [5]string{string(r.Kind), string(r.Outcome), r.Actor, r.Object, r.Request}
}

// putCheckpoints inserts checkpoints and compares the roots of those that were there.
func putCheckpoints(ctx context.Context, tx pgx.Tx, origin string, list []audit.Checkpoint) error {
	if len(list) == 0 {
		return nil
	}
	n := len(list)
	sizes, times, roots, notes := make([]int64, n), make([]time.Time, n), make([][]byte, n), make([][]byte, n)
	for i, c := range list {
		sizes[i], times[i], roots[i], notes[i] = c.Size, time.UnixMicro(c.Time), c.Root[:], c.Note
	}
	_, err := tx.Exec(ctx, `INSERT INTO eider.audit_checkpoint (origin, size, root, time, note)
		SELECT $1, * FROM unnest($2::bigint[], $3::bytea[], $4::timestamptz[], $5::bytea[])
		ON CONFLICT DO NOTHING`, origin, sizes, roots, times, notes)
	if err != nil {
		return fmt.Errorf("insert checkpoints: %w", err)
	}
	return compareCheckpoints(ctx, tx, origin, list)
}

// Compare reads no leaves: the server hashes them.
func (p *Postgres) Compare(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) error {
	return p.s.do(ctx, func(conn *pgx.Conn) error {
		return p.seeing(pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if err := compareRows(ctx, tx, origin, rows); err != nil {
				return err
			}
			return compareCheckpoints(ctx, tx, origin, checkpoints)
		}))
	})
}

func compareRows(ctx context.Context, tx pgx.Tx, origin string, rows []audit.Row) error {
	if len(rows) == 0 {
		return nil
	}
	there, err := tx.Query(ctx, `SELECT seq, time, kind, outcome, actor, object, request, hashes,
			leaf IS NOT NULL, coalesce(sha256('\x00'::bytea || leaf) = substring(hashes FROM 1 FOR 32), true)
		FROM eider.audit_entry WHERE origin = $1 AND seq >= $2 AND seq < $3 ORDER BY seq`,
		origin, rows[0].Seq, rows[0].Seq+int64(len(rows)))
	if err != nil {
		return err
	}
	defer there.Close()
	for _, r := range rows {
		if !there.Next() {
			if err := there.Err(); err != nil {
				return err
			}
			return fmt.Errorf("entry %d: %w", r.Seq, ErrGap)
		}
		var t copied
		if err := there.Scan(&t.seq, &t.time, &t.texts[0], &t.texts[1], &t.texts[2], &t.texts[3], &t.texts[4], &t.hashes, &t.leaf, &t.sound); err != nil {
			return err
		}
		if t.seq != r.Seq {
			return fmt.Errorf("entry %d: %w", r.Seq, ErrGap)
		}
		if what := t.differs(&r); what != "" {
			return &Fork{Sink: "postgres", Origin: origin, Seq: r.Seq, What: what}
		}
	}
	return there.Err()
}

// copied is a row there.
type copied struct {
	seq    int64
	time   time.Time
	texts  [5]string
	hashes []byte
	leaf   bool // there is one
	sound  bool // its hash is the link
}

// differs returns what there is another of, "" if nothing. Of a leaf that was pruned
// here, only the link is known.
func (t *copied) differs(r *audit.Row) string {
	switch {
	case string(t.hashes) != string(r.Hashes):
		return "link"
	case !t.sound:
		return "leaf"
	case r.Leaf == nil:
		return ""
	case !t.leaf:
		return "leaf" // none
	case t.time.UnixMicro() != r.Time:
		return "time"
	case t.texts != rowTexts(r):
		return "kind, outcome, actor, object or request"
	}
	return ""
}

// compareCheckpoints compares those of the sizes of list: the one root of a size must
// be there, in the column as in the note, and all that are in list.
func compareCheckpoints(ctx context.Context, tx pgx.Tx, origin string, list []audit.Checkpoint) error {
	if len(list) == 0 {
		return nil
	}
	roots, sizes := make(map[int64][]byte), make([]int64, 0, len(list))
	for _, c := range list {
		if known, ok := roots[c.Size]; ok && string(known) != string(c.Root[:]) {
			return fmt.Errorf("two checkpoints of size %d: %w", c.Size, audit.ErrRolledBack)
		}
		roots[c.Size], sizes = c.Root[:], append(sizes, c.Size)
	}
	there, err := tx.Query(ctx, `SELECT size, root, note FROM eider.audit_checkpoint WHERE origin = $1 AND size = ANY($2)`, origin, sizes)
	if err != nil {
		return err
	}
	defer there.Close()
	found := make(map[[sha256.Size]byte]bool)
	for there.Next() {
		var size int64
		var root, note []byte
		if err := there.Scan(&size, &root, &note); err != nil {
			return err
		}
		signed := origin + "\n" + strconv.FormatInt(size, 10) + "\n" + base64.StdEncoding.EncodeToString(roots[size]) + "\n"
		if string(root) != string(roots[size]) || !strings.HasPrefix(string(note), signed) {
			return &Fork{Sink: "postgres", Origin: origin, Seq: size, What: "checkpoint"}
		}
		found[sha256.Sum256(note)] = true
	}
	if err := there.Err(); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(c audit.Checkpoint) bool { return !found[sha256.Sum256(c.Note)] }) {
		return fmt.Errorf("checkpoints: %w", ErrGap)
	}
	return nil
}
