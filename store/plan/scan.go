package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// SQL that every scan is made of.
const (
	// followed holds for an event that belongs to the visit it carries.
	followed = `epoch_us("time") - epoch_us(visit_start) >= -3600000000 AND epoch_us("time") - epoch_us(visit_start) < 86400000000`

	// atExit joins an event with the exit of its visit. As a second condition of the
	// join, followed would make DuckDB compare all with all.
	atExit = `visit_of = CASE WHEN ` + followed + ` THEN visit END`

	// atDone joins an event with what its visit has done.
	atDone = `visit_by = CASE WHEN ` + followed + ` THEN visit END`

	// later grows from each pageview of a visit to the next one.
	later = `epoch_us("time")::HUGEINT * 9223372036854775808 + seq`

	// active holds for an event that ends a bounce.
	active = `interactive AND name NOT IN ('pageview', 'engagement')`
)

// A scan adds the arms that read one range.
type scan struct {
	*compiler
	Range

	only   []Range           // of the range, if not all of it
	suffix string            // of the names of its table expressions
	done   map[string]string // the columns of doers, by their conditions
	exits  bool              // whether it has its visits' exits
	rolled bool              // whether it reads rollups, where the one dimension there is is the column value
}

// add adds the arms that the query needs.
func (s *scan) add() {
	if s.need.people() {
		s.arms = append(s.arms, s.people())
	}
	if s.need.users {
		s.arms = append(s.arms, s.users())
	}
	if s.need.pages {
		s.arms = append(s.arms, s.pages())
	}
	switch {
	case s.need.wholes:
		s.arms = append(s.arms, s.wholeVisits())
	case s.need.visits:
		s.arms = append(s.arms, s.visits())
	}
	if s.need.exits {
		s.arms = append(s.arms, s.shown())
	}
	if s.need.base {
		s.with = append(s.with, "bases AS (\n"+s.base()+"\n)")
	}
}

// match is the filter of the query, with the goals if they are not what rows are
// grouped by.
func (s *scan) match() event.Filter {
	if len(s.q.Goals) == 0 {
		return s.q.Filter
	}
	var of []event.Filter
	for _, g := range s.q.Goals {
		of = append(of, g.Filter)
	}
	return event.Every(s.q.Filter, event.Any(of...))
}

// from returns FROM and WHERE of the events of the site in a range that f holds
// for. If rows are to be grouped by goal there is one for each that an event
// reaches. It adds the table expressions that are needed.
func (s *scan) from(r Range, f event.Filter, dims []event.Dimension, more ...string) string {
	text := " FROM " + s.in.Events(r.From, r.To) + " AS events"
	terms := append([]string{"site = " + quote(s.q.Site), between(`"time"`, r)}, more...)
	filters := []event.Filter{f}
	goal := slices.Contains(dims, event.GoalName)
	if goal {
		for _, g := range s.q.Goals {
			filters = append(filters, g.Filter)
		}
	}
	text += s.visited(filters, slices.ContainsFunc(dims, exit))
	if !f.Zero() {
		terms = append(terms, s.where(f, false))
	}
	if goal {
		names, reached := s.goals()
		text += " CROSS JOIN (SELECT unnest([" + names + "]) AS goal) AS goals"
		terms = append(terms, reached)
	}
	if slices.Contains(dims, event.PropName) {
		text += " CROSS JOIN unnest(json_keys(events.props)) AS carried(property)"
	}
	return text + " WHERE " + strings.Join(terms, " AND ")
}

// visited joins events with what filters ask of their whole visits; also with the exit,
// if that is wanted in any case.
func (s *scan) visited(filters []event.Filter, exit bool) (joins string) {
	if exit || slices.ContainsFunc(filters, exits) {
		joins += " LEFT JOIN " + s.exit() + " ON " + atExit
	}
	if slices.ContainsFunc(filters, func(f event.Filter) bool { return len(done(f)) > 0 }) {
		joins += " LEFT JOIN " + s.doers() + " ON " + atDone
	}
	return joins
}

// inside is from of the events in the range.
func (s *scan) inside(f event.Filter, dims []event.Dimension, more ...string) string {
	return s.from(s.Range, f, dims, append(more, s.chosen(`"time"`)...)...)
}

// chosen returns the condition, if there is one, that a column of time is in what is to be read of
// the range.
func (s *scan) chosen(column string) []string {
	if len(s.only) == 0 {
		return nil
	}
	terms := make([]string, len(s.only))
	for i, r := range s.only {
		terms[i] = "(" + between(column, r) + ")"
	}
	return []string{anyOf(terms)}
}

// goals returns the names of the goals, and the condition that an event reaches
// the one that is in the column goal.
func (s *scan) goals() (names, reached string) {
	list, whens := make([]string, len(s.q.Goals)), make([]string, len(s.q.Goals))
	for i, g := range s.q.Goals {
		list[i] = g.Name
		whens[i] = "WHEN " + quote(g.Name) + " THEN " + s.where(g.Filter, false)
	}
	return quoted(list), "CASE goal " + strings.Join(whens, " ") + " END"
}

