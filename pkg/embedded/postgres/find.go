package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// oldestMajor is the oldest major version that serves: the oldest that upstream maintains
// (https://www.postgresql.org/support/versioning/, 2026).
const oldestMajor = 14

// ErrNotInstalled says that no usable PostgreSQL was found on this machine.
var ErrNotInstalled = errors.New("PostgreSQL is not installed")

// advice is how to get the server. The client packages (psql) are not enough.
const advice = `install the server ("apt-get install postgresql", "dnf install postgresql-server", ` +
	`"apk add postgresql", "brew install postgresql@17") or give the address of a running one`

// places are the directories in which packages install the server's binaries off PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",                              // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                       // Red Hat and its like, packages of postgresql.org
	"/usr/libexec/postgresql*",                               // Alpine
	"/usr/local/pgsql/bin",                                   // built from source
	"/opt/homebrew/opt/postgresql*/bin",                      // Homebrew, Apple silicon
	"/usr/local/opt/postgresql*/bin",                         // Homebrew, Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin",     // Postgres.app
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",         // Homebrew on Linux
	"/usr/lib/postgresql*/bin", "/usr/lib64/postgresql*/bin", // SUSE, Gentoo
}

// installation is a directory of PostgreSQL binaries.
type installation struct {
	dir     string
	version string // "15.14", "18beta1"
	major   int
}

func (i installation) path(binary string) string { return filepath.Join(i.dir, binary) }

// find returns the binaries to use: those in binDir if it is given, else those on PATH, else the newest
// of the known places. Where wantMajor is not 0, only that major version will do.
func find(ctx context.Context, binDir string, wantMajor int) (installation, error) {
	dirs := []string{binDir}
	if binDir == "" {
		dirs = candidates(os.Getenv("PATH"), places)
	}
	var seen []string
	var found []installation
	for _, dir := range dirs {
		i, err := inspect(ctx, dir)
		if err != nil {
			if binDir != "" && ctx.Err() == nil {
				return installation{}, fault.New(fault.NotFound, "look for PostgreSQL in", binDir, fmt.Errorf("%w: %w", ErrNotInstalled, err))
			}
			continue
		}
		seen = append(seen, i.version)
		if i.major >= oldestMajor && (wantMajor == 0 || i.major == wantMajor) {
			found = append(found, i)
		}
	}
	switch {
	case ctx.Err() != nil: // what was looked at last may have had no time to answer
		return installation{}, fault.New(fault.Unavailable, "look for", "initdb and postgres", context.Cause(ctx))
	case len(found) > 0:
		return newest(found, os.Getenv("PATH")), nil
	case len(seen) == 0:
		return installation{}, fault.Newf(fault.NotFound, "look for", "initdb and postgres", "%w: %s", ErrNotInstalled, advice)
	case wantMajor != 0:
		return installation{}, fault.Newf(fault.Unsupported, "find", fmt.Sprintf("PostgreSQL %d", wantMajor),
			"it made the data in this directory, and here is %s: install version %d beside it, or move the data over with pg_upgrade or pg_dump",
			strings.Join(seen, ", "), wantMajor)
	default:
		return installation{}, fault.Newf(fault.NotFound, "look for", fmt.Sprintf("PostgreSQL %d or newer", oldestMajor),
			"%w: here is %s", ErrNotInstalled, strings.Join(seen, ", "))
	}
}

// candidates returns the directories that hold both binaries: those of path in its order, then those
// that match the patterns.
func candidates(path string, patterns []string) []string {
	dirs := filepath.SplitList(path)
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern) // the patterns are constants, and well-formed
		dirs = append(dirs, matches...)
	}
	var both []string
	for _, dir := range dirs {
		if isExecutable(filepath.Join(dir, "initdb")) && isExecutable(filepath.Join(dir, "postgres")) && !slices.Contains(both, dir) {
			both = append(both, dir)
		}
	}
	return both
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// newest returns the first installation that stands on PATH, or the one of the highest version.
func newest(found []installation, path string) installation {
	onPath := filepath.SplitList(path)
	for _, i := range found {
		if slices.Contains(onPath, i.dir) {
			return i
		}
	}
	return slices.MaxFunc(found, func(a, b installation) int { return a.major - b.major })
}

// inspect asks the binaries in dir for their version.
func inspect(ctx context.Context, dir string) (installation, error) {
	i := installation{dir: dir}
	cmd := exec.CommandContext(ctx, i.path("postgres"), "--version")
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return i, err
	}
	if i.version, i.major, err = parseVersion(string(out)); err != nil {
		return i, err
	}
	if !isExecutable(i.path("initdb")) {
		return i, fmt.Errorf("%s: no such binary", i.path("initdb"))
	}
	return i, nil
}

// versionLine is what postgres --version prints: "postgres (PostgreSQL) 15.14 (Debian
// 15.14-0+deb12u1)".
var versionLine = regexp.MustCompile(`^postgres \([^)]*\) (([0-9]{1,4})\S*)`)

func parseVersion(line string) (version string, major int, err error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, fmt.Errorf("postgres --version: not a version: %q", line)
	}
	major, err = strconv.Atoi(m[2])
	return m[1], major, err
}

// majorOf returns the major version that made the cluster in dataDir, or 0 where there is none.
func majorOf(dataDir string) int {
	b, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if err != nil {
		return 0
	}
	major, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return major
}
