package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// v2Metrics are the metrics of the Stats API v2. The last is only Eider's.
var v2Metrics = []event.Metric{
	event.Visitors, event.Visits, event.Pageviews, event.Events, event.ViewsPerVisit, event.BounceRate, event.VisitDuration,
	event.ScrollDepth, event.TimeOnPage, event.Percentage, event.ConversionRate, event.GroupConversionRate,
	event.AverageRevenue, event.TotalRevenue, event.ExitRate, event.Users,
}

// A v2Body is what openapi.json says of the body of a question. A [v2Parser] reads
// it: its errors name the place of what is wrong.
type v2Body struct {
	SiteID     string     `json:"site_id" api:"required"`
	Metrics    []string   `json:"metrics" api:"required"`
	DateRange  any        `json:"date_range" api:"required" doc:"day, 24h, 7d, 6mo, month, year, all, or a list of two days or two times"`
	Dimensions []string   `json:"dimensions"`
	Filters    []clause   `json:"filters"`
	OrderBy    []v2Order  `json:"order_by"`
	Include    v2Include  `json:"include"`
	Pagination v2PageBody `json:"pagination"`
}

type v2PageBody struct {
	Limit  int `json:"limit" doc:"1 to 10,000"`
	Offset int `json:"offset"`
}

// A v2Parser reads the body of a question as Plausible's JSON Schema describes it,
// and says all that is wrong with it at once.
type v2Parser struct {
	body   map[string]any
	errors []string
	first  error // one that has no path
}

// parseV2 reads a question. Filters on goals and segments that are not there are
// found later.
func parseV2(body map[string]any) (*v2Query, error) {
	p := &v2Parser{body: body}
	p.keys()
	q := &v2Query{
		site: p.site(), metrics: p.metrics(), dates: p.dates("#/date_range", body["date_range"]), dims: p.dimensions(),
		filters: p.filters(), order: p.orderBy(), include: p.include(), page: p.pagination(),
	}
	switch {
	case len(p.errors) > 0:
		return nil, badQuery("%s", strings.Join(p.errors, "\n"))
	case p.first != nil:
		return nil, p.first
	}
	return q, nil
}

// mostErrors is how many errors an answer lists.
const mostErrors = 20

func (p *v2Parser) wrong(path, format string, args ...any) {
	if len(p.errors) < mostErrors {
		p.errors = append(p.errors, path+": "+fmt.Sprintf(format, args...))
	}
}

func (p *v2Parser) keys() {
	known := []string{"site_id", "metrics", "date_range", "dimensions", "filters", "order_by", "include", "pagination"}
	var missing []string
	for _, key := range known[:3] {
		if _, ok := p.body[key]; !ok {
			missing = append(missing, key)
		}
	}
	switch len(missing) {
	case 0:
	case 1:
		p.wrong("#", "Required property %s was not present.", missing[0])
	default:
		p.wrong("#", "Required properties %s were not present.", strings.Join(missing, ", "))
	}
	for _, key := range slices.Sorted(maps.Keys(p.body)) {
		if !slices.Contains(known, key) {
			p.wrong("#/"+shorten(key), "Schema does not allow additional properties.")
		}
	}
}

// kindOf names the type of a value as the schema does.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "Null"
	case bool:
		return "Boolean"
	case string:
		return "String"
	case []any:
		return "Array"
	case map[string]any:
		return "Object"
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return "Integer"
		}
	}
	return "Number"
}

func mismatch(want string, got any) string {
	return fmt.Sprintf("Type mismatch. Expected %s but got %s.", want, kindOf(got))
}

func (p *v2Parser) site() string {
	site, _ := p.body["site_id"].(string)
	return site
}

// list reads an array, if it is there and what the schema asks for.
func (p *v2Parser) list(key string) ([]any, bool) {
	v, there := p.body[key]
	if !there {
		return nil, false
	}
	list, ok := v.([]any)
	if !ok {
		p.wrong("#/"+key, "%s", mismatch("Array", v))
	}
	return list, ok
}

