package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// withSites returns a ledger with a clock that stands at 77 µs and two sites.
func withSites(t testing.TB, dir string) *ledger.Ledger {
	t.Helper()
	l := open(t, dir, ledger.Options{Now: func() time.Time { return time.UnixMicro(77) }})
	for _, domain := range []string{"a.example", "b.example"} {
		if err := l.AddSite(t.Context(), ledger.Site{Domain: domain, Timezone: "UTC", Created: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// wantField checks that an error names a field and says something.
func wantField(t testing.TB, err error, field string) {
	t.Helper()
	var fe *event.FieldError
	if !errors.As(err, &fe) || fe.Field != field || fe.Message == "" {
		t.Errorf("%v, want an error of the field %s", err, field)
	}
	if errors.Is(err, ledger.ErrFailed) {
		t.Error("a wrong argument has failed the ledger")
	}
}

func TestGoals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	var want []ledger.Goal
	for _, c := range []struct{ in, out ledger.Goal }{
		{ledger.Goal{Kind: "page", Path: " /thanks/ "}, ledger.Goal{Name: "Visit /thanks", Kind: "page", Path: "/thanks"}},
		{ledger.Goal{Kind: "page", Path: "/", Name: "Home"}, ledger.Goal{Name: "Home", Kind: "page", Path: "/"}},
		{ledger.Goal{Kind: "scroll", Path: "/blog/**", Scroll: 90}, ledger.Goal{Name: "Scroll 90% on /blog/**", Kind: "scroll", Path: "/blog/**", Scroll: 90}},
		{ledger.Goal{Kind: "event", Event: "Purchase", Currency: "eur", Props: map[string]string{"plan": "it's \"big\""}, Created: 5},
			ledger.Goal{Name: "Purchase", Kind: "event", Event: "Purchase", Currency: "EUR", Props: map[string]string{"plan": "it's \"big\""}, Created: 5}},
		{ledger.Goal{Kind: "event", Event: "Signup", Props: map[string]string{}}, ledger.Goal{Name: "Signup", Kind: "event", Event: "Signup"}},
	} {
		c.in.Site, c.out.Site = "a.example", "a.example"
		if c.out.Created == 0 {
			c.out.Created = 77
		}
		c.out.ID = int64(len(want) + 1)
		got, err := l.AddGoal(t.Context(), c.in)
		if err != nil || !reflect.DeepEqual(got, c.out) {
			t.Errorf("AddGoal(%+v) = %+v, %v; want %+v", c.in, got, err, c.out)
		}
		want = append(want, c.out)
	}
	if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "event", Event: "Signup"}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the same goal again: %v, want ErrExists", err)
	}
	if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "c.example", Kind: "event", Event: "Signup"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a goal of no site: %v, want ErrNotFound", err)
	}
	if g, err := l.AddGoal(t.Context(), ledger.Goal{Site: "b.example", Kind: "event", Event: "Signup"}); err != nil || g.ID <= 5 {
		t.Errorf("the goal of another site: %+v, %v", g, err)
	}
	l = reopen(t, dir, l)
	got, err := l.Goals(t.Context(), "a.example")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Goals: %v, want -, got +:\n%s", err, diff)
	}
	if got, err := l.Goals(t.Context(), "c.example"); err != nil || len(got) != 0 {
		t.Errorf("Goals of no site = %+v, %v", got, err)
	}
}

