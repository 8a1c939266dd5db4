package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/fault"
	"github.com/eider-analytics/eider/store/history"
)

// check divides parts into those that can be read and those that cannot, and
// notes in the ledger what has changed.
func (s *Store) check(ctx context.Context, parts []event.Part) (sound, damaged []event.Part, err error) {
	const workers = 8 // mostly waiting for the disk
	found := make([]error, len(parts))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(parts); i += workers {
				found[i] = s.inspect(ctx, parts[i])
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil { // which may be what was found
		return nil, nil, err
	}
	for i, p := range parts {
		if p, err = s.judge(ctx, p, found[i]); err != nil {
			return nil, nil, err
		}
		if p.Damaged == "" {
			sound = append(sound, p)
		} else {
			damaged = append(damaged, p)
		}
	}
	return merged(sound, nil, nil), merged(damaged, nil, nil), nil
}

// inspect looks at a part: briefly if it is sound, and at all of it if it is in
// quarantine. What brought it there may be a byte that a brief look does not see,
// and to let it out after one would be to serve what is known to be wrong.
func (s *Store) inspect(ctx context.Context, p event.Part) error {
	if p.Damaged == "" {
		return s.parts.Check(p)
	}
	return s.parts.Verify(ctx, p)
}

// judge puts a part into quarantine, or lets it out, by what looking at it has
// found.
func (s *Store) judge(ctx context.Context, p event.Part, found error) (event.Part, error) {
	why := ""
	if found != nil {
		why = found.Error()
	}
	if (why == "") == (p.Damaged == "") {
		return p, nil
	}
	fault.Point("quarantine: before")
	if err := s.ledger.Quarantine(ctx, p.ID, why); err != nil {
		return p, fmt.Errorf("quarantine part: %w", err)
	}
	fault.Point("quarantine: after")
	if why == "" {
		s.log.Warn("part is sound again and is served", "path", p.Path)
	} else {
		s.log.Error("part is damaged: its events are missing until it is restored", "path", p.Path, "err", found)
	}
	p.Damaged = why
	return p, nil
}

// recheck looks at every part again, as Open does, with maintaining held. It
// returns how many went into quarantine or came out.
func (s *Store) recheck(ctx context.Context) (changed int, err error) {
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	sound, damaged, err := s.check(ctx, slices.Concat(v.parts, v.damaged))
	if err != nil {
		return 0, err
	}
	for i := range damaged {
		if !slices.ContainsFunc(v.damaged, func(p event.Part) bool { return p.ID == damaged[i].ID }) {
			changed++
		}
	}
	changed += len(v.damaged) - (len(damaged) - changed)
	how := s.change
	if changed == 0 {
		how = s.rearrange
	}
	how(func(v *view) trash {
		v.parts, v.damaged = sound, damaged
		return trash{}
	})
	return changed, nil
}

// VerifyParts reads every byte and every row of every part, which takes a while,
// and returns those that are not what the ledger says; they are in quarantine
// then. It calls progress, if not nil, after each part. Parts that go or come
// meanwhile are left out.
func (s *Store) VerifyParts(ctx context.Context, progress func(done, total int)) ([]event.Part, error) {
	sn := s.Snapshot()
	defer sn.Release() // keeps the files
	all := slices.Concat(sn.Parts(), sn.Degraded())
	var damaged []event.Part
	for i, p := range all {
		found := s.parts.Verify(ctx, p)
		if err := ctx.Err(); err != nil {
			return damaged, fmt.Errorf("verify parts: %w", err)
		}
		if found != nil {
			p.Damaged = found.Error()
			damaged = append(damaged, p)
		}
		s.maintaining.Lock()
		err := s.rejudge(ctx, all[i], found)
		s.maintaining.Unlock()
		if err != nil {
			return damaged, fmt.Errorf("verify parts: %w", err)
		}
		if progress != nil {
			progress(i+1, len(all))
		}
	}
	return damaged, nil
}

// convict puts the one of parts into quarantine in which err has found damage. It
// returns err if it is not about one of them. It is called with maintaining held.
func (s *Store) convict(ctx context.Context, parts []event.Part, err error) error {
	damage, ok := errors.AsType[*history.DamageError](err)
	if !ok {
		return err
	}
	i := slices.IndexFunc(parts, func(p event.Part) bool { return p.Path == damage.Path })
	if i < 0 {
		return err
	}
	return s.rejudge(ctx, parts[i], damage)
}

// rejudge is judge for a part that the store already serves, or does not, with
// maintaining held.
func (s *Store) rejudge(ctx context.Context, p event.Part, found error) error {
	if (found == nil) == (p.Damaged == "") {
		return nil
	}
	s.mu.Lock()
	v := s.view
	s.mu.Unlock()
	here := func(q event.Part) bool { return q.ID == p.ID }
	if !slices.ContainsFunc(v.parts, here) && !slices.ContainsFunc(v.damaged, here) {
		return nil // replaced meanwhile
	}
	p, err := s.judge(ctx, p, found)
	if err != nil {
		return err
	}
	s.change(func(v *view) trash {
		all := merged(slices.Concat(v.parts, v.damaged), []event.Part{p}, map[int64]bool{p.ID: true})
		v.parts, v.damaged = nil, nil
		for _, q := range all {
			if q.Damaged == "" {
				v.parts = append(v.parts, q)
			} else {
				v.damaged = append(v.damaged, q)
			}
		}
		return trash{}
	})
	return nil
}
