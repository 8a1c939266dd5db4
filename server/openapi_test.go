package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/eider-analytics/eider/server"
)

// A contract is the document of the API, read as a validator reads it. In the
// strict one an answer has no field that is not listed.
type contract struct {
	paths    map[string]map[string]operationDoc
	compiler *jsonschema.Compiler
	mu       sync.Mutex // guards the compiler and the schemas that it has made
	schemas  map[string]*jsonschema.Schema
}

type operationDoc struct {
	OperationID string         `json:"operationId"`
	Summary     string         `json:"summary"`
	Tags        []string       `json:"tags"`
	Security    []any          `json:"security"`
	Body        map[string]any `json:"requestBody"`
	Responses   map[string]struct {
		Description string                    `json:"description"`
		Content     map[string]map[string]any `json:"content"`
	} `json:"responses"`
}

const documentURL = "https://eider.test/openapi.json"

// strict is the document that every answer of the tests is held to.
var strict = sync.OnceValues(func() (*contract, error) { return newContract(server.StrictDocument()) })

func newContract(doc []byte) (*contract, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, err
	}
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(documentURL, v); err != nil {
		return nil, err
	}
	var parsed struct {
		Paths map[string]map[string]operationDoc `json:"paths"`
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		return nil, err
	}
	c.paths = parsed.Paths
	return c, nil
}

// escaped is a key in a JSON pointer in a URL.
func escaped(s string) string {
	s = strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
	return strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D", " ", "%20", ";", "%3B").Replace(s)
}

// check says in what an answer is not as the document has it.
func (c *contract) check(pattern string, res *http.Response, body []byte) error {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "GET", pattern
	}
	path = strings.ReplaceAll(path, "...}", "}")
	op, ok := c.paths[path][strings.ToLower(method)]
	if !ok {
		return fmt.Errorf("%s is not in the document", pattern)
	}
	status := fmt.Sprint(res.StatusCode)
	answer, ok := op.Responses[status]
	if !ok {
		return fmt.Errorf("%s answers %s, which the document does not say: %.200s", pattern, status, body)
	}
	given := res.Header.Get("Content-Type")
	if len(answer.Content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%s answers %s with a body: %.200s", pattern, status, body)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		return fmt.Errorf("%s answers %s as %q", pattern, status, given)
	}
	for listed := range answer.Content {
		if is, _, _ := mime.ParseMediaType(listed); is == kind {
			if kind != "application/json" || answer.Content[listed]["schema"] == nil {
				return nil
			}
			at := strings.Join([]string{"#", "paths", escaped(path), strings.ToLower(method), "responses", status, "content", escaped(listed), "schema"}, "/")
			return c.validate(pattern+" "+status, at, body)
		}
	}
	return fmt.Errorf("%s answers %s as %s; the document has %v", pattern, status, kind, slices.Collect(maps.Keys(answer.Content)))
}

func (c *contract) validate(what, at string, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", what, err, body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.schemas[at]
	if s == nil {
		if s, err = c.compiler.Compile(documentURL + at); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		c.schemas[at] = s
	}
	if err := s.Validate(v); err != nil {
		return fmt.Errorf("%s: %w: %.400s", what, err, body)
	}
	return nil
}

// held checks one answer of a test against the document. What is no route is in
// no document, and what a handler broke off is no answer.
func (r *rig) held(req *http.Request, w *httptest.ResponseRecorder) {
	pattern := server.RouteOf(req)
	if pattern == "" || req.Method == http.MethodHead || w.Code == http.StatusTemporaryRedirect || pattern == "/" && req.URL.Path != "/" {
		return
	}
	c, err := strict()
	if err == nil {
		err = c.check(pattern, w.Result(), w.Body.Bytes())
	}
	if err == nil {
		return
	}
	if _, fuzzing := r.t.(*testing.F); fuzzing { // it cannot be told inside of the target
		panic(err)
	}
	r.t.Helper()
	r.t.Errorf("not as openapi.json says: %v", err)
}

