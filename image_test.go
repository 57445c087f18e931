package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Images for tests are made by go-containerregistry, so that what is read here was not written by the same hand.

// epoch is when everything in the images of tests was made, so that their digests never change.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tarDir returns a tar of what is below dir, in the order of names, each name behind a prefix.
func tarDir(dir, prefix string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: prefix + filepath.ToSlash(relative), Mode: 0o644, Typeflag: tar.TypeReg, ModTime: epoch}
		var content []byte
		if entry.IsDir() {
			header.Name, header.Mode, header.Typeflag = header.Name+"/", 0o755, tar.TypeDir
		} else if content, err = os.ReadFile(path); err != nil {
			return err
		}
		header.Size = int64(len(content))
		return errors.Join(w.WriteHeader(header), second(w.Write(content)))
	})
	return b.Bytes(), errors.Join(err, w.Close())
}

func second[T any](_ T, err error) error { return err }

// layerOf returns a layer with these bytes of tar.
func layerOf(content []byte) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
}

// imageOf returns an image for a platform with a layer for each directory.
func imageOf(platform string, dirs ...string) (v1.Image, error) {
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Created: v1.Time{Time: epoch}})
	for _, dir := range dirs {
		if err != nil {
			return nil, err
		}
		content, err := tarDir(dir, "")
		if err != nil {
			return nil, err
		}
		layer, err := layerOf(content)
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, err
}

// writeArchive writes an image with a layer for each directory to a file, or to a directory for the kind oci-dir. The
// kinds aci and rootfs have room for one.
func writeArchive(kind, path string, dirs ...string) error {
	if kind == "rootfs" || kind == "aci" {
		content, err := tarDir(dirs[0], map[string]string{"aci": "rootfs/"}[kind])
		if err == nil && kind == "aci" {
			content, err = withACIManifest(content)
		}
		return errors.Join(err, os.WriteFile(path, content, 0o600))
	}
	image, err := imageOf("linux/amd64", dirs...)
	if err != nil {
		return err
	}
	switch kind {
	case "docker-archive":
		tag, err := name.NewTag("registry.example/app:1")
		return errors.Join(err, tarball.WriteToFile(path, tag, image))
	case "oci-dir":
		return writeLayout(path, image)
	case "oci-archive":
		dir := path + ".dir"
		if err := writeLayout(dir, image); err != nil {
			return err
		}
		content, err := tarDir(dir, "")
		return errors.Join(err, os.RemoveAll(dir), os.WriteFile(path, content, 0o600))
	}
	return fmt.Errorf("archives of kind %s are not known", kind)
}

func writeLayout(dir string, image v1.Image) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(image)
}

// withACIManifest puts an image manifest, as App Container has it, before the members of a tar.
func withACIManifest(content []byte) ([]byte, error) {
	manifest, err := json.Marshal(map[string]any{
		"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
		"labels": []map[string]string{{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}},
	})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: "manifest", Mode: 0o644, Size: int64(len(manifest)), ModTime: epoch}
	err = errors.Join(w.WriteHeader(header), second(w.Write(manifest)), w.Flush())
	return append(b.Bytes(), content...), err
}

// pushImages pushes an image, or an index where parts name platforms: "linux/arm64=base,app".
func pushImages(ref, dir string, parts []string) error {
	reference, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, "application/vnd.oci.image.index.v1+json")
	for _, part := range parts {
		platform, list, isIndex := strings.Cut(part, "=")
		if !isIndex {
			platform, list = "linux/amd64", part
		}
		var dirs []string
		for name := range strings.SplitSeq(list, ",") {
			dirs = append(dirs, filepath.Join(dir, name))
		}
		image, err := imageOf(platform, dirs...)
		if err != nil {
			return err
		}
		if !isIndex {
			return remote.Write(reference, image)
		}
		p, err := v1.ParsePlatform(platform)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: p}})
	}
	return remote.WriteIndex(reference, index)
}
