package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// DetectPath finds out from its content what a file or directory is. It reads a tar file up to the
// member that tells, which may be the last. What docker save writes since Docker 25 is taken for the
// OCI image layout that it is.
//
// Errors: [fault.NotFound], and [fault.Unsupported] for what is nothing that can be scanned, with
// advice.
func DetectPath(path string) (Target, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Target{}, fileError(path, err)
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, indexFile)); err == nil {
			return Target{OCIDir, path}, nil
		}
		return Target{}, fault.New(fault.Unsupported, "detect", path, fmt.Errorf(
			"a directory that is not an OCI image layout; of a root file system make a tar file first (tar -C %s -cf rootfs.tar .)", path))
	}
	if !info.Mode().IsRegular() {
		return Target{}, fault.New(fault.Unsupported, "detect", path, errors.New("not a regular file"))
	}
	var found Scheme
	err = tarfile.Walk(context.Background(), path, limits.Default(), func(name string, h *tar.Header, content io.Reader) (bool, error) {
		found = schemeOf(name, h, content)
		return found == Registry, nil
	})
	if err != nil {
		return Target{}, fault.Wrap("detect", path, err)
	}
	if found == Registry {
		return Target{}, fault.New(fault.Unsupported, "detect", path, fmt.Errorf(
			"a tar file that is no image archive; if it is part of a root file system, say rootfs:%s", path))
	}
	return Target{found, path}, nil
}

// rootDirs are directories that tell a root file system (hier(7)): no image archive has one at its top.
var rootDirs = map[string]bool{
	"bin": true, "boot": true, "dev": true, "etc": true, "home": true, "lib": true, "lib64": true, "media": true,
	"mnt": true, "opt": true, "proc": true, "root": true, "run": true, "sbin": true, "srv": true, "sys": true,
	"tmp": true, "usr": true, "var": true,
}

// dockerSaveMember is what docker save puts first, before the manifest.json that tells more (moby,
// image/tarexport, until Docker 24).
var dockerSaveMember = regexp.MustCompile(`^[0-9a-f]{64}/(VERSION|json|layer\.tar)$`)

// schemeOf returns what one member tells of a tar file, or Registry where it tells nothing.
func schemeOf(name string, h *tar.Header, content io.Reader) Scheme {
	top, _, below := strings.Cut(name, "/")
	regular := h.Typeflag == tar.TypeReg
	switch {
	case name == dockerManifestFile && regular:
		return DockerArchive
	case name == layoutFile && regular, strings.HasPrefix(name, "blobs/sha256/") && regular:
		return OCIArchive
	case dockerSaveMember.MatchString(name) && regular:
		return DockerArchive
	case name == "manifest" && regular:
		raw, err := readBounded(content, "", maxManifestBytes)
		if err != nil {
			return Registry
		}
		if _, err := parseACIManifest(raw); err == nil {
			return ACI
		}
	case rootDirs[top] && (below || h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeSymlink):
		return RootFS
	}
	return Registry
}
