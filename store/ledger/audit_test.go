package ledger_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// entriesOf returns the chain.
func entriesOf(t testing.TB, log audit.Log) []audit.Row {
	t.Helper()
	_, end, err := log.Extent(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var rows []audit.Row
	if err := log.Rows(context.Background(), 0, end, func(r audit.Row) error { rows = append(rows, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rows) != int(end) {
		t.Fatalf("%d rows, and the chain is said to have %d", len(rows), end)
	}
	return rows
}

// leaf parses a row's.
func leaf(t testing.TB, r audit.Row) audit.Leaf {
	t.Helper()
	l, err := audit.Parse(r.Leaf)
	if err != nil {
		t.Fatalf("leaf of %d: %v\n%s", r.Seq, err, r.Leaf)
	}
	return l
}

func detail(t testing.TB, r audit.Row) map[string]string { return leaf(t, r).Detail }

// root computes the root of a tree as RFC 6962 defines it.
func root(leaves []tlog.Hash) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1)
		return tlog.NodeHash(root(leaves[:k]), root(leaves[k:]))
	}
}

// checkChain recomputes a chain from its leaves and returns its head.
func checkChain(t testing.TB, origin string, log audit.Log) audit.Head {
	t.Helper()
	rows := entriesOf(t, log)
	first, _, err := log.Extent(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	prev := tlog.Hash(sha256.Sum256([]byte(origin[:strings.LastIndex(origin, "/")] + "/1")))
	var links []tlog.Hash
	for i, r := range rows {
		if r.Seq != int64(i) || (r.Leaf == nil) != (r.Seq < first) {
			t.Fatalf("row %d has seq %d and a leaf of %d bytes; leaves begin at %d", i, r.Seq, len(r.Leaf), first)
		}
		if r.Leaf != nil {
			l := leaf(t, r)
			if l.Seq != r.Seq || l.Prev != prev || l.Kind != r.Kind || l.Outcome != r.Outcome || l.Actor != r.Actor ||
				l.Object != r.Object || l.Request != r.Request || l.Time.UnixMicro() != r.Time {
				t.Fatalf("row %+v has the leaf %s", r, r.Leaf)
			}
			if r.Link() != tlog.RecordHash(r.Leaf) {
				t.Fatalf("row %d has another hash than its leaf", i)
			}
		}
		prev = r.Link()
		links = append(links, prev)
	}
	tree, err := tlog.TreeHash(int64(len(rows)), log)
	if err != nil {
		t.Fatal(err)
	}
	if want := root(links); tree != want {
		t.Fatalf("root of %d entries is %v, want %v", len(rows), tree, want)
	}
	return audit.Head{Size: int64(len(rows)), Root: tree, Link: prev}
}

// verifyChain checks the chain of an open ledger, and that what is kept in memory is
// on disk.
func verifyChain(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	origin, head := l.AuditHead()
	if origin == "" { // it cannot be read: a test has broken it
		if l.Halted() == nil {
			t.Fatal("there is no chain, and it is not halted")
		}
		return
	}
	if got := checkChain(t, origin, l); got != head {
		t.Fatalf("the head is said to be %+v, and is %+v", head, got)
	}
	if s := l.AuditStats(); s.Size != head.Size {
		t.Fatalf("AuditStats = %+v, want %d entries", s, head.Size)
	}
}

// acting is a context of somebody who acts.
func acting(t testing.TB, actor string) context.Context {
	return audit.With(context.Background(), audit.By{
		Actor: actor, Address: "192.0.2.7", Agent: "curl/8", Request: "req-" + actor, Trace: "4bf92f3577b34da6a3ce929d0e0e4736",
	})
}

// TestGenesis opens a ledger, and again: the chain begins once.
func TestGenesis(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{Genesis: map[string]string{"version": "1.2", "key": "abc"}})
	origin, head := l.AuditHead()
	rows := entriesOf(t, l)
	if len(rows) != 2 || rows[0].Kind != audit.Genesis || rows[1].Kind != audit.Migrate || rows[0].Actor != "system" {
		t.Fatalf("the chain begins with %+v, want genesis and migration", rows)
	}
	d := detail(t, rows[0])
	if d["version"] != "1.2" || d["key"] != "abc" || d["keys"] != "0" || d["sites"] != "0" || origin != "eider/"+d["instance"]+"/1" || len(d["instance"]) != 16 {
		t.Errorf("genesis of %s says %q", origin, d)
	}
	l = reopen(t, dir, l)
	if again, h := l.AuditHead(); again != origin || h != head {
		t.Errorf("opened again: %s at %+v, want %s at %+v", again, h, origin, head)
	}
	if other, _ := open(t, t.TempDir(), ledger.Options{}).AuditHead(); other == origin {
		t.Errorf("two ledgers have the origin %s", origin)
	}
}

