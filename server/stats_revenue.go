package server

import (
	"net/http"

	"github.com/eider-analytics/eider/store/event"
)

// usualRevenueRows is how many events and pages the report of revenue has.
const usualRevenueRows = 20

// A revenueJSON is the report of revenue.
type revenueJSON struct {
	ByCurrency []earningsJSON `json:"by_currency"`
	ByEvent    []earningsJSON `json:"by_event" doc:"The value is the name of an event."`
	ByPage     []earningsJSON `json:"by_page" doc:"The value is the path on which it happened; null if that is not known."`
}

// An earningsJSON is what came in of one currency, in all or with one value.
type earningsJSON struct {
	Value        **string `json:"value,omitempty"`
	Currency     string   `json:"currency"`
	Total        any      `json:"total" doc:"Sum, in the currency."`
	Transactions int64    `json:"transactions" doc:"Events with revenue."`
	Visitors     int64    `json:"paying_visitors"`
	Average      any      `json:"average_order_value" doc:"Total by transactions."`
}

// statsRevenue answers with the revenue by currency, and by event and page of
// each currency. Different currencies are never added up.
func (s *Server) statsRevenue(w http.ResponseWriter, r *http.Request) error {
	q, err := s.ask(r, "filters", "segment", "currency", "limit")
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", usualRevenueRows, 1, maxRows)
	if err != nil {
		return err
	}
	currency, err := currencyOf(r)
	if err != nil {
		return err
	}
	q.Filter, q.Goals = event.Every(q.whole(), event.Without(is("currency", ""))), nil
	if currency != "" {
		q.Filter = event.Every(q.Filter, is("currency", currency))
	}
	var out revenueJSON
	for _, part := range []struct {
		into *[]earningsJSON
		by   []event.Dimension
	}{
		{&out.ByCurrency, []event.Dimension{"currency"}},
		{&out.ByEvent, []event.Dimension{"currency", "name"}},
		{&out.ByPage, []event.Dimension{"currency", "path"}},
	} {
		if *part.into, err = s.earnings(r, q, part.by, int(limit)); err != nil {
			return err
		}
	}
	q.report.Limit = int(limit)
	return s.answer(w, q, out)
}

// earnings returns one row for each value of the dimensions, of which the first
// is the currency: those with the highest sum first.
func (s *Server) earnings(r *http.Request, q *question, by []event.Dimension, limit int) ([]earningsJSON, error) {
	a, err := s.query(r.Context(), q, func(q *event.Query) {
		q.Dimensions, q.Limit = by, limit
		q.Metrics = []event.Metric{event.TotalRevenue, event.Events, event.Visitors, event.AverageRevenue}
		q.Order = []event.Order{{Metric: event.TotalRevenue, Descending: true}}
		for _, d := range by {
			q.Order = append(q.Order, event.Order{Dimension: d})
		}
	})
	if err != nil {
		return nil, err
	}
	rows := make([]earningsJSON, len(a.Lines))
	for i, l := range a.Lines {
		row := &rows[i]
		row.Currency, row.Transactions, row.Visitors = l.Values[0].Text, l.Figures[1].Int, l.Figures[2].Int
		row.Total, row.Average = valueOf(event.TotalRevenue, l.Figures[0]), valueOf(event.AverageRevenue, l.Figures[3])
		if len(by) > 1 {
			value := textOrNil(l.Values[1].Text)
			row.Value = &value
		}
	}
	return rows, nil
}

// textOrNil returns nil for what is not known.
func textOrNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
