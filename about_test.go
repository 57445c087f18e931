package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls visit with the root and all commands below it.
func everyCommand(visit func(*cobra.Command)) {
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	var walk func(*cobra.Command)
	walk = func(command *cobra.Command) {
		visit(command)
		for _, child := range command.Commands() {
			walk(child)
		}
	}
	walk(a.rootCommand())
}

// Help says of each command what it does, with an example, on stdout.
func TestHelp(t *testing.T) {
	everyCommand(func(command *cobra.Command) {
		path := command.CommandPath()
		if command.Short == "" || command.Example == "" {
			t.Errorf("%s: short help %q, example %q", path, command.Short, command.Example)
		}
		for line := range strings.Lines(command.Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "trawl") {
				t.Errorf("%s: the example %q is not indented, or calls something else", path, line)
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(append(strings.Fields(path)[1:], "--help"), strings.NewReader(""), &stdout, &stderr)
		if code != exitOK || stderr.Len() > 0 || !strings.Contains(stdout.String(), "Examples:\n") {
			t.Errorf("%s --help: exit code %d, stdout %q, stderr %q", path, code, stdout.String(), stderr.String())
		}
	})
}

// Every flag is explained in one manner, and no two commands give one name another meaning: the flags of all commands
// together are the keys of one file.
func TestFlags(t *testing.T) {
	usage := make(map[string]string)
	everyCommand(func(command *cobra.Command) {
		check := func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" {
				return
			}
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q is no explanation, or ends with a period", command.CommandPath(), f.Name, f.Usage)
			}
			if before, ok := usage[f.Name]; ok && before != f.Usage {
				t.Errorf("--%s is %q here and %q there", f.Name, before, f.Usage)
			}
			usage[f.Name] = f.Usage
		}
		command.Flags().VisitAll(check)
		command.PersistentFlags().VisitAll(check)
	})
	for _, name := range []string{"config", "data-dir", "server", "mirror", "output", "fail-on", "quiet", "verbose"} {
		if usage[name] == "" {
			t.Errorf("there is no --%s", name)
		}
	}
}
