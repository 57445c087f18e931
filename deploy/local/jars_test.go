package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestCheckJars: jars that are not what they were, or that are missing, are not run.
func TestCheckJars(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.jar", "a")
	write("b.jar", "b")
	if err := checkJars(dir, "4.0.0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a note: %v", err)
	}
	sums, err := sumJars(dir)
	if err != nil {
		t.Fatal(err)
	}
	write(sumsFile, string(sums))
	if err := checkJars(dir, "4.0.0"); err != nil {
		t.Errorf("whole: %v", err)
	}
	if err := checkJars(dir, DefaultKafkaVersion); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "a.jar") {
		t.Errorf("of a version that is pinned: %v", err)
	}
	write("a.jar", "A")
	if err := checkJars(dir, "4.0.0"); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "a.jar") {
		t.Errorf("changed: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "a.jar")); err != nil {
		t.Fatal(err)
	}
	if err := checkJars(dir, "4.0.0"); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("missing: %v", err)
	}
}

// TestPinned: the version that runs by default is pinned, each line as it should be.
func TestPinned(t *testing.T) {
	text, err := pinned.ReadFile("kafka-" + DefaultKafkaVersion + ".sums")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, line := range lines {
		sum, name, ok := strings.Cut(line, "  ")
		if !ok || len(sum) != 64 || !strings.HasSuffix(name, ".jar") {
			t.Errorf("line %q", line)
		}
	}
	if len(lines) < 40 {
		t.Errorf("%d jars", len(lines))
	}
}

func TestConfig(t *testing.T) {
	c, err := Config{Dir: "x", Workers: -1, APIs: 2}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Coordinators != 2 || c.Workers != -1 || c.APIs != 2 || c.KafkaVersion == "" || c.Grace != defaultGrace || !filepath.IsAbs(c.Dir) {
		t.Errorf("%+v", c)
	}
	for _, c := range []Config{{}, {Dir: "x", Arguments: map[string][]string{"baker": nil}}} {
		if _, err := c.withDefaults(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, version := range []string{"", "3.9.1", "4.1", "../4.1.0", "4.1.0/x"} {
		if versionPattern.MatchString(version) {
			t.Errorf("version %q is accepted", version)
		}
	}
}
