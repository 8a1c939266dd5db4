package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// actorDir makes the test binary one that acts on that directory until it is killed.
const actorDir = "EIDER_LEDGER_ACTOR"

// actor adds and removes sites from eight goroutines, with events and refusals
// between, and says on stdout what it has been promised: "+<site>", "-<site>" and
// "!" for a refusal. What it is about to remove it says before, as "?<site>".
func actor(dir string) error {
	ctx := context.Background()
	l, err := ledger.Open(ctx, filepath.Join(dir, "ledger.db"), migrations.FS, ledger.Options{})
	if err != nil {
		return err
	}
	errs := make(chan error)
	for range 8 {
		go func() {
			for {
				site := ledger.Site{Domain: fmt.Sprintf("%x.example", rand.Uint64()), Timezone: "UTC"}
				if err := l.AddSite(ctx, site); err != nil {
					errs <- err
				}
				fmt.Println("+" + site.Domain)
				if err := l.AddSite(ctx, site); !errors.Is(err, ledger.ErrExists) {
					errs <- fmt.Errorf("a site was added twice: %w", err)
				}
				if rand.IntN(3) == 0 {
					fmt.Println("?" + site.Domain)
					if err := l.RemoveSite(ctx, site.Domain); err != nil {
						errs <- err
					}
					fmt.Println("-" + site.Domain)
				}
				if err := l.Refuse(ctx, refusal(fmt.Sprint(rand.IntN(100)), "x", "y")); err != nil {
					errs <- err
				}
				fmt.Println("!")
			}
		}()
	}
	go func() {
		for {
			if err := l.Append(group(l.LastSeq(), 1, 2000)); err != nil {
				errs <- err
			}
		}
	}()
	return <-errs
}