// An operation is one of the ledger's acts, and what the chain must say of it.
type operation struct {
	name    string
	do      func(ctx context.Context, l *ledger.Ledger) error
	kind    audit.Kind
	object  string
	detail  map[string]string
	private map[string]string
}

// operations are all the acts there are, in an order in which each is possible.
func operations() []operation {
	site := ledger.Site{Domain: "a.example", Timezone: "UTC"}
	return []operation{
		{"AddKey", func(ctx context.Context, l *ledger.Ledger) error {
			return l.AddKey(ctx, ledger.Key{ID: "k1", Name: "Jane's", Prefix: "eider_12", Hash: [32]byte{1}, Scopes: []string{"ingest", "stats"}, Site: "a.example", Expires: 1_000_000})
		}, audit.KeyCreate, "key:k1", map[string]string{"scopes": "ingest stats", "site": "a.example", "expires": "1970-01-01T00:00:01Z", "prefix": "eider_12"}, map[string]string{"name": "Jane's"}},
		{"RevokeKey", func(ctx context.Context, l *ledger.Ledger) error { return l.RevokeKey(ctx, "k1", 2_000_000) },
			audit.KeyRevoke, "key:k1", map[string]string{"at": "1970-01-01T00:00:02Z"}, nil},
		{"AddSite", func(ctx context.Context, l *ledger.Ledger) error { return l.AddSite(ctx, site) },
			audit.SiteCreate, "site:a.example", map[string]string{"timezone": "UTC"}, nil},
		{"SetSite", func(ctx context.Context, l *ledger.Ledger) error {
			return l.SetSite(ctx, ledger.Site{Domain: "a.example", Timezone: "Asia/Tokyo"})
		}, audit.SiteChange, "site:a.example", map[string]string{"changed": "timezone", "timezone": `"UTC" -> "Asia/Tokyo"`}, nil},
		{"ChangeSettings", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.ChangeSettings(ctx, "a.example", func(s *ledger.SiteSettings) error {
				s.Addresses, s.Countries = []string{"192.0.2.1"}, []string{"DE"}
				return nil
			})
			return err
		}, audit.SiteChange, "site:a.example", map[string]string{"changed": "excluded_addresses excluded_countries", "excluded_countries": `"[]" -> "[\"DE\"]"`},
			map[string]string{"excluded_addresses": `["192.0.2.1"]`}},
		{"AddGoal", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.AddGoal(ctx, ledger.Goal{Site: "a.example", Kind: ledger.EventGoal, Event: "Buy", Currency: "EUR", Props: map[string]string{"a": "b"}})
			return err
		}, audit.GoalCreate, "goal:1", map[string]string{"site": "a.example", "kind": "event", "currency": "EUR"},
			map[string]string{"name": "Buy", "event": "Buy", "props": `{"a":"b"}`}},
		{"ChangeGoal", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.ChangeGoal(ctx, "a.example", 1, func(g *ledger.Goal) error { g.Name, g.Currency = "Sale", "USD"; return nil })
			return err
		}, audit.GoalChange, "goal:1", map[string]string{"site": "a.example", "changed": "currency name", "currency": `"EUR" -> "USD"`}, map[string]string{"name": "Sale"}},
		{"RemoveGoal", func(ctx context.Context, l *ledger.Ledger) error { return l.RemoveGoal(ctx, "a.example", 1) },
			audit.GoalRemove, "goal:1", map[string]string{"site": "a.example"}, nil},
		{"AddSegment", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.AddSegment(ctx, ledger.Segment{Site: "a.example", Name: "Germans", Filters: []byte(`[["is","visit:country",["DE"]]]`)})
			return err
		}, audit.SegmentCreate, "segment:1", map[string]string{"site": "a.example"},
			map[string]string{"name": "Germans", "filters": `[["is","visit:country",["DE"]]]`}},
		{"ChangeSegment", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.ChangeSegment(ctx, "a.example", 1, func(s *ledger.Segment) error { s.Name = "Germany"; return nil })
			return err
		}, audit.SegmentChange, "segment:1", map[string]string{"site": "a.example", "changed": "name"}, map[string]string{"name": "Germany"}},
		{"RemoveSegment", func(ctx context.Context, l *ledger.Ledger) error { return l.RemoveSegment(ctx, "a.example", 1) },
			audit.SegmentRemove, "segment:1", map[string]string{"site": "a.example"}, nil},
		{"AddAnnotation", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.AddAnnotation(ctx, ledger.Annotation{Site: "a.example", Day: "2026-01-31", Text: "Jane left"})
			return err
		}, audit.AnnotationCreate, "annotation:1", map[string]string{"site": "a.example", "day": "2026-01-31"}, map[string]string{"text": "Jane left"}},
		{"ChangeAnnotation", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.ChangeAnnotation(ctx, "a.example", 1, func(a *ledger.Annotation) error { a.Day, a.Time = "", 1_000_000; return nil })
			return err
		}, audit.AnnotationChange, "annotation:1", map[string]string{"site": "a.example", "changed": "day time", "day": `"2026-01-31" -> ""`, "time": `"" -> "1970-01-01T00:00:01Z"`}, nil},
		{"RemoveAnnotation", func(ctx context.Context, l *ledger.Ledger) error { return l.RemoveAnnotation(ctx, "a.example", 1) },
			audit.AnnotationRemove, "annotation:1", map[string]string{"site": "a.example"}, nil},
		{"AddLink", func(ctx context.Context, l *ledger.Ledger) error {
			k := linkNamed("a.example", "for Jane")
			k.Password, k.Badges = "phc", true
			_, err := l.AddLink(ctx, k)
			return err
		}, audit.LinkCreate, "link:1", map[string]string{"site": "a.example", "badge": "true", "password": "set"}, map[string]string{"name": "for Jane"}},
		{"ChangeLink", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.ChangeLink(ctx, "a.example", 1, func(k *ledger.Link) error { k.Embeds = true; return nil })
			return err
		}, audit.LinkChange, "link:1", map[string]string{"site": "a.example", "changed": "embed", "embed": `"" -> "true"`}, nil},
		{"LinkOpened", func(ctx context.Context, l *ledger.Ledger) error {
			return l.LinkOpened(ctx, []ledger.Tally{{Key: "kept", Count: 3}, {Key: "none"}}, nil, 1)
		}, audit.Login, "link:1", map[string]string{"by": "link"}, nil},
		{"RevokeLink", func(ctx context.Context, l *ledger.Ledger) error { return l.RevokeLink(ctx, "a.example", 1) },
			audit.LinkRevoke, "link:1", map[string]string{"site": "a.example"}, nil},
		{"RemoveSite", func(ctx context.Context, l *ledger.Ledger) error { return l.RemoveSite(ctx, "a.example") },
			audit.SiteRemove, "site:a.example", nil, nil},
		{"SetSetting", func(ctx context.Context, l *ledger.Ledger) error { return l.SetSetting(ctx, "motto", "x") },
			audit.SettingChange, "setting:motto", nil, map[string]string{"value": "x"}},
		{"Commit", func(ctx context.Context, l *ledger.Ledger) error {
			_, err := l.Commit(ctx, ledger.Change{Add: []event.Part{part("p", 1, 2)}, Entry: &audit.Entry{Kind: audit.DataErase, Detail: map[string]string{"rows": "3"}}})
			return err
		}, audit.DataErase, "", map[string]string{"rows": "3"}, nil},
		{"Quarantine", func(ctx context.Context, l *ledger.Ledger) error { return l.Quarantine(ctx, 1, "short") },
			audit.DataQuarantine, "part:1", map[string]string{"path": "p", "why": "short"}, nil},
		{"Record", func(ctx context.Context, l *ledger.Ledger) error {
			return l.Record(ctx, audit.Entry{Kind: audit.DataExport, Object: "site:a.example", Detail: map[string]string{"rows": "7"}})
		}, audit.DataExport, "site:a.example", map[string]string{"rows": "7"}, nil},
	}
}

