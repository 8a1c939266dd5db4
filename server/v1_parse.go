package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// v1Docs is where Plausible's errors send their readers.
const v1Docs = "https://plausible.io/docs/stats-api#"

// readPeriod reads period and date. N days are those before the date, and the
// months end with the date's.
func (a *v1Asker) readPeriod() error {
	a.period = a.params.Get("period")
	if !a.params.Has("period") {
		a.period = "30d"
	}
	switch a.period {
	case "day", "7d", "30d", "month", "6mo", "12mo":
	case "custom":
		return a.readCustom()
	default:
		return badQuery("Error parsing `period` parameter: invalid period `%s`. Please find accepted values in our docs: %stime-periods", shorten(a.period), v1Docs)
	}
	day := noon(a.s.now().In(a.zone), 0, 0, 0)
	if given := a.params.Get("date"); a.params.Has("date") {
		t, err := v1Date(given)
		if err != nil {
			return badQuery("Error parsing `date` parameter: %s. Please specify a valid date in ISO-8601 format.", err)
		}
		day = dayIn(t, a.zone)
	}
	month := noon(day, 0, 0, 1-day.Day())
	switch a.period {
	case "day":
		a.days = span{day, day}
	case "7d", "30d":
		n, _ := strconv.Atoi(strings.TrimSuffix(a.period, "d"))
		a.days = span{noon(day, 0, 0, -n), noon(day, 0, 0, -1)}
	case "month":
		a.days = span{month, noon(month, 0, 1, -1)}
	default:
		n, _ := strconv.Atoi(strings.TrimSuffix(a.period, "mo"))
		a.days = span{noon(month, 0, 1-n, 0), noon(month, 0, 1, -1)}
	}
	return nil
}

func (a *v1Asker) readCustom() error {
	if !a.params.Has("date") {
		return badQuery("The `date` parameter is required when using a custom period. See %stime-periods", v1Docs)
	}
	first, last, both := strings.Cut(a.params.Get("date"), ",")
	from, err := v1Date(strings.TrimSpace(first))
	to, err2 := v1Date(strings.TrimSpace(last))
	if !both || err != nil || err2 != nil || to.Before(from) {
		return badQuery("Invalid format for `date` parameter. When using a custom period, please include two ISO-8601 formatted dates joined by a comma. See %stime-periods", v1Docs)
	}
	a.days = span{dayIn(from, a.zone), dayIn(to, a.zone)}
	return nil
}

// v1Date reads a day. Its errors are Plausible's atoms.
func v1Date(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	switch {
	case err != nil && len(s) == len(time.DateOnly) && s[4] == '-' && s[7] == '-':
		return t, fmt.Errorf("invalid_date")
	case err != nil:
		return t, fmt.Errorf("invalid_format")
	case t.Year() < 1970:
		return t, fmt.Errorf("invalid_date")
	}
	return t, nil
}

func (a *v1Asker) readProperty(property string) error {
	d, ok := wireDimension(property)
	_, ofTime := d.of.Interval()
	switch {
	case property == "event:hostname":
		return badQuery("Property 'event:hostname' is currently not supported for breakdowns.  Please provide a valid property for the breakdown endpoint: %sproperties", v1Docs)
	case !ok || ofTime:
		return badQuery("Invalid property '%s'. Please provide a valid property for the breakdown endpoint: %sproperties", shorten(property), v1Docs)
	}
	a.query.Dimensions = []event.Dimension{d.of}
	return nil
}

// readFilters reads the filters and puts those on goals where the query has them.
func (a *v1Asker) readFilters() (err error) {
	if a.filters, err = parseV1Filters(a.params.Get("filters")); err != nil {
		return err
	}
	var goals []clause
	var all []event.Filter
	for _, f := range a.filters {
		if f.clause.dim != "event:goal" {
			all = append(all, f.filter())
			continue
		}
		for _, name := range f.clause.values {
			if !slices.ContainsFunc(a.words.goals, func(g ledger.Goal) bool { return g.Name == name }) {
				return noGoal(name)
			}
		}
		goals = append(goals, f.clause)
	}
	a.query.Filter = event.Every(all...)
	each := slices.Contains(a.query.Dimensions, event.GoalName)
	a.query.Goals, _, err = goalsOf(a.words, goals, event.Filter{}, each)
	return err
}

func noGoal(name string) error {
	what := "The goal `" + shorten(name) + "`"
	if path, ok := strings.CutPrefix(name, "Visit "); ok {
		what = "The pageview goal for the pathname `" + shorten(path) + "`"
	}
	return badQuery("%s is not configured for this site. Find out how to configure goals here: %sfiltering-by-goals", what, v1Docs)
}

// filtersOn returns whether there is a filter on a dimension.
func (a *v1Asker) filtersOn(dim string) bool {
	return slices.ContainsFunc(a.filters, func(f v1Filter) bool { return f.clause.dim == dim })
}

func (a *v1Asker) readMetrics(property string) error {
	names := strings.Split("visitors", ",")
	if a.params.Has("metrics") {
		names = strings.Split(a.params.Get("metrics"), ",")
	}
	if len(names) > len(v2Metrics) {
		names = names[:len(v2Metrics)+1] // one of them comes twice, or is none
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return badQuery("Metrics cannot be queried multiple times.")
		}
	}
	for _, name := range names {
		if err := a.checkMetric(name, property); err != nil {
			return err
		}
		a.metrics = append(a.metrics, event.Metric(name))
	}
	return nil
}

// checkMetric refuses a metric where Plausible does.
func (a *v1Asker) checkMetric(name, property string) error {
	switch event.Metric(name) {
	case event.Visitors, event.Pageviews, event.Events:
		return nil
	case event.TimeOnPage:
		return a.checkTimeOnPage(property)
	case event.ConversionRate:
		if property != "event:goal" && !a.filtersOn("event:goal") {
			return badQuery("Metric `%s` can only be queried in a goal breakdown or with a goal filter", name)
		}
		return nil
	case event.ViewsPerVisit:
		switch {
		case a.filtersOn("event:page"):
			return badQuery("Metric `%s` cannot be queried with a filter on `event:page`.", name)
		case property != "":
			return badQuery("Metric `%s` is not supported in breakdown queries.", name)
		}
	case event.Visits, event.BounceRate, event.VisitDuration:
	default:
		return badQuery("The metric `%s` is not recognized. Find valid metrics from the documentation: %smetrics", shorten(name), v1Docs)
	}
	if eventOnly(property) {
		return badQuery("Session metric `%s` cannot be queried for breakdown by `%s`.", name, shorten(property))
	}
	for _, f := range a.filters {
		if eventOnly(f.clause.dim) {
			return badQuery("Session metric `%s` cannot be queried when using a filter on `%s`.", name, shorten(f.clause.dim))
		}
	}
	return nil
}

func (a *v1Asker) checkTimeOnPage(property string) error {
	switch {
	case a.filtersOn("event:goal"):
		return badQuery("Metric `time_on_page` cannot be queried when filtering by `event:goal`")
	case a.filtersOn("event:name"):
		return badQuery("Metric `time_on_page` cannot be queried when filtering by `event:name`")
	case property != "" && property != "event:page":
		return badQuery("Metric `time_on_page` is not supported in breakdown queries (except `event:page` breakdown)")
	case property == "" && !a.filtersOn("event:page"):
		return badQuery("Metric `time_on_page` can only be queried in a page breakdown or with a page filter.")
	}
	return nil
}

func eventOnly(property string) bool {
	return property == "event:name" || property == "event:goal" || strings.HasPrefix(property, propWire)
}
