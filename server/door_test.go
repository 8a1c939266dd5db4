package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

const rightPassword = "correct horse battery"

// session makes a user of a role, who is called by it, and returns the cookie he has
// after he has logged in.
func (r *rig) session(t *testing.T, role string) *http.Cookie {
	t.Helper()
	if _, err := r.door.Create(t.Context(), role, role, rightPassword); err != nil {
		t.Fatal(err)
	}
	if role != ledger.RoleAdmin { // somebody has to be
		if _, err := r.door.Create(t.Context(), "the admin", ledger.RoleAdmin, rightPassword); err != nil {
			t.Fatal(err)
		}
	}
	return r.login(t, role).session(t)
}

type loggedIn struct{ *httptest.ResponseRecorder }

func (l loggedIn) cookie(name string) *http.Cookie {
	for _, c := range l.Result().Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (l loggedIn) session(t *testing.T) *http.Cookie {
	t.Helper()
	c := l.cookie("eider")
	if l.Code != 200 || c == nil {
		t.Fatalf("log-in: %d %s", l.Code, l.Body)
	}
	return c
}

func (r *rig) login(t *testing.T, name string, header ...string) loggedIn {
	t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "password": rightPassword})
	if err != nil {
		t.Fatal(err)
	}
	return loggedIn{r.do("POST", "/api/auth/login", string(body), append([]string{"-", asJSON}, header...)...)}
}

// withCookies returns the header of cookies.
func withCookies(list ...*http.Cookie) string {
	all := make([]string, len(list))
	for i, c := range list {
		all[i] = c.Name + "=" + c.Value
	}
	return "Cookie: " + strings.Join(all, "; ")
}

func TestSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.session(t, "admin")
	if !first.HttpOnly || first.SameSite != http.SameSiteStrictMode || first.Path != "/" || first.Domain != "" || first.Secure {
		t.Errorf("cookie %+v", first)
	}
	w := r.do("GET", "/api/auth/status", "", "-", withCookies(first))
	if got := w.Body.String(); !strings.Contains(got, `"authenticated":true`) || !strings.Contains(got, `"name":"admin"`) || !strings.Contains(got, `"setup_required":false`) {
		t.Errorf("status %s", got)
	}
	// What the session does is the user's act.
	want(t, r.do("DELETE", "/api/maintenance/x", "", "-", withCookies(first)), 405, "method")
	second := r.login(t, "ADMIN").session(t) // names have no case
	if first.Value == second.Value {
		t.Error("two log-ins have one token")
	}
	// A log-in ends the session that the browser had: it may have been planted.
	third := r.login(t, "admin", withCookies(second)).session(t)
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(second)), 401, "no_key")
	// Another password ends the others, and not one's own.
	body := `{"current": "` + rightPassword + `", "new": "quite another one"}`
	want(t, r.do("POST", "/api/auth/password", body, "-", asJSON, withCookies(third)), 204, "")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(first)), 401, "no_key")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(third)), 200, "")
	var list struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal(r.do("GET", "/api/auth/sessions", "", "-", withCookies(third)).Body.Bytes(), &list); err != nil || len(list.Sessions) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	out := loggedIn{r.do("POST", "/api/auth/logout", "", "-", withCookies(third))}
	if c := out.cookie("eider"); out.Code != 204 || c == nil || c.MaxAge >= 0 {
		t.Errorf("log-out: %d, %+v", out.Code, c)
	}
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(third)), 401, "no_key")
	want(t, r.do("POST", "/api/auth/logout", "", "-"), 204, "")
	for _, e := range r.users.Entries() {
		if e.Kind == audit.PasswordChange && !strings.HasPrefix(e.Actor, "user:") {
			t.Errorf("the password was changed by %q", e.Actor)
		}
	}
}
