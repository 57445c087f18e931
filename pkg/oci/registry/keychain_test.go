package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func auth64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// homeless points everything that tells where credentials are at an empty directory.
func homeless(t *testing.T) string {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	return home
}

func TestDockerKeychain(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths": {
		"https://index.docker.io/v1/": {"auth": %q},
		"registry.example": {"auth": %q},
		"https://old.example/v1/": {"username": "old", "password": "hunter2"},
		"registry.example:5000": {"auth": %q, "identitytoken": "1dentity"},
		"token.example": {"registrytoken": "t0ken"},
		"broken.example": {"auth": "!!"},
		"half.example": {"auth": %q},
		"team.example/a": {"auth": %q},
		"team.example/a/b": {"auth": %q},
		"empty.example": {}
	}}`, auth64("hub:hunter2"), auth64("ann:hunter2:with:colons\x00"), auth64("<token>:"), auth64("nobody"), auth64("a:1"), auth64("b:2")), 0o600)
	k := DockerKeychain(dir)
	for _, c := range []struct {
		repository string
		want       Credential
		source     string
	}{
		{"docker.io/library/alpine", Credential{Username: "hub", Password: "hunter2"}, "config.json"},
		{"registry.example/app", Credential{Username: "ann", Password: "hunter2:with:colons"}, "config.json"},
		{"old.example/app", Credential{Username: "old", Password: "hunter2"}, "config.json"},
		{"registry.example:5000/app", Credential{Username: "<token>", IdentityToken: "1dentity"}, "config.json"},
		{"token.example/app", Credential{RegistryToken: "t0ken"}, "config.json"},
		{"team.example/a/b/c", Credential{Username: "b", Password: "2"}, "config.json"},
		{"team.example/a/c", Credential{Username: "a", Password: "1"}, "config.json"},
		{"team.example/c", Credential{}, "no credential for team.example in "},
		{"broken.example/app", Credential{}, `broken.example: "auth" is not base64`},
		{"half.example/app", Credential{}, `half.example: "auth" is not base64`},
		{"empty.example/app", Credential{}, "no credential for empty.example"},
		{"other.example/app", Credential{}, "no credential for other.example"},
	} {
		got := k.Find(t.Context(), c.repository)
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Credential{}, "Source")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.repository, diff)
		}
		if !strings.Contains(got.Source, c.source) || !strings.Contains(got.Source, dir) {
			t.Errorf("%s: source %q", c.repository, got.Source)
		}
	}
}

func TestDockerKeychainFiles(t *testing.T) {
	config := func(user string) string {
		return fmt.Sprintf(`{"auths":{"registry.example":{"auth":%q}}}`, auth64(user+":x"))
	}
	home := homeless(t)
	find := func() Credential { return DockerKeychain("").Find(t.Context(), "registry.example/app") }
	if got := find(); got.Username != "" || !strings.Contains(got.Source, "there is no "+home) {
		t.Errorf("with nothing: %+v", got)
	}
	// Each is preferred to those before it.
	for _, c := range []struct{ user, env, value, file string }{
		{"podman", "", "", filepath.Join(home, ".config/containers/auth.json")},
		{"xdg", "XDG_RUNTIME_DIR", home + "/run", filepath.Join(home, "run/containers/auth.json")},
		{"file", "REGISTRY_AUTH_FILE", home + "/auth.json", filepath.Join(home, "auth.json")},
		{"docker", "", "", filepath.Join(home, ".docker/config.json")},
		{"env", "DOCKER_CONFIG", home + "/elsewhere", filepath.Join(home, "elsewhere/config.json")},
	} {
		if c.env != "" {
			t.Setenv(c.env, c.value)
		}
		writeFile(t, c.file, config(c.user), 0o600)
		if got := find(); got.Username != c.user || got.Source != c.file {
			t.Errorf("%s: %+v", c.user, got)
		}
	}
	for name, content := range map[string]string{"not JSON": "auths: x", "too large": strings.Repeat(" ", maxConfigBytes+1)} {
		writeFile(t, filepath.Join(home, "elsewhere/config.json"), content, 0o600)
		if got := find(); got.Username != "" || !strings.Contains(got.Source, "elsewhere") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestCredentialHelper(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	count := filepath.Join(dir, "count")
	writeFile(t, filepath.Join(bin, "docker-credential-test"), `#!/bin/sh
[ "$1" = get ] || exit 9
read -r server
echo "$server" >> `+count+`
case $server in
https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"hub","Secret":"hunter2"}' ;;
token.example) echo '{"Username":"<token>","Secret":"1dentity"}' ;;
none.example) echo 'credentials not found in native keychain'; exit 1 ;;
odd.example) echo hunter2 ;;
endless.example) yes hunter2 ;;
*) echo 'locked: see https://x.example/?t=t0ken'; exit 1 ;;
esac
`, 0o755)
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{
		"credsStore": "test",
		"credHelpers": {"missing.example": "nowhere", "evil.example": "../../bin/sh"},
		"auths": {"none.example": {"auth": %q}}
	}`, auth64("file:x")), 0o600)
	k := DockerKeychain(dir)
	for _, c := range []struct {
		repository string
		want       Credential
		source     string
	}{
		{"docker.io/library/alpine", Credential{Username: "hub", Password: "hunter2"}, "credential helper test"},
		{"docker.io/library/debian", Credential{Username: "hub", Password: "hunter2"}, "credential helper test"},
		{"token.example/app", Credential{IdentityToken: "1dentity"}, "credential helper test"},
		{"none.example/app", Credential{Username: "file", Password: "x"}, "config.json"},
		{"odd.example/app", Credential{}, "docker-credential-test: its answer is not JSON"},
		{"locked.example/app", Credential{}, "exit status 1: locked: see https://x.example/?…"},
		{"missing.example/app", Credential{}, "docker-credential-nowhere is not in the PATH"},
		{"evil.example/app", Credential{}, "not a name"},
	} {
		got := k.Find(t.Context(), c.repository)
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Credential{}, "Source")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.repository, diff)
		}
		if !strings.Contains(got.Source, c.source) || strings.Contains(got.Source, "hunter2") {
			t.Errorf("%s: source %q", c.repository, got.Source)
		}
	}
	calls, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(calls), "index.docker.io"); n != 1 {
		t.Errorf("the helper was asked %d times for the same", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := k.Find(ctx, "endless.example/app"); got.Username != "" || !strings.Contains(got.Source, "does not answer") {
		t.Errorf("a helper without end: %+v", got)
	}
}

func TestCredentialWho(t *testing.T) {
	for want, c := range map[string]Credential{
		"anonymous":             {},
		"anonymous (no file)":   {Source: "no file"},
		`"ann" (file)`:          {Username: "ann", Password: "hunter2", Source: "file"},
		"the bearer of a token": {Username: identityUser, IdentityToken: "1dentity"},
		`"a\nb" (x)`:            {Username: "a\nb", Source: "x"},
	} {
		if got := c.who(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