func TestChangeGoal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	g, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "page", Path: "/a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "page", Path: "/b"}); err != nil {
		t.Fatal(err)
	}
	change := func(site string, fn func(*ledger.Goal)) (ledger.Goal, error) {
		return l.ChangeGoal(t.Context(), site, g.ID, func(g *ledger.Goal) error { fn(g); return nil })
	}
	// A name that nobody chose follows the path; one that somebody did stays.
	got, err := change("a.example", func(g *ledger.Goal) { g.Path, g.Site, g.ID, g.Created = "/c", "b.example", 9, 9 })
	if want := (ledger.Goal{ID: g.ID, Site: "a.example", Name: "Visit /c", Kind: "page", Path: "/c", Created: 77}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if got, err = change("a.example", func(g *ledger.Goal) { g.Name = "Mine" }); err != nil || got.Name != "Mine" || got.Path != "/c" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = change("a.example", func(g *ledger.Goal) { g.Path = "/d" }); err != nil || got.Name != "Mine" || got.Path != "/d" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = change("a.example", func(g *ledger.Goal) { g.Path = "d" })
	wantField(t, err, "path")
	if _, err = change("a.example", func(g *ledger.Goal) { g.Name = "Visit /b" }); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("a name that is taken: %v, want ErrExists", err)
	}
	if _, err = change("b.example", func(g *ledger.Goal) { t.Error("a goal of another site was shown") }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the goal of another site: %v, want ErrNotFound", err)
	}
	boom := errors.New("boom")
	if _, err := l.ChangeGoal(t.Context(), "a.example", g.ID, func(*ledger.Goal) error { return boom }); !errors.Is(err, boom) || l.Failed() != nil {
		t.Errorf("%v, ledger %v", err, l.Failed())
	}
	l = reopen(t, dir, l)
	if list, err := l.Goals(t.Context(), "a.example"); err != nil || len(list) != 2 || list[0].Path != "/d" || list[0].Name != "Mine" {
		t.Errorf("Goals = %+v, %v", list, err)
	}
	if err := l.RemoveGoal(t.Context(), "b.example", g.ID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("removed the goal of another site: %v", err)
	}
	if err := l.RemoveGoal(t.Context(), "a.example", g.ID); err != nil {
		t.Error(err)
	}
	if list, err := l.Goals(t.Context(), "a.example"); err != nil || len(list) != 1 {
		t.Errorf("Goals = %+v, %v", list, err)
	}
}

func TestWrongGoals(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	long := strings.Repeat("x", 2001)
	many := map[string]string{}
	for i := range 4 {
		many[fmt.Sprint(i)] = "x"
	}
	for _, c := range []struct {
		field string
		goal  ledger.Goal
	}{
		{"kind", ledger.Goal{Path: "/x"}},
		{"kind", ledger.Goal{Kind: "pages", Path: "/x"}},
		{"kind", ledger.Goal{Kind: "page", Path: "/x", Event: "x"}},
		{"kind", ledger.Goal{Kind: "page", Path: "/x", Currency: "EUR"}},
		{"kind", ledger.Goal{Kind: "scroll", Path: "/x", Scroll: 5, Props: map[string]string{"a": "b"}}},
		{"path", ledger.Goal{Kind: "page"}},
		{"path", ledger.Goal{Kind: "page", Path: "x"}},
		{"path", ledger.Goal{Kind: "page", Path: "/" + long}},
		{"path", ledger.Goal{Kind: "page", Path: "/a\x00"}},
		{"path", ledger.Goal{Kind: "page", Path: "/a\xff"}},
		{"path", ledger.Goal{Kind: "event", Event: "x", Path: "/x"}},
		{"scroll", ledger.Goal{Kind: "scroll", Path: "/x"}},
		{"scroll", ledger.Goal{Kind: "scroll", Path: "/x", Scroll: 101}},
		{"scroll", ledger.Goal{Kind: "scroll", Path: "/x", Scroll: -1}},
		{"scroll", ledger.Goal{Kind: "page", Path: "/x", Scroll: 50}},
		{"event", ledger.Goal{Kind: "event"}},
		{"event", ledger.Goal{Kind: "event", Event: "engagement"}},
		{"event", ledger.Goal{Kind: "event", Event: long}},
		{"props", ledger.Goal{Kind: "event", Event: "x", Props: many}},
		{"props", ledger.Goal{Kind: "event", Event: "x", Props: map[string]string{"": "x"}}},
		{"props", ledger.Goal{Kind: "event", Event: "x", Props: map[string]string{"x": long}}},
		{"currency", ledger.Goal{Kind: "event", Event: "x", Currency: "EURO"}},
		{"currency", ledger.Goal{Kind: "event", Event: "x", Currency: "QQQ"}},
		{"name", ledger.Goal{Kind: "event", Event: "x", Name: strings.Repeat("x", 256)}},
		{"name", ledger.Goal{Kind: "event", Event: "x", Name: "a\nb"}},
	} {
		c.goal.Site = "a.example"
		_, err := l.AddGoal(t.Context(), c.goal)
		wantField(t, err, c.field)
	}
	if list, err := l.Goals(t.Context(), "a.example"); err != nil || len(list) > 0 {
		t.Errorf("Goals = %+v, %v; want none", list, err)
	}
}

