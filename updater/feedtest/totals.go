package feedtest

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// Totals is what a feed comes to.
type Totals struct {
	Records, Ranges, Bad int
	Problems             int // ranges that cannot be compared
	Statuses             map[advisory.Status]int
	Namespaces           map[string]int // ranges
	FirstBad             []string       // the first ten
}

// Sum reads a feed to its end. A feed that breaks off fails the test.
func Sum(t testing.TB, records advisory.Records) Totals {
	t.Helper()
	out := Totals{Statuses: make(map[advisory.Status]int), Namespaces: make(map[string]int)}
	for record, err := range records {
		var bad *advisory.BadRecord
		if errors.As(err, &bad) {
			if out.Bad++; len(out.FirstBad) < 10 {
				out.FirstBad = append(out.FirstBad, bad.Error())
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out.Records++
		for _, a := range record.Affected {
			out.Ranges++
			out.Statuses[a.Status]++
			out.Namespaces[a.Namespace]++
			if a.Problem != "" {
				out.Problems++
			}
		}
	}
	return out
}

// String returns the figures that golden tables hold.
func (s Totals) String() string {
	return fmt.Sprintf("%d records, %d ranges, %d problems, %d bad", s.Records, s.Ranges, s.Problems, s.Bad)
}

// Measure logs how long work takes, and the most memory that the process holds meanwhile, as the kernel counts it;
// what the process held before is included. It returns the memory in bytes, or 0 where the kernel does not tell and
// where the race detector takes memory of its own.
func Measure(t testing.TB, what string, work func()) (peakBytes int64) {
	t.Helper()
	debug.FreeOSMemory()
	// Writing 5 sets the peak back, see proc_pid_clear_refs(5).
	known := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
	started := time.Now()
	work()
	took := time.Since(started)
	if known && !instrumented {
		peakBytes = peak()
	}
	t.Logf("%s: %.2f s, peak %.0f MiB", what, took.Seconds(), float64(peakBytes)/(1<<20))
	return peakBytes
}

// peak returns the peak of the resident set of the process, or 0.
func peak() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}
