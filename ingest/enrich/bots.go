package enrich

import (
	_ "embed"
	"regexp"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Why a request is taken to come from a machine: the results of [Bots.Match].
const (
	BotAI       = "ai-crawler" // reads for a language model, or for somebody who asks one
	BotCrawler  = "crawler"    // search engines, SEO tools, archives, and what does not say more
	BotEmpty    = "empty"      // no user agent at all
	BotFeed     = "feed"       // feed readers
	BotHeadless = "headless"   // a browser without a person: automation and tests
	BotLibrary  = "library"    // an HTTP library or a command-line tool
	BotMonitor  = "monitor"    // uptime and speed checks
	BotPreview  = "preview"    // link previews of chats and social networks
	BotScanner  = "scanner"    // security scanners
)

const (
	maxAgent  = 1024 // bytes of a user agent that are looked at
	botsCache = 4096 // user agents remembered by Bots
)

//go:embed data/crawler-user-agents/patterns.tsv
var crawlerPatterns string

//go:embed data/isbot/patterns.tsv
var isbotPatterns string

// A botPattern is one way to be a machine.
type botPattern struct {
	reason string
	key    string // part of whatever matches, in lower case
	expr   string
	plain  bool // expr is the text itself
	fold   bool // expr is in lower case and matches any case

	once sync.Once // compiles re: most patterns are never tried
	re   *regexp.Regexp
}

// Bots recognises user agents of machines and remembers the latest. It is safe
// for concurrent use.
//
// There are some 1,700 patterns. Each is filed under three letters that must be
// in whatever it matches, so that one pass over a user agent finds the few that
// are worth a closer look.
type Bots struct {
	patterns []*botPattern
	grams    map[gram][]int // indexes of patterns, by three letters of their key
	filed    [1 << 15]bool  // by slot: whether grams may have an entry, which is rare
	rest     []int          // patterns without three letters
	seen     *lru.Cache[string, string]
}

// A gram is three letters.
type gram [3]byte

func (g gram) slot() int { return (int(g[0])<<10 ^ int(g[1])<<5 ^ int(g[2])) & (1<<15 - 1) }

// NewBots returns a Bots with the built-in patterns.
func NewBots() *Bots {
	b := &Bots{grams: make(map[gram][]int, 2048), seen: newCache[string, string](botsCache)}
	b.add(crawlerPatterns, false)
	b.add(isbotPatterns, true)
	return b
}

func (b *Bots) add(table string, fold bool) {
	for line := range strings.Lines(table) {
		reason, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		key, expr, _ := strings.Cut(rest, "\t")
		p := &botPattern{reason: reason, key: key, expr: expr, fold: fold}
		p.plain = regexp.QuoteMeta(expr) == expr
		b.file(len(b.patterns), key)
		b.patterns = append(b.patterns, p)
	}
}

// everyday are letters that so many user agents contain that nothing should be
// filed under them.
const everyday = "mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/ mobile safari/" +
	"(macintosh; intel mac os x 10_15_7) version/ (iphone; cpu iphone os linux; android x11; compatible; http://www. .com/ +https:// bot crawler spider .html)"

// file puts pattern i under the three letters of its key that have the fewest
// patterns under them so far.
func (b *Bots) file(i int, key string) {
	if len(key) < 3 {
		b.rest = append(b.rest, i)
		return
	}
	var best gram
	least := -1
	for j := range len(key) - 2 {
		g := gram{key[j], key[j+1], key[j+2]}
		n := len(b.grams[g])
		if strings.Contains(everyday, key[j:j+3]) {
			n += 1000
		}
		if least < 0 || n < least {
			best, least = g, n
		}
	}
	b.grams[best] = append(b.grams[best], i)
	b.filed[best.slot()] = true
}

// Match returns why the user agent is a machine's, one of the Bot constants, or
// "" for a person.
func (b *Bots) Match(userAgent string) (reason string) {
	userAgent = firstBytes(strings.TrimSpace(userAgent), maxAgent)
	if userAgent == "" || userAgent == "-" {
		return BotEmpty
	}
	if reason, ok := b.seen.Get(userAgent); ok {
		return reason
	}
	reason = b.match(userAgent)
	b.seen.Add(strings.Clone(userAgent), reason)
	return reason
}

// match returns the reason of the first pattern of the lists that matches, in
// their order: the more telling ones come first.
func (b *Bots) match(agent string) string {
	lower := strings.ToLower(agent)
	best := len(b.patterns)
	for i := range len(lower) - 2 {
		g := gram{lower[i], lower[i+1], lower[i+2]}
		if !b.filed[g.slot()] {
			continue
		}
		for _, n := range b.grams[g] {
			if n < best && b.patterns[n].matches(agent, lower) {
				best = n
			}
		}
	}
	for _, n := range b.rest {
		if n < best && b.patterns[n].matches(agent, lower) {
			best = n
		}
	}
	if best == len(b.patterns) {
		return ""
	}
	return b.patterns[best].reason
}

func (p *botPattern) matches(agent, lower string) bool {
	if !strings.Contains(lower, p.key) {
		return false
	}
	if p.fold {
		agent = lower
	}
	if p.plain {
		return strings.Contains(agent, p.expr)
	}
	// A test compiles them all.
	p.once.Do(func() { p.re = regexp.MustCompile(p.expr) })
	return p.re.MatchString(agent)
}

// newCache returns a cache of n entries, n > 0.
func newCache[K comparable, V any](n int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](n)
	if err != nil {
		panic("enrich: internal error: " + err.Error())
	}
	return c
}

// firstBytes returns at most n bytes of s, whole runes or not.
func firstBytes(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
