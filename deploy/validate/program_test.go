package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// roles are those of a cluster.
var roles = []string{"coordinator", "worker", "updater", "notifier", "api"}

// program is the program: the one that the variable TRAWL names, or one that is built.
var program = sync.OnceValues(func() (string, error) {
	if name := os.Getenv("TRAWL"); name != "" {
		return name, nil
	}
	dir, err := os.MkdirTemp("", "trawl-validate-")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "trawl")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", name, ".")
	build.Dir = root
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, said)
	}
	return name, nil
})

// root is the folder of the program's source.
const root = "../.."

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("TRAWL") == "" {
		if name, err := program(); err == nil {
			os.RemoveAll(filepath.Dir(name))
		}
	}
	os.Exit(code)
}

// run runs the program without any setting of this machine, and returns what it said and its exit code.
func run(t *testing.T, env []string, args ...string) (said string, code int) {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = t.TempDir()
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + command.Dir}, env...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// goList asks the go command about the program's source.
func goList(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	command.Dir, command.Stderr = root, os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var flagLine = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)(?: (\w+))?.*?(?:\(default "?([^")]*)"?\))?$`)

// flags returns the flags of a role with their defaults, as its help has them.
func flags(t *testing.T, role string) map[string]string {
	t.Helper()
	help, code := run(t, nil, role, "--help")
	if code != 0 {
		t.Fatalf("%s --help: %s", role, help)
	}
	out := make(map[string]string)
	for _, line := range flagLine.FindAllStringSubmatch(help, -1) {
		out[line[1]] = line[3]
	}
	if out["kafka"] != "" || out["config"] != "" || len(out) < 10 {
		t.Fatalf("cannot read the help of %s: %v", role, out)
	}
	return out
}

// accepts reports what a role has against settings, or "". Nothing is started: the role reads its settings, and then
// refuses a format of results that there is none of.
func accepts(t *testing.T, role, config string, env []string) string {
	t.Helper()
	said, code := run(t, append(env, "TRAWL_CONFIG="+config), role, "--output", "of-the-test")
	if code == 64 && strings.HasPrefix(said, `trawl: output "of-the-test"`) {
		return ""
	}
	return said
}

// settings writes a file of settings to disk, and returns its name and what it says.
func settings(t *testing.T, text string) (name string, values map[string]any) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "trawl.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	return name, values
}

// envFlag is the flag that a variable stands for.
func envFlag(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "TRAWL_"), "_", "-"))
}

// TestAccepts holds that a wrong setting would be noticed.
func TestAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":    "layer: 8\n",
		"wrong type":     "layers: many\n",
		"value of a map": "kafka: {a: b}\n",
	} {
		file, _ := settings(t, text)
		if said := accepts(t, "worker", file, nil); said == "" {
			t.Errorf("%s: %q is taken", name, text)
		}
	}
	if said := accepts(t, "worker", os.DevNull, []string{"TRAWL_DRAIN=soon"}); !strings.Contains(said, "TRAWL_DRAIN") {
		t.Errorf("a wrong variable: %q", said)
	}
}

// TestSamples holds that the program takes the sample of its settings, for each role.
func TestSamples(t *testing.T) {
	file, values := settings(t, string(read(t, "../config/trawl.yaml")))
	known := map[string]bool{}
	for _, role := range roles {
		if said := accepts(t, role, file, nil); said != "" {
			t.Errorf("%s: %s", role, said)
		}
		for name := range flags(t, role) {
			known[name] = true
		}
	}
	for key := range values { // the program takes keys of any command
		if !known[key] {
			t.Errorf("%s is a setting of no role", key)
		}
	}
}
