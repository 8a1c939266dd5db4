package server

import "net/http"

// badgeAsks are the parameters of a badge.
var badgeAsks = func() []ask {
	var periods []string
	for _, p := range badgePeriods {
		periods = append(periods, p.period)
	}
	return []ask{
		{name: "file", says: "The token of the badge, and .svg.", of: textual()},
		{name: "period", of: oneOf(periods...).byDefault(periods[0])},
		{name: "theme", says: "Left out, it goes with its reader's.", of: oneOf("auto", "light", "dark").byDefault("auto")},
		{name: "label", says: "What stands beside the number, up to 40 characters.", of: textual()},
	}
}()

var linkOperations = map[string]operation{
	"GET /api/links": {group: ofLinks, says: "Shared links of a site.", asks: asking("site_id"), gives: okJSON("They, the oldest first.", linksJSON{}), fails: notFound},
	"POST /api/links": {
		group: ofLinks, says: "Makes a shared link.", more: "Whoever has it sees the reports of the site, or of a segment of it. 503: too many passwords are being checked.",
		asks: asking("site_id"), takes: jsonOf(newLink{}), gives: created("It.", linkJSON{}), fails: exists,
	},
	"PATCH /api/links/{id}":  {group: ofLinks, says: "Changes a shared link; fields that are left out stay.", more: "Another password makes passes worthless. Its address stays.", asks: asking("site_id"), takes: jsonOf(linkChange{}), gives: okJSON("It, as it is then.", linkJSON{}), fails: exists},
	"DELETE /api/links/{id}": {group: ofLinks, says: "Revokes a shared link at once.", asks: asking("site_id"), gives: gone204, fails: notFound},

	"GET /api/share": {
		group: ofLinks, says: "What a shared link shows.", more: "It is sent in the header X-Eider-Share.",
		gives: okJSON("It.", shareJSON{}), fails: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusInternalServerError},
	},
	"POST /api/share": {group: ofLinks, says: "Gives who knows the password of a shared link a pass, good for a day.", takes: jsonOf(openRequest{}), gives: okJSON("It.", passJSON{}), fails: unlucky},
	"GET /share/{slug}": {
		group: ofLinks, says: "The page of a shared link.", more: "With embed=true it may be shown in a frame, if the link allows it. 404 is the page too, which says what to do.",
		gives: []reply{{http.StatusOK, "It.", []media{{"text/html", nil}}}, {http.StatusNotFound, "It, but the link is unknown, has expired or was revoked.", []media{{"text/html", nil}}}},
		fails: []int{http.StatusInternalServerError},
	},
	"GET /badge/{file}": {
		group: ofLinks, says: "A picture of how many visitors there were.", more: "For pages of others. It may be kept for five minutes.", asks: badgeAsks,
		gives: []reply{{http.StatusOK, "It.", []media{{"image/svg+xml", nil}}}, {http.StatusNotModified, "It has not changed.", nil}}, fails: notFound,
	},
}
