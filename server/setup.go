package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// setupTTL is how long the set-up link works after the start.
const setupTTL = time.Hour

// A setup is the way to the first user, or the first key, of a server that nobody can
// administer yet: whoever can read what the process printed may make one, once.
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
	if done, err := s.administered(context.Background()); done || err != nil {
		return ""
	}
	return "/setup#" + s.setup.token
}

type setupRequest struct {
	Token    string `json:"token" api:"required"`
	Username string `json:"username" doc:"Of the first user; left out: admin."`
	Password string `json:"password" doc:"Of the first user. Without it the first key is made."`
}

func (s *Server) authSetup(w http.ResponseWriter, r *http.Request) error {
	var ask setupRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	t := s.setup
	t.mu.Lock()
	defer t.mu.Unlock()
	done, err := s.administered(r.Context())
	if err != nil {
		return err
	}
	if t.used || done {
		return refuse(http.StatusConflict, "set_up", "this server has been set up; log in, or use its key")
	}
	got, want := sha256.Sum256([]byte(ask.Token)), sha256.Sum256([]byte(t.token))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !s.now().Before(t.expires) {
		return refuse(http.StatusUnauthorized, "bad_token", "the set-up link is wrong or too old; restart the server for a new one")
	}
	callOf(r).actor = setupActor
	ctx := audit.With(r.Context(), s.by(r))
	if ask.Password != "" {
		e, err := s.o.Door.SetUp(ctx, s.clientOf(r), cmp.Or(ask.Username, door.Admin), ask.Password)
		if err == nil {
			t.used = true
		}
		return s.entered(w, r, http.StatusCreated, e, err)
	}
	key, err := s.addKey(ctx, newKey{Name: "set-up", Scopes: ledger.Scopes})
	if err != nil {
		return err
	}
	t.used = true
	writeJSON(w, http.StatusCreated, key)
	return nil
}
