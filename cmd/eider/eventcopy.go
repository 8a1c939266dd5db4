package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/eider-analytics/eider/store/audit/sink"
	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// An eventSource is the store and the ledger as a copier of events sees them.
type eventSource struct {
	*engine
	grown <-chan struct{}
}

// Newest implements [sink.Events].
func (s eventSource) Newest() int64 { return s.ledger.Synced() }

// Events implements [sink.Events].
func (s eventSource) Events(ctx context.Context, after int64, most, bytes int) ([]sink.Event, int64, error) {
	rows, upto, err := s.store.Rows(ctx, after, most, bytes)
	if err != nil {
		return nil, after, err
	}
	batch := make([]sink.Event, len(rows))
	for i, r := range rows {
		batch[i] = sink.Event{Seq: r.Seq, Time: r.Time, Site: r.Site, Name: r.Name, Data: r.Rest, Received: r.Received}
	}
	return batch, upto, nil
}

// Grown implements [sink.Events].
func (s eventSource) Grown() <-chan struct{} { return s.grown }

// eventWithdrawals are those that the ledger keeps.
type eventWithdrawals struct{ *ledger.Ledger }

// Next implements [sink.Withdrawals].
func (l eventWithdrawals) Next(ctx context.Context) (sink.Withdrawal, bool, error) {
	w, found, err := l.NextWithdrawal(ctx)
	text := func(id event.ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	return sink.Withdrawal{ID: w.ID, Upto: w.Upto, Site: w.Site, From: w.From, To: w.To, Visitor: text(w.Visitor), User: text(w.User)}, found, err
}

// Done implements [sink.Withdrawals].
func (l eventWithdrawals) Done(ctx context.Context, w sink.Withdrawal, rows int64) error {
	return l.Withdrawn(ctx, w.ID, rows)
}

// startEvents starts the copier of events, if they are to be copied. Where they once
// were, and the database is still known, what is erased here is erased there all the
// same. The caller holds mu.
func (t *trail) startEvents(ctx context.Context) error {
	a := t.cfg.audit
	begun, err := t.ledger.CopyBegun(ctx)
	if err != nil {
		return err
	}
	if a.postgres == "" || !a.events && !begun {
		return t.warnWaiting(ctx)
	}
	origin, _ := t.ledger.AuditHead()
	to, err := sink.NewPostgresEvents(a.postgres, strings.Split(origin+"//", "/")[1])
	if err != nil {
		return fmt.Errorf("copy events: %w", err)
	}
	var from sink.Events
	if a.events {
		if err := t.ledger.BeginCopy(ctx); err != nil {
			return err
		}
		from = t.events
	}
	t.copies = append(t.copies, &replica{to.Name(), sink.NewEventCopier(to, from, eventWithdrawals{t.ledger}, t.copyOptions(to.Name()))})
	return nil
}

// warnWaiting tells of erasures that a copy does not follow, because nobody says any
// more where it is.
func (t *trail) warnWaiting(ctx context.Context) error {
	n, _, err := t.ledger.Withdrawals(ctx)
	if err == nil && n > 0 {
		t.log.Warn("erasures wait for a copy of the events, which has what was erased: set EIDER_POSTGRES_URL until it has followed", "erasures", n)
	}
	return err
}

// eventsGrown tells the copier of events that there are more, or that some were erased.
func (e *engine) eventsGrown() {
	select {
	case e.fresh <- struct{}{}:
	default: // it has not listened to the last one yet
	}
}
