package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// BenchmarkColdScan scans a Debian application image of two layers, some 320 MB compressed and 910 MB inflated, from a
// registry on this machine (Debian's docker-registry), by a server that has never seen it. The time is that from the
// submission to the finished report. The server is started anew on an empty data directory each time; that is not counted.
func BenchmarkColdScan(b *testing.B) {
	if testing.Short() {
		b.Skip("SKIPPED in short mode: it makes an image of a gigabyte")
	}
	program := buildTrawl(b)
	reference := pushApplication(b)
	for b.Loop() {
		b.StopTimer()
		server := startServe(b, program)
		b.StartTimer()
		report := server.scan(b, reference)
		b.StopTimer()
		if report.Summary.Packages < 150 || report.State != "complete" {
			b.Fatalf("the report is %+v", report)
		}
		server.stop()
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/scan")
}

// buildTrawl builds the program, with ISA-L where it is there.
func buildTrawl(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "trawl")
	tags := ""
	if exec.Command("pkg-config", "--exists", "libisal").Run() == nil {
		tags = "isal"
	}
	if out, err := exec.Command("go", "build", "-tags", tags, "-o", program, "..").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// served is a server under test.
type served struct {
	base    string
	command *exec.Cmd
}

func startServe(b *testing.B, program string) *served {
	b.Helper()
	dir, err := os.MkdirTemp("", "trawl-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	listen, probe := freePort(b), freePort(b)
	command := exec.Command(program, "serve", "--data-dir", dir, "--listen", listen, "--introspection", probe, "--mirror", dir, "-q")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	s := &served{base: "http://" + listen, command: command}
	b.Cleanup(s.stop)
	waitFor(b, "http://"+probe+"/readyz")
	return s
}

func (s *served) stop() {
	if s.command.ProcessState == nil {
		_ = s.command.Process.Signal(os.Interrupt)
		_ = s.command.Wait()
	}
}

type scanned struct {
	State   string
	Summary struct{ Packages, Findings int }
}

// scan submits a reference and waits for its report.
func (s *served) scan(b *testing.B, reference string) scanned {
	b.Helper()
	var submission struct {
		ID, State string
		Images    []struct{ Digest string }
		Problem   any
	}
	body, _ := json.Marshal(map[string]string{"target": reference})
	s.call(b, http.MethodPost, "/api/v1/submissions", bytes.NewReader(body), &submission)
	s.call(b, http.MethodGet, "/api/v1/submissions/"+submission.ID+"?wait=120", nil, &submission)
	if len(submission.Images) == 0 {
		b.Fatalf("the submission is %+v", submission)
	}
	var report scanned
	s.call(b, http.MethodGet, "/api/v1/images/"+submission.Images[0].Digest+"/report", nil, &report)
	return report
}

func (s *served) call(b *testing.B, method, path string, body *bytes.Reader, out any) {
	b.Helper()
	var request *http.Request
	var err error
	if body == nil {
		request, err = http.NewRequest(method, s.base+path, http.NoBody)
	} else {
		request, err = http.NewRequest(method, s.base+path, body)
	}
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		b.Fatalf("%s %s: %s", method, path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		b.Fatal(err)
	}
}

// pushApplication starts a registry and pushes the image, and returns its reference.
func pushApplication(b *testing.B) string {
	b.Helper()
	address := startRegistry(b)
	layers := []v1.Layer{
		fileLayer(b, debianTarball(b, "base", "")),
		fileLayer(b, debianTarball(b, "application", "build-essential,default-jre-headless,python3-dev")),
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		b.Fatal(err)
	}
	reference, err := name.ParseReference(address+"/bench/application:1", name.Insecure)
	if err != nil {
		b.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		b.Fatal(err)
	}
	return reference.String()
}

func fileLayer(b *testing.B, file string) v1.Layer {
	b.Helper()
	layer, err := tarball.LayerFromFile(file, tarball.WithCompressedCaching)
	if err != nil {
		b.Fatal(err)
	}
	return layer
}

// debianTarball returns a Debian root file system as tar.gz, made once with mmdebstrap and kept in the user's cache.
func debianTarball(b *testing.B, title, include string) string {
	b.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = b.TempDir()
	}
	dir = filepath.Join(dir, "trawl-bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "bookworm-"+title+".tar.gz")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		b.Skip("SKIPPED, no image to measure with: mmdebstrap is not installed (make deps)")
	}
	args := []string{"--quiet", "--variant=minbase", "bookworm", file + ".new.tar"}
	if include != "" {
		args = append([]string{"--include=" + include}, args...)
	}
	for _, command := range [][]string{append([]string{"mmdebstrap"}, args...), {"sh", "-c", "gzip -6 < " + file + ".new.tar > " + file + ".new && mv " + file + ".new " + file}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			b.Skipf("SKIPPED, no image to measure with: %s: %v\n%s", command[0], err, out)
		}
	}
	os.Remove(file + ".new.tar")
	return file
}

// startRegistry starts Debian's docker-registry on a free port.
func startRegistry(b *testing.B) string {
	b.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		b.Skip("SKIPPED, no registry to scan from: docker-registry is not installed (make deps)")
	}
	dir, address := b.TempDir(), freePort(b)
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, address)
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	command := exec.Command(program, "serve", file)
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	waitFor(b, "http://"+address+"/v2/")
	return address
}

func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// waitFor asks until the answer is good.
func waitFor(b *testing.B, address string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
			err = fmt.Errorf("%s", strings.TrimSpace(response.Status))
		}
		last = err
		select {
		case <-ctx.Done():
			b.Fatalf("%s does not answer: %v", address, last)
		case <-ticker.C:
		}
	}
}