// TestKillActs kills a ledger at random moments in the middle of acts: each that has
// returned is there with its entry, and none is there without, nor an entry without
// its act.
func TestKillActs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	sites, maybe, sent := make(map[string]bool), make(map[string]bool), int64(0)
	for round := range rounds {
		for _, line := range said(t, actorDir, dir, time.Duration(20+rand.IntN(200))*time.Millisecond) {
			switch line[0] {
			case '+':
				sites[line[1:]] = true
			case '?':
				maybe[line[1:]] = true
			case '-':
				sites[line[1:]] = false
			case '!':
				sent++
			}
		}
		l := open(t, dir, ledger.Options{})
		verify(t, l)
		there := checkSites(t, l)
		for site, want := range sites {
			if want && !there[site] && !maybe[site] || !want && there[site] {
				t.Fatalf("round %d: %s is there: %t, want %t", round, site, there[site], want)
			}
		}
		// A refusal that was not promised may be there: at most one of each goroutine.
		n, _ := refused(t, l)
		if n < sent || n > sent+8 {
			t.Fatalf("round %d: %d refusals in the chain, want %d", round, n, sent)
		}
		sent = n
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSites checks that the sites are those that the chain says were added and not
// removed, and returns them.
func checkSites(t testing.TB, l *ledger.Ledger) map[string]bool {
	t.Helper()
	want := make(map[string]bool)
	for _, r := range entriesOf(t, l) {
		switch site := strings.TrimPrefix(r.Object, "site:"); r.Kind {
		case audit.SiteCreate:
			want[site] = true
		case audit.SiteRemove:
			delete(want, site)
		}
	}
	sites, err := l.Sites(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sites {
		if !want[s.Domain] {
			t.Fatalf("%s is there, and the chain does not know of it", s.Domain)
		}
	}
	if len(sites) != len(want) {
		t.Fatalf("%d sites, and the chain knows of %d", len(sites), len(want))
	}
	return want
}

// TestTornActs cuts the WAL, and flips a byte of it, all along a run of acts: what is
// left are those that were whole before that place, each with its entry.
func TestTornActs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := open(t, dir, ledger.Options{})
	var ends []int
	for i := range 8 {
		if err := l.AddSite(acting(t, "key:1"), ledger.Site{Domain: fmt.Sprint(i), Timezone: "UTC"}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(info.Size()))
	}
	db, wal := filesOf(t, dir)
	step := 1021
	if testing.Short() {
		step = 4000
	}
	tear(wal, step, ends, func(what string, wal []byte, whole int) {
		l := openTorn(t, what, db, wal)
		defer l.Close()
		verify(t, l)
		if n := len(checkSites(t, l)); n != whole || l.Halted() != nil {
			t.Fatalf("%s: %d sites, halted %v; want %d", what, n, l.Halted(), whole)
		}
		if err := l.AddSite(t.Context(), ledger.Site{Domain: "new", Timezone: "UTC"}); err != nil {
			t.Fatalf("%s: AddSite = %v", what, err)
		}
		checkSites(t, l)
	})
}

// TestActsAtOnce acts from many goroutines, of which some are refused: the chain has
// one entry of each that was not, and what they did is what is there.
func TestActsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var commits, recorded atomic.Int64
	l := open(t, dir, ledger.Options{Now: newClock().now, Recorded: func(_ time.Duration, acts int) { commits.Add(1); recorded.Add(int64(acts)) }})
	const actors, each = 16, 60
	var mu sync.Mutex
	want := []string{}
	refusals := int64(0)
	done := func(request string) { mu.Lock(); want = append(want, request); mu.Unlock() }
	no := errors.New("no")
	var all sync.WaitGroup
	for i := range actors {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano())))
			for n := range each {
				request := fmt.Sprint(i, "-", n)
				ctx := audit.With(t.Context(), audit.By{Actor: "key:1", Request: request})
				site := fmt.Sprint(r.IntN(20), ".example")
				var err error
				switch r.IntN(6) {
				case 0, 1:
					err = l.AddSite(ctx, ledger.Site{Domain: site, Timezone: "UTC"})
				case 2:
					err = l.RemoveSite(ctx, site)
				case 3:
					_, err = l.AddGoal(ctx, ledger.Goal{Site: site, Kind: ledger.PageGoal, Path: fmt.Sprint("/", r.IntN(5))})
				case 4:
					_, err = l.ChangeSettings(ctx, site, func(*ledger.SiteSettings) error { return no })
				case 5:
					if err := l.Refuse(ctx, refusal(fmt.Sprint(r.IntN(3)), "x", "y")); err != nil {
						t.Error(err)
					}
					atomic.AddInt64(&refusals, 1)
					continue
				}
				switch {
				case err == nil:
					done(request)
				case !errors.Is(err, ledger.ErrExists) && !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, no):
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 100 {
			add(t, l, 1, 100)
		}
	})
	all.Wait()
	// With what Open has recorded.
	if n := recorded.Load(); n != int64(len(want))+refusals+2 || commits.Load() >= n {
		t.Errorf("%d acts in %d commits, want %d in fewer", n, commits.Load(), int64(len(want))+refusals+2)
	}
	l = reopen(t, dir, l)
	checkSites(t, l)
	if n, _ := refused(t, l); n != refusals {
		t.Errorf("%d refusals, want %d", n, refusals)
	}
	var got []string
	for _, r := range entriesOf(t, l)[2:] {
		if r.Kind != audit.Refusal {
			got = append(got, r.Request)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d entries of acts, want %d", len(got), len(want))
	}
}

// TestActsUndone lets acts fail late that share their commits with others: of those
// that fail nothing is left, and those that do not are there.
func TestActsUndone(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{})
	no := errors.New("no")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := range 40 {
				var want error
				if (i+n)%3 == 0 {
					want = no
				}
				if err := l.Act(t.Context(), fmt.Sprint(i, "-", n), want); err != want {
					t.Errorf("%d-%d: %v, want %v", i, n, err, want)
				}
			}
		})
	}
	all.Wait()
	verifyChain(t, l)
	there := checkSites(t, l)
	for i := range 16 {
		for n := range 40 {
			if site := fmt.Sprint(i, "-", n); there[site] == ((i+n)%3 == 0) {
				t.Errorf("%s is there: %t", site, there[site])
			}
		}
	}
}

// TestActPanics checks that who panics in an act is who called it, and that the ledger
// goes on.
func TestActPanics(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	func() {
		defer func() {
			if got := recover(); got != "ouch" {
				t.Errorf("recovered %v", got)
			}
		}()
		_, _ = l.ChangeSettings(t.Context(), "a.example", func(*ledger.SiteSettings) error { panic("ouch") })
	}()
	if err := l.SetSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: "Europe/Berlin"}); err != nil {
		t.Error(err)
	}
}

