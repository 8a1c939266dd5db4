package server

import (
	"net/http"

	"github.com/eider-analytics/eider/store/event"
)

// flowJSON is the report of journeys.
type flowJSON struct {
	Start []objectJSON   `json:"start"`
	Steps []flowStepJSON `json:"steps"`
}

type flowStepJSON struct {
	Nodes []objectJSON `json:"nodes"`
	Links []objectJSON `json:"links" doc:"from and to are places in the nodes of the step before and of this one."`
}

// statsFlow answers which way visits go from a page, or came to it.
func (s *Server) statsFlow(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "page", "start", "direction", "limit", "steps", "by", "unit", "repeats")
	if err != nil {
		return err
	}
	ask, err := s.flowOf(r, q)
	if err != nil {
		return err
	}
	a, err := s.o.Reports.Flow(r.Context(), ask)
	if err != nil {
		return err
	}
	q.about(a.About)
	q.report.Limit = ask.Top
	unit := counted(a.Unit)
	var total int64
	for _, n := range a.Start {
		total += n.Units
	}
	out := flowJSON{Start: nodeRows(unit, a.Start, total, ask.Backwards), Steps: make([]flowStepJSON, len(a.Steps))}
	for i, st := range a.Steps {
		links := make([]objectJSON, len(st.Links))
		for j, l := range st.Links {
			links[j] = objectJSON{{"from", l.From}, {"to", l.To}, {unit, l.Units}}
		}
		out.Steps[i] = flowStepJSON{nodeRows(unit, st.Nodes, total, ask.Backwards), links}
	}
	return s.answer(w, q, out)
}

// nodeRows tells where journeys are. The share is of all of them.
func nodeRows(unit string, nodes []event.FlowNode, total int64, backwards bool) []objectJSON {
	rows := make([]objectJSON, len(nodes))
	for i, n := range nodes {
		var share any
		if total > 0 {
			share = finite(100 * float64(n.Units) / float64(total))
		}
		rows[i] = objectJSON{{"kind", nodeKind(n.Kind, backwards)}, {"value", orNothing(n.Value)}, {unit, n.Units}, {"share", share}}
	}
	return rows
}

func nodeKind(k event.NodeKind, backwards bool) string {
	switch {
	case k == event.Station:
		return "value"
	case k == event.Others:
		return "others"
	case backwards:
		return "entry"
	}
	return "exit"
}

func (s *Server) flowOf(r *http.Request, q *question) (ask event.Flow, err error) {
	if ask.Start, err = s.flowStart(r, q); err != nil {
		return ask, err
	}
	direction, err := choice(r, "direction", "forward", "backward")
	if err != nil {
		return ask, err
	}
	ask.Backwards = direction == "backward"
	top, err := number(r, "limit", 10, 1, event.MaxTop)
	if err != nil {
		return ask, err
	}
	depth, err := number(r, "steps", 1, 1, event.MaxFlow)
	if err != nil {
		return ask, err
	}
	ask.Top, ask.Depth = int(top), int(depth)
	repeats, err := choice(r, "repeats", "false", "true")
	if err != nil {
		return ask, err
	}
	ask.Repeats = repeats == "true"
	by, err := param(r, "by", "pages")
	if err != nil {
		return ask, err
	}
	if ask.By, err = dimensionOf(by); err != nil {
		return ask, err
	}
	q.report.Dim = by
	if _, prop := ask.By.Prop(); prop || ask.By == "name" {
		ask.Events = event.Without(is("name", event.Engagement)) // pageviews alone would say nothing
	}
	if ask.Scope, err = q.scope(r, "unit"); err != nil {
		return ask, err
	}
	return ask, ask.Check()
}

// flowStart reads where journeys begin: page is a path, start any step, and
// without either it is where visits begin or end.
func (s *Server) flowStart(r *http.Request, q *question) (event.Filter, error) {
	page, err := optional(r, "page")
	if err != nil {
		return event.Filter{}, err
	}
	start, err := optional(r, "start")
	switch {
	case err != nil:
		return event.Filter{}, err
	case page != "" && start != "":
		return event.Filter{}, refuse(http.StatusBadRequest, "parameter", "give page or start, not both")
	case page != "":
		start = "page:" + page
	case start == "":
		return event.Filter{}, nil
	}
	step, err := s.step(r, q.Site, start)
	return step.Filter, err
}
