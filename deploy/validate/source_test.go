package validate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parseSource calls visit for each node of the program's source, tests left out.
func parseSource(t *testing.T, dirs []string, visit func(path string, n ast.Node) bool) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && (entry.Name() == "deploy" || entry.Name() == "testdata" || (strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..")) {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool { return visit(path, n) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// constants returns the constants of packages that are literals.
func constants(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	parseSource(t, dirs, func(_ string, n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				break
			}
			if literal, ok := spec.Values[i].(*ast.BasicLit); ok {
				out[name.Name] = text(literal)
			}
		}
		return true
	})
	return out
}

// text returns what a literal says.
func text(literal *ast.BasicLit) string {
	if s, err := strconv.Unquote(literal.Value); err == nil {
		return s
	}
	return literal.Value
}

// queueNames returns under which name workers keep their offsets, the topics that they read, and of how many partitions.
func queueNames(t *testing.T) (group string, topics []string, partitions int) {
	t.Helper()
	queue := constants(t, "pkg/queue")
	group = queue["GroupWorkers"]
	topics = []string{queue["TopicLayers"], queue["TopicLayersNow"]}
	slices.Sort(topics)
	partitions, err := strconv.Atoi(queue["LayerPartitions"])
	if group == "" || topics[0] == "" || err != nil {
		t.Fatalf("the source does not say what workers read: group %q, topics %v, partitions %v", group, topics, err)
	}
	return group, topics, partitions
}
