package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/server"
	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

func (p *program) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show, verify and prove what was done",
		Long: `Show, verify and prove what was done: the audit chain has an entry of every change
and every refusal. AUDIT.md says what is in it and what can be proved by it.

verify reads a chain wherever it is, and changes nothing. show, export, prove and
checkpoint ask the server that EIDER_URL names, or read the data directory. The chain
has an entry of each show, export and prove, by a server and by a command on the data
directory of the settings. It has none where a server has that directory, which only
EIDER_URL lets it know, where nothing can be written, and in a copy or a backup that
--dir names: that is left as it is.`,
		Example: "  eider audit verify\n  eider audit show --kind key.create\n  eider audit key new",
	}
	cmd.AddCommand(p.auditVerifyCommand(), p.auditShowCommand(), p.auditExportCommand(), p.auditProveCommand(),
		p.auditCheckpointCommand(), p.auditAdoptCommand(), p.auditEraseCommand(), p.auditPruneCommand(), p.auditKeyCommand())
	return cmd
}

// openChain returns the chain of a data directory, "" being that of the settings. It
// is only read.
func (p *program) openChain(ctx context.Context, dir string) (*ledger.AuditFile, error) {
	if dir == "" {
		c, err := p.config()
		if err != nil {
			return nil, err
		}
		dir = c.dataDir
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		dir = filepath.Join(dir, "ledger.db")
	}
	return ledger.OpenAudit(ctx, dir)
}

// withChain calls ask with the server that EIDER_URL names, or else read with the chain
// of the data directory, which is noted as what unless that is "".
func (p *program) withChain(ctx context.Context, dir, what string, ask func(*remote) error, read func(*ledger.AuditFile) error) error {
	if dir == "" {
		r, err := p.remote()
		if err != nil {
			return err
		}
		if r != nil {
			p.say("asking %s", r.base)
			return ask(r)
		}
	}
	return p.lookAt(ctx, dir, what, read)
}

// copyFrom writes the answer of a server.
func (r *remote) copyFrom(ctx context.Context, path string, query url.Values, w io.Writer) error {
	res, err := r.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

// A showFilter is which entries are shown.
type showFilter struct {
	from, to, kind, actor, object, request string
	before                                 int64
	limit                                  int
}

func (f *showFilter) values() url.Values {
	q := url.Values{"limit": {strconv.Itoa(f.limit)}}
	for name, value := range map[string]string{"from": f.from, "to": f.to, "kind": f.kind, "actor": f.actor, "object": f.object, "request_id": f.request} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.before > 0 {
		q.Set("before", strconv.FormatInt(f.before, 10))
	}
	return q
}

// filter is what the ledger is asked; days are in UTC.
func (f *showFilter) filter() (ledger.EntryFilter, error) {
	out := ledger.EntryFilter{Kind: f.kind, Actor: f.actor, Object: f.object, Request: f.request, Before: f.before, Limit: f.limit}
	if f.limit < 1 || f.limit > ledger.MaxEntries {
		return out, fmt.Errorf("--limit %d: must be from 1 to %d", f.limit, ledger.MaxEntries)
	}
	for _, t := range []struct {
		name, text string
		days       int
		into       *int64
	}{{"--from", f.from, 0, &out.From}, {"--to", f.to, 1, &out.To}} {
		at, err := dayOrTime(t.text, t.days)
		if err != nil {
			return out, fmt.Errorf("%s %s: must be a day such as 2026-01-31 or a point in time such as 2026-01-31T12:00:00Z", t.name, t.text)
		}
		*t.into = at
	}
	return out, nil
}

// dayOrTime reads a point in time, or so many days after a day, in µs; 0 for none.
func dayOrTime(s string, days int) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.AddDate(0, 0, days).UnixMicro(), nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	return at.UnixMicro(), err
}

