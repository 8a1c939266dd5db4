package server

import (
	"context"
	"net/http"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// Annotations is where the notes to the reports are kept; durable on return. A
// note of another site than the one that is named is not there.
type Annotations interface {
	Annotations(ctx context.Context, site string) ([]ledger.Annotation, error)
	AddAnnotation(ctx context.Context, a ledger.Annotation) (ledger.Annotation, error)
	ChangeAnnotation(ctx context.Context, site string, id int64, change func(*ledger.Annotation) error) (ledger.Annotation, error)
	RemoveAnnotation(ctx context.Context, site string, id int64) error
}

type annotationJSON struct {
	ID      int64  `json:"id"`
	Date    string `json:"date,omitempty" doc:"a day of the site, or else time is there"`
	Time    string `json:"time,omitempty"`
	Text    string `json:"text"`
	Created string `json:"created"`
}

func annotationOf(a ledger.Annotation) annotationJSON {
	return annotationJSON{a.ID, a.Day, stamp(a.Time), a.Text, stamp(a.Created)}
}

type annotationsJSON struct {
	Site        string           `json:"site_id"`
	Annotations []annotationJSON `json:"annotations"`
}

func (s *Server) listAnnotations(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	notes, err := s.o.Annotations.Annotations(r.Context(), site)
	if err != nil {
		return err
	}
	list := make([]annotationJSON, len(notes))
	for i, a := range notes {
		list[i] = annotationOf(a)
	}
	writeJSON(w, http.StatusOK, annotationsJSON{site, list})
	return nil
}

// annotationAsk is a new note, or what is to be another way about one.
type annotationAsk struct {
	Date *string    `json:"date" doc:"a day of the site, 2026-01-31; this or time"`
	Time *time.Time `json:"time" doc:"a moment; this or date"`
	Text *string    `json:"text" doc:"up to 500 bytes"`
}

// apply makes a note what is asked. A day takes the place of a moment, and the
// other way round; both are for the ledger to refuse.
func (ask annotationAsk) apply(a *ledger.Annotation) error {
	if ask.Date != nil || ask.Time != nil {
		a.Day, a.Time = "", 0
	}
	set(&a.Day, ask.Date)
	if ask.Time != nil && !ask.Time.IsZero() {
		a.Time = ask.Time.UnixMicro()
	}
	set(&a.Text, ask.Text)
	return nil
}

func (s *Server) createAnnotation(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	var ask annotationAsk
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	note := ledger.Annotation{Site: site, Created: s.now().UnixMicro()}
	if err := ask.apply(&note); err != nil {
		return err
	}
	if note, err = s.o.Annotations.AddAnnotation(r.Context(), note); err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, annotationOf(note))
	return nil
}

func (s *Server) changeAnnotation(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	var ask annotationAsk
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	note, err := s.o.Annotations.ChangeAnnotation(r.Context(), site, id, ask.apply)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, annotationOf(note))
	return nil
}

func (s *Server) removeAnnotation(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	if err := s.o.Annotations.RemoveAnnotation(r.Context(), site, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
