package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/ledger"
)

// TestForgedAddress: whatever a client says of its address, it is the one of the
// connection, or the one that the trusted proxy says.
func TestForgedAddress(t *testing.T) {
	t.Parallel()
	fly, err := server.ParseProxy("fly")
	if err != nil {
		t.Fatal(err)
	}
	for name, proxy := range map[string]*server.Proxy{"no proxy": nil, "fly, past the proxy": fly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *server.Options) { o.Proxy = proxy })
			r.session(t, ledger.RoleAdmin)
			codes := map[int]int{}
			for i := range 20 {
				forged := fmt.Sprintf("198.51.100.%d", i)
				w := r.do("POST", "/api/auth/login", fmt.Sprintf(`{"username": "x%d", "password": "wrong"}`, i), "-", asJSON,
					"X-Forwarded-For: "+forged, "Fly-Client-IP: "+forged, "Forwarded: for="+forged, "CF-Connecting-IP: "+forged, "X-Real-IP: "+forged)
				codes[w.Code]++
				if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "300" {
					t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
				}
			}
			if codes[401] != 5 || codes[429] != 15 {
				t.Errorf("answers %v, want 5 times 401 and 15 times 429", codes)
			}
		})
	}
	r := newRig(t, func(o *server.Options) { o.Proxy = fly })
	r.session(t, ledger.RoleAdmin)
	for i := range 20 { // through the proxy they are 20 clients
		req := guards["POST /api/auth/login"].request("POST /api/auth/login", "")
		req.RemoteAddr = "10.0.0.1:4242"
		req.Header.Set("Fly-Client-IP", fmt.Sprintf("198.51.100.%d", i))
		want(t, r.serve(req), 401, "bad_login")
	}
}

// TestFixation: a token that somebody has planted is nobody's, before and after a log-in.
func TestFixation(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.APIKey = "" })
	planted := &http.Cookie{Name: "eider", Value: strings.Repeat("A", 43)}
	r.session(t, ledger.RoleAdmin)
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(planted)), 401, "no_key")
	own := r.login(t, "admin", withCookies(planted)).session(t)
	if own.Value == planted.Value {
		t.Error("the planted token has become a session")
	}
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(planted)), 401, "no_key")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(planted, own)), 401, "no_key") // which is ours cannot be told
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(own)), 200, "")
}

// TestTampering changes every byte of a session's cookie.
func TestTampering(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.APIKey = "" })
	own := r.session(t, ledger.RoleAdmin)
	for i := range len(own.Value) {
		b := []byte(own.Value)
		b[i] = "AB"[b2i(b[i] == 'A')]
		want(t, r.do("GET", "/api/keys", "", "-", withCookies(&http.Cookie{Name: "eider", Value: string(b)})), 401, "no_key")
	}
	for _, value := range []string{"", own.Value + "A", own.Value[1:], strings.ToUpper(own.Value), "'; DROP TABLE sessions --", strings.Repeat("x", 8000)} {
		want(t, r.do("GET", "/api/keys", "", "-", "Cookie: eider="+value), 401, "no_key")
	}
	// A key that is no good is not saved by a session, nor the other way round.
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(own), "Authorization: Bearer eider_wrong"), 401, "bad_key")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(own), "Authorization: Basic eA=="), 401, "no_key")
}

func b2i(is bool) int {
	if is {
		return 1
	}
	return 0
}

// TestSecureCookies: over TLS the cookies have the prefix that no other host can set, and
// those without it count for nothing.
func TestSecureCookies(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *server.Options) { o.SecureCookies, o.APIKey = true, "" })
	if _, err := r.door.Create(t.Context(), "admin", ledger.RoleAdmin, rightPassword); err != nil {
		t.Fatal(err)
	}
	w := r.login(t, "admin")
	for _, name := range []string{"__Host-eider", "__Host-eider-device"} {
		c := w.cookie(name)
		if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	own := w.cookie("__Host-eider")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(own)), 200, "")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(&http.Cookie{Name: "eider", Value: own.Value})), 401, "no_key")
}

// TestSessionEnds: by not being used, by time, and however often it is used.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	clock := now
	r := newRig(t, func(o *server.Options) { o.Now, o.APIKey = func() time.Time { return clock }, "" })
	own := withCookies(r.session(t, ledger.RoleAdmin))
	clock = clock.Add(12*time.Hour - 1)
	want(t, r.do("GET", "/api/keys", "", "-", own), 200, "")
	clock = now.Add(24*time.Hour - time.Millisecond)
	want(t, r.do("GET", "/api/keys", "", "-", own), 200, "")
	clock = now.Add(24 * time.Hour)
	want(t, r.do("GET", "/api/keys", "", "-", own), 401, "no_key")
	again := withCookies(r.login(t, "admin").session(t))
	clock = clock.Add(12 * time.Hour)
	want(t, r.do("GET", "/api/keys", "", "-", again), 401, "no_key")
}

// TestUsers: an invitation lets in once; a new role and a removal end what was.
func TestUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session(t, ledger.RoleAdmin)
	made := into[struct{ Link string }](t, r.do("POST", "/api/users", `{"name": "Vi", "role": "viewer"}`, asJSON))
	at, token, _ := strings.Cut(made.Link, "#")
	if at != "http://example.com/invite" || len(token) != 43 {
		t.Fatalf("link %s", made.Link)
	}
	want(t, r.do("POST", "/api/users", `{"name": "vi", "role": "viewer"}`, asJSON), 409, "exists")
	accept := func(password string) loggedIn {
		return loggedIn{r.do("POST", "/api/auth/invite", fmt.Sprintf(`{"token": %q, "password": %q}`, token, password), "-", asJSON)}
	}
	want(t, accept("short").ResponseRecorder, 422, "invalid")
	w := accept(rightPassword)
	want(t, w.ResponseRecorder, 201, "")
	own := withCookies(w.cookie("eider"))
	want(t, accept("another password").ResponseRecorder, 401, "bad_token")
	want(t, r.do("GET", "/api/stats/main?site_id=example.com", "", "-", own), 200, "")
	want(t, r.do("GET", "/api/stats/export?site_id=example.com", "", "-", own), 403, "scope")
	id := into[struct{ User struct{ ID string } }](t, w.ResponseRecorder).User.ID
	want(t, r.do("PATCH", "/api/users/"+id, `{"role": "admin"}`, asJSON), 200, "")
	want(t, r.do("GET", "/api/keys", "", "-", own), 401, "no_key")
	want(t, r.do("GET", "/api/keys", "", "-", withCookies(r.login(t, "vi").session(t))), 200, "")
	want(t, r.do("DELETE", "/api/users/"+id, ""), 204, "")
	want(t, r.login(t, "vi").ResponseRecorder, 401, "bad_login")
	for _, u := range into[struct{ Users []struct{ ID string } }](t, r.do("GET", "/api/users", "")).Users {
		want(t, r.do("DELETE", "/api/users/"+u.ID, ""), 409, "last_admin")
	}
	if log := r.logged(); strings.Contains(log, rightPassword) || strings.Contains(log, token) || strings.Contains(log, "203.0.113.9") {
		t.Errorf("a secret or an address is in the log: %s", log)
	}
}
