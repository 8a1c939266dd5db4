package enrich_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eider-analytics/eider/ingest/enrich"
)

func page(t testing.TB, query string) enrich.Page {
	t.Helper()
	p, err := enrich.ParsePage("https://www.example.com/page?"+query, false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSource names the source of referrers and parameters.
func TestSource(t *testing.T) {
	t.Parallel()
	s := enrich.NewSources()
	for _, c := range []struct{ query, referrer, source, stored string }{
		{"", "", "", ""},
		{"", "https://www.google.com/", "Google", "google.com"},
		{"", "https://www.google.de/search?q=secret#x", "Google", "google.de/search"}, // every country's
		{"", "https://www.google.co.uk/", "Google", "google.co.uk"},
		{"", "https://google.com.br", "Google", "google.com.br"},
		{"", "https://news.google.com/articles/x", "Google News", "news.google.com/articles/x"}, // before google.com
		{"", "android-app://com.google.android.gm/", "Gmail", "com.google.android.gm"},
		{"", "android-app://com.google.android.googlequicksearchbox/https/www.google.com", "Google", "com.google.android.googlequicksearchbox/https/www.google.com"},
		{"", "android-app://org.example.reader", "org.example.reader", "org.example.reader"},
		{"", "https://m.facebook.com/", "Facebook", "m.facebook.com"},
		{"", "https://l.facebook.com/l.php?u=x", "Facebook", "l.facebook.com/l.php"},
		{"", "https://lm.facebook.com", "Facebook", "lm.facebook.com"},
		{"", "https://t.co/abc", "Twitter", "t.co/abc"},
		{"", "https://x.com/", "Twitter", "x.com"},
		{"", "https://x.com/i/grok?c=1", "Grok", "x.com/i/grok"},
		{"", "https://news.ycombinator.com/item?id=1", "Hacker News", "news.ycombinator.com/item"},
		{"", "https://old.reddit.com/r/golang/", "Reddit", "old.reddit.com/r/golang"},
		{"", "https://en.wikipedia.org/wiki/Eider", "Wikipedia", "en.wikipedia.org/wiki/Eider"},
		{"", "https://someone.substack.com/p/x", "Substack", "someone.substack.com/p/x"},
		{"", "https://www.youtube.com/watch?v=1", "YouTube", "youtube.com/watch"},
		{"", "https://uk.search.yahoo.com/search", "Yahoo!", "uk.search.yahoo.com/search"},
		{"", "https://chatgpt.com/", "ChatGPT", "chatgpt.com"},
		{"", "https://www.perplexity.ai/search/x", "Perplexity", "perplexity.ai/search/x"},
		{"", "https://gemini.google.com/app", "Gemini", "gemini.google.com/app"},
		{"", "https://copilot.microsoft.com/", "Copilot", "copilot.microsoft.com"},
		{"", "https://claude.ai/chat/1", "Claude", "claude.ai/chat/1"},
		{"", "https://chat.deepseek.com", "DeepSeek", "chat.deepseek.com"},
		// Whole labels only.
		{"", "https://notgoogle.com/", "notgoogle.com", "notgoogle.com"},
		{"", "https://google.com.evil.example/", "google.com.evil.example", "google.com.evil.example"},
		{"", "https://evil.example/https://google.com/", "evil.example", "evil.example/https://google.com"},
		{"", "https://fedex.com/", "fedex.com", "fedex.com"}, // ends in x.com
		{"", "https://blog.example.org:8080/a/?token=1", "blog.example.org", "blog.example.org/a"},
		{"", "blog.example.org/a?x", "blog.example.org", "blog.example.org/a"},
		{"", "HTTPS://WWW.Example.ORG/%C3%BC%20", "example.org", "example.org/ü"},
		// Not from anywhere.
		{"", "https://example.com/other", "", ""},
		{"", "https://www.example.com/other", "", ""},
		{"", "http://localhost:3000/", "", ""},
		{"", "http://app.localhost/", "", ""},
		{"", "http://192.168.1.1/", "", ""},
		{"", "http://[::1]:8080/", "", ""},
		{"", "http://intranet/", "", ""},
		{"", "about:blank", "", ""},
		{"", "/relative", "", ""},
		{"", "https://exa mple/", "", ""},
		// Parameters before the referrer, in their order.
		{"utm_source=news", "https://www.google.com/", "news", "google.com"},
		{"source=news&ref=other", "", "news", ""},
		{"utm_source=&ref=other", "", "other", ""},
		{"UTM_Source=News", "", "News", ""},
		{"ref=ycombinator", "", "Hacker News", ""},
		{"ref=producthunt", "", "Product Hunt", ""},
		{"utm_source=fb", "", "Facebook", ""},
		{"utm_source=Facebook.com", "", "Facebook", ""},
		{"utm_source=hacker-news", "", "Hacker News", ""},
		{"utm_source=chatgpt.com", "", "ChatGPT", ""}, // what ChatGPT puts there
		{"utm_source=www.google.de", "", "Google", ""},
		{"utm_source=facebook_ads", "", "Facebook", ""},
		{"utm_source=linkedin-ad", "", "LinkedIn", ""},
		{"utm_source=caf%C3%A9+au+lait", "", "café au lait", ""}, // decoded
		{"utm_source=a%00b%0A", "", "ab", ""},
		{"utm_source=my.site", "", "my.site", ""},
		// Click ids, when nothing else is known.
		{"gclid=abc", "", "Google", ""},
		{"fbclid=abc", "", "Facebook", ""},
		{"fbclid=abc", "https://l.instagram.com/", "Instagram", "l.instagram.com"},
		{"gclid=", "", "", ""},
	} {
		for _, how := range []string{"first", "remembered"} {
			got := s.Attribute(page(t, c.query), c.referrer)
			if got.Source != c.source || got.Referrer != c.stored {
				t.Errorf("%q from %q %s: got %q, %q; want %q, %q", c.query, c.referrer, how, got.Source, got.Referrer, c.source, c.stored)
			}
		}
	}
}

func TestChannel(t *testing.T) {
	t.Parallel()
	s := enrich.NewSources()
	seen := map[string]bool{}
	for _, c := range []struct{ query, referrer, channel string }{
		{"", "", enrich.Direct},
		{"utm_medium=zork", "", enrich.Direct},
		{"", "https://www.google.de/", enrich.OrganicSearch},
		{"", "https://duckduckgo.com/", enrich.OrganicSearch},
		{"", "https://news.google.com/", enrich.OrganicSearch},
		{"utm_source=google&utm_medium=organic", "", enrich.OrganicSearch},
		{"utm_medium=organic", "", enrich.OrganicSearch},
		{"utm_source=google&utm_medium=cpc", "", enrich.PaidSearch},
		{"utm_source=bing&utm_medium=ppc", "", enrich.PaidSearch},
		{"utm_source=googleads", "", enrich.PaidSearch},
		{"utm_source=adwords", "", enrich.PaidSearch},
		{"gclid=x", "https://www.google.com/", enrich.PaidSearch},
		{"gclid=x", "", enrich.PaidSearch},
		{"wbraid=x", "https://www.google.com/", enrich.PaidSearch},
		{"msclkid=x", "https://www.bing.com/", enrich.PaidSearch},
		{"msclkid=x", "https://www.google.com/", enrich.OrganicSearch}, // another's id
		{"", "https://www.googleadservices.com/pagead/aclk", enrich.PaidSearch},
		{"utm_campaign=2026-Cross-Network-x&utm_medium=cpc&utm_source=google", "", enrich.CrossNetwork},
		{"utm_campaign=spring_shopping&utm_medium=cpc&utm_source=google", "", enrich.PaidShopping},
		{"utm_campaign=e-shop&utm_medium=paid&utm_source=x9", "", enrich.PaidShopping},
		{"utm_source=amazon.de&utm_medium=cpc", "", enrich.PaidShopping},
		{"utm_campaign=eshop", "", enrich.OrganicShopping},
		{"", "https://www.ebay.com/", enrich.OrganicShopping},
		{"utm_campaign=workshop&utm_source=x9", "", enrich.Referral}, // not a shop
		{"utm_source=facebook&utm_medium=paid_social", "", enrich.PaidSocial},
		{"utm_source=fbads", "", enrich.PaidSocial},
		{"utm_medium=retargeting", "https://www.linkedin.com/", enrich.PaidSocial},
		{"ttclid=x", "", enrich.PaidSocial},
		{"li_fat_id=x", "https://www.linkedin.com/", enrich.PaidSocial},
		{"fbclid=x", "https://l.facebook.com/", enrich.OrganicSocial}, // on every link
		{"", "https://t.co/x", enrich.OrganicSocial},
		{"", "android-app://com.linkedin.android/", enrich.OrganicSocial},
		{"utm_source=x9&utm_medium=social-media", "", enrich.OrganicSocial},
		{"utm_source=youtube&utm_medium=CPV", "", enrich.PaidVideo},
		{"utm_source=youtube&utm_medium=cpc", "", enrich.PaidVideo},
		{"gclid=x", "https://www.youtube.com/", enrich.PaidVideo},
		{"", "https://www.youtube.com/", enrich.OrganicVideo},
		{"utm_source=x9&utm_medium=video", "", enrich.OrganicVideo},
		{"utm_source=x9&utm_medium=banner", "", enrich.Display},
		{"utm_source=x9&utm_medium=cpm", "", enrich.Display},
		{"dclid=x", "", enrich.Display},
		{"utm_source=x9&utm_medium=cpc", "", enrich.PaidOther},
		{"utm_source=x9&utm_medium=paid-thing", "", enrich.PaidOther},
		{"", "https://trc.taboola.com/x", enrich.PaidOther},
		{"", "https://chatgpt.com/", enrich.AIAssistants},
		{"utm_source=chatgpt.com", "", enrich.AIAssistants},
		{"", "https://www.perplexity.ai/", enrich.AIAssistants},
		{"", "https://gemini.google.com/", enrich.AIAssistants},
		{"", "https://copilot.microsoft.com/", enrich.AIAssistants},
		{"", "https://chat.mistral.ai/", enrich.AIAssistants},
		{"", "https://x.com/i/grok", enrich.AIAssistants},
		{"", "https://mail.google.com/", enrich.Email},
		{"", "android-app://com.google.android.gm", enrich.Email},
		{"utm_source=weekly&utm_medium=e-mail", "", enrich.Email},
		{"utm_source=Newsletter", "", enrich.Email},
		{"utm_source=x9&utm_medium=affiliate", "", enrich.Affiliates},
		{"utm_source=x9&utm_medium=audio", "", enrich.Audio},
		{"utm_source=x9&utm_medium=SMS", "", enrich.SMS},
		{"utm_source=sms", "", enrich.SMS},
		{"utm_source=x9&utm_medium=web-push", "", enrich.MobilePush},
		{"utm_source=firebase", "", enrich.MobilePush},
		{"", "https://blog.example.org/", enrich.Referral},
		{"", "https://docs.google.com/document", enrich.Referral},
		{"", "https://cloud.google.com/run", enrich.Referral}, // Google's, but no search
		{"", "https://support.google.com/", enrich.Referral},
		{"utm_medium=referral", "", enrich.Referral},
		{"utm_source=x9", "", enrich.Referral},
	} {
		got := s.Attribute(page(t, c.query), c.referrer).Channel
		if got != c.channel {
			t.Errorf("%q from %q: got %s, want %s", c.query, c.referrer, got, c.channel)
		}
		seen[got] = true
	}
	for _, c := range enrich.Channels() {
		if !seen[c] {
			t.Errorf("no case has the channel %s", c)
		}
	}
	if n := len(enrich.Channels()); n != 19 {
		t.Errorf("%d channels, want 19", n)
	}
}

func TestCampaign(t *testing.T) {
	t.Parallel()
	s := enrich.NewSources()
	got := s.Attribute(page(t, "utm_source=a&utm_medium=b%20c&utm_campaign=d&utm_content=e&utm_term=f&msclkid=secret"), "")
	want := enrich.Touch{Source: "a", Channel: enrich.Referral, UTMSource: "a", UTMMedium: "b c", UTMCampaign: "d", UTMContent: "e", UTMTerm: "f", ClickID: "msclkid"}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	long := s.Attribute(page(t, "utm_term="+strings.Repeat("ü", 200)), "https://a.example/"+strings.Repeat("é", 1500))
	if len(long.UTMTerm) != 300 || len(long.Referrer) > 2000 || !utf8.ValidString(long.Referrer) {
		t.Errorf("a term of 400 bytes is cut to %d and a referrer of 3010 to %d, want 300 and at most 2000", len(long.UTMTerm), len(long.Referrer))
	}
}

func TestSpam(t *testing.T) {
	t.Parallel()
	s := enrich.NewSources()
	for _, c := range []struct {
		referrer string
		want     bool
	}{
		{"", false},
		{"http://semalt.com/crawler.php?u=x", true},
		{"https://WWW.Semalt.com", true},
		{"http://sub.darodar.com/", true},
		{"https://notsemalt.com/", false},
		{"https://www.google.com/?q=semalt.com", false},
		{"https://someone.kharkov.ua/", false}, // a domain under which anyone may be
	} {
		if got := s.Spam(c.referrer); got != c.want {
			t.Errorf("%q: got %t, want %t", c.referrer, got, c.want)
		}
	}
}

func FuzzAttribute(f *testing.F) {
	f.Add("https://example.com/?utm_source=fb&gclid=1", "https://www.google.de/x?y", "utm_medium")
	f.Add("", "android-app://com.google.android.gm", "ref")
	s := enrich.NewSources()
	f.Fuzz(func(t *testing.T, raw, referrer, key string) {
		p, err := enrich.ParsePage(raw, false)
		if err != nil {
			return
		}
		if p.Query == nil {
			p.Query = url.Values{}
		}
		p.Query.Set(key, referrer)
		got := s.Attribute(p, referrer)
		if again := s.Attribute(p, referrer); again != got {
			t.Errorf("got %+v, and then %+v", got, again)
		}
		if !slices.Contains(enrich.Channels(), got.Channel) || len(got.Referrer) > 2000 || strings.Contains(got.Referrer, "\n") {
			t.Errorf("%q from %q: got %+v", raw, referrer, got)
		}
		for _, text := range []string{got.Referrer, got.Source, got.UTMSource, got.UTMMedium} {
			if !utf8.ValidString(text) {
				t.Errorf("%q from %q: %q is no UTF-8", raw, referrer, text)
			}
		}
	})
}
