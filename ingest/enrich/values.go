package enrich

// Language returns the language that an Accept-Language header prefers, as BCP
// 47 has it, primary tag with region if there is one: de, pt-BR. It is "" if the
// header names none.
func Language(accept string) string { return "" }

// Money reads an amount of money, exactly: scaled is in ten-thousandths of the
// currency (see event.RevenueScale), rounded half to even, and cur is the ISO
// 4217 code in upper case. An amount beyond a million million is an error.
func Money(amount, currency string) (scaled int64, cur string, err error) { return 0, "", nil }

// CleanText returns s without control characters and invalid UTF-8, and cut to
// at most max bytes between two runes.
func CleanText(s string, max int) string { return s }
