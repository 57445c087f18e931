package local

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Usage is what a member takes of the machine.
type Usage struct {
	Name string
	// MemoryBytes is what is resident, and PeakBytes the most that ever was. Of a server of several processes it is
	// the sum of their proportional shares, so that memory that they share counts once, and there is no peak.
	MemoryBytes, PeakBytes int64
	// CPU is the time on processors since the last start, in user and kernel mode, that of ended children included.
	CPU time.Duration
}

// Usage returns what each member that runs takes. It needs Linux: elsewhere it fails with [fault.Unsupported].
func (c *Cluster) Usage() ([]Usage, error) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return nil, fault.New(fault.Unsupported, "read", "/proc", err)
	}
	var out []Usage
	for _, m := range c.all() {
		pids := m.part.pids()
		u := Usage{Name: m.name}
		for _, pid := range pids {
			cpu, err := cpuTime(pid)
			if err != nil {
				continue // it has ended
			}
			u.CPU += cpu
			if len(pids) > 1 {
				u.MemoryBytes += procBytes(pid, "smaps_rollup", "Pss:")
				continue
			}
			u.MemoryBytes, u.PeakBytes = procBytes(pid, "status", "VmRSS:"), procBytes(pid, "status", "VmHWM:")
		}
		if len(pids) > 0 {
			out = append(out, u)
		}
	}
	return out, nil
}

// ticksPerSecond is the unit of times in /proc: a constant of the interface, whatever the kernel's own is.
const ticksPerSecond = 100

// cpuTime returns the time that a process and its ended children have run (proc_pid_stat(5), fields 14 to 17).
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program, field 2, may hold anything but ends with the last parenthesis.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const first = 14 - 3
	if len(fields) < first+4 {
		return 0, fault.Newf(fault.Corrupt, "read", "/proc", "%d fields", len(fields))
	}
	var ticks int64
	for _, field := range fields[first : first+4] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fault.New(fault.Corrupt, "read", "/proc", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// procBytes returns a size that a file of a process tells in kB, or 0.
func procBytes(pid int, file, key string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64) // 0 for what is no number
			return n << 10
		}
	}
	return 0
}
