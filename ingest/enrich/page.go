package enrich

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Errors of [ParsePage]. Their texts are those with which Plausible answers.
var (
	ErrScheme = errors.New("scheme is not allowed") // a page that is its own address: data:, javascript:
	ErrURL    = errors.New("must be a valid url")   // a host that cannot be one
)

// NoHost is the Hostname of a [Page] whose URL names none.
const NoHost = "(none)"

const (
	maxPath = 2000 // bytes of a path
	maxHost = 253  // bytes of a host's name, as in DNS
)

// A Page is the address of a page, cleaned for being counted.
type Page struct {
	Scheme   string     // lower case; "" if the URL had none
	Hostname string     // lower case, without www. and port, or NoHost
	Path     string     // decoded, without trailing slashes and spaces, with the fragment if asked for; never ""
	Query    url.Values // nil if there is none; not stored: campaigns are read from it
}

// ParsePage reads the address of a page as the tracker sends it. If hash is true
// the page is told apart by its fragment, which is kept as part of the path.
//
// It takes what browsers take: a stray % stands for itself, and what is no UTF-8
// stays encoded.
func ParsePage(raw string, hash bool) (Page, error) {
	u, err := splitURL(raw)
	if err != nil {
		return Page{}, err
	}
	switch u.scheme {
	case "data", "javascript", "vbscript":
		return Page{}, ErrScheme
	}
	p := Page{Scheme: u.scheme, Hostname: u.host, Path: strings.TrimRight(decode(u.path), " /")}
	if p.Hostname == "" {
		p.Hostname = NoHost
	}
	if !strings.HasPrefix(p.Path, "/") {
		p.Path = "/" + p.Path
	}
	if hash {
		fragment, _, _ := strings.Cut(u.fragment, "?")
		if fragment = strings.TrimRight(decode(fragment), " /"); fragment != "" {
			p.Path += "#" + fragment
		}
	}
	p.Path = CleanText(p.Path, maxPath)
	if u.query != "" {
		p.Query, _ = url.ParseQuery(u.query) // keeps what it can read
	}
	return p, nil
}

// splitParts are the parts of a URL, still encoded but for the host, which is
// lower case and without www. and port.
type splitParts struct{ scheme, host, path, query, fragment string }

// splitURL takes a URL apart. Unlike net/url it refuses only a host that cannot
// be one. The parts do not share memory with raw.
func splitURL(raw string) (u splitParts, err error) {
	raw = strings.TrimSpace(CleanText(raw, len(raw)))
	rest, fragment, _ := strings.Cut(strings.Clone(raw), "#")
	rest, query, _ := strings.Cut(rest, "?")
	u = splitParts{query: query, fragment: fragment}
	if i := strings.IndexByte(rest, ':'); i > 0 && isScheme(rest[:i]) {
		u.scheme, rest = strings.ToLower(rest[:i]), rest[i+1:]
	}
	u.path = rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		authority := after
		u.path = ""
		if i := strings.IndexByte(after, '/'); i >= 0 {
			authority, u.path = after[:i], after[i:]
		}
		u.host, err = cleanHost(authority)
	}
	return u, err
}

// isScheme says whether s is a scheme and not the host of "example.com:8080/x".
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= s[i] && s[i] <= '9' || s[i] == '+' || s[i] == '-')) {
			return false
		}
	}
	return true
}

// cleanHost returns the host of an authority: user:password@www.Example.com.:80.
func cleanHost(authority string) (string, error) {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		if strings.Trim(host[i+1:], "0123456789") != "" {
			return "", ErrURL
		}
		host = host[:i]
	}
	host = strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(host), "."), "www.")
	if len(host) > maxHost || strings.ContainsAny(strings.Trim(host, "[]"), " \"<>\\^`{|}[]:%") && !strings.HasPrefix(host, "[") {
		return "", ErrURL
	}
	return host, nil
}

// decode undoes percent-encoding where that gives UTF-8, and leaves the rest.
func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, ok := unhex(s[i:]); ok {
			b = append(b, c)
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return encodeInvalid(b)
}

// unhex reads %41 at the start of s.
func unhex(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := strings.IndexByte(hexDigits, s[1]|0x20), strings.IndexByte(hexDigits, s[2]|0x20)
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

const hexDigits = "0123456789abcdef"

func encodeInvalid(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			out.WriteByte('%')
			out.WriteByte(hexDigits[b[0]>>4])
			out.WriteByte(hexDigits[b[0]&15])
		} else {
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String()
}
