package server

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A schema is a JSON Schema of the draft 2020-12, as OpenAPI 3.1 has it.
type schema map[string]any

// A schemed type says itself what its JSON looks like.
type schemed interface{ schema() schema }

// A reflector makes schemas of Go types, as encoding/json writes and reads them.
// Structs that have a name become components, so that each is there once.
//
// Three things in the tag of a field are its own: doc describes the field, enum
// lists its values, separated by commas, and api says "required" of what a body
// must hold, or "nullable". In an answer every field is there unless it is marked
// omitempty.
type reflector struct {
	components map[string]any
	made       map[reflect.Type]string
	closed     bool // objects have no other fields
	body       bool // it is a body that we read, not an answer: fields may be left out
}

var (
	timeType    = reflect.TypeFor[time.Time]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	schemedType = reflect.TypeFor[schemed]()
)

func (r *reflector) of(t reflect.Type) schema {
	switch {
	case t.Implements(schemedType):
		return reflect.Zero(t).Interface().(schemed).schema()
	case t == timeType:
		return schema{"type": "string", "format": "date-time"}
	case t == rawType:
		return schema{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Slice, reflect.Array:
		return schema{"type": "array", "items": r.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": r.of(t.Elem())}
	case reflect.Pointer:
		return orNull(r.of(t.Elem()))
	case reflect.Interface:
		return schema{}
	case reflect.Struct:
		return r.named(t)
	}
	panic(fmt.Sprintf("server: internal error: no schema for a %s", t))
}

// named returns a reference to the component of a struct, which it makes if it is
// not there yet. A struct without a name is written where it stands.
func (r *reflector) named(t reflect.Type) schema {
	if t.Name() == "" {
		return r.object(t)
	}
	name, ok := r.made[t]
	if !ok {
		name = componentOf(t)
		for r.components[name] != nil { // another type of the same name
			name += "2"
		}
		r.made[t] = name
		r.components[name] = schema{} // a type may hold itself
		r.components[name] = r.object(t)
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

// componentOf names the component of a type: totalsJSON is Totals, and
// reportOf[server.totalsJSON] ReportOfTotals.
func componentOf(t reflect.Type) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(t.Name(), func(c rune) bool { return strings.ContainsRune("[],*", c) }) {
		word = strings.TrimSuffix(word[strings.LastIndexByte(word, '.')+1:], "JSON")
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

func (r *reflector) object(t reflect.Type) schema {
	properties, required := schema{}, []string{}
	r.fields(t, properties, &required)
	s := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	if r.closed || r.body { // readJSON refuses what it does not know
		s["additionalProperties"] = false
	}
	return s
}

// fields adds the fields of a struct, and those of the structs in it that have no
// name of their own, over which the outer ones go.
func (r *reflector) fields(t reflect.Type, properties schema, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if f.Anonymous && name == "" {
			r.fields(f.Type, properties, required)
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, again := properties[name]; !again && r.mustHave(f, options) {
			*required = append(*required, name)
		}
		properties[name] = r.field(f, options)
	}
}

func (r *reflector) mustHave(f reflect.StructField, options string) bool {
	if r.body {
		return strings.Contains(f.Tag.Get("api"), "required")
	}
	return !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero")
}

func (r *reflector) field(f reflect.StructField, options string) schema {
	t := f.Type
	if t.Kind() == reflect.Pointer && strings.Contains(options, "omit") {
		t = t.Elem() // left out instead of null
	}
	s := r.of(t)
	if list := f.Tag.Get("enum"); list != "" {
		s["enum"] = strings.Split(list, ",")
	}
	if strings.Contains(f.Tag.Get("api"), "nullable") {
		s = orNull(s)
	}
	if doc := f.Tag.Get("doc"); doc != "" {
		s["description"] = doc
	}
	return s
}

// orNull returns the schema of what may also be null.
func orNull(s schema) schema {
	if kind, ok := s["type"].(string); ok && s["enum"] == nil {
		s["type"] = []string{kind, "null"}
		return s
	}
	if len(s) == 0 { // anything at all
		return s
	}
	return schema{"anyOf": []schema{s, {"type": "null"}}}
}
