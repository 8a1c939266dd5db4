package server

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/js"
)

// The paths that events and the tracker have if the operator sets no others.
const (
	eventPath  = "/api/event"
	scriptPath = "/js/eider.js"
)

// A suffix is what a name like script.hash.outbound-links.js asks for. Its value
// is an option of the script; its part, if it has one, the file that it needs.
type suffix struct {
	option string // as JavaScript; "" if the part does all
	part   string
}

// suffixes are those of Plausible's documentation. Each needs what the core has,
// or a part of its own.
var suffixes = map[string]suffix{
	"compat":         {}, // the core asks for nothing that it would have to do without
	"exclusions":     {part: "exclusions"},
	"file-downloads": {option: "downloads:1", part: "links"},
	"hash":           {option: "hash:1"},
	"local":          {option: "local:1"},
	"manual":         {option: "manual:1"},
	"outbound-links": {option: "outbound:1", part: "links"},
	"pageview-props": {option: "pageProps:1"},
	"revenue":        {}, // the core takes it
	"tagged-events":  {option: "tagged:1", part: "tagged classes"},
}

// partOrder is the order in which parts are joined: later ones use earlier ones.
var partOrder = []string{"core", "features", "more", "exclusions", "links", "tagged", "classes", "attributes", "forms", "missing", "vitals", "init", "plausible", "eider", "embed"}

// scripts makes the trackers of their parts. Each is made when it is first asked
// for, and kept: there are a thousand of three kilobytes at most.
type scripts struct {
	parts map[string]string // by name, without ".js"
	event string            // where events are sent on the host the script came from

	mu   sync.Mutex // guards made, and held while one is made
	made map[string]asset
}

