package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// importFormats are those of this version; laterFormats are refused by name.
var (
	importFormats = []string{"combined", "common"}
	laterFormats  = []string{"plausible", "umami", "goatcounter", "mallard", "ndjson", "parquet"}
)

// An importReport is the account of an import: imported, duplicates and skipped
// together are the lines.
type importReport struct {
	Lines      int64            `json:"lines"`
	Imported   int64            `json:"imported"`
	Duplicates int64            `json:"duplicates"`
	Skipped    map[string]int64 `json:"skipped"`
	From       string           `json:"from,omitempty"`
	To         string           `json:"to,omitempty"`
	LastSeq    int64            `json:"last_seq"`
}

func (p *program) importCommand() *cobra.Command {
	var site, format string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import --site SITE --format FORMAT FILE…",
		Short: "Make events of the log of a web server",
		Long: `Make events of the log of a web server, plain or gzip; - is standard input. A GET
of a page that was answered with 200 or 304 is a pageview, of a document or an
archive a File Download. Everything else is skipped and counted by its reason.

Importing a log twice, or one that has grown, adds only what is new.

Formats: combined (Apache's and nginx's default), common.`,
		Example: `  eider import --site example.com --format combined access.log access.log.1.gz
  zstdcat access.log.zst | eider import --site example.com --format combined -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			if err := checkImport(site, format); err != nil {
				return usageError{err}
			}
			total := importReport{Skipped: map[string]int64{}}
			err := p.withServer(cmd.Context(), "import", true, func(r *remote) error {
				for _, file := range files {
					report, err := p.importFile(cmd.Context(), r, site, format, file)
					if err != nil {
						return fmt.Errorf("import %s: %w", file, err)
					}
					total.add(report)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(total)
			}
			return total.write(p.stdout)
		},
	}
	cmd.Flags().StringVar(&site, "site", "", "the site that the log is of (needed)")
	cmd.Flags().StringVar(&format, "format", "", "combined or common (needed)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func checkImport(site, format string) error {
	switch {
	case site == "":
		return errors.New("--site is needed: the domain that the log is of")
	case slices.Contains(laterFormats, format):
		return fmt.Errorf("--format %s: not available in this version, which imports combined and common", format)
	case !slices.Contains(importFormats, format):
		return fmt.Errorf("--format %q: must be combined or common", format)
	}
	return nil
}

// importFile sends one file to the server and shows how far it is.
func (p *program) importFile(ctx context.Context, r *remote, site, format, file string) (importReport, error) {
	in, size, err := p.openInput(file)
	if err != nil {
		return importReport{}, err
	}
	defer in.Close()
	bar := p.progress(size, file)
	body := progressbar.NewReader(in, bar)
	query := url.Values{"site_id": {site}, "format": {format}}
	res, err := r.do(ctx, http.MethodPost, "/api/import", query, &body)
	if err != nil {
		return importReport{}, err
	}
	defer res.Body.Close()
	var answer struct{ Report importReport }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return importReport{}, fmt.Errorf("read the answer: %w", err)
	}
	return answer.Report, bar.Finish()
}

// openInput opens a file, or standard input for -, and returns its size; -1 if
// that is not known.
func (p *program) openInput(file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(p.stdin), -1, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		size = -1
	}
	return f, size, nil
}

// progress returns a bar of bytes: done, of how many, rate and time left. It is
// seen on a terminal only.
func (p *program) progress(size int64, what string) *progressbar.ProgressBar {
	if !interactive(p.stderr) {
		return progressbar.DefaultBytesSilent(size)
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(p.stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(), progressbar.OptionThrottle(100e6), progressbar.OptionClearOnFinish())
}

// add adds the report of another file.
func (r *importReport) add(other importReport) {
	r.Lines += other.Lines
	r.Imported += other.Imported
	r.Duplicates += other.Duplicates
	for reason, n := range other.Skipped {
		r.Skipped[reason] += n
	}
	if other.From != "" && (r.From == "" || other.From < r.From) {
		r.From = other.From
	}
	r.To = max(r.To, other.To)
	r.LastSeq = max(r.LastSeq, other.LastSeq)
}

func (r *importReport) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "lines\t%d\t\n", r.Lines)
	fmt.Fprintf(tw, "imported\t%d\t\n", r.Imported)
	fmt.Fprintf(tw, "already there\t%d\t\n", r.Duplicates)
	for _, reason := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(tw, "skipped: %s\t%d\t\n", reason, r.Skipped[reason])
	}
	return tw.Flush()
}
