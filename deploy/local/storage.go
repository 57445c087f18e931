package local

import (
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// storage writes images straight into the directory of a registry, many times as fast as they can be pushed. The
// layout is that of distribution 2.x, registry/storage/paths.go. Writing an image twice, or by several at once, does
// no harm.
type storage struct{ dir string }

// write makes an image the one of that tag in a repository.
func (s storage) write(repository, tag string, image v1.Image) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	parts, err := image.Manifest()
	if err != nil {
		return err
	}
	sum, err := image.Digest()
	if err != nil {
		return err
	}
	for _, blob := range []struct {
		sum  v1.Hash
		data []byte
	}{{sum, manifest}, {parts.Config.Digest, config}} {
		if err := s.blob(blob.sum, blob.data); err != nil {
			return err
		}
	}
	home := filepath.Join(s.dir, "docker/registry/v2/repositories", filepath.FromSlash(repository))
	tags := filepath.Join(home, "_manifests/tags", tag)
	links := map[string]v1.Hash{
		link(filepath.Join(home, "_layers"), parts.Config.Digest): parts.Config.Digest,
		link(filepath.Join(home, "_manifests/revisions"), sum):    sum,
		link(filepath.Join(tags, "index"), sum):                   sum,
		filepath.Join(tags, "current/link"):                       sum,
	}
	for _, layer := range parts.Layers {
		links[link(filepath.Join(home, "_layers"), layer.Digest)] = layer.Digest
	}
	for path, to := range links {
		if err := put(path, []byte(to.String())); err != nil {
			return err
		}
	}
	return nil
}

// link is the file that makes a blob one of a directory of links.
func link(dir string, sum v1.Hash) string { return filepath.Join(dir, sum.Algorithm, sum.Hex, "link") }

// blob stores bytes under their digest.
func (s storage) blob(sum v1.Hash, data []byte) error {
	return put(filepath.Join(s.dir, "docker/registry/v2/blobs", sum.Algorithm, sum.Hex[:2], sum.Hex, "data"), data)
}

func put(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
