package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Credential is what proves to a registry who asks. With neither names nor tokens it proves nothing:
// one asks as anybody.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for access tokens at the token server
	RegistryToken      string // an access token as it is
	// Source says, for people, where this comes from or, where there is nothing, where it was
	// looked for and what went wrong.
	Source string
}

// who returns whose credential it is, for errors.
func (c Credential) who() string {
	name := "anonymous"
	switch {
	case c.Username != "" && c.Username != identityUser:
		name = fmt.Sprintf("%.60q", c.Username)
	case c.IdentityToken+c.RegistryToken+c.Password != "":
		name = "the bearer of a token"
	}
	if c.Source == "" {
		return name
	}
	return name + " (" + c.Source + ")"
}

// Keychain finds credentials. Implementations are safe for concurrent use.
type Keychain interface {
	// Find returns the credential for a repository, "docker.io/library/alpine". It is called when a
	// registry has asked for one, may block on a helper program until ctx ends, and never fails:
	// trouble is told in the Source of an empty Credential, and seen if asking as anybody does not do.
	Find(ctx context.Context, repository string) Credential
}

// Anonymous is the Keychain that has nothing.
type Anonymous struct{}

// Find implements [Keychain].
func (Anonymous) Find(context.Context, string) Credential { return Credential{} }

// DockerKeychain returns the Keychain of the config.json that docker login writes in dir, credential
// helpers included. With dir "" it is looked for where Docker does, $DOCKER_CONFIG or ~/.docker, and
// then where Podman does, $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json and
// ~/.config/containers/auth.json (containers-auth.json(5)). The file is read again whenever a
// credential is wanted. Helpers are asked again after five minutes.
func DockerKeychain(dir string) Keychain {
	return &dockerKeychain{dir: dir, helped: map[helperKey]helperAnswer{}}
}

type dockerKeychain struct {
	dir string

	mu     sync.Mutex
	helped map[helperKey]helperAnswer
}

// dockerConfig is the part of config.json that has to do with credentials
// (github.com/docker/cli, cli/config/configfile).
type dockerConfig struct {
	Auths       map[string]dockerAuth `json:"auths"`
	CredsStore  string                `json:"credsStore"`
	CredHelpers map[string]string     `json:"credHelpers"`
}

type dockerAuth struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Find implements [Keychain].
func (k *dockerKeychain) Find(ctx context.Context, repository string) Credential {
	file, cfg, err := k.read()
	if err != nil {
		return Credential{Source: err.Error()}
	}
	host, _, _ := strings.Cut(repository, "/")
	server := serverName(host)
	var trouble string
	if helper := helperFor(cfg, server, host); helper != "" {
		cred, err := k.help(ctx, helper, server)
		if err != nil {
			trouble = err.Error()
		} else if cred != (Credential{}) {
			cred.Source = "credential helper " + helper
			return cred
		} else {
			trouble = "credential helper " + helper + " has none"
		}
	}
	for _, key := range authKeys(repository, host, server) {
		auth, ok := cfg.Auths[key]
		if !ok {
			continue
		}
		cred, err := auth.credential()
		if err != nil {
			return Credential{Source: fmt.Sprintf("%s: %s: %v", file, key, err)}
		}
		if cred != (Credential{}) {
			cred.Source = file
			return cred
		}
	}
	if trouble != "" {
		return Credential{Source: trouble}
	}
	return Credential{Source: "no credential for " + host + " in " + file}
}

// helperFor returns the helper for a server, or "".
func helperFor(cfg dockerConfig, server, host string) string {
	for _, key := range []string{server, host} {
		if helper := cfg.CredHelpers[key]; helper != "" {
			return helper
		}
	}
	return cfg.CredsStore
}

// serverName returns the name under which Docker keeps the credential of a host. Docker Hub's is
// that of its first API.
func serverName(host string) string {
	if host == dockerHub {
		return "https://index.docker.io/v1/"
	}
	return host
}

// authKeys returns the keys under which a credential may stand, the most special first: Podman
// allows those of repositories and namespaces, old Docker wrote URLs.
func authKeys(repository, host, server string) []string {
	var keys []string
	for name := repository; name != host && name != ""; {
		keys = append(keys, name)
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			break
		}
		name = name[:cut]
	}
	keys = append(keys, server, host, "https://"+host, "http://"+host,
		"https://"+host+"/", "https://"+host+"/v1/", "https://"+host+"/v2/")
	if host == dockerHub {
		keys = append(keys, "index.docker.io", "registry-1.docker.io")
	}
	return keys
}

