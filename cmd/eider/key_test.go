package main

import (
	"testing"
	"time"
)

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ in, want string }{
		{"2026-12-31", "2027-01-01T00:00:00Z"}, // good for the whole day
		{"2026-12-31T06:00:00+01:00", "2026-12-31T05:00:00Z"},
		{"90d", "2026-05-30T12:00:00Z"},
		{"12h", "2026-03-02T00:00:00Z"},
	} {
		at, err := expiry(c.in, now)
		if got := at.UTC().Format(time.RFC3339); err != nil || got != c.want {
			t.Errorf("%s: got %s (%v), want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "90", "soon", "2026-13-01"} {
		if at, err := expiry(in, now); err == nil {
			t.Errorf("%q: got %s, want an error", in, at)
		}
	}
}

// TestPrintable: what a visitor sends must not steer an operator's terminal.
func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"/grün/日本", "/grün/日本"},
		{"\x1b]0;gotcha\x07", "·]0;gotcha·"},
		{"a\tb\nc\u009b", "a·b·c·"},
	} {
		if got := printable(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
