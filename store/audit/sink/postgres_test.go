package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/store/audit"
)

// TestPostgres copies a chain, then what grows, then what a stop leaves.
func TestPostgres(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(2500)
	o := brisk(t)
	o.Compare = -1
	c := copier(t, postgres(t, url), l, o)
	until(t, "copy", func() bool { return c.Stats().LagRows == 0 })
	for range 5 {
		l.grow(7)
	}
	until(t, "copy what has grown", func() bool { return difference(t, url, l) == "" })
	if s := c.Stats(); s.Attempted != s.Inserted || s.Inserted != 2536 || s.Errors != 0 || s.Alarm != nil || s.Bytes < 2536*300 || s.Lag != 0 {
		t.Errorf("stats are %+v", s)
	}
	l.grow(3)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, url, l)

	// Another process asks the copy for its mark, and has nothing to do.
	c = copier(t, postgres(t, url), l, brisk(t))
	until(t, "ask", func() bool { return c.Stats().LagRows == 0 })
	l.grow(1)
	until(t, "copy the last", func() bool { return difference(t, url, l) == "" })
	if s := c.Stats(); s.Attempted != 1 || s.Inserted != 1 {
		t.Errorf("a second copier has attempted %d, inserted %d", s.Attempted, s.Inserted)
	}
}

// TestPostgresAppendOnly tries to change a copy, also with the session's triggers off.
func TestPostgresAppendOnly(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	p := postgres(t, url)
	defer p.Close()
	if _, err := p.Put(t.Context(), "eider/one/1", l.rows, l.notes); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"audit_entry", "audit_checkpoint"} {
		for _, sql := range []string{"DELETE FROM eider.%s", "UPDATE eider.%s SET time = now()", "TRUNCATE eider.%s"} {
			for _, before := range []string{"", "SET session_replication_role = replica; "} {
				err := super(t.Context(), url, before+fmt.Sprintf(sql, table))
				if err == nil || !strings.Contains(err.Error(), "append-only") {
					t.Errorf("%s%s on %s: %v", before, sql, table, err)
				}
			}
		}
	}
	same(t, url, l)
}

// TestPostgresRole copies as a role that may only insert and select, once somebody else
// has made the schema; one that may nothing is told what to do.
func TestPostgresRole(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	name := "copier_" + url[strings.Index(url, "@/")+2:strings.Index(url, "?")]
	exec1(t, url, "CREATE ROLE "+name+" LOGIN")
	asCopier := strings.Replace(url, "postgres@", name+"@", 1)
	p := postgres(t, asCopier)
	defer p.Close()
	if _, err := p.Mark(t.Context(), "eider/one/1"); err == nil || !strings.Contains(err.Error(), "may create it has to connect once") {
		t.Fatalf("without a schema: %v", err)
	}
	owner := postgres(t, url)
	defer owner.Close()
	if n, err := owner.Mark(t.Context(), "eider/one/1"); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	exec1(t, url, strings.ReplaceAll(`GRANT USAGE ON SCHEMA eider TO copier;
		GRANT SELECT ON eider.schema_version TO copier;
		GRANT SELECT, INSERT ON eider.audit_entry, eider.audit_checkpoint TO copier;
		GRANT SELECT, INSERT ON eider.event TO copier;
		GRANT EXECUTE ON FUNCTION eider.event_month, eider.withdraw_events TO copier`, "copier", name))
	c := copier(t, postgres(t, asCopier), l, brisk(t))
	until(t, "copy", func() bool { return difference(t, url, l) == "" })
	if s := c.Stats(); s.Inserted != 1 || s.Errors != 0 {
		t.Errorf("stats are %+v", s)
	}
}

