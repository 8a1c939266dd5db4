package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// lockFilters are a segment that is not simple, and what it means.
const lockFilters = `[["is", "visit:country", ["DE", "AT"]], ["not", ["has_done", ["contains", "event:page", ["/secret"]]]]]`

var lockMeans = event.Every(
	event.Filter{Op: event.Is, Dimension: "country", Values: []string{"DE", "AT"}},
	event.Without(event.Filter{Op: event.HasDone, Of: []event.Filter{{Op: event.Contains, Dimension: "path", Values: []string{"/secret"}}}}),
)

// locked returns a rig, the questions that it is asked, and the slug of a link to a segment.
func locked(t *testing.T) (*rig, *fakeQuestions, string) {
	t.Helper()
	questions := &fakeQuestions{first: now.AddDate(0, -2, 0)}
	r := newRig(t, func(o *server.Options) { o.Questions = questions })
	r.segments = []ledger.Segment{{ID: 1, Name: "Ours", Filters: []byte(lockFilters)}, {ID: 2, Name: "Theirs", Filters: []byte(`[["is", "visit:country", ["US"]]]`)}}
	r.goals = []ledger.Goal{{ID: 1, Name: "Bought", Kind: ledger.EventGoal, Event: "Purchase", Currency: "EUR"}, {ID: 2, Name: "Read", Kind: ledger.PageGoal, Path: "/blog/**"}}
	return r, questions, r.share(t, ledger.Link{Site: "example.com", Segment: 1})
}

func (r *rig) ask(target, slug string) (code int, body string) {
	w := r.do("GET", target, "", "-", "X-Eider-Share: "+slug)
	return w.Code, w.Body.String()
}

// encloses says whether a filter holds inside of another one only, and looks for what
// visits have done inside of it too.
func encloses(lock, f event.Filter) bool {
	if reflect.DeepEqual(f, lock) {
		return true
	}
	return f.Op == event.And && len(f.Of) == 2 && reflect.DeepEqual(f.Of[0], lock) && inside(lock, f.Of[1])
}

func inside(lock, f event.Filter) bool {
	for _, of := range f.Of {
		if f.Op == event.HasDone && !encloses(lock, of) || f.Op != event.HasDone && !inside(lock, of) {
			return false
		}
	}
	return true
}

// wild makes filters of the Stats API that a visitor might try.
func wild(rnd *rand.Rand, depth int) any {
	leaf := []any{
		[]string{"is", "is_not", "contains", "contains_not"}[rnd.IntN(4)],
		[]string{"event:page", "visit:source", "visit:browser", "event:props:plan", "visit:exit_page", "event:name"}[rnd.IntN(6)],
		[]string{"/secret", "US"}[:rnd.IntN(2)+1],
	}
	if depth == 0 {
		return leaf
	}
	switch rnd.IntN(8) {
	case 0:
		return []any{"or", []any{wild(rnd, depth-1), wild(rnd, depth-1)}}
	case 1:
		return []any{"and", []any{wild(rnd, depth-1), wild(rnd, depth-1)}}
	case 2:
		return []any{"not", wild(rnd, depth-1)}
	case 3, 4:
		return []any{[]string{"has_done", "has_not_done"}[rnd.IntN(2)], wild(rnd, 0)}
	case 5:
		return []any{"is", "event:goal", []string{"Bought"}}
	}
	return leaf
}

