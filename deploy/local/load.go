package local

import (
	"context"
	"fmt"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Load is a set of small images as they are found in numbers: applications on a few bases, of a few layers each, the
// last of which nobody else has. The same Load makes the same bytes.
//
// A base is a release file and a package database, and further layers that install something. What is on top of it is
// an application of some files; every so often it installs packages too, so that its inventory is one of its own.
type Load struct {
	// Images is how many there are. Zero means 200.
	Images int
	// Layers of each image. Zero means four.
	Layers int
	// New is how many of the layers no other image has. Zero means one.
	New int
	// NewBytes is how large those layers are, and a little more. Zero means some 10 kB, give or take half.
	NewBytes int
	// Bases is how many sets of layers the images share. Zero means ten.
	Bases int
	// Packages of a base. Zero means 90, as Debian's smallest image has.
	Packages int
	// InstallEvery says that every n-th image installs packages of its own. Zero means four, a negative number never.
	InstallEvery int
	// Repositories that the images are in. Zero means one for each ten images.
	Repositories int
	// Seed makes another set.
	Seed uint64
}

// withDefaults checks a load and fills in what it leaves open.
func (l Load) withDefaults() (Load, error) {
	for _, n := range []struct {
		count *int
		usual int
	}{{&l.Images, 200}, {&l.Layers, 4}, {&l.New, 1}, {&l.Bases, 10}, {&l.Packages, 90}, {&l.InstallEvery, 4}, {&l.Repositories, max(1, l.Images/10)}} {
		if *n.count == 0 {
			*n.count = n.usual
		}
	}
	if l.Images < 0 || l.New < 0 || l.NewBytes < 0 || l.Layers <= l.New || l.Bases < 0 || l.Packages < 0 || l.Repositories < 0 {
		return l, fault.Newf(fault.Invalid, "make", "images", "%d images of %d layers, %d of them new, on %d bases of %d packages in %d repositories: want more layers than new ones, and nothing below zero",
			l.Images, l.Layers, l.New, l.Bases, l.Packages, l.Repositories)
	}
	return l, nil
}

// each makes the images, one after another in each of some goroutines, and calls do with each.
func (l Load) each(ctx context.Context, do func(i int, image v1.Image, layers []layer) error) error {
	bases := make([][]layer, l.Bases)
	for b := range bases {
		var err error
		if bases[b], err = l.base(b); err != nil {
			return err
		}
	}
	const makers = 4
	g, ctx := errgroup.WithContext(ctx)
	for first := range makers {
		g.Go(func() error {
			for i := first; i < l.Images; i += makers {
				if err := ctx.Err(); err != nil {
					return fault.Wrap("make", "images", err)
				}
				layers, err := l.onTop(i, bases[i%l.Bases])
				if err != nil {
					return err
				}
				image, err := imageOf(layers)
				if err != nil {
					return err
				}
				if err := do(i, image, layers); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// name returns where an image is in its registry.
func (l Load) name(i int) (repository, tag string) {
	return fmt.Sprintf("load/app-%05d", i%l.Repositories), fmt.Sprintf("%d.%d", l.Seed, i/l.Repositories)
}

// random is the source of chance of one thing, the same each time.
func (l Load) random(stream int) *rand.Rand {
	return rand.New(rand.NewPCG(l.Seed, uint64(stream)))
}

// installed is how many packages each further layer of a base installs. The numbers of packages that an application
// installs begin at own, and there are so many of them.
const (
	installed = 5
	own       = 10_000
	names     = 3_000
)

// base makes the layers that some images share.
func (l Load) base(b int) ([]layer, error) {
	r := l.random(-1 - b)
	status := packages(r, nil, 0, l.Packages)
	var out []layer
	for n := range l.Layers - l.New {
		files := []file{{"var/lib/dpkg/status", status}}
		if n == 0 {
			files = append(files, file{"etc/os-release", []byte(release)})
		}
		files = append(files, clutter(r, fmt.Sprintf("usr/share/base-%d-%d", b, n), 30)...)
		made, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		made.status = status
		out = append(out, made)
		status = packages(r, status, l.Packages+n*installed, installed)
	}
	return out, nil
}

// onTop returns the layers of an image: those of its base, and its own.
func (l Load) onTop(i int, base []layer) ([]layer, error) {
	r := l.random(i)
	out := base[:len(base):len(base)]
	for n := range l.New {
		files := clutter(r, fmt.Sprintf("srv/app-%d-%d", i, n), 8)
		if n == 0 && l.InstallEvery > 0 && i%l.InstallEvery == 0 {
			files = append(files, file{"var/lib/dpkg/status", packages(r, base[len(base)-1].status, own+r.IntN(names), 1+r.IntN(3))})
		}
		if l.NewBytes > 0 {
			files = append(files, file{fmt.Sprintf("srv/app-%d-%d/data", i, n), noise(r, l.NewBytes)})
		}
		made, err := newLayer(files)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}

func imageOf(layers []layer) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "make", "an image", err)
	}
	add := make([]mutate.Addendum, len(layers))
	for i, layer := range layers {
		add[i] = mutate.Addendum{Layer: layer}
	}
	if image, err = mutate.Append(image, add...); err != nil {
		return nil, fault.New(fault.Invalid, "make", "an image", err)
	}
	return image, nil
}

// Push puts a load into the registry, and returns the references of its images.
func (c *Cluster) Push(ctx context.Context, load Load) ([]string, error) {
	load, err := load.withDefaults()
	if err != nil {
		return nil, err
	}
	to := storage{c.images()}
	references := make([]string, load.Images)
	shared := make(map[v1.Hash]bool)
	for b := range load.Bases {
		base, err := load.base(b)
		if err != nil {
			return nil, err
		}
		for _, layer := range base {
			shared[layer.sum] = true
			if err := to.blob(layer.sum, layer.compressed); err != nil {
				return nil, fault.New(fault.Unavailable, "write", "layer", err)
			}
		}
	}
	return references, load.each(ctx, func(i int, image v1.Image, layers []layer) error {
		repository, tag := load.name(i)
		for _, layer := range layers {
			if shared[layer.sum] {
				continue
			}
			if err := to.blob(layer.sum, layer.compressed); err != nil {
				return fault.New(fault.Unavailable, "write", "layer", err)
			}
		}
		references[i] = c.registry + "/" + repository + ":" + tag
		return fault.Wrap("write", references[i], to.write(repository, tag, image))
	})
}
