package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/audit/sink"
	"github.com/eider-analytics/eider/store/ledger"
)

// A trail is what a serving engine does with its audit chain, which the ledger
// keeps: it has checkpoints signed, copies made, and all of it verified.
//
// While the chain is halted nothing is signed and nothing copied: what is known
// elsewhere stays as it is until somebody has looked.
type trail struct {
	cfg    *config
	ledger *ledger.Ledger
	log    *slog.Logger
	stdout io.Writer
	keys   []audit.Key
	bell   *bell
	events eventSource

	mu       sync.Mutex // guards the rest
	notary   *audit.Notary
	copies   []*replica
	report   audit.Report // of the last verification
	verified time.Time    // when that ended
	closed   bool
}

// A replica is a copy of the chain, or of the events, elsewhere.
type replica struct {
	name string
	copier
}

// A copier is a [sink.Copier] or a [sink.EventCopier].
type copier interface {
	Stats() sink.Stats
	Close(ctx context.Context) error
}

// openTrail begins to sign and copy. It is called before the first entry of a run.
func (e *engine) openTrail(ctx context.Context, stdout io.Writer) error {
	keys, err := e.auditKeys(ctx)
	if err != nil {
		return err
	}
	if e.cfg.audit.key == "" {
		e.log.Warn("the audit key is kept beside the chain that it signs; put one into EIDER_AUDIT_KEY, from a secret store: eider audit key makes it")
	}
	t := &trail{cfg: e.cfg, ledger: e.ledger, log: e.log.With("part", "audit"), stdout: stdout, keys: keys, bell: ring(e.ledger.Grown()), events: eventSource{e, e.fresh}}
	e.trail = t
	e.opened("audit trail", func() error { // after a stop that went well it is closed already
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return t.Close(ctx)
	})
	e.metrics.WatchAudit(t.gauges)
	if err := e.ledger.Halted(); err != nil {
		t.log.Error("the audit chain is halted: nothing can be changed until it is adopted (eider audit adopt) or the newer ledger is restored", "err", err)
		return nil
	}
	return t.begin(ctx)
}

// begin signs and copies from now on.
func (t *trail) begin(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.notary != nil {
		return nil
	}
	if err := t.nameKey(ctx); err != nil {
		return err
	}
	o := audit.NotaryOptions{Log: t.listener(), Keys: t.keys, HeadFile: t.cfg.file(headFile), Logger: t.log}
	if t.cfg.audit.witness != "" {
		w, err := audit.ParseWitness(t.cfg.audit.witness)
		if err != nil {
			return err
		}
		o.Witness = w
	}
	notary, err := audit.NewNotary(ctx, o)
	if err != nil {
		return err
	}
	t.notary = notary
	// A change of keys is only worth something once both have signed it.
	_ = notary.Sign(ctx) // it has told, and tries again
	return errors.Join(t.startCopies(), t.startEvents(ctx))
}

// nameKey records which key signs from here on, if the chain names another one.
func (t *trail) nameKey(ctx context.Context) error {
	named, err := namedKeys(ctx, t.ledger)
	if err != nil {
		return err
	}
	key := t.keys[0].Text()
	if len(named) > 0 && named[0].text == key {
		return nil
	}
	e := audit.Entry{Kind: audit.Rotate, By: audit.System, Detail: map[string]string{"key": key}}
	if len(named) > 0 {
		e.Detail["before"] = named[0].text
		if !hasKey(t.keys, named[0].text) {
			t.log.Warn("the audit key was changed without the old one, so that nothing in the chain shows that whoever had that has agreed; " +
				"put the old one after the new one in EIDER_AUDIT_KEY, separated by a comma, for a day")
		}
	}
	if err := t.ledger.Record(ctx, e); err != nil {
		return fmt.Errorf("name the audit key: %w", err)
	}
	return nil
}

// chainListener is the ledger with growth of its own to listen for.
type chainListener struct {
	*ledger.Ledger
	grown <-chan struct{}
}

// Grown implements [audit.Ledger] and [sink.Chain].
func (l chainListener) Grown() <-chan struct{} { return l.grown }

func (t *trail) listener() chainListener { return chainListener{t.ledger, t.bell.listen()} }

