package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/authn"
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
	for _, name := range []string{"DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	config.SetDir(filepath.Join(home, ".docker")) // which else stays what it was when first asked for
	return home
}

type found struct {
	repository string
	want       Credential
	source     string // a part of it
}

func wantFound(t *testing.T, k Keychain, cases []found) {
	t.Helper()
	for _, c := range cases {
		got := k.Find(t.Context(), c.repository)
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Credential{}, "Source")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.repository, diff)
		}
		if !strings.Contains(got.Source, c.source) || strings.Contains(got.Source, "hunter2") {
			t.Errorf("%s: source %q", c.repository, got.Source)
		}
	}
}

func TestDockerKeychain(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths": {
		"https://index.docker.io/v1/": {"auth": %q},
		"registry.example": {"auth": %q},
		"https://old.example/v1/": {"username": "old", "password": "hunter2"},
		"registry.example:5000": {"auth": %q, "identitytoken": "1dentity"},
		"token.example": {"registrytoken": "t0ken"},
		"team.example": {"auth": %q},
		"team.example/a": {"auth": %q},
		"team.example/a/b": {"auth": %q},
		"empty.example": {}
	}}`, auth64("hub:hunter2"), auth64("ann:hunter2:with:colons\x00"), auth64("<token>:"), auth64("all:0"), auth64("a:1"), auth64("b:2")), 0o600)
	wantFound(t, DockerKeychain(dir), []found{
		{"docker.io/library/alpine", Credential{Username: "hub", Password: "hunter2"}, "config.json"},
		{"registry.example/app", Credential{Username: "ann", Password: "hunter2:with:colons"}, "config.json"},
		{"old.example/app", Credential{Username: "old", Password: "hunter2"}, "config.json"},
		{"registry.example:5000/app", Credential{Username: "<token>", IdentityToken: "1dentity"}, "config.json"},
		{"token.example/app", Credential{RegistryToken: "t0ken"}, "config.json"},
		{"team.example/a/b/c", Credential{Username: "b", Password: "2"}, dir},
		{"team.example/a/b", Credential{Username: "b", Password: "2"}, dir},
		{"team.example/a/c", Credential{Username: "a", Password: "1"}, dir},
		{"team.example/a/c/d/e", Credential{Username: "a", Password: "1"}, dir},
		{"team.example/c", Credential{Username: "all", Password: "0"}, dir},
		{"empty.example/app", Credential{}, "no credential for empty.example in " + dir},
		{"other.example/app", Credential{}, "no credential for other.example in " + dir},
	})
}

func TestDockerKeychainFiles(t *testing.T) {
	login := func(user string) string {
		return fmt.Sprintf(`{"auths":{"registry.example":{"auth":%q}}}`, auth64(user+":x"))
	}
	home := homeless(t)
	find := func() Credential { return DockerKeychain("").Find(t.Context(), "registry.example/app") }
	if got := find(); got.Username != "" || !strings.Contains(got.Source, "no credential for registry.example in the configuration of Docker or Podman") {
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
		writeFile(t, c.file, login(c.user), 0o600)
		if got := find(); got.Username != c.user {
			t.Errorf("%s: %+v", c.user, got)
		}
	}
	for name, content := range map[string]string{
		"not JSON":         "auths: x",
		"not base64":       `{"auths":{"registry.example":{"auth":"!!"}}}`,
		"without password": fmt.Sprintf(`{"auths":{"registry.example":{"auth":%q}}}`, auth64("nobody")),
	} {
		writeFile(t, filepath.Join(home, "elsewhere/config.json"), content, 0o600)
		if got := find(); got.Username != "" || !strings.Contains(got.Source, "elsewhere") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A login is noticed at once, and a logout within minutes.
func TestDockerKeychainAgain(t *testing.T) {
	dir := t.TempDir()
	k := DockerKeychain(dir)
	login := func(user string) {
		writeFile(t, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths":{"registry.example":{"auth":%q}}}`, auth64(user+":x")), 0o600)
	}
	wantFound(t, k, []found{{"registry.example/app", Credential{}, "no credential"}})
	login("ann")
	ann := found{"registry.example/app", Credential{Username: "ann", Password: "x"}, dir}
	wantFound(t, k, []found{ann})
	login("bob")
	wantFound(t, k, []found{ann})
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
odd.example) echo hunter2 ;;
locked.example) echo 'locked: see https://x.example/?t=t0ken'; exit 1 ;;
*/*) echo 'a server is no path'; exit 1 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
`, 0o755)
	writeFile(t, filepath.Join(dir, "config.json"), `{
		"credsStore": "test",
		"credHelpers": {"missing.example": "nowhere", "evil.example": "../../bin/sh"}
	}`, 0o600)
	k := DockerKeychain(dir)
	wantFound(t, k, []found{
		{"docker.io/library/alpine", Credential{Username: "hub", Password: "hunter2"}, dir},
		{"docker.io/library/debian", Credential{Username: "hub", Password: "hunter2"}, dir},
		{"token.example/app", Credential{IdentityToken: "1dentity"}, dir},
		{"none.example/app", Credential{}, ""},
		{"odd.example/app", Credential{}, "invalid character"},
		{"locked.example/app", Credential{}, "exit status 1, out: `locked: see https://x.example/?…"},
		{"missing.example/app", Credential{}, `"docker-credential-nowhere": executable file not found`},
		{"evil.example/app", Credential{}, "no such file"},
	})
	calls, err := os.ReadFile(count)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(calls), "index.docker.io"); n != 1 {
		t.Errorf("the helper was asked %d times for the same", n)
	}
}

// A helper without end holds nobody longer than he wants to wait.
func TestCredentialHelperHangs(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	gate := filepath.Join(dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(bin, "docker-credential-hang"), "#!/bin/sh\ncat "+gate+"\n", 0o755)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credHelpers": {"hang.example": "hang"}}`, 0o600)
	k := DockerKeychain(dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := k.Find(ctx, "hang.example/app"); got.Username != "" || !strings.Contains(got.Source, "does not answer") {
		t.Errorf("a helper that hangs: %+v", got)
	}
	if err := os.WriteFile(gate, []byte(`{"Username":"late","Secret":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFound(t, k, []found{{"hang.example/app", Credential{Username: "late", Password: "x"}, dir}})
}

// slowKeychain is a keychain that answers when it is told to.
type slowKeychain chan authn.AuthConfig

func (h slowKeychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	c, ok := <-h
	if !ok {
		return nil, errors.New("closed")
	}
	return authn.FromConfig(c), nil
}

func TestKeychainPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := make(slowKeychain)
		k := newKeychain(h, "a test")
		began := time.Now()
		for _, want := range []time.Duration{patience, 0, 0} {
			asked := time.Now()
			got := k.Find(t.Context(), "registry.example/app")
			if took := time.Since(asked); got.proves() || got.Source != "a test: a credential helper does not answer" || took != want {
				t.Errorf("after %v: %+v in %v", asked.Sub(began), got, took)
			}
		}
		close(h)
		synctest.Wait()
		if got := k.Find(t.Context(), "registry.example/app"); got.Source != "a test: closed" {
			t.Errorf("when it answers again: %+v", got)
		}
	})
}

func TestKeychainForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := make(slowKeychain, 2)
		k := newKeychain(h, "a test")
		for _, user := range []string{"ann", "bob"} {
			h <- authn.AuthConfig{} // for the repository
			h <- authn.AuthConfig{Username: user}
			for range 2 {
				if got := k.Find(t.Context(), "registry.example/app"); got.Username != user {
					t.Errorf("got %+v, want %s", got, user)
				}
				h <- authn.AuthConfig{}
			}
			<-h
			time.Sleep(credentialLife) // fake
		}
	})
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
