package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/audit/sink"
)

// An exitError ends the program with an exit code of its own. What there is to say has
// been said if its text is empty.
type exitError struct {
	code int
	error
}

// usageExit is the annotation of a command whose exit code for wrong usage is not 2.
const usageExit = "exit code for wrong usage"

// verifyFlags are the flags of eider audit verify.
type verifyFlags struct {
	sources                   map[string]*string // where by kind
	keys, kept, heads, others []string
	witnesses                 []string
	leaf                      string // file
	asJSON                    bool
}

// sourceKinds are what a chain can be read from.
var sourceKinds = []string{"dir", "ndjson", "parquet", "tiles", "postgres"}

func (p *program) auditVerifyCommand() *cobra.Command {
	f := verifyFlags{sources: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Say whether a chain, a proof or a report is what was written",
		Args:  cobra.MaximumNArgs(1),
		Long: `Read a whole chain and say whether it is what was written: that no entry was changed,
taken out, added or moved, that every checkpoint is of it and signed, and that it is
the same as what was kept of it. Without a source the data directory of the settings
is read, which a server may have. Nothing is changed.

Give the keys that you trust with --key, and checkpoints or heads that you have kept:
without them a chain that somebody has made up as a whole is found to be sound.

With a file it is that which is verified, without a chain: the proof of an entry, as
eider audit prove prints it, with the entry's leaf from --leaf; or a signed report, as
/api/audit/report gives it. Both need --key.

Exit codes: 0 sound, 1 tampered with, 2 truncated or rolled back, 3 cannot tell: it
cannot be read, is of a newer version, or the command line is wrong.`,
		Example: `  eider audit verify --key eider/3f0c9a51d27be684/1+8a1c02f3+AVk… --checkpoint 2026-01-31.checkpoint
  eider audit verify --ndjson audit.ndjson --compare dir:/var/lib/eider --json
  eider audit verify --postgres "$EIDER_POSTGRES_URL"
  eider audit verify 41.tlog-proof --leaf audit.ndjson --key eider/3f0c9a51d27be684/1+8a1c02f3+AVk…`,
		Annotations: map[string]string{usageExit: "3"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return p.verifyEvidence(args[0], f)
			}
			return p.verifyChain(cmd.Context(), f)
		},
	}
	fl := cmd.Flags()
	for kind, says := range map[string]string{
		"dir": "a data directory, a backup of one, or a ledger.db", "ndjson": "an export", "parquet": "an export",
		"tiles": "a directory of tiles", "postgres": "the URL of a copy",
	} {
		f.sources[kind] = fl.String(kind, "", says)
	}
	fl.StringArrayVar(&f.keys, "key", nil, "a verifier key or public key to trust; can be given more than once")
	fl.StringArrayVar(&f.kept, "checkpoint", nil, "a file with a checkpoint that was kept; can be given more than once")
	fl.StringArrayVar(&f.heads, "head", nil, "a head that was kept, as X-Eider-Audit-Head has it; can be given more than once")
	fl.StringArrayVar(&f.witnesses, "witness", nil, "verifier key of a witness that must have cosigned; can be given more than once")
	fl.StringArrayVar(&f.others, "compare", nil, "another source, such as dir:DIR or ndjson:FILE, that must be the same; can be given more than once")
	fl.StringVar(&f.leaf, "leaf", "", "file with the leaf that a proof is of, alone or as a line of an NDJSON export")
	fl.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	return cmd
}

// A source is a chain that was opened.
type source struct {
	audit.Log
	name  string
	close func() error
}

// openSource opens a chain for reading.
func (p *program) openSource(ctx context.Context, kind, where string) (source, error) {
	name := kind + " " + where
	switch kind {
	case "dir":
		f, err := p.openChain(ctx, where)
		if err != nil {
			return source{}, err
		}
		return source{f, strings.TrimSpace(name), f.Close}, nil
	case "postgres":
		l, err := sink.OpenPostgresLog(ctx, where, "")
		if err != nil {
			return source{}, err
		}
		return source{l, "postgres", l.Close}, nil // its URL has a password
	}
	open := map[string]func(string) (*audit.File, error){"ndjson": audit.OpenNDJSON, "parquet": audit.OpenParquet, "tiles": audit.OpenTiles}[kind]
	if open == nil {
		return source{}, fmt.Errorf("%q is no kind of source; there are %s", kind, strings.Join(sourceKinds, ", "))
	}
	f, err := open(where)
	if err != nil {
		return source{}, err
	}
	return source{f, name, f.Close}, nil
}

// chosen returns the one source that is to be verified.
func (f *verifyFlags) chosen() (kind, where string, err error) {
	kind = "dir"
	found := 0
	for _, k := range sourceKinds {
		if *f.sources[k] != "" {
			kind, where, found = k, *f.sources[k], found+1
		}
	}
	if found > 1 {
		return "", "", errors.New("give one source; others that should be the same go with --compare")
	}
	return kind, where, nil
}

