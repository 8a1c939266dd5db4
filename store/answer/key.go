package answer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/eider-analytics/eider/store/event"
)

// A Key is the same for questions that have the same answer, and no other: a
// digest, so that it is small however long the question.
type Key [sha256.Size]byte

// KeyOf returns the key of a question of a kind, which is all of parts: structs,
// slices, texts, numbers, and pointers to them. Filters that say the same in
// another order are the same.
func KeyOf(kind string, parts ...any) Key {
	b := appendText(nil, kind)
	for _, p := range parts {
		b = appendValue(b, reflect.ValueOf(p))
	}
	return sha256.Sum256(b)
}

var (
	zoneType   = reflect.TypeFor[*time.Location]()
	filterType = reflect.TypeFor[event.Filter]()
)

// appendValue appends a value so that two have the same bytes only if they are
// equal: everything of a varying length says its length first.
func appendValue(b []byte, v reflect.Value) []byte {
	switch {
	case !v.IsValid():
		return append(b, 0)
	case v.Type() == zoneType:
		return appendText(b, v.Interface().(*time.Location).String()) // nil is UTC
	case v.Type() == filterType:
		return appendFilter(b, v.Interface().(event.Filter))
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.Float32, reflect.Float64:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case reflect.String:
		return appendText(b, v.String())
	case reflect.Slice, reflect.Array:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Struct:
		for i := range v.NumField() {
			b = appendValue(b, v.Field(i))
		}
		return b
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, 0)
		}
		return appendValue(append(b, 1), v.Elem())
	}
	panic(fmt.Sprintf("answer: internal error: a question must not hold a %s", v.Type()))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendFilter sorts what may come in any order: values, of which one will do,
// and what And and Or join.
func appendFilter(b []byte, f event.Filter) []byte {
	values := f.Values
	if f.Op != event.AtLeast {
		values = slices.Compact(slices.Sorted(slices.Values(f.Values)))
	}
	of := make([]string, len(f.Of))
	for i := range f.Of {
		of[i] = string(appendFilter(nil, f.Of[i]))
	}
	if f.Op == event.And || f.Op == event.Or {
		slices.Sort(of)
		of = slices.Compact(of)
	}
	b = binary.AppendVarint(b, int64(f.Op))
	b = appendText(b, string(f.Dimension))
	b = appendValue(b, reflect.ValueOf(f.IgnoreCase))
	b = appendValue(b, reflect.ValueOf(values))
	return appendValue(b, reflect.ValueOf(of))
}

// sizeOf returns about how many bytes a value takes, with all that it points to.
func sizeOf(v any) int64 {
	r := reflect.ValueOf(v)
	if !r.IsValid() {
		return 0
	}
	return int64(r.Type().Size()) + sizeBehind(r)
}

// sizeBehind returns what a value takes beyond itself.
func sizeBehind(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice {
			n = int64(v.Cap()) * int64(v.Type().Elem().Size())
		}
		if flat(v.Type().Elem()) {
			return n
		}
		for i := range v.Len() {
			n += sizeBehind(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += sizeBehind(v.Field(i))
		}
	case reflect.Pointer:
		if v.IsNil() || v.Type() == zoneType { // shared with everything else
			return 0
		}
		return int64(v.Elem().Type().Size()) + sizeBehind(v.Elem())
	case reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int64(v.Elem().Type().Size()) + sizeBehind(v.Elem())
	case reflect.Map:
		const bucket = 16
		for key, value := range v.Seq2() {
			n += bucket + int64(key.Type().Size()+value.Type().Size()) + sizeBehind(key) + sizeBehind(value)
		}
	}
	return n
}

// flat says whether values of a type have nothing behind them.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Slice, reflect.Pointer, reflect.Interface, reflect.Map:
		return false
	case reflect.Array:
		return flat(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if !flat(f.Type) {
				return false
			}
		}
	}
	return true
}
