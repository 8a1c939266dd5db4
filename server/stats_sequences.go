package server

import (
	"net/http"

	"github.com/eider-analytics/eider/store/event"
)

// statsSequences answers how many do things in the order of a pattern.
func (s *Server) statsSequences(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "steps", "pattern", "every", "unit")
	if err != nil {
		return err
	}
	ask := event.Sequence{}
	if ask.Steps, err = s.steps(r, q.Site, 1); err != nil {
		return err
	}
	if ask.Pattern, err = optional(r, "pattern"); err != nil {
		return err
	}
	if ask.Pattern == "" && len(ask.Steps) < 2 {
		return badStep("there is 1, without a pattern it takes 2 to %d", event.MaxSteps)
	}
	every, err := choice(r, "every", "false", "true")
	if err != nil {
		return err
	}
	ask.Every = every == "true"
	if ask.Scope, err = q.scope(r, "unit"); err != nil {
		return err
	}
	if err := ask.Check(); err != nil {
		return err
	}
	a, err := s.o.Reports.Sequence(r.Context(), ask)
	if err != nil {
		return err
	}
	q.about(a.About)
	unit := counted(a.Unit)
	return s.answer(w, q, objectJSON{
		{"converting_" + unit, a.Matched}, {"total_" + unit, a.Units}, {"conversion_rate", finite(a.Rate)},
		{"total_matches", a.Matches}, {"pattern", a.Pattern},
	})
}
