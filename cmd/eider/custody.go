package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/audit/sink"
	"github.com/eider-analytics/eider/store/ledger"
)

// Files of the data directory that belong to the audit chain beside the ledger. See
// [audit.ReadHeadFile] for the first.
const (
	headFile  = "audit.head"
	marksFile = "audit.marks"
)

// A namedKey is a public key that the chain names.
type namedKey struct {
	text   string
	before string // the one before it
	seq    int64  // of the entry
}

// An entryLister has entries, newest first.
type entryLister interface {
	Entries(ctx context.Context, f ledger.EntryFilter) ([]audit.Row, error)
}

// namedKeys returns the public keys that a chain names, the newest first.
func namedKeys(ctx context.Context, l entryLister) (keys []namedKey, err error) {
	for _, kind := range []audit.Kind{audit.Rotate, audit.Genesis} {
		rows, err := l.Entries(ctx, ledger.EntryFilter{Kind: string(kind)})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if leaf, err := audit.Parse(row.Leaf); err == nil && leaf.Detail["key"] != "" {
				keys = append(keys, namedKey{leaf.Detail["key"], leaf.Detail["before"], row.Seq})
			}
		}
	}
	return keys, nil
}

// auditKeys returns the keys that sign, the newest first: those of EIDER_AUDIT_KEY, or
// the one that the ledger keeps. That one signs for a last time when the setting takes
// its place.
func (e *engine) auditKeys(ctx context.Context) ([]audit.Key, error) {
	if e.cfg.audit.key == "" {
		key, err := e.keptKey(ctx)
		return []audit.Key{key}, err
	}
	keys, err := audit.ParseKeys(e.cfg.audit.key)
	if err != nil {
		return nil, fmt.Errorf("EIDER_AUDIT_KEY: %w", err)
	}
	named, err := namedKeys(ctx, e.ledger)
	if err != nil || len(named) == 0 {
		return keys, err
	}
	last := named[0].text
	if last == keys[0].Text() {
		// A crash may have come between the change of keys and its checkpoint.
		last = named[0].before
		if c, err := audit.Newest(ctx, e.ledger, "", named[0].seq+1<<40); err == nil && c.Size > named[0].seq {
			return keys, nil
		}
	}
	if last == "" || hasKey(keys, last) {
		return keys, nil
	}
	if kept, err := e.keptKey(ctx); err == nil && kept.Text() == last {
		keys = append(keys, kept)
	}
	return keys, nil
}

// keptKey returns the key that the ledger keeps, which is made when it is first asked
// for.
func (e *engine) keptKey(ctx context.Context) (audit.Key, error) {
	seed, err := e.ledger.Secret(ctx, "audit-key", 32)
	if err != nil {
		return audit.Key{}, fmt.Errorf("read audit key: %w", err)
	}
	if len(seed) != 32 {
		return audit.Key{}, errors.New("read audit key: the ledger has one of another length")
	}
	return audit.NewKey([32]byte(seed)), nil
}

// genesis is what the first entry of a chain says. The key that the ledger makes is
// not known by then: an entry of its own names it.
func (c *config) genesis() map[string]string {
	g := map[string]string{"version": buildInfo().Version}
	if keys, err := audit.ParseKeys(c.audit.key); err == nil && c.audit.key != "" {
		g["key"] = keys[0].Text()
	}
	return g
}

// tailEntries is how many entries are verified before a chain goes on.
const tailEntries = 1000

// checkChain returns why a chain must not go on: because its last entries are not what
// was written, or because it is older than what is known of it elsewhere. remote says
// whether the database is asked.
func (c *config) checkChain(remote bool, warn func(string, ...any)) func(context.Context, *ledger.Ledger) error {
	return func(ctx context.Context, l *ledger.Ledger) error {
		known, err := c.knownHeads(ctx, l, remote, warn)
		if err != nil {
			return err
		}
		origin, _ := l.AuditHead()
		if err := audit.CheckKnown(ctx, l, origin, known); err != nil {
			return err
		}
		trusted, err := c.trustedKeys(ctx, l)
		if err != nil {
			return err
		}
		return verdict(audit.VerifyTail(ctx, l, audit.Options{Trusted: trusted}, tailEntries))
	}
}

