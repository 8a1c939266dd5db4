package enrich

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
	OSVersion      string // as people say it: 10.15, 14, 11
	Device         string // one of the Device constants
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

// Agents parses user agents and remembers the latest.
type Agents struct{}

// NewAgents returns a parser that remembers at most cacheSize user agents; 0
// means 4096.
func NewAgents(cacheSize int) *Agents { return &Agents{} }

// Parse tells browser, system and device from a user agent, the client hints
// that came with it, which win where they say something, and the width of the
// viewport in CSS pixels (0 if unknown), which decides the device only if
// nothing else does.
func (a *Agents) Parse(userAgent string, h Hints, width int32) Agent { return Agent{} }
