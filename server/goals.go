package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/eider-analytics/eider/store/ledger"
)

// Goals is where the goals of sites are kept; durable on return. A goal of another
// site than the one that is named is not there.
type Goals interface {
	Goals(ctx context.Context, site string) ([]ledger.Goal, error)
	AddGoal(ctx context.Context, g ledger.Goal) (ledger.Goal, error)
	ChangeGoal(ctx context.Context, site string, id int64, change func(*ledger.Goal) error) (ledger.Goal, error)
	RemoveGoal(ctx context.Context, site string, id int64) error
}

type goalJSON struct {
	ID       int64             `json:"id"`
	Name     string            `json:"name"`
	Kind     string            `json:"kind" enum:"page,event,scroll"`
	Path     string            `json:"path,omitempty" doc:"pattern in which * stands for any text without /, and ** for any text"`
	Event    string            `json:"event,omitempty" doc:"name of the event"`
	Props    map[string]string `json:"props,omitempty" doc:"properties that the event must have, with these values"`
	Scroll   int               `json:"scroll,omitempty" doc:"percent of the page"`
	Currency string            `json:"currency,omitempty" doc:"ISO 4217, of the event's revenue"`
	Created  string            `json:"created"`
}

func goalOf(g ledger.Goal) goalJSON {
	return goalJSON{g.ID, g.Name, g.Kind, g.Path, g.Event, g.Props, g.Scroll, g.Currency, stamp(g.Created)}
}

type goalsJSON struct {
	Site  string     `json:"site_id"`
	Goals []goalJSON `json:"goals"`
}

// siteAsked returns the site that a request about what belongs to one names in
// site_id. A key of another site is refused before it is said whether there is one.
func (s *Server) siteAsked(r *http.Request) (string, error) {
	id, err := param(r, "site_id", "")
	if err != nil {
		return "", err
	}
	return id, s.ownSite(r, id)
}

// ownSite refuses a site that the key is not for, or that is not there.
func (s *Server) ownSite(r *http.Request, id string) error {
	if err := forSite(r, id); err != nil {
		return err
	}
	_, _, err := s.site(r.Context(), id)
	return err
}

// owned returns the site and the id of the thing that a request names.
func (s *Server) owned(r *http.Request) (site string, id int64, err error) {
	if site, err = s.siteAsked(r); err != nil {
		return "", 0, err
	}
	if id, err = strconv.ParseInt(r.PathValue("id"), 10, 64); err != nil {
		return "", 0, ledger.ErrNotFound
	}
	return site, id, nil
}

func (s *Server) listGoals(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	goals, err := s.o.Goals.Goals(r.Context(), site)
	if err != nil {
		return err
	}
	list := make([]goalJSON, len(goals))
	for i, g := range goals {
		list[i] = goalOf(g)
	}
	writeJSON(w, http.StatusOK, goalsJSON{site, list})
	return nil
}

type newGoal struct {
	Name     string            `json:"name" doc:"left out: Visit /path, the event's name, or Scroll 90% on /path"`
	Kind     string            `json:"kind" enum:"page,event,scroll" api:"required"`
	Path     string            `json:"path" doc:"of page and scroll: a pattern in which * stands for any text without /, and ** for any text"`
	Event    string            `json:"event" doc:"of event: its name"`
	Props    map[string]string `json:"props" doc:"of event: up to 3 properties that it must have, with these values"`
	Scroll   int               `json:"scroll" doc:"of scroll: 1 to 100 percent of the page"`
	Currency string            `json:"currency" doc:"of event: ISO 4217, of its revenue"`
}

func (s *Server) createGoal(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	var ask newGoal
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	goal, err := s.o.Goals.AddGoal(r.Context(), ledger.Goal{
		Site: site, Name: ask.Name, Kind: ask.Kind, Path: ask.Path, Event: ask.Event, Props: ask.Props, Scroll: ask.Scroll, Currency: ask.Currency,
		Created: s.now().UnixMicro(),
	})
	if err != nil {
		return taken(err, "goal")
	}
	writeJSON(w, http.StatusCreated, goalOf(goal))
	return nil
}

// goalChange is what is to be another way about a goal. Its kind stays.
type goalChange struct {
	Name     *string            `json:"name"`
	Path     *string            `json:"path"`
	Event    *string            `json:"event"`
	Props    *map[string]string `json:"props" doc:"all of them"`
	Scroll   *int               `json:"scroll"`
	Currency *string            `json:"currency"`
}

func (s *Server) changeGoal(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	var ask goalChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	goal, err := s.o.Goals.ChangeGoal(r.Context(), site, id, func(g *ledger.Goal) error {
		set(&g.Name, ask.Name)
		set(&g.Path, ask.Path)
		set(&g.Event, ask.Event)
		set(&g.Props, ask.Props)
		set(&g.Scroll, ask.Scroll)
		set(&g.Currency, ask.Currency)
		return nil
	})
	if err != nil {
		return taken(err, "goal")
	}
	writeJSON(w, http.StatusOK, goalOf(goal))
	return nil
}

// taken says that it is the name of a thing that another has.
func taken(err error, thing string) error {
	if errors.Is(err, ledger.ErrExists) {
		return refuse(http.StatusConflict, "exists", "the site has a %s of that name; choose another name", thing)
	}
	return err
}

// set changes what a request says is to be changed.
func set[T any](what *T, to *T) {
	if to != nil {
		*what = *to
	}
}

func (s *Server) removeGoal(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	if err := s.o.Goals.RemoveGoal(r.Context(), site, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
