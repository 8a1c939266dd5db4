package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/eider-analytics/eider/store/ledger"
)

// Segments is where saved filters are kept; durable on return. A segment of
// another site than the one that is named is not there.
type Segments interface {
	Segments(ctx context.Context, site string) ([]ledger.Segment, error)
	AddSegment(ctx context.Context, s ledger.Segment) (ledger.Segment, error)
	ChangeSegment(ctx context.Context, site string, id int64, change func(*ledger.Segment) error) (ledger.Segment, error)
	RemoveSegment(ctx context.Context, site string, id int64) error
}

type segmentJSON struct {
	ID      int64           `json:"id"`
	Name    string          `json:"name"`
	Filters json.RawMessage `json:"filters" doc:"as the Stats API v2 takes them"`
	Created string          `json:"created"`
	Updated string          `json:"updated"`
}

func segmentOf(s ledger.Segment) segmentJSON {
	return segmentJSON{s.ID, s.Name, s.Filters, stamp(s.Created), stamp(s.Updated)}
}

type segmentsJSON struct {
	Site     string        `json:"site_id"`
	Segments []segmentJSON `json:"segments"`
}

func (s *Server) listSegments(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	segments, err := s.o.Segments.Segments(r.Context(), site)
	if err != nil {
		return err
	}
	list := make([]segmentJSON, len(segments))
	for i, v := range segments {
		list[i] = segmentOf(v)
	}
	writeJSON(w, http.StatusOK, segmentsJSON{site, list})
	return nil
}

type newSegment struct {
	Name    string          `json:"name" api:"required"`
	Filters json.RawMessage `json:"filters" api:"required" doc:"as the Stats API v2 takes them, without segments"`
}

func (s *Server) createSegment(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	var ask newSegment
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if err := s.checkFilters(r.Context(), site, ask.Filters); err != nil {
		return err
	}
	now := s.now().UnixMicro()
	segment, err := s.o.Segments.AddSegment(r.Context(), ledger.Segment{Site: site, Name: ask.Name, Filters: ask.Filters, Created: now, Updated: now})
	if err != nil {
		return taken(err, "segment")
	}
	writeJSON(w, http.StatusCreated, segmentOf(segment))
	return nil
}

// checkFilters refuses filters that no question could be asked with: the one who
// saves them is told, not the one who asks.
func (s *Server) checkFilters(ctx context.Context, site string, raw json.RawMessage) error {
	cs, err := parseFilters(raw)
	if err != nil {
		return err
	}
	if len(cs) == 0 {
		return refuse(http.StatusUnprocessableEntity, "invalid", "filters is empty: a segment has at least one")
	}
	words, err := s.vocabulary(ctx, site)
	if err != nil {
		return err
	}
	for _, c := range cs {
		if _, err := c.resolved(words, false); err != nil {
			return err
		}
	}
	_, err = cs.filter(words)
	return err
}

type segmentChange struct {
	Name    *string          `json:"name"`
	Filters *json.RawMessage `json:"filters"`
}

func (s *Server) changeSegment(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	var ask segmentChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Filters != nil {
		if err := s.checkFilters(r.Context(), site, *ask.Filters); err != nil {
			return err
		}
	}
	segment, err := s.o.Segments.ChangeSegment(r.Context(), site, id, func(v *ledger.Segment) error {
		set(&v.Name, ask.Name)
		set(&v.Filters, ask.Filters)
		return nil
	})
	if err != nil {
		return taken(err, "segment")
	}
	writeJSON(w, http.StatusOK, segmentOf(segment))
	return nil
}

func (s *Server) removeSegment(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	if err := s.o.Segments.RemoveSegment(r.Context(), site, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
