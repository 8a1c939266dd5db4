package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// lookAt calls read with the chain of a data directory, "" being that of the settings.
// Of theirs the chain has an entry before it is read, as of a server's, where it can:
// not while a server has it, nor where nothing can be written. A copy or a backup is
// left as it is.
func (p *program) lookAt(ctx context.Context, dir, what string, read func(*ledger.AuditFile) error) (err error) {
	own, err := p.isOwn(dir)
	if err == nil && own && what != "" {
		err = p.noteRead(ctx, what)
	}
	if err != nil {
		return err
	}
	f, err := p.openChain(ctx, dir)
	if err != nil {
		return err
	}
	defer closing(&err, f)
	return read(f)
}

// isOwn says whether a directory is the data directory of the settings, and has a
// ledger of this version: to look at an older one is no reason to migrate it.
func (p *program) isOwn(dir string) (bool, error) {
	c, err := p.config()
	if err != nil {
		return false, err
	}
	if dir != "" {
		given, err := os.Stat(dir)
		own, bad := os.Stat(c.dataDir)
		if err != nil || bad != nil || !os.SameFile(given, own) {
			return false, nil
		}
	}
	list, err := ledger.Status(context.Background(), filepath.Join(c.dataDir, "ledger.db"), migrations.FS)
	if err != nil {
		return false, nil // whoever reads it says what is wrong with it
	}
	for _, m := range list {
		if m.Applied.IsZero() {
			return false, nil
		}
	}
	return true, nil
}

// noteRead records that the chain of the data directory is looked at. A chain that is
// halted can be looked at all the same.
func (p *program) noteRead(ctx context.Context, what string) error {
	err := p.withLedger(ctx, "audit", askServer, func(ctx context.Context, _ *config, l *ledger.Ledger) error {
		return l.Record(ctx, audit.Entry{Kind: audit.Read, Object: "audit:" + what})
	})
	var locked *lockedError
	if errors.As(err, &locked) || errors.Is(err, audit.ErrHalted) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		p.say("the chain has no entry that it is read: %v", err)
		return nil
	}
	return err
}
