package server

import (
	"encoding/json"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// ReadFilters reads filters of the Stats API v2, and returns them written again,
// with what they mean.
func ReadFilters(s string, goals []ledger.Goal, segments []ledger.Segment) (written string, filter event.Filter, err error) {
	cs, err := parseFilters([]byte(s))
	if err != nil {
		return "", filter, err
	}
	if filter, err = cs.filter(vocabulary{goals: goals, segments: segments}); err != nil {
		return "", filter, err
	}
	b, err := json.Marshal(nonNil(cs))
	return string(b), filter, err
}

// ReadV1Filters reads filters of the Stats API v1, and returns what those mean that
// are not on goals.
func ReadV1Filters(s string) (filters []event.Filter, err error) {
	parsed, err := parseV1Filters(s)
	for _, f := range parsed {
		if f.clause.dim != "event:goal" {
			filters = append(filters, f.filter())
		}
	}
	return filters, err
}
