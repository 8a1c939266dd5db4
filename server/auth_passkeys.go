package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

type passkeyJSON struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Created  string `json:"created"`
	LastUsed string `json:"last_used,omitempty"`
}

type passkeysJSON struct {
	Passkeys []passkeyJSON `json:"passkeys"`
}

func passkeyOf(p ledger.Passkey) passkeyJSON {
	return passkeyJSON{base64.RawURLEncoding.EncodeToString(p.ID), p.Name, stamp(p.Created), stamp(p.LastUsed)}
}

type passkeyRequest struct {
	Name string `json:"name" doc:"What to call it."`
}

// An optionsJSON is what a browser makes or uses a passkey by.
type optionsJSON struct {
	PublicKey any `json:"publicKey"`
}

func (optionsJSON) schema() schema {
	return schema{"type": "object", "properties": schema{"publicKey": schema{"type": "object"}}, "required": []string{"publicKey"}}
}

// credentialJSON is what PublicKeyCredential.toJSON returns.
type credentialJSON struct{}

func (credentialJSON) schema() schema { return schema{"type": "object"} }

// originOf is where a browser is: as set, or localhost, which no other host can be
// called.
func (s *Server) originOf(r *http.Request) string {
	if s.o.Origin != "" {
		return s.o.Origin
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if host != "localhost" {
		return ""
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// passkeyError turns what the door says of a passkey into what a client is told.
func passkeyError(err error) error {
	switch {
	case errors.Is(err, door.ErrPasskey), errors.Is(err, door.ErrNoPasskeys), errors.Is(err, door.ErrTooMany):
		return refuse(http.StatusUnprocessableEntity, "passkey", "%s", err.Error())
	}
	return told(err)
}

// challenge hands a browser what it shall do, with the state that it brings back.
func (s *Server) challenge(w http.ResponseWriter, options any, state []byte) {
	s.setCookie(w, passkeyCookie, base64.RawURLEncoding.EncodeToString(state), door.PasskeyTTL)
	writeJSON(w, http.StatusOK, optionsJSON{options})
}

// answered reads what a browser brings back.
func (s *Server) answered(w http.ResponseWriter, r *http.Request) (state, answer []byte, err error) {
	state, _ = base64.RawURLEncoding.DecodeString(s.cookieOf(r, passkeyCookie)) // what is none cannot be opened
	var raw json.RawMessage
	if err := readJSON(w, r, &raw); err != nil {
		return nil, nil, err
	}
	s.setCookie(w, passkeyCookie, "", 0)
	return state, raw, nil
}

// makePasskey is both steps of it: begin and finish.
func (s *Server) makePasskey(w http.ResponseWriter, r *http.Request) error {
	switch r.PathValue("id") {
	case "begin":
		return s.beginPasskey(w, r)
	case "finish":
		return s.finishPasskey(w, r)
	}
	return ledger.ErrNotFound
}

func (s *Server) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	var ask passkeyRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	options, state, err := s.o.Door.BeginPasskey(r.Context(), v.User, s.originOf(r), ask.Name)
	if err != nil {
		return passkeyError(err)
	}
	s.challenge(w, options, state)
	return nil
}

func (s *Server) finishPasskey(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	state, answer, err := s.answered(w, r)
	if err != nil {
		return err
	}
	p, err := s.o.Door.FinishPasskey(r.Context(), v.User, s.originOf(r), state, answer)
	if err != nil {
		return passkeyError(err)
	}
	writeJSON(w, http.StatusCreated, passkeyOf(p))
	return nil
}

func (s *Server) listPasskeys(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	list, err := s.o.Door.Passkeys(r.Context(), v.User.ID)
	if err != nil {
		return err
	}
	out := passkeysJSON{make([]passkeyJSON, len(list))}
	for i, p := range list {
		out.Passkeys[i] = passkeyOf(p)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

func (s *Server) removePasskey(w http.ResponseWriter, r *http.Request) error {
	v, err := visitOf(r)
	if err != nil {
		return err
	}
	id, err := base64.RawURLEncoding.DecodeString(r.PathValue("id"))
	if err != nil {
		return ledger.ErrNotFound
	}
	if err := s.o.Door.RemovePasskey(r.Context(), v.User, id); err != nil {
		return told(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) beginEntry(w http.ResponseWriter, r *http.Request) error {
	options, state, err := s.o.Door.BeginEntry(s.originOf(r))
	if err != nil {
		return passkeyError(err)
	}
	s.challenge(w, options, state)
	return nil
}

func (s *Server) finishEntry(w http.ResponseWriter, r *http.Request) error {
	state, answer, err := s.answered(w, r)
	if err != nil {
		return err
	}
	e, err := s.o.Door.FinishEntry(r.Context(), s.clientOf(r), s.originOf(r), state, answer)
	if errors.Is(err, door.ErrNoPasskeys) {
		return passkeyError(err)
	}
	return s.entered(w, r, http.StatusOK, e, err)
}
