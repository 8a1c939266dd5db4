package server

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// Sites is where sites are kept; durable on return.
type Sites interface {
	Sites(ctx context.Context) ([]ledger.Site, error)
	AddSite(ctx context.Context, s ledger.Site) error
	RemoveSite(ctx context.Context, domain string) error
}

// An Erasure says which events to erase for good: those of a site that meet
// every condition.
type Erasure struct {
	Site     string
	From, To int64    // µs, half-open; 0 leaves that end open
	Visitor  event.ID // zero: any
	User     string   // the id the site gave, not hashed; "": any
}

// An Eraser rewrites the history without some events and returns how many there
// were.
type Eraser interface {
	Erase(ctx context.Context, e Erasure) (rows int64, err error)
}

// History is the list of parts and the work on them.
type History interface {
	Parts(ctx context.Context) (parts []event.Part, published int64, err error)
	// VerifyParts reads every part whole and returns the damaged ones. It calls
	// progress from the goroutine that called it.
	VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error)
	// Maintain publishes or compacts now and returns how many parts were
	// written.
	Maintain(ctx context.Context, task string) (parts int, err error)
}

type keyJSON struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Prefix   string   `json:"prefix"`
	Scopes   []string `json:"scopes"`
	Site     string   `json:"site_id,omitempty"`
	Created  string   `json:"created,omitempty"`
	Expires  string   `json:"expires,omitempty"`
	LastUsed string   `json:"last_used,omitempty"`
	Revoked  string   `json:"revoked,omitempty"`
	Key      string   `json:"key,omitempty"` // the key itself, in the answer that makes it and never again
}

func (s *Server) keyJSON(k ledger.Key) keyJSON {
	return keyJSON{
		ID: k.ID, Name: k.Name, Prefix: k.Prefix, Scopes: k.Scopes, Site: k.Site, Created: stamp(k.Created),
		Expires: stamp(k.Expires), LastUsed: stamp(s.keys.lastUse(k)), Revoked: stamp(k.Revoked),
	}
}

func (s *Server) listKeys(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.o.Keys.Keys(r.Context())
	if err != nil {
		return err
	}
	list := make([]keyJSON, len(keys))
	for i, k := range keys {
		list[i] = s.keyJSON(k)
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": list})
	return nil
}

type newKey struct {
	Name    string    `json:"name"`
	Scopes  []string  `json:"scopes"`
	Site    string    `json:"site_id"`
	Expires time.Time `json:"expires"` // RFC 3339; left out: never
}

func (s *Server) createKey(w http.ResponseWriter, r *http.Request) error {
	var ask newKey
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if ask.Name == "" || len(ask.Name) > 128 {
		return refuse(http.StatusUnprocessableEntity, "invalid", "name the key, with at most 128 bytes")
	}
	if len(ask.Scopes) == 0 {
		return refuse(http.StatusUnprocessableEntity, "invalid", "give scopes: some of %s", strings.Join(ledger.Scopes, ", "))
	}
	for _, scope := range ask.Scopes {
		if !slices.Contains(ledger.Scopes, scope) {
			return refuse(http.StatusUnprocessableEntity, "invalid", "scopes are %s", strings.Join(ledger.Scopes, ", "))
		}
	}
	if !ask.Expires.IsZero() && !ask.Expires.After(s.now()) {
		return refuse(http.StatusUnprocessableEntity, "invalid", "expires is in the past")
	}
	if ask.Site != "" {
		if _, _, err := s.site(r.Context(), ask.Site); err != nil {
			return err
		}
	}
	key, err := s.addKey(r.Context(), ask)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, key)
	return nil
}

// addKey makes a key that is good at once.
func (s *Server) addKey(ctx context.Context, ask newKey) (keyJSON, error) {
	var expires int64
	if !ask.Expires.IsZero() {
		expires = ask.Expires.UnixMicro()
	}
	key, secret, err := ledger.NewKey(ask.Name, ask.Scopes, ask.Site, expires)
	if err != nil {
		return keyJSON{}, err
	}
	key.Created = s.now().UnixMicro()
	if err := s.o.Keys.AddKey(ctx, key); err != nil {
		return keyJSON{}, err
	}
	out := s.keyJSON(key)
	out.Key = secret
	return out, s.keys.load(ctx)
}

