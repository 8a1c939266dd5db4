package server

import (
	"net/http"
)

type sessionJSON struct {
	ID       string `json:"id"`
	Created  string `json:"created"`
	LastUsed string `json:"last_used"`
	Expires  string `json:"expires" doc:"If it is not used before."`
	Current  bool   `json:"current" doc:"It is the one that asks."`
	Browser  string `json:"browser" doc:"Where it began: Firefox · Linux. The address and the user agent are not kept."`
	Country  string `json:"country" doc:"Where it began, by ISO 3166-1; empty if that is not known."`
}

type sessionsJSON struct {
	Sessions []sessionJSON `json:"sessions"`
}

// listSessions lists those of who asks.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	list, err := s.o.Door.Sessions(r.Context(), v.User.ID)
	if err != nil {
		return err
	}
	out := sessionsJSON{make([]sessionJSON, len(list))}
	for i, one := range list {
		out.Sessions[i] = sessionJSON{
			ID: one.Session.ID, Created: stamp(one.Session.Created), LastUsed: stamp(one.Session.LastUsed), Expires: stamp(one.Expires.UnixMicro()),
			Current: one.Session.ID == v.Session.ID, Browser: one.Session.Browser, Country: one.Session.Country,
		}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) endSession(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if err := s.o.Door.EndSession(r.Context(), v.User.ID, id); err != nil {
		return err
	}
	if id == v.Session.ID {
		s.setCookie(w, sessionCookie, "", 0)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type passwordRequest struct {
	Current string `json:"current" api:"required"`
	New     string `json:"new" api:"required"`
}

func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	var ask passwordRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if err := s.o.Door.ChangePassword(r.Context(), s.clientOf(r), v, ask.Current, ask.New); err != nil {
		return told(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type secretJSON struct {
	Secret string `json:"secret" doc:"In base32, to type in."`
	URI    string `json:"uri" doc:"As authenticators read it."`
	QR     string `json:"qr" doc:"An SVG of it."`
}

func (s *Server) beginTOTP(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	secret, err := s.o.Door.BeginTOTP(r.Context(), v.User)
	if err != nil {
		return told(err)
	}
	writeJSON(w, http.StatusOK, secretJSON(secret))
	return nil
}

type codeRequest struct {
	Code string `json:"code" api:"required"`
}

type codesJSON struct {
	Codes []string `json:"recovery_codes" doc:"Each lets in once in place of a code. Shown this once."`
}

func (s *Server) confirmTOTP(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	var ask codeRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	codes, err := s.o.Door.ConfirmTOTP(r.Context(), s.clientOf(r), v.User, ask.Code)
	if err != nil {
		return told(err)
	}
	writeJSON(w, http.StatusOK, codesJSON{codes})
	return nil
}

type confirmRequest struct {
	Password string `json:"password" api:"required"`
}

func (s *Server) removeTOTP(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	var ask confirmRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if err := s.o.Door.RemoveTOTP(r.Context(), s.clientOf(r), v.User, ask.Password); err != nil {
		return told(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
