package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/eider-analytics/eider/store/audit"
)

// Deeds are what the clients know of their acts, by the object as the chain names it.
type deeds struct {
	mu    sync.Mutex
	count int
	made  map[string]bool // we were told so; false: we were told that it is removed
	asked map[string]bool // to be removed: what came of it we may not have been told
}

func newDeeds() *deeds { return &deeds{made: make(map[string]bool), asked: make(map[string]bool)} }

func (y *deeds) next() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.count++
	return y.count
}

func (y *deeds) ack(object string, there bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.made[object] = there
}

func (y *deeds) ask(object string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.asked[object] = true
}

// act makes a site and a key, and removes one of them or none.
func (d *daemon) act() error {
	n := d.deeds.next()
	domain := fmt.Sprintf("deed-%d.example", n)
	if _, err := d.post("/api/sites", "application/json", `{"domain":"`+domain+`"}`); err != nil {
		return err
	}
	d.deeds.ack("site:"+domain, true)
	text, err := d.post("/api/keys", "application/json", `{"name":"deed","scopes":["stats"]}`)
	if err != nil {
		return err
	}
	var key struct{ ID string }
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		return fmt.Errorf("answer %q: %w", text, err)
	}
	d.deeds.ack("key:"+key.ID, true)
	switch n % 3 {
	case 0:
		return d.undo("site:"+domain, "/api/sites/"+domain)
	case 1:
		return d.undo("key:"+key.ID, "/api/keys/"+key.ID)
	}
	return nil
}

func (d *daemon) undo(object, path string) error {
	d.deeds.ask(object)
	status, answer, err := d.ask(http.MethodDelete, path, "", nil)
	if err == nil && status != http.StatusNoContent {
		err = &refusal{path: path, status: status, body: answer}
	}
	if err == nil {
		d.deeds.ack(object, false)
	}
	return err
}

