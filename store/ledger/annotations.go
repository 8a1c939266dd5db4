package ledger

import (
	"context"
	"database/sql"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// Bounds of the annotations of one site.
const (
	MaxAnnotations    = 2000
	maxAnnotationText = 500 // bytes
)

// An Annotation is a note at a day or a moment, to be shown with the reports.
type Annotation struct {
	ID      int64
	Site    string
	Day     string // YYYY-MM-DD by the clock of the site, whichever that is; "" if it is a moment
	Time    int64  // µs; 0 if it is a day
	Text    string
	Created int64 // µs; AddAnnotation sets it if it is 0
}

func (a *Annotation) check() error {
	if (a.Day == "") == (a.Time == 0) {
		return wrong("date", "is missing, or there is a time too; give one of the two")
	}
	if a.Day != "" {
		if _, err := time.Parse(time.DateOnly, a.Day); err != nil {
			return wrong("date", "is a day such as 2026-01-31")
		}
	}
	return checkText("text", &a.Text, maxAnnotationText)
}

// Annotations returns the annotations of a site, oldest first.
func (l *Ledger) Annotations(ctx context.Context, site string) ([]Annotation, error) {
	return list(ctx, l, "annotations", scanAnnotation, `SELECT id, site, day, time, text, created FROM annotations WHERE site = ? ORDER BY id`, site)
}

func scanAnnotation(row scanner) (a Annotation, err error) {
	err = row.Scan(&a.ID, &a.Site, &a.Day, &a.Time, &a.Text, &a.Created)
	return a, err
}

// AddAnnotation adds an annotation and returns it with its id. One that is wrong
// is a *[event.FieldError], and a site that is not there is [ErrNotFound].
func (l *Ledger) AddAnnotation(ctx context.Context, a Annotation) (Annotation, error) {
	if err := a.check(); err != nil {
		return a, about("add annotation of", a.Site, err)
	}
	if a.Created == 0 {
		a.Created = l.now()
	}
	e := audit.Entry{Kind: audit.AnnotationCreate}
	err := l.act(ctx, &e, func(tx *sql.Tx) (err error) {
		a.ID, err = insert(tx, "annotations", MaxAnnotations, a.Site,
			`INSERT INTO annotations (site, day, time, text, created) VALUES (?, ?, ?, ?, ?)`,
			a.Site, a.Day, a.Time, a.Text, a.Created)
		e.Object = owned("annotation", a.ID)
		e.Detail, e.Private = tell(a.Site, a.fields())
		return err
	})
	return a, about("add annotation of", a.Site, err)
}

// ChangeAnnotation makes fn's change to an annotation, in one transaction, and
// returns what it has become. Its errors are those of AddAnnotation and fn; one
// that is not there, or of another site, is [ErrNotFound].
func (l *Ledger) ChangeAnnotation(ctx context.Context, site string, id int64, fn func(*Annotation) error) (a Annotation, err error) {
	e := audit.Entry{Kind: audit.AnnotationChange, Object: owned("annotation", id)}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		row := tx.QueryRow(`SELECT id, site, day, time, text, created FROM annotations WHERE id = ? AND site = ?`, id, site)
		if a, err = scanAnnotation(row); err != nil {
			return missing(err)
		}
		was := a
		if err := fn(&a); err != nil {
			return err
		}
		a.ID, a.Site, a.Created = was.ID, was.Site, was.Created
		if err := a.check(); err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), a.fields())
		e.Detail["site"] = a.Site
		_, err := tx.Exec(`UPDATE annotations SET day = ?, time = ?, text = ? WHERE id = ?`, a.Day, a.Time, a.Text, id)
		return err
	})
	return a, about("change annotation of", site, err)
}

// RemoveAnnotation removes an annotation. One that is not there, or of another
// site, is [ErrNotFound].
func (l *Ledger) RemoveAnnotation(ctx context.Context, site string, id int64) error {
	return l.remove(ctx, audit.AnnotationRemove, "annotation", site, id)
}
