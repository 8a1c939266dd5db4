package enrich

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

// BotReasons returns every result of [Bots.Match] but "", sorted: the values of
// the metric's label.
func BotReasons() []string {
	return []string{BotAI, BotCrawler, BotEmpty, BotFeed, BotHeadless, BotLibrary, BotMonitor, BotPreview, BotScanner}
}

// Bots recognises user agents of machines and remembers the latest.
type Bots struct{}

// NewBots returns a Bots with the built-in patterns.
func NewBots() *Bots { return &Bots{} }

// Match returns why the user agent is a machine's, one of the Bot constants, or
// "" for a person.
func (b *Bots) Match(userAgent string) (reason string) { return "" }
