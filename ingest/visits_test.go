package ingest_test

import (
	"testing"
	"time"

	"github.com/eider-analytics/eider/ingest"
	"github.com/eider-analytics/eider/store/event"
)

const minute = int64(time.Minute / time.Microsecond)

// TestVisits takes the events of one visitor through the table, each at a minute
// of its own, and says which event's visit each belongs to.
func TestVisits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		at   []int64 // minutes; the event at index i has Seq i+1
		want []int64 // Visit
	}{
		{"one", []int64{0}, []int64{1}},
		{"gap of thirty minutes", []int64{0, 30, 60}, []int64{1, 1, 1}},
		{"gap of more", []int64{0, 31, 61, 92}, []int64{1, 2, 2, 4}},
		{"late, inside the visit", []int64{0, 20, 10}, []int64{1, 1, 1}},
		{"late, before the visit", []int64{40, 15, -10}, []int64{1, 1, 1}},
		{"late, another visit", []int64{100, 60}, []int64{1, 2}},
		{"late, and the visit goes on", []int64{100, 60, 110}, []int64{1, 2, 1}},
		{"late, and both go on", []int64{100, 50, 65, 105, 45, 135}, []int64{1, 2, 2, 1, 2, 1}},
		{"late, a third visit", []int64{200, 100, 0, 101, 5, 201}, []int64{1, 2, 3, 4, 5, 1}},
	} {
		table := ingest.NewVisitTable(10)
		for i, at := range c.at {
			e := event.Event{Seq: int64(i + 1), Time: at * minute, Name: event.Pageview, Visitor: event.ID{1}, Hostname: "h", Path: "/" + string(rune('a'+i)), Source: string(rune('a' + i))}
			if !table.Assign(&e, event.ID{}) {
				t.Fatalf("%s: event %d has no visit", c.name, i)
			}
			if e.Visit != c.want[i] {
				t.Errorf("%s: event %d is of visit %d, want %d", c.name, i, e.Visit, c.want[i])
			}
			if want := string(rune('a' + c.want[i] - 1)); e.Source != want {
				t.Errorf("%s: event %d has source %s, want that of its visit's first event, %s", c.name, i, e.Source, want)
			} else if e.EntryHostname != "h" || e.EntryPath != "/"+want {
				t.Errorf("%s: event %d has entry page %s%s, want h/%s", c.name, i, e.EntryHostname, e.EntryPath, want)
			}
			if want := c.at[c.want[i]-1] * minute; e.VisitStart != want {
				t.Errorf("%s: visit of event %d starts at %d, want %d", c.name, i, e.VisitStart, want)
			}
		}
	}
}

func TestVisitOverMidnight(t *testing.T) {
	t.Parallel()
	table := ingest.NewVisitTable(10)
	before, after := event.ID{1}, event.ID{2}
	a := event.Event{Seq: 1, Time: 0, Name: event.Pageview, Visitor: before}
	b := event.Event{Seq: 2, Time: 10 * minute, Name: event.Pageview, Visitor: after}
	c := event.Event{Seq: 3, Time: 35 * minute, Name: event.Pageview, Visitor: after}
	table.Assign(&a, event.ID{})
	table.Assign(&b, before)
	table.Assign(&c, event.ID{})
	if b.Visit != 1 || c.Visit != 1 {
		t.Errorf("visits %d and %d after midnight, want 1", b.Visit, c.Visit)
	}
	d := event.Event{Seq: 4, Time: 100 * minute, Name: event.Pageview, Visitor: event.ID{3}}
	table.Assign(&d, after)
	if d.Visit != 4 {
		t.Errorf("visit %d an hour later, want a new one", d.Visit)
	}
}

func TestVisitRules(t *testing.T) {
	t.Parallel()
	table := ingest.NewVisitTable(2)
	engagement := event.Event{Seq: 1, Name: event.Engagement, Visitor: event.ID{1}}
	if table.Assign(&engagement, event.ID{}) {
		t.Error("an engagement began a visit")
	}
	private := event.Event{Seq: 1, Name: event.Pageview}
	if !table.Assign(&private, event.ID{}) || private.Visit != 0 {
		t.Errorf("an event without visitor is of visit %d, want none", private.Visit)
	}
	for i := range 5 {
		e := event.Event{Seq: int64(i + 1), Time: int64(i) * minute, Name: event.Pageview, Visitor: event.ID{byte(i + 1)}}
		table.Assign(&e, event.ID{})
	}
	if table.Len() != 2 {
		t.Errorf("%d open visits in a table for 2", table.Len())
	}
	table.Expire(4*minute + 30*minute)
	if table.Len() != 1 {
		t.Errorf("%d open visits, want only the one of half an hour ago", table.Len())
	}
}

// TestVisitRestore checks that a table built from stored events goes on as the
// one before the restart would have.
func TestVisitRestore(t *testing.T) {
	t.Parallel()
	before, after := ingest.NewVisitTable(10), ingest.NewVisitTable(10)
	for i, at := range []int64{0, 10, 70, 60} {
		e := event.Event{Seq: int64(i + 1), Time: at * minute, Name: event.Pageview, Visitor: event.ID{1}, EntryPath: "/e", Country: "DE"}
		before.Assign(&e, event.ID{})
		after.Restore(&e)
	}
	imported := event.Event{Seq: 5, Visit: 5, Time: 90 * minute, Name: event.Pageview, Via: event.ViaImport, Visitor: event.ID{1}}
	after.Restore(&imported) // whose visit was the import's own, and ended with it
	a := event.Event{Seq: 9, Time: 95 * minute, Name: event.Pageview, Visitor: event.ID{1}}
	b := a
	before.Assign(&a, event.ID{})
	after.Assign(&b, event.ID{})
	if a != b {
		t.Errorf("after the restart\n%+v\nwant\n%+v", b, a)
	}
}
