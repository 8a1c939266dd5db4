package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// longestStep is the most bytes of the value of a step.
const longestStep = 2000

// steps reads the parameter steps: a list with commas, in which \, is a comma.
// Each is one of
//
//	page:/x       a pageview of the path; * is any text without /, ** any text, \* a star
//	event:Signup  an event of that name
//	goal:Signup   what reaches that goal of the site
func (s *Server) steps(r *http.Request, site string, least int) ([]event.Step, error) {
	text, err := param(r, "steps", "")
	if err != nil {
		return nil, err
	}
	parts := splitEscaped(text, ',')
	if len(parts) < least || len(parts) > event.MaxSteps {
		return nil, badStep("there are %d, it takes %d to %d", len(parts), least, event.MaxSteps)
	}
	list := make([]event.Step, len(parts))
	for i, part := range parts {
		if list[i], err = s.step(r, site, strings.TrimSpace(part)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// step reads one step.
func (s *Server) step(r *http.Request, site, text string) (event.Step, error) {
	kind, value, _ := strings.Cut(text, ":")
	switch {
	case value == "":
		return event.Step{}, badStep("%.60q is none; write page:/path, event:name or goal:name", text)
	case len(value) > longestStep:
		return event.Step{}, badStep("a value of %d bytes is too long, at most %d are allowed", len(value), longestStep)
	}
	step := event.Step{Name: unescape(text)}
	switch kind {
	case "page":
		f, err := pathFilter(value)
		if err != nil {
			return step, err
		}
		step.Filter = event.Every(is("name", event.Pageview), f)
	case "event":
		step.Filter = is("name", unescape(value))
	case "goal":
		goals, err := s.o.Goals.Goals(r.Context(), site)
		if err != nil {
			return step, err
		}
		if step.Filter, err = (condition{values: []string{unescape(value)}}).goals(goals); err != nil {
			return step, err
		}
	default:
		return step, badStep("%.60q is none; write page:/path, event:name or goal:name", text)
	}
	return step, nil
}

func badStep(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "steps", "steps: "+format, args...)
}

// pathFilter holds for the paths that a pattern fits.
func pathFilter(pattern string) (event.Filter, error) {
	if indexEscaped(pattern, "*") < 0 {
		return is("path", unescape(pattern)), nil
	}
	if strings.Contains(pattern, `\*`) {
		return event.Filter{}, badStep(`%.60q has both * and \*; that cannot be told apart`, pattern)
	}
	return event.Filter{Op: event.Like, Dimension: "path", Values: []string{unescape(pattern)}}, nil
}

// windowUnits are the units of a window and the most of each.
var windowUnits = map[string]struct {
	long time.Duration
	most int64
}{
	"second": {time.Second, 86_400},
	"minute": {time.Minute, 1_440},
	"hour":   {time.Hour, 720},
	"day":    {24 * time.Hour, 365},
	"week":   {7 * 24 * time.Hour, 52},
}

// parseWindow reads a length of time such as "1 day" or "30 minutes".
func parseWindow(text string) (time.Duration, error) {
	count, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(count, 10, 64)
	u, ok := windowUnits[strings.TrimSuffix(unit, "s")]
	if err != nil || !ok || n < 1 || n > u.most {
		return 0, refuse(http.StatusBadRequest, "window", "window is a number and a unit, such as 1 day or 30 minutes: up to 86400 seconds, 1440 minutes, 720 hours, 365 days or 52 weeks")
	}
	return time.Duration(n) * u.long, nil
}

// scope makes the scope of a question about what visitors do one after the
// other. Its unit is read from the first of the names that is given.
func (q *question) scope(r *http.Request, names ...string) (event.Scope, error) {
	sc := event.Scope{Site: q.Site, From: q.From, To: q.To, Zone: q.Zone, Filter: q.whole()}
	for _, name := range names {
		unit, err := choice(r, name, "", string(event.PerVisitor), string(event.PerVisit), string(event.PerUser))
		if err != nil {
			return sc, err
		}
		if unit != "" {
			sc.Unit = event.Unit(unit)
			break
		}
	}
	return sc, nil
}

// about notes for the frame what a behavioural answer says of itself.
func (q *question) about(a event.About) {
	meta := &q.report.Meta
	meta.Unit, meta.Caveat = string(a.Unit), a.Caveat
	q.plans = append(q.plans, a.Plan)
	q.read(a.Seq, a.Degraded)
}

// counted names a number of units.
func counted(u event.Unit) string { return string(u) + "s" }

// splitList reads a parameter that is a list with commas.
func splitList(r *http.Request, name string) ([]string, error) {
	text, err := optional(r, name)
	if err != nil || text == "" {
		return nil, err
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
