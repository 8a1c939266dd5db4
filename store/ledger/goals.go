package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/event"
)

// Bounds of what is kept for one site. A query can be about all goals at once: as
// many filters as they can have are not too many for it.
const (
	MaxGoals     = 200
	maxGoalProps = 3
)

// Kinds of goals.
const (
	PageGoal   = "page"   // a page whose path matches Path was shown
	EventGoal  = "event"  // an event of the name Event, with all of Props
	ScrollGoal = "scroll" // a page whose path matches Path was read down to Scroll percent
)

// A Goal is something that visitors of a site are hoped to do. The fields that
// its kind does not use are empty.
type Goal struct {
	ID       int64
	Site     string
	Name     string // no two goals of a site have the same; "" is made up when the goal is added
	Kind     string // one of the kinds above
	Path     string // in which * stands for any text without /, and ** for any text
	Event    string
	Props    map[string]string // nil if there are none
	Scroll   int               // 1 to 100
	Currency string            // ISO 4217, of the revenue of an event; "" if it has none
	Created  int64             // µs; AddGoal sets it if it is 0
}

// Goal returns what a query needs to know of the goal.
func (g Goal) Goal() event.Goal {
	return event.Goal{Name: g.Name, Filter: g.filter(), Currency: g.Currency}
}

func (g Goal) filter() event.Filter {
	path := event.Filter{Op: event.Like, Dimension: "path", Values: []string{g.Path}}
	switch g.Kind {
	case PageGoal:
		return event.Every(is("name", event.Pageview), path)
	case ScrollGoal:
		deep := event.Filter{Op: event.AtLeast, Dimension: "scroll", Values: []string{strconv.Itoa(g.Scroll)}}
		return event.Every(is("name", event.Engagement), path, deep)
	}
	all := []event.Filter{is("name", g.Event)}
	for _, key := range slices.Sorted(maps.Keys(g.Props)) {
		all = append(all, is(event.Prop(key), g.Props[key]))
	}
	return event.Every(all...)
}

func is(d event.Dimension, value string) event.Filter {
	return event.Filter{Op: event.Is, Dimension: d, Values: []string{value}}
}

// check puts a goal into its one form, or says which field is wrong.
func (g *Goal) check() error {
	if g.Kind != EventGoal && (g.Event != "" || len(g.Props) > 0 || g.Currency != "") {
		return wrong("kind", "is %s, which takes no event, props or currency; leave them out", g.Kind)
	}
	if g.Kind != ScrollGoal && g.Scroll != 0 {
		return wrong("scroll", "belongs to a goal of the kind scroll; leave it out")
	}
	var err error
	switch g.Kind {
	case PageGoal:
		err = checkPath("path", &g.Path)
	case ScrollGoal:
		if g.Scroll < 1 || g.Scroll > 100 {
			return wrong("scroll", "is how far the page was read, 1 to 100 percent")
		}
		err = checkPath("path", &g.Path)
	case EventGoal:
		err = g.checkEvent()
	default:
		return wrong("kind", "is one of page, event and scroll")
	}
	if err != nil {
		return err
	}
	if g.Name == "" {
		g.Name = g.defaultName()
	}
	return checkText("name", &g.Name, 255)
}

func (g *Goal) checkEvent() error {
	if g.Path != "" {
		return wrong("path", "belongs to a goal of the kind page or scroll; leave it out")
	}
	if err := checkText("event", &g.Event, 120); err != nil {
		return err
	}
	if g.Event == event.Engagement {
		return wrong("event", "is engagement, which is counted by a goal of the kind scroll")
	}
	if len(g.Props) > maxGoalProps {
		return wrong("props", "has %d properties, at most %d", len(g.Props), maxGoalProps)
	}
	for key, value := range g.Props {
		k, v := key, value
		if checkText("props", &k, 300) != nil || checkText("props", &v, 2000) != nil || k != key || v != value {
			return wrong("props", "has names of up to 300 bytes and values of up to 2000, not empty, without control characters and spaces around them")
		}
	}
	if len(g.Props) == 0 {
		g.Props = nil
	}
	return checkCurrency(&g.Currency)
}