// actAtOnce has several clients act at once, so that their acts share commits.
func (d *daemon) actAtOnce() error {
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		all.Go(func() { errs[i] = d.act() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// A record is what the chain says of what there should be.
type record struct {
	there map[string]bool // sites and keys that were made and not removed
	rows  map[audit.Kind]int
}

// recorded reads the chain, and checks nothing of it but its numbers: what makes it a
// chain is for eider audit verify.
func recorded(export []byte) (r record, err error) {
	r = record{make(map[string]bool), make(map[audit.Kind]int)}
	seq := 0
	for line := range bytes.Lines(export) {
		var e struct {
			Seq, Object string
			Kind        audit.Kind
			Outcome     audit.Outcome
			Detail      map[string]string
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return r, fmt.Errorf("line %q: %w", line, err)
		}
		if e.Seq == "" { // a checkpoint, or the end
			continue
		}
		if e.Seq != strconv.Itoa(seq) {
			return r, fmt.Errorf("entry %s where %d should be", e.Seq, seq)
		}
		seq++
		switch e.Kind {
		case audit.SiteCreate, audit.KeyCreate:
			if r.there[e.Object] {
				return r, fmt.Errorf("entry %s: %s of %s, which is there", e.Seq, e.Kind, e.Object)
			}
			r.there[e.Object] = true
		case audit.SiteRemove, audit.KeyRevoke:
			if !r.there[e.Object] {
				return r, fmt.Errorf("entry %s: %s of %s, which is not there", e.Seq, e.Kind, e.Object)
			}
			delete(r.there, e.Object)
		case audit.DataErase, audit.DataRetain:
			if n, err := strconv.Atoi(e.Detail["rows"]); err == nil && e.Outcome == audit.Done {
				r.rows[e.Kind] += n
			}
		}
	}
	return r, nil
}

// compare says what is wrong: an act without its entry, an entry without its act, or
// something that was acknowledged and is not so.
func (y *deeds) compare(chain record, there map[string]bool) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	var errs []error
	for _, object := range slices.Sorted(maps.Keys(there)) {
		if !chain.there[object] {
			errs = append(errs, fmt.Errorf("%s is there, and no entry says so", object))
		}
	}
	for _, object := range slices.Sorted(maps.Keys(chain.there)) {
		if !there[object] {
			errs = append(errs, fmt.Errorf("an entry says that %s is there, and it is not", object))
		}
	}
	for object, made := range y.made {
		switch {
		case made && !there[object] && !y.asked[object]:
			errs = append(errs, fmt.Errorf("%s was acknowledged, and is lost", object))
		case !made && there[object]:
			errs = append(errs, fmt.Errorf("the removal of %s was acknowledged, and it is there", object))
		}
	}
	return errors.Join(errs[:min(len(errs), 10)]...)
}

// checkDeeds compares what is there with what the chain says, and with what was
// acknowledged.
func (d *daemon) checkDeeds() error {
	d.Helper()
	status, export, err := d.get("/api/audit/export?format=ndjson")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("export of the chain: status %d, %w", status, err)
	}
	chain, err := recorded([]byte(export))
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	var sites struct{ Sites []struct{ Domain string } }
	d.must(http.MethodGet, "/api/sites", nil, &sites)
	for _, s := range sites.Sites {
		there["site:"+s.Domain] = true
	}
	var keys struct {
		Keys []struct{ ID, Revoked string }
	}
	d.must(http.MethodGet, "/api/keys", nil, &keys)
	for _, k := range keys.Keys {
		if k.Revoked == "" {
			there["key:"+k.ID] = true
		}
	}
	if err := d.deeds.compare(chain, there); err != nil {
		return err
	}
	for kind, group := range map[audit.Kind]mark{audit.DataErase: leaver, audit.DataRetain: old} {
		if gone := len(d.events.list(group|acked, found)); gone != chain.rows[kind] {
			return fmt.Errorf("%d events have gone, and entries of the kind %s say %d", gone, kind, chain.rows[kind])
		}
	}
	return nil
}

// verifyDeeds has the chain of a stopped program verified.
func (r *rig) verifyDeeds() {
	r.Helper()
	if out := r.run("audit", "verify", "--json"); !strings.Contains(out, `"status":"sound"`) {
		r.Errorf("eider audit verify says %s", out)
	}
}

// TestDeeds: a comparison that finds nothing whatever is wrong is worth nothing.
func TestDeeds(t *testing.T) {
	t.Parallel()
	const export = `{"kind":"site.create","object":"site:a","seq":"0"}
{"checkpoint":"x"}
{"kind":"key.create","object":"key:b","seq":"1"}
{"detail":{"rows":"4"},"kind":"data.erase","outcome":"done","seq":"2"}
{"kind":"key.revoke","object":"key:b","seq":"3"}
`
	chain, err := recorded([]byte(export))
	if err != nil || len(chain.there) != 1 || chain.rows[audit.DataErase] != 4 {
		t.Fatalf("%+v, %v", chain, err)
	}
	for _, wrong := range []string{
		strings.Replace(export, `"seq":"1"`, `"seq":"2"`, 1),
		strings.Replace(export, "key.revoke", "key.create", 1) + `{"kind":"key.create","object":"key:b","seq":"4"}`,
		strings.Replace(export, "key.create", "key.revoke", 1), "x",
	} {
		if _, err := recorded([]byte(wrong)); err == nil {
			t.Errorf("nothing is wrong with %s", wrong)
		}
	}
	y := newDeeds()
	y.ack("site:a", true)
	y.ack("key:b", false)
	y.ack("key:c", true)
	y.ask("key:c")
	for _, c := range []struct{ there, want string }{
		{"site:a", ""},
		{"site:a key:d", "key:d is there, and no entry"},
		{"", "says that site:a is there"},
		{"", "site:a was acknowledged"},
		{"site:a key:b", "removal of key:b"},
	} {
		there := make(map[string]bool)
		for object := range strings.FieldsSeq(c.there) {
			there[object] = true
		}
		err := y.compare(chain, there)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("there is %q: %v, want %q", c.there, err, c.want)
		}
	}
}
