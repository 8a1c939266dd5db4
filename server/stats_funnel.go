package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/eider-analytics/eider/store/event"
)

// funnelParams are what a funnel is asked with, beside its steps.
var funnelParams = []string{"filters", "segment", "steps", "window", "modes", "by", "any", "over", "unit", "limit"}

// usualFunnelWindow is how long a chain may take.
const usualFunnelWindow = "1 day"

// A funnelRequest is the body of a funnel whose steps are filters. Its fields are
// the parameters of the GET, but for filters and steps, which may hold JSON.
type funnelRequest struct {
	Site    string            `json:"site_id" api:"required"`
	Period  string            `json:"period"`
	Start   string            `json:"start_date"`
	End     string            `json:"end_date"`
	Filters json.RawMessage   `json:"filters" doc:"As of POST /api/v2/query; or a text in the short form."`
	Segment int64             `json:"segment"`
	Steps   []json.RawMessage `json:"steps" api:"required" doc:"Each a text as in the GET, or an object with filters and, if you like, a name."`
	Window  string            `json:"window" doc:"Such as 1 day."`
	Modes   []string          `json:"modes"`
	By      string            `json:"by"`
	Any     bool              `json:"any"`
	Over    string            `json:"over"`
	Unit    string            `json:"unit"`
	Limit   int64             `json:"limit"`
}

// A stepRequest is a step that is more than a text.
type stepRequest struct {
	Name    string          `json:"name"`
	Filters json.RawMessage `json:"filters" api:"required"`
}

// funnelJSON is the report of a funnel.
type funnelJSON struct {
	Steps    []objectJSON        `json:"steps"`
	Segments []funnelSegmentJSON `json:"segments,omitempty"`
	Count    int                 `json:"total_segments,omitempty"`
	Points   []objectJSON        `json:"points,omitempty"`
}

type funnelSegmentJSON struct {
	Value *string      `json:"value"`
	Steps []objectJSON `json:"steps"`
}

// A spellJSON is how long something took, in seconds.
type spellJSON struct {
	Mean     float64  `json:"mean"`
	Median   *float64 `json:"median,omitempty" doc:"Within 1 %; left out of segments and points."`
	P90      *float64 `json:"p90,omitempty" doc:"Likewise."`
	Shortest float64  `json:"shortest"`
	Longest  float64  `json:"longest"`
}

func (s *Server) statsFunnel(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, funnelParams...)
	if err != nil {
		return err
	}
	steps, err := s.steps(r, q.Site, 2)
	if err != nil {
		return err
	}
	return s.funnel(w, r, q, steps)
}

// postFunnel is the same funnel with steps of any filter.
func (s *Server) postFunnel(w http.ResponseWriter, r *http.Request) error {
	var ask funnelRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if len(r.URL.RawQuery) > 0 {
		return refuse(http.StatusBadRequest, "parameter", "everything is in the body; leave the parameters out")
	}
	r = r.Clone(r.Context())
	r.URL.RawQuery = ask.values().Encode()
	q, err := s.ask(r, funnelParams...)
	if err != nil {
		return err
	}
	if len(ask.Steps) < 1 || len(ask.Steps) > event.MaxSteps {
		return badStep("there are %d, it takes 1 to %d", len(ask.Steps), event.MaxSteps)
	}
	steps := make([]event.Step, len(ask.Steps))
	for i, raw := range ask.Steps {
		if steps[i], err = s.anyStep(r, q.Site, raw, i); err != nil {
			return err
		}
	}
	return s.funnel(w, r, q, steps)
}

// values writes the body's fields as parameters.
func (ask *funnelRequest) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("site_id", ask.Site)
	set("period", ask.Period)
	set("start_date", ask.Start)
	set("end_date", ask.End)
	set("window", ask.Window)
	set("by", ask.By)
	set("over", ask.Over)
	set("unit", ask.Unit)
	filters := string(ask.Filters)
	var short string
	if json.Unmarshal(ask.Filters, &short) == nil {
		filters = short
	}
	set("filters", filters)
	for name, n := range map[string]int64{"segment": ask.Segment, "limit": ask.Limit} {
		if n != 0 {
			set(name, strconv.FormatInt(n, 10))
		}
	}
	if ask.Any {
		set("any", "true")
	}
	for i, mode := range ask.Modes {
		if i > 0 {
			mode = v.Get("modes") + "," + mode
		}
		set("modes", mode)
	}
	return v
}