func (p *program) auditShowCommand() *cobra.Command {
	var f showFilter
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "List entries, newest first",
		Long: `List entries, newest first, with where they came from and what was typed in as long
as that has not been erased.`,
		Example: `  eider audit show --kind access.refusal --from 2026-01-01
  eider audit show --object site:shop.example --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := f.filter(); err != nil {
				return usageError{err}
			}
			list, err := p.entries(cmd.Context(), dir, f)
			if err != nil {
				return fmt.Errorf("show audit chain: %w", err)
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(list)
			}
			return writeEntries(p.stdout, list)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "a day (UTC) or a point in time")
	fl.StringVar(&f.to, "to", "", "a day, which is in it, or a point in time")
	fl.StringVar(&f.kind, "kind", "", "such as key.create")
	fl.StringVar(&f.actor, "actor", "", "who: key:<id>, local, system")
	fl.StringVar(&f.object, "object", "", "what it was done to, such as site:shop.example")
	fl.StringVar(&f.request, "request", "", "the request id")
	fl.Int64Var(&f.before, "before", 0, "only entries with a smaller number")
	fl.IntVar(&f.limit, "limit", 100, "most entries")
	fl.StringVar(&dir, "dir", "", "a data directory or a ledger.db (default that of the settings)")
	fl.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (p *program) entries(ctx context.Context, dir string, f showFilter) (list []server.AuditEntry, err error) {
	list = []server.AuditEntry{}
	return list, p.withChain(ctx, dir, "list", func(r *remote) error {
		var page struct{ Entries []server.AuditEntry }
		if err := r.ask(ctx, "/api/audit", f.values(), &page); err != nil {
			return err
		}
		list = page.Entries
		return nil
	}, func(file *ledger.AuditFile) error {
		filter, err := f.filter()
		if err != nil {
			return err
		}
		rows, err := file.Entries(ctx, filter)
		if err != nil {
			return err
		}
		for _, row := range rows {
			private, err := file.Private(ctx, row.Seq, row.Seq+1)
			if err != nil {
				return err
			}
			list = append(list, server.EntryOf(row, private[row.Seq]))
		}
		return nil
	})
}

// ask reads the JSON of a GET with parameters.
func (r *remote) ask(ctx context.Context, path string, query url.Values, out any) error {
	res, err := r.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(out)
}

func writeEntries(w io.Writer, list []server.AuditEntry) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SEQ\tTIME\tKIND\tOUTCOME\tACTOR\tOBJECT\tCOUNT\tREASON")
	for _, e := range list {
		cells := []string{strconv.FormatInt(e.Seq, 10), toSecond(e.Time), e.Kind, e.Outcome, e.Actor, e.Object, strconv.FormatInt(e.Count, 10), e.Reason}
		for i, cell := range cells {
			if cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	return tw.Flush()
}

func (p *program) auditExportCommand() *cobra.Command {
	var format, output, dir string
	cmd := &cobra.Command{
		Use:   "export --format FORMAT -o PATH",
		Short: "Write the whole chain to a file or a directory of tiles",
		Long: `Write the whole chain, without private values, for somebody else to verify: as
ndjson or parquet to a file, or as tiles to a directory that any client of C2SP's
tlog-tiles reads. eider audit verify reads all three.`,
		Example: `  eider audit export --format ndjson -o audit.ndjson
  eider audit export --format tiles --dir /backup/data -o tiles`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkAuditExport(format, output); err != nil {
				return usageError{err}
			}
			if err := p.exportChain(cmd.Context(), format, output, dir); err != nil {
				return fmt.Errorf("export audit chain: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "ndjson", "ndjson, parquet or tiles")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file or directory to write (needed)")
	cmd.Flags().StringVar(&dir, "dir", "", "a data directory or a ledger.db (default that of the settings)")
	return cmd
}

func checkAuditExport(format, output string) error {
	switch {
	case format != "ndjson" && format != "parquet" && format != "tiles":
		return fmt.Errorf("--format %q: must be ndjson, parquet or tiles", format)
	case output == "":
		return errors.New("-o is needed: the file or directory to write")
	}
	return nil
}

func (p *program) exportChain(ctx context.Context, format, output, dir string) error {
	what := "export"
	if format == "tiles" {
		what = format
	}
	return p.withChain(ctx, dir, what, func(r *remote) error {
		if format == "tiles" {
			return errors.New("a server hands out tiles below /api/audit/; to write a directory of them give --dir, where the data is")
		}
		return writeWhole(output, func(w io.Writer) error {
			return r.copyFrom(ctx, "/api/audit/export", url.Values{"format": {format}}, w)
		})
	}, func(f *ledger.AuditFile) error {
		if format == "tiles" {
			return audit.WriteTiles(ctx, f, output)
		}
		_, end, err := f.Extent(ctx)
		if err != nil {
			return err
		}
		return writeWhole(output, func(w io.Writer) error {
			if format == "parquet" {
				return audit.WriteParquet(ctx, w, f, 0, end)
			}
			return audit.WriteNDJSON(ctx, w, f, 0, end)
		})
	})
}

func (p *program) auditProveCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "prove SEQ",
		Short: "Print a proof that an entry is in the chain",
		Long: `Print a proof that an entry is in the chain, as c2sp.org/tlog-proof has it: with the
entry's leaf and a key that he trusts, anybody can check it without the chain.`,
		Example: "  eider audit prove 41 > 41.tlog-proof",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			seq, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || seq < 0 {
				return usageError{fmt.Errorf("%s: must be the number of an entry", args[0])}
			}
			ctx := cmd.Context()
			return p.withChain(ctx, dir, "proof", func(r *remote) error {
				return r.copyFrom(ctx, "/api/audit/proof/"+args[0], nil, p.stdout)
			}, func(f *ledger.AuditFile) error {
				proof, err := audit.Prove(ctx, f, seq)
				return p.print(proof, err)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "a data directory or a ledger.db (default that of the settings)")
	return cmd
}

// print writes what was made if there is no error.
func (p *program) print(b []byte, err error) error {
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(b)
	return err
}

func (p *program) auditCheckpointCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the newest signed head of the chain",
		Long: `Print the newest signed head of the chain. Keep it somewhere else: eider audit
verify --checkpoint says later whether the chain still is the one it was.`,
		Example: "  eider audit checkpoint > $(date +%F).checkpoint",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return p.withChain(ctx, dir, "", func(r *remote) error {
				return r.copyFrom(ctx, "/api/audit/checkpoint", nil, p.stdout)
			}, func(f *ledger.AuditFile) error {
				note, err := audit.Tile(ctx, f, "checkpoint")
				return p.print(note, err)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "a data directory or a ledger.db (default that of the settings)")
	return cmd
}

func (p *program) auditAdoptCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "adopt --reason REASON",
		Short: "Take a chain that was rolled back for the truth",
		Long: `Take a chain that is halted, because it is older than what is known of it elsewhere,
for the truth. A new incarnation begins with an entry that says so for ever, and
changes are possible again. Do so after an older backup was restored on purpose; else
look for who has put it there.`,
		Example: "  eider audit adopt --reason 'restored the backup of Monday after the disk was lost'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if reason == "" {
				return usageError{errors.New("--reason is needed: what was restored, and why")}
			}
			var answer struct {
				Origin string
				Size   int64
			}
			err := p.withServer(cmd.Context(), "audit adopt", false, func(r *remote) error {
				return r.call(cmd.Context(), http.MethodPost, "/api/audit/adopt", map[string]string{"reason": reason}, &answer)
			})
			if err != nil {
				return fmt.Errorf("adopt audit chain: %w", err)
			}
			_, err = fmt.Fprintf(p.stdout, "the chain has %d entries and is called %s now\n", answer.Size, answer.Origin)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why (needed)")
	return cmd
}

