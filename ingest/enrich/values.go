package enrich

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"
	"golang.org/x/text/language"

	"github.com/eider-analytics/eider/store/event"
)

// maxAccept is how many bytes of an Accept-Language header are looked at.
const maxAccept = 256

// Language returns the language that an Accept-Language header prefers, as BCP
// 47 has it, primary tag with region if there is one: de, pt-BR. It is "" if the
// header names none.
func Language(accept string) string {
	accept = firstBytes(accept, maxAccept)
	best, bestWeight := "", 0.0
	for accept != "" {
		var item string
		item, accept, _ = strings.Cut(accept, ",")
		tag, params, _ := strings.Cut(item, ";")
		// Only a tag that weighs more is worth parsing.
		if w := weight(params); w > bestWeight {
			if l := canonicalLanguage(strings.TrimSpace(tag)); l != "" {
				best, bestWeight = l, w
			}
		}
	}
	return best
}

// weight reads "q=0.8"; without one it is 1, and what is not a number is 0.
func weight(params string) float64 {
	v, ok := strings.CutPrefix(strings.TrimSpace(params), "q=")
	if !ok {
		return 1
	}
	q, err := strconv.ParseFloat(v, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}

func canonicalLanguage(tag string) string {
	if tag == "" || tag == "*" {
		return ""
	}
	t, err := language.Parse(tag)
	if err != nil {
		return ""
	}
	base, _, region := t.Raw()
	switch {
	case base.String() == "und":
		return ""
	case region.IsCountry():
		return base.String() + "-" + region.String()
	}
	return base.String()
}

// maxAmount is the greatest amount of money that [Money] takes. In
// ten-thousandths it is 10^16, so that nine hundred of them still fit a sum of
// 64 bits.
var maxAmount = decimal.New(1, 12)

const (
	maxAmountText = 64 // bytes of an amount
	maxExponent   = 64 // beyond it an amount is too great, or too small to be anything
)

// Errors of [Money].
var (
	ErrAmount   = errors.New("amount is not a number of at most 1,000,000,000,000")
	ErrCurrency = errors.New("currency is not an ISO 4217 code")
)

// Money reads an amount of money, exactly: scaled is in ten-thousandths of the
// currency (see [event.RevenueScale]), rounded half to even, and cur is the ISO
// 4217 code in upper case. It returns ErrAmount for an amount that is no number
// or beyond a million million, and ErrCurrency.
func Money(amount, currencyCode string) (scaled int64, cur string, err error) {
	unit, err := currency.ParseISO(strings.TrimSpace(currencyCode))
	if err != nil || unit == currency.XXX {
		return 0, "", fmt.Errorf("%w: %.8q", ErrCurrency, currencyCode)
	}
	amount = strings.TrimSpace(amount)
	if amount == "" || len(amount) > maxAmountText {
		return 0, "", ErrAmount
	}
	d, err := decimal.NewFromString(amount)
	if err != nil {
		return 0, "", fmt.Errorf("%w: %.64q", ErrAmount, amount)
	}
	// Comparing and rounding write an exponent out as digits: 1e999999 would be
	// a million of them.
	switch e := d.Exponent(); {
	case d.IsZero():
		return 0, unit.String(), nil
	case e > maxExponent:
		return 0, "", fmt.Errorf("%w: %.64q", ErrAmount, amount)
	case e < -2*maxExponent:
		return 0, unit.String(), nil // 64 digits at most: less than 10^-63
	}
	if d.Abs().GreaterThan(maxAmount) {
		return 0, "", fmt.Errorf("%w: %.64q", ErrAmount, amount)
	}
	return d.Mul(decimal.New(event.RevenueScale, 0)).RoundBank(0).IntPart(), unit.String(), nil
}

// CleanText returns s without control characters and invalid UTF-8, and cut to
// at most max bytes between two runes. A text without a fault is returned as it
// is, sharing its memory.
func CleanText(s string, max int) string {
	if !isClean(s) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r == utf8.RuneError {
				return -1
			}
			return r
		}, s)
	}
	if len(s) <= max {
		return s
	}
	if max <= 0 {
		return ""
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// isClean says whether there is nothing for CleanText to remove. It is quick for
// ASCII.
func isClean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
				return unicode.IsControl(r) || r == utf8.RuneError
			})
		}
	}
	return true
}
