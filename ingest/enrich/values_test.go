package enrich_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/eider-analytics/eider/ingest/enrich"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ accept, want string }{
		{"", ""},
		{"de", "de"},
		{"pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"},
		{"en;q=0.5, fr-CH ;q=0.9, *;q=0.1", "fr-CH"}, // by weight, not by place
		{"en, de", "en"},             // the first of equals
		{"EN-us", "en-US"},           // canonical case
		{"iw-IL", "he-IL"},           // canonical tag
		{"zh-Hant-TW", "zh-TW"},      // no script
		{"es-419", "es"},             // a region that is no country
		{"*", ""},                    //
		{"*, sv;q=0.5", "sv"},        //
		{"zork-zork-zork, da", "da"}, // not a language
		{"C.UTF-8", ""},              //
		{"en;q=0", ""},               // q=0 is "not this one"
		{"en;q=NaN, fi;q=0.1", "fi"}, //
		{"en;q=7, fi;q=0.1", "fi"},   //
		{strings.Repeat("a-", 1e5), ""},
		{"\xff\xfe", ""},
	} {
		if got := enrich.Language(c.accept); got != c.want {
			t.Errorf("%.40q: got %q, want %q", c.accept, got, c.want)
		}
	}
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		amount, currency string
		scaled           int64
		cur              string
		err              error
	}{
		{"15.99", "USD", 159_900, "USD", nil},
		{"0.1", "eur", 1_000, "EUR", nil},
		{" 5 ", " Jpy ", 50_000, "JPY", nil},
		{"-3.5", "GBP", -35_000, "GBP", nil}, // a refund
		{"1e3", "USD", 10_000_000, "USD", nil},
		{"0", "USD", 0, "USD", nil},
		{"0e50", "USD", 0, "USD", nil},
		// Half to even, exactly: none of these has a float of its own.
		{"0.00005", "USD", 0, "USD", nil},
		{"0.00015", "USD", 2, "USD", nil},
		{"0.00025", "USD", 2, "USD", nil},
		{"-0.00015", "USD", -2, "USD", nil},
		{"0.000250000000000000000000001", "USD", 3, "USD", nil},
		{"9007199254.740993", "USD", 90_071_992_547_410, "USD", nil},
		{"1e-999999", "USD", 0, "", enrich.ErrAmount},
		{"1e-200", "USD", 0, "USD", nil},
		{"1e200", "USD", 0, "", enrich.ErrAmount},
		{"1000000000000", "USD", 10_000_000_000_000_000, "USD", nil},
		{"-1000000000000", "USD", -10_000_000_000_000_000, "USD", nil},
		{"1000000000000.0001", "USD", 0, "", enrich.ErrAmount},
		{"1e999999", "USD", 0, "", enrich.ErrAmount},
		{"-1e2147483647", "USD", 0, "", enrich.ErrAmount},
		{"1e99999999999999999999", "USD", 0, "", enrich.ErrAmount},
		{strings.Repeat("9", 1e6), "USD", 0, "", enrich.ErrAmount},
		{"", "USD", 0, "", enrich.ErrAmount},
		{"12,50", "USD", 0, "", enrich.ErrAmount},
		{"NaN", "USD", 0, "", enrich.ErrAmount},
		{"Infinity", "USD", 0, "", enrich.ErrAmount},
		{"0x10", "USD", 0, "", enrich.ErrAmount},
		{"1", "", 0, "", enrich.ErrCurrency},
		{"1", "US", 0, "", enrich.ErrCurrency},
		{"1", "ZZZ", 0, "", enrich.ErrCurrency},
		{"1", "XXX", 0, "", enrich.ErrCurrency}, // "no currency"
		{"1", "US$", 0, "", enrich.ErrCurrency},
	} {
		scaled, cur, err := enrich.Money(c.amount, c.currency)
		if scaled != c.scaled || cur != c.cur || !errors.Is(err, c.err) {
			t.Errorf("%.40q %q: got %d, %q, %v; want %d, %q, %v", c.amount, c.currency, scaled, cur, err, c.scaled, c.cur, c.err)
		}
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    string
		max  int
		want string
	}{
		{"", 10, ""},
		{"Grüße", 100, "Grüße"},
		{"a\x00b\nc\x7fd\u0085e", 100, "abcde"},
		{"a\xffb\xc3", 100, "ab"},
		{"Grüße", 3, "Gr"}, // not half an ü
		{"Grüße", 4, "Grü"},
		{"👩‍🚀", 11, "👩‍🚀"}, // a joiner is no control character
		{"abc", 0, ""},
		{"abc", -1, ""},
		{"\x00\x00abc", 2, "ab"}, // first cleaned, then cut
	} {
		if got := enrich.CleanText(c.s, c.max); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.s, c.max, got, c.want)
		}
	}
}

func FuzzLanguage(f *testing.F) {
	f.Add("de-DE,de;q=0.9,en;q=0.8")
	f.Fuzz(func(t *testing.T, accept string) {
		l := enrich.Language(accept)
		if len(l) > 6 || l != "" && l != enrich.Language(l) {
			t.Errorf("%q: got %q, which is %q again", accept, l, enrich.Language(l))
		}
	})
}

// FuzzMoney compares with fractions of whole numbers.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{"15.99", "-0.00015", "1e999999", "1e-999999", "1000000000000.0001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, amount string) {
		scaled, cur, err := enrich.Money(amount, "USD")
		if err != nil {
			return
		}
		if cur != "USD" || scaled > 1e16 || scaled < -1e16 {
			t.Fatalf("%q: got %d %s", amount, scaled, cur)
		}
		if strings.ContainsAny(amount, "eE") {
			return // big.Rat writes exponents out
		}
		want, ok := new(big.Rat).SetString(strings.TrimSpace(amount))
		if !ok {
			t.Fatalf("%q: got %d, but it is no number", amount, scaled)
		}
		off := new(big.Rat).Sub(want.Mul(want, big.NewRat(10_000, 1)), new(big.Rat).SetInt64(scaled))
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Errorf("%q: got %d, which is off by %s", amount, scaled, off)
		}
	})
}

func FuzzCleanText(f *testing.F) {
	f.Add("a\x00\xffü", 3)
	f.Fuzz(func(t *testing.T, s string, max int) {
		got := enrich.CleanText(s, max)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || len(got) > max && max >= 0 {
			t.Errorf("%q to %d: got %q", s, max, got)
		}
	})
}
