package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// atTheDoor are the routes that TestDoorIsRecorded uses.
var atTheDoor = map[string]bool{}

func init() {
	for _, route := range []string{
		"post /api/users", "patch /api/users/{id}", "delete /api/users/{id}", "post /api/auth/invite", "post /api/auth/login", "post /api/auth/logout",
		"post /api/auth/password", "post /api/auth/totp", "post /api/auth/totp/confirm", "delete /api/auth/totp", "delete /api/auth/sessions/{id}",
		"post /api/auth/passkey/begin", "post /api/auth/passkey/finish", "post /api/auth/passkeys/{id}", "delete /api/auth/passkeys/{id}",
		"post /api/links", "patch /api/links/{id}", "delete /api/links/{id}", "post /api/share",
	} {
		atTheDoor[route] = true
	}
}

// unknown are ids that no test knows before.
var unknown = regexp.MustCompile(`(session|user):[0-9a-f]+`)

// TestDoorIsRecorded lives the life of a user, from the invitation to the end: every
// step leaves its entries, and no password, code or token is in one.
func TestDoorIsRecorded(t *testing.T) {
	t.Parallel()
	d := newRig(t, normal, "EIDER_ADMIN_PASSWORD=there-is-another-admin").start()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	used, n := map[string]bool{}, 0
	// do asks, with the session or with the key, and compares the entries it leaves.
	do := func(c *http.Client, route, target, body string, status int, want string) map[string]any {
		t.Helper()
		method, path, _ := strings.Cut(route, " ")
		used[strings.ToLower(method)+" "+path] = true
		if target != "" {
			path = target
		}
		n++
		id := fmt.Sprint("door-", n)
		req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Request-ID", id)
		if c != browser {
			req.Header.Set("Authorization", "Bearer "+apiKey)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Fatalf("%s: %d %s, %v; want %d", route, res.StatusCode, b, err, status)
		}
		list := d.entries("request_id=" + id)
		slices.Reverse(list)
		var got []string
		for _, e := range list {
			got = append(got, e.String())
		}
		if text := unknown.ReplaceAllString(strings.Join(got, ", "), "$1"); text != want {
			t.Errorf("%s has left\n %s\nwant\n %s", route, text, want)
		}
		var answer map[string]any
		_ = json.Unmarshal(b, &answer) // some have no body
		return answer
	}
	const first, second = "a-first-password-of-vera", "a-second-password-of-vera"
	made := do(d.client, "POST /api/users", "", `{"name":"vera vane","role":"viewer"}`, 201, "user.create done user")
	id := made["user"].(map[string]any)["id"].(string)
	_, token, _ := strings.Cut(made["link"].(string), "#")
	do(d.client, "PATCH /api/users/{id}", "/api/users/"+id, `{"role":"admin"}`, 200, "user.change done user")
	do(browser, "POST /api/auth/invite", "", `{"token":"`+token+`","password":"`+first+`"}`, 201,
		"password.change done user, login.attempt done user, session.start done session")
	do(browser, "POST /api/auth/password", "", `{"current":"`+first+`","new":"`+second+`"}`, 204, "password.change done user")

	seed := do(browser, "POST /api/auth/totp", "", "", 200, "")["secret"].(string) // not before it is confirmed
	code, err := totp.GenerateCode(seed, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	do(browser, "POST /api/auth/totp/confirm", "", `{"code":"`+code+`"}`, 200, "factor.add done user")
	do(browser, "POST /api/auth/login", "", `{"username":"vera vane","password":"`+first+`"}`, 401, "login.attempt refused user")
	do(browser, "POST /api/auth/login", "", `{"username":"vera vane","password":"`+second+`"}`, 401, "login.attempt refused user") // a code is wanted
	do(browser, "DELETE /api/auth/totp", "", `{"password":"`+second+`"}`, 204, "factor.remove done user")

	// At an address there are no passkeys; those of a name are in package server's tests.
	do(browser, "POST /api/auth/passkeys/{id}", "/api/auth/passkeys/begin", "{}", 422, "")
	do(browser, "DELETE /api/auth/passkeys/{id}", "/api/auth/passkeys/none", "", 404, "")
	do(browser, "POST /api/auth/passkey/begin", "", "{}", 422, "")
	do(browser, "POST /api/auth/passkey/finish", "", "{}", 422, "")

	do(browser, "POST /api/auth/login", "", `{"username":"vera vane","password":"`+second+`"}`, 200,
		"login.attempt done user, session.start done session, session.end done session") // that of the cookie before
	do(browser, "GET /api/auth/sessions", "", "", 200, "")
	do(browser, "DELETE /api/auth/sessions/{id}", "/api/auth/sessions/none", "", 404, "")
	do(browser, "POST /api/auth/logout", "", "", 204, "session.end done session")
	do(d.client, "DELETE /api/users/{id}", "/api/users/"+id, "", 204, "user.remove done user")

	d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
	const q, third = "?site_id=" + site, "a-password-of-a-link"
	shared := do(d.client, "POST /api/links", "/api/links"+q, `{"name":"for vera","password":"`+third+`"}`, 201, "link.create done link:1")
	slug := shared["link"].(string)
	slug = slug[strings.LastIndexByte(slug, '/')+1:]
	do(d.client, "PATCH /api/links/{id}", "/api/links/1"+q, `{"embed":true}`, 200, "link.change done link:1")
	do(browser, "POST /api/share", "", `{"link":"`+slug+`","password":"wrong-of-course"}`, 401, "login.attempt refused link:1")
	do(browser, "POST /api/share", "", `{"link":"`+slug+`","password":"`+third+`"}`, 200, "login.attempt done link:1")
	do(browser, "POST /api/share", "", `{"link":"none","password":"`+third+`"}`, 401, "access.refusal refused route:POST /api/share")
	do(d.client, "DELETE /api/links/{id}", "/api/links/1"+q, "", 204, "link.revoke done link:1")

	d.stop()
	export := filepath.Join(t.TempDir(), "audit.ndjson")
	d.run("audit", "export", "-o", export)
	leaves, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{first, second, token, `"` + code + `"`, seed, "vera vane", third, slug} { // six digits alone are in many a time
		if strings.Contains(string(leaves), secret) {
			t.Errorf("%q is in a leaf", secret)
		}
	}
	for route := range atTheDoor {
		if !used[route] {
			t.Errorf("%s was not used", route)
		}
	}
}

// TestSessionsTellApart: of where a session began there is enough to know it again, and
// neither the address nor the user agent.
func TestSessionsTellApart(t *testing.T) {
	t.Parallel()
	const secret, address = "correct horse battery staple", "81.2.69.160"
	d := newRig(t, normal, "EIDER_ADMIN_PASSWORD="+secret, "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.0/8").start()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: time.Minute}
	do := func(method, path, body string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", browser)
		req.Header.Set("X-Forwarded-For", address)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s %v", method, path, res.StatusCode, b, err)
		}
		return string(b)
	}
	do(http.MethodPost, "/api/auth/login", `{"username": "admin", "password": "`+secret+`"}`)
	list := do(http.MethodGet, "/api/auth/sessions", "")
	if !strings.Contains(list, `"browser":"Firefox · Linux","country":"GB"`) || strings.Contains(list, address) || strings.Contains(list, "Mozilla") {
		t.Errorf("the sessions are %s", list)
	}
}
