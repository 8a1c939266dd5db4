package ledger_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/eider-analytics/eider/store/ledger"
)

// linkNamed returns a link whose secrets are made of its name.
func linkNamed(site, name string) ledger.Link {
	return ledger.Link{Site: site, Name: name, Hash: ledger.HashKey(name), Badge: ledger.HashKey("badge " + name), Sealed: []byte("sealed " + name)}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	segment, err := l.AddSegment(t.Context(), ledger.Segment{Site: "a.example", Name: "x", Filters: []byte(`[1]`)})
	if err != nil {
		t.Fatal(err)
	}
	one := linkNamed("a.example", "one")
	one.Password, one.Segment, one.Embeds, one.Badges, one.Expires = "$phc", segment.ID, true, true, 99
	two := linkNamed("a.example", " two ")
	var want []ledger.Link
	for _, k := range []ledger.Link{one, two} {
		got, err := l.AddLink(t.Context(), k)
		k.ID, k.Created, k.Changed = int64(len(want)+1), 77, 77
		if k.Name == " two " {
			k.Name = "two"
		}
		if err != nil || !reflect.DeepEqual(got, k) {
			t.Errorf("AddLink = %+v, %v; want %+v", got, err, k)
		}
		want = append(want, k)
	}
	l = reopen(t, dir, l)
	if got, err := l.Links(t.Context(), "a.example"); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("Links: %v, want -, got +:\n%s", err, cmp.Diff(want, got))
	}
	for _, find := range []struct {
		name string
		of   func() (ledger.Link, error)
		want error
	}{
		{"by its hash", func() (ledger.Link, error) { return l.Link(t.Context(), one.Hash) }, nil},
		{"by its badge", func() (ledger.Link, error) { return l.BadgedLink(t.Context(), one.Badge) }, nil},
		{"by the hash of its badge", func() (ledger.Link, error) { return l.Link(t.Context(), one.Badge) }, ledger.ErrNotFound},
		{"by the badge of its hash", func() (ledger.Link, error) { return l.BadgedLink(t.Context(), one.Hash) }, ledger.ErrNotFound},
	} {
		got, err := find.of()
		if !errors.Is(err, find.want) || err == nil && !reflect.DeepEqual(got, want[0]) {
			t.Errorf("%s: %+v, %v; want %+v, %v", find.name, got, err, want[0], find.want)
		}
	}
	if k := want[0]; !k.LiveAt(98) || k.LiveAt(99) || !want[1].LiveAt(1<<62) {
		t.Error("LiveAt is wrong about when links expire")
	}

	// What a link is made of stays; the rest changes.
	got, err := l.ChangeLink(t.Context(), "a.example", 1, func(k *ledger.Link) error {
		*k = linkNamed("b.example", "three")
		return nil
	})
	kept := want[0]
	kept.Name, kept.Password, kept.Segment, kept.Embeds, kept.Badges, kept.Expires = "three", "", 0, false, false, 0
	kept.Changed = max(got.Changed, 78) // the clock goes on
	if err != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("ChangeLink = %+v, %v; want %+v", got, err, kept)
	}
	if got, err = l.Link(t.Context(), one.Hash); err != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("changed: %+v, %v; want %+v", got, err, kept)
	}
	if err := l.RevokeLink(t.Context(), "b.example", 1); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("revoked the link of another site: %v", err)
	}
	if err := l.RevokeLink(t.Context(), "a.example", 1); err != nil {
		t.Error(err)
	}
	if _, err := l.Link(t.Context(), one.Hash); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a revoked link: %v, want ErrNotFound", err)
	}
	if k, err := l.AddLink(t.Context(), linkNamed("a.example", "four")); err != nil || k.ID != 3 {
		t.Errorf("the next link: %+v, %v; want the id 3", k, err)
	}
}

func TestWrongLinks(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	segment, err := l.AddSegment(t.Context(), ledger.Segment{Site: "b.example", Name: "x", Filters: []byte(`[1]`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AddLink(t.Context(), linkNamed("a.example", "taken")); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*ledger.Link){
		"name":    func(k *ledger.Link) { k.Name = " " },
		"expires": func(k *ledger.Link) { k.Expires = 77 },
		"segment": func(k *ledger.Link) { k.Segment = segment.ID }, // of another site
	} {
		k := linkNamed("a.example", field)
		change(&k)
		_, err := l.AddLink(t.Context(), k)
		wantField(t, err, field)
		_, err = l.ChangeLink(t.Context(), "a.example", 1, func(k *ledger.Link) error { change(k); return nil })
		wantField(t, err, field)
	}
	if _, err := l.AddLink(t.Context(), linkNamed("c.example", "x")); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a link of no site: %v, want ErrNotFound", err)
	}
	same := linkNamed("a.example", "taken")
	same.Hash = ledger.HashKey("another")
	same.Badge = ledger.HashKey("another badge")
	if _, err := l.AddLink(t.Context(), same); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("a name that is taken: %v, want ErrExists", err)
	}
	for i := range ledger.MaxLinks - 1 {
		if _, err := l.AddLink(t.Context(), linkNamed("a.example", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	_, err = l.AddLink(t.Context(), linkNamed("a.example", "one too many"))
	wantField(t, err, "site_id")
}

// TestLockedSegment: what a link is locked to cannot be taken away under it, but with the
// whole site.
func TestLockedSegment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := withSites(t, dir)
	segment, err := l.AddSegment(t.Context(), ledger.Segment{Site: "a.example", Name: "x", Filters: []byte(`[1]`)})
	if err != nil {
		t.Fatal(err)
	}
	k := linkNamed("a.example", "x")
	k.Segment = segment.ID
	if k, err = l.AddLink(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveSegment(t.Context(), "a.example", segment.ID); !errors.Is(err, ledger.ErrInUse) {
		t.Errorf("removed the segment of a link: %v, want ErrInUse", err)
	}
	if err := l.RemoveSegment(t.Context(), "b.example", segment.ID); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("removed a segment for another site: %v, want ErrNotFound", err)
	}
	if got, err := l.Link(t.Context(), k.Hash); err != nil || got.Segment != segment.ID {
		t.Errorf("the link is %+v, %v", got, err)
	}
	if err := l.RemoveSite(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"links", "segments"} {
		if n := rows(t, filepath.Join(dir, "ledger.db"), l, table); n != 0 {
			t.Errorf("%d rows in %s", n, table)
		}
	}
}

// TestLinkPassword: the chain says that there is another password, and not which.
func TestLinkPassword(t *testing.T) {
	t.Parallel()
	l := withSites(t, t.TempDir())
	k := linkNamed("a.example", "for Johanna")
	k.Password = "one $phc"
	if _, err := l.AddLink(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]map[string]string{
		"another $phc": {"site": "a.example", "changed": "", "password": "another one"},
		"":             {"site": "a.example", "changed": "password", "password": `"set" -> ""`},
	} {
		if _, err := l.ChangeLink(t.Context(), "a.example", 1, func(k *ledger.Link) error { k.Password = "one $phc"; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := l.ChangeLink(t.Context(), "a.example", 1, func(k *ledger.Link) error { k.Password = password; return nil }); err != nil {
			t.Fatal(err)
		}
		all := entriesOf(t, l)
		if got := leaf(t, all[len(all)-1]); !maps.Equal(got.Detail, want) {
			t.Errorf("detail %q, want %q", got.Detail, want)
		}
	}
	for _, r := range entriesOf(t, l) {
		if strings.Contains(string(r.Leaf), "$phc") || strings.Contains(string(r.Leaf), "Johanna") {
			t.Errorf("the chain tells %s", r.Leaf)
		}
	}
}
