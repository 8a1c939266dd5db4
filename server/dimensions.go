package server

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/eider-analytics/eider/store/event"
)

// How Plausible calls what nothing is known of.
const (
	noSource = "Direct / None"
	notSet   = "(not set)"
	none     = "(none)"
)

// A wire is a dimension of Plausible's Stats API: what it is called in ours, and
// how its values are written.
type wire struct {
	of      event.Dimension
	missing string                     // label of ""
	others  []string                   // other labels that are read as ""
	say     func(stored string) string // how a value is written, if not as it is stored
	all     func() []string            // every value that say can be asked for
	number  bool                       // values are numbers
}

// wires are Plausible's dimensions, and at the end those that only Eider has.
var wires = map[string]wire{
	"event:name":     {of: "name"},
	"event:page":     {of: "path", missing: notSet},
	"event:hostname": {of: "hostname", missing: notSet},
	"event:goal":     {of: event.GoalName},

	"visit:entry_page":          {of: "entry_path", missing: notSet},
	"visit:exit_page":           {of: event.ExitPath, missing: notSet},
	"visit:entry_page_hostname": {of: "entry_hostname", missing: notSet},
	"visit:exit_page_hostname":  {of: event.ExitHostname, missing: notSet},
	"visit:source":              {of: "source", missing: noSource},
	"visit:referrer":            {of: "referrer", missing: noSource},
	"visit:channel":             {of: "channel", missing: "Direct", others: []string{notSet}},
	"visit:utm_source":          {of: "utm_source", missing: notSet, others: []string{noSource}},
	"visit:utm_medium":          {of: "utm_medium", missing: notSet, others: []string{noSource}},
	"visit:utm_campaign":        {of: "utm_campaign", missing: notSet, others: []string{noSource}},
	"visit:utm_content":         {of: "utm_content", missing: notSet, others: []string{noSource}},
	"visit:utm_term":            {of: "utm_term", missing: notSet, others: []string{noSource}},
	"visit:device":              {of: "device", missing: notSet, say: deviceName, all: devices},
	"visit:screen":              {of: "device", missing: notSet, say: deviceName, all: devices},
	"visit:browser":             {of: "browser", missing: notSet},
	"visit:browser_version":     {of: "browser_version", missing: notSet},
	"visit:os":                  {of: "os", missing: notSet},
	"visit:os_version":          {of: "os_version", missing: notSet},
	"visit:country":             {of: "country", missing: notSet},
	"visit:region":              {of: "region", missing: notSet},
	"visit:city":                {of: "city_id", number: true},
	"visit:country_name":        {of: "country", missing: notSet, say: countryName, all: countries},
	"visit:region_name":         {of: "region_name", missing: notSet},
	"visit:city_name":           {of: "city", missing: notSet},

	"time:hour":  {of: event.Hour},
	"time:day":   {of: event.Daytime},
	"time:week":  {of: event.Week},
	"time:month": {of: event.Month},

	"event:title":    {of: "title", missing: notSet},
	"event:via":      {of: "via"},
	"visit:language": {of: "language", missing: notSet},
	"visit:click_id": {of: "click_id", missing: notSet},
}

const propWire = "event:props:"

// wireDimension finds a dimension by its name in the Stats API.
func wireDimension(name string) (wire, bool) {
	if key, ok := strings.CutPrefix(name, propWire); ok {
		return wire{of: event.Prop(key), missing: none}, key != "" && len(key) <= 300
	}
	d, ok := wires[name]
	return d, ok
}

// label returns a value as an answer writes it.
func (d wire) label(value string) any {
	switch {
	case d.number && value == "":
		return 0
	case d.number:
		return json.Number(value)
	case value == "" && d.missing != "":
		return d.missing
	case d.say != nil:
		return d.say(value)
	}
	return value
}

// stored returns the values of the column that a clause means. Where a value is
// written otherwise than it is stored, those are chosen for which the clause holds
// as it is read.
func (d wire) stored(c clause) []string {
	exact := c.op == "is" || c.op == "is_not"
	var values []string
	for _, v := range c.values {
		switch {
		case exact && d.isMissing(v):
			values = append(values, "")
		case d.say == nil:
			values = append(values, v)
		default:
			holds := c.holding(v)
			for _, s := range d.all() {
				if holds(d.say(s)) {
					values = append(values, s)
				}
			}
		}
	}
	if d.say != nil {
		slices.Sort(values)
		values = slices.Compact(values)
	}
	return values
}

func (d wire) isMissing(label string) bool {
	if label == "" || label == d.missing {
		return true
	}
	for _, other := range d.others {
		if label == other {
			return true
		}
	}
	return d.number && label == "0"
}

// devices are the values of the column device.
func devices() []string {
	return []string{"desktop", "mobile", "tablet", "tv", "console", "wearable"}
}

// deviceName writes a device as Plausible does.
func deviceName(device string) string {
	if device == "tv" {
		return "TV"
	}
	return strings.ToUpper(device[:1]) + device[1:]
}

// countryNames are the English names of all countries, from the CLDR, by their
// codes.
var countryNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	english := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			region, err := language.ParseRegion(code)
			if err != nil || !region.IsCountry() || region.Canonicalize().String() != code {
				continue // none, or one of old: the events have the new code
			}
			if name := english.Name(region); name != "" {
				names[code] = name
			}
		}
	}
	return names
})

// countries are the codes that have a name.
var countries = sync.OnceValue(func() []string {
	return slices.Sorted(maps.Keys(countryNames()))
})

func countryName(code string) string {
	if name, ok := countryNames()[code]; ok {
		return name
	}
	return code
}

// alike returns the values of the column whose wording is like a pattern: * is any
// text here, for no wording has a /.
func (d wire) alike(patterns []string) []string {
	var values []string
	for _, stored := range d.all() {
		for _, p := range patterns {
			if matchStar(d.say(stored), p) {
				values = append(values, stored)
				break
			}
		}
	}
	return values
}

// matchStar says whether a text is like a pattern in which * is any text. It looks
// at each * once, and takes the first place that fits.
func matchStar(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return text == pattern
	}
	text, ok := strings.CutPrefix(text, parts[0])
	for _, part := range parts[1:last] {
		at := strings.Index(text, part)
		if !ok || at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return ok && strings.HasSuffix(text, parts[last])
}
