package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrNotFound is returned for what a log does not have, or has not signed yet.
var ErrNotFound = errors.New("the audit chain does not have that")

// A Known is a head that is known from somewhere other than the chain itself.
type Known struct {
	Where  string // as an operator would name it: "the head file", "EIDER_AUDIT_PIN"
	Origin string // "" if only size and root are known
	Size   int64
	Root   tlog.Hash
}

// Known returns what a checkpoint says.
func (c Checkpoint) Known(where string) Known { return Known{where, c.Origin, c.Size, c.Root} }

// ParsePin reads <size>:<root>, as X-Eider-Audit-Head and [Head.String] have it.
func ParsePin(where, s string) (Known, error) {
	size, root, _ := strings.Cut(s, ":")
	n, err := strconv.ParseInt(size, 10, 64)
	hash, bad := decode32(root)
	if err != nil || n < 0 || bad != nil {
		return Known{}, fmt.Errorf("%q is no <size>:<root> of an audit chain", s)
	}
	return Known{Where: where, Size: n, Root: hash}, nil
}

// A RolledBack says which known head a chain is not a continuation of. It is an
// [ErrRolledBack].
type RolledBack struct {
	Known Known
	Size  int64 // of the chain
	Why   string
}

func (e *RolledBack) Error() string {
	return fmt.Sprintf("%v: %s has %d entries, root %s, and the chain %s",
		ErrRolledBack, e.Known.Where, e.Known.Size, e.Known.Root, e.Why)
}

// Unwrap returns [ErrRolledBack].
func (e *RolledBack) Unwrap() error { return ErrRolledBack }

// AdoptDetail returns the detail of an [Adopt] over what is known: the longest of it,
// by which [CheckKnown] and [Verify] later see that the operator knew.
func AdoptDetail(known []Known) map[string]string {
	var longest Known
	for _, k := range known {
		if k.Size > longest.Size {
			longest = k
		}
	}
	if longest.Size == 0 {
		return nil
	}
	return map[string]string{
		"known_where": longest.Where, "known_origin": longest.Origin,
		"known_size": strconv.FormatInt(longest.Size, 10), "known_root": encode(longest.Root[:]),
	}
}

// CheckKnown compares a chain with what is known of it elsewhere. Of a chain that is
// shorter, or another one, it returns a [RolledBack] for each head that does not fit,
// joined.
//
// A head of an earlier incarnation fits also if an operator has adopted the chain over
// it: the first entry of a later incarnation then names it, or a longer one.
func CheckKnown(ctx context.Context, log Log, origin string, known []Known) error {
	instance, incarnation, err := parseOrigin(origin)
	if err != nil {
		return fmt.Errorf("compare audit chain with what is known of it: %w", err)
	}
	_, end, err := log.Extent(ctx)
	if err != nil {
		return fmt.Errorf("compare audit chain with what is known of it: %w", err)
	}
	var errs []error
	for _, k := range known {
		why, err := differs(log, end, instance, incarnation, k)
		if err != nil {
			return fmt.Errorf("compare audit chain with %s: %w", k.Where, err)
		}
		if why == "" {
			continue
		}
		over, err := adopted(ctx, log, end, incarnation, k)
		if err != nil {
			return fmt.Errorf("compare audit chain with %s: %w", k.Where, err)
		}
		if !over {
			errs = append(errs, &RolledBack{Known: k, Size: end, Why: why})
		}
	}
	return errors.Join(errs...)
}

// differs returns why a chain is no continuation of a head, "" if it is.
func differs(log Log, end int64, instance string, incarnation int64, k Known) (why string, err error) {
	if k.Origin != "" {
		other, n, err := parseOrigin(k.Origin)
		if err != nil {
			return "", err
		}
		if other != instance {
			return fmt.Sprintf("is of instance %s, not of %s", instance, other), nil
		}
		if n > incarnation {
			return fmt.Sprintf("is incarnation %d, not %d", incarnation, n), nil
		}
	}
	if k.Size > end {
		return fmt.Sprintf("only %d", end), nil
	}
	root, err := tlog.TreeHash(k.Size, log)
	if err != nil {
		return "", err
	}
	if root != k.Root {
		return fmt.Sprintf("had the root %s at that size", root), nil
	}
	return "", nil
}

// adopted reports whether a later incarnation than that of a head began by taking the
// place of it.
func adopted(ctx context.Context, log Log, end, incarnation int64, k Known) (bool, error) {
	of := int64(1)
	if k.Origin != "" {
		_, n, err := parseOrigin(k.Origin)
		if err != nil {
			return false, err
		}
		of = n
	}
	if of >= incarnation {
		return false, nil
	}
	over := false
	err := log.Rows(ctx, 0, end, func(r Row) error {
		if r.Kind != Adopt || r.Leaf == nil {
			return nil
		}
		l, err := Parse(r.Leaf)
		if err != nil {
			return err
		}
		over = over || l.covers(of, k)
		return nil
	})
	return over, err
}

// covers reports whether an adoption took the place of a head of an incarnation.
func (l *Leaf) covers(incarnation int64, k Known) bool {
	size, err := strconv.ParseInt(l.Detail["known_size"], 10, 64)
	if err != nil || l.Kind != Adopt || l.Incarnation <= incarnation || k.Size <= l.Seq {
		return false // what is not longer than what was adopted must be a part of it
	}
	root, bad := decode32(l.Detail["known_root"])
	return size > k.Size || size == k.Size && bad == nil && root == k.Root
}
