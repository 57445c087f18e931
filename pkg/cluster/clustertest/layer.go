package clustertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
)

// File is a file of a layer.
type File struct{ Name, Content string }

// Layer returns a layer with these files: a tar, gzipped. The same files make the same bytes.
func Layer(files ...File) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(Tar(files...))
	_ = z.Close() // neither fails: the buffer takes everything
	return b.Bytes()
}

// Tar is Layer without the gzip.
func Tar(files ...File) []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range files {
		_ = t.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o644, Size: int64(len(f.Content)), Typeflag: tar.TypeReg})
		_, _ = io.WriteString(t, f.Content)
	}
	_ = t.Close()
	return b.Bytes()
}

// DebianRelease is the release file of Debian 12.
var DebianRelease = File{"etc/os-release", "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"}

// Debian returns a layer of Debian 12 with these packages installed, each "name version".
func Debian(packages ...string) []byte { return Layer(DebianRelease, Status(packages...)) }

// Status returns dpkg's database of these packages, each "name version".
func Status(packages ...string) File {
	var b strings.Builder
	for _, p := range packages {
		name, version, _ := strings.Cut(p, " ")
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\n\n", name, version)
	}
	return File{"var/lib/dpkg/status", b.String()}
}
