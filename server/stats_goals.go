package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// mostEvents is the most custom events that are goals by themselves: those with
// the most visitors. goalsAtOnce is the most goals of one question, which the
// engine bounds by the size of their filters.
const (
	mostEvents  = 100
	goalsAtOnce = 80
)

// A reachedJSON is what came of one goal.
type reachedJSON struct {
	ID         int64       `json:"id,omitempty" doc:"Of a goal that was configured."`
	Name       string      `json:"name"`
	Kind       string      `json:"kind" enum:"page,event,scroll,custom_event" doc:"custom_event: nobody configured it."`
	Visitors   int64       `json:"visitors"`
	Events     int64       `json:"events" doc:"Pageviews and custom events that reached it; of a scroll goal 0."`
	Conversion any         `json:"conversion_rate" doc:"Percent of the visitors of the range that the filters leave."`
	Revenue    *incomeJSON `json:"revenue,omitempty"`
}

// A incomeJSON is a sum of one currency.
type incomeJSON struct {
	Currency string `json:"currency"`
	Total    any    `json:"total"`
	Average  any    `json:"average_order_value"`
}

// statsGoals answers with every goal of the site and every custom event that no
// goal is about.
func (s *Server) statsGoals(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment")
	if err != nil {
		return err
	}
	// Goals of the filters are who is asked about here, not what is asked.
	q.Filter, q.Goals = q.whole(), nil
	goals, err := s.o.Goals.Goals(r.Context(), q.Site)
	if err != nil {
		return err
	}
	rows := make([]reachedJSON, 0, len(goals))
	for _, g := range goals {
		rows = append(rows, reachedJSON{ID: g.ID, Name: g.Name, Kind: g.Kind, Conversion: 0.0})
		q.Goals = append(q.Goals, g.Goal())
	}
	names, err := s.customEvents(r, q, goals)
	if err != nil {
		return err
	}
	for _, name := range names {
		rows = append(rows, reachedJSON{Name: name, Kind: "custom_event", Conversion: 0.0})
		q.Goals = append(q.Goals, event.Goal{Name: name, Filter: is("name", name)})
	}
	if len(q.Goals) > 0 {
		if err := s.reached(r, q, rows); err != nil {
			return err
		}
	}
	return s.answer(w, q, rows)
}

// customEvents returns the names of the custom events that no goal counts by
// themselves, those with the most visitors first.
func (s *Server) customEvents(r *http.Request, q *question, goals []ledger.Goal) ([]string, error) {
	taken := []string{event.Pageview, event.Engagement}
	for _, g := range goals {
		if g.Kind == ledger.EventGoal && len(g.Props) == 0 {
			taken = append(taken, g.Event)
		}
		taken = append(taken, g.Name) // two rows of one name could not be told apart
	}
	a, err := s.query(r.Context(), q, func(q *event.Query) {
		q.Goals, q.Metrics, q.Dimensions, q.Limit = nil, []event.Metric{event.Visitors}, []event.Dimension{"name"}, mostEvents
		q.Filter = event.Every(q.Filter, event.Without(is("name", taken...)))
	})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(a.Lines))
	for i, l := range a.Lines {
		names[i] = l.Values[0].Text
	}
	return names, nil
}

// reached fills in the figures of the goals of a question: one row for each, in
// the same order.
func (s *Server) reached(r *http.Request, q *question, rows []reachedJSON) error {
	at := 0
	for some := range slices.Chunk(q.Goals, goalsAtOnce) {
		part := *q
		part.Goals = some
		err := s.reachedAtOnce(r, &part, rows[at:at+len(some)])
		q.plans, q.report = part.plans, part.report
		if err != nil {
			return err
		}
		at += len(some)
	}
	return nil
}

func (s *Server) reachedAtOnce(r *http.Request, q *question, rows []reachedJSON) error {
	metrics := []event.Metric{event.Visitors, event.Events, event.ConversionRate}
	a, err := s.query(r.Context(), q, func(q *event.Query) {
		q.Dimensions, q.Metrics = []event.Dimension{event.GoalName}, metrics
	})
	if err != nil {
		return err
	}
	for _, l := range a.Lines {
		i := slices.IndexFunc(rows, func(g reachedJSON) bool { return g.Name == l.Values[0].Text })
		if i < 0 {
			continue
		}
		rows[i].Visitors, rows[i].Events, rows[i].Conversion = l.Figures[0].Int, l.Figures[1].Int, valueOf(event.ConversionRate, l.Figures[2])
	}
	return s.earned(r, q, rows)
}

// earned adds the revenue of the goals that have a currency, one question for
// each currency.
func (s *Server) earned(r *http.Request, q *question, rows []reachedJSON) error {
	byCurrency := map[string][]event.Goal{}
	for i, g := range q.Goals {
		if g.Currency != "" {
			byCurrency[g.Currency] = append(byCurrency[g.Currency], g)
			rows[i].Revenue = &incomeJSON{Currency: g.Currency}
		}
	}
	for currency, goals := range byCurrency {
		a, err := s.query(r.Context(), q, func(q *event.Query) {
			q.Dimensions, q.Goals, q.Currency = []event.Dimension{event.GoalName}, goals, currency
			q.Metrics = []event.Metric{event.TotalRevenue, event.AverageRevenue}
		})
		if err != nil {
			return err
		}
		for _, l := range a.Lines {
			i := slices.IndexFunc(rows, func(g reachedJSON) bool { return g.Name == l.Values[0].Text })
			if i >= 0 && rows[i].Revenue != nil {
				rows[i].Revenue.Total, rows[i].Revenue.Average = valueOf(event.TotalRevenue, l.Figures[0]), valueOf(event.AverageRevenue, l.Figures[1])
			}
		}
	}
	return nil
}

// breakdownGoals answers a breakdown by the goals of the site.
func (s *Server) breakdownGoals(w http.ResponseWriter, r *http.Request, q *question) error {
	for _, name := range []string{"search"} {
		if text, err := optional(r, name); err != nil || text != "" {
			return refuse(http.StatusBadRequest, "parameter", "%s cannot be used with goals", name)
		}
	}
	goals, err := s.o.Goals.Goals(r.Context(), q.Site)
	if err != nil {
		return err
	}
	q.Filter, q.Goals = q.whole(), nil
	for _, g := range goals {
		q.Goals = append(q.Goals, g.Goal())
	}
	q.Dimensions = []event.Dimension{event.GoalName}
	if len(q.Goals) > 0 {
		if err := s.metered(r, q, []event.Metric{event.Visitors, event.Events, event.ConversionRate}); err != nil {
			return err
		}
		return s.breakdown(w, r, q)
	}
	if err := pageOf(r, q, defaultRows, maxRows); err != nil {
		return err
	}
	q.report.Rows = new(int64)
	return s.answer(w, q, []objectJSON{})
}

// currency returns the currency of a site, for figures of money.
func (s *Server) currency(r *http.Request, site string) (string, error) {
	settings, err := s.o.Settings.SiteSettings(r.Context(), site)
	if err != nil {
		return "", err
	}
	if c := strings.TrimSpace(settings.Currency); c != "" {
		return c, nil
	}
	return "", refuse(http.StatusUnprocessableEntity, "bad_query", "revenue is told in one currency: give currency=EUR, or set one for the site")
}
