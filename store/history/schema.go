package history

import (
	"fmt"
	"reflect"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/eider-analytics/eider/store/event"
)

// schema is that of every part: a column for each of [event.Columns], in that
// order. It is shared and does not change.
//
//	Int64    INT64, INTEGER(64, signed)
//	Int32    INT32, INTEGER(32, signed)
//	Bool     BOOLEAN
//	Text     BYTE_ARRAY, STRING
//	Time     INT64, TIMESTAMP(MICROS, adjusted to UTC)
//	UUID     FIXED_LEN_BYTE_ARRAY(16), UUID
//	Decimal  INT64, DECIMAL(18, 4)
//	JSON     BYTE_ARRAY, STRING
//
// JSON is not annotated as such: every engine reads a string, and their JSON
// functions take one, whereas the annotation becomes another type in each.
var schema = parquet.NewSchema("event", newRoot())

// A root keeps its fields in order, where a [parquet.Group] sorts them by name.
type root struct {
	parquet.Group
	fields []parquet.Field
}

func (r root) Fields() []parquet.Field { return r.fields }

type node struct {
	parquet.Node
	name string
}

func (n node) Name() string { return n.name }

func (n node) Value(base reflect.Value) reflect.Value {
	return base.MapIndex(reflect.ValueOf(n.name))
}

func newRoot() root {
	r := root{Group: parquet.Group{}}
	for _, c := range event.Columns {
		n := node{nodeOf(c), c.Name}
		r.Group[c.Name] = n
		r.fields = append(r.fields, n)
	}
	return r
}

func nodeOf(c event.Column) parquet.Node {
	n := parquet.Encoded(leafOf(c.Kind), encodingOf(c))
	if c.Nullable {
		return parquet.Optional(n)
	}
	return parquet.Required(n)
}

func leafOf(k event.Kind) parquet.Node {
	switch k {
	case event.Int64:
		return parquet.Int(64)
	case event.Int32:
		return parquet.Int(32)
	case event.Bool:
		return parquet.Leaf(parquet.BooleanType)
	case event.Text, event.JSON:
		return parquet.String()
	case event.Time:
		return parquet.TimestampAdjusted(parquet.Microsecond, true)
	case event.UUID:
		return parquet.UUID()
	case event.Decimal:
		return parquet.Decimal(4, 18, parquet.Int64Type)
	default:
		panic(fmt.Sprintf("history: internal error: no Parquet type for kind %d", k))
	}
}

// encodingOf says how the values of a column are laid out before compression:
// numbers that grow or repeat little by their differences, ids that never repeat
// as they are, all others with a dictionary.
func encodingOf(c event.Column) encoding.Encoding {
	switch {
	case c.Kind == event.Bool, c.Name == "event_id":
		return &parquet.Plain
	case c.Kind == event.Time, c.Name == "seq", c.Name == "visit", c.Name == "engaged_ms":
		return &parquet.DeltaBinaryPacked
	default:
		return &parquet.RLEDictionary
	}
}
