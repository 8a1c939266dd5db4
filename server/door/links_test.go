package door_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// link makes a shared link.
func (r *rig) link(t *testing.T, k ledger.Link, password string) door.Shared {
	t.Helper()
	k.Site, k.Name = "a.example", "of a test"
	made, err := r.AddLink(t.Context(), k, password)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (r *rig) opens(c door.Client, slug, password string) error {
	_, _, err := r.OpenLink(context.Background(), c, slug, password)
	return err
}

func TestLink(t *testing.T) {
	t.Parallel()
	r := newRig(t, doortest.New())
	k := r.link(t, ledger.Link{Badges: true, Expires: start.Add(time.Hour).UnixMicro()}, "")
	if len(k.Slug) != 26 || strings.Trim(k.Slug, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("slug %q", k.Slug)
	}
	badge := door.BadgeOf(k.Slug)
	finds := func(slug string) error { _, err := r.FindLink(t.Context(), slug, "whatever"); return err }
	badges := func(token string) error { _, err := r.FindBadge(t.Context(), token); return err }
	for name, c := range map[string]struct{ got, want error }{
		"the slug":              {finds(k.Slug), nil},
		"the badge":             {badges(badge), nil},
		"the badge as a slug":   {finds(badge), door.ErrNoLink},
		"the slug as a badge":   {badges(k.Slug), door.ErrNoLink},
		"a slug in capitals":    {finds(strings.ToUpper(k.Slug)), door.ErrNoLink},
		"a part of it":          {finds(k.Slug[1:]), door.ErrNoLink},
		"nothing":               {finds(""), door.ErrNoLink},
		"a badge of nothing":    {badges(""), door.ErrNoLink},
		"a password, of none":   {r.opens(from("192.0.2.1"), k.Slug, "x"), door.ErrOpenLink},
		"a password of no link": {r.opens(from("192.0.2.1"), badge, "x"), door.ErrNoLink},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	// What it is shown to the operator by is sealed with the secret, and works without.
	list, err := r.Links(t.Context(), "a.example")
	if err != nil || len(list) != 1 || list[0].Slug != k.Slug || strings.Contains(string(list[0].Sealed), k.Slug) {
		t.Errorf("Links = %+v, %v", list, err)
	}
	r.open(t, func(o *door.Options) { o.Secret = []byte(strings.Repeat("x", 32)) })
	if list, err := r.Links(t.Context(), "a.example"); err != nil || list[0].Slug != "" || finds(k.Slug) != nil {
		t.Errorf("with another secret: %+v, %v, and by its slug %v", list, err, finds(k.Slug))
	}
	if _, err := r.ChangeLink(t.Context(), "a.example", k.ID, nil, func(k *ledger.Link) error { k.Badges = false; return nil }); err != nil || !errors.Is(badges(badge), door.ErrNoLink) {
		t.Errorf("a badge that was taken away: %v, %v", err, badges(badge))
	}
	r.clock.forward(time.Hour)
	if err := finds(k.Slug); !errors.Is(err, door.ErrNoLink) {
		t.Errorf("an expired link: %v, want ErrNoLink", err)
	}
	if _, err := r.AddLink(t.Context(), ledger.Link{Site: "a.example", Name: "x"}, "short"); !errors.Is(err, door.ErrPassword) {
		t.Errorf("a short password: %v, want ErrPassword", err)
	}
}

func TestLinkPassword(t *testing.T) {
	t.Parallel()
	m := doortest.New()
	r := newRig(t, m)
	k := r.link(t, ledger.Link{}, "open sesame")
	other := r.link(t, ledger.Link{}, "open sesame")
	finds := func(slug, pass string) error { _, err := r.FindLink(t.Context(), slug, pass); return err }
	pass, until, err := r.OpenLink(t.Context(), from("192.0.2.1"), k.Slug, "open sesame")
	if err != nil || !until.Equal(start.Add(door.PassTTL)) {
		t.Fatalf("until %v, %v", until, err)
	}
	if err := finds(k.Slug, pass); err != nil {
		t.Errorf("with the pass: %v", err)
	}
	end, mac, _ := strings.Cut(pass, ".")
	for name, p := range map[string]string{
		"none": "", "the password": "open sesame", "another end": "9" + end[1:] + "." + mac, "no MAC": end + ".", "a shorter one": pass[:len(pass)-1], "a longer one": pass + "A",
		"zeros": end + "." + strings.Repeat("A", len(mac)), "very long": strings.Repeat("9", 1<<16) + "." + mac,
	} {
		if err := finds(k.Slug, p); !errors.Is(err, door.ErrLinkPassword) {
			t.Errorf("%s: %v, want ErrLinkPassword", name, err)
		}
	}
	if err := finds(other.Slug, pass); !errors.Is(err, door.ErrLinkPassword) {
		t.Errorf("the pass of another link: %v", err)
	}
	r.open(t) // a restart
	if err := finds(k.Slug, pass); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	change := func(password string) {
		if _, err := r.ChangeLink(t.Context(), "a.example", k.ID, &password, func(*ledger.Link) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change("open sesame") // the same text is another hash
	if err := finds(k.Slug, pass); !errors.Is(err, door.ErrLinkPassword) {
		t.Errorf("a pass of before: %v", err)
	}
	if pass, _, err = r.OpenLink(t.Context(), from("192.0.2.1"), k.Slug, "open sesame"); err != nil {
		t.Fatal(err)
	}
	r.clock.forward(door.PassTTL)
	if err := finds(k.Slug, pass); !errors.Is(err, door.ErrLinkPassword) {
		t.Errorf("an old pass: %v", err)
	}
	change("")
	if err := finds(k.Slug, ""); err != nil {
		t.Errorf("without a password: %v", err)
	}
	if n := count(m, audit.Login); n != 2 {
		t.Errorf("%d attempts recorded, want 2", n)
	}
}

// TestLinkGuessing: who guesses the password of a link waits, from wherever he comes; who
// logs in does not wait for him, nor the other way round.
func TestLinkGuessing(t *testing.T) {
	ledgers(t, func(t *testing.T, l door.Ledger) {
		r := newRig(t, l)
		if real, ok := l.(*ledger.Ledger); ok {
			if err := real.AddSite(t.Context(), ledger.Site{Domain: "a.example", Timezone: "UTC"}); err != nil {
				t.Fatal(err)
			}
		}
		k := r.link(t, ledger.Link{}, "open sesame")
		hashed := r.hashes.calls.Load()
		for i := range 100 {
			err := r.opens(from("192.0.2.1"), k.Slug, fmt.Sprintf("guess %d", i))
			if i < 5 && !errors.Is(err, door.ErrBadLogin) || i >= 5 && waits(err) != 5*time.Minute {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		if n := r.hashes.calls.Load() - hashed; n != 5 {
			t.Errorf("%d passwords were hashed, want 5", n)
		}
		if err := r.opens(from("192.0.2.1"), k.Slug, "open sesame"); waits(err) == 0 {
			t.Errorf("the right one, after that: %v", err)
		}
		r.open(t)
		if err := r.opens(from("192.0.2.1"), k.Slug, "open sesame"); waits(err) == 0 {
			t.Errorf("after a restart: %v", err)
		}
		if err := r.try(from("192.0.2.1"), "jo bright", right); err != nil {
			t.Errorf("a log-in from there: %v", err)
		}
		if err := r.opens(from("192.0.2.2"), k.Slug, "open sesame"); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		// From everywhere: one in ten seconds, once there were twenty.
		looked := 0
		for i := range 200 {
			if err := r.opens(from(fmt.Sprintf("198.51.100.%d", i)), k.Slug, "x"); errors.Is(err, door.ErrBadLogin) {
				looked++
			} else if w := waits(err); w <= 0 || w > 10*time.Second {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		if looked > 20 {
			t.Errorf("%d guesses from everywhere were looked at, want 20 at most", looked)
		}
		r.clock.forward(10 * time.Second)
		if err := r.opens(from("203.0.113.1"), k.Slug, "open sesame"); err != nil {
			t.Errorf("ten seconds later: %v", err)
		}
		if err := r.try(from("203.0.113.2"), "link\x001", right); !errors.Is(err, door.ErrBadLogin) {
			t.Errorf("a log-in by the name of the tally: %v", err)
		}
	})
}