// names reads a list of different names, each of which valid takes.
func (p *v2Parser) names(key, what string, valid func(string) bool) []string {
	list, ok := p.list(key)
	if !ok {
		return nil
	}
	if key == "metrics" && len(list) == 0 {
		p.wrong("#/metrics", "Expected a minimum of 1 items but got 0.")
	}
	seen := map[string]bool{}
	var names []string
	for i, v := range list {
		name, ok := v.(string)
		if !ok || !valid(name) {
			p.wrong(fmt.Sprintf("#/%s/%d", key, i), "Invalid %s %s", what, inspect(v))
			continue
		}
		if seen[name] {
			p.wrong("#/"+key, "Expected items to be unique but they were not.")
			return names
		}
		seen[name] = true
		names = append(names, name)
	}
	return names
}

func isV2Metric(name string) bool { return slices.Contains(v2Metrics, event.Metric(name)) }

func isV2Dimension(name string) bool {
	_, ok := wireDimension(name)
	return ok || name == "time"
}

func (p *v2Parser) metrics() []event.Metric {
	var out []event.Metric
	for _, name := range p.names("metrics", "metric", isV2Metric) {
		out = append(out, event.Metric(name))
	}
	return out
}

func (p *v2Parser) dimensions() []string {
	names := p.names("dimensions", "dimension", isV2Dimension)
	times := 0
	for _, name := range names {
		if isTime(name) {
			times++
		}
	}
	if p.first == nil && (times > 1 || len(names) > event.MaxDimensions) {
		p.first = badQuery("Invalid dimensions. There may be %d of them, and one of time.", event.MaxDimensions)
	}
	return names
}

func (p *v2Parser) filters() clauses {
	list, ok := p.list("filters")
	if !ok {
		return nil
	}
	out, err := clausesOf(list, "#/filters")
	var wrong *problem
	if errors.As(err, &wrong) {
		if strings.HasPrefix(wrong.text, "#/") {
			path, text, _ := strings.Cut(wrong.text, ": ")
			p.wrong(path, "%s", text)
			return nil
		}
		p.first = err
	}
	return out
}

func (p *v2Parser) orderBy() []v2Order {
	list, ok := p.list("order_by")
	if !ok {
		return nil
	}
	if len(list) > len(v2Metrics)+event.MaxDimensions {
		p.wrong("#/order_by", "Expected a maximum of %d items but got %d.", len(v2Metrics)+event.MaxDimensions, len(list))
		return nil
	}
	var out []v2Order
	for i, v := range list {
		path := fmt.Sprintf("#/order_by/%d", i)
		pair, ok := v.([]any)
		switch {
		case !ok:
			p.wrong(path, "%s", mismatch("Array", v))
			continue
		case len(pair) < 2:
			p.wrong(path, "Expected a minimum of 2 items but got %d.", len(pair))
			continue
		case len(pair) > 2:
			p.wrong(path, "Schema does not allow additional items.")
			continue
		}
		by, ok := pair[0].(string)
		if !ok || !isV2Metric(by) && !isV2Dimension(by) {
			p.wrong(path+"/0", "Invalid value in order_by %s", inspect(pair[0]))
		}
		if pair[1] != "asc" && pair[1] != "desc" {
			p.wrong(path+"/1", "Value is not allowed in enum.")
		}
		out = append(out, v2Order{by: by, descending: pair[1] == "desc"})
	}
	return out
}

// object reads an object of known keys.
func (p *v2Parser) object(path string, v any, known ...string) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		p.wrong(path, "%s", mismatch("Object", v))
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, key) {
			p.wrong(path+"/"+shorten(key), "Schema does not allow additional properties.")
		}
	}
	return m
}

func (p *v2Parser) yes(path string, m map[string]any, key string) bool {
	v, there := m[key]
	yes, ok := v.(bool)
	if there && !ok {
		p.wrong(path+"/"+key, "%s", mismatch("Boolean", v))
	}
	return yes
}

