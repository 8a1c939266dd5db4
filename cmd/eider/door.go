package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/ingest/enrich"
	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// openDoor returns a door on a ledger. What is signed and sealed with EIDER_SECRET is
// worth nothing without the ledger, nor the other way round.
func openDoor(ctx context.Context, c *config, l *ledger.Ledger, adjust func(*door.Options)) (*door.Door, error) {
	secret, err := l.Secret(ctx, "door", 32)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	o := c.door.options()
	o.Secret = append([]byte(c.secret), secret...)
	if adjust != nil {
		adjust(&o)
	}
	d, err := door.Open(ctx, l, o)
	if err != nil {
		return nil, fmt.Errorf("open door: %w", err)
	}
	return d, nil
}

// describe says what sessions are told apart by.
func (e *engine) describe(c door.Client) (browser, country string) {
	a := enrich.NewAgents(1).Parse(c.Agent, enrich.Hints{}, 0)
	browser = strings.Join(slices.DeleteFunc([]string{a.Browser, a.OS}, func(s string) bool { return s == "" }), " · ")
	if c.Address.IsValid() {
		country = e.places.Lookup(c.Address).Country
	}
	return browser, country
}

// ensureAdmin does what EIDER_ADMIN_PASSWORD asks for. While the chain is halted nothing
// can be changed, and the server serves all the same.
func (e *engine) ensureAdmin(ctx context.Context) error {
	if e.cfg.door.password == "" {
		return nil
	}
	d, err := openDoor(ctx, e.cfg, e.ledger, nil)
	if err != nil {
		return err
	}
	err = d.EnsureAdmin(audit.With(ctx, audit.System), e.cfg.door.password)
	if errors.Is(err, audit.ErrHalted) {
		e.log.Warn("EIDER_ADMIN_PASSWORD has no effect while the audit chain is halted", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("set EIDER_ADMIN_PASSWORD: %w", err)
	}
	return nil
}
