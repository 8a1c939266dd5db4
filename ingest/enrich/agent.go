package enrich

import (
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/mileusna/useragent"
)

// Hints are a browser's client hints, the raw values of its Sec-CH-UA headers.
// Any of them may be empty.
type Hints struct {
	Brands          string // Sec-CH-UA, or the more exact Sec-CH-UA-Full-Version-List
	Platform        string // Sec-CH-UA-Platform
	PlatformVersion string // Sec-CH-UA-Platform-Version
	Mobile          string // Sec-CH-UA-Mobile: ?0 or ?1
	Model           string // Sec-CH-UA-Model
}

// An Agent is the program and the device that sent an event. A field is empty
// when it is not known.
type Agent struct {
	Browser        string // Chrome, Safari, Firefox, …
	BrowserVersion string // major: 126
	OS             string // Windows, macOS, iOS, iPadOS, Android, …
	OSVersion      string // at most two numbers, as people say it: 10.15, 14, 11
	Device         string // one of the device constants
}

// The values of [Agent.Device].
const (
	Desktop  = "desktop"
	Mobile   = "mobile"
	Tablet   = "tablet"
	TV       = "tv"
	Console  = "console"
	Wearable = "wearable"
)

const (
	agentsCache = 4096 // default of NewAgents
	maxHint     = 256  // bytes of a client hint that are looked at
)

// Agents parses user agents and remembers the latest. It is safe for concurrent
// use.
type Agents struct {
	seen *lru.Cache[agentKey, Agent]
}

type agentKey struct {
	agent string
	hints Hints
}

// NewAgents returns a parser that remembers at most cacheSize user agents; 0
// means 4096.
func NewAgents(cacheSize int) *Agents {
	if cacheSize <= 0 {
		cacheSize = agentsCache
	}
	return &Agents{seen: newCache[agentKey, Agent](cacheSize)}
}

// Parse tells browser, system and device from a user agent, the client hints
// that came with it, which win where they say something, and the width of the
// viewport in CSS pixels (0 if unknown), which decides the device only if
// nothing else does.
func (a *Agents) Parse(userAgent string, h Hints, width int32) Agent {
	key := agentKey{firstBytes(userAgent, maxAgent), h.cut()}
	agent, ok := a.seen.Get(key)
	if !ok {
		agent = parseAgent(key.agent, key.hints)
		a.seen.Add(key.clone(), agent)
	}
	if agent.Device == "" {
		agent.Device = deviceOfWidth(width)
	}
	return agent
}

func (h Hints) cut() Hints {
	return Hints{
		Brands:          firstBytes(h.Brands, maxHint),
		Platform:        firstBytes(h.Platform, maxHint),
		PlatformVersion: firstBytes(h.PlatformVersion, maxHint),
		Mobile:          firstBytes(h.Mobile, maxHint),
		Model:           firstBytes(h.Model, maxHint),
	}
}

// clone copies the strings of a key, so that the cache does not keep requests.
func (k agentKey) clone() agentKey {
	return agentKey{strings.Clone(k.agent), Hints{
		Brands:          strings.Clone(k.hints.Brands),
		Platform:        strings.Clone(k.hints.Platform),
		PlatformVersion: strings.Clone(k.hints.PlatformVersion),
		Mobile:          strings.Clone(k.hints.Mobile),
		Model:           strings.Clone(k.hints.Model),
	}}
}

// deviceOfWidth guesses from the widths at which most style sheets change.
func deviceOfWidth(width int32) string {
	switch {
	case width <= 0:
		return ""
	case width < 768:
		return Mobile
	case width < 1024:
		return Tablet
	default:
		return Desktop
	}
}

func parseAgent(agent string, h Hints) Agent {
	u := useragent.Parse(agent)
	var a Agent
	a.OS, a.OSVersion = systemOf(agent, &u)
	a.OS, a.OSVersion = hintedSystem(h, a.OS, a.OSVersion)
	a.Browser, a.BrowserVersion = browserOf(agent, &u)
	a.Browser, a.BrowserVersion = hintedBrowser(h, a.Browser, a.BrowserVersion)
	a.Device = deviceOf(agent, h, a.OS, &u)
	return Agent{strings.Clone(a.Browser), strings.Clone(a.BrowserVersion), strings.Clone(a.OS), strings.Clone(a.OSVersion), a.Device}
}