func (p *v2Parser) include() (in v2Include) {
	v, there := p.body["include"]
	if !there {
		return in
	}
	m := p.object("#/include", v, "imports", "time_labels", "total_rows", "comparisons")
	in.Imports = p.yes("#/include", m, "imports")
	in.TimeLabels = p.yes("#/include", m, "time_labels")
	in.TotalRows = p.yes("#/include", m, "total_rows")
	if v, there := m["comparisons"]; there && v != nil {
		in.Comparisons = p.comparisons(v)
	}
	return in
}

// comparisons reads what Plausible keeps to itself.
func (p *v2Parser) comparisons(v any) *v2Comparisons {
	const path = "#/include/comparisons"
	m := p.object(path, v, "mode", "date_range", "match_day_of_week")
	c := &v2Comparisons{MatchDayOfWeek: p.yes(path, m, "match_day_of_week")}
	c.Mode, _ = m["mode"].(string)
	given, there := m["date_range"]
	switch c.Mode {
	case "custom":
		c.dates = p.dates(path+"/date_range", given)
		if c.dates.kind != "between" {
			if c.dates.kind != "" { // else it has been said
				p.wrong(path+"/date_range", "Invalid date range %s", inspect(given))
			}
			break
		}
		list := given.([]any)
		c.DateRange = &[2]string{list[0].(string), list[1].(string)}
	case "previous_period", "year_over_year":
		if there {
			p.wrong(path+"/date_range", "Schema does not allow additional properties.")
		}
	default:
		p.wrong(path+"/mode", "Value is not allowed in enum.")
	}
	return c
}

func (p *v2Parser) pagination() v2Page {
	page := v2Page{Limit: event.MaxRows}
	v, there := p.body["pagination"]
	if !there {
		return page
	}
	m := p.object("#/pagination", v, "limit", "offset")
	page.Limit = p.whole("#/pagination/limit", m, "limit", page.Limit, 1, event.MaxRows)
	page.Offset = p.whole("#/pagination/offset", m, "offset", 0, 0, maxOffset)
	return page
}

// maxOffset is the greatest offset that may be asked for: no site has so many
// values.
const maxOffset = 1_000_000_000

func (p *v2Parser) whole(path string, m map[string]any, key string, otherwise, least, most int64) int64 {
	v, there := m[key]
	if !there {
		return otherwise
	}
	number, _ := v.(json.Number)
	n, err := strconv.ParseInt(number.String(), 10, 64)
	switch {
	case err != nil:
		p.wrong(path, "%s", mismatch("Integer", v))
	case n < least:
		p.wrong(path, "Expected the value to be >= %d", least)
	case n > most:
		p.wrong(path, "Expected the value to be <= %d", most)
	}
	return n
}

// validate refuses what is of the grammar and still not to be asked, in the order
// and the words of Plausible.
func (v *v2Query) validate() error {
	for _, o := range v.order {
		if !slices.Contains(v.dims, o.by) && !slices.Contains(v.metrics, event.Metric(o.by)) {
			return badQuery("Invalid order_by entry '%s'. Entry is not a queried metric or dimension.", o)
		}
	}
	if err := v.filters.validate(v.asksFor(event.ConversionRate, event.GroupConversionRate)); err != nil {
		return err
	}
	for _, m := range v.metrics {
		if err := v.validateMetric(m); err != nil {
			return err
		}
	}
	if err := v.validateMix(); err != nil {
		return err
	}
	if v.include.TimeLabels && !slices.ContainsFunc(v.dims, isTime) {
		return badQuery("Invalid include.time_labels: requires a time dimension.")
	}
	return nil
}

// String writes an entry as Plausible's error does.
func (o v2Order) String() string {
	direction := "asc"
	if o.descending {
		direction = "desc"
	}
	if isV2Metric(o.by) {
		return "{:" + o.by + ", :" + direction + "}"
	}
	return "{" + strconv.Quote(shorten(o.by)) + ", :" + direction + "}"
}

