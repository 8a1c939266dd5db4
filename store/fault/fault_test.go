package fault_test

import (
	"slices"
	"testing"

	"github.com/eider-analytics/eider/store/fault"
)

func TestPoints(t *testing.T) {
	if !slices.IsSorted(fault.Points) {
		t.Errorf("points are not sorted: %q", fault.Points)
	}
	if len(slices.Compact(slices.Clone(fault.Points))) != len(fault.Points) {
		t.Errorf("a point is listed twice: %q", fault.Points)
	}
}
