package server

import (
	"net/http"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// Intervals of a retention, the first included, if they are not given.
const usualPeriods = 4

// A retentionJSON is the report of retention.
type retentionJSON struct {
	Cohorts   []cohortJSON `json:"cohorts"`
	Total     cohortJSON   `json:"total" doc:"All cohorts together. A period has those that are known of it."`
	Interval  string       `json:"interval" enum:"day,week,month"`
	Periods   int          `json:"periods"`
	Supported bool         `json:"identity_supports_cohorts" doc:"Whether the units are the same from one day to the next."`
	Caveat    string       `json:"caveat,omitempty"`
}

// A cohortJSON is those who came for the first time in one interval.
type cohortJSON struct {
	Date     string     `json:"cohort_date,omitempty" doc:"First day of the interval."`
	Size     int64      `json:"cohort_size"`
	Retained []*int64   `json:"retained" doc:"By period, the first included. null: it is not over, or cannot be known."`
	Rates    []*float64 `json:"retention_rates" doc:"Percent of the size; of the total, of those of whom it is known."`
}

// statsRetention answers about who came again. Its period is the range of the
// cohorts; without one it is as many intervals as are looked at.
func (s *Server) statsRetention(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "interval", "weeks", "n", "by", "unit", "start", "return")
	if err != nil {
		return err
	}
	ask, err := s.retentionOf(r, q)
	if err != nil {
		return err
	}
	a, err := s.o.Reports.Retention(r.Context(), ask)
	if err != nil {
		return err
	}
	q.about(a.About)
	out := retentionJSON{
		Cohorts: make([]cohortJSON, len(a.Cohorts)), Total: cohortOf(a.Whole, ""), Interval: ask.Interval,
		Periods: ask.Periods, Supported: a.Unit == event.PerUser, Caveat: a.Caveat,
	}
	for i, c := range a.Cohorts {
		out.Cohorts[i] = cohortOf(c, time.UnixMicro(c.Time).In(q.Zone).Format(time.DateOnly))
	}
	q.report.Interval = ask.Interval
	return s.answer(w, q, out)
}

func cohortOf(c event.Cohort, date string) cohortJSON {
	out := cohortJSON{Date: date, Size: c.Size, Retained: c.Retained, Rates: c.Rates}
	if out.Retained == nil {
		out.Retained = []*int64{}
	}
	if out.Rates == nil {
		out.Rates = []*float64{}
	}
	return out
}

func (s *Server) retentionOf(r *http.Request, q *question) (ask event.Retention, err error) {
	if ask.Interval, err = choice(r, "interval", event.Weekly, event.Daily, event.Monthly); err != nil {
		return ask, err
	}
	if ask.Periods, err = periodsOf(r, ask.Interval); err != nil {
		return ask, err
	}
	if values := r.URL.Query(); !values.Has("period") && !values.Has("start_date") {
		q.over(recent(q.now.In(q.Zone), ask.Interval, ask.Periods))
	}
	for name, into := range map[string]*event.Filter{"start": &ask.Start, "return": &ask.Return} {
		text, err := optional(r, name)
		if err != nil {
			return ask, err
		}
		if text != "" {
			step, err := s.step(r, q.Site, text)
			if err != nil {
				return ask, err
			}
			*into = step.Filter
		}
	}
	if ask.Scope, err = q.scope(r, "by", "unit"); err != nil {
		return ask, err
	}
	return ask, ask.Check()
}

// periodsOf reads how many intervals are looked at: n, or weeks, as the seed
// calls it.
func periodsOf(r *http.Request, interval string) (int, error) {
	name := "n"
	if r.URL.Query().Has("weeks") {
		if name = "weeks"; r.URL.Query().Has("n") || interval != event.Weekly {
			return 0, refuse(http.StatusBadRequest, "parameter", "weeks is n for interval=week; give one of the two")
		}
	}
	n, err := number(r, name, usualPeriods, 2, event.MaxPeriods)
	return int(n), err
}

// recent returns the last n intervals, of which the last is the running one.
func recent(now time.Time, interval string, n int) stretch {
	today := noon(now, 0, 0, 0)
	switch interval {
	case event.Monthly:
		return stretch{span: span{noon(noon(today, 0, 0, 1-today.Day()), 0, 1-n, 0), today}}
	case event.Weekly:
		monday := noon(today, 0, 0, -(int(today.Weekday())+6)%7)
		return stretch{span: span{noon(monday, 0, 0, 7*(1-n)), today}}
	}
	return stretch{span: span{noon(today, 0, 0, 1-n), today}}
}
