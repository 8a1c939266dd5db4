package history_test

import (
	"reflect"
	"testing"

	"github.com/eider-analytics/eider/store/history"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	d := history.Open(history.OS(t.TempDir()))
	want := wild(1, 5000)
	p := write(t, d, want)
	if err := d.Verify(t.Context(), p); err != nil {
		t.Error(err)
	}
	got, err := collect(d.Read(t.Context(), p))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("event %d:\ngot  %+v\nwant %+v", i, got[i], want[i])
		}
	}
}