// trustedKeys are the keys that the chain names and those that are set. Whoever can
// write to the ledger can have it name any; what a server looks for is damage, and
// what was signed and is no more. An auditor has keys of his own.
func (c *config) trustedKeys(ctx context.Context, l *ledger.Ledger) (*audit.Trusted, error) {
	named, err := namedKeys(ctx, l)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, key := range named {
		texts = append(texts, key.text)
	}
	if keys, err := audit.ParseKeys(c.audit.key); err == nil {
		for _, key := range keys {
			texts = append(texts, key.Text())
		}
	}
	return audit.ParseTrusted(texts...)
}

// adoptedHeads returns the heads that the chain was adopted over although they are of
// another one.
func adoptedHeads(ctx context.Context, l *ledger.Ledger) (map[string]bool, error) {
	rows, err := l.Entries(ctx, ledger.EntryFilter{Kind: string(audit.Adopt)})
	if err != nil {
		return nil, err
	}
	over := map[string]bool{}
	for _, row := range rows {
		if leaf, err := audit.Parse(row.Leaf); err == nil {
			for head := range strings.FieldsSeq(leaf.Detail["over"]) {
				over[head] = true
			}
		}
	}
	return over, nil
}

// headOf is what is known as X-Eider-Audit-Head has it.
func headOf(k audit.Known) string { return audit.Head{Size: k.Size, Root: k.Root}.String() }

// knownHeads returns what is known of a chain elsewhere, without what it was adopted
// over.
func (c *config) knownHeads(ctx context.Context, l *ledger.Ledger, remote bool, warn func(string, ...any)) ([]audit.Known, error) {
	known, err := c.headsElsewhere(ctx, l, remote, warn)
	if err != nil {
		return nil, err
	}
	over, err := adoptedHeads(ctx, l)
	return slices.DeleteFunc(known, func(k audit.Known) bool { return over[headOf(k)] }), err
}