func (s *Server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	if err := s.o.Keys.RevokeKey(r.Context(), r.PathValue("id"), s.now().UnixMicro()); err != nil {
		return err
	}
	// Whatever happens to the client, the key must stop working.
	if err := s.keys.load(context.WithoutCancel(r.Context())); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type siteJSON struct {
	Domain   string `json:"domain"`
	Timezone string `json:"timezone"`
	Created  string `json:"created,omitempty"`
}

func (s *Server) listSites(w http.ResponseWriter, r *http.Request) error {
	sites, err := s.o.Sites.Sites(r.Context())
	if err != nil {
		return err
	}
	list := []siteJSON{}
	for _, site := range sites {
		if forSite(r, site.Domain) == nil {
			list = append(list, siteJSON{site.Domain, site.Timezone, stamp(site.Created)})
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"sites": list})
	return nil
}

func (s *Server) createSite(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		Domain   string `json:"domain"`
		Timezone string `json:"timezone"`
	}
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	ask.Domain = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(ask.Domain)), "www.")
	if !validDomain(ask.Domain) {
		return refuse(http.StatusUnprocessableEntity, "invalid", "domain is a name like example.com: up to 253 letters, digits and . _ - : /")
	}
	if ask.Timezone == "" {
		ask.Timezone = "UTC"
	}
	if _, err := time.LoadLocation(ask.Timezone); err != nil || ask.Timezone == "Local" {
		return refuse(http.StatusUnprocessableEntity, "invalid", "timezone is a name like Europe/Berlin")
	}
	site := ledger.Site{Domain: ask.Domain, Timezone: ask.Timezone, Created: s.now().UnixMicro()}
	if err := s.o.Sites.AddSite(r.Context(), site); err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, siteJSON{site.Domain, site.Timezone, stamp(site.Created)})
	return nil
}

func validDomain(s string) bool {
	for _, c := range []byte(s) {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-:/", rune(c)) && c < 0x80 {
			return false
		}
	}
	return s != "" && len(s) <= 253 && strings.ToValidUTF8(s, "") == s
}

