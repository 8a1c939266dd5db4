package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-sqlite3"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/ledger"
)

// childDir makes the test binary a writer on that directory until it is killed.
const childDir = "EIDER_LEDGER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(actorDir); dir != "" {
		fmt.Fprintln(os.Stderr, actor(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child appends, publishes and trims for ever, and says on stdout what it has
// been promised: "a <last>" and "p <published>".
func child(dir string) error {
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		return err
	}
	for {
		g := group(l.LastSeq(), 1+rand.IntN(100), rand.IntN(40_000))
		if err := l.Append(g); err != nil {
			return err
		}
		fmt.Println("a", g.Last)
		if rand.IntN(20) > 0 {
			continue
		}
		c := ledger.Change{Published: g.Last, IDs: entries(rand.IntN(30_000), uint64(g.Last))}
		c.Add = append(c.Add, part(fmt.Sprint(g.Last), l.Published()+1, g.Last))
		if _, err := l.Commit(ctx, c); err != nil {
			return err
		}
		fmt.Println("p", g.Last)
		if _, err := l.TrimJournal(ctx); err != nil {
			return err
		}
	}
}

// TestKill kills a writer at random moments and checks that everything it was
// promised is there, whole.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		acked, published := killed(t, dir, time.Duration(20+rand.IntN(150))*time.Millisecond)
		l := open(t, dir, ledger.Options{})
		if l.LastSeq() < acked || l.Published() < published {
			t.Fatalf("round %d: last %d, published %d; want at least %d, %d", round, l.LastSeq(), l.Published(), acked, published)
		}
		verify(t, l)
		for _, g := range live(t, l, 0) {
			if want := group(g.First-1, g.Count, len(g.Payload)); !bytes.Equal(g.Payload, want.Payload) {
				t.Fatalf("round %d: group %d-%d holds other bytes", round, g.First, g.Last)
			}
		}
		parts, boundary, err := l.Parts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(parts); n > 0 && parts[n-1].Last != boundary {
			t.Fatalf("round %d: the newest part ends at %d, and published is %d", round, parts[n-1].Last, boundary)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killed runs a child for a while and returns the last that it acknowledged.
func killed(t *testing.T, dir string, after time.Duration) (acked, published int64) {
	t.Helper()
	for _, line := range said(t, childDir, dir, after) {
		n, err := strconv.ParseInt(strings.TrimSpace(line[2:]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if line[0] == 'a' {
			acked = n
		} else {
			published = n
		}
	}
	return acked, published
}

// said runs the test binary as the child that a variable makes it, kills it a while
// after its first line, and returns the lines that it has said.
func said(t *testing.T, variable, dir string, after time.Duration) (lines []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), variable+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil { // a line that was cut off was not a promise that anyone heard
			break
		}
		if lines == nil {
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	_ = cmd.Wait()
	if lines == nil || stderr.Len() > 0 {
		t.Fatalf("child did not run until it was killed: %s", stderr.String())
	}
	return lines
}

// torn returns the files of a ledger that was killed after some appends, and
// where in the WAL each group ends.
func torn(t *testing.T, groups int) (db, wal []byte, ends []int) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := open(t, dir, ledger.Options{})
	for i := range groups {
		add(t, l, 1+i%3, 500+700*i%9000)
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	db, wal = filesOf(t, dir)
	return db, wal, ends
}

// filesOf returns the files of a ledger as they are.
func filesOf(t *testing.T, dir string) (db, wal []byte) {
	t.Helper()
	path := filepath.Join(dir, "ledger.db")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if wal, err = os.ReadFile(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	return db, wal
}

// openTorn opens a ledger of such files.
func openTorn(t *testing.T, what string, db, wal []byte) *ledger.Ledger {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := errors.Join(os.WriteFile(path, db, 0o600), os.WriteFile(path+"-wal", wal, 0o600)); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), path, migrations.FS, ledger.Options{})
	if err != nil {
		t.Fatalf("%s: Open = %v", what, err)
	}
	return l
}

// tear cuts a WAL, and flips a byte of it, at every so many bytes, and calls check with
// each and how many of ends are whole before that place, and then with all of it.
func tear(wal []byte, step int, ends []int, check func(what string, wal []byte, whole int)) {
	for at := 0; at < len(wal); at += step {
		whole := sort.SearchInts(ends, at+1)
		check(fmt.Sprintf("cut at %d", at), wal[:at], whole)
		flipped := bytes.Clone(wal)
		flipped[at] ^= 0x10
		check(fmt.Sprintf("flipped at %d", at), flipped, whole)
	}
	check("whole", wal, len(ends))
}

// checkTorn opens a ledger with this WAL and wants the first groups and no other.
func checkTorn(t *testing.T, what string, db, wal []byte, want int) {
	t.Helper()
	l := openTorn(t, what, db, wal)
	defer l.Close()
	got := live(t, l, 0)
	if len(got) != want {
		t.Fatalf("%s: %d groups, want %d", what, len(got), want)
	}
	for _, g := range got {
		if w := group(g.First-1, g.Count, len(g.Payload)); !bytes.Equal(g.Payload, w.Payload) {
			t.Fatalf("%s: group %d-%d holds other bytes", what, g.First, g.Last)
		}
	}
	verify(t, l)
	if err := l.Append(group(l.LastSeq(), 1, 10)); err != nil {
		t.Fatalf("%s: Append = %v", what, err)
	}
}

// TestTornWAL cuts the WAL, and flips a byte of it, at every 512th byte: what is
// left is exactly the groups that were whole before that place.
func TestTornWAL(t *testing.T) {
	t.Parallel()
	db, wal, ends := torn(t, 14)
	step := 512
	if testing.Short() {
		step = 8 * 1024
	}
	tear(wal, step, ends, func(what string, wal []byte, whole int) { checkTorn(t, what, db, wal, whole) })
}

// checkFailed checks that l takes no more writes and says why.
func checkFailed(t *testing.T, l *ledger.Ledger, cause error) {
	t.Helper()
	ctx := t.Context()
	_, commit := l.Commit(ctx, ledger.Change{Published: l.LastSeq()})
	_, salt := l.Salt(ctx, "new.example", "2026-01-01", 1)
	for name, err := range map[string]error{
		"Append":  l.Append(group(l.LastSeq(), 1, 10)),
		"Commit":  commit,
		"Salt":    salt,
		"AddSite": l.AddSite(ctx, ledger.Site{Domain: "x"}),
		"Healthy": l.Healthy(ctx),
	} {
		if !errors.Is(err, ledger.ErrFailed) || !errors.Is(err, cause) {
			t.Errorf("%s = %v, want ErrFailed and %v", name, err, cause)
		}
	}
	live(t, l, 0) // can still be read
}

// TestFailStop fills the database and checks that the first write to fail is the
// last, and that nothing that was acknowledged before it is lost.
func TestFailStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		write func(l *ledger.Ledger) error
	}{
		{"journal", func(l *ledger.Ledger) error { return l.Append(group(l.LastSeq(), 1, 50_000)) }},
		{"history", func(l *ledger.Ledger) error {
			_, err := l.Commit(context.Background(), ledger.Change{Add: addParts(2000)})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var told []error
			l := open(t, dir, ledger.Options{Failed: func(err error) { told = append(told, err) }})
			if err := l.LimitPages(60); err != nil {
				t.Fatal(err)
			}
			add(t, l, 3, 1000)
			err := c.write(l)
			for i := 0; err == nil && i < 100; i++ {
				err = c.write(l)
			}
			var full sqlite3.Error
			if !errors.Is(err, ledger.ErrFailed) || !errors.As(err, &full) || full.Code != sqlite3.ErrFull {
				t.Fatalf("write = %v, want ErrFailed and SQLITE_FULL", err)
			}
			checkFailed(t, l, full)
			if len(told) != 1 || !errors.Is(told[0], ledger.ErrFailed) {
				t.Errorf("Failed was told %v, want ErrFailed once", told)
			}
			last := l.LastSeq()
			if err := l.Close(); !errors.Is(err, ledger.ErrFailed) {
				t.Errorf("Close = %v, want ErrFailed", err)
			}
			l = open(t, dir, ledger.Options{})
			if l.LastSeq() != last {
				t.Errorf("after a restart the last is %d, want %d", l.LastSeq(), last)
			}
			add(t, l, 1, 100)
		})
	}
}

// TestFullDisk is TestFailStop with a real disk that is full.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Geteuid() == 0 {
			t.Fatalf("mount a small tmpfs: %v", err)
		}
		t.Skipf("NOT TESTED: only root may mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	l := open(t, dir, ledger.Options{})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	var last int64
	for i := 0; err == nil && i < 1000; i++ {
		last = l.LastSeq()
		err = l.Append(group(last, 1, 50_000))
	}
	var full sqlite3.Error
	if !errors.Is(err, ledger.ErrFailed) || !errors.As(err, &full) {
		t.Fatalf("Append = %v, want ErrFailed and an error of SQLite", err)
	}
	checkFailed(t, l, full)
	l.Close()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{})
	if got := l.LastSeq(); got != last {
		t.Errorf("after a restart the last is %d, want %d", got, last)
	}
	add(t, l, 1, 100)
}

