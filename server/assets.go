package server

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// An asset is a file for the browser, read once.
type asset struct {
	body []byte
	kind string
	etag string
}

// types are those of the files a browser may get; others are not served. The
// tables of the machine are not asked: in an empty root there are none.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8",
	".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".webp": "image/webp", ".woff2": "font/woff2",
	".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json", ".map": "application/json",
}

func loadAssets(files fs.FS) (map[string]asset, error) {
	assets := map[string]asset{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || types[path.Ext(name)] == "" {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		// Weak, because the same asset is sent compressed and plain.
		assets[name] = asset{body, types[path.Ext(name)], `W/"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	return assets, err
}

// asset answers what is no path of the list: a file, or the dashboard at "/".
func (s *Server) asset(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return refuse(http.StatusMethodNotAllowed, "method", "this path takes GET, HEAD")
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" || name == "invite" { // an invitation is taken up by the dashboard
		name = "index.html"
	}
	return s.send(w, r, name)
}

// setupPage is where the one-time link leads: the dashboard takes it up.
func (s *Server) setupPage(w http.ResponseWriter, r *http.Request) error {
	return s.send(w, r, "index.html")
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, name string) error {
	a, ok := s.assets[name]
	if !ok {
		return refuse(http.StatusNotFound, "not_found", "there is no such page")
	}
	h := w.Header()
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache") // ask each time: an upgrade shows at once
	if kind, _, _ := mime.ParseMediaType(a.kind); kind == "text/html" || kind == "image/svg+xml" {
		h.Set("Content-Security-Policy", pagePolicy)
	}
	if matches(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	_, _ = w.Write(a.body)
	return nil
}

// matches compares weakly, as If-None-Match asks.
func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

func (s *Server) robots(w http.ResponseWriter, _ *http.Request) error {
	writeText(w, http.StatusOK, "User-agent: *\nDisallow: /api/\nDisallow: /health\nDisallow: /metrics\n")
	return nil
}
