package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/event"
)

var exportFormats = []string{event.FormatCSV, event.FormatJSON, event.FormatNDJSON, event.FormatParquet, event.FormatArrow}

// exportFlags are the flags of eider export.
type exportFlags struct {
	site, from, to, format, output string
	after                          int64
}

func (p *program) exportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export --site SITE --format FORMAT",
		Short: "Write the events of a site to a file",
		Long: `Write the events of a site to a file or to standard output: one row an event with
every column, in the order of their sequence numbers. Days are those of the
site's time zone. A file is there whole or not at all.

Formats: csv, json, ndjson, parquet, arrow.`,
		Example: `  eider export --site example.com --format parquet -o example.parquet
  eider export --site example.com --from 2026-01-01 --to 2026-01-31 --format ndjson | jq .path`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(interactive(p.stdout)); err != nil {
				return usageError{err}
			}
			return p.withServer(cmd.Context(), "export", false, func(r *remote) error {
				if err := p.export(cmd.Context(), r, f); err != nil {
					return fmt.Errorf("export: %w", err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&f.site, "site", "", "the site (needed)")
	cmd.Flags().StringVar(&f.format, "format", "", "csv, json, ndjson, parquet or arrow (needed)")
	cmd.Flags().StringVar(&f.from, "from", "", "first day, such as 2026-01-01 (default the beginning)")
	cmd.Flags().StringVar(&f.to, "to", "", "last day (default the end)")
	cmd.Flags().Int64Var(&f.after, "after", 0, "only events with a greater seq: go on where an export ended")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "file to write (default standard output)")
	return cmd
}

func (f *exportFlags) check(terminal bool) error {
	if f.site == "" {
		return errors.New("--site is needed")
	}
	if !slices.Contains(exportFormats, f.format) {
		return fmt.Errorf("--format %q: must be one of %s", f.format, strings.Join(exportFormats, ", "))
	}
	if terminal && f.output == "" && (f.format == event.FormatParquet || f.format == event.FormatArrow) {
		return fmt.Errorf("%s is not for a terminal: name a file with -o", f.format)
	}
	for _, day := range []struct{ flag, text string }{{"--from", f.from}, {"--to", f.to}} {
		if _, err := time.Parse(time.DateOnly, day.text); day.text != "" && err != nil {
			return fmt.Errorf("%s %s: must be a day such as 2026-01-31", day.flag, day.text)
		}
	}
	if f.from != "" && f.to != "" && f.to < f.from {
		return fmt.Errorf("--to %s is before --from %s", f.to, f.from)
	}
	return nil
}

// query returns what GET /api/stats/export is asked. It takes both ends of a
// range or none.
func (f *exportFlags) query() url.Values {
	q := url.Values{"site_id": {f.site}, "format": {f.format}, "after": {strconv.FormatInt(f.after, 10)}}
	if f.from != "" || f.to != "" {
		q.Set("start_date", max(f.from, "1970-01-01"))
		q.Set("end_date", f.to)
		if f.to == "" {
			q.Set("end_date", "9999-12-31")
		}
	}
	return q
}

func (p *program) export(ctx context.Context, r *remote, f exportFlags) error {
	res, err := r.do(ctx, http.MethodGet, "/api/stats/export", f.query(), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	what := f.output
	if what == "" {
		what = f.site
	}
	bar := p.progress(-1, what)
	copyTo := func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, bar), res.Body)
		return errors.Join(err, bar.Finish())
	}
	if f.output == "" || f.output == "-" {
		return copyTo(p.stdout)
	}
	if err := writeWhole(f.output, copyTo); err != nil {
		return err
	}
	p.say("%s events, the last is seq %s", res.Trailer.Get("X-Eider-Rows"), res.Trailer.Get("X-Eider-Last-Seq"))
	return nil
}

// writeWhole writes a file under another name beside it, syncs it, and then gives
// it its name: it is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}