// TestSyncs checks the setting that a power failure would: no test here cuts the
// power.
func TestSyncs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d       ledger.Durability
		journal int
	}{{ledger.Sync, 2}, {ledger.OS, 1}} {
		l := open(t, t.TempDir(), ledger.Options{Durability: c.d})
		journal, main, checks, err := l.Syncs()
		if err != nil || journal != c.journal || main != 2 || checks != 2 {
			t.Errorf("durability %d: synchronous is %d, %d, %d, %v; want %d, 2, 2", c.d, journal, main, checks, err, c.journal)
		}
	}
}

// TestDurabilityOS checks that the WAL is synced soon after an append, once for
// all that were appended meanwhile, and that the failure of that sync is the
// ledger's.
func TestDurabilityOS(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{Durability: ledger.OS})
	synced := make(chan error)
	l.SetSync(func() error { return <-synced })
	add(t, l, 1, 100)
	add(t, l, 1, 100)
	if seq := l.Synced(); seq != 0 {
		t.Errorf("synced up to %d before the sync", seq)
	}
	start := time.Now()
	synced <- nil // within the limit, or the test hangs
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("synced after %v", took)
	}
	for l.Synced() != 2 { // or the test hangs
		time.Sleep(time.Millisecond)
	}
	add(t, l, 1, 100)
	synced <- io.ErrUnexpectedEOF
	for l.Failed() == nil {
		time.Sleep(time.Millisecond)
	}
	checkFailed(t, l, io.ErrUnexpectedEOF)
	if seq := l.Synced(); seq != 2 {
		t.Errorf("synced up to %d, want 2", seq)
	}
}

// TestSyncer checks with a virtual clock that nothing waits longer than promised.
func TestSyncer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		s := ledger.StartSyncer(func() error { at = append(at, time.Since(start)); return nil })
		for range 10 { // one every 30 ms
			s.Pending()
			time.Sleep(30 * time.Millisecond)
		}
		time.Sleep(time.Second)
		s.Stop()
		if len(at) < 2 || len(at) > 4 || at[0] > 150*time.Millisecond || at[len(at)-1] < 270*time.Millisecond {
			t.Errorf("synced at %v, want every 100 ms until all is", at)
		}
	})
}
