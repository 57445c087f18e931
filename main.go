// Command trawl finds known vulnerabilities in container images, by the hundred thousand.
//
// This package is the command line: it reads settings, joins the roles into one process, and prints. The work is
// done by the packages below it; ARCHITECTURE.md says which does what.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// version is set by the linker.
var version = "devel"

// commands is the table of what the program can do.
var commands = []func(*app) *cobra.Command{
	(*app).scanCommand,
	(*app).reportCommand,
	(*app).updateCommand,
	(*app).feedsCommand,
	(*app).watchCommand,
	(*app).statusCommand,
	(*app).requeueCommand,
	(*app).serveCommand,
	(*app).coordinatorCommand,
	(*app).workerCommand,
	(*app).updaterCommand,
	(*app).notifierCommand,
	(*app).apiCommand,
	(*app).versionCommand,
	(*app).completionCommand,
}

// Exit codes. Scripts depend on them.
const (
	exitOK         = 0
	exitError      = 1
	exitFailOn     = 2  // a finding reached --fail-on
	exitIncomplete = 3  // something could not be analyzed
	exitUsage      = 64 // EX_USAGE of sysexits.h
)

// exitErr is an error with an exit code of its own. Its text may be empty: then all was said.
type exitErr struct {
	code int
	err  error
}

func (e *exitErr) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitErr) Unwrap() error { return e.err }

// usageError marks an error in how the program was called.
func usageError(err error) error { return &exitErr{exitUsage, err} }

// app is one call of the program.
type app struct {
	settings
	stdin          io.Reader
	stdout, stderr io.Writer
	color          bool                 // stdout is a terminal that wants color
	interactive    bool                 // stderr is a terminal: somebody watches
	tracing        trace.TracerProvider // of a test; nil where settings say what is traced
	beside         bool                 // this process works for a command that has results of its own
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// The first signal asks to stop; a second one is not waited for.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	// A reader of our output that leaves early, as head does, must not end us before the servers below this
	// process are stopped: the write fails instead.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	results := &sink{w: stdout}
	a := &app{stdin: stdin, stdout: results, stderr: stderr}
	a.color = isTerminal(stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	a.interactive = isTerminal(stderr) && os.Getenv("TERM") != "dumb"
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil || results.err != nil {
		err = results.err
	}
	return a.exitCode(ctx, err)
}

// sink is where results go. It remembers the first write that failed, so that a report that was cut short is
// never taken for a whole one.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(p)
	if err != nil {
		s.err = fault.New(fault.Unavailable, "write", "results", err)
		if errors.Is(err, syscall.EPIPE) {
			s.err = &exitErr{code: exitError} // whoever read them has seen enough
		}
	}
	return n, s.err
}

// exitCode tells a person what went wrong, and returns the exit code for it.
func (a *app) exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitError
	var exit *exitErr
	if errors.As(err, &exit) {
		code = exit.code
	}
	text := err.Error()
	if ctx.Err() != nil && fault.KindOf(err) == fault.Canceled {
		text = "interrupted"
	}
	if text == "" {
		return code
	}
	fmt.Fprintf(a.stderr, "trawl: %s\n", text)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintf(a.stderr, "\n%s\n", hint)
	}
	if code == exitUsage {
		fmt.Fprintf(a.stderr, "\ntrawl --help and trawl COMMAND --help say how it is called.\n")
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "trawl",
		Short: "Find known vulnerabilities in container images",
		Long: `Trawl finds known vulnerabilities in container images.

It analyzes each layer once, keeps what is installed beside what is known, and answers from stored facts. On one
machine it needs nothing but the programs of PostgreSQL; a cluster is many of these processes with PostgreSQL, Kafka
and etcd of their own.

Every flag is also a variable, TRAWL_DATA_DIR for --data-dir, and a key of the YAML file, "data-dir:". A flag wins
over a variable, a variable over the file.

Exit codes: 0 fine, 1 error, 2 --fail-on reached, 3 something could not be analyzed, 64 called the wrong way.`,
		Example: `  trawl scan debian:12
  trawl scan docker-archive:app.tar --fail-on high
  trawl scan registry.example/app:1.4 -o json | jq .summary
  trawl serve --listen 0.0.0.0:6060`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		Args:          unknownCommand,
		RunE:          func(command *cobra.Command, _ []string) error { return command.Help() },
		PersistentPreRunE: func(command *cobra.Command, _ []string) error {
			if isAboutItself(command) {
				return nil
			}
			if err := a.load(command); err != nil {
				return err
			}
			return a.check()
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(concealed(err)) })
	root.CompletionOptions.DisableDefaultCmd = true
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetHelpCommand(helpCommand())
	a.sharedFlags(root.PersistentFlags())
	for _, command := range commands {
		root.AddCommand(command(a))
	}
	completeValues(root)
	return root
}

// check reports values of the shared flags that make no sense.
func (a *app) check() error {
	if a.output != "table" && a.output != "json" {
		return usageError(fmt.Errorf("output %q: want table or json", a.output))
	}
	if a.logFormat != "" && a.logFormat != "text" && a.logFormat != "json" {
		return usageError(fmt.Errorf("log format %q: want text or json", a.logFormat))
	}
	if _, err := a.budgets(); err != nil {
		return err
	}
	if err := a.checkMirrors(); err != nil {
		return usageError(err)
	}
	return a.checkFailOn()
}

func (a *app) isJSON() bool    { return a.output == "json" }
func (a *app) isVerbose() bool { return a.verbose > 0 }

// note tells a person what is going on.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// hintFor says what to do next about an error, by its kind, or nothing.
func hintFor(err error) string {
	if hint := refusalHint(err); hint != "" {
		return hint
	}
	switch fault.KindOf(err) {
	case fault.Unauthorized:
		return "Log in with docker login, or check that the name is right: registries answer the same for both."
	case fault.RateLimited:
		return "The registry wants fewer requests. Log in, or wait; what is submitted to a server is tried again by itself."
	case fault.TooLarge:
		return "If the content is to be trusted, raise the limit; trawl scan --help lists the limits."
	case fault.Conflict:
		return "If a server runs on this data directory, use it: --server ADDRESS. Or choose another --data-dir."
	}
	return ""
}
