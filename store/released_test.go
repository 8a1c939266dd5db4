package store_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// released is what is in each of testdata/v*: the first three events in a part, the
// others in the journal. A column that a later version adds has its zero value.
func released() []event.Event {
	full := event.Event{
		Site: "a.example", Time: noon, Received: noon + 1234, Name: "Signup", Via: event.ViaBatch,
		Visitor: event.ID{1, 2, 3}, Visit: 1, VisitStart: noon - 5_000_000, User: event.ID{4, 15: 5}, Dedupe: event.ID{6},
		Interactive: true, Hostname: "www.a.example", Path: "/ü", Title: "Title 🦆", EntryHostname: "a.example", EntryPath: "/",
		Referrer: "https://b.example/x", Source: "b.example", Channel: "Referral",
		UTMSource: "s", UTMMedium: "m", UTMCampaign: "c", UTMContent: "o", UTMTerm: "t", ClickID: "gclid",
		Browser: "Firefox", BrowserVersion: "140", OS: "Linux", OSVersion: "6", Device: "desktop", Screen: 1920,
		Language: "de", Country: "DE", Region: "DE-BE", RegionName: "Berlin", City: "Berlin", CityID: 2950159,
		Revenue: -12_345_678, Currency: "EUR", Props: `{"plan":"p\"1"}`, EngagedMS: 1500, Scroll: 100,
	}
	bare := event.Event{Site: "it's.example", Time: noon - 1, Received: noon, Name: event.Pageview, Via: event.ViaPage, Scroll: event.NoScroll}
	zero := full
	zero.Revenue, zero.Scroll, zero.Interactive, zero.Props = 0, 0, false, ""
	var all []event.Event
	for range 2 {
		all = append(all, full, bare, zero)
	}
	for i := range all {
		all[i].Seq = int64(i) + 1
	}
	return all
}

var (
	releasedKey  = ledger.Key{ID: "k1", Name: "a key", Prefix: "eider_ab", Hash: ledger.HashKey("eider_abcdef"), Scopes: []string{"ingest", "stats"}, Site: "a.example", Created: noon, Expires: noon + 1, LastUsed: noon + 2, Revoked: noon + 3}
	releasedSite = ledger.Site{Domain: "a.example", Timezone: "Europe/Berlin", Created: noon}
	releasedID   = [16]byte{1, 2, 3, 15: 4}
	releasedBody = [8]byte{5, 7: 6}
)

// TestReleased opens what each released version has left in its data directory, and
// finds all of it. With EIDER_RELEASE=v2 it makes testdata/v2 first, which is done
// once, when a release changes a format, and never again.
func TestReleased(t *testing.T) {
	t.Parallel()
	if version := os.Getenv("EIDER_RELEASE"); version != "" {
		release(t, filepath.Join("testdata", version))
	}
	dirs, err := filepath.Glob(filepath.Join("testdata", "v*"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no released version: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			r := &rig{t: t, dir: t.TempDir(), log: new(bytes.Buffer), last: 6, ends: []int64{3, 6}}
			if err := os.CopyFS(r.dir, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			gunzip(t, filepath.Join(r.dir, "ledger.db.gz"), filepath.Join(r.dir, "ledger.db"))
			r.opts = releasedOptions(r)
			r.open()
			t.Cleanup(r.close)
			r.events = released()
			r.check()
			checkReleasedStore(t, r.store)
			checkReleasedLedger(t, r.ledger)
			r.publish()
			r.reopen()
			r.check()
			checkReleasedStore(t, r.store)
		})
	}
}

func releasedOptions(r *rig) store.Options {
	return store.Options{Dir: r.dir, MemoryLimit: 64 << 20, Threads: 1, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.UnixMicro(noon) }}
}

func checkReleasedStore(t *testing.T, s *store.Store) {
	t.Helper()
	got, err := s.Events(t.Context())
	if diff := cmp.Diff(released(), got); err != nil || diff != "" {
		t.Errorf("%v, events want -, got +:\n%s", err, diff)
	}
	if damaged, err := s.VerifyParts(t.Context(), nil); err != nil || len(damaged) > 0 {
		t.Errorf("VerifyParts = %v, %v", damaged, err)
	}
}

