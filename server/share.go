package server

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

// shareHeader is how the page of a shared link says whose visitor asks: by the slug, and
// after a point the pass of a link with a password. A header and no cookie: browsers keep
// cookies from frames in pages of others, another site's page cannot send it, and it mixes
// with no session.
const shareHeader = "X-Eider-Share"

// showsLink says whether a request shows a shared link, if perhaps not in a way that we
// take.
func showsLink(r *http.Request) bool { return len(r.Header[shareHeader]) > 0 }

// linkShown returns the link that a request shows. An error is as the door says it; with
// [door.ErrLinkPassword] there is the link too.
func (s *Server) linkShown(r *http.Request) (ledger.Link, error) {
	values := r.Header[shareHeader]
	if len(values) != 1 {
		return ledger.Link{}, door.ErrNoLink
	}
	slug, pass, _ := strings.Cut(values[0], ".")
	return s.o.Door.FindLink(r.Context(), slug, pass)
}

// visitorOf is whom a link lets in: nobody who may do anything but ask for reports.
func visitorOf(k ledger.Link) *identity {
	return &identity{link: &k, scopes: []string{"stats"}, site: k.Site}
}

func linkActor(k *ledger.Link) string { return "link:" + strconv.FormatInt(k.ID, 10) }

// authorizeLink lets the visitor of a shared link in where he may.
func (s *Server) authorizeLink(a access, r *http.Request) error {
	k, err := s.linkShown(r)
	if err != nil {
		return told(err)
	}
	callOf(r).who = visitorOf(k)
	if !a.link {
		return refuse(http.StatusForbidden, "link", "a shared link shows reports and nothing else")
	}
	return nil
}

// sharePage is where a shared link leads: the dashboard, which asks for what it shows with
// the link. Only where the link allows it, and the address asks for it, others may show it
// in a frame.
func (s *Server) sharePage(w http.ResponseWriter, r *http.Request) error {
	k, err := s.o.Door.FindLink(r.Context(), r.PathValue("slug"), "")
	status, policy := http.StatusOK, pagePolicy
	switch {
	case errors.Is(err, door.ErrNoLink):
		status = http.StatusNotFound // the page says what to do
	case err != nil && !errors.Is(err, door.ErrLinkPassword):
		return err
	case k.Embeds && r.URL.Query().Get("embed") == "true":
		policy = framedPolicy
		w.Header().Del("X-Frame-Options")
	}
	page, ok := s.assets["index.html"]
	if !ok {
		return refuse(http.StatusNotFound, "not_found", "there is no such page")
	}
	// Not to be kept: a browser would show it in a frame after it must not.
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", page.kind)
	w.WriteHeader(status)
	_, _ = w.Write(page.body)
	return nil
}

type shareJSON struct {
	Locked   bool   `json:"password_required,omitempty" doc:"It shows nothing before; then the rest is left out."`
	Site     string `json:"site_id,omitempty"`
	Timezone string `json:"timezone,omitempty"`
	Segment  string `json:"segment,omitempty" doc:"Name of the segment beyond which nothing is shown."`
	Expires  string `json:"expires,omitempty"`
}

// showShare says what a shared link shows.
func (s *Server) showShare(w http.ResponseWriter, r *http.Request) error {
	k, err := s.linkShown(r)
	if errors.Is(err, door.ErrLinkPassword) {
		writeJSON(w, http.StatusOK, shareJSON{Locked: true})
		return nil
	}
	if err != nil {
		return told(err)
	}
	_, zone, err := s.site(r.Context(), k.Site)
	if err != nil {
		return err
	}
	out := shareJSON{Site: k.Site, Timezone: zone.String(), Expires: stamp(k.Expires)}
	if k.Segment != 0 {
		segments, err := s.o.Segments.Segments(r.Context(), k.Site)
		if err != nil {
			return err
		}
		for _, segment := range segments {
			if segment.ID == k.Segment {
				out.Segment = segment.Name
			}
		}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

type openRequest struct {
	Link     string `json:"link" api:"required" doc:"Its slug: what stands after /share/ in its address."`
	Password string `json:"password" api:"required"`
}

type passJSON struct {
	Pass    string `json:"pass" doc:"To be sent after the slug and a point."`
	Expires string `json:"expires"`
}

// openShare gives who knows the password of a link a pass.
func (s *Server) openShare(w http.ResponseWriter, r *http.Request) error {
	var ask openRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	pass, until, err := s.o.Door.OpenLink(r.Context(), s.clientOf(r), ask.Link, ask.Password)
	if err != nil {
		return told(err)
	}
	writeJSON(w, http.StatusOK, passJSON{pass, stamp(until.UnixMicro())})
	return nil
}
