package behaviour

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// maxParts is how many parts a pattern can have: positions in it are the bits of
// a word.
const maxParts = 60

// A part is one event of a pattern, or with star any number of them.
type part struct {
	mask uint64 // steps of which the event is one; 0 with any
	not  bool   // it is none of them
	any  bool
	star bool

	// Of a part that is a step: how many whole seconds there may be since the
	// step before.
	least, most int64
	except      []int64
}

func (p *part) fits(mask uint64) bool { return p.any || mask&p.mask != 0 != p.not }

// timed says whether the part says anything of the time.
func (p *part) timed() bool { return p.least > 0 || p.most < math.MaxInt64 || len(p.except) > 0 }

// A gap is what stands before a step, or behind the last one.
type gap struct {
	parts []part
	step  *part // nil behind the last one
}

// A Pattern is a parsed pattern of a sequence; see [event.Sequence]. It holds
// memory of its last use.
type Pattern struct {
	text string
	gaps []gap // those before each step, and the one behind the last

	events []Event
	ok     []uint64 // by event: bit k says that it can be step k of a whole match
	reach  []uint64 // by event: parts of a gap from which its step can be reached
	near   []int32  // by event and part: the nearest event that can be the step
	far    []int32  // likewise the farthest
	budget int
}

// ParsePattern returns the pattern of a sequence of some steps. What is wrong
// with a text it says in an [event.QueryError], with the place.
func ParsePattern(text string, steps int) (*Pattern, error) {
	if text == "" {
		text = Chain(steps)
	}
	r := reader{text: text, steps: steps}
	p := &Pattern{text: text}
	g := gap{}
	for r.at < len(r.text) {
		part, isStep, err := r.part()
		if err != nil {
			return nil, err
		}
		if r.parts++; r.parts > maxParts {
			return nil, r.wrong(r.at, "there are more than %d parts", maxParts)
		}
		if !isStep {
			g.parts = append(g.parts, part)
			continue
		}
		g.step = &part
		p.gaps = append(p.gaps, g)
		g = gap{}
	}
	switch {
	case len(p.gaps) == 0:
		return nil, r.wrong(0, "there is no step; write (?1) for the first")
	case len(p.gaps) > 0 && p.gaps[0].step.timed(): // nothing was before it
		p.gaps[0].step.least, p.gaps[0].step.most, p.gaps[0].step.except = 0, math.MaxInt64, nil
	}
	p.gaps = append(p.gaps, g)
	return p, nil
}

// Chain returns the pattern of all steps one after the other.
func Chain(steps int) string {
	var b strings.Builder
	for n := range steps {
		if n > 0 {
			b.WriteString(".*")
		}
		fmt.Fprintf(&b, "(?%d)", n+1)
	}
	return b.String()
}

// String returns the text of the pattern.
func (p *Pattern) String() string { return p.text }

// A reader reads the text of a pattern.
type reader struct {
	text  string
	at    int
	steps int
	parts int
}

func (r *reader) wrong(at int, format string, args ...any) error {
	return &event.QueryError{Message: fmt.Sprintf("pattern of the sequence, at character %d: ", at+1) + fmt.Sprintf(format, args...)}
}

// eat goes past s, if it is next.
func (r *reader) eat(s string) bool {
	if !strings.HasPrefix(r.text[r.at:], s) {
		return false
	}
	r.at += len(s)
	return true
}

// part reads a part, with the times before it and the star behind.
func (r *reader) part() (p part, isStep bool, err error) {
	p.most = math.MaxInt64
	begin, timed := r.at, false
	for r.eat("(?t") {
		timed = true
		if err := r.time(&p); err != nil {
			return p, false, err
		}
	}
	switch {
	case r.eat("."):
		p.any = true
	case r.eat("(?!"):
		p.not = true
		p.mask, err = r.step()
	case r.eat("(?"):
		p.mask, err = r.step()
	case r.at == len(r.text):
		return p, false, r.wrong(begin, "a time must stand before a step such as (?1)")
	default:
		return p, false, r.wrong(r.at, "cannot read %.12q; use (?1), (?!1), ., *, (?t<=60)", r.text[r.at:])
	}
	if err != nil {
		return p, false, err
	}
	p.star = r.eat("*")
	isStep = !p.any && !p.not && !p.star
	if timed && !isStep {
		return p, false, r.wrong(begin, "a time must stand right before the step it is about, as in .*(?t<=60)(?2)")
	}
	return p, isStep, nil
}

// step reads a number and the parenthesis behind it.
func (r *reader) step() (mask uint64, err error) {
	begin := r.at
	n, err := r.number()
	if err != nil {
		return 0, err
	}
	if n < 1 || n > int64(r.steps) {
		return 0, r.wrong(begin, "there is no step %d; the sequence has %d", n, r.steps)
	}
	if !r.eat(")") {
		return 0, r.wrong(r.at, "a ) is missing")
	}
	return 1 << (n - 1), nil
}

func (r *reader) number() (int64, error) {
	begin := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	n, err := strconv.ParseInt(r.text[begin:r.at], 10, 64)
	switch {
	case begin == r.at:
		return 0, r.wrong(begin, "a number is missing")
	case err != nil || n > math.MaxInt32:
		return 0, r.wrong(begin, "the number is too large")
	}
	return n, nil
}

// time reads what follows (?t and narrows p by it.
func (r *reader) time(p *part) error {
	for r.eat(" ") {
	}
	begin, op := r.at, ""
	for _, o := range []string{">=", "<=", "==", "!=", ">", "<"} {
		if r.eat(o) {
			op = o
			break
		}
	}
	if op == "" {
		return r.wrong(begin, "a comparison is missing; use one of >= <= > < == !=")
	}
	for r.eat(" ") {
	}
	n, err := r.number()
	if err != nil {
		return err
	}
	if !r.eat(")") {
		return r.wrong(r.at, "a ) is missing")
	}
	switch op {
	case ">=":
		p.least = max(p.least, n)
	case ">":
		p.least = max(p.least, n+1)
	case "<=":
		p.most = min(p.most, n)
	case "<":
		p.most = min(p.most, n-1)
	case "==":
		p.least, p.most = max(p.least, n), min(p.most, n)
	case "!=":
		p.except = append(p.except, n)
	}
	return nil
}
