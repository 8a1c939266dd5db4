package ingest

import (
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"
)

// A logLine is one line of an access log in Apache's common or combined format:
//
//	host ident user [time] "request" status bytes ["referrer" "user agent" …]
//
// See https://httpd.apache.org/docs/2.4/mod/mod_log_config.html. What follows
// the user agent is passed over, as servers append fields of their own.
type logLine struct {
	addr      netip.Addr
	time      time.Time
	method    string
	target    string
	status    int
	referrer  string
	userAgent string
}

// logTime is how Apache and nginx write the time.
const logTime = "02/Jan/2006:15:04:05 -0700"

// parseLogLine reads a line. It says false for one that is damaged: cut short,
// without a quote, with an impossible date.
func parseLogLine(line string, combined bool) (l logLine, ok bool) {
	host, rest, _ := strings.Cut(line, " ")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return l, false
	}
	l.addr = addr.Unmap().WithZone("")
	// The user may hold spaces, so the time is looked for by its bracket.
	_, rest, ok = strings.Cut(rest, " [")
	if !ok {
		return l, false
	}
	when, rest, ok := strings.Cut(rest, "] ")
	if !ok {
		return l, false
	}
	if l.time, err = time.Parse(logTime, when); err != nil || l.time.Year() < 1990 {
		return l, false
	}
	request, rest, ok := quoted(rest)
	if !ok {
		return l, false
	}
	l.method, l.target = splitRequest(request)
	if rest, ok = l.result(rest); !ok {
		return l, false
	}
	if !combined {
		return l, true
	}
	if l.referrer, rest, ok = quoted(rest); !ok {
		return l, false
	}
	l.userAgent, _, ok = quoted(strings.TrimPrefix(rest, " "))
	l.referrer, l.userAgent = dash(l.referrer), dash(l.userAgent)
	return l, ok
}

// result reads the status and the size, and returns what follows them.
func (l *logLine) result(rest string) (string, bool) {
	status, rest, _ := strings.Cut(strings.TrimPrefix(rest, " "), " ")
	n, err := strconv.Atoi(status)
	if err != nil || n < 100 || n > 999 {
		return "", false
	}
	l.status = n
	size, rest, _ := strings.Cut(rest, " ")
	if size != "-" {
		if _, err := strconv.ParseUint(size, 10, 64); err != nil {
			return "", false
		}
	}
	return rest, true
}

// splitRequest takes "GET /path HTTP/1.1" apart.
func splitRequest(request string) (method, target string) {
	method, target, _ = strings.Cut(request, " ")
	if i := strings.LastIndex(target, " HTTP/"); i >= 0 {
		target = target[:i]
	}
	return method, target
}

// quoted reads a quoted field at the start of s. A quote inside it is written
// \", a backslash \\, and a byte that does not print \xhh.
func quoted(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			value = s[1:i]
			if escaped {
				value = unescape(value)
			}
			return value, s[i+1:], true
		}
	}
	return "", "", false
}

// unescape resolves the escapes of a quoted field. One that it does not know it
// leaves as it is.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte(c)
		case 't':
			b.WriteByte('\t')
		case 'n', 'r':
			b.WriteByte(' ')
		case 'x':
			if n, err := strconv.ParseUint(s[min(i+1, len(s)):min(i+3, len(s))], 16, 8); err == nil && i+2 < len(s) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
			fallthrough
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

func dash(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// Reasons for which a line of a log is no event: a closed set.
const (
	skipDamaged = "damaged" // not a line of the format, or cut short
	skipMethod  = "method"  // not a GET
	skipStatus  = "status"  // neither 200 nor 304
	skipAsset   = "asset"   // an image, a script, a style sheet, a feed
	skipEmpty   = "empty"   // nothing on the line
)

// downloads are the endings of files that are downloaded: documents, archives
// and installers. A movie or a song is as a rule played in a page, not fetched.
var downloads = set(
	"pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "pps", "key", "odt", "ods", "odp", "rtf", "csv", "epub", "mobi",
	"zip", "gz", "tgz", "tar", "bz2", "xz", "zst", "7z", "rar", "jar", "war",
	"exe", "msi", "dmg", "pkg", "deb", "rpm", "apk", "iso", "bin", "whl", "gem",
)

// pages are the endings of what a browser shows as a page. A path without one
// is a page, too.
var pages = set("html", "htm", "xhtml", "shtml", "php", "php5", "phtml", "asp", "aspx", "jsp", "jspx", "do", "cgi", "pl", "py", "rb", "cfm", "md")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// fileDownload is what Plausible calls a download.
const fileDownload = "File Download"

// classify says what event a line is, or why it is none.
func (l *logLine) classify() (name, skip string) {
	switch {
	case l.method != "GET" || l.target == "":
		return "", skipMethod
	case l.status != 200 && l.status != 304:
		return "", skipStatus
	}
	p, _, _ := strings.Cut(l.target, "?")
	p, _, _ = strings.Cut(p, "#")
	p = strings.ToLower(p)
	ext := strings.TrimPrefix(path.Ext(p), ".")
	switch {
	case strings.HasPrefix(p, "/.well-known/"):
		return "", skipAsset
	case downloads[ext]:
		return fileDownload, ""
	case ext == "" || pages[ext] || !isEnding(ext):
		return "pageview", ""
	}
	return "", skipAsset
}

// isEnding says whether what follows the last dot of a path names a kind of file:
// /blog/go-1.26 and /users/jane.doe-smith are pages.
func isEnding(ext string) bool {
	if len(ext) > 5 {
		return false
	}
	letter := false
	for _, c := range []byte(ext) {
		switch {
		case c >= 'a' && c <= 'z':
			letter = true
		case c < '0' || c > '9':
			return false
		}
	}
	return letter
}
