package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/eider-analytics/eider/store/audit"
)

// keepRuns is how many runs are remembered.
const keepRuns = 100

// A Run is one life of the process.
type Run struct {
	ID      int64
	Version string        // of the program
	Started int64         // µs
	Stopped int64         // µs; 0 if it is running or did not get to its end
	Clean   bool          // all that was to be done at the end was done
	Took    time.Duration // how long the end took
}

// end says how a run has ended.
func (r Run) end() string {
	switch {
	case r.ID == 0:
		return "none"
	case r.Stopped == 0:
		return "killed"
	case r.Clean:
		return "clean"
	}
	return "unclean"
}

// StartRun records that a run begins and returns the one before, or a zero Run
// if this is the first. If that one's Stopped is 0 it was killed.
func (l *Ledger) StartRun(ctx context.Context, version string) (Run, error) {
	var before Run
	var id int64
	e := audit.Entry{Kind: audit.Start, By: audit.System}
	err := l.mustAct(ctx, &e, func(tx *sql.Tx) error {
		err := tx.QueryRow(`SELECT id, version, started, stopped, clean, took FROM runs ORDER BY id DESC LIMIT 1`).
			Scan(&before.ID, &before.Version, &before.Started, &before.Stopped, &before.Clean, &before.Took)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		r, err := tx.Exec(`INSERT INTO runs (version, started) VALUES (?, ?)`, version, l.now())
		if err != nil {
			return err
		}
		if id, err = r.LastInsertId(); err != nil {
			return err
		}
		e.Detail = details("run", strconv.FormatInt(id, 10), "version", version, "before", before.end())
		_, err = tx.Exec(`DELETE FROM runs WHERE id <= ?`, id-keepRuns)
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("start run: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run = id
	return before, nil
}

// EndRun records how the run that StartRun began has ended: with what was refused
// until then, it is meant to be the last entry. Without a run it is [ErrNotFound]. The
// start and the end of a run cannot be refused: while the audit chain is halted their
// entries are owed.
func (l *Ledger) EndRun(ctx context.Context, clean bool, took time.Duration) error {
	l.mu.Lock()
	id := l.run
	l.mu.Unlock()
	e := audit.Entry{Kind: audit.Stop, By: audit.System, Detail: details(
		"run", strconv.FormatInt(id, 10), "clean", strconv.FormatBool(clean), "took", took.String())}
	err := l.submit(ctx, &act{must: true, do: func(g *group) error {
		err := affect(g.tx.Exec(`UPDATE runs SET stopped = ?, clean = ?, took = ? WHERE id = ?`, l.now(), clean, took, id))
		if err != nil {
			return err // before a fold is sealed: those in memory could not be opened again
		}
		if err := l.sealAll(g); err != nil {
			return err
		}
		return g.record(e)
	}})
	if err != nil {
		return fmt.Errorf("end run: %w", err)
	}
	return nil
}

// Setting returns a setting that was made at run time, and whether there is one.
func (l *Ledger) Setting(ctx context.Context, name string) (value string, found bool, err error) {
	err = l.read.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, about("read setting", name, err)
}

// SetSetting makes or changes a setting.
func (l *Ledger) SetSetting(ctx context.Context, name, value string) error {
	e := audit.Entry{Kind: audit.SettingChange, Object: "setting:" + name, Private: map[string]string{"value": value}}
	err := l.act(ctx, &e, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
	return about("change setting", name, err)
}