// options reads what the auditor trusts and has kept.
func (f *verifyFlags) options() (o audit.Options, err error) {
	if len(f.keys) > 0 {
		if o.Trusted, err = audit.ParseTrusted(f.keys...); err != nil {
			return o, fmt.Errorf("--key: %w", err)
		}
	}
	for _, path := range f.kept {
		note, err := os.ReadFile(path)
		if err != nil {
			return o, fmt.Errorf("--checkpoint: %w", err)
		}
		c, _, err := audit.ParseCheckpoint(note)
		if err != nil {
			return o, fmt.Errorf("--checkpoint %s: %w", path, err)
		}
		o.Kept = append(o.Kept, c.Known("the checkpoint in "+path))
	}
	for _, head := range f.heads {
		known, err := audit.ParsePin("the head "+head, head)
		if err != nil {
			return o, fmt.Errorf("--head: %w", err)
		}
		o.Kept = append(o.Kept, known)
	}
	o.Witnesses = f.witnesses
	return o, nil
}

// A verification is what eider audit verify prints.
type verification struct {
	Source string `json:"source"`
	audit.Report
	Compared []comparison `json:"compared,omitempty"`

	Window *audit.WindowReport `json:"window,omitempty"` // what a report says, if it is sound
}

type comparison struct {
	With string `json:"with"`
	audit.Report
}

func (p *program) verifyChain(ctx context.Context, f verifyFlags) error {
	kind, where, err := f.chosen()
	if err != nil {
		return usageError{err}
	}
	o, err := f.options()
	if err != nil {
		return exitError{3, err}
	}
	if f.leaf != "" {
		return usageError{errors.New("--leaf goes with a proof: give its file")}
	}
	v, err := p.verification(ctx, kind, where, o, f.others)
	if err != nil {
		return exitError{3, err}
	}
	return p.conclude(v, f.asJSON)
}

// conclude prints what was found, and returns it as an exit code.
func (p *program) conclude(v verification, asJSON bool) error {
	write := v.write
	if asJSON {
		write = func(w io.Writer) error { return json.NewEncoder(w).Encode(v) }
	}
	if err := write(p.stdout); err != nil {
		return exitError{3, err}
	}
	if code := v.exit(); code != 0 {
		return exitError{code, errSilent}
	}
	return nil
}

// verification verifies a source and compares it with others. A source that is damaged
// so that it cannot be opened is a report too.
func (p *program) verification(ctx context.Context, kind, where string, o audit.Options, others []string) (v verification, err error) {
	v.Source = strings.TrimSpace(kind + " " + where)
	if kind == "postgres" {
		v.Source = kind
	}
	if kind == "dir" {
		if o.Kept, err = p.withHeadFile(where, o.Kept); err != nil {
			return v, err
		}
	}
	s, err := p.openSource(ctx, kind, where)
	var damage *audit.Damage
	if errors.As(err, &damage) {
		v.Report = audit.Unopened(err)
		return v, nil
	}
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	v.Report = audit.Verify(ctx, s.Log, o)
	for _, other := range others {
		c, err := p.compared(ctx, s, other)
		if err != nil {
			return v, fmt.Errorf("--compare %s: %w", strings.SplitN(other, ":", 2)[0], err)
		}
		v.Compared = append(v.Compared, c)
	}
	return v, nil
}

// withHeadFile adds the head that was last signed on the volume, if it is there.
func (p *program) withHeadFile(dir string, kept []audit.Known) ([]audit.Known, error) {
	if dir == "" {
		c, err := p.config()
		if err != nil {
			return nil, err
		}
		dir = c.dataDir
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return kept, nil
	}
	path := filepath.Join(dir, headFile)
	head, err := audit.ReadHeadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return kept, nil
	}
	if err != nil {
		return nil, err
	}
	return append(kept, head.Known(path)), nil
}

func (p *program) compared(ctx context.Context, s source, with string) (c comparison, err error) {
	kind, where, _ := strings.Cut(with, ":")
	other, err := p.openSource(ctx, kind, where)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, other.close()) }()
	return comparison{other.name, audit.Compare(ctx, s.Log, other.Log)}, nil
}

// exit returns the code of the worst of all that was found.
func (v *verification) exit() int {
	codes := []int{v.Exit}
	for _, c := range v.Compared {
		codes = append(codes, c.Exit)
	}
	for _, code := range []int{1, 2, 3} {
		if slices.Contains(codes, code) {
			return code
		}
	}
	return 0
}

func (v *verification) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(tw, "%s\t%v\n", name, value) }
	row("result", v.Status)
	row("source", v.Source)
	row("chain", v.Origin)
	row("entries", v.Entries)
	if v.Pruned > 0 {
		row("pruned", v.Pruned)
	}
	row("head", v.Head)
	row("checkpoints", v.Checkpoints)
	row("signed up to", v.Signed)
	for _, key := range v.Keys {
		row("key", key)
	}
	if v.UnknownKinds > 0 {
		row("unknown kinds", v.UnknownKinds)
	}
	if w := v.Window; w != nil {
		row("from", w.From.Format(time.RFC3339))
		row("to", w.To.Format(time.RFC3339))
		row("acts", w.Acts)
	}
	writeFindings(row, "", v.Report)
	for _, c := range v.Compared {
		row("same as "+c.With, c.Status)
		writeFindings(row, c.With+": ", c.Report)
	}
	return tw.Flush()
}

func writeFindings(row func(string, any), about string, r audit.Report) {
	for _, f := range r.Findings {
		what := f.What
		if f.Seq >= 0 {
			what = fmt.Sprintf("entry %d: %s", f.Seq, what)
		}
		row(string(f.Status), about+what)
	}
	for _, warning := range r.Warnings {
		row("note", about+warning)
	}
}
