package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"

	"github.com/eider-analytics/eider/store/audit"
)

// Bounds of the segments of one site.
const (
	MaxSegments       = 500
	maxSegmentFilters = 16 << 10 // bytes
)

// A Segment is a saved filter.
type Segment struct {
	ID      int64
	Site    string
	Name    string          // no two segments of a site have the same
	Filters json.RawMessage // the array that the Stats API v2 takes as "filters"

	Created, Updated int64 // µs; AddSegment sets them if Created is 0
}

// check puts a segment into its one form, or says which field is wrong. What the
// filters say is for others to check: the ledger keeps them as they are.
func (s *Segment) check() error {
	if err := checkText("name", &s.Name, 255); err != nil {
		return err
	}
	if len(s.Filters) > maxSegmentFilters {
		return wrong("filters", "is too long: %d bytes, at most %d", len(s.Filters), maxSegmentFilters)
	}
	var packed bytes.Buffer
	if err := json.Compact(&packed, s.Filters); err != nil || packed.Len() == 0 || packed.Bytes()[0] != '[' {
		return wrong("filters", `is a JSON array of filters, such as [["is", "visit:country", ["DE"]]]`)
	}
	s.Filters = packed.Bytes()
	return nil
}

const segmentColumns = `id, site, name, filters, created, updated`

// Segments returns the segments of a site, oldest first.
func (l *Ledger) Segments(ctx context.Context, site string) ([]Segment, error) {
	return list(ctx, l, "segments", scanSegment, `SELECT `+segmentColumns+` FROM segments WHERE site = ? ORDER BY id`, site)
}

func scanSegment(row scanner) (s Segment, err error) {
	err = row.Scan(&s.ID, &s.Site, &s.Name, (*[]byte)(&s.Filters), &s.Created, &s.Updated)
	return s, err
}

// AddSegment adds a segment and returns it with its id. One that is wrong is a
// *[event.FieldError], one of a name that the site has is [ErrExists], and a site
// that is not there is [ErrNotFound].
func (l *Ledger) AddSegment(ctx context.Context, s Segment) (Segment, error) {
	if err := s.check(); err != nil {
		return s, about("add segment of", s.Site, err)
	}
	if s.Created == 0 {
		s.Created = l.now()
		s.Updated = s.Created
	}
	e := audit.Entry{Kind: audit.SegmentCreate}
	err := l.act(ctx, &e, func(tx *sql.Tx) (err error) {
		s.ID, err = insert(tx, "segments", MaxSegments, s.Site,
			`INSERT INTO segments (site, name, filters, created, updated) VALUES (?, ?, ?, ?, ?)`,
			s.Site, s.Name, string(s.Filters), s.Created, s.Updated)
		e.Object = owned("segment", s.ID)
		e.Detail, e.Private = tell(s.Site, s.fields())
		return err
	})
	return s, about("add segment of", s.Site, err)
}

// ChangeSegment makes fn's change to a segment, in one transaction, and returns
// what it has become. Its errors are those of AddSegment and fn; a segment that is
// not there, or of another site, is [ErrNotFound].
func (l *Ledger) ChangeSegment(ctx context.Context, site string, id int64, fn func(*Segment) error) (s Segment, err error) {
	e := audit.Entry{Kind: audit.SegmentChange, Object: owned("segment", id)}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		if s, err = scanSegment(tx.QueryRow(`SELECT `+segmentColumns+` FROM segments WHERE id = ? AND site = ?`, id, site)); err != nil {
			return missing(err)
		}
		was := s
		if err := fn(&s); err != nil {
			return err
		}
		s.ID, s.Site, s.Created, s.Updated = was.ID, was.Site, was.Created, l.now()
		if err := s.check(); err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), s.fields())
		e.Detail["site"] = s.Site
		_, err := tx.Exec(`UPDATE segments SET name = ?, filters = ?, updated = ? WHERE id = ?`, s.Name, string(s.Filters), s.Updated, id)
		return err
	})
	return s, about("change segment of", site, err)
}

// RemoveSegment removes a segment. One that is not there, or of another site, is
// [ErrNotFound]; one that a shared link is locked to is [ErrInUse].
func (l *Ledger) RemoveSegment(ctx context.Context, site string, id int64) error {
	return l.remove(ctx, audit.SegmentRemove, "segment", site, id, func(tx *sql.Tx) error {
		var links int
		if err := tx.QueryRow(`SELECT count(*) FROM links WHERE segment = ? AND site = ?`, id, site).Scan(&links); err != nil {
			return err
		}
		if links > 0 {
			return ErrInUse
		}
		return nil
	})
}