func (c *config) headsElsewhere(ctx context.Context, l *ledger.Ledger, remote bool, warn func(string, ...any)) ([]audit.Known, error) {
	var known []audit.Known
	switch head, err := audit.ReadHeadFile(c.file(headFile)); {
	case err == nil:
		known = append(known, head.Known("the file "+headFile))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if c.audit.pin.Where != "" {
		known = append(known, c.audit.pin)
	}
	if c.audit.postgres == "" || !remote {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	there, err := knownPostgres(ctx, c, l)
	if err != nil {
		warn("the copy of the audit chain in PostgreSQL was not asked whether this ledger is older", "err", err)
	}
	return append(known, there...), nil
}

// knownPostgres returns the newest checkpoint that the database has of a chain, if we
// have signed it: whoever can write there could have made up another.
func knownPostgres(ctx context.Context, c *config, l *ledger.Ledger) ([]audit.Known, error) {
	origin, _ := l.AuditHead()
	instance := strings.Split(origin+"//", "/")[1]
	p, err := sink.NewPostgres(c.audit.postgres)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	newest, err := p.NewestCheckpoint(ctx, instance)
	if errors.Is(err, sink.ErrNoCopy) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	trusted, err := c.trustedKeys(ctx, l)
	if err != nil {
		return nil, err
	}
	if newest, err = trusted.Open(newest.Note); err != nil {
		return nil, err
	}
	return []audit.Known{newest.Known("PostgreSQL")}, nil
}

// custody is what is done with the chain as a whole.
type custody struct{ *engine }

// Adopt implements [server.Custody].
func (c custody) Adopt(ctx context.Context, reason string) error {
	halted := c.ledger.Halted()
	switch {
	case halted == nil:
		return server.ErrNotHalted
	case errors.Is(halted, errBroken):
		return halted
	}
	known, err := c.cfg.knownHeads(ctx, c.ledger, true, c.log.Warn)
	if err != nil {
		return err
	}
	e := audit.Entry{Private: map[string]string{"reason": reason}}
	if e.Detail, err = c.adoptedOver(ctx, known); err != nil {
		return err
	}
	if err := c.ledger.Adopt(ctx, e); err != nil {
		if errors.Is(err, ledger.ErrNotHalted) {
			return server.ErrNotHalted
		}
		return err
	}
	origin, head := c.ledger.AuditHead()
	c.log.Warn("the audit chain was adopted as it is: a new incarnation begins", "origin", origin, "audit_size", head.Size)
	if c.trail == nil {
		return nil
	}
	return c.trail.adopted(ctx)
}

// adoptedOver returns what the entry of an adoption says: which heads the chain is
// adopted over.
func (c custody) adoptedOver(ctx context.Context, known []audit.Known) (map[string]string, error) {
	origin, _ := c.ledger.AuditHead()
	var over []audit.Known
	var heads []string
	for _, k := range known {
		switch err := audit.CheckKnown(ctx, c.ledger, origin, []audit.Known{k}); {
		case errors.Is(err, audit.ErrRolledBack):
			over, heads = append(over, k), append(heads, headOf(k))
		case err != nil:
			return nil, err
		}
	}
	detail := map[string]string{"over": strings.Join(heads, " ")}
	maps.Copy(detail, audit.AdoptDetail(over))
	return detail, nil
}

// ErasePrivate implements [server.Custody].
func (c custody) ErasePrivate(ctx context.Context, f ledger.PrivateFilter, basis string) (int, error) {
	return c.ledger.ErasePrivate(ctx, f, basis)
}

// Prune implements [server.Custody].
func (c custody) Prune(ctx context.Context, before time.Time) (int64, error) {
	if c.trail == nil {
		return 0, fmt.Errorf("%w: only a server that makes copies knows; ask it by EIDER_URL", server.ErrNotCopied)
	}
	copied, err := c.trail.copied()
	if err != nil {
		return 0, err
	}
	newest, err := c.ledger.Entries(ctx, ledger.EntryFilter{To: before.UnixMicro(), Limit: 1})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	n := min(newest[0].Seq+1, copied, c.ledger.AuditStats().Checkpoint)
	if n == 0 {
		return 0, fmt.Errorf("%w yet", server.ErrNotCopied)
	}
	if err := c.ledger.PruneAudit(ctx, n); err != nil {
		return 0, err
	}
	first, _, err := c.ledger.Extent(ctx) // it may have been pruned further before
	return first, err
}

// Report implements [server.Custody].
func (c custody) Report(ctx context.Context, from, to time.Time) ([]byte, error) {
	keys, err := c.auditKeys(ctx)
	if err != nil {
		return nil, err
	}
	origin, _ := c.ledger.AuditHead()
	return audit.SignedReport(ctx, c.ledger, origin, from, to, keys)
}

// Verifiers implements [server.Custody].
func (c custody) Verifiers(ctx context.Context) ([]string, error) {
	keys, err := c.auditKeys(ctx)
	if err != nil {
		return nil, err
	}
	origin, _ := c.ledger.AuditHead()
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.Verifier(origin))
	}
	return texts, nil
}

// forgetSources destroys where acts came from, once that is old enough.
func (e *engine) forgetSources(ctx context.Context) error {
	days := e.cfg.audit.sourceDays
	if days == 0 || e.ledger.Halted() != nil {
		return nil
	}
	f := ledger.PrivateFilter{Field: audit.SourceField, Before: time.Now().AddDate(0, 0, -days).UnixMicro()}
	_, err := e.ledger.ErasePrivate(ctx, f, fmt.Sprintf("EIDER_AUDIT_SOURCE_DAYS=%d", days))
	return err
}