// TestPostgresMigrate has many appliances make the schema at once, and refuses one that
// is newer.
func TestPostgresMigrate(t *testing.T) {
	t.Parallel()
	url := database(t)
	errs := make(chan error)
	for range 8 {
		go func() {
			p, err := NewPostgres(url)
			if err == nil {
				_, err = p.Mark(context.Background(), "eider/one/1")
				p.Close()
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	exec1(t, url, "INSERT INTO eider.schema_version (version, name) VALUES (99, 'future')")
	p := postgres(t, url)
	defer p.Close()
	if _, err := p.Mark(t.Context(), "eider/one/1"); !errors.Is(err, ErrNewer) {
		t.Errorf("a schema from the future: %v", err)
	}
}

// TestPostgresMark takes rows away, and has the mark be the first that is missing.
func TestPostgresMark(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(49)
	p := postgres(t, url)
	defer p.Close()
	origin, _ := l.AuditHead()
	if _, err := p.Put(t.Context(), origin, l.rows, l.notes); err != nil {
		t.Fatal(err)
	}
	if next, err := p.Mark(t.Context(), origin); next != 50 || err != nil {
		t.Fatalf("the mark is %d, %v, want 50", next, err)
	}
	for _, c := range []struct {
		gone string
		want int64
	}{{"seq = 49", 49}, {"seq = 20", 20}, {"seq = 33", 20}, {"seq = 19", 19}, {"seq = 0", 0}, {"true", 0}} {
		tamper(t, url, "audit_entry", "DELETE FROM eider.audit_entry WHERE "+c.gone)
		again := postgres(t, url) // as after a restart of the server
		if next, err := again.Mark(t.Context(), origin); next != c.want || err != nil {
			t.Errorf("without %s the mark is %d, %v, want %d", c.gone, next, err, c.want)
		}
		again.Close()
	}
	// The old connection has seen 50 entries that are no more.
	if next, err := p.Mark(t.Context(), origin); next != 0 || err != nil {
		t.Errorf("the mark is %d, %v, of a copy that was emptied", next, err)
	}
	if _, err := p.Put(t.Context(), origin, l.rows[7:9], nil); !errors.Is(err, ErrGap) {
		t.Errorf("rows behind a hole: %v", err)
	}
}

// TestPostgresRefill takes out one row of many, and one checkpoint: only a batch is sent
// again.
func TestPostgresRefill(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	for range 10 {
		l.grow(400)
	}
	c := copier(t, postgres(t, url), l, brisk(t))
	until(t, "copy", func() bool { return difference(t, url, l) == "" })
	tamper(t, url, "audit_checkpoint", "DELETE FROM eider.audit_checkpoint WHERE size = 1201")
	until(t, "find a checkpoint missing", func() bool { return difference(t, url, l) == "" })
	if s := c.Stats(); s.Attempted != 4001 || s.Alarm != nil {
		t.Errorf("stats are %+v", s)
	}
	tamper(t, url, "audit_entry", "DELETE FROM eider.audit_entry WHERE seq = 20")
	until(t, "find a row missing", func() bool { return difference(t, url, l) == "" && c.Stats().LagRows == 0 })
	if s := c.Stats(); s.Attempted > 4001+maxRows || s.Inserted != 4002 || s.Refilled != 1 {
		t.Errorf("stats are %+v", s)
	}
}

// TestPostgresPut adds the same rows again, others in their place, and ones that do not
// follow.
func TestPostgresPut(t *testing.T) {
	t.Parallel()
	url, l, other := database(t), newLedger("one"), newLedger("one")
	l.grow(9)
	other.grow(9)
	p := postgres(t, url)
	defer p.Close()
	origin, _ := l.AuditHead()
	put := func(rows []audit.Row, notes []audit.Checkpoint) (int, error) {
		return p.Put(t.Context(), origin, rows, notes)
	}
	if n, err := put(l.rows[:6], nil); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := put(l.rows[2:], l.notes); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	same(t, url, l)
	changed := l.rows[4]
	changed.Actor = "key:2"
	bad := l.notes[1]
	bad.Root[0]++
	for name, err := range map[string]error{
		"another chain":                  second(put(other.rows[:3], nil)),
		"a row that does not follow":     second(put(other.rows[6:8], nil)),
		"another actor":                  second(put([]audit.Row{changed}, nil)),
		"another root in the checkpoint": second(put(nil, []audit.Checkpoint{bad})),
	} {
		if !errors.Is(err, ErrFork) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, url, l)
}

// TestPostgresEdits compares after each of the things that a superuser can do to a row.
func TestPostgresEdits(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(4)
	p := postgres(t, url)
	defer p.Close()
	origin, head := l.AuditHead()
	if _, err := p.Put(t.Context(), origin, l.rows, l.notes); err != nil {
		t.Fatal(err)
	}
	// The first of the constraints keeps a leaf from having another hash than its link.
	exec1(t, url, `DO $$ DECLARE c name; BEGIN
		FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'eider.audit_entry'::regclass AND contype = 'c' LOOP
			EXECUTE format('ALTER TABLE eider.audit_entry DROP CONSTRAINT %I', c);
		END LOOP; END $$`)
	for _, e := range append([]edit{{"audit_entry", "leaf = leaf || ' '"}}, edits...) {
		column, at := "seq", int64(2)
		if e.table == "audit_checkpoint" {
			column, at = "size", head.Size
		}
		tamper(t, url, e.table, fmt.Sprintf("UPDATE eider.%s SET %s WHERE %s = %d", e.table, e.set, column, at))
		var fork *Fork
		if err := p.Compare(t.Context(), origin, l.rows, l.notes); !errors.As(err, &fork) || fork.Seq != at {
			t.Errorf("after %s: %v", e.set, err)
		}
		tamper(t, url, e.table, fmt.Sprintf("DELETE FROM eider.%s WHERE %s = %d", e.table, column, at))
		if err := p.Compare(t.Context(), origin, l.rows, l.notes); !errors.Is(err, ErrGap) {
			t.Errorf("after the row was taken out: %v", err)
		}
		if _, err := p.Put(t.Context(), origin, l.rows, l.notes); err != nil {
			t.Errorf("after %s was undone: %v", e.set, err)
		}
	}
	same(t, url, l)
}

func second(_ int, err error) error { return err }

// TestPostgresPruned copies a chain whose first leaves are gone.
func TestPostgresPruned(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(99)
	l.prune(40)
	c := copier(t, postgres(t, url), l, brisk(t))
	until(t, "copy", func() bool { return difference(t, url, l) == "" })
	// What is pruned here later stays there.
	l.prune(60)
	if c = again(t, c, url, l); c.Stats().Alarm != nil {
		t.Error(c.Stats().Alarm)
	}
	log, err := OpenPostgresLog(t.Context(), url, "")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if first, end, err := log.Extent(t.Context()); first != 40 || end != 100 || err != nil {
		t.Errorf("extent is %d, %d, %v", first, end, err)
	}
}

// again replaces a copier and waits until the new one has compared everything.
func again(t *testing.T, c *Copier, url string, l *ledger) *Copier {
	t.Helper()
	c.Close(t.Context())
	s := &watched{Postgres: postgres(t, url)}
	c = copier(t, s, l, brisk(t))
	_, head := l.AuditHead()
	until(t, "compare", func() bool { return s.upto.Load() >= head.Size || c.Stats().Alarm != nil })
	return c
}

// TestTwoInstances has two appliances copy to one database at once.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	url := database(t)
	a, b := newLedger("a"), newLedger("b")
	copier(t, postgres(t, url), a, brisk(t))
	copier(t, postgres(t, url), b, brisk(t))
	for range 20 {
		a.grow(50)
		b.grow(30)
	}
	until(t, "copy", func() bool { return difference(t, url, a) == "" && difference(t, url, b) == "" })
	if _, err := OpenPostgresLog(t.Context(), url, ""); err == nil || !strings.Contains(err.Error(), "eider/a/1, eider/b/1") {
		t.Errorf("which of the two: %v", err)
	}
	if _, err := OpenPostgresLog(t.Context(), url, "eider/c/1"); !errors.Is(err, ErrNoCopy) {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestIncarnation has a ledger taken back to an older state, which the copy notices,
// and then adopted.
func TestIncarnation(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(20)
	alarms := make(chan error, 10)
	o := brisk(t)
	o.Alarm = func(err error) { alarms <- err }
	c := copier(t, postgres(t, url), l, o)
	until(t, "copy", func() bool { return difference(t, url, l) == "" })
	l.cut(t, 11)
	if err := <-alarms; !errors.Is(err, audit.ErrRolledBack) || !strings.Contains(err.Error(), "21 entries of eider/one/1, the ledger 11") {
		t.Errorf("the alarm is %v", err)
	}
	// It does not matter that it grows past what is there: it is another chain by then.
	l.grow(30)
	l.adopt()
	until(t, "copy the next incarnation", func() bool { return difference(t, url, l) == "" })
	if s := c.Stats(); s.Alarm != nil {
		t.Error(s.Alarm)
	}
	p := postgres(t, url)
	defer p.Close()
	newest, err := p.NewestCheckpoint(t.Context(), "one")
	if err != nil || newest.Origin != "eider/one/2" || newest.Size != 42 {
		t.Errorf("the newest checkpoint is %+v, %v", newest, err)
	}
	if _, err := p.NewestCheckpoint(t.Context(), "on"); !errors.Is(err, ErrNoCopy) {
		t.Errorf("of an instance that is not there: %v", err)
	}
}

// TestRolledBackFork takes a ledger back and lets it grow past what is there before the
// copier looks again.
func TestRolledBackFork(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	l.grow(20)
	c := copier(t, postgres(t, url), l, brisk(t))
	until(t, "copy", func() bool { return difference(t, url, l) == "" })
	c.Close(t.Context())
	l.cut(t, 11)
	l.grow(30)
	alarms := make(chan error, 1)
	o := brisk(t)
	o.Alarm, o.Compare = func(err error) { alarms <- err }, -1
	copier(t, postgres(t, url), l, o)
	var fork *Fork
	if err := <-alarms; !errors.As(err, &fork) || fork.Seq != 20 {
		t.Errorf("the alarm is %v", err)
	}
}

// TestNoServer shows what is said while nothing listens, and that a stop does not wait.
func TestNoServer(t *testing.T) {
	t.Parallel()
	l := newLedger("one")
	c := NewCopier(postgres(t, "postgres://eider:geheim@/x?host="+t.TempDir()), l, brisk(t))
	until(t, "errors", func() bool { return c.Stats().Errors > 3 })
	if s := c.Stats(); s.LagRows != 1 || s.Lag <= 0 || s.Alarm != nil {
		t.Errorf("stats are %+v", s)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, url := range []string{"postgres://a:geheim@%zz/", "geheim", "postgres://a:geheim@h/x?sslmode=geheim"} {
		if _, err := NewPostgres(url); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestEncoding refuses a database that cannot hold all texts.
func TestEncoding(t *testing.T) {
	t.Parallel()
	url := database(t)
	exec1(t, url, "CREATE DATABASE latin"+strings.TrimPrefix(url[strings.Index(url, "@/")+2:strings.Index(url, "?")], "test")+" ENCODING 'LATIN1' TEMPLATE template0")
	p := postgres(t, strings.Replace(url, "@/test", "@/latin", 1))
	defer p.Close()
	if _, err := p.Mark(t.Context(), "eider/one/1"); !errors.Is(err, errServer) {
		t.Errorf("LATIN1: %v", err)
	}
}

// TestView reads what people read.
func TestView(t *testing.T) {
	t.Parallel()
	url, l := database(t), newLedger("one")
	c := copier(t, postgres(t, url), l, brisk(t))
	until(t, "copy", func() bool { return c.Stats().LagRows == 0 })
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var actor, link string
	var at time.Time
	err = conn.QueryRow(t.Context(), `SELECT entry->>'actor', link, time FROM eider.audit WHERE origin = 'eider/one/1' AND seq = 0`).Scan(&actor, &link, &at)
	if want := fmt.Sprintf("%x", l.rows[0].Hashes[:32]); err != nil || actor != "key:1" || link != want || at.UnixMicro() != l.rows[0].Time {
		t.Errorf("the view has %s, %s, %v, %v", actor, link, at, err)
	}
}
