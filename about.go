package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/extract/gunzip"
	"github.com/trawl-scanner/trawl/updater"
)

// What the program says of itself: version, help, completion, and how it wants to be called.

// isAboutItself tells commands that work whatever the settings are.
func isAboutItself(command *cobra.Command) bool {
	return slices.Contains([]string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, command.Name())
}

// unknownCommand refuses arguments of a command that has only subcommands.
func unknownCommand(command *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", strings.TrimSpace(within(command)+" "+args[0]))
	command.SuggestionsMinimumDistance = 2
	if near := command.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; do you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError(errors.New(text))
}

// within returns the words that name a command after the program's own.
func within(command *cobra.Command) string {
	return strings.TrimSpace(strings.TrimPrefix(command.CommandPath(), command.Root().Name()))
}

// noArguments refuses arguments of a command that takes none.
func noArguments(command *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Errorf("%s takes no arguments, and was given %q", within(command), args[0]))
	}
	return nil
}

// atLeastOne wants arguments, which are called what their name says.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(fmt.Errorf("%s needs at least one %s", within(command), name))
		}
		return nil
	}
}

// build is what is known of this binary.
type build struct {
	Version   string `json:"version"`
	Extractor int    `json:"extractor"`
	Gzip      string `json:"gzip"`
	Go        string `json:"go"`
}

func versionInfo() build {
	return build{Version: version, Extractor: extract.Version, Gzip: gunzip.Implementation, Go: runtime.Version()}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArguments,
		Long:    "Print the version of the program, of its extractor (a raise has stored layers analyzed again), and what it inflates gzip with.",
		Example: "  trawl version\n  trawl version -o json",
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo()
			if a.isJSON() {
				return printJSON(a.stdout, v)
			}
			fmt.Fprintf(a.stdout, "trawl %s, extractor %d, gzip by %s, %s\n", v.Version, v.Extractor, v.Gzip, v.Go)
			return nil
		},
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command", Example: "  trawl help scan",
		RunE: func(command *cobra.Command, names []string) error {
			asked, rest, err := command.Root().Find(names)
			if err != nil {
				return usageError(err)
			}
			if len(rest) > 0 {
				return unknownCommand(asked, rest)
			}
			asked.InitDefaultHelpFlag()
			return asked.Help()
		},
	}
}

// shells is the table of shells that completion is written for.
var shells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash":       func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
	"zsh":        (*cobra.Command).GenZshCompletion,
	"fish":       func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	"powershell": (*cobra.Command).GenPowerShellCompletionWithDesc,
}

func (a *app) completionCommand() *cobra.Command {
	names := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a script that completes commands in a shell", ValidArgs: names,
		Long: "Print a script that makes a shell complete trawl's commands and flags.",
		Example: `  source <(trawl completion bash)
  trawl completion bash > /etc/bash_completion.d/trawl
  trawl completion zsh > "${fpath[1]}/_trawl"
  trawl completion fish > ~/.config/fish/completions/trawl.fish
  trawl completion powershell | Out-String | Invoke-Expression`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || shells[args[0]] == nil {
				return usageError(fmt.Errorf("completion needs the name of one shell: %s", strings.Join(names, ", ")))
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error { return shells[args[0]](command.Root(), a.stdout) },
	}
}

// completeValues lets shells complete the values of flags that take one of a few.
func completeValues(root *cobra.Command) {
	var severities, sources []string
	for _, s := range advisory.Severities() {
		severities = append(severities, s.String())
	}
	for _, s := range updater.Sources() {
		sources = append(sources, s.Name+"\t"+s.Title)
	}
	values := map[string][]string{
		"output": {"table", "json"}, "fail-on": severities, "log-format": {"text", "json"}, "sources": sources,
		"kafka-sasl": {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"},
	}
	for _, command := range append(root.Commands(), root) {
		for name, list := range values {
			if command.LocalFlags().Lookup(name) != nil {
				complete := cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
				_ = command.RegisterFlagCompletionFunc(name, complete) // fails where it is registered already
			}
		}
	}
}