// TestGoalFiltersFit counts the filters and values of as many goals as there can
// be, with as much in them as there can be: a query takes 2,000 of its goals.
func TestGoalFiltersFit(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	g, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "event", Event: "x", Props: map[string]string{"a": "1", "b": "2", "c": "3"}})
	if err != nil {
		t.Fatal(err)
	}
	var count func(f event.Filter) int
	count = func(f event.Filter) int {
		n := 1 + len(f.Values)
		for _, of := range f.Of {
			n += count(of)
		}
		return n
	}
	for _, g := range []ledger.Goal{g, {Kind: "scroll", Path: "/", Scroll: 1}, {Kind: "page", Path: "/"}} {
		if n := ledger.MaxGoals * count(g.Goal().Filter); n > 4*event.MaxFilters {
			t.Errorf("%d goals of the kind %s have %d filters and values", ledger.MaxGoals, g.Kind, n)
		}
	}
}

// TestMostGoals checks that a site can have so many goals and no more, whatever
// others have.
func TestMostGoals(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	for i := range ledger.MaxGoals {
		if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "event", Event: fmt.Sprint("e", i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "event", Event: "more"})
	wantField(t, err, "site_id")
	if _, err := l.AddGoal(t.Context(), ledger.Goal{Site: "b.example", Kind: "event", Event: "more"}); err != nil {
		t.Error(err)
	}
	if err := l.RemoveGoal(t.Context(), "a.example", 1); err != nil {
		t.Error(err)
	}
	// The place is free, and the id is not given again.
	if g, err := l.AddGoal(t.Context(), ledger.Goal{Site: "a.example", Kind: "event", Event: "more"}); err != nil || g.ID != ledger.MaxGoals+2 {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestGoalFilters(t *testing.T) {
	t.Parallel()
	is := func(d event.Dimension, v string) event.Filter {
		return event.Filter{Op: event.Is, Dimension: d, Values: []string{v}}
	}
	path := event.Filter{Op: event.Like, Dimension: "path", Values: []string{"/blog/**"}}
	for _, c := range []struct {
		goal ledger.Goal
		want event.Goal
	}{
		{ledger.Goal{Name: "Blog", Kind: "page", Path: "/blog/**"},
			event.Goal{Name: "Blog", Filter: event.Filter{Op: event.And, Of: []event.Filter{is("name", "pageview"), path}}}},
		{ledger.Goal{Name: "Read", Kind: "scroll", Path: "/blog/**", Scroll: 75},
			event.Goal{Name: "Read", Filter: event.Filter{Op: event.And, Of: []event.Filter{is("name", "engagement"), path,
				{Op: event.AtLeast, Dimension: "scroll", Values: []string{"75"}}}}}},
		{ledger.Goal{Name: "Buy", Kind: "event", Event: "Purchase", Currency: "EUR"},
			event.Goal{Name: "Buy", Currency: "EUR", Filter: is("name", "Purchase")}},
		{ledger.Goal{Name: "Buy", Kind: "event", Event: "Purchase", Props: map[string]string{"plan": "b", "how": "c"}},
			event.Goal{Name: "Buy", Filter: event.Filter{Op: event.And, Of: []event.Filter{is("name", "Purchase"), is("prop:how", "c"), is("prop:plan", "b")}}}},
	} {
		if diff := cmp.Diff(c.want, c.goal.Goal()); diff != "" {
			t.Errorf("%+v: want -, got +:\n%s", c.goal, diff)
		}
	}
}

func TestSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	s, err := l.AddSegment(t.Context(), ledger.Segment{Site: "a.example", Name: " Germans ", Filters: []byte(` [ ["is", "visit:country", ["DE"]] ] `)})
	want := ledger.Segment{ID: 1, Site: "a.example", Name: "Germans", Filters: []byte(`[["is","visit:country",["DE"]]]`), Created: 77, Updated: 77}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Fatalf("got %+v, %v; want %+v", s, err, want)
	}
	if _, err := l.AddSegment(t.Context(), ledger.Segment{Site: "a.example", Name: "Germans", Filters: []byte("[]")}); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("the same name again: %v, want ErrExists", err)
	}
	if _, err := l.AddSegment(t.Context(), ledger.Segment{Site: "c.example", Name: "x", Filters: []byte("[]")}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a segment of no site: %v, want ErrNotFound", err)
	}
	for _, c := range []struct{ field, name, filters string }{
		{"name", "", "[]"}, {"name", strings.Repeat("x", 256), "[]"}, {"filters", "x", ""}, {"filters", "x", "{}"}, {"filters", "x", "[] []"},
		{"filters", "x", "null"}, {"filters", "x", `[["is"`}, {"filters", "x", "[" + strings.Repeat(" ", 16<<10) + "]"},
	} {
		_, err := l.AddSegment(t.Context(), ledger.Segment{Site: "a.example", Name: c.name, Filters: []byte(c.filters)})
		wantField(t, err, c.field)
	}
	l = reopen(t, dir, l)
	want.Name = "Austrians"
	s, err = l.ChangeSegment(t.Context(), "a.example", 1, func(s *ledger.Segment) error { s.Name, s.Site, s.ID = "Austrians", "b.example", 4; return nil })
	if err != nil || s.Updated < 78 {
		t.Errorf("got %+v, %v", s, err)
	}
	want.Updated = s.Updated
	if list, err := l.Segments(t.Context(), "a.example"); err != nil || !reflect.DeepEqual(list, []ledger.Segment{want}) {
		t.Errorf("Segments = %+v, %v; want %+v", list, err, want)
	}
	if _, err := l.ChangeSegment(t.Context(), "b.example", 1, func(*ledger.Segment) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the segment of another site: %v, want ErrNotFound", err)
	}
	if err := l.RemoveSegment(t.Context(), "b.example", 1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("removed the segment of another site: %v", err)
	}
	if err := l.RemoveSegment(t.Context(), "a.example", 1); err != nil {
		t.Error(err)
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	for _, a := range []ledger.Annotation{{Day: "2026-01-31", Text: "launch"}, {Time: 5_000_000, Text: " ü "}} {
		a.Site = "a.example"
		if _, err := l.AddAnnotation(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		field string
		a     ledger.Annotation
	}{
		{"date", ledger.Annotation{Text: "x"}},
		{"date", ledger.Annotation{Text: "x", Day: "2026-01-31", Time: 1}},
		{"date", ledger.Annotation{Text: "x", Day: "2026-02-30"}},
		{"date", ledger.Annotation{Text: "x", Day: "31.01.2026"}},
		{"text", ledger.Annotation{Day: "2026-01-31"}},
		{"text", ledger.Annotation{Day: "2026-01-31", Text: strings.Repeat("x", 501)}},
	} {
		c.a.Site = "a.example"
		_, err := l.AddAnnotation(t.Context(), c.a)
		wantField(t, err, c.field)
	}
	if _, err := l.AddAnnotation(t.Context(), ledger.Annotation{Site: "c.example", Time: 1, Text: "x"}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("an annotation of no site: %v, want ErrNotFound", err)
	}
	if _, err := l.ChangeAnnotation(t.Context(), "a.example", 2, func(a *ledger.Annotation) error { a.Day, a.Time = "2026-02-01", 0; return nil }); err != nil {
		t.Error(err)
	}
	if _, err := l.ChangeAnnotation(t.Context(), "b.example", 2, func(*ledger.Annotation) error { return nil }); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the annotation of another site: %v, want ErrNotFound", err)
	}
	want := []ledger.Annotation{
		{ID: 1, Site: "a.example", Day: "2026-01-31", Text: "launch", Created: 77},
		{ID: 2, Site: "a.example", Day: "2026-02-01", Text: "ü", Created: 77},
	}
	l = reopen(t, dir, l)
	if got, err := l.Annotations(t.Context(), "a.example"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if err := l.RemoveAnnotation(t.Context(), "b.example", 1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("removed the annotation of another site: %v", err)
	}
	if err := l.RemoveAnnotation(t.Context(), "a.example", 1); err != nil {
		t.Error(err)
	}
}

// TestRemoveSiteAndAll removes a site and finds nothing left of it, and another
// one's untouched.
func TestRemoveSiteAndAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	for _, site := range []string{"a.example", "b.example"} {
		_, err1 := l.AddGoal(t.Context(), ledger.Goal{Site: site, Kind: "event", Event: "x"})
		_, err2 := l.AddSegment(t.Context(), ledger.Segment{Site: site, Name: "x", Filters: []byte("[]")})
		_, err3 := l.AddAnnotation(t.Context(), ledger.Annotation{Site: site, Time: 1, Text: "x"})
		_, err5 := l.AddLink(t.Context(), linkNamed(site, site))
		_, err4 := l.ChangeSettings(t.Context(), site, func(s *ledger.SiteSettings) error { s.Timezone, s.Paths = "Asia/Tokyo", []string{"/x"}; return nil })
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.RemoveSite(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"goals", "segments", "annotations", "links", "site_rules", "zone_changes", "sites"} {
		if n := rows(t, filepath.Join(dir, "ledger.db"), l, table); n != 1 {
			t.Errorf("%d rows in %s, want the one of the other site", n, table)
		}
	}
}