func (p *program) auditEraseCommand() *cobra.Command {
	var ask struct {
		Actor   string `json:"actor,omitempty"`
		Address string `json:"address,omitempty"`
		Before  string `json:"before,omitempty"`
		Basis   string `json:"basis"`
	}
	cmd := &cobra.Command{
		Use:   "erase --basis BASIS",
		Short: "Destroy addresses, user agents and texts of entries",
		Long: `Destroy the private values of the entries that meet every condition: addresses and
user agents, names and other texts that were typed in. The chain stays verifiable,
and an entry says what was erased and on which basis.`,
		Example: "  eider audit erase --address 203.0.113.9 --basis 'request 17 of a person'\n  eider audit erase --before 2026-01-01 --basis 'kept for a year'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ask.Basis == "" {
				return usageError{errors.New("--basis is needed: on what ground; it is in the chain for ever, so name nobody")}
			}
			var answer struct{ Values int }
			err := p.withServer(cmd.Context(), "audit erase", false, func(r *remote) error {
				return r.call(cmd.Context(), http.MethodPost, "/api/audit/erase", ask, &answer)
			})
			if err != nil {
				return fmt.Errorf("erase private values: %w", err)
			}
			_, err = fmt.Fprintf(p.stdout, "private values destroyed  %d\n", answer.Values)
			return err
		},
	}
	cmd.Flags().StringVar(&ask.Actor, "actor", "", "of what this actor did, such as key:5b3ef67c00d0")
	cmd.Flags().StringVar(&ask.Address, "address", "", "of what was done from this address")
	cmd.Flags().StringVar(&ask.Before, "before", "", "of entries before a day (UTC) or a point in time")
	cmd.Flags().StringVar(&ask.Basis, "basis", "", "why (needed)")
	return cmd
}

func (p *program) auditPruneCommand() *cobra.Command {
	var ask struct {
		Before string `json:"before"`
	}
	cmd := &cobra.Command{
		Use:   "prune --before DAY",
		Short: "Delete leaves of entries that every copy has",
		Long: `Delete the leaves of the entries from before a day, as far as every copy of the
chain has acknowledged them and a signed checkpoint covers them. Their hashes stay,
so that the chain can be verified from there, and an entry says what was deleted.
The leaf that names the key goes too: keep what "eider audit key show" prints, and give
it to "eider audit verify" as --key from then on.

The server that makes the copies is asked: set EIDER_URL.`,
		Example: "  eider audit prune --before 2025-01-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ask.Before == "" {
				return usageError{errors.New("--before is needed: a day (UTC) or a point in time")}
			}
			var answer struct{ Entries int64 }
			err := p.withServer(cmd.Context(), "audit prune", false, func(r *remote) error {
				return r.call(cmd.Context(), http.MethodPost, "/api/audit/prune", ask, &answer)
			})
			if err != nil {
				return fmt.Errorf("prune audit chain: %w", err)
			}
			_, err = fmt.Fprintf(p.stdout, "entries without a leaf  %d\n", answer.Entries)
			return err
		},
	}
	cmd.Flags().StringVar(&ask.Before, "before", "", "entries before a day (UTC) or a point in time (needed)")
	return cmd
}
