package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// files returns the bytes of a ledger's.
func files(t testing.TB, dir string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// erased returns the seqs that the chain says have been erased.
func erased(t testing.TB, l *ledger.Ledger) map[int64]bool {
	t.Helper()
	all := make(map[int64]bool)
	for _, r := range entriesOf(t, l) {
		if r.Kind != audit.Erase {
			continue
		}
		d := detail(t, r)
		if d["basis"] != "request" || len(d["seqs"]) > 900 {
			t.Fatalf("erasure says %q", d)
		}
		for span := range strings.SplitSeq(d["seqs"], ",") {
			a, b, found := strings.Cut(span, "-")
			if !found {
				b = a
			}
			from, err := strconv.ParseInt(a, 10, 64)
			to, err2 := strconv.ParseInt(b, 10, 64)
			if err != nil || err2 != nil || from > to || found && from == to {
				t.Fatalf("erasure names %q", span)
			}
			for ; from <= to; from++ {
				all[from] = true
			}
		}
	}
	return all
}

// manyEntries records n entries with private values of all lengths, of the actors
// a0 to a9 at addresses of their own, at once and with acts among them that fail.
func manyEntries(t testing.TB, l *ledger.Ledger, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for range n / 32 {
				who := rand.IntN(10)
				e := audit.Entry{Kind: audit.KeyCreate, Private: map[string]string{"name": strings.Repeat("n", rand.IntN(600)) + fmt.Sprintf("[%016x]", rand.Uint64())}}
				e.Actor, e.Address, e.Agent = fmt.Sprint("a", who), fmt.Sprintf("192.0.2.%d", who), fmt.Sprintf("[%016x]", rand.Uint64())+strings.Repeat("a", rand.IntN(300))
				if err := l.Record(t.Context(), e); err != nil {
					t.Error(err)
				}
				if err := l.RemoveGoal(t.Context(), "none", int64(i)); !errors.Is(err, ledger.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// TestErasePrivate destroys the private values of some, in steps, while others are
// recorded, and looks for their bytes in the files.
//
// With DELETE in place of the overwriting about one run in four finds something.
func TestErasePrivate(t *testing.T) {
	t.Parallel()
	rounds := 6
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		erasePrivate(t)
	}
}

func erasePrivate(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: c.now})
	manyEntries(t, l, 1600)
	c.pass(time.Hour)
	old := c.now().UnixMicro()
	manyEntries(t, l, 1600)
	_, head := l.AuditHead()
	values, err := l.Private(t.Context(), 0, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	rows := entriesOf(t, l)
	gone := func(r audit.Row, field string) bool {
		return r.Actor == "a3" || r.Actor == "a7" || r.Seq == rows[40].Seq || field == audit.SourceField && r.Time < old
	}
	total := 0
	for _, f := range []ledger.PrivateFilter{
		{Actor: "a3"}, {Address: "192.0.2.7"}, {Seqs: []int64{rows[40].Seq}}, {Field: audit.SourceField, Before: old}, {Actor: "a3", Address: "192.0.2.7"},
	} {
		var others sync.WaitGroup
		others.Go(func() {
			e := audit.Entry{Kind: audit.Task, Private: map[string]string{"x": "y"}}
			if err := l.Record(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
		n, err := l.ErasePrivate(t.Context(), f, "request")
		if err != nil {
			t.Fatal(err)
		}
		total += n
		others.Wait()
		if n, err := l.ErasePrivate(t.Context(), f, "request"); n != 0 || err != nil {
			t.Fatalf("%+v again = %d, %v; want none", f, n, err)
		}
	}
	bytesThere, left := files(t, dir), 0
	named := erased(t, l)
	now, err := l.Private(t.Context(), 0, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		for _, p := range values[r.Seq] {
			_, unique, _ := strings.Cut(p.Value, "[")
			is := slices.Contains(now[r.Seq], p)
			if is == gone(r, p.Field) || bytes.Contains(bytesThere, p.Salt[:]) != is || bytes.Contains(bytesThere, []byte(unique[:16])) != is {
				t.Fatalf("%s of entry %d by %s is there: %t", p.Field, r.Seq, r.Actor, is)
			}
			if !is {
				left++
				if !named[r.Seq] {
					t.Fatalf("no entry says that %d was erased", r.Seq)
				}
			}
		}
	}
	if total != left {
		t.Errorf("%d values were said to be erased, %d are gone", total, left)
	}
	for _, f := range []ledger.PrivateFilter{{}, {Field: "name"}, {Seqs: make([]int64, 1001)}} {
		if _, err := l.ErasePrivate(t.Context(), f, ""); err == nil {
			t.Errorf("%+v was erased", f)
		}
	}
}

// TestEraseOpenFold erases where refusals came from that are still being counted.
func TestEraseOpenFold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: newClock().now})
	for range 4 {
		if err := l.Refuse(t.Context(), refusal("198.51.100.99", "x", "y")); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := l.ErasePrivate(t.Context(), ledger.PrivateFilter{Address: "198.51.100.99"}, "request"); n != 2 || err != nil {
		t.Fatalf("ErasePrivate = %d, %v; want 2", n, err)
	}
	if n, _ := refused(t, l); n != 4 {
		t.Errorf("%d refusals, want 4", n)
	}
	l = reopen(t, dir, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "ledger.db"))
	if err != nil || bytes.Contains(b, []byte("198.51.100.99")) {
		t.Errorf("%v, or the address is still there", err)
	}
}

// TestPrune deletes leaves that a checkpoint covers: hashes, what is filtered by and
// all later leaves stay.
func TestPrune(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Now: newClock().now})
	manyEntries(t, l, 1600)
	covered := note(l)
	if err := l.PruneAudit(t.Context(), 10); err == nil {
		t.Error("entries that no checkpoint covers were pruned")
	}
	if err := l.AddCheckpoint(t.Context(), covered); err != nil {
		t.Fatal(err)
	}
	manyEntries(t, l, 320)
	before := entriesOf(t, l)
	values, err := l.Private(t.Context(), 0, covered.Size)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.Refuse(t.Context(), refusal("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{0, -1, covered.Size + 1} {
		if err := l.PruneAudit(t.Context(), at); err == nil {
			t.Errorf("pruned below %d, and the checkpoint is at %d", at, covered.Size)
		}
	}
	if err := l.PruneAudit(t.Context(), covered.Size); err != nil {
		t.Fatal(err)
	}
	if err := l.PruneAudit(t.Context(), 5); err != nil { // done already
		t.Fatal(err)
	}
	there := files(t, dir)
	l = reopen(t, dir, l)
	verifyChain(t, l)
	after := entriesOf(t, l)
	if first, _, err := l.Extent(t.Context()); first != covered.Size || err != nil {
		t.Errorf("leaves begin at %d, %v; want %d", first, err, covered.Size)
	}
	if last := after[len(after)-1]; last.Kind != audit.Prune || detail(t, last)["before"] != fmt.Sprint(covered.Size) || len(after) != len(before)+3 {
		t.Errorf("%d entries after %d, the last is %s %s", len(after), len(before), last.Kind, last.Leaf)
	}
	for i, r := range before {
		got := after[i]
		if pruned := got.Leaf == nil; pruned != (r.Seq < covered.Size) || got.Kind != r.Kind || got.Actor != r.Actor || !bytes.Equal(got.Hashes, r.Hashes) {
			t.Fatalf("entry %d is %+v", i, got)
		}
	}
	for seq, list := range values {
		for _, p := range list {
			if bytes.Contains(there, p.Salt[:]) {
				t.Fatalf("a value of entry %d is still there", seq)
			}
		}
	}
}

// TestVerify does to a chain all that may be done to it, with a crash between, and
// lets the verifier look at it: it is sound, and nothing of it is missing that no
// entry speaks of. What is destroyed behind the ledger's back is found.
func TestVerify(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	key := audit.NewKey([32]byte{1, 2, 3})
	l := open(t, dir, ledger.Options{Now: c.now, Genesis: map[string]string{"key": audit.KeyText(key.Public())}})
	sign := func() int64 {
		t.Helper()
		origin, h := l.AuditHead()
		p, err := audit.Sign(origin, h, []audit.Key{key}, c.now())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AddCheckpoint(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return h.Size
	}
	manyEntries(t, l, 640)
	covered := sign()
	for i := range 200 {
		if err := l.Refuse(t.Context(), refusal(fmt.Sprint(i%90), "x", "y")); err != nil {
			t.Fatal(err)
		}
	}
	dir = crash(t, dir)
	l = open(t, dir, ledger.Options{Now: c.now, Known: func(context.Context, *ledger.Ledger) error { return errors.New("restored") }})
	if _, err := l.StartRun(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Adopt(acting(t, "user:1"), audit.Entry{}); err != nil {
		t.Fatal(err)
	}
	sign()
	if _, err := l.ErasePrivate(t.Context(), ledger.PrivateFilter{Actor: "a3"}, "request"); err != nil {
		t.Fatal(err)
	}
	if err := l.PruneAudit(t.Context(), covered-20); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ErasePrivate(t.Context(), ledger.PrivateFilter{Field: audit.SourceField, Before: c.now().UnixMicro() + 1}, "request"); err != nil {
		t.Fatal(err)
	}
	manyEntries(t, l, 32)
	sign()
	trusted, err := audit.ParseTrusted(audit.KeyText(key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	check := func(want audit.Status) {
		t.Helper()
		if r := audit.Verify(t.Context(), l, audit.Options{Trusted: trusted}); r.Status != want || r.Pruned != covered-20 || r.Incarnation != 2 {
			t.Fatalf("want %s: %+v", want, r)
		}
	}
	check(audit.Sound)
	l = reopen(t, dir, l)
	check(audit.Sound)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, filepath.Join(dir, "ledger.db"))
	if _, err := db.Exec(`DELETE FROM audit_private WHERE id = (SELECT max(id) FROM audit_private WHERE salt <> zeroblob(32))`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	l = open(t, dir, ledger.Options{Now: c.now})
	check(audit.Tampered)
}

// TestSpans compares what erasures name with the plainest way to read it.
func TestSpans(t *testing.T) {
	t.Parallel()
	for range 200 {
		var seqs []int64
		for at, n := int64(0), rand.IntN(400); len(seqs) < n; at += 1 + rand.Int64N(3)/2 {
			seqs = append(seqs, at)
		}
		var got []int64
		for _, text := range ledger.Spans(seqs, 60) {
			if len(text) > 60 {
				t.Fatalf("%d bytes: %s", len(text), text)
			}
			for span := range strings.SplitSeq(text, ",") {
				var a, b int64
				if n, _ := fmt.Sscanf(span, "%d-%d", &a, &b); n == 1 {
					b = a
				}
				for ; a <= b; a++ {
					got = append(got, a)
				}
			}
		}
		if !slices.Equal(got, seqs) {
			t.Fatalf("got %v, want %v", got, seqs)
		}
	}
}

// TestErasePrivateOfTheActor erases what an actor did: the entries of the erasure,
// which are the actor's too, keep their own private values, and it comes to an end.
func TestErasePrivateOfTheActor(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{})
	ctx := audit.With(t.Context(), audit.By{Actor: "key:a", Address: "192.0.2.1"})
	for range 5 {
		if err := l.Record(ctx, audit.Entry{Kind: audit.Task}); err != nil {
			t.Fatal(err)
		}
	}
	_, before := l.AuditHead()
	if n, err := l.ErasePrivate(ctx, ledger.PrivateFilter{Actor: "key:a"}, "asked"); n != 5 || err != nil {
		t.Errorf("%d values were erased, %v; want 5", n, err)
	}
	if _, head := l.AuditHead(); head.Size != before.Size+1 {
		t.Errorf("the erasure made %d entries, want 1", head.Size-before.Size)
	}
}
