package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/trawl-scanner/trawl/pkg/extract"
	"github.com/trawl-scanner/trawl/pkg/extract/gunzip"
)

// layerEnv names a variable with the path of a gzip layer to measure with instead of the one that is made.
const layerEnv = "TRAWL_BENCH_LAYER"

// BenchmarkLayer analyzes a layer of some hundred MiB, digest verified, and sets it against what merely inflates it
// on the same machine in the same run: igzip, and klauspost/compress. Ratios above 1 mean that we are faster;
// those "per-core" are of processor time instead of wall time. Which inflater is in use depends on the tag isal.
func BenchmarkLayer(b *testing.B) {
	file := benchLayer(b)
	blob, inflatedBytes := describe(b, file)
	var ours, igzip, klauspost cost
	var x extract.Extractor
	for b.Loop() {
		ours.add(b, func() time.Duration {
			layer, _, err := x.Layer(b.Context(), fileOpener(file), blob)
			if err != nil {
				b.Fatal(err)
			}
			if len(layer.Databases) != 1 {
				b.Fatalf("%d databases", len(layer.Databases))
			}
			return 0
		})
		igzip.add(b, func() time.Duration { return runIgzip(b, file) })
		klauspost.add(b, func() time.Duration { return runKlauspost(b, file) })
	}
	b.SetBytes(0)
	b.ReportMetric(float64(inflatedBytes)/1e6*float64(b.N)/ours.wall.Seconds(), "MB/s")
	b.ReportMetric(float64(inflatedBytes)/1e6*float64(b.N)/ours.cpu.Seconds(), "MB/core-s")
	b.ReportMetric(klauspost.wall.Seconds()/ours.wall.Seconds(), "ratio-vs-klauspost")
	b.ReportMetric(klauspost.cpu.Seconds()/ours.cpu.Seconds(), "per-core-vs-klauspost")
	if igzip.cpu > 0 {
		b.ReportMetric(igzip.wall.Seconds()/ours.wall.Seconds(), "ratio-vs-igzip")
		b.ReportMetric(igzip.cpu.Seconds()/ours.cpu.Seconds(), "per-core-vs-igzip")
	}
	b.ReportMetric(0, "ns/op")
	b.Logf("%s: %d MB inflated to %d MB; inflater %s", filepath.Base(file), blob.Size/1e6, inflatedBytes/1e6, gunzip.Implementation)
}

// cost is what something took.
type cost struct{ wall, cpu time.Duration }

// add runs f and adds what it took. f returns the processor time of child processes.
func (c *cost) add(b *testing.B, f func() time.Duration) {
	began, used := time.Now(), processorTime(b)
	child := f()
	c.wall += time.Since(began)
	c.cpu += processorTime(b) - used + child
}

// processorTime returns what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func runIgzip(b *testing.B, file string) time.Duration {
	path, err := exec.LookPath("igzip")
	if err != nil {
		return 0 // there is no ratio then
	}
	cmd := exec.Command(path, "-dc", file) // its output goes to the null device
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func runKlauspost(b *testing.B, file string) time.Duration {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, z); err != nil {
		b.Fatal(err)
	}
	return 0
}

// eightEnv makes the test binary analyze the layer that it names eight times at once.
const eightEnv = "TRAWL_BENCH_EIGHT"

// BenchmarkEightLayers analyzes a layer eight times at once in a process of its own, and reports the most memory that
// the process ever had resident.
func BenchmarkEightLayers(b *testing.B) {
	file := benchLayer(b)
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEightLayers$", "-test.v")
		cmd.Env = append(os.Environ(), eightEnv+"="+file)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		_, rest, ok := bytes.Cut(out, []byte("peak RSS KiB: "))
		kib, err := strconv.Atoi(string(rest[:max(0, bytes.IndexByte(rest, '\n'))]))
		if !ok || err != nil {
			b.Fatalf("no figure in:\n%s", out)
		}
		b.ReportMetric(float64(kib)/1024, "peak-RSS-MiB")
	}
}

// TestEightLayers is the process that BenchmarkEightLayers starts.
func TestEightLayers(t *testing.T) {
	file := os.Getenv(eightEnv)
	if file == "" {
		t.Skip("it is a part of BenchmarkEightLayers")
	}
	var x extract.Extractor
	failed := make(chan error)
	for range 8 {
		go func() {
			_, _, err := x.Layer(t.Context(), fileOpener(file), extract.Blob{})
			failed <- err
		}()
	}
	for range 8 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			fmt.Printf("peak RSS KiB: %s\n", fields[1])
		}
	}
}

func fileOpener(file string) extract.Opener {
	return func(context.Context) (io.ReadCloser, error) { return os.Open(file) }
}

// describe returns what a manifest would say of a layer, and its inflated size.
func describe(b *testing.B, file string) (extract.Blob, int64) {
	b.Helper()
	_, stats, err := extract.Layer(b.Context(), fileOpener(file), extract.Blob{}, benchLimits)
	if err != nil {
		b.Fatal(err)
	}
	return extract.Blob{Digest: stats.Digest, Size: stats.CompressedBytes}, stats.InflatedBytes
}