// TestLockHolds asks for every report that a link shows, with filters at random: whatever
// is asked of the store is inside of the segment.
func TestLockHolds(t *testing.T) {
	t.Parallel()
	r, questions, slug := locked(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var targets []string
	for pattern, g := range guards {
		if g.link {
			targets = append(targets, strings.TrimSuffix(g.target, "?site_id=example.com"), g.target+"&period=all")
			_ = pattern
		}
	}
	extras := map[string][]string{
		"/api/stats/main": {"compare=previous_period", "metrics=conversion_rate&filters=goal==Bought"}, "/api/stats/funnel": {"by=country&any=true", "over=day", "unit=visit", "steps=event:x,goal:Bought"},
		"/api/stats/retention": {"start=page:/a&return=event:x", "interval=day"}, "/api/stats/flow": {"start=page:/secret", "by=events", "direction=backward", "page=/secret"},
		"/api/stats/timeseries": {"period=all", "period=all&interval=month"}, "/api/stats/breakdown/page": {"search=secret"}, "/api/stats/property-values": {"key=plan"}, "/api/stats/properties": {"event=x"},
	}
	asked := 0
	check := func(what string, f event.Filter) {
		t.Helper()
		asked++
		if !encloses(lockMeans, f) {
			t.Fatalf("%s: asked beyond the segment: %+v", what, f)
		}
	}
	for range 1500 {
		target, _, _ := strings.Cut(targets[rnd.IntN(len(targets))], "?")
		q := url.Values{}
		if rnd.IntN(4) > 0 {
			b, err := json.Marshal([]any{wild(rnd, 2), wild(rnd, 1)})
			if err != nil {
				t.Fatal(err)
			}
			q.Set("filters", string(b))
		}
		if target == "/api/stats/funnel" {
			q.Set("steps", "page:/a,page:/b")
		}
		if list := extras[target]; len(list) > 0 && rnd.IntN(2) == 0 {
			more, err := url.ParseQuery(list[rnd.IntN(len(list))])
			if err != nil {
				t.Fatal(err)
			}
			for name := range more {
				q.Set(name, more.Get(name))
			}
		}
		if target == "/api/stats/property-values" {
			q.Set("key", "plan")
		}
		q.Set("site_id", "example.com")
		target += "?" + q.Encode()
		questions.asked, r.behaved = nil, behaved{}
		code, body := r.ask(target, slug)
		if code != 200 && code != 400 && code != 422 {
			t.Fatalf("%s: %d %s", target, code, body)
		}
		for _, one := range questions.asked {
			check(target, one.Filter)
			for _, g := range one.Goals {
				if !inside(lockMeans, g.Filter) {
					t.Fatalf("%s: a goal looks beyond the segment: %+v", target, g.Filter)
				}
			}
		}
		r.checkBehaved(target, check)
	}
	if asked < 1000 {
		t.Errorf("only %d questions were asked", asked)
	}
}

// checkBehaved checks what was asked of what visitors do one after the other.
func (r *rig) checkBehaved(target string, check func(string, event.Filter)) {
	b := r.behaved
	if f := b.funnel; f.Site != "" {
		check(target, f.Filter)
		for _, step := range f.Steps {
			check(target+" step", step.Filter)
		}
	}
	if f := b.retention; f.Site != "" {
		check(target, f.Filter)
		check(target+" start", f.Start)
		check(target+" return", f.Return)
	}
	if f := b.flow; f.Site != "" {
		check(target, f.Filter)
		check(target+" events", f.Events)
		if !f.Start.Zero() {
			check(target+" start", f.Start)
		}
	}
}

// TestLockRefuses is what a visitor of a link may not even name.
func TestLockRefuses(t *testing.T) {
	t.Parallel()
	r, questions, slug := locked(t)
	for target, want := range map[string]int{
		"main?segment=2": 400, "main?segment=1": 400, "main?segment=99": 400,
		`main?filters=[["is","segment",[2]]]`: 400, `main?filters=[["not",["is","segment",[1]]]]`: 400,
		"main?site_id=other.com": 403, "main?site_id=nowhere.com": 403,
		"breakdown/user": 422, "breakdown/visitor": 422, "breakdown/user_id": 422, "breakdown/prop:plan": 200, "main?metrics=users": 200,
	} {
		if !strings.Contains(target, "site_id") {
			target += map[bool]string{true: "&", false: "?"}[strings.Contains(target, "?")] + "site_id=example.com"
		}
		if code, body := r.ask("/api/stats/"+strings.ReplaceAll(target, `"`, "%22"), slug); code != want || want != 200 && strings.Contains(body, "Theirs") {
			t.Errorf("%s: %d, want %d: %s", target, code, want, body)
		}
	}
	// Segments that say nothing, or cannot be read, lock everything.
	for _, filters := range []string{`[]`, `[["is"]]`, `{}`, `[["is", "event:goal", ["Gone"]]]`, `[["is", "segment", [2]]]`} {
		r.segments[0].Filters = []byte(filters)
		questions.asked = nil
		w := r.do("GET", "/api/stats/main?site_id=example.com", "", "-", "X-Eider-Share: "+slug)
		want(t, w, 422, "bad_link")
		if len(questions.asked) > 0 {
			t.Errorf("%s: it was asked %+v", filters, questions.asked)
		}
	}
	r.segments = r.segments[1:]
	want(t, r.do("GET", "/api/stats/main?site_id=example.com", "", "-", "X-Eider-Share: "+slug), 422, "bad_link")
}

// TestLockTellsNothing: an answer does not say how many events there are beside those it is
// about, nor when the first of them was.
func TestLockTellsNothing(t *testing.T) {
	t.Parallel()
	r, questions, slug := locked(t)
	days := map[bool]int{false: 20, true: 3} // ago, of the first and of the last
	questions.answer = func(q event.Query) *event.Answer {
		a := &event.Answer{Plan: event.PlanRaw, Seq: 4711, Degraded: []event.Part{{Path: "events/date=2026-07-01/1-4711.parquet"}}}
		if len(q.Order) == 1 && q.Limit == 1 {
			a.Lines = []event.Line{{Values: []event.Value{{Time: now.AddDate(0, 0, -days[q.Order[0].Descending]).Truncate(1).UnixMicro()}}, Figures: make([]event.Figure, 1)}}
		}
		return a
	}
	r.behaved.flows.Seq, r.behaved.flows.Degraded = 4711, []event.Part{{Path: "events/date=2026-07-01/1-4711.parquet"}}
	for _, target := range []string{"main?", "timeseries?period=all&interval=day&", "flow?page=/&", "breakdown/pages?"} {
		code, body := r.ask("/api/stats/"+target+"site_id=example.com", slug)
		if code != 200 || strings.Contains(body, "4711") || !strings.Contains(body, `"degraded":["part 1"]`) {
			t.Errorf("%s: %d %s", target, code, body)
		}
		if strings.HasPrefix(target, "timeseries") {
			if n := strings.Count(body, `"date"`); n != 21 { // to today
				t.Errorf("all of time has %d days, want 21: %s", n, body)
			}
		}
	}
	if code, body := r.ask("/api/stats/main?site_id=example.com", r.share(t, ledger.Link{Site: "example.com"})); code != 200 || strings.Contains(body, "4711") {
		t.Errorf("a link to everything: %d %s", code, body)
	}
	if body := r.do("GET", "/api/stats/main?site_id=example.com", "").Body.String(); !strings.Contains(body, "4711") {
		t.Errorf("a key is told %s", body)
	}
	if n := fmt.Sprint(r.behaved.flow.Filter); !strings.Contains(n, "country") {
		t.Errorf("the flow was asked with %s", n)
	}
}

// TestLockOfAnything asks what no report asks today: goals that look at what visits have
// done, and sequences.
func TestLockOfAnything(t *testing.T) {
	t.Parallel()
	questions, reports := &fakeQuestions{}, &fake{}
	done := event.Filter{Op: event.HasDone, Of: []event.Filter{{Op: event.Is, Dimension: "path", Values: []string{"/secret"}}}}
	in := server.LockedIn(t.Context(), "example.com", lockMeans)
	asks, reads := server.Locked(questions, reports)
	q := event.Query{Site: "example.com", Filter: event.Without(done), Goals: []event.Goal{{Name: "g", Filter: event.Any(done, event.Without(done))}}}
	if _, err := asks.Query(in, q); err != nil {
		t.Fatal(err)
	}
	got := questions.last()
	if !encloses(lockMeans, got.Filter) || !inside(lockMeans, got.Goals[0].Filter) || reflect.DeepEqual(got.Goals, q.Goals) {
		t.Errorf("asked %+v", got)
	}
	if inside(lockMeans, q.Goals[0].Filter) {
		t.Error("what was asked with has been changed")
	}
	steps := []event.Step{{Filter: done}, {}}
	if _, err := reads.Sequence(in, event.Sequence{Scope: event.Scope{Site: "example.com"}, Steps: steps}); err != nil {
		t.Fatal(err)
	}
	if s := reports.behaved.sequence; !encloses(lockMeans, s.Filter) || !encloses(lockMeans, s.Steps[0].Filter) || !encloses(lockMeans, s.Steps[1].Filter) {
		t.Errorf("asked %+v", s)
	}
	var wrong *event.QueryError
	if _, err := reads.Sequence(in, event.Sequence{Scope: event.Scope{Site: "example.com"}, Steps: steps, Every: true}); !errors.As(err, &wrong) {
		t.Errorf("every event between the steps: %v", err)
	}
	// Another site is refused by whatever is asked.
	scope := event.Scope{Site: "other.com"}
	_, err1 := asks.Query(in, event.Query{Site: "other.com"})
	_, _, _, err2 := asks.Bounds(in, "other.com")
	_, err3 := reads.Funnel(in, event.Funnel{Scope: scope})
	_, err4 := reads.Retention(in, event.Retention{Scope: scope})
	_, err5 := reads.Sequence(in, event.Sequence{Scope: scope})
	_, err6 := reads.Flow(in, event.Flow{Scope: scope})
	for i, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err == nil {
			t.Errorf("question %d about another site was asked", i+1)
		}
	}
}