// TestActs checks the entry of each act: that there is one, and what it says.
func TestActs(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), ledger.Options{})
	for _, o := range operations() {
		_, before := l.AuditHead()
		if err := o.do(acting(t, "key:"+o.name), l); err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		rows := entriesOf(t, l)
		if int64(len(rows)) != before.Size+1 {
			t.Fatalf("%s: %d entries after %d, want one more", o.name, len(rows), before.Size)
		}
		r := rows[len(rows)-1]
		got := leaf(t, r)
		if r.Kind != o.kind || r.Object != o.object || r.Actor != "key:"+o.name || r.Outcome != audit.Done || r.Request != "req-key:"+o.name || got.Trace == "" {
			t.Errorf("%s: %s", o.name, r.Leaf)
		}
		if !maps.Equal(got.Detail, o.detail) {
			t.Errorf("%s: detail %q, want %q", o.name, got.Detail, o.detail)
		}
		private, err := l.Private(t.Context(), r.Seq, r.Seq+1)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{audit.SourceField: `{"address":"192.0.2.7","user_agent":"curl/8"}`}
		maps.Copy(want, o.private)
		values := make(map[string]string)
		for _, p := range private[r.Seq] {
			values[p.Field] = p.Value
			if got.Private[p.Field] != p.Commitment() {
				t.Errorf("%s: the leaf has no commitment to %s", o.name, p.Field)
			}
		}
		if !maps.Equal(values, want) {
			t.Errorf("%s: private %q, want %q", o.name, values, want)
		}
		for _, v := range []string{"192.0.2", "curl/8", "Jane's", "Jane left", "for Jane"} {
			if strings.Contains(string(r.Leaf), v) {
				t.Errorf("%s: the leaf tells %q: %s", o.name, v, r.Leaf)
			}
		}
	}
}

