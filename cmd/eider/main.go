// Command eider counts visits to web sites and answers questions about them. It
// is one process with one data directory.
//
// It is stopped with SIGTERM or SIGINT: it takes no more requests, answers those
// it has, writes the events it has accepted to Parquet, and exits. A second
// signal stops the waiting for requests, a third one kills. Even that loses
// nothing that was acknowledged: the journal has it, and the next start
// publishes it.
//
// Eider serve and the other commands that open the data directory hold its LOCK.
// README.md lists the settings and the commands; eider help does too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // a scratch image has no time zones

	_ "golang.org/x/crypto/x509roots/fallback" // nor certificate authorities

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func main() {
	syscall.Umask(0o077) // every file of ours is ours alone
	ctx, hurry := signals()
	os.Exit(run(ctx, os.Args[1:], process{
		env:   os.Environ(),
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		hurry: hurry, again: again,
	}))
}

// again begins the process again, from the first line and with another environment. It
// returns why that cannot be done.
func again(env []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, env)
}

// signals returns a context that ends with the first SIGTERM or SIGINT and a
// channel that is closed by the second.
func signals() (context.Context, <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	received, hurry := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-received
		cancel()
		<-received
		close(hurry)
		signal.Stop(received) // the third one kills
	}()
	return ctx, hurry
}

// A process is what run needs of the process that it runs in. Tests make their
// own.
type process struct {
	env            []string // as of os.Environ
	stdin          io.Reader
	stdout, stderr io.Writer

	hurry <-chan struct{} // closed when a stop should not wait for requests; may be nil
	ready func(net.Addr)  // called when serve answers requests; may be nil

	again func(env []string) error // begins it again; returns if it cannot; may be nil
}

// A usageError is a command line that means nothing. Its exit code is 2.
type usageError struct{ error }

// errSilent ends a command whose output has already said what is wrong.
var errSilent = errors.New("")

// run is main without the process: it returns the exit code when the command is
// done, and that is soon after ctx is.
func run(ctx context.Context, args []string, p process) int {
	root := newProgram(p).command()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var usage usageError
	var exit exitError
	isUsage := errors.As(err, &usage)
	if err.Error() != "" {
		fmt.Fprintln(p.stderr, "eider:", err)
		if isUsage {
			fmt.Fprintln(p.stderr, "See eider --help, or eider COMMAND --help.")
		}
	}
	switch {
	case errors.As(err, &exit):
		return exit.code
	case isUsage && cmd.Annotations[usageExit] != "":
		return int(cmd.Annotations[usageExit][0] - '0')
	case isUsage:
		return 2
	}
	return 1
}

// A program is the commands and the process that they run in.
type program struct {
	process
	configPath string // --config
}

func newProgram(p process) *program {
	return &program{process: p}
}

// command returns the command tree.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "eider",
		Short: "Eider counts visits to web sites and answers questions about them",
		Long: `Eider counts visits to web sites and answers questions about them.

Settings come from the environment (EIDER_…), then from eider.toml, then from
the defaults; eider config shows them. Commands that need the data directory
open it themselves while no server runs on it, and talk to a running server if
EIDER_URL and EIDER_API_KEY are set.

Exit codes: 0 success, 1 failure, 2 wrong usage.`,
		Example: `  eider serve
  eider import --site example.com --format combined access.log.gz
  eider query 'SELECT path, count(*) FROM events GROUP BY ALL ORDER BY 2 DESC'`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&p.configPath, "config", "", "file with settings (default eider.toml, if there is one)")
	root.AddCommand(
		p.serveCommand(), p.versionCommand(), p.configCommand(), p.healthcheckCommand(),
		p.importCommand(), p.exportCommand(), p.queryCommand(), p.tailCommand(),
		p.partsCommand(), p.migrateCommand(), p.keyCommand(), p.userCommand(), p.passwordCommand(), p.auditCommand(),
	)
	asUsage(root)
	return root
}

// asUsage makes usage errors of what cobra finds wrong with flags and arguments,
// here and in every command below.
func asUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	if !cmd.Runnable() { // a group of commands
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])}
			}
			cmd.SetOut(cmd.ErrOrStderr())
			return errors.Join(cmd.Help(), usageError{errSilent})
		}
	}
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			args = cobra.NoArgs
		}
		if err := args(cmd, given); err != nil {
			return usageError{err}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		asUsage(sub)
	}
}

// config loads the settings.
func (p *program) config() (*config, error) { return loadConfig(p.env, p.configPath) }

// interactive says whether w is a terminal: only there progress is shown.
func interactive(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
