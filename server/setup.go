package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/ledger"
)

// setupTTL is how long the set-up link works after the start.
const setupTTL = time.Hour

// A setup is the way to the first key of a server that nobody can administer
// yet: whoever can read what the process printed may make one, once.
type setup struct {
	token   string
	expires time.Time

	mu   sync.Mutex // held while a key is made, so that only one is
	used bool
}

func newSetup(now time.Time) *setup {
	return &setup{token: rand.Text(), expires: now.Add(setupTTL)}
}

// SetupPath returns the path and fragment of the one-time set-up link, which the
// process prints at its start, or "" if there is an administrator already. A
// fragment is not sent, so that the token gets into no proxy's log.
func (s *Server) SetupPath() string {
	if s.keys.administered() {
		return ""
	}
	return "/setup#" + s.setup.token
}

func (s *Server) authStatus(w http.ResponseWriter, r *http.Request) error {
	who := s.keys.find(secretOf(r))
	answer := map[string]any{"setup_required": !s.keys.administered(), "authenticated": who != nil}
	if who != nil {
		answer["scopes"] = who.scopes
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) authSetup(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		Token string `json:"token"`
	}
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	t := s.setup
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used || s.keys.administered() {
		return refuse(http.StatusConflict, "set_up", "this server has been set up; use its key")
	}
	got, want := sha256.Sum256([]byte(ask.Token)), sha256.Sum256([]byte(t.token))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !s.now().Before(t.expires) {
		return refuse(http.StatusUnauthorized, "bad_token", "the set-up link is wrong or too old; restart the server for a new one")
	}
	key, err := s.addKey(r.Context(), newKey{Name: "set-up", Scopes: ledger.Scopes})
	if err != nil {
		return err
	}
	t.used = true
	writeJSON(w, http.StatusCreated, key)
	return nil
}