// startCopies starts a copier for each place that is set. The caller holds mu.
func (t *trail) startCopies() error {
	a, marks := t.cfg.audit, &markFile{path: t.cfg.file(marksFile)}
	var errs []error
	add := func(s sink.Sink, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		t.copies = append(t.copies, &replica{s.Name(), sink.NewCopier(s, t.listener(), t.copyOptions(s.Name()))})
	}
	if a.postgres != "" {
		s, err := sink.NewPostgres(a.postgres)
		add(s, err)
	}
	if a.stdout {
		origin, head := t.ledger.AuditHead()
		add(sink.NewNDJSON(t.stdout, origin, head.Size), nil)
	}
	if a.webhook != "" {
		s, err := sink.NewWebhook(sink.WebhookOptions{URL: a.webhook, Secret: a.webhookSecret, Marks: marks})
		add(s, err)
	}
	if a.kafka.topic != "" {
		s, err := sink.NewKafka(sink.KafkaOptions{Brokers: a.kafka.brokers, Topic: a.kafka.topic, Marks: marks})
		add(s, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("copy the audit chain: %w", errors.Join(errs...))
	}
	return nil
}

func (t *trail) copyOptions(name string) sink.Options {
	return sink.Options{Interval: t.cfg.audit.interval, Log: t.log, Alarm: func(err error) { t.alarm(name, err) }}
}

// alarm records that a copy holds something else than the chain, or more.
func (t *trail) alarm(name string, cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e := audit.Entry{Kind: audit.Alarm, Outcome: audit.Failed, By: audit.System, Object: "copy:" + name, Reason: cause.Error()}
	if err := t.ledger.Record(ctx, e); err != nil {
		t.log.Error("alarm not recorded", "err", err)
	}
	if !errors.Is(cause, audit.ErrRolledBack) || name != "postgres" {
		return
	}
	// The database may not have answered at the start. Rows there prove nothing; a
	// checkpoint that we have signed does.
	known, err := knownPostgres(ctx, t.cfg, t.ledger)
	if err == nil {
		origin, _ := t.ledger.AuditHead()
		err = audit.CheckKnown(ctx, t.ledger, origin, known)
	}
	if errors.Is(err, audit.ErrRolledBack) {
		t.halt(err)
	}
}

// halt makes the chain take no more entries, loudly.
func (t *trail) halt(cause error) {
	t.log.Error("the audit chain is halted: nothing can be changed", "err", cause)
	t.ledger.Halt(cause)
}

// Verification of the whole chain goes on beside everything else, so it rests as
// long as it reads.
const (
	verifyEvery = 24 * time.Hour
	restAfter   = 512 // entries
)

// A gentle log rests while it is read.
type gentle struct{ *ledger.Ledger }

// Rows implements [audit.Log].
func (g gentle) Rows(ctx context.Context, from, to int64, fn func(audit.Row) error) error {
	began, n := time.Now(), 0
	return g.Ledger.Rows(ctx, from, to, func(r audit.Row) error {
		if n++; n%restAfter == 0 {
			select {
			case <-time.After(min(time.Since(began), time.Second)):
			case <-ctx.Done():
				return ctx.Err()
			}
			began = time.Now()
		}
		return fn(r)
	})
}

// verify verifies all of the chain now, and then once a day.
func (t *trail) verify(ctx context.Context) {
	tick := time.NewTicker(verifyEvery)
	defer tick.Stop()
	for {
		t.verifyNow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (t *trail) verifyNow(ctx context.Context) {
	trusted, err := t.cfg.trustedKeys(ctx, t.ledger)
	if err != nil {
		t.log.Error("audit chain not verified, will try again", "err", err)
		return
	}
	report := audit.Verify(ctx, gentle{t.ledger}, audit.Options{Trusted: trusted})
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	t.report, t.verified = report, time.Now()
	t.mu.Unlock()
	if err := verdict(report); err != nil {
		t.halt(err)
		return
	}
	t.log.Info("audit chain verified", "audit_size", report.Entries, "status", string(report.Status), "elapsed", time.Duration(report.Elapsed*float64(time.Second)))
	for _, w := range report.Warnings {
		t.log.Debug("audit chain verified, with a doubt", "why", w)
	}
}

// errBroken says that the chain is not what was written, which nobody can adopt.
var errBroken = errors.New("the audit chain has been tampered with; restore the ledger from a backup, and keep this one as evidence")

// verdict returns why a chain must not go on, or nil.
func verdict(r audit.Report) error {
	what := string(r.Status)
	if r.Where != nil {
		what = r.Where.What
		if r.Where.Seq >= 0 {
			what = "entry " + strconv.FormatInt(r.Where.Seq, 10) + ": " + what
		}
	}
	switch r.Status {
	case audit.Tampered:
		return fmt.Errorf("%w: %s", errBroken, what)
	case audit.Truncated:
		return fmt.Errorf("%w: %s", audit.ErrRolledBack, what)
	}
	return nil
}

// adopt begins a new incarnation, and signs and copies it from now on.
func (t *trail) adopted(ctx context.Context) error { return t.begin(context.WithoutCancel(ctx)) }

// sign signs the last entry. It ends the signing.
func (t *trail) sign(ctx context.Context) error {
	t.mu.Lock()
	notary := t.notary
	t.mu.Unlock()
	if notary == nil {
		return nil
	}
	return notary.Close(ctx)
}

// Close signs what is not signed, tries for a last time to copy it, and ends both. It
// may be called again.
func (t *trail) Close(ctx context.Context) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	notary, copies := t.notary, t.copies
	t.mu.Unlock()
	var errs []error
	if notary != nil && t.ledger.Failed() == nil {
		errs = append(errs, notary.Close(ctx))
	}
	var wg sync.WaitGroup
	for _, c := range copies {
		wg.Go(func() {
			if err := c.Close(ctx); err != nil {
				t.log.Warn("copy not closed", "sink", c.name, "err", err)
			}
		})
	}
	wg.Wait()
	t.bell.Close()
	return errors.Join(errs...)
}

// gauges are what metrics ask at every scrape.
func (t *trail) gauges() server.AuditGauges {
	st := t.ledger.AuditStats()
	g := server.AuditGauges{Size: st.Size, Bytes: st.Bytes, CheckpointSize: st.Checkpoint, UnknownKinds: st.Unknown, Halted: t.ledger.Halted() != nil}
	if n, since, err := t.ledger.Withdrawals(context.Background()); err == nil && n > 0 {
		g.ErasuresWaiting, g.ErasuresSince = n, since
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.notary != nil {
		n := t.notary.Stats()
		g.CheckpointSize, g.Failures = n.Size, int64(n.Failures)
	}
	g.Verified, g.VerifiedAt, g.Sound = t.report.Entries, t.verified, t.report.Status == audit.Sound
	for _, c := range t.copies {
		s := c.Stats()
		g.Copies = append(g.Copies, server.CopyGauges{
			Sink: c.name, Attempted: s.Attempted, Inserted: s.Inserted, Bytes: s.Bytes, Errors: s.Errors,
			Refilled: s.Refilled, LagRows: s.LagRows, Lag: s.Lag, Last: s.Duration, Alarm: s.Alarm != nil,
		})
	}
	return g
}

// copied returns how many entries every copy has acknowledged. Standard output
// acknowledges nothing, and a copy that has raised an alarm is none.
func (t *trail) copied() (int64, error) {
	_, head := t.ledger.AuditHead() // before the lags: it can only be less than what they are of
	t.mu.Lock()
	defer t.mu.Unlock()
	least := int64(-1)
	for _, c := range t.copies {
		if _, ok := c.copier.(*sink.Copier); !ok || c.name == "stdout" {
			continue
		}
		s := c.Stats()
		if s.Alarm != nil {
			return 0, fmt.Errorf("%w: the copy %s has stopped: %w", server.ErrNotCopied, c.name, s.Alarm)
		}
		if has := max(head.Size-s.LagRows, 0); least < 0 || has < least {
			least = has
		}
	}
	if least < 0 {
		return 0, fmt.Errorf("%w: set EIDER_POSTGRES_URL, or another place to copy the chain to", server.ErrNotCopied)
	}
	return least, nil
}

// details are what GET /health/detailed shows of the chain.
func (e *engine) auditDetails() map[string]any {
	origin, head := e.ledger.AuditHead()
	d := map[string]any{"origin": origin, "size": head.Size, "head": head.String(), "checkpoint": e.ledger.AuditStats().Checkpoint}
	if err := e.ledger.Halted(); err != nil {
		d["halted"] = err.Error()
	}
	if e.trail == nil {
		return d
	}
	g := e.trail.gauges()
	e.trail.mu.Lock()
	report := e.trail.report
	e.trail.mu.Unlock()
	if !g.VerifiedAt.IsZero() {
		d["verified"] = map[string]any{"status": report.Status, "entries": report.Entries, "at": g.VerifiedAt.UTC().Format(time.RFC3339)}
	}
	copies := []map[string]any{}
	for _, c := range g.Copies {
		copies = append(copies, map[string]any{"sink": c.Sink, "lag_rows": c.LagRows, "lag_seconds": c.Lag.Seconds(), "errors": c.Errors, "alarm": c.Alarm})
	}
	d["copies"] = copies
	d["erasures_waiting"] = g.ErasuresWaiting
	return d
}

// hasKey says whether one of the keys has a public key, as entries have it.
func hasKey(keys []audit.Key, text string) bool {
	return slices.ContainsFunc(keys, func(k audit.Key) bool { return k.Text() == text })
}