// validate refuses filters where Plausible does.
func (cs clauses) validate(rates bool) error {
	var err error
	cs.walk(0, 0, func(c clause, depth, behind int) {
		switch {
		case err != nil:
		case behind == 0 && depth > 0 && (c.dim == "event:goal" || c.dim == "event:hostname"):
			err = badQuery("Invalid filters. Dimension `%s` can only be filtered at the top level.", c.dim)
		case rates && depth > 0 && strings.HasPrefix(c.dim, propWire):
			err = badQuery("Invalid filters. When `conversion_rate` or `group_conversion_rate` metrics are used, custom property filters can only be used on top level.")
		case behind > 0 && c.dim != "" && !strings.HasPrefix(c.dim, "event:"):
			err = badQuery("Invalid filters. Behavioral filters (has_done, has_not_done) can only be used with event dimension filters.")
		case behind > 0 && (c.op == "has_done" || c.op == "has_not_done"):
			err = badQuery("Invalid filters. Behavioral filters (has_done, has_not_done) cannot be nested.")
		}
	})
	return err
}

// walk calls fn for every filter with its depth, and how many has_done it is in.
func (cs clauses) walk(depth, behind int, fn func(c clause, depth, behind int)) {
	for _, c := range cs {
		fn(c, depth, behind)
		inner := behind
		if c.op == "has_done" || c.op == "has_not_done" {
			inner++
		}
		clauses(c.of).walk(depth+1, inner, fn)
	}
}

// on says whether a filter, in no has_done, is on a dimension.
func (cs clauses) on(dim string, top bool) bool {
	found := false
	cs.walk(0, 0, func(c clause, depth, behind int) {
		found = found || c.dim == dim && behind == 0 && (depth == 0 || !top)
	})
	return found
}

func (v *v2Query) validateMetric(m event.Metric) error {
	has := func(dim string) bool { return slices.Contains(v.dims, dim) }
	switch m {
	case event.ConversionRate, event.GroupConversionRate:
		if !has("event:goal") && !v.filters.on("event:goal", false) {
			return badQuery("Metric `%s` can only be queried with event:goal filters or dimensions.", m)
		}
	case event.ScrollDepth, event.TimeOnPage:
		if !has("event:page") && !v.filters.on("event:page", m == event.ScrollDepth) {
			return badQuery("Metric `%s` can only be queried with event:page filters or dimensions.", m)
		}
	case event.ExitRate:
		if len(v.dims) != 1 || !has("visit:exit_page") {
			return badQuery("Metric `exit_rate` requires a `\"visit:exit_page\"` dimension. No other dimensions are allowed.")
		}
	case event.ViewsPerVisit:
		switch {
		case v.filters.on("event:page", false):
			return badQuery("Metric `views_per_visit` cannot be queried with a filter on `event:page`.")
		case len(v.dims) > 0:
			return badQuery("Metric `views_per_visit` cannot be queried with `dimensions`.")
		}
	case event.Percentage:
		if len(v.dims) == 0 {
			return badQuery("Metric `percentage` can only be queried with `dimensions`.")
		}
	}
	return nil
}

// validateMix refuses figures of visits by what only events have. A page will do,
// and its host.
func (v *v2Query) validateMix() error {
	var ofVisits, ofEvents []string
	for _, m := range v.metrics {
		if m == event.BounceRate || m == event.VisitDuration || m == event.ViewsPerVisit {
			ofVisits = append(ofVisits, string(m))
		}
	}
	page := slices.Contains(v.dims, "event:page")
	for _, d := range v.dims {
		if strings.HasPrefix(d, "event:") && d != "event:page" && !(d == "event:hostname" && page) {
			ofEvents = append(ofEvents, d)
		}
	}
	if len(ofVisits) == 0 || len(ofEvents) == 0 {
		return nil
	}
	return badQuery("Session metric(s) `%s` cannot be queried along with event dimension(s) `%s`", strings.Join(ofVisits, ", "), strings.Join(ofEvents, ", "))
}
