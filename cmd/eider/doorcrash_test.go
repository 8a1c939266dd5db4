package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// knock tries to log in and returns the answer with the cookies of who was let in. An
// error is what a kill leaves of a request.
func (d *daemon) knock(name, password string) (res *http.Response, body string, err error) {
	ask, err := json.Marshal(map[string]string{"username": name, "password": password})
	if err != nil {
		return nil, "", err
	}
	if res, err = d.client.Post(d.url+"/api/auth/login", "application/json", strings.NewReader(string(ask))); err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// sessionsOf returns the ids of the sessions of the user whose cookies these are; ok is
// whether they let in.
func (d *daemon) sessionsOf(cookies []*http.Cookie) (ids []string, ok bool) {
	d.Helper()
	req, err := http.NewRequest(http.MethodGet, d.url+"/api/auth/sessions", nil)
	if err != nil {
		d.Fatal(err)
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Sessions []struct{ ID string } }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		d.Fatal(err)
	}
	for _, s := range answer.Sessions {
		ids = append(ids, s.ID)
	}
	return ids, res.StatusCode == http.StatusOK
}

// TestDoorCrash kills the program while people log in: at any time, and at every step of
// an act. After the next start there are a session and both its entries, or neither of
// them; and who was told that he is in, is.
func TestDoorCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, faulty)
	faults := []string{"", ""} // at any time
	for _, point := range []string{"act: before entry", "act: entry written", "act: before commit", "act: committed"} {
		for range 2 { // the first few are of the start
			faults = append(faults, fmt.Sprintf("%s@%d", point, 4+r.rnd.IntN(9)))
		}
	}
	d := r.start()
	for i := range faults {
		d.must(http.MethodPost, "/api/users", map[string]string{"name": fmt.Sprint("user-", i), "role": "viewer", "password": adminPassword}, nil)
	}
	d.stop()
	in := map[string]bool{} // all sessions
	answered := 0
	for i, fault := range faults {
		let := r.crowd(fmt.Sprint("user-", i), fault)
		answered += len(let)
		d := r.start()
		for _, cookies := range let {
			if _, ok := d.sessionsOf(cookies); !ok {
				t.Errorf("%q: who was let in before the kill is not after it", fault)
			}
		}
		res, body, err := d.knock(fmt.Sprint("user-", i), adminPassword)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%q: log-in after the kill: %s, %v", fault, body, err)
		}
		ids, _ := d.sessionsOf(res.Cookies())
		for _, id := range ids {
			in["session:"+id] = true
		}
		started, attempts := map[string]bool{}, 0
		for _, e := range d.entries("") {
			switch {
			case e.Kind == "session.start":
				started[e.Object] = true
			case e.Kind == "login.attempt" && e.Outcome == "done":
				attempts++
			}
		}
		if !maps.Equal(started, in) || attempts != len(in) {
			t.Fatalf("%q: %d sessions, %d are recorded, and %d log-ins;\nonly there %v\nonly recorded %v", fault, len(in), len(started), attempts, without(in, started), without(started, in))
		}
		d.kill()
	}
	t.Logf("%d log-ins were answered before a kill, %d sessions", answered, len(in))
}

// crowd lets a user log in many times at once, while the program dies, and returns the
// cookies that were given. Its death is at a point of store/fault, or at any time.
func (r *rig) crowd(name, fault string) (let [][]*http.Cookie) {
	r.Helper()
	const most = 40 // fewer than end the oldest session
	d := r.launch("EIDER_FAULT=" + fault)
	if !d.ready() {
		return nil
	}
	answers := make(chan []*http.Cookie, most)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range most / 4 {
				res, body, err := d.knock(name, adminPassword)
				if err != nil { // killed
					return
				}
				if res.StatusCode == http.StatusOK {
					answers <- res.Cookies()
				} else if res.StatusCode != http.StatusServiceUnavailable {
					r.Errorf("log-in: %d %s", res.StatusCode, body)
				}
			}
		})
	}
	if fault == "" {
		for range r.rnd.IntN(8) {
			let = append(let, <-answers)
		}
		time.Sleep(r.upTo(200 * time.Millisecond))
		d.kill()
	}
	wg.Wait()
	d.kill()
	close(answers)
	for cookies := range answers {
		let = append(let, cookies)
	}
	return let
}