// products are the browsers and apps that name themselves beside a better-known
// one, and that the parser does not tell apart: the text that names them, with
// the version after it. The first that is there wins, so apps stand before the
// browsers they contain.
var products = [...]struct{ token, name string }{
	{"FBAV/", "Facebook"},
	{"Instagram ", "Instagram"},
	{"musical_ly_", "TikTok"},
	{"trill_", "TikTok"},
	{"BytedanceWebview", "TikTok"},
	{"MicroMessenger/", "WeChat"},
	{"Snapchat/", "Snapchat"},
	{"[LinkedInApp", "LinkedIn"},
	{"[Pinterest/", "Pinterest"},
	{" Line/", "LINE"},
	{"KAKAOTALK", "KakaoTalk"},
	{"GSA/", "Google App"},
	{"DuckDuckGo/", "DuckDuckGo"},
	{"Ddg/", "DuckDuckGo"},
	{"YaBrowser/", "Yandex Browser"},
	{"UCBrowser/", "UC Browser"},
	{"MiuiBrowser/", "MIUI Browser"},
	{"HuaweiBrowser/", "Huawei Browser"},
	{"HeyTapBrowser/", "HeyTap Browser"},
	{"VivoBrowser/", "Vivo Browser"},
	{"MQQBrowser/", "QQ Browser"},
	{"QQBrowser/", "QQ Browser"},
	{"coc_coc_browser/", "Cốc Cốc"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"Silk/", "Silk"},
	{"Focus/", "Firefox Focus"},
	{"Klar/", "Firefox Focus"},
	{"SeaMonkey/", "SeaMonkey"},
	{"PaleMoon/", "Pale Moon"},
	{"OPT/", "Opera"},
	{"Whale/", "Whale"},
	{"Ecosia", "Ecosia"},
	{"Electron/", "Electron"},
	{"NintendoBrowser/", "Nintendo Browser"},
	{"LG Browser/", "LG Browser"},
	{"Chromium/", "Chromium"},
}

// names are the parser's names of browsers, and ours.
var names = map[string]string{
	useragent.Chrome: "Chrome", "Brave Chrome": "Brave", useragent.HeadlessChrome: "Headless Chrome",
	useragent.Safari: "Safari", useragent.MobileSafari: "Safari", useragent.Firefox: "Firefox", useragent.Edge: "Edge",
	useragent.Opera: "Opera", useragent.OperaMini: "Opera Mini", useragent.OperaTouch: "Opera",
	useragent.Vivaldi: "Vivaldi", useragent.InternetExplorer: "Internet Explorer", useragent.BlackBerry: "BlackBerry",
	useragent.NetFront: "NetFront", "Android browser": "Android Browser", "Konqueror": "Konqueror",
	"Epiphany": "Epiphany", "Falkon": "Falkon", "QtWebEngine": "QtWebEngine", "Maxthon": "Maxthon",
	"AvastSecureBrowser": "Avast Secure Browser", "Avast": "Avast Secure Browser", "AVG": "AVG Secure Browser",
	"Puffin": "Puffin", "Sleipnir": "Sleipnir", "Iron": "Iron", "ArkWeb": "ArkWeb", "Lynx": "Lynx", "w3m": "w3m",
}

// browserOf knows only names on our lists: whatever else a user agent says would
// be a row of its own in every report.
func browserOf(agent string, u *useragent.UserAgent) (name, version string) {
	if strings.Contains(agent, "PlayStation") {
		return "PlayStation Browser", "" // says Safari, with Safari's version
	}
	if strings.Contains(agent, "Trident/") {
		if _, v, ok := strings.Cut(agent, "rv:"); ok {
			return "Internet Explorer", major(v)
		}
	}
	for _, p := range products {
		if i := strings.Index(agent, p.token); i >= 0 {
			return p.name, major(strings.TrimLeft(agent[i+len(p.token):], "_/ "))
		}
	}
	name, version = names[u.Name], major(u.Version)
	switch {
	case name == "Chrome" && strings.Contains(agent, "; wv)"):
		return "Chrome WebView", version
	case name == "" && strings.Contains(agent, "AppleWebKit/") && strings.Contains(agent, " Mobile/"):
		return "Safari WebView", "" // an app on a phone or tablet of Apple's
	case name == "":
		return "", ""
	}
	return name, version
}

// major returns the digits before the first point.
func major(version string) string {
	n := 0
	for n < len(version) && '0' <= version[n] && version[n] <= '9' {
		n++
	}
	if n > 6 {
		return ""
	}
	return version[:n]
}
