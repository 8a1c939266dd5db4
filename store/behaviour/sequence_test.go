package behaviour_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/store/behaviour"
	"github.com/eider-analytics/eider/store/event"
)

// A token is a part of a random pattern: what the brute force goes by, so that it
// does not depend on the parser.
type token struct {
	step  int // from 0; -1 is any
	not   bool
	star  bool
	times []bound
}

type bound struct {
	op   string
	secs int64
}

func (k token) isStep() bool { return k.step >= 0 && !k.not && !k.star }

func (k token) String() string {
	var b strings.Builder
	for _, c := range k.times {
		fmt.Fprintf(&b, "(?t%s%d)", c.op, c.secs)
	}
	switch {
	case k.step < 0:
		b.WriteString(".")
	case k.not:
		fmt.Fprintf(&b, "(?!%d)", k.step+1)
	default:
		fmt.Fprintf(&b, "(?%d)", k.step+1)
	}
	if k.star {
		b.WriteString("*")
	}
	return b.String()
}

func (k token) fits(mask uint64) bool { return k.step < 0 || mask>>k.step&1 != 0 != k.not }

func randomPattern(rnd *rand.Rand, steps int) (tokens []token, text string) {
	for i, n := 0, 1+rnd.IntN(6); i < n || !slices.ContainsFunc(tokens, token.isStep); i++ {
		k := token{step: rnd.IntN(steps)}
		switch rnd.IntN(6) {
		case 0:
			k.step = -1
		case 1:
			k.step, k.star = -1, true
		case 2:
			k.not, k.star = true, rnd.IntN(2) == 0
		case 3:
			k.star = rnd.IntN(3) == 0
		}
		for k.isStep() && rnd.IntN(3) == 0 && len(k.times) < 3 {
			k.times = append(k.times, bound{[]string{">=", "<=", ">", "<", "==", "!="}[rnd.IntN(6)], rnd.Int64N(5)})
		}
		tokens = append(tokens, k)
		text += k.String()
	}
	return tokens, text
}

func holds(b bound, elapsed int64) bool {
	switch b.op {
	case ">=":
		return elapsed >= b.secs
	case "<=":
		return elapsed <= b.secs
	case ">":
		return elapsed > b.secs
	case "<":
		return elapsed < b.secs
	case "==":
		return elapsed == b.secs
	}
	return elapsed != b.secs
}

// runs returns every way in which tokens match from event i on: the places of the
// steps, and past the last event of the match.
func runs(events []behaviour.Event, tokens []token, i, last int) (ways [][]int) {
	if len(tokens) == 0 {
		return [][]int{{i}}
	}
	k := tokens[0]
	if k.star {
		ways = append(ways, runs(events, tokens[1:], i, last)...)
	}
	if i >= len(events) || !k.fits(events[i].Mask) {
		return ways
	}
	if k.star {
		return append(ways, runs(events, tokens, i+1, last)...)
	}
	if !k.isStep() {
		return append(ways, runs(events, tokens[1:], i+1, last)...)
	}
	for _, b := range k.times {
		if last >= 0 && !holds(b, (events[i].Time-events[last].Time)/1e6) {
			return ways
		}
	}
	for _, way := range runs(events, tokens[1:], i+1, i) {
		ways = append(ways, append([]int{i}, way...))
	}
	return ways
}

// bruteCount takes of all ways from the first event that has any the one whose
// steps, one after the other, are the earliest.
func bruteCount(events []behaviour.Event, tokens []token, every bool) int {
	if !every {
		events = slices.DeleteFunc(slices.Clone(events), func(e behaviour.Event) bool { return e.Mask == 0 })
	}
	n := 0
	for at := 0; at < len(events); {
		ways := runs(events, tokens, at, -1)
		if len(ways) == 0 {
			at++
			continue
		}
		best := slices.MinFunc(ways, slices.Compare)
		at = best[len(best)-1]
		n++
	}
	return n
}