// anyStep reads a step of the body.
func (s *Server) anyStep(r *http.Request, site string, raw json.RawMessage, i int) (event.Step, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return s.step(r, site, text)
	}
	var ask stepRequest
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	if err := in.Decode(&ask); err != nil || len(ask.Filters) == 0 {
		return event.Step{}, badStep("number %d is neither a text such as page:/x nor an object with filters and a name", i+1)
	}
	if ask.Name == "" {
		ask.Name = "step " + strconv.Itoa(i+1)
	}
	f, err := s.filterJSON(r, site, ask.Filters)
	return event.Step{Name: ask.Name, Filter: f}, err
}

// funnel asks a funnel with everything that both ways of asking share.
func (s *Server) funnel(w http.ResponseWriter, r *http.Request, q *question, steps []event.Step) error {
	ask, err := s.funnelOf(r, q, steps)
	if err != nil {
		return err
	}
	a, err := s.o.Reports.Funnel(r.Context(), ask)
	if err != nil {
		return err
	}
	q.about(a.About)
	unit := counted(a.Unit)
	out := funnelJSON{Steps: stepRows(unit, a.Steps, true), Count: a.Count}
	for _, seg := range a.Segments {
		out.Segments = append(out.Segments, funnelSegmentJSON{textOrNil(seg.Value), stepRows(unit, seg.Steps, false)})
	}
	for _, p := range a.Points {
		if p.Time > q.now.UnixMicro() {
			break // it has not begun
		}
		row := q.moment(p.Time, q.intervalEnd(p.Time))
		out.Points = append(out.Points, append(row, field{"steps", stepRows(unit, p.Steps, false)}))
	}
	return s.answer(w, q, out)
}

func (s *Server) funnelOf(r *http.Request, q *question, steps []event.Step) (ask event.Funnel, err error) {
	ask.Steps = steps
	if ask.Scope, err = q.scope(r, "unit"); err != nil {
		return ask, err
	}
	window, err := param(r, "window", usualFunnelWindow)
	if err != nil {
		return ask, err
	}
	if ask.Window, err = parseWindow(window); err != nil {
		return ask, err
	}
	modes, err := splitList(r, "modes")
	if err != nil {
		return ask, err
	}
	for _, m := range modes {
		ask.Modes = append(ask.Modes, event.Mode(m))
	}
	if err := s.funnelSplit(r, q, &ask); err != nil {
		return ask, err
	}
	return ask, ask.Check()
}

// funnelSplit reads by what a funnel is split.
func (s *Server) funnelSplit(r *http.Request, q *question, ask *event.Funnel) error {
	by, err := optional(r, "by")
	if err != nil {
		return err
	}
	if by != "" {
		if ask.By, err = dimensionOf(by); err != nil {
			return err
		}
		q.report.Dim = by
		limit, err := number(r, "limit", defaultRows, 1, event.MaxSegments)
		if err != nil {
			return err
		}
		ask.Limit, q.report.Limit = int(limit), int(limit)
	}
	any, err := choice(r, "any", "false", "true")
	if err != nil {
		return err
	}
	ask.Any = any == "true"
	if ask.Over, err = choice(r, "over", "", event.Hourly, event.Daily, event.Weekly, event.Monthly); err != nil || ask.Over == "" {
		return err
	}
	if i := intervals[ask.Over]; i.maxDays > 0 && (q.span.all() || q.span.days() > i.maxDays) {
		return refuse(http.StatusBadRequest, "interval", "over=%s takes a range of at most %d days", ask.Over, i.maxDays)
	}
	q.report.Interval = ask.Over
	return s.bound(r.Context(), q)
}

// stepRows tells how far a funnel got. The middle of how long it took is known of
// the whole funnel only.
func stepRows(unit string, steps []event.FunnelStep, whole bool) []objectJSON {
	rows := make([]objectJSON, len(steps))
	for i, st := range steps {
		rows[i] = objectJSON{
			{"step", i + 1}, {"name", st.Name}, {unit, st.Reached}, {"conversion_rate", finite(st.Rate)},
			{"kept_rate", finite(st.Kept)}, {"dropped_off", st.Dropped}, {"took", spellOf(st, i, whole)},
		}
	}
	return rows
}

// spellOf returns nil where nobody took any time.
func spellOf(st event.FunnelStep, i int, whole bool) *spellJSON {
	if i == 0 || st.Reached == 0 {
		return nil
	}
	t := st.Took
	out := &spellJSON{Mean: t.Mean.Seconds(), Shortest: t.Shortest.Seconds(), Longest: t.Longest.Seconds()}
	if whole {
		median, p90 := t.Median.Seconds(), t.P90.Seconds()
		out.Median, out.P90 = &median, &p90
	}
	return out
}