// without returns what is in a and not in b.
func without(a, b map[string]bool) (rest []string) {
	for k := range a {
		if !b[k] {
			rest = append(rest, k)
		}
	}
	slices.Sort(rest)
	return rest
}

// TestDoorAttackCrash: a kill in the middle of an attack gives nobody a new attempt, and
// makes nobody wait longer than he was told.
func TestDoorAttackCrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, normal, "EIDER_ADMIN_PASSWORD="+adminPassword)
	d := r.start()
	try := func(password string) (status int, wait int) {
		t.Helper()
		res, _, err := d.knock("admin", password)
		if err != nil {
			t.Fatal(err)
		}
		wait, _ = strconv.Atoi(res.Header.Get("Retry-After"))
		return res.StatusCode, wait
	}
	again := func() { d.kill(); d = r.start() }
	for i := range 5 { // a kill after each attempt
		if status, _ := try("a guess"); status != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i+1, status)
		}
		again()
	}
	told := 300
	for range 3 {
		status, wait := try(adminPassword)
		if status != http.StatusTooManyRequests || wait < 1 || wait > told {
			t.Fatalf("after a kill: %d, Retry-After %d; want 429 and 1 to %d", status, wait, told)
		}
		told = wait
		again()
	}
	if n := len(d.entries("kind=login.lockout")); n != 1 {
		t.Errorf("%d lockouts are recorded, want 1", n)
	}
}

// TestAdminPassword: EIDER_ADMIN_PASSWORD makes the user admin, changes nothing when it
// stays, ends his sessions and no one else's when it is another one, and is kept when it
// is left out.
func TestAdminPassword(t *testing.T) {
	t.Parallel()
	const second = "a second one, of words"
	r := newRig(t, normal)
	d := r.start("EIDER_ADMIN_PASSWORD=" + adminPassword)
	d.must(http.MethodPost, "/api/users", map[string]string{"name": "vi", "role": "viewer", "password": adminPassword}, nil)
	enter := func(name, password string, want int) []*http.Cookie {
		t.Helper()
		res, body, err := d.knock(name, password)
		if err != nil || res.StatusCode != want {
			t.Fatalf("%s logs in: %d %s, %v; want %d", name, res.StatusCode, body, err, want)
		}
		return res.Cookies()
	}
	admin, vi := enter("admin", adminPassword, 200), enter("vi", adminPassword, 200)
	restart := func(env string, changes int, adminStays bool) {
		t.Helper()
		d.stop()
		d = r.start(env)
		if _, ok := d.sessionsOf(admin); ok != adminStays {
			t.Errorf("%s: the admin's session lets in: %t", env, ok)
		}
		if _, ok := d.sessionsOf(vi); !ok {
			t.Errorf("%s: the session of another user has ended", env)
		}
		if list := d.entries("kind=password.change"); len(list) != changes {
			t.Errorf("%s: changes of passwords are %v, want %d", env, list, changes)
		}
	}
	restart("EIDER_ADMIN_PASSWORD="+adminPassword, 0, true)
	restart("EIDER_ADMIN_PASSWORD="+second, 1, false)
	enter("admin", adminPassword, 401)
	admin = enter("admin", second, 200)
	restart("EIDER_PORT=0", 1, true) // no variable
	enter("admin", second, 200)
	d.stop()
	if d = r.launch("EIDER_ADMIN_PASSWORD=password123"); d.wait(startTime) != 1 || !d.log.has("nor one that many people use") || d.log.has("password123") {
		t.Error("a password that many people use is not refused by the name of the variable")
	}
}
