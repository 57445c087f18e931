package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// made makes the images of a load.
func made(t *testing.T, load Load) []v1.Image {
	t.Helper()
	load, err := load.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	images := make([]v1.Image, load.Images)
	err = load.each(t.Context(), func(i int, image v1.Image, _ []layer) error {
		images[i] = image
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return images
}

func digests(t *testing.T, images []v1.Image) []string {
	t.Helper()
	out := make([]string, len(images))
	for i, image := range images {
		sum, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = sum.String()
	}
	return out
}

// TestLoad: images are valid, have layers as was asked for, and are the same each time.
func TestLoad(t *testing.T) {
	images := made(t, Load{Images: 40, Bases: 4})
	uses := make(map[v1.Hash]int)
	for _, image := range images {
		if err := validate.Image(image); err != nil {
			t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 4 {
			t.Fatalf("%d layers, %v", len(layers), err)
		}
		for _, layer := range layers {
			sum, err := layer.Digest()
			if err != nil {
				t.Fatal(err)
			}
			uses[sum]++
		}
	}
	counts := make(map[int]int)
	for _, n := range uses {
		counts[n]++
	}
	if want := map[int]int{1: 40, 10: 4 * 3}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("layers by how many images have them: %v, want %v", counts, want)
	}
	first := digests(t, images)
	if again := digests(t, made(t, Load{Images: 40, Bases: 4})); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Error("the same load makes other images")
	}
	seen := make(map[string]bool)
	for _, sum := range append(first, digests(t, made(t, Load{Images: 40, Bases: 4, Seed: 1}))...) {
		if seen[sum] {
			t.Errorf("%s is there twice", sum)
		}
		seen[sum] = true
	}
}

// TestPackages: a database has each package once, and grows from layer to layer.
func TestPackages(t *testing.T) {
	load, err := Load{Images: 8, InstallEvery: 2}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	base, err := load.base(3)
	if err != nil {
		t.Fatal(err)
	}
	for i, layer := range base {
		lines := strings.Split(string(layer.status), "\n")
		names := make(map[string]bool)
		n := 0
		for _, line := range lines {
			if name, ok := strings.CutPrefix(line, "Package: "); ok {
				names[name] = true
				n++
			}
		}
		if want := 90 + i*installed; n != want || len(names) != want {
			t.Errorf("layer %d: %d packages of %d names, want %d", i, n, len(names), want)
		}
	}
}

func TestLoadRefused(t *testing.T) {
	for _, load := range []Load{{Images: -1}, {Layers: 2, New: 2}, {New: -1}, {Packages: -1}, {Bases: -1}, {Repositories: -1}} {
		if _, err := load.withDefaults(); err == nil {
			t.Errorf("%+v is accepted", load)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	load, _ := Load{}.withDefaults()
	if err := load.each(ctx, func(int, v1.Image, []layer) error { return nil }); err == nil {
		t.Error("made although nobody wants it any more")
	}
}

// TestStorage: what is written is what a registry reads: each link leads to bytes that have its digest.
func TestStorage(t *testing.T) {
	c := &Cluster{config: Config{Dir: t.TempDir()}, registry: "registry.example"}
	references, err := c.Push(t.Context(), Load{Images: 20, Bases: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(references) != 20 || references[7] != "registry.example/load/app-00001:0.3" {
		t.Errorf("references %v", references)
	}
	root := filepath.Join(c.images(), "docker/registry/v2")
	links := 0
	err = filepath.WalkDir(filepath.Join(root, "repositories"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		links++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum, err := v1.NewHash(string(text))
		if err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(root, "blobs", sum.Algorithm, sum.Hex[:2], sum.Hex, "data"))
		if err == nil && hash(data) != sum {
			err = fmt.Errorf("%s: the blob has another digest", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Of each image its own layer, its config, its revision and two for its tag; of each of two repositories the
	// layers of the base of its images.
	if want := 20*5 + 2*3; links != want {
		t.Errorf("%d links, want %d", links, want)
	}
}

// TestPorts: no address is given out twice, whoever asks.
func TestPorts(t *testing.T) {
	var p ports
	var mu sync.Mutex
	seen := make(map[string]bool)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				address, err := p.take()
				mu.Lock()
				if err != nil || seen[address] {
					t.Errorf("%s: %v, given out before: %v", address, err, seen[address])
				}
				seen[address] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
}
