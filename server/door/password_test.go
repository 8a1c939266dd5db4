package door_test

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/server/door/doortest"
	"github.com/eider-analytics/eider/store/ledger"
)

func TestCheckPassword(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]error{
		"":                       door.ErrPassword,
		"seven.7":                door.ErrPassword,
		"jo.the.owner":           door.ErrPassword, // his name
		"JO.THE.OWNER":           door.ErrPassword,
		strings.Repeat("é", 7):   door.ErrPassword, // 14 bytes
		strings.Repeat("é", 8):   nil,
		strings.Repeat("x", 512): nil,
		strings.Repeat("x", 513): door.ErrPassword,
		"not utf-8 \xff\xff":     door.ErrPassword,
		"password":               door.ErrCommon,
		"PassWord1":              door.ErrCommon,
		"  qwertyuiop ":          door.ErrCommon,
		"123456789":              door.ErrCommon,
		"password\npassword1":    nil, // two lines of the list are not one of it
		"password1 of mine":      nil,
		"wordpass-iloveyou":      nil,
		right:                    nil,
	} {
		if err := door.CheckPassword("jo.the.owner", password); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", password, err, want)
		}
	}
}

// TestCommonPasswords refuses every one that is listed, however it is written.
func TestCommonPasswords(t *testing.T) {
	t.Parallel()
	f, err := os.Open("common/passwords.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []string
	for in := bufio.NewScanner(f); in.Scan(); {
		list = append(list, in.Text())
		if err := door.CheckPassword("jo bright", strings.ToUpper(in.Text())); !errors.Is(err, door.ErrCommon) {
			t.Errorf("%q: %v", in.Text(), err)
		}
		if len([]rune(in.Text())) < door.MinPassword || in.Text() != strings.ToLower(in.Text()) {
			t.Errorf("%q is not as the list has them", in.Text())
		}
	}
	if len(list) < 8000 || !slices.IsSorted(list) {
		t.Errorf("%d are listed, sorted: %t", len(list), slices.IsSorted(list))
	}
}

// TestNoWayRoundTheList: nobody gets a common password, whichever way he gets one.
func TestNoWayRoundTheList(t *testing.T) {
	t.Parallel()
	const bad = "password123"
	r := newRig(t, doortest.New())
	e, err := r.LogIn(t.Context(), from("192.0.2.1"), door.Credentials{Name: "jo bright", Password: right})
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := r.CreateInvited(t.Context(), "Vi", ledger.RoleViewer)
	if err != nil {
		t.Fatal(err)
	}
	for way, got := range map[string]func() error{
		"create": func() error { _, err := r.Create(t.Context(), "Al", ledger.RoleAdmin, bad); return err },
		"set up": func() error { _, err := r.SetUp(t.Context(), door.Client{}, "Al", bad); return err },
		"accept": func() error { _, err := r.Accept(t.Context(), from("192.0.2.1"), token, bad); return err },
		"set":    func() error { return r.SetPassword(t.Context(), r.jo, bad, false) },
		"ensure": func() error { return r.EnsureAdmin(t.Context(), bad) },
		"change": func() error {
			return r.ChangePassword(t.Context(), from("192.0.2.1"), &door.Visit{Session: e.Session, User: e.User}, right, bad)
		},
	} {
		if err := got(); !errors.Is(err, door.ErrCommon) {
			t.Errorf("%s: %v, want %v", way, err, door.ErrCommon)
		}
	}
}
