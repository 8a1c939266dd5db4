package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/history"
	"github.com/eider-analytics/eider/store/ledger"
)

// Published tells what a publish has done.
type Published struct {
	Through int64 // Seq up to which events are in parts now
	Events  int64
	Parts   int
	Bytes   int64 // of the parts
	Elapsed time.Duration
}

// PublishDue says whether the journal has grown so much that it is time to
// publish. It is cheap.
func (s *Store) PublishDue() bool {
	j := s.ledger.Journal()
	return j.Bytes >= s.opts.PublishBytes || int64(j.Events) >= s.opts.PublishRows
}

// Publish writes what has been flushed as parts, one for each UTC day, and
// deletes it from the journal. It takes about PublishBytes of the journal at a
// time; each such round is committed by itself. Until then the events stay hot,
// so that after an error nothing is lost and Publish may be called again, unless
// Failed was called.
func (s *Store) Publish(ctx context.Context) (Published, error) {
	s.maintaining.Lock()
	defer s.maintaining.Unlock()
	p, err := s.publish(ctx)
	if err != nil {
		return p, fmt.Errorf("publish: %w", err)
	}
	return p, nil
}

// publish is Publish with maintaining held.
func (s *Store) publish(ctx context.Context) (Published, error) {
	if err := s.usable(); err != nil {
		return Published{}, err
	}
	target, err := s.rotate(ctx)
	if err != nil {
		// Parts are made from the journal: that can be done without the lens, and at
		// the end of the process it must be.
		s.log.Warn("publishing without the lens", "err", err)
		target = s.ledger.LastSeq()
	}
	return s.publishTo(ctx, target)
}

// publishTo is publish for what is in groups up to target, flushed or not.
func (s *Store) publishTo(ctx context.Context, target int64) (p Published, err error) {
	began := time.Now()
	s.pace.begin()
	s.mu.Lock()
	p.Through = s.view.published
	s.mu.Unlock()
	for p.Through < target {
		done, err := s.round(ctx, &p, target)
		if err != nil {
			return p, err
		}
		if done {
			break
		}
	}
	p.Elapsed = time.Since(began)
	if p.Events > 0 {
		s.shed()
		s.mu.Lock()
		s.stats.publish = Work{At: s.opts.Now(), Took: p.Elapsed, Events: p.Events, Parts: p.Parts}
		s.mu.Unlock()
	}
	return p, s.trim(ctx)
}

// round publishes about PublishBytes of what is between p.Through and target. It
// is done when no whole group is.
func (s *Store) round(ctx context.Context, p *Published, target int64) (done bool, err error) {
	h, err := s.gather(ctx, p.Through, target)
	if err != nil {
		return false, err
	}
	if h.through == 0 {
		return true, nil
	}
	parts, err := s.write(ctx, h)
	if err != nil {
		return false, err
	}
	fault.Point("publish: parts written")
	s.boundary.Lock()
	defer s.boundary.Unlock()
	parts, err = s.commit(ctx, ledger.Change{Add: parts, Published: h.through, IDs: sortIDs(h.ids)})
	if err != nil {
		return false, err
	}
	fault.Point("publish: committed")
	s.rearrange(func(v *view) trash {
		v.parts = merged(v.parts, parts, nil)
		v.published = h.through
		v.flushed = max(v.flushed, h.through)
		s.stats.publishes++
		return trash{}
	})
	p.Through = h.through
	p.Events += int64(len(h.events))
	p.Parts += len(parts)
	for _, part := range parts {
		p.Bytes += part.Bytes
	}
	return false, nil
}

