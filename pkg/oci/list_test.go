package oci

import (
	"runtime"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// TestLongLists: a document of nothing but the shortest items takes little memory.
func TestLongLists(t *testing.T) {
	long := func(item string) string { return strings.Repeat(item+",", maxManifestBytes/(len(item)+1)-100) + item }
	for _, c := range []struct {
		what, raw string
		read      func([]byte) error
		want      fault.Kind
	}{
		{"layers", `{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[` + long("{}") + `]}`, func(raw []byte) error {
			d, err := parseDocument(raw, "")
			if err != nil {
				return err
			}
			_, err = d.manifest.imageLayers()
			return err
		}, fault.TooLarge},
		{"manifests", `{"manifests":[` + long("{}") + `]}`, func(raw []byte) error { _, err := parseDocument(raw, ""); return err }, fault.TooLarge},
		{"addresses", `{"layers":[{"urls":[` + long(`""`) + `]}]}`, func(raw []byte) error { _, err := parseDocument(raw, ""); return err }, fault.Unknown},
		{"schema 1", `{"schemaVersion":1,"fsLayers":[` + long("{}") + `],"history":[{}]}`, func(raw []byte) error { _, err := parseDocument(raw, ""); return err }, fault.Corrupt},
		{"diff IDs", `{"rootfs":{"diff_ids":[` + long(`""`) + `]}}`, func(raw []byte) error { _, err := parseConfig(raw); return err }, fault.Corrupt},
		{"images", `[` + long("{}") + `]`, func(raw []byte) error { _, err := parseDockerManifest(raw); return err }, fault.TooLarge},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.read([]byte(c.raw))
		runtime.ReadMemStats(&after)
		if got := fault.KindOf(err); got != c.want {
			t.Errorf("%s: %v, which is %s, want %s", c.what, err, got, c.want)
		}
		allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("%s: %d MiB", c.what, allocated)
		if allocated > 32 {
			t.Errorf("%s: a document of %d MiB takes %d MiB", c.what, len(c.raw)>>20, allocated)
		}
	}
}
