package server_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An example is one of the documentation of Plausible's Stats API: a question, the
// figures that the engine has for it, and the answer, in which the order of the
// keys counts too. What the documentation shows in an older form is in today's.
type example struct {
	Name    string
	Now     string // the day on which it was asked
	Request json.RawMessage
	Lines   []struct {
		Values  []string
		Figures []int64
	}
	Count  int64
	Answer json.RawMessage
}

// lines returns the lines for a query: a time is written as the answer has it.
func (e example) lines(t *testing.T, q event.Query) (lines []event.Line) {
	for _, l := range e.Lines {
		var line event.Line
		for i, v := range l.Values {
			value := event.Value{Text: v}
			if _, isTime := q.Dimensions[i].Interval(); isTime {
				at, err := time.Parse("2006-01-02 15:04:05", (v + " 00:00:00")[:19])
				if err != nil {
					t.Fatal(err)
				}
				value = event.Value{Time: at.UnixMicro()}
			}
			line.Values = append(line.Values, value)
		}
		for i, f := range l.Figures {
			figure := event.Figure{Int: f}
			if q.Metrics[i] == event.BounceRate {
				figure = event.Figure{Float: float64(f)}
			}
			line.Figures = append(line.Figures, figure)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestV2Examples asks the examples and wants their answers, byte for byte.
func TestV2Examples(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "stats-v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	var examples []example
	if err := json.Unmarshal(text, &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples) < 15 {
		t.Errorf("only %d examples", len(examples))
	}
	for _, e := range examples {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			asked, err := time.Parse(time.DateOnly, e.Now)
			if err != nil {
				t.Fatal(err)
			}
			r := newPeerRig(t, func(o *server.Options) { o.Now = func() time.Time { return asked.Add(15 * time.Hour) } })
			r.fake.goals = nil
			for _, name := range []string{"Signup", "Register", "Login", "Open Support Chat"} {
				r.fake.goals = append(r.fake.goals, ledger.Goal{Name: name, Kind: ledger.EventGoal, Event: name})
			}
			for name, currency := range map[string]string{"North America Purchases": "USD", "PurchaseUSD": "USD"} {
				r.fake.goals = append(r.fake.goals, ledger.Goal{Name: name, Kind: ledger.EventGoal, Event: name, Currency: currency})
			}
			if strings.Contains(string(e.Request), "PurchaseEUR") {
				r.fake.goals = append(r.fake.goals, ledger.Goal{Name: "PurchaseEUR", Kind: ledger.EventGoal, Event: "PurchaseEUR", Currency: "EUR"})
			}
			r.fake.segments = []ledger.Segment{{ID: 1234, Filters: json.RawMessage(`[["has_not_done",["is","event:goal",["Signup"]]],["is","visit:source",["opensource.com"]]]`)}}
			r.answer = func(q event.Query) *event.Answer { return &event.Answer{Lines: e.lines(t, q), Count: e.Count} }
			w := r.query(string(e.Request))
			var want bytes.Buffer
			if err := json.Compact(&want, e.Answer); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want.String() {
				t.Errorf("%s\ngot  %d %s\nwant %s", e.Request, w.Code, got, want.String())
			}
		})
	}
}
