package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// hold loads the settings and takes hold of the data directory. remedy says what
// to do if a server has it.
func (p *program) hold(name, remedy string) (*config, *lock, error) {
	c, err := p.config()
	if err != nil {
		return nil, nil, err
	}
	held, err := openDir(c.dataDir, "eider "+name)
	return c, held, withRemedy(err, remedy)
}

// withRemedy adds to an error what to do if it says that another process has the
// data directory.
func withRemedy(err error, remedy string) error {
	var locked *lockedError
	if errors.As(err, &locked) {
		return fmt.Errorf("%w; %s", err, remedy)
	}
	return err
}

// Remedies for a data directory that is in use.
const (
	askServer  = "to ask the running server set EIDER_URL to its address, such as http://127.0.0.1:8080, and EIDER_API_KEY to a key of it, or stop it first"
	stopServer = "stop it first"
)

// withLedger calls fn with the ledger of a data directory that no server has, and with
// a context that says by whom its acts are.
func (p *program) withLedger(ctx context.Context, name, remedy string, fn func(context.Context, *config, *ledger.Ledger) error) (err error) {
	c, held, err := p.hold(name, remedy)
	if err != nil {
		return err
	}
	defer closing(&err, held)
	log := p.quietLogger(c).With("part", "ledger")
	l, err := ledger.Open(ctx, c.file("ledger.db"), migrations.FS, ledger.Options{
		Log: log, Genesis: c.genesis(), Known: c.checkChain(false, log.Warn),
	})
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	defer closing(&err, l)
	p.say("using the data directory %s", c.dataDir)
	return fn(audit.With(ctx, audit.By{Actor: localActor}), c, l)
}

// localActor is what the audit chain calls whoever runs a command on a data directory
// that no server has.
const localActor = "local"

// quietLogger is logger for the commands that end by themselves: without the
// settings' word they tell only what is wrong.
func (p *program) quietLogger(c *config) *slog.Logger {
	if c.from["EIDER_LOG_LEVEL"] == "" {
		c.logLevel = "warn"
	}
	return p.logger(c)
}

// logger returns the log: to stderr, as the settings say.
func (p *program) logger(c *config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.ToUpper(c.logLevel))); err != nil {
		panic("eider: internal error: log level " + c.logLevel)
	}
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: inSeconds}
	if c.logFormat == "text" || c.logFormat == "" && interactive(p.stderr) {
		return slog.New(slog.NewTextHandler(p.stderr, o))
	}
	return slog.New(slog.NewJSONHandler(p.stderr, o))
}

// inSeconds writes durations as a number of seconds, which other programs can
// add up.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

func closing(err *error, c interface{ Close() error }) { *err = errors.Join(*err, c.Close()) }
