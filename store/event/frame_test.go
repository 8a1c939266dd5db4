package event_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/eider-analytics/eider/store/event"
)

// full returns an event in which every field has a value of its own.
func full(t testing.TB) event.Event {
	t.Helper()
	var e event.Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(v.Type().Field(i).Name + " ü\x00")
		case reflect.Int64, reflect.Int32:
			f.SetInt(int64(i) * 1_000_003 * int64(1-2*(i%2)))
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Array:
			f.Index(i % 16).SetUint(uint64(i))
		default:
			t.Fatalf("field %s has a kind that frames do not know", v.Type().Field(i).Name)
		}
	}
	return e
}

// TestPayload takes every field through a payload and back, so that a field that
// is added to Event but not to the frame is noticed.
func TestPayload(t *testing.T) {
	want := []event.Event{full(t), {Scroll: event.NoScroll}, {Seq: math.MaxInt64, Time: math.MinInt64, Received: math.MinInt64}}
	payload := event.Encode([]byte("before"), want)[len("before"):]
	got, err := event.Decode(string(payload))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	frames, err := event.Frames(string(payload))
	if err != nil {
		t.Fatal(err)
	}
	seq, site, time := frames[0].Key()
	if seq != want[0].Seq || site != want[0].Site || time != want[0].Time {
		t.Errorf("Key = %d, %q, %d; want %d, %q, %d", seq, site, time, want[0].Seq, want[0].Site, want[0].Time)
	}
}

// TestPayloadDamage cuts a payload after every byte and flips every bit: each
// must be found.
func TestPayloadDamage(t *testing.T) {
	payload := event.Encode(nil, []event.Event{full(t), full(t)})
	for cut := range payload {
		if _, err := event.Decode(string(payload[:cut])); !errors.Is(err, event.ErrPayload) {
			t.Fatalf("cut at %d: %v, want ErrPayload", cut, err)
		}
	}
	for bit := range len(payload) * 8 {
		payload[bit/8] ^= 1 << (bit % 8)
		if _, err := event.Decode(string(payload)); !errors.Is(err, event.ErrPayload) {
			t.Fatalf("bit %d flipped: %v, want ErrPayload", bit, err)
		}
		payload[bit/8] ^= 1 << (bit % 8)
	}
}

// TestColumns checks that every field of an event is a column, once, and that a
// column reads the field it is named for.
func TestColumns(t *testing.T) {
	e := full(t)
	if got, want := len(event.Columns), reflect.TypeFor[event.Event]().NumField(); got != want {
		t.Errorf("%d columns for %d fields", got, want)
	}
	seen := map[any]string{}
	for _, c := range event.Columns {
		var v any
		switch c.Kind {
		case event.Text, event.JSON:
			v = c.Str(&e)
		case event.UUID:
			v = c.ID(&e)
		default:
			v = c.Num(&e)
		}
		if other, ok := seen[v]; ok {
			t.Errorf("columns %s and %s read the same field", c.Name, other)
		}
		seen[v] = c.Name
		if c.Null(&e) {
			t.Errorf("column %s of a full event is null", c.Name)
		}
		none := event.Event{Scroll: event.NoScroll}
		if c.Null(&none) != c.Nullable {
			t.Errorf("column %s of an empty event: null is %t, nullable is %t", c.Name, c.Null(&none), c.Nullable)
		}
	}
}

func TestDay(t *testing.T) {
	for _, c := range []struct {
		micros int64
		want   string
	}{
		{0, "1970-01-01"},
		{-1, "1969-12-31"},
		{86_400_000_000 - 1, "1970-01-01"},
		{1_763_683_200_000_000, "2025-11-21"},
	} {
		d := event.DayOf(c.micros)
		if d.String() != c.want {
			t.Errorf("DayOf(%d) = %s, want %s", c.micros, d, c.want)
		}
		if back, err := event.ParseDay(c.want); err != nil || back != d {
			t.Errorf("ParseDay(%s) = %d, %v; want %d", c.want, back, err, d)
		}
	}
}

func TestIDString(t *testing.T) {
	id := event.ID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}
	if got, want := id.String(), "01234567-89ab-cdef-1032-547698badcfe"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (event.ID{}).String(); got != "" {
		t.Errorf("zero ID is %q, want nothing", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(string(event.Encode(nil, []event.Event{full(f)})))
	f.Add("")
	f.Fuzz(func(t *testing.T, payload string) {
		events, err := event.Decode(payload)
		if err == nil {
			if again, err := event.Decode(string(event.Encode(nil, events))); err != nil || !reflect.DeepEqual(again, events) {
				t.Fatalf("%v, %d events again, want %d", err, len(again), len(events))
			}
		}
		_, _ = event.Frame(payload).Decode() // must not panic
		event.Frame(payload).Key()
	})
}

func BenchmarkEncode(b *testing.B) {
	events := make([]event.Event, 1000)
	for i := range events {
		events[i] = full(b)
	}
	var dst []byte
	for b.Loop() {
		dst = event.Encode(dst[:0], events)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
