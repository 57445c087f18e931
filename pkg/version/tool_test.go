package version

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/realdata"
)

// tool is the program that decides what the order of a scheme is.
type tool struct {
	name  string                                         // program and version, for headers
	order func(t *testing.T, pairs [][2]string) []string // "<", "=" or ">" for each pair of valid versions
	valid func(t *testing.T, s string) bool              // nil where the program cannot tell
}

// tools finds the program of each scheme, or skips the test.
var tools = map[Scheme]func(t *testing.T) tool{
	Dpkg: dpkgTool, RPM: rpmTool, APK: apkTool, Semver: semverTool, NPM: npmTool, Go: goTool, PyPI: pypiTool,
	Maven: mavenTool, RubyGems: gemTool, NuGet: nugetTool, Packagist: packagistTool,
}

// firstLine runs a program and returns the first line of its output, or skips the test.
func firstLine(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Skipf("SKIPPED: %s, which this test asks, does not run here: %v", name, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// exitsZero runs a program and reports whether it succeeds. Programs say no with exit status 1 or 2.
func exitsZero(t *testing.T, name string, args ...string) bool {
	t.Helper()
	cmd := exec.Command(name, args...)
	err := cmd.Run()
	if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() > 2) {
		t.Errorf("%s: %v", cmd, err)
	}
	return err == nil
}

// eachPair calls one for each pair, on two goroutines.
func eachPair(pairs [][2]string, one func(a, b string) string) []string {
	ops := make([]string, len(pairs))
	var group sync.WaitGroup
	for worker := range 2 {
		group.Go(func() {
			for i := worker; i < len(pairs); i += 2 {
				ops[i] = one(pairs[i][0], pairs[i][1])
			}
		})
	}
	group.Wait()
	return ops
}

func dpkgTool(t *testing.T) tool {
	return tool{
		name: firstLine(t, "dpkg", "--version"),
		order: func(t *testing.T, pairs [][2]string) []string {
			return eachPair(pairs, func(a, b string) string {
				for _, op := range []string{"<", "=", ">"} {
					word := map[string]string{"<": "lt", "=": "eq", ">": "gt"}[op]
					if exitsZero(t, "dpkg", "--compare-versions", a, word, b) {
						return op
					}
				}
				return "?"
			})
		},
		valid: func(t *testing.T, s string) bool { return exitsZero(t, "dpkg", "--validate-version", s) },
	}
}

// rpmScript orders the pairs of the file named in its one argument, a version a line.
const rpmScript = `%%{lua:
local lines = {}
for line in io.lines("%s") do lines[#lines+1] = line end
for i = 1, #lines, 2 do
	local c = rpm.vercmp(lines[i], lines[i+1])
	if c < 0 then print("<\n") elseif c > 0 then print(">\n") else print("=\n") end
end}`

func rpmTool(t *testing.T) tool {
	name := firstLine(t, "rpm", "--version")
	if firstLine(t, "rpm", "--eval", `%{lua:print(rpm.ver ~= nil)}`) != "true" {
		t.Skipf("SKIPPED: %s orders no full EVR", name)
	}
	return tool{
		name: name,
		order: func(t *testing.T, pairs [][2]string) []string {
			var text strings.Builder
			for _, p := range pairs {
				fmt.Fprintf(&text, "%s\n%s\n", p[0], p[1])
			}
			file := filepath.Join(t.TempDir(), "pairs")
			if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("rpm", "--eval", fmt.Sprintf(rpmScript, file)).CombinedOutput()
			ops := strings.Fields(string(out))
			if err != nil || len(ops) != len(pairs) {
				t.Fatalf("rpm: %v, %d answers for %d pairs: %.300s", err, len(ops), len(pairs), out)
			}
			return ops
		},
	}
}

// apkTool is the apk that TRAWL_TEST_APK names, which must be of apk-tools 3.
func apkTool(t *testing.T) tool {
	program := os.Getenv("TRAWL_TEST_APK")
	if program == "" {
		t.Skip("SKIPPED: TRAWL_TEST_APK does not name the apk program of apk-tools 3, which this test asks")
	}
	return apkProgram(firstLine(t, program, "--version"), program)
}

func apkProgram(name string, command ...string) tool {
	run := func(args ...string) *exec.Cmd {
		return exec.Command(command[0], append(append(command[1:len(command):len(command)], "version"), args...)...)
	}
	return tool{
		name: name,
		order: func(t *testing.T, pairs [][2]string) []string {
			return eachPair(pairs, func(a, b string) string {
				out, err := run("-t", a, b).Output()
				if err != nil {
					t.Errorf("apk version -t %q %q: %v", a, b, err)
				}
				return strings.TrimSpace(string(out))
			})
		},
		valid: func(t *testing.T, s string) bool { return run("-c", s).Run() == nil },
	}
}

// apk2Tool is the apk of the Alpine 3.20 image among the shared data: apk-tools 2.14.
func apk2Tool(t *testing.T) tool {
	archive := realdata.Open(t, "images/alpine-3.20.3.docker-archive.tar")
	defer archive.Close()
	root := t.TempDir()
	outer := tar.NewReader(archive)
	for {
		header, err := outer.Next()
		if err != nil {
			t.Fatalf("no layer in %s: %v", archive.Name(), err)
		}
		if strings.HasSuffix(header.Name, ".tar.gz") {
			break
		}
	}
	layer, err := gzip.NewReader(outer)
	if err != nil {
		t.Fatal(err)
	}
	unpackPrograms(t, layer, root)
	loader := filepath.Join(root, "ld-musl-x86_64.so.1")
	command := []string{loader, "--library-path", root, filepath.Join(root, "apk")}
	return apkProgram(firstLine(t, loader, append(command[1:], "--version")...), command...)
}

// unpackPrograms writes apk and the libraries it may need to dir.
func unpackPrograms(t *testing.T, layer io.Reader, dir string) {
	t.Helper()
	for inner := tar.NewReader(layer); ; {
		header, err := inner.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Base(header.Name)
		if name != "apk" && !strings.Contains(name, ".so") || path.Base(header.Linkname) == name {
			continue
		}
		target := filepath.Join(dir, name)
		switch header.Typeflag {
		case tar.TypeSymlink:
			err = os.Symlink(path.Base(header.Linkname), target)
		case tar.TypeReg:
			var content []byte
			if content, err = io.ReadAll(inner); err == nil {
				err = os.WriteFile(target, content, 0o755)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
