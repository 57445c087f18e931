package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
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

// proves reports whether the credential is more than nothing.
func (c Credential) proves() bool {
	c.Source = ""
	return c != Credential{}
}

// identityUser is the user name that stands for an identity token (docker-credential-helpers,
// "Credential helper protocol").
const identityUser = "<token>"

// maxAccount is the most that is made use of a user name, in bytes.
const maxAccount = 100

// Account returns a name under which requests with this credential may be counted: the user name, or else for a token the beginning
// of its SHA-256; "" for one that proves nothing. It is no secret.
func (c Credential) Account() string {
	if name := printable(c.Username); name != "" && c.Username != identityUser {
		return strings.ToValidUTF8(name[:min(len(name), maxAccount)], "")
	}
	token := c.IdentityToken + c.RegistryToken + c.Password
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("token-%x", sum[:4])
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
