package validate

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// TestDockerfile holds the Dockerfile against BuildKit's parser and its linter. That it builds is not shown.
func TestDockerfile(t *testing.T) {
	parsed, err := parser.Parse(bytes.NewReader(read(t, "../Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Error(w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) { t.Errorf("%s: %s", rule, message) }})
	stages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(read(t, root+"/go.mod"))
	if want := "golang:" + string(goVersion[1]) + "-bookworm"; stages[0].BaseName != want {
		t.Errorf("it is built with %s, and go.mod wants %s", stages[0].BaseName, want)
	}
	user, entry, ports, signal := "", []string(nil), []string(nil), ""
	for _, command := range stages[1].Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entry = c.CmdLine
			if c.PrependShell {
				t.Error("a shell would stand between the signals and the program")
			}
		case *instructions.ExposeCommand:
			ports = c.Ports
		case *instructions.StopSignalCommand:
			signal = c.Signal
		case *instructions.CopyCommand:
			if c.From == "" {
				t.Errorf("%v is copied from the build's context", c.SourcePaths)
			}
		}
	}
	if id, _, _ := strings.Cut(user, ":"); id == "0" || !isNumber(id) {
		t.Errorf("it runs as %q, want a number that is not root's", user)
	}
	if !slices.Equal(entry, []string{"/usr/bin/trawl"}) || signal != "SIGTERM" {
		t.Errorf("entry %v, signal %s", entry, signal)
	}
	for _, port := range []string{"6060", "8089", "7946/tcp", "7946/udp"} {
		if !slices.Contains(ports, port) {
			t.Errorf("port %s is not named", port)
		}
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// TestContext holds that the build's context has the source that the program is made of, and nothing beside it.
func TestContext(t *testing.T) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(read(t, root+"/.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		out, err := ignored.MatchesOrParentMatches(name)
		if err != nil {
			t.Fatal(err)
		}
		return !out
	}
	for _, name := range embedded(t) {
		if !has(name) {
			t.Errorf("%s is needed and not in the context", name)
		}
	}
	for _, name := range []string{".git/config", "bin/trawl", "deploy/compose.yaml", "main_test.go", "pkg/version/testdata/x", "README.md"} {
		if has(name) {
			t.Errorf("%s is in the context", name)
		}
	}
}

// embedded returns all files that the program is built from, as go list names them.
func embedded(t *testing.T) (out []string) {
	t.Helper()
	said := goList(t, "-deps", "-f", `{{if and .Module .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}
{{end}}{{range .CgoFiles}}{{$d}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}
{{end}}{{end}}`, ".")
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(said) {
		relative, err := filepath.Rel(top, name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, relative)
	}
	if len(out) < 100 {
		t.Fatalf("the program is built from %d files", len(out))
	}
	return append(out, "go.mod", "go.sum")
}