func (a dockerAuth) credential() (Credential, error) {
	c := Credential{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
	if a.Auth == "" {
		return c, nil
	}
	raw, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(a.Auth)
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return Credential{}, errors.New(`"auth" is not base64 of user:password`)
	}
	c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	return c, nil
}

// maxConfigBytes bounds config.json. A login takes some hundred bytes of it.
const maxConfigBytes = 4 << 20

// read returns the configuration and the file it is from.
func (k *dockerKeychain) read() (string, dockerConfig, error) {
	candidates := k.files()
	for _, file := range candidates {
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Size() > maxConfigBytes {
			err = fmt.Errorf("%s: larger than %d bytes", file, maxConfigBytes)
		}
		var raw []byte
		if err == nil {
			raw, err = os.ReadFile(file)
		}
		if err != nil {
			return file, dockerConfig{}, err
		}
		var cfg dockerConfig
		if err := json.Unmarshal(bytes.TrimSpace(raw), &cfg); err != nil && len(raw) > 0 {
			return file, dockerConfig{}, fmt.Errorf("%s: not JSON as docker login writes it", file)
		}
		return file, cfg, nil
	}
	return "", dockerConfig{}, fmt.Errorf("no credentials: there is no %s", strings.Join(candidates, ", no "))
}

func (k *dockerKeychain) files() []string {
	if k.dir != "" {
		return []string{filepath.Join(k.dir, "config.json")}
	}
	var files []string
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	add := func(base string, rest ...string) {
		if base != "" {
			files = append(files, filepath.Join(append([]string{base}, rest...)...))
		}
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	add(os.Getenv("REGISTRY_AUTH_FILE"))
	add(os.Getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		add(dir, "containers", "auth.json")
	} else {
		add(home, ".config", "containers", "auth.json")
	}
	return files
}

// identityUser is the user name with which a helper says that its secret is an identity token
// (docker-credential-helpers, "Credential helper protocol").
const identityUser = "<token>"

type helperKey struct{ helper, server string }

type helperAnswer struct {
	cred  Credential
	until time.Time
}

const (
	helperLife     = 5 * time.Minute  // for which the answer of a helper is used
	helperTimeout  = 30 * time.Second // that one may take
	maxHelperBytes = 256 << 10        // that are kept of what one says
)

// help asks the program docker-credential-HELPER for the credential of a server. It returns the zero
// Credential where the helper has none.
func (k *dockerKeychain) help(ctx context.Context, helper, server string) (Credential, error) {
	key := helperKey{helper, server}
	k.mu.Lock()
	answer, ok := k.helped[key]
	k.mu.Unlock()
	if ok && time.Now().Before(answer.until) {
		return answer.cred, nil
	}
	cred, err := runHelper(ctx, helper, server)
	if err != nil {
		return Credential{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.helped) >= maxHosts {
		clear(k.helped)
	}
	k.helped[key] = helperAnswer{cred, time.Now().Add(helperLife)}
	return cred, nil
}

func runHelper(ctx context.Context, helper, server string) (Credential, error) {
	program := "docker-credential-" + helper
	if strings.ContainsAny(helper, `/\`) {
		return Credential{}, fmt.Errorf("credential helper %q: not a name", helper)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(server)
	cmd.WaitDelay = time.Second
	out := &boundedBuffer{most: maxHelperBytes}
	cmd.Stdout = out
	err := cmd.Run()
	text := strings.TrimSpace(string(out.kept))
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return Credential{}, fmt.Errorf("%s is not in the PATH", program)
	case ctx.Err() != nil:
		return Credential{}, fmt.Errorf("%s does not answer: %w", program, ctx.Err())
	case err != nil && strings.Contains(text, "credentials not found"):
		return Credential{}, nil
	case err != nil:
		return Credential{}, fmt.Errorf("%s: %w: %s", program, err, printable(text))
	}
	return parseHelper(program, text)
}

// parseHelper reads what a helper answers to "get".
func parseHelper(program, text string) (Credential, error) {
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return Credential{}, fmt.Errorf("%s: its answer is not JSON", program)
	}
	if answer.Username == identityUser {
		return Credential{IdentityToken: answer.Secret}, nil
	}
	return Credential{Username: answer.Username, Password: answer.Secret}, nil
}

// boundedBuffer keeps the first bytes of what is written to it.
type boundedBuffer struct {
	kept []byte
	most int
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), b.most-len(b.kept))]...)
	return len(p), nil
}