func TestSequenceBrute(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	matched := 0
	for range 30_000 {
		steps := 2 + rnd.IntN(3)
		tokens, text := randomPattern(rnd, steps)
		p, err := behaviour.ParsePattern(text, steps)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for range 3 {
			events := random(rnd, rnd.IntN(9), steps, 600_000)
			every := rnd.IntN(2) == 0
			got, err := p.Count(events, every)
			if want := bruteCount(events, tokens, every); err != nil || got != want {
				t.Fatalf("%s, every %v, events %v: got %d (%v), want %d", text, every, show(events), got, err, want)
			}
			if got > 0 {
				matched++
			}
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d of 90,000 match: the test tries little", matched)
	}
}

func TestSequence(t *testing.T) {
	t.Parallel()
	const a, b, c = 1, 2, 4
	cases := []struct {
		pattern string
		masks   []uint64 // one each second
		want    int
	}{
		{"", []uint64{a, 0, b, a, c}, 1},
		{"(?1)(?2).*(?3)", []uint64{a, b, a, c}, 1},
		{"(?1)(?2).*(?3)", []uint64{a, c, b, c}, 0}, // adjacency holds also where there is a .* elsewhere
		{"(?1)(?2)", []uint64{a, 0, b}, 1},          // what is no step is not there
		{"(?1)(?2)", []uint64{a, b, a, b, a}, 2},
		{"(?1).(?2)", []uint64{a, c, b}, 1},
		{"(?1).(?2)", []uint64{a, b}, 0},
		{"(?1)(?!3)*(?2)", []uint64{a, a, b}, 1},
		{"(?1)(?!3)*(?2)", []uint64{a, c, b}, 0},
		{"(?1)(?!3)(?2)", []uint64{a, a, b}, 1},
		{"(?1).*(?t>=2)(?2)", []uint64{a, b, c, b}, 1},
		{"(?1).*(?t>=4)(?2)", []uint64{a, b, c, b}, 0},
		{"(?1).*(?t<=1)(?2)", []uint64{a, c, b, a, b}, 1},
		{"(?1).*(?t==2)(?2)", []uint64{a, b, b, b}, 1},
		{"(?1).*(?t!=1)(?2)", []uint64{a, b}, 0},
		{"(?t>5)(?1)(?2)", []uint64{a, b}, 1}, // there is nothing before the first
		{"(?1)(?1)", []uint64{a, a, a}, 1},    // an event is in one match
		{"(?1).", []uint64{a}, 0},
	}
	for _, c := range cases {
		p, err := behaviour.ParsePattern(c.pattern, 3)
		if err != nil {
			t.Fatal(err)
		}
		var events []behaviour.Event
		for i, m := range c.masks {
			events = append(events, behaviour.Event{Time: int64(i) * 1e6, Mask: m})
		}
		if got, err := p.Count(events, false); err != nil || got != c.want {
			t.Errorf("%s of %v: got %d (%v), want %d", c.pattern, c.masks, got, err, c.want)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"(?3)":                           "at character 3: there is no step 3; the sequence has 2",
		"(?0)":                           "at character 3: there is no step 0",
		"(?1":                            "at character 4: a ) is missing",
		"(?":                             "at character 3: a number is missing",
		"(?1)**":                         "at character 6: cannot read",
		"*(?1)":                          "at character 1: cannot read",
		"(?1)x":                          `at character 5: cannot read "x"`,
		".*":                             "at character 1: there is no step",
		"(?1)(?t5)(?2)":                  "at character 8: a comparison is missing",
		"(?1)(?t<5)":                     "at character 5: a time must stand before a step",
		"(?1)(?t<5).*(?2)":               "at character 5: a time must stand right before the step",
		"(?1)(?t<)(?2)":                  "at character 9: a number is missing",
		"(?99999999999)":                 "at character 3: the number is too large",
		"(?1)(?t<5(?2)":                  "at character 10: a ) is missing",
		strings.Repeat(".", 61) + "(?1)": "more than 60 parts",
	}
	for text, want := range cases {
		_, err := behaviour.ParsePattern(text, 2)
		var q *event.QueryError
		if !errors.As(err, &q) || !strings.Contains(q.Message, want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestSequenceWork has patterns and events on which going back takes for ever.
func TestSequenceWork(t *testing.T) {
	t.Parallel()
	events := make([]behaviour.Event, 200_000)
	for i := range events {
		events[i] = behaviour.Event{Time: int64(i), Mask: 1}
	}
	for _, text := range []string{
		strings.Repeat("(?1).*", 25) + "(?2)",
		strings.Repeat("(?1)*", 50) + "(?2)",
		strings.Repeat("(?1)(?!2)*.*", 15) + "(?t>=1)(?2)",
		strings.Repeat(".*(?t<=100)(?1)", 20) + "(?2)",
		strings.Repeat(".*(?t!=3)(?1)", 20) + "(?2)",
		"(?1).*(?t==0)(?1).*(?t==0)(?1).*(?t==1)(?2)",
	} {
		p, err := behaviour.ParsePattern(text, 2)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if n, err := p.Count(events, false); err != nil || n != 0 {
			t.Errorf("%.40s: got %d (%v), want 0", text, n, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.40s took %v", text, took)
		}
	}
}

// TestSequenceBudget is of the one kind of pattern that has a budget.
func TestSequenceBudget(t *testing.T) {
	t.Parallel()
	events := make([]behaviour.Event, 100_000)
	for i := range events {
		events[i] = behaviour.Event{Mask: 1, Time: int64(i)}
	}
	events[len(events)-1] = behaviour.Event{Mask: 2, Time: 5e6}
	p, err := behaviour.ParsePattern("(?1).*(?t>=7)(?t<=9)(?2)", 2)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Count(events, false)
	var q *event.QueryError
	if !errors.As(err, &q) {
		t.Errorf("got %v, want a refusal", err)
	}
	if n, err := p.Count([]behaviour.Event{{Mask: 1}, {Mask: 2, Time: 8e6}}, false); n != 1 || err != nil {
		t.Errorf("after the refusal: got %d (%v), want 1", n, err)
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"", "(?1)(?2)", "(?1).*(?t<=5)(?2)", "(?!1)*(?2).", "(?t", "(?1)*"} {
		f.Add(s, []byte{1, 2, 3, 0, 2})
	}
	f.Fuzz(func(t *testing.T, text string, masks []byte) {
		p, err := behaviour.ParsePattern(text, 3)
		if err != nil {
			var q *event.QueryError
			if !errors.As(err, &q) {
				t.Fatalf("%q: %v is not a QueryError", text, err)
			}
			return
		}
		var events []behaviour.Event
		for i, m := range masks {
			events = append(events, behaviour.Event{Time: int64(i/2) * 1e6, Mask: uint64(m & 7)})
		}
		if n, err := p.Count(events, false); err != nil || n > len(events) {
			t.Fatalf("%q matches %d times in %d events: %v", text, n, len(events), err)
		}
	})
}
