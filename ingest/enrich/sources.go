package enrich

// A Touch is what brought a visitor. Every field may be empty but Channel.
type Touch struct {
	Referrer string // host and path, without www., query and fragment; at most 2000 bytes
	Source   string // Google, Hacker News, newsletter; "" is a direct visit
	Channel  string // one of Channels

	UTMSource, UTMMedium, UTMCampaign, UTMContent, UTMTerm string

	ClickID string // the ad network's parameter, gclid for example; its value is not kept
}

// Sources tells sources and channels from pages and referrers.
type Sources struct{}

// NewSources returns a Sources with the built-in lists.
func NewSources() *Sources { return &Sources{} }

// Attribute tells what brought the visitor of a page who came from referrer, a
// URL or "".
func (s *Sources) Attribute(p Page, referrer string) Touch { return Touch{} }

// Spam says whether the referrer is on the list of those that send requests
// only to be seen in statistics.
func (s *Sources) Spam(referrer string) bool { return false }
