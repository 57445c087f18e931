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
	(*app).statusCommand,
	(*app).serveCommand,
	(*app).coordinatorCommand,
	(*app).workerCommand,
	(*app).updaterCommand,
	(*app).notifierCommand,
	(*app).apiCommand,
	(*app).versionCommand,
}

// Exit codes. Scripts depend on them.
const (
	exitOK         = 0
	exitError      = 1
	exitFailOn     = 2  // a finding reached --fail-on
	exitIncomplete = 3  // something could not be analyzed
	exitUsage      = 64 // EX_USAGE of sysexits.h
)

// exitError is an error with an exit code of its own. Its text may be empty: then all was said.
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
	color          bool // stdout is a terminal that wants color
	interactive    bool // stderr is a terminal: somebody watches
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

	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	a.color = isTerminal(stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	a.interactive = isTerminal(stderr) && os.Getenv("TERM") != "dumb"
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	code := exitError
	var exit *exitErr
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "trawl: %s\n", text)
		if hint := hintFor(err); hint != "" {
			fmt.Fprintf(stderr, "\n%s\n", hint)
		}
		if code == exitUsage {
			fmt.Fprintf(stderr, "\ntrawl --help and trawl COMMAND --help say how it is called.\n")
		}
	}
	return code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "trawl",
		Short: "Find known vulnerabilities in container images",
		Long: `Trawl finds known vulnerabilities in container images.

It analyzes each layer once, keeps what is installed beside what is known, and answers from stored facts. On one
machine nothing else is needed than PostgreSQL's programs; a cluster is many of these processes with Kafka, etcd
and PostgreSQL of their own.

Exit codes: 0 fine, 1 error, 2 --fail-on reached, 3 something could not be analyzed, 64 called the wrong way.`,
		Example: `  trawl scan debian:12
  trawl scan docker-archive:app.tar --fail-on high
  trawl scan registry.example/app:1.4 -o json | jq .summary
  trawl serve --listen 0.0.0.0:6060`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
		PersistentPreRunE: func(command *cobra.Command, _ []string) error {
			if err := a.load(command); err != nil {
				return err
			}
			return a.check()
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	a.sharedFlags(root.PersistentFlags())
	for _, command := range commands {
		root.AddCommand(command(a))
	}
	return root
}

// check reports values of the shared flags that make no sense.
func (a *app) check() error {
	if a.output != "table" && a.output != "json" {
		return usageError(fmt.Errorf("output %q: want table or json", a.output))
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

// args wraps a check of arguments so that its error is one of usage.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError(err)
		}
		return nil
	}
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(cobra.NoArgs),
		Example: "  trawl version -o json",
		RunE: func(*cobra.Command, []string) error {
			if a.isJSON() {
				return printJSON(a.stdout, versionInfo())
			}
			v := versionInfo()
			fmt.Fprintf(a.stdout, "trawl %s, extractor %d, gzip by %s, %s\n", v.Version, v.Extractor, v.Gzip, v.Go)
			return nil
		},
	}
}

// hintFor says what to do next about an error, by its kind, or nothing.
func hintFor(err error) string {
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