// removeSite forgets a site: it takes no more events. What it has stays until it
// is erased.
func (s *Server) removeSite(w http.ResponseWriter, r *http.Request) error {
	domain := r.PathValue("domain")
	if err := forSite(r, domain); err != nil {
		return err
	}
	if err := s.o.Sites.RemoveSite(r.Context(), domain); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type eraseRequest struct {
	Site       string `json:"site_id"`
	Start      string `json:"start_date"`
	End        string `json:"end_date"`
	User       string `json:"user"`
	Visitor    string `json:"visitor"`
	Everything bool   `json:"everything"` // must be true when nothing narrows it down
}

// told returns what an entry says of an erasure: not whose events they are.
func (ask *eraseRequest) told() map[string]string {
	told := map[string]string{}
	for name, value := range map[string]string{"start_date": ask.Start, "end_date": ask.End} {
		if value != "" {
			told[name] = value
		}
	}
	switch {
	case ask.User != "":
		told["of"] = "a user"
	case ask.Visitor != "":
		told["of"] = "a visitor"
	}
	return told
}

func (s *Server) erase(w http.ResponseWriter, r *http.Request) error {
	var ask eraseRequest
	if err := readJSON(w, r, &ask); err != nil {
		return err
	}
	if err := forSite(r, ask.Site); err != nil {
		return err
	}
	e, err := s.erasure(r.Context(), ask)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // rewriting parts takes what it takes
	act := audit.Entry{Kind: audit.DataErase, Object: "site:" + e.Site, Detail: ask.told()}
	if err := s.begin(r.Context(), act); err != nil {
		return err
	}
	// An erasure that was asked for is done, even if the one who asked has gone. That
	// it is done is recorded with the change itself.
	rows, err := s.o.Eraser.Erase(context.WithoutCancel(r.Context()), e)
	if err != nil {
		return s.end(r.Context(), act, map[string]string{"rows": strconv.FormatInt(rows, 10)}, err)
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": "erased", "site_id": e.Site, "rows": rows})
	return nil
}

func (s *Server) erasure(ctx context.Context, ask eraseRequest) (Erasure, error) {
	if ask.Site == "" {
		return Erasure{}, refuse(http.StatusUnprocessableEntity, "invalid", "site_id is missing")
	}
	narrow := ask.Start != "" || ask.End != "" || ask.User != "" || ask.Visitor != ""
	if narrow == ask.Everything {
		return Erasure{}, refuse(http.StatusUnprocessableEntity, "invalid", `say what to erase: start_date and end_date, user or visitor; or "everything": true`)
	}
	_, zone, err := s.site(ctx, ask.Site)
	var p *problem
	if errors.As(err, &p) {
		zone, err = time.UTC, nil // a site that was removed can still be erased
	}
	if err != nil {
		return Erasure{}, err
	}
	e := Erasure{Site: ask.Site, User: ask.User}
	if ask.Start != "" || ask.End != "" {
		days, err := parseSpan(map[string][]string{"start_date": {ask.Start}, "end_date": {ask.End}}, zone, s.now())
		if err != nil {
			return Erasure{}, err
		}
		e.From, e.To = days.micros()
	}
	if ask.Visitor != "" {
		id, err := hex.DecodeString(strings.ReplaceAll(ask.Visitor, "-", ""))
		if err != nil || len(id) != len(e.Visitor) {
			return Erasure{}, refuse(http.StatusUnprocessableEntity, "invalid", "visitor is an id as the export shows it")
		}
		e.Visitor = event.ID(id)
	}
	return e, nil
}

type partJSON struct {
	ID      int64    `json:"id"`
	Path    string   `json:"path"`
	Day     string   `json:"day"`
	First   int64    `json:"first_seq"`
	Last    int64    `json:"last_seq"`
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"`
	From    string   `json:"from"`
	To      string   `json:"to"`
	Sites   []string `json:"sites"`
	Created string   `json:"created"`
	Damaged string   `json:"damaged,omitempty"`
}

func partsJSON(parts []event.Part) []partJSON {
	out := make([]partJSON, len(parts))
	for i, p := range parts {
		out[i] = partJSON{
			ID: p.ID, Path: p.Path, Day: p.Day.String(), First: p.First, Last: p.Last, Rows: p.Rows, Bytes: p.Bytes, SHA256: hex.EncodeToString(p.SHA256[:]),
			From: stamp(p.MinTime), To: stamp(p.MaxTime), Sites: p.Sites, Created: stamp(p.Created), Damaged: p.Damaged,
		}
	}
	return out
}

func (s *Server) listParts(w http.ResponseWriter, r *http.Request) error {
	parts, published, err := s.o.History.Parts(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"published_seq": published, "parts": partsJSON(parts)})
	return nil
}

func (s *Server) verifyParts(w http.ResponseWriter, r *http.Request) error {
	p := s.newProgress(w)
	_ = p.conn.SetWriteDeadline(time.Time{}) // until the first line of progress
	verified := 0
	var damaged []event.Part
	err := s.during(r.Context(), taskEntry("verify"), func() (_ map[string]string, err error) {
		damaged, err = s.o.History.VerifyParts(r.Context(), func(done, total int) {
			verified = total
			p.step(map[string]int{"done": done, "total": total})
		})
		return map[string]string{"verified": strconv.Itoa(verified), "damaged": strconv.Itoa(len(damaged))}, err
	})
	return p.end(s, r, map[string]any{"verified": verified, "damaged": partsJSON(damaged)}, err)
}

// taskEntry is the entry of a task that somebody has asked for.
func taskEntry(task string) audit.Entry { return audit.Entry{Kind: audit.Task, Object: "task:" + task} }

// maintain does now what would else be done when it is due.
func (s *Server) maintain(w http.ResponseWriter, r *http.Request) error {
	task := r.PathValue("task")
	if task != "publish" && task != "compact" && task != "rollup" {
		return refuse(http.StatusNotFound, "not_found", "maintenance is publish, compact or rollup")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	what := "parts"
	if task == "rollup" {
		what = "spans"
	}
	var n int
	err := s.during(r.Context(), taskEntry(task), func() (_ map[string]string, err error) {
		n, err = s.o.History.Maintain(r.Context(), task)
		return map[string]string{what: strconv.Itoa(n)}, err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"task": task, what: n})
	return nil
}
