package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/eider-analytics/eider/store/audit"
)

// MaxLinks is how many shared links a site can have.
const MaxLinks = 100

// ErrInUse is returned for a segment that cannot be removed, because a shared link is
// locked to it: without the segment the link would show everything.
var ErrInUse = errors.New("a shared link is locked to the segment; revoke the link or take the segment from it first")

// A Link lets whoever has it see the reports of a site. What is secret is sealed or
// hashed by whoever gives it to the ledger.
type Link struct {
	ID       int64
	Site     string
	Name     string   // what the operator calls it; no two links of a site have the same
	Hash     [32]byte // of its slug, see [HashKey]
	Badge    [32]byte // likewise, of the token of its badge
	Sealed   []byte   // the slug
	Password string   // PHC string; "" is none
	Segment  int64    // of the site, beyond which nothing is shown; 0 is none
	Embeds   bool     // pages of others may show it in a frame
	Badges   bool     // there is a badge

	// Times in µs. AddLink sets the first two if Created is 0; Expires 0 is never.
	Created, Changed, Expires int64
}

func (k *Link) check() error {
	if k.Expires != 0 && k.Expires <= k.Created {
		return wrong("expires", "is in the past; leave it out for a link that does not expire")
	}
	return checkText("name", &k.Name, 255)
}

// LiveAt says whether a link has not expired at a time in µs.
func (k *Link) LiveAt(at int64) bool { return k.Expires == 0 || at < k.Expires }

func (k *Link) fields() []field {
	password := ""
	if k.Password != "" {
		password = "set"
	}
	return []field{
		{name: "segment", value: number(k.Segment)},
		{name: "embed", value: flag(k.Embeds)},
		{name: "badge", value: flag(k.Badges)},
		{name: "password", value: password},
		{name: "expires", value: moment(k.Expires)},
		{name: "name", value: k.Name, private: true},
	}
}

const linkColumns = `id, site, name, hash, badge_hash, sealed, password, coalesce(segment, 0), embed, badge, created, changed, expires`

func scanLink(row scanner) (k Link, err error) {
	var hash, badge []byte
	err = row.Scan(&k.ID, &k.Site, &k.Name, &hash, &badge, &k.Sealed, &k.Password, &k.Segment, &k.Embeds, &k.Badges, &k.Created, &k.Changed, &k.Expires)
	copy(k.Hash[:], hash)
	copy(k.Badge[:], badge)
	return k, missing(err)
}

// Links returns the shared links of a site, the expired ones too, oldest first.
func (l *Ledger) Links(ctx context.Context, site string) ([]Link, error) {
	return list(ctx, l, "links", scanLink, `SELECT `+linkColumns+` FROM links WHERE site = ? ORDER BY id`, site)
}

// Link returns the shared link of a slug, of which hash is the hash. One that is not
// there is [ErrNotFound]; one that has expired is returned.
func (l *Ledger) Link(ctx context.Context, hash [32]byte) (Link, error) {
	k, err := scanLink(l.read.QueryRowContext(ctx, `SELECT `+linkColumns+` FROM links WHERE hash = ?`, hash[:]))
	return k, about("read", "link", err)
}

// BadgedLink is [Ledger.Link] by the token of the link's badge.
func (l *Ledger) BadgedLink(ctx context.Context, hash [32]byte) (Link, error) {
	k, err := scanLink(l.read.QueryRowContext(ctx, `SELECT `+linkColumns+` FROM links WHERE badge_hash = ?`, hash[:]))
	return k, about("read", "link", err)
}

// AddLink adds a shared link and returns it with its id. One that is wrong is a
// *[event.FieldError], one of a name that the site has is [ErrExists], and a site
// that is not there is [ErrNotFound].
func (l *Ledger) AddLink(ctx context.Context, k Link) (Link, error) {
	if k.Created == 0 {
		k.Created = l.now()
	}
	k.Changed = k.Created
	if err := k.check(); err != nil {
		return k, about("add link of", k.Site, err)
	}
	e := audit.Entry{Kind: audit.LinkCreate}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		segment, err := k.lock(tx)
		if err != nil {
			return err
		}
		k.ID, err = insert(tx, "links", MaxLinks, k.Site, `
			INSERT INTO links (site, name, hash, badge_hash, sealed, password, segment, embed, badge, created, changed, expires)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.Site, k.Name, k.Hash[:], k.Badge[:], k.Sealed, k.Password, segment, k.Embeds, k.Badges, k.Created, k.Changed, k.Expires)
		e.Object = owned("link", k.ID)
		e.Detail, e.Private = tell(k.Site, k.fields())
		return err
	})
	return k, about("add link of", k.Site, err)
}

// lock returns what the table has for the segment of a link. It must be the site's.
func (k *Link) lock(tx *sql.Tx) (segment any, err error) {
	if k.Segment == 0 {
		return nil, nil
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM segments WHERE id = ? AND site = ?`, k.Segment, k.Site).Scan(&n); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, wrong("segment", "is no segment of the site; GET /api/segments lists them")
	}
	return k.Segment, nil
}

// ChangeLink makes fn's change to a shared link, in one transaction, and returns what
// it has become. Its errors are those of AddLink and fn; a link that is not there, or
// of another site, is [ErrNotFound].
func (l *Ledger) ChangeLink(ctx context.Context, site string, id int64, fn func(*Link) error) (k Link, err error) {
	e := audit.Entry{Kind: audit.LinkChange, Object: owned("link", id)}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		if k, err = scanLink(tx.QueryRow(`SELECT `+linkColumns+` FROM links WHERE id = ? AND site = ?`, id, site)); err != nil {
			return err
		}
		was := k
		if err := fn(&k); err != nil {
			return err
		}
		k.ID, k.Site, k.Hash, k.Badge, k.Sealed, k.Created, k.Changed = was.ID, was.Site, was.Hash, was.Badge, was.Sealed, was.Created, l.now()
		if err := k.check(); err != nil {
			return err
		}
		segment, err := k.lock(tx)
		if err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), k.fields())
		e.Detail["site"] = k.Site
		if k.Password != was.Password && k.Password != "" && was.Password != "" {
			e.Detail["password"] = "another one"
		}
		_, err = tx.Exec(`UPDATE links SET name = ?, password = ?, segment = ?, embed = ?, badge = ?, changed = ?, expires = ? WHERE id = ?`,
			k.Name, k.Password, segment, k.Embeds, k.Badges, k.Changed, k.Expires, k.ID)
		return err
	})
	return k, about("change link of", site, err)
}

// RevokeLink removes a shared link: it shows nothing any more. One that is not there,
// or of another site, is [ErrNotFound].
func (l *Ledger) RevokeLink(ctx context.Context, site string, id int64) error {
	return l.remove(ctx, audit.LinkRevoke, "link", site, id)
}

// LinkOpened records that somebody knew the password of a link, and keeps tallies as
// they are now.
func (l *Ledger) LinkOpened(ctx context.Context, tallies []Tally, gone []string, id int64) error {
	e := audit.Entry{Kind: audit.Login, Object: owned("link", id), Detail: details("by", "link")}
	return about("open", e.Object, l.act(ctx, &e, func(tx *sql.Tx) error { return keepTallies(tx, tallies, gone) }))
}
