package server

import "net/http"

// An operation is what GET /openapi.json says of a route, beside what the route
// itself says: who may use it, and with which errors its kind is refused. Every
// route has one, under its pattern, in the table operations.
type operation struct {
	group string  // heading under which it is listed
	says  string  // what it does, one sentence
	more  string  // Optional: what else there is to know, in Markdown
	asks  []ask   // parameters of the query and the path; those of the path without a word of their own are texts
	takes []media // bodies that it understands, one of which is sent
	gives []reply // answers, errors left out
	fails []int   // errors beside those of its kind: see document.errors
	plain bool    // its errors are not [errorBody]; gives has them
}

// An ask is a parameter.
type ask struct {
	name string
	says string
	of   schema
	must bool
}

// A media is a body: its type, and a value of the Go type that it is written from
// or read into. nil is a text, or bytes that we do not look into.
type media struct {
	kind string
	of   any
}

// A reply is one answer: its status and what it may hold, nothing for none.
type reply struct {
	status int
	says   string
	media  []media
}

// An either is the body of a media that is one of several.
type either []any

// jsonOf is a body of JSON.
func jsonOf(v any) []media { return []media{{"application/json", v}} }

// okJSON is the answer 200 with a body of JSON.
func okJSON(says string, v any) []reply { return []reply{{http.StatusOK, says, jsonOf(v)}} }

// text, oneOf and between are schemas of parameters.
func textual() schema               { return schema{"type": "string"} }
func oneOf(values ...string) schema { return schema{"type": "string", "enum": values} }
func between(least, most any) schema {
	return schema{"type": "integer", "minimum": least, "maximum": most}
}

// byDefault returns a schema with the value of a parameter that is left out.
func (s schema) byDefault(v any) schema {
	s["default"] = v
	return s
}