// openScripts reads the parts, and makes the usual scripts, so that what is wrong
// with a part is known at the start.
func openScripts(files fs.FS, event string) (*scripts, error) {
	s := &scripts{parts: map[string]string{}, event: event, made: map[string]asset{}}
	for _, name := range partOrder {
		b, err := fs.ReadFile(files, "js/"+name+".js")
		if err != nil {
			return nil, err
		}
		s.parts[name] = string(b)
	}
	for _, name := range []string{"eider.js", moreName, embedName, "script.js"} {
		if _, err := s.get(name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// errNoScript is returned by get for a name that is no script's.
var errNoScript = errors.New("there is no such script")

// get returns the script of a name such as script.hash.js. The order of the
// suffixes does not matter.
func (s *scripts) get(name string) (asset, error) {
	r, err := recipeOf(name)
	if err != nil {
		return asset{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a, ok := s.made[r.key()]; ok {
		return a, nil
	}
	a, err := s.bake(r)
	if err == nil {
		s.made[r.key()] = a
	}
	return a, err
}

// moreName stands for the second file of eider.js, which has the same path and
// the query ?more, so that it is found wherever the first one was.
const moreName = "eider.js?more"

// embedName is no tracker: it is for pages that show a shared link in a frame.
const embedName = "embed.host.js"

// A recipe says what a script is made of.
type recipe struct {
	parts   map[string]bool
	options []string // sorted
}

func (r recipe) key() string {
	return strings.Join(slices.Sorted(maps.Keys(r.parts)), " ") + "; " + strings.Join(r.options, ",")
}

// recipeOf reads a name. Its error is errNoScript, with what is wrong.
func recipeOf(name string) (recipe, error) {
	r := recipe{parts: map[string]bool{}}
	switch name {
	case "eider.js":
		r.add("core eider")
		return r, nil
	case embedName:
		r.add("embed")
		return r, nil
	case moreName:
		r.add("more exclusions links tagged attributes forms missing vitals")
		return r, nil
	case "script.js": // plausible.init can ask for anything
		r.add("core features exclusions links tagged classes forms init plausible")
		r.options = []string{"init:1"}
		return r, nil
	}
	names, ok := strings.CutPrefix(name, "script.")
	names, ok2 := strings.CutSuffix(names, ".js")
	if !ok || !ok2 {
		return r, fmt.Errorf("%w; there are script.js, script.….js and eider.js", errNoScript)
	}
	r.add("core features plausible")
	seen := map[string]bool{}
	for n := range strings.SplitSeq(names, ".") {
		x, ok := suffixes[n]
		if !ok {
			return r, fmt.Errorf("%w: %q is none of %s", errNoScript, n, strings.Join(slices.Sorted(maps.Keys(suffixes)), ", "))
		}
		if seen[n] {
			return r, fmt.Errorf("%w: %q is there twice", errNoScript, n)
		}
		seen[n] = true
		r.add(x.part)
		if x.option != "" {
			r.options = append(r.options, x.option)
		}
	}
	slices.Sort(r.options)
	return r, nil
}

func (r recipe) add(parts string) {
	for p := range strings.FieldsSeq(parts) {
		r.parts[p] = true
	}
}

// bake joins the parts of a script in one function and makes it small.
func (s *scripts) bake(r recipe) (asset, error) {
	var b strings.Builder
	before, after := "(function(){", "})()\n"
	if r.parts["more"] {
		before, after = "window.eider&&eider.more&&eider.more(function(o,on,track,safe){", "})\n"
	}
	b.WriteString(before)
	if r.parts["core"] {
		fmt.Fprintf(&b, "\nconst eventPath = %q\n", s.event)
	}
	if r.parts["plausible"] {
		fmt.Fprintf(&b, "const flags = {%s}\n", strings.Join(r.options, ","))
	}
	for _, p := range partOrder {
		if r.parts[p] {
			b.WriteString(s.parts[p])
		}
	}
	b.WriteString(after)
	m := minify.New()
	m.Add("text/javascript", &js.Minifier{Version: 2018})
	small, err := m.String("text/javascript", b.String())
	if err != nil {
		return asset{}, fmt.Errorf("make %s small: %w", r.key(), err)
	}
	sum := sha256.Sum256([]byte(small))
	return asset{[]byte(small), types[".js"], `W/"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// script answers with a tracker. What is none is an asset, or nothing.
func (s *Server) script(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	if name == "eider.js" && r.URL.RawQuery == "more" {
		name = moreName
	}
	a, err := s.scripts.get(name)
	if strings.Contains(r.PathValue("file"), "?") {
		err = errNoScript // an escaped one
	}
	if errors.Is(err, errNoScript) {
		if _, ok := s.assets["js/"+name]; ok {
			return s.send(w, r, "js/"+name)
		}
		return refuse(http.StatusNotFound, "not_found", "%s", err)
	}
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", a.etag)
	// A day, for it is loaded with every page of a site; and a week in which an old
	// one will do while the new one is fetched.
	h.Set("Cache-Control", "public, max-age=86400, stale-while-revalidate=604800")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if matches(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = w.Write(a.body)
	return nil
}

// aliases are the paths that the operator has given the tracker and its events,
// for visitors whose blockers know the usual ones; empty for none. A request for
// one of them is in every way one for the usual path, its metrics too.
type aliases struct{ script, event string }

// newAliases checks the paths: they must not hide one of ours.
func newAliases(script, event string, assets map[string]asset) (aliases, error) {
	for _, p := range []string{script, event} {
		if p == "" {
			continue
		}
		if err := CheckPath(p); err != nil {
			return aliases{}, err
		}
		if _, ok := assets[strings.TrimPrefix(p, "/")]; ok {
			return aliases{}, fmt.Errorf("the path %s is taken by the dashboard", p)
		}
	}
	if script != "" && script == event {
		return aliases{}, fmt.Errorf("the script and its events cannot both have the path %s", script)
	}
	return aliases{script, event}, nil
}

// CheckPath returns why the tracker or its events cannot have a path.
func CheckPath(p string) error {
	for _, c := range []byte(p) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/._~-", c) >= 0) {
			return errors.New("a path has letters, digits and / . _ ~ - only")
		}
	}
	if len(p) < 2 || len(p) > 200 || p[0] != '/' || strings.HasSuffix(p, "/") || strings.Contains(p, "//") || strings.Contains(p, "/.") {
		return errors.New("a path begins with /, and has neither an empty part nor one that begins with a dot")
	}
	// Nothing under the first parts of our own routes, so that none to come is hidden.
	first, _, _ := strings.Cut(p[1:], "/")
	for _, rt := range routes {
		path := cmp.Or(strings.TrimPrefix(routeOf(rt.pattern), "/"), "index.html")
		if ours, _, _ := strings.Cut(path, "/"); first == ours {
			return fmt.Errorf("/%s is Eider's own", first)
		}
	}
	return nil
}

// resolve returns a request for the usual path if it is for another one.
func (a aliases) resolve(r *http.Request) *http.Request {
	path := ""
	switch r.URL.Path {
	case "":
		return r
	case a.script:
		path = scriptPath
	case a.event:
		path = eventPath
	default:
		return r
	}
	usual := *r.URL
	usual.Path, usual.RawPath = path, ""
	out := *r
	out.URL = &usual
	return &out
}
