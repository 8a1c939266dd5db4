package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/eider-analytics/eider/store/audit"
)

// ErrNoCopy is returned when a database has no copy of the chain that was asked for.
var ErrNoCopy = errors.New("there is no copy of an audit chain")

// A PostgresLog is a copy read back: an [audit.Log] of one moment, whatever is copied
// meanwhile. It only reads, changes no schema, and is for one goroutine at a time.
type PostgresLog struct {
	conn   *pgx.Conn
	tx     pgx.Tx
	origin string
	ctx    context.Context // for ReadHashes, which is given none
}

// OpenPostgresLog opens the copy of an origin, or of the only one that the database
// has copies of if origin is empty. ctx is that of the hashes too.
func OpenPostgresLog(ctx context.Context, url, origin string) (*PostgresLog, error) {
	s, err := newSession(url)
	if err != nil {
		return nil, err
	}
	// A copy is read as slowly as whoever verifies it works.
	s.config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	l := &PostgresLog{conn: conn, origin: origin, ctx: ctx}
	if err := l.begin(ctx); err != nil {
		closeConn(conn)
		return nil, fmt.Errorf("open the copy in PostgreSQL: %w", err)
	}
	return l, nil
}

func (l *PostgresLog) begin(ctx context.Context) (err error) {
	if l.tx, err = l.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, l.tx)
	if err != nil {
		return err
	}
	if version == 0 {
		return fmt.Errorf("%w: the database has no schema eider", ErrNoCopy)
	}
	list, err := origins(ctx, l.tx, "audit_entry", "")
	if err != nil {
		return err
	}
	if l.origin != "" {
		for _, o := range list {
			if o == l.origin {
				return nil
			}
		}
		return fmt.Errorf("%w called %q among %s", ErrNoCopy, l.origin, some(list))
	}
	if len(list) == 0 {
		return ErrNoCopy
	}
	if len(list) > 1 {
		return fmt.Errorf("there are copies of %d chains, name one: %s", len(list), some(list))
	}
	l.origin = list[0]
	return nil
}

