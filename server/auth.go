package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

type userJSON struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Role     string `json:"role" enum:"admin,viewer"`
	TOTP     bool   `json:"totp" doc:"There is a second factor."`
	Passkeys int    `json:"passkeys"`
	Recovery int    `json:"recovery_codes" doc:"How many are left."`
	Invited  bool   `json:"invited" doc:"He has no password yet."`
	Created  string `json:"created,omitempty"`
	LastUsed string `json:"last_used,omitempty" doc:"The last log-in."`
}

func userOf(u ledger.User) userJSON {
	return userJSON{
		ID: u.ID, Name: u.Name, Role: u.Role, TOTP: len(u.TOTP) > 0, Passkeys: u.Passkeys, Recovery: u.Recovery,
		Invited: u.Password == "" && u.Passkeys == 0, Created: stamp(u.Created), LastUsed: stamp(u.LastUsed),
	}
}

type enteredJSON struct {
	User    userJSON `json:"user"`
	Expires string   `json:"expires"`
}

type statusJSON struct {
	Setup   bool      `json:"setup_required" doc:"Nobody can administer the server yet."`
	Known   bool      `json:"authenticated"`
	User    *userJSON `json:"user,omitempty" doc:"Whose session it is; a key is nobody's."`
	Scopes  []string  `json:"scopes,omitempty"`
	Expires string    `json:"expires,omitempty" doc:"When the session ends if it is not used."`
}

// authStatus says who asks. A key is looked at before a session, as everywhere.
func (s *Server) authStatus(w http.ResponseWriter, r *http.Request) error {
	done, err := s.administered(r.Context())
	if err != nil {
		return err
	}
	answer := statusJSON{Setup: !done}
	who, _ := s.keys.find(secretOf(r))
	if secretOf(r) == "" {
		if who, err = s.visitor(r); err != nil {
			return err
		}
	}
	if who != nil {
		answer.Known, answer.Scopes = true, who.scopes
		if who.visit != nil {
			u := userOf(who.visit.User)
			answer.User, answer.Expires = &u, stamp(who.visit.Expires.UnixMicro())
		}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// administered says whether anyone can administer this server already.
func (s *Server) administered(ctx context.Context) (bool, error) {
	if s.keys.administered() {
		return true, nil
	}
	return s.o.Door.Administered(ctx)
}

// told turns what the door says into what a client is told.
func told(err error) error {
	var locked *door.LockedError
	switch {
	case errors.As(err, &locked):
		return &problem{status: http.StatusTooManyRequests, code: "locked", text: locked.Error(), retry: locked.Wait}
	case errors.Is(err, door.ErrBadLogin):
		return &problem{status: http.StatusUnauthorized, code: "bad_login", text: door.ErrBadLogin.Error(), recorded: true}
	case errors.Is(err, door.ErrCodeNeeded):
		return &problem{status: http.StatusUnauthorized, code: "code_needed", text: door.ErrCodeNeeded.Error(), recorded: true}
	case errors.Is(err, door.ErrInvitation):
		return &problem{status: http.StatusUnauthorized, code: "bad_token", text: door.ErrInvitation.Error(), recorded: true}
	case errors.Is(err, door.ErrNoLink):
		return refuse(http.StatusUnauthorized, "bad_link", "%s", door.ErrNoLink.Error())
	case errors.Is(err, door.ErrLinkPassword):
		return refuse(http.StatusUnauthorized, "link_password", "%s", door.ErrLinkPassword.Error())
	case errors.Is(err, door.ErrOpenLink):
		return refuse(http.StatusUnprocessableEntity, "invalid", "%s", door.ErrOpenLink.Error())
	case errors.Is(err, door.ErrBusy):
		return &problem{status: http.StatusServiceUnavailable, code: "overloaded", text: door.ErrBusy.Error(), retry: time.Second}
	case errors.Is(err, door.ErrCommon):
		return refuse(http.StatusUnprocessableEntity, "common_password", "%s", door.ErrCommon.Error())
	case errors.Is(err, door.ErrPassword), errors.Is(err, door.ErrName):
		return refuse(http.StatusUnprocessableEntity, "invalid", "%s", err.Error())
	case errors.Is(err, door.ErrNoPending):
		return refuse(http.StatusConflict, "nothing_pending", "%s", door.ErrNoPending.Error())
	case errors.Is(err, ledger.ErrLastAdmin):
		return refuse(http.StatusConflict, "last_admin", "%s", ledger.ErrLastAdmin.Error())
	}
	return err
}

type loginRequest struct {
	Username string `json:"username" doc:"Left out: admin."`
	Password string `json:"password" api:"required"`
	Code     string `json:"code" doc:"Of the second factor, or a recovery code."`
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	var ask loginRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	e, err := s.o.Door.LogIn(r.Context(), s.clientOf(r), door.Credentials{Name: ask.Username, Password: ask.Password, Code: ask.Code})
	return s.entered(w, r, http.StatusOK, e, err)
}

// entered answers somebody who has come in, or has not. The session that his browser
// had before, if it had one, is over: it may be one that somebody else has planted.
func (s *Server) entered(w http.ResponseWriter, r *http.Request, status int, e door.Entrance, err error) error {
	if err != nil {
		return told(err)
	}
	if old, err := s.visitor(r); err == nil && old != nil {
		ctx := audit.With(context.WithoutCancel(r.Context()), s.byUser(r, old.visit.User.ID))
		if err := s.o.Door.EndSession(ctx, old.visit.User.ID, old.visit.Session.ID); err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
	}
	s.let(w, e)
	writeJSON(w, status, enteredJSON{userOf(e.User), stamp(e.Session.Expires)})
	return nil
}

func (s *Server) byUser(r *http.Request, id string) audit.By {
	by := s.by(r)
	by.Actor = "user:" + id
	return by
}

// logout ends the session of the cookie. Who has none is logged out already.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	who, err := s.visitor(r)
	if err != nil {
		return err
	}
	if who != nil {
		u := who.visit.User.ID
		if err := s.o.Door.EndSession(audit.With(r.Context(), s.byUser(r, u)), u, who.visit.Session.ID); err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
	}
	s.setCookie(w, sessionCookie, "", 0)
	w.Header().Set("Clear-Site-Data", `"cache"`)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// visitOf returns the session of a request that came with one. A key is nobody's.
func visitOf(r *http.Request) (*door.Visit, error) {
	if who := callOf(r).who; who != nil && who.visit != nil {
		return who.visit, nil
	}
	return nil, refuse(http.StatusForbidden, "no_session", "this is for a user who has logged in, not for a key")
}
