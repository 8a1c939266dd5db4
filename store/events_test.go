package store

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/eider-analytics/eider/store/event"
)

// Events returns all events of the present, in the order of Seq.
func (s *Store) Events(ctx context.Context) (events []event.Event, err error) {
	sn := s.Snapshot()
	defer sn.Release()
	d := newDecoder(true)
	err = s.scan(ctx, sn, span{}, func(rec arrow.RecordBatch) error {
		for row := range int(rec.NumRows()) {
			events = append(events, *d.event(rec, row))
		}
		return nil
	})
	return events, err
}
