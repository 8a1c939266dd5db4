package server

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// figure returns a figure as Plausible writes it: counts and seconds whole, rates
// with two digits, and null where nothing can be told.
func figure(m event.Metric, f event.Figure) any {
	switch m {
	case event.Visitors, event.Users, event.Visits, event.Pageviews, event.Events:
		return f.Int
	case event.BounceRate, event.VisitDuration:
		return int64(math.Round(f.Float))
	case event.ScrollDepth, event.TimeOnPage:
		if f.Unknown {
			return nil
		}
		return int64(math.Round(f.Float))
	}
	if f.Unknown {
		return nil
	}
	return math.Round(f.Float*100) / 100
}

// nothing returns the figure of where there is no event, as Plausible writes it.
func nothing(m event.Metric) any {
	switch m {
	case event.VisitDuration, event.ScrollDepth, event.TimeOnPage, event.ExitRate, event.TotalRevenue, event.AverageRevenue:
		return nil
	}
	return 0
}

// change returns by how much a figure has grown: percent, and of rates points. It
// is nil where that cannot be said.
func change(m event.Metric, before, now any) any {
	was, wasKnown := numeric(before)
	is, isKnown := numeric(now)
	switch {
	case !wasKnown || !isKnown:
		return nil
	case m == event.BounceRate || m == event.ExitRate || m == event.ScrollDepth || m == event.ConversionRate || m == event.GroupConversionRate || m == event.Percentage:
		if was == 0 && m == event.BounceRate {
			return nil
		}
		return math.Round((is-was)*10) / 10
	case was == 0 && is > 0:
		return 100
	case was == 0:
		return 0
	}
	return int64(math.Round((is - was) / was * 100))
}

func numeric(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case moneyJSON:
		f, err := v.Value.Float64()
		return f, err == nil
	}
	return 0, false
}

// A moneyJSON is an amount of money as Plausible writes it.
type moneyJSON struct {
	Value    json.Number `json:"value"`
	Currency string      `json:"currency"`
	Short    string      `json:"short"`
	Long     string      `json:"long"`
}

var english = message.NewPrinter(language.English)

// moneyOf writes an amount of a currency: 1234.5 USD is $1.2K, and $1,234.50.
func moneyOf(amount decimal.Decimal, code string) moneyJSON {
	symbol, digits := code, int32(2)
	if unit, err := currency.ParseISO(code); err == nil {
		scale, _ := currency.Standard.Rounding(unit)
		symbol, digits = english.Sprint(currency.Symbol(unit)), int32(scale)
	}
	if len(symbol) == len(code) && symbol == code {
		symbol += "\u00a0" // a code stands apart
	}
	sign := ""
	if amount.IsNegative() {
		sign, amount = "-", amount.Abs()
	}
	value := strings.TrimSuffix(amount.String(), ".0")
	return moneyJSON{
		Value: json.Number(sign + value), Currency: code,
		Short: sign + symbol + short(amount, digits),
		Long:  sign + symbol + thousands(amount.StringFixed(digits)),
	}
}

// short writes an amount with one digit of its greatest unit.
func short(amount decimal.Decimal, digits int32) string {
	for _, unit := range []struct {
		power  int32
		suffix string
	}{{9, "B"}, {6, "M"}, {3, "K"}} {
		if of := amount.Shift(-unit.power); of.GreaterThanOrEqual(decimal.NewFromInt(1)) {
			return of.Round(1).StringFixed(1) + unit.suffix
		}
	}
	return amount.StringFixed(min(digits, 1))
}

// thousands puts commas into a number.
func thousands(number string) string {
	whole, rest, point := strings.Cut(number, ".")
	var groups []string
	for len(whole) > 3 {
		groups = append(groups, whole[len(whole)-3:])
		whole = whole[:len(whole)-3]
	}
	groups = append(groups, whole)
	slices.Reverse(groups)
	out := strings.Join(groups, ",")
	if point {
		out += "." + rest
	}
	return out
}

func isRevenue(m event.Metric) bool { return m == event.TotalRevenue || m == event.AverageRevenue }