// exit returns the table expression that has the last pageview of each visit.
func (s *scan) exit() string {
	name := "exits" + s.suffix
	if s.exits {
		return name
	}
	s.exits = true
	s.with = append(s.with, name+` AS (
SELECT visit AS visit_of, arg_max(path, `+later+`) AS exit_path, nullif(arg_max(coalesce(hostname, ''), `+later+`), '') AS exit_hostname`+
		s.from(s.around(margin, margin), event.Filter{}, nil, "name = 'pageview'", "path IS NOT NULL", followed)+`
GROUP BY visit
)`)
	return name
}

// doers returns the table expression that has what each visit has done, of all that
// has_done asks for: one for all of them, since every join holds megabytes of hash
// tables whatever there is to read.
func (s *scan) doers() string {
	name := "doers" + s.suffix
	if s.done != nil {
		return name
	}
	s.done = map[string]string{}
	columns := []string{"visit AS visit_by"}
	var each []event.Filter
	for _, of := range s.asked {
		for _, f := range done(of) {
			holds := s.where(f, false)
			if s.done[holds] == "" {
				each = append(each, f)
				s.done[holds] = fmt.Sprintf("done%d", len(each))
				columns = append(columns, "bool_or("+holds+") AS "+s.done[holds])
			}
		}
	}
	s.with = append(s.with, name+" AS (\nSELECT "+strings.Join(columns, ", ")+
		s.from(s.around(margin, margin), event.Any(each...), nil, followed)+"\nGROUP BY visit\n)")
	return name
}

// people are the sums of the events. Visitors are counted by day, and then added
// up, unless the range or the interval has only one.
func (s *scan) people() string {
	dims := s.dimensions(s.q.Dimensions, `epoch_us("time")`)
	columns := []string{"1 AS here"}
	if s.need.visitors {
		columns = append(columns, "count(DISTINCT visitor) AS visitors")
	}
	if s.need.counts {
		columns = append(columns, "count(*) FILTER (name = 'pageview') AS pageviews", "count(*) FILTER (name <> 'engagement') AS events")
	}
	if s.need.revenue {
		columns = append(columns, s.revenue()...)
	}
	if s.need.visitors && !s.daily() {
		dims = append(dims, s.compiler.bucket(`epoch_us("time")`, event.Daily)+" AS day")
	}
	return s.group(dims, columns, s.inside(s.match(), s.q.Dimensions))
}

// revenue are the sums of money, as whole numbers of its smallest part.
func (s *scan) revenue() []string {
	where := "revenue IS NOT NULL"
	if s.q.Currency != "" {
		where += " AND currency = " + quote(s.q.Currency)
	}
	return []string{
		"replace((sum(revenue) FILTER (" + where + "))::VARCHAR, '.', '')::HUGEINT AS revenue",
		"count(*) FILTER (" + where + ") AS paying",
	}
}

// daily says whether no row of an answer is about more than one day.
func (s *scan) daily() bool {
	for _, d := range s.q.Dimensions {
		if d == event.Daytime || d == event.Hour || d == event.Minute {
			return true
		}
	}
	return s.From != 0 && s.To != 0 &&
		event.NextOf(event.StartOf(inZone(s.From, s.q.Zone), event.Daily), event.Daily).UnixMicro() >= s.To
}

// users counts distinct ids, which do not add up over anything.
func (s *scan) users() string {
	return s.group(s.dimensions(s.q.Dimensions, `epoch_us("time")`),
		[]string{"1 AS here", `count(DISTINCT "user") AS users`}, s.inside(s.match(), s.q.Dimensions))
}

// pages are the sums of what engagement tells of each visit of a page. Events
// without a visit tell nothing of any: together they would be one long one.
func (s *scan) pages() string {
	dims := s.dimensions(s.q.Dimensions, `epoch_us("time")`)
	of := append(dims[:len(dims):len(dims)], "visit AS visit_of", "coalesce(path, '') AS page")
	each := s.group(of, []string{"sum(engaged_ms) AS engaged", "max(scroll) AS scroll"},
		s.inside(s.match(), s.q.Dimensions, "name = 'engagement'", followed))
	return s.group(columnsOf("d", len(dims)),
		[]string{"sum(engaged) AS engaged", "count(*) AS told", "sum(scroll) AS scroll", "count(scroll) AS scrolled"}, " FROM ("+each+")") +
		s.events()
}

// events is an arm of the lines that have an event but nothing that the other
// arms count.
func (s *scan) events() string {
	if s.need.people() || s.need.users || len(s.q.Dimensions) == 0 {
		return ""
	}
	return "\nUNION ALL BY NAME\n" + s.group(s.dimensions(s.q.Dimensions, `epoch_us("time")`), []string{"1 AS here"},
		s.inside(s.match(), s.q.Dimensions))
}

// shown counts the pageviews of what is an exit page elsewhere.
func (s *scan) shown() string {
	return s.group([]string{"coalesce(path, '') AS d0"}, []string{"count(*) AS shown"},
		s.inside(s.match(), nil, "name = 'pageview'"))
}