func checkReleasedLedger(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	ctx := t.Context()
	parts, published, err := l.Parts(ctx)
	if err != nil || len(parts) != 1 || published != 3 || parts[0].Rows != 3 || !slices.Equal(parts[0].Sites, []string{"a.example", "it's.example"}) {
		t.Errorf("parts %+v, published %d, %v", parts, published, err)
	}
	if j := l.Journal(); j.First != 4 || j.Last != 6 || j.Groups != 1 || j.OldestReceived != noon {
		t.Errorf("journal %+v", j)
	}
	if list, err := l.Sites(ctx); err != nil || !slices.Equal(list, []ledger.Site{releasedSite}) {
		t.Errorf("sites %+v, %v", list, err)
	}
	keys, err := l.Keys(ctx)
	if diff := cmp.Diff([]ledger.Key{releasedKey}, keys); err != nil || diff != "" {
		t.Errorf("%v, keys want -, got +:\n%s", err, diff)
	}
	if body, found, err := l.FindID(ctx, 1, releasedID); body != releasedBody || !found || err != nil {
		t.Errorf("FindID = %v, %t, %v", body, found, err)
	}
	if v, found, err := l.Setting(ctx, "setting"); v != "value" || !found || err != nil {
		t.Errorf("Setting = %q, %t, %v", v, found, err)
	}
	if _, err := l.Secret(ctx, "ids", 16); err == nil {
		t.Error("a secret of 32 bytes has 16, so it was not there")
	}
	if run, err := l.StartRun(ctx, "test"); err != nil || run.ID != 1 || run.Version != "release" || !run.Clean || run.Took != time.Second {
		t.Errorf("run %+v, %v", run, err)
	}
	if n, err := l.DropSalts(ctx, noon+1); n != 1 || err != nil {
		t.Errorf("dropped %d salts, %v; want 1", n, err)
	}
	// What the first version did not have can be given to its sites.
	if settings, err := l.SiteSettings(ctx, "a.example"); err != nil || settings.Timezone != releasedSite.Timezone {
		t.Errorf("settings %+v, %v", settings, err)
	}
	if _, err := l.AddGoal(ctx, ledger.Goal{Site: "a.example", Kind: ledger.PageGoal, Path: "/thanks"}); err != nil {
		t.Errorf("AddGoal = %v", err)
	}
}

// release makes the data directory of this version.
func release(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s has been released: %v", dir, err)
	}
	r := &rig{t: t, dir: t.TempDir(), log: new(bytes.Buffer)}
	r.opts = releasedOptions(r)
	r.open()
	l, ctx := r.ledger, context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.StartRun(ctx, "release")
	must(err)
	must(l.AddSite(ctx, releasedSite))
	must(l.AddKey(ctx, releasedKey))
	must(l.SetSetting(ctx, "setting", "value"))
	_, err = l.Secret(ctx, "ids", 32)
	must(err)
	_, err = l.Salt(ctx, "a.example", "2026-03-10", noon)
	must(err)
	for i, events := range slices.Collect(slices.Chunk(released(), 3)) {
		must(l.Append(ledger.Group{
			First: events[0].Seq, Last: events[2].Seq, Count: 3, Received: noon,
			Payload: event.Encode(nil, events), IDs: slices.Concat(releasedID[:], releasedBody[:]),
		}))
		if i == 0 {
			must(r.store.Flush(ctx, events))
			_, err := r.store.Publish(ctx)
			must(err)
		}
	}
	must(l.EndRun(ctx, true, time.Second))
	r.close()
	must(os.CopyFS(filepath.Join(dir, "events"), os.DirFS(filepath.Join(r.dir, "events"))))
	content, err := os.ReadFile(filepath.Join(r.dir, "ledger.db"))
	must(err)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(content)
	must(errors.Join(err, w.Close()))
	must(os.WriteFile(filepath.Join(dir, "ledger.db.gz"), packed.Bytes(), 0o644))
}

func gunzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
