package registry

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
)

// DockerKeychain returns the Keychain of what docker login and podman login left on this machine,
// credential helpers included. With dir "" it is [authn.DefaultKeychain], which looks where Docker
// does, $DOCKER_CONFIG or ~/.docker, else where Podman does, $REGISTRY_AUTH_FILE,
// $XDG_RUNTIME_DIR/containers/auth.json and ~/.config/containers/auth.json; else it is the
// config.json in dir. As Podman has it (containers-auth.json(5)), a credential for the repository or a
// namespace above it is preferred to that for the registry.
//
// What was found is used for five minutes; that there is nothing is not remembered, for somebody may
// log in. One credential is looked for at a time. A helper that hangs cannot be stopped: who waits for
// it gives up when its context ends, or after 30 seconds, and leaves behind one goroutine, which ends
// with the helper. Until then whoever asks is told after those 30 seconds, and later at once, that
// there is no answer, and goes on as anybody.
func DockerKeychain(dir string) Keychain {
	if dir == "" {
		return newKeychain(authn.DefaultKeychain, "the configuration of Docker or Podman")
	}
	return newKeychain(directory(dir), filepath.Join(dir, "config.json"))
}

const (
	credentialLife = 5 * time.Minute  // for which a credential is used before it is looked for again
	patience       = 30 * time.Second // with the search for one
)

// keychain makes a Keychain of one of go-containerregistry.
type keychain struct {
	authn authn.Keychain
	place string                     // where it looks, for people
	turn  chan struct{}              // holds an item while somebody searches
	began atomic.Pointer[time.Time]  // when that search began; nil if there is none
	found map[string]foundCredential // by name; of whoever has the turn
}

type foundCredential struct {
	Credential
	until time.Time
}

func newKeychain(k authn.Keychain, place string) *keychain {
	return &keychain{authn: k, place: place, turn: make(chan struct{}, 1), found: map[string]foundCredential{}}
}

// Find implements [Keychain].
func (k *keychain) Find(ctx context.Context, repository string) Credential {
	silence := Credential{Source: k.place + ": a credential helper does not answer"}
	if began := k.began.Load(); began != nil && time.Since(*began) >= patience {
		return silence
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return silence
	}
	answer := make(chan Credential, 1)
	go func() {
		defer func() { <-k.turn }()
		now := time.Now()
		k.began.Store(&now)
		defer k.began.Store(nil)
		answer <- k.search(ctx, repository)
	}()
	select {
	case cred := <-answer:
		return cred
	case <-ctx.Done():
		return silence
	}
}

// search looks under all names of a repository, the most special first. One under which the search
// fails does not keep it from the others.
func (k *keychain) search(ctx context.Context, repository string) Credential {
	host, _, _ := strings.Cut(repository, "/")
	var special []string
	for name := repository; name != host; name = name[:strings.LastIndexByte(name, '/')] {
		special = append(special, name)
	}
	none := Credential{Source: "no credential for " + host + " in " + k.place}
	for _, names := range append(slices.Collect(slices.Chunk(special, 2)), []string{host}) {
		cred, err := k.resolve(ctx, resource(names))
		if err != nil {
			none.Source = k.place + ": " + printable(err.Error())
		} else if cred.proves() {
			return cred
		}
	}
	return none
}

// resolve looks under one or two names.
func (k *keychain) resolve(ctx context.Context, names resource) (Credential, error) {
	if f := k.found[names.String()]; time.Now().Before(f.until) {
		return f.Credential, nil
	}
	auth, err := authn.Resolve(ctx, k.authn, names)
	if err != nil {
		return Credential{}, err
	}
	c, err := authn.Authorization(ctx, auth)
	if err != nil {
		return Credential{}, err
	}
	cred := Credential{c.Username, c.Password, c.IdentityToken, c.RegistryToken, k.place}
	if cred.proves() {
		if len(k.found) >= maxHosts {
			clear(k.found)
		}
		k.found[names.String()] = foundCredential{cred, time.Now().Add(credentialLife)}
	}
	return cred, nil
}

// resource are one or two names, of which a keychain tries the second where the first has nothing. Asking
// for both at once spares a helper a call.
type resource []string

// String implements [authn.Resource].
func (r resource) String() string { return r[0] }

// RegistryStr implements [authn.Resource].
func (r resource) RegistryStr() string { return r[len(r)-1] }

// directory is the keychain of the config.json in a directory, as [authn.DefaultKeychain] is of that to
// which the environment leads.
type directory string

// Resolve implements [authn.Keychain].
func (d directory) Resolve(r authn.Resource) (authn.Authenticator, error) {
	file, err := config.Load(string(d))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Compact([]string{r.String(), r.RegistryStr()}) {
		found, err := file.GetAuthConfig(name)
		if err != nil {
			return nil, err
		}
		found.ServerAddress = ""
		if found != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username: found.Username, Password: found.Password,
				IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
			}), nil
		}
	}
	return authn.Anonymous, nil
}