// own returns FROM and WHERE of the followed events of the visits that began in
// the range. A filter that decides about whole visits may be given.
func (s *scan) own(f event.Filter, dims []event.Dimension) string {
	terms := append(s.chosen("visit_start"), between("visit_start", s.Range), followed)
	return s.from(s.around(Behind, Ahead), f, dims, terms...)
}

// visits counts visits of which nothing else is asked.
func (s *scan) visits() string {
	return s.group(s.dimensions(s.q.Dimensions, "epoch_us(visit_start)"),
		[]string{"1 AS here", "count(DISTINCT visit) AS visits"}, s.own(s.match(), s.q.Dimensions))
}

// wholeVisits adds up whole visits, by the values that their matching events
// carry.
func (s *scan) wholeVisits() string {
	whole, single := split(s.match())
	var of, changing []event.Dimension // dimensions of the visit, and of its events
	for _, d := range s.q.Dimensions {
		if _, ok := d.Interval(); !ok && !steady(d) {
			changing = append(changing, d)
		}
		of = append(of, d)
	}
	columns := []string{
		"visit", "count(*) FILTER (name = 'pageview') AS views", "bool_or(" + active + ") AS active",
		`max(epoch_us("time")) - min(epoch_us("time")) AS length`,
	}
	for i, d := range of {
		if !slices.Contains(changing, d) {
			columns = append(columns, "any_value("+s.dimension(d, "epoch_us(visit_start)")+fmt.Sprintf(") AS d%d", i))
		}
	}
	steadily := slices.DeleteFunc(slices.Clone(of), func(d event.Dimension) bool { return slices.Contains(changing, d) })
	from := s.own(whole, steadily)
	source := "(SELECT " + strings.Join(columns, ", ") + from
	if !single.Zero() || len(changing) > 0 {
		name := s.carriers(changing)
		if !single.Zero() {
			source += " AND visit IN (SELECT visit FROM " + name + ")"
		}
		source += " GROUP BY visit)"
		if len(changing) > 0 {
			source += " JOIN " + name + " USING (visit)"
		}
	} else {
		source += " GROUP BY visit)"
	}
	return s.group(columnsOf("d", len(of)), []string{
		"1 AS here", "count(*) AS visits", "sum(views)::BIGINT AS views",
		"count(*) FILTER (views = 1 AND NOT active) AS bounces", "sum(length)::BIGINT AS length",
	}, " FROM "+source)
}

// carriers returns the table expression of visits with an event that matches, and
// the values of such events.
func (s *scan) carriers(dims []event.Dimension) string {
	name := "carriers" + s.suffix
	columns := []string{"visit"}
	for i, d := range s.q.Dimensions {
		if slices.Contains(dims, d) {
			columns = append(columns, fmt.Sprintf("%s AS d%d", value(d), i))
		}
	}
	s.with = append(s.with, name+" AS (\nSELECT DISTINCT "+strings.Join(columns, ", ")+s.own(s.match(), dims)+"\n)")
	return name
}

// base counts the visitors of each line without the goal.
func (s *scan) base() string {
	var dims []event.Dimension
	var columns []string
	for i, d := range s.q.Dimensions {
		if d != event.GoalName {
			dims = append(dims, d)
			columns = append(columns, s.dimension(d, `epoch_us("time")`)+fmt.Sprintf(" AS b%d", i))
		}
	}
	columns = append(columns, s.compiler.bucket(`epoch_us("time")`, event.Daily)+" AS day")
	daily := s.group(columns, []string{"count(DISTINCT visitor) AS visitors"}, s.inside(s.q.Filter, dims))
	outer := s.baseColumns()
	return s.group(outer, []string{"sum(visitors) AS base"}, " FROM ("+daily+")")
}

// baseColumns are the dimensions of a line without the goal.
func (c *compiler) baseColumns() (list []string) {
	for i, d := range c.q.Dimensions {
		if d != event.GoalName {
			list = append(list, fmt.Sprintf("b%d", i))
		}
	}
	return list
}

// joinBase joins the lines with their base.
func (c *compiler) joinBase() string {
	terms := []string{"true"}
	for _, b := range c.baseColumns() {
		terms = append(terms, "d"+b[1:]+" = "+b)
	}
	return " LEFT JOIN bases ON " + strings.Join(terms, " AND ")
}

// dimensions returns the columns of dimensions, in which time is that of an event
// or of a visit's start.
func (s *scan) dimensions(dims []event.Dimension, t string) (list []string) {
	for i, d := range dims {
		list = append(list, fmt.Sprintf("%s AS d%d", s.dimension(d, t), i))
	}
	return list
}

func (c *compiler) dimension(d event.Dimension, t string) string {
	if interval, ok := d.Interval(); ok {
		return c.bucket(t, interval)
	}
	return value(d)
}

// group returns a SELECT of columns and aggregates, grouped by the columns.
func (s *scan) group(columns, aggregates []string, from string) string {
	text := "SELECT " + strings.Join(append(slices.Clone(columns), aggregates...), ", ") + from
	if len(columns) > 0 {
		text += " GROUP BY " + positions(len(columns))
	}
	return text
}

// positions returns 1, 2 and so on.
func positions(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i + 1)
	}
	return strings.Join(list, ", ")
}
