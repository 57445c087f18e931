package validate

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"
)

// TestUnits holds the units against systemd, where there is one, and against the program.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: whether systemd knows each setting is not tested")
	}
	for _, name := range []string{"trawl@.service", "trawl.service"} {
		text := read(t, "../systemd/"+name)
		options, err := unit.DeserializeOptions(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		values := map[string]string{}
		for _, o := range options {
			values[o.Name] = o.Value
		}
		if values["KillMode"] != "mixed" || values["User"] != "trawl" {
			t.Errorf("%s: KillMode %s, User %s", name, values["KillMode"], values["User"])
		}
		if stop, err := time.ParseDuration(values["TimeoutStopSec"]); err != nil || stop < 30*time.Second+leaving {
			t.Errorf("%s has %s to end: %v", name, values["TimeoutStopSec"], err)
		}
		if analyze != "" {
			verify(t, analyze, name, string(text))
		}
	}
}

// verify lets systemd read a unit, for the role worker. The program that it starts is one that is there.
func verify(t *testing.T, analyze, name, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), strings.Replace(name, "@", "@worker", 1))
	text = strings.ReplaceAll(text, "/usr/bin/trawl", "/bin/true")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
	if lines := strings.TrimSpace(string(said)); err != nil || strings.Contains(lines, name) || strings.Contains(lines, "Unknown") {
		t.Errorf("%s: %v\n%s", name, err, lines)
	}
}

// TestEnvironments holds that the samples of variables are settings of their roles, and that no two roles of a machine
// share a port.
func TestEnvironments(t *testing.T) {
	ports := map[string]string{}
	for _, role := range append([]string{"serve"}, roles...) {
		env, known := environment(t, role), flags(t, role)
		for _, entry := range env {
			name, value, _ := strings.Cut(entry, "=")
			if !strings.HasPrefix(name, "TRAWL_") {
				continue
			}
			if _, ok := known[envFlag(name)]; !ok {
				t.Errorf("%s: %s is no flag", role, name)
			}
			if role == "serve" || (name != "TRAWL_INTROSPECTION" && name != "TRAWL_GOSSIP") {
				continue
			}
			if other, taken := ports[value]; taken && other != role {
				t.Errorf("%s and %s share %s", role, other, value)
			}
			ports[value] = role
		}
		if said := accepts(t, role, os.DevNull, env); said != "" {
			t.Errorf("%s: %s", role, said)
		}
	}
}

// environment reads a sample of variables, systemd.exec(5), EnvironmentFile.
func environment(t *testing.T, name string) (out []string) {
	t.Helper()
	for line := range strings.Lines(string(read(t, "../systemd/env/"+name+".env"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}
