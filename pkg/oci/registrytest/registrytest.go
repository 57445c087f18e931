// Package registrytest runs a real registry for tests: the program of Debian's package docker-registry, on this
// machine, with passwords and TLS where a test wants them.
//
// It does not make images; go-containerregistry pushes them.
package registrytest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Options say what kind of registry a test wants. The zero value is one without TLS that lets everybody in.
type Options struct {
	// Cert and Key are PEM files; see [Authority].
	Cert, Key string
	// Users are the passwords by name of those who may come in; nil means everybody.
	Users map[string]string
}

// Start runs a registry until the test ends, and returns its address, "127.0.0.1:PORT". Where the program is not
// installed, the test is skipped.
func Start(tb testing.TB, o Options) string {
	tb.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		tb.Skip("no docker-registry (apt-get install docker-registry): nothing is tested against a real registry")
	}
	dir := tb.TempDir()
	cmd := exec.CommandContext(tb.Context(), program, "serve", WriteFile(tb, filepath.Join(dir, "config.yml"), o.config(tb, dir)))
	logs, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()         // killed
	})
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, logs) }() // ends with the program
			return m[1]
		}
	}
	tb.Fatalf("docker-registry does not start: %v", lines.Err())
	return ""
}

var listening = regexp.MustCompile(`listening on ([0-9.:]+)`)

// config returns the program's configuration; see https://distribution.github.io/distribution/about/configuration/.
func (o Options) config(tb testing.TB, dir string) string {
	tb.Helper()
	text := `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ` + dir + `}}
compatibility: {schema1: {enabled: true}}
http:
  addr: 127.0.0.1:0
`
	if o.Cert != "" {
		text += "  tls: {certificate: " + o.Cert + ", key: " + o.Key + "}\n"
	}
	if o.Users == nil {
		return text
	}
	var users string
	for name, password := range o.Users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			tb.Fatal(err)
		}
		users += fmt.Sprintf("%s:%s\n", name, hash)
	}
	return text + "auth: {htpasswd: {realm: test, path: " + WriteFile(tb, filepath.Join(dir, "htpasswd"), users) + "}}\n"
}

// DockerConfig makes a directory as docker login leaves it, for DOCKER_CONFIG.
func DockerConfig(tb testing.TB, host, name, password string) string {
	tb.Helper()
	dir := tb.TempDir()
	login := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
	WriteFile(tb, filepath.Join(dir, "config.json"), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, login))
	return dir
}

// WriteFile writes a file and returns its path.
func WriteFile(tb testing.TB, path, content string) string {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