// TestNoAct checks that what is no act, or has failed, leaves no entry.
func TestNoAct(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	_, before := l.AuditHead()
	add(t, l, 2, 100)
	_, err := l.Commit(t.Context(), ledger.Change{Published: 2, Add: []event.Part{part("p", 1, 2)}, IDs: entries(10, 1)})
	_, salt := l.Salt(t.Context(), "a.example", "2026-01-01", 1)
	_, drop := l.DropSalts(t.Context(), 5)
	_, secret := l.Secret(t.Context(), "s", 16)
	_, trim := l.TrimJournal(t.Context())
	if err := errors.Join(err, salt, drop, secret, trim, l.TouchKeys(t.Context(), map[string]int64{"x": 1})); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	_, change := l.ChangeSettings(t.Context(), "a.example", func(*ledger.SiteSettings) error { return refused })
	_, commit := l.Commit(t.Context(), ledger.Change{Remove: []int64{99}, Entry: &audit.Entry{Kind: audit.DataErase}})
	for name, c := range map[string]struct{ got, want error }{
		"AddSite":        {l.AddSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: "UTC"}), ledger.ErrExists},
		"RemoveGoal":     {l.RemoveGoal(t.Context(), "a.example", 5), ledger.ErrNotFound},
		"ChangeSettings": {change, refused},
		"Commit":         {commit, ledger.ErrNotFound},
		"Quarantine":     {l.Quarantine(t.Context(), 99, "x"), ledger.ErrNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s = %v, want %v", name, c.got, c.want)
		}
	}
	if _, after := l.AuditHead(); after != before {
		t.Errorf("%d entries after %d, want none more", after.Size, before.Size)
	}
}