// Plausible's warnings of revenue that is not told.
var (
	noMatchingGoal = v2Warning{"no_revenue_goals_matching", "Revenue metrics are null as there are no matching revenue goals."}
	manyCurrencies = v2Warning{"no_single_revenue_currency", "Revenue metrics are null as there are multiple currencies for the selected event:goals."}
)

// money knows in which currency the revenue of a question is told.
type money struct {
	goals   []ledger.Goal // that the question is about
	byGoal  int           // place of the dimension goal in the query, -1 without it
	code    string        // of all lines; "" if each goal has its own, or there is none
	warning *v2Warning
	of      map[string]string // currency by name of goal, with byGoal
}

// choose finds the currency, and puts it into the query.
func (m *money) choose(a *v2Asker) error {
	m.byGoal = slices.Index(a.query.Dimensions, event.GoalName)
	if !a.v.asksFor(event.TotalRevenue, event.AverageRevenue) {
		return nil
	}
	m.of = map[string]string{}
	var codes []string
	for _, g := range m.goals {
		if g.Currency == "" {
			continue
		}
		m.of[g.Name] = g.Currency
		if !slices.Contains(codes, g.Currency) {
			codes = append(codes, g.Currency)
		}
	}
	switch {
	case len(codes) == 0:
		m.warning = &noMatchingGoal
	case len(codes) == 1:
		m.code = codes[0]
	case m.byGoal < 0:
		m.warning = &manyCurrencies
	}
	a.query.Currency = m.code
	return nil
}

// fill asks for the revenue of each currency on its own, if the goals of the
// lines have several: one question has one currency.
func (m *money) fill(ctx context.Context, from Questions, q event.Query, found *event.Answer) error {
	if m.code != "" || m.byGoal < 0 || len(m.of) == 0 || len(found.Lines) == 0 {
		return nil
	}
	lines := map[string]event.Line{}
	key := func(l event.Line) string {
		var b strings.Builder
		for _, v := range l.Values {
			b.WriteString(strconv.Quote(v.Text) + strconv.FormatInt(v.Time, 10))
		}
		return b.String()
	}
	for _, l := range found.Lines {
		lines[key(l)] = l
	}
	for _, code := range m.codes() {
		own := q
		own.Currency, own.Count, own.Offset, own.Limit = code, false, 0, event.MaxRows
		own.Goals = slices.DeleteFunc(slices.Clone(q.Goals), func(g event.Goal) bool { return g.Currency != code })
		answer, err := from.Query(ctx, own)
		if err != nil {
			return err
		}
		for _, l := range answer.Lines {
			if to, ok := lines[key(l)]; ok {
				for i, metric := range q.Metrics {
					if isRevenue(metric) {
						to.Figures[i] = l.Figures[i]
					}
				}
			}
		}
	}
	return nil
}

func (m *money) codes() []string {
	var codes []string
	for _, g := range m.goals {
		if g.Currency != "" && !slices.Contains(codes, g.Currency) {
			codes = append(codes, g.Currency)
		}
	}
	return codes
}

// write returns the revenue of a line, or nil if it has no one currency.
func (m *money) write(metric event.Metric, line event.Line, i int) any {
	code := m.code
	if m.byGoal >= 0 {
		code = m.of[line.Values[m.byGoal].Text]
	}
	f := line.Figures[i]
	switch {
	case code == "" || m.warning != nil:
		return nil
	case f.Unknown && metric == event.AverageRevenue:
		return moneyOf(decimal.Zero, code)
	case metric == event.AverageRevenue:
		return moneyOf(decimal.NewFromFloat(f.Float).Round(3), code)
	}
	return moneyOf(decimal.New(f.Int, -4), code)
}

// warnings says of each metric why it is null.
func (m *money) warnings(metrics []event.Metric) map[string]v2Warning {
	if m.warning == nil {
		return nil
	}
	out := map[string]v2Warning{}
	for _, metric := range metrics {
		if isRevenue(metric) {
			out[string(metric)] = *m.warning
		}
	}
	return out
}
