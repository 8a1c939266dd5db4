package server

import (
	"net/http"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

type linkJSON struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Link     string `json:"link,omitempty" doc:"Its address. Left out if EIDER_SECRET was another one when it was made; it works all the same."`
	Password bool   `json:"password" doc:"It asks for one."`
	Segment  int64  `json:"segment,omitempty" doc:"Id of the segment beyond which it shows nothing."`
	Embed    bool   `json:"embed" doc:"Pages of others may show it in a frame, with embed=true in its address."`
	Badge    bool   `json:"badge"`
	BadgeURL string `json:"badge_url,omitempty" doc:"Of the picture, if there is a badge."`
	Created  string `json:"created"`
	Changed  string `json:"changed"`
	Expires  string `json:"expires,omitempty" doc:"Left out: never."`
}

type linksJSON struct {
	Site  string     `json:"site_id"`
	Links []linkJSON `json:"links"`
}

func (s *Server) linkOf(r *http.Request, k door.Shared) linkJSON {
	out := linkJSON{
		ID: k.ID, Name: k.Name, Password: k.Password != "", Segment: k.Segment, Embed: k.Embeds, Badge: k.Badges,
		Created: stamp(k.Created), Changed: stamp(k.Changed), Expires: stamp(k.Expires),
	}
	if k.Slug == "" {
		return out
	}
	out.Link = s.root(r) + "/share/" + k.Slug
	if k.Badges {
		out.BadgeURL = s.root(r) + "/badge/" + door.BadgeOf(k.Slug) + badgeSuffix
	}
	return out
}

func (s *Server) listLinks(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	links, err := s.o.Door.Links(r.Context(), site)
	if err != nil {
		return err
	}
	list := make([]linkJSON, len(links))
	for i, k := range links {
		list[i] = s.linkOf(r, k)
	}
	writeJSON(w, http.StatusOK, linksJSON{site, list})
	return nil
}

type newLink struct {
	Name     string    `json:"name" api:"required"`
	Password string    `json:"password" doc:"Left out: none."`
	Segment  int64     `json:"segment" doc:"Id of a segment of the site. Left out: it shows everything."`
	Embed    bool      `json:"embed"`
	Badge    bool      `json:"badge"`
	Expires  time.Time `json:"expires" doc:"Left out: never."`
}

func (s *Server) createLink(w http.ResponseWriter, r *http.Request) error {
	site, err := s.siteAsked(r)
	if err != nil {
		return err
	}
	var ask newLink
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	expires, err := s.expiry(ask.Expires)
	if err != nil {
		return err
	}
	made, err := s.o.Door.AddLink(r.Context(), ledger.Link{
		Site: site, Name: ask.Name, Segment: ask.Segment, Embeds: ask.Embed, Badges: ask.Badge, Created: s.now().UnixMicro(), Expires: expires,
	}, ask.Password)
	if err != nil {
		return told(taken(err, "shared link"))
	}
	writeJSON(w, http.StatusCreated, s.linkOf(r, made))
	return nil
}

// expiry returns in µs when something is to expire; the zero time is never.
func (s *Server) expiry(at time.Time) (int64, error) {
	switch {
	case at.IsZero():
		return 0, nil
	case !at.After(s.now()):
		return 0, refuse(http.StatusUnprocessableEntity, "invalid", "expires is in the past")
	}
	return at.UnixMicro(), nil
}

// linkChange is what is to be another way about a link.
type linkChange struct {
	Name     *string `json:"name"`
	Password *string `json:"password" doc:"The empty text takes it away."`
	Segment  *int64  `json:"segment" doc:"0 takes it away."`
	Embed    *bool   `json:"embed"`
	Badge    *bool   `json:"badge"`
	Expires  *string `json:"expires" doc:"RFC 3339; the empty text is never."`
}

func (s *Server) changeLink(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	var ask linkChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	var expires *int64
	if ask.Expires != nil {
		var at time.Time
		if *ask.Expires != "" {
			if at, err = time.Parse(time.RFC3339Nano, *ask.Expires); err != nil {
				return refuse(http.StatusUnprocessableEntity, "invalid", "expires is a time such as 2026-12-31T00:00:00Z, or empty")
			}
		}
		n, err := s.expiry(at)
		if err != nil {
			return err
		}
		expires = &n
	}
	changed, err := s.o.Door.ChangeLink(r.Context(), site, id, ask.Password, func(k *ledger.Link) error {
		set(&k.Name, ask.Name)
		set(&k.Segment, ask.Segment)
		set(&k.Embeds, ask.Embed)
		set(&k.Badges, ask.Badge)
		set(&k.Expires, expires)
		return nil
	})
	if err != nil {
		return told(taken(err, "shared link"))
	}
	writeJSON(w, http.StatusOK, s.linkOf(r, changed))
	return nil
}

func (s *Server) revokeLink(w http.ResponseWriter, r *http.Request) error {
	site, id, err := s.owned(r)
	if err != nil {
		return err
	}
	if err := s.o.Door.RevokeLink(r.Context(), site, id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
