package enrich_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/ingest/enrich"
)

func TestBots(t *testing.T) {
	t.Parallel()
	bots := enrich.NewBots()
	for _, c := range []struct{ agent, want string }{
		{"", enrich.BotEmpty},
		{"  ", enrich.BotEmpty},
		{"-", enrich.BotEmpty}, // what a log says of none
		{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", enrich.BotCrawler},
		{"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", enrich.BotCrawler},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", enrich.BotAI},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", enrich.BotAI},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)", enrich.BotAI},
		{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot", enrich.BotAI},
		{"CCBot/2.0 (https://commoncrawl.org/faq/)", enrich.BotAI},
		{"meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", enrich.BotAI},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36", enrich.BotHeadless},
		{"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1", enrich.BotHeadless},
		{"curl/8.5.0", enrich.BotLibrary},
		{"Wget/1.21.4", enrich.BotLibrary},
		{"python-requests/2.32.3", enrich.BotLibrary},
		{"Go-http-client/2.0", enrich.BotLibrary},
		{"okhttp/4.12.0", enrich.BotLibrary},
		{"Apache-HttpClient/4.5.14 (Java/17.0.8)", enrich.BotLibrary},
		{"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", enrich.BotMonitor},
		{"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", enrich.BotMonitor},
		{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", enrich.BotPreview},
		{"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", enrich.BotPreview},
		{"Feedly/1.0 (+http://www.feedly.com/fetcher.html; 42 subscribers)", enrich.BotFeed},
		{"Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)", enrich.BotScanner},
		{"some-tool-of-mine/1.0", enrich.BotCrawler},
		// A machine that nobody has heard of, past the length of usual ones.
		{"Mozilla/5.0 (Windows NT 10.0) " + strings.Repeat("x ", 300) + "ZorkBot/3", enrich.BotCrawler},
		// Cubot is a phone.
		{"Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36", ""},
	} {
		for _, how := range []string{"first", "remembered"} {
			if got := bots.Match(c.agent); got != c.want {
				t.Errorf("%.80q %s: got %q, want %q", c.agent, how, got, c.want)
			}
		}
	}
}

// TestBotsCrawlers matches the user agents that come with the list of crawlers:
// all must be known, and each for a reason on the list of reasons.
func TestBotsCrawlers(t *testing.T) {
	t.Parallel()
	bots := enrich.NewBots()
	b, err := os.ReadFile("testdata/crawlers.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		agent := strings.TrimSpace(line)
		if r := bots.Match(agent); !slices.Contains(enrich.BotReasons(), r) {
			t.Errorf("%q: got reason %q", agent, r)
		}
		n++
	}
	if n < 2000 {
		t.Errorf("%d user agents, want 2000 at least", n)
	}
}

// TestBotsPeople matches the user agents of people: none may be taken for a
// machine.
func TestBotsPeople(t *testing.T) {
	t.Parallel()
	bots := enrich.NewBots()
	for _, c := range agents(t) {
		if r := bots.Match(c.agent); r != "" {
			t.Errorf("%q: got reason %q, want none", c.agent, r)
		}
	}
}
