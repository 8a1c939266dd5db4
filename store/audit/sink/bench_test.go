package sink

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/store/audit"
)

// BenchmarkDrain copies entries to PostgreSQL, one connection, what is committed being on
// the disk, and beside it has COPY put the same rows into a table of the same form. It
// reports both rates and what share of COPY's is ours.
func BenchmarkDrain(b *testing.B) {
	const entries = 20_000
	c := ownCluster(b)
	c.Stop(syscall.SIGINT)
	c.Sync = true
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	url, l := c.URL("postgres"), newLedger("one")
	l.grow(entries - 1)
	var ours, theirs time.Duration
	for b.Loop() {
		exec1(b, url, "DROP SCHEMA IF EXISTS eider CASCADE; DROP TABLE IF EXISTS public.plain; CHECKPOINT")
		p := postgres(b, url)
		if _, err := p.Mark(b.Context(), "eider/one/1"); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		s := &finished{Postgres: p, size: entries, done: make(chan struct{})}
		copier := NewCopier(s, l, Options{Compare: -1})
		<-s.done
		ours += time.Since(start)
		if err := copier.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		theirs += plainCopy(b, url, l.rows)
	}
	rounds := float64(b.N)
	b.ReportMetric(entries*rounds/ours.Seconds(), "entries/s")
	b.ReportMetric(entries*rounds/theirs.Seconds(), "COPY-entries/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "of-COPY")
}

// finished is a sink that tells when it has so many entries.
type finished struct {
	*Postgres
	size int64
	done chan struct{}
}

func (f *finished) Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (int, error) {
	n, err := f.Postgres.Put(ctx, origin, rows, checkpoints)
	if err == nil && len(rows) > 0 && rows[len(rows)-1].Seq+1 == f.size {
		close(f.done)
	}
	return n, err
}

// plainCopy returns how long one COPY of rows takes, which was not to be interrupted.
func plainCopy(b *testing.B, url string, rows []audit.Row) time.Duration {
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	exec1(b, url, "CREATE TABLE public.plain (LIKE eider.audit_entry INCLUDING ALL); CHECKPOINT")
	start := time.Now()
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"public", "plain"},
		[]string{"origin", "seq", "time", "kind", "outcome", "actor", "object", "request", "leaf", "hashes"},
		pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
			r := &rows[i]
			t := rowTexts(r)
			return []any{"eider/one/1", r.Seq, time.UnixMicro(r.Time), t[0], t[1], t[2], t[3], t[4], r.Leaf, r.Hashes}, nil
		}))
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
