package enrich_test

import (
	"os"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/ingest/enrich"
)

type agentCase struct {
	want  enrich.Agent
	agent string
}

// agents reads testdata/agents.txt.
func agents(t testing.TB) []agentCase {
	t.Helper()
	b, err := os.ReadFile("testdata/agents.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []agentCase
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, "|", 6)
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		list = append(list, agentCase{enrich.Agent{Browser: f[0], BrowserVersion: f[1], OS: f[2], OSVersion: f[3], Device: f[4]}, f[5]})
	}
	return list
}

// TestAgents parses real user agents without hints.
func TestAgents(t *testing.T) {
	t.Parallel()
	a := enrich.NewAgents(0)
	for _, c := range agents(t) {
		for _, how := range []string{"first", "remembered"} {
			if got := a.Parse(c.agent, enrich.Hints{}, 0); got != c.want {
				t.Errorf("%s %s:\ngot  %+v\nwant %+v", c.agent, how, got, c.want)
			}
		}
	}
}

const (
	frozenWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	frozenMac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	frozenAndroid = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
	plainAndroid  = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)

func TestAgentHints(t *testing.T) {
	t.Parallel()
	a := enrich.NewAgents(0)
	for _, c := range []struct {
		name  string
		agent string
		hints enrich.Hints
		width int32
		want  enrich.Agent
	}{
		{"chrome on windows 11", frozenWindows,
			enrich.Hints{Brands: `"Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"`, Platform: `"Windows"`, PlatformVersion: `"15.0.0"`, Mobile: "?0"}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Windows", OSVersion: "11", Device: "desktop"}},
		{"windows 10", frozenWindows, enrich.Hints{Platform: `"Windows"`, PlatformVersion: `"10.0.0"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Windows", OSVersion: "10", Device: "desktop"}},
		{"windows 8.1", frozenWindows, enrich.Hints{Platform: `"Windows"`, PlatformVersion: `"0.3.0"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Windows", OSVersion: "8.1", Device: "desktop"}},
		{"brave", frozenMac,
			enrich.Hints{Brands: `"Brave";v="126", "Chromium";v="126", "Not.A/Brand";v="24"`, Platform: `"macOS"`, PlatformVersion: `"14.5.0"`}, 0,
			enrich.Agent{Browser: "Brave", BrowserVersion: "126", OS: "macOS", OSVersion: "14.5", Device: "desktop"}},
		{"edge, full versions, quotes in a made-up brand", frozenWindows,
			enrich.Hints{Brands: `"\\Not\"A;Brand";v="99.0.0.0", "Microsoft Edge";v="125.0.2535.67", "Chromium";v="125.0.6422.112"`}, 0,
			enrich.Agent{Browser: "Edge", BrowserVersion: "125", OS: "Windows", OSVersion: "10", Device: "desktop"}},
		{"nothing but a made-up brand and chromium", frozenMac, enrich.Hints{Brands: `" Not;A Brand";v="99", "Chromium";v="126"`}, 0,
			enrich.Agent{Browser: "Chromium", BrowserVersion: "126", OS: "macOS", OSVersion: "10.15", Device: "desktop"}},
		{"a brand nobody knows does not become a row", frozenMac, enrich.Hints{Brands: `"Zork <script>";v="1"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "macOS", OSVersion: "10.15", Device: "desktop"}},
		{"shared brand does not overrule the user agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Vivaldi/6.7",
			enrich.Hints{Brands: `"Chromium";v="124", "Google Chrome";v="124"`}, 0,
			enrich.Agent{Browser: "Vivaldi", BrowserVersion: "6", OS: "Linux", OSVersion: "", Device: "desktop"}},
		{"android version", frozenAndroid, enrich.Hints{Platform: `"Android"`, PlatformVersion: `"14.0.0"`, Mobile: "?1", Model: `"Pixel 8"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Android", OSVersion: "14", Device: "mobile"}},
		{"mobile hint without the token", plainAndroid, enrich.Hints{Mobile: "?1"}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Android", OSVersion: "10", Device: "mobile"}},
		{"model of a tablet", frozenAndroid, enrich.Hints{Mobile: "?1", Model: `"SM-X710"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Android", OSVersion: "10", Device: "tablet"}},
		{"chromebook", frozenWindows, enrich.Hints{Platform: `"Chrome OS"`, PlatformVersion: `"14541.0.0"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "ChromeOS", OSVersion: "14541", Device: "desktop"}},
		{"unknown platform", frozenMac, enrich.Hints{Platform: `"Unknown"`}, 0,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "macOS", OSVersion: "10.15", Device: "desktop"}},
		{"a width does not overrule", frozenWindows, enrich.Hints{}, 400,
			enrich.Agent{Browser: "Chrome", BrowserVersion: "126", OS: "Windows", OSVersion: "10", Device: "desktop"}},
		{"nothing but a narrow width", "", enrich.Hints{}, 400, enrich.Agent{Device: "mobile"}},
		{"nothing but a middling width", "zork", enrich.Hints{}, 800, enrich.Agent{Device: "tablet"}},
		{"nothing but a great width", "", enrich.Hints{}, 1920, enrich.Agent{Device: "desktop"}},
		{"nothing", "", enrich.Hints{}, 0, enrich.Agent{}},
		{"unfinished brands", "", enrich.Hints{Brands: `"Brave`}, 0, enrich.Agent{}},
	} {
		if got := a.Parse(c.agent, c.hints, c.width); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func FuzzAgents(f *testing.F) {
	for _, c := range agents(f) {
		f.Add(c.agent, `"Brave";v="1"`, `"Windows"`, `"15.0"`, `"x"`)
	}
	a, bots := enrich.NewAgents(16), enrich.NewBots()
	f.Fuzz(func(t *testing.T, agent, brands, platform, version, model string) {
		got := a.Parse(agent, enrich.Hints{Brands: brands, Platform: platform, PlatformVersion: version, Model: model}, 0)
		if len(got.Browser) > 32 || len(got.BrowserVersion) > 6 || len(got.OS) > 16 || len(got.OSVersion) > 13 {
			t.Errorf("%q: %+v is not from our lists", agent, got)
		}
		bots.Match(agent)
	})
}