// TestActsFail fills the disk in the middle of acts: each that has returned nil is
// there when it is opened again, and no act has been recorded that was not.
func TestActsFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	if err := l.LimitPages(90); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	added := make(map[string]bool)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := 0; ; n++ {
				site := fmt.Sprint(i, "-", n)
				err := l.AddSite(t.Context(), ledger.Site{Domain: site, Timezone: "UTC"})
				if err != nil {
					if !errors.Is(err, ledger.ErrFailed) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				added[site] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if err := l.Close(); !errors.Is(err, ledger.ErrFailed) {
		t.Errorf("Close = %v, want ErrFailed", err)
	}
	l = open(t, dir, ledger.Options{})
	verifyChain(t, l)
	there := checkSites(t, l)
	for site := range added {
		if !there[site] {
			t.Errorf("%s was added, and is not there", site)
		}
	}
	if len(there) > len(added)+16 || len(added) == 0 {
		t.Errorf("%d sites, %d were added", len(there), len(added))
	}
}

// TestCloseWithActs closes a ledger while others act: each gets an answer, and it is
// true.
func TestCloseWithActs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	var added atomic.Int64
	var all sync.WaitGroup
	started := make(chan struct{}, 64)
	for i := range 32 {
		all.Go(func() {
			for n := 0; ; n++ {
				err := l.AddSite(t.Context(), ledger.Site{Domain: fmt.Sprint(i, "-", n), Timezone: "UTC"})
				if errors.Is(err, ledger.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				added.Add(1)
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	l = open(t, dir, ledger.Options{})
	if n := len(checkSites(t, l)); int64(n) != added.Load() {
		t.Errorf("%d sites, %d were added", n, added.Load())
	}
}

// TestBytesPerEntry measures what an entry costs, with everything.
func TestBytesPerEntry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	const n = 3200
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for k := range n / 64 {
				by := audit.By{Actor: "key:5ac220d74af1", Address: "2001:db8:1234:5678::1", Request: fmt.Sprintf("%016x%04d", rand.Uint64(), k),
					Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", Trace: "4bf92f3577b34da6a3ce929d0e0e4736"}
				_, err := l.AddAnnotation(audit.With(t.Context(), by), ledger.Annotation{Site: "a.example", Day: "2026-01-31", Text: fmt.Sprint("release ", i, k)})
				if !errors.Is(err, ledger.ErrNotFound) {
					t.Error(err)
				}
				e := audit.Entry{Kind: audit.AnnotationCreate, By: by, Object: fmt.Sprint("annotation:", i*k), Detail: map[string]string{"site": "shop.example.com", "day": "2026-01-31"}}
				if err := l.Record(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	leaves := 0
	for _, r := range entriesOf(t, l) {
		leaves += len(r.Leaf)
	}
	said := l.AuditStats().Bytes
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	each := float64(size(t, filepath.Join(dir, "ledger.db"))) / n
	t.Logf("%.0f bytes of ledger.db an entry, of which %d are its leaf; AuditStats says %d", each, leaves/n, said/n)
	if each > 1200 {
		t.Errorf("%.0f bytes an entry, with a leaf of %d", each, leaves/n)
	}
}

// BenchmarkActs measures acts that are durable with their entry, from 1, 16 and 256
// clients, beside the bare commit of as many bytes.
func BenchmarkActs(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			l := open(b, b.TempDir(), ledger.Options{})
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range clients {
				all.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						start := time.Now()
						err := l.AddSite(acting(b, "key:5ac220d74af1"), ledger.Site{Domain: fmt.Sprint(i, ".example.com"), Timezone: "UTC"})
						if err != nil {
							b.Error(err)
							return
						}
						took[i-1] = time.Since(start)
					}
				})
			}
			all.Wait()
			b.StopTimer()
			reportActs(b, took)
		})
	}
	b.Run("sqlite", func(b *testing.B) {
		db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		if _, err := db.Exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, entry BLOB)`); err != nil {
			b.Fatal(err)
		}
		stmt, err := db.Prepare(`INSERT INTO t (entry) VALUES (?)`)
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		entry := make([]byte, 900) // an entry with its hashes, what is filtered by, and private values
		took := make([]time.Duration, b.N)
		b.ResetTimer()
		for i := range b.N {
			start := time.Now()
			if _, err := stmt.Exec(entry); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(start)
		}
		b.StopTimer()
		reportActs(b, took)
	})
}

// reportActs says how many there were in a second, and how long they took.
func reportActs(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "acts/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
