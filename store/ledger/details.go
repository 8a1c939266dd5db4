package ledger

import (
	"strconv"
	"strings"
	"time"
)

// A field is what an entry says of one field of what an act has made or changed.
type field struct {
	name, value string

	// What operators type in may be about a person: the entry says that it was
	// changed, and its value is beside the chain.
	private bool
}

// details makes a map of names and values, without those that are empty.
func details(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}

// moment returns a time in µs as entries have it; "" for never.
func moment(at int64) string {
	if at == 0 {
		return ""
	}
	return time.UnixMicro(at).UTC().Format(time.RFC3339Nano)
}

// owned names something of which there are many of a sort.
func owned(sort string, id int64) string { return sort + ":" + strconv.FormatInt(id, 10) }

// tell returns what an entry says of something that a site has got.
func tell(site string, fields []field) (detail, private map[string]string) {
	detail, private = details("site", site), make(map[string]string)
	for _, f := range fields {
		switch {
		case f.private:
			private[f.name] = f.value
		case f.value != "":
			detail[f.name] = f.value
		}
	}
	return detail, private
}

// changes returns what an entry says of a change: the names of the fields, their old
// and new values, and the new ones of those that are private.
func changes(was, is []field) (detail, private map[string]string) {
	detail, private = make(map[string]string), make(map[string]string)
	var changed []string
	for i, f := range is {
		if f.value == was[i].value {
			continue
		}
		changed = append(changed, f.name)
		if f.private {
			private[f.name] = f.value
		} else {
			detail[f.name] = strconv.Quote(was[i].value) + " -> " + strconv.Quote(f.value)
		}
	}
	detail["changed"] = strings.Join(changed, " ")
	return detail, private
}

// number returns a number that is not 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func (g *Goal) fields() []field {
	props := ""
	if len(g.Props) > 0 {
		props = object(g.Props)
	}
	return []field{
		{name: "kind", value: g.Kind},
		{name: "scroll", value: number(int64(g.Scroll))},
		{name: "currency", value: g.Currency},
		{name: "name", value: g.Name, private: true},
		{name: "path", value: g.Path, private: true},
		{name: "event", value: g.Event, private: true},
		{name: "props", value: props, private: true},
	}
}

func (s *Segment) fields() []field {
	return []field{
		{name: "name", value: s.Name, private: true},
		{name: "filters", value: string(s.Filters), private: true},
	}
}

func (a *Annotation) fields() []field {
	return []field{
		{name: "day", value: a.Day},
		{name: "time", value: moment(a.Time)},
		{name: "text", value: a.Text, private: true},
	}
}

func (s *SiteSettings) fields() []field {
	list := func(name string, texts []string, private bool) field {
		return field{name: name, value: array(texts), private: private}
	}
	return []field{
		{name: "timezone", value: s.Timezone},
		{name: "currency", value: s.Currency},
		list("excluded_paths", s.Paths, true),
		list("excluded_addresses", s.Addresses, true),
		list("excluded_countries", s.Countries, false),
		list("allowed_hostnames", s.Hostnames, false),
	}
}
