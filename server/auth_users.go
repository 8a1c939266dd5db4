package server

import (
	"net/http"

	"github.com/eider-analytics/eider/store/ledger"
)

type usersJSON struct {
	Users []userJSON `json:"users"`
}

func (s *Server) listUsers(w http.ResponseWriter, r *http.Request) error {
	users, err := s.o.Door.Users(r.Context())
	if err != nil {
		return err
	}
	out := usersJSON{make([]userJSON, len(users))}
	for i, u := range users {
		out.Users[i] = userOf(u)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

type newUser struct {
	Name     string `json:"name" api:"required"`
	Role     string `json:"role" api:"required" enum:"admin,viewer"`
	Password string `json:"password" doc:"Left out, the user sets it by a link."`
}

type invitedJSON struct {
	User userJSON `json:"user"`
	Link string   `json:"link,omitempty" doc:"Where the user sets a password, good for a week and once. Shown this once."`
}

func checkRole(role string) error {
	if role != ledger.RoleAdmin && role != ledger.RoleViewer {
		return refuse(http.StatusUnprocessableEntity, "invalid", "role is admin or viewer")
	}
	return nil
}

func (s *Server) createUser(w http.ResponseWriter, r *http.Request) error {
	var ask newUser
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if err := checkRole(ask.Role); err != nil {
		return err
	}
	if ask.Password != "" {
		u, err := s.o.Door.Create(r.Context(), ask.Name, ask.Role, ask.Password)
		if err != nil {
			return told(err)
		}
		writeJSON(w, http.StatusCreated, invitedJSON{User: userOf(u)})
		return nil
	}
	u, token, err := s.o.Door.CreateInvited(r.Context(), ask.Name, ask.Role)
	if err != nil {
		return told(err)
	}
	writeJSON(w, http.StatusCreated, invitedJSON{userOf(u), s.link(r, token)})
	return nil
}

// link is where an invitation is taken up. The token is in the fragment, which gets
// into no proxy's log.
func (s *Server) link(r *http.Request, token string) string {
	return s.root(r) + "/invite#" + token
}

// root is where browsers reach us.
func (s *Server) root(r *http.Request) string {
	if s.o.Origin != "" {
		return s.o.Origin
	}
	scheme := "http"
	if r.TLS != nil || s.o.Secure {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

type userChange struct {
	Name     string `json:"name"`
	Role     string `json:"role" enum:"admin,viewer"`
	Password string `json:"password" doc:"Sets it, and ends all sessions."`
	Factors  bool   `json:"remove_factors" doc:"With a password: removes the second factor and the passkeys too."`
	Invite   bool   `json:"invite" doc:"Makes a link with which the user sets a password, in place of an older one."`
}

func (s *Server) changeUser(w http.ResponseWriter, r *http.Request) error {
	var ask userChange
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Role != "" {
		if err := checkRole(ask.Role); err != nil {
			return err
		}
	}
	ctx, id := r.Context(), r.PathValue("id")
	u, err := s.o.Door.User(ctx, id)
	if err == nil && ask.Name+ask.Role != "" {
		u, err = s.o.Door.Change(ctx, id, ask.Name, ask.Role)
	}
	if err == nil && ask.Password != "" {
		err = s.o.Door.SetPassword(ctx, u, ask.Password, ask.Factors)
	}
	if err != nil {
		return told(err)
	}
	out := invitedJSON{}
	if ask.Invite {
		token, err := s.o.Door.Invite(ctx, id)
		if err != nil {
			return told(err)
		}
		out.Link = s.link(r, token)
	}
	if u, err = s.o.Door.User(ctx, id); err != nil {
		return err
	}
	out.User = userOf(u)
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) removeUser(w http.ResponseWriter, r *http.Request) error {
	if err := s.o.Door.Remove(r.Context(), r.PathValue("id")); err != nil {
		return told(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type inviteRequest struct {
	Token    string `json:"token" api:"required"`
	Password string `json:"password" api:"required"`
}

// acceptInvitation is who was invited, setting his password.
func (s *Server) acceptInvitation(w http.ResponseWriter, r *http.Request) error {
	var ask inviteRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	e, err := s.o.Door.Accept(r.Context(), s.clientOf(r), ask.Token, ask.Password)
	return s.entered(w, r, http.StatusCreated, e, err)
}
