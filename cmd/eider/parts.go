package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// A verifyReport says which parts are not what the ledger says.
type verifyReport struct {
	Verified int           `json:"verified"`
	Damaged  []damagedPart `json:"damaged"`
}

type damagedPart struct {
	Path    string `json:"path"`
	Rows    int64  `json:"rows"`
	Damaged string `json:"damaged"` // what is wrong
}

func (p *program) partsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "parts",
		Short:   "Look after the Parquet parts",
		Example: "  eider parts verify",
	}
	cmd.AddCommand(p.partsVerifyCommand(), p.partsRollupCommand())
	return cmd
}

func (p *program) partsRollupCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rollup",
		Short: "Work out the sums of closed days and months",
		Long: `Work out the sums of the closed days and months of every site, from which reports
of long ranges are answered: those that are missing or no longer true. A server
does so by itself after each publish; after an import into a stopped data
directory, or a restore without lens.duckdb, this does it before the server is
started. Nothing depends on it but how long a report takes.`,
		Example: "  eider parts rollup\n  eider parts rollup --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var report struct {
				Spans int `json:"spans"`
			}
			err := p.withServer(cmd.Context(), "parts rollup", false, func(r *remote) error {
				return r.call(cmd.Context(), http.MethodPost, "/api/maintenance/rollup", nil, &report)
			})
			if err != nil {
				return fmt.Errorf("roll up: %w", err)
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(report)
			}
			_, err = fmt.Fprintf(p.stdout, "days and months worked out  %d\n", report.Spans)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (p *program) partsVerifyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read every Parquet part and compare it with the ledger",
		Long: `Read every byte and every row of every Parquet part and compare them with what the
ledger says: SHA-256, rows, times, sites. A part that is not so is put in
quarantine: reports leave it out and say so. Exits with 1 if there is one.`,
		Example: "  eider parts verify\n  eider parts verify --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var report verifyReport
			err := p.withServer(cmd.Context(), "parts verify", false, func(r *remote) (err error) {
				report, err = p.verifyParts(cmd.Context(), r)
				return err
			})
			if err != nil {
				return fmt.Errorf("verify parts: %w", err)
			}
			if err := report.write(p.stdout, asJSON); err != nil {
				return err
			}
			if n := len(report.Damaged); n > 0 {
				return fmt.Errorf("%d of %d parts are damaged: restore their files from a backup and verify again", n, report.Verified)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (p *program) verifyParts(ctx context.Context, r *remote) (verifyReport, error) {
	res, err := r.do(ctx, http.MethodPost, "/api/parts/verify", nil, nil)
	if err != nil {
		return verifyReport{}, err
	}
	defer res.Body.Close()
	bar := progressbar.DefaultSilent(-1)
	if interactive(p.stderr) {
		bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(p.stderr), progressbar.OptionSetDescription("parts"),
			progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	report, err := readVerified(res.Body, func(done, total int) {
		bar.ChangeMax(total)
		_ = bar.Set(done) // a bar that cannot be drawn is no reason to stop
	})
	return report, errors.Join(err, bar.Finish())
}

// readVerified reads the answer of a verification: lines of progress, and then the
// report or what went wrong.
func readVerified(body io.Reader, progress func(done, total int)) (verifyReport, error) {
	in := json.NewDecoder(body)
	for {
		var line struct {
			Progress *struct{ Done, Total int }
			Report   *verifyReport
			Error    string
		}
		switch err := in.Decode(&line); {
		case errors.Is(err, io.EOF):
			return verifyReport{}, errors.New("the answer ended before its report; run it again")
		case err != nil:
			return verifyReport{}, fmt.Errorf("read the answer: %w", err)
		case line.Error != "":
			return verifyReport{}, errors.New(line.Error)
		case line.Report != nil:
			return *line.Report, nil
		case line.Progress != nil:
			progress(line.Progress.Done, line.Progress.Total)
		}
	}
}

func (r *verifyReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "parts\t%d\n", r.Verified)
	fmt.Fprintf(tw, "damaged\t%d\n", len(r.Damaged))
	for _, d := range r.Damaged {
		fmt.Fprintf(tw, "%s\t%s\n", d.Path, d.Damaged)
	}
	return tw.Flush()
}
