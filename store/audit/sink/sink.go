// Package sink copies the audit chain, and on request events, to places outside of
// the machine. It is never needed for correctness: whatever is down, full or slow
// out there holds up nothing here.
//
// # The copier
//
// A [Copier] is one goroutine for one [Sink]. It keeps no queue: it asks the sink
// how far it has come (the mark), reads the ledger above that, and puts one batch of
// at most 1,000 rows or 1 MiB at a time, until nothing is left. Then it waits for
// growth. A sink that answers with an error is asked again after 0.5 s, then up to
// twice as long each time, at most a minute, at random below that.
//
// # What a crash leaves
//
// [Postgres] says itself what it has; there is no local mark that could be wrong. A
// process that is killed between the commit there and whatever would follow here
// finds the mark moved when it asks again. A batch whose answer was lost is found to
// be there. [Webhook] and [Kafka] take note of their mark locally, after the other
// side has taken a batch, so that a crash in between sends that batch a second time:
// receivers tell it by origin and seq. [NDJSON] remembers nothing.
//
// # What is never done
//
// A copy is never overwritten. If it has another entry where ours is, or more
// entries than the ledger, one of the two was changed: copying stops, Options.Alarm
// is called, [Stats] say so, and it stays so until the process starts again or the
// chain becomes another incarnation. That an older state was put back there, with
// entries missing, is no such case: they are copied once more, which is counted and
// logged.
//
// # Events
//
// An [EventCopier] brings events to the same database, if they are to be there: in the
// table eider.event, with a partition for every month. It is a copier as the other is.
// But events are no proof of anything, and they can be erased: what is erased here is
// withdrawn there. See its documentation for what it promises.
//
// # Incarnations
//
// An incarnation is a log of its own (its origin ends in another number) and is
// copied from entry 0 on, so that every origin is whole by itself.
package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/eider-analytics/eider/store/audit"
)

// A Sink is a place that a chain is copied to. A sink is called by one goroutine at
// a time, and keeps none of the slices it is given.
type Sink interface {
	// Name is that of the sort of sink, for logs and metrics.
	Name() string

	// Mark returns up to which seq the sink has everything: all entries of the origin
	// below it are there.
	Mark(ctx context.Context, origin string) (next int64, err error)

	// Put adds rows, which follow each other and begin at the mark or below it, and
	// checkpoints. All of it is durable when Put returns nil; what is left after an
	// error is any number of the first rows. It returns how many rows are new there.
	// It is [ErrFork] if the sink has another row or root in the place of one of
	// these, and ErrGap if the entry before the first row is not there.
	Put(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) (inserted int, err error)

	Close() error
}

// A Comparer is a sink that can say whether it still has what it was given.
type Comparer interface {
	// Compare returns [ErrFork] if the sink has another row or root in the place of one
	// of these, or no leaf where there is one, and ErrGap if one of them is not there.
	Compare(ctx context.Context, origin string, rows []audit.Row, checkpoints []audit.Checkpoint) error
}

var (
	// ErrFork is what a [Fork] is.
	ErrFork = errors.New("the copy of the audit chain is not what was written")

	// ErrGap is returned by Put for rows that would leave a hole before them, and by
	// Compare for rows that are not there. The mark has to be asked for again.
	ErrGap = errors.New("entries are missing in the copy")

	// ErrLost is the alarm of a copier that would have to copy entries which the ledger
	// does not have any more.
	ErrLost = errors.New("entries that the copy lacks are not in the ledger any more")

	// ErrAhead is the alarm of an [EventCopier] that finds events which are not here: the
	// ledger is older than the copy, and gives their numbers to others.
	ErrAhead = errors.New("the copy has events that are not here: to have it made anew, delete those of this instance from eider.event, and restart")

	// ErrNewer is returned when the schema at the sink was made by a newer program.
	ErrNewer = errors.New("the schema eider belongs to a newer version of this program")
)

// A Fork is a difference between the ledger and a copy of it.
type Fork struct {
	Sink   string
	Origin string
	Seq    int64  // of the first entry that differs; of a checkpoint, its size
	What   string // differs
}

func (f *Fork) Error() string {
	return fmt.Sprintf("%s has another %s than the ledger at %d of %s", f.Sink, f.What, f.Seq, f.Origin)
}

// Is says that a Fork is [ErrFork].
func (f *Fork) Is(target error) bool { return target == ErrFork }

// Bounds of a batch.
const (
	maxRows        = 1000
	maxBytes       = 1 << 20
	maxCheckpoints = 256
)
