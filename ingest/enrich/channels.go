package enrich

import (
	"regexp"
	"slices"
	"strings"
)

// The channels of [Touch.Channel]: Google Analytics' default groups, with AI
// Assistants as in Plausible.
const (
	Affiliates      = "Affiliates"
	AIAssistants    = "AI Assistants"
	Audio           = "Audio"
	CrossNetwork    = "Cross-network"
	Direct          = "Direct"
	Display         = "Display"
	Email           = "Email"
	MobilePush      = "Mobile Push Notifications"
	OrganicSearch   = "Organic Search"
	OrganicShopping = "Organic Shopping"
	OrganicSocial   = "Organic Social"
	OrganicVideo    = "Organic Video"
	PaidOther       = "Paid Other"
	PaidSearch      = "Paid Search"
	PaidShopping    = "Paid Shopping"
	PaidSocial      = "Paid Social"
	PaidVideo       = "Paid Video"
	Referral        = "Referral"
	SMS             = "SMS"
)

// channelOf puts a touch into a channel. The rules are tried in this order and
// the first that fits decides; paid says that the visit was paid for, whatever
// its medium.
func channelOf(t *Touch, k kind, paid bool) string {
	m := medium{strings.ToLower(t.UTMMedium), squeeze(t.UTMMedium)}
	paid = paid || m.paid()
	shop := k == kindShopping || shopCampaign(t.UTMCampaign)
	switch {
	case strings.Contains(strings.ToLower(t.UTMCampaign), "cross-network"):
		return CrossNetwork
	case paid && t.ClickID != "dclid" && (shop || paidByKind(k) != ""):
		if shop {
			return PaidShopping
		}
		return paidByKind(k)
	case m.display() || t.ClickID == "dclid":
		return Display
	case paid:
		return PaidOther
	case k == kindAI:
		return AIAssistants
	case shop:
		return OrganicShopping
	case k == kindSocial || m.social():
		return OrganicSocial
	case k == kindVideo || strings.Contains(m.lower, "video"):
		return OrganicVideo
	case k == kindSearch || m.lower == "organic":
		return OrganicSearch
	case k == kindEmail || mails(t.UTMMedium) || mails(t.Source):
		return Email
	case m.lower == "affiliate" || m.lower == "affiliates":
		return Affiliates
	case m.lower == "audio" || k == kindAudio:
		return Audio
	case m.lower == "sms" || strings.EqualFold(t.Source, "sms"):
		return SMS
	case m.push() || strings.EqualFold(t.Source, "firebase"):
		return MobilePush
	case t.Source != "" || slices.Contains([]string{"referral", "app", "link"}, m.lower):
		return Referral
	}
	return Direct
}

func paidByKind(k kind) string {
	switch k {
	case kindSearch:
		return PaidSearch
	case kindSocial:
		return PaidSocial
	case kindVideo:
		return PaidVideo
	}
	return ""
}

// shops is Google's rule for the campaigns of shops: eshop and my-shop, but not
// workshop.
var shops = regexp.MustCompile(`([^a-df-z]|^)shop|shopping`)

func shopCampaign(campaign string) bool {
	c := strings.ToLower(campaign)
	return strings.Contains(c, "shop") && shops.MatchString(c)
}

// A medium is what utm_medium says, in lower case and squeezed.
type medium struct{ lower, squeezed string }

// paid is Google's rule ^(.*cp.*|ppc|retargeting|paid.*)$.
func (m medium) paid() bool {
	return strings.Contains(m.lower, "cp") || m.lower == "ppc" || m.lower == "retargeting" || strings.HasPrefix(m.lower, "paid")
}

func (m medium) display() bool {
	switch m.lower {
	case "display", "banner", "expandable", "interstitial", "cpm":
		return true
	}
	return false
}

func (m medium) social() bool {
	switch m.squeezed {
	case "social", "socialnetwork", "socialmedia", "sm":
		return true
	}
	return false
}

func (m medium) push() bool {
	return strings.HasSuffix(m.lower, "push") || strings.Contains(m.lower, "mobile") || strings.Contains(m.lower, "notification")
}

// mails says whether a medium or source is a word for mail.
func mails(word string) bool {
	for _, w := range [...]string{"email", "e-mail", "e_mail", "e mail", "newsletter"} {
		if strings.EqualFold(word, w) {
			return true
		}
	}
	return false
}