// some returns the first of a list for a message.
func some(list []string) string {
	if len(list) > 10 {
		return strings.Join(list[:10], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

// origins returns those that begin with prefix, by steps along the primary key: not by
// reading it all.
func origins(ctx context.Context, tx pgx.Tx, table, prefix string) ([]string, error) {
	rows, err := tx.Query(ctx, `WITH RECURSIVE o (origin) AS (
		(SELECT origin FROM eider.`+table+` WHERE origin >= $1 ORDER BY origin LIMIT 1)
		UNION ALL
		SELECT (SELECT t.origin FROM eider.`+table+` t WHERE t.origin > o.origin ORDER BY t.origin LIMIT 1)
		FROM o WHERE starts_with(o.origin, $1))
		SELECT origin FROM o WHERE starts_with(origin, $1)`, prefix)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// Origin returns which chain it is.
func (l *PostgresLog) Origin() string { return l.origin }

// Close ends the transaction and the connection.
func (l *PostgresLog) Close() error {
	closeConn(l.conn)
	return nil
}

// Extent implements [audit.Log].
func (l *PostgresLog) Extent(ctx context.Context) (first, end int64, err error) {
	err = l.tx.QueryRow(ctx, `SELECT coalesce(max(seq) + 1, 0) FROM eider.audit_entry WHERE origin = $1`, l.origin).Scan(&end)
	if err != nil || end == 0 {
		return 0, 0, err
	}
	err = l.tx.QueryRow(ctx, `SELECT seq FROM eider.audit_entry WHERE origin = $1 AND leaf IS NOT NULL ORDER BY seq LIMIT 1`, l.origin).Scan(&first)
	if errors.Is(err, pgx.ErrNoRows) {
		return end, end, nil
	}
	return first, end, err
}

// logPage is how many rows are read at once: of 64 KiB at most, so 16 MiB at worst.
const logPage = 256

// Rows implements [audit.Log].
func (l *PostgresLog) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	for from < to {
		rows, err := l.page(ctx, from, to)
		if err != nil {
			return fmt.Errorf("read the copy from entry %d: %w", from, err)
		}
		for _, r := range rows {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(rows) < logPage {
			return nil
		}
		from = rows[len(rows)-1].Seq + 1
	}
	return nil
}

func (l *PostgresLog) page(ctx context.Context, from, to int64) ([]audit.Row, error) {
	rows, err := l.tx.Query(ctx, `SELECT seq, time, kind, outcome, actor, object, request, leaf, hashes
		FROM eider.audit_entry WHERE origin = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4`, l.origin, from, to, logPage)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r audit.Row, err error) {
		var at time.Time
		err = row.Scan(&r.Seq, &at, &r.Kind, &r.Outcome, &r.Actor, &r.Object, &r.Request, &r.Leaf, &r.Hashes)
		r.Time = at.UnixMicro()
		return r, err
	})
}

// Checkpoints implements [audit.Log]. What a checkpoint says is read from its note by
// whoever verifies it; the columns are what they are.
func (l *PostgresLog) Checkpoints(ctx context.Context, after int64, fn func(audit.Checkpoint) error) error {
	for {
		rows, err := l.tx.Query(ctx, checkpointsOf+` WHERE origin = $1 AND size > $2 ORDER BY size
			FETCH FIRST $3 ROWS WITH TIES`, l.origin, after, logPage)
		if err != nil {
			return fmt.Errorf("read the copy's checkpoints: %w", err)
		}
		list, err := pgx.CollectRows(rows, scanCheckpoint)
		if err != nil {
			return fmt.Errorf("read the copy's checkpoints: %w", err)
		}
		for _, c := range list {
			if err := fn(c); err != nil {
				return err
			}
		}
		if len(list) < logPage {
			return nil
		}
		after = list[len(list)-1].Size
	}
}

const checkpointsOf = `SELECT origin, size, root, time, note FROM eider.audit_checkpoint`

func scanCheckpoint(row pgx.CollectableRow) (c audit.Checkpoint, err error) {
	var root []byte
	var at time.Time
	err = row.Scan(&c.Origin, &c.Size, &root, &at, &c.Note)
	copy(c.Root[:], root)
	c.Time = at.UnixMicro()
	return c, err
}

// ReadHashes implements [tlog.HashReader].
func (l *PostgresLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	seqs, at := make([]int64, len(indexes)), make([]int, len(indexes))
	for i, index := range indexes {
		if index < 0 || index > math.MaxInt64/4 {
			return nil, fmt.Errorf("there is no hash %d in a tree", index)
		}
		seqs[i], at[i] = audit.Locate(index)
	}
	rows, err := l.tx.Query(l.ctx, `SELECT seq, hashes FROM eider.audit_entry WHERE origin = $1 AND seq = ANY($2)`, l.origin, seqs)
	if err != nil {
		return nil, fmt.Errorf("read hashes of the copy: %w", err)
	}
	have := make(map[int64][]byte)
	var seq int64
	var hashes []byte
	if _, err := pgx.ForEachRow(rows, []any{&seq, &hashes}, func() error {
		have[seq], hashes = hashes, nil
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read hashes of the copy: %w", err)
	}
	list := make([]tlog.Hash, len(indexes))
	for i, seq := range seqs {
		if len(have[seq]) < 32*(at[i]+1) {
			return nil, fmt.Errorf("the copy has no hash %d of entry %d", at[i], seq)
		}
		copy(list[i][:], have[seq][32*at[i]:])
	}
	return list, nil
}

// NewestCheckpoint returns the newest checkpoint that the database has of an instance:
// the largest of its last incarnation. It is [ErrNoCopy] if there is none. It has not
// been verified.
func (p *Postgres) NewestCheckpoint(ctx context.Context, instance string) (c audit.Checkpoint, err error) {
	prefix := "eider/" + instance + "/"
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			list, err := origins(ctx, tx, "audit_checkpoint", prefix)
			if err != nil {
				return err
			}
			last := int64(0)
			for _, o := range list {
				n, err := strconv.ParseInt(strings.TrimPrefix(o, prefix), 10, 64)
				if err == nil && n > last {
					last = n
				}
			}
			rows, err := tx.Query(ctx, checkpointsOf+` WHERE origin = $1 ORDER BY size DESC, received_at DESC LIMIT 1`, prefix+strconv.FormatInt(last, 10))
			if err != nil {
				return err
			}
			c, err = pgx.CollectExactlyOneRow(rows, scanCheckpoint)
			return err
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNoCopy
	}
	if err != nil {
		return c, fmt.Errorf("read the newest checkpoint in PostgreSQL: %w", err)
	}
	return c, nil
}
