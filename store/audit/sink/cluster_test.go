package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/eider-analytics/eider/store/audit/sink/sinktest"
)

// shared is the server of the tests that do it no harm.
var shared struct {
	once sync.Once
	c    *sinktest.Cluster
	err  error
}

var databases atomic.Int64

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.c != nil {
		shared.c.Stop(syscall.SIGQUIT)
		os.RemoveAll(shared.c.Dir)
	}
	os.Exit(code)
}

// ownCluster returns a server that nobody else uses.
func ownCluster(t testing.TB) *sinktest.Cluster {
	t.Helper()
	c, err := sinktest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop(syscall.SIGQUIT)
		os.RemoveAll(c.Dir)
	})
	return c
}

// database returns the URL of a new database of the shared server.
func database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.c, shared.err = sinktest.NewCluster() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	exec1(t, shared.c.URL("postgres"), "CREATE DATABASE "+name)
	return shared.c.URL(name)
}

// exec1 runs statements as the superuser.
func exec1(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	if err := super(t.Context(), url, sql, args...); err != nil {
		t.Fatal(err)
	}
}

func super(ctx context.Context, url, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if len(args) == 0 {
		_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	} else {
		_, err = conn.Exec(ctx, sql, args...)
	}
	return err
}

// tamper runs a statement on a table whose triggers are off.
func tamper(t testing.TB, url, table, sql string) {
	t.Helper()
	exec1(t, url, "BEGIN; ALTER TABLE eider."+table+" DISABLE TRIGGER ALL; "+sql+"; ALTER TABLE eider."+table+" ENABLE ALWAYS TRIGGER append_only; COMMIT")
}

// until waits for something to become true, for as long as the test may take.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, errors.New("two minutes are over"))
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}