// trim deletes the dead rows of the journal, a little at a time, so that a commit
// never waits for more than one little.
func (s *Store) trim(ctx context.Context) error {
	for {
		more, err := s.ledger.TrimJournal(ctx)
		if ctx.Err() != nil {
			return nil // the next publish goes on
		}
		if err != nil {
			return fmt.Errorf("trim journal: %w", err)
		}
		if !more {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// A harvest is what one round takes out of the journal.
type harvest struct {
	through int64 // Seq of its last event; 0 if it is empty
	events  []sheaf
	ids     []byte // the groups' ids, one after the other
}

// A sheaf is an event that is still encoded, with what parts are sorted by. Its
// texts share the memory of the group's payload.
type sheaf struct {
	day       event.Day
	site      string
	time, seq int64
	frame     event.Frame
}

// errEnough ends the reading of the journal, or of a result.
var errEnough = errors.New("enough")

// gather reads whole groups after a Seq and not past target until it has
// PublishBytes, and sorts their events as parts are sorted.
func (s *Store) gather(ctx context.Context, after, target int64) (harvest, error) {
	var h harvest
	var size int64
	err := s.ledger.Groups(ctx, after, func(g ledger.Group) error {
		if g.Last > target || size >= s.opts.PublishBytes {
			return errEnough
		}
		frames, err := event.Frames(string(g.Payload))
		if err != nil {
			return damagedGroup(g, err)
		}
		for _, f := range frames {
			seq, site, at := f.Key()
			h.events = append(h.events, sheaf{event.DayOf(at), site, at, seq, f})
		}
		s.breathe()
		h.ids = append(h.ids, g.IDs...)
		h.through = g.Last
		size += int64(len(g.Payload))
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return harvest{}, err
	}
	slices.SortFunc(h.events, func(a, b sheaf) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.site, b.site), cmp.Compare(a.time, b.time), cmp.Compare(a.seq, b.seq))
	})
	return h, nil
}

// write writes a part for each day of the harvest. After an error none is left.
func (s *Store) write(ctx context.Context, h harvest) (parts []event.Part, err error) {
	defer func() {
		if err != nil {
			s.unwrite(parts)
			parts = nil
		}
	}()
	for rest := h.events; len(rest) > 0; {
		day, n := rest[0].day, 1
		for n < len(rest) && rest[n].day == day {
			n++
		}
		fault.Point("publish: before part")
		part, err := s.wrote(s.parts.Write(ctx, day, decoded(rest[:n])))
		if err != nil {
			return parts, err
		}
		fault.Point("publish: part written")
		parts = append(parts, part)
		rest = rest[n:]
	}
	return parts, nil
}

func decoded(events []sheaf) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for i := range events {
			if !yield(events[i].frame.Decode()) {
				return
			}
		}
	}
}

// unwrite deletes parts that are not to be listed after all.
func (s *Store) unwrite(parts []event.Part) {
	for _, p := range parts {
		if err := s.parts.Remove(p.Path); err != nil {
			s.log.Warn("part of a change that was given up stays until the next start", "path", p.Path, "err", err)
		}
	}
}

// commit makes a change of the history, and does not give it up half-way. If the
// ledger has failed, nobody knows what is stored: the new files must stay, and
// the store refuses every further change. After any other error nothing has
// changed, and the new files are deleted.
func (s *Store) commit(ctx context.Context, c ledger.Change) ([]event.Part, error) {
	parts, err := s.ledger.Commit(context.WithoutCancel(ctx), c)
	if err == nil {
		return parts, nil
	}
	err = fmt.Errorf("commit change of history: %w", err)
	if s.ledger.Failed() != nil {
		s.fail(err)
	} else {
		s.unwrite(c.Add)
	}
	return nil, err
}

// wrote returns err, and fails the store if no more parts can be written.
func (s *Store) wrote(part event.Part, err error) (event.Part, error) {
	if errors.Is(err, history.ErrFailed) {
		s.fail(err)
	}
	return part, err
}

// merged returns the parts without those removed and with those added, by day and
// first Seq, in a new slice.
func merged(parts, added []event.Part, removed map[int64]bool) []event.Part {
	list := make([]event.Part, 0, len(parts)+len(added))
	for _, p := range parts {
		if !removed[p.ID] {
			list = append(list, p)
		}
	}
	list = append(list, added...)
	slices.SortFunc(list, func(a, b event.Part) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.First, b.First), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// idEntry is the size of an entry of an id block, idKey that of what it is
// sorted and found by.
const idEntry, idKey = 24, 16

// sortIDs returns the entries of a block in the order of their keys; those with
// equal keys stay as they came.
func sortIDs(ids []byte) []byte {
	entries := slices.Collect(slices.Chunk(ids, idEntry))
	slices.SortStableFunc(entries, func(a, b []byte) int { return bytes.Compare(a[:idKey], b[:idKey]) })
	return slices.Concat(entries...)
}
