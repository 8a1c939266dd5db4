package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// slugs are the dimensions as they stand in URLs. Each is also known by its
// singular and with underscores.
var slugs = map[string]event.Dimension{
	"pages":            "path",
	"entry-pages":      "entry_path",
	"exit-pages":       event.ExitPath,
	"hostnames":        "hostname",
	"entry-hostnames":  "entry_hostname",
	"exit-hostnames":   event.ExitHostname,
	"titles":           "title",
	"referrers":        "referrer",
	"sources":          "source",
	"channels":         "channel",
	"utm-sources":      "utm_source",
	"utm-mediums":      "utm_medium",
	"utm-campaigns":    "utm_campaign",
	"utm-contents":     "utm_content",
	"utm-terms":        "utm_term",
	"click-ids":        "click_id",
	"browsers":         "browser",
	"browser-versions": "browser_version",
	"os":               "os",
	"os-versions":      "os_version",
	"devices":          "device",
	"screens":          "screen",
	"screen-sizes":     "screen", // the seed's name
	"languages":        "language",
	"countries":        "country",
	"regions":          "region",
	"region-names":     "region_name",
	"cities":           "city",
	"city-ids":         "city_id",
	"events":           "name",
	"via":              "via",
	"currencies":       "currency",
	"goals":            event.GoalName,
}

// longestKey is the most bytes of a property's name, as ingest takes it.
const longestKey = 300

// dimensionOf finds a dimension by its slug, by that of one of its values (page,
// country), or by the name of its column; prop:plan is the property plan.
func dimensionOf(name string) (event.Dimension, error) {
	for _, prefix := range []string{"prop:", "props:"} {
		if key, ok := strings.CutPrefix(name, prefix); ok {
			if key == "" || len(key) > longestKey {
				return "", refuse(http.StatusUnprocessableEntity, "bad_query", "the name of a property has 1 to %d bytes, as in prop:plan", longestKey)
			}
			return event.Prop(key), nil
		}
	}
	slug := strings.ReplaceAll(name, "_", "-")
	for _, try := range []string{slug, slug + "s", strings.TrimSuffix(slug, "y") + "ies"} {
		if d, ok := slugs[try]; ok {
			return d, nil
		}
	}
	for _, d := range slugs {
		if string(d) == name {
			return d, nil
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(slugs)), ", ")
	return "", refuse(http.StatusUnprocessableEntity, "bad_query", "there is no dimension %.60q; there are %s and prop:NAME", name, names)
}

// only narrows a question to the events that its dimensions are about: an
// engagement is no event that one asks for by its name.
func only(q *event.Query) {
	if slices.Contains(q.Dimensions, "name") {
		q.Filter = event.Every(q.Filter, event.Without(is("name", event.Engagement)))
	}
}

func is(d event.Dimension, values ...string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: d, Values: values}
}
