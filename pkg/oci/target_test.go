package oci

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]Target{
		"alpine:3.20":                      {Registry, "docker.io/library/alpine:3.20"},
		"registry.example/app:1":           {Registry, "registry.example/app:1"},
		"docker://registry.example:5000/a": {Registry, "registry.example:5000/a:latest"},
		"docker-archive:x.tar":             {DockerArchive, "x.tar"},
		"oci-archive:/a/b:c":               {OCIArchive, "/a/b:c"},
		"oci-dir:.":                        {OCIDir, "."},
		"aci:x":                            {ACI, "x"},
		"rootfs:1":                         {RootFS, "1"},
		"docker.io/library/rootfs:1":       {Registry, "docker.io/library/rootfs:1"},
		"registry:2":                       {Registry, "docker.io/library/registry:2"},
	} {
		got, err := ParseTarget(s)
		if err != nil || got != want {
			t.Errorf("ParseTarget(%q) = %v, %v; want %v", s, got, err, want)
		}
		if again, err := ParseTarget(got.String()); err != nil || again != got {
			t.Errorf("%q is not read back: %v, %v", got, again, err)
		}
		if got.IsLocal() != (want.Scheme != Registry) {
			t.Errorf("%v: local %t", got, got.IsLocal())
		}
	}
	for _, s := range []string{"", "rootfs:", "aci:\x00", "Alpine", "./alpine", "/alpine", "http://x/y", strings.Repeat("a", 5000)} {
		if got, err := ParseTarget(s); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ParseTarget(%.40q) = %v, %v", s, got, err)
		}
	}
}

func TestFindTarget(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	writeFile(t, "image", tarOf(t, dockerSave(t, tarfile.None)...))
	writeFile(t, "text", []byte("text"))
	writeFile(t, "parts.tar", tarOf(t, entry{name: "app/main", content: "x"}))
	writeFile(t, "alpine/Dockerfile", []byte("FROM scratch"))
	for _, e := range layoutEntries(t) {
		writeFile(t, filepath.Join("layout", e.name), []byte(e.content))
	}
	for s, want := range map[string]Target{
		"image":                {DockerArchive, "image"},
		"./image":              {DockerArchive, "./image"},
		dir + "/image":         {DockerArchive, dir + "/image"},
		"layout":               {OCIDir, "layout"},
		"alpine":               {Registry, "docker.io/library/alpine:latest"}, // the directory holds no image
		"debian:12":            {Registry, "docker.io/library/debian:12"},
		"rootfs:image":         {RootFS, "image"},
		"docker://x.example/y": {Registry, "x.example/y:latest"},
		"docker://odd.tar":     {Registry, "docker.io/library/odd.tar:latest"},
	} {
		if got, err := FindTarget(s); err != nil || got != want {
			t.Errorf("FindTarget(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for s, want := range map[string]fault.Kind{
		"text":      fault.Unsupported,
		"parts.tar": fault.Unsupported,
		"./alpine":  fault.Unsupported,
		"./none":    fault.NotFound,
		"none.tar":  fault.NotFound,
		"/none":     fault.NotFound,
		"..":        fault.Unsupported,
		os.DevNull:  fault.Unsupported,
		"None":      fault.Invalid,
	} {
		got, err := FindTarget(s)
		if fault.KindOf(err) != want {
			t.Errorf("FindTarget(%q) = %v, %v; want kind %v", s, got, err, want)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64":      "linux/amd64",
		"Linux/AMD64":      "linux/amd64",
		"amd64":            "linux/amd64",
		"linux/x86_64":     "linux/amd64",
		"linux/aarch64":    "linux/arm64",
		"linux/arm64/v8":   "linux/arm64",
		"linux/arm/7":      "linux/arm/v7",
		"linux/armhf":      "linux/arm/v7",
		"windows/amd64":    "windows/amd64",
		"":                 "",
		"linux/":           "",
		"/":                "",
		"linux/amd64/v1/x": "",
		"linux amd64":      "",
	} {
		got, err := ParsePlatform(s)
		if want == "" {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("ParsePlatform(%q) = %v, %v", s, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("ParsePlatform(%q) = %v, %v; want %s", s, got, err, want)
		}
	}
}

func TestSelection(t *testing.T) {
	platform := func(s string) Platform {
		if s == "" {
			return Platform{}
		}
		parts := strings.Split(s+"///", "/")
		return Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2], OSVersion: parts[3]}
	}
	for _, c := range []struct {
		wanted, platform string
		want             bool
	}{
		{"", "plan9/mips", true},
		{"linux/amd64", "linux/amd64", true},
		{"linux/amd64", "linux/x86_64", true},
		{"linux/amd64", "linux/arm64", false},
		{"linux/arm64", "linux/arm64/v8", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm", "linux/arm/v6", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/arm/v7", "linux/arm/7", true},
		{"linux/amd64", "", true},
		{"linux/amd64", "linux/", true},
		{"windows/amd64//10.0.1", "windows/amd64//10.0.2", false},
		{"windows/amd64", "windows/amd64//10.0.2", true},
	} {
		var s Selection
		if c.wanted != "" {
			s = Selection{platform(c.wanted), {OS: "linux", Architecture: "none"}}
		}
		if got := s.Wants(platform(c.platform)); got != c.want {
			t.Errorf("%q wants %q: %t", c.wanted, c.platform, got)
		}
	}
}
