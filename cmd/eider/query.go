package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/event"
)

// An sqlAnswer is the answer to POST /api/sql.
type sqlAnswer struct {
	Columns []event.SQLColumn `json:"columns"`
	Rows    [][]any           `json:"rows"`
}

func (p *program) queryCommand() *cobra.Command {
	var asJSON, asCSV bool
	var format string
	cmd := &cobra.Command{
		Use:   "query 'SELECT …'",
		Short: "Ask the events in SQL, without changing anything",
		Long: `Ask the events in SQL, in DuckDB's dialect. The views are events, visits,
parts and audit; 'DESCRIBE events' lists the columns of one. Times are UTC. Nothing can be
written, no file read and no setting changed. - reads the query from standard
input. In CSV a text that a spreadsheet would take for a formula gets an
apostrophe in front.`,
		Example: `  eider query 'SELECT path, count(*) AS views FROM events GROUP BY ALL ORDER BY views DESC LIMIT 10'
  eider query --format csv - <report.sql >report.csv
  eider query --format arrow 'FROM visits' >visits.arrows`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asCSV || (asJSON || asCSV) && format != "" {
				return usageError{errors.New("--format, --json and --csv exclude each other")}
			}
			switch {
			case asJSON:
				format = event.FormatJSON
			case asCSV:
				format = event.FormatCSV
			}
			if !slices.Contains(queryFormats, format) {
				return usageError{fmt.Errorf("--format=%s: must be %s", format, strings.Join(queryFormats[1:], ", "))}
			}
			query, err := p.argument(args[0])
			if err != nil {
				return err
			}
			return p.withServer(cmd.Context(), "query", false, func(r *remote) error {
				if err := p.query(cmd.Context(), r, query, format); err != nil {
					return fmt.Errorf("query: %w", err)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "table (default), json, csv or arrow, a stream of Apache Arrow")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "the same as --format csv")
	return cmd
}

// argument returns an argument, or standard input for -.
func (p *program) argument(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(p.stdin)
	return string(b), err
}

// mostRows is the most rows that a server gives at once.
const mostRows = 100_000

// queryFormats are those of a result; "" and table are for people.
var queryFormats = []string{"", "table", event.FormatJSON, event.FormatCSV, event.FormatArrow}

// query asks a server and prints the result.
func (p *program) query(ctx context.Context, r *remote, query, format string) error {
	body, err := json.Marshal(map[string]any{"query": query, "max_rows": mostRows})
	if err != nil {
		return err
	}
	asked := format
	if format == "" || format == "table" {
		asked = event.FormatJSON
	}
	res, err := r.do(ctx, http.MethodPost, "/api/sql", url.Values{"format": {asked}}, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if asked == format {
		_, err = io.Copy(p.stdout, res.Body) // as the server has written it
	} else {
		err = writeTable(p.stdout, res.Body)
	}
	if err == nil && res.Header.Get("X-Eider-Truncated") == "true" {
		fmt.Fprintf(p.stderr, "eider: only the first %s rows are shown; there are more\n", res.Header.Get("X-Eider-Rows"))
	}
	return err
}

// cells returns a row as text; what is null is none.
func cells(row []any, none string) []string {
	texts := make([]string, len(row))
	for i, v := range row {
		switch v := v.(type) {
		case nil:
			texts[i] = none
		case string:
			texts[i] = v
		default:
			texts[i] = fmt.Sprint(v)
		}
	}
	return texts
}

// writeTable prints the JSON of a result for people.
func writeTable(w io.Writer, body io.Reader) error {
	var a sqlAnswer
	in := json.NewDecoder(body)
	in.UseNumber() // a number is printed as it came
	if err := in.Decode(&a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	names := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		names[i] = printable(c.Name)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(names, "\t"))
	for _, row := range a.Rows {
		texts := cells(row, "NULL")
		for i := range texts {
			texts[i] = printable(texts[i])
		}
		fmt.Fprintln(tw, strings.Join(texts, "\t"))
	}
	return tw.Flush()
}

// printable keeps what a visitor has sent from steering the terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return '·'
		}
		return c
	}, s)
}
