package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// openAPI answers with the document that describes every route.
func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Etag", s.document.etag)
	h.Set("Cache-Control", "public, max-age=300")
	if matches(r.Header.Get("If-None-Match"), s.document.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", s.document.kind)
	_, _ = w.Write(s.document.body)
	return nil
}

// openDocument writes the document once.
func openDocument(version string) (asset, error) {
	body, err := json.Marshal(documentOf(version, routes, operations, false))
	if err != nil {
		return asset{}, err
	}
	sum := sha256.Sum256(body)
	return asset{body, "application/json", `W/"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// A document is OpenAPI 3.1 about a list of routes. In a strict one an answer has
// the fields that are listed and no others; clients are not promised that.
type document struct {
	answers, bodies reflector
}

func documentOf(version string, routes []route, operations map[string]operation, strict bool) map[string]any {
	components := map[string]any{}
	d := document{
		answers: reflector{components: components, made: map[reflect.Type]string{}, closed: strict},
		bodies:  reflector{components: components, made: map[reflect.Type]string{}, body: true},
	}
	paths := map[string]any{}
	groups := map[string]bool{}
	for _, rt := range routes {
		op, ok := operations[rt.pattern]
		if !ok {
			continue // a test finds it
		}
		method, path := pathOf(rt.pattern)
		item, _ := paths[path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[path] = item
		}
		item[strings.ToLower(method)] = d.operation(rt, op, path)
		groups[op.group] = true
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Eider", "version": version,
			"description": "Counts visits to web sites and answers questions about them. API.md tells the same in prose, with examples.",
		},
		"servers": []any{map[string]any{"url": "/"}},
		"tags":    tags(groups),
		"paths":   paths,
		"components": map[string]any{
			"schemas": components,
			"securitySchemes": map[string]any{
				"bearer":  map[string]any{"type": "http", "scheme": "bearer", "description": "A key of Eider's, eider_…"},
				"header":  map[string]any{"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
				"link":    map[string]any{"type": "apiKey", "in": "header", "name": shareHeader, "description": "The slug of a shared link, and after a point the pass if it has a password."},
				"session": map[string]any{"type": "apiKey", "in": "cookie", "name": hostPrefix + sessionCookie, "description": "Of who has logged in; without TLS it is called eider."},
			},
		},
	}
}

func tags(groups map[string]bool) []any {
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		list = append(list, map[string]any{"name": name})
	}
	return list
}

// pathOf returns method and path of a pattern as OpenAPI has them.
func pathOf(pattern string) (method, path string) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		return http.MethodGet, pattern
	}
	return method, strings.ReplaceAll(strings.TrimSuffix(path, "{$}"), "...}", "}")
}

var pathParam = regexp.MustCompile(`\{([^}]+)\}`)

func (d *document) operation(rt route, op operation, path string) map[string]any {
	out := map[string]any{
		"operationId": operationID(rt.pattern), "summary": op.says, "tags": []string{op.group},
		"responses": d.responses(rt, op),
	}
	if op.more != "" {
		out["description"] = op.more
	}
	if params := parameters(path, op.asks); len(params) > 0 {
		out["parameters"] = params
	}
	if len(op.takes) > 0 {
		out["requestBody"] = map[string]any{"required": true, "content": content(&d.bodies, op.takes)}
	}
	if security := securityOf(rt.access); security != nil {
		out["security"] = security
		out["x-scope"] = rt.access.scope
	}
	return out
}

// operationID is the name of an operation in generated clients: postApiSql.
func operationID(pattern string) string {
	method, path := pathOf(pattern)
	var b strings.Builder
	b.WriteString(strings.ToLower(method))
	for _, word := range strings.FieldsFunc(path, func(c rune) bool { return strings.ContainsRune("/{}-_.", c) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func parameters(path string, asks []ask) (list []any) {
	inPath := map[string]bool{}
	for _, m := range pathParam.FindAllStringSubmatch(path, -1) {
		inPath[m[1]] = true
	}
	add := func(a ask, in string) {
		p := map[string]any{"name": a.name, "in": in, "schema": a.of}
		if a.says != "" {
			p["description"] = a.says
		}
		if a.must || in == "path" {
			p["required"] = true
		}
		list = append(list, p)
	}
	for _, a := range asks {
		if inPath[a.name] {
			delete(inPath, a.name)
			add(a, "path")
		} else {
			add(a, "query")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inPath)) {
		add(ask{name: name, of: textual()}, "path")
	}
	return list
}

// securityOf says which credentials a route takes; nil if it is open.
func securityOf(a access) []any {
	if a == open || a.badge {
		return nil
	}
	session := map[string]any{"session": []string{}}
	if a.user {
		return []any{session}
	}
	either := []any{map[string]any{"bearer": []string{}}, map[string]any{"header": []string{}}, session}
	if a.link {
		either = append(either, map[string]any{"link": []string{}})
	}
	if a.local {
		either = append(either, map[string]any{})
	}
	return either
}

func (d *document) responses(rt route, op operation) map[string]any {
	out := map[string]any{}
	for _, r := range op.gives {
		answer := map[string]any{"description": r.says}
		if len(r.media) > 0 {
			answer["content"] = content(&d.answers, r.media)
		}
		out[strconv.Itoa(r.status)] = answer
	}
	for _, status := range d.errors(rt, op) {
		if out[strconv.Itoa(status)] == nil {
			out[strconv.Itoa(status)] = d.failure(status)
		}
	}
	return out
}

// errors are the statuses with which a request may be refused: by the key, for
// want of a place, for its body, and by whatever is our own fault.
func (d *document) errors(rt route, op operation) []int {
	list := slices.Clone(op.fails)
	if op.plain {
		return list
	}
	if securityOf(rt.access) != nil {
		list = append(list, http.StatusUnauthorized, http.StatusForbidden)
	}
	if rt.entrance() { // another site's page
		list = append(list, http.StatusForbidden, http.StatusServiceUnavailable, http.StatusInternalServerError)
	}
	if len(op.asks) > 0 {
		list = append(list, http.StatusBadRequest)
	}
	if len(op.takes) > 0 {
		list = append(list, http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity)
	}
	if slots[rt.class] > 0 {
		list = append(list, http.StatusInternalServerError, http.StatusServiceUnavailable)
	}
	if rt.class == queries || rt.class == statements {
		list = append(list, http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusGatewayTimeout)
	}
	return list
}

func (d *document) failure(status int) map[string]any {
	answer := map[string]any{
		"description": http.StatusText(status),
		"content":     content(&d.answers, jsonOf(errorBody{})),
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		answer["headers"] = map[string]any{"Retry-After": map[string]any{"description": "Seconds after which it may go better.", "schema": schema{"type": "integer"}}}
	}
	return answer
}

func content(r *reflector, list []media) map[string]any {
	out := map[string]any{}
	for _, m := range list {
		switch v := m.of.(type) {
		case nil:
			out[m.kind] = map[string]any{}
		case schema:
			out[m.kind] = map[string]any{"schema": v}
		case either:
			list := []any{}
			for _, one := range v {
				list = append(list, r.of(reflect.TypeOf(one)))
			}
			out[m.kind] = map[string]any{"schema": schema{"anyOf": list}}
		default:
			out[m.kind] = map[string]any{"schema": r.of(reflect.TypeOf(v))}
		}
	}
	return out
}