// TestStarts checks what is said of how the run before has ended.
func TestStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	var want []string
	for i, before := range []string{"none", "killed", "clean", "unclean"} {
		if _, err := l.StartRun(acting(t, "somebody"), "v"); err != nil {
			t.Fatal(err)
		}
		want = append(want, "server.start "+before)
		if i > 0 {
			if err := l.EndRun(t.Context(), i == 1, time.Second); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint("server.stop ", i == 1))
		}
	}
	var got []string
	for _, r := range entriesOf(t, l)[2:] {
		if r.Actor != "system" {
			t.Errorf("%s was done by %s", r.Kind, r.Actor)
		}
		d := detail(t, r)
		got = append(got, string(r.Kind)+" "+d["before"]+d["clean"])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEntries asks for entries by everything they can be asked by.
func TestEntries(t *testing.T) {
	t.Parallel()
	c := clockAt(0)
	l := open(t, t.TempDir(), ledger.Options{Now: func() time.Time { c.pass(10 * time.Microsecond); return c.now() }})
	for i := range 60 {
		e := audit.Entry{Kind: audit.Kinds[20+i%3], Object: fmt.Sprint("site:", i%5)}
		e.Actor, e.Request = fmt.Sprint("key:", i%4), fmt.Sprint("r", i/2)
		if err := l.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	all := entriesOf(t, l)
	for _, f := range []ledger.EntryFilter{
		{}, {Limit: 7}, {Limit: 5000}, {Before: 30}, {Before: 30, Limit: 3}, {From: 200, To: 400}, {From: 200}, {To: 400},
		{Kind: string(audit.Kinds[21])}, {Actor: "key:2"}, {Object: "site:4"}, {Request: "r7"}, {Actor: "nobody"},
		{Kind: string(audit.Kinds[20]), Actor: "key:1", From: 100, Before: 50, Limit: 2},
	} {
		var want []audit.Row
		for _, r := range slices.Backward(all) {
			if (f.From == 0 || r.Time >= f.From) && (f.To == 0 || r.Time < f.To) && (f.Kind == "" || string(r.Kind) == f.Kind) && (f.Actor == "" || r.Actor == f.Actor) &&
				(f.Object == "" || r.Object == f.Object) && (f.Request == "" || r.Request == f.Request) && (f.Before == 0 || r.Seq < f.Before) &&
				(f.Limit == 0 || len(want) < f.Limit) {
				want = append(want, r)
			}
		}
		got, err := l.Entries(t.Context(), f)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %d entries, %v; want %d", f, len(got), err, len(want))
		}
	}
}

// note is a checkpoint as far as the ledger looks into it.
func note(l *ledger.Ledger) audit.Checkpoint {
	origin, h := l.AuditHead()
	return audit.Checkpoint{Origin: origin, Size: h.Size, Root: h.Root, Time: 5, Note: fmt.Appendf(nil, "%s\n%s\n", origin, h)}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir, ledger.Options{})
	var want []audit.Checkpoint
	for i := range 600 {
		c := note(l)
		if err := l.AddCheckpoint(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
		if err := l.Record(t.Context(), audit.Entry{Kind: audit.Task, Object: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	want[5].Note = append(want[5].Note, "another signature"...)
	if err := l.AddCheckpoint(t.Context(), want[5]); err != nil {
		t.Fatal(err)
	}
	wrong, beyond := want[7], note(l)
	wrong.Root[3] ^= 1
	beyond.Size++
	for name, c := range map[string]audit.Checkpoint{"wrong root": wrong, "beyond": beyond, "nothing": {Origin: "x"}} {
		if err := l.AddCheckpoint(t.Context(), c); !errors.Is(err, audit.ErrRolledBack) {
			t.Errorf("%s: AddCheckpoint = %v, want ErrRolledBack", name, err)
		}
	}
	l = reopen(t, dir, l)
	for _, after := range []int64{0, 1, 300} {
		var got []audit.Checkpoint
		if err := l.Checkpoints(t.Context(), after, func(c audit.Checkpoint) error { got = append(got, c); return nil }); err != nil {
			t.Fatal(err)
		}
		from := max(0, after-1)
		if !reflect.DeepEqual(got, want[from:]) {
			t.Errorf("after %d: %d checkpoints, want %d", after, len(got), len(want[from:]))
		}
	}
	if s := l.AuditStats(); s.Checkpoint != want[599].Size {
		t.Errorf("AuditStats = %+v, want the checkpoint at %d", s, want[599].Size)
	}
}

// TestHalt checks that a chain that is halted refuses every act before it has changed
// anything, that the rest goes on, and that adopting ends it.
func TestHalt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	if err := l.Adopt(t.Context(), audit.Entry{}); !errors.Is(err, ledger.ErrNotHalted) {
		t.Errorf("Adopt of a sound chain = %v, want ErrNotHalted", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("older than the head file")
	asked := 0
	l = open(t, dir, ledger.Options{Known: func(ctx context.Context, l *ledger.Ledger) error {
		asked++
		if n := len(entriesOf(t, l)); n < 3 {
			t.Errorf("Known sees %d entries", n)
		}
		return cause
	}})
	before := entriesOf(t, l)
	if err := l.Halted(); asked != 1 || !errors.Is(err, audit.ErrHalted) || !errors.Is(err, cause) {
		t.Fatalf("asked %d times, Halted = %v", asked, err)
	}
	for _, o := range operations() {
		if o.name == "Quarantine" || o.name == "Commit" {
			continue
		}
		if err := o.do(t.Context(), l); !errors.Is(err, audit.ErrHalted) && !errors.Is(err, ledger.ErrNotFound) && !errors.Is(err, ledger.ErrExists) {
			t.Errorf("%s = %v, want ErrHalted", o.name, err)
		}
	}
	refuse := l.Refuse(t.Context(), audit.Entry{Kind: audit.Refusal})
	if _, err := l.Commit(t.Context(), ledger.Change{Add: addParts(1), Entry: &audit.Entry{Kind: audit.DataErase}}); !errors.Is(err, audit.ErrHalted) || !errors.Is(refuse, audit.ErrHalted) {
		t.Errorf("Commit with an entry = %v, Refuse = %v; want ErrHalted", err, refuse)
	}
	// What cannot be refused.
	add(t, l, 2, 100)
	if _, err := l.Commit(t.Context(), ledger.Change{Add: []event.Part{part("p", 1, 2)}, Published: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StartRun(t.Context(), "9"); err != nil {
		t.Fatal(err)
	}
	if err := l.Quarantine(t.Context(), 1, "short"); err != nil {
		t.Fatal(err)
	}
	if got := entriesOf(t, l); len(got) != len(before) {
		t.Fatalf("%d entries, want %d as before", len(got), len(before))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{Known: func(context.Context, *ledger.Ledger) error { return cause }})
	if err := l.EndRun(t.Context(), true, 0); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatal(err)
	}
	origin, _ := l.AuditHead()
	if err := l.Adopt(acting(t, "user:1"), audit.Entry{Detail: map[string]string{"reason": "restored"}}); err != nil || l.Halted() != nil {
		t.Fatalf("Adopt = %v, Halted = %v", err, l.Halted())
	}
	var got []string
	for _, r := range entriesOf(t, l)[len(before):] {
		p := leaf(t, r)
		got = append(got, fmt.Sprint(r.Kind, " ", r.Actor, " ", p.Incarnation, " ", p.Detail["done_at"] != ""))
	}
	want := []string{"audit.adopt user:1 2 false", "server.start system 2 true", "data.quarantine system 2 true"}
	if now, _ := l.AuditHead(); !slices.Equal(got, want) || now != origin[:len(origin)-1]+"2" {
		t.Errorf("%s has %q, want %q", now, got, want)
	}
	l = reopen(t, dir, l)
	if err := l.AddSite(t.Context(), ledger.Site{Domain: "z.example", Timezone: "UTC"}); err != nil {
		t.Error(err)
	}
}

// TestBrokenChain takes rows away that the chain needs to go on: the ledger opens,
// takes events and refuses acts.
func TestBrokenChain(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"all":     `DELETE FROM audit_entries`,
		"a peak":  `DELETE FROM audit_entries WHERE seq = 1`,
		"hashes":  `UPDATE audit_entries SET hashes = x'00'`,
		"no name": `UPDATE audit_state SET instance = ''`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir, ledger.Options{})
			if err := l.Record(t.Context(), audit.Entry{Kind: audit.Task}); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			db := raw(t, filepath.Join(dir, "ledger.db"))
			if _, err := db.Exec(query); err != nil {
				t.Fatal(err)
			}
			db.Close()
			l = open(t, dir, ledger.Options{})
			site := ledger.Site{Domain: "a.example", Timezone: "UTC"}
			if err := l.AddSite(acting(t, "key:1"), site); !errors.Is(err, audit.ErrHalted) {
				t.Errorf("AddSite = %v, want ErrHalted", err)
			}
			if err := l.Adopt(t.Context(), audit.Entry{}); !errors.Is(err, audit.ErrHalted) {
				t.Errorf("Adopt = %v, want ErrHalted", err)
			}
			if _, err := l.StartRun(t.Context(), "1"); err != nil {
				t.Error(err)
			}
			add(t, l, 1, 10)
		})
	}
}

// TestOpenAudit reads the chain of a ledger that is closed, open, and cut off.
func TestOpenAudit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := withSites(t, dir)
	origin, head := l.AuditHead()
	check := func(what, path string) {
		t.Helper()
		before := glob(t, filepath.Dir(path))
		f, err := ledger.OpenAudit(t.Context(), path)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		defer f.Close()
		if got := checkChain(t, f.Origin(), f); got != head || f.Origin() != origin {
			t.Errorf("%s: %s at %+v, want %s at %+v", what, f.Origin(), got, origin, head)
		}
		for _, name := range glob(t, filepath.Dir(path)) {
			if !slices.Contains(before, name) && !strings.HasSuffix(name, "-shm") {
				t.Errorf("%s: %s was made", what, name)
			}
		}
		if _, err := f.Private(t.Context(), 0, 100); err != nil {
			t.Error(err)
		}
	}
	check("open", path)
	crashed := filepath.Join(t.TempDir(), "ledger.db")
	copyFile(t, path, crashed)
	copyFile(t, path+"-wal", crashed+"-wal")
	check("cut off", crashed)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed", path)
	if _, err := ledger.OpenAudit(t.Context(), filepath.Join(dir, "none.db")); err == nil {
		t.Error("a file that is not there was opened")
	}
	old := filepath.Join(t.TempDir(), "ledger.db")
	db := raw(t, old)
	if _, err := db.Exec("PRAGMA application_id = 0x45494452"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := ledger.OpenAudit(t.Context(), old); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("OpenAudit of an older ledger = %v, want ErrNotFound", err)
	}
}

func glob(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