// TestEveryRouteIsDescribed: a route without a description, and a description
// without a route, are mistakes.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	described := server.Described()
	patterns := server.Patterns()
	for _, p := range patterns {
		if !slices.Contains(described, p) {
			t.Errorf("%s has no description: add it to operations.go", p)
		}
	}
	for _, p := range described {
		if !slices.Contains(patterns, p) {
			t.Errorf("%s is described and not in the list of routes", p)
		}
	}
}

// TestOpenAPI holds the document that is served to the specification's own schema,
// and to what clients are generated from.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.do("GET", "/openapi.json", "", "-")
	want(t, w, 200, "")
	if w.Header().Get("Etag") == "" || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("headers %v", w.Header())
	}
	if again := r.do("GET", "/openapi.json", "", "-", "If-None-Match: "+w.Header().Get("Etag")); again.Code != 304 {
		t.Errorf("asked again: %d", again.Code)
	}
	spec, err := os.ReadFile(filepath.Join("testdata", "openapi-3.1-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := jsonschema.UnmarshalJSON(bytes.NewReader(spec))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("https://eider.test/spec.json", meta); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("https://eider.test/spec.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	c, err := strict()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for path, methods := range c.paths {
		for method, op := range methods {
			what := method + " " + path
			if before, again := ids[op.OperationID]; again {
				t.Errorf("%s has the operationId of %s", what, before)
			}
			ids[op.OperationID] = what
			if op.Summary == "" || len(op.Tags) != 1 || op.Tags[0] == "" {
				t.Errorf("%s has the summary %q and the tags %q", what, op.Summary, op.Tags)
			}
		}
	}
	for pattern, g := range guards {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok {
			method, path = "GET", pattern
		}
		path = strings.ReplaceAll(path, "...}", "}")
		if got := len(c.paths[path][strings.ToLower(method)].Security) > 0; got != (len(g.scopes) > 0 || g.user) {
			t.Errorf("%s: the document says that it needs a key: %t", pattern, got)
		}
	}
}

// TestContractControl breaks answers in each way there is: a check that finds
// nothing here would find nothing in the others either.
func TestContractControl(t *testing.T) {
	t.Parallel()
	c, err := strict()
	if err != nil {
		t.Fatal(err)
	}
	const site = `{"domain":"a","timezone":"UTC"}`
	for _, b := range []struct {
		pattern, kind, body string
		status              int
		want                string
	}{
		{"GET /api/sites", "application/json", `{"sites":[` + site + `]}`, 200, ""},
		{"GET /api/sites", "application/json; charset=utf-8", `{"sites":[]}`, 200, ""},
		{"GET /api/nothing", "application/json", `{}`, 200, "not in the document"},
		{"GET /api/sites", "application/json", `{"sites":[]}`, 201, "answers 201"},
		{"GET /api/sites", "text/csv", `sites`, 200, "as text/csv"},
		{"GET /api/sites", "application/json", `{"sites":[]`, 200, "EOF"},
		{"GET /api/sites", "application/json", `{}`, 200, "missing property"},
		{"GET /api/sites", "application/json", `{"sites":null}`, 200, "want array"},
		{"GET /api/sites", "application/json", `{"sites":[{"domain":1,"timezone":"UTC"}]}`, 200, "want string"},
		{"GET /api/sites", "application/json", `{"sites":[],"more":1}`, 200, "additional properties"},
		{"GET /api/sites", "application/json", `{"sites":[{"domain":"a","timezone":"UTC","secret":1}]}`, 200, "additional properties"},
		{"GET /api/sites", "application/json", `{"error":"no"}`, 401, "missing properties"},
		{"DELETE /api/keys/{id}", "", `x`, 204, "with a body"},
	} {
		res := &http.Response{StatusCode: b.status, Header: http.Header{"Content-Type": {b.kind}}}
		err := c.check(b.pattern, res, []byte(b.body))
		if b.want == "" && err != nil || b.want != "" && (err == nil || !strings.Contains(err.Error(), b.want)) {
			t.Errorf("%s %d %s: %v, want %q", b.pattern, b.status, b.body, err, b.want)
		}
	}
}
