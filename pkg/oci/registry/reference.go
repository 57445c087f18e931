package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/distribution/reference"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Repository is a named collection of images in a registry. It is comparable.
type Repository struct {
	Host string // with its port where it is not the usual one: "docker.io", "registry.example:5000"
	Name string // "library/alpine"
}

// String returns the canonical form: "docker.io/library/alpine".
func (r Repository) String() string { return r.Host + "/" + r.Name }

// Reference names an image in a registry. It is comparable.
type Reference struct {
	Repository
	Tag    string        // "" where only a digest was given
	Digest digest.Digest // zero where only a tag was given
}

// String returns the canonical form: "docker.io/library/alpine:3.20".
func (r Reference) String() string {
	s := r.Repository.String()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if !r.Digest.IsZero() {
		s += "@" + r.Digest.String()
	}
	return s
}

// Identifier returns by what the registry is asked: the digest, else the tag.
func (r Reference) Identifier() string {
	if !r.Digest.IsZero() {
		return r.Digest.String()
	}
	return r.Tag
}

// maxReferenceBytes is more than the longest possible reference has: a name of 255 bytes, a tag of
// 128 and a sha512 digest.
const maxReferenceBytes = 640

// ParseReference reads a reference as Docker does (github.com/distribution/reference): the host
// defaults to docker.io, the namespace there to library, the tag to latest. The other names of
// Docker Hub become docker.io. Package name of go-containerregistry will not do: it takes "../app" and
// "a//b" for repositories, which are then paths at the registry. Errors have kind [fault.Invalid].
func ParseReference(s string) (Reference, error) {
	named, err := parse(s)
	if err != nil {
		return Reference{}, fault.New(fault.Invalid, "parse reference", fmt.Sprintf("%.100q", s), err)
	}
	r := Reference{Repository: Repository{Host: reference.Domain(named), Name: reference.Path(named)}}
	if d, ok := named.(reference.Digested); ok {
		if r.Digest, err = digest.Parse(d.Digest().String()); err != nil {
			return Reference{}, fault.New(fault.Invalid, "parse reference", fmt.Sprintf("%.100q", s), err)
		}
	}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	} else if r.Digest.IsZero() {
		r.Tag = "latest"
	}
	return r, nil
}

// ParseRepository reads the name of a repository by the rules of [ParseReference]; a tag or digest is
// an error.
func ParseRepository(s string) (Repository, error) {
	named, err := parse(s)
	if err == nil && !reference.IsNameOnly(named) {
		err = errors.New("want a repository without tag or digest")
	}
	if err != nil {
		return Repository{}, fault.New(fault.Invalid, "parse repository", fmt.Sprintf("%.100q", s), err)
	}
	return Repository{Host: reference.Domain(named), Name: reference.Path(named)}, nil
}

func parse(s string) (reference.Named, error) {
	if len(s) > maxReferenceBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxReferenceBytes)
	}
	if host, rest, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(host, ".:") || strings.EqualFold(host, "localhost")) {
		s = canonicalHost(host) + "/" + rest // before it decides about namespaces
	}
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "invalid reference format: "))
	}
	return named, checkHost(reference.Domain(named))
}

// checkHost refuses hosts that cannot be one: those that only their capitals tell from a namespace
// of Docker Hub, brackets without an IPv6 address, and ports that do not exist.
func checkHost(host string) error {
	name := host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		if port, err := strconv.ParseUint(host[i+1:], 10, 16); err != nil || port == 0 {
			return fmt.Errorf("no such port: %s", host[i+1:])
		}
		name = host[:i]
	}
	if literal, ok := strings.CutPrefix(name, "["); ok {
		if ip, err := netip.ParseAddr(strings.TrimSuffix(literal, "]")); err != nil || !ip.Is6() {
			return fmt.Errorf("not an IPv6 address: %s", name)
		}
	} else if !strings.ContainsAny(host, ".:") && host != "localhost" {
		return fmt.Errorf("not a host: %s", host)
	}
	return nil
}

// canonicalHost returns the one name of a registry host under which it is known here.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return host
}

const dockerHub = "docker.io"
