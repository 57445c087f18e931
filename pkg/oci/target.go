package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
)

// Scheme says of which kind a target is.
type Scheme string

// The schemes. All but Registry name a file or directory of this machine, and stand before its path
// in the text form.
const (
	Registry      Scheme = ""               // a reference: "registry.example/app:1"
	DockerArchive Scheme = "docker-archive" // what docker save writes
	OCIArchive    Scheme = "oci-archive"    // a tar of an OCI image layout
	OCIDir        Scheme = "oci-dir"        // an OCI image layout (image-spec v1.1, image-layout.md)
	ACI           Scheme = "aci"            // an App Container image (appc spec 0.8)
	RootFS        Scheme = "rootfs"         // a tar of a root file system
)

// localSchemes are those that take a path.
var localSchemes = []Scheme{DockerArchive, OCIArchive, OCIDir, ACI, RootFS}

// Target is what a person names to have it scanned. It is comparable.
type Target struct {
	Scheme Scheme
	Ref    string // a reference in canonical form, or a path
}

// IsLocal reports whether the target is on this machine rather than in a registry.
func (t Target) IsLocal() bool { return t.Scheme != Registry }

// String returns the text form, which [ParseTarget] reads.
func (t Target) String() string {
	if t.IsLocal() {
		return string(t.Scheme) + ":" + t.Ref
	}
	return t.Ref
}

// maxTargetBytes is longer than any path that can be opened; see PATH_MAX in limits.h.
const maxTargetBytes = 4096

// ParseTarget reads "SCHEME:PATH" or a reference, which may have "docker://" before it. It looks at
// nothing but the string. An image of Docker Hub that is called like a scheme has to be written in
// full, "docker.io/library/rootfs:1".
// Errors have kind [fault.Invalid].
func ParseTarget(s string) (Target, error) {
	if len(s) > maxTargetBytes {
		return Target{}, fault.Newf(fault.Invalid, "parse target", fmt.Sprintf("%.100q", s), "longer than %d bytes", maxTargetBytes)
	}
	if scheme, path, ok := strings.Cut(s, ":"); ok && slices.Contains(localSchemes, Scheme(scheme)) {
		if path == "" || strings.ContainsRune(path, 0) {
			return Target{}, fault.Newf(fault.Invalid, "parse target", fmt.Sprintf("%.100q", s), "want %s:PATH", scheme)
		}
		return Target{Scheme(scheme), path}, nil
	}
	ref, err := registry.ParseReference(strings.TrimPrefix(s, "docker://"))
	if err != nil {
		return Target{}, fault.Wrap("parse target", "", err)
	}
	return Target{Registry, ref.String()}, nil
}

// FindTarget reads what [ParseTarget] reads, and also the plain path of an archive or directory of
// this machine, whose scheme its content tells; see [DetectPath]. It is for the command line: what
// it answers depends on the files that there are.
//
// Where there is a file, it is the target. A word that is the name of a directory and may be a
// reference too, "alpine", is the directory only if that can be scanned. What can only be a path,
// "./alpine", "/tmp/alpine" or "alpine.tar.gz", is never taken for a reference.
func FindTarget(s string) (Target, error) {
	info, err := os.Stat(s)
	if err != nil {
		if isPath(s) {
			return Target{}, fault.New(fault.NotFound, "find target", s, errors.New("no such file or directory"))
		}
		return ParseTarget(s)
	}
	t, err := DetectPath(s)
	if err == nil || isPath(s) || !info.IsDir() {
		return t, err
	}
	if ref, refErr := ParseTarget(s); refErr == nil {
		return ref, nil
	}
	return t, err
}

// archiveName matches what nobody calls a repository; docker:// before it says that somebody did.
var archiveName = regexp.MustCompile(`^[^:@]+\.(tar|tgz|aci|tar\.[a-z0-9]+)$`)

// isPath reports whether s can be no reference, or is very unlikely to be meant as one.
func isPath(s string) bool {
	return filepath.IsAbs(s) || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || s == "." || s == ".." || archiveName.MatchString(s)
}
