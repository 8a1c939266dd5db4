package sink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/jackc/pgx/v5"
)

// PostgresEvents keeps copies of events in the table eider.event, which has a partition
// for every month. It has a connection of its own; see [Postgres] for all that is the
// same.
type PostgresEvents struct {
	s        *session
	instance string

	months map[time.Time]bool // that this connection has seen to have a partition; used in turns of s
}

// NewPostgresEvents returns the sink of an instance's events at a URL. It does not
// connect yet.
func NewPostgresEvents(url, instance string) (*PostgresEvents, error) {
	s, err := newSession(url)
	if err != nil {
		return nil, err
	}
	p := &PostgresEvents{s: s, instance: instance, months: make(map[time.Time]bool)}
	s.fresh = func() { clear(p.months) }
	return p, nil
}

// Name is "postgres_events".
func (p *PostgresEvents) Name() string { return "postgres_events" }

// Close closes the connection.
func (p *PostgresEvents) Close() error { return p.s.close() }

// Mark returns the newest seq that is there, 0 if there is none.
func (p *PostgresEvents) Mark(ctx context.Context) (seq int64, err error) {
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM eider.event WHERE instance = $1`, p.instance).Scan(&seq)
	})
	return seq, err
}

// Put adds all of a batch that is not there, or nothing. It is a [Fork] if another event
// has the seq of one of them.
func (p *PostgresEvents) Put(ctx context.Context, batch []Event) (inserted int, err error) {
	if len(batch) == 0 {
		return 0, nil
	}
	var months []time.Time
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := p.alone(ctx, tx); err != nil {
				return err
			}
			if batch, err = p.missing(ctx, tx, batch); err != nil || len(batch) == 0 {
				return err
			}
			if months, err = p.partition(ctx, tx, batch); err != nil {
				return err
			}
			inserted, err = p.insert(ctx, tx, batch)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	for _, m := range months {
		p.months[m] = true
	}
	return inserted, nil
}

// missing returns those of a batch that are not there.
func (p *PostgresEvents) missing(ctx context.Context, tx pgx.Tx, batch []Event) ([]Event, error) {
	rows, err := tx.Query(ctx, `SELECT seq, hash FROM eider.event WHERE instance = $1 AND seq >= $2 AND seq <= $3`,
		p.instance, batch[0].Seq, batch[len(batch)-1].Seq)
	if err != nil {
		return nil, err
	}
	there := make(map[int64]string)
	var seq int64
	var hash []byte
	if _, err := pgx.ForEachRow(rows, []any{&seq, &hash}, func() error {
		there[seq] = string(hash)
		return nil
	}); err != nil {
		return nil, err
	}
	if len(there) == 0 {
		return batch, nil
	}
	var list []Event
	for _, e := range batch {
		hash, ok := there[e.Seq]
		if !ok {
			list = append(list, e)
		} else if hash != string(e.hash()) {
			return nil, &Fork{Sink: p.Name(), Origin: p.instance, Seq: e.Seq, What: "event"}
		}
	}
	return list, nil
}

// partition makes the partitions of a batch's months, and returns those that are new to
// this connection.
func (p *PostgresEvents) partition(ctx context.Context, tx pgx.Tx, batch []Event) (made []time.Time, err error) {
	asked := make(map[time.Time]bool)
	for _, e := range batch {
		at := time.UnixMicro(e.Time).UTC()
		month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		if p.months[month] || asked[month] {
			continue
		}
		asked[month] = true
		if _, err := tx.Exec(ctx, `SELECT eider.event_month($1)`, month); err != nil {
			return nil, fmt.Errorf("make the partition of %s: %w", month.Format("2006-01"), err)
		}
		made = append(made, month)
	}
	return made, nil
}

func (p *PostgresEvents) insert(ctx context.Context, tx pgx.Tx, batch []Event) (int, error) {
	n := len(batch)
	seqs, times, hashes := make([]int64, n), make([]time.Time, n), make([][]byte, n)
	sites, names, data := make([]string, n), make([]string, n), make([]string, n)
	for i, e := range batch {
		if !json.Valid(e.Data) {
			return 0, fmt.Errorf("event %d has data that is no JSON", e.Seq)
		}
		seqs[i], times[i], hashes[i] = e.Seq, time.UnixMicro(e.Time), e.hash()
		sites[i], names[i], data[i] = storable(e.Site), storable(e.Name), string(storableJSON(e.Data))
	}
	tag, err := tx.Exec(ctx, `INSERT INTO eider.event (instance, seq, time, site, name, data, hash)
		SELECT $1, e.seq, e.time, e.site, e.name, e.data::jsonb, e.hash
		FROM unnest($2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::bytea[]) AS e (seq, time, site, name, data, hash)`,
		p.instance, seqs, times, sites, names, data, hashes)
	if err != nil {
		return 0, fmt.Errorf("insert events: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// stretch is of how many sequence numbers one statement takes events away: so many are
// looked through in good time.
const stretch = 100_000

// Withdraw takes those of the events of a withdrawal away that are in the next stretch
// after a seq, and returns how many there were, and up to where none is there any more.
func (p *PostgresEvents) Withdraw(ctx context.Context, w Withdrawal, after int64) (rows, upto int64, err error) {
	err = p.s.do(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := p.alone(ctx, tx); err != nil {
				return err
			}
			var first int64
			err := tx.QueryRow(ctx, `SELECT coalesce(min(seq), $3) FROM eider.event WHERE instance = $1 AND seq > $2`, p.instance, after, w.Upto).Scan(&first)
			if err != nil {
				return err
			}
			upto = min(max(first, after+1)-1+stretch, w.Upto)
			return tx.QueryRow(ctx, `SELECT eider.withdraw_events($1, $2, $3, $4, $5, $6, $7, $8)`, p.instance, after, upto,
				orNull(storable(w.Site)), moment(w.From), moment(w.To), orNull(w.Visitor), orNull(w.User)).Scan(&rows)
		})
	})
	return rows, upto, err
}

// alone has this transaction wait for others of the instance, and others wait for its
// end. One that comes from a connection that is lost may still be under way, and may yet
// be committed.
func (p *PostgresEvents) alone(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "eider.event "+p.instance)
	return err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment returns a time as PostgreSQL has room for it, nil for 0.
func moment(µs int64) *time.Time {
	if µs == 0 {
		return nil
	}
	const year = 366 * 24 * 3600 * 1e6
	at := time.UnixMicro(min(max(µs, -6000*year), 200_000*year))
	return &at
}

// hash returns that of what was sent, each text behind its length.
func (e *Event) hash() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	for _, text := range []string{e.Site, e.Name, string(e.Data)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
		b = append(b, text...)
	}
	h := sha256.Sum256(b)
	return h[:]
}

// storable returns a text as PostgreSQL can have it: UTF-8 without U+0000.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// storableJSON returns JSON as jsonb can have it: UTF-8, with U+FFFD for an escaped
// U+0000 and for surrogates that are no pair.
func storableJSON(data []byte) []byte {
	data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	if !bytes.Contains(data, []byte(`\u`)) {
		return data
	}
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); {
		if data[i] != '\\' || i+1 >= len(data) {
			out = append(out, data[i])
			i++
			continue
		}
		n := escape(data[i:])
		if n == 0 {
			out = append(out, `\ufffd`...)
			n = 6
		} else {
			out = append(out, data[i:i+n]...)
		}
		i += n
	}
	return out
}

// escape returns the length of the escape at the start of b, with its second half where
// it is a pair, or 0 for one that jsonb does not take.
func escape(b []byte) int {
	r, ok := unit(b)
	if !ok {
		return 2
	}
	if r == 0 {
		return 0
	}
	if !utf16.IsSurrogate(r) {
		return 6
	}
	if low, ok := unit(b[6:]); ok && utf16.DecodeRune(r, low) != '\uFFFD' {
		return 12
	}
	return 0
}

// unit reads \uXXXX.
func unit(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
