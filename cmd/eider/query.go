package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/event"
)

// An sqlAnswer is the answer to POST /api/sql.
type sqlAnswer struct {
	Columns   []event.SQLColumn `json:"columns"`
	Rows      [][]any           `json:"rows"`
	Truncated bool              `json:"truncated"`
}

func (p *program) queryCommand() *cobra.Command {
	var asJSON, asCSV bool
	cmd := &cobra.Command{
		Use:   "query 'SELECT …'",
		Short: "Ask the events in SQL, without changing anything",
		Long: `Ask the events in SQL, in DuckDB's dialect. The views are events, visits and
parts; 'DESCRIBE events' lists the columns of one. Times are UTC. Nothing can be
written, no file read and no setting changed. - reads the query from standard
input.`,
		Example: `  eider query 'SELECT path, count(*) AS views FROM events GROUP BY ALL ORDER BY views DESC LIMIT 10'
  eider query --csv - <report.sql >report.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asCSV {
				return usageError{errors.New("--json and --csv exclude each other")}
			}
			query, err := p.argument(args[0])
			if err != nil {
				return err
			}
			return p.withServer(cmd.Context(), "query", false, func(r *remote) error {
				answer, err := ask(cmd.Context(), r, query)
				if err != nil {
					return fmt.Errorf("query: %w", err)
				}
				if answer.Truncated {
					fmt.Fprintf(p.stderr, "eider: only the first %d rows are shown; there are more\n", len(answer.Rows))
				}
				switch {
				case asJSON:
					return json.NewEncoder(p.stdout).Encode(answer)
				case asCSV:
					return answer.writeCSV(p.stdout)
				default:
					return answer.writeTable(p.stdout)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print as CSV")
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

func ask(ctx context.Context, r *remote, query string) (sqlAnswer, error) {
	body, err := json.Marshal(map[string]any{"query": query, "max_rows": mostRows})
	if err != nil {
		return sqlAnswer{}, err
	}
	res, err := r.do(ctx, http.MethodPost, "/api/sql", nil, bytes.NewReader(body))
	if err != nil {
		return sqlAnswer{}, err
	}
	defer res.Body.Close()
	var answer sqlAnswer
	in := json.NewDecoder(res.Body)
	in.UseNumber() // a number is printed as it came
	if err := in.Decode(&answer); err != nil {
		return sqlAnswer{}, fmt.Errorf("read the answer: %w", err)
	}
	return answer, nil
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

func (a *sqlAnswer) names() []string {
	names := make([]string, len(a.Columns))
	for i, c := range a.Columns {
		names[i] = c.Name
	}
	return names
}

func (a *sqlAnswer) writeTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(a.names(), "\t"))
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

func (a *sqlAnswer) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(a.names()); err != nil {
		return err
	}
	for _, row := range a.Rows {
		if err := out.Write(cells(row, "")); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
