package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/migrations"
	"github.com/eider-analytics/eider/store/ledger"
)

func (p *program) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Show and apply the migrations of a data directory",
		Long: `Show and apply the migrations of a data directory. Eider serve applies them by
itself; a data directory from a newer version is refused, never changed back.`,
		Example: "  eider migrate status\n  eider migrate up",
	}
	cmd.AddCommand(p.migrateStatusCommand(), p.migrateUpCommand())
	return cmd
}

func (p *program) migrateStatusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "List the migrations and when each was applied",
		Example: "  eider migrate status\n  eider migrate status --json",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c, held, err := p.hold("migrate status", stopServer)
			if err != nil {
				return err
			}
			defer closing(&err, held)
			list, err := migrationsOf(cmd.Context(), c)
			if err != nil {
				return fmt.Errorf("read migrations: %w", err)
			}
			return writeMigrations(p.stdout, list, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// migrationsOf returns the migrations of a data directory without changing it.
// A directory that has no ledger lacks them all.
func migrationsOf(ctx context.Context, c *config) ([]ledger.Migration, error) {
	list, err := ledger.Status(ctx, c.file("ledger.db"), migrations.FS)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

func (p *program) migrateUpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "up",
		Short:   "Apply the migrations that a data directory lacks",
		Example: "  eider migrate up",
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Opening a ledger brings it up to date.
			return p.withLedger(cmd.Context(), "migrate up", stopServer, func(ctx context.Context, _ *config, l *ledger.Ledger) error {
				list, err := l.Migrations(cmd.Context())
				if err != nil {
					return fmt.Errorf("read migrations: %w", err)
				}
				return writeMigrations(p.stdout, list, false)
			})
		},
	}
}

func writeMigrations(w io.Writer, list []ledger.Migration, asJSON bool) error {
	type line struct {
		Version int64  `json:"version"`
		Name    string `json:"name"`
		Applied string `json:"applied"` // RFC 3339; "" if it has not been
	}
	lines := []line{}
	for _, m := range list {
		l := line{m.Version, m.Name, ""}
		if !m.Applied.IsZero() {
			l.Applied = m.Applied.Format(time.RFC3339)
		}
		lines = append(lines, l)
	}
	if asJSON {
		return json.NewEncoder(w).Encode(lines)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "VERSION\tNAME\tAPPLIED")
	for _, l := range lines {
		if l.Applied == "" {
			l.Applied = "pending"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\n", l.Version, l.Name, l.Applied)
	}
	return tw.Flush()
}