// defaultName is how Plausible calls a goal that has no name of its own.
func (g *Goal) defaultName() string {
	switch g.Kind {
	case PageGoal:
		return cut("Visit "+g.Path, 255)
	case ScrollGoal:
		return cut("Scroll "+strconv.Itoa(g.Scroll)+"% on "+g.Path, 255)
	}
	return cut(g.Event, 255)
}

const goalColumns = `id, site, name, kind, path, event, props, scroll, currency, created`

// Goals returns the goals of a site, oldest first.
func (l *Ledger) Goals(ctx context.Context, site string) ([]Goal, error) {
	return list(ctx, l, "goals", scanGoal, `SELECT `+goalColumns+` FROM goals WHERE site = ? ORDER BY id`, site)
}

func scanGoal(row scanner) (g Goal, err error) {
	var props string
	if err := row.Scan(&g.ID, &g.Site, &g.Name, &g.Kind, &g.Path, &g.Event, &props, &g.Scroll, &g.Currency, &g.Created); err != nil {
		return g, err
	}
	if props == "{}" {
		return g, nil
	}
	return g, json.Unmarshal([]byte(props), &g.Props)
}

// AddGoal adds a goal and returns it with its id. One that is wrong is a
// *[event.FieldError], one of a name that the site has is [ErrExists], and a site
// that is not there is [ErrNotFound].
func (l *Ledger) AddGoal(ctx context.Context, g Goal) (Goal, error) {
	if err := g.check(); err != nil {
		return g, about("add goal of", g.Site, err)
	}
	if g.Created == 0 {
		g.Created = l.now()
	}
	e := audit.Entry{Kind: audit.GoalCreate}
	err := l.act(ctx, &e, func(tx *sql.Tx) (err error) {
		g.ID, err = insert(tx, "goals", MaxGoals, g.Site, `
			INSERT INTO goals (site, name, kind, path, event, props, scroll, currency, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			g.Site, g.Name, g.Kind, g.Path, g.Event, object(g.Props), g.Scroll, g.Currency, g.Created)
		e.Object = owned("goal", g.ID)
		e.Detail, e.Private = tell(g.Site, g.fields())
		return err
	})
	return g, about("add goal of", g.Site, err)
}

// ChangeGoal makes fn's change to a goal, in one transaction, and returns what it
// has become. Its errors are those of AddGoal and fn; a goal that is not there, or
// of another site, is [ErrNotFound].
func (l *Ledger) ChangeGoal(ctx context.Context, site string, id int64, fn func(*Goal) error) (g Goal, err error) {
	e := audit.Entry{Kind: audit.GoalChange, Object: owned("goal", id)}
	err = l.act(ctx, &e, func(tx *sql.Tx) error {
		if g, err = scanGoal(tx.QueryRow(`SELECT `+goalColumns+` FROM goals WHERE id = ? AND site = ?`, id, site)); err != nil {
			return missing(err)
		}
		was := g
		if err := fn(&g); err != nil {
			return err
		}
		g.ID, g.Site, g.Created = was.ID, was.Site, was.Created
		if g.Name == was.Name && was.Name == was.defaultName() {
			g.Name = "" // nobody chose it
		}
		if err := g.check(); err != nil {
			return err
		}
		e.Detail, e.Private = changes(was.fields(), g.fields())
		e.Detail["site"] = g.Site
		_, err := tx.Exec(`UPDATE goals SET name = ?, kind = ?, path = ?, event = ?, props = ?, scroll = ?, currency = ? WHERE id = ?`,
			g.Name, g.Kind, g.Path, g.Event, object(g.Props), g.Scroll, g.Currency, id)
		return err
	})
	return g, about("change goal of", site, err)
}

// RemoveGoal removes a goal. One that is not there, or of another site, is
// [ErrNotFound].
func (l *Ledger) RemoveGoal(ctx context.Context, site string, id int64) error {
	return l.remove(ctx, audit.GoalRemove, "goal", site, id)
}

// object returns the JSON object of texts.
func object(texts map[string]string) string {
	if len(texts) == 0 {
		return "{}"
	}
	b, err := json.Marshal(texts)
	if err != nil {
		panic("ledger: internal error: " + err.Error())
	}
	return string(b)
}
