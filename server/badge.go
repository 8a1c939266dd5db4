package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/event"
)

const badgeSuffix = ".svg"

// maxLabel is how long the text of a badge may be, in characters.
const maxLabel = 40

// badgePeriods are the ranges that a badge can be about, and how it says so. Those that
// move with every second are none: each would be another question.
var badgePeriods = []struct{ period, says string }{
	{"30d", "visitors in 30 days"}, {"today", "visitors today"}, {"yesterday", "visitors yesterday"}, {"7d", "visitors in 7 days"},
	{"28d", "visitors in 28 days"}, {"90d", "visitors in 90 days"}, {"month", "visitors this month"}, {"year", "visitors this year"},
	{"6mo", "visitors in 6 months"}, {"12mo", "visitors in 12 months"}, {"all", "visitors"},
}

// authorizeBadge lets in who has the token of a badge. It opens nothing else.
func (s *Server) authorizeBadge(r *http.Request) error {
	token, ok := strings.CutSuffix(r.PathValue("file"), badgeSuffix)
	if !ok {
		token = ""
	}
	k, err := s.o.Door.FindBadge(r.Context(), token)
	if errors.Is(err, door.ErrNoLink) {
		return refuse(http.StatusNotFound, "not_found", "there is no such badge, or not any more")
	}
	callOf(r).who = visitorOf(k)
	return err
}

// badge answers with a picture of how many visitors there were.
func (s *Server) badge(w http.ResponseWriter, r *http.Request) error {
	site := callOf(r).who.site
	_, zone, err := s.site(r.Context(), site)
	if err != nil {
		return err
	}
	theme, err := choice(r, "theme", "auto", "light", "dark")
	if err != nil {
		return err
	}
	periods := make([]string, len(badgePeriods))
	for i, p := range badgePeriods {
		periods[i] = p.period
	}
	period, err := choice(r, "period", periods...)
	if err != nil {
		return err
	}
	label, err := labelOf(r, badgePeriods[slices.Index(periods, period)].says)
	if err != nil {
		return err
	}
	days, err := parsePeriod(period, zone, s.now())
	if err != nil {
		return err
	}
	q := event.Query{Site: site, Zone: zone, Metrics: []event.Metric{event.Visitors}}
	q.From, q.To = days.micros()
	a, err := s.o.Questions.Query(r.Context(), q)
	if err != nil {
		return err
	}
	sendBadge(w, r, drawBadge(label, firstLine(a, q.Metrics)[0].Int, theme))
	return nil
}

func labelOf(r *http.Request, otherwise string) (string, error) {
	label, err := param(r, "label", otherwise)
	if err == nil && (!utf8.ValidString(label) || utf8.RuneCountInString(label) > maxLabel || strings.ContainsFunc(label, func(c rune) bool { return !unicode.IsPrint(c) })) {
		err = refuse(http.StatusBadRequest, "parameter", "label is a text of at most %d characters", maxLabel)
	}
	return label, err
}

// badgeDark is what a badge that goes with its reader looks like in the dark. The policy
// of the answer allows this style and no other.
const badgeDark = `@media(prefers-color-scheme:dark){.l{fill:#2c3742}.n{fill:#e6ebf0}.v{fill:#7cb8e6}.f{fill:#12181f}}`

var badgePolicy = func() string {
	sum := sha256.Sum256([]byte(badgeDark))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'"
}()

// sendBadge answers with a badge, which pages of others show and anybody may keep for a
// while.
func sendBadge(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := sha256.Sum256(body)
	etag := `W/"` + hex.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Etag", etag)
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Content-Security-Policy", badgePolicy)
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", types[badgeSuffix])
	_, _ = w.Write(body)
}

// drawBadge draws a label and a number, 20 px high.
func drawBadge(label string, n int64, theme string) []byte {
	ground, ink, value, figure, style := "#e3e9ee", "#1c2733", "#17527f", "#ffffff", ""
	switch theme {
	case "dark":
		ground, ink, value, figure = "#2c3742", "#e6ebf0", "#7cb8e6", "#12181f"
	case "auto":
		style = "<style>" + badgeDark + "</style>"
	}
	short := shortNumber(n)
	left, right := textWidth(label), textWidth(short)
	all := left + right + 28
	title := escapeXML(label + ": " + strconv.FormatInt(n, 10))
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" viewBox="0 0 %[1]d 20" role="img" aria-label="%[2]s"><title>%[2]s</title>%[3]s`+
		`<rect class="l" width="%[1]d" height="20" rx="4" fill="%[4]s"/><path class="v" d="M%[5]d 0h%[6]da4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-%[6]dz" fill="%[7]s"/>`+
		`<g font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" aria-hidden="true"><text class="n" x="7" y="14" textLength="%[8]d" fill="%[9]s">%[10]s</text>`+
		`<text class="f" x="%[11]d" y="14" textLength="%[12]d" font-weight="bold" fill="%[13]s">%[14]s</text></g></svg>`+"\n",
		all, title, style, ground, left+14, right+10, value, left, ink, escapeXML(label), left+21, right, figure, escapeXML(short))
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// shortNumber writes 999, 1k, 12.3k, 1.2M: rounded down, so that a badge never says more
// than there were.
func shortNumber(n int64) string {
	for _, unit := range []struct {
		of   int64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n < unit.of {
			continue
		}
		whole, tenth := n/unit.of, n%unit.of*10/unit.of
		if whole >= 100 || tenth == 0 {
			return strconv.FormatInt(whole, 10) + unit.name
		}
		return fmt.Sprintf("%d.%d%s", whole, tenth, unit.name)
	}
	return strconv.FormatInt(n, 10)
}

// textWidth is about how wide a text is in Verdana of 11 px. What it says is what the text
// is made to fit.
func textWidth(s string) int {
	w := 0.0
	for _, c := range s {
		switch {
		case strings.ContainsRune("ijl.,:;'|!I", c):
			w += 3.3
		case strings.ContainsRune(" trf()-/", c):
			w += 4.2
		case strings.ContainsRune("csz", c):
			w += 5.8
		case strings.ContainsRune("mwMW@%", c):
			w += 10.2
		case c >= 0x1100: // of East Asia, and pictures
			w += 11.5
		case unicode.IsUpper(c), unicode.IsDigit(c):
			w += 7.2
		default:
			w += 6.6
		}
	}
	return int(w + 0.5)
}
