package plan

import (
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// columns are those that can be dimensions, by name.
var columns = func() map[string]event.Column {
	m := make(map[string]event.Column)
	for _, c := range event.Columns {
		switch c.Kind {
		case event.Text, event.Int32, event.Int64, event.Decimal:
			m[c.Name] = c
		}
	}
	return m
}()

// touch are the columns that every event of a visit has from its first one.
var touch = map[event.Dimension]bool{
	"entry_hostname": true, "entry_path": true, "referrer": true, "source": true, "channel": true,
	"utm_source": true, "utm_medium": true, "utm_campaign": true, "utm_content": true, "utm_term": true,
	"click_id": true, "browser": true, "browser_version": true, "os": true, "os_version": true, "device": true,
	"screen": true, "language": true, "country": true, "region": true, "region_name": true, "city": true, "city_id": true,
}

// A field is the SQL of what a filter looks at.
type field struct {
	text     string // of type VARCHAR, or null
	number   string // of type DOUBLE, or null
	column   string // as it is stored, if that is text
	whole    string // as it is stored, if that is a whole number
	nullable bool
}

func fieldOf(d event.Dimension) field {
	if key, ok := d.Prop(); ok {
		return textField("nullif(json_extract_string(props, "+quote(pointer(key))+"), '')", true) // "" is as good as none
	}
	if exit(d) {
		return textField(string(d), true)
	}
	col := columns[string(d)]
	name := `"` + col.Name + `"`
	if col.Kind == event.Text {
		return textField(name, col.Nullable)
	}
	f := field{text: name + "::VARCHAR", number: name + "::DOUBLE", nullable: col.Nullable}
	if col.Kind != event.Decimal {
		f.whole = name
	}
	return f
}

func textField(text string, nullable bool) field {
	return field{text: text, number: "try_cast(" + text + " AS DOUBLE)", column: text, nullable: nullable}
}

// value returns the SQL of a dimension that is not of time.
func value(d event.Dimension) string {
	if d == event.GoalName || d == event.PropName {
		return string(d)
	}
	f := fieldOf(d)
	if !f.nullable {
		return f.text
	}
	return "coalesce(" + f.text + ", '')"
}

func exit(d event.Dimension) bool { return d == event.ExitPath || d == event.ExitHostname }

// steady says whether all events of a visit have the same value.
func steady(d event.Dimension) bool { return touch[d] || exit(d) }

// pointer returns the JSON pointer of a key.
func pointer(key string) string { return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

// quote returns the SQL literal of a text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func quoted(texts []string) string {
	list := make([]string, len(texts))
	for i, t := range texts {
		list[i] = quote(t)
	}
	return strings.Join(list, ", ")
}
