package enrich

import (
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// LookupIn opens a database without watching it, which is slow to set up.
func LookupIn(path string) (lookup func(netip.Addr) Place, err error) {
	f, err := openPlaceFile(path)
	if err != nil {
		return nil, err
	}
	return f.lookup, nil
}

// LookupInBytes opens a database that is not in a file.
func LookupInBytes(data []byte) (lookup func(netip.Addr) Place, err error) {
	defer recovered(&err)
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, err
	}
	if err := holdsPlaces(r); err != nil {
		return nil, err
	}
	return newPlaceFile(r, nil).lookup, nil
}

// CompileAll compiles every pattern.
func (b *Bots) CompileAll() {
	for _, p := range b.patterns {
		p.matches(p.key, p.key)
	}
}

// Remembered returns the number of entries in the cache.
func (b *Bots) Remembered() int { return b.seen.Len() }

// Remembered returns the number of entries in the cache.
func (a *Agents) Remembered() int { return a.seen.Len() }

// Remembered returns the number of entries in the cache.
func (s *Sources) Remembered() int { return s.seen.Len() }

// BotReasons returns every result of [Bots.Match] but "", sorted: the values of
// the metric's label.
func BotReasons() []string {
	return []string{BotAI, BotCrawler, BotEmpty, BotFeed, BotHeadless, BotLibrary, BotMonitor, BotPreview, BotScanner}
}

// Channels returns every channel, sorted.
func Channels() []string {
	return []string{
		AIAssistants, Affiliates, Audio, CrossNetwork, Direct, Display, Email, MobilePush,
		OrganicSearch, OrganicShopping, OrganicSocial, OrganicVideo,
		PaidOther, PaidSearch, PaidShopping, PaidSocial, PaidVideo, Referral, SMS,
	}
}
