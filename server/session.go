package server

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

// What the cookies are called. The prefix makes a browser refuse one that was set by
// another host of the domain, or without TLS; without TLS it would refuse ours.
const (
	sessionCookie = "eider"
	deviceCookie  = "eider-device"
	passkeyCookie = "eider-passkey"
	hostPrefix    = "__Host-"
)

func (s *Server) cookieName(name string) string {
	if s.o.SecureCookies {
		return hostPrefix + name
	}
	return name
}

// setCookie sets a cookie that no script can read, and that no other site's request
// brings along. An empty value removes it.
func (s *Server) setCookie(w http.ResponseWriter, name, value string, ttl time.Duration) {
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(ttl.Round(time.Second) / time.Second), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.o.SecureCookies}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// cookieOf returns the value of a cookie; "" if there is none, or if there are several:
// then one of them is not ours.
func (s *Server) cookieOf(r *http.Request, name string) string {
	list := r.CookiesNamed(s.cookieName(name))
	if len(list) != 1 {
		return ""
	}
	return list[0].Value
}

// clientOf says who stands before the door.
func (s *Server) clientOf(r *http.Request) door.Client {
	return door.Client{Address: callOf(r).client, Agent: r.UserAgent(), Device: s.cookieOf(r, deviceCookie)}
}

// let gives a browser what it comes in with from now on.
func (s *Server) let(w http.ResponseWriter, e door.Entrance) {
	s.setCookie(w, sessionCookie, e.Token, time.UnixMicro(e.Session.Expires).Sub(s.now()))
	s.setCookie(w, deviceCookie, e.Device, door.DeviceTTL)
}

// scopesOf are the scopes of a key that opens what a role opens.
func scopesOf(role string) []string {
	if role == ledger.RoleAdmin {
		return ledger.Scopes
	}
	return []string{"stats"}
}

// visitor finds whose session a request comes with: nil if there is none.
func (s *Server) visitor(r *http.Request) (*identity, error) {
	token := s.cookieOf(r, sessionCookie)
	if token == "" {
		return nil, nil
	}
	v, err := s.o.Door.Find(r.Context(), token)
	if errors.Is(err, door.ErrNoSession) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &identity{visit: v, scopes: scopesOf(v.User.Role)}, nil
}

var errCrossSite = &problem{status: http.StatusForbidden, code: "cross_site", text: "this request comes from another site; set EIDER_DASHBOARD_ORIGIN if it is your own"}

// sameSite refuses what a page of another site makes a browser do.
func (s *Server) sameSite(r *http.Request) error {
	if err := s.origin.Check(r); err != nil {
		return errCrossSite
	}
	return nil
}

// newOrigin returns what knows another site's request when it sees one.
func newOrigin(ours string) (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	if ours == "" {
		return p, nil
	}
	u, err := url.Parse(ours)
	if err != nil {
		return nil, err
	}
	return p, p.AddTrustedOrigin(u.Scheme + "://" + u.Host)
}
